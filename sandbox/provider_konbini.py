"""Convenience-store payments at the provider: a number is issued, a shop takes the money, or the due date passes (P5, G7)."""

import hashlib
from itertools import count

from sqlmodel import Session, select

from sandbox.provider_book import Book, emit, error, hold_account, lapse_due, log_hold, state_of
from sandbox.provider_tables import Answer, Clock, EventKind, Hold, Payment, Status

_NUMBER_DIGITS = 12


def issue(session: Session, payment: Payment, clock: Clock) -> Answer:
    """Issue the payment number of a new reference: 200, awaiting its money until `due_at`."""
    number = _free_number(session, payment.reference)
    account = {"card": f"konbini-{number}"}
    fields = {**payment._asdict(), **account}
    hold = Hold(**fields, status=Status.AWAITING, number=number, own_clock=clock.own)
    session.add(hold)
    log_hold(session, clock, "issue", hold, payment.amount_minor)
    lapse_due(session, clock, payment.order_number)
    return Answer(200, state_of(hold))


def _free_number(session: Session, reference: str) -> str:
    """Return a number that no other reference has; the same reference would get the same one."""
    for attempt in count():
        digest = hashlib.sha256(f"{reference}#{attempt}".encode()).hexdigest()
        number = str(int(digest, 16))[-_NUMBER_DIGITS:].zfill(_NUMBER_DIGITS)
        if session.exec(select(Hold.reference).where(Hold.number == number)).first() is None:
            return number
    raise AssertionError("unreachable: the attempts do not end")


class Shops:
    """The tills of all convenience stores; every public method is one transaction and safe to call from any thread."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def pay(self, number: str, late: bool, clock: Clock) -> Answer:
        """Pay a number in full; with `late` the shop takes the money also past its due date or after its void.

        Answers 200 with the state, 404 for an unknown number, 409 when it was paid before, is past due or voided.
        """
        with self._book.transaction() as session:
            hold = session.exec(select(Hold).where(Hold.number == number)).first()
            if hold is None:
                return Answer(404, error("unknown_number", f"no payment number {number} was issued"))
            lapse_due(session, clock, hold.order_number)
            refusal = _refusal(hold, late)
            if refusal is not None:
                log_hold(session, clock, "refuse", hold, hold.amount_minor or 0)
                return refusal
            _take(session, hold, clock)
            return Answer(200, state_of(hold))


def _refusal(hold: Hold, late: bool) -> Answer | None:
    """Return why the till does not take the money, or None."""
    if hold.paid_at is not None:
        return Answer(409, error("already_paid", f"number {hold.number} was paid at {hold.paid_at}"))
    if hold.status != Status.AWAITING and not late:
        message = f"number {hold.number} is {hold.status}; it could be paid until {hold.due_at}"
        return Answer(409, error(hold.status, message))
    return None


def _take(session: Session, hold: Hold, clock: Clock) -> None:
    """Take the money: it is held under the reference and never lapses."""
    in_time = hold.status == Status.AWAITING
    hold.status, hold.paid_at = Status.AUTHORIZED, clock.text
    hold_account(session, hold).held_minor += hold.amount_minor or 0
    log_hold(session, clock, "pay" if in_time else "pay_late", hold, hold.amount_minor or 0)
    kind = EventKind.PAYMENT_PAID if in_time else EventKind.PAYMENT_PAID_LATE
    emit(session, kind, hold.reference, hold.order_number, clock.text)
