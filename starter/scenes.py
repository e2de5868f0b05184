"""The scenes of the demo: each plays one order through a part of the policy and says what must have come of it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx

from domain.base import format_duration
from domain.order import CLOSED, Actor, Status
from domain.refund import PaymentMethod
from domain.refusal_codes import RefusalCode
from domain.views import OrderView
from starter import carts
from starter.client import OrderClient, RefusedError
from starter.shop import numbered
from starter.travel import travel

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
PATIENCE = 20.0


class SceneError(AssertionError):
    """The order did not do what the policy says."""


@dataclass
class Stage:
    """One order on its way through a scene: `steps` tell what has happened so far."""

    client: OrderClient
    provider_url: str
    number: str = ""
    status: str = ""
    steps: list[str] = field(default_factory=list)
    failure: str | None = None
    done: bool = False

    async def place(self, **options: Any) -> None:
        """Place the order and wait until its payment is decided."""
        placement = carts.cart(**options)
        self.number = placement.order_number
        await self.client.place(placement)
        if placement.payment.method is PaymentMethod.KONBINI:
            await numbered(self.client, self.number)
        else:
            await self.client.settled(self.number)
        await self.look("placed")

    async def look(self, step: str) -> OrderView:
        """Note a step and the state it led to."""
        order = await self.client.order(self.number)
        self.status = order.status.value
        self.steps.append(step)
        return order

    async def does(self, actor: Actor, name: str, **fields: Any) -> OrderView:
        """Let `actor` send a command that must be accepted."""
        reply = await self.client.command(self.number, name, fields, actor=actor)
        if reply.order is None:
            raise SceneError(f"{name} was only received")
        return await self.look(f"{actor}: {name.replace('_', ' ')}")

    async def is_refused(self, actor: Actor, name: str, code: RefusalCode, **fields: Any) -> None:
        """Let `actor` send a command that must be refused with `code`."""
        try:
            await self.client.command(self.number, name, fields, actor=actor)
        except RefusedError as error:
            if error.refusal.code != code:
                raise SceneError(f"{name} was refused with {error.refusal.code}, not {code}") from None
            await self.look(f"{actor}: {name.replace('_', ' ')} → {code}")
            return
        raise SceneError(f"{name} was accepted; the policy refuses it with {code}")

    async def travels(self, by: timedelta) -> OrderView:
        """Move the order's clock ahead."""
        await travel(self.client, self.number, by)
        return await self.look(f"+{format_duration(by)}")

    async def reaches(self, status: Status) -> OrderView:
        """Wait until the order is in `status`; raises SceneError when it never is."""
        end = asyncio.get_running_loop().time() + PATIENCE
        while (order := await self.client.order(self.number)).status is not status:
            if order.status in CLOSED or asyncio.get_running_loop().time() > end:
                raise SceneError(f"the order is {order.status}, not {status}")
            await asyncio.sleep(0.05)
        self.status = order.status.value
        return order

    async def until(self, condition: Callable[[OrderView], bool], told: str) -> OrderView:
        """Wait until the order is as `condition` says; raises SceneError with `told` when it never is."""
        end = asyncio.get_running_loop().time() + PATIENCE
        while not condition(order := await self.client.order(self.number)):
            if asyncio.get_running_loop().time() > end:
                raise SceneError(f"{told} never came")
            await asyncio.sleep(0.05)
        return order

    async def is_told_by_webhook(self) -> None:
        """Check that the order has heard of its payments from the provider's webhook, and not by asking alone."""
        entries = await self.client.history(self.number)
        if not any(each.name == "payment_event" and each.accepted for each in entries):
            raise SceneError("the provider's webhook did not reach the order")

    async def repaid(self, minor: int) -> None:
        """Ask the provider: it must have paid `minor` minor units back in all."""
        async with httpx.AsyncClient(base_url=self.provider_url) as http:
            answer = await http.get("/refunds", params={"order_number": self.number})
        states = answer.raise_for_status().json()
        paid = sum(each["amount_minor"] for each in states if each["status"] == "paid")
        expect(paid == minor, f"the provider paid {paid} back; {minor} are to be paid")

    async def money(self, *, charged: int) -> None:
        """Ask the provider: it must have charged `charged` minor units in all, and hold nothing of a closed order."""
        end = asyncio.get_running_loop().time() + PATIENCE
        while True:
            captured, held = await self._at_provider()
            if captured == charged and not (held and self.status in CLOSED):
                return
            if asyncio.get_running_loop().time() > end:
                raise SceneError(f"the provider charged {captured} and holds {held}; {charged} are to be charged")
            await asyncio.sleep(0.05)

    async def _at_provider(self) -> tuple[int, int]:
        async with httpx.AsyncClient(base_url=self.provider_url) as http:
            answer = await http.get("/authorizations", params={"order_number": self.number})
        states = answer.raise_for_status().json()
        held = [each["amount_minor"] or 0 for each in states if each["status"] == "authorized"]
        return sum(each["captured_minor"] or 0 for each in states), sum(held)


def expect(condition: bool, told: str) -> None:
    """Raise SceneError with `told` unless the condition holds."""
    if not condition:
        raise SceneError(told)


@dataclass(frozen=True)
class Scene:
    """One scene: its title, the rules it shows, and the play."""

    title: str
    rules: str
    play: Callable[[Stage], Awaitable[None]]


async def _edits(stage: Stage) -> None:
    await stage.place(items=("CUP-01:2:1200:Tea cup", "TRAY-03:1:3500:Tray"))
    order = await stage.does(Actor.BUYER, "edit", lines=[{"sku": "CUP-01", "quantity": 3}])
    expect(order.total_minor == 3 * 1200 + 3500 + 500, f"the total is {order.total_minor}")
    await stage.travels(5 * MINUTE)
    late = [{"sku": "CUP-01", "quantity": 1}]
    await stage.is_refused(Actor.BUYER, "edit", RefusalCode.EDIT_WINDOW_CLOSED, lines=late)
    await stage.reaches(Status.UNSHIPPED)
    await stage.money(charged=0)


async def _cancels(stage: Stage) -> None:
    await stage.place(items=("CUP-01:1:1200:Tea cup",))
    await stage.travels(29 * MINUTE)
    await stage.does(Actor.BUYER, "cancel", reason="changed_mind")
    order = await stage.reaches(Status.CANCELLED)
    expect(order.cancellation is not None and order.cancellation.actor is Actor.BUYER, "the buyer did not cancel")
    await stage.money(charged=0)


async def _requests(stage: Stage) -> None:
    await stage.place(seller="S-300", marketplace="US", items=("BOOK-1:1:2499:Field guide",))
    await stage.travels(30 * MINUTE)
    await stage.is_refused(Actor.BUYER, "cancel", RefusalCode.CANCEL_WINDOW_CLOSED)
    await stage.does(Actor.BUYER, "request_cancellation", reason="ordered_by_mistake")
    await stage.does(Actor.SELLER, "accept_cancellation")
    order = await stage.reaches(Status.CANCELLED)
    expect(order.cancellation is not None and not order.cancellation.counts_in_rate, "it counts in the seller's rate")
    await stage.money(charged=0)


async def _pays_again(stage: Stage) -> None:
    await stage.place(seller="S-200", marketplace="IT", items=("TAZZA-1:2:950:Tazza",), card="card-decline")
    await stage.reaches(Status.PENDING)
    await stage.is_refused(Actor.SELLER, "ship", RefusalCode.ORDER_PENDING, carrier="Poste", tracking_number="IT1")
    await stage.does(Actor.BUYER, "pay_again", card="card-approve")
    await stage.reaches(Status.UNSHIPPED)
    await stage.money(charged=0)


async def _never_verified(stage: Stage) -> None:
    await stage.place(items=("POT-02:1:8800:Iron pot",), card="card-decline")
    await stage.reaches(Status.PENDING)
    await stage.travels(21 * DAY)
    order = await stage.reaches(Status.CANCELLED)
    why = order.cancellation
    expect(why is not None and why.reason == "payment_unverified" and not why.counts_in_rate, f"cancelled: {why}")
    await stage.money(charged=0)


async def _completes(stage: Stage) -> None:
    await stage.place(items=("CUP-01:2:1200:Tea cup",))
    await stage.travels(DAY)
    await stage.does(Actor.SELLER, "ship", carrier="Yamato", tracking_number="JP-0001")
    await stage.money(charged=2 * 1200 + 500)
    await stage.does(Actor.SYSTEM, "deliver")
    await stage.travels(30 * DAY)
    await stage.reaches(Status.COMPLETED)
    await stage.money(charged=2 * 1200 + 500)


async def _never_shipped(stage: Stage) -> None:
    await stage.place(items=("POT-02:1:8800:Iron pot",))
    order = await stage.travels(2 * DAY)
    expect("confirm_shipment" in order.flags, f"the seller is not warned: {order.flags}")
    await stage.travels(7 * DAY)
    order = await stage.reaches(Status.CANCELLED)
    why = order.cancellation
    expect(why is not None and why.reason == "shipment_unconfirmed" and why.counts_in_rate, f"cancelled: {why}")
    await stage.money(charged=0)


async def _renews_the_hold(stage: Stage) -> None:
    await stage.place(items=("POT-02:2:8800:Iron pot",))
    await stage.travels(8 * DAY)
    await stage.does(Actor.SELLER, "ship", carrier="Sagawa", tracking_number="JP-0002")
    order = await stage.reaches(Status.SHIPPED)
    expect("late_shipment" in order.flags, "the shipment is not shown as late")
    await stage.money(charged=2 * 8800 + 500)


async def _collides(stage: Stage) -> None:
    await stage.place(items=("CUP-01:1:1200:Tea cup",))
    parcel = {"carrier": "Yamato", "tracking_number": "JP-0003"}
    answers = await asyncio.gather(
        stage.client.command(stage.number, "cancel", {}, actor=Actor.BUYER),
        stage.client.command(stage.number, "ship", parcel, actor=Actor.SELLER),
        return_exceptions=True,
    )
    refused = [each for each in answers if isinstance(each, RefusedError)]
    expect(len(refused) == 1, f"{len(refused)} of two were refused")
    order = await stage.look(f"buyer: cancel and seller: ship at once → {refused[0].refusal.code}")
    shipped = order.status is Status.SHIPPED
    expect(shipped or order.status is Status.CANCELLED, f"the order is {order.status}")
    await stage.money(charged=1700 if shipped else 0)


SCENES = (
    Scene("Edited in time, then too late", "E1 E4 E7", _edits),
    Scene("Cancelled by the buyer in minute 29", "C1 C9", _cancels),
    Scene("Too late to cancel alone: asked for, and accepted", "C3 C4", _requests),
    Scene("Card declined, another card given", "G2 G3 G5", _pays_again),
    Scene("Never paid: 21 days", "G6", _never_verified),
    Scene("Shipped, charged, delivered, completed", "S1 S2 A9", _completes),
    Scene("Never shipped: warned, 7 days, cancelled", "C7 C8", _never_shipped),
    Scene("Shipped after the card hold lapsed: renewed first", "S2 S3", _renews_the_hold),
    Scene("Cancel and ship at the same instant", "C10", _collides),
)
"""The tour, in the order of the table."""
