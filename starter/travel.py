"""Time travel: moving one order's clock ahead on the embedded stack, others untouched."""

import asyncio
from datetime import timedelta

from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import TimeSkipper

from domain.base import format_duration
from domain.order import HistoryEntry
from domain.views import OrderView
from starter.client import InputError, OrderClient, UnreachableError
from starter.session import embedded_stack

FURTHEST = timedelta(days=400)
EDGE = timedelta(milliseconds=50)
NEAR = timedelta(seconds=2)
PATIENCE = 30.0


async def travel(client: OrderClient, number: str, duration: timedelta) -> tuple[OrderView, list[HistoryEntry]]:
    """Move the order's clock ahead by `duration`, every timer on the way firing; return the order and what happened.

    Raises InputError anywhere but on the embedded stack: elsewhere orders live in real time.
    """
    if not timedelta() < duration <= FURTHEST:
        raise InputError(f"duration: {format_duration(duration)}; more than 0s and at most {format_duration(FURTHEST)}")
    stack = embedded_stack()
    if stack is None or client.temporal.service_client.config.target_host != stack.temporal:
        raise InputError("travel: this is not the embedded stack, and elsewhere no clock is moved; run `starter stack`")
    if (await client.describe(number)).status is not WorkflowExecutionStatus.RUNNING:
        raise InputError(f"travel: order {number} is closed; its clock stands still")
    known = {entry.seq for entry in await client.history(number)}
    await advance(client, number, duration)
    entries = [entry for entry in await client.history(number) if entry.seq not in known]
    return await client.order(number), entries


async def advance(client: OrderClient, number: str, duration: timedelta) -> None:
    """Move the order's clock ahead by `duration`, from deadline to deadline; ends early where the order closes.

    The server's fast-forward overshoots, by as much as to the next timer, when its target passes while the workflow is
    at work. So each leap ends a moment before a deadline, never on or behind it, and the moment is waited for.
    """
    target = await client.clock(number) + duration
    patience = asyncio.get_running_loop().time() + PATIENCE
    while (await client.describe(number)).status is WorkflowExecutionStatus.RUNNING:
        order, clock = await client.order(number), await client.clock(number)
        if clock >= target and (order.next_deadline_at is None or order.next_deadline_at > clock):
            return
        if order.next_deadline_at is not None and order.next_deadline_at <= clock:
            if asyncio.get_running_loop().time() > patience:
                raise UnreachableError(f"order {number} does not act on its deadline; look at the worker's log")
            await asyncio.sleep(0.02)
            continue
        patience = asyncio.get_running_loop().time() + PATIENCE
        goal = target if order.next_deadline_at is None else min(target, order.next_deadline_at)
        if goal - clock > NEAR:
            await _leap(client, number, goal - clock - EDGE)
        else:
            await asyncio.sleep((goal - clock).total_seconds() + 0.002)


async def _leap(client: OrderClient, number: str, duration: timedelta) -> None:
    try:
        await TimeSkipper(client.temporal).fast_forward(client.handle(number), duration)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        # The order has closed meanwhile: its clock stands still.
