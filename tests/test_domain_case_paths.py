"""Chapter A, told from beginning to end: how each case goes, what it refunds, and when the order is completed."""

from datetime import timedelta

import pytest
from domain_kit import DAY, PARCEL, SECOND, T0, code, delivered, partly, shipped, unshipped
from refund_kit import amounts, refund, refused, told
from test_domain_cases import MOVES, ONE_A, ONE_B, case, do, led_to

from domain.effects import Capture, NoticeKind, PayRefund
from domain.order import Flag, RequestStatus, Status


@pytest.mark.rule("A1")
def test_a_cancellation_after_shipment_goes_through_the_marketplace() -> None:
    """Asked, opened, approved, refunded: each step is visible, the buyer is told of each, the seller when it must act."""
    scene = shipped()
    do(scene, "request_cancellation", reason="changed_mind", note="Too big")
    assert told(scene, NoticeKind.CASE_OPENED) == [("buyer", "K1"), ("seller", "K1")]
    assert (scene.order.cases[0].reason, scene.order.cases[0].note) == ("changed_mind", "Too big")
    do(scene, "open_cancellation")
    assert scene.order.flags == {Flag.CASE_OPEN}
    do(scene, "approve_cancellation", note="Go on")
    assert scene.order.flags == {Flag.CASE_OPEN, Flag.REFUND_DUE}
    assert told(scene, NoticeKind.CASE_CHANGED) == [("buyer", "K1"), ("buyer", "K1"), ("seller", "K1")]
    assert refund(scene, "post_shipment_cancellation", case_id="K1") is None
    made = scene.order.refunds[0]
    assert (case(scene), scene.order.cases[0].refund_id) == (("cancellation", "refunded"), "R1")
    assert (made.case_id, made.amount_minor, len(scene.order.flags)) == ("K1", 3000, 0)
    assert told(scene, NoticeKind.REFUND_REQUESTED) == [("buyer", "R1"), ("seller", "R1")]


@pytest.mark.rule("A1", "R2")
def test_the_refund_of_a_case_is_of_its_items() -> None:
    """A refund that names a case and no lines gives back that case's items with their share of the fee."""
    scene = led_to(("cancellation", "approved"), **ONE_A)
    refund(scene, case_id="K1")
    assert amounts(scene) == [("A", 1, 1000, 200)]


@pytest.mark.rule("A2")
@pytest.mark.parametrize(("parcels", "kind"), [([], "cancellation"), (["P1"], "return"), (["P1", "P2"], "return")])
def test_a_wish_to_cancel_what_has_arrived_is_a_return(parcels: list[str], kind: str) -> None:
    """The buyer asks to cancel the A that was sent first: it is a return if that parcel had been delivered."""
    scene = partly()
    scene.send("ship", "seller", **PARCEL, **ONE_B)
    for parcel in parcels:
        scene.send("deliver", "system", shipment_id=parcel)
    assert do(scene, "request_cancellation", **ONE_A) is None
    assert case(scene) == (kind, "requested")
    scene = delivered()
    do(scene, "request_cancellation")
    assert case(scene) == ("return", "requested")


@pytest.mark.rule("A3", "C9")
def test_the_return_of_an_unconfirmed_shipment_cancels_the_order() -> None:
    """The seller shipped without confirming: what comes back is received, the order is cancelled, nothing is charged."""
    scene = unshipped()
    do(scene, "request_return", reason="damaged")
    do(scene, "authorize_return")
    assert do(scene, "receive_return") is None
    assert (scene.status, scene.cancellation.reason) == (Status.CANCELLED, "buyer_return_unconfirmed")
    assert (case(scene), Flag.CASE_OPEN in scene.order.flags) == (("return", "closed"), False)
    assert scene.mails(NoticeKind.ORDER_CANCELLED) == ["buyer", "seller"]
    scene.settle()
    assert (scene.did(Capture), scene.partners.charged, scene.order.voids) == ([], 0, ())
    assert not any(hold.live(scene.now) for hold in scene.partners.holds.values())


@pytest.mark.rule("A3", "S1")
def test_the_confirmation_may_still_come_before_the_return() -> None:
    """The seller confirms after all: the return goes on, and receiving it leads to a refund."""
    scene = unshipped()
    do(scene, "request_return")
    do(scene, "authorize_return")
    assert scene.send("ship", "seller", **PARCEL) is None
    assert do(scene, "receive_return") is None
    assert (scene.status, case(scene)) == (Status.SHIPPED, ("return", "received"))
    assert Flag.REFUND_DUE in scene.order.flags
    assert refund(scene, case_id="K1") is None


@pytest.mark.rule("A3", "A5")
@pytest.mark.parametrize(
    ("state", "step"), [(("return", "authorized"), "receive_return"), (("parcel", "recalled"), "receive_parcel")]
)
def test_what_never_comes_back_closes_the_case(state: tuple[str, str], step: str) -> None:
    """Nothing arrived in 30 days: the case is closed at that instant, both are told, and receiving it is refused."""
    scene, end = led_to(state), T0 + 30 * DAY
    assert case(scene.at(end - SECOND)) == state
    mails = len(scene.notices)
    assert case(scene.at(end)) == (state[0], "closed")
    assert [each.recipient for each in scene.notices[mails:]] == ["buyer", "seller"]
    assert (scene.order.cases[0].changed_at, scene.order.cases[0].due_at) == (end, None)
    assert refused(scene, step, "seller", case_id="K1").code == "CASE_NOT_OPEN_TO_THIS"
    timely = led_to(state).at(end - SECOND)
    assert do(timely, step) is None


@pytest.mark.rule("A3", "A5")
@pytest.mark.parametrize(
    ("state", "step"), [(("return", "authorized"), "receive_return"), (("parcel", "recalled"), "receive_parcel")]
)
def test_what_comes_back_at_the_end_of_its_window_is_too_late_whoever_is_first(
    state: tuple[str, str], step: str
) -> None:
    """The timer has not fired yet when it is received at that very instant: it is late all the same."""
    scene = led_to(state).late(T0 + 30 * DAY)
    do(scene, step)
    assert case(scene.at(scene.now)) == (state[0], "closed")


@pytest.mark.rule("A3", "A9")
@pytest.mark.parametrize("name", ["request_return", "request_cancellation"])
def test_a_return_is_asked_for_within_its_window(name: str) -> None:
    """Thirty days after delivery the buyer can no longer return it, also where the order is not completed yet."""
    end = T0 + 30 * DAY
    assert code(delivered().late(end), name, at=end - SECOND) is None
    scene = delivered()
    do(scene, "report_not_received", **ONE_A)
    refusal = refused(scene.at(end), name, **ONE_B)
    assert (scene.status, refusal.code, refusal.rule) == (Status.DELIVERED, "RETURN_WINDOW_CLOSED", "A9")


@pytest.mark.rule("A4", "R4")
@pytest.mark.parametrize("actor", ["seller", "operator", "system"])
def test_a_parcel_that_came_back_is_refunded_less_the_shipping_fee(actor: str) -> None:
    """The parcel comes back: goods and shipping are lines of the refund, the shipping fee is deducted explicitly."""
    scene = shipped()
    assert code(scene, "return_to_sender", actor, reason="wrong_address") is None
    made = scene.order.refunds[0]
    assert (made.gross_minor, made.amount_minor, made.by) == (3000, 2500, actor)
    assert [(each.kind, each.amount_minor) for each in made.deductions] == [("shipping_fee", 500)]
    assert (case(scene), scene.order.cases[0].refund_id, made.case_id) == (("parcel", "refunded"), "R1", "K1")
    assert (len(scene.did(PayRefund)), scene.order.cases[0].reason) == (1, "wrong_address")
    assert told(scene, NoticeKind.REFUND_REQUESTED) == [("buyer", "R1"), ("seller", "R1")]


@pytest.mark.rule("A5", "R4")
def test_a_recalled_parcel_is_refunded_less_the_return_fee() -> None:
    """The recall is told to the buyer; once the parcel is back the refund deducts the marketplace's return fee."""
    scene = shipped()
    do(scene, "recall_parcel")
    assert (case(scene), told(scene, NoticeKind.CASE_OPENED)) == (("parcel", "recalled"), [("buyer", "K1")])
    assert (do(scene, "receive_parcel"), case(scene)) == (None, ("parcel", "refunded"))
    made = scene.order.refunds[0]
    fee = scene.order.policy.return_fee_minor
    assert (made.gross_minor, made.amount_minor, fee > 0) == (3000, 3000 - fee, True)
    assert [(each.kind, each.amount_minor) for each in made.deductions] == [("return_fee", fee)]


@pytest.mark.rule("A5")
def test_a_recalled_parcel_worth_no_more_than_the_fee_brings_nothing_back() -> None:
    """The return fee eats up the item: no refund is made, the case is at its end and the buyer is told."""
    scene = shipped()
    do(scene, "recall_parcel", **ONE_B)
    assert do(scene, "receive_parcel") is None
    assert (scene.order.refunds, scene.order.anything_open) == ((), False)
    assert told(scene, NoticeKind.CASE_CHANGED) == [("buyer", "K1")]


@pytest.mark.rule("A6")
def test_a_date_to_wait_for_passes() -> None:
    """The seller asks to wait until a date: on it the report is open again and both are told."""
    scene = led_to(("not_received", "waiting"))
    until = T0 + 5 * DAY
    assert case(scene.at(until - SECOND)) == ("not_received", "waiting")
    mails = len(scene.notices)
    assert case(scene.at(until)) == ("not_received", "reported")
    assert [each.recipient for each in scene.notices[mails:]] == ["buyer", "seller"]
    assert do(scene, "ask_to_wait", until=(until + DAY).isoformat()) is None
    assert do(scene, "send_trace", note="Trace 42: in Osaka") is None
    assert (scene.order.cases[0].due_at, scene.order.cases[0].answer) == (None, "Trace 42: in Osaka")


@pytest.mark.rule("A6")
@pytest.mark.parametrize(
    ("after", "good"), [(0 * DAY, False), (SECOND, True), (30 * DAY, True), (30 * DAY + SECOND, False), (-DAY, False)]
)
def test_the_date_to_wait_for_is_within_the_transit_window(after: timedelta, good: bool) -> None:
    """The date lies after now and not beyond the longest time that a parcel may take."""
    scene, until = led_to(("not_received", "reported")).at(T0 + DAY), (T0 + DAY + after).isoformat()
    if good:
        assert do(scene, "ask_to_wait", until=until) is None
    else:
        refusal = refused(scene, "ask_to_wait", "seller", until=until)
        assert (refusal.code, refusal.rule) == ("INSTANT_OUT_OF_RANGE", "A6")


@pytest.mark.rule("A6")
@pytest.mark.parametrize(("step", "amount"), [("grant_claim", 3000), ("deny_claim", 0)])
def test_a_claim_is_granted_in_full_or_denied(step: str, amount: int) -> None:
    """A granted claim refunds everything without a deduction; a denied one refunds nothing; both sides are told."""
    scene = led_to(("not_received", "claimed"))
    assert told(scene, NoticeKind.CASE_CHANGED) == [("seller", "K1")]
    assert do(scene, step) is None
    assert sum(each.amount_minor for each in scene.order.refunds) == amount
    assert all(not each.deductions and each.reason == "guarantee_claim" for each in scene.order.refunds)
    assert told(scene, NoticeKind.CASE_CHANGED)[1:] == [("buyer", "K1"), ("seller", "K1")]
    assert Flag.CASE_OPEN not in scene.order.flags


@pytest.mark.rule("A6")
@pytest.mark.parametrize(
    ("state", "then"), [("reported", "closed"), ("traced", "closed"), ("waiting", "closed"), ("claimed", "claimed")]
)
def test_the_delivery_closes_the_report(state: str, then: str) -> None:
    """The parcel arrives after all: the report is closed and the buyer told; a claim is for the marketplace to decide."""
    scene = led_to(("not_received", state))
    mails = len(told(scene, NoticeKind.CASE_CHANGED))
    scene.send("deliver", "system")
    assert (scene.status, case(scene)) == (Status.DELIVERED, ("not_received", then))
    assert told(scene, NoticeKind.CASE_CHANGED)[mails:] == ([("buyer", "K1")] if then == "closed" else [])
    assert scene.order.cases[0].due_at is None


@pytest.mark.rule("A6", "S4")
def test_the_report_is_closed_too_where_the_refund_of_the_rest_ends_the_delivery() -> None:
    """All that was sent has arrived and the rest is refunded: the order is Delivered and nothing is missing any more."""
    scene = partly()
    do(scene, "report_not_received")
    scene.send("deliver", "system")
    refund(scene, "out_of_stock", lines=[{"sku": "A", "quantity": 1}, {"sku": "B", "quantity": 1}])
    assert (scene.status, case(scene)) == (Status.DELIVERED, ("not_received", "closed"))


@pytest.mark.rule("A1", "C4")
def test_a_request_before_shipment_is_no_case() -> None:
    """The request made before the shipment is declined by it; the next one is a case, and declining it leaves the first."""
    scene = unshipped().at(T0 + DAY)
    scene.send("request_cancellation")
    scene.send("ship", "seller", **PARCEL)
    assert do(scene, "request_cancellation") is None
    assert do(scene, "decline_cancellation") is None
    assert case(scene) == ("cancellation", "declined")
    assert scene.order.request is not None
    assert scene.order.request.status is RequestStatus.DECLINED


@pytest.mark.rule("A9")
@pytest.mark.parametrize(("opener", "end"), [("request_return", "decline_return"), ("report_not_received", "refund")])
def test_an_open_case_holds_the_completion_back(opener: str, end: str) -> None:
    """The return window ends with a case open: the order is Completed when the case and its refund end, not before."""
    scene = delivered()
    do(scene, opener)
    assert scene.at(T0 + 40 * DAY).status is Status.DELIVERED
    do(scene, end)
    scene.settle().at(T0 + 50 * DAY)
    paid = [part.reference for each in scene.order.refunds for part in each.parts]
    for reference in paid:
        assert scene.status is Status.DELIVERED
        scene.partners.settle_refund(reference)
        scene.hear(reference)
    scene.at(T0 + 50 * DAY)
    assert scene.status is Status.COMPLETED
    assert scene.order.completed_at == T0 + (50 if paid else 40) * DAY


@pytest.mark.rule("A1", "A3", "A9", "R2")
@pytest.mark.parametrize("state", [("return", "received"), ("cancellation", "approved"), ("not_received", "claimed")])
def test_a_case_whose_items_were_refunded_otherwise_can_be_ended(state: tuple[str, str]) -> None:
    """The seller refunded everything without naming the case: it can still be brought to its end."""
    scene = led_to(state)
    assert refund(scene) is None
    for step in MOVES[state]:
        do(scene, step, case_id="K1")
    assert not any(each.open for each in scene.order.cases)


@pytest.mark.rule("A6", "S4")
def test_a_claim_takes_no_units_that_are_still_to_be_shipped() -> None:
    """The claimed unit was refunded otherwise meanwhile: granting the claim cancels nothing that is still due."""
    scene = partly()
    scene.send("ship", "seller", **PARCEL, **ONE_B)
    do(scene, "report_not_received", **ONE_A)
    do(scene, "open_claim")
    refund(scene, **ONE_A)
    do(scene, "grant_claim")
    left = sum(each.unshipped for each in scene.order.lines)
    assert (scene.status is Status.PARTIALLY_SHIPPED) == (left > 0)
