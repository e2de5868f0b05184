"""What every operation of the payment provider shares: its transactions, accounts, log lines, events and answers."""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlmodel import Session, case, col, or_, select

from sandbox.provider_tables import (
    ANY_CURRENCY,
    DEFAULT_LIMIT_MINOR,
    Account,
    Answer,
    Clock,
    EventKind,
    EventRow,
    Hold,
    LogEntry,
    Status,
    iso,
    open_database,
)

_STATE_FIELDS = {
    "reference",
    "order_number",
    "status",
    "method",
    "decline_code",
    "amount_minor",
    "currency",
    "expires_at",
    "captured_minor",
    "refunded_minor",
    "number",
    "due_at",
}
_NEWS = "news"


class Book:
    """The provider's database; one transaction at a time, from any thread."""

    def __init__(self, path: Path) -> None:
        self._engine = open_database(path)
        self._lock = threading.Lock()
        self.on_news: Callable[[], None] = lambda: None
        """Called after a transaction that gave the background something to do."""

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Open a session that is committed at the end of the block, or rolled back when it raises."""
        with self._lock, Session(self._engine) as session, session.begin():
            yield session
        if session.info.get(_NEWS):
            self.on_news()


def tell_background(session: Session) -> None:
    """Have the background look at its work once the transaction is committed."""
    session.info[_NEWS] = True


def emit(session: Session, kind: EventKind, reference: str, order_number: str, at: str) -> None:
    """Put an event in the outbox; it is delivered if and only if the transaction is committed."""
    named = {"id": f"msg_{uuid.uuid4().hex}", "type": kind, "reference": reference, "order_number": order_number}
    session.add(EventRow.model_validate({**named, "at": at, "created_at": iso(datetime.now(UTC))}))
    tell_background(session)


def write_log(session: Session, at: str, action: str, reference: str, order_number: str, amount_minor: int) -> None:
    """Add a line to the log."""
    line = {"at": at, "order_number": order_number, "reference": reference, "action": action}
    session.add(LogEntry.model_validate({**line, "amount_minor": amount_minor}))


def log_hold(session: Session, clock: Clock, action: str, hold: Hold, amount_minor: int) -> None:
    """Add a line about an authorisation to the log."""
    write_log(session, clock.text, action, hold.reference, hold.order_number, amount_minor)


def account_of(session: Session, card: str, currency: str) -> Account:
    """Return the account of a card, wallet or shop payment in a currency, opening it at its limit."""
    account = session.get(Account, (card, currency))
    if account is None:
        base = session.get(Account, (card, ANY_CURRENCY))
        account = Account(card=card, currency=currency, limit_minor=base.limit_minor if base else DEFAULT_LIMIT_MINOR)
        session.add(account)
    return account


def hold_account(session: Session, hold: Hold) -> Account:
    """Return the account on which an authorisation holds money."""
    return account_of(session, hold.card or "", hold.currency or "")


def is_card(hold: Hold, prefix: str) -> bool:
    """Tell whether an authorisation is on an account of this kind."""
    return hold.card is not None and hold.card.startswith(prefix)


def state_of(hold: Hold, *, replayed: bool = False) -> dict[str, Any]:
    """Write an authorisation as it is answered."""
    return {**hold.model_dump(include=_STATE_FIELDS), "replayed": replayed}


def error(code: str, message: str, **details: object) -> dict[str, Any]:
    """Write a refusal as it is answered."""
    return {"error": code, "message": message, **details}


def conflict(reference: str) -> Answer:
    """Refuse an idempotency key that came before with other content: 409."""
    message = f"the same key came before with other content (reference {reference}); use a new key"
    return Answer(409, error("idempotency_conflict", message, reference=reference))


def lapse_due(session: Session, clock: Clock, order_number: str | None) -> None:
    """Let holds and unpaid shop payments end that are due.

    Those of the order are judged by the given clock, those made by the provider's own clock by that one.
    """
    open_states = (Status.AUTHORIZED, Status.AWAITING)
    ends_at = case((col(Hold.status) == Status.AWAITING, col(Hold.due_at)), else_=col(Hold.expires_at))
    due = or_(
        (col(Hold.order_number) == order_number) & (ends_at <= clock.text),
        col(Hold.own_clock).is_(True) & (ends_at <= iso(datetime.now(UTC))),
    )
    for hold in session.exec(select(Hold).where(col(Hold.status).in_(open_states), due)).all():
        if hold.status == Status.AWAITING:
            log_hold(session, clock, "expire", hold, hold.amount_minor or 0)
            emit(session, EventKind.PAYMENT_EXPIRED, hold.reference, hold.order_number, clock.text)
        else:
            hold_account(session, hold).held_minor -= hold.amount_minor or 0
            log_hold(session, clock, "lapse", hold, hold.amount_minor or 0)
        hold.status = Status.LAPSED
