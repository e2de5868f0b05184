"""What may be seen of an order, and by whom.

Policy: G1 (a Pending order hides the buyer from the seller), A7 (delivery ends the seller's access to the phone number).
"""

from datetime import datetime

from domain.base import Instant, Value
from domain.deadlines import OPEN, next_deadline
from domain.order import (
    Actor,
    Address,
    Buyer,
    Cancellation,
    CancellationRequest,
    Flag,
    Fulfilment,
    Line,
    Order,
    Payment,
    Shipment,
    Status,
)
from domain.policy import SellerProfile
from domain.refusals import Refusal


class WindowView(Value):
    """One window of an order: `name`, the instant it closes and whether it has been acted upon."""

    name: str
    closes_at: Instant
    closed: bool


class OrderView(Value):
    """An order as a query answers it and the store keeps it; money in minor units of `currency`, instants in UTC.

    `buyer`, `address` and `payment` are None where the viewer may not see them.
    """

    number: str
    version: int
    content: str
    status: Status
    marketplace: str
    seller: SellerProfile
    fulfilment: Fulfilment
    buyer: Buyer | None
    address: Address | None
    currency: str
    timezone: str
    lines: tuple[Line, ...]
    shipping_option: str
    shipping_fee_minor: int
    total_minor: int
    placed_at: Instant
    expected_ship_at: Instant
    confirm_by: Instant
    verified_at: Instant | None
    payment: Payment | None
    voids: tuple[str, ...]
    request: CancellationRequest | None
    cancellation: Cancellation | None
    shipments: tuple[Shipment, ...]
    delivered_at: Instant | None
    completed_at: Instant | None
    flags: tuple[Flag, ...]
    windows: tuple[WindowView, ...]
    next_deadline: str | None
    next_deadline_at: Instant | None
    clock: Instant
    rejected: Refusal | None = None
    """Why there is no such order: the placement itself was refused."""


def view(order: Order, now: datetime, viewer: Actor = Actor.OPERATOR) -> OrderView:
    """Return what `viewer` may see of `order` at `now`.

    The seller sees no buyer, address or payment while the order is pending (G1), never how it is paid (P5), and the
    phone number only until delivery and only if it ships the order itself (A7). A mail address that the seller sees is the buyer's.
    """
    due, over = next_deadline(order), order.status not in OPEN or order.rejected is not None
    closing = {
        "edit": order.edit_until,
        "cancel": order.cancel_until,
        "processing": order.placed_at + order.policy.processing_window,
        "confirm": order.confirm_by,
    }
    full = OrderView(
        number=order.number,
        version=order.version,
        content=order.content,
        status=order.status,
        marketplace=order.marketplace,
        seller=order.policy.seller,
        fulfilment=order.fulfilment,
        buyer=order.buyer,
        address=order.address,
        currency=order.currency,
        timezone=order.policy.timezone,
        lines=order.lines,
        shipping_option=order.shipping_option,
        shipping_fee_minor=order.shipping_fee_minor,
        total_minor=order.total_minor,
        placed_at=order.placed_at,
        expected_ship_at=order.expected_ship_at,
        confirm_by=order.confirm_by,
        verified_at=order.verified_at,
        payment=order.payment,
        voids=order.voids,
        request=order.request,
        cancellation=order.cancellation,
        shipments=order.shipments,
        delivered_at=order.delivered_at,
        completed_at=order.completed_at,
        flags=tuple(sorted(order.flags)),
        windows=tuple(WindowView(name=name, closes_at=at, closed=now >= at or over) for name, at in closing.items()),
        next_deadline=due.name.value if due else None,
        next_deadline_at=due.at if due else None,
        clock=now,
        rejected=order.rejected,
    )
    return seller_view(full) if viewer is Actor.SELLER else full


def seller_view(full: OrderView) -> OrderView:
    """Return the part of `full` that the order's seller may see (G1, A7, P5)."""
    hidden = full.verified_at is None
    phone_over = (
        full.delivered_at is not None or full.cancellation is not None or full.fulfilment is Fulfilment.MARKETPLACE
    )
    buyer = full.buyer
    if buyer is not None and phone_over:
        buyer = buyer.model_copy(update={"phone": None})
    return full.model_copy(
        update={
            "request": full.request and full.request.model_copy(update={"note": None if hidden else full.request.note}),
            "buyer": None if hidden else buyer,
            "address": None if hidden else full.address,
            "payment": None,
            "voids": (),
        }
    )
