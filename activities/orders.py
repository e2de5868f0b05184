"""Orders as seen from outside their own workflow: reserved together, begun, looked at and commanded.

Every activity may be tried as often as it must: a reservation is known by its order's number and content, an order by its
workflow id, a command by its Update's id.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.answers import closed_refusal, refusal_of
from activities.order_clock import clock_of
from domain.base import order_id
from domain.joint import CommandAnswer, OrderCommand
from domain.order import Actor, HistoryEntry
from domain.parcel import Parcel, ParcelChecked, checked, parcel_errors
from domain.placement import PlaceOrder, first_authorization, open_order
from domain.purchase import OrderBegun, PurchaseReserved, ReservePurchase
from domain.refusal_codes import RefusalCode
from domain.refusals import Refusal, refuse
from domain.views import OrderView, view
from store.store import Shortage, Store

Begin = Callable[[Client, str, PlaceOrder], Awaitable[WorkflowHandle[Any, Any]]]
"""Starts an order's workflow on a task queue; raises WorkflowAlreadyStartedError where its number is taken."""

ANSWERED_WITHIN = timedelta(seconds=8)
"""How long an order's answer is waited for in one attempt; the next one asks for the answer to the same Update."""
LOOKS = 8
"""How often an order that stands in the way is looked at before its number counts as taken: for about a minute."""
_FREE = (
    WorkflowExecutionStatus.FAILED,
    WorkflowExecutionStatus.CANCELED,
    WorkflowExecutionStatus.TERMINATED,
    WorkflowExecutionStatus.TIMED_OUT,
)
"""How a workflow ends that leaves its order's number free."""


class OrderActivities:
    """Activities on whole orders; `begin` is how an order's workflow is started."""

    def __init__(self, client: Client, store: Store, begin: Begin) -> None:
        self._client = client
        self._store = store
        self._begin = begin

    @activity.defn(name="reserve_purchase")
    async def reserve(self, wanted: ReservePurchase) -> PurchaseReserved:
        """Reserve the stock of all orders and write their first records, in one transaction, all or nothing (P2, P4)."""
        states = await asyncio.gather(*(self._number_taken(each) for each in wanted.orders))
        numbers = [each.placement.order_number for each in wanted.orders]
        if any(states):
            return PurchaseReserved(taken=tuple(number for number, taken in zip(numbers, states, strict=True) if taken))
        pairs = []
        for each in wanted.orders:
            order = open_order(each, wanted.at)
            # The very reservation and record that the order's own first effect asks for, so that it finds them made.
            effect = first_authorization(order, view(order, wanted.at))
            if effect.reservation is not None and effect.record is not None:
                pairs.append((effect.reservation, effect.record))
        refused = await asyncio.to_thread(self._store.reserve_all, pairs)
        short = {number: each.available for number, each in refused.items() if isinstance(each, Shortage)}
        return PurchaseReserved(taken=tuple(number for number in refused if number not in short), short=short)

    async def _number_taken(self, place: PlaceOrder) -> bool:
        found = await self._describe(place.placement.order_number)
        return found is not None and found.status not in _FREE and not await _same(found, place)

    @activity.defn(name="begin_order")
    async def begin(self, place: PlaceOrder) -> OrderBegun:
        """Start an order's workflow; one of the same content that runs or ran is this one (P2, P3)."""
        number = place.placement.order_number
        try:
            await self._begin(self._client, activity.info().task_queue, place)
        except WorkflowAlreadyStartedError:
            found = await self._describe(number)
            if found is not None and await _same(found, place):
                return OrderBegun(order_number=number)
            if activity.info().attempt < LOOKS:
                # The number is reserved for this order, so another one that has just been placed is about to be refused.
                raise ApplicationError(f"order {number} exists with other content", type="NumberContested") from None
            return OrderBegun(order_number=number, taken=True)
        return OrderBegun(order_number=number)

    @activity.defn(name="withdraw_order")
    async def withdraw(self, place: PlaceOrder) -> None:
        """Give back the stock of an order that was reserved and never begun (P2, C9)."""
        placement = place.placement
        await asyncio.to_thread(self._store.withdraw, placement.order_number, placement.content())

    @activity.defn(name="check_parcel")
    async def check(self, parcel: Parcel) -> ParcelChecked:
        """Look at every order of a parcel; answer with every reason why they cannot travel together, changing nothing (S6)."""
        numbers = [each.order_number for each in parcel.orders]
        descriptions = await asyncio.gather(*(self._describe(number) for number in numbers))
        views = await asyncio.gather(*(self._view(found) for found in descriptions))
        found = dict(zip(numbers, views, strict=True))
        errors = parcel_errors(parcel, found)
        if errors:
            return ParcelChecked(errors=tuple(errors))
        clocks = {number: clock_of(each) for number, each in zip(numbers, descriptions, strict=True) if each}
        return ParcelChecked(orders=tuple(checked(order, clocks[number]) for number, order in found.items() if order))

    async def _view(self, found: WorkflowExecutionDescription | None) -> OrderView | None:
        if found is None or found.status in _FREE:
            return None
        handle = self._client.get_workflow_handle(found.id)
        try:
            order: OrderView = await handle.query(
                "order", Actor.OPERATOR, result_type=OrderView, rpc_timeout=ANSWERED_WITHIN
            )
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise
        return order

    @activity.defn(name="command_order")
    async def command(self, command: OrderCommand) -> CommandAnswer:
        """Send one command to an order and answer how it was decided; the same Update id is carried out once (R6)."""
        handle = self._client.get_workflow_handle(order_id(command.order_number))
        try:
            await handle.execute_update(
                command.name, command.payload, id=command.update_id, result_type=OrderView, rpc_timeout=ANSWERED_WITHIN
            )
        except WorkflowUpdateFailedError as error:
            refusal = refusal_of(error)
            if refusal is None:
                raise
            return CommandAnswer(refusal=refusal)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return CommandAnswer(refusal=await self._closed(handle, command))
        return CommandAnswer()

    async def _closed(self, handle: WorkflowHandle[Any, Any], command: OrderCommand) -> Refusal | None:
        """Return how an order that is closed by now had answered, or why it takes no command (C13)."""
        number = command.order_number
        found = await self._describe(number)
        if found is None:
            return refuse(RefusalCode.ORDER_REFUSED, number=number)
        if found.status is WorkflowExecutionStatus.RUNNING:
            # It went on in another run meanwhile, which is to be asked instead.
            raise ApplicationError(f"order {number} is not closed", type="OrderRuns")
        if found.status not in _FREE:
            entries: list[HistoryEntry] = await handle.query(
                "history", result_type=list[HistoryEntry], rpc_timeout=ANSWERED_WITHIN
            )
            answered = next((each for each in entries if each.command_id == command.payload.get("id")), None)
            if answered is not None:
                return answered.refusal
        return await closed_refusal(number, handle, found)

    async def _describe(self, number: str) -> WorkflowExecutionDescription | None:
        try:
            return await self._client.get_workflow_handle(order_id(number)).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise


async def _same(found: WorkflowExecutionDescription, place: PlaceOrder) -> bool:
    return bool(await found.memo_value("content", default=None) == place.placement.content())
