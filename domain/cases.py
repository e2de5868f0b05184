"""The tables of what may be open beside an order once it is shipped, and their steps.

Which actor may take a step in which state of the order is in `domain/lifecycle.py`; how a case moves is here. Several
cases may be open at once, on different items.

Policy: A1 to A6.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import NamedTuple

from domain import commands
from domain.base import format_instant
from domain.case import Case, CaseKind, CaseStatus
from domain.case_units import free_units, has_come, parts_of_wish, wanted_units, yielded, yielding
from domain.commands import Command
from domain.order import Flag, Order, Shipment
from domain.refund import DeductionKind, RefundLine, RefundReason
from domain.refund_payments import of_case
from domain.refunding import lines_of_units, refunded_under, rest_of_case
from domain.refusal_codes import RefusalCode
from domain.refusals import Refusal, refuse

MAX_CASES = 50
"""Cases that one order takes."""


class CaseRow(NamedTuple):
    """One transition of a case; a source of None means that the step opens it."""

    kind: CaseKind
    source: CaseStatus | None
    event: str
    target: CaseStatus
    rule: str


_K, _C = CaseKind, CaseStatus
_LOST = (_C.REPORTED, _C.TRACED, _C.WAITING)
CASE_ROWS: tuple[CaseRow, ...] = (
    # A wish to cancel after shipment; of what has arrived it is a return.
    CaseRow(_K.CANCELLATION, None, "request_cancellation", _C.REQUESTED, "A1"),
    CaseRow(_K.CANCELLATION, _C.REQUESTED, "open_cancellation", _C.IN_REVIEW, "A1"),
    CaseRow(_K.CANCELLATION, _C.REQUESTED, "decline_cancellation", _C.DECLINED, "A1"),
    CaseRow(_K.CANCELLATION, _C.IN_REVIEW, "approve_cancellation", _C.APPROVED, "A1"),
    CaseRow(_K.CANCELLATION, _C.IN_REVIEW, "deny_cancellation", _C.DENIED, "A1"),
    CaseRow(_K.CANCELLATION, _C.APPROVED, "refund", _C.REFUNDED, "A1"),
    # A return; in an order whose shipment was never confirmed, receiving it cancels the order.
    CaseRow(_K.RETURN, None, "request_return", _C.REQUESTED, "A3"),
    CaseRow(_K.RETURN, _C.REQUESTED, "authorize_return", _C.AUTHORIZED, "A3"),
    CaseRow(_K.RETURN, _C.REQUESTED, "decline_return", _C.DECLINED, "A3"),
    CaseRow(_K.RETURN, _C.AUTHORIZED, "receive_return", _C.RECEIVED, "A3"),
    CaseRow(_K.RETURN, _C.AUTHORIZED, "case_due", _C.CLOSED, "A3"),
    CaseRow(_K.RETURN, _C.RECEIVED, "refund", _C.REFUNDED, "A3"),
    # A parcel that comes back: by itself (refund less the shipping fee) or recalled (less the return fee).
    CaseRow(_K.PARCEL, None, "return_to_sender", _C.REFUNDED, "A4"),
    CaseRow(_K.PARCEL, None, "recall_parcel", _C.RECALLED, "A5"),
    CaseRow(_K.PARCEL, _C.RECALLED, "receive_parcel", _C.REFUNDED, "A5"),
    CaseRow(_K.PARCEL, _C.RECALLED, "case_due", _C.CLOSED, "A5"),
    CaseRow(_K.PARCEL, _C.RECALLED, "deliver", _C.CLOSED, "A5"),
    # A parcel that has not been received: the seller's three answers, then the guarantee claim.
    CaseRow(_K.NOT_RECEIVED, None, "report_not_received", _C.REPORTED, "A6"),
    *(CaseRow(_K.NOT_RECEIVED, source, "send_trace", _C.TRACED, "A6") for source in _LOST),
    *(CaseRow(_K.NOT_RECEIVED, source, "ask_to_wait", _C.WAITING, "A6") for source in _LOST),
    *(CaseRow(_K.NOT_RECEIVED, source, "refund", _C.REFUNDED, "A6") for source in _LOST),
    *(CaseRow(_K.NOT_RECEIVED, source, "open_claim", _C.CLAIMED, "A6") for source in _LOST),
    *(CaseRow(_K.NOT_RECEIVED, source, "deliver", _C.CLOSED, "A6") for source in _LOST),
    CaseRow(_K.NOT_RECEIVED, _C.WAITING, "case_due", _C.REPORTED, "A6"),
    CaseRow(_K.NOT_RECEIVED, _C.CLAIMED, "grant_claim", _C.GRANTED, "A6"),
    CaseRow(_K.NOT_RECEIVED, _C.CLAIMED, "deny_claim", _C.DENIED, "A6"),
)
"""Every transition of a case."""

RULES: Mapping[str, str] = {row.event: row.rule for row in CASE_ROWS if row.event != "refund"}
"""The rule of each step, which its refusals name; a refund settles cases of several."""
_TARGETS = {(row.kind, row.source, row.event): row.target for row in CASE_ROWS}
if len(_TARGETS) != len(CASE_ROWS):
    raise ValueError("a case has two rows for one state and event")
STEPS = frozenset(row.event for row in CASE_ROWS if row.source is not None) - {"deliver", "case_due", "refund"}
"""The commands that move a case which is open already."""
OPENERS: Mapping[str, CaseKind] = {row.event: row.kind for row in CASE_ROWS if row.source is None}
"""The commands that open a case, with its kind."""


def _target(case: Case, event: str) -> CaseStatus | None:
    return _TARGETS.get((case.kind, case.status, event))


def opening_refusal(name: str, order: Order, command: Command, at: datetime) -> Refusal | None:
    """Return why no case can be opened on what the command names, None when it can."""
    # Each side has a count of its own, so that no flood of one locks out the carrier or the other side.
    own = [each for each in order.cases if not order.item_by_item or each.opened_by == command.actor]
    if len(own) >= MAX_CASES:
        return refuse(RefusalCode.CASE_LIMIT, RULES[name], number=order.number, most=MAX_CASES)
    wanted, free = wanted_units(order, command), free_units(order, yielding(order, command))
    for sku, units in (wanted or dict.fromkeys([order.lines[0].sku], 1)).items():
        if sku not in free:
            skus = ", ".join(free)
            return refuse(RefusalCode.UNKNOWN_ITEM, RULES[name], number=order.number, sku=sku, skus=skus)
        if units > free[sku]:
            facts = {"sku": sku, "left": free[sku], "asked": units}
            return refuse(RefusalCode.CASE_QUANTITY, RULES[name], number=order.number, **facts)
    returned = isinstance(command, commands.RequestReturn | commands.RequestCancellation)
    if returned and order.delivered_at is not None:
        until = order.delivered_at + order.policy.return_window
        if at >= until:
            return refuse(RefusalCode.RETURN_WINDOW_CLOSED, number=order.number, return_until=format_instant(until))
    return None


def opened(order: Order, name: str, command: Command, at: datetime) -> Order:
    """Return the order with the case that the command opens; a wish to cancel is a return of what has arrived (A2)."""
    wanted = wanted_units(order, command)
    parts = [(OPENERS[name], wanted)]
    if OPENERS[name] is CaseKind.CANCELLATION:
        parts = parts_of_wish(order, wanted, at)
    changed = order
    if yielding(order, command):
        changed = _without_empty(order.with_(cases=yielded(order, wanted)), at)
    for kind, units in parts:
        changed = changed.with_(cases=(*changed.cases, _opened(changed, name, kind, units, command, at)))
    if name == "return_to_sender":
        lines = lines_of_units(order, wanted)
        fee = sum(each.shipping_minor for each in lines)
        kept = (DeductionKind.SHIPPING_FEE, fee)
        case_id = changed.cases[-1].case_id
        changed = _settled(changed, case_id, lines, RefundReason.UNDELIVERABLE, kept, command, at)
    return flagged(changed)


def _opened(order: Order, name: str, kind: CaseKind, wanted: Mapping[str, int], command: Command, at: datetime) -> Case:
    status = _TARGETS[OPENERS[name], None, name]
    return Case(
        case_id=f"K{len(order.cases) + 1}",
        kind=kind,
        status=status,
        reason=str(getattr(command, "reason", status.value)),
        quantities=wanted,
        opened_at=at,
        opened_by=command.actor.value,
        changed_at=at,
        due_at=at + order.policy.transit_window if status is CaseStatus.RECALLED else None,
        note=getattr(command, "note", None),
    )


def _without_empty(order: Order, at: datetime) -> Order:
    """Close the cases that are about nothing any more."""
    return _all_to_closed(order, at, lambda case: case.open and not case.quantities)


def step_refusal(order: Order, name: str, command: Command, at: datetime) -> Refusal | None:
    """Return why the step cannot be taken, None when it can: no such case, another state, several that fit."""
    case_id, rule = getattr(command, "case_id", None), RULES.get(name)
    # A deadline that has come by the command's own instant has moved its case already, whichever is noticed first.
    order = due(order, at)
    fitting = [each for each in order.cases if _target(each, name) is not None]
    if case_id is None:
        if len(fitting) > 1:
            cases = ", ".join(each.case_id for each in fitting)
            return refuse(RefusalCode.SEVERAL_CASES, rule, number=order.number, name=name, cases=cases)
        if not fitting:
            return _no_case(order, name, "case", rule)
    elif not any(each.case_id == case_id for each in fitting):
        known = next((each for each in order.cases if each.case_id == case_id), None)
        if known is None:
            return _no_case(order, name, f"case {case_id}", rule)
        names = ", ".join(event for kind, source, event in _TARGETS if (kind, source) == (known.kind, known.status))
        return refuse(
            RefusalCode.CASE_NOT_OPEN_TO_THIS,
            rule or next(row.rule for row in CASE_ROWS if row.kind is known.kind),
            number=order.number,
            case_id=case_id,
            kind=known.kind.value,
            status=known.status.value,
            name=name,
            names=names or "none, it is at its end",
        )
    if isinstance(command, commands.AskToWait) and not at < command.until <= at + order.policy.transit_window:
        return refuse(
            RefusalCode.INSTANT_OUT_OF_RANGE,
            "A6",
            number=order.number,
            field="until",
            given=format_instant(command.until),
            earliest=format_instant(at),
            latest=format_instant(at + order.policy.transit_window),
        )
    return None


def _no_case(order: Order, name: str, which: str, rule: str | None) -> Refusal:
    cases = ", ".join(f"{each.case_id} ({each.kind}, {each.status})" for each in order.cases if each.open) or "none"
    return refuse(RefusalCode.NO_SUCH_CASE, rule, number=order.number, which=which, name=name, cases=cases)


def stepped(order: Order, name: str, command: Command, at: datetime) -> Order:
    """Return the order with the one case moved to which the step applies; what the policy refunds at once is refunded."""
    case_id = getattr(command, "case_id", None)
    order = due(order, at)
    case = next(each for each in order.cases if _target(each, name) is not None and case_id in (None, each.case_id))
    target = _TARGETS[case.kind, case.status, name]
    due_at = {
        CaseStatus.AUTHORIZED: at + order.policy.transit_window,
        CaseStatus.WAITING: getattr(command, "until", None),
    }
    answer = getattr(command, "note", None)
    moved = case.model_copy(update={"status": target, "changed_at": at, "due_at": due_at.get(target), "answer": answer})
    changed = _replaced(order, moved)
    if name == "receive_parcel":
        fee = (DeductionKind.RETURN_FEE, order.policy.return_fee_minor)
        lines = rest_of_case(order, case)
        changed = _settled(changed, case.case_id, lines, RefundReason.RECALLED, fee, command, at)
    if name == "grant_claim":
        lines = rest_of_case(order, case)
        changed = _settled(changed, case.case_id, lines, RefundReason.GUARANTEE_CLAIM, None, command, at)
    return flagged(changed) if order.payment.captured_at is None else without_rest(changed, at)


def _settled(
    order: Order,
    case_id: str,
    lines: tuple[RefundLine, ...],
    reason: RefundReason,
    deduction: tuple[DeductionKind, int] | None,
    command: Command,
    at: datetime,
) -> Order:
    made = of_case(order, case_id, lines, reason, deduction, command.actor.value, at)
    if made is order:
        return order
    case = next(each for each in made.cases if each.case_id == case_id)
    return _replaced(made, case.model_copy(update={"refund_id": made.refunds[-1].refund_id}))


def refund_case_refusal(order: Order, command: commands.RefundForm, at: datetime) -> Refusal | None:
    """Return why a refund cannot settle the case it names, None when it can or names none."""
    if command.case_id is None:
        return None
    if (refusal := step_refusal(order, "refund", command, at)) is not None or not order.item_by_item:
        return refusal
    case = next(each for each in order.cases if each.case_id == command.case_id)
    for line in command.lines:
        about = case.quantities.get(line.sku, 0) - refunded_under(order, case).get(line.sku, 0)
        if (line.quantity or 0) > about or about <= 0:
            return refuse(
                RefusalCode.NOT_IN_CASE,
                number=order.number,
                case_id=case.case_id,
                about=about,
                sku=line.sku,
                asked=line.quantity or 1,
            )
    return None


def settled_by_refund(order: Order, command: commands.RefundForm, at: datetime) -> Order:
    """Return the order with the case closed that its newest refund settles: where nothing of it is left to refund."""
    if command.case_id is None:
        return order
    before = next(each for each in order.cases if each.case_id == command.case_id)
    if order.item_by_item and not _is_settled(order, before):
        return order
    changed = stepped(order, "refund", command, at)
    case = next(each for each in changed.cases if each.case_id == command.case_id)
    made = next((each.refund_id for each in reversed(order.refunds) if each.case_id == case.case_id), None)
    ended: dict[str, object] = {"refund_id": made}
    if order.item_by_item:
        # What was never shipped of it is free for another case once it is.
        sent = {line.sku: line.shipped for line in order.lines}
        ended["quantities"] = {sku: min(units, sent.get(sku, 0)) for sku, units in case.quantities.items()}
    return _replaced(changed, case.model_copy(update=ended))


def _is_settled(order: Order, case: Case) -> bool:
    """Return whether the refunds made leave nothing of a case: its units are refunded, or a sum was named for them."""
    made = [line for each in order.refunds if each.case_id == case.case_id for line in each.lines]
    lump = {line.sku for line in made if not line.quantity and line.items_minor}
    left = {
        each.sku for each in rest_of_case(order, case) if each.items_minor or each.shipping_minor or each.not_shipped
    }
    return left <= lump


def without_rest(order: Order, at: datetime) -> Order:
    """Return the order with every case ended that waits for a refund and whose items have been refunded otherwise."""
    for case in order.cases:
        target = _target(case, "refund")
        if target is not None and not rest_of_case(order, case):
            last = next((each.refund_id for each in reversed(order.refunds) if each.of_charge), None)
            ended_now = {"status": target, "changed_at": at, "due_at": None, "refund_id": case.refund_id or last}
            order = _replaced(order, case.model_copy(update=ended_now))
    return flagged(order)


def due(order: Order, at: datetime) -> Order:
    """Return the order with every case moved whose deadline has come: a return or recall closes, a wait is over."""
    for case in order.cases:
        if case.due_at is not None and case.due_at <= at:
            target = _TARGETS[case.kind, case.status, "case_due"]
            order = _replaced(order, case.model_copy(update={"status": target, "changed_at": at, "due_at": None}))
    return flagged(order)


def arrived(order: Order, at: datetime, parcels: Collection[Shipment]) -> Order:
    """Return the order with what waits for a parcel closed, since the carrier has delivered `parcels`: reports, recalls."""
    if order.item_by_item:
        return _all_to_closed(
            order, at, lambda case: _target(case, "deliver") is not None and has_come(order, case, parcels)
        )
    everything = order.delivered_at is not None
    missing = CaseKind.NOT_RECEIVED
    return _all_to_closed(
        order, at, lambda case: everything and case.kind is missing and _target(case, "deliver") is not None
    )


def closed(order: Order, case_id: str, at: datetime) -> Order:
    """Return the order with one case closed."""
    return _all_to_closed(order, at, lambda case: case.case_id == case_id)


def ended(order: Order, at: datetime) -> Order:
    """Return the order with every open case closed: the order is cancelled."""
    return _all_to_closed(order, at, lambda case: case.open)


def _all_to_closed(order: Order, at: datetime, which: Callable[[Case], bool]) -> Order:
    for case in order.cases:
        if which(case):
            closed = {"status": CaseStatus.CLOSED, "changed_at": at, "due_at": None}
            order = _replaced(order, case.model_copy(update=closed))
    return flagged(order)


def _replaced(order: Order, case: Case) -> Order:
    cases = tuple(case if each.case_id == case.case_id else each for each in order.cases)
    return order.with_(cases=cases)


def flagged(order: Order) -> Order:
    """Return the order with the flags of its cases: something is open, a refund is owed to the buyer."""
    owed = {CaseStatus.APPROVED, CaseStatus.RECEIVED}
    wanted = {
        Flag.CASE_OPEN: any(case.open for case in order.cases),
        Flag.REFUND_DUE: any(case.status in owed and case.kind is not CaseKind.PARCEL for case in order.cases),
    }
    flags = (order.flags - wanted.keys()) | {flag for flag, on in wanted.items() if on}
    return order.with_(flags=frozenset(flags)) if flags != order.flags else order
