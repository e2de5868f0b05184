"""A combined parcel: several orders of one buyer to one address from one seller travel under one tracking number.

Policy: S6. One confirmation per order, and the shipping fee that is saved goes back on each order that names one.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, model_validator

from domain.base import Code, Form, Instant, Line60, Money, OrderNumber, Value, content_digest, read_form
from domain.commands import RefundForm, Ship
from domain.joint import address_digest
from domain.money import format_money
from domain.order import Actor, Fulfilment, Status
from domain.refund import RefundReason
from domain.refusals import Refusal
from domain.views import OrderView

MAX_ORDERS = 20
"""Orders in one parcel."""
MAX_PARCEL_BYTES = 65_536
"""Largest form of a parcel on the wire."""
MEMOS = {
    "en": "Sent in one parcel with other orders of yours: the shipping fee saved is refunded.",
    "ja": "ほかのご注文と同じ荷物で発送したため、節約できた配送料を返金します。",
    "zh": "本订单与您的其他订单合并为一个包裹发出，节省的运费予以退还。",
    "it": "Spedito in un unico pacco con altri tuoi ordini: le spese di spedizione risparmiate vengono rimborsate.",
}
"""What the buyer is told of the refund, by the language of its notices (D1)."""
_SHIPPABLE = frozenset({Status.UNSHIPPED, Status.PARTIALLY_SHIPPED})


class ParcelError(ValueError):
    """The parcel's form cannot be read; the message names each field, its value and its limit."""


class ParcelOrder(Form):
    """One order in the parcel; `saved` is what of its shipping fee goes back to the buyer, nothing without it."""

    order_number: OrderNumber
    saved: Money | None = None


class Parcel(Form):
    """2 to 20 orders in one parcel of one seller."""

    parcel_id: Code
    seller_id: Code
    carrier: Line60
    tracking_number: Code
    orders: Annotated[tuple[ParcelOrder, ...], Field(min_length=2, max_length=MAX_ORDERS)]

    @model_validator(mode="after")
    def _orders_once(self) -> Self:
        counts = Counter(each.order_number for each in self.orders)
        twice = sorted(number for number, count in counts.items() if count > 1)
        if twice:
            raise ValueError("; ".join(f"orders: {number} is named twice; name each order once" for number in twice))
        return self

    def content(self) -> str:
        """Return the SHA-256 of the parcel's content, by which a repeated one is compared (S6)."""
        return content_digest(self.model_dump(mode="json"))


class CheckedOrder(Value):
    """An order that may travel in the parcel: who confirms it, its buyer's language, its own clock when it was looked at.

    `address_digest` is of the address it had then, None in what was looked at before there was one.
    """

    order_number: str
    actor: Actor
    language: str
    clock: Instant
    address_digest: str | None = None


class ParcelChecked(Value):
    """The orders of a parcel, or every reason why they cannot travel together."""

    orders: tuple[CheckedOrder, ...] = ()
    errors: tuple[str, ...] = ()


class ParcelOrderResult(Value):
    """What became of one order: confirmed or refused, and of its saved shipping fee in minor units."""

    order_number: str
    confirmed: bool
    refusal: Refusal | None = None
    refunded_minor: int = 0
    refund_refusal: Refusal | None = None
    """Set where the order was confirmed, so that the buyer was charged, and the refund of the saved fee was refused."""


class ParcelResult(Value):
    """What became of each order of a parcel."""

    parcel_id: str
    orders: tuple[ParcelOrderResult, ...]


def parse_parcel(payload: object) -> Parcel:
    """Read a parcel from decoded JSON; raises ParcelError with all errors at once."""
    return read_form(Parcel, payload, "parcel", ParcelError, MAX_PARCEL_BYTES)


def parcel_errors(parcel: Parcel, found: Mapping[str, OrderView | None]) -> list[str]:
    """Return every reason why the orders cannot travel in one parcel, without personal data; none where they can (S6).

    `found` gives each order as the operator sees it, None where there is none of that number.
    """
    errors = []
    known = [view for each in parcel.orders if (view := found.get(each.order_number)) is not None]
    first = known[0] if known else None
    for each in parcel.orders:
        order = found.get(each.order_number)
        if order is None or first is None:
            errors.append(f"there is no order {each.order_number}")
            continue
        told = _own_errors(parcel, each, order)
        if order is not first:
            told += _differences(first, order)
        errors += [f"order {order.number} {error}" for error in told]
    return errors


def _own_errors(parcel: Parcel, each: ParcelOrder, order: OrderView) -> list[str]:
    errors = []
    if order.seller.seller_id != parcel.seller_id:
        errors.append(f"is of seller {order.seller.seller_id}, not of {parcel.seller_id}")
    if order.rejected is not None:
        errors.append("was refused at placement")
    elif order.status not in _SHIPPABLE:
        errors.append(f"is {order.status.value}; only unshipped and partially shipped orders are confirmed")
    elif not any(line.unshipped for line in order.lines):
        errors.append("has nothing left to ship")
    if each.saved is not None:
        errors += _fee_errors(each.saved, order)
    return errors


def _fee_errors(saved: Money, order: OrderView) -> list[str]:
    if saved.currency != order.currency:
        return [f"is paid in {order.currency}; the fee saved is given in {saved.currency}"]
    gone = sum(line.shipping_minor for refund in order.refunds for line in refund.lines)
    left = order.shipping_fee_minor - gone
    if saved.amount_minor > left:
        amounts = format_money(left, order.currency), format_money(saved.amount_minor, order.currency)
        return [f"has {amounts[0]} of its shipping fee left to refund, not {amounts[1]}"]
    return []


def _differences(first: OrderView, order: OrderView) -> list[str]:
    errors = []
    if first.buyer is None or order.buyer is None or first.buyer.buyer_id != order.buyer.buyer_id:
        errors.append(f"is of another buyer than order {first.number}")
    if first.address is None or first.address != order.address:
        errors.append(f"goes to another address than order {first.number}")
    if first.fulfilment is not order.fulfilment:
        errors.append(
            f"is {order.fulfilment.value}-fulfilled and order {first.number} {first.fulfilment.value}-fulfilled"
        )
    return errors


def checked(order: OrderView, clock: datetime) -> CheckedOrder:
    """Return an order that may travel: confirmed by its seller, or by the operator where the marketplace ships (S1)."""
    by_seller = order.fulfilment is Fulfilment.SELLER
    return CheckedOrder(
        order_number=order.number,
        actor=Actor.SELLER if by_seller else Actor.OPERATOR,
        language=order.buyer.language if order.buyer else "en",
        clock=clock,
        address_digest=address_digest(order.address) if order.address else None,
    )


def ship_command(parcel: Parcel, order: CheckedOrder) -> Ship:
    """Return the confirmation of everything left of one order, to the address it had when it was looked at (S6)."""
    return Ship(
        actor=order.actor,
        id=_command_id(parcel, order, "ship"),
        requested_at=order.clock,
        carrier=parcel.carrier,
        tracking_number=parcel.tracking_number,
        expected_address=order.address_digest,
    )


def refund_command(parcel: Parcel, order: CheckedOrder, saved: Money) -> RefundForm:
    """Return the refund of the shipping fee that one order saves (S6, R3)."""
    return RefundForm(
        actor=order.actor,
        id=_command_id(parcel, order, "refund"),
        requested_at=order.clock,
        reason=RefundReason.COMBINED_PARCEL,
        shipping=saved,
        memo=MEMOS[order.language],
    )


def _command_id(parcel: Parcel, order: CheckedOrder, name: str) -> str:
    return f"{parcel.parcel_id}/{order.order_number}/{name}"
