"""The convenience store of the embedded stack: what a buyer does there with a payment number (P5, G7)."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx

from domain.payment_state import PaymentStatus
from domain.refund import PaymentMethod
from domain.views import OrderView
from starter.client import InputError, OrderClient, UnreachableError

PATIENCE = 10.0
"""Seconds for which the order is given time to hear of its payment."""


class ShopError(Exception):
    """The shop does not take the money; the message says why."""


async def pay_number(client: OrderClient, provider_url: str, number: str, *, late: bool = False) -> str:
    """Pay an order's number in full at the order's own time, and return the number; with `late` also past its due date.

    Raises InputError for an order without a payment number, ShopError where the shop refuses, UnreachableError.
    """
    order = await client.order(number)
    paid = order.payment
    if paid is None or paid.number is None:
        how = (
            "not yet issued" if paid and paid.method is PaymentMethod.KONBINI else "none, for it is not paid at a store"
        )
        raise InputError(f"order_number: the payment number of order {number} is {how}; place it with --method konbini")
    try:
        async with httpx.AsyncClient(base_url=provider_url, timeout=10) as http:
            answer = await http.post(
                "/konbini/payments",
                json={"number": paid.number, "late": late},
                headers={"Sandbox-Clock": order.clock.isoformat()},
            )
    except httpx.HTTPError as error:
        raise UnreachableError(f"the payment provider does not answer ({error}); see that the stack runs") from None
    if not answer.is_success:
        raise ShopError(_why(answer))
    return paid.number


def _why(answer: httpx.Response) -> str:
    try:
        said: dict[str, Any] = answer.json()
    except ValueError:
        said = {}
    return str(said.get("message") or f"the payment provider answered {answer.status_code}")


async def numbered(client: OrderClient, number: str) -> OrderView:
    """Return the order once its payment number is issued, or as it is after ten seconds; raises RefusedError."""
    end = asyncio.get_running_loop().time() + PATIENCE
    while True:
        # One look only: an order that waits for its buyer to pay stays pending.
        await client.settled(number, timedelta())
        order = await client.order(number)
        authorizing = order.payment is not None and order.payment.status is PaymentStatus.AUTHORIZING
        if not authorizing or asyncio.get_running_loop().time() > end:
            return order
        await asyncio.sleep(0.05)


async def heard(client: OrderClient, number: str) -> OrderView:
    """Return the order once it has heard of its payment by the provider's webhook, or as it is after ten seconds."""
    end = asyncio.get_running_loop().time() + PATIENCE
    while True:
        order = await client.order(number)
        waiting = order.payment is not None and order.payment.status is PaymentStatus.AWAITING
        if not waiting or asyncio.get_running_loop().time() > end:
            return order
        await asyncio.sleep(0.1)
