"""An order is cheap: events and billable actions of the commonest lives stay within their budget on the real server."""

import os

import pytest
from live_kit import Live, sample_policy

from bench.budget import measure, without_live_attributes
from bench.lives import LIVES
from bench.player import Life
from starter.client import OrderClient

HAPPY = next(life for life in LIVES if life.name == "happy")
CANCELLED = next(life for life in LIVES if life.name == "buyer_cancels")


@pytest.fixture
def stocked(live: Live, monkeypatch: pytest.MonkeyPatch) -> Live:
    """Give the sample sellers their stock, and let the starter find the stack."""
    live.stock_samples()
    folder = live.addresses.database_url.removeprefix("sqlite:///").removesuffix("/orders.db")
    monkeypatch.setitem(os.environ, "STACK_DIRECTORY", folder)
    return live


@pytest.mark.parametrize(
    ("life", "live_attributes", "events", "actions"),
    [(HAPPY, True, 64, 19), (HAPPY, False, 60, 15), (CANCELLED, True, 44, 11), (CANCELLED, False, 42, 9)],
    ids=["happy", "happy without live attributes", "cancelled", "cancelled without live attributes"],
)
async def test_an_order_stays_within_its_budget(
    stocked: Live, life: Life, live_attributes: bool, events: int, actions: int
) -> None:
    """A shipped and completed order, and a cancelled one, cost no more than this, with all windows, notices and records."""
    policy = sample_policy()
    chosen = policy if live_attributes else without_live_attributes(policy)
    cost = await measure(OrderClient(stocked.orders.temporal, stocked.settings.task_queue, chosen), life)
    assert cost.actions <= actions, cost
    # How many workflow tasks an order takes depends on how fast its activities answer: one task, three events, of play.
    assert cost.events <= events + 3, cost
