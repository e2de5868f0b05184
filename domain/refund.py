"""What a refund is: its lines, its deductions, and the parts in which it goes back to the original payment methods.

Policy: R1 to R7.
"""

from enum import StrEnum

from domain.base import Instant, Value


class PaymentMethod(StrEnum):
    """How an order is paid (P5)."""

    CARD = "card"
    KONBINI = "konbini"
    POINTS = "points"


class RefundReason(StrEnum):
    """Why money goes back: the marketplace's own list (R3)."""

    OUT_OF_STOCK = "out_of_stock"
    BUYER_RETURN = "buyer_return"
    POST_SHIPMENT_CANCELLATION = "post_shipment_cancellation"
    UNDELIVERABLE = "undeliverable"
    RECALLED = "recalled"
    NOT_RECEIVED = "not_received"
    GUARANTEE_CLAIM = "guarantee_claim"
    DAMAGED = "damaged"
    NOT_AS_DESCRIBED = "not_as_described"
    COMBINED_PARCEL = "combined_parcel"
    PRICING_ERROR = "pricing_error"
    GOODWILL = "goodwill"


class CashReturnReason(StrEnum):
    """Why cash that a convenience store took, and that no charge covers, goes back by itself (R7)."""

    ORDER_CANCELLED = "order_cancelled"
    ITEMS_CANCELLED = "items_cancelled"
    PAYMENT_NOT_NEEDED = "payment_not_needed"


class DeductionKind(StrEnum):
    """What is kept back from a refund (R4)."""

    SHIPPING_FEE = "shipping_fee"
    RETURN_FEE = "return_fee"


class RefundStatus(StrEnum):
    """How far a refund has come: REQUESTED of the provider, PENDING there, PAID, or FAILED and to be tried again."""

    REQUESTED = "requested"
    PENDING = "pending"
    PAID = "paid"
    FAILED = "failed"


class RefundLine(Value):
    """One item of a refund, in minor units: its goods and its share of the shipping fee.

    `quantity` is the number of units it is for (0: an amount only), `not_shipped` how many of them were still to be
    shipped and now no longer are (S8).
    """

    sku: str
    quantity: int = 0
    not_shipped: int = 0
    items_minor: int = 0
    shipping_minor: int = 0


class Deduction(Value):
    """One explicit deduction, in minor units (R4)."""

    kind: DeductionKind
    amount_minor: int


class Bounce(Value):
    """A payment that a bank sent back after it was paid."""

    paid_at: Instant
    returned_at: Instant


class RefundPart(Value):
    """What goes back to one payment method: `reference` is the refund's key at the provider, one for each attempt."""

    method: PaymentMethod
    payment_reference: str
    reference: str
    amount_minor: int
    status: RefundStatus = RefundStatus.REQUESTED
    attempt: int = 1
    expected_at: Instant | None = None
    paid_at: Instant | None = None
    failure_code: str | None = None
    bounces: tuple[Bounce, ...] = ()
    ask_at: Instant | None = None
    """When the provider is asked next, should it not have told by then."""


class Refund(Value):
    """One refund of an order; all amounts in minor units of the order's currency."""

    refund_id: str
    reason: RefundReason | CashReturnReason
    memo: str | None = None
    lines: tuple[RefundLine, ...]
    cash_minor: int = 0
    """Cash that was taken at a convenience store and never charged: such a refund has no lines, and is none of the seller's."""
    deductions: tuple[Deduction, ...] = ()
    parts: tuple[RefundPart, ...]
    by: str
    """The actor who asked for it."""
    requested_at: Instant
    from_available: bool = False
    """Whether the seller's charge had left settlement when it was made, so that it is taken from what is available (S7)."""
    consent: str | None = None
    """When and how the buyer agreed that units are not shipped any more (S8)."""
    case_id: str | None = None
    """The return, claim or other case that it settles."""

    @property
    def of_charge(self) -> bool:
        """Whether it gives back something of what was charged, and is no mere return of cash."""
        return not self.cash_minor

    @property
    def gross_minor(self) -> int:
        """The refunded lines, or the returned cash, before deductions."""
        return self.cash_minor + sum(line.items_minor + line.shipping_minor for line in self.lines)

    @property
    def deducted_minor(self) -> int:
        """What is kept back."""
        return sum(each.amount_minor for each in self.deductions)

    @property
    def amount_minor(self) -> int:
        """What the buyer gets: the lines less the deductions."""
        return self.gross_minor - self.deducted_minor

    @property
    def status(self) -> RefundStatus:
        """The state of the whole: that of its part that has come least far, failed first."""
        states = {part.status for part in self.parts}
        for status in (RefundStatus.FAILED, RefundStatus.REQUESTED, RefundStatus.PENDING):
            if status in states:
                return status
        return RefundStatus.PAID
