"""Chapter A: cancellations, returns, parcels that come back and parcels not received, beside a shipped order."""

from itertools import product
from typing import Any

import pytest
from domain_kit import DAY, T0, Json, Scene, code, in_state, partly, shipped
from refund_kit import refund, refused

from domain.cases import CASE_ROWS, MAX_CASES, OPENERS, STEPS
from domain.order import Status

# Read off the policy: in which state of a case which step leads where (A1, A3, A5, A6).
LOST = {"send_trace": "traced", "ask_to_wait": "waiting", "refund": "refunded", "open_claim": "claimed"}
MOVES: dict[tuple[str, str], dict[str, str]] = {
    ("cancellation", "requested"): {"open_cancellation": "in_review", "decline_cancellation": "declined"},
    ("cancellation", "in_review"): {"approve_cancellation": "approved", "deny_cancellation": "denied"},
    ("cancellation", "approved"): {"refund": "refunded"},
    ("return", "requested"): {"authorize_return": "authorized", "decline_return": "declined"},
    ("return", "authorized"): {"receive_return": "received"},
    ("return", "received"): {"refund": "refunded"},
    ("parcel", "recalled"): {"receive_parcel": "refunded"},
    **{("not_received", state): LOST for state in ("reported", "traced", "waiting")},
    ("not_received", "claimed"): {"grant_claim": "granted", "deny_claim": "denied"},
}
OPENS = {
    ("cancellation", "requested"): "request_cancellation",
    ("return", "requested"): "request_return",
    ("parcel", "refunded"): "return_to_sender",
    ("parcel", "recalled"): "recall_parcel",
    ("not_received", "reported"): "report_not_received",
}
MAY: dict[str, str] = {
    **dict.fromkeys(("request_cancellation", "request_return", "report_not_received", "open_claim"), "buyer"),
    **dict.fromkeys(("send_trace", "ask_to_wait"), "seller"),
    **dict.fromkeys(("approve_cancellation", "deny_cancellation", "grant_claim", "deny_claim"), "operator"),
    **dict.fromkeys(("authorize_return", "receive_return", "receive_parcel"), "seller operator"),
    **dict.fromkeys(("recall_parcel", "refund"), "seller operator"),
    **dict.fromkeys(("open_cancellation", "decline_cancellation", "decline_return"), "seller operator"),
    "return_to_sender": "seller operator system",
}
RULE_OF = {
    **dict.fromkeys(("request_cancellation", "open_cancellation", "decline_cancellation"), "A1"),
    **dict.fromkeys(("approve_cancellation", "deny_cancellation"), "A1"),
    **dict.fromkeys(("request_return", "authorize_return", "decline_return", "receive_return"), "A3"),
    **dict.fromkeys(("recall_parcel", "receive_parcel"), "A5"),
    **dict.fromkeys(("report_not_received", "send_trace", "ask_to_wait"), "A6"),
    **dict.fromkeys(("open_claim", "grant_claim", "deny_claim"), "A6"),
    "return_to_sender": "A4",
}
"""The rule that each step comes from."""
RULE_OF_KIND = {"cancellation": "A1", "return": "A3", "parcel": "A4", "not_received": "A6"}
"""The rule of a case that a refund names."""
FIELDS: dict[str, Json] = {
    "refund": {"reason": "goodwill", "case_id": "K1"},
    "ask_to_wait": {"until": (T0 + 5 * DAY).isoformat()},
    "return_to_sender": {"reason": "refused"},
}
ALL_STEPS = sorted({*STEPS, "refund"})
ONE_A: Json = {"lines": [{"sku": "A", "quantity": 1}]}
ONE_B: Json = {"lines": [{"sku": "B", "quantity": 1}]}


def do(scene: Scene, name: str, **fields: Any) -> str | None:
    """Let the first actor who may take a step take it; return the code of its refusal."""
    return code(scene, name, MAY[name].split()[0], **{**FIELDS.get(name, {}), **fields})


def case(scene: Scene, case_id: str = "K1") -> tuple[str, str]:
    """Return kind and state of a case."""
    found = next(each for each in scene.order.cases if each.case_id == case_id)
    return found.kind.value, found.status.value


def led_to(state: tuple[str, str], **fields: Any) -> Scene:
    """Return a shipped order with one case, led to `state` by the shortest way that the policy knows."""
    ways: dict[tuple[str, str], list[str]] = {opened: [name] for opened, name in OPENS.items()}
    todo = list(ways)
    for here in todo:
        for step, then in MOVES.get(here, {}).items():
            if (there := (here[0], then)) not in ways:
                ways[there] = [*ways[here], step]
                todo.append(there)
    scene = shipped()
    for name in ways[state]:
        assert do(scene, name, **(fields if name in OPENS.values() else {})) is None
    return scene


STATES = sorted({*MOVES, *OPENS, *((kind, then) for (kind, _), moves in MOVES.items() for then in moves.values())})


@pytest.mark.rule("A1", "A3", "A5", "A6")
@pytest.mark.parametrize(("state", "step"), list(product(STATES, ALL_STEPS)), ids=str)
def test_a_step_applies_where_the_policy_says_and_nowhere_else(state: tuple[str, str], step: str) -> None:
    """In each state of a case each step leads where it should, or is refused with the state and what applies to it."""
    scene = led_to(state)
    assert case(scene) == state
    target = MOVES.get(state, {}).get(step)
    if target is not None:
        assert do(scene, step, case_id="K1") is None
        assert case(scene) == (state[0], target)
        assert scene.status is Status.SHIPPED
        return
    refusal = refused(scene, step, MAY[step].split()[0], **{**FIELDS.get(step, {}), "case_id": "K1"})
    assert (refusal.code, refusal.rule) == ("CASE_NOT_OPEN_TO_THIS", RULE_OF.get(step, RULE_OF_KIND[state[0]]))
    assert state[1] in refusal.message


@pytest.mark.rule("A1", "A3", "A5", "A6")
def test_the_table_of_cases_is_the_policys() -> None:
    """The engine's table knows the steps above, the deadlines and the delivery, and no other."""
    rows = {(row.kind.value, row.source.value, row.event, row.target.value) for row in CASE_ROWS if row.source}
    by_itself = {row for row in rows if row[2] in ("case_due", "deliver")}
    assert rows - by_itself == {(*state, step, then) for state, moves in MOVES.items() for step, then in moves.items()}
    assert {(row.kind.value, row.target.value): row.event for row in CASE_ROWS if row.source is None} == OPENS


@pytest.mark.rule("A1", "A3", "A4", "A5", "A6")
@pytest.mark.parametrize("actor", ["buyer", "seller", "operator", "system"])
@pytest.mark.parametrize("name", sorted(set(MAY) - {"refund"}))
def test_a_step_is_open_to_its_actors_alone(name: str, actor: str) -> None:
    """Who is not meant to take a step is refused, in every state of the case, and told who may."""
    before = next((state for state, moves in MOVES.items() if name in moves), None)
    scene = led_to(before) if before else shipped()
    if actor in MAY[name].split():
        assert code(scene, name, actor, **FIELDS.get(name, {})) is None
    else:
        refusal = refused(scene, name, actor, **FIELDS.get(name, {}))
        assert (refusal.code, MAY[name].split()[0] in refusal.remedy) == ("NOT_ALLOWED", True)


@pytest.mark.rule("A1", "A3", "A4", "A5", "A6", "G2", "C13")
@pytest.mark.parametrize("name", sorted(set(OPENERS) - {"request_cancellation"}))
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status.PENDING, "NOT_SHIPPED"),
        (Status.UNSHIPPED, "NOT_SHIPPED"),
        (Status.CANCELLED, "ORDER_CANCELLED"),
        (Status.COMPLETED, "ORDER_COMPLETED"),
    ],
)
def test_no_case_is_opened_before_shipment_or_after_the_end(name: str, status: Status, code: str) -> None:
    """Before a shipment and on closed orders nothing is opened; only a return may be asked for unconfirmed (A3)."""
    scene, actor, fields = in_state(status), MAY[name].split()[0], FIELDS.get(name, {})
    if (name, status) == ("request_return", Status.UNSHIPPED):
        assert scene.send(name, actor, **fields) is None
    else:
        pending_return = (name, status) == ("request_return", Status.PENDING)
        assert refused(scene, name, actor, **fields).code == ("ORDER_PENDING" if pending_return else code)


@pytest.mark.rule("A1", "A3", "A4", "A5", "A6")
@pytest.mark.parametrize("name", sorted(OPENERS))
@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([{"sku": "Z", "quantity": 1}], "UNKNOWN_ITEM"),
        ([{"sku": "A", "quantity": 3}], "CASE_QUANTITY"),
        ([{"sku": "A", "quantity": 1}, {"sku": "B", "quantity": 2}], "CASE_QUANTITY"),
        ([{"sku": "A", "quantity": 0}], "INVALID_COMMAND"),
        ([{"sku": "A", "quantity": 1}, {"sku": "A", "quantity": 1}], "INVALID_COMMAND"),
    ],
    ids=str,
)
def test_a_case_is_of_items_of_the_order(name: str, lines: list[Json], code: str) -> None:
    """An unknown item, too many units, none or the same item twice: refused, nothing is opened."""
    refusal = refused(shipped(), name, MAY[name].split()[0], **{**FIELDS.get(name, {}), "lines": lines})
    assert (refusal.code, refusal.rule) == (code, "D3" if code == "INVALID_COMMAND" else RULE_OF[name])


@pytest.mark.rule("A3", "A6")
def test_units_are_in_one_open_case_at_a_time() -> None:
    """Units that are in an open case or refunded are not to be had for another; those of a declined one are again."""
    scene = shipped()
    assert do(scene, "request_return", **ONE_A) is None
    refusal = refused(scene, "report_not_received", lines=[{"sku": "A", "quantity": 2}])
    assert (refusal.code, "of A in order" in refusal.message) == ("CASE_QUANTITY", True)
    assert do(scene, "report_not_received") is None
    assert [dict(each.quantities) for each in scene.order.cases] == [{"A": 1}, {"A": 1, "B": 1}]
    assert refused(scene, "request_return").code == "CASE_QUANTITY"
    scene.send("decline_return", "seller")
    assert do(scene, "request_return", **ONE_A) is None
    refund(scene, case_id="K2")
    assert refused(scene, "request_return", **ONE_B).code == "CASE_QUANTITY"


@pytest.mark.rule("A1", "A3")
def test_of_a_partly_shipped_order_a_case_is_of_what_was_shipped() -> None:
    """What has not been shipped can neither be returned nor be missing."""
    scene = partly()
    assert refused(scene, "request_return", **ONE_B).code == "CASE_QUANTITY"
    assert do(scene, "request_cancellation") is None
    assert (dict(scene.order.cases[0].quantities), scene.order.request) == ({"A": 1}, None)


@pytest.mark.rule("A1", "A3")
def test_a_step_names_its_case_where_several_fit() -> None:
    """Two returns are open: a step that names neither is refused with both, one that names one moves that one."""
    scene = shipped()
    do(scene, "request_return", **ONE_A)
    do(scene, "request_return", **ONE_B)
    refusal = refused(scene, "authorize_return", "seller")
    assert (refusal.code, "K1, K2" in refusal.message) == ("SEVERAL_CASES", True)
    assert do(scene, "authorize_return", case_id="K2") is None
    assert (case(scene, "K1")[1], case(scene, "K2")[1]) == ("requested", "authorized")
    assert do(scene, "decline_return") is None
    assert case(scene, "K1")[1] == "declined"
    unknown = refused(scene, "authorize_return", "seller", case_id="K9")
    assert (unknown.code, "K2 (return, authorized)" in unknown.remedy) == ("NO_SUCH_CASE", True)
    assert refused(scene, "grant_claim", "operator").code == "NO_SUCH_CASE"
    assert refused(scene, "refund", "seller", reason="goodwill", case_id="K9").code == "NO_SUCH_CASE"


@pytest.mark.rule("A3", "A5", "A6")
def test_the_deadlines_of_several_cases_each_come_in_their_time() -> None:
    """A wait, a recall and a return run beside each other: each ends at its own instant and leaves the others."""
    scene = shipped()
    do(scene, "report_not_received", **ONE_A)
    do(scene, "ask_to_wait")
    do(scene, "recall_parcel", **ONE_B)
    do(scene.at(T0 + 2 * DAY), "request_return", **ONE_A)
    do(scene, "authorize_return")
    for day, states in (
        (5, "reported recalled authorized"),
        (30, "reported closed authorized"),
        (32, "reported closed closed"),
    ):
        scene.at(T0 + day * DAY)
        assert [each.status for each in scene.order.cases] == states.split()


@pytest.mark.rule("A1")
def test_an_order_takes_so_many_cases_and_no_more() -> None:
    """A buyer who asks for a return over and over is stopped at the limit, and told where to turn."""
    scene = shipped()
    for _ in range(MAX_CASES):
        do(scene, "request_return", **ONE_A)
        do(scene, "decline_return")
    refusal = refused(scene, "request_return")
    assert (refusal.code, "customer service" in refusal.remedy) == ("CASE_LIMIT", True)
