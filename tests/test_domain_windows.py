"""Every window a second before its end, at it and a second after, judged by when a person asked and not by the clock."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from domain_kit import (
    ALL_STATES,
    DAY,
    HOUR,
    MINUTE,
    NEW_ADDRESS,
    PARCEL,
    SECOND,
    T0,
    cart,
    code,
    declined,
    delivered,
    in_state,
    partly,
    pending,
    policy,
    shipped,
    unshipped,
)

from domain.deadlines import Deadline, DeadlineName, acting_deadline, deadlines, next_deadline
from domain.effects import NoticeKind, Result
from domain.journal import Message, wants_turn_before
from domain.order import Actor, Flag, Status

EDGES = [(-SECOND, True), (timedelta(), False), (SECOND, False)]
EDGE_IDS = ["a second before", "at the end", "a second after"]
edges = pytest.mark.parametrize(("offset", "inside"), EDGES, ids=EDGE_IDS)
LONG = cart(seller_id="S-200")  # auto-approves for 120 minutes
MARKETPLACE_SHIPS = cart(seller_id="S-200", fulfilment="marketplace")
EDIT_END, CANCEL_END = T0 + 5 * MINUTE, T0 + 30 * MINUTE


@pytest.mark.rule("E1", "E4", "E9")
@pytest.mark.parametrize("start", [pending, unshipped])
@edges
def test_the_buyer_edits_until_the_edit_window_ends(start: Any, offset: timedelta, inside: bool) -> None:
    """The buyer's edit is accepted until 5 minutes after placement; from then it is refused with what to do instead."""
    scene = start().at(EDIT_END + offset)
    refusal = scene.send("edit", shipping_address=NEW_ADDRESS)
    assert (refusal is None) is inside
    assert (scene.order.address.city == "Osaka") is inside
    if refusal is not None:
        assert (refusal.code, refusal.rule) == ("EDIT_WINDOW_CLOSED", "E4")
        assert "12:05:00 UTC" in refusal.message
        assert "cancel" in refusal.remedy
        assert "new order" in refusal.remedy


@pytest.mark.rule("C1", "C3")
@pytest.mark.parametrize("name", ["cancel", "request_cancellation"])
@pytest.mark.parametrize("start", [pending, unshipped])
@edges
def test_the_buyer_cancels_alone_until_the_cancel_window_ends(
    start: Any, name: str, offset: timedelta, inside: bool
) -> None:
    """The buyer's cancellation is at once until 30 minutes after placement; from then only a request is taken."""
    scene = start().at(CANCEL_END + offset)
    before = scene.status
    refused = code(scene, name)
    if inside:
        assert (refused, scene.status) == (None, Status.CANCELLED)
        return
    assert scene.status is before
    assert refused == (None if name == "request_cancellation" else "CANCEL_WINDOW_CLOSED")
    assert (Flag.BUYER_REQUESTED_CANCELLATION in scene.order.flags) is (name == "request_cancellation")


@pytest.mark.rule("C1", "C3")
def test_a_late_cancellation_is_told_the_limit_and_the_way() -> None:
    """The buyer who cancels too late is told until when it could, after how long, and to file a request."""
    refusal = unshipped().at(CANCEL_END).send("cancel")
    assert refusal is not None
    assert "12:30:00 UTC" in refusal.message
    assert "30m after placement" in refusal.message
    assert "request" in refusal.remedy
    assert refusal.rule == "C3"


@pytest.mark.rule("C2")
@pytest.mark.parametrize("name", ["cancel", "request_cancellation"])
@edges
def test_a_sellers_auto_approval_is_longer(name: str, offset: timedelta, inside: bool) -> None:
    """The buyer of a seller that auto-approves for two hours cancels at once until they are over."""
    scene = unshipped(LONG).at(T0 + 2 * HOUR + offset)
    code(scene, name)
    assert (scene.status is Status.CANCELLED) is inside


@pytest.mark.rule("C2")
@edges
def test_auto_approval_is_not_for_what_the_marketplace_ships(offset: timedelta, inside: bool) -> None:
    """The buyer of a marketplace-fulfilled order has the plain cancel window, whatever its seller auto-approves."""
    scene = unshipped(MARKETPLACE_SHIPS).at(CANCEL_END + offset)
    assert code(scene, "cancel") == (None if inside else "CANCEL_WINDOW_CLOSED")


@pytest.mark.rule("G6", "C9")
@pytest.mark.parametrize("start", [pending, declined])
@edges
def test_an_unverified_order_ends_with_the_processing_window(start: Any, offset: timedelta, inside: bool) -> None:
    """The marketplace cancels an order still unverified 21 days after placement; the buyer is told, the seller unharmed."""
    end = T0 + 21 * DAY
    scene = start().at(end + offset)
    assert (scene.status is Status.PENDING) is inside
    if not inside:
        cancellation = scene.cancellation
        assert (cancellation.actor, cancellation.reason) == (Actor.SYSTEM, "payment_unverified")
        assert (cancellation.at, cancellation.counts_in_rate) == (end, False)
        assert scene.mails(NoticeKind.ORDER_CANCELLED) == ["buyer"]


@pytest.mark.rule("C7", "S3")
@pytest.mark.parametrize("start", [unshipped, partly])
@edges
def test_the_ship_date_passes(start: Any, offset: timedelta, inside: bool) -> None:
    """Once the expected ship date has passed and not everything is confirmed, the order is late and the seller warned."""
    scene = start().at(T0 + 2 * DAY + offset)
    nothing_confirmed = scene.status is Status.UNSHIPPED
    assert (Flag.LATE_SHIPMENT in scene.order.flags) is not inside
    assert (Flag.CONFIRM_SHIPMENT in scene.order.flags) is (not inside and nothing_confirmed)
    assert scene.mails(NoticeKind.CONFIRM_WARNING) == (["seller"] if not inside and nothing_confirmed else [])


@pytest.mark.rule("S3")
def test_everything_confirmed_in_time_is_never_late() -> None:
    """The seller that confirms everything a second before the expected ship date has no late shipment."""
    scene = unshipped().at(T0 + 2 * DAY - SECOND)
    scene.send("ship", "seller", **PARCEL)
    assert scene.at(T0 + 20 * DAY).order.flags == frozenset()


@pytest.mark.rule("C8", "C9")
@edges
def test_an_unconfirmed_order_ends_with_the_confirm_window(offset: timedelta, inside: bool) -> None:
    """The marketplace cancels what is unconfirmed 7 days after the ship date, and it counts against the seller."""
    end = T0 + 9 * DAY
    scene = unshipped().at(end + offset)
    assert (scene.status is Status.UNSHIPPED) is inside
    assert code(scene, "ship", "seller", **PARCEL) == (None if inside else "ORDER_CANCELLED")
    if not inside:
        cancellation = scene.cancellation
        assert (cancellation.actor, cancellation.at, cancellation.counts_in_rate) == (Actor.SYSTEM, end, True)
        assert cancellation.reason == "shipment_unconfirmed"
        assert sorted(scene.mails(NoticeKind.ORDER_CANCELLED)) == ["buyer", "seller"]


@pytest.mark.rule("C8")
@edges
def test_a_confirmation_is_judged_by_when_it_was_requested(offset: timedelta, inside: bool) -> None:
    """The seller's confirmation that meets an overdue order is judged by its own time, and a late one is refused."""
    end = T0 + 9 * DAY
    scene = unshipped().late(end + HOUR)
    refusal = scene.send("ship", "seller", at=end + offset, **PARCEL)
    assert (refusal is None) is inside
    if refusal is not None:
        assert (refusal.code, refusal.rule) == ("CONFIRM_WINDOW_CLOSED", "C8")
        assert scene.partners.charged == 0


@pytest.mark.rule("S4")
def test_a_partly_confirmed_order_outlives_the_confirm_window() -> None:
    """A partly confirmed order is not cancelled when the confirm window ends; its rest may be shipped later."""
    scene = partly().at(T0 + 30 * DAY)
    assert scene.status is Status.PARTIALLY_SHIPPED
    assert scene.order.cancellation is None
    assert code(scene, "ship", "seller", **PARCEL) is None
    assert scene.order.status is Status.SHIPPED


@pytest.mark.rule("A10")
@edges
def test_a_parcel_never_delivered_counts_as_delivered(offset: timedelta, inside: bool) -> None:
    """A shipped order of which the carrier says nothing is Delivered 21 days after its last confirmation."""
    scene = partly().at(T0 + 3 * DAY)
    scene.send("ship", "seller", **PARCEL)
    end = T0 + 24 * DAY
    scene.at(end + offset)
    assert (scene.status is Status.SHIPPED) is inside
    assert scene.order.delivered_at == (None if inside else end)


@pytest.mark.rule("A9")
@edges
def test_a_delivered_order_is_completed_after_the_return_window(offset: timedelta, inside: bool) -> None:
    """A delivered order is Completed 30 days after its delivery."""
    scene = shipped().at(T0 + 4 * DAY)
    scene.send("deliver", "system")
    end = T0 + 34 * DAY
    scene.at(end + offset)
    assert (scene.status is Status.DELIVERED) is inside
    assert scene.order.completed_at == (None if inside else end)


@pytest.mark.rule("C1", "E1")
@pytest.mark.parametrize(
    ("name", "fields", "end"), [("cancel", {}, CANCEL_END), ("edit", {"shipping_address": NEW_ADDRESS}, EDIT_END)]
)
@edges
def test_a_command_is_judged_by_when_it_was_requested(
    name: str, fields: dict[str, Any], end: datetime, offset: timedelta, inside: bool
) -> None:
    """A buyer who asked in time is served in time though every worker was down across the deadline; a late one is not."""
    scene = unshipped().late(end + HOUR)
    assert (code(scene, name, at=end + offset, **fields) is None) is inside
    entry = scene.last
    assert (entry.at, entry.recorded_at) == (end + offset, end + HOUR)


def test_a_command_stamped_in_the_future_is_judged_by_the_clock() -> None:
    """A command that claims a later time than the order's own clock is judged by the clock."""
    scene = unshipped().late(T0 + MINUTE)
    assert code(scene, "cancel", at=T0 + DAY) is None
    assert scene.cancellation.at == T0 + MINUTE


def test_a_command_stamped_before_placement_is_judged_by_placement() -> None:
    """A command that claims a time before the order existed is judged by its placement."""
    scene = unshipped().late(T0 + DAY)
    assert code(scene, "cancel", at=T0 - DAY) is None
    assert scene.cancellation.at == T0


def test_a_command_without_a_stamp_is_judged_by_the_clock() -> None:
    """A command typed into the console, without a time, is judged by the order's own clock."""
    for now, accepted in ((CANCEL_END - SECOND, True), (CANCEL_END, False)):
        scene = unshipped().late(now)
        verdict = scene.take(Message(name="cancel", payload={"actor": "buyer"}, message_id="m"))
        assert (verdict.refusal is None) is accepted


def test_a_stamp_in_another_zone_is_the_same_instant() -> None:
    """A stamp with another offset is judged as the instant that it is."""
    scene = unshipped().late(T0 + DAY)
    payload = {"actor": "buyer", "requested_at": "2026-03-01T21:29:59+09:00"}
    assert scene.take(Message(name="cancel", payload=payload, message_id="m")).refusal is None


@pytest.mark.parametrize(
    ("payload", "first"),
    [
        ({"actor": "buyer", "requested_at": "2026-03-01T12:29:59Z"}, True),
        ({"actor": "buyer", "requested_at": "2026-03-01T12:30:00Z"}, False),
        ({"actor": "buyer", "requested_at": "2020-01-01T00:00:00Z"}, True),
        ({"actor": "buyer", "requested_at": "2030-01-01T00:00:00Z"}, False),
        ({"actor": "buyer"}, False),
        ({"actor": "king", "requested_at": "2026-03-01T12:29:59Z"}, False),
        ("rubbish", False),
    ],
    ids=["in time", "at the deadline", "before placement", "in the future", "no stamp", "unreadable", "rubbish"],
)
def test_only_a_message_requested_before_a_deadline_goes_first(payload: object, first: bool) -> None:
    """A waiting command goes before a deadline if and only if it was requested before it."""
    scene = pending().late(CANCEL_END + HOUR)
    due = next(each for each in deadlines(scene.order) if each.name is DeadlineName.CANCEL_WINDOW_CLOSED)
    message = Message(name="cancel", payload=payload, message_id="m")
    assert wants_turn_before(message, due, scene.now, scene.order) is first


@pytest.mark.rule("E6")
def test_the_operator_extends_the_edit_window() -> None:
    """The operator's extension counts from the window's end: the buyer edits until then, and the timer moves at once."""
    scene = unshipped()
    assert code(scene, "extend_edit", "operator", minutes=10) is None
    assert next_deadline(scene.order) == Deadline(DeadlineName.EDIT_WINDOW_CLOSED, T0 + 15 * MINUTE)
    assert code(scene.at(T0 + 15 * MINUTE - SECOND), "edit", shipping_address=NEW_ADDRESS) is None
    assert code(scene.at(T0 + 15 * MINUTE), "edit", shipping_option="express") == "EDIT_WINDOW_CLOSED"


@pytest.mark.rule("E6")
def test_the_operator_reopens_a_closed_edit_window() -> None:
    """An extension after the window closed counts from when it was asked for, and its end is a deadline again."""
    scene = unshipped().at(T0 + HOUR)
    assert DeadlineName.EDIT_WINDOW_CLOSED in scene.order.passed
    assert code(scene, "extend_edit", "operator", minutes=10) is None
    assert scene.order.edit_until == T0 + HOUR + 10 * MINUTE
    assert code(scene, "edit", shipping_address=NEW_ADDRESS) is None
    scene.at(T0 + HOUR + 10 * MINUTE)
    assert code(scene, "edit", shipping_option="express") == "EDIT_WINDOW_CLOSED"
    entries = [each for each in scene.order.history if each.name == DeadlineName.EDIT_WINDOW_CLOSED]
    assert [each.at for each in entries] == [EDIT_END, T0 + HOUR + 10 * MINUTE]


@pytest.mark.rule("E6")
def test_extensions_have_a_limit_in_all() -> None:
    """The operator extends by a day in all: the last minute is accepted, one more refused with the latest instant."""
    scene = unshipped()
    assert code(scene, "extend_edit", "operator", minutes=1439) is None
    assert code(scene, "extend_edit", "operator", minutes=1) is None
    refusal = scene.send("extend_edit", "operator", minutes=1)
    assert refusal is not None
    assert (refusal.code, refusal.rule) == ("EXTENSION_TOO_LONG", "E6")
    assert "2026-03-02 12:05:00 UTC" in refusal.message
    assert scene.order.edit_until == EDIT_END + DAY


@pytest.mark.rule("E6")
@pytest.mark.parametrize("minutes", [0, -5, 1441, 1.5, True, "10"])
def test_an_extension_of_no_length_is_refused(minutes: object) -> None:
    """The operator's extension by nothing, backwards, too far or by no whole minutes is refused."""
    assert code(unshipped(), "extend_edit", "operator", minutes=minutes) == "INVALID_COMMAND"


@pytest.mark.rule("E8")
@pytest.mark.parametrize("status", [each for each in ALL_STATES if each not in (Status.PENDING, Status.UNSHIPPED)])
def test_a_confirmation_or_cancellation_ends_the_windows(status: Status) -> None:
    """Once a shipment is confirmed or the order cancelled, the edit and cancel windows are over, though not in time."""
    scene = in_state(status)
    names = {each.name for each in deadlines(scene.order)}
    assert not names & {DeadlineName.EDIT_WINDOW_CLOSED, DeadlineName.CANCEL_WINDOW_CLOSED}
    assert code(scene, "edit", at=T0, shipping_address=NEW_ADDRESS) is not None
    assert code(scene, "cancel", at=T0) is not None


@pytest.mark.rule("C8", "G2", "P7")
def test_a_late_verification_moves_the_confirm_window() -> None:
    """An order verified ten days late can be confirmed for seven days from then; its expected ship date stays."""
    scene = pending().at(T0 + 10 * DAY).settle()
    assert scene.order.expected_ship_at == T0 + 2 * DAY
    assert scene.order.confirm_by == T0 + 17 * DAY
    assert scene.at(T0 + 17 * DAY - SECOND).status is Status.UNSHIPPED
    assert scene.at(T0 + 17 * DAY).status is Status.CANCELLED


@pytest.mark.rule("C8")
def test_a_verification_in_time_moves_nothing() -> None:
    """An order verified before its expected ship date keeps the confirm window that starts there."""
    scene = pending().at(T0 + DAY).settle()
    assert scene.order.confirm_by == T0 + 9 * DAY


@pytest.mark.parametrize("status", ALL_STATES)
def test_deadlines_are_absolute_and_sorted(status: Status) -> None:
    """The deadlines of an order do not depend on when they are asked for, and the earliest comes first."""
    scene = in_state(status)
    found = deadlines(scene.order)
    assert list(found) == sorted(found, key=lambda each: each.at)
    assert next_deadline(scene.order) == (found[0] if found else None)
    scene.late(scene.now + SECOND).send("cancel", "system")
    assert deadlines(scene.order) == found


def test_the_deadlines_of_a_fresh_order() -> None:
    """A Pending order has the edit, cancel and processing windows before it, and operators search by the last."""
    order = pending().order
    assert [(each.name.value, each.at) for each in deadlines(order)] == [
        ("edit_window_closed", T0 + 5 * MINUTE),
        ("cancel_window_closed", T0 + 30 * MINUTE),
        ("processing_window_closed", T0 + 21 * DAY),
    ]
    acting = acting_deadline(order)
    assert acting is not None
    assert acting.name is DeadlineName.PROCESSING_WINDOW_CLOSED


@pytest.mark.rule("S4")
def test_the_deadline_that_operators_search_by() -> None:
    """Operators find an unshipped order by its confirm window, and a partly shipped one by none: nothing happens by itself."""
    due = acting_deadline(unshipped().order)
    assert due == Deadline(DeadlineName.CONFIRM_WINDOW_CLOSED, T0 + 9 * DAY)
    assert acting_deadline(partly().order) is None
    assert acting_deadline(in_state(Status.CANCELLED).order) is None


def test_what_a_deadline_does_is_dated_at_the_deadline() -> None:
    """A deadline noticed three days late, for the workers were down, is in the history at its own instant."""
    scene = unshipped().late(T0 + 12 * DAY)
    while (due := next_deadline(scene.order)) is not None and due.at <= scene.now:
        scene.decide(due)
    assert scene.cancellation.at == T0 + 9 * DAY
    assert (scene.last.at, scene.last.recorded_at) == (T0 + 9 * DAY, T0 + 12 * DAY)
    past = delivered().late(T0 + 99 * DAY).at(T0 + 99 * DAY)
    assert (past.order.completed_at, past.order.erased_at) == (T0 + 30 * DAY, T0 + 60 * DAY)


def test_a_refused_placement_has_no_deadlines() -> None:
    """An order that was refused at placement waits for nothing."""
    scene = pending().answer(Result.OUT_OF_STOCK).settle()
    assert scene.order.rejected is not None
    assert deadlines(scene.order) == ()


def test_windows_of_the_policy_are_the_orders() -> None:
    """An order placed under other windows has other deadlines."""
    given = policy(('edit_window = "5m"', 'edit_window = "1m"'), ('cancel_window = "30m"', 'cancel_window = "1h"'))
    scene = unshipped(given=given)
    assert [each.at for each in deadlines(scene.order)[:2]] == [T0 + MINUTE, T0 + HOUR]
