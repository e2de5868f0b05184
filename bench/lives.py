"""Lives of an order on the real server, one for each way it can go: what the budget counts and the replay tests record."""

import asyncio

from bench.lives_after import AFTER_SHIPMENT
from bench.player import DAY, KONBINI, MINUTE, PARCEL, TWO_ITEMS, Life, Player, happily, pays_in_cash
from domain.order import Actor, Status

_DEAR = {"items": ("CUP-01:2:1200:Tea cup", "POT-02:40:8800:Iron pot")}


async def _nothing(player: Player) -> None:
    """Do nothing."""


async def _happy_next_day(player: Player) -> None:
    await player.travels(DAY)
    await happily(player)


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
    await happily(player)


async def _wait(player: Player) -> None:
    await player.travels(22 * DAY)


async def _assumed(player: Player) -> None:
    await player.does(Actor.SELLER, "ship", **PARCEL)
    await player.travels(60 * DAY)


async def _edited(player: Player) -> None:
    await player.does(Actor.OPERATOR, "extend_edit", minutes=10)
    await player.does(Actor.BUYER, "edit", lines=[{"sku": "CUP-01", "quantity": 3}, {"sku": "POT-02", "quantity": 0}])
    await player.is_refused(Actor.BUYER, "edit", lines=[{"sku": "NEW", "quantity": 1}])
    await player.is_refused(Actor.BUYER, "edit", lines=[{"sku": "CUP-01", "quantity": 999}])
    await player.travels(20 * MINUTE)
    await player.is_refused(Actor.BUYER, "edit", shipping_option="express")
    await happily(player)


async def _paid_again(player: Player) -> None:
    await player.does(Actor.BUYER, "pay_again", card="card-approve")
    await player.travels(DAY)
    await happily(player)


async def _renewed(player: Player) -> None:
    await player.travels(8 * DAY)
    await happily(player)


async def _in_two_parcels(player: Player) -> None:
    await player.does(Actor.SELLER, "ship", **PARCEL, lines=[{"sku": "CUP-01", "quantity": 1}])
    await player.travels(10 * DAY)
    await happily(player)


async def _capture_declined(player: Player) -> None:
    await player.is_refused(Actor.SELLER, "ship", **PARCEL)
    await player.does(Actor.BUYER, "pay_again", card="card-approve")
    await asyncio.sleep(1)
    await happily(player)


async def _garbage(player: Player) -> None:
    for name, payload in (("cancel", {}), ("fly", 7), ("ship", {"actor": "seller"}), ("edit", None)):
        await player.signals(name, payload)
    await player.client.handle(player.number).cancel()
    await player.does(Actor.BUYER, "cancel", reason="changed_mind")


async def _oversold(player: Player) -> None:
    await player.does(Actor.SYSTEM, "flag_oversold")
    await player.does(Actor.SELLER, "cancel", reason="no_inventory")


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
    await happily(player)


async def _review_refused(player: Player) -> None:
    await player.does(Actor.OPERATOR, "hold_for_review", reason="address looks wrong")
    await player.does(Actor.OPERATOR, "refuse_review")


async def _paid_at_store(player: Player) -> None:
    await pays_in_cash(player)
    await happily(player)


LIVES = (
    Life("happy", "shipped within minutes, delivered, completed", happily, Status.COMPLETED, counted=True),
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
    Life("edited", "edited, extended, edits refused", _edited, Status.COMPLETED, TWO_ITEMS),
    Life("paid_again", "card declined, another given", _paid_again, Status.COMPLETED, {"card": "card-decline"}),
    Life("renewed", "card hold lapsed and renewed", _renewed, Status.COMPLETED),
    Life("two_parcels", "shipped in two parcels, late", _in_two_parcels, Status.COMPLETED, TWO_ITEMS),
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
    Life("erased", "completed, personal data erased", happily, Status.COMPLETED),
    Life("cancelled_erased", "cancelled, personal data erased", _buyer_cancels, Status.CANCELLED),
    *AFTER_SHIPMENT,
    Life("silent", "asked to answer, silent, cancelled, rated", _silent, Status.CANCELLED),
    Life("reviewed", "held for review, released, an item cancelled", _reviewed, Status.COMPLETED, _DEAR),
    Life("paid_at_store", "paid at a convenience store", _paid_at_store, Status.COMPLETED, KONBINI, counted=True),
    Life("not_paid_at_store", "convenience-store number never paid", _wait, Status.CANCELLED, KONBINI),
    Life("review_refused", "held for review, refused", _review_refused, Status.CANCELLED, {"card": "card-decline"}),
    Life("points", "paid with card and points", happily, Status.COMPLETED, {"points": 900}),
)
"""Every life, in the order of the reports."""
