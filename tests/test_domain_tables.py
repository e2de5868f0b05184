"""The tables beside the order's own: payment, cancellation request and cases, each row of which real orders take."""

from itertools import product
from typing import Any

import pytest
from domain_kit import (
    DAY,
    FIELDS,
    T0,
    Scene,
    awaiting,
    declined,
    in_review,
    pending,
    shipped,
    substance,
    unshipped,
)
from domain_scenes import AFN, CASE_ACTORS, M, O, S, case_path, step, with_case

from domain import lifecycle
from domain.case import ENDED, Case, CaseKind, CaseStatus
from domain.cases import CASE_ROWS, STEPS, CaseRow
from domain.effects import Result
from domain.lifecycle import PAYMENT_ROWS, REQUEST_ROWS
from domain.order import Actor, Flag, RequestStatus, Status
from domain.payment_state import PaymentStatus
from domain.refund import RefundStatus


def test_payment_rows_are_unique() -> None:
    """No (payment state, outcome) has two rows, and an outcome without a row is an engine error, never a guess."""
    keys = [(row.source, row.event) for row in PAYMENT_ROWS]
    assert len(keys) == len(set(keys))
    with pytest.raises(KeyError):
        lifecycle.payment_target(PaymentStatus.CAPTURED, Result.DECLINED)


@pytest.mark.rule("S2", "E7", "G3")
def test_every_payment_row_is_reachable() -> None:
    """Real orders reach every row of the payment table, and each ends where its row says."""
    edited, gone, unpaid, paid_at_store = unshipped(), pending(), awaiting(), awaiting()
    edited.send("edit", shipping_option="express")
    edited.send("cancel")
    gone.send("cancel")
    unpaid.at(T0 + 3 * DAY).settle()
    reference = paid_at_store.order.payment.reference
    paid_at_store.partners.pay_at_store(reference)
    paid_at_store.hear(reference)
    scenes = [declined(), edited, gone, unpaid, paid_at_store]
    for answers, then in (
        ([Result.DECLINED], ["ship"]),
        ([Result.UNANSWERED], ["ship"]),
        ([Result.LAPSED], []),
        ([Result.VOIDED], []),
        ([Result.LAPSED, Result.DECLINED], []),
        ([Result.DECLINED, Result.VOID_FAILED, Result.DECLINED], ["ship"]),
        ([Result.DECLINED], ["pay_again"]),
        ([Result.UNANSWERED], ["pay_again"]),
    ):
        scene = unshipped().answer(*answers)
        for name in ["ship", *then]:
            scene.send(name, "seller" if name == "ship" else "buyer", **FIELDS[name])
            if scene.open:
                scene.decide(scene.partners.perform(scene.open.pop(0), scene.now))
        scenes.append(scene)
    paid = set().union(*(scene.paid for scene in scenes))
    assert paid == {(row.source, row.event, row.target) for row in PAYMENT_ROWS}


def reach(scene: Scene, actor: Actor) -> None:
    """Let `actor` cancel an order over the head of its buyer's open request."""
    if actor is M:
        scene.at(scene.order.confirm_by)
    elif actor is O:
        assert scene.send("refuse_review", actor) is None
    else:
        scene.send("cancel", actor, at=scene.order.placed_at, **({"reason": "no_inventory"} if actor is S else {}))
    assert scene.status is Status.CANCELLED


def before_request(row: lifecycle.RequestRow) -> Scene:
    """Return an order after its cancel window, which the marketplace ships or reviews where the row's actor needs it."""
    held = row.actor is O and row.event == "cancelled"
    scene = in_review().settle() if held else unshipped(AFN if row.actor is O else None)
    return scene.at(scene.order.cancel_until)


@pytest.mark.rule("C4", "G4")
@pytest.mark.parametrize("row", REQUEST_ROWS, ids=lambda row: f"{row.source} {row.event} {row.actor}")
def test_every_request_row_is_reachable(row: lifecycle.RequestRow) -> None:
    """The buyer's request takes every row of its table, and ends where the row says."""
    scene = before_request(row)
    if row.source is not None:
        scene.send("request_cancellation", reason="found_cheaper")
    if row.source is RequestStatus.DECLINED:
        scene.send("decline_cancellation", "seller")
    if row.event == "cancelled":
        reach(scene, row.actor)
    else:
        chosen = {"reason": "buyer_cancelled"} if row.event == "cancel" else FIELDS.get(row.event, {})
        assert scene.send(row.event, row.actor, **chosen) is None
    assert scene.order.request is not None
    assert scene.order.request.status is row.target
    assert (scene.order.request.answered_at is None) is (row.target is RequestStatus.OPEN)
    assert (Flag.BUYER_REQUESTED_CANCELLATION in scene.order.flags) is (
        row.target is RequestStatus.OPEN or scene.status is Status.CANCELLED
    )


def test_request_rows_are_unique() -> None:
    """No (request state, event, actor) has two rows."""
    keys = [row[:3] for row in REQUEST_ROWS]
    assert len(keys) == len(set(keys))


def only_case(scene: Scene) -> Case:
    """Return the one case of an order."""
    (case,) = scene.order.cases
    return case


CASE_STATES = sorted({(row.kind, row.target) for row in CASE_ROWS})
OPEN_TO = {(row.kind, row.source, row.event) for row in CASE_ROWS}
STEP_NAMES = sorted(STEPS | {"refund"})
NOT_OPEN_TO = [
    (kind, status, name)
    for (kind, status), name in product(CASE_STATES, STEP_NAMES)
    if (kind, status, name) not in OPEN_TO
]


def test_case_rows_are_unique_and_known() -> None:
    """No (kind, state, step) of a case has two rows, no ended case has any, and each step is known to somebody."""
    keys = [row[:3] for row in CASE_ROWS]
    assert len(keys) == len(set(keys))
    assert not [row for row in CASE_ROWS if row.source in ENDED]
    assert {row.event for row in CASE_ROWS} == CASE_ACTORS.keys() | {"case_due"}


@pytest.mark.rule("A1", "A3", "A4", "A5", "A6")
@pytest.mark.parametrize("row", CASE_ROWS, ids=lambda row: f"{row.kind} {row.source} {row.event}")
def test_every_case_row_is_reachable(row: CaseRow) -> None:
    """A case takes every row of its table, ends where the row says, and the order shows whether something is open."""
    scene = with_case(shipped(), case_path(row.kind, row.source))
    if row.source is not None:
        assert (only_case(scene).kind, only_case(scene).status) == (row.kind, row.source)
    version = scene.order.version
    step(scene, row.event)
    case = only_case(scene)
    assert (case.kind, case.status) == (row.kind, row.target)
    assert case.changed_at == scene.last.at
    assert scene.order.version > version
    assert (Flag.CASE_OPEN in scene.order.flags) is case.open is (row.target not in ENDED)
    assert (case.due_at is None) is (row.target not in (CaseStatus.AUTHORIZED, CaseStatus.RECALLED, CaseStatus.WAITING))


@pytest.mark.rule("A1", "A3", "A4", "A5", "A6")
@pytest.mark.parametrize(("kind", "status", "name"), NOT_OPEN_TO, ids=str)
def test_a_step_that_is_no_row_of_a_case_is_refused_and_changes_nothing(
    kind: CaseKind, status: CaseStatus, name: str
) -> None:
    """Whoever takes a step that the table of the case does not hold is refused, told what applies; nothing changes."""
    scene = with_case(shipped(), case_path(kind, status))
    before, effects, notices = substance(scene.order), len(scene.effects), len(scene.notices)
    fields: dict[str, Any] = {**FIELDS.get(name, {}), "case_id": "K1"}
    if name == "ask_to_wait":
        fields["until"] = (scene.now + DAY).isoformat()
    refusal = scene.send(name, CASE_ACTORS[name], **fields)
    assert refusal is not None
    assert refusal.code in ("CASE_NOT_OPEN_TO_THIS", "REFUND_EXCEEDS")
    if refusal.code == "CASE_NOT_OPEN_TO_THIS":
        told = {event for a_kind, source, event in OPEN_TO if (a_kind, source) == (kind, status)}
        assert all(each in refusal.remedy for each in told)
        assert told or "none, it is at its end" in refusal.remedy
    assert substance(scene.order) == before
    assert (len(scene.effects), len(scene.notices)) == (effects, notices)


@pytest.mark.rule("A1", "A3", "A5", "A6")
@pytest.mark.parametrize("name", STEP_NAMES)
def test_a_step_of_no_case_is_refused_and_changes_nothing(name: str) -> None:
    """Whoever takes a step of a case that there is not is refused, told which are open; nothing changes."""
    scene = shipped()
    before = substance(scene.order)
    refusal = scene.send(name, CASE_ACTORS[name], **{**FIELDS.get(name, {}), "case_id": "K9"})
    assert refusal is not None
    assert (refusal.code, refusal.remedy) == ("NO_SUCH_CASE", "look at its cases and their states; open ones: none")
    assert substance(scene.order) == before


@pytest.mark.rule("A1", "A3", "A4", "A5", "A6")
@pytest.mark.parametrize("row", [row for row in CASE_ROWS if row.target in (CaseStatus.REFUNDED, CaseStatus.GRANTED)])
def test_a_case_that_ends_with_a_refund_names_it(row: CaseRow) -> None:
    """A case that a refund settles names the refund, the refund names the case, and the provider is asked to pay it once."""
    scene = with_case(shipped(), case_path(row.kind, row.source))
    step(scene, row.event)
    (refund,) = scene.order.refunds
    assert only_case(scene).refund_id == refund.refund_id
    assert refund.case_id == only_case(scene).case_id
    assert refund.status is RefundStatus.REQUESTED
    scene.settle()
    assert scene.partners.given_back == scene.order.refunds[0].amount_minor
