"""The state of one order: frozen models that the workflow carries, queries return and the store keeps."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from pydantic import Field

from domain.base import Code, Country, Email, Form, Instant, Line60, Line120, OrderNumber, Quantity, Value
from domain.case import Case
from domain.message import OrderMessage, Rating
from domain.payment_state import Payment
from domain.policy import PolicySnapshot
from domain.refund import Refund, RefundStatus
from domain.refusals import Refusal


class Actor(StrEnum):
    """Who asks for a change: the buyer, the seller, the marketplace's operator, or the marketplace's own clock and partners."""

    BUYER = "buyer"
    SELLER = "seller"
    OPERATOR = "operator"
    SYSTEM = "system"


class Status(StrEnum):
    """The state of an order."""

    PENDING = "pending"
    UNSHIPPED = "unshipped"
    PARTIALLY_SHIPPED = "partially_shipped"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


CLOSED = frozenset({Status.COMPLETED, Status.CANCELLED})
"""The terminal states: no command changes such an order (C13)."""


class Fulfilment(StrEnum):
    """Who ships: the seller (MFN) or the marketplace (AFN)."""

    SELLER = "seller"
    MARKETPLACE = "marketplace"


class Address(Form):
    """Where the parcel goes; `country` is an ISO 3166 two-letter code."""

    recipient: Line60
    line1: Line120
    line2: Line120 | None = None
    city: Line60
    region: Line60 | None = None
    postal_code: Line60
    country: Country


class Buyer(Form):
    """Who buys; `language` is one of the notice languages (D1)."""

    buyer_id: Code
    name: Line60
    email: Email
    phone: Line60 | None = None
    language: str = Field(pattern=r"^(ja|zh|en|it)$")


class Business(Form):
    """A business buyer's own number for the order, which its packing slip shows (P6, D5)."""

    purchase_order_number: Code


class Line(Value):
    """One item of an order: quantities in units, `unit_price_minor` in minor units of the order's currency.

    `cancelled` units were charged but not to be had, and are refunded instead of shipped (S8).
    """

    sku: Code
    title: Line120
    quantity: Quantity
    unit_price_minor: int
    shipped: int = 0
    cancelled: int = 0

    @property
    def unshipped(self) -> int:
        """Units that are still to be confirmed."""
        return self.quantity - self.shipped - self.cancelled


class ReviewStatus(StrEnum):
    """Whether the marketplace holds an order's details for review (G4)."""

    HELD = "held"
    RELEASED = "released"
    REFUSED = "refused"


class Review(Value):
    """A review of the order's details by the marketplace (G4)."""

    status: ReviewStatus
    reason: str
    since: Instant
    ended_at: Instant | None = None


class Reduction(Value):
    """Items cancelled before shipment, with the consent as recorded (C11); `quantities` and `titles` are theirs by sku."""

    quantities: Mapping[str, int]
    actor: Actor
    reason: str
    consent: str
    at: Instant
    titles: Mapping[str, str] = Field(default_factory=dict)


class RequestStatus(StrEnum):
    """The state of a buyer's cancellation request."""

    OPEN = "open"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    OVERTAKEN = "overtaken"


class CancellationRequest(Value):
    """A buyer's official request to cancel after the cancel window (C3, C4)."""

    status: RequestStatus
    reason: str
    note: str | None = None
    requested_at: Instant
    answered_at: Instant | None = None
    answer: str | None = None
    """What the seller wrote with its answer."""


class Cancellation(Value):
    """The one cancellation of an order: by whom, why, when, and whether it counts in the seller's cancellation rate (C9)."""

    actor: Actor
    reason: str
    at: Instant
    counts_in_rate: bool
    note: str | None = None


class Shipment(Value):
    """One confirmed parcel: `quantities` maps sku to units; `assumed` tells that no carrier has said it was delivered (A10)."""

    shipment_id: str
    carrier: str
    tracking_number: str
    quantities: Mapping[str, int]
    confirmed_at: Instant
    delivered_at: Instant | None = None
    assumed: bool = False


class Flag(StrEnum):
    """What an order shows to the people who must act on it."""

    BUYER_REQUESTED_CANCELLATION = "buyer_requested_cancellation"
    CONFIRM_SHIPMENT = "confirm_shipment"
    LATE_SHIPMENT = "late_shipment"
    OVERSOLD = "oversold"
    PAYMENT_PROBLEM = "payment_problem"
    VOID_FAILING = "void_failing"
    IN_REVIEW = "in_review"
    REFUND_FAILED = "refund_failed"
    MAIL_REFUSED = "mail_refused"
    REFUND_DUE = "refund_due"
    CASE_OPEN = "case_open"
    ANSWER_DUE = "answer_due"


class EntryKind(StrEnum):
    """What a line of an order's history tells of."""

    COMMAND = "command"
    DEADLINE = "deadline"
    OUTCOME = "outcome"


class HistoryEntry(Value):
    """One line of an order's history: who, what, when, accepted or refused, why (D3).

    `at` is the instant by which it was judged, `recorded_at` the order's clock when it was. `refusal` is None when accepted.
    """

    seq: int
    kind: EntryKind
    name: str
    actor: Actor | None
    at: Instant
    recorded_at: Instant
    accepted: bool
    status: Status
    detail: str = ""
    command_id: str | None = None
    refusal: Refusal | None = None


class Answer(Value):
    """What a command id was answered, so that the same id gets the same answer: `digest` is of the command's content."""

    digest: str
    refusal: Refusal | None = None


class InProgress(Value):
    """A command that waits for an outcome before it can be decided: its wire form and the effect it waits for."""

    name: str
    command: dict[str, object]
    command_id: str
    at: Instant
    reference: str
    granted: bool = False


class Order(Value):
    """The whole state of one order."""

    number: OrderNumber
    content: str
    """SHA-256 of the placement's content, by which a second placement of the same number is compared (P3)."""
    marketplace: Code
    seller_id: Code
    fulfilment: Fulfilment
    buyer: Buyer
    address: Address
    currency: str
    lines: tuple[Line, ...]
    shipping_option: Code
    shipping_fee_minor: int
    policy: PolicySnapshot
    placed_at: Instant
    expected_ship_at: Instant
    edit_until: Instant
    status: Status = Status.PENDING
    version: int = 1
    sequence: int = 1
    payment: Payment
    verified_at: Instant | None = None
    voids: tuple[str, ...] = ()
    """References that are to be voided and are not yet known to be."""
    request: CancellationRequest | None = None
    cancellation: Cancellation | None = None
    shipments: tuple[Shipment, ...] = ()
    delivered_at: Instant | None = None
    completed_at: Instant | None = None
    flags: frozenset[Flag] = frozenset()
    passed: frozenset[str] = frozenset()
    """Deadlines that have been acted upon."""
    rejected: Refusal | None = None
    """Set when the placement itself was refused (no stock): there is no such order."""
    business: Business | None = None
    purchase: str | None = None
    """The number of the purchase across sellers that the order is part of (P2)."""
    review: Review | None = None
    reductions: tuple[Reduction, ...] = ()
    refunds: tuple[Refund, ...] = ()
    cases: tuple[Case, ...] = ()
    messages: tuple[OrderMessage, ...] = ()
    answer_by: Instant | None = None
    """Until when the buyer must answer, or the order is cancelled (C12)."""
    rating: Rating | None = None
    settled_minor: int | None = None
    """What of the charge became available to the seller at the end of the settlement period, in minor units (S7)."""
    erased_at: Instant | None = None
    """When the personal data was erased (A7)."""
    in_progress: InProgress | None = None
    history: tuple[HistoryEntry, ...] = ()
    entries: int = 0
    """History entries made so far, of which `history` holds the newest and every one not yet in the store."""
    recorded_entries: int = 0
    """The history is known to be in the store up to this entry."""
    answers: Mapping[str, Answer] = Field(default_factory=dict)
    command_counts: Mapping[str, int] = Field(default_factory=dict)

    @property
    def items_minor(self) -> int:
        """Price of all lines, in minor units."""
        return sum(line.quantity * line.unit_price_minor for line in self.lines)

    @property
    def total_minor(self) -> int:
        """What the buyer is to pay: lines and shipping fee, in minor units."""
        return self.items_minor + self.shipping_fee_minor

    @property
    def anything_open(self) -> bool:
        """Whether a case is open or a refund not yet paid (A9)."""
        return self.refund_unpaid or any(each.open for each in self.cases)

    @property
    def item_by_item(self) -> bool:
        """Whether cases and refunds are settled item by item: in orders placed since the rules' second revision."""
        return self.policy.revision > 1

    @property
    def refund_unpaid(self) -> bool:
        """Whether money is still on its way back to the buyer (R7)."""
        return any(each.status is not RefundStatus.PAID for each in self.refunds)

    @property
    def closed_at(self) -> datetime | None:
        """When the order was cancelled or completed, None while it is neither."""
        return self.cancellation.at if self.cancellation is not None else self.completed_at

    @property
    def over(self) -> bool:
        """Whether nothing more can happen to the order: refused, or closed, all money back and its personal data erased."""
        kept = self.policy.retention_window is not None and self.erased_at is None
        charged = self.payment.captured_at is not None and self.policy.settlement_window is not None
        unsettled = charged and self.settled_minor is None
        return self.rejected is not None or (
            self.status in CLOSED and not kept and not unsettled and not (self.item_by_item and self.refund_unpaid)
        )

    def line(self, sku: str) -> Line | None:
        """Return the line of `sku`, or None."""
        return next((line for line in self.lines if line.sku == sku), None)

    @property
    def cancel_until(self) -> datetime:
        """Until when the buyer cancels alone: the cancel window, or the seller's longer one for orders it ships itself (C1, C2)."""
        own = self.fulfilment is Fulfilment.SELLER
        return self.placed_at + (self.policy.buyer_cancel_window if own else self.policy.cancel_window)

    @property
    def ship_by(self) -> datetime:
        """The instant after which a shipment is late: the expected ship date, or the verification if that is later (S3)."""
        return max(self.expected_ship_at, self.verified_at or self.expected_ship_at)

    @property
    def confirm_by(self) -> datetime:
        """The instant at which the order is cancelled if nothing is confirmed (C8).

        The confirm window starts at the expected ship date, or at the verification where that came later: a seller is
        never blamed for days on which a Pending order could not be shipped (G2, G6).
        """
        return self.ship_by + self.policy.confirm_window

    def with_(self, **changes: object) -> "Order":
        """Return this order with some fields changed."""
        return self.model_copy(update=changes)
