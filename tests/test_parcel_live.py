"""Combined parcels on the real server: refused as a whole or sent, one confirmation and one refund each, whatever dies between."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from live_kit import PATIENCE, SECOND, Live, until
from temporalio import activity
from temporalio.worker import Worker
from worker_kit import Workers

from activities.orders import OrderActivities
from domain.joint import CommandAnswer, OrderCommand
from domain.order import Actor, Status
from domain.parcel import CheckedOrder, Parcel, ParcelChecked, ParcelResult, parse_parcel
from domain.refusal_codes import RefusalCode
from domain.refusals import refuse
from starter import carts, joint
from starter.client import RefusedError
from workflows.connection import begin_order
from workflows.parcel import ParcelWorkflow

LONG = SECOND * PATIENCE
OTHER_PLACE = {"recipient": "H", "line1": "1-1", "city": "Osaka", "postal_code": "530-0001", "country": "JP"}


def parcel(orders: list[str], *saved: int | None, **changes: Any) -> Parcel:
    """Return a parcel of these orders, each saving what `saved` says in yen."""
    listed = [
        {"order_number": number} | ({"saved": {"amount_minor": amount, "currency": "JPY"}} if amount else {})
        for number, amount in zip(orders, saved or [None] * len(orders), strict=True)
    ]
    found = {
        "parcel_id": f"PX-{uuid4().hex[:12]}",
        "seller_id": "S-100",
        "carrier": "Yamato",
        "tracking_number": "ONE-1",
    }
    return parse_parcel(found | {"orders": listed} | changes)


async def is_sent(live: Live, wanted: Parcel) -> ParcelResult:
    """Send a parcel and return what became of its orders."""
    result = await joint.combined(await joint.combine(live.orders, wanted), LONG * 2)
    assert result is not None
    return result


async def once_each(live: Live, number: str, back: int) -> None:
    """The order is shipped in the one parcel, charged once, mailed once, and `back` was refunded once."""
    order = await live.order(number)
    assert (order.status, [each.tracking_number for each in order.shipments]) == (Status.SHIPPED, ["ONE-1"])
    assert [each.amount_minor for each in order.refunds] == ([back] if back else [])
    assert await live.charged(number) == 2900
    assert "ONE-1" in (await live.mailed(number, "shipped", "buyer"))["text"]
    if back:
        await live.mailed(number, "refund_requested", "buyer")
    keys = [each["message_id"] for each in await live.mails(number)]
    assert len(keys) == len(set(keys))

    async def paid() -> bool:
        answer = await live.provider.get("/refunds", params={"order_number": number})
        refunds = answer.raise_for_status().json()
        return sum(each["amount_minor"] for each in refunds) == back and len(refunds) == bool(back)

    await until(paid, f"the refund of {number}")
    assert (await live.log(number)).count("capture") == 1


@pytest.mark.rule("S6", "S5")
async def test_two_orders_travel_in_one_parcel(live: Live) -> None:
    """One tracking number, a confirmation for each, the saved fee refunded on each; the same parcel again is this one."""
    first, second = await asyncio.gather(live.place(), live.place())
    wanted = parcel([first, second], 500, 300)
    result = await is_sent(live, wanted)
    assert [(each.order_number, each.confirmed, each.refunded_minor) for each in result.orders] == [
        (first, True, 500),
        (second, True, 300),
    ]
    again = await joint.combine(live.orders, wanted)
    assert again.attached and await joint.combined(again) == result
    await once_each(live, first, 500)
    await once_each(live, second, 300)
    with pytest.raises(RefusedError, match="PARCEL_ID_TAKEN"):
        await joint.combine(live.orders, wanted.model_copy(update={"tracking_number": "TWO-2"}))


@pytest.mark.rule("S6")
async def test_orders_that_do_not_belong_together_are_refused_with_nothing_changed(live: Live) -> None:
    """Another address, another buyer, a pending order and one that is not there are all told, and no order is touched."""

    async def placed(card: str = "card-approve", **changes: Any) -> str:
        bare = carts.cart(items=(f"{live.sku()}:2:1200:Cup",), card=card).model_dump(mode="json")
        placement = carts.read(bare | changes)
        await live.orders.place(placement)
        await live.orders.settled(placement.order_number, LONG)
        return placement.order_number

    stranger = {"buyer_id": "B-2", "name": "B", "email": "b2@buyers.example", "language": "ja"}
    whole = await asyncio.gather(
        placed(), placed(shipping_address=OTHER_PLACE), placed(buyer=stranger), placed("card-decline")
    )
    before = [await live.order(number) for number in whole]
    missing = carts.order_number()
    sold_out = carts.cart(items=(f"{live.sku(1)}:2:1200:Cup",))
    await live.orders.place(sold_out)
    await live.ended(sold_out.order_number)
    with pytest.raises(RefusedError) as refused:
        await is_sent(live, parcel([*whole, missing, sold_out.order_number], 500, 500, *[None] * 4))
    told = refused.value.refusal
    assert told.code == "NOT_COMBINABLE" and told.rule == "S6"
    for words in (
        f"{whole[1]} goes to another address",
        f"{whole[2]} is of another buyer",
        f"{whole[3]} is pending",
        f"there is no order {missing}",
        f"there is no order {sold_out.order_number}",
    ):
        assert words in told.message
    for order in before:
        after = await live.order(order.number)
        assert (after.version, after.status, after.shipments) == (order.version, order.status, ())
        assert await live.charged(order.number) == 0


@pytest.mark.rule("S6")
async def test_a_parcel_under_another_workflow_id_is_refused(live: Live) -> None:
    """The id of the workflow is what keeps a parcel from being sent twice: one started by hand under another is none."""
    wanted, client = parcel([carts.order_number(), carts.order_number()]), live.orders.temporal
    started = await client.start_workflow(
        "parcel", wanted, id=f"parcel-{uuid4().hex}", task_queue=live.orders.task_queue
    )
    with pytest.raises(RefusedError, match=f"parcel_id: {wanted.parcel_id} does not fit the workflow id"):
        await joint.combined(joint.Started(started, attached=False), LONG)


@pytest.mark.rule("S6", "S2")
async def test_an_order_whose_charge_fails_does_not_stop_the_others(live: Live) -> None:
    """The declined order stays unshipped and refunds nothing; the other one is confirmed and refunded."""
    declined, good = await asyncio.gather(live.place(card="card-capture-decline"), live.place())
    result = await is_sent(live, parcel([declined, good], 500, 500))
    one, other = result.orders
    assert one.refusal is not None and one.refusal.code == "PAYMENT_DECLINED" and not one.confirmed
    assert (await live.order(declined)).status is Status.UNSHIPPED
    assert other.confirmed and other.refunded_minor == 500
    await once_each(live, good, 500)


@pytest.mark.rule("S6", "E1")
async def test_an_edit_between_the_check_and_the_confirmation_keeps_its_order_out(live: Live) -> None:
    """The buyer moves one of three orders once they have been looked at: it is refused, uncharged, and ships by itself."""
    stays, moves, goes = [await live.place() for _ in range(3)]
    real, queue = OrderActivities(live.orders.temporal, live.store, begin_order), f"parcel-{uuid4().hex}"

    @activity.defn(name="check_parcel")
    async def check(wanted: Parcel) -> ParcelChecked:
        found = await real.check(wanted)
        await live.do(moves, "edit", "buyer", shipping_address=OTHER_PLACE)
        return found

    acts: list[Callable[..., Any]] = [check, real.command]
    async with Worker(live.orders.temporal, task_queue=queue, workflows=[ParcelWorkflow], activities=acts):
        result = await is_sent(live.on_queue(queue), parcel([stays, moves, goes], 500, 500, None))
    assert [(each.confirmed, each.refunded_minor) for each in result.orders] == [(True, 500), (False, 0), (True, 0)]
    refusal = result.orders[1].refusal
    assert refusal is not None and (refusal.code, refusal.rule) == ("ADDRESS_CHANGED", "S6")
    await once_each(live, stays, 500)
    await once_each(live, goes, 0)
    order = await live.order(moves)
    assert (order.status, order.shipments, order.refunds) == (Status.UNSHIPPED, (), ())
    assert await live.charged(moves) == 0
    await live.ship(moves)
    order = await live.order(moves)
    assert order.status is Status.SHIPPED and order.address is not None and order.address.city == "Osaka"


@pytest.mark.rule("S6", "R6")
async def test_a_parcel_whose_worker_is_killed_is_finished_once(workers: Workers) -> None:
    """`kill -9` while the first order is charged: the next worker confirms and refunds each order once."""
    live = workers.live
    victim = await workers.start()
    first, second = await asyncio.gather(live.place(card="card-slow"), live.place())
    for number in (first, second):
        await live.reaches(number, Status.UNSHIPPED)
    started = await joint.combine(live.orders, parcel([first, second], 500, 400))

    async def charging() -> bool:
        payment = [each["status"] for each in await live.at_provider(first)]
        history = await live.orders.handle(first).describe()
        pending = history.raw_description.pending_activities
        return "captured" in payment or any(each.activity_type.name == "capture" for each in pending)

    await until(charging, "the charge of the first order")
    victim.kill()
    await workers.start()
    result = await joint.combined(started, LONG * 3)
    assert result is not None
    assert [(each.confirmed, each.refunded_minor) for each in result.orders] == [(True, 500), (True, 400)]
    await once_each(live, first, 500)
    await once_each(live, second, 400)


@pytest.mark.rule("S6")
async def test_a_charged_order_whose_refund_is_refused_is_told(live: Live) -> None:
    """The result says that the order was confirmed and why what it saved was not refunded."""
    first, second, queue = carts.order_number(), carts.order_number(), f"parcel-{uuid4().hex}"

    @activity.defn(name="check_parcel")
    async def check(_parcel: Parcel) -> ParcelChecked:
        found = [
            CheckedOrder(order_number=number, actor=Actor.SELLER, language="it", clock=activity.info().scheduled_time)
            for number in (first, second)
        ]
        return ParcelChecked(orders=tuple(found))

    @activity.defn(name="command_order")
    async def command(sent: OrderCommand) -> CommandAnswer:
        fails = (sent.order_number, sent.name) == (first, "refund")
        return CommandAnswer(refusal=refuse(RefusalCode.NOT_CHARGED, number=first) if fails else None)

    client = live.orders.temporal
    async with Worker(client, task_queue=queue, workflows=[ParcelWorkflow], activities=[check, command]):
        started = await joint.combine(live.on_queue(queue).orders, parcel([first, second], 500, 500))
        result = await joint.combined(started, LONG)
    assert result is not None
    one, other = result.orders
    assert one.confirmed and one.refunded_minor == 0 and one.refund_refusal is not None
    assert one.refund_refusal.code == "NOT_CHARGED" and other.refunded_minor == 500
