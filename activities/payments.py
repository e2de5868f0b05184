"""The payment partner: hold, charge, undo.

Each is idempotent by the effect's reference, so Temporal may try it as often as it must. A declined card is a result.
A provider that does not answer is a failure, which is tried again with the same reference: asking, never paying twice.
"""

import asyncio

from temporalio import activity

from activities.provider import PaymentProvider, ProviderContractError
from domain.effects import Authorize, Capture, Outcome, Result, Void
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
            return await self._provider.authorize(effect)
        except ProviderContractError as error:
            return _refused(effect.key, error)

    @activity.defn(name="capture")
    async def capture(self, effect: Capture) -> Outcome:
        """Charge the hold: CAPTURED, DECLINED, or LAPSED or VOIDED where there is no hold left to charge."""
        try:
            outcome = await self._provider.capture(effect)
        except ProviderContractError as error:
            return _refused(effect.key, error)
        return outcome.model_copy(update={"reference": effect.key})

    @activity.defn(name="void")
    async def void(self, effect: Void) -> Outcome:
        """Make sure that nothing is held or charged under the reference: VOIDED."""
        outcome = await self._provider.void(effect)
        return outcome.model_copy(update={"round": effect.round})


def _refused(key: str, error: ProviderContractError) -> Outcome:
    # Asking again is no use, and nothing was held or charged: to the order it is a decline, to the operator an error.
    activity.logger.error("the payment provider refused %s: %s", key, error)
    return Outcome(result=Result.DECLINED, reference=key, decline_code="refused_by_provider")
