"""The tables: orders as their newest snapshot shows them, their history and notices, stock and who holds it, the ledger."""

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, CheckConstraint, DateTime, Dialect, Index, MetaData, Text, TypeDecorator
from sqlmodel import Field, SQLModel


class UtcInstant(TypeDecorator[datetime]):
    """An instant, kept and answered in UTC; a time without an offset is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return `value` in UTC, without its offset where the database keeps none."""
        if value is None:
            return None
        if value.utcoffset() is None:
            raise ValueError(f"{value.isoformat()} has no offset; give an instant with a time zone, for example in UTC")
        instant = value.astimezone(UTC)
        return instant.replace(tzinfo=None) if dialect.name == "sqlite" else instant

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the kept instant with its offset."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Table(SQLModel):
    """A table of the store, apart from those of any other database in the same process."""

    metadata: ClassVar[MetaData] = MetaData()


class OrderTable(Table, table=True):
    """One order, as the newest snapshot known: `view` is all of it, the other columns are for finding it."""

    __tablename__ = "orders"
    __table_args__ = (
        Index("ix_orders_tab", "seller_id", "status", "placed_at"),
        Index("ix_orders_newest", "placed_at", "number"),
        Index("ix_orders_buyer_email", "buyer_email"),
        Index("ix_orders_buyer_alias", "buyer_alias"),
        Index("ix_orders_seller_alias", "seller_alias"),
        Index("ix_orders_next_deadline_at", "next_deadline_at"),
    )

    number: str = Field(primary_key=True)
    version: int = Field(sa_type=BigInteger)
    content: str
    status: str
    marketplace: str
    seller_id: str
    buyer_id: str | None = None
    buyer_email: str | None = None
    buyer_alias: str | None = None
    seller_alias: str | None = None
    currency: str
    total_minor: int = Field(sa_type=BigInteger)
    placed_at: datetime = Field(sa_type=UtcInstant)
    expected_ship_at: datetime = Field(sa_type=UtcInstant)
    next_deadline: str | None = None
    next_deadline_at: datetime | None = Field(default=None, sa_type=UtcInstant)
    cancelled_reason: str | None = None
    flags: str = ""
    view: dict[str, Any] = Field(sa_type=JSON)
    updated_at: datetime = Field(sa_type=UtcInstant)


class LineTable(Table, table=True):
    """One item of an order, at its place in the order."""

    __tablename__ = "order_lines"
    __table_args__ = (Index("ix_order_lines_sku", "sku"),)

    order_number: str = Field(primary_key=True, foreign_key="orders.number")
    position: int = Field(primary_key=True, sa_type=BigInteger)
    sku: str
    title: str
    quantity: int = Field(sa_type=BigInteger)
    shipped: int = Field(sa_type=BigInteger)
    unit_price_minor: int = Field(sa_type=BigInteger)


class HistoryTable(Table, table=True):
    """One line of an order's history (D3)."""

    __tablename__ = "order_history"

    order_number: str = Field(primary_key=True, foreign_key="orders.number")
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    kind: str
    name: str = Field(sa_type=Text)
    actor: str | None = None
    at: datetime = Field(sa_type=UtcInstant)
    recorded_at: datetime = Field(sa_type=UtcInstant)
    accepted: bool
    status: str
    detail: str = Field(sa_type=Text)
    command_id: str | None = Field(default=None, sa_type=Text)
    refusal: dict[str, Any] | None = Field(default=None, sa_type=JSON(none_as_null=True))


class StockTable(Table, table=True):
    """Units of one item at one seller: physically there, and of those how many running orders hold."""

    __tablename__ = "stock"
    __table_args__ = (
        CheckConstraint("on_hand >= 0", name="ck_stock_on_hand"),
        CheckConstraint("reserved >= 0", name="ck_stock_reserved"),
    )

    seller_id: str = Field(primary_key=True)
    sku: str = Field(primary_key=True)
    on_hand: int = Field(default=0, sa_type=BigInteger)
    reserved: int = Field(default=0, sa_type=BigInteger)


class HeadTable(Table, table=True):
    """Up to which version an order's reservation is known; closed once the order can hold nothing any more."""

    __tablename__ = "reservation_heads"

    order_number: str = Field(primary_key=True)
    seller_id: str
    version: int = Field(sa_type=BigInteger)
    closed: bool
    reserved_at: datetime = Field(sa_type=UtcInstant)


class ReservationTable(Table, table=True):
    """Units of one item that an order still holds, and those it has taken away by shipping them."""

    __tablename__ = "reservations"
    __table_args__ = (Index("ix_reservations_item", "seller_id", "sku"),)

    order_number: str = Field(primary_key=True, foreign_key="reservation_heads.order_number")
    sku: str = Field(primary_key=True)
    seller_id: str
    quantity: int = Field(default=0, sa_type=BigInteger)
    shipped: int = Field(default=0, sa_type=BigInteger)


class NoticeTable(Table, table=True):
    """One mail of an order and what became of it."""

    __tablename__ = "notices"
    __table_args__ = (Index("ix_notices_order_number", "order_number"),)

    key: str = Field(primary_key=True)
    order_number: str
    kind: str
    recipient: str
    language: str
    status: str
    error: str | None = Field(default=None, sa_type=Text)
    sent_at: datetime = Field(sa_type=UtcInstant)


class LedgerTable(Table, table=True):
    """One entry of a balanced movement of money: debit > 0, credit < 0; the database lets none be changed or removed."""

    __tablename__ = "ledgerentry"
    __table_args__ = (
        Index("ix_ledgerentry_account", "account"),
        Index("ix_ledgerentry_order_number", "order_number"),
    )

    movement_id: str = Field(primary_key=True)
    position: int = Field(primary_key=True, sa_type=BigInteger)
    kind: str
    order_number: str
    account: str
    currency: str
    amount_minor: int = Field(sa_type=BigInteger)
    at: datetime = Field(sa_type=UtcInstant)
