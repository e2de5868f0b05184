"""What the notices tell of an order's payment and its refunds: true by card, at a convenience store and with points."""

import pytest
from notice_samples import (
    NUMBER,
    PAYMENTS,
    REFUNDS,
    T0,
    cancelled_for,
    mail,
    make_notice,
    make_refund,
    make_view,
)

from activities.rendering import render
from domain.order import Actor, Reduction
from domain.payment_state import Payment, PaymentStatus
from domain.refund import RefundLine, RefundPart, RefundReason
from domain.views import OrderView

AWAITED, PAID_IN_CASH = PAYMENTS["store-awaited"], PAYMENTS["store-paid"]


def paid_by(name: str) -> OrderView:
    """Return a verified order that is paid in the way `name`."""
    return make_view(payment=PAYMENTS[name])


def charged(payment: Payment) -> Payment:
    """Return `payment` after the charge of 1,299."""
    return payment.model_copy(update={"status": PaymentStatus.CAPTURED, "captured_minor": 129900})


@pytest.mark.rule("G7", "P5")
def test_a_convenience_store_payment_is_asked_for_with_number_amount_and_date() -> None:
    """The buyer gets the payment number, the amount and the due date, and is told that the order is cancelled after it."""
    subject, text = mail("pay_at_store", "buyer", make_view(payment=AWAITED, verified_at=None))
    assert subject == f"Order {NUMBER}: please pay at a convenience store"
    due = "March 3, 2026, 10:30 PM (Eastern Standard Time)"
    assert f"Payment number: 88776655443322\nAmount to pay: $1,299.00\nPay by: {due}\n" in text
    assert f"If the amount is not paid by {due}, the order is cancelled" in text


@pytest.mark.rule("G7")
@pytest.mark.parametrize("missing", ["number", "due_at"])
def test_no_mail_asks_for_a_payment_without_a_number(missing: str) -> None:
    """Without a payment number or a due date there is nothing to pay: an error, not a mail."""
    order = make_view(payment=AWAITED.model_copy(update={missing: None}))
    with pytest.raises(ValueError, match="no payment number"):
        render(make_notice("pay_at_store", "buyer"), order)


@pytest.mark.rule("P5", "S2")
@pytest.mark.parametrize("kind", ["order_confirmation", "order_edited"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("card", "Your card is charged when the first parcel leaves, not before."),
        ("card-and-points", "$1,000.00 is charged to your card and $299.00 is paid with your points when the first"),
        ("points", "$1,299.00 is paid with your points when the first parcel leaves, not before."),
        ("store-awaited", "Please pay $1,299.00 at a convenience store with the payment number 88776655443322 by"),
        (
            "store-issuing",
            "We will mail you a payment number with which you pay $1,299.00 at a convenience store. An earlier",
        ),
    ],
)
def test_a_buyer_is_told_how_the_order_will_be_paid(kind: str, name: str, said: str) -> None:
    """Confirmation and edit say when and from where the money is taken, and name a card only where there is one."""
    order = make_view(payment=PAYMENTS[name], verified_at=None)
    text = mail(kind, "buyer", order)[1]
    assert said in text
    assert ("card" in text) is name.startswith("card")


@pytest.mark.rule("P5", "G5")
def test_a_confirmation_of_what_was_paid_in_cash_asks_for_nothing_more() -> None:
    """A convenience-store order is confirmed as paid; no card is charged later."""
    text = mail("order_confirmation", "buyer", paid_by("store-paid"))[1]
    assert "You have paid $1,299.00 at a convenience store." in text
    assert "charged" not in text


@pytest.mark.rule("P5", "S2", "S5")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("card", "We have charged $1,299.00 to your card, the total of the whole order."),
        ("card-and-points", "We have charged $1,000.00 to your card, and $299.00 has been paid with your points"),
        ("points", "The total of the whole order, $1,299.00, has been paid with your points."),
        ("store-paid", "The total of the order, $1,299.00, has already been paid; this parcel costs you nothing more."),
    ],
)
def test_the_first_shipment_tells_what_was_taken_from_where(name: str, said: str) -> None:
    """With the first parcel the buyer is told the charge by each payment method."""
    text = mail("shipped", "buyer", make_view(payment=charged(PAYMENTS[name])))[1]
    assert said in text
    assert ("card" in text) is name.startswith("card")


@pytest.mark.rule("S8")
def test_units_that_are_not_to_be_had_are_not_announced() -> None:
    """Refunded units are not named as still to be shipped: the parcel is the whole of what comes."""
    first, second = make_view().lines
    lines = (first, second.model_copy(update={"cancelled": 1}))
    subject, text = mail("shipped", "buyer", make_view(lines=lines))
    assert "  1 × 赤い茶碗\n" in text.split("Still to be shipped")[1]
    assert "青い皿" not in text
    whole = tuple(line.model_copy(update={"cancelled": line.quantity - line.shipped}) for line in lines)
    subject, text = mail("shipped", "buyer", make_view(lines=whole))
    assert subject == f"Order {NUMBER} has been shipped"
    assert "of these cancelled and refunded: 1" in mail("request_declined", "buyer", make_view(lines=lines))[1]


@pytest.mark.rule("C9", "P5")
@pytest.mark.parametrize("kind", ["order_cancelled", "request_accepted"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("card", "Nothing has been charged. Any amount reserved on your card is being released."),
        ("card-and-points", "Any amount reserved on your card and any points reserved for this order are being"),
        ("points", "No points have been taken. Any points reserved for this order are being released."),
        (
            "store-paid",
            "What you paid at a convenience store is being paid back to you by bank transfer; another mail tells you by when.",
        ),
    ],
)
def test_a_cancellation_tells_what_becomes_of_the_money(kind: str, name: str, said: str) -> None:
    """A buyer whose order is cancelled is told what is released or paid back, whatever paid for it."""
    payment = PAYMENTS[name].model_copy(update={"status": PaymentStatus.VOIDED, "authorized_minor": 0})
    text = mail(kind, "buyer", make_view(payment=payment))[1]
    assert said in text
    assert ("card" in text) is name.startswith("card")


@pytest.mark.rule("G7", "G6", "G4")
@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("payment_expired", "Nothing has been charged. The payment number is no longer valid"),
        ("payment_unverified", "If you have already paid at a convenience store, the amount is being paid back"),
        ("review_refused", "If you have already paid at a convenience store, the amount is being paid back"),
        ("changed_mind", "If you have already paid at a convenience store, the amount is being paid back"),
    ],
)
def test_a_cancelled_order_is_not_to_be_paid_any_more(reason: str, said: str) -> None:
    """Where cash may or may not have been paid, the buyer is told not to pay and that what was paid comes back."""
    payment = AWAITED.model_copy(update={"status": PaymentStatus.VOIDED})
    order = make_view(payment=payment, verified_at=None, cancellation=cancelled_for(reason))
    text = mail("order_cancelled", "buyer", order)[1]
    assert said in text
    assert "do not pay" in text


@pytest.mark.rule("A3", "G4")
@pytest.mark.parametrize(
    ("reason", "again"), [("no_answer", True), ("review_refused", False), ("buyer_return_unconfirmed", False)]
)
def test_a_new_order_is_offered_where_it_makes_sense(reason: str, again: bool) -> None:
    """Neither who sent the items back nor whom the marketplace refused is invited to order again."""
    text = mail("order_cancelled", "buyer", make_view(cancellation=cancelled_for(reason)))[1]
    assert ("place a new order" in text) is again


@pytest.mark.rule("A3")
def test_a_seller_whose_unconfirmed_parcel_came_back_is_not_told_to_keep_it() -> None:
    """The seller reads that the items are back, not that it must not ship them."""
    order = make_view(cancellation=cancelled_for("buyer_return_unconfirmed"))
    text = mail("order_cancelled", "seller", order)[1]
    assert "The items have come back, and no shipment was ever confirmed." in text
    assert "do not ship" not in text


@pytest.mark.rule("G3")
@pytest.mark.parametrize("name", ["card", "card-and-points", "points"])
def test_a_declined_payment_names_the_card_only_where_the_card_was_it(name: str) -> None:
    """A decline of points, alone or with a card, is not blamed on the card."""
    text = mail("payment_problem", "buyer", paid_by(name))[1]
    assert ("Your card was declined" in text) is (name == "card")
    assert "Please give another payment method" in text


@pytest.mark.rule("C11")
@pytest.mark.parametrize(
    ("actor", "to_buyer", "to_seller"),
    [
        (Actor.SELLER, "With your consent, part of this order", "With the buyer's consent, part of this order"),
        (Actor.BUYER, "You have cancelled part of this order", "The buyer has cancelled part of this order"),
    ],
)
def test_cancelled_items_are_named_with_reason_and_new_total(actor: Actor, to_buyer: str, to_seller: str) -> None:
    """Both sides are told the units, the reason, what the order comes to now, and that nothing is paid for the rest."""
    reduction = Reduction(quantities={"111": 1}, actor=actor, reason="no_inventory", consent="yes", at=T0)
    order = make_view(reductions=(reduction,), payment=PAYMENTS["card"])
    for recipient, said, free in (
        ("buyer", to_buyer, "Nothing has been charged"),
        ("seller", to_seller, "pays nothing"),
    ):
        text = mail("items_cancelled", recipient, order)[1]
        assert said in text
        assert "Cancelled items\n  1 × 赤い茶碗\n" in text
        assert "Reason: out of stock" in text
        assert "Total: $1,299.00" in text
        assert free in text


@pytest.mark.rule("C11", "P5")
def test_cancelled_items_that_were_paid_in_cash_are_paid_back() -> None:
    """Who paid at a store is not told that nothing was charged, but how the money comes back."""
    text = mail("items_cancelled", "buyer", paid_by("store-paid"))[1]
    assert "Nothing has been charged" not in text
    assert "is paid back to you by bank transfer when the order ships" in text


@pytest.mark.rule("R7", "R3", "R4", "R5")
def test_a_refund_is_told_with_lines_deductions_methods_and_date() -> None:
    """The buyer reads the amount, its lines and deductions, the reason and memo, each method, and the expected date."""
    subject, text = mail("refund_requested", "buyer", make_view())
    assert subject == f"Order {NUMBER}: refund of $540.00"
    assert "Reason: the parcel was called back\nNote: 申し訳ありません\n" in text
    rows = (
        "1 × 赤い茶碗: $591.00",
        "青い皿: $5.00",
        "Shipping: $4.00",
        "Return fee kept back: -$60.00",
        "Refund: $540.00",
    )
    assert "\n".join(rows) in text
    assert "To your card: $440.00\nTo your points: $100.00\n" in text
    assert "It should have arrived by March 5, 2026, 10:30 PM (Eastern Standard Time)." in text


@pytest.mark.rule("R7")
def test_the_expected_date_of_a_refund_is_that_of_its_last_part() -> None:
    """With several parts the later date counts; without any, no date is promised."""
    first, second = make_refund().parts
    later = second.model_copy(update={"expected_at": T0.replace(day=20)})
    text = mail("refund_requested", "buyer", make_view(refunds=(make_refund(parts=(first, later)),)))[1]
    assert "It should have arrived by March 19, 2026" in text
    text = mail("refund_requested", "buyer", make_view(refunds=(make_refund(parts=(second,)),)))[1]
    assert "arrived by" not in text
    assert "We will mail you when it is paid." in text


@pytest.mark.rule("R7", "R5", "P5")
def test_a_refund_of_cash_goes_by_bank_transfer() -> None:
    """What was paid at a convenience store is transferred by the payment provider."""
    text = mail("refund_requested", "buyer", make_view(refunds=(REFUNDS["by-transfer"],)))[1]
    assert "By bank transfer from the payment provider: $540.00" in text


@pytest.mark.rule("R7", "G7", "C9")
def test_cash_that_was_never_charged_is_told_like_a_refund() -> None:
    """Of an order that was cancelled the buyer is told why, how much of the cash goes back, how and by when."""
    subject, text = mail("refund_requested", "buyer", make_view(refunds=(REFUNDS["of-cash"],)))
    assert subject == f"Order {NUMBER}: refund of $540.00"
    for said in (
        "the order was cancelled",
        "By bank transfer from the payment provider: $540.00",
        "It should have arrived by ",
    ):
        assert said in text


@pytest.mark.rule("R3", "S8")
def test_a_refund_of_missing_items_says_that_they_do_not_come() -> None:
    """Units refunded instead of shipped are named."""
    lines = (RefundLine(sku="222", quantity=1, not_shipped=1, items_minor=9000),)
    refund = make_refund(lines=lines, deductions=(), reason=RefundReason.OUT_OF_STOCK)
    text = mail("refund_requested", "buyer", make_view(refunds=(refund,)))[1]
    assert "Reason: out of stock" in text
    assert "No longer to be shipped\n  1 × 青い皿\n" in text


@pytest.mark.rule("R7", "P5")
def test_a_seller_is_told_what_a_refund_costs_and_not_how_it_is_paid() -> None:
    """The seller reads the amount that its settlement loses and its lines, but no payment method."""
    text = mail("refund_requested", "seller", make_view())[1]
    assert "a refund of $540.00, which is taken from your settlement" in text
    assert "Return fee kept back: -$60.00" in text
    for word in ("card", "points", "transfer", "$440.00", "$100.00"):
        assert word not in text


@pytest.mark.rule("R7")
def test_a_refund_that_is_paid_or_failed_is_told() -> None:
    """The buyer is told when the refund is paid, and of a failed one only the parts that are still owed."""
    subject, text = mail("refund_paid", "buyer", make_view(refunds=(REFUNDS["paid"],)))
    assert subject == f"Order {NUMBER}: your refund of $540.00 has been paid"
    assert "To your card: $540.00" in text
    assert "Paid on: March 2, 2026, 10:30 PM" in text
    first, second = make_refund().parts
    half = (RefundPart(**{**first.model_dump(), "status": "failed"}), second)
    subject, text = mail("refund_failed", "buyer", make_view(refunds=(make_refund(parts=half),)))
    assert subject == f"Order {NUMBER}: your refund could not be paid yet"
    assert "To your card: $440.00" in text
    assert "points" not in text
    assert "You need do nothing" in text
