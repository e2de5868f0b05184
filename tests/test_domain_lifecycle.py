"""The transition tables and their complement: what is a row is accepted as it says, everything else changes nothing."""

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from domain_kit import ALL_STATES, FIELDS, MINUTE, PARCEL, command, in_state, substance, unshipped
from domain_scenes import (
    PS,
    SH,
    B,
    D,
    M,
    O,
    P,
    S,
    U,
    before_command,
    before_event,
    due_now,
    failed_refund,
    kinds,
    with_case,
)

from domain import lifecycle
from domain.cases import CASE_ROWS
from domain.commands import COMMANDS
from domain.deadlines import DeadlineName, deadlines
from domain.decide import Accepted, decide
from domain.effects import NoticeKind
from domain.lifecycle import PAYMENT_ROWS, REQUEST_ROWS, ROWS, Do, Mail, Row, When
from domain.order import CLOSED, Actor, Order, Status
from domain.refusal_codes import RefusalCode
from domain.refusals import REFUSALS

ROOT = Path(__file__).parent.parent
CHARGED = {PS, SH, D}
CP, CA = Status.COMPLETED, Status.CANCELLED

# Read off the policy, chapter by chapter: who may ask for what in which state, at some time.
OPEN_TO: dict[tuple[str, Actor], set[Status]] = {
    ("edit", B): {P, U},  # E1 E3 E8 G2
    ("extend_edit", O): {P, U},  # E6
    ("cancel", B): {P, U},  # C1 G2
    ("cancel", S): {U},  # C5 G2
    ("cancel", M): {P, U},  # P2, where another order of the purchase could not be placed
    ("cancel_items", B): {U},  # C11
    ("cancel_items", S): {U},  # C11 G2
    ("request_cancellation", B): {P, U} | CHARGED,  # C3 A1
    ("accept_cancellation", S): {U},  # C4 G2
    ("decline_cancellation", S): {U} | CHARGED,  # C4 A1
    ("decline_cancellation", O): CHARGED,  # A1: where the seller is silent
    ("ship", S): {U, PS},  # S1 G2
    ("ship", O): {U, PS},  # the marketplace ships its own
    ("deliver", M): {PS, SH, D},  # D: what was only counted as delivered, A10
    ("deliver", O): {PS, SH, D},
    ("pay_again", B): {P, U},  # G3 S2
    ("flag_oversold", M): {P, U},  # P4
    ("hold_for_review", O): {P},  # G4
    ("release_review", O): {P},  # G4
    ("refuse_review", O): {P},  # G4
    ("refund", S): CHARGED,  # R1
    ("refund", O): CHARGED,
    ("retry_refund", S): CHARGED,  # R6
    ("retry_refund", O): set(ALL_STATES),  # R7: cash goes back in any state
    ("payment_event", M): set(ALL_STATES),  # R6 G7
    ("open_cancellation", S): CHARGED,  # A1
    ("open_cancellation", O): CHARGED,
    ("approve_cancellation", O): CHARGED,
    ("deny_cancellation", O): CHARGED,
    ("request_return", B): {U} | CHARGED,  # A3, of what was shipped without a confirmation too
    ("authorize_return", S): {U} | CHARGED,
    ("authorize_return", O): CHARGED,
    ("decline_return", S): {U} | CHARGED,
    ("decline_return", O): CHARGED,
    ("receive_return", S): {U} | CHARGED,
    ("receive_return", O): CHARGED,
    ("return_to_sender", S): CHARGED,  # A4
    ("return_to_sender", O): CHARGED,
    ("return_to_sender", M): CHARGED,
    ("recall_parcel", S): CHARGED,  # A5
    ("recall_parcel", O): CHARGED,
    ("receive_parcel", S): CHARGED,
    ("receive_parcel", O): CHARGED,
    ("report_not_received", B): CHARGED,  # A6
    ("send_trace", S): CHARGED,
    ("ask_to_wait", S): CHARGED,
    ("open_claim", B): CHARGED,
    ("grant_claim", O): CHARGED,
    ("deny_claim", O): CHARGED,
    ("send_message", B): {U} | CHARGED,  # V6 C13
    ("send_message", S): {U} | CHARGED,
    ("rate", B): CHARGED | {CP, CA},  # A8 C13
}
COMPLEMENT = [
    (state, name, actor)
    for state, name, actor in product(ALL_STATES, COMMANDS, Actor)
    if state not in OPEN_TO.get((name, actor), set())
]
OF_ACTOR: dict[tuple[str, Actor], dict[str, Any]] = {
    ("cancel", M): {"reason": "purchase_failed"},
    **{("cancel", actor): {"reason": "no_inventory"} for actor in (S, O)},
}
ALWAYS_SEEN = {Do.REFUND, Do.ASK}
"""Effects that a row which names them always has; the others depend on what is held or was changed."""
AT_TIMES = {NoticeKind.REQUEST_DECLINED, NoticeKind.CASE_CHANGED}
"""Notices of a row that are sent only where there was something to answer."""


def fields(name: str, actor: Actor) -> dict[str, Any]:
    """Return what a valid command of this name holds."""
    return {**FIELDS.get(name, {}), **OF_ACTOR.get((name, actor), {})}


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
    wanted = {each for each in row.effects if isinstance(each, Do)}
    assert wanted & ALWAYS_SEEN <= kinds(scene.effects[effects:]) <= wanted
    mails = {Mail(each.kind, each.recipient) for each in scene.notices[told:]}
    due = {each for each in row.effects if isinstance(each, Mail)}
    assert {each for each in due if each.kind not in AT_TIMES} <= mails <= due
    assert scene.last.accepted
    assert (scene.last.name, scene.last.actor) == (row.event, row.actor)


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.event not in COMMANDS], ids=lambda row: " ".join(map(str, row[:2]))
)
def test_an_event_of_the_marketplace_does_as_its_row_says(row: Row) -> None:
    """A deadline that passes or a partner that answers leads to the row's target with no mails but the row's."""
    scene = before_event(row)
    assert scene.status is row.source
    told, effects = len(scene.notices), len(scene.effects)
    if row.event in tuple(DeadlineName):
        due = next(each for each in deadlines(scene.order) if each.name == row.event)
        due_now(scene, row.event)
        assert due not in deadlines(scene.order)
        assert scene.last.at == due.at
    else:
        scene.settle()
    assert scene.status is row.target
    assert kinds(scene.effects[effects:]) == {each for each in row.effects if each in (Do.VOID, Do.ASK)}
    mails = {Mail(each.kind, each.recipient) for each in scene.notices[told:]}
    assert mails == {each for each in row.effects if isinstance(each, Mail)}
    assert row.actor is M


@pytest.mark.parametrize("state", ALL_STATES)
def test_every_deadline_of_a_state_has_a_row(state: Status) -> None:
    """Whatever falls due in a state has a row there, so that no timer ever fires in vain and for ever."""
    order = in_state(state).order
    for due in deadlines(order):
        assert lifecycle.rows_for(state, due.name, M), due
    names = {due.name for due in deadlines(order)}
    assert names
    assert (names == {DeadlineName.RETENTION_ENDED}) is (state in CLOSED)


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


@pytest.mark.rule("C13", "A7", "A8", "A9", "S7")
def test_no_row_leads_out_of_a_terminal_state() -> None:
    """Completed and Cancelled have no rows but the rating, money that goes back, the settlement and the erasure; none leads out."""
    rows = [row for row in ROWS if row.source in CLOSED]
    assert all(row.target is row.source for row in rows)
    both = {"rate", "payment_event", "refund_due", "retry_refund", "retention_ended"}
    assert {str(row.event) for row in rows if row.source is CA} == both
    assert {str(row.event) for row in rows if row.source is CP} == both | {"settlement_ended"}
    assert len(rows) == 11


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
    tables: tuple[tuple[Any, ...], ...] = (ROWS, PAYMENT_ROWS, REQUEST_ROWS, CASE_ROWS)
    rules = {row.rule for table in tables for row in table}
    assert all(re.fullmatch(r"[A-Z]\d{1,2}( [A-Z]\d{1,2})*", each) for each in rules), rules


def test_every_refusal_is_worded_and_used() -> None:
    """Every refusal code has fact, remedy and rule, and the engine uses each."""
    assert set(REFUSALS) == set(RefusalCode)
    folders = [ROOT / name for name in ("domain", "activities", "workflows", "starter", "web")]
    source = "\n".join(path.read_text("utf-8") for folder in folders for path in folder.glob("*.py"))
    for code, text in REFUSALS.items():
        assert text.fact, code
        assert text.remedy, code
        assert re.fullmatch(r"[A-Z]\d{1,2}", text.rule), code
        assert f"RefusalCode.{code.name}" in source, code


@pytest.mark.parametrize("state", ALL_STATES)
def test_an_order_of_any_state_survives_the_wire(state: Status) -> None:
    """The whole state of an order is the same after it was carried over as JSON."""
    scene = in_state(state)
    scene.send("rate", stars=4, comment="Good")
    assert Order.model_validate_json(scene.order.model_dump_json()) == scene.order


@pytest.mark.parametrize("state", [PS, SH, D])
def test_an_order_with_everything_beside_it_survives_the_wire(state: Status) -> None:
    """An order with a failed refund, a case, a message and a rating is the same after it was carried over as JSON."""
    scene = with_case(failed_refund(state), ["request_return", "authorize_return"])
    scene.send("send_message", text="Where is it?")
    scene.send("rate", stars=1)
    order = scene.order
    assert all((order.refunds, order.cases, order.messages, order.rating))
    assert Order.model_validate_json(order.model_dump_json()) == order


@pytest.mark.parametrize(("name", "actor"), [("ship", "seller"), ("edit", "buyer")])
def test_an_order_waiting_for_a_partner_survives_the_wire(name: str, actor: str) -> None:
    """An order that waits for a charge or a hold is the same after it was carried over, and goes on from there."""
    scene = unshipped()
    fields = PARCEL if name == "ship" else {"lines": [{"sku": "B", "quantity": 3}]}
    waiting = decide(scene.order, command(name, actor, **fields), scene.now)
    assert isinstance(waiting, Accepted)
    assert waiting.awaited is not None
    carried = Order.model_validate_json(waiting.order.model_dump_json())
    assert carried == waiting.order
    outcome = scene.partners.perform(waiting.awaited, scene.now)
    decided = decide(carried, outcome, scene.now)
    assert decided == decide(waiting.order, outcome, scene.now)
    assert decided.order.in_progress is None
    assert isinstance(decided, Accepted)
