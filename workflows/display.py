"""What the Temporal UI shows of an order: search attributes, and live details in Markdown. No personal data in either."""

from datetime import UTC, datetime
from typing import Any

from temporalio.common import SearchAttributeKey, SearchAttributePair, SearchAttributeUpdate, TypedSearchAttributes

from domain.base import format_instant
from domain.deadlines import SUMMARIES, acting_deadline, deadlines
from domain.money import format_money
from domain.order import Flag, Order, Status
from domain.placement import PlaceOrder, placed_total, review_needed
from domain.refunding import refundable_minor

STATUS = SearchAttributeKey.for_keyword("OrderStatus")
SELLER = SearchAttributeKey.for_keyword("OrderSeller")
NEXT_DEADLINE = SearchAttributeKey.for_datetime("OrderNextDeadline")
FLAGS = SearchAttributeKey.for_keyword_list("OrderFlags")
ATTRIBUTES = (STATUS, SELLER, NEXT_DEADLINE, FLAGS)
"""Every search attribute of an order; a worker sees to it that they exist before it takes work."""


def shown(order: Order) -> tuple[str, tuple[str, ...]]:
    """Return what the attributes show besides the deadline: they are upserted only when this changes."""
    return ("refused" if order.rejected else order.status.value, tuple(sorted(order.flags)))


def attribute_updates(order: Order) -> list[SearchAttributeUpdate[Any]]:
    """Return the upserts that bring status, flags and next deadline up to date.

    The next deadline is the instant at which the order's state changes by itself; it moves only with the state.
    """
    status, flags = shown(order)
    due = acting_deadline(order)
    return [
        STATUS.value_set(status),
        FLAGS.value_set(list(flags)),
        NEXT_DEADLINE.value_set(due.at) if due else NEXT_DEADLINE.value_unset(),
    ]


def first_attributes(place: PlaceOrder) -> TypedSearchAttributes:
    """Return the attributes with which an order starts; with `live_attributes` off only the seller, which never changes."""
    seller = SearchAttributePair(SELLER, place.placement.seller_id)
    if not place.policy.live_attributes:
        return TypedSearchAttributes([seller])
    deadline = SearchAttributePair(NEXT_DEADLINE, datetime.now(UTC) + place.policy.processing_window)
    pairs: list[SearchAttributePair[Any]] = [seller, SearchAttributePair(STATUS, Status.PENDING.value), deadline]
    if review_needed(placed_total(place.placement, place.policy), place.policy):
        pairs.append(SearchAttributePair(FLAGS, [Flag.IN_REVIEW.value]))
    return TypedSearchAttributes(pairs)


def _held_or_charged(order: Order) -> str:
    if order.payment.captured_minor:
        left = format_money(refundable_minor(order), order.currency)
        return f"charged {format_money(order.payment.captured_minor, order.currency)}, left to refund {left}"
    return f"held {format_money(order.payment.authorized_minor, order.currency)}"


def details(order: Order, now: datetime) -> str:
    """Return the order in Markdown for an operator: state, money, deadlines, flags, the newest history."""
    payment = order.payment
    rows = [
        f"### {order.number}: {shown(order)[0]}",
        "",
        "| | |",
        "|---|---|",
        f"| Total | {format_money(order.total_minor, order.currency)} |",
        f"| Payment | {payment.status.value} ({payment.method.value}), {_held_or_charged(order)} |",
        f"| Seller | {order.seller_id} ({order.fulfilment.value}-fulfilled) |",
        f"| Items | {', '.join(f'{line.quantity} × {line.sku} ({line.shipped} shipped)' for line in order.lines)} |",
        f"| Placed | {format_instant(order.placed_at)} |",
        f"| Expected to ship | {format_instant(order.expected_ship_at)} |",
    ]
    rows += [f"| Parcel {each.shipment_id} | {each.carrier} {each.tracking_number} |" for each in order.shipments]
    rows += [
        f"| Refund {each.refund_id} | {format_money(each.amount_minor, order.currency)} {each.status.value}: {each.reason.value} |"
        for each in order.refunds
    ]
    rows += [f"| Case {each.case_id} | {each.kind.value}: {each.status.value} |" for each in order.cases]
    if order.review:
        rows.append(f"| Review | {order.review.status.value} since {format_instant(order.review.since)} |")
    if order.messages:
        rows.append(f"| Messages | {len(order.messages)} |")
    if order.flags:
        rows.append(f"| **Flags** | **{', '.join(sorted(order.flags))}** |")
    if order.cancellation:
        rows.append(f"| Cancelled | by {order.cancellation.actor.value}: {order.cancellation.reason} |")
    if order.voids:
        rows.append(f"| To be voided | {', '.join(order.voids)} |")
    coming = [f"- {format_instant(each.at)}: {SUMMARIES[each.name]}" for each in deadlines(order)]
    rows += ["", "**Deadlines**", *(coming or ["- none"]), "", "**Newest history**"]
    for entry in order.history[-6:]:
        answer = "" if entry.accepted else f" — {entry.refusal.code if entry.refusal else 'failed'}"
        who = entry.actor.value if entry.actor else "unknown"
        rows.append(f"- {format_instant(entry.at)}: {entry.name} ({who}){answer}")
    return "\n".join([*rows, "", f"As of {format_instant(now)}, the order's own clock."])
