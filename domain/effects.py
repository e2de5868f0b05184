"""What a decision asks the world to do, and what the world answers: the inputs and outputs of the activities.

`at` is the order's own clock when the effect was decided; a stand-in partner that must share that clock judges by it.
Every effect carries a key of the form `<order number>/<sequence>/<effect>`, by which a repeated attempt is recognised.
"""

from collections.abc import Mapping
from enum import StrEnum

from domain.base import Instant, Value
from domain.order import Actor, HistoryEntry
from domain.refund import PaymentMethod, RefundStatus
from domain.views import OrderView


class NoticeKind(StrEnum):
    """The mails that an order sends (D1)."""

    ORDER_CONFIRMATION = "order_confirmation"
    SOLD_SHIP_NOW = "sold_ship_now"
    ORDER_EDITED = "order_edited"
    CONFIRM_WARNING = "confirm_warning"
    ORDER_CANCELLED = "order_cancelled"
    REQUEST_RECEIVED = "request_received"
    REQUEST_ACCEPTED = "request_accepted"
    REQUEST_DECLINED = "request_declined"
    SHIPPED = "shipped"
    PAYMENT_PROBLEM = "payment_problem"
    OVERSOLD = "oversold"
    PAY_AT_STORE = "pay_at_store"
    LATE_PAYMENT_RETURNED = "late_payment_returned"
    MESSAGE = "message"
    ITEMS_CANCELLED = "items_cancelled"
    REFUND_REQUESTED = "refund_requested"
    REFUND_PAID = "refund_paid"
    REFUND_FAILED = "refund_failed"
    CASE_OPENED = "case_opened"
    CASE_CHANGED = "case_changed"
    MESSAGE_UNDELIVERED = "message_undelivered"


class Notice(Value):
    """One mail: `key` is unique and gives its Message-ID; `recipient` is the buyer or the seller."""

    key: str
    kind: NoticeKind
    recipient: Actor
    subject_id: str | None = None
    """The message, refund or case that the notice is about."""


class Reservation(Value):
    """The stock that an order needs: units by sku, valid from the order's `version` on (P4)."""

    order_number: str
    seller_id: str
    version: int
    quantities: Mapping[str, int]


class Authorize(Value):
    """Reserve stock where `reservation` says so, then hold `amount_minor` under `reference`.

    With `method` konbini a payment number is issued instead, to be paid until `due_at`; with points, `card` is the
    buyer's wallet. `points_minor` are held besides, on `wallet`, under `<reference>/points`.
    `record` is the order as it is to be written together with the reservation at placement.
    """

    reference: str
    order_number: str
    amount_minor: int
    currency: str
    card: str
    at: Instant
    method: PaymentMethod = PaymentMethod.CARD
    due_at: Instant | None = None
    points_minor: int = 0
    wallet: str | None = None
    reservation: Reservation | None = None
    record: OrderView | None = None

    @property
    def key(self) -> str:
        """The key of this effect."""
        return self.reference


class Capture(Value):
    """Charge `amount_minor` of the hold `reference`, and `points_minor` of the points held under `points_reference`."""

    reference: str
    order_number: str
    amount_minor: int
    currency: str
    at: Instant
    points_minor: int = 0
    points_reference: str | None = None

    @property
    def key(self) -> str:
        """The key of this effect."""
        return f"{self.reference}/capture"


class Void(Value):
    """Make sure that nothing is held or charged under `reference`, also if its authorisation still arrives."""

    reference: str
    order_number: str
    at: Instant
    round: int = 1

    @property
    def key(self) -> str:
        """The key of this effect."""
        return f"{self.reference}/void/{self.round}"


class PayRefund(Value):
    """Pay `amount_minor` of the charge `payment_reference` back, once, under `reference` (R6)."""

    reference: str
    payment_reference: str
    order_number: str
    amount_minor: int
    currency: str
    at: Instant

    @property
    def key(self) -> str:
        """The key of this effect."""
        return self.reference


class Ask(Value):
    """Ask the provider how a payment or a refund (`refund`) stands; nothing is moved. `round` tells repeated questions apart."""

    reference: str
    order_number: str
    at: Instant
    refund: bool = False
    round: int = 1

    @property
    def key(self) -> str:
        """The key of this effect."""
        return f"{self.reference}/ask/{self.round}"


class Reserve(Value):
    """Reserve stock without a payment (an edit of an order whose card was declined)."""

    reference: str
    reservation: Reservation

    @property
    def key(self) -> str:
        """The key of this effect."""
        return self.reference


class Publish(Value):
    """Write the order's record and history to the store, its stock following, and send its notices."""

    key: str
    record: OrderView
    entries: tuple[HistoryEntry, ...] = ()
    notices: tuple[Notice, ...] = ()


Effect = Authorize | Capture | Void | Reserve | PayRefund | Ask | Publish


class Result(StrEnum):
    """How an effect ended."""

    AUTHORIZED = "authorized"
    RESERVED = "reserved"
    DECLINED = "declined"
    OUT_OF_STOCK = "out_of_stock"
    NUMBER_TAKEN = "number_taken"
    CAPTURED = "captured"
    LAPSED = "lapsed"
    VOIDED = "voided"
    VOID_FAILED = "void_failed"
    PUBLISHED = "published"
    UNANSWERED = "unanswered"
    AWAITING = "awaiting"
    REFUND_PENDING = "refund_pending"
    REFUND_PAID = "refund_paid"
    REFUND_FAILED = "refund_failed"


class CashReturn(Value):
    """Cash of a convenience-store payment that the provider pays back by itself, in minor units, as its refund `reference`."""

    reference: str
    amount_minor: int
    status: RefundStatus
    expected_at: Instant | None = None
    failure_code: str | None = None


class Outcome(Value):
    """How one effect ended: `short` gives the units available of each sku that is short, `expires_at` when the hold lapses,
    `entries` up to which history entry was recorded, `round` which round of a void it was, `number` and `due_at` where and
    until when a convenience-store payment is paid, `expected_at` when a refund should have arrived, `cash_return` what of a
    convenience-store payment goes back with a void or beside a charge, `refused` the notices
    that the mail server will never take."""

    result: Result
    reference: str = ""
    decline_code: str | None = None
    expires_at: Instant | None = None
    short: Mapping[str, int] = {}
    entries: int = 0
    round: int = 1
    number: str | None = None
    due_at: Instant | None = None
    expected_at: Instant | None = None
    cash_return: CashReturn | None = None
    refused: tuple[Notice, ...] = ()
