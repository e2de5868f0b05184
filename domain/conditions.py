"""The named conditions of the lifecycle's rows: what cannot be a column of the table."""

from collections.abc import Callable, Mapping
from datetime import datetime

from domain import commands
from domain.case import CaseStatus
from domain.commands import Command
from domain.lifecycle import When
from domain.order import Line, Order, ReviewStatus
from domain.payment_state import PaymentStatus
from domain.refunding import planned
from domain.refusals import Refusal


def shipped_now(order: Order, command: Command) -> dict[str, int]:
    """Return the units by sku that a confirmation covers: those named, or all that are left."""
    assert isinstance(command, commands.Ship)  # noqa: S101 - narrows the type; only Ship reaches here
    if command.lines:
        return {line.sku: line.quantity for line in command.lines}
    return {line.sku: line.unshipped for line in order.lines if line.unshipped}


def edited_lines(order: Order, command: commands.Edit) -> tuple[Line, ...]:
    """Return the order's lines with the quantities of the edit, dropped ones left out."""
    wanted = {line.sku: line.quantity for line in command.lines}
    lines = (line.model_copy(update={"quantity": wanted.get(line.sku, line.quantity)}) for line in order.lines)
    return tuple(line for line in lines if line.quantity)


def edited_fee(order: Order, command: commands.Edit) -> int:
    """Return the shipping fee after the edit, in minor units."""
    if command.shipping_option is None:
        return order.shipping_fee_minor
    return order.policy.shipping_options[command.shipping_option]


def edited_total(order: Order, command: commands.Edit) -> int:
    """Return the order's total after the edit, in minor units."""
    lines = edited_lines(order, command)
    return edited_fee(order, command) + sum(line.quantity * line.unit_price_minor for line in lines)


def _all_confirmed(order: Order, command: Command | None) -> bool:
    now = shipped_now(order, command) if isinstance(command, commands.Ship) else {}
    return all(line.unshipped <= now.get(line.sku, 0) for line in order.lines)


def _all_delivered(order: Order, command: Command | None) -> bool:
    named = command.shipment_id if isinstance(command, commands.Deliver) else None
    return named is None or all(each.delivered_at or each.shipment_id == named for each in order.shipments)


def in_review(order: Order) -> bool:
    """Return whether the marketplace holds the order's details for review (G4)."""
    return order.review is not None and order.review.status is ReviewStatus.HELD


def part_returned(order: Order, command: Command | None) -> bool:
    """Return whether a return of what was shipped without a confirmation leaves something of the order to be shipped (A3)."""
    case_id = getattr(command, "case_id", None)
    coming = [each for each in order.cases if each.status is CaseStatus.AUTHORIZED and case_id in (None, each.case_id)]
    if len(coming) != 1 or not order.item_by_item:
        return False
    return any(line.quantity > coming[0].quantities.get(line.sku, 0) for line in order.lines)


def _everything_arrived(order: Order) -> bool:
    return all(each.delivered_at is not None for each in order.shipments)


def _left_after_refund(order: Order, command: Command | None) -> bool:
    lines = planned(order, command) if isinstance(command, commands.RefundForm) else ()
    if isinstance(lines, Refusal):
        return True
    gone = {line.sku: line.not_shipped for line in lines}
    return any(line.unshipped > gone.get(line.sku, 0) for line in order.lines)


def _some_left(order: Order, command: Command | None) -> bool:
    refunds = isinstance(command, commands.RefundForm)
    return _left_after_refund(order, command) if refunds else not _all_confirmed(order, command)


Condition = Callable[[Order, Command | None, datetime], bool]
_CONDITIONS: Mapping[When, Condition] = {
    When.ALWAYS: lambda _order, _command, _at: True,
    When.EDIT_WINDOW_OPEN: lambda order, _command, at: at < order.edit_until,
    When.CANCEL_WINDOW_OPEN: lambda order, _command, at: at < order.cancel_until,
    When.CANCEL_WINDOW_CLOSED: lambda order, _command, at: at >= order.cancel_until,
    When.ALL_CONFIRMED: lambda order, command, _at: _all_confirmed(order, command),
    When.SOME_LEFT: lambda order, command, _at: _some_left(order, command),
    When.ALL_DELIVERED: lambda order, command, _at: _all_delivered(order, command),
    When.PARCELS_UNDERWAY: lambda order, command, _at: not _all_delivered(order, command),
    When.IN_REVIEW: lambda order, _command, _at: in_review(order),
    When.NOT_IN_REVIEW: lambda order, _command, _at: not in_review(order),
    When.PAYMENT_HELD: lambda order, _command, _at: order.payment.status is PaymentStatus.AUTHORIZED,
    When.PAYMENT_NOT_HELD: lambda order, _command, _at: order.payment.status is not PaymentStatus.AUTHORIZED,
    When.ALL_RETURNED: lambda order, command, _at: not part_returned(order, command),
    When.PART_RETURNED: lambda order, command, _at: part_returned(order, command),
    When.REST_UNDERWAY: lambda order, command, _at: (
        not _left_after_refund(order, command) and not _everything_arrived(order)
    ),
    When.REST_DELIVERED: lambda order, command, _at: (
        not _left_after_refund(order, command) and _everything_arrived(order)
    ),
}


def holds(when: When, order: Order, command: Command | None, at: datetime) -> bool:
    """Return whether the condition `when` holds for `order` and `command` at the judged instant."""
    return _CONDITIONS[when](order, command, at)
