"""What a payment provider tells by itself, whichever provider it is: a hint to ask, never the last word about money."""

from enum import StrEnum

from domain.base import OrderNumber, Value


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

    Events come late, twice and out of order: the order asks the provider how `reference` stands.
    """

    event_id: str
    type: str
    reference: str
    order_number: OrderNumber

    def command(self) -> dict[str, str]:
        """Return the command `payment_event`; its id makes a repeated delivery have one effect (R6)."""
        return {"actor": "system", "id": self.event_id, "reference": self.reference, "event": self.type}


class EventRefusedError(ValueError):
    """A delivery that is not the provider's, is too old or cannot be read; nothing may be done upon it."""


class EventTooOldError(EventRefusedError):
    """A delivery that the provider signed, but not now: late, or sent again by somebody else."""


class EventUnreadableError(EventRefusedError):
    """A delivery that the provider signed and that tells nothing."""
