"""Chapter A where items, parcels and refunds are told apart: what a case is settled by, ended by, and free for again."""

from typing import Any

import pytest
from domain_kit import DAY, PARCEL, SECOND, T0, Json, Scene, code, delivered, shipped, unshipped
from refund_kit import refund, refused

from domain.effects import NoticeKind, PayRefund, Result
from domain.movements import MovementKind, movements
from domain.order import Actor, Flag, Status
from domain.views import buyer_view, history_view, view

A1: Json = {"lines": [{"sku": "A", "quantity": 1}]}
A2: Json = {"lines": [{"sku": "A", "quantity": 2}]}
B1: Json = {"lines": [{"sku": "B", "quantity": 1}]}
SECOND_PARCEL: Json = {"carrier": "Sagawa", "tracking_number": "T-2"}


def cases(scene: Scene) -> list[tuple[str, str, dict[str, int]]]:
    """Return kind, state and units of each case."""
    return [(each.kind.value, each.status.value, dict(each.quantities)) for each in scene.order.cases]


def received(scene: Scene, lines: Json) -> Scene:
    """Let the buyer return some items, and the seller take them back."""
    for name, actor, fields in (
        ("request_return", "buyer", lines),
        ("authorize_return", "seller", {}),
        ("receive_return", "seller", {}),
    ):
        assert code(scene, name, actor, **fields) is None
    return scene


def in_two_parcels(first: Json, second: Json) -> Scene:
    """Return an order that was sent in two parcels, neither delivered."""
    scene = unshipped()
    assert code(scene, "ship", "seller", **PARCEL, **first) is None
    assert code(scene, "ship", "seller", **SECOND_PARCEL, **second) is None
    return scene.settle()


# What settles a case.


@pytest.mark.rule("A3", "R2")
@pytest.mark.parametrize("lines", [B1, {"lines": [{"sku": "A", "quantity": 2}, {"sku": "B", "quantity": 1}]}])
def test_a_refund_of_a_case_is_of_its_items(lines: Json) -> None:
    """A refund that names a return of A and pays B is refused: it would leave the buyer without the money for A."""
    scene = received(delivered(), A2)
    refusal = refused(scene, "refund", "seller", reason="buyer_return", case_id="K1", **lines)
    assert (refusal.code, refusal.rule) == ("NOT_IN_CASE", "R2")
    assert "is about 0 of B, not about 1" in refusal.message
    assert cases(scene) == [("return", "received", {"A": 2})]


@pytest.mark.rule("A3", "R2")
@pytest.mark.parametrize("part", [A1, {"shipping": {"amount_minor": 1, "currency": "JPY"}}])
def test_a_case_stays_owed_until_all_of_it_is_refunded(part: Json) -> None:
    """One unit of two, or a yen of the shipping fee, does not settle a return; the rest does."""
    scene = received(delivered(), A2)
    assert refund(scene, "buyer_return", case_id="K1", **part) is None
    assert (cases(scene), Flag.REFUND_DUE in scene.order.flags) == ([("return", "received", {"A": 2})], True)
    assert refund(scene, "buyer_return", case_id="K1") is None
    assert (cases(scene), Flag.REFUND_DUE in scene.order.flags) == ([("return", "refunded", {"A": 2})], False)
    assert sum(each.quantity for each in scene.order.refunds[-1].lines) in (1, 2)
    assert scene.order.cases[0].refund_id == "R2"


@pytest.mark.rule("A3", "R2")
def test_a_sum_named_for_an_item_settles_it() -> None:
    """The seller takes back used items and pays a part of their price: that is the refund of the case."""
    scene = received(delivered(), A2)
    half = [{"sku": "A", "amount": {"amount_minor": 700, "currency": "JPY"}}]
    assert refund(scene, "buyer_return", case_id="K1", lines=half) is None
    assert cases(scene) == [("return", "refunded", {"A": 2})]


@pytest.mark.rule("A3")
def test_what_a_settled_case_never_covered_is_free_for_another() -> None:
    """A return of everything was asked for before the shipment; A came back and was refunded: B, sent later, can be returned."""
    scene = unshipped()
    scene.send("request_return")
    scene.send("authorize_return", "seller")
    scene.send("ship", "seller", **PARCEL, **A2)
    scene.send("receive_return", "seller")
    assert refund(scene, "buyer_return", case_id="K1") is None
    assert cases(scene)[0][1:] == ("refunded", {"A": 2, "B": 0})
    scene.send("ship", "seller", **SECOND_PARCEL)
    assert code(scene, "request_return", **B1) is None


# What ends a case without a refund.


@pytest.mark.rule("A5", "A3")
def test_a_recalled_parcel_that_is_delivered_all_the_same_can_be_returned() -> None:
    """The recall came too late: it is over, and the buyer has its return window."""
    scene = shipped()
    assert code(scene, "recall_parcel", "seller") is None
    scene.at(T0 + 6 * DAY).send("deliver", "system")
    assert cases(scene) == [("parcel", "closed", {"A": 2, "B": 1})]
    assert scene.mails(NoticeKind.CASE_CHANGED) == ["buyer"]
    assert code(scene, "request_return") is None


@pytest.mark.rule("A10", "A6", "A9")
def test_a_delivery_after_it_was_assumed_ends_the_report() -> None:
    """Counted as delivered after 21 days, delivered on day 23: the report is over, the return window runs from then."""
    scene = shipped().at(T0 + 10 * DAY)
    scene.send("report_not_received")
    scene.at(T0 + 22 * DAY)
    assert (scene.status, scene.order.shipments[0].assumed, cases(scene)[0][1]) == (Status.DELIVERED, True, "reported")
    scene.at(T0 + 23 * DAY).send("deliver", "system")
    assert cases(scene)[0][1] == "closed"
    again = refused(scene, "deliver", "system")
    assert again.code == "ALREADY_DELIVERED"
    assert scene.order.delivered_at is not None
    assert scene.at(scene.order.delivered_at + 30 * DAY - SECOND).status is Status.DELIVERED
    assert scene.at(scene.now + SECOND).status is Status.COMPLETED


@pytest.mark.rule("A6")
def test_the_parcel_that_was_missed_ends_the_report_when_it_comes() -> None:
    """A report on P1 is over with P1's delivery, though P2 is under way; a report on what has come before stays open."""
    scene = in_two_parcels(A2, B1)
    scene.send("report_not_received", **A2)
    assert code(scene, "deliver", "system", shipment_id="P1") is None
    assert cases(scene) == [("not_received", "closed", {"A": 2})]
    assert code(scene, "report_not_received", **A2) is None
    assert code(scene, "deliver", "system", shipment_id="P2") is None
    assert [each[1] for each in cases(scene)] == ["closed", "reported"]
    one_of_two = in_two_parcels(A1, {"lines": [*A1["lines"], *B1["lines"]]})
    one_of_two.send("report_not_received", **A1)
    one_of_two.send("deliver", "system", shipment_id="P1")
    assert cases(one_of_two)[0][1] == "reported"
    one_of_two.send("deliver", "system", shipment_id="P2")
    assert cases(one_of_two)[0][1] == "closed"


@pytest.mark.rule("A4", "A1", "A6", "R4")
def test_a_parcel_that_comes_back_ends_what_was_open_on_it() -> None:
    """A cancellation in review and a claim do not keep the carrier's word out: refunded less the shipping fee, both are over."""
    for opening, step in (("request_cancellation", "open_cancellation"), ("report_not_received", "open_claim")):
        scene = shipped()
        scene.send(opening)
        scene.send(step, "seller" if step == "open_cancellation" else "buyer")
        assert code(scene, "return_to_sender", "system", reason="refused") is None
        assert [each[1] for each in cases(scene)] == ["closed", "refunded"]
        refunded = scene.order.refunds[0]
        assert (refunded.reason, refunded.deducted_minor > 0, refunded.case_id) == ("undeliverable", True, "K2")
    part = shipped()
    part.send("request_cancellation", **A2)
    assert code(part, "return_to_sender", "system", reason="refused", lines=[*A1["lines"], *B1["lines"]]) is None
    assert cases(part) == [("cancellation", "requested", {"A": 1}), ("parcel", "refunded", {"A": 1, "B": 1})]


@pytest.mark.rule("A4")
def test_a_flood_of_cases_of_one_side_does_not_lock_out_the_carrier() -> None:
    """After fifty returns of the buyer no more are taken of it; the carrier's parcel is."""
    scene = shipped()
    for _ in range(50):
        assert code(scene, "request_return") is None
        assert code(scene, "decline_return", "seller") is None
    refusal = refused(scene, "request_return")
    assert (refusal.code, refusal.rule) == ("CASE_LIMIT", "A3")
    assert code(scene, "return_to_sender", "system", reason="refused") is None


# A wish to cancel what has arrived in part.


@pytest.mark.rule("A2", "A1")
def test_a_wish_is_a_cancellation_of_what_is_under_way_and_a_return_of_the_rest() -> None:
    """P1 with A has arrived, P2 with B has not: one wish opens a cancellation of B and a return of A."""
    scene = in_two_parcels(A2, B1)
    scene.send("deliver", "system", shipment_id="P1")
    assert code(scene, "request_cancellation") is None
    assert cases(scene) == [("cancellation", "requested", {"B": 1}), ("return", "requested", {"A": 2})]
    assert scene.mails(NoticeKind.CASE_OPENED).count("buyer") == 2


@pytest.mark.rule("A2")
def test_of_units_that_cannot_be_told_apart_the_one_under_way_is_cancelled() -> None:
    """One A arrived and was refunded, one is under way: the next wish for an A is a cancellation."""
    scene = in_two_parcels(A1, {"lines": [*A1["lines"], *B1["lines"]]})
    scene.send("deliver", "system", shipment_id="P1")
    received(scene, A1)
    refund(scene, "buyer_return", case_id="K1")
    assert code(scene, "request_cancellation", **A1) is None
    assert cases(scene)[-1] == ("cancellation", "requested", {"A": 1})


@pytest.mark.rule("A2")
@pytest.mark.parametrize(("seconds", "kind"), [(-1, "cancellation"), (0, "return"), (1, "return")])
def test_a_wish_is_judged_by_when_the_buyer_asked(seconds: int, kind: str) -> None:
    """Asked a second before the delivery and read after it, a wish is a cancellation; at the delivery or after, a return."""
    there = T0 + 3 * DAY
    scene = shipped().at(there)
    scene.send("deliver", "system")
    scene.at(there + DAY).send("request_cancellation", "buyer", there + seconds * SECOND)
    assert cases(scene)[0][0] == kind


@pytest.mark.rule("A3", "C11")
def test_a_part_that_came_back_unconfirmed_leaves_the_rest_to_be_shipped() -> None:
    """B came back of an order that was never confirmed: B is off the order, with the buyer's own return as consent; A goes on."""
    scene = unshipped()
    received(scene, B1)
    assert (scene.status, [(line.sku, line.quantity) for line in scene.order.lines]) == (Status.UNSHIPPED, [("A", 2)])
    (reduction,) = scene.order.reductions
    assert (dict(reduction.quantities), "return K1" in reduction.consent) == ({"B": 1}, True)
    assert cases(scene) == [("return", "closed", {"B": 1})]
    assert scene.order.flags == frozenset()
    assert scene.mails(NoticeKind.ITEMS_CANCELLED) == ["buyer", "seller"]
    scene.send("ship", "seller", **PARCEL)
    assert scene.partners.charged == scene.order.total_minor
    whole = received(unshipped(), {})
    assert whole.status is Status.CANCELLED


# Refunds.


@pytest.mark.rule("S7", "R7")
def test_a_payment_that_a_bank_sends_back_is_in_the_ledger() -> None:
    """Paid, sent back, paid again: each is a movement of its own, and what is owed to the buyer is owed until the last."""
    scene = delivered().answer(Result.REFUND_PAID)
    refund(scene, **B1)
    scene.settle()
    first = scene.order.refunds[0].parts[0].reference
    scene.partners.refunds[first].result = Result.REFUND_FAILED
    scene.at(T0 + 9 * DAY).hear(first)
    assert Flag.REFUND_FAILED in scene.order.flags
    scene.at(T0 + 10 * DAY).send("retry_refund", "operator", refund_id="R1")
    assert scene.mails(NoticeKind.REFUND_REQUESTED).count("buyer") == 2
    scene.settle()
    second = scene.order.refunds[0].parts[0].reference
    scene.partners.settle_refund(second)
    scene.hear(second)
    found = [(each.kind, each.movement_id.partition("/")[2]) for each in movements(scene.order)][2:]
    assert found == [
        (MovementKind.REFUND_PAID, "refund/R1/card"),
        (MovementKind.REFUND_RETURNED, "refund/R1/card/returned/1"),
        (MovementKind.REFUND_PAID, "refund/R1/card/2"),
    ]
    assert all(each.is_balanced for each in movements(scene.order))
    assert scene.order.refunds[0].parts[0].paid_at == T0 + 10 * DAY


@pytest.mark.rule("R6", "R7")
def test_an_answer_that_was_overtaken_changes_nothing() -> None:
    """That a refund is pending is known before that it failed: told late, it does not hide the failure."""
    scene = delivered()
    refund(scene, **B1)
    part = scene.order.refunds[0].parts[0]
    pending = scene.partners.perform(next(e for e in scene.effects if isinstance(e, PayRefund)), scene.now)
    scene.partners.settle_refund(part.reference, paid=False)
    scene.hear(part.reference)
    scene.decide(pending)
    assert scene.order.refunds[0].status.value == "failed"
    assert code(scene, "retry_refund", "seller", refund_id="R1") is None


@pytest.mark.rule("S8", "R3", "A7")
def test_the_buyers_consent_is_kept_with_a_refund() -> None:
    """What is refunded instead of shipped: when and how the buyer agreed is on the refund, until it is erased."""
    scene = in_two_parcels(A2, B1)
    assert refund(scene, "goodwill", consent="by mail of 1 March", **B1) is None
    assert scene.order.refunds[0].consent == "by mail of 1 March"
    assert "mail of 1" not in scene.last.detail


@pytest.mark.rule("A6")
def test_a_date_to_wait_for_is_judged_when_it_is_read() -> None:
    """A seller's answer that was under way for days cannot ask the buyer to wait until a day that is past."""
    scene = shipped()
    scene.send("report_not_received")
    scene.at(T0 + 5 * DAY)
    until: dict[str, Any] = {"until": (T0 + 2 * DAY).isoformat()}
    refusal = scene.send("ask_to_wait", "seller", T0 + DAY, **until)
    assert refusal is not None
    assert (refusal.code, refusal.rule) == ("INSTANT_OUT_OF_RANGE", "A6")


# Who sees what.


@pytest.mark.rule("P5")
def test_the_sellers_history_tells_nothing_of_the_payment() -> None:
    """Another card with points, refused or not, and the provider's hints: the seller sees that they were, and no more."""
    scene = unshipped().answer(Result.DECLINED)
    scene.send("ship", "seller", **PARCEL)
    scene.send("pay_again", card="card-new", points_minor=99_999)
    scene.send("pay_again", card="card-new", points_minor=600)
    scene.settle()
    scene.send("ship", "seller", **PARCEL)
    refund(scene)
    scene.settle()
    for part in scene.order.refunds[0].parts:
        scene.hear(part.reference)
    told = " ".join(each.model_dump_json() for each in history_view(scene.order.history, Actor.SELLER))
    assert "pay_again" in told
    assert not [word for word in ("600", "99999", "99,999", "points", "/refund/", "/authorize") if word in told]
    own = " ".join(each.model_dump_json() for each in history_view(scene.order.history, Actor.OPERATOR))
    assert "600" in own


@pytest.mark.rule("V6", "S7", "G4")
def test_the_buyer_knows_the_seller_by_its_alias() -> None:
    """The buyer's view has the seller's alias for its mail address, and neither the ledger nor why the order was reviewed."""
    scene = shipped()
    seen = view(scene.order, scene.now, Actor.BUYER)
    assert seen == buyer_view(view(scene.order, scene.now))
    assert seen.seller.email != scene.order.policy.seller.email
    assert seen.seller.email.startswith("seller-")
    assert (seen.movements, seen.review, seen.available_at) == ((), None, None)
    assert seen.payment is not None


@pytest.mark.rule("C12", "V6")
def test_a_question_that_was_never_delivered_cancels_nothing() -> None:
    """The buyer's mail server refuses the question for good: no answer is waited for, the seller is told, it is in the history."""
    scene = unshipped()
    by = (T0 + 2 * DAY).isoformat()
    scene.send("send_message", "seller", text="Which colour?", answer_by=by)
    asked = next(each for each in scene.notices if each.kind is NoticeKind.MESSAGE)
    scene.not_delivered(asked)
    assert (scene.order.answer_by, scene.order.flags) == (None, frozenset({Flag.MAIL_REFUSED}))
    assert scene.mails(NoticeKind.MESSAGE_UNDELIVERED) == ["seller"]
    assert (scene.last.accepted, scene.last.detail) == (False, "mail refused for good: message to the buyer")
    assert scene.at(T0 + 2 * DAY).status is Status.UNSHIPPED


@pytest.mark.rule("C12")
def test_a_refused_mail_about_something_else_leaves_the_question_open() -> None:
    """Only the question itself, and the newest one, stops the clock when it could not be delivered."""
    scene = unshipped()
    by = (T0 + 2 * DAY).isoformat()
    scene.send("send_message", "seller", text="Which size?", answer_by=by)
    first = scene.notices[-1]
    scene.send("send_message", "seller", text="Which colour?", answer_by=by)
    confirmation = next(each for each in scene.notices if each.kind is NoticeKind.ORDER_CONFIRMATION)
    for lost in (first, confirmation):
        scene.not_delivered(lost)
        assert scene.order.answer_by is not None
    assert scene.at(T0 + 2 * DAY).cancellation.reason == "no_answer"


@pytest.mark.rule("C6")
def test_the_official_way_is_told_to_whom_asked() -> None:
    """The ready reply to a wish to cancel needs a wish."""
    scene = unshipped()
    assert refused(scene, "send_message", "seller", template="how_to_cancel").code == "TEMPLATE_NOT_OFFERED"
    scene.send("send_message", text="Please cancel", topic="cancellation_wish")
    assert code(scene, "send_message", "seller", template="how_to_cancel") is None
