"""A purchase across several sellers: one cart, which becomes one order per seller.

Policy: P1, P2, P5.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from domain.base import Code, Form, Instant, OrderNumber, Value, content_digest, read_form
from domain.order import Address, Business, Buyer, Fulfilment
from domain.placement import (
    MAX_PLACEMENT_BYTES,
    PaymentChoice,
    Placement,
    PlacementError,
    PlacementLine,
    PlaceOrder,
    cart_errors,
    check_against_policy,
    placed_total,
)
from domain.policy import PolicySnapshot
from domain.refunding import allocate
from domain.refusal_codes import RefusalCode
from domain.refusals import Refusal, refuse

MAX_PARTS = 20
"""Sellers in one purchase."""


class PurchasePart(Form):
    """What one seller is to deliver; it becomes an order of its own."""

    order_number: OrderNumber
    seller_id: Code
    fulfilment: Fulfilment = Fulfilment.SELLER
    shipping_option: Code
    lines: Annotated[tuple[PlacementLine, ...], Field(min_length=1)]


class Purchase(Form):
    """A cart with the items of 1 to 20 sellers, paid and sent by the buyer's one choice.

    `payment.points_minor` are spread over the parts; by convenience store each part gets a payment number of its own.
    """

    purchase_number: Code
    marketplace: Code
    buyer: Buyer
    shipping_address: Address
    payment: PaymentChoice
    business: Business | None = None
    parts: Annotated[tuple[PurchasePart, ...], Field(min_length=1, max_length=MAX_PARTS)]

    @model_validator(mode="after")
    def _cart_holds(self) -> Self:
        errors = []
        for name, values in (
            ("order number", [part.order_number for part in self.parts]),
            ("seller", [part.seller_id for part in self.parts]),
        ):
            twice = sorted(value for value, count in Counter(values).items() if count > 1)
            errors += [f"parts: {name} {value} is named twice; each part has its own" for value in twice]
        for position, part in enumerate(self.parts):
            cart = [(line.sku, line.quantity) for line in part.lines]
            errors += [f"parts.{position}.{error}" for error in cart_errors(cart)]
        if len(self.parts) > 1:
            errors += [f"all parts: {error}" for error in _whole_cart_errors(self.parts)]
        currencies = sorted({line.unit_price.currency for part in self.parts for line in part.lines})
        if len(currencies) > 1:
            errors.append(f"parts: prices in {' and '.join(currencies)}; a purchase has one currency")
        if errors:
            raise ValueError("; ".join(errors))
        return self

    def content(self) -> str:
        """Return the SHA-256 of what the buyer ordered, by which a repeated purchase is compared (P2, P3)."""
        return content_digest(self.model_dump(mode="json"))


class PlacePurchase(Value):
    """The input of a purchase's workflow: the cart, and for each part the policy as it was when it was made."""

    purchase: Purchase
    policies: tuple[PolicySnapshot, ...]


class ReservePurchase(Value):
    """Reserve the stock of all orders of a purchase, all or nothing; `at` is when the purchase was made."""

    orders: tuple[PlaceOrder, ...]
    at: Instant


class PurchaseReserved(Value):
    """What became of the reservation: nothing is reserved where a number is taken or an item short.

    `short` gives by order number the units available of each sku that is short.
    """

    taken: tuple[str, ...] = ()
    short: Mapping[str, Mapping[str, int]] = {}


class OrderBegun(Value):
    """Whether an order runs, or its number belongs to an order of other content."""

    order_number: str
    taken: bool = False


class PurchaseResult(Value):
    """The orders of a purchase, all of them begun."""

    purchase_number: str
    orders: tuple[str, ...]


def _whole_cart_errors(parts: Sequence[PurchasePart]) -> list[str]:
    # Two sellers' items may share a code and are distinct all the same.
    units: Counter[str] = Counter()
    for part in parts:
        for line in part.lines:
            units[f"{part.seller_id}/{line.sku}"] += line.quantity
    return cart_errors(list(units.items()))


def parse_purchase(payload: object) -> Purchase:
    """Read a purchase from decoded JSON; raises PlacementError with all errors at once."""
    return read_form(Purchase, payload, "purchase", PlacementError, MAX_PLACEMENT_BYTES)


def placement_of(purchase: Purchase, part: PurchasePart, points_minor: int = 0) -> Placement:
    """Return the placement of one part, with its share of the points in minor units."""
    payment = purchase.payment.model_copy(update={"points_minor": points_minor})
    return Placement(
        order_number=part.order_number,
        marketplace=purchase.marketplace,
        seller_id=part.seller_id,
        fulfilment=part.fulfilment,
        buyer=purchase.buyer,
        shipping_address=purchase.shipping_address,
        shipping_option=part.shipping_option,
        lines=part.lines,
        payment=payment,
        business=purchase.business,
        purchase=purchase.purchase_number,
    )


def spread_points(points_minor: int, totals: Sequence[int]) -> list[int]:
    """Spread points over orders of these totals, all in minor units: by total, each keeping at least 1 for the card.

    Raises PlacementError where the points would pay more than that (P5).
    """
    most = sum(totals) - len(totals)
    if points_minor > max(0, most):
        raise PlacementError(
            f"payment.points_minor: {points_minor}; at most {max(0, most)}, which leaves 1 to the card for each of"
            f" {len(totals)} orders, or method points (P5)"
        )
    shares = allocate(points_minor, totals)
    kept = [min(share, total - 1) for share, total in zip(shares, totals, strict=True)]
    room = [total - 1 - share for share, total in zip(kept, totals, strict=True)]
    return [share + more for share, more in zip(kept, allocate(points_minor - sum(kept), room), strict=True)]


def split(place: PlacePurchase) -> tuple[PlaceOrder, ...]:
    """Return the one order per seller that a purchase becomes; raises PlacementError with all errors at once (P2)."""
    purchase, policies = place.purchase, place.policies
    if len(policies) != len(purchase.parts):
        raise PlacementError(f"policies: {len(policies)} for {len(purchase.parts)} parts; give one for each part")
    bare = [placement_of(purchase, part) for part in purchase.parts]
    _check(bare, policies)
    totals = [placed_total(part, policy) for part, policy in zip(bare, policies, strict=True)]
    if not purchase.payment.points_minor:
        return _with_policies(bare, policies)
    shares = spread_points(purchase.payment.points_minor, totals)
    placements = [placement_of(purchase, part, share) for part, share in zip(purchase.parts, shares, strict=True)]
    _check(placements, policies)
    return _with_policies(placements, policies)


def _with_policies(placements: Sequence[Placement], policies: Sequence[PolicySnapshot]) -> tuple[PlaceOrder, ...]:
    pairs = zip(placements, policies, strict=True)
    return tuple(PlaceOrder(placement=placement, policy=policy) for placement, policy in pairs)


def _check(placements: Sequence[Placement], policies: Sequence[PolicySnapshot]) -> None:
    errors = []
    for position, (placement, policy) in enumerate(zip(placements, policies, strict=True)):
        try:
            check_against_policy(placement, policy)
        except PlacementError as error:
            errors.append(f"parts.{position}: {error}")
    if errors:
        raise PlacementError("; ".join(errors))


def reservation_refusal(orders: Sequence[PlaceOrder], answer: PurchaseReserved) -> Refusal | None:
    """Return why a purchase was refused, None where its stock is reserved (P2, P3, P4)."""
    if answer.taken:
        return refuse(RefusalCode.ORDER_NUMBER_TAKEN, number=", ".join(answer.taken))
    if not answer.short:
        return None
    told = []
    for each in (order.placement for order in orders):
        wanted = {line.sku: line.quantity for line in each.lines}
        for sku, left in answer.short.get(each.order_number, {}).items():
            told.append(f"{sku} of seller {each.seller_id}: {left} left, {wanted.get(sku, 'none')} wanted")
    return refuse(RefusalCode.OUT_OF_STOCK, number=", ".join(answer.short), short="; ".join(told))
