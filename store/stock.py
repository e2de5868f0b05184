"""The stock: who holds how many units of what, moved all or nothing and exactly once.

Every function runs inside a transaction that is alone on its order. A change of what is held takes the row locks of its
stock first, in the order of their sku, so that two orders never wait for each other.

Policy: P4, C9, C10.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from domain.effects import Reservation
from domain.order import CLOSED, Status
from domain.views import OrderView
from store.tables import HeadTable, ReservationTable, StockTable


@dataclass(frozen=True)
class Shortage:
    """The reservation was refused: `available` gives the units the order could have of each sku that is short."""

    available: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class StockRow:
    """Units of one item: `on_hand` are physically there and not yet shipped, `reserved` are held by running orders."""

    seller_id: str
    sku: str
    on_hand: int
    reserved: int

    @property
    def available(self) -> int:
        """Units that a new order can have, 0 when oversold."""
        return max(0, self.on_hand - self.reserved)


def is_over(session: Session, reservation: Reservation) -> bool:
    """Return whether the order of `reservation` is cancelled or completed, so that it holds nothing any more."""
    head = session.get(HeadTable, reservation.order_number)
    return head is not None and head.closed


def reserve(session: Session, reservation: Reservation, reserved_at: datetime) -> Shortage | None:
    """Make the order hold exactly the units of `reservation`, or change nothing and return what is short."""
    head = session.get(HeadTable, reservation.order_number)
    if head is not None and reservation.version <= head.version:
        return None
    held = _held(session, reservation.order_number)
    wanted = dict.fromkeys(held, 0) | dict(reservation.quantities)
    changed = {sku: units for sku, units in wanted.items() if units != _units(held, sku)}
    stock = _locked(session, reservation.seller_id, changed)
    short: dict[str, int] = {}
    for sku, units in changed.items():
        item = stock.get(sku)
        attainable = _units(held, sku) + (max(0, item.on_hand - item.reserved) if item else 0)
        if units > attainable:
            short[sku] = attainable
    if short:
        return Shortage(short)
    if head is None:
        head = _open_head(session, reservation.order_number, reservation.seller_id, reserved_at)
    head.version = reservation.version
    for sku, units in changed.items():
        row = held[sku] if sku in held else _open_row(session, head, sku)
        _move(row, stock[sku], units, row.shipped)
    return None


def withdraw(session: Session, order_number: str) -> None:
    """Give back what an order holds and forget that it held it; for an order that was never begun."""
    head = session.get(HeadTable, order_number)
    if head is None:
        return
    held = _held(session, order_number)
    stock = _locked(session, head.seller_id, held)
    for sku, row in held.items():
        _move(row, stock[sku], 0, row.shipped)
        session.delete(row)
    session.flush()
    session.delete(head)


def follow(session: Session, record: OrderView) -> None:
    """Bring the stock in line with an order's newest snapshot: release or raise, and take away what it shipped."""
    head = session.get(HeadTable, record.number)
    over = record.status in CLOSED
    if head is not None and (head.closed or (record.version <= head.version and not over)):
        return
    if head is None and record.status is Status.PENDING:
        # Its first reservation is still on its way and has to ask for stock like everyone else's.
        return
    if head is None:
        head = _open_head(session, record.number, record.seller.seller_id, record.placed_at)
    head.version, head.closed, head.reserved_at = max(head.version, record.version), over, record.placed_at
    held = _held(session, record.number)
    needed, shipped = dict.fromkeys(held, 0), dict.fromkeys(held, 0)
    for line in record.lines:
        needed[line.sku] = needed.get(line.sku, 0) + (0 if over else line.unshipped)
        shipped[line.sku] = shipped.get(line.sku, 0) + line.shipped
    for sku in needed.keys() - held.keys():
        held[sku] = _open_row(session, head, sku)
    changed = [sku for sku, row in held.items() if needed[sku] != row.quantity or shipped[sku] > row.shipped]
    _create_missing(session, head.seller_id, changed)
    stock = _locked(session, head.seller_id, changed)
    for sku in changed:
        _move(held[sku], stock[sku], needed[sku], shipped[sku])


def set_on_hand(session: Session, seller_id: str, sku: str, units: int) -> list[str]:
    """Correct the stock of one item and return the orders that can no longer be filled, the newest first."""
    _create_missing(session, seller_id, [sku])
    item = _locked(session, seller_id, [sku])[sku]
    item.on_hand = units
    holders = session.exec(
        select(ReservationTable.order_number, ReservationTable.quantity)
        .join(HeadTable, col(HeadTable.order_number) == col(ReservationTable.order_number))
        .where(ReservationTable.seller_id == seller_id, ReservationTable.sku == sku, ReservationTable.quantity > 0)
        .order_by(col(HeadTable.reserved_at).desc(), col(HeadTable.order_number).desc())
    )
    oversold, left = [], item.reserved
    for number, quantity in holders:
        if left <= units:
            break
        oversold.append(number)
        left -= quantity
    return oversold


def rows(session: Session, seller_id: str | None) -> list[StockRow]:
    """Return the stock of one seller or of all, by seller and sku."""
    query = select(StockTable).order_by(col(StockTable.seller_id), col(StockTable.sku))
    if seller_id is not None:
        query = query.where(StockTable.seller_id == seller_id)
    return [StockRow(item.seller_id, item.sku, item.on_hand, item.reserved) for item in session.exec(query)]


def _held(session: Session, order_number: str) -> dict[str, ReservationTable]:
    query = select(ReservationTable).where(ReservationTable.order_number == order_number)
    return {row.sku: row for row in session.exec(query)}


def _units(held: Mapping[str, ReservationTable], sku: str) -> int:
    return held[sku].quantity if sku in held else 0


def _open_head(session: Session, order_number: str, seller_id: str, reserved_at: datetime) -> HeadTable:
    head = HeadTable(order_number=order_number, seller_id=seller_id, version=0, closed=False, reserved_at=reserved_at)
    session.add(head)
    session.flush()
    return head


def _create_missing(session: Session, seller_id: str, skus: Iterable[str]) -> None:
    # Before any row lock is taken: waiting for another transaction's new row while holding locks could deadlock.
    wanted = set(skus)
    query = select(StockTable.sku).where(StockTable.seller_id == seller_id, col(StockTable.sku).in_(wanted))
    known = session.exec(query).all()
    missing = [
        {"seller_id": seller_id, "sku": sku, "on_hand": 0, "reserved": 0} for sku in sorted(wanted.difference(known))
    ]
    if not missing:
        return
    if session.get_bind().dialect.name == "postgresql":
        session.exec(postgresql.insert(StockTable).values(missing).on_conflict_do_nothing())
    else:
        session.exec(sqlite.insert(StockTable).values(missing).on_conflict_do_nothing())


def _locked(session: Session, seller_id: str, skus: Iterable[str]) -> dict[str, StockTable]:
    query = (
        select(StockTable)
        .where(StockTable.seller_id == seller_id, col(StockTable.sku).in_(set(skus)))
        .order_by(col(StockTable.sku))
        .with_for_update()
    )
    return {item.sku: item for item in session.exec(query)}


def _open_row(session: Session, head: HeadTable, sku: str) -> ReservationTable:
    row = ReservationTable(order_number=head.order_number, sku=sku, seller_id=head.seller_id)
    session.add(row)
    return row


def _move(row: ReservationTable, item: StockTable, units: int, shipped: int) -> None:
    """Let an order hold `units` of `item` and have shipped `shipped` in all, none of them taken away twice."""
    item.reserved += units - row.quantity
    # A seller that shipped more than it said it had leaves nothing, not less than nothing.
    item.on_hand = max(0, item.on_hand - max(0, shipped - row.shipped))
    row.quantity, row.shipped = units, max(shipped, row.shipped)
