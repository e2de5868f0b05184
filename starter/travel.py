"""Time travel: moving one order's clock ahead on the embedded stack, others untouched."""

from datetime import timedelta

from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import TimeSkipper

from domain.base import format_duration
from domain.order import HistoryEntry
from domain.views import OrderView
from starter.client import InputError, OrderClient
from starter.session import embedded_stack

FURTHEST = timedelta(days=400)


async def travel(client: OrderClient, number: str, duration: timedelta) -> tuple[OrderView, list[HistoryEntry]]:
    """Move the order's clock ahead by `duration`, every timer on the way firing; return the order and what happened.

    Raises InputError anywhere but on the embedded stack: elsewhere orders live in real time.
    """
    if not timedelta() < duration <= FURTHEST:
        raise InputError(f"duration: {format_duration(duration)}; more than 0s and at most {format_duration(FURTHEST)}")
    stack = embedded_stack()
    if stack is None or client.temporal.service_client.config.target_host != stack.temporal:
        raise InputError("travel: this is not the embedded stack, and elsewhere no clock is moved; run `starter stack`")
    known = {entry.seq for entry in await client.history(number)}
    if (await client.describe(number)).status is not WorkflowExecutionStatus.RUNNING:
        raise InputError(f"travel: order {number} is closed; its clock stands still")
    await TimeSkipper(client.temporal).fast_forward(client.handle(number), duration)
    entries = [entry for entry in await client.history(number) if entry.seq not in known]
    return await client.order(number), entries
