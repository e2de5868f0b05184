"""What spans several orders: the cart of a purchase across sellers, and which orders may travel in one parcel."""

from datetime import timedelta
from typing import Any

import pytest
from domain_kit import NEW_ADDRESS, T0, Json, Scene, cart, line, policy
from hypothesis import given
from hypothesis import strategies as st

from domain.commands import RefundForm, Ship, digest, parse_command
from domain.joint import JOINT_REFUSALS, JointRefusalCode, refuse_joint, wire_form
from domain.order import Actor, Fulfilment, Status
from domain.parcel import (
    MEMOS,
    CheckedOrder,
    ParcelError,
    checked,
    parcel_errors,
    parse_parcel,
    refund_command,
    ship_command,
)
from domain.placement import PlacementError, first_authorization, open_order, parse_placement
from domain.purchase import (
    PlacePurchase,
    Purchase,
    PurchaseReserved,
    parse_purchase,
    reservation_refusal,
    split,
    spread_points,
)
from domain.refund import RefundReason, RefundStatus
from domain.views import OrderView, view

SELLERS = ("S-100", "S-200", "S-300")


def number(index: int) -> str:
    """Return the number of the `index`-th order."""
    return f"503-0000000-{index:07d}"


def part(index: int, *lines: Json, **changes: Any) -> Json:
    """Return one seller's part of a purchase: two of one item at 1,000 unless told otherwise."""
    found: Json = {"order_number": number(index), "seller_id": SELLERS[index % 3], "shipping_option": "standard"}
    return found | {"lines": list(lines) or [line("A", 2, 1000)]} | changes


def bought(*parts: Json, **changes: Any) -> Json:
    """Return a purchase of three sellers as it comes in, paid by card."""
    placed = cart()
    found = {name: placed[name] for name in ("marketplace", "buyer", "shipping_address", "payment")}
    return found | {"purchase_number": "P-1", "parts": list(parts) or [part(0), part(1), part(2)]} | changes


def placed(payload: Json) -> PlacePurchase:
    """Return a purchase with the project's own policy for each part."""
    purchase = parse_purchase(payload)
    known = policy()
    policies = tuple(known.snapshot(purchase.marketplace, each.seller_id) for each in purchase.parts)
    return PlacePurchase(purchase=purchase, policies=policies)


def card(points: int) -> Json:
    """Return a payment by card with points besides."""
    return {"method": "card", "card": "card-ok", "points_minor": points}


@pytest.mark.rule("P2")
def test_a_purchase_becomes_one_order_per_seller_of_its_own_items() -> None:
    """Each order has its seller's lines, number, option and policy, the one buyer and address, and the purchase's number."""
    place = placed(bought(part(0), part(1, line("B", 1, 500), shipping_option="express"), part(2)))
    orders = split(place)
    assert [each.placement.order_number for each in orders] == [number(0), number(1), number(2)]
    assert [each.policy.seller.seller_id for each in orders] == list(SELLERS)
    assert {each.placement.purchase for each in orders} == {"P-1"}
    assert len({each.placement.shipping_address for each in orders}) == 1
    second = open_order(orders[1], T0)
    assert [each.sku for each in second.lines] == ["B"] and second.total_minor == 500 + 1200


@pytest.mark.rule("P2")
def test_a_seller_sees_nothing_of_the_purchase() -> None:
    """The seller's view of an order names neither the purchase nor anything of the other orders."""
    own, *others = [open_order(each, T0) for each in split(placed(bought(part(0), part(1, line("B", 1, 777)))))]
    seen = view(own, T0, Actor.SELLER)
    told = seen.model_dump_json()
    assert seen.purchase is None and "P-1" not in told
    for other in others:
        assert other.number not in told and other.seller_id not in told and "777" not in told
    assert view(own, T0).purchase == "P-1"


@pytest.mark.rule("P2", "P4")
def test_the_reservation_of_a_purchase_is_that_of_the_order_itself() -> None:
    """An order opened when the purchase was made and one opened when it began ask for the same reservation."""
    place = split(placed(bought()))[0]
    early, late = open_order(place, T0), open_order(place, T0 + timedelta(minutes=3))
    first, own = (first_authorization(each, view(each, T0)) for each in (early, late))
    assert first.reservation == own.reservation and first.reservation is not None
    assert first.record is not None and own.record is not None
    assert (first.record.content, first.record.version) == (own.record.content, own.record.version)


def many(index: int, items: int, units: int) -> Json:
    """Return a part with `items` items of `units` units each."""
    return part(index, *(line(f"I-{item}", units, 10) for item in range(items)))


@pytest.mark.rule("P1", "P2")
@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (bought(many(0, 25, 1), many(1, 26, 1)), ("all parts: lines: 51 items", "at most 50")),
        (bought(many(0, 1, 600), many(1, 1, 401)), ("all parts: lines: 1001 units", "at most 1000 in all")),
        (bought(many(0, 51, 1), part(1)), ("parts.0.lines: 51 items", "at most 50")),
        (bought(part(0), part(1, order_number=number(0))), (f"order number {number(0)} is named twice",)),
        (bought(part(0), part(1, seller_id="S-100")), ("seller S-100 is named twice",)),
        (bought(part(0), part(1, line("A", 1, 5, "EUR"))), ("EUR and JPY", "one currency")),
        (bought(part(0, line("A"), line("A"))), ("A is named twice",)),
        (bought(parts=[]), ("parts", "at least 1")),
        (bought(parts=[part(i, seller_id=f"S-{i}") for i in range(21)]), ("parts", "at most 20")),
        (bought(part(0), purchase_number="no good"), ("purchase_number",)),
        (bought(part(0), extra=1), ("extra",)),
        ([], ("input",)),
    ],
)
def test_a_cart_over_a_limit_is_refused_with_the_limit(payload: Json, words: tuple[str, ...]) -> None:
    """The limits of a cart hold for the whole cart as well as for each order, and each error names its limit."""
    with pytest.raises(PlacementError) as refused:
        parse_purchase(payload)
    for word in words:
        assert word in str(refused.value)


@pytest.mark.rule("P1", "P2")
def test_a_cart_at_its_limits_is_taken() -> None:
    """50 items and 1,000 units in all, of two sellers who share item codes, are one purchase; so is a single part."""
    assert len(parse_purchase(bought(many(0, 25, 20), many(1, 25, 20))).parts) == 2
    assert len(parse_purchase(bought(many(0, 1, 999), many(1, 1, 1))).parts) == 2
    assert len(split(placed(bought(part(0))))) == 1


@pytest.mark.rule("P2")
def test_everything_that_the_policy_forbids_is_told_at_once() -> None:
    """Errors of several parts come together, each with its part."""
    place = placed(bought(part(0, shipping_option="drone"), part(1), part(2, shipping_option="boat")))
    with pytest.raises(PlacementError, match=r"parts\.0: .*drone.*parts\.2: .*boat"):
        split(place)


@pytest.mark.rule("P2", "P5")
def test_points_are_spread_over_the_orders_by_total() -> None:
    """1,000 points over totals of 2,500, 2,500 and 5,000 are 250, 250 and 500, none lost."""
    assert spread_points(1000, [2500, 2500, 5000]) == [250, 250, 500]
    orders = split(placed(bought(payment=card(100))))
    assert [each.placement.payment.points_minor for each in orders] == [34, 33, 33]


@pytest.mark.rule("P5")
@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=20), st.data())
def test_no_point_is_lost_and_each_order_keeps_something_on_the_card(totals: list[int], data: st.DataObject) -> None:
    """Whatever the totals, the shares add up to the points and each leaves at least one minor unit to the card."""
    points = data.draw(st.integers(0, sum(totals) - len(totals)))
    shares = spread_points(points, totals)
    assert sum(shares) == points
    assert all(0 <= share < total for share, total in zip(shares, totals, strict=True))


@pytest.mark.rule("P5")
def test_points_that_would_pay_it_all_are_refused() -> None:
    """Three orders of 2,500 take 7,497 points at most, and the error says so."""
    split(placed(bought(payment=card(7497))))
    with pytest.raises(PlacementError, match=r"7498; at most 7497"):
        split(placed(bought(payment=card(7498))))


@pytest.mark.rule("P2", "P4")
def test_a_shortage_names_seller_item_and_how_many_there_are() -> None:
    """A refusal for want of stock tells seller, sku, what is left and what was wanted; a taken number is told as such."""
    orders = split(placed(bought()))
    short = reservation_refusal(orders, PurchaseReserved(short={number(1): {"A": 1}}))
    assert short is not None and short.code == "OUT_OF_STOCK"
    assert number(1) in short.message and "A of seller S-200: 1 left, 2 wanted" in short.message
    taken = reservation_refusal(orders, PurchaseReserved(taken=(number(2),)))
    assert taken is not None and taken.code == "ORDER_NUMBER_TAKEN" and number(2) in taken.message
    assert reservation_refusal(orders, PurchaseReserved()) is None


@pytest.mark.rule("P2", "P3")
def test_a_purchase_is_known_by_its_content() -> None:
    """The same cart has the same content however it was written; another quantity another one."""
    one = parse_purchase(bought())
    assert Purchase.model_validate_json(one.model_dump_json()).content() == one.content()
    other = parse_purchase(bought(part(0, line("A", 3, 1000)), part(1), part(2)))
    assert other.content() != one.content()


@pytest.mark.rule("P2", "P3", "S6")
def test_the_digests_of_content_stay_what_they_were() -> None:
    """A purchase, a parcel or an order that is running attaches to its own content after a deploy too."""
    assert parse_purchase(bought()).content() == "93d4a24daa1c9c74371ef02a1c7a5b1e75a7180b4d04795bf9d71135ec19e993"
    assert (
        parse_parcel(parcel(300, None)).content() == "b516ea511499e57408e2eaf1ce3c2561a7af4ded21cdb751eadf9fb80837861d"
    )
    assert parse_placement(cart()).content() == "ae5f88ddbc0923a0fd6dfbd894a561818dddf65dd5841793c659d70fb2048838"


def parcel(*saved: int | None, currency: str = "JPY", **changes: Any) -> Json:
    """Return a parcel of as many orders as `saved` has amounts, as it comes in."""
    orders = [
        {"order_number": number(index)} | ({"saved": {"amount_minor": amount, "currency": currency}} if amount else {})
        for index, amount in enumerate(saved or (None, None))
    ]
    found = {"parcel_id": "PX-1", "seller_id": "S-100", "carrier": "Yamato", "tracking_number": "T-9"}
    return found | {"orders": orders} | changes


def unshipped(index: int, **changes: Any) -> Scene:
    """Return a verified order."""
    return Scene(cart(order_number=number(index), **changes)).settle()


def seen(*scenes: Scene) -> dict[str, OrderView | None]:
    """Return the orders as the operator sees them, by number."""
    return {scene.order.number: view(scene.order, scene.now) for scene in scenes}


@pytest.mark.rule("S6")
def test_orders_of_one_buyer_to_one_address_from_one_seller_may_travel_together() -> None:
    """Nothing stands against them, and their whole shipping fee may be saved."""
    assert parcel_errors(parse_parcel(parcel(500, 500)), seen(unshipped(0), unshipped(1))) == []


def other_buyer() -> Json:
    """Return another buyer."""
    return {**cart()["buyer"], "buyer_id": "B-2"}


@pytest.mark.rule("S6")
@pytest.mark.parametrize(
    ("second", "form", "error"),
    [
        (unshipped(1, buyer=other_buyer()), parcel(), f"is of another buyer than order {number(0)}"),
        (unshipped(1, shipping_address=NEW_ADDRESS), parcel(), f"goes to another address than order {number(0)}"),
        (unshipped(1, fulfilment="marketplace"), parcel(), "is marketplace-fulfilled"),
        (unshipped(1, seller_id="S-200"), parcel(), "is of seller S-200, not of S-100"),
        (Scene(cart(order_number=number(1))), parcel(), "is pending; only unshipped and partially shipped"),
        (unshipped(1), parcel(None, 501), "has JPY 500 of its shipping fee left to refund, not JPY 501"),
        (unshipped(1), parcel(None, 5, currency="EUR"), "is paid in JPY; the fee saved is given in EUR"),
    ],
)
def test_orders_that_differ_are_refused(second: Scene, form: Json, error: str) -> None:
    """Another buyer, address, seller or fulfilment, an order that cannot be confirmed or too high a fee: each is told."""
    errors = parcel_errors(parse_parcel(form), seen(unshipped(0), second))
    assert len(errors) == 1 and errors[0].startswith(f"order {number(1)} ") and error in errors[0]
    for private in ("Hanako", "Shibuya", "Osaka"):
        assert private not in errors[0]


@pytest.mark.rule("S6")
def test_a_line_of_the_address_more_is_another_address() -> None:
    """Every field of the address counts, also the second line."""
    floor = {**cart()["shipping_address"], "line2": "3F"}
    errors = parcel_errors(parse_parcel(parcel()), seen(unshipped(0), unshipped(1, shipping_address=floor)))
    assert errors == [f"order {number(1)} goes to another address than order {number(0)}"]


@pytest.mark.rule("S6")
def test_every_reason_against_a_parcel_is_told_at_once() -> None:
    """A shipped order, one that does not exist and one to another address are all named."""
    gone, elsewhere = unshipped(0), unshipped(2, shipping_address=NEW_ADDRESS)
    gone.send("ship", "seller", carrier="Y", tracking_number="T")
    errors = parcel_errors(parse_parcel(parcel(None, None, None)), seen(gone, elsewhere) | {number(1): None})
    assert [number(index) in error for index, error in enumerate(errors)] == [True, True, True]
    assert "is shipped" in errors[0] and "there is no order" in errors[1] and "another address" in errors[2]


@pytest.mark.rule("S6", "R2")
def test_a_fee_that_went_back_before_is_not_saved_again() -> None:
    """What is left of the shipping fee of a partially shipped order is the limit of what it saves."""
    first = unshipped(0)
    first.send("ship", "seller", carrier="Y", tracking_number="T", lines=[{"sku": "B", "quantity": 1}])
    fee = {"amount_minor": 200, "currency": "JPY"}
    assert first.send("refund", "seller", reason="goodwill", shipping=fee) is None
    orders = seen(first, unshipped(1))
    assert parcel_errors(parse_parcel(parcel(300, 500)), orders) == []
    assert parcel_errors(parse_parcel(parcel(301, 500)), orders) == [
        f"order {number(0)} has JPY 300 of its shipping fee left to refund, not JPY 301"
    ]


@pytest.mark.rule("S6")
@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (parcel(None), ("orders", "at least 2")),
        (parcel(*[None] * 21), ("orders", "at most 20")),
        (parcel(orders=[{"order_number": number(1)}] * 2), (f"{number(1)} is named twice",)),
        (parcel(0, 0, tracking_number="a b"), ("tracking_number",)),
        ({"parcel_id": "P"}, ("seller_id", "carrier", "orders")),
        (None, ("input",)),
    ],
)
def test_a_parcels_form_names_its_limits(payload: Json, words: tuple[str, ...]) -> None:
    """What cannot be read is refused with field and limit."""
    with pytest.raises(ParcelError) as refused:
        parse_parcel(payload)
    for word in words:
        assert word in str(refused.value)


@pytest.mark.rule("S6", "R3")
@pytest.mark.parametrize("fulfilment", list(Fulfilment))
def test_the_commands_of_a_parcel_are_carried_out_by_the_order(fulfilment: Fulfilment) -> None:
    """As they go over the wire the order confirms the shipment and refunds the fee, by the actor to whom that is open."""
    scene = unshipped(0, fulfilment=fulfilment.value)
    form = parse_parcel(parcel(300, None))
    order = checked(view(scene.order, scene.now), scene.now)
    saved = form.orders[0].saved
    assert saved is not None
    ship, refund = ship_command(form, order), refund_command(form, order, saved)
    assert isinstance(parse_command("ship", wire_form(ship)), Ship)
    assert isinstance(parse_command("refund", wire_form(refund)), RefundForm)
    for name, command in (("ship", ship), ("refund", refund), ("ship", ship), ("refund", refund)):
        fields: Json = wire_form(command)
        actor = fields.pop("actor")
        assert scene.send(name, actor, scene.now, **{k: v for k, v in fields.items() if k != "requested_at"}) is None
    made = scene.order.refunds
    assert [(each.reason, each.amount_minor, each.memo) for each in made] == [
        (RefundReason.COMBINED_PARCEL, 300, MEMOS["ja"])
    ]
    assert made[0].status is RefundStatus.REQUESTED
    assert [each.tracking_number for each in scene.order.shipments] == ["T-9"]


def to_one_address(scene: Scene) -> Json:
    """Return the fields of a parcel's confirmation of an order as it is now."""
    fields = wire_form(ship_command(parse_parcel(parcel()), checked(view(scene.order, scene.now), scene.now)))
    return {name: value for name, value in fields.items() if name not in ("actor", "requested_at")}


@pytest.mark.rule("S6", "E1")
def test_an_order_whose_address_changed_does_not_travel_in_the_parcel() -> None:
    """Edited after it was looked at, it is refused and stays as it was; by itself it is confirmed to its new address."""
    scene = unshipped(0)
    command = to_one_address(scene)
    assert not any(word in str(command) for word in ("Hanako", "Shibuya"))
    assert scene.send("edit", "buyer", shipping_address=NEW_ADDRESS) is None
    refusal = scene.send("ship", "seller", **command)
    assert refusal is not None and (refusal.code, refusal.rule) == ("ADDRESS_CHANGED", "S6")
    assert "Osaka" not in str(refusal) and number(0) in refusal.message and "by itself" in refusal.remedy
    assert scene.order.status is Status.UNSHIPPED and not scene.order.payment.captured_minor
    assert scene.send("ship", "seller", carrier="Yamato", tracking_number="T-10") is None


@pytest.mark.rule("S6")
def test_an_order_that_changed_elsewhere_travels_in_the_parcel() -> None:
    """Another quantity is no other address; nor is an address that was changed and changed back."""
    scene = unshipped(0)
    command = to_one_address(scene)
    assert scene.send("edit", "buyer", shipping_address=NEW_ADDRESS) is None
    back = {"shipping_address": cart()["shipping_address"], "lines": [{"sku": "A", "quantity": 1}]}
    assert scene.send("edit", "buyer", **back) is None
    assert scene.send("ship", "seller", **command) is None


@pytest.mark.rule("S6")
def test_an_order_that_was_confirmed_in_the_parcel_stays_confirmed() -> None:
    """The same confirmation again has its first answer, and the address can no longer change (E8)."""
    scene = unshipped(0)
    command = to_one_address(scene)
    assert scene.send("ship", "seller", **command) is None
    edit = scene.send("edit", "buyer", shipping_address=NEW_ADDRESS)
    assert edit is not None and edit.code == "ALREADY_SHIPPED"
    assert scene.send("ship", "seller", **command) is None and len(scene.order.shipments) == 1


@pytest.mark.rule("S6", "D3")
def test_a_confirmation_without_an_expected_address_is_what_it_always_was() -> None:
    """Its content has the digest that running orders know it by, and one that an older engine looked at expects nothing."""
    command = parse_command("ship", {"actor": "seller", "id": "x", "carrier": "Yamato", "tracking_number": "T-9"})
    assert digest("ship", command) == "328681f64ffa9d7062592bb5f444720fdbf2f721218f9f1c91f02ad52ffb384b"
    scene = unshipped(0)
    old = checked(view(scene.order, scene.now), scene.now).model_dump(exclude={"address_digest"})
    assert "expected_address" not in wire_form(ship_command(parse_parcel(parcel()), CheckedOrder.model_validate(old)))


@pytest.mark.rule("P2", "S6")
@pytest.mark.parametrize("code", list(JointRefusalCode))
def test_every_joint_refusal_has_fact_remedy_and_rule(code: JointRefusalCode) -> None:
    """The table words every code."""
    refusal = refuse_joint(code, number="P-1", parcel_id="PX-1", errors="because")
    assert refusal.rule == JOINT_REFUSALS[code].rule and str(refusal).startswith(f"{code}: ")
