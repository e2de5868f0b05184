"""What is told, kept and posted after shipment: bounced refunds, consent, views, questions that were lost, old releases."""

from typing import Any

import pytest
from domain_kit import DAY, PARCEL, T0, Json, Scene, code, delivered, shipped, unshipped
from refund_kit import refund, refused

from domain.effects import NoticeKind, PayRefund, Result
from domain.erasure import erased
from domain.journal import Message
from domain.movements import MovementKind, movements
from domain.order import Actor, Flag, Status
from domain.releases import is_later_command, receive_as_before
from domain.views import buyer_view, history_view, view

A1: Json = {"lines": [{"sku": "A", "quantity": 1}]}
A2: Json = {"lines": [{"sku": "A", "quantity": 2}]}
B1: Json = {"lines": [{"sku": "B", "quantity": 1}]}
SECOND_PARCEL: Json = {"carrier": "Sagawa", "tracking_number": "T-2"}


def in_two_parcels(first: Json, second: Json) -> Scene:
    """Return an order that was sent in two parcels, neither delivered."""
    scene = unshipped()
    assert code(scene, "ship", "seller", **PARCEL, **first) is None
    assert code(scene, "ship", "seller", **SECOND_PARCEL, **second) is None
    return scene.settle()


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
    scene.decide(pending.model_copy(update={"result": Result.REFUND_PAID}))
    assert scene.order.refunds[0].status.value == "failed"
    assert code(scene, "retry_refund", "seller", refund_id="R1") is None


@pytest.mark.rule("S8", "R3", "A7")
def test_the_buyers_consent_is_kept_with_a_refund() -> None:
    """What is refunded instead of shipped: when and how the buyer agreed is on the refund, until it is erased."""
    scene = in_two_parcels(A2, B1)
    assert refund(scene, "goodwill", consent="by mail of 1 March", **B1) is None
    assert scene.order.refunds[0].consent == "by mail of 1 March"
    assert "mail of 1" not in scene.last.detail
    assert "mail of 1" not in erased(scene.order, scene.now).model_dump_json()


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


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("refund", {"actor": "seller", "reason": "goodwill", "consent": "by mail"}),
        ("ship", {"actor": "seller", "carrier": "Y", "tracking_number": "1", "expected_address": "0" * 64}),
        ("payment_event", {"actor": "system", "reference": "x", "event": "payment.paid", "fault": "forged"}),
    ],
)
def test_a_field_that_an_earlier_release_did_not_know_is_refused_when_its_history_replays(
    name: str, fields: Json
) -> None:
    """An order of the second release refused such a command as unreadable; one that is placed today takes it."""
    now = shipped().order
    before = now.with_(policy=now.policy.model_copy(update={"revision": 1}))
    message = Message(name=name, payload=fields, message_id="m")
    assert (is_later_command(before, message), is_later_command(now, message)) == (True, False)
    verdict = receive_as_before(before, message, T0)
    assert verdict.refusal is not None
    assert (verdict.refusal.code, verdict.decision) == ("INVALID_COMMAND", None)
    without = {key: value for key, value in fields.items() if key not in ("consent", "expected_address", "fault")}
    assert not is_later_command(before, Message(name=name, payload=without, message_id="m"))
