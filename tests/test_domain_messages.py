"""Messages between buyer and seller, the answer that is waited for (C12), and the buyer's rating (A8)."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from domain_kit import (
    DAY,
    HOUR,
    NUMBER,
    PARCEL,
    SECOND,
    T0,
    Scene,
    code,
    declined,
    delivered,
    in_review,
    in_state,
    partly,
    pending,
    policy,
    shipped,
    unshipped,
)
from refund_kit import refused, told

from domain.correspondence import MAX_MESSAGES
from domain.deadlines import Deadline, DeadlineName
from domain.effects import NoticeKind, Void
from domain.journal import Message, wants_turn_before
from domain.message import Template
from domain.order import Actor, Flag, Status
from domain.policy import PolicyError
from domain.views import view

BY = T0 + 2 * DAY
"""Until when the buyer is asked to answer in these tests."""


def say(scene: Scene, actor: str = "buyer", at: datetime | None = None, **fields: Any) -> str | None:
    """Send a message; return the code of its refusal."""
    return code(scene, "send_message", actor, at, **({"text": "Hello"} | fields))


def asked(until: datetime = BY) -> Scene:
    """Return an Unshipped order whose seller asked the buyer an hour after placement to answer by `until`."""
    scene = unshipped().at(T0 + HOUR)
    assert say(scene, "seller", answer_by=until.isoformat()) is None
    return scene


@pytest.mark.rule("V6")
@pytest.mark.parametrize("scene", [unshipped, partly, shipped, delivered])
def test_buyer_and_seller_write_to_each_other(scene: Any) -> None:
    """Each message is kept with the order, and the other side gets a notice of that message alone."""
    talk: Scene = scene()
    assert say(talk, text="Where is it?") is None
    assert say(talk, "seller", text="On its way,\nsee the tracking.") is None
    assert [(each.message_id, each.sender, each.text) for each in talk.order.messages] == [
        ("M1", "buyer", "Where is it?"),
        ("M2", "seller", "On its way,\nsee the tracking."),
    ]
    assert told(talk, NoticeKind.MESSAGE) == [("seller", "M1"), ("buyer", "M2")]
    assert "tracking" not in talk.last.detail


@pytest.mark.rule("V6", "C13", "G2")
@pytest.mark.parametrize(
    ("status", "code", "rule"),
    [
        (Status.PENDING, "ORDER_PENDING", "G2"),
        (Status.CANCELLED, "ORDER_CANCELLED", "C13"),
        (Status.COMPLETED, "ORDER_COMPLETED", "A9"),
    ],
)
@pytest.mark.parametrize("actor", ["buyer", "seller"])
def test_no_messages_about_pending_or_closed_orders(status: Status, code: str, rule: str, actor: str) -> None:
    """Messages about a cancelled order are refused and pointed to the customer service; before verification too."""
    refusal = refused(in_state(status), "send_message", actor, text="Hello?")
    assert (refusal.code, refusal.rule) == (code, rule)
    assert status is Status.PENDING or "customer service" in refusal.remedy


@pytest.mark.rule("V6")
@pytest.mark.parametrize(
    ("actor", "fields", "code"),
    [
        ("operator", {"text": "Hello"}, "NOT_ALLOWED"),
        ("system", {"text": "Hello"}, "NOT_ALLOWED"),
        ("buyer", {}, "INVALID_COMMAND"),
        ("buyer", {"text": ""}, "INVALID_COMMAND"),
        ("buyer", {"text": "  "}, "INVALID_COMMAND"),
        ("buyer", {"text": "x" * 1001}, "INVALID_COMMAND"),
        ("buyer", {"text": "a\u202eb"}, "INVALID_COMMAND"),
        ("seller", {"text": "Hello", "template": "how_to_cancel"}, "INVALID_COMMAND"),
        ("seller", {"template": "how_to_complain"}, "INVALID_COMMAND"),
        ("seller", {"text": "Hello", "answer_by": "2026-03-03T12:00:00"}, "INVALID_COMMAND"),
    ],
)
def test_a_message_is_one_readable_text_of_buyer_or_seller(actor: str, fields: dict[str, Any], code: str) -> None:
    """Others do not write; an empty, endless or unreadable text, or a text beside a template, is refused."""
    assert refused(unshipped(), "send_message", actor, **fields).code == code


@pytest.mark.rule("C6")
def test_the_official_way_is_offered_to_a_wish_to_cancel() -> None:
    """The buyer writes that it wants to cancel: the seller is offered the reply that shows the official way, until it ships."""
    scene = unshipped()
    assert view(scene.order, T0, Actor.SELLER).offered_replies == ()
    say(scene, topic="cancellation_wish")
    say(scene, "seller")
    assert view(scene.order, T0, Actor.SELLER).offered_replies == (Template.HOW_TO_CANCEL,)
    assert code(scene, "send_message", "seller", template="how_to_cancel") is None
    assert (scene.order.messages[-1].text, scene.order.messages[-1].template) == (None, Template.HOW_TO_CANCEL)
    say(scene)
    assert view(scene.order, T0, Actor.SELLER).offered_replies == ()
    say(scene, topic="cancellation_wish")
    scene.send("ship", "seller", **PARCEL)
    assert view(scene.order, T0, Actor.SELLER).offered_replies == ()
    assert (scene.status, Flag.BUYER_REQUESTED_CANCELLATION in scene.order.flags) == (Status.SHIPPED, False)


@pytest.mark.rule("C6")
@pytest.mark.parametrize(("scene", "actor"), [(unshipped, "buyer"), (partly, "seller"), (shipped, "seller")])
def test_the_template_is_for_sellers_of_unshipped_orders(scene: Any, actor: str) -> None:
    """The buyer has no template, and after a shipment there is no official way to show."""
    refusal = refused(scene(), "send_message", actor, template="how_to_cancel")
    assert (refusal.code, refusal.rule) == ("TEMPLATE_NOT_OFFERED", "C6")


@pytest.mark.rule("C12", "C9")
def test_silence_cancels_the_order_at_the_date() -> None:
    """The buyer does not answer: until the date nothing happens, at the date the order is cancelled and both are told."""
    scene = asked()
    assert (view(scene.order, scene.now).answer_by, scene.order.flags) == (BY, frozenset({Flag.ANSWER_DUE}))
    assert scene.at(BY - SECOND).status is Status.UNSHIPPED
    assert scene.at(BY).status is Status.CANCELLED
    ended = scene.cancellation
    assert (ended.actor, ended.reason, ended.at) == (Actor.SYSTEM, "no_answer", BY)
    assert scene.mails(NoticeKind.ORDER_CANCELLED) == ["buyer", "seller"]
    assert (scene.order.answer_by, Flag.ANSWER_DUE in scene.order.flags) == (None, False)
    scene.settle()
    assert (len(scene.did(Void)), scene.partners.charged) == (1, 0)


@pytest.mark.rule("C12")
def test_a_reply_in_time_stops_the_clock() -> None:
    """The buyer's message a second before the date is the answer: the order goes on."""
    scene = asked().at(BY - SECOND)
    assert say(scene) is None
    assert (scene.order.answer_by, scene.order.flags) == (None, frozenset())
    assert scene.at(BY + HOUR).status is Status.UNSHIPPED


@pytest.mark.rule("C12")
@pytest.mark.parametrize(("early", "in_time"), [(SECOND, True), (0 * SECOND, False), (-SECOND, False)])
def test_a_reply_read_late_counts_by_when_it_was_written(early: timedelta, in_time: bool) -> None:
    """Every worker was down across the date: the reply that was written before it goes first, a later one does not."""
    scene, written = asked().late(BY + HOUR), BY - early
    deadline = Deadline(DeadlineName.ANSWER_DUE, BY)
    payload = {"actor": "buyer", "text": "Yes, please send it.", "requested_at": written.isoformat()}
    reply = Message(name="send_message", payload=payload, message_id="m")
    assert wants_turn_before(reply, deadline, scene.now, scene.order) is in_time
    if in_time:
        scene.take(reply)
    assert scene.at(scene.now).status is (Status.UNSHIPPED if in_time else Status.CANCELLED)


@pytest.mark.rule("C12")
def test_a_reply_at_the_date_is_too_late_also_when_it_is_read_first() -> None:
    """The timer has not fired yet when the reply of that very instant is decided: the clock is not stopped by it."""
    scene = asked().late(BY)
    say(scene)
    assert scene.at(BY).status is Status.CANCELLED


@pytest.mark.rule("C12")
def test_a_question_that_is_read_after_its_date_cancels_nothing() -> None:
    """Every worker was down from the seller's question to its date: the buyer, who never saw it, loses no order by it."""
    scene = unshipped().late(BY + HOUR)
    say(scene, "seller", T0 + HOUR, answer_by=BY.isoformat())
    assert scene.at(scene.now).status is Status.UNSHIPPED


@pytest.mark.rule("C12", "E8")
@pytest.mark.parametrize("lines", [(), ({"sku": "A", "quantity": 1},)])
def test_the_shipment_ends_the_wait(lines: tuple[dict[str, Any], ...]) -> None:
    """The seller ships without an answer: nothing is waited for any more, and nothing shows that it is."""
    scene = asked()
    scene.send("ship", "seller", **PARCEL, lines=lines)
    assert Flag.ANSWER_DUE not in scene.order.flags
    assert view(scene.order, scene.now).answer_by is None
    assert scene.at(BY).order.cancellation is None


@pytest.mark.rule("C12")
def test_the_seller_may_move_the_date_and_write_besides() -> None:
    """A message of the seller without a date leaves the date as it is; one with another date moves it."""
    scene = asked()
    say(scene, "seller")
    assert scene.order.answer_by == BY
    say(scene, "seller", answer_by=(BY + DAY).isoformat())
    assert scene.at(BY).status is Status.UNSHIPPED
    assert scene.at(BY + DAY).status is Status.CANCELLED


@pytest.mark.rule("C12", "C8")
@pytest.mark.parametrize(
    ("until", "good"),
    [
        (T0 + HOUR + DAY - SECOND, False),
        (T0 + HOUR + DAY, True),
        (T0 + 9 * DAY - SECOND, True),
        (T0 + 9 * DAY, False),
        (T0 - DAY, False),
    ],
)
def test_the_date_leaves_the_buyer_a_day_and_lies_in_the_confirm_window(until: datetime, good: bool) -> None:
    """The buyer has at least a day to answer, and the date comes before the marketplace would cancel anyway."""
    scene = unshipped().at(T0 + HOUR)
    if good:
        assert say(scene, "seller", answer_by=until.isoformat()) is None
    else:
        refusal = refused(scene, "send_message", "seller", text="Answer!", answer_by=until.isoformat())
        assert (refusal.code, refusal.rule) == ("INSTANT_OUT_OF_RANGE", "C12")
        assert "2026-03-02 13:00:00 UTC to 2026-03-10 12:00:00 UTC" in refusal.message


@pytest.mark.rule("C12")
@pytest.mark.parametrize(
    ("scene", "actor", "code"),
    [
        (unshipped, "buyer", "NOT_ALLOWED"),
        (partly, "seller", "NO_TIME_TO_ANSWER"),
        (shipped, "seller", "NO_TIME_TO_ANSWER"),
    ],
)
def test_only_the_seller_of_an_unshipped_order_sets_a_date(scene: Any, actor: str, code: str) -> None:
    """The buyer sets no date, and after a shipment there is nothing to cancel."""
    refusal = refused(scene(), "send_message", actor, text="Answer!", answer_by=BY.isoformat())
    assert (refusal.code, refusal.rule) == (code, "C12")


@pytest.mark.rule("V6")
def test_an_order_keeps_so_many_messages_and_no_more() -> None:
    """Message upon message of one side: past the limit its messages are refused, and the other side still writes."""
    for actor, other in (("seller", "buyer"), ("buyer", "seller")):
        scene = unshipped()
        for _ in range(MAX_MESSAGES):
            assert say(scene, actor) is None
        refusal = refused(scene, "send_message", actor, text="One more")
        assert (refusal.code, refusal.rule) == ("MESSAGE_LIMIT", "V6")
        assert say(scene, other) is None


@pytest.mark.rule("C12", "V6")
def test_a_seller_that_fills_the_book_does_not_silence_the_buyer() -> None:
    """The seller's last possible message asks for an answer: the buyer's answer is taken, though it has used up its own."""
    scene = unshipped()
    for _ in range(MAX_MESSAGES):
        say(scene)
    for _ in range(MAX_MESSAGES - 1):
        say(scene, "seller")
    say(scene, "seller", answer_by=BY.isoformat())
    assert say(scene) is None
    assert scene.at(BY).status is Status.UNSHIPPED


@pytest.mark.rule("A8")
@pytest.mark.parametrize("status", [Status.PARTIALLY_SHIPPED, Status.SHIPPED, Status.DELIVERED, Status.COMPLETED])
def test_the_buyer_rates_once(status: Status) -> None:
    """From the shipment on the buyer rates the seller, once per order."""
    scene = in_state(status)
    assert code(scene, "rate", stars=4, comment="Well packed") is None
    rating = view(scene.order, scene.now).rating
    assert rating is not None
    assert (rating.stars, rating.comment, rating.rated_at) == (4, "Well packed", scene.now)
    assert "Well" not in scene.last.detail
    again = refused(scene, "rate", stars=1)
    assert (again.code, again.rule) == ("ALREADY_RATED", "A8")


@pytest.mark.rule("A8")
@pytest.mark.parametrize(
    ("scene", "actor", "stars", "code"),
    [
        (shipped, "buyer", 0, "INVALID_COMMAND"),
        (shipped, "buyer", 6, "INVALID_COMMAND"),
        (shipped, "buyer", 4.5, "INVALID_COMMAND"),
        (shipped, "seller", 5, "NOT_ALLOWED"),
        (shipped, "operator", 5, "NOT_ALLOWED"),
        (pending, "buyer", 5, "NOT_SHIPPED"),
        (declined, "buyer", 5, "NOT_SHIPPED"),
        (unshipped, "buyer", 5, "NOT_SHIPPED"),
    ],
)
def test_a_rating_is_of_one_to_five_stars_by_the_buyer(scene: Any, actor: str, stars: object, code: str) -> None:
    """No other number of stars, nobody else, and not before there is something to rate."""
    assert refused(scene(), "rate", actor, stars=stars).code == code


def cancelled_by(name: str) -> Scene:
    """Return an order that was cancelled in the way named."""
    scene = unshipped()
    match name:
        case "seller":
            scene.send("cancel", "seller", reason="no_inventory")
        case "buyer":
            scene.send("cancel")
        case "seller, asked by the buyer":
            scene.at(T0 + HOUR).send("request_cancellation")
            scene.send("accept_cancellation", "seller")
        case "unconfirmed":
            scene.at(T0 + 9 * DAY)
        case "unverified":
            scene = declined().at(T0 + 21 * DAY)
        case "refused":
            scene = in_review()
            scene.send("refuse_review", "operator")
    return scene


@pytest.mark.rule("C13", "A8")
@pytest.mark.parametrize("how", ["seller", "seller, asked by the buyer", "unconfirmed"])
def test_a_cancellation_by_the_seller_is_rated(how: str) -> None:
    """The order was cancelled by the seller, or because it never confirmed: the buyer rates it, once."""
    scene = cancelled_by(how)
    assert scene.status is Status.CANCELLED
    assert code(scene, "rate", stars=1) is None
    assert refused(scene, "rate", stars=1).code == "ALREADY_RATED"


@pytest.mark.rule("C13", "A8")
@pytest.mark.parametrize("how", ["buyer", "unverified", "refused"])
def test_a_cancellation_without_the_seller_is_not_rated(how: str) -> None:
    """The order was cancelled by the buyer or the marketplace: there is nothing to rate the seller for."""
    scene = cancelled_by(how)
    assert scene.status is Status.CANCELLED
    refusal = refused(scene, "rate", stars=1)
    assert (refusal.code, refusal.rule) == ("RATING_NOT_OPEN", "C13")
    assert NUMBER in refusal.message


@pytest.mark.rule("V7")
@pytest.mark.parametrize(
    ("unwanted", "mailed"),
    [("", ["seller"]), ("message", []), ("case_changed", ["seller"])],
    ids=["all", "none", "other"],
)
def test_a_seller_is_mailed_as_it_prefers(unwanted: str, mailed: list[str]) -> None:
    """A seller that does without the mails of messages gets none of them, and all the others; the buyer gets its own."""
    wish = f'handling_time = "2d"\nunwanted_notices = ["{unwanted}"]' if unwanted else 'handling_time = "2d"'
    scene = unshipped(given=policy(('handling_time = "2d"', wish)))
    assert say(scene) is None
    assert scene.mails(NoticeKind.MESSAGE) == mailed
    scene.at(T0 + 3 * DAY)
    assert scene.mails(NoticeKind.CONFIRM_WARNING) == ["seller"]


@pytest.mark.rule("V7")
def test_an_unknown_preference_is_refused() -> None:
    """A notice that no seller can do without is no preference: the policy names the field and what there is."""
    with pytest.raises(PolicyError, match="unwanted_notices"):
        policy(('handling_time = "2d"', 'handling_time = "2d"\nunwanted_notices = ["confirm_warning"]'))
