"""Money after the charge on the real stack: refunds until the provider has paid them, convenience stores, points, settlement."""

from typing import Any

import pytest
from live_kit import DAY, MINUTE, Live, until

from domain.order import Flag, Status
from domain.refund import RefundStatus
from domain.views import OrderView


async def refunded_at_provider(live: Live, number: str) -> int:
    """Return what the provider has been asked to pay back and has not failed to, in minor units."""
    answer = await live.provider.get("/refunds", params={"order_number": number})
    return sum(each["amount_minor"] for each in answer.raise_for_status().json() if each["status"] != "failed")


def yen(amount: int) -> dict[str, Any]:
    """Return an amount of yen as commands take it."""
    return {"amount_minor": amount, "currency": "JPY"}


@pytest.mark.rule("R1", "R2", "R4", "R7")
async def test_a_partial_refund_is_pending_until_the_provider_has_paid_it(live: Live) -> None:
    """The seller refunds one unit less a return fee; the buyer is told twice, and the provider's word ends it."""
    number = await live.shipped()
    sku = (await live.order(number)).lines[0].sku
    reply = await live.do(
        number,
        "refund",
        "seller",
        reason="damaged",
        lines=[{"sku": sku, "quantity": 1}],
        deductions=[{"kind": "return_fee", "amount": yen(200)}],
        memo="sorry",
    )
    assert reply.order is not None
    assert [each.amount_minor for each in reply.order.refunds] == [1000]
    assert "1,000" in (await live.mailed(number, "refund_requested", "buyer"))["text"].replace("，", ",")
    order = await live.refund_is(number, RefundStatus.PAID)
    assert order.refunds[0].parts[0].paid_at is not None
    await live.mailed(number, "refund_paid", "buyer")
    assert await refunded_at_provider(live, number) == 1000
    assert await live.charged(number) == 2900


@pytest.mark.rule("R6")
async def test_the_same_refund_twice_pays_once(live: Live) -> None:
    """The same command id has one effect and one answer, and a second full refund finds nothing left."""
    number = await live.shipped()
    for _ in range(2):
        await live.do(number, "refund", "seller", reason="goodwill", command_id="refund-1")
    order = await live.refund_is(number, RefundStatus.PAID)
    assert len(order.refunds) == 1
    assert await live.refused(number, "refund", "seller", reason="goodwill") == "ALREADY_REFUNDED"
    assert await refunded_at_provider(live, number) == 2900


@pytest.mark.rule("R6")
@pytest.mark.usefixtures("no_faults")
async def test_a_refund_whose_answer_was_lost_pays_once(live: Live) -> None:
    """The provider pays and loses its answer: the same key is asked again, and the money goes back once."""
    number = await live.shipped()
    await live.provider_fault("lose_answer", 1, path="/refunds")
    await live.do(number, "refund", "seller", reason="goodwill")
    await live.refund_is(number, RefundStatus.PAID)
    assert await refunded_at_provider(live, number) == 2900


@pytest.mark.rule("R6")
@pytest.mark.usefixtures("no_faults")
async def test_a_hint_about_a_refund_that_the_provider_does_not_know_yet_pays_once(live: Live) -> None:
    """While the refund is still being asked for, a hint makes the order ask: unknown, and yet it is asked for once."""
    number = await live.shipped()
    await live.provider_fault("error", 3, path="/refunds")
    await live.do(number, "refund", "seller", reason="goodwill")
    reference = (await live.order(number)).refunds[0].parts[0].reference
    await live.do(number, "payment_event", "system", reference=reference, event="refund.paid")
    await live.refund_is(number, RefundStatus.PAID)
    assert await refunded_at_provider(live, number) == 2900
    await live.do(number, "deliver", "system")


@pytest.mark.rule("R6", "R7")
async def test_a_failed_refund_is_loud_and_tried_again_by_command(live: Live) -> None:
    """The first attempt fails at the provider: the order is flagged and the buyer told; the retry is paid."""
    number = await live.shipped(card="card-refund-fail")
    await live.do(number, "refund", "seller", reason="goodwill")
    order = await live.refund_is(number, RefundStatus.FAILED)
    assert "refund_failed" in order.flags
    await live.mailed(number, "refund_failed", "buyer")

    async def listed() -> bool:
        return number in {each.number async for each in live.orders.orders(flag=Flag.REFUND_FAILED, limit=1000)}

    await until(listed, "the order in the operator's list")
    await live.do(number, "retry_refund", "operator", refund_id="R1")
    order = await live.refund_is(number, RefundStatus.PAID)
    assert "refund_failed" not in order.flags

    async def gone() -> bool:
        return not await listed()

    await until(gone, "the order off the operator's list")
    assert await refunded_at_provider(live, number) == 2900


@pytest.mark.rule("P5", "R5")
async def test_points_and_card_are_held_charged_and_refunded_card_first(live: Live) -> None:
    """900 of 2,900 are paid with points: the card gets back what it paid, then the points; the seller sees nothing of them."""
    number = await live.place(points=900)
    assert await live.held(number) == 2900
    await live.ship(number)
    assert await live.charged(number) == 2900
    await live.do(
        number, "refund", "seller", reason="goodwill", lines=[{"sku": await sku_of(live, number), "quantity": 1}]
    )
    await live.refund_is(number, RefundStatus.PAID)
    await live.do(number, "refund", "seller", reason="goodwill")
    order = await live.refund_is(number, RefundStatus.PAID)
    assert [(p.method.value, p.amount_minor) for each in order.refunds for p in each.parts] == [
        ("card", 1200),
        ("card", 800),
        ("points", 900),
    ]
    seller = await live.order(number, viewer="seller")  # type: ignore[arg-type]
    assert "points" not in seller.model_dump_json()


async def sku_of(live: Live, number: str) -> str:
    """Return the order's first item."""
    return (await live.order(number)).lines[0].sku


@pytest.mark.rule("C9", "P5")
async def test_points_and_card_of_a_cancelled_order_are_released(live: Live) -> None:
    """Neither points nor money stay held."""
    number = await live.place(points=900)
    await live.do(number, "cancel", "buyer")
    await live.ended(number)
    assert await live.held(number) == 0
    assert await live.charged(number) == 0


@pytest.mark.rule("S7")
async def test_the_charge_becomes_available_after_the_settlement_period(live: Live) -> None:
    """The ledger has it in settlement for 14 days, less a refund, and then as available."""
    number = await live.shipped()
    await live.do(number, "refund", "seller", reason="goodwill", shipping=yen(500))
    await live.refund_is(number, RefundStatus.PAID)
    await live.travel(number, 14 * DAY + MINUTE)

    async def booked() -> dict[str, int] | None:
        sums: dict[str, int] = {}
        for entry in live.store.entries(order_number=number):
            sums[entry.account] = sums.get(entry.account, 0) + entry.amount_minor
        return sums if sums.get("seller:S-100:available") else None

    sums = await until(booked, "the settlement in the ledger")
    assert {account: amount for account, amount in sums.items() if amount} == {
        "provider:clearing": 2400,
        "seller:S-100:available": -2400,
    }
    assert sum(sums.values()) == 0


@pytest.mark.rule("A9")
async def test_an_order_completes_once_its_refund_is_paid(live: Live) -> None:
    """A refund that stays pending holds the completion back; when the provider has paid, the order completes."""
    number = await live.shipped(card="card-refund-hold")
    await live.do(number, "deliver", "system")
    await live.do(number, "refund", "seller", reason="goodwill")
    order = await live.refund_is(number, RefundStatus.PENDING)
    await live.travel(number, 31 * DAY)
    assert (await live.order(number)).status is Status.DELIVERED
    settled = {"reference": order.refunds[0].parts[0].reference, "status": "paid"}
    (await live.provider.post("/refunds/settle", json=settled)).raise_for_status()
    await live.reaches(number, Status.COMPLETED)


@pytest.mark.rule("A7")
async def test_personal_data_is_erased_after_the_retention_period(live: Live) -> None:
    """30 days after the cancellation neither record nor history hold name, address, mail or what was written."""
    number = await live.place()
    buyer = (await live.order(number)).buyer
    assert buyer is not None
    await live.do(number, "send_message", "buyer", text="please hurry, my birthday")
    await live.do(number, "cancel", "buyer", note="found it elsewhere")
    await live.ended(number)
    await live.erased(number)

    async def gone() -> OrderView | None:
        stored = live.store.order(number)
        return stored if stored is not None and stored.erased_at is not None else None

    stored = await until(gone, "the erased record")
    told = stored.model_dump_json() + "".join(each.model_dump_json() for each in live.store.history(number))
    for private in (buyer.name, buyer.email, "birthday", "elsewhere"):
        assert private not in told
    assert number not in {each.number for each in live.store.orders(buyer_email=buyer.email, limit=500)}
    assert stored.status is Status.CANCELLED
