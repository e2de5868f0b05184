"""What one order costs on the real server: history events, billable Temporal actions and history bytes, path by path.

Billable actions are counted from the history by Temporal's rules: a start, an activity, a timer, a signal, an update
and an upsert are one each; all local activities of one workflow task are one together. Time travel and queries are the
bench's own and are not counted. `make budget` prints the table; `tests/test_budget.py` holds the engine to it.
"""

import asyncio
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

from bench.lives import LIVES
from bench.player import Life, live_through
from bench.stage import leave, open_stage
from domain.policy import Policy
from starter.client import OrderClient

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


async def measure(client: OrderClient, life: Life) -> Cost:
    """Live one order through `life` and count what it cost."""
    return cost(await (await live_through(client, life)).fetch_history())


def without_live_attributes(policy: Policy) -> Policy:
    """Return the policy with search attributes that stay as they were at placement."""
    places = {code: each.model_copy(update={"live_attributes": False}) for code, each in policy.marketplaces.items()}
    return policy.model_copy(update={"marketplaces": places})


async def _main() -> int:
    console = Console()
    async with open_stage() as stage:
        table = Table(title="One order, by its path")
        for name in ("path", "events", "actions", "KiB", "events*", "actions*"):
            table.add_column(name, justify="left" if name == "path" else "right")
        for life in (each for each in LIVES if each.counted):
            full = await measure(stage.orders(), life)
            bare = await measure(stage.orders(without_live_attributes(stage.policy)), life)
            numbers = (full.events, full.actions, f"{full.size / 1024:.1f}", bare.events, bare.actions)
            table.add_row(life.title, *(str(each) for each in numbers))
        console.print(table)
        console.print("* with live_attributes = false")
    return 0


if __name__ == "__main__":
    leave(asyncio.run(_main()))
