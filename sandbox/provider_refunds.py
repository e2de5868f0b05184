"""Refunds at the payment provider: accepted once per reference, paid later by the provider itself, never overdrawn.

Cash that a shop took and that is not charged goes back in the same way, as `<reference>/return` when the payment is voided
and as `<reference>/change` when less is captured; one that failed is asked for again as `<reference>/return/2`, and so on.

Test cards: `card-refund-fail…` fails the first refund of a payment and pays later ones; `card-refund-hold…` keeps
refunds pending until a test settles them; a points wallet gets its points back at once. Policy: R2, R5, R6, R7.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlmodel import Session, col, select

from sandbox.provider_book import (
    Book,
    conflict,
    emit,
    error,
    hold_account,
    is_card,
    lapse_due,
    tell_background,
    write_log,
)
from sandbox.provider_tables import (
    WALLET_PREFIX,
    Answer,
    Clock,
    EventKind,
    Hold,
    RefundRow,
    RefundStatus,
    Status,
    iso,
)

ARRIVAL_PERIOD = timedelta(days=3)
"""How long after its acceptance a refund is expected to arrive."""
ACCOUNT_CLOSED = "account_closed"


class RefundRequest(NamedTuple):
    """What is to be paid back: `amount_minor` of the captured `payment_reference`; `reference` is the idempotency key."""

    reference: str
    payment_reference: str
    order_number: str
    amount_minor: int


class Refunds:
    """The provider's refunds; every public method is one transaction and safe to call from any thread.

    A pending refund is ended `pay_after` of real time after it was accepted, also by a later run of the provider.
    """

    def __init__(self, book: Book, pay_after: timedelta) -> None:
        self._book = book
        self._pay_after = pay_after

    def request(self, wanted: RefundRequest, clock: Clock) -> Answer:
        """Accept a refund once per reference: 200 with its state; see `_refusal`, and 409 for other content."""
        with self._book.transaction() as session:
            known = session.get(RefundRow, wanted.reference)
            if known is not None:
                same = known.model_dump(include=set(RefundRequest._fields)) == wanted._asdict()
                _log(session, clock.text, "replay" if same else "refuse", known, wanted.amount_minor)
                return Answer(200, _state(known, replayed=True)) if same else conflict(wanted.reference)
            lapse_due(session, clock, wanted.order_number)
            hold = session.get(Hold, wanted.payment_reference)
            if hold is not None and (refusal := _refusal(hold, wanted)) is None:
                return Answer(200, _state(accept(session, hold, wanted, clock, self._pay_after)))
            write_log(session, clock.text, "refuse", wanted.reference, wanted.order_number, wanted.amount_minor)
            if hold is None or refusal is None:
                message = f"no authorisation {wanted.payment_reference} has arrived, so nothing can be refunded"
                return Answer(404, error("unknown_reference", message))
            return refusal

    def settle(self, reference: str, status: RefundStatus, clock: Clock) -> Answer:
        """End a pending refund as a test wants it: 200 with its state, 404 when unknown, 409 when it ended otherwise."""
        with self._book.transaction() as session:
            refund = session.get(RefundRow, reference)
            if refund is None:
                return Answer(404, error("unknown_reference", f"no refund {reference} has arrived"))
            if refund.status == RefundStatus.PENDING:
                _end(session, refund, status, _now_of(refund) if clock.own else clock.text)
                return Answer(200, _state(refund))
            if refund.status == status:
                return Answer(200, _state(refund, replayed=True))
            return Answer(409, error("already_settled", f"refund {reference} is {refund.status} already; it stays so"))

    def find(self, reference: str) -> Answer:
        """Return the state of a refund, or 404."""
        with self._book.transaction() as session:
            refund = session.get(RefundRow, reference)
            if refund is None:
                return Answer(404, error("unknown_reference", f"no refund {reference} has arrived"))
            return Answer(200, _state(refund))

    def find_order(self, order_number: str) -> list[dict[str, Any]]:
        """Return the states of an order's refunds, the oldest first."""
        query = select(RefundRow).where(RefundRow.order_number == order_number)
        with self._book.transaction() as session:
            rows = session.exec(query.order_by(RefundRow.accepted_at, RefundRow.reference))
            return [_state(refund) for refund in rows]

    def end_due(self) -> float | None:
        """End every pending refund whose time has come; returns the seconds until the next one, None without any."""
        pending = select(RefundRow).where(RefundRow.status == RefundStatus.PENDING, col(RefundRow.ends_at).is_not(None))
        with self._book.transaction() as session:
            now = datetime.now(UTC)
            due = pending.where(col(RefundRow.ends_at) <= iso(now))
            for refund in session.exec(due.order_by(col(RefundRow.ends_at))).all():
                _end(session, refund, RefundStatus(refund.verdict or RefundStatus.PAID), _now_of(refund))
            following = session.exec(pending.order_by(col(RefundRow.ends_at))).first()
            if following is None or following.ends_at is None:
                return None
            return max(0.0, (datetime.fromisoformat(following.ends_at) - now).total_seconds())


def accept(session: Session, hold: Hold, wanted: RefundRequest, clock: Clock, pay_after: timedelta) -> RefundRow:
    """Set the amount aside, and pay it at once or promise to: in real time, `pay_after` from now."""
    at_once, now = is_card(hold, WALLET_PREFIX), datetime.now(UTC)
    held_back = is_card(hold, "card-refund-hold")
    of_cash = _is_of_cash(wanted)
    refund = RefundRow(
        **wanted._asdict(),
        status=RefundStatus.PENDING,
        requested_at=clock.text,
        accepted_at=iso(now),
        expected_at=iso(clock.now if at_once else clock.now + ARRIVAL_PERIOD),
        ends_at=None if at_once or held_back else iso(now + pay_after),
        verdict=None if at_once or held_back else _verdict(session, hold),
        of_cash=of_cash,
    )
    session.add(refund)
    if of_cash:
        hold.owed_minor -= refund.amount_minor
    else:
        hold.refunded_minor += refund.amount_minor
    _log(session, clock.text, "refund", refund, refund.amount_minor)
    if at_once:
        _pay(session, hold, refund, clock.text)
    tell_background(session)
    return refund


def return_cash(session: Session, hold: Hold, name: str, amount_minor: int, clock: Clock, pay_after: timedelta) -> None:
    """Begin to pay back what a shop took and nobody charges, as the refund `<reference>/<name>`."""
    hold.owed_minor += amount_minor
    wanted = RefundRequest(f"{hold.reference}/{name}", hold.reference, hold.order_number, amount_minor)
    accept(session, hold, wanted, clock, pay_after)


def returned_cash(session: Session, hold: Hold, name: str) -> dict[str, Any] | None:
    """Return how the return `<reference>/<name>` stands, None without one."""
    refund = session.get(RefundRow, f"{hold.reference}/{name}")
    return None if refund is None else _state(refund)


def _is_of_cash(wanted: RefundRequest) -> bool:
    return wanted.reference.startswith(f"{wanted.payment_reference}/")


def _verdict(session: Session, hold: Hold) -> RefundStatus:
    """Return how the provider will end a refund of this payment that it is about to accept."""
    if not is_card(hold, "card-refund-fail"):
        return RefundStatus.PAID
    earlier = session.exec(select(RefundRow).where(RefundRow.payment_reference == hold.reference)).first()
    return RefundStatus.FAILED if earlier is None else RefundStatus.PAID


def _refusal(hold: Hold, wanted: RefundRequest) -> Answer | None:
    """Return why it is not refunded: 422 of another order, 409 not captured, 422 more than is left of the capture."""
    if hold.order_number != wanted.order_number:
        message = f"{hold.reference} belongs to order {hold.order_number}, not to {wanted.order_number}"
        return Answer(422, error("wrong_order", message))
    of_cash = _is_of_cash(wanted)
    if hold.status != Status.CAPTURED and not of_cash:
        message = f"{hold.reference} is {hold.status}: only what was captured can be refunded"
        return Answer(409, error("not_captured", message))
    left = hold.owed_minor if of_cash else hold.captured_minor - hold.refunded_minor
    if wanted.amount_minor > left:
        of = "cash taken and not charged" if of_cash else f"{hold.captured_minor} captured"
        message = (
            f"{wanted.amount_minor} minor units exceed the {left} that are left of the {of} under {hold.reference}; "
            f"refund {left} at most"
        )
        return Answer(422, error("exceeds_capture", message))
    return None


def _end(session: Session, refund: RefundRow, status: RefundStatus, at: str) -> None:
    """Pay or fail a pending refund and tell so by webhook."""
    hold = session.get_one(Hold, refund.payment_reference)
    if status == RefundStatus.PAID:
        _pay(session, hold, refund, at)
        emit(session, EventKind.REFUND_PAID, refund.reference, refund.order_number, at)
    else:
        _fail(session, hold, refund, at)
        emit(session, EventKind.REFUND_FAILED, refund.reference, refund.order_number, at)


def _pay(session: Session, hold: Hold, refund: RefundRow, at: str) -> None:
    hold_account(session, hold).captured_minor -= refund.amount_minor
    refund.status = RefundStatus.PAID
    _log(session, at, "refund_paid", refund, refund.amount_minor)


def _fail(session: Session, hold: Hold, refund: RefundRow, at: str) -> None:
    """Give the amount free for another refund; where the payment was voided since, it goes back with the rest of it."""
    refund.status, refund.failure_code = RefundStatus.FAILED, ACCOUNT_CLOSED
    _log(session, at, "refund_failed", refund, refund.amount_minor)
    if refund.of_cash:
        hold.owed_minor += refund.amount_minor
    elif hold.status == Status.VOIDED:
        hold_account(session, hold).captured_minor -= refund.amount_minor
        write_log(session, at, "reverse", hold.reference, hold.order_number, refund.amount_minor)
    else:
        hold.refunded_minor -= refund.amount_minor


def _now_of(refund: RefundRow) -> str:
    """Return the present by the order's clock, which may live in another year: its request and the real time since."""
    passed = datetime.now(UTC) - datetime.fromisoformat(refund.accepted_at)
    return iso(datetime.fromisoformat(refund.requested_at) + passed)


def _log(session: Session, at: str, action: str, refund: RefundRow, amount_minor: int) -> None:
    write_log(session, at, action, refund.reference, refund.order_number, amount_minor)


def _state(refund: RefundRow, *, replayed: bool = False) -> dict[str, Any]:
    """Write a refund as it is answered."""
    hidden = {"requested_at", "accepted_at", "ends_at", "verdict"}
    return {**refund.model_dump(exclude=hidden), "replayed": replayed}
