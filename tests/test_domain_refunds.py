"""Chapter R, and S4, S7, S8: refunds asked for, paid, failed and tried again, and what they make of the order."""

from datetime import timedelta
from typing import Any

import pytest
from domain_kit import (
    CARD_AND_POINTS,
    DAY,
    HOUR,
    NUMBER,
    PARCEL,
    SECOND,
    T0,
    Json,
    Scene,
    code,
    declined,
    delivered,
    every_method,
    in_state,
    partly,
    pending,
    shipped,
    substance,
    unshipped,
)
from refund_kit import CARD, jpy, refund, refunded, refused, told

from domain.effects import Ask, NoticeKind, Outcome, PayRefund, Result
from domain.movements import in_settlement, movements
from domain.order import Actor, Flag, Status
from domain.refund import RefundPart, RefundStatus
from domain.views import view

REST: Json = {"lines": [{"sku": "A", "quantity": 1}, {"sku": "B", "quantity": 1}], "memo": "The rest is sold out."}


def first_part(scene: Scene) -> RefundPart:
    """Return the first part of the first refund."""
    return scene.order.refunds[0].parts[0]


@pytest.mark.rule("R1")
@pytest.mark.parametrize("actor", ["seller", "operator"])
@pytest.mark.parametrize(
    ("scene", "code", "rule"),
    [(pending, "NOT_CHARGED", "R1"), (declined, "NOT_CHARGED", "R1"), (unshipped, "NOT_CHARGED", "R1")],
)
def test_before_a_shipment_there_is_nothing_to_refund(scene: Any, code: str, rule: str, actor: str) -> None:
    """Before a confirmed shipment a refund is refused, and whoever asks for it is told to cancel instead."""
    refusal = refused(scene(), "refund", actor, reason="goodwill")
    assert (refusal.code, refusal.rule) == (code, rule)


@pytest.mark.rule("R1", "C13")
@pytest.mark.parametrize(
    ("status", "code"), [(Status.CANCELLED, "ORDER_CANCELLED"), (Status.COMPLETED, "ORDER_COMPLETED")]
)
def test_a_closed_order_is_not_refunded(status: Status, code: str) -> None:
    """Nothing of a cancelled or completed order is refunded by command."""
    assert refused(in_state(status), "refund", "seller", reason="goodwill").code == code


@pytest.mark.rule("R1")
@pytest.mark.parametrize("actor", ["buyer", "system"])
def test_only_seller_and_operator_refund(actor: str) -> None:
    """The buyer does not refund itself, nor does a partner."""
    refusal = refused(shipped(), "refund", actor, reason="goodwill")
    assert (refusal.code, "seller, operator" in refusal.remedy) == ("NOT_ALLOWED", True)


@pytest.mark.rule("R1")
@pytest.mark.parametrize("scene", [partly, shipped, delivered])
@pytest.mark.parametrize("actor", ["seller", "operator"])
def test_after_a_confirmed_shipment_it_is_refunded(scene: Any, actor: str) -> None:
    """From the first confirmation on the seller or the operator refunds, and the refund says who did."""
    asked = scene()
    assert refund(asked, actor=actor, lines=[{"sku": "A", "quantity": 1}]) is None
    assert (asked.order.refunds[0].by, asked.order.refunds[0].amount_minor) == (actor, 1000)


@pytest.mark.rule("R3")
def test_a_refund_keeps_its_reason_and_memo() -> None:
    """The reason code is required; the memo to the buyer is kept with the refund, and left out of the history."""
    scene = shipped()
    assert refused(scene, "refund", "seller").code == "INVALID_COMMAND"
    refund(scene, "damaged", memo="Sorry for the dent.", lines=[{"sku": "B"}])
    made = scene.order.refunds[0]
    assert (made.reason, made.memo, made.requested_at) == ("damaged", "Sorry for the dent.", T0)
    assert "dent" not in scene.last.detail


@pytest.mark.rule("R6")
def test_the_same_request_twice_pays_once() -> None:
    """The same command with the same id is answered again and pays nothing again; another content is refused."""
    scene = shipped()
    for _ in range(2):
        assert refund(scene, id="refund-1", lines=[{"sku": "A", "quantity": 1}]) is None
    scene.settle()
    assert (scene.did(PayRefund), scene.partners.given_back) == ([CARD], 1000)
    other = refused(scene, "refund", "seller", reason="goodwill", id="refund-1", lines=[{"sku": "B"}])
    assert other.code == "COMMAND_ID_REUSED"
    assert refund(scene, id="refund-2", lines=[{"sku": "A", "quantity": 1}]) is None
    assert scene.settle().partners.given_back == 2000


@pytest.mark.rule("R7")
def test_a_refund_is_visible_until_it_is_paid() -> None:
    """Requested, pending with the provider's date, paid: the state is in the view of buyer and seller, and each is told."""
    scene = shipped().at(T0 + HOUR)
    refund(scene)
    part = first_part(scene)
    assert (part.status, part.expected_at) == (RefundStatus.REQUESTED, T0 + HOUR + 5 * DAY)
    assert told(scene, NoticeKind.REFUND_REQUESTED) == [("buyer", "R1"), ("seller", "R1")]
    scene.settle()
    assert (first_part(scene).status, first_part(scene).expected_at) == (RefundStatus.PENDING, T0 + HOUR + 3 * DAY)
    for viewer in (Actor.BUYER, Actor.SELLER):
        assert view(scene.order, scene.now, viewer).refunds[0].status is RefundStatus.PENDING
    scene.partners.settle_refund(CARD)
    scene.at(T0 + 2 * DAY).hear(CARD)
    assert (scene.order.refunds[0].status, first_part(scene).paid_at) == (RefundStatus.PAID, T0 + 2 * DAY)
    assert told(scene, NoticeKind.REFUND_PAID) == [("buyer", "R1")]
    assert not scene.order.anything_open


@pytest.mark.rule("R7", "R5")
def test_a_refund_is_paid_when_its_last_part_is() -> None:
    """Card and points are paid one after the other: the refund is paid, and the buyer told, with the second."""
    scene = refunded(shipped(CARD_AND_POINTS, every_method()))
    for reference, status in ((CARD, RefundStatus.PENDING), (f"{NUMBER}/3/refund/points", RefundStatus.PAID)):
        scene.partners.settle_refund(reference)
        assert scene.hear(reference).order.refunds[0].status is status
    assert told(scene, NoticeKind.REFUND_PAID) == [("buyer", "R1")]


@pytest.mark.rule("R7", "R6")
def test_an_overdue_refund_is_asked_for_daily() -> None:
    """On the expected date the provider is asked, and again a day later, until it says that it has paid."""
    scene = refunded(shipped())
    due = T0 + 3 * DAY
    assert scene.at(due - SECOND).did(Ask) == []
    assert len(scene.at(due).did(Ask)) == 1
    scene.settle()
    assert len(scene.at(due + DAY - SECOND).did(Ask)) == 1
    assert len(scene.at(due + DAY).did(Ask)) == 2
    scene.partners.settle_refund(CARD)
    assert scene.settle().order.refunds[0].status is RefundStatus.PAID
    assert len(scene.at(due + 9 * DAY).did(Ask)) == len(set(scene.did(Ask))) == 2


@pytest.mark.rule("R6")
def test_a_failed_refund_is_loud_and_tried_again() -> None:
    """The refund fails: flagged, the buyer told, nothing counts as paid; tried again it is asked for under a new key."""
    scene = shipped().answer(Result.REFUND_FAILED)
    refunded(scene)
    assert (first_part(scene).status, first_part(scene).failure_code) == (RefundStatus.FAILED, "account_closed")
    assert Flag.REFUND_FAILED in view(scene.order, scene.now, Actor.SELLER).flags
    assert (scene.order.anything_open, told(scene, NoticeKind.REFUND_FAILED)) == (True, [("buyer", "R1")])
    assert refused(scene, "refund", "seller", reason="goodwill").code == "ALREADY_REFUNDED"
    assert code(scene, "retry_refund", "seller", refund_id="R1") is None
    assert Flag.REFUND_FAILED not in scene.order.flags
    part = first_part(scene)
    assert (part.status, part.attempt, part.reference) == (RefundStatus.REQUESTED, 2, f"{CARD}/2")
    assert scene.settle().did(PayRefund) == [CARD, f"{CARD}/2"]
    assert scene.partners.given_back == 3000


@pytest.mark.rule("R6")
def test_each_attempt_has_a_key_of_its_own() -> None:
    """A refund that fails again and again is asked for under one key after the other, each of them once."""
    scene = shipped().answer(*[Result.REFUND_FAILED] * 3)
    refunded(scene)
    for _ in range(3):
        assert code(scene, "retry_refund", "operator", refund_id="R1") is None
        scene.settle()
    assert scene.did(PayRefund) == [CARD, f"{CARD}/2", f"{CARD}/3", f"{CARD}/4"]
    assert first_part(scene).status is RefundStatus.PENDING


@pytest.mark.rule("R6")
@pytest.mark.parametrize("result", [Result.REFUND_PAID, Result.REFUND_FAILED, Result.REFUND_PENDING, Result.UNANSWERED])
def test_a_late_answer_of_the_old_attempt_changes_nothing(result: Result) -> None:
    """What the provider says of the attempt that was given up no longer counts."""
    scene = shipped().answer(Result.REFUND_FAILED)
    refunded(scene)
    scene.send("retry_refund", "seller", refund_id="R1")
    before, effects = substance(scene.order), len(scene.effects)
    scene.decide(Outcome(result=result, reference=CARD))
    assert (substance(scene.order), len(scene.effects)) == (before, effects)


@pytest.mark.rule("R7", "R6")
def test_a_refund_tried_again_is_expected_anew() -> None:
    """The failed refund is tried again weeks later: the date on which the buyer may expect it is not over already."""
    scene = shipped().answer(Result.REFUND_FAILED)
    refunded(scene).at(T0 + 20 * DAY).send("retry_refund", "seller", refund_id="R1")
    expected = first_part(scene).expected_at
    assert expected is not None
    assert expected > scene.now


@pytest.mark.rule("R6")
@pytest.mark.parametrize("result", [each for each in Result if each is not Result.REFUND_FAILED])
def test_what_is_paid_stays_paid(result: Result) -> None:
    """After the provider has paid, no word of it changes the refund or asks for it again."""
    scene = refunded(shipped())
    scene.partners.settle_refund(CARD)
    scene.hear(CARD)
    before, effects = substance(scene.order), len(scene.effects)
    scene.decide(Outcome(result=result, reference=CARD, decline_code="late"))
    assert (substance(scene.order), len(scene.effects)) == (before, effects)


@pytest.mark.rule("R6", "R7")
def test_a_refund_that_comes_back_from_the_bank_is_loud_and_paid_again() -> None:
    """Paid, and then sent back by the buyer's bank: the order is flagged, the buyer told, and a retry pays it once more."""
    scene = refunded(shipped())
    scene.partners.settle_refund(CARD)
    scene.hear(CARD)
    scene.decide(Outcome(result=Result.REFUND_FAILED, reference=CARD, decline_code="account_closed"))
    assert (scene.order.refunds[0].status, Flag.REFUND_FAILED in scene.order.flags) == (RefundStatus.FAILED, True)
    assert scene.mails(NoticeKind.REFUND_FAILED) == ["buyer"]
    assert scene.send("retry_refund", "operator", refund_id="R1") is None
    assert first_part(scene).reference == f"{CARD}/2"


@pytest.mark.rule("R6")
def test_an_unknown_refund_is_asked_for_under_the_same_key() -> None:
    """The provider that does not know a refund is asked for it once more, under the same key: it pays once."""
    scene = shipped().answer("lost", Result.UNANSWERED)
    refunded(scene)
    assert scene.did(PayRefund) == [CARD] * 3
    assert (len(scene.partners.refunds), scene.partners.given_back) == (1, 3000)


@pytest.mark.rule("R6")
@pytest.mark.parametrize(("refund_id", "code"), [("R9", "UNKNOWN_REFUND"), ("R1", "REFUND_NOT_FAILED")])
def test_only_a_failed_refund_is_tried_again(refund_id: str, code: str) -> None:
    """An unknown refund, or one that is on its way, is not tried again."""
    refusal = refused(refunded(shipped()), "retry_refund", "seller", refund_id=refund_id)
    assert (refusal.code, refusal.rule) == (code, "R6")


@pytest.mark.rule("R6", "R5")
def test_only_the_failed_part_is_tried_again() -> None:
    """The card's part fails and the points' does not: the flag stays until the card's part was asked for again."""
    scene = shipped(CARD_AND_POINTS, every_method()).answer(Result.REFUND_FAILED)
    refunded(scene)
    assert [part.status for part in scene.order.refunds[0].parts] == [RefundStatus.FAILED, RefundStatus.PENDING]
    scene.send("retry_refund", "seller", refund_id="R1")
    scene.settle()
    assert scene.did(PayRefund) == [CARD, f"{NUMBER}/3/refund/points", f"{CARD}/2"]
    assert scene.partners.given_back == 3000


@pytest.mark.rule("R6")
@pytest.mark.parametrize("actor", ["buyer", "seller", "operator"])
def test_hints_come_from_the_provider_alone(actor: str) -> None:
    """Nobody else tells the order that it was paid."""
    refusal = refused(shipped(), "payment_event", actor, reference=f"{NUMBER}/1/authorize", event="payment.paid")
    assert refusal.code == "NOT_ALLOWED"


@pytest.mark.rule("R6", "D3")
def test_a_flood_of_hints_locks_no_other_partner_out() -> None:
    """The provider repeats itself until the order listens no more: the carrier can still say that it delivered."""
    scene = shipped()
    while code(scene, "payment_event", "system", reference=f"{NUMBER}/1/authorize", event="again") is None:
        pass
    assert scene.did(PayRefund) == []
    assert code(scene, "deliver", "system") is None


@pytest.mark.rule("S8", "S4", "R3", "S3")
def test_the_missing_rest_is_refunded_and_the_order_is_shipped() -> None:
    """The rest is sold out after the charge: refunded with a memo, the order is Shipped, and it stays late."""
    scene = partly().at(T0 + 10 * DAY)
    assert (scene.status, scene.order.flags) == (Status.PARTIALLY_SHIPPED, frozenset({Flag.LATE_SHIPMENT}))
    assert refund(scene, "out_of_stock", **REST) is None
    assert (scene.status, scene.order.delivered_at) == (Status.SHIPPED, None)
    assert [(each.shipped, each.cancelled, each.unshipped) for each in scene.order.lines] == [(1, 1, 0), (0, 1, 0)]
    assert Flag.LATE_SHIPMENT in scene.order.flags
    assert refused(scene, "ship", "seller", **PARCEL).code == "NOTHING_TO_SHIP"
    assert code(scene, "deliver", "system") is None
    assert scene.status is Status.DELIVERED
    assert Flag.LATE_SHIPMENT in scene.order.flags


@pytest.mark.rule("S8", "S4")
def test_the_refunded_rest_of_a_delivered_parcel_leaves_the_order_delivered() -> None:
    """Every parcel has arrived when the rest is refunded: the order is Delivered, since the last of them came."""
    scene = partly().at(T0 + DAY)
    scene.send("deliver", "system")
    scene.at(T0 + 3 * DAY)
    assert refund(scene, "out_of_stock", **REST) is None
    assert (scene.status, scene.order.delivered_at) == (Status.DELIVERED, T0 + DAY)


@pytest.mark.rule("S8")
def test_a_part_of_the_rest_out_of_stock_leaves_the_other_to_be_shipped() -> None:
    """One of the two missing items is refunded: the other one stays due and is shipped, no more than that."""
    scene = partly()
    refund(scene, "out_of_stock", lines=[{"sku": "B"}])
    assert scene.status is Status.PARTIALLY_SHIPPED
    over = refused(scene, "ship", "seller", **PARCEL, lines=[{"sku": "B", "quantity": 1}])
    assert (over.code, over.rule) == ("QUANTITY_EXCEEDED", "S1")
    assert code(scene, "ship", "seller", **PARCEL) is None
    assert (scene.status, dict(scene.order.shipments[1].quantities)) == (Status.SHIPPED, {"A": 1})


@pytest.mark.rule("S4", "S8")
def test_a_rest_that_was_paid_back_as_an_amount_can_still_be_given_up() -> None:
    """The price of the missing item went back as an amount: its units can still be declared out of stock."""
    scene = partly()
    refund(scene, lines=[{"sku": "A", "amount": jpy(2000)}, {"sku": "B", "amount": jpy(500)}], shipping=jpy(500))
    assert refund(scene, "out_of_stock", **REST) is None
    assert scene.status is not Status.PARTIALLY_SHIPPED


@pytest.mark.rule("S7")
def test_the_charge_becomes_available_at_the_end_of_the_settlement_period() -> None:
    """From the charge the amount is in settlement; 14 days later what is left after refunds is available."""
    scene = unshipped().at(T0 + DAY)
    assert view(scene.order, scene.now).available_at is None
    scene.send("ship", "seller", **PARCEL)
    end = T0 + 15 * DAY
    assert view(scene.order, scene.now, Actor.SELLER).available_at == end
    refund(scene, lines=[{"sku": "B"}])
    scene.settle().at(end - SECOND)
    assert (scene.order.settled_minor, in_settlement(scene.order)) == (None, 2500)
    assert scene.at(end).order.settled_minor == 2500
    refund(scene, lines=[{"sku": "A", "quantity": 1}])
    assert (scene.order.settled_minor, in_settlement(scene.order)) == (2500, 0)


@pytest.mark.rule("S7")
@pytest.mark.parametrize("early", [timedelta(0), SECOND])
def test_a_refund_read_after_the_settlement_is_taken_from_what_is_available(early: timedelta) -> None:
    """Nothing is in settlement any more once the period has ended, also when a refund asked for before is read after."""
    scene = shipped()
    end = T0 + 14 * DAY
    scene.at(end)
    assert code(scene.at(end + HOUR), "refund", "seller", end - early, reason="goodwill") is None
    assert in_settlement(scene.order) == 0
    assert all(each.is_balanced for each in movements(scene.order))
