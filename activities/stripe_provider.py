"""Stripe behind the payment protocol: manual capture on cards, konbini payments, refunds; its wire is `stripe_wire`.

One reference is one PaymentIntent. Authorisation and void both begin by opening it with the very same request under the
same idempotency key, so whichever comes first, the other meets the same PaymentIntent, and Stripe's own states decide.
Policy: P5, G3, G7, S2, C9, E7, R6, R7.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import stripe

from activities.stripe_wire import (
    Charge,
    Intent,
    Refund,
    cash_return,
    contract_error,
    is_konbini,
    konbini_payer,
    read,
    refund_name,
    refund_outcome,
    refuse_points,
    returning,
    standing,
    stripe_amount,
    terms_of,
    unavailable,
)
from domain.effects import Ask, Authorize, Capture, Outcome, PayRefund, Result, Void

KEY_LIFE = timedelta(hours=23)
"""How long an idempotency key is relied upon; Stripe keeps it for 24 hours at least."""
_ROUNDS = 3
_OPENING = 1000
"""What an opened PaymentIntent is over until its terms are set, in US cents: it has no card, so nobody ever pays it."""
_EXPAND = ["latest_charge"]
_MOVED_ON = "payment_intent_unexpected_state"


class StripePaymentProvider:
    """Stripe's account of `secret_key`, at `api_base` where it is not Stripe's own; `timeout` bounds each request, in seconds.

    Nothing is retried in here: whoever asks does that, with the same reference.
    """

    def __init__(self, secret_key: str, *, api_base: str | None = None, timeout: float = 10.0) -> None:
        self._http = stripe.HTTPXClient(timeout=timeout)
        self._client = stripe.StripeClient(
            secret_key,
            http_client=self._http,
            max_network_retries=0,
            base_addresses={"api": api_base} if api_base else {},
        )
        self._intents = self._client.v1.payment_intents

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.close_async()  # type: ignore[no-untyped-call]  # untyped in the SDK

    async def authorize(self, request: Authorize) -> Outcome:
        """Hold `amount_minor` on the card: AUTHORIZED with `expires_at`, DECLINED with `decline_code`, or VOIDED.

        With `method` konbini: AWAITING with `number` and `due_at`, AUTHORIZED once it is paid, LAPSED past its due date. A
        repeated request is answered by what became of the first; a hold that lapsed or was charged since is AUTHORIZED.
        Raises ProviderUnavailable, ProviderContractError (also for points). Policy: P5, G3, E7, S2.
        """
        reference = request.reference
        refuse_points(request)
        konbini = is_konbini(request)
        stripe_amount(request.amount_minor, request.currency, reference)
        with _translated("authorize", reference):
            # An idempotency key answers for the first day; after it the PaymentIntent must be looked for.
            old = datetime.now(UTC) - request.at > KEY_LIFE
            found = await self._find(reference, request.order_number) if old else None
            intent = found or await self._open(reference, request.order_number)
            for _ in range(_ROUNDS):
                if intent.terms is not None and intent.terms != terms_of(request):
                    fact = f"it was used for {intent.terms!r} and now for {terms_of(request)!r}"
                    raise contract_error(fact, reference, "use a new reference")
                outcome = await self._standing(intent, reference)
                if outcome.result is not Result.UNANSWERED:
                    charged = outcome.result in (Result.CAPTURED, Result.LAPSED) and not konbini
                    paid = outcome.result is Result.CAPTURED
                    return outcome.model_copy(update={"result": Result.AUTHORIZED}) if charged or paid else outcome
                try:
                    intent = await self._submit(intent, request)
                except stripe.CardError as error:
                    return _declined(error, reference)
                except stripe.InvalidRequestError as error:
                    if error.code == "resource_missing" and error.param in ("payment_method", None):
                        return Outcome(result=Result.DECLINED, reference=reference, decline_code="invalid_card")
                    if error.code != _MOVED_ON:
                        raise
                    intent = await self._retrieve(intent.id, reference)
            raise unavailable(f"{intent.id} keeps changing", reference)

    async def _submit(self, intent: Intent, request: Authorize) -> Intent:
        """Set the terms of an opened PaymentIntent and confirm it."""
        reference = request.reference
        terms: dict[str, Any] = {
            "amount": stripe_amount(request.amount_minor, request.currency, reference),
            "currency": request.currency.lower(),
            "metadata": {"terms": terms_of(request)},
        }
        confirmation: dict[str, Any] = {"expand": _EXPAND}
        if is_konbini(request):
            options = {"expires_at": int(request.due_at.timestamp())} if request.due_at else {}
            terms |= {
                "allowed_payment_method_types": ["konbini"],
                "capture_method": "automatic",
                **konbini_payer(request),
            }
            terms |= {"payment_method_options": {"konbini": options}} if options else {}
        else:
            card = await self._client.v1.payment_methods.retrieve_async(request.card)
            terms["payment_method"] = card.id
            terms |= {"customer": _id(card.customer)} if card.customer else {}
            # The buyer is not there to prove who they are: a bank that insists declines.
            confirmation["off_session"] = True
        await self._intents.update_async(intent.id, terms)  # type: ignore[arg-type]  # built up
        answer = await self._intents.confirm_async(
            intent.id,
            confirmation,  # type: ignore[arg-type]  # built up
            {"idempotency_key": f"{reference}/confirm"},
        )
        # What an idempotency key replays is the state of then.
        return read(Intent, answer, reference) if not _replayed(answer) else await self._retrieve(intent.id, reference)

    async def capture(self, request: Capture) -> Outcome:
        """Charge `amount_minor` of the hold: CAPTURED, DECLINED with `decline_code`, LAPSED or VOIDED.

        Of a konbini payment, which is charged already, what is above `amount_minor` is paid back.
        Raises ProviderUnavailable, ProviderContractError. Policy: S2.
        """
        reference = request.reference
        amount = stripe_amount(request.amount_minor, request.currency, reference)
        with _translated("capture", reference):
            intent = await self._find(reference, request.order_number)
            for _ in range(_ROUNDS):
                if intent is None:
                    raise contract_error("nothing was authorised under it", reference, "authorise it first")
                outcome = await self._standing(intent, reference)
                if outcome.result in (Result.AWAITING, Result.UNANSWERED):
                    raise contract_error("it is not paid", reference, "wait until it is authorised")
                if outcome.result is Result.CAPTURED:
                    _expect_amount(intent, amount, reference)
                if outcome.result is not Result.AUTHORIZED:
                    return outcome.model_copy(update={"expires_at": None})
                try:
                    intent = await (self._keep if intent.is_konbini else self._charge)(intent, amount, request)
                except stripe.CardError as error:
                    return _declined(error, reference)
                except stripe.InvalidRequestError as error:
                    if error.code == "charge_expired_for_capture":
                        return Outcome(result=Result.LAPSED, reference=reference)
                    if error.code != _MOVED_ON:
                        raise
                    intent = await self._retrieve(intent.id, reference)
            raise unavailable("it keeps changing", reference)

    async def _charge(self, intent: Intent, amount: int, request: Capture) -> Intent:
        """Charge a hold on a card."""
        if amount > intent.amount:
            raise contract_error(
                f"it holds {intent.amount}, not {amount}", request.reference, "charge what is held at most"
            )
        await self._intents.capture_async(
            intent.id, {"amount_to_capture": amount}, {"idempotency_key": f"{request.reference}/capture"}
        )
        return await self._retrieve(intent.id, request.reference)

    async def _keep(self, intent: Intent, amount: int, request: Capture) -> Intent:
        """Pay back what was paid at a till above `amount`, and note that the rest is charged."""
        reference, rest = request.reference, intent.amount_received - amount
        if rest < 0:
            raise contract_error(f"{intent.amount_received} was paid, not {amount}", reference, "charge that at most")
        refunds = await self._refunds({"payment_intent": intent.id}, reference)
        if rest and not any(each.metadata.get("operation") == "capture" for each in refunds):
            metadata = returning(intent, "capture", reference, request.order_number)
            await self._client.v1.refunds.create_async(
                {"payment_intent": intent.id, "amount": rest, "metadata": metadata},
                {"idempotency_key": f"{reference}/capture"},
            )
        await self._intents.update_async(intent.id, {"metadata": {"captured": str(amount)}})
        return await self._retrieve(intent.id, reference)

    async def void(self, request: Void) -> Outcome:
        """Make sure that nothing is or will be held or charged under the reference: VOIDED.

        What was charged is paid back. Points are not looked at. Raises ProviderUnavailable, ProviderContractError. Policy: C9.
        """
        reference = request.reference
        with _translated("void", reference):
            intent = await self._find(reference, request.order_number)
            intent = intent or await self._open(reference, request.order_number)
            for _ in range(_ROUNDS):
                refunds = await self._pay_back(intent, request) if intent.status == "succeeded" else ()
                if intent.status in ("succeeded", "canceled"):
                    back = cash_return(intent, refunds, "void", reference)
                    return Outcome(result=Result.VOIDED, reference=reference, cash_return=back)
                try:
                    answer = await self._intents.cancel_async(
                        intent.id, {"cancellation_reason": "abandoned", "expand": _EXPAND}
                    )
                    intent = read(Intent, answer, reference)
                except stripe.InvalidRequestError as error:
                    if error.code != _MOVED_ON:
                        raise
                    intent = await self._retrieve(intent.id, reference)
            raise unavailable(f"{intent.id} is {intent.status} and cannot be cancelled yet", reference)

    async def _pay_back(self, intent: Intent, request: Void) -> tuple[Refund, ...]:
        """Pay back whatever of a charge no refund has paid back or is about to; returns all its refunds, newest first."""
        reference = request.reference
        refunds = await self._refunds({"payment_intent": intent.id}, reference)
        rest = intent.amount_received - sum(each.amount for each in refunds if not each.has_failed)
        if rest <= 0:
            return refunds
        failed = sum(each.has_failed for each in refunds)
        metadata = returning(intent, "void", reference, request.order_number)
        answer = await self._client.v1.refunds.create_async(
            {"payment_intent": intent.id, "amount": rest, "metadata": metadata},
            {"idempotency_key": f"{reference}/void/{rest}/{failed}"},
        )
        return read(Refund, answer, reference), *refunds

    async def refund(self, request: PayRefund) -> Outcome:
        """Pay back part of a charge, once per reference.

        REFUND_PENDING with `expected_at`, REFUND_PAID, or REFUND_FAILED with `decline_code`. Raises ProviderUnavailable,
        ProviderContractError (also for more than is left of the charge). Policy: R2, R6, R7.
        """
        reference = request.reference
        amount = stripe_amount(request.amount_minor, request.currency, reference)
        with _translated("refund", reference):
            intent = await self._find(request.payment_reference, request.order_number)
            if intent is None or intent.status != "succeeded":
                fact = f"nothing was charged under {request.payment_reference}"
                raise contract_error(fact, reference, "refund what was charged")
            # An idempotency key lasts a day, the list of refunds for ever: it is what keeps the money from going twice.
            refund = _named(await self._refunds({"payment_intent": intent.id}, reference), reference)
            if refund is None:
                metadata = {"reference": reference, "order_number": request.order_number}
                answer = await self._client.v1.refunds.create_async(
                    {"payment_intent": intent.id, "amount": amount, "metadata": metadata},
                    {"idempotency_key": reference},
                )
                refund = read(Refund, answer, reference)
            elif refund.amount != amount:
                raise contract_error(f"it was used for {refund.amount}, not {amount}", reference, "use a new reference")
            return refund_outcome(refund, reference)

    async def ask(self, request: Ask) -> Outcome:
        """Tell how a reference stands, moving nothing.

        A payment: as `standing` answers. A refund: as `refund` answers. A reference that Stripe does not know, or a konbini
        payment of the last minute that its search does not yet: UNANSWERED. Raises ProviderUnavailable. Policy: R6, G7.
        """
        reference = request.reference
        with _translated("ask", reference):
            if not request.refund:
                intent = await self._find(reference, request.order_number)
                if intent is not None:
                    return await self._standing(intent, reference)
                return Outcome(result=Result.UNANSWERED, reference=reference)
            for charge in await self._charges(request.order_number, reference):
                if charge.amount_captured:
                    refund = _named(await self._refunds({"charge": charge.id}, reference), reference)
                    if refund is not None:
                        return refund_outcome(refund, reference)
            return Outcome(result=Result.UNANSWERED, reference=reference)

    async def _standing(self, intent: Intent, reference: str) -> Outcome:
        """Tell how a payment stands, looking at its refunds where there are any."""
        charge = intent.latest_charge
        returned = intent.status == "succeeded" and charge and (charge.amount_refunded or intent.is_konbini)
        refunds = await self._refunds({"payment_intent": intent.id}, reference) if returned else ()
        return standing(intent, refunds, reference)

    async def _open(self, reference: str, order_number: str) -> Intent:
        """Return the PaymentIntent of a reference, made now unless its idempotency key is known; it moves no money."""
        answer = await self._intents.create_async(
            {
                "amount": _OPENING,
                "currency": "usd",
                "capture_method": "manual",
                "allowed_payment_method_types": ["card"],
                "transfer_group": order_number,
                "metadata": {"reference": reference, "order_number": order_number},
            },
            {"idempotency_key": reference},
        )
        intent = read(Intent, answer, reference)
        return await self._retrieve(intent.id, reference) if _replayed(answer) else intent

    async def _find(self, reference: str, order_number: str) -> Intent | None:
        """Find the PaymentIntent of a reference: by the order's charges, which are told at once, then by Stripe's search.

        The search is a minute behind, an hour at bad times: what it misses has no charge yet, and its idempotency key lives.
        """
        for charge in await self._charges(order_number, reference):
            if charge.metadata.get("reference") == reference and charge.payment_intent:
                return await self._retrieve(charge.payment_intent, reference)
        found = await self._intents.search_async({"query": f"metadata['reference']:'{reference}'"})
        return await self._retrieve(found.data[0].id, reference) if found.data else None

    async def _retrieve(self, intent_id: str, reference: str) -> Intent:
        return read(Intent, await self._intents.retrieve_async(intent_id, {"expand": _EXPAND}), reference)

    async def _charges(self, order_number: str, reference: str) -> tuple[Charge, ...]:
        """Return the order's charges, newest first; Stripe lists 100 of a transfer group."""
        page = await self._client.v1.charges.list_async({"transfer_group": order_number, "limit": 100})
        return tuple(read(Charge, each, reference) for each in page.data)

    async def _refunds(self, of: dict[str, Any], reference: str) -> tuple[Refund, ...]:
        """Return all refunds of a PaymentIntent or a charge, newest first."""
        page = await self._client.v1.refunds.list_async({**of, "limit": 100})  # type: ignore[arg-type]  # built up
        return tuple([read(Refund, each, reference) async for each in page.auto_paging_iter()])


def _named(refunds: tuple[Refund, ...], reference: str) -> Refund | None:
    return next((each for each in refunds if refund_name(each) == reference), None)


def _id(thing: str | stripe.Customer) -> str:
    return thing if isinstance(thing, str) else thing.id


def _replayed(answer: stripe.StripeObject) -> bool:
    response = answer.last_response
    return response is None or response.headers.get("idempotent-replayed") == "true"


def _expect_amount(intent: Intent, amount: int, reference: str) -> None:
    charged = int(intent.metadata.get("captured", intent.amount_received))
    if charged != amount:
        raise contract_error(f"{charged} was charged before, not {amount}", reference, "charge a hold once")


def _declined(error: stripe.CardError, reference: str) -> Outcome:
    problem = error.error
    code = (problem.decline_code if problem else None) or error.code
    return Outcome(result=Result.DECLINED, reference=reference, decline_code=code or "card_declined")


@contextmanager
def _translated(operation: str, reference: str) -> Iterator[None]:
    """Turn the SDK's errors into the protocol's two: refused for good, or unknown and to be asked again."""
    try:
        yield
    except (stripe.AuthenticationError, stripe.PermissionError) as error:
        # An operator can mend that, and nobody's card is to be called declined until then.
        fact = (
            f"{operation}: the key is not accepted ({error.http_status}: {error.user_message}), check STRIPE_SECRET_KEY"
        )
        raise unavailable(fact, reference) from error
    except (stripe.InvalidRequestError, stripe.IdempotencyError, stripe.CardError) as error:
        fact = f"{operation}: status {error.http_status}, {error.code or error.user_message} ({error.user_message})"
        raise contract_error(fact, reference, "repeating it will not help, correct the request itself") from error
    except stripe.StripeError as error:
        # Also a key that is in use (409), a lock, the rate limit (429), and whatever the SDK could not read.
        fact = f"{operation}: {type(error).__name__}, status {error.http_status} ({error.user_message})"
        raise unavailable(fact, reference) from error
