"""The deadlines of an order as absolute UTC instants, computed from the policy snapshot it carries.

Policy: the window table, C7, C8, S3, S4, A9, A10, G6.
"""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from domain.order import Order, Status


class DeadlineName(StrEnum):
    """What closes or falls due; each is an event of the lifecycle table."""

    EDIT_WINDOW_CLOSED = "edit_window_closed"
    CANCEL_WINDOW_CLOSED = "cancel_window_closed"
    PROCESSING_WINDOW_CLOSED = "processing_window_closed"
    SHIP_DATE_PASSED = "ship_date_passed"
    CONFIRM_WINDOW_CLOSED = "confirm_window_closed"
    DELIVERY_ASSUMED = "delivery_assumed"
    RETURN_WINDOW_CLOSED = "return_window_closed"


SUMMARIES = {
    DeadlineName.EDIT_WINDOW_CLOSED: "edit window closes",
    DeadlineName.CANCEL_WINDOW_CLOSED: "cancel window closes",
    DeadlineName.PROCESSING_WINDOW_CLOSED: "processing window closes: cancel if unverified",
    DeadlineName.SHIP_DATE_PASSED: "expected ship date passes: warn the seller",
    DeadlineName.CONFIRM_WINDOW_CLOSED: "confirm window closes: cancel if unconfirmed",
    DeadlineName.DELIVERY_ASSUMED: "longest delivery time ends: count as delivered",
    DeadlineName.RETURN_WINDOW_CLOSED: "return window closes: complete the order",
}
"""How each timer is named in the Temporal UI."""

MOVES_THE_ORDER = frozenset(
    {
        DeadlineName.PROCESSING_WINDOW_CLOSED,
        DeadlineName.CONFIRM_WINDOW_CLOSED,
        DeadlineName.DELIVERY_ASSUMED,
        DeadlineName.RETURN_WINDOW_CLOSED,
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
    if status in (Status.UNSHIPPED, Status.PARTIALLY_SHIPPED):
        found.append(Deadline(DeadlineName.SHIP_DATE_PASSED, order.ship_by))
        found.append(Deadline(DeadlineName.CONFIRM_WINDOW_CLOSED, order.confirm_by))
    if status is Status.SHIPPED:
        last = max(shipment.confirmed_at for shipment in order.shipments)
        found.append(Deadline(DeadlineName.DELIVERY_ASSUMED, last + policy.delivery_window))
    if status is Status.DELIVERED and order.delivered_at is not None:
        found.append(Deadline(DeadlineName.RETURN_WINDOW_CLOSED, order.delivered_at + policy.return_window))
    # The stable sort keeps the order of the list above for deadlines that fall on one instant.
    return tuple(sorted((each for each in found if each.name not in order.passed), key=lambda each: each.at))


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
