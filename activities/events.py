"""What a payment provider tells by itself, whichever provider it is: a hint to ask, never the last word about money."""

from enum import StrEnum

from domain.base import Value


class EventType(StrEnum):
    """What happened at the provider."""

    PAYMENT_PAID = "payment.paid"
    PAYMENT_PAID_LATE = "payment.paid_late"
    PAYMENT_AUTHORIZED = "payment.authorized"
    PAYMENT_CAPTURED = "payment.captured"
    PAYMENT_DECLINED = "payment.declined"
    PAYMENT_EXPIRED = "payment.expired"
    PAYMENT_VOIDED = "payment.voided"
    VOID_FAILED = "payment.void_failed"
    REFUND_PAID = "refund.paid"
    REFUND_FAILED = "refund.failed"


class ProviderEvent(Value):
    """One event: `event_id` is the same at every delivery, `reference` that of the payment or of the refund.

    Events come late, twice and out of order: the receiver asks the provider how `reference` stands.
    """

    event_id: str
    type: EventType
    reference: str
    order_number: str


class EventRefusedError(ValueError):
    """A delivery that is not the provider's, is too old or cannot be read; nothing may be done upon it."""
