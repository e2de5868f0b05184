"""What the notices may speak of beside the order itself: its parcels, its payment, and the message, refund or case they are about.

Every fact is taken from the view of the recipient, so that what is hidden there is in no mail.

Policy: P5, V6, R4, R7, C11, A1, A3, A4, A5, A6.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from domain.base import MAX_TEXT
from domain.case import Case
from domain.effects import Notice, NoticeKind
from domain.message import OrderMessage, alias
from domain.order import Actor
from domain.payment_state import PaymentStatus
from domain.refund import PaymentMethod, Refund, RefundStatus
from domain.views import OrderView

REFUND_KINDS = frozenset({NoticeKind.REFUND_REQUESTED, NoticeKind.REFUND_PAID, NoticeKind.REFUND_FAILED})
CASE_KINDS = frozenset({NoticeKind.CASE_OPENED, NoticeKind.CASE_CHANGED})


class Paying(NamedTuple):
    """How an order is paid, in minor units: by card, at a convenience store (`store_minor`) and with points.

    `store_paid` tells that the money is known to be there, `number` and `due_at` where and until when it can be paid now.
    """

    card_minor: int
    store_minor: int
    points_minor: int
    store_paid: bool
    number: str | None
    due_at: datetime | None


def paying(order: OrderView) -> Paying | None:
    """Return how `order` is paid, None where the viewer may not see it (P5)."""
    payment = order.payment
    if payment is None:
        return None
    total = payment.captured_minor or payment.amount_minor
    shares = payment.shares(total)
    at_store = payment.method is PaymentMethod.KONBINI
    there = payment.status in (PaymentStatus.AUTHORIZED, PaymentStatus.CAPTURED) or order.verified_at is not None
    awaited = at_store and payment.status is PaymentStatus.AWAITING
    return Paying(
        card_minor=shares.get(PaymentMethod.CARD, 0),
        store_minor=shares.get(PaymentMethod.KONBINI, 0),
        points_minor=shares.get(PaymentMethod.POINTS, 0),
        store_paid=at_store and there,
        number=payment.number if awaited else None,
        due_at=payment.due_at if awaited else None,
    )


def titled(
    order: OrderView, quantities: Mapping[str, int], kept: Mapping[str, str] | None = None
) -> list[tuple[str, int]]:
    """Return `quantities` as (title, units); an item that has left the order goes by the title `kept` of it, else by its sku."""
    titles = {**(kept or {}), **{line.sku: line.title for line in order.lines}}
    return [(titles.get(sku, sku), units) for sku, units in quantities.items()]


def shipment_facts(order: OrderView) -> dict[str, Any]:
    """Return the newest parcel, what is in it and what is left, each as (title, units)."""
    parcel = order.shipments[-1] if order.shipments else None
    return {
        "parcel": parcel,
        "packed": titled(order, parcel.quantities) if parcel else [],
        "left_over": [(line.title, line.unshipped) for line in order.lines if line.unshipped],
        "charged_minor": order.payment.captured_minor if order.payment else 0,
    }


def reduction_facts(order: OrderView) -> dict[str, Any]:
    """Return the newest cancellation of items, if there is one, with its units (C11)."""
    if not order.reductions:
        return {"reduction": None, "taken_out": []}
    reduction = order.reductions[-1]
    return {"reduction": reduction, "taken_out": titled(order, reduction.quantities, reduction.titles)}


def refund_facts(order: OrderView, refund: Refund) -> dict[str, Any]:
    """Return the rows of `refund` as (title, code, minor units), one of title and code, and what goes back where (R4, R7)."""
    titles = {line.sku: line.title for line in order.lines}
    shipping = sum(line.shipping_minor for line in refund.lines)
    rows: list[tuple[str | None, str | None, int]] = []
    for line in refund.lines:
        title = titles.get(line.sku, line.sku)
        if line.items_minor:
            rows.append((f"{line.quantity} × {title}" if line.quantity else title, None, line.items_minor))
    rows += [(None, "shipping", shipping)] if shipping else []
    rows += [(None, each.kind.value, -each.amount_minor) for each in refund.deductions]
    # Who may not see how the order is paid is not told where the money goes (P5).
    parts = refund.parts if order.payment is not None else ()
    return {
        "refund": refund,
        "refund_rows_of": [*rows, (None, "refund", refund.amount_minor)],
        "not_shipped": titled(order, {line.sku: line.not_shipped for line in refund.lines if line.not_shipped}),
        "refund_parts": parts,
        "failed_parts": [part for part in parts if part.status is RefundStatus.FAILED],
        "expected_at": max((part.expected_at for part in parts if part.expected_at), default=None),
        "paid_at": max((part.paid_at for part in parts if part.paid_at), default=None),
    }


def message_facts(order: OrderView, message: OrderMessage) -> dict[str, Any]:
    """Return `message`, its writer's name (None while the recipient may not know it) and alias, and an answer's limit (V6)."""
    by_seller = message.sender == Actor.SELLER
    buyer = order.buyer.name if order.buyer else None
    return {
        "message": message,
        "writer": order.seller.name if by_seller else buyer,
        "writer_alias": alias(order.number, message.sender),
        "most_characters": MAX_TEXT,
        "all_items": [(line.title, line.quantity) for line in order.lines],
    }


def case_facts(order: OrderView, case: Case, opened: bool) -> dict[str, Any]:
    """Return `case`, the units that it is about, and whether it is told of for the first time."""
    return {"case": case, "concerned": titled(order, case.quantities), "opened": opened}


def subject_facts(notice: Notice, order: OrderView) -> dict[str, Any]:
    """Return the facts of the message, refund, case or payment number that `notice` is about, none for other kinds.

    Raises ValueError when the order has no such message, refund or case, or no payment number that could be paid.
    """
    kind, wanted = notice.kind, notice.subject_id
    if kind is NoticeKind.PAY_AT_STORE:
        payment = order.payment
        if payment is None or payment.number is None or payment.due_at is None:
            raise ValueError(f"notice {notice.key}: order {order.number} has no payment number")
        to_pay = payment.amount_minor - payment.points_minor
        return {"number": payment.number, "due_at": payment.due_at, "to_pay_minor": to_pay}
    if kind in (NoticeKind.MESSAGE, NoticeKind.MESSAGE_UNDELIVERED):
        for message in order.messages:
            if message.message_id == wanted:
                return message_facts(order, message)
    elif kind in REFUND_KINDS:
        for refund in order.refunds:
            if refund.refund_id == wanted:
                return refund_facts(order, refund)
    elif kind in CASE_KINDS:
        for case in order.cases:
            if case.case_id == wanted:
                return case_facts(order, case, notice.kind is NoticeKind.CASE_OPENED)
    else:
        return {}
    raise ValueError(f"notice {notice.key} is about {wanted}, which order {order.number} does not have")
