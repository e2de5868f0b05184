"""The stock partner: reservations that stand apart from a payment."""

import asyncio

from temporalio import activity

from domain.effects import Outcome, Reserve, Result
from store.stock import Shortage
from store.store import Store


class StockActivities:
    """Activities on stock; releases follow from the order's record."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @activity.defn(name="reserve_stock")
    async def reserve(self, effect: Reserve) -> Outcome:
        """Make the order's reservation what the effect says, all or nothing: RESERVED or OUT_OF_STOCK (P4)."""
        answer = await asyncio.to_thread(self._store.reserve, effect.reservation)
        if isinstance(answer, Shortage):
            return Outcome(result=Result.OUT_OF_STOCK, reference=effect.key, short=answer.available)
        return Outcome(result=Result.RESERVED, reference=effect.key)
