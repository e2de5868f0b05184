"""The whole engine on a real PostgreSQL: an order's life, a race for the last unit, and the connection lost in between."""

import asyncio
from uuid import uuid4

import pytest
from live_kit import DAY, Live

from domain.order import Status
from starter import carts
from starter.client import RefusedError
from store.store import Store

pytest_plugins = ["store_kit"]


@pytest.fixture
def on_postgres(live: Live, store: Store, url: str) -> Live:
    """The stack seen through a task queue whose workers keep their records in PostgreSQL."""
    seen = live.on_queue(f"postgres-{uuid4().hex}")
    seen.store = store
    return seen


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
@pytest.mark.rule("P4", "S1", "S2", "A9", "D3")
async def test_an_order_lives_its_life_on_postgres(on_postgres: Live) -> None:
    """Placed, shipped, delivered, completed: the record, the history and the stock in PostgreSQL say the same."""
    live, queue = on_postgres, on_postgres.orders._task_queue
    sku = live.sku(5)
    async with live.worker(queue):
        number = await live.place(items=(f"{sku}:2:1200:Cup",))
        assert live.units(sku) == (5, 2)
        await live.ship(number)
        await live.do(number, "deliver", "system")
        await live.travel(number, 31 * DAY)
        await live.ended(number)
        told = [each.seq for each in await live.history(number)]
    stored = live.store.order(number)
    assert stored is not None and stored.status is Status.COMPLETED
    assert [each.seq for each in live.store.history(number)] == told
    assert live.units(sku) == (3, 0)
    assert {row.status for row in live.store.notices(number)} == {"sent"}


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
@pytest.mark.rule("P4", "C9")
async def test_the_last_units_on_postgres_go_to_as_many_buyers(on_postgres: Live) -> None:
    """Of twelve buyers after five units five get one; three of them cancel, and the units are free again."""
    live, queue = on_postgres, on_postgres.orders._task_queue
    sku = live.sku(5)
    async with live.worker(queue):

        async def buy() -> str | None:
            placed = await live.orders.place(carts.cart(items=(f"{sku}:1:1200:Cup",)))
            try:
                await live.orders.settled(placed.number)
            except RefusedError:
                return None
            return placed.number

        won = [number for number in await asyncio.gather(*(buy() for _ in range(12))) if number]
        assert len(won) == 5
        assert live.units(sku) == (5, 5)
        await asyncio.gather(*(live.do(number, "cancel", "buyer") for number in won[:3]))
        await live.stock_is(sku, 5, 2)
