"""The windows beside the order's own, at their edges: store payments, answers, cases, settlement, refunds, retention."""

from datetime import timedelta
from typing import Any

import pytest
from domain_kit import (
    DAY,
    HOUR,
    KONBINI,
    PARCEL,
    PERSONAL,
    SECOND,
    T0,
    Scene,
    awaiting,
    code,
    delivered,
    every_method,
    in_state,
    partly,
    policy,
    shipped,
    unshipped,
)

from domain.case import CaseStatus
from domain.deadlines import DeadlineName, acting_deadline, deadlines, next_deadline
from domain.effects import NoticeKind
from domain.movements import MovementKind, movements
from domain.order import Actor, Flag, Status
from domain.payment_state import PaymentStatus
from domain.refund import RefundStatus

EDGES = [(-SECOND, True), (timedelta(), False), (SECOND, False)]
edges = pytest.mark.parametrize(("offset", "inside"), EDGES, ids=["a second before", "at the end", "a second after"])


@pytest.mark.rule("G7", "C9")
@edges
def test_a_store_payment_is_waited_for_until_its_due_date(offset: timedelta, inside: bool) -> None:
    """The marketplace cancels what is not paid at the store by the due date; it is not counted against the seller."""
    end = T0 + 3 * DAY
    scene = awaiting().at(end + offset).settle()
    assert (scene.status is Status.PENDING) is inside
    if not inside:
        cancellation = scene.cancellation
        assert (cancellation.actor, cancellation.reason) == (Actor.SYSTEM, "payment_expired")
        assert (cancellation.at, cancellation.counts_in_rate) == (end, False)
        assert scene.mails(NoticeKind.ORDER_CANCELLED) == ["buyer"]
        assert scene.order.voids == ()


@pytest.mark.rule("G5", "G7", "R6")
@pytest.mark.parametrize("hears", [True, False], ids=["the provider told", "nobody told"])
def test_what_was_paid_at_the_store_in_time_is_verified_however_late_it_is_heard(hears: bool) -> None:
    """The buyer who paid a second before the due date keeps the order though the engine asks only at or after it."""
    scene = awaiting()
    scene.at(T0 + 3 * DAY - SECOND).partners.pay_at_store(scene.order.payment.reference)
    if hears:
        scene.late(T0 + 3 * DAY + HOUR).hear(scene.order.payment.reference)
    scene.at(T0 + 3 * DAY + HOUR).settle()
    assert (scene.status, scene.order.payment.status) == (Status.UNSHIPPED, PaymentStatus.AUTHORIZED)


@pytest.mark.rule("G6", "G7")
def test_the_processing_window_ends_a_store_payment_that_is_due_later() -> None:
    """The order unpaid at the store is cancelled at the processing window where that ends before the due date."""
    given = every_method(('processing_window = "21d"', 'processing_window = "2d"'))
    scene = Scene(KONBINI, given).settle().at(T0 + 2 * DAY).settle()
    assert (scene.cancellation.at, scene.cancellation.reason) == (T0 + 2 * DAY, "payment_unverified")
    assert not [key for key, hold in scene.partners.holds.items() if hold.live(scene.now)]


def asked(given: Any = None) -> Scene:
    """Return an unshipped order whose seller wants an answer within two days."""
    scene = unshipped(given=given)
    assert code(scene, "send_message", "seller", text="Which colour?", answer_by=(T0 + 2 * DAY).isoformat()) is None
    return scene


@pytest.mark.rule("C12")
@edges
def test_silence_cancels_at_the_date_the_seller_named(offset: timedelta, inside: bool) -> None:
    """The buyer who has not answered by the date finds the order cancelled at that date; a second earlier it stands."""
    scene = asked().at(T0 + 2 * DAY + offset)
    assert (scene.status is Status.UNSHIPPED) is inside
    assert (Flag.ANSWER_DUE in scene.order.flags) is inside
    if not inside:
        assert (scene.cancellation.at, scene.cancellation.reason) == (T0 + 2 * DAY, "no_answer")
        assert sorted(scene.mails(NoticeKind.ORDER_CANCELLED)) == ["buyer", "seller"]


@pytest.mark.rule("C12")
def test_a_reply_stops_the_clock() -> None:
    """The buyer's reply a second before the date keeps the order, and nothing falls due at the date any more."""
    scene = asked().at(T0 + 2 * DAY - SECOND)
    assert code(scene, "send_message", text="Blue") is None
    assert scene.at(T0 + 2 * DAY + HOUR).status is Status.UNSHIPPED
    assert scene.order.answer_by is None
    assert Flag.ANSWER_DUE not in scene.order.flags


@pytest.mark.rule("C12", "S1")
@pytest.mark.parametrize("confirmed", [{}, {"lines": [{"sku": "A", "quantity": 1}]}], ids=["all", "a part"])
def test_a_confirmed_shipment_ends_the_wait_for_an_answer(confirmed: dict[str, Any]) -> None:
    """The seller that ships without the answer has nothing cancelled at the date."""
    scene = asked()
    assert code(scene, "ship", "seller", **PARCEL, **confirmed) is None
    assert DeadlineName.ANSWER_DUE not in {each.name for each in deadlines(scene.order)}
    assert Flag.ANSWER_DUE not in scene.order.flags
    assert scene.at(T0 + 2 * DAY + HOUR).order.cancellation is None


def test_operators_search_by_the_date_at_which_an_order_moves_by_itself() -> None:
    """Operators find an order by the answer or the store payment that falls due, as by the confirm window."""
    for scene, name in ((asked(), DeadlineName.ANSWER_DUE), (awaiting(), DeadlineName.STORE_PAYMENT_DUE)):
        due = acting_deadline(scene.order)
        assert due is not None
        assert due.name is name


def in_transit(state: Status, *events: tuple[str, str]) -> Scene:
    """Return an order in `state` after these commands."""
    scene = in_state(state)
    for name, actor in events:
        assert code(scene, name, actor) is None
    return scene


@pytest.mark.rule("A3", "A5")
@pytest.mark.parametrize(
    "events", [[("request_return", "buyer"), ("authorize_return", "seller")], [("recall_parcel", "seller")]]
)
@edges
def test_what_does_not_come_back_is_closed(events: list[tuple[str, str]], offset: timedelta, inside: bool) -> None:
    """A return or recall of which nothing has come back is closed unreceived after the longest transit, with no refund."""
    scene = in_transit(Status.DELIVERED, *events).at(T0 + 30 * DAY + offset)
    (case,) = scene.order.cases
    assert case.open is inside
    if not inside:
        assert (case.status, case.changed_at) == (CaseStatus.CLOSED, T0 + 30 * DAY)
        assert scene.mails(NoticeKind.CASE_CHANGED).count("buyer") >= 1
    assert scene.order.refunds == ()


@pytest.mark.rule("A9")
def test_an_open_case_keeps_the_order_from_being_completed() -> None:
    """A delivered order with a return under way is not completed at the end of the return window, but at the case's end."""
    scene = in_state(Status.DELIVERED).at(T0 + 20 * DAY)
    scene.send("request_return")
    scene.send("authorize_return", "seller")
    assert scene.at(T0 + 50 * DAY - SECOND).status is Status.DELIVERED
    assert scene.at(T0 + 50 * DAY).status is Status.COMPLETED
    completed = scene.order.completed_at
    assert completed is not None
    assert T0 + 30 * DAY <= completed <= T0 + 50 * DAY


@pytest.mark.rule("S7")
@pytest.mark.parametrize("start", [partly, shipped, delivered])
@edges
def test_the_charge_becomes_available_after_the_settlement_period(start: Any, offset: timedelta, inside: bool) -> None:
    """The seller's amount is in settlement for 14 days from the charge, and available from then on."""
    scene = start().at(T0 + 14 * DAY + offset)
    assert scene.order.settled_minor == (None if inside else 3000)
    found = [each for each in movements(scene.order) if each.kind is MovementKind.SETTLEMENT]
    assert len(found) == (0 if inside else 1)
    assert all(each.at == T0 + 14 * DAY and each.is_balanced for each in found)


@pytest.mark.rule("S7", "A7")
def test_an_order_is_settled_before_it_is_erased() -> None:
    """A charge whose settlement period outlasts everything else becomes available all the same."""
    given = policy(
        ('return_window = "30d"', 'return_window = "1d"'), ('settlement_window = "14d"', 'settlement_window = "90d"')
    )
    scene = shipped(given=given)
    scene.send("deliver", "system")
    scene.at(T0 + 90 * DAY - SECOND)
    assert (scene.status, scene.order.settled_minor, scene.order.over) == (Status.COMPLETED, None, False)
    scene.at(T0 + 90 * DAY)
    assert scene.order.settled_minor == 3000
    scene.at(T0 + 199 * DAY)
    assert (scene.order.over, next_deadline(scene.order)) == (True, None)
    assert scene.order.erased_at is not None


@pytest.mark.rule("R6", "R7")
@edges
def test_a_refund_that_should_have_arrived_is_asked_for(offset: timedelta, inside: bool) -> None:
    """The provider is asked once the day it named has come, and again each day until it tells that the refund is paid."""
    scene = shipped()
    scene.send("refund", "seller", reason="goodwill")
    scene.settle()
    (part,) = scene.order.refunds[0].parts
    assert part.expected_at == T0 + 3 * DAY
    scene.partners.settle_refund(part.reference)
    scene.at(T0 + 3 * DAY + offset).settle()
    assert (scene.order.refunds[0].status is RefundStatus.PENDING) is inside
    assert scene.at(T0 + 4 * DAY).settle().order.refunds[0].status is RefundStatus.PAID


@pytest.mark.rule("R7", "A9")
def test_a_refund_that_is_never_paid_is_asked_for_every_day_and_holds_the_order_open() -> None:
    """An order whose refund the provider keeps pending is asked about daily and neither completed nor erased meanwhile."""
    scene = shipped()
    scene.send("refund", "seller", reason="goodwill")
    scene.settle()
    scene.send("deliver", "system")
    questions = 0
    for day in range(3, 40):
        before = len(scene.effects)
        scene.at(T0 + day * DAY).settle()
        questions += len(scene.effects) - before
    assert questions == 37
    assert scene.status is Status.DELIVERED


@pytest.mark.rule("A7")
@pytest.mark.parametrize(("state", "end"), [(Status.CANCELLED, T0 + 30 * DAY), (Status.COMPLETED, T0 + 60 * DAY)])
@edges
def test_personal_data_is_erased_after_the_retention_period(
    state: Status, end: Any, offset: timedelta, inside: bool
) -> None:
    """The buyer's data is gone from a closed order 30 days after it was closed, and the order is over."""
    scene = in_state(state)
    scene.at(end + offset)
    text = scene.order.model_dump_json()
    assert (scene.order.erased_at is None) is inside
    assert [each for each in PERSONAL if each in text] == (list(PERSONAL) if inside else [])
    assert scene.order.over is not inside
