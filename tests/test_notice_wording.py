"""What each notice tells, and what it keeps from whom."""

import re
from datetime import timedelta
from enum import StrEnum
from itertools import product

import pytest
from domain_kit import policy
from notice_samples import (
    NUMBER,
    PAYMENTS,
    T0,
    mail,
    make_case,
    make_notice,
    make_refund,
    make_view,
    parts_of,
)

from activities import rendering
from activities.rendering import RECIPIENTS, TONGUES, render
from domain.order import (
    Actor,
    Address,
    Cancellation,
    CancellationRequest,
    Fulfilment,
    Reduction,
    RequestStatus,
    Status,
)
from domain.reasons import BuyerReason, ParcelReason, ReturnReason, SellerReason, SystemReason
from domain.refund import Deduction, DeductionKind, PaymentMethod, RefundPart, RefundReason


@pytest.mark.rule("C9")
@pytest.mark.parametrize("language", TONGUES)
@pytest.mark.parametrize("recipient", ["buyer", "seller"])
@pytest.mark.parametrize(
    ("actor", "reasons"),
    [(Actor.BUYER, BuyerReason), (Actor.SELLER, SellerReason), (Actor.SYSTEM, SystemReason)],
)
def test_every_reason_code_is_put_into_words(
    actor: Actor, reasons: type[StrEnum], recipient: str, language: str
) -> None:
    """A cancellation mail words each reason differently, never as its code."""
    texts = set()
    for reason in reasons:
        cancellation = Cancellation(actor=actor, reason=reason.value, at=T0, counts_in_rate=False)
        text = mail("order_cancelled", recipient, make_view(language, cancellation=cancellation))[1]
        assert_worded(reason.value, text)
        texts.add(text)
    assert len(texts) == len(reasons)


def assert_worded(code: str, text: str) -> None:
    """Assert that `text` does not name a reason by its code."""
    assert code not in text.split() or code in ("other", "damaged", "goodwill", "refused")
    assert "_" not in text


@pytest.mark.rule("R3", "R4")
@pytest.mark.parametrize("language", TONGUES)
@pytest.mark.parametrize("recipient", ["buyer", "seller"])
def test_every_refund_reason_and_deduction_is_put_into_words(recipient: str, language: str) -> None:
    """A refund mail words each reason and each deduction differently, never as its code."""
    texts = set()
    for reason, kind in product(RefundReason, DeductionKind):
        refund = make_refund(reason=reason, deductions=(Deduction(kind=kind, amount_minor=6000),))
        text = mail("refund_requested", recipient, make_view(language, refunds=(refund,)))[1]
        assert_worded(reason.value, text)
        texts.add(text)
    assert len(texts) == len(RefundReason) * len(DeductionKind)


@pytest.mark.parametrize("language", TONGUES)
@pytest.mark.parametrize("reasons", [BuyerReason, ReturnReason, ParcelReason])
def test_every_reason_of_a_case_is_put_into_words(reasons: type[StrEnum], language: str) -> None:
    """A case's mail words each reason that opens one differently, never as its code."""
    texts = set()
    for reason in reasons:
        text = mail("case_opened", "seller", make_view(language, cases=(make_case(reason=reason.value),)))[1]
        assert_worded(reason.value, text)
        texts.add(text)
    assert len(texts) == len(reasons)


@pytest.mark.rule("D1", "E1")
@pytest.mark.parametrize("language", TONGUES)
@pytest.mark.parametrize(
    ("kind", "recipient"), [("order_confirmation", "buyer"), ("order_edited", "buyer"), ("sold_ship_now", "seller")]
)
def test_every_shipping_option_of_the_default_policy_is_put_into_words(
    kind: str, recipient: str, language: str
) -> None:
    """A mail words each option differently; one that a marketplace named itself stands as it is."""
    options = {option for place in policy().marketplaces.values() for option in place.shipping_options}
    texts = set()
    for option in options:
        text = mail(kind, recipient, make_view(language, shipping_option=option))[1]
        assert not re.search(rf"[:：] ?{option}$", text, re.MULTILINE)
        texts.add(text)
    assert len(texts) == len(options)
    own = mail(kind, recipient, make_view(language, shipping_option="drone"))[1]
    assert re.search(r"[:：] ?drone$", own, re.MULTILINE)


def test_an_unknown_reason_stands_as_its_code() -> None:
    """A reason code that no catalogue knows is shown as it is."""
    cancellation = Cancellation(actor=Actor.OPERATOR, reason="meteor_strike", at=T0, counts_in_rate=False)
    assert "Reason: meteor_strike\n" in mail("order_cancelled", "buyer", make_view(cancellation=cancellation))[1]


@pytest.mark.rule("C9")
@pytest.mark.parametrize(
    ("actor", "to_buyer", "to_seller"),
    [
        (Actor.BUYER, "You have cancelled", "The buyer has cancelled"),
        (Actor.SELLER, "The seller 桃花堂 has cancelled", "You have cancelled"),
        (Actor.SYSTEM, "The marketplace has cancelled", "The marketplace has cancelled"),
        (Actor.OPERATOR, "The marketplace has cancelled", "The marketplace has cancelled"),
    ],
)
def test_a_cancellation_names_who_cancelled(actor: Actor, to_buyer: str, to_seller: str) -> None:
    """Both sides are told who cancelled; the buyer also that nothing was charged and how to order again."""
    order = make_view(cancellation=Cancellation(actor=actor, reason="other", at=T0, counts_in_rate=False))
    told = mail("order_cancelled", "buyer", order)[1]
    assert to_buyer in told
    assert "Nothing has been charged" in told
    assert "place a new order" in told
    assert to_seller in mail("order_cancelled", "seller", order)[1]


@pytest.mark.parametrize(("counts", "said"), [(True, "counts in your"), (False, "does not count in your")])
def test_a_seller_is_told_whether_a_cancellation_counts(counts: bool, said: str) -> None:
    """The seller's mail says whether the cancellation counts in its rate."""
    cancellation = Cancellation(actor=Actor.SELLER, reason="other", at=T0, counts_in_rate=counts)
    assert said in mail("order_cancelled", "seller", make_view(cancellation=cancellation))[1]


@pytest.mark.rule("C7")
def test_the_confirm_warning_names_the_date_of_the_cancellation() -> None:
    """The seller is warned with the instant by which the shipment has to be confirmed."""
    subject, text = mail("confirm_warning", "seller", make_view())
    assert subject == f"Order {NUMBER}: confirm the shipment to avoid cancellation"
    assert "confirm the shipment by March 9, 2026, 11:30 PM (Eastern Daylight Time)" in text


@pytest.mark.rule("S5")
def test_a_shipment_mail_tells_the_newest_parcel() -> None:
    """The buyer gets carrier, tracking number and contents of the newest parcel, and what is still to come."""
    first = make_view().shipments[0]
    second = first.model_copy(update={"shipment_id": "2", "tracking_number": "555", "quantities": {"222": 1}})
    subject, text = mail("shipped", "buyer", make_view(shipments=(first, second)))
    assert subject == f"Part of order {NUMBER} has been shipped"
    assert "Carrier: 飛脚\nTracking number: 555\n" in text
    assert "In this parcel\n  1 × 青い皿\n" in text
    assert "9988776655" not in text
    assert "costs you nothing more" in text


@pytest.mark.rule("S2", "S5")
def test_the_first_shipment_mail_tells_the_charge() -> None:
    """With the first parcel the buyer is told the charged total; nothing is left over when all is packed."""
    lines = tuple(line.model_copy(update={"shipped": line.quantity}) for line in make_view().lines)
    subject, text = mail("shipped", "buyer", make_view(lines=lines))
    assert subject == f"Order {NUMBER} has been shipped"
    assert "We have charged $1,299.00 to your card" in text
    assert "Still to be shipped" not in text


@pytest.mark.rule("S2")
def test_both_sides_are_told_of_a_failed_charge() -> None:
    """The buyer is asked for another payment method, and the seller not to ship, without a word on how it was paid."""
    assert "Nothing has been charged" in mail("payment_problem", "buyer", make_view())[1]
    told = mail("payment_problem", "seller", make_view())[1]
    assert "Please do not ship" in told
    assert "card" not in told


def test_a_pending_orders_payment_problem_names_the_processing_deadline() -> None:
    """Before the verification, the buyer is told until when the payment has to be verified."""
    text = mail("payment_problem", "buyer", make_view(verified_at=None))[1]
    assert "not verified by March 21, 2026, 11:30 PM" in text


@pytest.mark.rule("C4")
@pytest.mark.parametrize("shipped", [True, False])
def test_a_declined_request_says_why(shipped: bool) -> None:
    """The buyer is told whether the seller declined the request or has shipped."""
    order = make_view() if shipped else make_view(shipments=())
    assert ("has confirmed a shipment" in mail("request_declined", "buyer", order)[1]) is shipped


@pytest.mark.rule("C3")
def test_a_request_reaches_the_seller_with_reason_and_note() -> None:
    """The seller reads the buyer's reason and note, and what it may do."""
    request = CancellationRequest(status=RequestStatus.OPEN, reason="wrong_address", note="moved away", requested_at=T0)
    text = mail("request_received", "seller", make_view(request=request))[1]
    assert "Reason: wrong delivery address" in text
    assert "Buyer's note: moved away" in text
    assert "accept or decline" in text


@pytest.mark.rule("P4")
def test_an_oversold_order_is_to_be_cancelled_for_want_of_stock() -> None:
    """The seller is told to cancel with the reason "no inventory", once the order is verified."""
    assert "out of stock (no_inventory)" in mail("oversold", "seller", make_view())[1]
    assert "still pending" in mail("oversold", "seller", make_view(verified_at=None))[1]


def test_closed_windows_are_not_offered() -> None:
    """A confirmation offers to edit or cancel only while the window is open; a marketplace order is never editable."""
    order = make_view()
    closed = order.model_copy(
        update={"windows": tuple(each.model_copy(update={"closed": True}) for each in order.windows)}
    )
    text = mail("order_confirmation", "buyer", order)[1]
    assert "You can change quantities" in text
    assert "cancel the order yourself until" in text
    late = mail("order_confirmation", "buyer", closed)[1]
    assert "You can change quantities" not in late
    assert "yourself until" not in late
    assert "You can change" not in mail("order_confirmation", "buyer", make_view(fulfilment=Fulfilment.MARKETPLACE))[1]


def test_a_seller_need_not_ship_what_the_marketplace_ships() -> None:
    """The sold notice of a marketplace-fulfilled order asks for nothing and gives no address."""
    subject, text = mail("sold_ship_now", "seller", make_view(fulfilment=Fulfilment.MARKETPLACE))
    assert "ship" not in subject
    assert "need do nothing" in text
    assert "山田花子" not in text


@pytest.mark.rule("C11")
@pytest.mark.parametrize("recipient", ["buyer", "seller"])
def test_a_cancelled_item_is_told_by_its_title(recipient: str) -> None:
    """Also an item that has left the order goes by its title; one of an older state, which kept none, by its code."""
    text = mail("items_cancelled", recipient, make_view())[1]
    assert "Cancelled items\n  1 × 赤い茶碗\n  2 × 白い鉢\n" in text and "999" not in text
    old = Reduction.model_validate(make_view().reductions[0].model_dump(exclude={"titles"}))
    assert "  1 × 赤い茶碗\n  2 × 999\n" in mail("items_cancelled", recipient, make_view(reductions=(old,)))[1]


SECRETS = (
    "山田太郎",
    "山田花子",
    "buyer@mail.example",
    "0312345678",
    "丸の内9-9",
    "100-0005",
    "千代田区",
    "B1",
    "moved",
)
SELLER_KINDS = sorted(kind.value for kind, actors in RECIPIENTS.items() if Actor.SELLER in actors)


@pytest.mark.rule("G1")
@pytest.mark.parametrize(("kind", "language"), list(product(SELLER_KINDS, TONGUES)))
def test_a_pending_order_tells_the_seller_nothing_about_the_buyer(kind: str, language: str) -> None:
    """No mail to the seller of a pending order holds the buyer's name, address, contact data or words."""
    request = CancellationRequest(status=RequestStatus.OPEN, reason="other", note="moved", requested_at=T0)
    order = make_view(language, status=Status.PENDING, verified_at=None, request=request)
    raw = "\n".join(parts_of(render(make_notice(kind, "seller"), order)))
    assert [secret for secret in SECRETS if secret in raw] == []


@pytest.mark.rule("P5")
@pytest.mark.parametrize(("kind", "language"), list(product(SELLER_KINDS, TONGUES)))
def test_a_seller_is_never_told_how_an_order_is_paid(kind: str, language: str) -> None:
    """A seller's mail is the same whatever the payment is."""
    paid, unpaid = make_view(language), make_view(language, payment=None)
    notice = make_notice(kind, "seller")
    assert parts_of(render(notice, paid)) == parts_of(render(notice, unpaid))
    parts = RefundPart(method=PaymentMethod.KONBINI, payment_reference="p", reference="f", amount_minor=54000)
    elsewhere = make_view(language, payment=PAYMENTS["points"], refunds=(make_refund(parts=(parts,)),))
    assert parts_of(render(notice, elsewhere)) == parts_of(render(notice, paid))


@pytest.mark.rule("A7")
@pytest.mark.parametrize("kind", SELLER_KINDS)
def test_no_mail_holds_a_phone_number(kind: str) -> None:
    """A seller's mail, which outlives the seller's access, never holds the buyer's phone number."""
    assert "0312345678" not in "".join(parts_of(render(make_notice(kind, "seller"), make_view())))


@pytest.mark.rule("G5")
def test_the_sold_notice_gives_address_and_ship_date() -> None:
    """Of a verified order the seller gets items, address and the instant to ship by, the later of plan and verification."""
    text = mail("sold_ship_now", "seller", make_view())[1]
    assert "2 × 赤い茶碗 [111]: $1,200.00" in text
    assert "  山田花子\n  丸の内9-9\n  100-0005 千代田区 (東京都)\n  Japan\n" in text
    late = make_view(verified_at=T0 + timedelta(days=4))
    assert "ship them by March 4, 2026, 10:30 PM" in mail("sold_ship_now", "seller", late)[1]


@pytest.mark.rule("D1")
def test_addresses_follow_the_reader() -> None:
    """A Japanese address reads from the large to the small in Japanese; an American one in its own order."""
    japanese = make_view().address
    assert japanese is not None
    lines = ("日本", "〒100-0005", "東京都千代田区丸の内9-9", "山田花子")
    assert rendering.format_address(japanese, "ja") == lines
    american = Address(
        recipient="J. Doe",
        line1="1 Elm St",
        line2="Apt 2",
        city="Salem",
        region="OR",
        postal_code="97301",
        country="US",
    )
    assert rendering.format_address(american, "it") == ("J. Doe", "1 Elm St", "Apt 2", "Salem, OR 97301", "Stati Uniti")
