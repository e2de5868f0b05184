"""The arithmetic of refunds: exact in minor units, never more than was charged by line, by shipping fee or in all."""

from typing import Any

import pytest
from domain_kit import CARD_AND_POINTS, NUMBER, PARCEL, T0, Json, Scene, cart, every_method, line, policy, shipped
from hypothesis import given, settings
from hypothesis import strategies as st
from refund_kit import amounts, jpy, refund, refused

from domain.order import Flag, Order, Status
from domain.refund import PaymentMethod
from domain.refunding import allocate, left_of, refundable_minor
from domain.views import view

POLICY = policy()
WEIGHTS = st.lists(st.integers(0, 10**6), min_size=1, max_size=50)


@pytest.mark.rule("R2")
@given(total=st.integers(0, 10**9), weights=WEIGHTS)
def test_a_split_is_exact_and_fair(total: int, weights: list[int]) -> None:
    """Nothing is lost, every share is within one minor unit of its due, and what weighs nothing gets nothing."""
    whole, shares = sum(weights), allocate(total, weights)
    assert sum(shares) == (total if whole else 0)
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share * whole - total * weight) < max(whole, 1)
        assert share == 0 or weight > 0
        assert total > whole or share <= weight


@pytest.mark.rule("R2")
@pytest.mark.parametrize(
    ("total", "weights", "shares"),
    [
        (500, [2000, 500], [400, 100]),
        (100, [1, 1, 1], [34, 33, 33]),
        (101, [1, 1, 1], [34, 34, 33]),
        (10, [1, 5], [2, 8]),
        (1, [1, 1], [1, 0]),
        (0, [3, 4], [0, 0]),
        (7, [0, 0], [0, 0]),
        (7, [], []),
    ],
)
def test_the_largest_remainder_comes_first(total: int, weights: list[int], shares: list[int]) -> None:
    """What does not divide goes to the largest remainder, and among equals to the earlier place."""
    assert allocate(total, weights) == shares


COUNT, AMOUNT = st.integers(1, 6), st.integers(1, 3000)
MONEY = AMOUNT.map(lambda amount: {"amount_minor": amount, "currency": "JPY"})
PART: st.SearchStrategy[Json] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"quantity": COUNT, "with_shipping": st.booleans()}),
    st.fixed_dictionaries({"amount": MONEY}),
    st.fixed_dictionaries({"quantity": COUNT, "amount": MONEY}),
)
SKUS = st.sampled_from("ABC")
REASON = st.sampled_from(["goodwill", "out_of_stock"])
KEPT = st.fixed_dictionaries({"kind": st.just("return_fee"), "amount": MONEY})
REFUND = st.fixed_dictionaries(
    {"reason": REASON},
    optional={
        "lines": st.dictionaries(SKUS, PART, max_size=3).map(lambda d: [{"sku": k, **v} for k, v in d.items()]),
        "shipping": MONEY,
        "deductions": st.lists(KEPT, max_size=1),
    },
)
SHIP = st.dictionaries(SKUS, COUNT, min_size=1).map(
    lambda d: PARCEL | {"lines": [{"sku": sku, "quantity": n} for sku, n in d.items()]}
)
STEPS = st.lists(st.one_of(REFUND, REFUND, SHIP), max_size=8)
CARTS = st.lists(st.tuples(COUNT, st.integers(1, 2000)), min_size=1, max_size=3)


def within_the_charge(order: Order) -> None:
    """Assert that no line, no share of the fee and no method gave back more than it took, and that the state fits."""
    shares = allocate(order.shipping_fee_minor, [each.quantity * each.unit_price_minor for each in order.lines])
    assert sum(shares) == order.shipping_fee_minor
    for each, share in zip(order.lines, shares, strict=True):
        back = [line for refund in order.refunds for line in refund.lines if line.sku == each.sku]
        assert 0 <= sum(line.items_minor for line in back) <= each.quantity * each.unit_price_minor
        assert 0 <= sum(line.shipping_minor for line in back) <= share
        assert sum(line.quantity for line in back) <= each.quantity
        assert each.unshipped >= 0
    assert all(refund.amount_minor == sum(part.amount_minor for part in refund.parts) for refund in order.refunds)
    assert refundable_minor(order) == order.payment.captured_minor - sum(each.gross_minor for each in order.refunds)
    assert (order.status is Status.PARTIALLY_SHIPPED) == any(each.unshipped for each in order.lines)


@pytest.mark.rule("R2", "R4", "R5", "S8")
@settings(max_examples=150, deadline=None)
@given(carted=CARTS, points=st.integers(0, 100), steps=STEPS)
def test_no_sequence_of_refunds_exceeds_the_charge(
    carted: list[tuple[int, int]], points: int, steps: list[Json]
) -> None:
    """Whatever is refunded in whatever order, no limit is exceeded, and a full refund takes exactly what is left."""
    lines = [line(sku, *each) for sku, each in zip("ABC", carted, strict=False)]
    scene = Scene(cart(*lines, payment={"card": "card-ok", "points_minor": points}), POLICY).settle()
    assert scene.send("ship", "seller", **PARCEL, lines=[{"sku": "A", "quantity": 1}]) is None
    for step in steps:
        before = scene.order
        if scene.send("refund" if "reason" in step else "ship", "seller", **step) is not None:
            assert (scene.order.refunds, scene.order.lines) == (before.refunds, before.lines)
        within_the_charge(scene.order)
    left = refundable_minor(scene.order)
    if left:
        assert scene.send("refund", "seller", reason="goodwill") is None
        assert scene.order.refunds[-1].gross_minor == scene.order.refunds[-1].amount_minor == left
        assert not any(each.unshipped for each in scene.order.lines)
    within_the_charge(scene.order)
    assert refundable_minor(scene.order) == 0
    scene.settle()
    assert scene.partners.given_back == scene.partners.charged - sum(r.deducted_minor for r in scene.order.refunds)


@pytest.mark.rule("R2")
def test_all_of_it_is_refunded_at_once() -> None:
    """A refund that names nothing gives back goods and shipping of every line, and nothing is left."""
    scene = shipped()
    assert refund(scene) is None
    assert amounts(scene) == [("A", 2, 2000, 400), ("B", 1, 500, 100)]
    assert (scene.order.refunds[0].amount_minor, view(scene.order, T0).refundable_minor) == (3000, 0)
    for lines in ([], [{"sku": "A"}]):
        refusal = refused(scene, "refund", "seller", reason="goodwill", lines=lines)
        assert (refusal.code, refusal.rule) == ("ALREADY_REFUNDED", "R2")


@pytest.mark.rule("R2")
@pytest.mark.parametrize(
    ("fields", "made"),
    [
        ({"lines": [{"sku": "A", "quantity": 1}]}, [("A", 1, 1000, 0)]),
        ({"lines": [{"sku": "A", "quantity": 1, "with_shipping": True}]}, [("A", 1, 1000, 200)]),
        ({"lines": [{"sku": "A", "quantity": 2, "with_shipping": True}]}, [("A", 2, 2000, 400)]),
        ({"lines": [{"sku": "A"}]}, [("A", 2, 2000, 0)]),
        ({"lines": [{"sku": "A"}, {"sku": "B"}]}, [("A", 2, 2000, 0), ("B", 1, 500, 0)]),
        ({"lines": [{"sku": "A", "amount": jpy(333)}]}, [("A", 0, 333, 0)]),
        ({"lines": [{"sku": "A", "quantity": 1, "amount": jpy(333)}]}, [("A", 1, 333, 0)]),
        ({"shipping": jpy(500)}, [("A", 0, 0, 400), ("B", 0, 0, 100)]),
        ({"shipping": jpy(99)}, [("A", 0, 0, 79), ("B", 0, 0, 20)]),
        ({"lines": [{"sku": "B"}], "shipping": jpy(60)}, [("B", 1, 500, 60)]),
    ],
    ids=str,
)
def test_part_of_it_is_refunded(fields: dict[str, Any], made: list[tuple[str, int, int, int]]) -> None:
    """Units at their price, an amount, an item, or an amount of the shipping fee: each is a line of the refund."""
    scene = shipped()
    assert refund(scene, **fields) is None
    assert amounts(scene) == made


@pytest.mark.rule("R2")
@pytest.mark.parametrize(
    ("fields", "code", "told"),
    [
        ({"lines": [{"sku": "A", "quantity": 3}]}, "REFUND_EXCEEDS", "2 units left to refund of A, not 3"),
        ({"lines": [{"sku": "A", "amount": jpy(2001)}]}, "REFUND_EXCEEDS", "JPY 2,000 left to refund of A"),
        ({"lines": [{"sku": "A", "quantity": 3, "amount": jpy(1)}]}, "REFUND_EXCEEDS", "2 units"),
        ({"shipping": jpy(501)}, "REFUND_EXCEEDS", "JPY 500 left to refund of the shipping fee, not JPY 501"),
        ({"lines": [{"sku": "B"}], "shipping": jpy(101)}, "REFUND_EXCEEDS", "JPY 100 left"),
        (
            {"lines": [{"sku": "B", "quantity": 1, "with_shipping": True}], "shipping": jpy(1)},
            "REFUND_EXCEEDS",
            "JPY 0 left to refund of the shipping fee, not JPY 1",
        ),
        ({"lines": [{"sku": "C"}]}, "UNKNOWN_ITEM", "no item C"),
        ({"lines": [{"sku": "A", "amount": jpy(1, "EUR")}]}, "CURRENCY_MISMATCH", "was paid in JPY"),
        ({"shipping": jpy(1, "EUR")}, "CURRENCY_MISMATCH", "the shipping fee is in EUR"),
    ],
    ids=str,
)
def test_a_refund_of_more_than_there_is_is_refused(fields: dict[str, Any], code: str, told: str) -> None:
    """Too many units, too much money, another currency or an unknown item: refused with the limit, nothing changed."""
    refusal = refused(shipped(), "refund", "seller", reason="goodwill", **fields)
    assert (refusal.code, refusal.rule) == (code, "R2")
    assert told in refusal.message


@pytest.mark.rule("R2", "R3")
@pytest.mark.parametrize(
    "fields",
    [
        {"lines": [{"sku": "A", "quantity": 0}]},
        {"lines": [{"sku": "A", "quantity": -1}]},
        {"lines": [{"sku": "A", "amount": jpy(0)}]},
        {"lines": [{"sku": "A", "amount": jpy(-5)}]},
        {"lines": [{"sku": "A", "quantity": True}]},
        {"lines": [{"sku": "A", "amount": {"amount_minor": 1.5, "currency": "JPY"}}]},
        {"lines": [{"sku": "A"}, {"sku": "A"}]},
        {"lines": [{"sku": "A", "amount": jpy(1), "with_shipping": True}]},
        {"shipping": jpy(0)},
        {"deductions": [{"kind": "return_fee", "amount": jpy(0)}]},
        {"deductions": [{"kind": "tip", "amount": jpy(1)}]},
        {"reason": None},
        {"reason": "because"},
        {"memo": ""},
    ],
    ids=str,
)
def test_an_unreadable_refund_is_refused(fields: dict[str, Any]) -> None:
    """Zero, negative, broken or doubled amounts, an unknown reason or deduction: refused, nothing changed."""
    assert refused(shipped(), "refund", "seller", **{"reason": "goodwill", **fields}).code == "INVALID_COMMAND"


@pytest.mark.rule("R2")
def test_a_unit_is_refunded_at_its_price_also_when_it_is_the_last() -> None:
    """One unit was kept by the buyer for a small amount back: the other one still comes to its own price, not to more."""
    scene = shipped()
    refund(scene, lines=[{"sku": "A", "quantity": 1, "amount": jpy(100)}])
    assert refund(scene, lines=[{"sku": "A", "quantity": 1}]) is None
    assert amounts(scene) == [("A", 1, 1000, 0)]


@pytest.mark.rule("R2")
def test_a_units_share_of_the_shipping_fee_is_its_own() -> None:
    """One unit was refunded without shipping: the other one brings back its own share of the fee, not that of both."""
    scene = shipped()
    refund(scene, lines=[{"sku": "A", "quantity": 1}])
    assert refund(scene, lines=[{"sku": "A", "quantity": 1, "with_shipping": True}]) is None
    assert amounts(scene) == [("A", 1, 1000, 200)]


@pytest.mark.rule("R2")
def test_what_went_back_as_an_amount_is_not_refunded_again() -> None:
    """After an amount back on both units, the first unit comes to its price and the last to what is left of it."""
    scene, unit = shipped(), [{"sku": "A", "quantity": 1}]
    refund(scene, lines=[{"sku": "A", "amount": jpy(300)}])
    over = refused(scene, "refund", "seller", reason="goodwill", lines=[{"sku": "A", "amount": jpy(1701)}])
    assert over.code == "REFUND_EXCEEDS"
    for made in ([("A", 1, 1000, 0)], [("A", 1, 700, 0)]):
        assert refund(scene, lines=unit) is None
        assert amounts(scene) == made
    assert refused(scene, "refund", "seller", reason="goodwill", lines=unit).code == "REFUND_EXCEEDS"
    assert refused(scene, "refund", "seller", reason="goodwill", lines=[{"sku": "A"}]).code == "ALREADY_REFUNDED"


@pytest.mark.rule("R4")
def test_deductions_are_lines_of_their_own() -> None:
    """What is kept back stands in the refund by kind and amount; the buyer gets the rest, and the lines count in full."""
    scene = shipped()
    kept = [{"kind": "shipping_fee", "amount": jpy(500)}, {"kind": "return_fee", "amount": jpy(300)}]
    assert refund(scene, deductions=kept) is None
    made = scene.order.refunds[0]
    assert [(each.kind.value, each.amount_minor) for each in made.deductions] == [
        ("shipping_fee", 500),
        ("return_fee", 300),
    ]
    assert (made.gross_minor, made.deducted_minor, made.amount_minor) == (3000, 800, 2200)
    assert scene.settle().partners.given_back == 2200
    assert refundable_minor(scene.order) == 0


@pytest.mark.rule("R4")
@pytest.mark.parametrize(
    ("kept", "code", "rule"),
    [
        ([jpy(500)], "NOTHING_TO_REFUND", "R4"),
        ([jpy(499), jpy(1)], "NOTHING_TO_REFUND", "R4"),
        ([jpy(600)], "NOTHING_TO_REFUND", "R4"),
        ([jpy(100, "EUR")], "CURRENCY_MISMATCH", "R2"),
    ],
)
def test_deductions_that_leave_nothing_are_refused(kept: list[Json], code: str, rule: str) -> None:
    """Deductions of as much as the lines or more, or in another currency, are refused; one less is paid."""
    scene, lines = shipped(), [{"sku": "B"}]
    deductions = [{"kind": "return_fee", "amount": each} for each in kept]
    refusal = refused(scene, "refund", "seller", reason="buyer_return", lines=lines, deductions=deductions)
    assert (refusal.code, refusal.rule) == (code, rule)
    assert refund(scene, lines=lines, deductions=[{"kind": "return_fee", "amount": jpy(499)}]) is None
    assert scene.order.refunds[0].amount_minor == 1


@pytest.mark.rule("R5", "P5")
def test_the_card_comes_first_then_the_points() -> None:
    """2,300 were paid by card and 700 with points: over several refunds the card gets its own back before the points."""
    scene = shipped(CARD_AND_POINTS, every_method())
    steps = (({"sku": "A", "quantity": 1}, [1000]), ({"sku": "A", "quantity": 1}, [1000]), ({"sku": "B"}, [300, 200]))
    for named, shares in steps:
        assert refund(scene, lines=[named]) is None
        assert [part.amount_minor for part in scene.order.refunds[-1].parts] == shares
    assert refund(scene) is None
    parts = [part for each in scene.order.refunds for part in each.parts]
    assert [(part.method, part.amount_minor) for part in parts[2:]] == [
        (PaymentMethod.CARD, 300),
        (PaymentMethod.POINTS, 200),
        (PaymentMethod.POINTS, 500),
    ]
    assert {part.payment_reference for part in parts} == {f"{NUMBER}/1/authorize", f"{NUMBER}/1/authorize/points"}
    assert scene.settle().partners.given_back == 3000


@pytest.mark.rule("R5", "R4")
def test_what_is_deducted_stays_off_the_points() -> None:
    """A full refund less 500 gives the card all it paid and the points what is left after the deduction."""
    scene = shipped(CARD_AND_POINTS, every_method())
    refund(scene, deductions=[{"kind": "shipping_fee", "amount": jpy(500)}])
    assert [part.amount_minor for part in scene.order.refunds[0].parts] == [2300, 200]


@pytest.mark.rule("R5", "P5")
@pytest.mark.parametrize("method", ["points", "konbini"])
def test_another_method_gets_back_what_it_paid(method: str) -> None:
    """What was paid with points alone goes back as points, what was paid at a store goes back by the store."""
    scene = Scene(cart(payment={"method": method}), every_method()).settle()
    if method == "konbini":
        scene.partners.pay_at_store(f"{NUMBER}/1/authorize")
        scene.hear(f"{NUMBER}/1/authorize")
    scene.send("ship", "seller", **PARCEL)
    assert refund(scene) is None
    (part,) = scene.order.refunds[0].parts
    assert (part.method.value, part.amount_minor) == (method, 3000)
    assert part.reference.endswith(f"/refund/{method}")
    assert scene.settle().partners.given_back == 3000


@pytest.mark.rule("S8", "R2")
def test_units_out_of_stock_are_taken_from_those_not_shipped() -> None:
    """Of three units one was shipped: a goodwill refund takes the shipped one, out of stock takes those still due."""
    scene = Scene(cart(line("A", 3, 1000)), POLICY).settle()
    scene.send("ship", "seller", **PARCEL, lines=[{"sku": "A", "quantity": 1}])
    refund(scene, lines=[{"sku": "A", "quantity": 1}])
    assert (scene.order.lines[0].cancelled, scene.status) == (0, Status.PARTIALLY_SHIPPED)
    refund(scene, "out_of_stock", lines=[{"sku": "A", "quantity": 1}])
    assert (scene.order.lines[0].cancelled, scene.order.lines[0].unshipped) == (1, 1)
    refund(scene, lines=[{"sku": "A", "quantity": 1}])
    assert (scene.order.lines[0].cancelled, scene.status) == (2, Status.SHIPPED)
    assert left_of(scene.order)["A"].units == 0
    assert Flag.REFUND_DUE not in scene.order.flags
