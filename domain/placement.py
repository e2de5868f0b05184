"""How an order comes to be: the placement form, its limits, and the first state of an order.

Policy: P1, P3, P5, P7.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from domain.base import CardToken, Code, Form, Line120, Money, OrderNumber, Quantity, Value
from domain.effects import Authorize, Reservation
from domain.order import (
    Actor,
    Address,
    Buyer,
    EntryKind,
    Fulfilment,
    HistoryEntry,
    Line,
    Order,
    Payment,
    PaymentStatus,
    Status,
)
from domain.policy import PolicySnapshot, describe_errors
from domain.views import OrderView

MAX_ITEMS = 50
MAX_UNITS = 1000
MAX_UNITS_OF_ONE = 999
MAX_PLACEMENT_BYTES = 262_144
"""Largest placement on the wire."""


class PlacementError(ValueError):
    """The order cannot be placed; the message names each field, its value and its limit."""


class PlacementLine(Form):
    """One item of the cart."""

    sku: Code
    title: Line120
    quantity: Quantity
    unit_price: Money


class CardPayment(Form):
    """Payment by card: `card` is the provider's token, never a card number."""

    method: Annotated[str, Field(pattern=r"^card$")] = "card"
    card: CardToken


class Placement(Form):
    """A cart as the buyer orders it."""

    order_number: OrderNumber
    marketplace: Code
    seller_id: Code
    fulfilment: Fulfilment = Fulfilment.SELLER
    buyer: Buyer
    shipping_address: Address
    shipping_option: Code
    lines: Annotated[tuple[PlacementLine, ...], Field(min_length=1)]
    payment: CardPayment

    @model_validator(mode="after")
    def _cart_holds(self) -> Self:
        errors = cart_errors([(line.sku, line.quantity) for line in self.lines])
        currencies = sorted({line.unit_price.currency for line in self.lines})
        if len(currencies) > 1:
            errors.append(f"lines: prices in {' and '.join(currencies)}; an order has one currency")
        if errors:
            raise ValueError("; ".join(errors))
        return self

    def content(self) -> str:
        """Return the SHA-256 of what the buyer ordered, by which a repeated placement is compared (P3)."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


class PlaceOrder(Value):
    """The input of an order's workflow: the cart and the policy as they were when it was placed."""

    placement: Placement
    policy: PolicySnapshot


def cart_errors(quantities: Sequence[tuple[str, int]]) -> list[str]:
    """Return what is wrong with a cart of (sku, units), each error with its limit (P1)."""
    errors = []
    skus = [sku for sku, _ in quantities]
    units = sum(count for _, count in quantities)
    if len(skus) > MAX_ITEMS:
        errors.append(f"lines: {len(skus)} items in the cart; at most {MAX_ITEMS} distinct items")
    twice = sorted({sku for sku in skus if skus.count(sku) > 1})
    errors += [f"lines: {sku} is named twice; name each item once" for sku in twice]
    if len(skus) == 1 and units > MAX_UNITS_OF_ONE:
        errors.append(f"lines: {units} units of one single item; at most {MAX_UNITS_OF_ONE}")
    elif units > MAX_UNITS:
        errors.append(f"lines: {units} units in the cart; at most {MAX_UNITS} in all")
    return errors


def parse_placement(payload: object) -> Placement:
    """Read a placement from decoded JSON; raises PlacementError with all errors at once."""
    try:
        text = json.dumps(payload)
    except (TypeError, ValueError, RecursionError) as error:
        raise PlacementError(f"input: {error}") from None
    if len(text) > MAX_PLACEMENT_BYTES:
        raise PlacementError(f"input: {len(text)} bytes; at most {MAX_PLACEMENT_BYTES}")
    try:
        return Placement.model_validate_json(text)
    except ValidationError as error:
        # The cart as a whole is only looked at once its fields are right; its errors are to be told all the same.
        raise PlacementError("; ".join([describe_errors(error), *_cart_errors_of(payload, str(error))])) from None
    except RecursionError:
        raise PlacementError("input: nested too deeply; give one placement") from None


def _cart_errors_of(payload: object, told: str) -> list[str]:
    lines = payload.get("lines") if isinstance(payload, dict) else None
    if not isinstance(lines, list):
        return []
    pairs = [(each.get("sku"), each.get("quantity")) for each in lines if isinstance(each, dict)]
    cart = [(sku, count) for sku, count in pairs if isinstance(sku, str) and type(count) is int]
    return [error for error in cart_errors(cart) if error not in told]


def check_against_policy(placement: Placement, policy: PolicySnapshot) -> None:
    """Raise PlacementError unless currency, seller and shipping option are those of the policy snapshot."""
    errors = []
    currency = placement.lines[0].unit_price.currency
    if currency != policy.currency:
        errors.append(f"lines: prices in {currency}; marketplace {placement.marketplace} sells in {policy.currency}")
    if placement.shipping_option not in policy.shipping_options:
        options = ", ".join(policy.shipping_options)
        errors.append(f"shipping_option: {placement.shipping_option!r} is unknown; use one of: {options}")
    if placement.seller_id != policy.seller.seller_id:
        errors.append(f"seller_id: {placement.seller_id} is not the seller of the policy, {policy.seller.seller_id}")
    if errors:
        raise PlacementError("; ".join(errors))


def open_order(place: PlaceOrder, placed_at: datetime) -> Order:
    """Return the Pending order that `place` starts at `placed_at`; raises PlacementError where the policy forbids it.

    The expected ship date is fixed here from the seller's handling time (P7).
    """
    placement, policy = place.placement, place.policy
    check_against_policy(placement, policy)
    fee = policy.shipping_options[placement.shipping_option]
    lines = tuple(
        Line(sku=line.sku, title=line.title, quantity=line.quantity, unit_price_minor=line.unit_price.amount_minor)
        for line in placement.lines
    )
    total = fee + sum(line.quantity * line.unit_price_minor for line in lines)
    return Order(
        number=placement.order_number,
        content=placement.content(),
        marketplace=placement.marketplace,
        seller_id=placement.seller_id,
        fulfilment=placement.fulfilment,
        buyer=placement.buyer,
        address=placement.shipping_address,
        currency=policy.currency,
        lines=lines,
        shipping_option=placement.shipping_option,
        shipping_fee_minor=fee,
        policy=policy,
        placed_at=placed_at,
        expected_ship_at=placed_at + policy.handling_time,
        edit_until=placed_at + policy.edit_window,
        payment=Payment(
            status=PaymentStatus.AUTHORIZING,
            card=placement.payment.card,
            reference=authorization_reference(placement.order_number, 1),
            amount_minor=total,
        ),
        history=(_placed(placed_at),),
        entries=1,
    )


def _placed(at: datetime) -> HistoryEntry:
    return HistoryEntry(
        seq=1,
        kind=EntryKind.COMMAND,
        name="place",
        actor=Actor.BUYER,
        at=at,
        recorded_at=at,
        accepted=True,
        status=Status.PENDING,
    )


def authorization_reference(number: str, sequence: int) -> str:
    """Return the key of an order's authorisation number `sequence`, unique at the provider."""
    return f"{number}/{sequence}/authorize"


def first_authorization(order: Order, record: OrderView) -> Authorize:
    """Return the effect that every order begins with: reserve its stock, write its record, hold its total (P4, P5)."""
    return Authorize(
        reference=order.payment.reference,
        order_number=order.number,
        amount_minor=order.payment.amount_minor,
        currency=order.currency,
        card=order.payment.card,
        at=order.placed_at,
        reservation=Reservation(
            order_number=order.number,
            seller_id=order.seller_id,
            version=order.version,
            quantities={line.sku: line.quantity for line in order.lines},
        ),
        record=record,
    )
