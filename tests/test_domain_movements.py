"""The money movements of an order: what each posts, and that they always balance and are only ever added to."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.movements import Movement, MovementKind, in_settlement, movements
from domain.order import Address, Buyer, Fulfilment, Line, Order
from domain.payment_state import Payment, PaymentStatus
from domain.policy import PolicySnapshot, SellerProfile
from domain.refund import (
    Deduction,
    DeductionKind,
    PaymentMethod,
    Refund,
    RefundLine,
    RefundPart,
    RefundReason,
    RefundStatus,
)

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
NUMBER = "503-1234567-1234567"
SETTLEMENT, AVAILABLE, BUYER = "seller:S-100:settlement", "seller:S-100:available", "buyer:B-1"
CARD = RefundPart(method=PaymentMethod.CARD, payment_reference="p", reference="r/card", amount_minor=600)


def an_order(window: timedelta | None = 14 * DAY, **changes: Any) -> Order:
    """Return an order of 2,500 goods and 500 shipping, charged to a card at T0 unless `changes` says otherwise."""
    seller = SellerProfile(seller_id="S-100", name="Shop", email="shop@example.com", language="ja")
    fields: dict[str, Any] = {
        "number": NUMBER,
        "content": "content",
        "marketplace": "JP",
        "seller_id": "S-100",
        "fulfilment": Fulfilment.SELLER,
        "buyer": Buyer(buyer_id="B-1", name="Hanako", email="hanako@example.com", language="ja"),
        "address": Address(recipient="Hanako", line1="1-2-3", city="Tokyo", postal_code="150-0001", country="JP"),
        "currency": "JPY",
        "lines": (Line(sku="A", title="Item A", quantity=5, unit_price_minor=500),),
        "shipping_option": "standard",
        "shipping_fee_minor": 500,
        "policy": PolicySnapshot(
            currency="JPY",
            timezone="Asia/Tokyo",
            handling_time=2 * DAY,
            shipping_options={"standard": 500},
            seller=seller,
            settlement_window=window,
        ),
        "placed_at": T0 - DAY,
        "expected_ship_at": T0 + DAY,
        "edit_until": T0 - DAY,
        "payment": paid(3000),
    }
    return Order(**fields | changes)


def paid(amount: int, **changes: Any) -> Payment:
    """Return a captured payment of `amount` minor units."""
    fields = {"status": PaymentStatus.CAPTURED, "card": "card-ok", "reference": "p", "amount_minor": amount}
    return Payment(**fields | {"captured_minor": amount, "captured_at": T0} | changes)


def a_refund(*parts: RefundPart, items: int = 600, shipping: int = 0, day: int = 1, **changes: Any) -> Refund:
    """Return a refund that is asked for `day` days after the charge."""
    fields: dict[str, Any] = {"refund_id": "R1", "reason": RefundReason.GOODWILL, "by": "seller", "parts": parts}
    lines = (RefundLine(sku="A", items_minor=items, shipping_minor=shipping),)
    return Refund(**fields | {"lines": lines, "requested_at": T0 + day * DAY} | changes)


def posted(movement: Movement) -> dict[str, int]:
    """Return the entries of a movement by account."""
    return {entry.account: entry.amount_minor for entry in movement.entries}


def only(order: Order, kind: MovementKind) -> Movement:
    """Return the order's one movement of `kind`."""
    (found,) = [each for each in movements(order) if each.kind is kind]
    return found


@pytest.mark.rule("S7")
def test_an_order_that_is_not_charged_moves_nothing() -> None:
    """A hold is no movement: before the charge there is nothing to post and nothing in settlement."""
    order = an_order(payment=Payment(status=PaymentStatus.AUTHORIZED, card="card-ok", reference="p", amount_minor=3000))
    assert movements(order) == ()
    assert in_settlement(order) == 0


@pytest.mark.rule("S7", "P5")
@pytest.mark.parametrize(
    ("payment", "sources"),
    [
        (paid(3000), {"provider:clearing": 3000}),
        (paid(3000, method=PaymentMethod.KONBINI), {"provider:clearing": 3000}),
        (paid(3000, points_minor=800), {"provider:clearing": 2200, "points": 800}),
        (paid(3000, method=PaymentMethod.POINTS), {"points": 3000}),
    ],
)
def test_a_charge_goes_into_settlement_from_each_method(payment: Payment, sources: dict[str, int]) -> None:
    """The charge is posted at its instant, from card, shop or points, all of it into the seller's settlement."""
    charge = only(an_order(payment=payment), MovementKind.CHARGE)
    assert (charge.movement_id, charge.at, charge.currency) == (f"{NUMBER}/charge", T0, "JPY")
    assert posted(charge) == sources | {SETTLEMENT: -3000}


@pytest.mark.rule("S7")
def test_the_shipping_fee_of_a_marketplace_fulfilled_order_is_the_marketplaces() -> None:
    """Who ships gets the shipping fee; what is in settlement for the seller is without it."""
    order = an_order(fulfilment=Fulfilment.MARKETPLACE)
    assert posted(only(order, MovementKind.CHARGE)) == {
        "provider:clearing": 3000,
        SETTLEMENT: -2500,
        "marketplace": -500,
    }
    assert in_settlement(order) == 2500


@pytest.mark.rule("S7", "R2")
@pytest.mark.parametrize("status", RefundStatus)
def test_a_refund_is_owed_to_the_buyer_from_the_moment_it_is_asked_for(status: RefundStatus) -> None:
    """Whatever the provider says of it, a refund is taken from the seller and owed to the buyer."""
    part = CARD.model_copy(update={"status": status, "paid_at": T0 + 3 * DAY})
    refund = only(an_order(refunds=(a_refund(part),)), MovementKind.REFUND)
    assert (refund.movement_id, refund.at) == (f"{NUMBER}/refund/R1", T0 + DAY)
    assert posted(refund) == {SETTLEMENT: 600, BUYER: -600}


@pytest.mark.rule("S7")
@pytest.mark.parametrize(("settled", "account"), [(False, SETTLEMENT), (True, AVAILABLE)])
def test_a_refund_after_the_settlement_period_comes_from_what_is_available(settled: bool, account: str) -> None:
    """A refund is taken from where the seller's money was when it was made, whatever its date says."""
    refund = a_refund(CARD, day=13, from_available=settled)
    assert posted(only(an_order(refunds=(refund,)), MovementKind.REFUND)) == {account: 600, BUYER: -600}


@pytest.mark.rule("S7")
def test_an_order_without_a_settlement_period_refunds_from_settlement() -> None:
    """Where the order's policy has no period, nothing ever became available."""
    order = an_order(None, refunds=(a_refund(CARD, day=300),))
    assert posted(only(order, MovementKind.REFUND)) == {SETTLEMENT: 600, BUYER: -600}


@pytest.mark.rule("R4")
@pytest.mark.parametrize(
    ("shipping", "kept", "expected"),
    [
        (500, 0, {SETTLEMENT: 600, "marketplace": 500, BUYER: -1100}),
        (500, 200, {SETTLEMENT: 600, "marketplace": 300, BUYER: -900}),
        (500, 500, {SETTLEMENT: 600, BUYER: -600}),
        (100, 300, {SETTLEMENT: 400, BUYER: -400}),
    ],
)
def test_the_marketplace_pays_back_its_shipping_fee(shipping: int, kept: int, expected: dict[str, int]) -> None:
    """Of a marketplace-fulfilled order the fee, less what is kept of it, comes from the marketplace; never less than 0."""
    deductions = (Deduction(kind=DeductionKind.SHIPPING_FEE, amount_minor=kept),)
    refund = a_refund(items=600, shipping=shipping, deductions=deductions)
    order = an_order(fulfilment=Fulfilment.MARKETPLACE, refunds=(refund,))
    assert posted(only(order, MovementKind.REFUND)) == expected


@pytest.mark.rule("R4")
def test_the_marketplace_never_pays_back_more_than_the_buyer_gets() -> None:
    """A return fee larger than the goods leaves less than the shipping fee to pay back, and nothing for the seller to pay."""
    fee = (Deduction(kind=DeductionKind.RETURN_FEE, amount_minor=800),)
    refund = a_refund(items=600, shipping=500, deductions=fee)
    order = an_order(fulfilment=Fulfilment.MARKETPLACE, refunds=(refund,))
    assert posted(only(order, MovementKind.REFUND)) == {"marketplace": 300, BUYER: -300}


@pytest.mark.rule("R4")
def test_a_refund_that_is_kept_back_whole_moves_nothing() -> None:
    """A refund of 0 has no movement."""
    kept = (Deduction(kind=DeductionKind.RETURN_FEE, amount_minor=600),)
    assert [each.kind for each in movements(an_order(refunds=(a_refund(deductions=kept),)))] == [MovementKind.CHARGE]


@pytest.mark.rule("R5", "R7")
def test_each_part_of_a_refund_is_posted_once_it_is_paid() -> None:
    """Card and points are paid back at their own time; what is still on its way is owed."""
    points = RefundPart(
        method=PaymentMethod.POINTS, payment_reference="p/points", reference="r/points", amount_minor=200
    )
    for_card = CARD.model_copy(update={"status": RefundStatus.PAID, "paid_at": T0 + 4 * DAY})
    order = an_order(payment=paid(3000, points_minor=800), refunds=(a_refund(for_card, points, items=800),))
    card = only(order, MovementKind.REFUND_PAID)
    assert (card.movement_id, card.at) == (f"{NUMBER}/refund/R1/card", T0 + 4 * DAY)
    assert posted(card) == {BUYER: 600, "provider:clearing": -600}
    for_points = points.model_copy(update={"status": RefundStatus.PAID, "paid_at": T0 + 2 * DAY})
    both = movements(an_order(refunds=(a_refund(for_card, for_points, items=800),)))
    assert [each.movement_id.removeprefix(f"{NUMBER}/") for each in both] == [
        "charge",
        "refund/R1",
        "refund/R1/points",
        "refund/R1/card",
    ]
    assert posted(both[2]) == {BUYER: 200, "points": -200}


@pytest.mark.rule("S7")
def test_the_end_of_the_settlement_period_makes_the_money_available() -> None:
    """What was in settlement then, after refunds, is available from the end of the period; later refunds leave it as it was."""
    order = an_order(refunds=(a_refund(CARD),))
    assert in_settlement(order) == 2400
    settled = order.with_(settled_minor=in_settlement(order))
    settlement = only(settled, MovementKind.SETTLEMENT)
    assert (settlement.movement_id, settlement.at) == (f"{NUMBER}/settlement", T0 + 14 * DAY)
    assert posted(settlement) == {SETTLEMENT: 2400, AVAILABLE: -2400}
    assert in_settlement(settled) == 0
    later = a_refund(CARD, day=20, refund_id="R2", from_available=True)
    assert in_settlement(settled.with_(refunds=(*order.refunds, later))) == 0


@st.composite
def _orders(draw: st.DrawFn) -> list[Order]:
    """Draw an order in the states that it goes through: charged, refunded, paid back, settled, in any order."""
    total, fee = draw(st.integers(1, 10**12)), draw(st.integers(0, 2000))
    payment = paid(total, method=draw(st.sampled_from(PaymentMethod)), points_minor=draw(st.integers(0, total)))
    order = an_order(
        draw(st.sampled_from([None, 14 * DAY])),
        fulfilment=draw(st.sampled_from(Fulfilment)),
        shipping_fee_minor=fee,
        payment=payment.model_copy(update={"captured_minor": 0, "captured_at": None}),
    )
    states = [order, order.with_(payment=payment)]
    for name in draw(st.lists(st.sampled_from(["refund", "pay", "fail", "settle"]), max_size=12)):
        states.append(_step(draw, states[-1], name))
    return states


def _step(draw: st.DrawFn, order: Order, name: str) -> Order:
    if name == "settle" and order.settled_minor is None:
        return order.with_(settled_minor=max(in_settlement(order), 0))
    if name == "refund":
        amounts = {PaymentMethod.CARD: draw(st.integers(0, 900)), PaymentMethod.POINTS: draw(st.integers(1, 900))}
        kept = draw(st.integers(0, 300))
        parts = tuple(
            RefundPart(method=method, payment_reference="p", reference=f"r/{method}", amount_minor=amount)
            for method, amount in amounts.items()
        )
        kinds = st.lists(st.sampled_from(DeductionKind), max_size=2)
        refund = a_refund(
            *parts,
            items=sum(amounts.values()),
            shipping=draw(st.integers(0, 600)),
            day=draw(st.integers(0, 30)),
            refund_id=f"R{len(order.refunds) + 1}",
            deductions=tuple(Deduction(kind=kind, amount_minor=kept) for kind in draw(kinds)),
        )
        return order.with_(refunds=(*order.refunds, refund))
    if name in ("pay", "fail") and order.refunds:
        which = draw(st.integers(0, len(order.refunds) - 1))
        refund = order.refunds[which]
        at = draw(st.integers(0, len(refund.parts) - 1))
        part = refund.parts[at]
        if part.status is not RefundStatus.PAID:
            news = {"status": RefundStatus.PAID, "paid_at": refund.requested_at + DAY}
            news = news if name == "pay" else {"status": RefundStatus.FAILED, "attempt": part.attempt + 1}
            parts = (*refund.parts[:at], part.model_copy(update=news), *refund.parts[at + 1 :])
            changed = refund.model_copy(update={"parts": parts})
            return order.with_(refunds=(*order.refunds[:which], changed, *order.refunds[which + 1 :]))
    return order


@pytest.mark.rule("S7", "R5")
@given(states=_orders())
def test_movements_balance_are_unique_and_only_ever_added_to(states: list[Order]) -> None:
    """In every state each movement balances, moves something on accounts of its own, and none changes or disappears."""
    before: dict[str, Movement] = {}
    for order in states:
        now = movements(order)
        for each in now:
            accounts = [entry.account for entry in each.entries]
            assert each.is_balanced
            assert len(accounts) == len(set(accounts)) >= 2
            assert all(entry.amount_minor for entry in each.entries)
            assert each.movement_id.startswith(f"{order.number}/")
        by_id = {each.movement_id: each for each in now}
        assert len(by_id) == len(now)
        assert before.items() <= by_id.items()
        assert movements(order.model_validate_json(order.model_dump_json())) == now
        assert [each.at for each in now] == sorted(each.at for each in now)
        before = by_id
