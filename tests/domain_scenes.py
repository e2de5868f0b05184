"""Orders led to the start of every row of the tables, for the tests that go through them row by row.

PYTEST_DONT_REWRITE: it asserts nothing; it raises AssertionError where an order cannot be led there.
"""

from collections.abc import Sequence
from typing import Any

from domain_kit import (
    DAY,
    FIELDS,
    KONBINI,
    PARCEL,
    T0,
    Json,
    Scene,
    awaiting,
    cart,
    declined,
    every_method,
    in_review,
    in_state,
    partly,
    pending,
    policy,
    shipped,
    unshipped,
)

from domain.case import CaseKind, CaseStatus
from domain.cases import CASE_ROWS
from domain.deadlines import DeadlineName, deadlines
from domain.effects import Ask, Authorize, Effect, PayRefund, Reserve, Result
from domain.lifecycle import Do, Row, When
from domain.order import Actor, Status

B, S, O, M = Actor.BUYER, Actor.SELLER, Actor.OPERATOR, Actor.SYSTEM  # noqa: E741 - the operator's letter
P, U, PS, SH, D = Status.PENDING, Status.UNSHIPPED, Status.PARTIALLY_SHIPPED, Status.SHIPPED, Status.DELIVERED
AFN = cart(fulfilment="marketplace")
ONE_A: Json = {"lines": [{"sku": "A", "quantity": 1}]}
CASE_ACTORS: dict[str, Actor] = {
    "request_cancellation": B,
    "open_cancellation": S,
    "decline_cancellation": S,
    "approve_cancellation": O,
    "deny_cancellation": O,
    "request_return": B,
    "authorize_return": S,
    "decline_return": S,
    "receive_return": S,
    "return_to_sender": S,
    "recall_parcel": S,
    "receive_parcel": S,
    "report_not_received": B,
    "send_trace": S,
    "ask_to_wait": S,
    "open_claim": B,
    "grant_claim": O,
    "deny_claim": O,
    "refund": S,
    "deliver": M,
}
"""Who takes each step of a case."""


def case_path(kind: CaseKind, status: CaseStatus | None) -> list[str]:
    """Return the shortest way by the table from nothing to a case of `kind` in `status`."""
    ways: dict[CaseStatus | None, list[str]] = {None: []}
    found = True
    while found:
        rows = [each for each in CASE_ROWS if each.kind is kind and each.source in ways and each.target not in ways]
        found = bool(rows)
        for row in rows[:1]:
            ways[row.target] = [*ways[row.source], row.event]
    if status not in ways:
        raise AssertionError(f"no rows lead to a case of {kind} in {status}")
    return ways[status]


def due_now(scene: Scene, name: str) -> None:
    """Let the deadline `name` pass, and no other; raises AssertionError where there is none."""
    found = [each for each in deadlines(scene.order) if each.name == name]
    if not found:
        raise AssertionError(f"no {name} in {deadlines(scene.order)}")
    scene.late(max(scene.now, found[0].at)).decide(found[0])


def step(scene: Scene, event: str, actor: Actor | None = None, **fields: Any) -> None:
    """Take one step of a case; raises AssertionError where it is refused."""
    if event == "case_due":
        due_now(scene, event)
        return
    chosen = {**FIELDS.get(event, {}), **({"case_id": "K1"} if event == "refund" else {}), **fields}
    refusal = scene.send(event, actor or CASE_ACTORS[event], **chosen)
    if refusal is not None:
        raise AssertionError(f"{event}: {refusal.message}")


def with_case(scene: Scene, events: Sequence[str], first: Json | None = None) -> Scene:
    """Return the order after these steps of a case, opened with the fields `first`."""
    if first is not None:
        scene.send(events[0], CASE_ACTORS[events[0]], **{**FIELDS.get(events[0], {}), **first})
        events = events[1:]
    for event in events:
        step(scene, event)
    return scene


def _in_case(row: Row) -> Scene:
    """Return an order with a case to which the event of `row` applies."""
    rows = [each for each in CASE_ROWS if each.event == row.event]
    first = rows[0]
    if row.source is D and first.kind is CaseKind.CANCELLATION:
        # What has arrived is returned and not cancelled: the wish came before the parcel did.
        scene = with_case(shipped(), case_path(first.kind, first.source))
        step(scene, "deliver")
        return scene
    part = ONE_A if row.when is When.PART_RETURNED else None
    return with_case(in_state(row.source), case_path(first.kind, first.source), part)


def _refunding(row: Row) -> tuple[Scene, Json]:
    scene = in_state(row.source)
    if row.when is When.REST_DELIVERED:
        scene.send("deliver", "system")
    return scene, {"reason": "out_of_stock", **(ONE_A if row.when is When.SOME_LEFT else {})}


def cash_going_back(state: Status) -> Scene:
    """Return a Pending, Unshipped or Cancelled order with cash going back that was paid for nothing, as `cash_of(scene)`.

    Pending and Unshipped orders were edited while the old number was being paid.
    """
    scene = awaiting()
    scene.partners.pay_at_store(scene.order.payment.reference)
    if state is Status.CANCELLED:
        scene.send("cancel")
        return scene.settle()
    scene.send("edit", lines=[{"sku": "A", "quantity": 1}])
    scene.settle()
    if state is U:
        scene.partners.pay_at_store(scene.order.payment.reference)
        scene.hear(scene.order.payment.reference)
    return scene


def cash_of(scene: Scene) -> str:
    """Return the reference at the provider of the cash that is going back."""
    return next(part.reference for refund in scene.order.refunds for part in refund.parts if not refund.of_charge)


def bounced(state: Status) -> Scene:
    """Return an order outside the states in which it is refunded, with money that could not be paid back.

    A Completed order's refund had been paid and came back from the bank.
    """
    if state is not Status.COMPLETED:
        scene = cash_going_back(state)
        scene.partners.settle_refund(cash_of(scene), paid=False)
        return scene.hear(cash_of(scene))
    scene = in_state(D).answer(Result.REFUND_PAID)
    scene.send("refund", "seller", reason="goodwill", **ONE_A)
    scene.settle().at(T0 + 60 * DAY)
    reference = scene.order.refunds[0].parts[0].reference
    scene.partners.refunds[reference].result = Result.REFUND_FAILED
    return scene.hear(reference)


def failed_refund(state: Status) -> Scene:
    """Return an order in `state` with a refund that failed at the provider."""
    if state not in (PS, SH, D):
        return bounced(state)
    scene = in_state(state).answer(Result.REFUND_FAILED)
    scene.send(
        "refund", "seller", reason="goodwill", lines=[{"sku": "A", "amount": {"amount_minor": 1, "currency": "JPY"}}]
    )
    return scene.settle()


def charge_failed() -> Scene:
    """Return an unshipped order whose charge was declined."""
    scene = unshipped().answer(Result.DECLINED)
    scene.send("ship", "seller", **PARCEL)
    return scene


def before_command(row: Row) -> tuple[Scene, Json]:
    """Return an order at the start of `row`, with the fields of a command that leads along it."""
    event, source, when = row.event, row.source, row.when
    chosen = dict(FIELDS.get(event, {}))
    scene = in_state(source, AFN if (event, row.actor) == ("ship", O) else None)
    answers = {"accept_cancellation", "decline_cancellation"}
    if event == "cancel" and row.actor is not B:
        chosen["reason"] = "no_inventory" if row.actor is S else "purchase_failed"
    elif event == "pay_again":
        scene = declined() if source is P else charge_failed()
    elif event in ("release_review", "refuse_review"):
        scene = in_review().settle() if when is When.PAYMENT_HELD else in_review()
    elif event == "refund":
        scene, chosen = _refunding(row)
    elif event == "retry_refund":
        scene = failed_refund(source)
    elif event == "deliver" and source is D:
        scene = shipped()
        scene.at(scene.order.shipments[-1].confirmed_at + scene.order.policy.delivery_window)
    elif event == "rate" and source is Status.CANCELLED:
        scene = unshipped()
        scene.send("cancel", "seller", reason="no_inventory")
    elif event in answers and source is U:
        scene.at(scene.order.cancel_until).send("request_cancellation")
    elif event in {each.event for each in CASE_ROWS if each.source is not None} - {"deliver"}:
        scene = _in_case(row)
    if when is When.CANCEL_WINDOW_CLOSED:
        scene.at(scene.order.cancel_until)
    if when is When.SOME_LEFT and event == "ship":
        chosen["lines"] = [{"sku": "B" if source is PS else "A", "quantity": 1}]
    if when is When.PARCELS_UNDERWAY:
        scene = partly()
        scene.send("ship", "seller", **PARCEL)
        chosen["shipment_id"] = "P2"
    return scene, chosen


def _completed_early() -> Scene:
    """Return an order that was completed before its charge became available to the seller."""
    scene = shipped(given=policy(('return_window = "30d"', 'return_window = "5d"')))
    scene.send("deliver", "system")
    return scene.at(T0 + 6 * DAY)


def _with_payment(row: Row) -> Scene | None:
    """Return an order for whose payment the event of `row` comes next."""
    match row.event, row.source:
        case Result.AUTHORIZED, Status.PENDING:
            return in_review() if row.when is When.IN_REVIEW else pending()
        case Result.DECLINED, Status.PENDING:
            return pending().answer(Result.DECLINED)
        case Result.AWAITING, _:
            return Scene(KONBINI, every_method())
        case Result.LAPSED, _:
            return awaiting().at(T0 + 3 * DAY)
        case ((Result.AUTHORIZED | Result.DECLINED), Status.UNSHIPPED):
            scene = charge_failed().settle()
            scene.send("pay_again", card="card-new")
            return scene.answer(*([Result.DECLINED] if row.event == Result.DECLINED else []))
        case DeadlineName.STORE_PAYMENT_DUE, _:
            return awaiting()
        case DeadlineName.SETTLEMENT_ENDED, Status.COMPLETED:
            return _completed_early()
    return None


def _refund_under_way(state: Status) -> Scene:
    """Return an order in `state` with money that is going back."""
    if state is Status.COMPLETED:
        scene = bounced(state)
        scene.send("retry_refund", "operator", refund_id="R1")
        return scene.settle()
    if state not in (PS, SH, D):
        return cash_going_back(state)
    scene = in_state(state)
    scene.send("refund", "seller", reason="out_of_stock", **ONE_A)
    return scene.settle()


def before_event(row: Row) -> Scene:
    """Return an order at the start of `row`, whose event is a deadline or an outcome."""
    scene = _with_payment(row) or in_state(row.source)
    if row.event == DeadlineName.ANSWER_DUE:
        due = (T0 + 3 * DAY).isoformat()
        scene.send("send_message", "seller", text="Which colour?", answer_by=due)
    if row.event == DeadlineName.CASE_DUE:
        with_case(scene, ["request_return", "authorize_return"])
    if row.event == DeadlineName.REFUND_DUE:
        scene = _refund_under_way(row.source)
    return scene


def kinds(effects: list[Effect]) -> set[Do]:
    """Return what kind of effects these are, in the words of the table."""
    words = {PayRefund: Do.REFUND, Ask: Do.ASK}
    found = {
        words.get(type(each)) or Do(type(each).__name__.lower()) for each in effects if not isinstance(each, Reserve)
    }
    reserves = any(
        isinstance(each, Reserve) or (isinstance(each, Authorize) and each.reservation is not None) for each in effects
    )
    return found | ({Do.RESERVE} if reserves else set())
