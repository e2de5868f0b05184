"""The store: records of the orders, written in the background, and the stock and the ledger that follow them.

Synchronous; call it from as many threads and processes as you like. Every method is one transaction.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import delete
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select

from domain.effects import NoticeKind, Reservation
from domain.movements import Movement
from domain.order import Actor, HistoryEntry, Status
from domain.views import OrderView
from store import ledger, records, stock
from store.database import Database
from store.ledger import Balance, LedgerRow, Unbalanced
from store.records import Addressee, Cursor
from store.stock import Shortage, StockRow
from store.tables import LineTable, NoticeTable, OrderTable

__all__ = [
    "Addressee",
    "Balance",
    "Cursor",
    "LedgerRow",
    "NoticeRow",
    "NumberTaken",
    "Shortage",
    "StockRow",
    "Store",
    "Unbalanced",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NumberTaken:
    """The order's number belongs to an order of other content (P3)."""

    order_number: str


@dataclass(frozen=True)
class NoticeRow:
    """One mail of an order: `status` is `sent` or `refused`, `error` says why it was refused."""

    key: str
    order_number: str
    kind: NoticeKind
    recipient: Actor
    language: str
    status: str
    error: str | None
    sent_at: datetime


class Store:
    """The database at `url`: `sqlite:///FILE` or `postgresql://USER@HOST/NAME`.

    Raises ValueError for any other. Call `migrate()` before the first use.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    def migrate(self) -> None:
        """Bring the tables to the newest revision; safe when several workers start at once."""
        self._database.migrate()

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    def healthy(self) -> bool:
        """Return whether the database answers and has its tables."""
        try:
            self._database.read(lambda session: session.exec(select(OrderTable.number).limit(1)).first())
        except SQLAlchemyError:
            return False
        return True

    def reserve(self, reservation: Reservation, record: OrderView | None = None) -> Shortage | NumberTaken | None:
        """Make the order hold exactly the units of `reservation`, and write `record` with it; all or nothing.

        Returns None when the order holds them; also, changing nothing, when the same or a newer version is known.
        Returns NumberTaken when the number belongs to an order of other content or to one that is over. Policy: P3, P4.
        """
        now = datetime.now(UTC)

        return self._database.write(
            reservation.order_number, lambda session: _reserve(session, reservation, record, now)
        )

    def reserve_all(self, orders: Sequence[tuple[Reservation, OrderView]]) -> dict[str, Shortage | NumberTaken]:
        """Do for several orders what `reserve` does for one, all or nothing.

        Returns an empty mapping when every order holds its units; otherwise nothing is changed, and the mapping says by
        order number what stands against it. Policy: P2, P3, P4.
        """
        now, refused = datetime.now(UTC), _RefusedError({})
        # Row locks are taken by seller and then by sku, as every other transaction takes them.
        by_seller = sorted(orders, key=lambda each: (each[0].seller_id, each[0].order_number))

        def work(session: Session) -> dict[str, Shortage | NumberTaken]:
            refused.orders.clear()
            for reservation, record in by_seller:
                answer = _reserve(session, reservation, record, now)
                if answer is not None:
                    refused.orders[reservation.order_number] = answer
            if refused.orders:
                raise refused
            return {}

        try:
            return self._database.write([reservation.order_number for reservation, _ in orders], work)
        except _RefusedError as error:
            return error.orders

    def withdraw(self, number: str, content: str) -> bool:
        """Undo the reservation and the first record of an order that was never begun; return whether it was undone.

        An order of other content, and one that has a history, is left as it is. Policy: P2, C9.
        """

        def work(session: Session) -> bool:
            row = session.get(OrderTable, number)
            if row is None or row.content != content or records.history(session, number):
                return False
            stock.withdraw(session, number)
            session.exec(delete(LineTable).where(col(LineTable.order_number) == number))
            session.delete(row)
            return True

        return self._database.write(number, work)

    def record(self, record: OrderView, entries: Sequence[HistoryEntry] = ()) -> None:
        """Write a snapshot with its history, bring the stock in line with it and post its movements of money.

        An older or repeated one changes nothing, except that what it knows of history and movements is added where it
        is missing. One that needs more than is reserved is believed without asking for stock: the order exists.
        A number that belongs to an order of other content is left alone. Policy: C9, C10, D3, S7.
        """

        def work(session: Session) -> None:
            if records.is_taken(session, record):
                _log.warning("order %s: a record of other content was not written", record.number)
                return
            if records.write_snapshot(session, record, datetime.now(UTC)):
                stock.follow(session, record)
            records.write_history(session, record.number, entries)
            _post(session, record)

        self._database.write(record.number, work)

    def set_on_hand(self, seller_id: str, sku: str, units: int) -> list[str]:
        """Set a seller's units of an item; return the orders that can no longer be filled, the newest first.

        These are the newest orders without which all others can be filled. Raises ValueError for negative units.
        Policy: P4.
        """
        if units < 0:
            raise ValueError(f"{units} units of {sku!r} cannot be on hand; give 0 or more")
        return self._database.write(None, lambda session: stock.set_on_hand(session, seller_id, sku, units))

    def stock(self, seller_id: str | None = None) -> list[StockRow]:
        """Return the stock of one seller or of all, by seller and sku."""
        return self._database.read(lambda session: stock.rows(session, seller_id))

    def notice_status(self, key: str) -> str | None:
        """Return what became of the notice `key`: "sent", "refused" for good, or None while that is not known."""

        def work(session: Session) -> str | None:
            notice = session.get(NoticeTable, key)
            return None if notice is None else notice.status

        return self._database.read(work)

    def save_notice(
        self,
        key: str,
        order_number: str,
        kind: NoticeKind,
        recipient: Actor,
        language: str,
        status: str,
        error: str | None,
        at: datetime,
    ) -> None:
        """Keep what became of a notice, `sent` or `refused`; a second word on the same `key` changes nothing."""
        row = NoticeTable(
            key=key,
            order_number=order_number,
            kind=kind.value,
            recipient=recipient.value,
            language=language,
            status=status,
            error=None if error is None else error.replace("\x00", "\ufffd"),
            sent_at=at,
        )

        def work(session: Session) -> None:
            if session.get(NoticeTable, key) is None:
                session.add(NoticeTable(**row.model_dump()))

        self._database.write(order_number, work)

    def notices(self, number: str) -> list[NoticeRow]:
        """Return the notices of one order, the oldest first."""
        query = (
            select(NoticeTable)
            .where(NoticeTable.order_number == number)
            .order_by(col(NoticeTable.sent_at), col(NoticeTable.key))
        )

        def work(session: Session) -> list[NoticeRow]:
            found = []
            for row in session.exec(query):
                fields = row.model_dump() | {"kind": NoticeKind(row.kind), "recipient": Actor(row.recipient)}
                found.append(NoticeRow(**fields))
            return found

        return self._database.read(work)

    def order(self, number: str) -> OrderView | None:
        """Return the newest snapshot of one order, or None."""
        return self._database.read(lambda session: records.find(session, number))

    def addressee(self, address: str) -> Addressee | None:
        """Return whom the alias `address` stands for, None where it is unknown or its order is erased. Policy: V6, A7."""
        return self._database.read(lambda session: records.addressee(session, address))

    def history(self, number: str) -> list[HistoryEntry]:
        """Return an order's history, the oldest entry first."""
        return self._database.read(lambda session: records.history(session, number))

    def orders(
        self,
        *,
        status: Status | None = None,
        seller_id: str | None = None,
        buyer_email: str | None = None,
        deadline_before: datetime | None = None,
        limit: int = 100,
        after: Cursor | None = None,
    ) -> list[OrderView]:
        """Return the orders that meet every given condition, the newest first, at most `limit`.

        `after` is `(placed_at, number)` of the last order of the page before. Policy: V1, V2.
        """
        return self._database.read(
            lambda session: records.page(
                session,
                status=status,
                seller_id=seller_id,
                buyer_email=buyer_email,
                deadline_before=deadline_before,
                limit=limit,
                after=after,
            )
        )

    def balances(self, account_prefix: str | None = None) -> list[Balance]:
        """Return what each account of the ledger holds, of all or of those that begin with `account_prefix`.

        In minor units, debits less credits, by account and currency. Policy: S7.
        """
        return self._database.read(lambda session: ledger.balances(session, account_prefix))

    def entries(self, order_number: str | None = None, account: str | None = None) -> list[LedgerRow]:
        """Return the ledger's entries of one order, of one account or of all, the oldest first."""
        return self._database.read(lambda session: ledger.entries(session, order_number, account))

    def movements(self, order_numbers: Sequence[str]) -> dict[str, list[Movement]]:
        """Return what the ledger has of each of the orders, by order number; an empty list where it has nothing."""
        return self._database.read(lambda session: ledger.movements_of(session, order_numbers))

    def unbalanced(self) -> list[Unbalanced]:
        """Return the ledger's movements whose debits are not their credits; there should be none."""
        return self._database.read(ledger.unbalanced)

    def orders_without_record(self) -> list[str]:
        """Return the order numbers that the ledger knows and the store has no order of; there should be none."""
        return self._database.read(ledger.orders_without_record)

    def counts_by_status(self, seller_id: str | None = None) -> dict[Status, int]:
        """Return how many orders are in each status, of one seller or of all, also where there are none."""
        return self._database.read(lambda session: records.counts_by_status(session, seller_id))


class _RefusedError(Exception):
    """Takes back a transaction in which some orders could not be had, and says why."""

    def __init__(self, orders: dict[str, Shortage | NumberTaken]) -> None:
        super().__init__()
        self.orders = orders


def _reserve(
    session: Session, reservation: Reservation, record: OrderView | None, now: datetime
) -> Shortage | NumberTaken | None:
    if stock.is_over(session, reservation) or (record is not None and records.is_taken(session, record)):
        return NumberTaken(reservation.order_number)
    short = stock.reserve(session, reservation, record.placed_at if record else now)
    if short is None and record is not None:
        records.write_snapshot(session, record, now)
        _post(session, record)
    return short


def _post(session: Session, record: OrderView) -> None:
    """Post the movements of `record`; one that does not balance is left out and logged, so that the record is written."""
    for each in record.movements:
        if not each.is_balanced:
            _log.error("ledger: movement %s does not balance and is not posted: %s", each.movement_id, each.entries)
    ledger.write_movements(session, [each for each in record.movements if each.is_balanced])
