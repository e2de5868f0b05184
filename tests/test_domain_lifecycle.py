"""The transition tables and their complement: what is a row is accepted as it says, everything else changes nothing."""

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from domain_kit import ALL_STATES, MINUTE, PARCEL, Scene, cart, command, declined, in_state, partly, pending, unshipped

from domain import lifecycle
from domain.commands import COMMANDS
from domain.deadlines import DeadlineName, deadlines, next_deadline
from domain.decide import Accepted, decide
from domain.effects import Authorize, Effect, Reserve, Result
from domain.lifecycle import PAYMENT_ROWS, REQUEST_ROWS, ROWS, Do, Mail, Row, When
from domain.order import CLOSED, Actor, Order, PaymentStatus, RequestStatus, Status
from domain.refusals import REFUSALS, RefusalCode

ROOT = Path(__file__).parent.parent
AFN = cart(fulfilment="marketplace")
B, S, O, M = Actor.BUYER, Actor.SELLER, Actor.OPERATOR, Actor.SYSTEM  # noqa: E741 - the operator's letter
P, U, PS, SH, D = Status.PENDING, Status.UNSHIPPED, Status.PARTIALLY_SHIPPED, Status.SHIPPED, Status.DELIVERED

# Read off the policy, chapter by chapter: who may ask for what in which state, at some time.
OPEN_TO: dict[tuple[str, Actor], set[Status]] = {
    ("edit", B): {P, U},  # E1 E3 E8 G2
    ("extend_edit", O): {P, U},  # E6
    ("cancel", B): {P, U},  # C1 G2
    ("cancel", S): {U},  # C5 G2
    ("request_cancellation", B): {P, U},  # C3
    ("accept_cancellation", S): {U},  # C4 G2
    ("decline_cancellation", S): {U},  # C4
    ("ship", S): {U, PS},  # S1 G2
    ("ship", O): {U, PS},  # the marketplace ships its own
    ("deliver", M): {PS, SH},
    ("deliver", O): {PS, SH},
    ("pay_again", B): {P, U},  # G3 S2
    ("flag_oversold", M): {P, U},  # P4
}
COMPLEMENT = [
    (state, name, actor)
    for state, name, actor in product(ALL_STATES, COMMANDS, Actor)
    if state not in OPEN_TO.get((name, actor), set())
]
FIELDS: dict[str, dict[str, Any]] = {
    "edit": {"lines": [{"sku": "B", "quantity": 3}]},
    "cancel": {"reason": "no_inventory"},
    "ship": PARCEL,
    "extend_edit": {"minutes": 5},
    "pay_again": {"card": "card-new"},
}
BOOKKEEPING = {"history", "entries", "answers", "command_counts"}


def fields(name: str, actor: Actor) -> dict[str, Any]:
    """Return what a valid command of this name holds."""
    return {} if (name, actor) == ("cancel", B) else FIELDS.get(name, {})


def substance(order: Order) -> dict[str, object]:
    """Return everything of an order besides the book that is kept of it."""
    return order.model_dump(exclude=BOOKKEEPING)


def test_the_table_is_the_policys() -> None:
    """The rows of the table open each command to exactly the actors and states that the policy names."""
    table: dict[tuple[str, Actor], set[Status]] = {}
    for row in ROWS:
        if row.event in COMMANDS:
            table.setdefault((row.event, row.actor), set()).add(row.source)
    assert table == OPEN_TO


@pytest.mark.rule("C5", "C13", "E3", "E8", "G2", "S1")
@pytest.mark.parametrize(("state", "name", "actor"), COMPLEMENT)
def test_what_is_no_row_is_refused_and_changes_nothing(state: Status, name: str, actor: Actor) -> None:
    """Anyone who asks for what the table does not hold is refused with code, remedy and rule; the order stays as it was."""
    scene = in_state(state)
    assert scene.status is state
    before, effects = substance(scene.order), len(scene.effects)
    refusal = scene.send(name, actor, **fields(name, actor))
    assert refusal is not None
    assert refusal.code in set(RefusalCode)
    assert refusal.message
    assert refusal.remedy
    assert re.fullmatch(r"[A-Z]\d+", refusal.rule)
    assert substance(scene.order) == before
    assert len(scene.effects) == effects
    assert (scene.last.accepted, scene.last.refusal) == (False, refusal)


def before_command(row: Row) -> tuple[Scene, dict[str, Any]]:
    """Return an order at the start of `row`, with the fields of a command that leads along it."""
    chosen = dict(fields(row.event, row.actor))
    scene = in_state(row.source, AFN if (row.event, row.actor) == ("ship", O) else None)
    if row.event == "pay_again":
        scene = declined()
        if row.source is U:
            scene = unshipped().answer(Result.DECLINED)
            scene.send("ship", "seller", **PARCEL)
    if row.when is When.CANCEL_WINDOW_CLOSED or row.event in ("accept_cancellation", "decline_cancellation"):
        scene.at(scene.order.cancel_until)
    if row.event in ("accept_cancellation", "decline_cancellation"):
        scene.send("request_cancellation")
    if row.when is When.SOME_LEFT:
        sku = "B" if row.source is PS else "A"
        chosen["lines"] = [{"sku": sku, "quantity": 1}]
    if row.when is When.PARCELS_UNDERWAY:
        scene = partly()
        scene.send("ship", "seller", **PARCEL)
        chosen["shipment_id"] = "P2"
    return scene, chosen


def kinds(effects: list[Effect]) -> set[Do]:
    """Return what kind of effects these are, in the words of the table."""
    found = {Do(type(each).__name__.lower()) for each in effects if not isinstance(each, Reserve)}
    reserves = any(
        isinstance(each, Reserve) or (isinstance(each, Authorize) and each.reservation is not None) for each in effects
    )
    return found | ({Do.RESERVE} if reserves else set())


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.event in COMMANDS], ids=lambda row: " ".join(map(str, row[:5]))
)
def test_a_row_is_carried_out_as_it_says(row: Row) -> None:
    """The row's actor with a valid command in its window is accepted: target state and no effects but the row's."""
    scene, chosen = before_command(row)
    assert scene.status is row.source
    version, effects, told = scene.order.version, len(scene.effects), len(scene.notices)
    assert scene.send(row.event, row.actor, **chosen) is None
    assert scene.status is row.target
    assert scene.order.version > version
    assert kinds(scene.effects[effects:]) <= {each for each in row.effects if isinstance(each, Do)}
    mails = {Mail(each.kind, each.recipient) for each in scene.notices[told:]}
    assert mails <= {each for each in row.effects if isinstance(each, Mail)}
    assert scene.last.accepted
    assert (scene.last.name, scene.last.actor) == (row.event, row.actor)


def before_event(row: Row) -> Scene:
    """Return an order at the start of `row`, whose event is a deadline or an outcome."""
    scene = in_state(row.source)
    if row.event == Result.DECLINED:
        scene = pending().answer(Result.DECLINED)
    if row.source is U and row.event in (Result.AUTHORIZED, Result.DECLINED):
        scene = unshipped().answer(Result.DECLINED)
        scene.send("ship", "seller", **PARCEL)
        scene.settle().send("pay_again", card="card-new")
        scene.answer(*([Result.DECLINED] if row.event == Result.DECLINED else []))
    if row.event == DeadlineName.DELIVERY_ASSUMED:
        scene = in_state(SH)
    return scene


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.event not in COMMANDS], ids=lambda row: " ".join(map(str, row[:2]))
)
def test_an_event_of_the_marketplace_does_as_its_row_says(row: Row) -> None:
    """A deadline that passes or a partner that answers leads to the row's target with no mails but the row's."""
    scene = before_event(row)
    assert scene.status is row.source
    told = len(scene.notices)
    if row.event in tuple(DeadlineName):
        due = next(each for each in deadlines(scene.order) if each.name == row.event)
        scene.late(due.at).decide(due)
        assert next_deadline(scene.order) != due
    else:
        scene.settle()
    assert scene.status is row.target
    mails = {Mail(each.kind, each.recipient) for each in scene.notices[told:]}
    assert mails == {each for each in row.effects if isinstance(each, Mail)}
    assert row.actor is M


@pytest.mark.parametrize("state", ALL_STATES)
def test_every_deadline_of_a_state_has_a_row(state: Status) -> None:
    """Whatever falls due in a state has a row there, so that no timer ever fires in vain and for ever."""
    order = in_state(state).order
    for due in deadlines(order):
        assert lifecycle.rows_for(state, due.name, M), due
    assert bool(deadlines(order)) is (state not in CLOSED)


@pytest.mark.parametrize("state", ALL_STATES)
@pytest.mark.parametrize("name", DeadlineName)
def test_a_deadline_that_is_not_due_changes_nothing(state: Status, name: DeadlineName) -> None:
    """A timer that fires a second early, or for another state, changes nothing."""
    scene = in_state(state)
    due = next((each for each in deadlines(scene.order) if each.name is name), None)
    if due is None:
        return
    early = decide(scene.order, due, due.at - MINUTE / 60)
    assert early == Accepted(scene.order)


@pytest.mark.rule("C13", "A9")
def test_terminal_states_have_no_rows() -> None:
    """No row leads out of Completed or Cancelled."""
    assert not [row for row in ROWS if row.source in CLOSED]


def test_no_two_rows_compete() -> None:
    """No (state, event, actor, condition) has two rows, and an unconditional row stands alone."""
    keys = [(row.source, str(row.event), row.actor, row.when) for row in ROWS]
    assert len(keys) == len(set(keys))
    for key, rows in lifecycle.BY_KEY.items():
        assert len(rows) == 1 or When.ALWAYS not in {row.when for row in rows}, key


def test_a_second_row_of_one_key_is_refused_at_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engineer who adds a row twice is stopped when the table is built."""
    monkeypatch.setattr(lifecycle, "ROWS", (*ROWS, ROWS[0]))
    with pytest.raises(ValueError, match="two rows"):
        lifecycle._index()


def test_every_row_names_rules_that_exist() -> None:
    """Every row of every table names the policy's rules as its source."""
    rules = {row.rule for row in ROWS} | {row.rule for row in PAYMENT_ROWS} | {row.rule for row in REQUEST_ROWS}
    assert all(re.fullmatch(r"[A-Z]\d{1,2}( [A-Z]\d{1,2})*", each) for each in rules), rules


def test_every_refusal_is_worded_and_used() -> None:
    """Every refusal code has fact, remedy and rule, and the engine uses each."""
    assert set(REFUSALS) == set(RefusalCode)
    folders = [ROOT / name for name in ("domain", "workflows", "starter")]
    source = "\n".join(path.read_text("utf-8") for folder in folders for path in folder.glob("*.py"))
    for code, text in REFUSALS.items():
        assert text.fact, code
        assert text.remedy, code
        assert re.fullmatch(r"[A-Z]\d{1,2}", text.rule), code
        assert f"RefusalCode.{code.name}" in source, code


def test_payment_rows_are_unique() -> None:
    """No (payment state, outcome) has two rows, and an outcome without a row is an engine error, never a guess."""
    keys = [(row.source, row.event) for row in PAYMENT_ROWS]
    assert len(keys) == len(set(keys))
    with pytest.raises(KeyError):
        lifecycle.payment_target(PaymentStatus.CAPTURED, Result.DECLINED)


@pytest.mark.rule("S2", "E7", "G3")
def test_every_payment_row_is_reachable() -> None:
    """Real orders reach every row of the payment table, and each ends where its row says."""
    edited, gone = unshipped(), pending()
    edited.send("edit", shipping_option="express")
    edited.send("cancel")
    gone.send("cancel")
    scenes = [declined(), edited, gone]
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
    else:
        scene.send("cancel", actor, at=scene.order.placed_at, **fields("cancel", actor))
    assert scene.status is Status.CANCELLED


@pytest.mark.rule("C4")
@pytest.mark.parametrize("row", REQUEST_ROWS, ids=lambda row: f"{row.source} {row.event} {row.actor}")
def test_every_request_row_is_reachable(row: lifecycle.RequestRow) -> None:
    """The buyer's request takes every row of its table, and ends where the row says."""
    scene = unshipped(AFN if row.actor is O else None).at(unshipped().order.cancel_until)
    if row.source is not None:
        scene.send("request_cancellation", reason="found_cheaper")
    if row.source is RequestStatus.DECLINED:
        scene.send("decline_cancellation", "seller")
    if row.event == "cancelled":
        reach(scene, row.actor)
    else:
        chosen = {"reason": "buyer_cancelled"} if row.event == "cancel" else fields(row.event, row.actor)
        assert scene.send(row.event, row.actor, **chosen) is None
    assert scene.order.request is not None
    assert scene.order.request.status is row.target
    assert (scene.order.request.answered_at is None) is (row.target is RequestStatus.OPEN)


def test_request_rows_are_unique() -> None:
    """No (request state, event, actor) has two rows."""
    keys = [row[:3] for row in REQUEST_ROWS]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("state", ALL_STATES)
def test_an_order_of_any_state_survives_the_wire(state: Status) -> None:
    """The whole state of an order is the same after it was carried over as JSON."""
    scene = in_state(state)
    assert Order.model_validate_json(scene.order.model_dump_json()) == scene.order


@pytest.mark.parametrize(("name", "actor"), [("ship", "seller"), ("edit", "buyer")])
def test_an_order_waiting_for_a_partner_survives_the_wire(name: str, actor: str) -> None:
    """An order that waits for a charge or a hold is the same after it was carried over, and goes on from there."""
    scene = unshipped()
    waiting = decide(scene.order, command(name, actor, **FIELDS[name]), scene.now)
    assert isinstance(waiting, Accepted)
    assert waiting.awaited is not None
    carried = Order.model_validate_json(waiting.order.model_dump_json())
    assert carried == waiting.order
    outcome = scene.partners.perform(waiting.awaited, scene.now)
    decided = decide(carried, outcome, scene.now)
    assert decided == decide(waiting.order, outcome, scene.now)
    assert decided.order.in_progress is None
    assert isinstance(decided, Accepted)
