"""The review by the marketplace (G4), items cancelled before shipment (C11), and the erasure of personal data (A7)."""

from typing import Any

import pytest
from domain_kit import (
    CARD_AND_POINTS,
    DAY,
    FIELDS,
    HOUR,
    MINUTE,
    PARCEL,
    PERSONAL,
    SECOND,
    T0,
    Json,
    Scene,
    cart,
    code,
    delivered,
    every_method,
    in_review,
    in_state,
    partly,
    pending,
    shipped,
    unshipped,
)
from refund_kit import amounts, refund, refused

from domain.deadlines import next_deadline
from domain.decide import Accepted
from domain.effects import Authorize, Capture, NoticeKind, Result, Void
from domain.order import Actor, Flag, ReviewStatus, Status
from domain.payment_state import PaymentStatus
from domain.views import view

ONE_B: Json = {"lines": [{"sku": "B", "quantity": 1}]}
CONSENT: Json = {"consent": "Hanako agreed by telephone"}


def cancel_items(scene: Scene, actor: str = "seller", **fields: Any) -> str | None:
    """Cancel items with consent; return the code of the refusal."""
    return code(scene, "cancel_items", actor, **{**ONE_B, **CONSENT, **fields})


@pytest.mark.rule("G4")
@pytest.mark.parametrize(("limit", "held"), [(2999, True), (3000, False), (None, False)])
def test_an_order_above_the_limit_is_held(limit: int | None, held: bool) -> None:
    """An order whose total is above the marketplace's limit is held from its placement on; one at the limit is not."""
    scene = Scene(cart(), every_method(review_above_minor=limit))
    assert (Flag.IN_REVIEW in scene.order.flags, scene.order.review is not None) == (held, held)
    assert scene.settle().status is (Status.PENDING if held else Status.UNSHIPPED)


@pytest.mark.rule("G4", "G1")
def test_an_order_that_is_paid_while_it_is_held_stays_pending() -> None:
    """The payment is authorised during the review: Pending, nobody is told, and the seller sees no buyer."""
    scene = in_review().settle()
    assert (scene.status, scene.order.payment.status) == (Status.PENDING, PaymentStatus.AUTHORIZED)
    assert (scene.order.verified_at, scene.notices) == (None, [])
    shown = view(scene.order, T0, Actor.SELLER)
    assert (shown.buyer, shown.address, shown.review) == (None, None, None)
    assert refused(scene, "ship", "seller", **PARCEL).code == "ORDER_PENDING"
    assert refused(scene, "cancel", "seller", reason="no_inventory").code == "ORDER_PENDING"


@pytest.mark.rule("G4", "G5", "G2")
def test_the_release_of_a_paid_order_verifies_it() -> None:
    """Released five days later: Unshipped from that instant, both are told, and the windows of shipping run from it."""
    scene = in_review().settle().at(T0 + 5 * DAY)
    assert code(scene, "release_review", "operator") is None
    review = scene.order.review
    assert review is not None
    assert (scene.status, review.status, review.ended_at) == (Status.UNSHIPPED, ReviewStatus.RELEASED, T0 + 5 * DAY)
    assert (scene.order.verified_at, scene.order.confirm_by) == (T0 + 5 * DAY, T0 + 12 * DAY)
    assert (scene.mails(NoticeKind.ORDER_CONFIRMATION), scene.mails(NoticeKind.SOLD_SHIP_NOW)) == (
        ["buyer"],
        ["seller"],
    )
    assert Flag.IN_REVIEW not in scene.order.flags


@pytest.mark.rule("G4", "G5", "G3")
@pytest.mark.parametrize("first", [None, Result.DECLINED])
def test_the_release_of_an_unpaid_order_waits_for_the_payment(first: Result | None) -> None:
    """Released before the payment is known: Pending until it is authorised, at once or with another card."""
    scene = in_review()
    if first:
        scene.answer(first).settle()
    assert code(scene, "release_review", "operator") is None
    assert (scene.status, scene.order.verified_at) == (Status.PENDING, None)
    if first:
        scene.send("pay_again", card="card-new")
    scene.at(T0 + MINUTE).settle()
    assert (scene.status, scene.order.verified_at) == (Status.UNSHIPPED, T0 + MINUTE)


@pytest.mark.rule("G4", "C9")
@pytest.mark.parametrize("paid", [True, False])
def test_a_refusal_after_review_cancels_the_order(paid: bool) -> None:
    """Refused: cancelled by the marketplace, not counted, the hold voided, also one that is authorised only later."""
    scene = in_review()
    if paid:
        scene.settle()
    assert code(scene, "refuse_review", "operator", note="Stolen card") is None
    ended = scene.cancellation
    assert (ended.actor, ended.reason, ended.counts_in_rate) == (Actor.OPERATOR, "review_refused", False)
    assert (scene.status, scene.order.flags, scene.mails(NoticeKind.ORDER_CANCELLED)) == (
        Status.CANCELLED,
        frozenset(),
        ["buyer"],
    )
    assert scene.settle().did(Void) != []
    assert not any(hold.live(scene.now) for hold in scene.partners.holds.values())
    assert scene.order.voids == ()


@pytest.mark.rule("G4", "G6")
def test_a_review_without_end_is_ended_by_the_processing_window() -> None:
    """Nobody releases or refuses: after 21 days the order is cancelled as unverified."""
    scene = in_review().settle().at(T0 + 21 * DAY - SECOND)
    assert scene.status is Status.PENDING
    assert scene.at(T0 + 21 * DAY).cancellation.reason == "payment_unverified"
    assert Flag.IN_REVIEW not in scene.order.flags


@pytest.mark.rule("G4")
def test_an_order_is_held_by_command() -> None:
    """The operator holds a Pending order: its payment does not verify it; it is released, and may be held again before it is."""
    scene = pending()
    assert code(scene, "hold_for_review", "operator", reason="unusual order") is None
    again = refused(scene, "hold_for_review", "operator", reason="once more")
    assert (again.code, again.rule) == ("ALREADY_IN_REVIEW", "G4")
    for name in ("release_review", "hold_for_review", "release_review"):
        assert code(scene, name, "operator", **FIELDS.get(name, {})) is None
    assert scene.settle().status is Status.UNSHIPPED


@pytest.mark.rule("G4")
@pytest.mark.parametrize("name", ["release_review", "refuse_review"])
@pytest.mark.parametrize("status", [Status.PENDING, Status.UNSHIPPED])
def test_a_review_that_is_not_cannot_end(name: str, status: Status) -> None:
    """An order that is not held is neither released nor refused, and the refusal says just that."""
    refusal = refused(in_state(status), name, "operator")
    assert (refusal.code, refusal.rule) == ("NOT_IN_REVIEW", "G4")


@pytest.mark.rule("G4")
@pytest.mark.parametrize("scene", [unshipped, partly, shipped])
def test_a_verified_order_is_not_held_any_more(scene: Any) -> None:
    """The review comes before the verification; afterwards it is refused, without the advice to ship it."""
    refusal = refused(scene(), "hold_for_review", "operator", reason="unusual order")
    assert "confirm the shipment" not in refusal.remedy


@pytest.mark.rule("G4")
@pytest.mark.parametrize("actor", ["buyer", "seller", "system"])
@pytest.mark.parametrize("name", ["hold_for_review", "release_review", "refuse_review"])
def test_reviews_are_the_operators(name: str, actor: str) -> None:
    """Neither buyer nor seller holds, releases or refuses."""
    assert refused(in_review(), name, actor, **FIELDS.get(name, {})).code == "NOT_ALLOWED"


@pytest.mark.rule("G4", "G2", "C1", "E1")
def test_the_buyer_edits_and_cancels_during_the_review() -> None:
    """The review takes nothing from the buyer: it edits, and cancels, within its windows."""
    scene = in_review().settle()
    assert code(scene, "edit", lines=[{"sku": "A", "quantity": 1}]) is None
    assert (scene.status, scene.order.total_minor) == (Status.PENDING, 2000)
    assert code(scene, "cancel") is None
    assert (scene.status, Flag.IN_REVIEW in scene.order.flags) == (Status.CANCELLED, False)


@pytest.mark.rule("C11", "S2", "P4")
def test_with_the_buyers_consent_the_seller_cancels_items() -> None:
    """Items go, with the consent recorded; lines, total and the later charge follow, the shipping fee stays, both are told."""
    scene = unshipped()
    verdict, dropped = scene.order.version, scene.order.line("B")
    assert dropped is not None and cancel_items(scene) is None
    assert ([(each.sku, each.quantity) for each in scene.order.lines], scene.order.total_minor) == ([("A", 2)], 2500)
    reduction = view(scene.order, T0).reductions[0]
    assert (dict(reduction.quantities), reduction.actor, reduction.consent) == (
        {"B": 1},
        Actor.SELLER,
        CONSENT["consent"],
    )
    # The item has left the order, and is known by its title still.
    assert dict(reduction.titles) == {"B": dropped.title}
    assert scene.mails(NoticeKind.ITEMS_CANCELLED) == ["buyer", "seller"]
    assert (scene.order.version > verdict, "telephone" in scene.last.detail, scene.did(Void)) == (True, False, [])
    scene.send("ship", "seller", **PARCEL)
    assert (scene.status, scene.partners.charged, scene.order.payment.captured_minor) == (Status.SHIPPED, 2500, 2500)
    refund(scene)
    assert amounts(scene) == [("A", 2, 2000, 500)]


@pytest.mark.rule("C11", "P4")
def test_the_stock_of_cancelled_items_is_given_free() -> None:
    """The record that stock follows is written anew with the units that remain, and only those."""
    scene = unshipped()
    scene.late(T0 + HOUR)
    assert cancel_items(scene, lines=[{"sku": "A", "quantity": 1}]) is None
    assert {each.sku: each.quantity for each in view(scene.order, scene.now).lines} == {"A": 1, "B": 1}


@pytest.mark.rule("C11")
@pytest.mark.parametrize("consent", [{"consent": None}, {"consent": ""}, {"consent": "   "}])
def test_without_consent_the_seller_cancels_nothing(consent: Json) -> None:
    """No consent, or an empty one: refused, the order stands as it was."""
    refusal = refused(unshipped(), "cancel_items", "seller", **{**ONE_B, **consent})
    assert refusal.code == ("CONSENT_REQUIRED" if consent["consent"] is None else "INVALID_COMMAND")
    assert refusal.rule == ("C11" if consent["consent"] is None else "D3")


@pytest.mark.rule("C11", "C1")
def test_the_buyer_cancels_items_itself_within_its_window() -> None:
    """Until a second before the end of the cancel window the buyer needs nobody; at its end it is too late."""
    end = T0 + 30 * MINUTE
    scene = unshipped().at(end - SECOND)
    assert code(scene, "cancel_items", **ONE_B) is None
    assert (scene.order.total_minor, scene.order.reductions[0].actor) == (2500, Actor.BUYER)
    refusal = refused(unshipped().at(end), "cancel_items", **ONE_B)
    assert (refusal.code, refusal.rule) == ("CANCEL_WINDOW_CLOSED", "C3")


@pytest.mark.rule("C11")
def test_the_buyers_own_cancellation_is_not_put_down_to_the_sellers_stock() -> None:
    """A buyer that names no reason has not said that the seller was out of stock."""
    scene = unshipped()
    scene.send("cancel_items", **ONE_B)
    assert scene.order.reductions[0].reason != "no_inventory"


@pytest.mark.rule("C11")
@pytest.mark.parametrize(
    ("fields", "code", "rule"),
    [
        ({"lines": [{"sku": "A", "quantity": 3}]}, "QUANTITY_EXCEEDED", "C11"),
        ({"lines": [{"sku": "Z", "quantity": 1}]}, "QUANTITY_EXCEEDED", "C11"),
        ({"lines": [{"sku": "A", "quantity": 2}, {"sku": "B", "quantity": 1}]}, "NOTHING_LEFT", "C11"),
        ({"lines": []}, "INVALID_COMMAND", "D3"),
        ({"lines": [{"sku": "A", "quantity": 0}]}, "INVALID_COMMAND", "D3"),
        ({"lines": [{"sku": "A", "quantity": 1}, {"sku": "A", "quantity": 1}]}, "INVALID_COMMAND", "D3"),
        ({"reason": "bored"}, "INVALID_COMMAND", "D3"),
    ],
    ids=str,
)
def test_items_that_are_not_there_cannot_be_cancelled(fields: Json, code: str, rule: str) -> None:
    """More than was ordered, what was not ordered, nothing, or everything: refused; all of it is a cancellation."""
    refusal = refused(unshipped(), "cancel_items", "seller", **{**ONE_B, **CONSENT, **fields})
    assert (refusal.code, refusal.rule) == (code, rule)


@pytest.mark.rule("C11", "G2")
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status.PENDING, "ORDER_PENDING"),
        (Status.PARTIALLY_SHIPPED, "ALREADY_SHIPPED"),
        (Status.SHIPPED, "ALREADY_SHIPPED"),
        (Status.DELIVERED, "ALREADY_DELIVERED"),
        (Status.CANCELLED, "ORDER_CANCELLED"),
        (Status.COMPLETED, "ORDER_COMPLETED"),
    ],
)
@pytest.mark.parametrize("actor", ["buyer", "seller"])
def test_items_are_cancelled_between_verification_and_shipment(status: Status, code: str, actor: str) -> None:
    """Before it is verified and once a shipment is confirmed nothing is cancelled in part."""
    assert refused(in_state(status), "cancel_items", actor, **ONE_B, **CONSENT).code == code


@pytest.mark.rule("C11")
@pytest.mark.parametrize("actor", ["operator", "system"])
def test_nobody_else_cancels_items(actor: str) -> None:
    """It is between buyer and seller."""
    assert refused(unshipped(), "cancel_items", actor, **ONE_B, **CONSENT).code == "NOT_ALLOWED"


@pytest.mark.rule("C11", "S2")
def test_a_lapsed_hold_is_renewed_for_what_remains() -> None:
    """The hold has lapsed after the items went: its renewal and the charge are of the new total."""
    scene = Scene()
    scene.partners.lasts = DAY
    scene.settle()
    cancel_items(scene)
    cancel_items(scene, lines=[{"sku": "A", "quantity": 1}])
    assert code(scene.at(T0 + 2 * DAY), "ship", "seller", **PARCEL) is None
    held = [each.amount_minor for each in scene.effects if isinstance(each, Authorize)]
    charged = [each.amount_minor for each in scene.effects if isinstance(each, Capture)]
    assert (held, charged, len(scene.order.reductions)) == ([3000, 1500], [1500], 2)


@pytest.mark.rule("C11", "P5")
def test_cancelled_items_leave_the_card_something_to_pay() -> None:
    """With the buyer's consent the total falls below the points: the charge takes them all but one minor unit."""
    scene = unshipped(cart(payment={"card": "card-ok", "points_minor": 2900}), every_method())
    scene.send("cancel_items", "seller", lines=[{"sku": "A", "quantity": 2}], consent="by mail")
    scene.send("ship", "seller", **PARCEL)
    charged = [(each.amount_minor, each.points_minor) for each in scene.effects if isinstance(each, Capture)]
    assert charged == [(1, 999)]


WRITTEN = ("telephone", "Too big", "Sorry, Hanako", "Hanako writes", "Nice shop", "Hanako's card", "PO-77")
"""What people write in `everything_written`, each by a part of it."""


def everything_written() -> Scene:
    """Return a delivered order into which personal data was written wherever people can write."""
    business = {"purchase_order_number": "PO-77"}
    scene = Scene(CARD_AND_POINTS | {"business": business, "order_number": "503-7777777-7777777"}, every_method())
    scene.send("hold_for_review", "operator", reason="Hanako's card is odd")
    scene.settle().send("release_review", "operator")
    scene.send("edit", shipping_address=cart()["shipping_address"] | {"line2": "Shibuya Tower 9"})
    cancel_items(scene)
    scene.at(T0 + HOUR).send("request_cancellation", note="Too big")
    scene.send("send_message", text="Hanako writes from hanako@buyers.example")
    scene.send("ship", "seller", **PARCEL)
    scene.send("deliver", "system")
    scene.send("request_return", note="Too big", lines=[{"sku": "A", "quantity": 1}])
    scene.send("decline_return", "seller", note="Too big? Sorry, Hanako")
    refund(scene, memo="Sorry, Hanako", lines=[{"sku": "A", "quantity": 1}])
    scene.send("rate", stars=5, comment="Nice shop")
    for part in scene.settle().order.refunds[0].parts:
        scene.partners.settle_refund(part.reference)
        scene.hear(part.reference)
    return scene


@pytest.mark.rule("A7")
def test_personal_data_is_erased_a_month_after_the_completion() -> None:
    """Thirty days after the order was closed names, addresses and whatever people wrote are gone; numbers and money stay."""
    scene = everything_written()
    assert all(each in scene.order.model_dump_json() for each in WRITTEN)
    closed = T0 + HOUR + 30 * DAY
    assert scene.at(closed).status is Status.COMPLETED
    scene.at(closed + 30 * DAY - SECOND)
    assert (scene.order.erased_at, scene.order.over) == (None, False)
    assert [each for each in WRITTEN + PERSONAL if each not in scene.order.model_dump_json()] == []
    before = scene.order
    scene.at(closed + 30 * DAY)
    assert (scene.order.erased_at, scene.order.over) == (closed + 30 * DAY, True)
    assert [each for each in WRITTEN + PERSONAL if each in scene.order.model_dump_json()] == []
    assert (scene.order.lines, scene.order.payment, scene.order.number) == (before.lines, before.payment, before.number)
    assert [each.amount_minor for each in scene.order.refunds] == [each.amount_minor for each in before.refunds]
    assert next_deadline(scene.order) is None
    for viewer in Actor:
        shown = view(scene.order, scene.now, viewer)
        assert (shown.buyer, shown.address, shown.erased_at) == (None, None, closed + 30 * DAY)


@pytest.mark.rule("A7", "C13")
def test_a_cancelled_order_is_erased_too() -> None:
    """A cancelled order keeps its data for thirty days, is written anew without it, and is over."""
    scene = unshipped().at(T0 + MINUTE)
    scene.send("cancel", note="Hanako has changed her mind")
    end = T0 + MINUTE + 30 * DAY
    scene.settle().at(end - SECOND)
    assert "changed her mind" in scene.order.model_dump_json()
    due = next_deadline(scene.order)
    assert due is not None
    verdict = scene.late(end).decide(due)
    assert isinstance(verdict.decision, Accepted)
    assert (verdict.decision.publish, scene.order.erased_at, scene.order.over) == (True, end, True)
    assert [each for each in (*PERSONAL, "changed her mind") if each in scene.order.model_dump_json()] == []


@pytest.mark.rule("A7", "A9")
def test_nothing_is_erased_while_a_refund_is_unpaid() -> None:
    """The refund is paid long after the return window: the thirty days begin when the order is closed, not before."""
    scene = delivered().at(T0 + 29 * DAY)
    refund(scene)
    scene.answer(Result.REFUND_FAILED).settle().at(T0 + 90 * DAY)
    assert (scene.status, scene.order.erased_at) == (Status.DELIVERED, None)
    scene.send("retry_refund", "seller", refund_id="R1")
    reference = scene.settle().order.refunds[0].parts[0].reference
    scene.partners.settle_refund(reference)
    scene.hear(reference).at(T0 + 120 * DAY - SECOND)
    assert (scene.status, scene.order.erased_at) == (Status.COMPLETED, None)
    assert scene.at(T0 + 120 * DAY).order.erased_at == T0 + 120 * DAY
