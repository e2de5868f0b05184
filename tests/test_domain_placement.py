"""Chapter P: what a cart may hold, what is refused before anything starts, and the order that it becomes."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from domain_kit import DAY, NUMBER, POLICY_FILE, T0, Scene, cart, line, place, policy
from hypothesis import given
from hypothesis import strategies as st

from domain.commands import COMMANDS, UnreadableCommandError, parse_command
from domain.effects import Authorize
from domain.order import Actor, Flag, Fulfilment, Order, Status
from domain.payment_state import PaymentStatus
from domain.placement import (
    MAX_PLACEMENT_BYTES,
    PlacementError,
    PlaceOrder,
    check_against_policy,
    open_order,
    parse_placement,
)

ADDRESS = cart()["shipping_address"]
BUYER = cart()["buyer"]


def refused(placed: object) -> str:
    """Return the message with which a placement is refused."""
    with pytest.raises(PlacementError) as caught:
        parse_placement(placed)
    return str(caught.value)


def items(count: int, quantity: int = 1) -> list[dict[str, Any]]:
    """Return `count` lines of `quantity` units."""
    return [line(f"SKU-{index}", quantity, 10) for index in range(count)]


@pytest.mark.rule("P1")
@pytest.mark.parametrize(
    "lines",
    [items(50), items(2, 500), [line("A", 999, 10), line("B", 1, 10)], [line("A", 999, 10)], items(50, 20)],
    ids=["50 items", "1000 units", "999 and 1", "999 of one", "50 items of 20"],
)
def test_a_cart_at_the_limit_is_placed(lines: list[dict[str, Any]]) -> None:
    """A buyer's cart with exactly 50 items, 1,000 units or 999 units of its one item is placed."""
    assert len(parse_placement(cart(*lines)).lines) == len(lines)


@pytest.mark.rule("P1")
@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (items(51), "51 items in the cart; at most 50"),
        ([*items(2, 500), line("Z", 1, 10)], "1001 units in the cart; at most 1000"),
        ([line("A", 1000, 10)], "999"),
        ([line("A", 1000, 10), line("B", 1, 10)], "999"),
        (items(51, 20), "at most 1000"),
    ],
    ids=["51 items", "1001 units", "1000 of one", "1000 of one of two", "both"],
)
def test_a_cart_over_the_limit_is_refused_by_name(lines: list[dict[str, Any]], told: str) -> None:
    """A buyer's cart over a limit is refused before anything starts, and the error names the limit."""
    assert told in refused(cart(*lines))


@pytest.mark.rule("P1")
def test_all_limits_that_are_crossed_are_named_at_once() -> None:
    """A buyer whose cart has too many items, too many units, an item twice and two currencies hears it all at once."""
    lines = [*items(50, 20), line("SKU-0", 1, 10), line("EUR", 1, 10, "EUR")]
    message = refused(cart(*lines))
    for told in ("52 items", "1002 units", "SKU-0 is named twice", "EUR and JPY"):
        assert told in message


@pytest.mark.rule("P1")
def test_all_fields_that_are_wrong_are_named_at_once() -> None:
    """A starter that sends several wrong fields hears of each with its name and value."""
    message = refused(cart(order_number="1-2-3", lines=[line("A", 0)], shipping_address={**ADDRESS, "country": "jp"}))
    assert "at least 1 item" not in message, "a bad line is no missing line"
    for told in ("order_number", "'1-2-3'", "lines.0.quantity", "'0'", "shipping_address.country", "'jp'"):
        assert told in message


@pytest.mark.parametrize("quantity", [0, -1, 10**30, 1.0, 1.5, True, "2", None, [], float("nan"), float("inf")])
def test_a_quantity_that_is_no_count_is_refused(quantity: object) -> None:
    """A starter that sends zero, a negative, huge, broken or non-integer quantity is refused and told the field."""
    assert "lines.0.quantity" in refused(cart({**line(), "quantity": quantity}))


@pytest.mark.parametrize("amount", [0, -1, 10**12 + 1, 10**40, 1.0, 9.99, False, "100", None])
def test_a_price_that_is_no_amount_is_refused(amount: object) -> None:
    """A starter that sends a zero, negative, huge or non-integer price is refused and told the field."""
    price = {"amount_minor": amount, "currency": "JPY"}
    assert "lines.0.unit_price.amount_minor" in refused(cart({**line(), "unit_price": price}))


@pytest.mark.parametrize("currency", ["jpy", "YEN!", "", "JP", "JPY\n", None, 392])
def test_a_currency_that_is_no_code_is_refused(currency: object) -> None:
    """A starter that sends something other than a currency code is refused."""
    price = {"amount_minor": 1, "currency": currency}
    assert "lines.0.unit_price.currency" in refused(cart({**line(), "unit_price": price}))


def test_a_cart_of_two_currencies_is_refused() -> None:
    """A cart with prices in two currencies is refused, naming both."""
    assert "EUR and JPY" in refused(cart(line("A"), line("B", currency="EUR")))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"lines": [line(currency="EUR")]}, "prices in EUR; marketplace JP sells in JPY"),
        ({"shipping_option": "drone"}, "'drone' is unknown; use one of: standard, express"),
    ],
    ids=["currency", "option"],
)
def test_a_cart_that_does_not_fit_the_policy_is_refused(changes: dict[str, Any], told: str) -> None:
    """A cart in the wrong currency or with an unknown shipping option is refused with what is right."""
    with pytest.raises(PlacementError, match=told):
        open_order(place(cart(**changes)), T0)


def test_a_cart_for_another_seller_than_its_policy_is_refused() -> None:
    """A cart that is started with another seller's policy is refused, and the currency besides."""
    placement = parse_placement(cart(line(currency="EUR")))
    with pytest.raises(PlacementError, match=r"(?s)JPY.*S-100 is not the seller of the policy, S-200"):
        check_against_policy(placement, policy().snapshot("JP", "S-200"))


@pytest.mark.rule("P3")
@pytest.mark.parametrize(
    "number",
    ["503-1234567-123456", "5031234567-1234567", "503-1234567-12345678", " 503-1234567-1234567", NUMBER + "\n", "", 5],
)
def test_an_order_number_of_another_form_is_refused(number: object) -> None:
    """A starter that sends an order number not of the 3-7-7 form is refused."""
    assert "order_number" in refused(cart(order_number=number))


@pytest.mark.parametrize(
    "name", ["Hana\r\nBcc: x@y.zz", "a\nb", "a\u2028b", "a\u2029b", "a\u202eb", "a\x00b", "a\x85b", "a\x1bb", "\t", ""]
)
@pytest.mark.parametrize("field", ["recipient", "line1", "city"])
def test_a_name_that_breaks_a_header_or_a_screen_is_refused(name: str, field: str) -> None:
    """A buyer's name or address with line breaks, control or direction characters is refused."""
    assert f"shipping_address.{field}" in refused(cart(shipping_address={**ADDRESS, field: name}))


def test_a_name_with_a_lone_surrogate_is_refused() -> None:
    """A name that is not even text is refused instead of failing later, in a mail."""
    assert refused(cart(buyer={**BUYER, "name": "a\ud800"}))


@pytest.mark.parametrize(
    "changes",
    [
        {"buyer": {**BUYER, "language": "fr"}},
        {"buyer": {**BUYER, "language": "JA"}},
        {"shipping_address": {**ADDRESS, "country": "JPN"}},
        {"shipping_address": {**ADDRESS, "country": "Japan"}},
        {"buyer": {**BUYER, "email": "hanako@buyers.example\r\nBcc: x@y.zz"}},
        {"buyer": {**BUYER, "email": "花子@buyers.example"}},
        {"buyer": {**BUYER, "email": "no mail"}},
        {"fulfilment": "drone"},
        {"payment": {"method": "cash", "card": "card-ok"}},
        {"payment": {"method": "card", "card": "4242424242424242"}},
        {"payment": {"method": "card", "card": "card-ok", "cvc": "123"}},
        {"discount": 5},
        {"lines": []},
        {"lines": {}},
        {"seller_id": "S 100"},
        {"marketplace": ""},
    ],
    ids=str,
)
def test_a_field_outside_its_values_is_refused(changes: dict[str, Any]) -> None:
    """An unknown language, country form, field or method is refused, and the error names the field."""
    assert next(iter(changes)) in refused(cart(**changes))


@pytest.mark.parametrize(
    "payload",
    [None, [], "cart", 5, {}, {"order_number": NUMBER}, object(), {1: {2, 3}}],
    ids=lambda payload: type(payload).__name__,
)
def test_something_that_is_no_cart_is_refused(payload: object) -> None:
    """A starter that sends no cart at all gets a refusal and never another exception."""
    assert refused(payload)


def test_a_placement_too_large_for_the_wire_is_refused() -> None:
    """A placement above the size limit is refused with its size and the limit, before it is read."""
    message = refused(cart(buyer={**BUYER, "name": "x" * MAX_PLACEMENT_BYTES}))
    assert str(MAX_PLACEMENT_BYTES) in message
    assert "xxx" not in message


@pytest.mark.rule("P3")
def test_the_same_content_has_the_same_digest() -> None:
    """The same order placed twice, its JSON written in another order, has the same digest."""
    again = json.loads(json.dumps(dict(reversed(cart().items()))))
    assert parse_placement(again).content() == parse_placement(cart()).content()


@pytest.mark.rule("P3")
@pytest.mark.parametrize(
    "changes",
    [
        {"lines": [line("A", 3, 1000), line("B", 1, 500)]},
        {"lines": [line("A", 2, 1001), line("B", 1, 500)]},
        {"shipping_option": "express"},
        {"shipping_address": {**ADDRESS, "city": "Osaka"}},
        {"buyer": {**BUYER, "email": "other@buyers.example"}},
        {"seller_id": "S-200"},
        {"fulfilment": "marketplace"},
        {"payment": {"method": "card", "card": "card-other"}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_other_content_has_another_digest(changes: dict[str, Any]) -> None:
    """The same order number with any other content has another digest, by which it is refused."""
    assert parse_placement(cart(**changes)).content() != parse_placement(cart()).content()


@pytest.mark.rule("P7", "G1")
def test_a_placed_order_begins_pending_with_one_effect() -> None:
    """A placed order is Pending, its dates fixed, its total held and its stock reserved by one effect, nothing charged."""
    scene = Scene()
    order = scene.order
    assert (order.status, order.payment.status) == (Status.PENDING, PaymentStatus.AUTHORIZING)
    assert order.total_minor == order.payment.amount_minor == 2 * 1000 + 500 + 500
    assert (order.payment.captured_minor, order.payment.authorized_minor) == (0, 0)
    (effect,) = scene.open
    assert isinstance(effect, Authorize)
    assert effect.amount_minor == 3000
    assert effect.reservation is not None
    assert dict(effect.reservation.quantities) == {"A": 2, "B": 1}
    assert effect.record is not None
    assert effect.record.status is Status.PENDING
    assert (order.flags, order.shipments, order.voids) == (frozenset[Flag](), (), ())


@pytest.mark.rule("P7")
@pytest.mark.parametrize(("seller", "days"), [("S-100", 2), ("S-200", 1), ("S-300", 3)])
def test_the_expected_ship_date_follows_from_the_handling_time(seller: str, days: int) -> None:
    """The expected ship date of an order is its placement plus the seller's own handling time."""
    assert Scene(cart(seller_id=seller)).order.expected_ship_at == T0 + days * DAY


def test_a_placement_time_in_another_zone_is_kept_in_utc() -> None:
    """An order placed at a clock in another time zone has the same instants, in UTC."""
    tokyo = datetime.fromisoformat("2026-03-01T21:00:00+09:00")
    order = Order.model_validate_json(open_order(place(), tokyo).model_dump_json())
    assert order.placed_at == T0
    assert order.placed_at.tzinfo is UTC


def test_the_input_of_an_order_survives_the_wire() -> None:
    """A placement with its policy is the same after it travelled as JSON."""
    given_ = place(cart(seller_id="S-200", fulfilment="marketplace"))
    assert PlaceOrder.model_validate_json(given_.model_dump_json()) == given_


def test_the_policy_file_is_the_projects_own() -> None:
    """The windows that these tests rely on are the ones of the policy's table."""
    snapshot = policy().snapshot("JP", "S-100")
    assert POLICY_FILE.name == "policy.toml"
    assert (snapshot.edit_window, snapshot.cancel_window) == (timedelta(minutes=5), timedelta(minutes=30))
    assert (snapshot.processing_window, snapshot.confirm_window) == (21 * DAY, 7 * DAY)
    assert (snapshot.delivery_window, snapshot.return_window) == (21 * DAY, 30 * DAY)


@pytest.mark.parametrize(
    "stamp",
    [
        "2026-02-30T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-01T25:00:00Z",
        "2026-03-01T12:00:00",
        "today",
        "",
        True,
        {},
    ],
    ids=str,
)
def test_a_command_of_an_impossible_time_is_refused(stamp: object) -> None:
    """A command with an impossible date or a time without an offset is refused and told the field."""
    with pytest.raises(UnreadableCommandError, match="requested_at"):
        parse_command("cancel", {"actor": "buyer", "requested_at": stamp})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(name=st.sampled_from(list(COMMANDS)), junk=JSON, actor=st.sampled_from(["buyer", "king", None]))
def test_any_input_is_read_or_refused(name: str, junk: object, actor: object) -> None:
    """Whatever JSON a command consists of, it is read or refused, and no other exception gets out."""
    fields = dict.fromkeys(COMMANDS[name].model_fields, junk)
    for payload in (junk, {**fields, "actor": actor}, {"actor": actor, "id": junk}):
        try:
            read = parse_command(name, payload)
        except UnreadableCommandError as error:
            assert str(error)
        else:
            assert read.actor in Actor


@given(field=st.sampled_from(sorted(cart())), junk=JSON)
def test_any_placement_is_read_or_refused(field: str, junk: object) -> None:
    """Whatever JSON stands in one field of a cart, it is read or refused, and no other exception gets out."""
    try:
        assert parse_placement(cart(**{field: junk})).fulfilment in Fulfilment
    except PlacementError as error:
        assert str(error)
