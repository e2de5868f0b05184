"""The typed client of the order engine: place orders, send commands, ask for what is.

An acknowledged command is durable: it is sent as an Update and, where no worker takes that up within a few seconds, sent
again under the same id as a Signal, which the server keeps. `requested_at` is stamped with the order's own clock.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateHandle,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowUpdateStage,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.answers import closed_refusal, refusal_of
from activities.order_clock import clock_of
from domain.base import order_id
from domain.commands import UnreadableCommandError, parse_command
from domain.order import Actor, Flag, HistoryEntry, Status
from domain.placement import Placement, PlacementError, PlaceOrder, check_against_policy
from domain.policy import Policy, PolicyError, PolicySnapshot
from domain.refusal_codes import RefusalCode
from domain.refusals import Refusal, refuse
from domain.views import OrderView
from workflows.connection import begin_order
from workflows.display import FLAGS, NEXT_DEADLINE, SELLER, STATUS
from workflows.wire import update_id

TAKEN_UP_WITHIN = timedelta(seconds=4)
ANSWERED_WITHIN = timedelta(seconds=60)
LOOKED_UP_WITHIN = timedelta(seconds=15)
"""Longer than the ten seconds after which the server gives a killed worker's task to another one."""
_NO_ANSWER = (RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.RESOURCE_EXHAUSTED)


class InputError(ValueError):
    """The input is not of the form it must have; the message names each field, value and limit."""


class RefusedError(Exception):
    """The engine refused; `refusal` has fact, limit, remedy and rule."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class UnreachableError(ConnectionError):
    """Temporal, or a worker that must answer, is not to be reached."""


@dataclass(frozen=True)
class Placed:
    """A placed order: `attached` says that the same order existed already (P3)."""

    number: str
    handle: WorkflowHandle[Any, Any]
    attached: bool


@dataclass(frozen=True)
class Reply:
    """The answer to a command: the order as its actor sees it, or None where it is received and not yet carried out."""

    command_id: str
    order: OrderView | None


@dataclass(frozen=True)
class Listed:
    """One order of a listing; `deadline` is when its state changes by itself, UTC."""

    number: str
    status: str
    seller_id: str
    deadline: datetime | None
    flags: tuple[str, ...]
    placed_at: datetime


class OrderClient:
    """Orders on one Temporal namespace; without a policy they are commanded and asked, and none is placed."""

    def __init__(self, client: Client, task_queue: str, policy: Policy | None = None) -> None:
        self.temporal = client
        self._task_queue = task_queue
        self._policy = policy

    @property
    def task_queue(self) -> str:
        """The task queue on which orders are started."""
        return self._task_queue

    def handle(self, number: str) -> WorkflowHandle[Any, Any]:
        """Return the workflow handle of an order."""
        return self.temporal.get_workflow_handle(order_id(number))

    async def place(self, placement: Placement) -> Placed:
        """Start the order; the same number with the same content attaches, with other content is refused (P3).

        Raises InputError where the policy forbids it, RefusedError for a taken number, UnreachableError.
        """
        number, place = placement.order_number, PlaceOrder(placement=placement, policy=self.snapshot(placement))
        try:
            handle = await begin_order(self.temporal, self._task_queue, place)
        except WorkflowAlreadyStartedError:
            return await self._attach(number, placement.content())
        except RPCError as error:
            raise unreachable(error) from error
        return Placed(number, handle, attached=False)

    def snapshot(self, placement: Placement) -> PolicySnapshot:
        """Fix the policy for the order; raises InputError with everything in it that the policy does not know."""
        known = self._policy
        if known is None:
            raise InputError("policy: this client was made without one; give it the policy to place orders by")
        seller = (
            placement.seller_id
            if placement.seller_id in known.sellers
            else next(iter(known.sellers), placement.seller_id)
        )
        errors = []
        try:
            policy = known.snapshot(placement.marketplace, seller)
            check_against_policy(placement.model_copy(update={"seller_id": seller}), policy)
        except (PolicyError, PlacementError) as error:
            errors.append(str(error))
        if seller != placement.seller_id:
            errors.append(f"seller {placement.seller_id!r} is unknown; use one of: {', '.join(known.sellers)}")
        if errors:
            raise InputError("; ".join(errors))
        return policy

    async def _attach(self, number: str, content: str) -> Placed:
        found = await self.describe(number)
        if await found.memo_value("content", default=None) != content:
            raise RefusedError(refuse(RefusalCode.ORDER_NUMBER_TAKEN, number=number))
        return Placed(number, self.handle(number), attached=True)

    async def settled(self, number: str, within: timedelta = timedelta(seconds=5)) -> WorkflowExecutionDescription:
        """Wait until the placement is decided or `within` is over; raises RefusedError where the order was refused."""
        end = asyncio.get_running_loop().time() + within.total_seconds()
        while True:
            found = await self.describe(number)
            if found.status is WorkflowExecutionStatus.FAILED:
                raise await failure(self.handle(number))
            attributes = found.typed_search_attributes
            # A flag that an order is placed with says nothing of what has become of it.
            flags = set(attributes.get(FLAGS) or ()) - {Flag.IN_REVIEW.value}
            undecided = attributes.get(STATUS) == Status.PENDING and not flags
            if not undecided or asyncio.get_running_loop().time() > end:
                return found
            await asyncio.sleep(0.05)

    async def command(
        self,
        number: str,
        name: str,
        fields: Mapping[str, Any],
        *,
        actor: Actor,
        command_id: str | None = None,
        requested_at: datetime | None = None,
    ) -> Reply:
        """Send a command and return its answer.

        Raises InputError with all errors at once, RefusedError, UnreachableError. A command of which nobody says
        whether it was carried out is answered with an order of None: it is received and will be.
        """
        command_id = command_id or uuid4().hex
        requested_at = requested_at or await self.clock(number)
        payload = {"actor": actor.value, "id": command_id, "requested_at": requested_at.isoformat(), **fields}
        try:
            command = parse_command(name, payload)
        except UnreadableCommandError as error:
            raise InputError(str(error)) from None
        handle = self.handle(number)
        try:
            taken_up = await self._update(handle, name, payload, update_id(name, command, command_id))
            if taken_up is None:
                await handle.signal(name, payload)
                return Reply(command_id, None)
            return Reply(command_id, await _answer(taken_up))
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise RefusedError(await closed_refusal(number, handle, await self.describe(number))) from error
            raise unreachable(error) from error

    async def _update(
        self, handle: WorkflowHandle[Any, Any], name: str, payload: Mapping[str, Any], known_as: str
    ) -> WorkflowUpdateHandle[OrderView] | None:
        """Send the Update; None where no worker takes it up in time, in which case the server may forget it."""
        try:
            return await handle.start_update(
                name,
                payload,
                id=known_as,
                wait_for_stage=WorkflowUpdateStage.ACCEPTED,
                result_type=OrderView,
                rpc_timeout=TAKEN_UP_WITHIN,
            )
        except WorkflowUpdateRPCTimeoutOrCancelledError:
            return None
        except RPCError as error:
            if error.status in _NO_ANSWER:
                return None
            raise

    async def describe(self, number: str) -> WorkflowExecutionDescription:
        """Return Temporal's description of the order; raises InputError when there is none of that number."""
        try:
            return await self.handle(number).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise InputError(
                    f"order_number: there is no order {number}; `starter list` shows those there are"
                ) from error
            raise unreachable(error) from error

    async def clock(self, number: str) -> datetime:
        """Return the order's own clock, UTC: ahead of ours where the order has travelled."""
        return clock_of(await self.describe(number))

    async def order(self, number: str, viewer: Actor = Actor.OPERATOR) -> OrderView:
        """Return the order as `viewer` may see it; raises UnreachableError when no worker answers."""
        found = await self.describe(number)
        try:
            view: OrderView = await self.handle(number).query(
                "order", viewer, result_type=OrderView, rpc_timeout=LOOKED_UP_WITHIN
            )
        except RPCError as error:
            raise unreachable(error) from error
        if found.status is not WorkflowExecutionStatus.RUNNING:
            return view
        # A query sees the time of the order's last event; what is shown is how much is left of each window by now.
        now = max(view.clock, clock_of(found))
        windows = tuple(
            each.model_copy(update={"closed": each.closed or each.closes_at <= now}) for each in view.windows
        )
        return view.model_copy(update={"clock": now, "windows": windows})

    async def history(self, number: str, viewer: Actor = Actor.OPERATOR) -> list[HistoryEntry]:
        """Return the order's history as `viewer` may see it, the oldest entry first (D3)."""
        try:
            entries: list[HistoryEntry] = await self.handle(number).query(
                "history", viewer, result_type=list[HistoryEntry], rpc_timeout=LOOKED_UP_WITHIN
            )
        except RPCError as error:
            raise unreachable(error) from error
        return entries

    async def orders(
        self,
        status: Status | None = None,
        seller_id: str | None = None,
        deadline_before: datetime | None = None,
        limit: int = 50,
        flag: Flag | None = None,
    ) -> AsyncIterator[Listed]:
        """Yield orders by state, seller, next deadline or flag, the newest first, `limit` at most."""
        clauses = ["WorkflowType = 'order'", "ExecutionStatus != 'Failed'"]
        if status is not None:
            clauses.append(f"OrderStatus = '{status.value}'")
        if seller_id is not None:
            clauses.append(f"OrderSeller = '{seller_id.replace(chr(39), '')}'")
        if deadline_before is not None:
            clauses.append(f"OrderNextDeadline < '{deadline_before.isoformat()}'")
        if flag is not None:
            clauses.append(f"{FLAGS.name} = '{flag.value}'")
        try:
            async for each in self.temporal.list_workflows(" AND ".join(clauses), limit=limit):
                found = each.typed_search_attributes
                yield Listed(
                    number=each.id.removeprefix(order_id("")),
                    status=found.get(STATUS) or "unknown",
                    seller_id=found.get(SELLER) or "",
                    deadline=found.get(NEXT_DEADLINE),
                    flags=tuple(found.get(FLAGS) or ()),
                    placed_at=each.start_time,
                )
        except RPCError as error:
            raise unreachable(error) from error


async def _answer(update: WorkflowUpdateHandle[OrderView]) -> OrderView | None:
    try:
        return await update.result(rpc_timeout=ANSWERED_WITHIN)
    except WorkflowUpdateRPCTimeoutOrCancelledError:
        return None
    except WorkflowUpdateFailedError as error:
        refusal = refusal_of(error)
        if refusal is None:
            raise
        raise RefusedError(refusal) from error


async def failure(handle: WorkflowHandle[Any, Any]) -> Exception:
    """Return why a workflow failed: RefusedError where it was refused, the error itself where it was not."""
    try:
        await handle.result()
    except Exception as error:  # noqa: BLE001 - the failure is the answer
        refusal = refusal_of(error)
        return RefusedError(refusal) if refusal else error
    return UnreachableError(f"{handle.id} did not fail")


def unreachable(error: RPCError) -> Exception:
    """Return the error to raise for one of Temporal's: InputError for what is not there, else UnreachableError."""
    if error.status is RPCStatusCode.NOT_FOUND:
        return InputError(f"order: {error.message}")
    if error.status in _NO_ANSWER:
        return UnreachableError(
            "no worker answers; start one with `python worker.py`, or the stack with `starter stack`"
        )
    return UnreachableError(f"Temporal does not answer ({error.message}); check TEMPORAL_ADDRESS and that it runs")
