"""Lives of an order after its shipment: refunds, returns, claims, parcels that come back, cash that goes back."""

import asyncio

from bench.player import DAY, KONBINI, PARCEL, TWO_ITEMS, Life, Player, happily, paid_back, pays_in_cash
from domain.order import Actor, Status
from domain.refund import RefundStatus


async def _refunded(player: Player) -> None:
    await player.does(Actor.SELLER, "ship", **PARCEL)
    await player.does(Actor.SELLER, "refund", reason="damaged", lines=[{"sku": "CUP-01", "quantity": 1}])
    await paid_back(player)
    await player.does(Actor.SYSTEM, "deliver")
    await player.does(Actor.SELLER, "refund", reason="goodwill")
    await player.is_refused(Actor.SELLER, "refund", reason="goodwill")
    await paid_back(player)
    await player.travels(31 * DAY)


async def _refund_failed(player: Player) -> None:
    await player.does(Actor.SELLER, "ship", **PARCEL)
    await player.does(Actor.SELLER, "refund", reason="goodwill")
    async with asyncio.timeout(20):
        while (await player.order()).refunds[0].status is not RefundStatus.FAILED:  # noqa: ASYNC110 - the bank says when
            await asyncio.sleep(0.05)
    await player.does(Actor.OPERATOR, "retry_refund", refund_id="R1")
    await paid_back(player)
    await player.does(Actor.SYSTEM, "deliver")
    await player.travels(31 * DAY)


async def _returned(player: Player) -> None:
    await player.does(Actor.SELLER, "ship", **PARCEL)
    await player.does(Actor.SYSTEM, "deliver")
    await player.does(Actor.BUYER, "request_return")
    await player.does(Actor.SELLER, "authorize_return")
    await player.does(Actor.SELLER, "receive_return")
    await player.does(Actor.SELLER, "refund", reason="buyer_return", case_id="K1")
    await paid_back(player)
    await player.travels(31 * DAY)


async def _return_lost(player: Player) -> None:
    await player.does(Actor.SELLER, "ship", **PARCEL)
    await player.does(Actor.SYSTEM, "deliver")
    await player.does(Actor.BUYER, "request_return")
    await player.does(Actor.SELLER, "authorize_return")
    await player.travels(31 * DAY)


async def _claimed(player: Player) -> None:
    await player.does(Actor.SELLER, "ship", **PARCEL)
    await player.does(Actor.BUYER, "report_not_received")
    until = (await player.client.clock(player.number)) + 2 * DAY
    await player.does(Actor.SELLER, "ask_to_wait", until=until.isoformat())
    await player.travels(3 * DAY)
    await player.does(Actor.BUYER, "open_claim")
    await player.does(Actor.OPERATOR, "grant_claim")
    await paid_back(player)
    await player.travels(60 * DAY)


async def _cash_returned(player: Player) -> None:
    await pays_in_cash(player)
    await player.does(Actor.BUYER, "cancel", reason="changed_mind")
    async with asyncio.timeout(20):
        while not (await player.order()).refunds:  # noqa: ASYNC110 - the void is answered when it is
            await asyncio.sleep(0.05)
    await paid_back(player)


async def _cancelled_after_shipment(player: Player) -> None:
    await player.does(Actor.SELLER, "ship", **PARCEL)
    await player.does(Actor.BUYER, "request_cancellation", reason="arrives_too_late")
    await player.does(Actor.SELLER, "open_cancellation")
    await player.does(Actor.OPERATOR, "approve_cancellation")
    await player.does(Actor.SELLER, "refund", reason="post_shipment_cancellation", case_id="K1")
    await paid_back(player)
    await player.travels(60 * DAY)


async def _denied(player: Player) -> None:
    await player.does(Actor.SELLER, "ship", **PARCEL)
    await player.does(Actor.BUYER, "request_cancellation")
    await player.does(Actor.SELLER, "open_cancellation")
    await player.does(Actor.OPERATOR, "deny_cancellation", note="it is at the buyer's door")
    await player.does(Actor.BUYER, "report_not_received")
    await player.does(Actor.SELLER, "send_trace", note="at the post office")
    await player.does(Actor.BUYER, "open_claim")
    await player.does(Actor.OPERATOR, "deny_claim")
    await player.does(Actor.SYSTEM, "deliver")
    await player.does(Actor.BUYER, "request_return")
    await player.does(Actor.SELLER, "decline_return", note="it was worn")
    await player.travels(31 * DAY)


async def _came_back(player: Player) -> None:
    await player.does(Actor.SELLER, "ship", **PARCEL, lines=[{"sku": "CUP-01", "quantity": 2}])
    await player.does(Actor.SELLER, "ship", **PARCEL)
    await player.does(Actor.BUYER, "report_not_received", lines=[{"sku": "CUP-01", "quantity": 1}])
    await player.does(
        Actor.SYSTEM, "return_to_sender", reason="undeliverable", lines=[{"sku": "CUP-01", "quantity": 2}]
    )
    await player.does(Actor.SELLER, "recall_parcel", lines=[{"sku": "POT-02", "quantity": 1}])
    await player.does(Actor.SELLER, "receive_parcel")
    await paid_back(player)
    await player.travels(60 * DAY)


async def _recalled_in_vain(player: Player) -> None:
    await player.does(Actor.SELLER, "ship", **PARCEL, lines=[{"sku": "CUP-01", "quantity": 2}])
    await player.does(Actor.SELLER, "ship", **PARCEL)
    await player.does(Actor.SELLER, "recall_parcel", lines=[{"sku": "CUP-01", "quantity": 2}])
    await player.does(Actor.SYSTEM, "deliver", shipment_id="P1")
    await player.does(Actor.BUYER, "request_cancellation")
    await player.does(Actor.SELLER, "decline_cancellation")
    await player.does(Actor.SELLER, "authorize_return")
    await player.does(Actor.SELLER, "receive_return")
    part = [{"sku": "CUP-01", "quantity": 1}]
    await player.does(Actor.SELLER, "refund", reason="buyer_return", case_id="K3", lines=part)
    await player.does(Actor.SELLER, "refund", reason="buyer_return", case_id="K3")
    await paid_back(player)
    await player.travels(22 * DAY)
    await player.does(Actor.SYSTEM, "deliver", shipment_id="P2")
    await player.travels(31 * DAY)


async def _part_came_back(player: Player) -> None:
    await player.does(Actor.BUYER, "request_return", lines=[{"sku": "POT-02", "quantity": 1}])
    await player.does(Actor.SELLER, "authorize_return")
    await player.does(Actor.SELLER, "receive_return")
    await happily(player)


AFTER_SHIPMENT = (
    Life("refunded", "shipped, refunded in two parts, completed", _refunded, Status.COMPLETED, counted=True),
    Life("refund_failed", "refund failed, tried again", _refund_failed, Status.COMPLETED, {"card": "card-refund-fail"}),
    Life("returned", "returned and refunded", _returned, Status.COMPLETED, counted=True),
    Life("return_lost", "return authorised, never received", _return_lost, Status.COMPLETED),
    Life("claimed", "not received, claim granted", _claimed, Status.COMPLETED, counted=True),
    Life("cash_returned", "paid in cash, cancelled, cash back", _cash_returned, Status.CANCELLED, KONBINI),
    Life(
        "cancelled_after_shipment",
        "cancelled after shipment, reviewed, refunded",
        _cancelled_after_shipment,
        Status.COMPLETED,
    ),
    Life("denied", "cancellation, claim and return denied", _denied, Status.COMPLETED),
    Life("came_back", "undeliverable and recalled, refunded", _came_back, Status.COMPLETED, TWO_ITEMS),
    Life("recalled_in_vain", "recalled and delivered, returned", _recalled_in_vain, Status.COMPLETED, TWO_ITEMS),
    Life("part_came_back", "part returned unconfirmed", _part_came_back, Status.COMPLETED, TWO_ITEMS),
)
"""The lives after shipment, in the order of the reports."""
