"""The connection to Temporal: the environment's settings, the data converter, the search attributes, how an order begins."""

from typing import Any

from pydantic import BaseModel
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.common import TypedSearchAttributes, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError, RPCStatusCode

from domain.base import order_id
from domain.money import format_money
from domain.placement import PlaceOrder, placed_total
from workflows.display import ATTRIBUTES, first_attributes
from workflows.inputs import OrderInput

_TYPE_NAMES: dict[int, str] = {
    IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD: "Keyword",
    IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST: "KeywordList",
    IndexedValueType.INDEXED_VALUE_TYPE_DATETIME: "Datetime",
}


class SearchAttributesMissingError(RuntimeError):
    """Search attributes are missing and may not be created here; the message says how to create them."""


async def connect(**overrides: Any) -> Client:
    """Connect with the environment's Temporal settings (address, namespace, TLS, API key), `overrides` winning."""
    config: dict[str, Any] = {**ClientConfig.load_client_connect_config(), **overrides}
    config.setdefault("target_host", "127.0.0.1:7233")
    return await Client.connect(**config, data_converter=pydantic_data_converter)


async def begin_order(client: Client, task_queue: str, place: PlaceOrder) -> WorkflowHandle[Any, Any]:
    """Start the workflow of an order; raises WorkflowAlreadyStartedError where its number is taken (P3).

    An order that was refused at its placement leaves its number free.
    """
    placement, policy = place.placement, place.policy
    units = sum(line.quantity for line in placement.lines)
    total = format_money(placed_total(placement, policy), policy.currency)
    return await begin(
        client,
        task_queue,
        "order",
        OrderInput(place=place),
        known_as=order_id(placement.order_number),
        content=placement.content(),
        told=f"{units} {'unit' if units == 1 else 'units'}, {total}, seller {placement.seller_id}",
        search_attributes=first_attributes(place),
    )


async def begin(
    client: Client,
    task_queue: str,
    kind: str,
    given: BaseModel,
    *,
    known_as: str,
    content: str,
    told: str,
    search_attributes: TypedSearchAttributes | None = None,
) -> WorkflowHandle[Any, Any]:
    """Start a workflow of its own id; raises WorkflowAlreadyStartedError where that is taken, RPCError.

    One that failed leaves its id free. `content` is the digest by which a second one is compared, `told` what the UI says.
    """
    return await client.start_workflow(
        kind,
        given,
        id=known_as,
        task_queue=task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
        memo={"content": content},
        static_summary=told,
        search_attributes=search_attributes,
    )


async def ensure_search_attributes(client: Client) -> None:
    """Create the search attributes that are missing; raises SearchAttributesMissingError where that is not allowed.

    A worker must not take work before: an upsert of an unknown attribute fails the workflow task for ever.
    """
    try:
        listed = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
        known = dict(listed.custom_attributes)
    except RPCError as error:
        raise SearchAttributesMissingError(_remedy([key.name for key in ATTRIBUTES], str(error))) from error
    wanted = {key.name: IndexedValueType.ValueType(int(key.indexed_value_type)) for key in ATTRIBUTES}
    wrong = [name for name, kind in wanted.items() if name in known and known[name] != kind]
    if wrong:
        raise SearchAttributesMissingError(_remedy(wrong, "they exist with another type"))
    missing = {name: kind for name, kind in wanted.items() if name not in known}
    if not missing:
        return
    try:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
        )
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:
            raise SearchAttributesMissingError(_remedy(list(missing), str(error))) from error


def _remedy(names: list[str], why: str) -> str:
    types = {key.name: _TYPE_NAMES[int(key.indexed_value_type)] for key in ATTRIBUTES}
    commands = "; ".join(
        f"temporal operator search-attribute create --name {name} --type {types[name]}" for name in names
    )
    return (
        f"search attributes {', '.join(names)} are not usable in this namespace ({why}); have them created: {commands}"
    )
