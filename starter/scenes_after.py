"""The second part of the demo: money that goes back, parcels that come back, answers that are waited for.

The payment provider tells of every refund and every payment at a shop by its signed webhook; the scenes wait for it.
"""

from typing import Any

from domain.case import CaseStatus
from domain.money import format_money
from domain.order import Actor, Status
from domain.parcel import parse_parcel
from domain.payment_state import PaymentStatus
from domain.refund import RefundReason, RefundStatus
from domain.refusal_codes import RefusalCode
from domain.views import OrderView
from starter import joint
from starter.scenes import DAY, Scene, SceneError, Stage, expect
from starter.shop import pay_number

FEE = 500
"""The standard shipping fee of the sample marketplace, in yen."""


def _yen(minor: int) -> dict[str, Any]:
    return {"amount_minor": minor, "currency": "JPY"}


async def _ships(stage: Stage, *items: str) -> OrderView:
    """Place an order, and let its seller ship it a day later."""
    await stage.place(items=items)
    await stage.travels(DAY)
    return await stage.does(Actor.SELLER, "ship", carrier="Yamato", tracking_number="JP-0101")


async def _is_paid_back(stage: Stage, *, refunded: int) -> None:
    """Wait until the provider's webhook has told the order that its newest refund is paid, and check both sides."""
    order = await stage.until(lambda now: now.refunds[-1].status is not RefundStatus.REQUESTED, "a promised refund")
    refund = order.refunds[-1]
    expected_at = refund.parts[0].expected_at
    by = f", expected by {expected_at:%Y-%m-%d}" if expected_at and refund.status is RefundStatus.PENDING else ""
    stage.steps.append(f"{format_money(refund.amount_minor, order.currency)} {refund.status}{by}")
    order = await stage.until(lambda now: now.refunds[-1].status is RefundStatus.PAID, "a refund that is paid")
    await stage.is_told_by_webhook()
    await stage.look("webhook: paid")
    expect(sum(each.amount_minor for each in order.refunds) == refunded, f"refunded: {order.refunds}")
    await stage.repaid(refunded)


async def _refunds_a_part(stage: Stage) -> None:
    order = await _ships(stage, "CUP-01:2:1200:Tea cup", "TRAY-03:1:3500:Tray")
    damaged = {"reason": RefundReason.DAMAGED, "lines": [{"sku": "CUP-01", "quantity": 1}], "memo": "One cup broke"}
    await stage.does(Actor.SELLER, "refund", **damaged)
    await _is_paid_back(stage, refunded=1200)
    too_much = [{"sku": "CUP-01", "quantity": 2}]
    goodwill = {"reason": RefundReason.GOODWILL, "lines": too_much}
    await stage.is_refused(Actor.SELLER, "refund", RefusalCode.REFUND_EXCEEDS, **goodwill)
    await stage.money(charged=order.total_minor)


async def _takes_back(stage: Stage) -> None:
    await _ships(stage, "POT-02:1:8800:Iron pot")
    await stage.does(Actor.SYSTEM, "deliver")
    await stage.does(Actor.BUYER, "request_return")
    await stage.does(Actor.SELLER, "authorize_return")
    await stage.travels(5 * DAY)
    await stage.does(Actor.SELLER, "receive_return")
    kept = [{"kind": "return_fee", "amount": _yen(700)}]
    returned = {"reason": RefundReason.BUYER_RETURN, "case_id": "K1", "deductions": kept}
    order = await stage.does(Actor.SELLER, "refund", **returned)
    refund = order.refunds[-1]
    expect((refund.gross_minor, refund.deducted_minor) == (8800 + FEE, 700), f"the refund is {refund}")
    await _is_paid_back(stage, refunded=8800 + FEE - 700)
    await _case_is(stage, CaseStatus.REFUNDED)


async def _cancels_after_shipment(stage: Stage) -> None:
    await _ships(stage, "CUP-01:1:1200:Tea cup")
    await stage.does(Actor.BUYER, "request_cancellation", reason="arrives_too_late")
    await stage.does(Actor.SELLER, "open_cancellation")
    order = await stage.does(Actor.OPERATOR, "approve_cancellation")
    expect("refund_due" in order.flags, f"the seller is not told to refund: {order.flags}")
    cancelled = {"reason": RefundReason.POST_SHIPMENT_CANCELLATION, "case_id": "K1"}
    await stage.does(Actor.SELLER, "refund", **cancelled)
    await _is_paid_back(stage, refunded=1200 + FEE)
    await _case_is(stage, CaseStatus.REFUNDED)


async def _never_answers(stage: Stage) -> None:
    await stage.place(items=("TRAY-03:1:3500:Tray",))
    answer_by = (await stage.client.clock(stage.number) + 2 * DAY).isoformat()
    asked = {"text": "The tray has a scratch. Shall I send it?", "answer_by": answer_by}
    order = await stage.does(Actor.SELLER, "send_message", **asked)
    expect("answer_due" in order.flags, f"no answer is waited for: {order.flags}")
    await stage.travels(2 * DAY)
    order = await stage.reaches(Status.CANCELLED)
    why = order.cancellation
    expect(why is not None and why.reason == "no_answer", f"cancelled: {why}")
    await stage.money(charged=0)


async def _pays_at_a_shop(stage: Stage) -> None:
    await stage.place(items=("CUP-01:3:1200:Tea cup",), method="konbini")
    paid = (await stage.client.order(stage.number)).payment
    expect(paid is not None and paid.status is PaymentStatus.AWAITING and paid.number is not None, f"payment: {paid}")
    await stage.is_refused(Actor.SELLER, "ship", RefusalCode.ORDER_PENDING, carrier="Yamato", tracking_number="JP1")
    await stage.travels(DAY)
    await pay_number(stage.client, stage.provider_url, stage.number)
    stage.steps.append("paid at the shop")
    await stage.reaches(Status.UNSHIPPED)
    await stage.is_told_by_webhook()
    await stage.look("webhook: paid")
    await stage.does(Actor.SELLER, "ship", carrier="Yamato", tracking_number="JP-0105")
    await stage.money(charged=3 * 1200 + FEE)


async def _travels_in_one_parcel(stage: Stage) -> None:
    await stage.place(items=("CUP-01:1:1200:Tea cup",))
    first = stage.number
    await stage.place(items=("TRAY-03:1:3500:Tray",))
    numbers = (first, stage.number)
    parcel = parse_parcel(
        {
            "parcel_id": f"PARCEL-{first}",
            "seller_id": "S-100",
            "carrier": "Yamato",
            "tracking_number": "JP-0106",
            "orders": [{"order_number": each, "saved": _yen(FEE // 2)} for each in numbers],
        }
    )
    result = await joint.combined(await joint.combine(stage.client, parcel))
    refused = [each.refusal or each.refund_refusal for each in result.orders] if result else ["no answer"]
    expect(not any(refused), f"the parcel was not sent: {refused}")
    for number, price in zip(numbers, (1200, 3500), strict=True):
        stage.number = number
        order = await stage.look(f"…{number[-7:]}: in parcel {parcel.tracking_number}")
        expect([each.tracking_number for each in order.shipments] == ["JP-0106"], f"parcels: {order.shipments}")
        await stage.money(charged=price + FEE)
        await _is_paid_back(stage, refunded=FEE // 2)


async def _never_arrives(stage: Stage) -> None:
    await _ships(stage, "POT-02:1:8800:Iron pot")
    await stage.travels(10 * DAY)
    await stage.does(Actor.BUYER, "report_not_received")
    until = (await stage.client.clock(stage.number) + 3 * DAY).isoformat()
    await stage.does(Actor.SELLER, "ask_to_wait", until=until)
    await stage.travels(3 * DAY)
    await _case_is(stage, CaseStatus.REPORTED)
    await stage.does(Actor.BUYER, "open_claim")
    await stage.does(Actor.OPERATOR, "grant_claim")
    await _is_paid_back(stage, refunded=8800 + FEE)
    await _case_is(stage, CaseStatus.GRANTED)


async def _case_is(stage: Stage, status: CaseStatus) -> None:
    found = (await stage.client.order(stage.number)).cases
    if [each.status for each in found] != [status]:
        raise SceneError(f"the case is {found}, not {status}")


SCENES_AFTER = (
    Scene("One of three refunded: promised, then paid", "R2 R3 R7", _refunds_a_part),
    Scene("Returned: refunded less the return fee", "A3 R4", _takes_back),
    Scene("Cancelled after shipment: asked, opened, approved, refunded", "A1", _cancels_after_shipment),
    Scene("The buyer is asked and never answers: 2 days, cancelled", "C12", _never_answers),
    Scene("Paid at a convenience store, told by webhook", "P5 G2 G7", _pays_at_a_shop),
    Scene("Two orders in one parcel: the fee that was saved goes back", "S6", _travels_in_one_parcel),
    Scene("Never arrived: wait, claim, granted", "A6", _never_arrives),
)
"""The second part of the tour, in the order of the table."""
