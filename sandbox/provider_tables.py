"""The tables of the payment provider, all in one SQLite file, and the values that its operations pass around."""

import re
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import CheckConstraint, Connection, Engine, Index, event, inspect
from sqlalchemy.engine import URL
from sqlalchemy.orm import registry
from sqlalchemy.schema import CreateColumn
from sqlmodel import Field, SQLModel, create_engine

DEFAULT_LIMIT_MINOR = 10**12
"""What an account may hold and be charged per currency unless it was set otherwise, in minor units."""
ANY_CURRENCY = "*"
"""The currency of the account row whose limit new accounts of the card start with."""
CARD_PATTERN = re.compile(r"(?:card-[A-Za-z0-9._-]{1,55}|points-[A-Za-z0-9._-]{1,60})")
"""The tokens of accounts that can be held: cards, and the points wallets of buyers."""
WALLET_PREFIX = "points-"


class Method(StrEnum):
    """How an authorisation is paid: on an account at once, or at a convenience store later (P5)."""

    CARD = "card"
    KONBINI = "konbini"


class Payment(NamedTuple):
    """What is to be paid how: `amount_minor` in minor units; `reference` is the idempotency key.

    `card` is None and `due_at` (ISO UTC text) given for a convenience-store payment only.
    """

    reference: str
    order_number: str
    amount_minor: int
    currency: str
    card: str | None
    method: str = Method.CARD
    due_at: str | None = None


class Clock(NamedTuple):
    """The instant by which a request is judged; `own` when it is the provider's own."""

    now: datetime
    own: bool

    @property
    def text(self) -> str:
        """The instant as ISO UTC text of fixed width."""
        return iso(self.now)


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


class ProviderTable(SQLModel, registry=registry()):
    """The provider's tables, kept apart from the tables of any other database in the same process."""


class Account(ProviderTable, table=True):
    """What is held and charged on a card, wallet or shop payment, in minor units; the database refuses an overdraft."""

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
    """The state of a reference; only a convenience-store payment awaits its money."""

    AWAITING = "awaiting"
    AUTHORIZED = "authorized"
    DECLINED = "declined"
    VOIDED = "voided"
    LAPSED = "lapsed"
    CAPTURED = "captured"


class Hold(ProviderTable, table=True):
    """One authorisation; `amount_minor` is empty while only its void has arrived; instants are ISO UTC texts that sort.

    `number`, `due_at` and `paid_at` belong to convenience-store payments; `refunded_minor` is the sum of the refunds
    that have not failed, and the database keeps it within what was captured. `owed_minor` is cash that a shop took, that is
    neither charged nor on its way back: its return failed.
    """

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
    method: str = Field(default=Method.CARD, sa_column_kwargs={"server_default": Method.CARD.value})
    number: str | None = Field(default=None, unique=True, index=True)
    due_at: str | None = None
    paid_at: str | None = None
    refunded_minor: int = Field(
        default=0,
        sa_column_args=(CheckConstraint("refunded_minor BETWEEN 0 AND captured_minor", name="refunds_within_capture"),),
        sa_column_kwargs={"server_default": "0"},
    )
    owed_minor: int = Field(default=0, sa_column_kwargs={"server_default": "0"})


class CaptureKey(ProviderTable, table=True):
    """A capture that was carried out or declined, by its idempotency key."""

    key: str = Field(primary_key=True)
    reference: str
    amount_minor: int


class RefundStatus(StrEnum):
    """How far a refund has come."""

    PENDING = "pending"
    PAID = "paid"
    FAILED = "failed"


class RefundRow(ProviderTable, table=True):
    """One refund; `ends_at` is the real time at which the provider ends it by itself, `verdict` how (None: never).

    `requested_at` is the order's clock and `accepted_at` real time at the same moment; all are ISO UTC texts that sort.
    `of_cash` tells that it returns cash which was never charged, and so is no part of what was captured.
    """

    __tablename__ = "refund"
    __table_args__ = (Index("refund_ends", "status", "ends_at"), CheckConstraint("amount_minor > 0", name="positive"))

    reference: str = Field(primary_key=True)
    payment_reference: str = Field(index=True)
    order_number: str = Field(index=True)
    amount_minor: int
    status: str
    failure_code: str | None = None
    requested_at: str
    accepted_at: str
    expected_at: str
    ends_at: str | None = None
    verdict: str | None = None
    of_cash: bool = Field(default=False, sa_column_kwargs={"server_default": "0"})


class EventKind(StrEnum):
    """What the provider tells by webhook: what it does by itself and what a shop does."""

    PAYMENT_PAID = "payment.paid"
    PAYMENT_PAID_LATE = "payment.paid_late"
    PAYMENT_EXPIRED = "payment.expired"
    REFUND_PAID = "refund.paid"
    REFUND_FAILED = "refund.failed"


class EventRow(ProviderTable, table=True):
    """One webhook in the outbox: `copies` are still to be delivered, `fault` is what goes wrong with it ("": nothing).

    `at` is the instant it tells, by the order's clock; `created_at` and `delivered_at` are real time, as ISO UTC texts.
    """

    __tablename__ = "outbox"
    __table_args__ = (Index("outbox_waiting", "copies", "seq"),)

    seq: int | None = Field(default=None, primary_key=True)
    id: str = Field(unique=True)
    type: str
    reference: str
    order_number: str = Field(index=True)
    at: str
    created_at: str
    attempts: int = 0
    copies: int = 1
    fault: str | None = None
    delivered_at: str | None = None


class EndpointRow(ProviderTable, table=True):
    """Where webhooks go and the secret that signs them: one row, `url` is empty while they are switched off."""

    __tablename__ = "endpoint"

    row: int = Field(default=1, primary_key=True)
    url: str | None = None
    secret: str | None = None


class LogEntry(ProviderTable, table=True):
    """One line of what the provider did.

    Holds: authorize, decline, capture, void, reverse, lapse. Convenience-store payments: issue, pay, pay_late, expire.
    Refunds: refund, refund_paid, refund_failed. All: replay, refuse.
    """

    seq: int | None = Field(default=None, primary_key=True)
    at: str
    order_number: str = Field(index=True)
    reference: str
    action: str
    amount_minor: int


def iso(instant: datetime) -> str:
    """Return an instant as ISO UTC text of fixed width, so that texts sort as instants do."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


def open_database(path: Path) -> Engine:
    """Open the SQLite file at `path`, creating its folder, tables and columns where they are missing."""
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
        _add_missing_columns(connection)
        for change in ("UPDATE", "DELETE"):
            connection.exec_driver_sql(
                f"CREATE TRIGGER IF NOT EXISTS log_no_{change.lower()} BEFORE {change} ON logentry "
                "BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END"
            )
    return engine


def _add_missing_columns(connection: Connection) -> None:
    """Bring the tables of an older file up to date; every later column is empty or has a default."""
    for table in ProviderTable.metadata.sorted_tables:
        there = {column["name"] for column in inspect(connection).get_columns(table.name)}
        for column in table.columns:
            if column.name not in there:
                definition = CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f'ALTER TABLE "{table.name}" ADD COLUMN {definition}')
        for index in table.indexes:
            index.create(connection, checkfirst=True)
