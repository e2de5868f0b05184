"""What a delivery to the receiver is: signature and age verified, and read as an event; or why it is not believed.

Policy: P5, G7, R6, R7.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

from activities.events import EventRefusedError, EventTooOldError, EventUnreadableError, ProviderEvent
from activities.stripe_wire import stripe_event
from domain.base import Value, describe_errors
from domain.commands import WEBHOOK_SECONDS, UnreadableCommandError, WebhookFault, parse_command
from domain.refusal_codes import RefusalCode
from domain.refusals import Refusal, refuse


class RefusedDelivery(Exception):  # noqa: N818 - an answer, not a failure of ours
    """A delivery that is answered with an error: `status` of HTTP, `code`, a message with fact and remedy, and the rule.

    `fault` and `claim` are of a delivery that is not believed: why, and what it said it was about, where it said so.
    """

    def __init__(self, status: int, code: str, message: str, *, rule: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.rule = status, code, message, rule
        self.fault: WebhookFault | None = None
        self.claim: Claim | None = None


class _Subject(Value):
    reference: str
    order_number: str


class _Event(Value):
    type: str
    data: _Subject


class Claim(ProviderEvent):
    """What a delivery that is not believed says it is about; its `event_id` is of the delivery's own making."""

    def noted(self, fault: WebhookFault) -> dict[str, str]:
        """Return the command by which the refusal comes into the order's history, once for the same delivery."""
        return {**self.command(), "fault": fault.value}


def read_event(body: bytes, headers: Mapping[str, str], secret: str) -> ProviderEvent:
    """Verify signature and age of an event and read it; raises RefusedDelivery with 400, 401 or 422."""
    try:
        Webhook(secret).verify(body, dict(headers), json_parse=False)
    except UnicodeDecodeError:
        raise _unreadable("the body is not UTF-8") from None
    except (WebhookVerificationError, ValueError):
        fault = WebhookFault.TOO_OLD if _was_signed(body, headers, secret) else WebhookFault.FORGED
        raise not_believed(fault, body, _standard_claim) from None
    try:
        event = _Event.model_validate_json(body)
    except ValidationError as error:
        raise _unreadable(describe_errors(error)) from None
    data = event.data
    return _checked(headers["webhook-id"], event.type, data.reference, data.order_number)


def read_stripe_event(body: bytes, signature: str, secret: str) -> ProviderEvent | None:
    """Verify and read an event of Stripe, None for one that no order needs; raises RefusedDelivery with 400, 401 or 422."""
    try:
        event = stripe_event(body, signature, secret)
    except EventUnreadableError as error:
        raise _unreadable(str(error)) from None
    except ValidationError as error:
        raise _unreadable(describe_errors(error)) from None
    except EventRefusedError as error:
        fault = WebhookFault.TOO_OLD if isinstance(error, EventTooOldError) else WebhookFault.FORGED
        raise not_believed(fault, body, _stripe_claim) from None
    return event and _checked(event.event_id, event.type, event.reference, event.order_number)


def _was_signed(body: bytes, headers: Mapping[str, str], secret: str) -> bool:
    """Tell whether a signature fits at the time that it names, however far from now that is."""
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    event_id, stamp, signatures = (headers.get(name, "") for name in names)
    try:
        made = Webhook(secret).sign(event_id, datetime.fromtimestamp(float(stamp), UTC), body.decode())
    except (ValueError, OverflowError, OSError):
        return False
    return made in signatures.split(" ")


def not_believed(fault: WebhookFault, body: bytes, claim_of: Callable[[Any], tuple[Any, Any, Any]]) -> RefusedDelivery:
    """Word the refusal of a delivery that is not the provider's, or not of now; `claim_of` reads what it says it is about."""
    codes = {
        WebhookFault.FORGED: (401, RefusalCode.WEBHOOK_FORGED),
        WebhookFault.TOO_OLD: (400, RefusalCode.WEBHOOK_TOO_OLD),
    }
    status, code = codes[fault]
    refused = _refused(status, refuse(code, about="", most=WEBHOOK_SECONDS))
    refused.fault = fault
    try:
        kind, reference, number = claim_of(json.loads(body))
        made_up = f"{fault.value}-{hashlib.sha256(body).hexdigest()[:24]}"
        claim = Claim(event_id=made_up, type=kind, reference=reference, order_number=number)
        parse_command("payment_event", claim.noted(fault))
    except (ValueError, LookupError, TypeError, UnreadableCommandError, RecursionError):
        # It says nothing that could be an order: there is no history for it to be in.
        return refused
    refused.claim = claim
    return refused


def _standard_claim(told: Any) -> tuple[Any, Any, Any]:
    return told["type"], told["data"]["reference"], told["data"]["order_number"]


def _stripe_claim(told: Any) -> tuple[Any, Any, Any]:
    names = told["data"]["object"]["metadata"]
    return told["type"], names["reference"], names["order_number"]


def _checked(event_id: str, kind: str, reference: str, order_number: str) -> ProviderEvent:
    """Return the event as an order takes it, so that none is handed on that the order could not read."""
    try:
        event = ProviderEvent(event_id=event_id, type=kind, reference=reference, order_number=order_number)
        parse_command("payment_event", event.command())
    except ValidationError as error:
        raise _unreadable(describe_errors(error)) from None
    except UnreadableCommandError as error:
        raise _unreadable(str(error)) from None
    return event


def _refused(status: int, refusal: Refusal) -> RefusedDelivery:
    return RefusedDelivery(status, refusal.code, f"{refusal.message}; {refusal.remedy}", rule=refusal.rule)


def _unreadable(why: str) -> RefusedDelivery:
    return _refused(422, refuse(RefusalCode.WEBHOOK_UNREADABLE, errors=why))
