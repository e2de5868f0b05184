"""The payment provider's ledger: holds, charges and voids on accounts, and its own log."""

from datetime import timedelta
from typing import Any

from sqlmodel import Session, col, select

from sandbox.provider_book import (
    Book,
    account_of,
    conflict,
    error,
    hold_account,
    is_card,
    lapse_due,
    log_hold,
    state_of,
)
from sandbox.provider_konbini import issue
from sandbox.provider_refunds import return_cash, returned_cash
from sandbox.provider_tables import (
    ANY_CURRENCY,
    CARD_PATTERN,
    WALLET_PREFIX,
    Account,
    Answer,
    CaptureKey,
    Clock,
    Hold,
    LogEntry,
    Method,
    Payment,
    Status,
    Wait,
    iso,
)


class Ledger:
    """The provider's accounts, holds and log; every public method is one transaction and safe to call from any thread.

    A hold lapses by the clock of its own order: another order that lives in the future never makes it lapse.
    """

    def __init__(self, book: Book, hold_period: timedelta, pay_after: timedelta) -> None:
        self._book = book
        self._hold_period = hold_period
        self._pay_after = pay_after

    def authorize(self, payment: Payment, clock: Clock) -> Answer:
        """Hold money or issue a payment number, once per reference; answers 200 with its state, 409 for other content."""
        with self._book.transaction() as session:
            lapse_due(session, clock, payment.order_number)
            hold = session.get(Hold, payment.reference)
            if hold is None:
                return self._begin(session, payment, clock)
            if hold.amount_minor is None:
                hold.sqlmodel_update(payment._asdict())
                log_hold(session, clock, "refuse", hold, payment.amount_minor)
                return Answer(200, state_of(hold))
            if not _is_same(payment, hold):
                log_hold(session, clock, "refuse", hold, payment.amount_minor)
                return conflict(hold.reference)
            log_hold(session, clock, "replay", hold, payment.amount_minor)
            return Answer(200, state_of(hold, replayed=True), _slow(hold))

    def _begin(self, session: Session, payment: Payment, clock: Clock) -> Answer:
        """Decide a reference that is new."""
        if payment.method == Method.KONBINI:
            return issue(session, payment, clock)
        code = _decline_code(session, payment)
        lapses = not code and not _is_wallet(payment)
        hold = Hold(
            **payment._asdict(),
            status=Status.DECLINED if code else Status.AUTHORIZED,
            decline_code=code,
            expires_at=iso(clock.now + self._hold_period) if lapses else None,
            own_clock=clock.own,
        )
        session.add(hold)
        if not code:
            hold_account(session, hold).held_minor += payment.amount_minor
        log_hold(session, clock, "decline" if code else "authorize", hold, payment.amount_minor)
        return Answer(200, state_of(hold), _wait(hold, {"card-slow": Wait.SLOW, "card-timeout": Wait.HANG}))

    def capture(self, reference: str, amount_minor: int, key: str, clock: Clock) -> Answer:
        """Charge a hold once; see `_capture_refusal` for what is refused."""
        with self._book.transaction() as session:
            hold = session.get(Hold, reference)
            if hold is None:
                log_hold(session, clock, "refuse", Hold(reference=reference, status=""), amount_minor)
                return Answer(404, error("unknown_reference", f"no authorisation {reference} has arrived"))
            lapse_due(session, clock, hold.order_number)
            known = session.get(CaptureKey, key)
            if known is not None and (known.reference, known.amount_minor) != (reference, amount_minor):
                log_hold(session, clock, "refuse", hold, amount_minor)
                return conflict(reference)
            if known is not None and hold.status == Status.CAPTURED:
                log_hold(session, clock, "replay", hold, amount_minor)
                change = {"cash_return": returned_cash(session, hold, "change")}
                return Answer(200, {**state_of(hold, replayed=True), **change}, _slow(hold))
            refusal = _capture_refusal(hold, amount_minor)
            if refusal is not None:
                log_hold(session, clock, "decline" if refusal.status == 402 else "refuse", hold, amount_minor)
            if known is None and (refusal is None or refusal.status == 402):
                session.add(CaptureKey(key=key, reference=reference, amount_minor=amount_minor))
            return refusal or self._charge(session, hold, amount_minor, clock)

    def _charge(self, session: Session, hold: Hold, amount_minor: int, clock: Clock) -> Answer:
        """Charge a hold; of cash, which is there already, what is above the charge goes back."""
        account, held = hold_account(session, hold), hold.amount_minor or 0
        in_cash = hold.method == Method.KONBINI
        account.held_minor -= held
        account.captured_minor += held if in_cash else amount_minor
        hold.status, hold.captured_minor = Status.CAPTURED, amount_minor
        log_hold(session, clock, "capture", hold, amount_minor)
        if in_cash and held > amount_minor:
            return_cash(session, hold, "change", held - amount_minor, clock, self._pay_after)
        change = {"cash_return": returned_cash(session, hold, "change")}
        wait = _wait(hold, {"card-slow": Wait.SLOW, "card-capture-timeout": Wait.HANG})
        return Answer(200, {**state_of(hold), **change}, wait)

    def void(self, reference: str, order_number: str | None, clock: Clock) -> Answer:
        """Make sure that nothing is or will be held or charged under the reference; answers 200 always."""
        with self._book.transaction() as session:
            hold = session.get(Hold, reference)
            if hold is None:
                hold = Hold(reference=reference, order_number=order_number or "", status=Status.VOIDED)
                session.add(hold)
                log_hold(session, clock, "void", hold, 0)
                return Answer(200, state_of(hold))
            lapse_due(session, clock, hold.order_number)
            replayed = hold.status == Status.VOIDED
            if replayed:
                log_hold(session, clock, "replay", hold, 0)
            else:
                self._release(session, hold, clock)
            returned = {"cash_return": returned_cash(session, hold, "return")}
            return Answer(200, {**state_of(hold, replayed=replayed), **returned})

    def _release(self, session: Session, hold: Hold, clock: Clock) -> None:
        """Void a hold, or give back what was charged or paid at a shop and is not being refunded; the log tells how much."""
        action, freed = "void", 0
        account, in_cash = hold_account(session, hold), hold.method == Method.KONBINI
        if hold.status == Status.AUTHORIZED:
            # What a shop took is cash: it does not come free, it is paid back.
            action, freed = "reverse" if in_cash else "void", hold.amount_minor or 0
            account.held_minor -= freed
            account.captured_minor += freed if in_cash else 0
        elif hold.status == Status.CAPTURED:
            action, freed = "reverse", hold.captured_minor - hold.refunded_minor
            account.captured_minor -= 0 if in_cash else freed
        hold.status, hold.captured_minor, hold.refunded_minor = Status.VOIDED, 0, 0
        log_hold(session, clock, action, hold, freed)
        if in_cash and freed:
            return_cash(session, hold, "return", freed, clock, self._pay_after)

    def find(self, reference: str, clock: Clock) -> Answer:
        """Return the state of a reference, or 404."""
        with self._book.transaction() as session:
            hold = session.get(Hold, reference)
            if hold is None:
                return Answer(404, error("unknown_reference", f"neither an authorisation nor a void of {reference}"))
            lapse_due(session, clock, hold.order_number)
            return Answer(200, state_of(hold))

    def find_order(self, order_number: str, clock: Clock) -> list[dict[str, Any]]:
        """Return the states of an order's references, by reference."""
        with self._book.transaction() as session:
            lapse_due(session, clock, order_number)
            query = select(Hold).where(Hold.order_number == order_number).order_by(Hold.reference)
            return [state_of(hold) for hold in session.exec(query)]

    def log(self, order_number: str | None) -> list[dict[str, Any]]:
        """Return the log, oldest first, of one order or of all."""
        query = select(LogEntry).order_by(col(LogEntry.seq))
        if order_number is not None:
            query = query.where(LogEntry.order_number == order_number)
        with self._book.transaction() as session:
            return [entry.model_dump() for entry in session.exec(query)]

    def accounts(self, clock: Clock) -> list[dict[str, Any]]:
        """Return what is held, charged and available of each account and currency, in minor units."""
        query = select(Account).where(Account.currency != ANY_CURRENCY).order_by(Account.card, Account.currency)
        with self._book.transaction() as session:
            lapse_due(session, clock, None)
            return [_balance(account) for account in session.exec(query)]

    def set_limit(self, card: str, currency: str | None, limit_minor: int) -> Answer:
        """Set the limit of a card or wallet; 409 where more than that is held or charged already."""
        with self._book.transaction() as session:
            if currency is not None:
                accounts = [account_of(session, card, currency)]
            else:
                account_of(session, card, ANY_CURRENCY)
                accounts = list(session.exec(select(Account).where(Account.card == card)))
            used = max(account.held_minor + account.captured_minor for account in accounts)
            if used > limit_minor:
                return Answer(409, error("limit_below_use", f"{used} minor units of {card} are in use already"))
            for account in accounts:
                account.limit_minor = limit_minor
            return Answer(200, {"card": card, "currency": currency, "limit_minor": limit_minor})


def _is_same(payment: Payment, hold: Hold) -> bool:
    """Tell whether a repeated request has the first one's content; the account of a shop payment is the provider's."""
    fields = set(Payment._fields) - ({"card"} if payment.method == Method.KONBINI else set())
    return hold.model_dump(include=fields) == {name: getattr(payment, name) for name in fields}


def _is_wallet(payment: Payment) -> bool:
    return (payment.card or "").startswith(WALLET_PREFIX)


def _wait(hold: Hold, waits: dict[str, Wait]) -> Wait:
    return next((wait for card, wait in waits.items() if is_card(hold, card)), Wait.NONE)


def _slow(hold: Hold) -> Wait:
    return _wait(hold, {"card-slow": Wait.SLOW})


def _balance(account: Account) -> dict[str, Any]:
    available = account.limit_minor - account.held_minor - account.captured_minor
    return {**account.model_dump(), "available_minor": available}


def _decline_code(session: Session, payment: Payment) -> str | None:
    """Return why the card or wallet does not pay, or None."""
    card = payment.card or ""
    if CARD_PATTERN.fullmatch(card) is None:
        return "invalid_card"
    if card.startswith("card-decline"):
        return "card_declined"
    if card.startswith("card-retry"):
        earlier = select(Hold).where(
            Hold.order_number == payment.order_number,
            Hold.method == Method.CARD,
            col(Hold.card).is_not(None),
            ~col(Hold.card).startswith(WALLET_PREFIX),
        )
        if session.exec(earlier).first() is None:
            return "card_declined"
    account = account_of(session, card, payment.currency)
    available = account.limit_minor - account.held_minor - account.captured_minor
    return "insufficient_funds" if available < payment.amount_minor else None


def _capture_refusal(hold: Hold, amount_minor: int) -> Answer | None:
    """Return why it cannot be charged: 409 voided, lapsed, not paid or captured already, 402 declined, 422 too much."""
    if hold.status in (Status.VOIDED, Status.LAPSED):
        return Answer(409, error(hold.status, f"{hold.reference} is {hold.status}: nothing is held under it"))
    if hold.status == Status.AWAITING:
        return Answer(409, error("not_paid", f"{hold.reference} is not paid yet at a shop (number {hold.number})"))
    if hold.status == Status.CAPTURED:
        return Answer(409, error("already_captured", f"{hold.reference} was captured under another key"))
    if hold.status == Status.DECLINED:
        return Answer(402, error("declined", f"{hold.reference} was declined", decline_code=hold.decline_code))
    if amount_minor > (hold.amount_minor or 0):
        return Answer(422, error("exceeds_hold", f"{hold.reference} holds {hold.amount_minor} minor units"))
    if is_card(hold, "card-capture-decline"):
        return Answer(402, error("declined", f"the card of {hold.reference} declined", decline_code="card_declined"))
    return None
