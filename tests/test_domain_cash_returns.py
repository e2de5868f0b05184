"""Cash that was paid at a convenience store and is not charged: it goes back by itself, and the buyer can follow it."""

from datetime import timedelta

import pytest
from domain_kit import DAY, HOUR, NUMBER, PARCEL, SECOND, T0, Scene, awaiting, code
from domain_scenes import bounced, cash_going_back, cash_of
from refund_kit import refused

from domain.deadlines import DeadlineName, next_deadline
from domain.effects import Ask, CashReturn, NoticeKind, Outcome, PayRefund, Result
from domain.movements import PROVIDER_CLEARING, MovementKind, buyer_account, movements
from domain.order import Actor, Flag, Status
from domain.refund import CashReturnReason, PaymentMethod, Refund, RefundStatus
from domain.views import view

FIRST = f"{NUMBER}/1/authorize"
RETURN = f"{FIRST}/return"
TAKES = timedelta(days=3)


def the_refund(scene: Scene) -> Refund:
    """Return the one refund of an order."""
    (refund,) = scene.order.refunds
    return refund


def paid_and_cancelled() -> Scene:
    """Return an order that was paid in cash and cancelled two hours later."""
    scene = awaiting().at(T0 + 2 * HOUR)
    scene.partners.pay_at_store(FIRST)
    scene.hear(FIRST).send("request_cancellation")
    scene.send("accept_cancellation", "seller")
    return scene.settle()


@pytest.mark.rule("R7", "C9", "P5")
def test_the_buyer_is_told_how_much_cash_goes_back_how_and_by_when() -> None:
    """A cancelled order that was paid in cash has a refund of all of it, pending until the provider's date; the buyer is mailed."""
    scene = paid_and_cancelled()
    refund = the_refund(scene)
    (part,) = refund.parts
    assert (refund.refund_id, refund.reason, refund.by) == ("R1", CashReturnReason.ORDER_CANCELLED, "system")
    assert (refund.amount_minor, refund.lines, refund.status) == (3000, (), RefundStatus.PENDING)
    assert (part.method, part.reference, part.payment_reference) == (PaymentMethod.KONBINI, RETURN, FIRST)
    assert part.expected_at == T0 + 2 * HOUR + TAKES
    assert (scene.mails(NoticeKind.REFUND_REQUESTED), scene.did(PayRefund)) == (["buyer"], [])
    assert "go back as R1" in scene.order.history[-1].detail


@pytest.mark.rule("R7")
def test_the_state_is_visible_until_the_cash_has_arrived() -> None:
    """The provider is asked on its date and every day after; when it has paid, the buyer is told once and nobody asks again."""
    scene = paid_and_cancelled()
    due = T0 + 2 * HOUR + TAKES
    assert next_deadline(scene.order) == (DeadlineName.REFUND_DUE, due)
    assert scene.at(due - SECOND).did(Ask) == [f"{FIRST}/ask/2"]
    assert len(scene.at(due).did(Ask)) == 2
    scene.settle()
    assert (the_refund(scene).status, next_deadline(scene.order)) == (
        RefundStatus.PENDING,
        (DeadlineName.REFUND_DUE, due + DAY),
    )
    scene.partners.settle_refund(RETURN)
    scene.at(due + DAY).settle()
    refund = the_refund(scene)
    assert (refund.status, refund.parts[0].paid_at) == (RefundStatus.PAID, due + DAY)
    assert scene.mails(NoticeKind.REFUND_PAID) == ["buyer"]
    assert next_deadline(scene.order) == (DeadlineName.RETENTION_ENDED, scene.cancellation.at + 30 * DAY)


@pytest.mark.rule("R7")
def test_the_providers_hint_tells_sooner() -> None:
    """The webhook about the returned cash is heard in a cancelled order: the refund is paid."""
    scene = paid_and_cancelled().at(T0 + DAY)
    scene.partners.settle_refund(RETURN)
    scene.hear(RETURN)
    assert (the_refund(scene).status, scene.status) == (RefundStatus.PAID, Status.CANCELLED)
    assert scene.mails(NoticeKind.REFUND_PAID) == ["buyer"]


@pytest.mark.rule("R6", "R7")
def test_cash_that_could_not_be_paid_back_is_loud_and_tried_again() -> None:
    """A return that failed is flagged and keeps the order from its end; the operator tries again under a new key."""
    scene = paid_and_cancelled()
    scene.partners.settle_refund(RETURN, paid=False)
    scene.hear(RETURN)
    assert (the_refund(scene).status, Flag.REFUND_FAILED in scene.order.flags) == (RefundStatus.FAILED, True)
    assert scene.mails(NoticeKind.REFUND_FAILED) == ["buyer"]
    scene.at(T0 + 99 * DAY)
    assert (scene.order.erased_at, scene.order.over) == (None, False)
    assert code(scene, "retry_refund", "seller", refund_id="R1") == "ORDER_CANCELLED"
    assert code(scene, "retry_refund", "operator", refund_id="R1") is None
    assert (scene.did(PayRefund), Flag.REFUND_FAILED in scene.order.flags) == ([f"{RETURN}/2"], False)
    scene.settle().partners.settle_refund(f"{RETURN}/2")
    scene.hear(f"{RETURN}/2")
    assert the_refund(scene).status is RefundStatus.PAID
    assert code(scene, "retry_refund", "operator", refund_id="R1") == "REFUND_NOT_FAILED"


@pytest.mark.rule("R6")
@pytest.mark.parametrize("status", [RefundStatus.PENDING, RefundStatus.PAID, RefundStatus.FAILED])
def test_the_same_void_answered_twice_is_one_return(status: RefundStatus) -> None:
    """A void whose answer comes twice, and whatever the second one says, makes one refund and one mail."""
    scene = paid_and_cancelled()
    told, version = len(scene.notices), scene.order.version
    again = CashReturn(reference=RETURN, amount_minor=3000, status=status)
    scene.decide(Outcome(result=Result.VOIDED, reference=FIRST, cash_return=again))
    assert (len(scene.order.refunds), len(scene.notices), scene.order.version) == (1, told, version)


@pytest.mark.rule("G7", "R7")
def test_cash_that_comes_too_late_goes_back_and_can_be_followed() -> None:
    """The number is paid after the buyer cancelled, before or after the void: the buyer is told that it goes back, and by when."""
    scene = awaiting()
    scene.partners.pay_at_store(FIRST)
    scene.send("cancel")
    scene.settle()
    assert the_refund(scene).reason is CashReturnReason.ORDER_CANCELLED
    assert scene.mails(NoticeKind.REFUND_REQUESTED) == ["buyer"]
    late = awaiting()
    late.send("cancel")
    late.settle()
    assert late.order.refunds == ()
    # The store takes the money although the number is dead; the provider holds it once more.
    late.partners.holds[FIRST].voided = False
    late.partners.pay_at_store(FIRST)
    late.hear(FIRST)
    assert late.mails(NoticeKind.LATE_PAYMENT_RETURNED) == late.mails(NoticeKind.REFUND_REQUESTED) == ["buyer"]
    assert the_refund(late).status is RefundStatus.PENDING


@pytest.mark.rule("R7", "E7")
def test_cash_for_a_number_that_was_replaced_goes_back() -> None:
    """The buyer paid the old number and edited at once: the order waits for the new number, the old cash goes back."""
    scene = cash_going_back(Status.PENDING)
    refund = the_refund(scene)
    assert (refund.reason, refund.amount_minor) == (CashReturnReason.PAYMENT_NOT_NEEDED, 3000)
    assert (scene.status, scene.order.payment.number) == (Status.PENDING, "N-2")
    paid = cash_going_back(Status.UNSHIPPED)
    assert code(paid, "ship", "seller", **PARCEL) is None
    assert (paid.partners.charged, paid.order.payment.captured_minor) == (2000, 2000)
    assert the_refund(paid).amount_minor == 3000


@pytest.mark.rule("C11", "R7")
def test_what_was_paid_for_cancelled_items_goes_back_at_the_charge() -> None:
    """Of 3,000 in cash 500 are for an item cancelled since: the confirmation charges 2,500, and 500 go back, told to the buyer."""
    scene = awaiting()
    scene.partners.pay_at_store(FIRST)
    scene.hear(FIRST)
    scene.send("cancel_items", "seller", lines=[{"sku": "B", "quantity": 1}], consent="by mail")
    scene.answer("lost").send("ship", "seller", **PARCEL)
    assert (scene.order.refunds, scene.mails(NoticeKind.REFUND_REQUESTED)) == ((), [])
    # The answer was lost: the next confirmation gets it, with the same return.
    assert code(scene, "ship", "seller", **PARCEL) is None
    refund = the_refund(scene)
    assert (refund.reason, refund.amount_minor) == (CashReturnReason.ITEMS_CANCELLED, 500)
    assert (refund.parts[0].reference, refund.parts[0].payment_reference) == (f"{FIRST}/change", FIRST)
    assert scene.mails(NoticeKind.REFUND_REQUESTED) == ["buyer"]
    assert scene.mails(NoticeKind.SHIPPED) == ["buyer"]
    assert code(scene, "refund", "seller", reason="goodwill") is None
    assert [each.amount_minor for each in scene.order.refunds] == [500, 2500]
    assert (scene.settle().partners.given_back, scene.partners.cash_owed) == (2500, 0)


@pytest.mark.rule("R7", "P5")
def test_the_seller_has_nothing_to_do_with_it() -> None:
    """Cash that was never charged is in no view of the seller's, and not the seller's to try again."""
    scene = bounced(Status.UNSHIPPED)
    assert code(scene, "ship", "seller", **PARCEL) is None
    seen = view(scene.order, scene.now, Actor.SELLER)
    assert seen.refunds == ()
    refusal = refused(scene, "retry_refund", "seller", refund_id="R1")
    assert (refusal.code, refusal.message) == ("UNKNOWN_REFUND", f"order {NUMBER} has no refund R1")
    assert "none" in refusal.remedy


@pytest.mark.rule("S7", "R7")
def test_the_ledger_holds_the_cash_until_it_is_back() -> None:
    """What came in is owed to the buyer until it is paid, and none of it is ever the seller's."""
    scene = paid_and_cancelled()
    (posted,) = movements(scene.order)
    buyer = buyer_account(scene.order.buyer.buyer_id)
    assert {each.account: each.amount_minor for each in posted.entries} == {PROVIDER_CLEARING: 3000, buyer: -3000}
    scene.partners.settle_refund(cash_of(scene))
    scene.hear(RETURN)
    kinds = [each.kind for each in movements(scene.order)]
    assert kinds == [MovementKind.REFUND, MovementKind.REFUND_PAID]
    left = {each.account: 0 for movement in movements(scene.order) for each in movement.entries}
    for movement in movements(scene.order):
        for each in movement.entries:
            left[each.account] += each.amount_minor
    assert set(left.values()) == {0}


@pytest.mark.rule("R7")
def test_a_refund_that_comes_back_after_completion_can_be_tried_again() -> None:
    """The bank sends a paid refund back when the order is Completed: the operator pays it again, and the order stays so."""
    scene = bounced(Status.COMPLETED)
    assert (scene.status, Flag.REFUND_FAILED in scene.order.flags) == (Status.COMPLETED, True)
    assert code(scene, "retry_refund", "operator", refund_id="R1") is None
    scene.settle().partners.settle_refund(scene.order.refunds[0].parts[0].reference)
    scene.at(scene.now + 10 * DAY).settle()
    assert (scene.status, the_refund(scene).status) == (Status.COMPLETED, RefundStatus.PAID)


@pytest.mark.rule("C9")
def test_a_number_that_nobody_paid_returns_nothing() -> None:
    """An order that is cancelled unpaid has no refund and no mail about one."""
    scene = awaiting()
    scene.send("cancel")
    scene.settle()
    assert (scene.order.refunds, scene.mails(NoticeKind.REFUND_REQUESTED)) == ((), [])
    assert movements(scene.order) == ()
