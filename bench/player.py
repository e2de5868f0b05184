"""How a life of an order is played on the real server: who does what to it, and how it must end."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
from temporalio.client import WorkflowFailureError, WorkflowHandle

from domain.order import CLOSED, Actor, Status
from domain.refund import RefundStatus
from domain.views import OrderView
from starter import carts
from starter.client import OrderClient, RefusedError
from starter.session import embedded_stack
from starter.travel import travel

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
PARCEL = {"carrier": "Yamato", "tracking_number": "T-1"}
KONBINI = {"method": "konbini"}
TWO_ITEMS = {"items": ("CUP-01:2:1200:Tea cup", "POT-02:1:8800:Iron pot")}


class Player:
    """One order and what is done to it."""

    def __init__(self, client: OrderClient, number: str) -> None:
        self.client = client
        self.number = number

    async def does(self, actor: Actor, name: str, **fields: object) -> None:
        """Send a command that is to be accepted."""
        await self.client.command(self.number, name, fields, actor=actor)

    async def is_refused(self, actor: Actor, name: str, **fields: object) -> None:
        """Send a command that is to be refused; raises RuntimeError when it is not."""
        try:
            await self.does(actor, name, **fields)
        except RefusedError:
            return
        raise RuntimeError(f"{name} was not refused")

    async def order(self) -> OrderView:
        """Return the order."""
        return await self.client.order(self.number)

    async def pays_at_store(self, number: str) -> None:
        """Pay a payment number at the sandbox's till."""
        stack = embedded_stack()
        if stack is None:
            raise RuntimeError("no embedded stack: only its provider has a till")
        clock = {"Sandbox-Clock": (await self.client.clock(self.number)).isoformat()}
        async with httpx.AsyncClient(base_url=stack.provider, timeout=20) as till:
            (await till.post("/konbini/payments", json={"number": number}, headers=clock)).raise_for_status()

    async def signals(self, name: str, payload: object) -> None:
        """Send a raw signal."""
        await self.client.handle(self.number).signal(name, payload)

    async def travels(self, by: timedelta) -> None:
        """Move the order's clock."""
        await travel(self.client, self.number, by)


@dataclass(frozen=True)
class Life:
    """One life: a short name, what it is, how it is played, the state it must end in (None: refused at placement)."""

    name: str
    title: str
    play: Callable[[Player], Awaitable[None]]
    end: Status | None
    options: Mapping[str, Any] = field(default_factory=dict)
    counted: bool = False


async def live_through(client: OrderClient, life: Life) -> WorkflowHandle[Any, Any]:
    """Live one order through `life`; raises RuntimeError when it does not end as it must."""
    placement = carts.cart(**life.options)
    placed = await client.place(placement)
    if life.end is None:
        try:
            await placed.handle.result()
        except WorkflowFailureError:
            return placed.handle
        raise RuntimeError(f"{life.name}: the placement was not refused")
    await client.settled(placed.number)
    # Every publication under way is to be over before the next step, as it is in real life.
    await idle(client, placed.number)
    await life.play(Player(client, placed.number))
    await idle(client, placed.number)
    if life.end in CLOSED:
        # To the very end: the retention period passes, and personal data is erased.
        await travel(client, placed.number, 31 * DAY)
        await placed.handle.result()
    order = await client.order(placed.number)
    if order.status is not life.end:
        raise RuntimeError(f"{life.name}: the order ended {order.status}, not {life.end}")
    return placed.handle


async def idle(client: OrderClient, number: str) -> None:
    """Wait until no activity of the order is under way."""
    async with asyncio.timeout(20):
        while (await client.describe(number)).raw_description.pending_activities:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)


async def happily(player: Player) -> None:
    """Ship everything, have it delivered, and let the return window end."""
    await player.does(Actor.SELLER, "ship", **PARCEL)
    await player.does(Actor.SYSTEM, "deliver")
    await player.travels(31 * DAY)


async def pays_in_cash(player: Player) -> None:
    """Pay the order's number at the till and wait until the order knows."""
    number = (await player.order()).payment
    await player.pays_at_store("" if number is None else number.number or "")
    async with asyncio.timeout(20):
        while (await player.order()).status is Status.PENDING:  # noqa: ASYNC110 - the webhook comes when it comes
            await asyncio.sleep(0.05)


async def paid_back(player: Player) -> None:
    """Wait until the provider has paid every refund."""
    async with asyncio.timeout(20):
        while any(each.status is not RefundStatus.PAID for each in (await player.order()).refunds):  # noqa: ASYNC110 - the bank says when
            await asyncio.sleep(0.05)
