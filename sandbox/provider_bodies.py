"""The request bodies of the payment provider, checked at its edge."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import Header
from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from sandbox.provider_tables import CARD_PATTERN, Method, RefundStatus
from sandbox.provider_webhooks import WebhookFault

PAYMENT_PATHS = ("/authorizations", "/captures", "/voids", "/refunds")

AmountMinor = Annotated[int, Field(strict=True, ge=1, le=10**12)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Reference = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,119}$")]
OrderCode = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$")]
AnyCard = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{1,80}$")]
KnownCard = Annotated[str, StringConstraints(pattern=rf"^{CARD_PATTERN.pattern}$")]
IdempotencyKey = Annotated[str, Header(alias="Idempotency-Key", pattern=r"^[\x21-\x7e]{1,160}$")]


def _within_calendar(instant: datetime) -> datetime:
    if not 1970 <= instant.year <= 9000:
        raise ValueError("an instant must be between the years 1970 and 9000")
    return instant.astimezone(UTC)


def webhook_secret(text: str) -> str:
    """Return a secret of the form that Standard Webhooks gives it; raises ValueError for any other."""
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith("whsec_") or not key:
        raise ValueError("a webhook secret is whsec_ and base64, as in whsec_c2VjcmV0c2VjcmV0c2VjcmV0")
    return text


CalendarInstant = Annotated[AwareDatetime, AfterValidator(_within_calendar)]


class RequestBody(BaseModel):
    """A request body; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PaymentBody(RequestBody):
    """What every authorisation holds; `reference` is the idempotency key, `amount_minor` in minor units."""

    reference: Reference
    amount_minor: AmountMinor
    currency: Currency
    order_number: OrderCode


class CardPaymentBody(PaymentBody):
    """Hold the amount on `card`: a card, or a points wallet."""

    method: Literal[Method.CARD] = Method.CARD
    card: AnyCard
    due_at: None = None


class KonbiniPaymentBody(PaymentBody):
    """Issue a number with which the amount can be paid at a convenience store until `due_at`."""

    method: Literal[Method.KONBINI]
    card: None = None
    due_at: CalendarInstant


def _method(body: object) -> str:
    is_konbini = isinstance(body, dict) and body.get("method") == Method.KONBINI
    return Method.KONBINI.value if is_konbini else Method.CARD.value


AuthorizationBody = Annotated[
    Annotated[CardPaymentBody, Tag(Method.CARD.value)] | Annotated[KonbiniPaymentBody, Tag(Method.KONBINI.value)],
    Discriminator(_method),
]


class CaptureBody(RequestBody):
    """Charge `amount_minor` of the hold `reference`."""

    reference: Reference
    amount_minor: AmountMinor


class VoidBody(RequestBody):
    """Release or reverse `reference`; `order_number` files a void that comes before its authorisation in the log."""

    reference: Reference
    order_number: OrderCode | None = None


class ShopPaymentBody(RequestBody):
    """Pay `number` at a shop; with `late` the shop takes the money past the due date or after a void too."""

    number: Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")]
    late: bool = False


class RefundBody(RequestBody):
    """Pay `amount_minor` of the captured `payment_reference` back; `reference` is the idempotency key."""

    reference: Reference
    payment_reference: Reference
    amount_minor: AmountMinor
    order_number: OrderCode


class SettleBody(RequestBody):
    """End the pending refund `reference`."""

    reference: Reference
    status: Literal[RefundStatus.PAID, RefundStatus.FAILED]


class CardBody(RequestBody):
    """Set the limit of a card or wallet in one currency, or in every currency where none is given."""

    card: KnownCard
    limit_minor: Annotated[int, Field(strict=True, ge=0, le=10**15)]
    currency: Currency | None = None


class Fault(RequestBody):
    """A fault of the payment calls on `path` (None: all), for the next `count` calls (None: until cleared).

    down: 503, nothing is done; error: 500, nothing is done; slow: `seconds` of delay; lose_answer: done, then 500.
    """

    kind: Literal["down", "slow", "error", "lose_answer"]
    count: Annotated[int, Field(strict=True, ge=1)] | None = None
    path: Literal["/authorizations", "/captures", "/voids", "/refunds"] | None = None
    seconds: Annotated[float, Field(ge=0, le=3600)] = 1.0


class EndpointBody(RequestBody):
    """Send webhooks to `url`, signed with `secret`; a url of null keeps them in the outbox."""

    url: AnyHttpUrl | None
    secret: Annotated[str, AfterValidator(webhook_secret)] | None = None

    @model_validator(mode="after")
    def _signed(self) -> "EndpointBody":
        if self.url is not None and self.secret is None:
            raise ValueError("a url needs the secret that signs what is sent there")
        return self


class WebhookFaultBody(RequestBody):
    """What goes wrong with the next `count` events."""

    kind: WebhookFault
    count: Annotated[int, Field(strict=True, ge=1, le=1000)] = 1
