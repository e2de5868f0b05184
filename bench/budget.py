"""What one order costs on the real server: history events, billable Temporal actions and history bytes, path by path.

Billable actions are counted from the history by Temporal's rules: a start, an activity, a timer, a signal, an update
and an upsert are one each; all local activities of one workflow task are one together. Time travel and queries are the
bench's own and are not counted. `make budget` prints the table; `tests/test_budget.py` holds the engine to it.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

from domain.order import Actor, Status
from domain.policy import Policy
from sandbox.stack import Stack
from starter import carts
from starter.client import OrderClient
from starter.session import policy as load_policy
from starter.session import settings as load_settings
from starter.stock_cli import seed
from starter.travel import travel
from store.store import Store
from workflows.connection import connect

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
_PARCEL = {"carrier": "Yamato", "tracking_number": "T-1"}
_COUNTED = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
    EventType.EVENT_TYPE_TIMER_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
}
_TRAVEL = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED,
}

_WORKFLOW_TASK = (
    EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
)


class Cost(NamedTuple):
    """What one order cost."""

    events: int
    actions: int
    size: int


class Life(NamedTuple):
    """One life of an order: its name, its play, and the state in which it ends."""

    name: str
    play: Callable[["Player"], Awaitable[None]]
    end: Status
    card: str = "card-approve"


class Player:
    """One order and what is done to it."""

    def __init__(self, client: OrderClient, number: str) -> None:
        self.client = client
        self.number = number

    async def does(self, actor: Actor, name: str, **fields: object) -> None:
        """Send a command."""
        await self.client.command(self.number, name, fields, actor=actor)

    async def travels(self, by: timedelta) -> None:
        """Move the order's clock."""
        await travel(self.client, self.number, by)


async def _happy(player: Player) -> None:
    await player.does(Actor.SELLER, "ship", **_PARCEL)
    await player.does(Actor.SYSTEM, "deliver")
    await player.travels(31 * DAY)


async def _happy_next_day(player: Player) -> None:
    await player.travels(DAY)
    await _happy(player)


async def _buyer_cancels(player: Player) -> None:
    await player.does(Actor.BUYER, "cancel")


async def _seller_cancels(player: Player) -> None:
    await player.travels(DAY)
    await player.does(Actor.SELLER, "cancel", reason="no_inventory")


async def _request(player: Player) -> None:
    await player.travels(31 * MINUTE)
    await player.does(Actor.BUYER, "request_cancellation")
    await player.does(Actor.SELLER, "accept_cancellation")


async def _wait(player: Player) -> None:
    await player.travels(22 * DAY)


async def _assumed(player: Player) -> None:
    await player.does(Actor.SELLER, "ship", **_PARCEL)
    await player.travels(60 * DAY)


PATHS = (
    Life("happy: shipped within minutes, delivered, completed", _happy, Status.COMPLETED),
    Life("happy: shipped the next day, delivered, completed", _happy_next_day, Status.COMPLETED),
    Life("cancelled by the buyer", _buyer_cancels, Status.CANCELLED),
    Life("cancelled by the seller", _seller_cancels, Status.CANCELLED),
    Life("cancellation asked for and accepted", _request, Status.CANCELLED),
    Life("payment never verified", _wait, Status.CANCELLED, "card-decline"),
    Life("shipment never confirmed", _wait, Status.CANCELLED),
    Life("never said to be delivered, completed", _assumed, Status.COMPLETED),
)


def cost(history: WorkflowHistory) -> Cost:
    """Count the events, billable actions and bytes of a history."""
    events = _without_travel(list(history.events))
    actions = sum(event.event_type in _COUNTED for event in events)
    tasks = {
        event.marker_recorded_event_attributes.workflow_task_completed_event_id
        for event in events
        if event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED
    }
    return Cost(len(events), actions + len(tasks), sum(event.ByteSize() for event in events))


def _without_travel(events: list[HistoryEvent]) -> list[HistoryEvent]:
    """Leave out what moving the clock adds: its own events, and the workflow task that its option update starts."""
    kept: list[HistoryEvent] = []
    task_of_travel = 0
    for event in events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED:
            task_of_travel = 3
        elif task_of_travel and event.event_type in _WORKFLOW_TASK:
            task_of_travel -= 1
        elif event.event_type not in _TRAVEL:
            kept.append(event)
            task_of_travel = 0
    return kept


async def measure(client: OrderClient, path: Life) -> Cost:
    """Live one order through `path` and count; raises RuntimeError when it does not end as it must."""
    placement = carts.cart(card=path.card)
    placed = await client.place(placement)
    await client.settled(placed.number)
    # Every publication under way is to be over before the next step, as it is in real life.
    await _idle(client, placed.number)
    await path.play(Player(client, placed.number))
    result = await placed.handle.result()
    if result["status"] != path.end:
        raise RuntimeError(f"{path.name}: the order ended {result['status']}, not {path.end}")
    return cost(await placed.handle.fetch_history())


async def _idle(client: OrderClient, number: str) -> None:
    async with asyncio.timeout(20):
        while (await client.describe(number)).raw_description.pending_activities:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)


def without_live_attributes(policy: Policy) -> Policy:
    """Return the policy with search attributes that stay as they were at placement."""
    places = {code: each.model_copy(update={"live_attributes": False}) for code, each in policy.marketplaces.items()}
    return policy.model_copy(update={"marketplaces": places})


async def _main() -> int:
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["STACK_DIRECTORY"] = folder
        stack = Stack(Path(folder), ui_port=None)
        addresses = await stack.start()
        try:
            seed(Store(addresses.database_url))
            client = await connect(target_host=addresses.temporal, namespace="default")
            policy = load_policy(load_settings())
            table = Table(title="One order, by its path")
            for name in ("path", "events", "actions", "KiB", "events*", "actions*"):
                table.add_column(name, justify="left" if name == "path" else "right")
            for path in PATHS:
                full = await measure(OrderClient(client, "orders", policy), path)
                bare = await measure(OrderClient(client, "orders", without_live_attributes(policy)), path)
                numbers = (full.events, full.actions, f"{full.size / 1024:.1f}", bare.events, bare.actions)
                table.add_row(path.name, *(str(each) for each in numbers))
            console.print(table)
            console.print("* with live_attributes = false")
        finally:
            await stack.stop()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
