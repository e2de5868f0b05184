"""The records of the orders: writing the newest snapshot and the history, and finding them again.

Policy: P3, C13, D3, G8, V1, V2, V6.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, func, or_
from sqlmodel import Session, col, select

from domain.message import alias
from domain.order import Actor, HistoryEntry, Status
from domain.views import OrderView
from store.tables import HistoryTable, LineTable, OrderTable

Cursor = tuple[datetime, str]
"""Where a page of orders ended: `placed_at` and number of its last order."""


@dataclass(frozen=True)
class Addressee:
    """Whom an alias stands for: `side` (buyer or seller) of an order, and `writer`, the mail address of the other side (V6)."""

    order_number: str
    side: Actor
    writer: str


def is_taken(session: Session, record: OrderView) -> bool:
    """Return whether the order's number belongs to an order of other content (P3)."""
    known = session.exec(select(OrderTable.content).where(OrderTable.number == record.number)).first()
    return known is not None and known != record.content


def write_snapshot(session: Session, record: OrderView, now: datetime) -> bool:
    """Write `record` unless a newer snapshot of the order is known; return whether it was written."""
    row = session.get(OrderTable, record.number)
    if row is not None and row.version > record.version:
        return False
    columns = _columns(record, now)
    if row is None:
        session.add(OrderTable(**columns))
    else:
        row.sqlmodel_update(columns)
    session.flush()
    session.exec(delete(LineTable).where(col(LineTable.order_number) == record.number))
    session.add_all(
        LineTable(
            order_number=record.number,
            position=position,
            sku=line.sku,
            title=line.title,
            quantity=line.quantity,
            shipped=line.shipped,
            unit_price_minor=line.unit_price_minor,
        )
        for position, line in enumerate(record.lines)
    )
    return True


def _columns(record: OrderView, now: datetime) -> dict[str, Any]:
    return {
        "number": record.number,
        "version": record.version,
        "content": record.content,
        "status": record.status.value,
        "marketplace": record.marketplace,
        "seller_id": record.seller.seller_id,
        "buyer_id": record.buyer.buyer_id if record.buyer else None,
        "buyer_email": record.buyer.email.lower() if record.buyer else None,
        "buyer_alias": alias(record.number, Actor.BUYER) if record.buyer else None,
        "seller_alias": alias(record.number, Actor.SELLER) if record.buyer else None,
        "currency": record.currency,
        "total_minor": record.total_minor,
        "placed_at": record.placed_at,
        "expected_ship_at": record.expected_ship_at,
        "next_deadline": record.next_deadline,
        "next_deadline_at": record.next_deadline_at,
        "cancelled_reason": record.cancellation.reason if record.cancellation else None,
        "flags": " ".join(record.flags),
        "view": record.model_dump(mode="json"),
        "updated_at": now,
    }


def write_history(session: Session, order_number: str, entries: Sequence[HistoryEntry]) -> None:
    """Write the entries that are not yet known; a known one is never changed."""
    new = {entry.seq: entry for entry in reversed(entries)}
    known = select(HistoryTable.seq).where(HistoryTable.order_number == order_number, col(HistoryTable.seq).in_(new))
    for seq in sorted(new.keys() - set(session.exec(known))):
        fields = new[seq].model_dump(mode="json", exclude={"at", "recorded_at", "name", "detail", "command_id"})
        session.add(
            HistoryTable(
                order_number=order_number,
                at=new[seq].at,
                recorded_at=new[seq].recorded_at,
                name=_storable(new[seq].name),
                detail=_storable(new[seq].detail),
                command_id=None if new[seq].command_id is None else _storable(new[seq].command_id or ""),
                **fields,
            )
        )


def _storable(text: str) -> str:
    # PostgreSQL keeps no NUL in a text, and what a stranger typed into a signal must not stop an order's records.
    return text.replace("\x00", "\ufffd")


def find(session: Session, number: str) -> OrderView | None:
    """Return the newest snapshot of one order, or None."""
    view = session.exec(select(OrderTable.view).where(OrderTable.number == number)).first()
    return None if view is None else OrderView.model_validate(view)


def addressee(session: Session, address: str) -> Addressee | None:
    """Return whom `address` stands for, in any case of its letters; None for no alias and for that of an erased order (A7)."""
    known = address.lower()
    if not (known.isascii() and known.isprintable()):
        return None
    either = or_(col(OrderTable.buyer_alias) == known, col(OrderTable.seller_alias) == known)
    row = session.exec(select(OrderTable).where(either)).first()
    if row is None:
        return None
    view = OrderView.model_validate(row.view)
    if view.buyer is None:
        return None
    if row.buyer_alias == known:
        return Addressee(row.number, Actor.BUYER, view.seller.email)
    return Addressee(row.number, Actor.SELLER, view.buyer.email)


def history(session: Session, number: str) -> list[HistoryEntry]:
    """Return an order's history, the oldest entry first."""
    query = select(HistoryTable).where(HistoryTable.order_number == number).order_by(col(HistoryTable.seq))
    return [HistoryEntry.model_validate(row.model_dump(exclude={"order_number"})) for row in session.exec(query)]


def page(
    session: Session,
    *,
    status: Status | None,
    seller_id: str | None,
    buyer_email: str | None,
    deadline_before: datetime | None,
    limit: int,
    after: Cursor | None,
) -> list[OrderView]:
    """Return the orders that meet every given condition, the newest first, at most `limit`."""
    query = select(OrderTable.view)
    if status is not None:
        query = query.where(OrderTable.status == status.value)
    if seller_id is not None:
        query = query.where(OrderTable.seller_id == seller_id)
    if buyer_email is not None:
        query = query.where(OrderTable.buyer_email == buyer_email.lower())
    if deadline_before is not None:
        query = query.where(col(OrderTable.next_deadline_at) < deadline_before)
    if after is not None:
        placed_at, number = after
        older = col(OrderTable.placed_at) < placed_at
        query = query.where(or_(older, and_(col(OrderTable.placed_at) == placed_at, col(OrderTable.number) < number)))
    query = query.order_by(col(OrderTable.placed_at).desc(), col(OrderTable.number).desc()).limit(limit)
    return [OrderView.model_validate(view) for view in session.exec(query)]


def counts_by_status(session: Session, seller_id: str | None) -> dict[Status, int]:
    """Return how many orders are in each status, also where there are none."""
    query = select(OrderTable.status, func.count()).group_by(col(OrderTable.status))
    if seller_id is not None:
        query = query.where(OrderTable.seller_id == seller_id)
    return dict.fromkeys(Status, 0) | {Status(status): count for status, count in session.exec(query)}
