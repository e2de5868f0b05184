"""What spans several orders, from outside: a purchase across sellers (P2), a combined parcel (S6)."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from domain.joint import JointRefusalCode, refuse_joint
from domain.parcel import Parcel, ParcelResult
from domain.placement import PlacementError
from domain.purchase import PlacePurchase, Purchase, PurchaseResult, placement_of, split
from domain.refusals import Refusal
from starter.client import InputError, OrderClient, RefusedError, UnreachableError, failure, unreachable
from workflows.connection import begin


@dataclass(frozen=True)
class Started:
    """A purchase or parcel that runs or has run: `attached` says that the same one existed already."""

    handle: WorkflowHandle[Any, Any]
    attached: bool


async def purchase(client: OrderClient, wanted: Purchase) -> Started:
    """Start a purchase; the same number with the same content attaches, with other content is refused (P2, P3).

    Raises InputError where the policy forbids it, RefusedError for a taken number, UnreachableError.
    """
    policies, errors = [], []
    for position, part in enumerate(wanted.parts):
        try:
            policies.append(client.snapshot(placement_of(wanted, part)))
        except InputError as error:
            errors.append(f"parts.{position}: {error}")
    if errors:
        raise InputError("; ".join(errors))
    place = PlacePurchase(purchase=wanted, policies=tuple(policies))
    try:
        split(place)
    except PlacementError as error:
        raise InputError(str(error)) from None
    number, sellers = wanted.purchase_number, ", ".join(part.seller_id for part in wanted.parts)
    taken = refuse_joint(JointRefusalCode.PURCHASE_NUMBER_TAKEN, number=number)
    return await _start(
        client, "purchase", number, place, wanted.content(), f"{len(policies)} orders: {sellers}", taken
    )


async def combine(client: OrderClient, parcel: Parcel) -> Started:
    """Start a combined parcel; the same id with the same content attaches, with other content is refused (S6).

    Raises RefusedError for a taken id, UnreachableError.
    """
    told = f"{len(parcel.orders)} orders, {parcel.carrier} {parcel.tracking_number}"
    taken = refuse_joint(JointRefusalCode.PARCEL_ID_TAKEN, parcel_id=parcel.parcel_id)
    return await _start(client, "parcel", parcel.parcel_id, parcel, parcel.content(), told, taken)


async def _start(
    client: OrderClient, kind: str, name: str, given: BaseModel, content: str, told: str, taken: Refusal
) -> Started:
    known_as = f"{kind}-{name}"
    try:
        handle = await begin(
            client.temporal, client.task_queue, kind, given, known_as=known_as, content=content, told=told[:200]
        )
        return Started(handle, attached=False)
    except WorkflowAlreadyStartedError:
        handle = client.temporal.get_workflow_handle(known_as)
    except RPCError as error:
        raise unreachable(error) from error
    try:
        found = await handle.describe()
    except RPCError as error:
        raise unreachable(error) from error
    if await found.memo_value("content", default=None) != content:
        raise RefusedError(taken)
    return Started(handle, attached=True)


async def purchased(started: Started, within: timedelta = timedelta(seconds=5)) -> PurchaseResult | None:
    """Wait until a purchase is decided and return its orders, None where `within` is over before.

    Raises RefusedError where it was refused.
    """
    found = await _result(started, within)
    return None if found is None else PurchaseResult.model_validate(found)


async def combined(started: Started, within: timedelta = timedelta(seconds=30)) -> ParcelResult | None:
    """Wait until each order of a parcel is decided, None where `within` is over before; raises RefusedError."""
    found = await _result(started, within)
    return None if found is None else ParcelResult.model_validate(found)


async def _result(started: Started, within: timedelta) -> Any:
    end = asyncio.get_running_loop().time() + within.total_seconds()
    try:
        while (found := await started.handle.describe()).status is WorkflowExecutionStatus.RUNNING:
            if asyncio.get_running_loop().time() > end:
                return None
            await asyncio.sleep(0.05)
    except RPCError as error:
        raise unreachable(error) from error
    if found.status is WorkflowExecutionStatus.COMPLETED:
        return await started.handle.result()
    if found.status is WorkflowExecutionStatus.FAILED:
        raise await failure(started.handle)
    raise UnreachableError(f"{found.id} was ended from outside; start it again with the same content")
