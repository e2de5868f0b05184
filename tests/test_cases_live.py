"""What follows shipment, on the real stack: cases with their timers, messages that must be answered, reviews."""

from datetime import datetime

import pytest
from live_kit import DAY, MINUTE, SECOND, Live, sample_policy

from domain.case import CaseStatus
from domain.order import Actor, Status
from domain.policy import SellerNotice
from domain.refund import RefundStatus
from domain.views import OrderView


async def case_is(live: Live, number: str, status: CaseStatus) -> OrderView:
    """Wait until the order's newest case is in `status`."""
    return await live.sees(number, lambda order: order.cases and order.cases[-1].status is status, f"a {status} case")


async def paid_back(live: Live, number: str) -> list[tuple[str, int]]:
    """Wait until every refund is paid; return reason and amount of each."""

    def all_paid(order: OrderView) -> bool:
        return bool(order.refunds) and all(each.status is RefundStatus.PAID for each in order.refunds)

    order = await live.sees(number, all_paid, "every refund")
    return [(each.reason.value, each.amount_minor) for each in order.refunds]


@pytest.mark.rule("A1")
async def test_a_cancellation_after_shipment_is_asked_opened_approved_and_refunded(live: Live) -> None:
    """Each step is visible and mailed; the refund closes the case."""
    number = await live.shipped()
    await live.do(number, "request_cancellation", "buyer", reason="changed_mind")
    await live.mailed(number, "case_opened", "seller")
    assert await live.refused(number, "refund", "seller", reason="goodwill", case_id="K1") == "CASE_NOT_OPEN_TO_THIS"
    await live.do(number, "open_cancellation", "seller")
    await live.mailed(number, "case_changed", "buyer")
    await live.do(number, "approve_cancellation", "operator")
    assert "refund_due" in (await live.order(number)).flags
    await live.do(number, "refund", "seller", reason="post_shipment_cancellation", case_id="K1")
    order = await case_is(live, number, CaseStatus.REFUNDED)
    assert "refund_due" not in order.flags
    assert await paid_back(live, number) == [("post_shipment_cancellation", 2900)]


@pytest.mark.rule("A3", "R4")
async def test_a_return_is_authorised_received_and_refunded_less_a_fee(live: Live) -> None:
    """The return fee is a line of the refund; with it paid, the order completes when its return window has ended."""
    number = await live.shipped(delivered=True)
    await live.do(number, "request_return", "buyer")
    await live.do(number, "authorize_return", "seller")
    await live.do(number, "receive_return", "seller")
    fee = {"kind": "return_fee", "amount": {"amount_minor": 700, "currency": "JPY"}}
    await live.do(number, "refund", "seller", reason="buyer_return", case_id="K1", deductions=[fee])
    assert await paid_back(live, number) == [("buyer_return", 2200)]
    await live.travel(number, 31 * DAY)
    await live.reaches(number, Status.COMPLETED)


@pytest.mark.rule("A3", "A9")
async def test_a_return_that_never_arrives_is_closed_at_the_end_of_its_window(live: Live) -> None:
    """The open return holds the completion back; at the end of the transit window it closes, and the order completes."""
    number = await live.shipped(delivered=True)
    await live.travel(number, 20 * DAY)
    await live.do(number, "request_return", "buyer")
    await live.do(number, "authorize_return", "seller")
    due_at = (await live.order(number)).cases[0].due_at
    assert due_at is not None
    await live.travel_to(number, due_at - MINUTE)
    order = await live.order(number)
    assert (order.status, order.cases[0].status) == (Status.DELIVERED, CaseStatus.AUTHORIZED)
    await live.travel_to(number, due_at + SECOND)
    order = await live.reaches(number, Status.COMPLETED)
    assert order.cases[0].status is CaseStatus.CLOSED
    assert (await live.entry(number, "case_due")).at == due_at


@pytest.mark.rule("A3", "C9")
async def test_receiving_a_return_of_an_unconfirmed_shipment_cancels_the_order(live: Live) -> None:
    """The seller had shipped without confirming: nothing was charged, so the order is cancelled and the hold released."""
    number = await live.place()
    await live.do(number, "request_return", "buyer", reason="no_longer_wanted")
    await live.do(number, "authorize_return", "seller")
    await live.do(number, "receive_return", "seller")
    order = await live.reaches(number, Status.CANCELLED)
    assert order.cancellation is not None
    assert order.cancellation.reason == "buyer_return_unconfirmed"
    await live.ended(number)
    assert (await live.held(number), await live.charged(number)) == (0, 0)


@pytest.mark.rule("A4", "A5", "R4")
@pytest.mark.parametrize(
    ("way", "expected"), [("by_itself", ("undeliverable", 2400)), ("recalled", ("recalled", 2200))]
)
async def test_a_parcel_that_comes_back_is_refunded_less_its_fee(
    live: Live, way: str, expected: tuple[str, int]
) -> None:
    """Less the shipping fee where it came back by itself, less the return fee where it was recalled."""
    number = await live.shipped()
    if way == "by_itself":
        await live.do(number, "return_to_sender", "system", reason="undeliverable")
    else:
        await live.do(number, "recall_parcel", "seller")
        await live.do(number, "receive_parcel", "seller")
    assert await paid_back(live, number) == [expected]
    order = await live.order(number)
    assert [each.amount_minor for each in order.refunds[0].deductions] == [2900 - expected[1]]


@pytest.mark.rule("A6")
async def test_a_parcel_not_received_ends_in_a_granted_claim(live: Live) -> None:
    """The seller traces, then asks to wait; the wait ends by its timer; the buyer claims, and the marketplace grants it."""
    number = await live.shipped()
    await live.do(number, "report_not_received", "buyer")
    await live.do(number, "send_trace", "seller", note="last seen in Osaka")
    until_when = (await live.orders.clock(number)) + 3 * DAY
    await live.do(number, "ask_to_wait", "seller", until=until_when.isoformat())
    assert (await live.order(number)).cases[0].due_at == until_when
    await live.travel_to(number, until_when + SECOND)
    await case_is(live, number, CaseStatus.REPORTED)
    await live.do(number, "open_claim", "buyer")
    assert await live.refused(number, "grant_claim", "seller") == "NOT_ALLOWED"
    await live.do(number, "grant_claim", "operator")
    assert await paid_back(live, number) == [("guarantee_claim", 2900)]


@pytest.mark.rule("C12", "V6")
async def test_silence_cancels_the_order_at_the_date_and_an_answer_stops_it(live: Live) -> None:
    """Both orders are asked to answer within two days: the one that answers goes on, the other is cancelled at the date."""
    silent, answering = await live.place(), await live.place()
    dates: dict[str, datetime] = {}
    for number in (silent, answering):
        answer_by = dates[number] = (await live.orders.clock(number)) + 2 * DAY
        text = "Is the address right? Please answer."
        await live.do(number, "send_message", "seller", text=text, answer_by=answer_by.isoformat())
        mail = await live.mailed(number, "message", "buyer")
        assert "Is the address right?" in mail["text"]
    await live.travel_to(answering, dates[answering] - MINUTE)
    await live.do(answering, "send_message", "buyer", text="Yes, it is.")
    await live.travel_to(answering, dates[answering] + MINUTE)
    assert (await live.order(answering)).status is Status.UNSHIPPED
    await live.travel_to(silent, dates[silent] - MINUTE)
    assert (await live.order(silent)).status is Status.UNSHIPPED
    await live.travel_to(silent, dates[silent] + SECOND)
    order = await live.reaches(silent, Status.CANCELLED)
    assert order.cancellation is not None
    assert (order.cancellation.reason, order.cancellation.at) == ("no_answer", dates[silent])
    await live.ended(silent)
    assert await live.held(silent) == 0


@pytest.mark.rule("C12")
async def test_an_answer_in_time_counts_also_when_it_is_read_late(live: Live) -> None:
    """No worker runs across the date: the answer that was sent before it still stops the cancellation."""
    queue = live.on_queue("answers-late")
    async with live.worker("answers-late"):
        number = await queue.place()
        answer_by = (await queue.orders.clock(number)) + 2 * DAY
        await queue.do(number, "send_message", "seller", text="Please answer", answer_by=answer_by.isoformat())
        await queue.travel_to(number, answer_by - MINUTE)
    stamped = {"actor": "buyer", "text": "Here I am", "requested_at": (answer_by - SECOND).isoformat()}
    await queue.signal(number, "send_message", stamped)
    async with live.worker("answers-late"):
        await queue.entry(number, "send_message")
        await queue.travel_to(number, answer_by + MINUTE)
        order = await queue.order(number)
        assert (order.status, order.answer_by) == (Status.UNSHIPPED, None)


@pytest.mark.rule("V7")
async def test_a_seller_gets_the_notices_it_wants_and_every_warning(live: Live) -> None:
    """Of all that one order's life mails, what the seller does without goes to the buyer alone; warnings always go out."""
    usual = sample_policy()
    unwanted = (SellerNotice.MESSAGE, SellerNotice.ORDER_CANCELLED)
    picky = usual.sellers["S-100"].model_copy(update={"unwanted_notices": unwanted})
    policy = usual.model_copy(update={"sellers": {**usual.sellers, "S-100": picky}})
    told = []
    for seller in (live, live.on_queue(live.orders.task_queue, policy)):
        number = await seller.place()
        await live.do(number, "send_message", "buyer", text="Is it blue?")
        await live.do(number, "send_message", "seller", text="It is.")
        await live.travel_to(number, (await live.order(number)).expected_ship_at + SECOND)
        await live.mailed(number, "confirm_warning", "seller")
        await live.do(number, "request_cancellation", "buyer")
        await live.mailed(number, "request_received", "seller")
        await live.travel_to(number, (await live.order(number)).confirm_by + SECOND)
        await live.ended(number)
        await live.mailed(number, "order_cancelled", "buyer")
        assert "message" in await live.kinds_mailed(number, "buyer")
        told.append(await live.kinds_mailed(number, "seller"))
    everything, wanted = told
    assert everything - wanted == {each.value for each in unwanted}
    assert wanted >= {"sold_ship_now", "confirm_warning", "request_received"}


@pytest.mark.rule("G4")
async def test_an_expensive_order_is_held_until_the_review_releases_it(live: Live) -> None:
    """Above the marketplace's limit the order stays pending though it is paid; released, it is to be shipped."""
    number = await live.place(items=(f"{live.sku()}:1:300000:Ring",), wait=False)
    order = await live.sees(number, lambda seen: seen.payment and seen.payment.status == "authorized", "the hold")
    assert (order.status, order.flags) == (Status.PENDING, ("in_review",))
    assert (await live.order(number, Actor.SELLER)).address is None
    await live.do(number, "release_review", "operator")
    await live.reaches(number, Status.UNSHIPPED)
    await live.mailed(number, "order_confirmation", "buyer")


@pytest.mark.rule("C11", "S2")
async def test_items_cancelled_before_shipment_are_not_charged(live: Live) -> None:
    """One of two units is cancelled with the buyer's consent: the charge is the new total, and its stock is free again."""
    number = await live.place()
    sku = (await live.order(number)).lines[0].sku
    one = [{"sku": sku, "quantity": 1}]
    assert await live.refused(number, "cancel_items", "seller", lines=one) == "CONSENT_REQUIRED"
    await live.do(number, "cancel_items", "seller", lines=one, consent="by message M1 of 22 November")
    await live.ship(number)
    assert await live.charged(number) == 1700
    assert await live.held(number) == 0
    await live.stock_is(sku, 99, 0)


@pytest.mark.rule("S8", "S4", "R3")
async def test_what_cannot_be_supplied_is_refunded_at_once(live: Live) -> None:
    """One of two units ships, the other is refunded as out of stock: the order counts as shipped and completes."""
    number = await live.place()
    sku = (await live.order(number)).lines[0].sku
    await live.ship(number, lines=[{"sku": sku, "quantity": 1}])
    out = [{"sku": sku, "quantity": 1}]
    await live.do(number, "refund", "seller", reason="out_of_stock", lines=out, memo="we are sorry")
    assert (await live.order(number)).status is Status.SHIPPED
    assert await paid_back(live, number) == [("out_of_stock", 1200)]
    assert await live.refused(number, "ship", "seller", carrier="Y", tracking_number="T-2") == "NOTHING_TO_SHIP"
    await live.stock_is(sku, 99, 0)


@pytest.mark.rule("A8", "C13")
async def test_a_cancelled_order_takes_one_rating_and_no_message(live: Live) -> None:
    """The seller had cancelled: the buyer rates it once; a message is pointed to customer service."""
    number = await live.place()
    await live.do(number, "cancel", "seller", reason="no_inventory")
    await live.do(number, "rate", "buyer", stars=2, comment="a pity")
    assert await live.refused(number, "rate", "buyer", stars=5) == "ALREADY_RATED"
    assert await live.refused(number, "send_message", "buyer", text="why?") == "ORDER_CANCELLED"
    assert (await live.entry(number, "send_message")).refusal is not None
