"""Lives of an order on the real server, one for each way it can go: what the budget counts and the replay tests record."""

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
_PARCEL = {"carrier": "Yamato", "tracking_number": "T-1"}
_KONBINI = {"method": "konbini"}
_DEAR = {"items": ("CUP-01:2:1200:Tea cup", "POT-02:40:8800:Iron pot")}
_TWO_ITEMS = {"items": ("CUP-01:2:1200:Tea cup", "POT-02:1:8800:Iron pot")}


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
    await _idle(client, placed.number)
    await life.play(Player(client, placed.number))
    await _idle(client, placed.number)
    if life.end in CLOSED:
        # To the very end: the retention period passes, and personal data is erased.
        await travel(client, placed.number, 31 * DAY)
        await placed.handle.result()
    order = await client.order(placed.number)
    if order.status is not life.end:
        raise RuntimeError(f"{life.name}: the order ended {order.status}, not {life.end}")
    return placed.handle


async def _idle(client: OrderClient, number: str) -> None:
    async with asyncio.timeout(20):
        while (await client.describe(number)).raw_description.pending_activities:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)


async def _nothing(player: Player) -> None:
    """Do nothing."""


async def _happy(player: Player) -> None:
    await player.does(Actor.SELLER, "ship", **_PARCEL)
    await player.does(Actor.SYSTEM, "deliver")
    await player.travels(31 * DAY)


async def _happy_next_day(player: Player) -> None:
    await player.travels(DAY)
    await _happy(player)


async def _buyer_cancels(player: Player) -> None:
    await player.does(Actor.BUYER, "cancel")


async def _seller_cancels(player: Player) -> None:
    await player.travels(DAY)
    await player.does(Actor.SELLER, "cancel", reason="no_inventory")


async def _request_accepted(player: Player) -> None:
    await player.travels(31 * MINUTE)
    await player.does(Actor.BUYER, "request_cancellation")
    await player.does(Actor.SELLER, "accept_cancellation")


async def _request_declined(player: Player) -> None:
    await player.travels(31 * MINUTE)
    await player.is_refused(Actor.BUYER, "cancel")
    await player.does(Actor.BUYER, "request_cancellation")
    await player.does(Actor.SELLER, "decline_cancellation")
    await player.does(Actor.BUYER, "request_cancellation")
    await _happy(player)


async def _wait(player: Player) -> None:
    await player.travels(22 * DAY)


async def _assumed(player: Player) -> None:
    await player.does(Actor.SELLER, "ship", **_PARCEL)
    await player.travels(60 * DAY)


async def _edited(player: Player) -> None:
    await player.does(Actor.OPERATOR, "extend_edit", minutes=10)
    await player.does(Actor.BUYER, "edit", lines=[{"sku": "CUP-01", "quantity": 3}, {"sku": "POT-02", "quantity": 0}])
    await player.is_refused(Actor.BUYER, "edit", lines=[{"sku": "NEW", "quantity": 1}])
    await player.is_refused(Actor.BUYER, "edit", lines=[{"sku": "CUP-01", "quantity": 999}])
    await player.travels(20 * MINUTE)
    await player.is_refused(Actor.BUYER, "edit", shipping_option="express")
    await _happy(player)


async def _paid_again(player: Player) -> None:
    await player.does(Actor.BUYER, "pay_again", card="card-approve")
    await player.travels(DAY)
    await _happy(player)


async def _renewed(player: Player) -> None:
    await player.travels(8 * DAY)
    await _happy(player)


async def _in_two_parcels(player: Player) -> None:
    await player.does(Actor.SELLER, "ship", **_PARCEL, lines=[{"sku": "CUP-01", "quantity": 1}])
    await player.travels(10 * DAY)
    await _happy(player)


async def _capture_declined(player: Player) -> None:
    await player.is_refused(Actor.SELLER, "ship", **_PARCEL)
    await player.does(Actor.BUYER, "pay_again", card="card-approve")
    await asyncio.sleep(1)
    await _happy(player)


async def _garbage(player: Player) -> None:
    for name, payload in (("cancel", {}), ("fly", 7), ("ship", {"actor": "seller"}), ("edit", None)):
        await player.signals(name, payload)
    await player.client.handle(player.number).cancel()
    await player.does(Actor.BUYER, "cancel", reason="changed_mind")


async def _oversold(player: Player) -> None:
    await player.does(Actor.SYSTEM, "flag_oversold")
    await player.does(Actor.SELLER, "cancel", reason="no_inventory")


async def _paid_back(player: Player) -> None:
    """Wait until the provider has paid every refund."""
    async with asyncio.timeout(20):
        while any(each.status is not RefundStatus.PAID for each in (await player.order()).refunds):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _refunded(player: Player) -> None:
    await player.does(Actor.SELLER, "ship", **_PARCEL)
    await player.does(Actor.SELLER, "refund", reason="damaged", lines=[{"sku": "CUP-01", "quantity": 1}])
    await _paid_back(player)
    await player.does(Actor.SYSTEM, "deliver")
    await player.does(Actor.SELLER, "refund", reason="goodwill")
    await player.is_refused(Actor.SELLER, "refund", reason="goodwill")
    await _paid_back(player)
    await player.travels(31 * DAY)


async def _refund_failed(player: Player) -> None:
    await player.does(Actor.SELLER, "ship", **_PARCEL)
    await player.does(Actor.SELLER, "refund", reason="goodwill")
    async with asyncio.timeout(20):
        while (await player.order()).refunds[0].status is not RefundStatus.FAILED:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await player.does(Actor.OPERATOR, "retry_refund", refund_id="R1")
    await _paid_back(player)
    await player.does(Actor.SYSTEM, "deliver")
    await player.travels(31 * DAY)


async def _returned(player: Player) -> None:
    await player.does(Actor.SELLER, "ship", **_PARCEL)
    await player.does(Actor.SYSTEM, "deliver")
    await player.does(Actor.BUYER, "request_return")
    await player.does(Actor.SELLER, "authorize_return")
    await player.does(Actor.SELLER, "receive_return")
    await player.does(Actor.SELLER, "refund", reason="buyer_return", case_id="K1")
    await _paid_back(player)
    await player.travels(31 * DAY)


async def _return_lost(player: Player) -> None:
    await player.does(Actor.SELLER, "ship", **_PARCEL)
    await player.does(Actor.SYSTEM, "deliver")
    await player.does(Actor.BUYER, "request_return")
    await player.does(Actor.SELLER, "authorize_return")
    await player.travels(31 * DAY)


async def _claimed(player: Player) -> None:
    await player.does(Actor.SELLER, "ship", **_PARCEL)
    await player.does(Actor.BUYER, "report_not_received")
    until = (await player.client.clock(player.number)) + 2 * DAY
    await player.does(Actor.SELLER, "ask_to_wait", until=until.isoformat())
    await player.travels(3 * DAY)
    await player.does(Actor.BUYER, "open_claim")
    await player.does(Actor.OPERATOR, "grant_claim")
    await _paid_back(player)
    await player.travels(60 * DAY)


async def _silent(player: Player) -> None:
    answer_by = (await player.client.clock(player.number)) + 2 * DAY
    await player.does(Actor.SELLER, "send_message", text="Please answer", answer_by=answer_by.isoformat())
    await player.does(Actor.BUYER, "send_message", text="Here I am", topic="cancellation_wish")
    await player.does(Actor.SELLER, "send_message", template="how_to_cancel", answer_by=answer_by.isoformat())
    await player.travels(3 * DAY)
    await player.does(Actor.BUYER, "rate", stars=1)


async def _reviewed(player: Player) -> None:
    await player.does(Actor.OPERATOR, "release_review")
    await player.does(
        Actor.SELLER, "cancel_items", lines=[{"sku": "POT-02", "quantity": 1}], consent="by message of today"
    )
    await _happy(player)


async def _paid_at_store(player: Player) -> None:
    number = (await player.order()).payment
    await player.pays_at_store("" if number is None else number.number or "")
    async with asyncio.timeout(20):
        while (await player.order()).status is Status.PENDING:  # noqa: ASYNC110 - the webhook comes when it comes
            await asyncio.sleep(0.05)
    await _happy(player)


LIVES = (
    Life("happy", "shipped within minutes, delivered, completed", _happy, Status.COMPLETED, counted=True),
    Life(
        "happy_next_day", "shipped the next day, delivered, completed", _happy_next_day, Status.COMPLETED, counted=True
    ),
    Life("buyer_cancels", "cancelled by the buyer", _buyer_cancels, Status.CANCELLED, counted=True),
    Life("seller_cancels", "cancelled by the seller", _seller_cancels, Status.CANCELLED, counted=True),
    Life("request_accepted", "cancellation asked for, accepted", _request_accepted, Status.CANCELLED, counted=True),
    Life("request_declined", "cancellation asked for, declined, shipped", _request_declined, Status.COMPLETED),
    Life("never_paid", "payment never verified", _wait, Status.CANCELLED, {"card": "card-decline"}, counted=True),
    Life("never_confirmed", "shipment never confirmed", _wait, Status.CANCELLED, counted=True),
    Life("never_delivered", "never said to be delivered, completed", _assumed, Status.COMPLETED, counted=True),
    Life("edited", "edited, extended, edits refused", _edited, Status.COMPLETED, _TWO_ITEMS),
    Life("paid_again", "card declined, another given", _paid_again, Status.COMPLETED, {"card": "card-decline"}),
    Life("renewed", "card hold lapsed and renewed", _renewed, Status.COMPLETED),
    Life("two_parcels", "shipped in two parcels, late", _in_two_parcels, Status.COMPLETED, _TWO_ITEMS),
    Life(
        "capture_declined",
        "charge declined, paid again",
        _capture_declined,
        Status.COMPLETED,
        {"card": "card-capture-decline"},
    ),
    Life("garbage", "unreadable messages, then cancelled", _garbage, Status.CANCELLED),
    Life("oversold", "flagged oversold, cancelled by the seller", _oversold, Status.CANCELLED),
    Life("out_of_stock", "refused at placement: no stock", _nothing, None, {"items": ("NONE:1:100:Nothing",)}),
    Life("open", "placed and still open", _nothing, Status.UNSHIPPED),
    Life("erased", "completed, personal data erased", _happy, Status.COMPLETED),
    Life("cancelled_erased", "cancelled, personal data erased", _buyer_cancels, Status.CANCELLED),
    Life("refunded", "shipped, refunded in two parts, completed", _refunded, Status.COMPLETED, counted=True),
    Life("refund_failed", "refund failed, tried again", _refund_failed, Status.COMPLETED, {"card": "card-refund-fail"}),
    Life("returned", "returned and refunded", _returned, Status.COMPLETED, counted=True),
    Life("return_lost", "return authorised, never received", _return_lost, Status.COMPLETED),
    Life("claimed", "not received, claim granted", _claimed, Status.COMPLETED, counted=True),
    Life("silent", "asked to answer, silent, cancelled, rated", _silent, Status.CANCELLED),
    Life("reviewed", "held for review, released, an item cancelled", _reviewed, Status.COMPLETED, _DEAR),
    Life("paid_at_store", "paid at a convenience store", _paid_at_store, Status.COMPLETED, _KONBINI, counted=True),
    Life("not_paid_at_store", "convenience-store number never paid", _wait, Status.CANCELLED, _KONBINI),
    Life("points", "paid with card and points", _happy, Status.COMPLETED, {"points": 900}),
)
"""Every life, in the order of the reports."""
