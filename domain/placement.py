"""How an order comes to be: the placement form, its limits, and the first state of an order.

Policy: P1, P3, P5, P7.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, model_validator

from domain.base import (
    CardToken,
    Code,
    Form,
    Line120,
    Minor,
    Money,
    OrderNumber,
    Quantity,
    Value,
    content_digest,
    read_form,
    wallet_of,
)
from domain.effects import Authorize, Reservation
from domain.order import (
    Actor,
    Address,
    Business,
    Buyer,
    EntryKind,
    Flag,
    Fulfilment,
    HistoryEntry,
    Line,
    Order,
    Review,
    ReviewStatus,
    Status,
)
from domain.payment_state import Payment, PaymentStatus
from domain.policy import PolicySnapshot
from domain.refund import PaymentMethod
from domain.views import OrderView

_ADDED = frozenset({"business", "purchase"})
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


class PaymentChoice(Form):
    """How the buyer pays (P5): `card` is the provider's token, never a card number, with `points_minor` of it in points.

    With method `konbini` it is paid in cash at a convenience store, with `points` with the buyer's points alone.
    """

    method: PaymentMethod = PaymentMethod.CARD
    card: CardToken | None = None
    points_minor: Minor = 0

    @model_validator(mode="after")
    def _fits_method(self) -> Self:
        by_card = self.method is PaymentMethod.CARD
        if by_card and self.card is None:
            raise ValueError("card: missing; give the payment provider's token for the card")
        if not by_card and (self.card is not None or self.points_minor):
            raise ValueError(f"card and points_minor go with method card, not with {self.method}")
        return self


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
    payment: PaymentChoice
    business: Business | None = None
    purchase: Code | None = None

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
        ordered = self.model_dump(mode="json")
        # What a placement has not always had counts only where it is given, so that an order is known for what it was.
        ordered = {name: value for name, value in ordered.items() if name not in _ADDED or value is not None}
        ordered["payment"] = {name: value for name, value in ordered["payment"].items() if value}
        return content_digest(ordered)


class PlaceOrder(Value):
    """The input of an order's workflow: the cart and the policy as they were when it was placed."""

    placement: Placement
    policy: PolicySnapshot


def cart_errors(quantities: Sequence[tuple[str, int]]) -> list[str]:
    """Return what is wrong with a cart of (sku, units), each error with its limit (P1)."""
    errors = []
    skus = Counter(sku for sku, _ in quantities)
    units = sum(count for _, count in quantities)
    if len(quantities) > MAX_ITEMS:
        errors.append(f"lines: {len(quantities)} items in the cart; at most {MAX_ITEMS} distinct items")
    twice = sorted(sku for sku, count in skus.items() if count > 1)
    errors += [f"lines: {sku} is named twice; name each item once" for sku in twice]
    if len(quantities) == 1 and units > MAX_UNITS_OF_ONE:
        errors.append(f"lines: {units} units of one single item; at most {MAX_UNITS_OF_ONE}")
    elif units > MAX_UNITS:
        errors.append(f"lines: {units} units in the cart; at most {MAX_UNITS} in all")
    return errors


def parse_placement(payload: object) -> Placement:
    """Read a placement from decoded JSON; raises PlacementError with all errors at once."""
    try:
        return read_form(Placement, payload, "placement", PlacementError, MAX_PLACEMENT_BYTES)
    except PlacementError as error:
        # The cart as a whole is only looked at once its fields are right; its errors are to be told all the same.
        raise PlacementError("; ".join([str(error), *_cart_errors_of(payload, str(error))])) from None


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
    points = placement.payment.points_minor
    wanted = {placement.payment.method} | ({PaymentMethod.POINTS} if points else set())
    for each in sorted(wanted - set(policy.payment_methods)):
        taken = ", ".join(policy.payment_methods)
        errors.append(f"payment: {each} is not taken by marketplace {placement.marketplace}; use one of: {taken} (P5)")
    if placement.shipping_option in policy.shipping_options and points >= placed_total(placement, policy) > 0:
        errors.append(
            f"payment.points_minor: {points} would pay it all; at most the total less 1, or method points (P5)"
        )
    if placement.seller_id != policy.seller.seller_id:
        errors.append(f"seller_id: {placement.seller_id} is not the seller of the policy, {policy.seller.seller_id}")
    if errors:
        raise PlacementError("; ".join(errors))


def placed_total(placement: Placement, policy: PolicySnapshot) -> int:
    """Return what a placement comes to, lines and shipping fee, in minor units."""
    items = sum(line.quantity * line.unit_price.amount_minor for line in placement.lines)
    return items + policy.shipping_options[placement.shipping_option]


def review_needed(total_minor: int, policy: PolicySnapshot) -> bool:
    """Whether an order of this total, in minor units, is held for review when it is placed (G4)."""
    return policy.review_above_minor is not None and total_minor > policy.review_above_minor


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
    total = placed_total(placement, policy)
    held = review_needed(total, policy)
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
        payment=_payment(placement, total),
        business=placement.business,
        purchase=placement.purchase,
        review=Review(status=ReviewStatus.HELD, reason="total above the review limit", since=placed_at)
        if held
        else None,
        flags=frozenset({Flag.IN_REVIEW}) if held else frozenset(),
        history=(_placed(placed_at),),
        entries=1,
    )


def _payment(placement: Placement, total: int) -> Payment:
    paid, wallet = placement.payment, wallet_of(placement.buyer.buyer_id)
    reference = authorization_reference(placement.order_number, 1)
    return Payment(
        status=PaymentStatus.AUTHORIZING,
        card=paid.card or (wallet if paid.method is PaymentMethod.POINTS else paid.method.value),
        reference=reference,
        amount_minor=total,
        method=paid.method,
        points_minor=paid.points_minor,
        points_chosen=paid.points_minor,
        points_reference=points_reference(reference) if paid.points_minor else None,
        wallet=wallet if paid.points_minor else None,
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


def points_reference(reference: str) -> str:
    """Return the key under which points are held besides the authorisation `reference`."""
    return f"{reference}/points"


def first_authorization(order: Order, record: OrderView) -> Authorize:
    """Return the effect that every order begins with: reserve its stock, write its record, hold its total (P4, P5)."""
    reservation = Reservation(
        order_number=order.number,
        seller_id=order.seller_id,
        version=order.version,
        quantities={line.sku: line.quantity for line in order.lines},
    )
    held = authorization(order, order.payment.reference, order.payment.amount_minor, order.placed_at)
    return held.model_copy(update={"reservation": reservation, "record": record})


def points_used(payment: Payment, total_minor: int) -> int:
    """Return how many of the points chosen pay a total: at least one minor unit is left to the card (P5)."""
    return max(0, min(payment.points_chosen, total_minor - 1)) if payment.method is PaymentMethod.CARD else 0


def authorization(order: Order, reference: str, total_minor: int, now: datetime) -> Authorize:
    """Return the effect that holds `total_minor` by the order's payment method (P5).

    Points are used as far as they were chosen, the rest is on the card. Points that are held already stay where they are, so
    that no wallet has to hold them twice.
    """
    payment = order.payment
    points = points_used(payment, total_minor)
    held = payment.points_reference not in (None, points_reference(reference))
    return Authorize(
        reference=reference,
        order_number=order.number,
        amount_minor=total_minor - points,
        currency=order.currency,
        card=payment.card,
        at=now,
        method=payment.method,
        due_at=now + order.policy.store_payment_window if payment.method is PaymentMethod.KONBINI else None,
        points_minor=0 if held else points,
        wallet=payment.wallet if points and not held else None,
    )
