"""The named conditions of the lifecycle's rows: what cannot be a column of the table."""

from datetime import datetime

from domain import commands
from domain.commands import Command
from domain.lifecycle import When
from domain.order import Order, PaymentStatus, ReviewStatus
from domain.refunding import planned
from domain.refusals import Refusal


def shipped_now(order: Order, command: Command) -> dict[str, int]:
    """Return the units by sku that a confirmation covers: those named, or all that are left."""
    assert isinstance(command, commands.Ship)  # noqa: S101 - narrows the type; only Ship reaches here
    if command.lines:
        return {line.sku: line.quantity for line in command.lines}
    return {line.sku: line.unshipped for line in order.lines if line.unshipped}


def _all_confirmed(order: Order, command: Command | None) -> bool:
    now = shipped_now(order, command) if isinstance(command, commands.Ship) else {}
    return all(line.unshipped <= now.get(line.sku, 0) for line in order.lines)


def _all_delivered(order: Order, command: Command | None) -> bool:
    named = command.shipment_id if isinstance(command, commands.Deliver) else None
    return named is None or all(each.delivered_at or each.shipment_id == named for each in order.shipments)


def holds(when: When, order: Order, command: Command | None, at: datetime) -> bool:  # noqa: PLR0911 - one for each condition
    """Return whether the condition `when` holds for `order` and `command` at the judged instant."""
    match when:
        case When.EDIT_WINDOW_OPEN:
            return at < order.edit_until
        case When.CANCEL_WINDOW_OPEN:
            return at < order.cancel_until
        case When.CANCEL_WINDOW_CLOSED:
            return at >= order.cancel_until
        case When.ALL_CONFIRMED:
            return _all_confirmed(order, command)
        case When.SOME_LEFT if isinstance(command, commands.RefundForm):
            return _left_after_refund(order, command)
        case When.SOME_LEFT:
            return not _all_confirmed(order, command)
        case When.ALL_DELIVERED:
            return _all_delivered(order, command)
        case When.PARCELS_UNDERWAY:
            return not _all_delivered(order, command)
        case When.IN_REVIEW:
            return in_review(order)
        case When.NOT_IN_REVIEW:
            return not in_review(order)
        case When.PAYMENT_HELD:
            return order.payment.status is PaymentStatus.AUTHORIZED
        case When.PAYMENT_NOT_HELD:
            return order.payment.status is not PaymentStatus.AUTHORIZED
        case When.REST_UNDERWAY:
            return not _left_after_refund(order, command) and not _everything_arrived(order)
        case When.REST_DELIVERED:
            return not _left_after_refund(order, command) and _everything_arrived(order)
        case When.ALWAYS:
            return True


def in_review(order: Order) -> bool:
    """Return whether the marketplace holds the order's details for review (G4)."""
    return order.review is not None and order.review.status is ReviewStatus.HELD


def _everything_arrived(order: Order) -> bool:
    return all(each.delivered_at is not None for each in order.shipments)


def _left_after_refund(order: Order, command: Command | None) -> bool:
    lines = planned(order, command) if isinstance(command, commands.RefundForm) else ()
    if isinstance(lines, Refusal):
        return True
    gone = {line.sku: line.not_shipped for line in lines}
    return any(line.unshipped > gone.get(line.sku, 0) for line in order.lines)
