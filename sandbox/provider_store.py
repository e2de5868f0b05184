"""What the payment provider keeps in one SQLite file: card accounts, holds and its own log."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import CheckConstraint, Connection, Engine, Index, event
from sqlalchemy.engine import URL
from sqlalchemy.orm import registry
from sqlmodel import Field, Session, SQLModel, col, create_engine, or_, select

DEFAULT_LIMIT_MINOR = 10**12
"""What a card account may hold and be charged per currency unless it was set otherwise, in minor units."""
ANY_CURRENCY = "*"
"""The currency of the account row whose limit new accounts of the card start with."""
CARD_PATTERN = re.compile(r"card-[A-Za-z0-9._-]{1,55}")


class Payment(NamedTuple):
    """What is to be held on which card: `amount_minor` in minor units; `reference` is the idempotency key."""

    reference: str
    order_number: str
    amount_minor: int
    currency: str
    card: str


class ProviderTable(SQLModel, registry=registry()):
    """The provider's tables, kept apart from the tables of any other database in the same process."""


class Account(ProviderTable, table=True):
    """What is held and charged on a card in a currency, in minor units; the database refuses an overdraft."""

    __table_args__ = (
        CheckConstraint("held_minor >= 0 AND captured_minor >= 0", name="not_negative"),
        CheckConstraint("held_minor + captured_minor <= limit_minor", name="never_overdrawn"),
    )

    card: str = Field(primary_key=True)
    currency: str = Field(primary_key=True)
    limit_minor: int
    held_minor: int = 0
    captured_minor: int = 0


class Status(StrEnum):
    """The state of a reference."""

    AUTHORIZED = "authorized"
    DECLINED = "declined"
    VOIDED = "voided"
    LAPSED = "lapsed"
    CAPTURED = "captured"


class Hold(ProviderTable, table=True):
    """One authorisation; `card` is empty while only its void has arrived; instants are ISO UTC texts that sort."""

    __table_args__ = (Index("own_clock_lapse", "own_clock", "status", "expires_at"),)

    reference: str = Field(primary_key=True)
    order_number: str = Field(default="", index=True)
    amount_minor: int | None = None
    currency: str | None = None
    card: str | None = None
    status: str
    decline_code: str | None = None
    captured_minor: int = 0
    expires_at: str | None = None
    own_clock: bool = False


class CaptureKey(ProviderTable, table=True):
    """A capture that was carried out or declined, by its idempotency key."""

    key: str = Field(primary_key=True)
    reference: str
    amount_minor: int


class LogEntry(ProviderTable, table=True):
    """One line of what the provider did: authorize, decline, capture, void, reverse, lapse, replay or refuse."""

    seq: int | None = Field(default=None, primary_key=True)
    at: str
    order_number: str = Field(index=True)
    reference: str
    action: str
    amount_minor: int


class Clock(NamedTuple):
    """The instant by which a request is judged; `own` when it is the provider's own."""

    now: datetime
    own: bool

    @property
    def text(self) -> str:
        """The instant as ISO UTC text of fixed width."""
        return _text(self.now)


class Wait(StrEnum):
    """How long an answer is kept back."""

    NONE = "none"
    SLOW = "slow"
    HANG = "hang"


class Answer(NamedTuple):
    """An HTTP status, its JSON body and how long it is kept back."""

    status: int
    body: dict[str, Any]
    wait: Wait = Wait.NONE


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


def open_database(path: Path) -> Engine:
    """Open the SQLite file at `path`, creating its folder and tables where they are missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(URL.create("sqlite", database=str(path)))

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        # The driver must not open transactions by itself: each one is to begin as IMMEDIATE.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=10000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    with engine.begin() as connection:
        ProviderTable.metadata.create_all(connection)
        for change in ("UPDATE", "DELETE"):
            connection.exec_driver_sql(
                f"CREATE TRIGGER IF NOT EXISTS log_no_{change.lower()} BEFORE {change} ON logentry "
                "BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END"
            )
    return engine


class Ledger:
    """The provider's accounts, holds and log; every public method is one transaction and safe to call from any thread.

    A hold lapses by the clock of its own order: another order that lives in the future never makes it lapse.
    """

    def __init__(self, path: Path, hold_period: timedelta) -> None:
        self._engine = open_database(path)
        self._hold_period = hold_period
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        with self._lock, Session(self._engine) as session, session.begin():
            yield session

    def authorize(self, payment: Payment, clock: Clock) -> Answer:
        """Hold money once per reference; answers 200 with the state of the reference, 409 for another payload."""
        with self._transaction() as session:
            _lapse_due(session, clock, payment.order_number)
            hold = session.get(Hold, payment.reference)
            if hold is None:
                return self._hold(session, payment, clock)
            if hold.card is None:
                hold.sqlmodel_update(payment._asdict())
                _log(session, clock, "refuse", hold, payment.amount_minor)
                return Answer(200, _state(hold))
            if payment._asdict() != hold.model_dump(include=set(Payment._fields)):
                return _conflict(session, clock, hold, payment.amount_minor)
            _log(session, clock, "replay", hold, payment.amount_minor)
            return Answer(200, _state(hold, replayed=True), Wait.SLOW if _is(hold, "card-slow") else Wait.NONE)

    def _hold(self, session: Session, payment: Payment, clock: Clock) -> Answer:
        """Decide a reference that is new."""
        code = _decline_code(session, payment)
        hold = Hold(
            **payment._asdict(),
            status=Status.DECLINED if code else Status.AUTHORIZED,
            decline_code=code,
            expires_at=None if code else _text(clock.now + self._hold_period),
            own_clock=clock.own,
        )
        session.add(hold)
        if not code:
            _account(session, payment.card, payment.currency).held_minor += payment.amount_minor
        _log(session, clock, "decline" if code else "authorize", hold, payment.amount_minor)
        waits = {"card-slow": Wait.SLOW, "card-timeout": Wait.HANG}
        return Answer(200, _state(hold), next((wait for card, wait in waits.items() if _is(hold, card)), Wait.NONE))

    def capture(self, reference: str, amount_minor: int, key: str, clock: Clock) -> Answer:
        """Charge a hold once; see `_capture_refusal` for what is refused."""
        with self._transaction() as session:
            hold = session.get(Hold, reference)
            if hold is None:
                stranger = Hold(reference=reference, status="")
                _log(session, clock, "refuse", stranger, amount_minor)
                return Answer(404, _error("unknown_reference", f"no authorisation {reference} has arrived"))
            _lapse_due(session, clock, hold.order_number)
            known = session.get(CaptureKey, key)
            if known is not None and (known.reference, known.amount_minor) != (reference, amount_minor):
                return _conflict(session, clock, hold, amount_minor)
            if known is not None and hold.status == Status.CAPTURED:
                _log(session, clock, "replay", hold, amount_minor)
                return Answer(200, _state(hold, replayed=True), Wait.SLOW if _is(hold, "card-slow") else Wait.NONE)
            refusal = _capture_refusal(hold, amount_minor)
            if refusal is not None:
                _log(session, clock, "decline" if refusal.status == 402 else "refuse", hold, amount_minor)
            if known is None and (refusal is None or refusal.status == 402):
                session.add(CaptureKey(key=key, reference=reference, amount_minor=amount_minor))
            return refusal or _charge(session, hold, amount_minor, clock)

    def void(self, reference: str, order_number: str | None, clock: Clock) -> Answer:
        """Make sure that nothing is or will be held or charged under the reference; answers 200 always."""
        with self._transaction() as session:
            hold = session.get(Hold, reference)
            if hold is None:
                hold = Hold(reference=reference, order_number=order_number or "", status=Status.VOIDED)
                session.add(hold)
                _log(session, clock, "void", hold, 0)
                return Answer(200, _state(hold))
            _lapse_due(session, clock, hold.order_number)
            replayed = hold.status == Status.VOIDED
            if replayed:
                _log(session, clock, "replay", hold, 0)
            else:
                _release(session, hold, clock)
            return Answer(200, _state(hold, replayed=replayed))

    def find(self, reference: str, clock: Clock) -> Answer:
        """Return the state of a reference, or 404."""
        with self._transaction() as session:
            hold = session.get(Hold, reference)
            if hold is None:
                return Answer(404, _error("unknown_reference", f"neither an authorisation nor a void of {reference}"))
            _lapse_due(session, clock, hold.order_number)
            return Answer(200, _state(hold))

    def find_order(self, order_number: str, clock: Clock) -> list[dict[str, Any]]:
        """Return the states of an order's references, by reference."""
        with self._transaction() as session:
            _lapse_due(session, clock, order_number)
            query = select(Hold).where(Hold.order_number == order_number).order_by(Hold.reference)
            return [_state(hold) for hold in session.exec(query)]

    def log(self, order_number: str | None) -> list[dict[str, Any]]:
        """Return the log, oldest first, of one order or of all."""
        query = select(LogEntry).order_by(col(LogEntry.seq))
        if order_number is not None:
            query = query.where(LogEntry.order_number == order_number)
        with self._transaction() as session:
            return [entry.model_dump() for entry in session.exec(query)]

    def accounts(self, clock: Clock) -> list[dict[str, Any]]:
        """Return what is held, charged and available of each card and currency, in minor units."""
        query = select(Account).where(Account.currency != ANY_CURRENCY).order_by(Account.card, Account.currency)
        with self._transaction() as session:
            _lapse_due(session, clock, None)
            return [_balance(account) for account in session.exec(query)]

    def set_limit(self, card: str, currency: str | None, limit_minor: int) -> Answer:
        """Set a card's limit; 409 where more than that is held or charged already."""
        with self._transaction() as session:
            if currency is not None:
                accounts = [_account(session, card, currency)]
            else:
                _account(session, card, ANY_CURRENCY)
                accounts = list(session.exec(select(Account).where(Account.card == card)))
            used = max(account.held_minor + account.captured_minor for account in accounts)
            if used > limit_minor:
                return Answer(409, _error("limit_below_use", f"{used} minor units of {card} are in use already"))
            for account in accounts:
                account.limit_minor = limit_minor
            return Answer(200, {"card": card, "currency": currency, "limit_minor": limit_minor})


def _is(hold: Hold, card: str) -> bool:
    return hold.card is not None and hold.card.startswith(card)


def _state(hold: Hold, *, replayed: bool = False) -> dict[str, Any]:
    """Write a reference as it is answered."""
    fields = {"reference", "status", "decline_code", "amount_minor", "currency", "expires_at", "captured_minor"}
    return {**hold.model_dump(include=fields), "order_number": hold.order_number, "replayed": replayed}


def _balance(account: Account) -> dict[str, Any]:
    available = account.limit_minor - account.held_minor - account.captured_minor
    return {**account.model_dump(), "available_minor": available}


def _error(code: str, message: str, **details: object) -> dict[str, Any]:
    return {"error": code, "message": message, **details}


def _log(session: Session, clock: Clock, action: str, hold: Hold, amount_minor: int) -> None:
    line = {"at": clock.text, "order_number": hold.order_number, "reference": hold.reference, "action": action}
    session.add(LogEntry.model_validate({**line, "amount_minor": amount_minor}))


def _conflict(session: Session, clock: Clock, hold: Hold, amount_minor: int) -> Answer:
    _log(session, clock, "refuse", hold, amount_minor)
    message = f"the same key came before with other content (reference {hold.reference}); use a new key"
    return Answer(409, _error("idempotency_conflict", message, reference=hold.reference))


def _account(session: Session, card: str, currency: str) -> Account:
    """Return the account of a card in a currency, opening it at the card's limit."""
    account = session.get(Account, (card, currency))
    if account is None:
        base = session.get(Account, (card, ANY_CURRENCY))
        account = Account(card=card, currency=currency, limit_minor=base.limit_minor if base else DEFAULT_LIMIT_MINOR)
        session.add(account)
    return account


def _decline_code(session: Session, payment: Payment) -> str | None:
    """Return why the card does not pay, or None."""
    if CARD_PATTERN.fullmatch(payment.card) is None:
        return "invalid_card"
    if payment.card.startswith("card-decline"):
        return "card_declined"
    if payment.card.startswith("card-retry"):
        earlier = select(Hold).where(Hold.order_number == payment.order_number, col(Hold.card).is_not(None))
        if session.exec(earlier).first() is None:
            return "card_declined"
    account = _account(session, payment.card, payment.currency)
    available = account.limit_minor - account.held_minor - account.captured_minor
    return "insufficient_funds" if available < payment.amount_minor else None


def _capture_refusal(hold: Hold, amount_minor: int) -> Answer | None:
    """Return why a hold cannot be charged: 409 voided, lapsed or already captured, 402 declined, 422 too much."""
    if hold.status in (Status.VOIDED, Status.LAPSED):
        return Answer(409, _error(hold.status, f"{hold.reference} is {hold.status}: nothing is held under it"))
    if hold.status == Status.CAPTURED:
        return Answer(409, _error("already_captured", f"{hold.reference} was captured under another key"))
    if hold.status == Status.DECLINED:
        return Answer(402, _error("declined", f"{hold.reference} was declined", decline_code=hold.decline_code))
    if amount_minor > (hold.amount_minor or 0):
        return Answer(422, _error("exceeds_hold", f"{hold.reference} holds {hold.amount_minor} minor units"))
    if _is(hold, "card-capture-decline"):
        return Answer(402, _error("declined", f"the card of {hold.reference} declined", decline_code="card_declined"))
    return None


def _charge(session: Session, hold: Hold, amount_minor: int, clock: Clock) -> Answer:
    account = _account(session, hold.card or "", hold.currency or "")
    account.held_minor -= hold.amount_minor or 0
    account.captured_minor += amount_minor
    hold.status, hold.captured_minor = Status.CAPTURED, amount_minor
    _log(session, clock, "capture", hold, amount_minor)
    waits = {"card-slow": Wait.SLOW, "card-capture-timeout": Wait.HANG}
    return Answer(200, _state(hold), next((wait for card, wait in waits.items() if _is(hold, card)), Wait.NONE))


def _release(session: Session, hold: Hold, clock: Clock) -> None:
    """Void a hold, or reverse its capture; the log tells how much came free, in minor units."""
    action, freed = "void", 0
    if hold.status == Status.AUTHORIZED:
        freed = hold.amount_minor or 0
        _account(session, hold.card or "", hold.currency or "").held_minor -= freed
    elif hold.status == Status.CAPTURED:
        action, freed = "reverse", hold.captured_minor
        _account(session, hold.card or "", hold.currency or "").captured_minor -= freed
    hold.status, hold.captured_minor = Status.VOIDED, 0
    _log(session, clock, action, hold, freed)


def _lapse_due(session: Session, clock: Clock, order_number: str | None) -> None:
    """Let holds lapse that are due: those of the order by the given clock, those made by the own clock by that one."""
    own_now = _text(datetime.now(UTC))
    due = or_(
        (col(Hold.order_number) == order_number) & (col(Hold.expires_at) <= clock.text),
        col(Hold.own_clock).is_(True) & (col(Hold.expires_at) <= own_now),
    )
    for hold in session.exec(select(Hold).where(Hold.status == Status.AUTHORIZED, due)).all():
        _account(session, hold.card or "", hold.currency or "").held_minor -= hold.amount_minor or 0
        hold.status = Status.LAPSED
        _log(session, clock, "lapse", hold, hold.amount_minor or 0)
