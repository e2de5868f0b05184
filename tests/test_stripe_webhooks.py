"""Webhooks of Stripe: verified, and translated into what the engine is told by any provider."""

import json
import time

import pytest
import stripe
from stripe_account import Json

from activities.events import EventRefusedError, EventType, ProviderEvent
from activities.stripe_wire import stripe_event

NUMBER = "503-1234567-1234567"

WEBHOOK_SECRET = "whsec_test"


def delivery(kind: str, subject: Json, *, at: float | None = None, secret: str = WEBHOOK_SECRET) -> tuple[bytes, str]:
    """Return the body and the signature of a webhook."""
    event = {"id": "evt_1", "object": "event", "type": kind, "data": {"object": subject}}
    body = json.dumps(event)
    timestamp = int(time.time() if at is None else at)
    signature = stripe.WebhookSignature.generate_signature_header(body, secret, timestamp)
    return body.encode(), signature


def intent(terms: str = "card 1000 EUR pm_card_visa", **fields: str) -> Json:
    """Return a PaymentIntent as an event tells it."""
    metadata = {"reference": "o/1/authorize", "order_number": NUMBER, "terms": terms}
    return {"id": "pi_1", "object": "payment_intent", "metadata": metadata, **fields}


def refund_object(status: str, **metadata: str) -> Json:
    """Return a Refund as an event tells it."""
    return {
        "id": "re_1",
        "object": "refund",
        "status": status,
        "metadata": {"reference": "o/2/refund", "order_number": NUMBER, **metadata},
    }


KONBINI = "konbini 1000 JPY pm_konbini"
TOLD: list[tuple[str, Json, EventType | None]] = [
    ("payment_intent.succeeded", intent(KONBINI), EventType.PAYMENT_PAID),
    ("payment_intent.succeeded", intent(), EventType.PAYMENT_CAPTURED),
    ("payment_intent.amount_capturable_updated", intent(), EventType.PAYMENT_AUTHORIZED),
    ("payment_intent.payment_failed", intent(KONBINI), EventType.PAYMENT_EXPIRED),
    ("payment_intent.payment_failed", intent(), EventType.PAYMENT_DECLINED),
    ("payment_intent.canceled", intent(cancellation_reason="automatic"), EventType.PAYMENT_EXPIRED),
    ("payment_intent.canceled", intent(cancellation_reason="abandoned"), EventType.PAYMENT_VOIDED),
    ("charge.refund.updated", refund_object("succeeded"), EventType.REFUND_PAID),
    ("refund.updated", refund_object("succeeded"), EventType.REFUND_PAID),
    ("refund.updated", refund_object("canceled"), EventType.REFUND_FAILED),
    ("refund.updated", refund_object("pending"), None),
    ("refund.failed", refund_object("failed"), EventType.REFUND_FAILED),
    ("refund.failed", refund_object("failed", operation="void"), EventType.VOID_FAILED),
    ("refund.updated", refund_object("succeeded", operation="void"), None),
    ("refund.updated", refund_object("succeeded", operation="void", cash_return="r/return"), EventType.REFUND_PAID),
    ("refund.failed", refund_object("failed", operation="capture", cash_return="r/change"), EventType.REFUND_FAILED),
    ("payment_intent.created", intent(), None),
    ("customer.created", {"id": "cus_1", "object": "customer"}, None),
    ("payment_intent.succeeded", {"id": "pi_2", "object": "payment_intent", "metadata": {}}, None),
]


@pytest.mark.rule("G7", "R7")
@pytest.mark.parametrize(("kind", "subject", "told"), TOLD)
def test_webhooks_are_translated(kind: str, subject: Json, told: EventType | None) -> None:
    """Events about an order's money name their reference and order; all others are nothing."""
    event = stripe_event(*delivery(kind, subject), WEBHOOK_SECRET)
    if told is None:
        assert event is None
    else:
        reference = subject["metadata"].get("cash_return", subject["metadata"]["reference"])
        assert event == ProviderEvent(event_id="evt_1", type=told, reference=reference, order_number=NUMBER)


def test_a_webhook_that_is_not_stripes_is_refused() -> None:
    """A wrong secret, a changed body, an old or missing signature: none of them tells anything."""
    body, signature = delivery("payment_intent.succeeded", intent(KONBINI))
    stale = delivery("payment_intent.succeeded", intent(KONBINI), at=time.time() - 301)
    foreign = delivery("payment_intent.succeeded", intent(KONBINI), secret="whsec_other")
    for forged in ((body + b" ", signature), stale, foreign, (body, ""), (body, "t=1,v1=00"), (b"\xff", signature)):
        with pytest.raises(EventRefusedError, match="webhook refused"):
            stripe_event(*forged, WEBHOOK_SECRET)
    with pytest.raises(EventRefusedError, match="STRIPE_WEBHOOK_SECRET"):
        stripe_event(body, signature, "")


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"id": "evt_1"}', '{"object": "v2.core.event"}', "<html>"])
def test_a_signed_body_that_is_no_event_is_refused(body: str) -> None:
    """A body that Stripe's secret signs and that is no snapshot event is refused with the remedy."""
    signature = stripe.WebhookSignature.generate_signature_header(body, WEBHOOK_SECRET)
    with pytest.raises(EventRefusedError, match="choose the payload style `snapshot`"):
        stripe_event(body.encode(), signature, WEBHOOK_SECRET)
