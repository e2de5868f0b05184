"""Stripe's objects as this engine reads them: amounts, payments, refunds and events. Pure: nothing is sent from here.

Policy: P5, G3, G7, S2, C9, R6, R7.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import stripe
from babel.numbers import get_currency_precision
from pydantic import BaseModel, ValidationError

from activities import provider
from activities.events import EventRefusedError, EventTooOldError, EventType, EventUnreadableError, ProviderEvent
from activities.provider import ProviderContractError, ProviderUnavailable
from domain.base import WALLET_PREFIX
from domain.effects import Authorize, CashReturn, Outcome, Result
from domain.refund import PaymentMethod, RefundStatus

M = TypeVar("M", bound=BaseModel)
REFUND_PERIOD = timedelta(days=10)
"""How long a refund takes at most, by Stripe's word (5 to 10 business days at a card's bank)."""
SHORTEST_HOLD = timedelta(days=5)
"""The shortest hold on an online card that Stripe names; used where a charge does not tell its own `capture_before`."""
_ZERO_DECIMAL = frozenset(
    ("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF")
)
_THREE_DECIMAL = frozenset(("BHD", "JOD", "KWD", "OMR", "TND"))
_REFUSED = frozenset(("UGX",))  # Stripe lists it both as zero-decimal and as sent with two decimals: a factor of 100
_STORES = {"familymart": "FamilyMart", "lawson": "Lawson", "ministop": "Ministop", "seicomart": "Seicomart"}
_ENDED_BY_STRIPE = frozenset(("automatic", "expired"))
_RETURNS = {"void": "return", "capture": "change"}
"""What the refund that an operation makes of cash is called behind the payment's reference."""


class CardProblem(BaseModel):
    """Why the last attempt to pay failed."""

    code: str | None = None
    decline_code: str | None = None


class CardHold(BaseModel):
    """What a charge says of a hold on a card: `capture_before` in Unix seconds."""

    capture_before: int | None = None


class MethodDetails(BaseModel):
    """How a charge was paid."""

    card: CardHold | None = None


class Charge(BaseModel):
    """One attempt that reached the bank; amounts in Stripe's units, `created` in Unix seconds."""

    id: str
    created: int
    amount_captured: int = 0
    amount_refunded: int = 0
    payment_intent: str | None = None
    payment_method_details: MethodDetails | None = None
    metadata: dict[str, str] = {}


class StoreCode(BaseModel):
    """What is typed in at one chain's terminal."""

    payment_code: str
    confirmation_number: str | None = None


class KonbiniDetails(BaseModel):
    """Where and until when a konbini payment is paid; `expires_at` in Unix seconds."""

    expires_at: int
    stores: dict[str, StoreCode | None]


class NextAction(BaseModel):
    """What the buyer has to do."""

    konbini_display_details: KonbiniDetails | None = None


class Intent(BaseModel):
    """A PaymentIntent, with its latest charge expanded; amounts in Stripe's units."""

    id: str
    status: str
    amount: int
    amount_received: int = 0
    cancellation_reason: str | None = None
    last_payment_error: CardProblem | None = None
    latest_charge: Charge | None = None
    next_action: NextAction | None = None
    metadata: dict[str, str] = {}

    @property
    def terms(self) -> str | None:
        """What was asked to be paid under the reference, None while nothing was."""
        return self.metadata.get("terms")

    @property
    def is_konbini(self) -> bool:
        """Whether it is paid at a convenience store."""
        return (self.terms or "").startswith(PaymentMethod.KONBINI)


class Refund(BaseModel):
    """A Refund; `amount` in Stripe's units, `created` in Unix seconds."""

    id: str
    status: str | None = None
    amount: int
    created: int
    failure_reason: str | None = None
    metadata: dict[str, str] = {}

    @property
    def has_failed(self) -> bool:
        """Whether the money did not go back."""
        return self.status in ("failed", "canceled")


class _Subject(BaseModel):
    """What an event is about: a PaymentIntent or a Refund."""

    object: str
    status: str | None = None
    cancellation_reason: str | None = None
    metadata: dict[str, str] = {}


class _EventData(BaseModel):
    object: _Subject


class _Event(BaseModel):
    id: str
    type: str
    data: _EventData


def read(model: type[M], answer: object, reference: str) -> M:
    """Read an answer about `reference`; raises ProviderUnavailable for what is none."""
    try:
        return model.model_validate(answer.to_dict() if isinstance(answer, stripe.StripeObject) else answer)
    except ValidationError as error:
        raise unavailable(f"an unreadable {model.__name__.lower()}", reference) from error


def unavailable(fact: str, reference: str) -> ProviderUnavailable:
    """Say that nothing is known about `reference`."""
    return provider.unavailable("Stripe", fact, reference)


def contract_error(fact: str, reference: str, remedy: str) -> ProviderContractError:
    """Say what is wrong with a request about `reference`, and what would mend it."""
    return ProviderContractError(f"payment provider, Stripe: refused {reference}: {fact}; {remedy}")


def stripe_amount(amount_minor: int, currency: str, reference: str) -> int:
    """Convert minor units of `currency` into the integer that Stripe wants; raises ProviderContractError where none is exact.

    Stripe's decimals differ from the minor units of some currencies: ISK is sent with two, AFN as well; of the currencies
    with three the last digit must be 0. UGX is refused, because Stripe documents it in two ways. Policy: P5.
    """
    if currency in _REFUSED:
        raise contract_error(f"{currency} has no unambiguous unit at Stripe", reference, "charge another currency")
    digits = 0 if currency in _ZERO_DECIMAL else 3 if currency in _THREE_DECIMAL else 2
    ours: int = get_currency_precision(currency)
    amount, rest = divmod(amount_minor * int(10**digits), int(10**ours))
    if rest or (digits == 3 and amount % 10):
        fact = f"{amount_minor} minor units of {currency} cannot be charged exactly"
        raise contract_error(fact, reference, "Stripe's smallest step is larger, round the price to it")
    return amount


def terms_of(request: Authorize) -> str:
    """Describe what a request asks to be paid, so that another request under the same reference is recognised."""
    return f"{request.method} {request.amount_minor} {request.currency} {request.card}"


def standing(intent: Intent, refunds: tuple[Refund, ...], reference: str) -> Outcome:
    """Tell how a payment stands: AWAITING, AUTHORIZED, CAPTURED, DECLINED, LAPSED, VOIDED, or UNANSWERED if never asked for.

    Raises ProviderUnavailable while Stripe itself does not know yet. Policy: G7, S2, C9.
    """
    match intent.status:
        case "requires_capture":
            return Outcome(result=Result.AUTHORIZED, reference=reference, expires_at=_expires_at(intent))
        case "succeeded":
            # Cash whose return failed is owed as a refund, and no hold any more.
            if any(is_void(refund) and (intent.is_konbini or not refund.has_failed) for refund in refunds):
                back = cash_return(intent, refunds, "void", reference)
                return Outcome(result=Result.VOIDED, reference=reference, cash_return=back)
            if intent.is_konbini and "captured" not in intent.metadata:
                return Outcome(result=Result.AUTHORIZED, reference=reference)
            back = cash_return(intent, refunds, "capture", reference)
            return Outcome(result=Result.CAPTURED, reference=reference, cash_return=back)
        case "canceled":
            lapsed = intent.cancellation_reason in _ENDED_BY_STRIPE
            expires_at = _expires_at(intent) if lapsed and intent.latest_charge else None
            return Outcome(
                result=Result.LAPSED if lapsed else Result.VOIDED, reference=reference, expires_at=expires_at
            )
        case "requires_payment_method" | "requires_confirmation":
            return _unpaid(intent, reference)
        case "requires_action" if intent.next_action and intent.next_action.konbini_display_details:
            return _awaiting(intent.next_action.konbini_display_details, reference)
    raise unavailable(f"{intent.id} is {intent.status}", reference)


def _expires_at(intent: Intent) -> datetime | None:
    charge = intent.latest_charge
    if charge is None:
        return None
    details = charge.payment_method_details
    if details and details.card and details.card.capture_before:
        return datetime.fromtimestamp(details.card.capture_before, UTC)
    return datetime.fromtimestamp(charge.created, UTC) + SHORTEST_HOLD


def _unpaid(intent: Intent, reference: str) -> Outcome:
    problem = intent.last_payment_error
    if problem is None:
        return Outcome(result=Result.UNANSWERED, reference=reference)
    if intent.is_konbini:
        return Outcome(result=Result.LAPSED, reference=reference)
    return Outcome(result=Result.DECLINED, reference=reference, decline_code=problem.decline_code or problem.code)


def _awaiting(details: KonbiniDetails, reference: str) -> Outcome:
    """Name the first chain's codes; each chain has codes of its own, so the number says whose they are."""
    for chain, code in details.stores.items():
        if code is not None:
            codes = "-".join(filter(None, (code.payment_code, code.confirmation_number)))
            return Outcome(
                result=Result.AWAITING,
                reference=reference,
                number=f"{_STORES.get(chain, chain)} {codes}",
                due_at=datetime.fromtimestamp(details.expires_at, UTC),
            )
    raise unavailable("a konbini payment without a store's code", reference)


def is_void(refund: Refund) -> bool:
    """Whether a refund was made by a void, and not by a refund of the order's."""
    return refund.metadata.get("operation") == "void"


def returning(intent: Intent, operation: str, reference: str, order_number: str) -> dict[str, str]:
    """Return the metadata of a refund that a void or a charge makes by itself: of cash, with a reference of its own."""
    names = {"operation": operation, "reference": reference, "order_number": order_number}
    return {**names, "cash_return": f"{reference}/{_RETURNS[operation]}"} if intent.is_konbini else names


def refund_name(refund: Refund) -> str | None:
    """Return the reference under which an order knows a refund: that of its command, or that of the cash returned."""
    made_by_itself = "operation" in refund.metadata
    return refund.metadata.get("cash_return" if made_by_itself else "reference")


def cash_return(intent: Intent, refunds: tuple[Refund, ...], operation: str, reference: str) -> CashReturn | None:
    """Tell the cash that a void or a charge pays back; None for a card, and where there is nothing to pay back (R7).

    Stripe takes yen only at a store, whose minor units are its own.
    """
    newest = next((each for each in refunds if each.metadata.get("operation") == operation), None)
    if newest is None or not intent.is_konbini:
        return None
    told = refund_outcome(newest, reference)
    statuses = {Result.REFUND_PAID: RefundStatus.PAID, Result.REFUND_FAILED: RefundStatus.FAILED}
    return CashReturn(
        reference=f"{reference}/{_RETURNS[operation]}",
        amount_minor=newest.amount,
        status=statuses.get(told.result, RefundStatus.PENDING),
        expected_at=told.expected_at,
        failure_code=told.decline_code,
    )


def refund_outcome(refund: Refund, reference: str) -> Outcome:
    """Tell how a refund stands: REFUND_PENDING with `expected_at`, REFUND_PAID, or REFUND_FAILED with a code (R6, R7)."""
    if refund.has_failed:
        code = refund.failure_reason or refund.status
        return Outcome(result=Result.REFUND_FAILED, reference=reference, decline_code=code)
    if refund.status == "succeeded":
        return Outcome(result=Result.REFUND_PAID, reference=reference)
    expected_at = datetime.fromtimestamp(refund.created, UTC) + REFUND_PERIOD
    return Outcome(result=Result.REFUND_PENDING, reference=reference, expected_at=expected_at)


def stripe_event(payload: bytes, signature: str, secret: str) -> ProviderEvent | None:
    """Verify a webhook of Stripe and translate it; None for an event that is not about an order's money.

    `signature` is the header Stripe-Signature, `secret` the endpoint's `whsec_…`. Raises EventRefusedError for a signature
    that does not fit, EventTooOldError for one older than 300 seconds, EventUnreadableError for the body. Policy: G7, R7.
    """
    try:
        event = _Event.model_validate(stripe.Webhook.construct_event(payload, signature, secret).to_dict())
    except stripe.SignatureVerificationError as error:
        told = (
            f"webhook refused: {error.user_message}; it must be signed with STRIPE_WEBHOOK_SECRET and 300 s old at most"
        )
        raise (EventTooOldError if _was_signed(payload, signature, secret) else EventRefusedError)(told) from error
    except (ValueError, AttributeError) as error:
        raise EventUnreadableError(
            "webhook refused: its body is not one of Stripe's snapshot events; "
            "choose the payload style `snapshot` for the endpoint"
        ) from error
    subject = event.data.object
    kind, order_number = _event_type(event.type, subject), subject.metadata.get("order_number")
    reference = subject.metadata.get("reference")
    if kind in (EventType.REFUND_PAID, EventType.REFUND_FAILED):
        reference = subject.metadata.get("cash_return", reference)
    if kind is None or reference is None or order_number is None:
        return None
    return ProviderEvent(event_id=event.id, type=kind, reference=reference, order_number=order_number)


def _was_signed(payload: bytes, signature: str, secret: str) -> bool:
    """Tell whether a signature fits at the time that it names, however long ago that is."""
    try:
        verified = stripe.WebhookSignature.verify_header(payload.decode(), signature, secret, tolerance=None)
    except (stripe.SignatureVerificationError, UnicodeDecodeError):
        return False
    return bool(verified)


def _event_type(name: str, subject: _Subject) -> EventType | None:
    konbini = subject.metadata.get("terms", "").startswith(PaymentMethod.KONBINI)
    match name:
        case "payment_intent.succeeded":
            return EventType.PAYMENT_PAID if konbini else EventType.PAYMENT_CAPTURED
        case "payment_intent.amount_capturable_updated":
            return EventType.PAYMENT_AUTHORIZED
        case "payment_intent.payment_failed":
            return EventType.PAYMENT_EXPIRED if konbini else EventType.PAYMENT_DECLINED
        case "payment_intent.canceled":
            lapsed = subject.cancellation_reason in _ENDED_BY_STRIPE
            return EventType.PAYMENT_EXPIRED if lapsed else EventType.PAYMENT_VOIDED
        case "charge.refund.updated" | "refund.created" | "refund.updated" | "refund.failed":
            return _refund_type(subject.status, subject.metadata)
    return None


def _refund_type(status: str | None, metadata: Mapping[str, str]) -> EventType | None:
    if "operation" in metadata and "cash_return" not in metadata:
        return EventType.VOID_FAILED if status in ("failed", "canceled") else None
    types = {"succeeded": EventType.REFUND_PAID, "failed": EventType.REFUND_FAILED, "canceled": EventType.REFUND_FAILED}
    return types.get(status or "")


def konbini_payer(request: Authorize) -> dict[str, object]:
    """Say who pays at the store, which Stripe must know: a konbini PaymentMethod as `card`, or the record's buyer (P5).

    Raises ProviderContractError where the request has neither.
    """
    if request.card.startswith("pm_"):
        return {"payment_method": request.card}
    buyer = request.record.buyer if request.record else None
    if buyer is None:
        remedy = "give the buyer's konbini PaymentMethod (pm_…) as the card, or the order's record with its buyer"
        raise contract_error("Stripe wants the name and the mail address of who pays", request.reference, remedy)
    details = {"name": buyer.name, "email": buyer.email}
    return {"payment_method_data": {"type": "konbini", "billing_details": details}}


def refuse_points(request: Authorize) -> None:
    """Raise ProviderContractError for a request that is to be paid with points (P5)."""
    if request.method is PaymentMethod.POINTS or request.card.startswith(WALLET_PREFIX):
        fact = "points are not Stripe's"
        raise contract_error(fact, request.reference, "hold them at the provider of the points wallets")


def is_konbini(request: Authorize) -> bool:
    """Whether a request is to be paid at a convenience store."""
    return request.method is PaymentMethod.KONBINI
