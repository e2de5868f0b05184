"""A purchase across sellers and a combined parcel on the real server, for the recorded histories."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from temporalio.client import WorkflowHandle

from domain.order import Status
from domain.parcel import Parcel
from domain.purchase import parse_purchase
from starter import carts, joint
from starter.client import OrderClient

_PARTS = (("S-100", "CUP-01"), ("S-200", "TAZZA-1"))


async def purchase(client: OrderClient) -> WorkflowHandle[Any, Any]:
    """Buy of two sellers at once; raises RuntimeError when the purchase does not end."""
    bare = carts.cart().model_dump(mode="json", exclude_none=True)
    price = {"amount_minor": 1200, "currency": "JPY"}
    parts = [
        {
            "order_number": carts.order_number(),
            "seller_id": seller,
            "shipping_option": "standard",
            "lines": [{"sku": sku, "title": sku, "quantity": 1, "unit_price": price}],
        }
        for seller, sku in _PARTS
    ]
    whole = {name: bare[name] for name in ("marketplace", "buyer", "shipping_address", "payment")}
    started = await joint.purchase(client, parse_purchase({**whole, "purchase_number": "P-RECORDED", "parts": parts}))
    if await joint.purchased(started) is None:
        raise RuntimeError("the purchase did not end")
    return started.handle


async def parcel(client: OrderClient) -> WorkflowHandle[Any, Any]:
    """Send two orders in one parcel and refund what was saved; raises RuntimeError when it does not end."""
    numbers = [(await client.place(carts.cart())).number for _ in range(2)]
    async with asyncio.timeout(20):
        for number in numbers:
            while (await client.order(number)).status is not Status.UNSHIPPED:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.05)
    saved = {"amount_minor": 250, "currency": "JPY"}
    form = {"carrier": "Yamato", "tracking_number": "JP-1", "parcel_id": "L-RECORDED", "seller_id": "S-100"}
    orders = [{"order_number": number, "saved": saved} for number in numbers]
    started = await joint.combine(client, Parcel.model_validate({**form, "orders": orders}))
    if await joint.combined(started) is None:
        raise RuntimeError("the parcel did not end")
    return started.handle


JOINT: Mapping[str, Callable[[OrderClient], Awaitable[WorkflowHandle[Any, Any]]]] = {
    "purchase": purchase,
    "parcel": parcel,
}
"""What is recorded besides the lives of single orders."""
