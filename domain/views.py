"""What may be seen of an order, and by whom.

Policy: G1 (a Pending order hides the buyer from the seller), A7 (delivery ends the seller's access to the phone number).
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from domain.base import Instant, Value
from domain.case import Case
from domain.correspondence import offered_replies
from domain.deadlines import OPEN, next_deadline
from domain.message import OrderMessage, Rating, Template, alias
from domain.movements import Movement, movements
from domain.order import (
    Actor,
    Address,
    Business,
    Buyer,
    Cancellation,
    CancellationRequest,
    EntryKind,
    Flag,
    Fulfilment,
    HistoryEntry,
    Line,
    Order,
    Reduction,
    Review,
    Shipment,
    Status,
)
from domain.payment_state import Payment
from domain.policy import SellerProfile
from domain.refund import PaymentMethod, Refund
from domain.refunding import refundable_minor
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
    business: Business | None = None
    purchase: str | None = None
    review: Review | None = None
    reductions: tuple[Reduction, ...] = ()
    refunds: tuple[Refund, ...] = ()
    refundable_minor: int = 0
    """What of the charge has not been refunded yet."""
    cases: tuple[Case, ...] = ()
    messages: tuple[OrderMessage, ...] = ()
    offered_replies: tuple[Template, ...] = ()
    """The ready replies that the seller is offered to the buyer's newest message (C6)."""
    answer_by: Instant | None = None
    rating: Rating | None = None
    available_at: Instant | None = None
    """When the charge becomes available to the seller; before, it is in settlement (S7)."""
    movements: tuple[Movement, ...] = ()
    """Every money movement of the order, for the ledger."""
    erased_at: Instant | None = None

    @property
    def items_minor(self) -> int:
        """Price of all lines, in minor units."""
        return sum(line.quantity * line.unit_price_minor for line in self.lines)

    @property
    def ship_by(self) -> datetime:
        """The instant after which a shipment is late (S3)."""
        return max(self.expected_ship_at, self.verified_at or self.expected_ship_at)


def view(order: Order, now: datetime, viewer: Actor = Actor.OPERATOR) -> OrderView:
    """Return what `viewer` may see of `order` at `now`.

    The seller sees no buyer, address or payment while the order is pending (G1), never how it is paid (P5), and the
    phone number only until delivery and only if it ships the order itself (A7). Each side knows the other's mail address as
    an alias (V6), and the buyer neither why an order is reviewed nor what the seller is paid.
    """
    due, over = next_deadline(order), order.status not in OPEN or order.rejected is not None
    closing = {
        "edit": order.edit_until,
        "cancel": order.cancel_until,
        "processing": order.placed_at + order.policy.processing_window,
        "confirm": order.confirm_by,
    }
    made: dict[str, Any] = {
        "seller": order.policy.seller,
        "buyer": None if order.erased_at else order.buyer,
        "address": None if order.erased_at else order.address,
        "timezone": order.policy.timezone,
        "flags": tuple(sorted(order.flags)),
        "windows": tuple(WindowView(name=name, closes_at=at, closed=now >= at or over) for name, at in closing.items()),
        "next_deadline": due.name.value if due else None,
        "next_deadline_at": due.at if due else None,
        "clock": now,
        "refundable_minor": refundable_minor(order),
        "offered_replies": offered_replies(order),
        "available_at": _available_at(order),
        "movements": movements(order),
    }
    # Everything else is shown as the order has it, under the same name.
    same = {name: getattr(order, name) for name in OrderView.model_fields if name not in made}
    full = OrderView(**same, **made)
    views = {Actor.SELLER: seller_view, Actor.BUYER: buyer_view}
    return views[viewer](full) if viewer in views else full


def _available_at(order: Order) -> datetime | None:
    charged_at, window = order.payment.captured_at, order.policy.settlement_window
    return None if charged_at is None or window is None else charged_at + window


def _merged(refund: Refund) -> Refund:
    """Return a refund without what its payment methods would tell of points."""
    if not refund.parts:
        return refund
    part = refund.parts[0].model_copy(
        update={
            "method": PaymentMethod.CARD,
            "payment_reference": "",
            "reference": "",
            "amount_minor": refund.amount_minor,
            "status": refund.status,
            "failure_code": None,
        }
    )
    return refund.model_copy(update={"parts": (part,)})


def history_view(entries: Iterable[HistoryEntry], viewer: Actor) -> list[HistoryEntry]:
    """Return what `viewer` may see of a history; the seller sees nothing of how the order is paid, of points least (P5)."""
    if viewer is not Actor.SELLER:
        return list(entries)
    return [_without_payment(each) if _tells_of_payment(each) else each for each in entries]


def _tells_of_payment(entry: HistoryEntry) -> bool:
    return entry.kind is EntryKind.OUTCOME or entry.name in ("pay_again", "payment_event")


def _without_payment(entry: HistoryEntry) -> HistoryEntry:
    """Return an entry without its details; of a refusal no more than that there was one."""
    refusal = entry.refusal and entry.refusal.model_copy(update={"message": "", "remedy": ""})
    return entry.model_copy(update={"detail": "", "command_id": None, "refusal": refusal})


def _note(full: OrderView, hidden: bool) -> str | None:
    """Return what the seller reads of a cancellation's note: its own, or that of a buyer it knows."""
    cancellation = full.cancellation
    if cancellation is None or (cancellation.actor is Actor.BUYER and hidden):
        return None
    return cancellation.note if cancellation.actor in (Actor.SELLER, Actor.BUYER) else None


def buyer_view(full: OrderView) -> OrderView:
    """Return the part of `full` that the order's buyer may see (V6)."""
    seller = full.seller.model_copy(update={"email": alias(full.number, Actor.SELLER)})
    return full.model_copy(update={"seller": seller, "review": None, "movements": (), "available_at": None})


def seller_view(full: OrderView) -> OrderView:
    """Return the part of `full` that the order's seller may see (G1, A7, P5)."""
    hidden = full.verified_at is None
    phone_over = (
        full.delivered_at is not None or full.cancellation is not None or full.fulfilment is Fulfilment.MARKETPLACE
    )
    buyer = full.buyer
    if buyer is not None:
        known_as = {"email": alias(full.number, Actor.BUYER)} | ({"phone": None} if phone_over else {})
        buyer = buyer.model_copy(update=known_as)
    return full.model_copy(
        update={
            "request": full.request and full.request.model_copy(update={"note": None if hidden else full.request.note}),
            "cancellation": full.cancellation and full.cancellation.model_copy(update={"note": _note(full, hidden)}),
            "buyer": None if hidden else buyer,
            "address": None if hidden else full.address,
            "payment": None,
            "voids": (),
            "business": None if hidden else full.business,
            "purchase": None,
            "review": None,
            "refunds": tuple(_merged(refund) for refund in full.refunds if refund.of_charge),
            "movements": (),
        }
    )
