"""The deadlines of an order as absolute UTC instants, computed from the policy snapshot it carries.

Policy: the window table, C7, C8, S3, S4, A9, A10, G6.
"""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from domain.order import Order, Status
from domain.payment_state import PaymentStatus


class DeadlineName(StrEnum):
    """What closes or falls due; each is an event of the lifecycle table."""

    EDIT_WINDOW_CLOSED = "edit_window_closed"
    CANCEL_WINDOW_CLOSED = "cancel_window_closed"
    PROCESSING_WINDOW_CLOSED = "processing_window_closed"
    SHIP_DATE_PASSED = "ship_date_passed"
    CONFIRM_WINDOW_CLOSED = "confirm_window_closed"
    DELIVERY_ASSUMED = "delivery_assumed"
    RETURN_WINDOW_CLOSED = "return_window_closed"
    STORE_PAYMENT_DUE = "store_payment_due"
    ANSWER_DUE = "answer_due"
    SETTLEMENT_ENDED = "settlement_ended"
    CASE_DUE = "case_due"
    REFUND_DUE = "refund_due"
    RETENTION_ENDED = "retention_ended"


SUMMARIES = {
    DeadlineName.EDIT_WINDOW_CLOSED: "edit window closes",
    DeadlineName.CANCEL_WINDOW_CLOSED: "cancel window closes",
    DeadlineName.PROCESSING_WINDOW_CLOSED: "processing window closes: cancel if unverified",
    DeadlineName.SHIP_DATE_PASSED: "expected ship date passes: warn the seller",
    DeadlineName.CONFIRM_WINDOW_CLOSED: "confirm window closes: cancel if unconfirmed",
    DeadlineName.DELIVERY_ASSUMED: "longest delivery time ends: count as delivered",
    DeadlineName.RETURN_WINDOW_CLOSED: "return window closes: complete the order",
    DeadlineName.STORE_PAYMENT_DUE: "convenience-store payment falls due: ask, cancel if unpaid",
    DeadlineName.ANSWER_DUE: "the buyer's answer falls due: cancel if silent",
    DeadlineName.SETTLEMENT_ENDED: "settlement period ends: the charge becomes available",
    DeadlineName.CASE_DUE: "a return, recall or wait ends",
    DeadlineName.REFUND_DUE: "a refund should have arrived: ask the provider",
    DeadlineName.RETENTION_ENDED: "retention period ends: erase personal data",
}
"""How each timer is named in the Temporal UI."""

MOVES_THE_ORDER = frozenset(
    {
        DeadlineName.PROCESSING_WINDOW_CLOSED,
        DeadlineName.CONFIRM_WINDOW_CLOSED,
        DeadlineName.DELIVERY_ASSUMED,
        DeadlineName.RETURN_WINDOW_CLOSED,
        DeadlineName.STORE_PAYMENT_DUE,
        DeadlineName.ANSWER_DUE,
    }
)
"""Deadlines at which the marketplace changes the state of the order by itself."""


class Deadline(NamedTuple):
    """One deadline: its name and the UTC instant at which it falls due."""

    name: DeadlineName
    at: datetime


OPEN = frozenset({Status.PENDING, Status.UNSHIPPED})
"""States in which the edit and cancel windows run; a confirmed shipment or a cancellation ends them (E8)."""


def deadlines(order: Order) -> tuple[Deadline, ...]:
    """Return the deadlines of `order` that are still to come, the earliest first."""
    if order.rejected is not None:
        return ()
    policy, status = order.policy, order.status
    found: list[Deadline] = []
    if status in OPEN:
        found.append(Deadline(DeadlineName.EDIT_WINDOW_CLOSED, order.edit_until))
        found.append(Deadline(DeadlineName.CANCEL_WINDOW_CLOSED, order.cancel_until))
    if status is Status.PENDING:
        found.append(Deadline(DeadlineName.PROCESSING_WINDOW_CLOSED, order.placed_at + policy.processing_window))
        if order.payment.status is PaymentStatus.AWAITING and order.payment.due_at is not None:
            found.append(Deadline(DeadlineName.STORE_PAYMENT_DUE, order.payment.due_at))
    if status is Status.UNSHIPPED and order.answer_by is not None:
        found.append(Deadline(DeadlineName.ANSWER_DUE, order.answer_by))
    if status in (Status.UNSHIPPED, Status.PARTIALLY_SHIPPED):
        found.append(Deadline(DeadlineName.SHIP_DATE_PASSED, order.ship_by))
        found.append(Deadline(DeadlineName.CONFIRM_WINDOW_CLOSED, order.confirm_by))
    if status is Status.SHIPPED:
        last = max(shipment.confirmed_at for shipment in order.shipments)
        found.append(Deadline(DeadlineName.DELIVERY_ASSUMED, last + policy.delivery_window))
    if status is Status.DELIVERED and order.delivered_at is not None and not order.anything_open:
        found.append(Deadline(DeadlineName.RETURN_WINDOW_CLOSED, _completion(order, order.delivered_at)))
    found += _of_money_and_cases(order)
    # The stable sort keeps the order of the list above for deadlines that fall on one instant.
    return tuple(sorted((each for each in found if each.name not in order.passed), key=lambda each: each.at))


def _completion(order: Order, delivered_at: datetime) -> datetime:
    """Return when the return window has ended and nothing is open any more, whichever came last (A9)."""
    ended = [case.changed_at for case in order.cases]
    paid = [part.paid_at for each in order.refunds for part in each.parts if part.paid_at is not None]
    return max([delivered_at + order.policy.return_window, *ended, *paid])


def _of_money_and_cases(order: Order) -> list[Deadline]:
    """Return the deadlines that stand beside the order's own: cases, refunds, settlement, retention."""
    policy, charged_at = order.policy, order.payment.captured_at
    due = sorted(each.due_at for each in order.cases if each.due_at is not None)
    found = [Deadline(DeadlineName.CASE_DUE, at) for at in due[:1]]
    asks = sorted(part.ask_at for each in order.refunds for part in each.parts if part.ask_at is not None)
    found += [Deadline(DeadlineName.REFUND_DUE, at) for at in asks[:1]]
    if charged_at is not None and policy.settlement_window is not None and order.settled_minor is None:
        found.append(Deadline(DeadlineName.SETTLEMENT_ENDED, charged_at + policy.settlement_window))
    kept = policy.retention_window
    if order.closed_at is not None and kept is not None and order.erased_at is None and not order.anything_open:
        found.append(Deadline(DeadlineName.RETENTION_ENDED, order.closed_at + kept))
    return found


def next_deadline(order: Order) -> Deadline | None:
    """Return the earliest deadline still to come, for which the workflow keeps its one timer."""
    return next(iter(deadlines(order)), None)


def acting_deadline(order: Order) -> Deadline | None:
    """Return the earliest deadline at which the order's state changes by itself, the one that operators search by.

    A partly confirmed order has none: its confirm window ends without effect (S4).
    """
    if order.status is Status.PARTIALLY_SHIPPED:
        return None
    return next((each for each in deadlines(order) if each.name in MOVES_THE_ORDER), None)
