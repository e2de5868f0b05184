"""Purchases across sellers on the real server: all or nothing, once each, whatever dies between; and the command line."""

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cli_kit import Cli, bad_input, told_in_json
from live_kit import PATIENCE, SECOND, Live, until
from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import Worker

from activities import orders as order_activities
from activities.orders import Begin, OrderActivities
from domain.base import format_instant
from domain.joint import OrderCommand
from domain.order import Actor, Status
from domain.payment_state import PaymentStatus
from domain.placement import PlaceOrder
from domain.purchase import Purchase, parse_purchase
from domain.views import OrderView
from starter import carts, joint
from starter.client import InputError, RefusedError
from workflows.connection import begin_order
from workflows.purchase import PurchaseWorkflow

SELLERS = ("S-100", "S-200", "S-300")
LONG = SECOND * PATIENCE
_skus = itertools.count(1)


def sku(live: Live, seller: str, units: int) -> str:
    """Return a new item of which the seller has `units`."""
    name = f"J-{next(_skus)}"
    live.store.set_on_hand(seller, name, units)
    return name


def bought(
    live: Live, *, units: tuple[int, ...] = (9, 9, 9), prices: tuple[int, ...] = (1200,) * 3, **changes: Any
) -> Purchase:
    """Return a purchase of two of an item of each seller, of which the sellers have `units`."""
    bare = carts.cart().model_dump(mode="json", exclude_none=True)
    parts = [
        {
            "order_number": carts.order_number(),
            "seller_id": seller,
            "shipping_option": "standard",
            "lines": [
                {
                    "sku": sku(live, seller, has),
                    "title": f"Item of {seller}",
                    "quantity": 2,
                    "unit_price": {"amount_minor": price, "currency": "JPY"},
                }
            ],
        }
        for seller, has, price in zip(SELLERS, units, prices, strict=True)
    ]
    whole = {name: bare[name] for name in ("marketplace", "buyer", "shipping_address", "payment")}
    return parse_purchase(whole | {"purchase_number": f"P-{uuid4().hex[:12]}", "parts": parts} | changes)


def numbers(wanted: Purchase) -> list[str]:
    """Return the numbers of a purchase's orders."""
    return [part.order_number for part in wanted.parts]


def stock(live: Live, wanted: Purchase) -> list[tuple[int, int]]:
    """Return (on hand, reserved) of each item of a purchase."""
    return [live.units(part.lines[0].sku) for part in wanted.parts]


async def is_made(live: Live, wanted: Purchase) -> list[str]:
    """Make a purchase and return its orders."""
    result = await joint.purchased(await joint.purchase(live.orders, wanted), LONG)
    assert result is not None
    return list(result.orders)


async def no_orders(live: Live, wanted: Purchase) -> None:
    """No order of the purchase was ever begun or recorded."""
    for number in numbers(wanted):
        with pytest.raises(InputError, match="there is no order"):
            await live.orders.describe(number)
        assert live.store.order(number) is None


@pytest.mark.rule("P2")
async def test_a_purchase_of_three_sellers_is_one_order_each(live: Live) -> None:
    """Each seller has an order of its own items alone, authorised by itself, and sees nothing of the others."""
    wanted = bought(live)
    assert await is_made(live, wanted) == numbers(wanted)
    for part in wanted.parts:
        order = await live.reaches(part.order_number, Status.UNSHIPPED)
        assert (order.purchase, order.total_minor) == (wanted.purchase_number, 2900)
        assert await live.log(part.order_number) == ["authorize"]
        seen = (await live.order(part.order_number, Actor.SELLER)).model_dump_json()
        assert wanted.purchase_number not in seen
        for other in wanted.parts:
            mine = other.seller_id == part.seller_id
            assert mine or not any(each in seen for each in (other.order_number, other.seller_id, other.lines[0].sku))
        found = await live.orders.describe(part.order_number)
        assert found.raw_description.workflow_execution_info.parent_execution.workflow_id == ""
        assert found.raw_description.workflow_execution_info.task_queue == live.orders.task_queue
    assert stock(live, wanted) == [(9, 2)] * 3

    async def listed() -> bool:
        found = [each async for each in live.orders.orders(Status.UNSHIPPED, "S-200", limit=1000)]
        return wanted.parts[1].order_number in [each.number for each in found]

    await until(listed, "the second seller's order in its list")


@pytest.mark.rule("P2", "P4")
async def test_one_item_out_of_stock_refuses_the_whole_purchase(live: Live) -> None:
    """The refusal names seller, item and what is left; nothing is reserved or begun, and the number serves again."""
    wanted = bought(live, units=(9, 1, 9))
    with pytest.raises(RefusedError) as refused:
        await is_made(live, wanted)
    short = wanted.parts[1].lines[0].sku
    assert refused.value.refusal.code == "OUT_OF_STOCK"
    assert f"{short} of seller S-200: 1 left, 2 wanted" in refused.value.refusal.message
    assert stock(live, wanted) == [(9, 0), (1, 0), (9, 0)]
    await no_orders(live, wanted)
    live.store.set_on_hand("S-200", short, 2)
    assert await is_made(live, wanted) == numbers(wanted)


@pytest.mark.rule("C13", "A7")
async def test_an_order_closed_long_ago_answers_everybody_alike(live: Live) -> None:
    """Client and parcel are told when it was cancelled, not when its workflow ended after the retention period."""
    number = await live.place()
    await live.do(number, "cancel", "buyer")
    await live.ended(number)
    cancelled = (await live.order(number)).cancellation
    await live.erased(number)
    with pytest.raises(RefusedError) as told:
        await live.ship(number)
    payload = {"actor": "seller", "id": "late", "carrier": "Y", "tracking_number": "T-1"}
    sent = OrderCommand(order_number=number, name="ship", payload=payload, update_id="late")
    activities = OrderActivities(live.orders.temporal, live.store, begin_order)
    answer = await ActivityEnvironment().run(activities.command, sent)
    assert answer.refusal == told.value.refusal and answer.refusal is not None and cancelled is not None
    assert answer.refusal.code == "ORDER_CANCELLED" and format_instant(cancelled.at) in answer.refusal.message


@pytest.mark.rule("P2", "G3")
async def test_a_declined_card_of_one_part_leaves_that_order_pending(live: Live) -> None:
    """The part that the card cannot pay is pending until another card is given; the others go on."""
    card = f"card-limit-{uuid4().hex[:8]}"
    (await live.provider.post("/cards", json={"card": card, "limit_minor": 10_000})).raise_for_status()
    wanted = bought(live, prices=(1200, 90_000, 1200), payment={"method": "card", "card": card})
    first, declined, third = await is_made(live, wanted)
    await live.reaches(first, Status.UNSHIPPED)
    await live.reaches(third, Status.UNSHIPPED)
    await live.entry(declined, "declined")
    assert (await live.order(declined)).status is Status.PENDING
    await live.do(declined, "pay_again", "buyer", card="card-approve")
    await live.reaches(declined, Status.UNSHIPPED)
    assert stock(live, wanted) == [(9, 2)] * 3


@pytest.mark.rule("P2", "P3")
async def test_the_same_purchase_twice_is_one(live: Live) -> None:
    """Made several times at once it is one purchase; under the same number with other content it is refused."""
    wanted = bought(live)
    started = await asyncio.gather(*(joint.purchase(live.orders, wanted) for _ in range(5)))
    assert sorted(each.attached for each in started) == [False, True, True, True, True]
    for each in started:
        assert await joint.purchased(each, LONG) is not None
    assert stock(live, wanted) == [(9, 2)] * 3
    other = bought(live, purchase_number=wanted.purchase_number)
    with pytest.raises(RefusedError, match="PURCHASE_NUMBER_TAKEN"):
        await joint.purchase(live.orders, other)
    assert stock(live, other) == [(9, 0)] * 3


@pytest.mark.rule("P2", "P3")
async def test_a_taken_order_number_refuses_the_purchase_before_anything_is_reserved(live: Live) -> None:
    """The number of one part belongs to another order: refused, naming it, with stock and orders untouched."""
    wanted = bought(live)
    taken = carts.cart(number=wanted.parts[1].order_number, items=(f"{live.sku()}:1:1200:Cup",))
    await live.orders.place(taken)
    with pytest.raises(RefusedError, match=f"ORDER_NUMBER_TAKEN.*{taken.order_number}"):
        await is_made(live, wanted)
    assert stock(live, wanted) == [(9, 0)] * 3
    with pytest.raises(InputError, match="there is no order"):
        await live.orders.describe(wanted.parts[0].order_number)


async def test_a_purchase_that_the_policy_forbids_is_refused_before_it_starts(live: Live) -> None:
    """An unknown seller and an unknown shipping option are told at once, and no workflow is started."""
    wanted = bought(live)
    parts = [part.model_dump(mode="json") for part in wanted.parts]
    parts[0]["seller_id"], parts[2]["shipping_option"] = "S-404", "drone"
    payload = wanted.model_dump(mode="json", exclude_none=True) | {"parts": parts}
    with pytest.raises(InputError, match=r"parts\.0: .*S-404.*parts\.2: .*drone"):
        await joint.purchase(live.orders, parse_purchase(payload))


def purchase_worker(live: Live, queue: str, begin: Begin) -> Worker:
    """Return a worker for purchases alone that begins orders by `begin`."""
    made = OrderActivities(live.orders.temporal, live.store, begin)
    return Worker(
        live.orders.temporal,
        task_queue=queue,
        workflows=[PurchaseWorkflow],
        activities=[made.reserve, made.begin, made.withdraw, made.command],
    )


@pytest.mark.rule("P2")
async def test_a_purchase_whose_worker_dies_between_is_finished_by_the_next(live: Live) -> None:
    """Reserved, one order begun, cancelled by hand, then no worker: the next begins the rest, and nothing is done twice."""
    queue = f"purchase-{uuid4().hex}"
    down, wanted = live.on_queue(queue), bought(live)
    alone = asyncio.Event()

    async def begin(client: Client, task_queue: str, place: PlaceOrder) -> WorkflowHandle[Any, Any]:
        if place.placement.seller_id != "S-100":
            await asyncio.Event().wait()
        handle = await begin_order(client, task_queue, place)
        alone.set()
        return handle

    started = await joint.purchase(down.orders, wanted)
    async with purchase_worker(down, queue, begin):
        await asyncio.wait_for(alone.wait(), PATIENCE)
        await started.handle.cancel()
    assert stock(live, wanted) == [(9, 2)] * 3
    async with down.worker(queue):
        assert await joint.purchased(started, LONG * 3) is not None
        for number in numbers(wanted):
            await down.reaches(number, Status.UNSHIPPED)
            assert await live.log(number) == ["authorize"]
    assert stock(live, wanted) == [(9, 2)] * 3


@pytest.mark.rule("P2", "P3")
async def test_an_order_that_comes_between_is_refused_and_the_purchase_goes_on(live: Live) -> None:
    """Another order is placed under a number that is reserved: the store refuses it, then the purchase's own begins."""
    queue = f"purchase-{uuid4().hex}"
    other, wanted = live.on_queue(queue), bought(live)
    rival = carts.cart(number=wanted.parts[0].order_number, items=(f"{live.sku()}:1:1200:Cup",))

    async def begin(client: Client, task_queue: str, place: PlaceOrder) -> WorkflowHandle[Any, Any]:
        if place.placement.order_number == rival.order_number and activity.info().attempt == 1:
            await live.orders.place(rival)
        return await begin_order(client, live.orders.task_queue, place)

    async with purchase_worker(other, queue, begin):
        assert await is_made(other, wanted) == numbers(wanted)
    order = await live.reaches(rival.order_number, Status.UNSHIPPED)
    assert order.purchase == wanted.purchase_number
    assert stock(live, wanted) == [(9, 2)] * 3


@pytest.mark.rule("P2", "C9")
async def test_a_purchase_that_cannot_begin_one_order_leaves_none(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """One order cannot be begun for good: its stock is given back, the others are cancelled and pay nothing."""
    monkeypatch.setattr(order_activities, "LOOKS", 1)
    queue = f"purchase-{uuid4().hex}"
    other, wanted = live.on_queue(queue), bought(live)
    refused = wanted.parts[2].order_number

    async def begin(client: Client, task_queue: str, place: PlaceOrder) -> WorkflowHandle[Any, Any]:
        if place.placement.order_number == refused:
            raise WorkflowAlreadyStartedError(f"order-{refused}", "order")
        return await begin_order(client, live.orders.task_queue, place)

    async with purchase_worker(other, queue, begin):
        with pytest.raises(RefusedError, match=f"ORDER_NUMBER_TAKEN.*{refused}"):
            await is_made(other, wanted)
    for number in numbers(wanted)[:2]:
        assert (await live.reaches(number, Status.CANCELLED)).cancellation is not None

    async def given_back() -> bool:
        return stock(live, wanted) == [(9, 0)] * 3 and live.store.order(refused) is None

    await until(given_back, "stock given back")
    for number in numbers(wanted):
        assert await live.charged(number) == 0


@pytest.mark.rule("P2", "S6")
@pytest.mark.parametrize(("kind", "code"), [("purchase", "INVALID_PLACEMENT"), ("parcel", "INVALID_PARCEL")])
@pytest.mark.parametrize("given", [[], [{}], [7], [None]])
async def test_an_input_that_cannot_be_read_is_refused_by_name(
    live: Live, kind: str, code: str, given: list[Any]
) -> None:
    """A purchase or parcel typed in by hand that is none fails at once instead of blocking its workflow task."""
    handle = await live.orders.temporal.start_workflow(
        kind, args=given, id=f"{kind}-{uuid4().hex}", task_queue=live.orders.task_queue
    )
    with pytest.raises(RefusedError, match=code):
        await joint.purchased(joint.Started(handle, attached=False), LONG)


@pytest.mark.rule("P2")
async def test_the_command_line_buys(cli: Cli, live: Live, tmp_path: Path) -> None:
    """A purchase from a file is printed with its orders; made again it is the same one."""
    wanted = bought(live)
    file = tmp_path / "purchase.json"
    file.write_text(wanted.model_dump_json(exclude_none=True), encoding="utf-8")
    ran = await cli.call("purchase", str(file))
    assert ran.code == 0, ran
    assert all(f"order {part.order_number}: seller {part.seller_id}" in ran.out for part in wanted.parts)
    assert "exists already" in (await cli.call("purchase", str(file))).out
    bad_input(await cli.call("purchase", str(tmp_path / "none.json")), "cannot be read")


@pytest.mark.rule("S6")
async def test_the_command_line_combines(cli: Cli, live: Live) -> None:
    """Two orders in one parcel: what was done is printed, a refusal ends with 3, with --json as one object."""
    first, second = await asyncio.gather(live.place(), live.place())
    both = ("combine", first, second)
    ran = await cli.call(*both, "--tracking", "ONE-1", "--saved-each", "500", "--saved", f"{second}=200")
    assert ran.code == 0, ran
    assert f"order {first} confirmed, 500 minor units refunded" in ran.out
    assert f"order {second} confirmed, 200" in ran.out
    again = (*both, "--tracking", "ONE-2", "--no-saving")
    refused = await cli.call(*again)
    assert (refused.code, refused.out) == (3, "")
    assert refused.err.startswith("NOT_COMBINABLE")
    assert refused.err.strip().endswith("[S6]")
    assert told_in_json(await cli.call(*again, "--json"), 3)["rule"] == "S6"


@pytest.mark.rule("S6")
async def test_what_a_combined_parcel_saves_is_said_of_each_order(cli: Cli, live: Live) -> None:
    """Without an amount for each order, or the word that nothing is saved, nothing is sent; what to say is told."""
    first, second = await asyncio.gather(live.place(), live.place())
    both = ("combine", first, second)
    remedy = "give --saved ORDER=AMOUNT or --saved-each AMOUNT, which go back to the buyer, or --no-saving [S6]"
    told = "nothing says how much of its shipping fee order"
    bad_input(await cli.call(*both), f"{told} {first}, {second} saves", remedy)
    bad_input(await cli.call(*both, "--saved", f"{first}=500"), f"{told} {second} saves", remedy)
    bad_input(await cli.call(*both, "--saved", "500"), "is not ORDER=AMOUNT")
    bad_input(await cli.call(*both, "--saved", f"{first}=5", "--saved", f"{first}=6"), f"order {first} is named twice")
    bad_input(await cli.call(*both, "--saved-each", "500", "--no-saving"), "no-saving: --saved and --saved-each say")
    assert [(await live.order(number)).status for number in (first, second)] == [Status.UNSHIPPED] * 2
    ran = await cli.call(*both, "--saved", f"{first}=500", "--saved", f"{second}=0")
    assert ran.code == 0, ran
    assert [len((await live.order(number)).refunds) for number in (first, second)] == [1, 0]


@pytest.mark.rule("S6", "S2")
async def test_the_answer_in_json_says_which_order_of_a_parcel_was_refused(cli: Cli, live: Live) -> None:
    """One charge is declined: exit 3, and standard output alone says of each order what became of it."""
    declined, good = await asyncio.gather(live.place(card="card-capture-decline"), live.place())
    ran = await cli.call("combine", declined, good, "--no-saving", "--json")
    assert (ran.code, ran.err) == (3, "")
    one, other = json.loads(ran.out)["orders"]
    assert (one["order_number"], one["confirmed"], one["refusal"]["code"]) == (declined, False, "PAYMENT_DECLINED")
    assert (other["order_number"], other["confirmed"], other["refusal"]) == (good, True, None)


@pytest.mark.rule("P2")
async def test_the_store_shows_the_orders_of_a_purchase(live: Live) -> None:
    """An order of a purchase is in the store as its workflow shows it."""
    wanted = bought(live)
    for number in await is_made(live, wanted):
        await live.reaches(number, Status.UNSHIPPED)

        async def recorded(number: str = number) -> OrderView | None:
            found = live.store.order(number)
            return found if found is not None and found.status is Status.UNSHIPPED else None

        found = await until(recorded, f"the record of {number}")
        assert found.payment is not None and found.payment.status is PaymentStatus.AUTHORIZED
        assert found.placed_at == (await live.order(number)).placed_at
