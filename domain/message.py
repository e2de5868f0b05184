"""The messages between buyer and seller, kept with the order and mailed behind aliases.

Policy: C6, C12, V6.
"""

import hashlib
from enum import StrEnum

from domain.base import Instant, Value

MESSAGE_DOMAIN = "messages.marketplace.example"


class Topic(StrEnum):
    """What a message is about; the seller is offered a ready reply to some (C6)."""

    GENERAL = "general"
    CANCELLATION_WISH = "cancellation_wish"


class Template(StrEnum):
    """A ready message, worded by the marketplace in the recipient's language."""

    HOW_TO_CANCEL = "how_to_cancel"


class OrderMessage(Value):
    """One message; `answer_by` is the instant at which silence cancels the order (C12), `text` None with a `template`."""

    message_id: str
    sender: str
    text: str | None = None
    template: Template | None = None
    topic: Topic = Topic.GENERAL
    sent_at: Instant
    answer_by: Instant | None = None


class Rating(Value):
    """The buyer's one rating of the seller: 1 to 5 stars (A8)."""

    stars: int
    comment: str | None = None
    rated_at: Instant


def alias(order_number: str, side: str) -> str:
    """Return the address behind which `side` (buyer or seller) of an order is known to the other side (V6).

    It is made from the order's number and not from the address, so that it gives nothing away.
    """
    digest = hashlib.sha256(f"{order_number}/{side}".encode()).hexdigest()[:16]
    return f"{side}-{digest}@{MESSAGE_DOMAIN}"
