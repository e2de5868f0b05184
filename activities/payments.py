"""The payment partner: hold, charge, undo.

Each is idempotent by the effect's reference, so Temporal may try it as often as it must. A declined card is a result.
A provider that does not answer is a failure, which is tried again with the same reference: asking, never paying twice.
"""

import asyncio

from temporalio import activity

from activities.provider import PaymentProvider, ProviderContractError
from domain.effects import Ask, Authorize, Capture, Outcome, PayRefund, Result, Void
from domain.placement import points_reference
from store.stock import Shortage
from store.store import NumberTaken, Store


class PaymentActivities:
    """Activities on payments; `authorize` reserves the order's stock first, so that no card is held for what is gone."""

    def __init__(self, provider: PaymentProvider, store: Store) -> None:
        self._provider = provider
        self._store = store

    @activity.defn(name="authorize")
    async def authorize(self, effect: Authorize) -> Outcome:
        """Reserve stock where the effect says so, then hold the amount: AUTHORIZED, DECLINED, VOIDED or OUT_OF_STOCK."""
        if effect.reservation is not None:
            answer = await asyncio.to_thread(self._store.reserve, effect.reservation, effect.record)
            if isinstance(answer, Shortage):
                return Outcome(result=Result.OUT_OF_STOCK, reference=effect.key, short=answer.available)
            if isinstance(answer, NumberTaken):
                return Outcome(result=Result.NUMBER_TAKEN, reference=effect.key)
        try:
            if effect.wallet is not None and effect.points_minor:
                points = await self._provider.authorize(_points_of(effect, effect.wallet))
                if points.result is not Result.AUTHORIZED:
                    code = points.decline_code or points.result.value
                    return Outcome(result=Result.DECLINED, reference=effect.key, decline_code=code)
            outcome = await self._provider.authorize(effect)
            if effect.points_minor and outcome.result is not Result.AUTHORIZED:
                # What is not wanted any more is not held: the buyer may give another card, and hold the points anew.
                await self._provider.void(_points_void(effect))
        except ProviderContractError as error:
            return _refused(effect.key, error)
        return outcome

    @activity.defn(name="capture")
    async def capture(self, effect: Capture) -> Outcome:
        """Charge the hold: CAPTURED, DECLINED, or LAPSED or VOIDED where there is no hold left to charge."""
        try:
            outcome = await self._provider.capture(effect)
            if effect.points_reference and effect.points_minor and outcome.result is Result.CAPTURED:
                points = {"reference": effect.points_reference, "amount_minor": effect.points_minor}
                outcome = await self._provider.capture(effect.model_copy(update=points))
        except ProviderContractError as error:
            return _refused(effect.key, error)
        return outcome.model_copy(update={"reference": effect.key})

    @activity.defn(name="void")
    async def void(self, effect: Void) -> Outcome:
        """Make sure that nothing is held or charged under the reference: VOIDED."""
        outcome = await self._provider.void(effect)
        return outcome.model_copy(update={"round": effect.round})

    @activity.defn(name="refund")
    async def refund(self, effect: PayRefund) -> Outcome:
        """Pay back part of a charge: REFUND_PENDING, REFUND_PAID or REFUND_FAILED."""
        try:
            return await self._provider.refund(effect)
        except ProviderContractError as error:
            activity.logger.error("the payment provider refused %s: %s", effect.key, error)
            return Outcome(result=Result.REFUND_FAILED, reference=effect.key, decline_code="refused_by_provider")

    @activity.defn(name="ask_provider")
    async def ask(self, effect: Ask) -> Outcome:
        """Ask the provider how a payment or refund stands; nothing is moved."""
        try:
            return await self._provider.ask(effect)
        except ProviderContractError as error:
            activity.logger.error("the payment provider does not tell of %s: %s", effect.reference, error)
            return Outcome(result=Result.UNANSWERED, reference=effect.key)


def _points_of(effect: Authorize, wallet: str) -> Authorize:
    """Return the hold of the points that an authorisation uses besides the card."""
    changes = {"reference": points_reference(effect.reference), "amount_minor": effect.points_minor, "card": wallet}
    return effect.model_copy(update={**changes, "points_minor": 0, "wallet": None})


def _points_void(effect: Authorize) -> Void:
    return Void(reference=points_reference(effect.reference), order_number=effect.order_number, at=effect.at)


def _refused(key: str, error: ProviderContractError) -> Outcome:
    # Asking again is no use, and nothing was held or charged: to the order it is a decline, to the operator an error.
    activity.logger.error("the payment provider refused %s: %s", key, error)
    return Outcome(result=Result.DECLINED, reference=key, decline_code="refused_by_provider")
