"""The records partner: the read model that follows the orders, and the stock that follows it.

A record is written in the background and tried until it is; the newest snapshot wins by version, so neither a repeated
nor a late attempt does harm. A database that is down delays no order.
"""

import asyncio

from temporalio import activity

from domain.effects import Outcome, Publish, Result
from store.store import Store


class RecordActivities:
    """Activities on the order's record."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @activity.defn(name="record")
    async def record(self, effect: Publish) -> Outcome:
        """Write the order's newest state and history to the store."""
        await write(self._store, effect)
        return published(effect)


async def write(store: Store, effect: Publish) -> None:
    """Write the record and history of `effect`; raises what the database raises."""
    await asyncio.to_thread(store.record, effect.record, effect.entries)


def published(effect: Publish) -> Outcome:
    """Return the outcome of a publication: up to which history entry the store now knows the order."""
    entries = effect.entries[-1].seq if effect.entries else 0
    return Outcome(result=Result.PUBLISHED, reference=effect.key, entries=entries)
