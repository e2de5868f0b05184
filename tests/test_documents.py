"""The receipt and the packing slip: what they say in each language, and when they are refused."""

import re
from typing import Any

import pytest
from document_samples import charged, part, refund, text
from domain_kit import DAY, T0, in_state, pending, policy, unshipped

from activities.documents import DocumentError, packing_slip, receipt
from activities.rendering import TONGUES
from domain.documents import DocumentRefusalCode
from domain.order import Actor, Line, Status
from domain.refund import (
    CashReturnReason,
    Deduction,
    DeductionKind,
    PaymentMethod,
    RefundLine,
    RefundReason,
    RefundStatus,
)
from domain.views import seller_view, view
from starter.documents_cli import Language

WORDS = {
    "ja": ("領収書", "山田太郎 様", "領収金額 ￥1,299", "2026年3月1日(日) 21:00（日本標準時）"),
    "zh": ("收据", "付款人：山田太郎", "收款总额 ¥12.99", "2026年3月1日 20:00（中国标准时间）"),
    "en": (
        "Receipt",
        "Received from 山田太郎",
        "Total charged $12.99",
        "March 1, 2026, 7:00 AM (Eastern Standard Time)",
    ),
    "it": (
        "Ricevuta",
        "Ricevuto da 山田太郎",
        "Totale addebitato 12,99 €",
        "1 marzo 2026, 13:00 (Ora standard dell’Europa centrale)",
    ),
}
SUMS = {
    "ja": "青い皿 222 1 ￥200 ￥200 商品小計 ￥1,200 配送料 ￥99 領収金額 ￥1,299 お支払い方法 カード ￥1,299",
    "zh": "青い皿 222 1 ¥2.00 ¥2.00 商品小计 ¥12.00 运费 ¥0.99 收款总额 ¥12.99 付款方式 银行卡 ¥12.99",
    "en": "青い皿 222 1 $2.00 $2.00 Items $12.00 Shipping $0.99 Total charged $12.99 How it was paid Card $12.99",
    "it": "青い皿 222 1 2,00 € 2,00 € Articoli 12,00 € Spedizione 0,99 € Totale addebitato 12,99 € Metodo di pagamento"
    " Carta 12,99 €",
}
ISSUER = {
    "ja": "出品者に代わりマーケットプレイスが発行 桃花堂",
    "zh": "由交易平台代表卖家开具 桃花堂",
    "en": "Issued by the marketplace on behalf of the seller 桃花堂",
    "it": "Emessa dal marketplace per conto del venditore 桃花堂",
}
VERIFIED = tuple(status for status in Status if status not in (Status.PENDING, Status.CANCELLED))


@pytest.mark.rule("D2", "P6")
@pytest.mark.parametrize("language", TONGUES)
def test_a_receipt_says_who_paid_what_for_what(language: str) -> None:
    """The receipt names order, buyer, issuer, dates, purchase order, lines and total as the readers of its language write them."""
    order = charged(language)
    shown = text(receipt(order, language))
    for words in (*WORDS[language], ISSUER[language], SUMS[language], order.number, "2026-0815", "赤い茶碗 111 2"):
        assert words in shown


@pytest.mark.rule("D2")
def test_a_receipt_tells_the_whole_sum() -> None:
    """Lines with quantity, unit price and amount, items, shipping, total and method stand in the receipt, in this order."""
    shown = text(receipt(charged(), "en"))
    assert "Order date March 1, 2026, 7:00 AM (Eastern Standard Time)" in shown
    assert "Charged on March 2, 2026, 7:00 AM (Eastern Standard Time)" in shown
    assert "Purchase order number 2026-0815" in shown
    assert (
        "Item Quantity Unit price Amount 赤い茶碗 111 2 $5.00 $10.00 青い皿 222 1 $2.00 $2.00"
        " Items $12.00 Shipping $0.99 Total charged $12.99 How it was paid Card $12.99"
    ) in shown
    assert "Refund" not in shown


@pytest.mark.rule("D2", "P5")
@pytest.mark.parametrize(
    ("method", "points", "shown"),
    [
        (PaymentMethod.CARD, 0, "Card $12.99"),
        (PaymentMethod.CARD, 300, "Card $9.99 Points $3.00"),
        (PaymentMethod.KONBINI, 0, "Convenience store $12.99"),
        (PaymentMethod.POINTS, 0, "Points $12.99"),
        (PaymentMethod.POINTS, 1299, "Points $12.99"),
    ],
)
def test_a_receipt_tells_how_it_was_paid(method: PaymentMethod, points: int, shown: str) -> None:
    """Each payment method stands in the receipt with its own amount, and never the token of the card."""
    page = text(receipt(charged(paid={"method": method, "points_minor": points, "card": "tok_secret"}), "en"))
    assert re.search(r"How it was paid (.*?) 503-", page)[1] == shown  # type: ignore[index]
    assert "tok_secret" not in page


@pytest.mark.rule("D2", "R4", "R5")
def test_a_receipt_shows_each_refund_and_what_remains_paid() -> None:
    """Refunds stand with date, reason, message, items, deductions, amount and the state of each part; then what remains paid."""
    kept = (
        Deduction(kind=DeductionKind.RETURN_FEE, amount_minor=70),
        Deduction(kind=DeductionKind.SHIPPING_FEE, amount_minor=20),
    )
    waiting = part(400, status=RefundStatus.PENDING, paid_at=None, expected_at=T0 + 9 * DAY)
    failed = part(30, PaymentMethod.POINTS, status=RefundStatus.FAILED, paid_at=None)
    first = refund(reason=RefundReason.OUT_OF_STOCK, memo="Sorry!")
    second = refund(waiting, failed, deductions=kept, requested_at=T0 + 4 * DAY)
    shown = text(receipt(charged(refunds=(first, second)), "en"))
    zone = "7:00 AM (Eastern Standard Time)"
    assert (
        f"Refunds Refund of March 3, 2026, {zone} Reason out of stock Message Sorry! 赤い茶碗 × 1 $5.00"
        f" Shipping fee for 赤い茶碗 $0.20 Refund $5.20 Card – paid on March 4, 2026, {zone} $5.20"
    ) in shown
    assert (
        f"Refund of March 5, 2026, {zone} Reason returned by the buyer 赤い茶碗 × 1 $5.00"
        " Shipping fee for 赤い茶碗 $0.20 Deduction: return fee -$0.70 Deduction: shipping fee -$0.20 Refund $4.30"
    ) in shown
    assert "Card – pending, expected by March 10, 2026, 8:00 AM (Eastern Daylight Time) $4.00" in shown
    assert "Points – failed, will be tried again $0.30" in shown
    assert (
        "Total charged $12.99 Refunded -$5.20 Remains paid $7.79"
        " Refunds still to be paid -$4.30 Remains paid after all refunds $3.49"
    ) in shown


@pytest.mark.rule("D2", "R5")
def test_a_receipt_of_a_whole_refund_remains_at_nothing() -> None:
    """When all is refunded and paid nothing remains paid, and nothing is said to be still to come."""
    whole = (RefundLine(sku="111", items_minor=1200, shipping_minor=99),)
    shown = text(receipt(charged(refunds=(refund(part(1299), lines=whole),)), "en"))
    assert "赤い茶碗 $12.00" in shown
    assert "Refunded -$12.99 Remains paid $0.00 503-" in shown


@pytest.mark.rule("D2", "C11")
def test_cash_that_was_never_charged_is_on_no_receipt() -> None:
    """The receipt is of the charge: cash that went back beside it is none of its refunds."""
    plain, change = charged(), refund(part(500), lines=(), cash_minor=500, reason=CashReturnReason.ITEMS_CANCELLED)
    assert text(receipt(plain.model_copy(update={"refunds": (change,)}), "en")) == text(receipt(plain, "en"))


@pytest.mark.rule("D2")
@pytest.mark.parametrize("status", [Status.PENDING, Status.UNSHIPPED, Status.CANCELLED])
def test_there_is_no_receipt_before_the_charge(status: Status) -> None:
    """An order that was not charged has no receipt; the error names the fact, the limit and the remedy."""
    scene = in_state(status)
    with pytest.raises(DocumentError, match=r"charged; .* only for a charge; .*\. \[D2\]") as caught:
        receipt(view(scene.order, scene.now), "ja")
    refusal, over = caught.value.refusal, status is Status.CANCELLED
    assert refusal.code == DocumentRefusalCode["NOTHING_TO_RECEIPT" if over else "RECEIPT_TOO_EARLY"]
    assert ("nothing to receipt" if over else "once a shipment is confirmed") in refusal.remedy


@pytest.mark.rule("D2", "P5")
def test_a_seller_gets_no_receipt() -> None:
    """The view of a seller, who must not see how it was paid, is refused a receipt."""
    with pytest.raises(DocumentError, match=r"^RECEIPT_HIDDEN: .* hides how it was paid.*\[P5\]"):
        receipt(seller_view(charged()), "en")


@pytest.mark.rule("A7")
@pytest.mark.parametrize("issue", [receipt, packing_slip])
def test_after_the_erasure_no_document_is_issued(issue: Any) -> None:
    """Once the personal data is erased both documents are refused, and the error says why."""
    erased = charged(erased_at=T0 + 60 * DAY, buyer=None, address=None)
    with pytest.raises(DocumentError, match=r"^DOCUMENT_ERASED: .* has been erased; .*\[A7\]"):
        issue(erased, "ja")


@pytest.mark.rule("D1")
@pytest.mark.parametrize("issue", [receipt, packing_slip])
@pytest.mark.parametrize("language", ["fr", "", "../it"])
def test_an_unknown_language_is_refused(issue: Any, language: str) -> None:
    """A language without documents is refused by name, with those that there are."""
    with pytest.raises(DocumentError, match=r"^DOCUMENT_LANGUAGE: .*use one of: ja, zh, en, it\. \[D1\]"):
        issue(charged(), language)


SLIPS = {
    "ja": ("納品書", "お届け先 日本 〒100-0005 東京都千代田区丸の内9-9 山田花子", "発注番号 2026-0815"),
    "zh": ("装箱单", "收货地址 日本 〒100-0005 東京都千代田区丸の内9-9 山田花子", "采购订单号 2026-0815"),
    "en": (
        "Packing slip",
        "Ship to 山田花子 丸の内9-9 100-0005 千代田区 (東京都) Japan",
        "Purchase order number 2026-0815",
    ),
    "it": (
        "Distinta di imballaggio",
        "Spedire a 山田花子 丸の内9-9 100-0005 千代田区 (東京都) Giappone",
        "Numero d’ordine di acquisto 2026-0815",
    ),
}


SHIPPING = {
    "ja": ("配送方法", {"standard": "通常配送", "express": "お急ぎ便"}),
    "zh": ("配送方式", {"standard": "标准配送", "express": "加急配送"}),
    "en": ("Shipping option", {"standard": "standard shipping", "express": "express shipping"}),
    "it": ("Opzione di spedizione", {"standard": "spedizione standard", "express": "spedizione espressa"}),
}


@pytest.mark.rule("D1", "D5")
@pytest.mark.parametrize("language", TONGUES)
def test_a_packing_slip_words_the_shipping_options_of_the_default_policy(language: str) -> None:
    """Each option stands in the words of the language; one that a marketplace named itself stands as it is."""
    label, words = SHIPPING[language]
    assert {option for place in policy().marketplaces.values() for option in place.shipping_options} == set(words)
    for option, worded in (words | {"drone": "drone"}).items():
        assert f"{label} {worded} " in text(packing_slip(charged(language, shipping_option=option), language))


@pytest.mark.rule("D5", "P6")
@pytest.mark.parametrize("language", TONGUES)
def test_a_packing_slip_says_what_goes_where(language: str) -> None:
    """The packing slip of a business order shows address, number, date, seller, option, items and purchase order."""
    order = charged(language)
    shown = text(packing_slip(order, language))
    for words in (*SLIPS[language], order.number, WORDS[language][3], "桃花堂", "赤い茶碗 111 2 青い皿 222 1"):
        assert words in shown


@pytest.mark.rule("D5", "P5", "A7")
@pytest.mark.parametrize("language", TONGUES)
def test_a_packing_slip_tells_neither_price_nor_payment_nor_phone(language: str) -> None:
    """No amount, payment, mail address, phone number or buyer's name besides the recipient's stands in a packing slip."""
    order = charged(language, refunds=(refund(),), paid={"points_minor": 300})
    assert order.buyer is not None
    shown = text(packing_slip(order, language))
    assert not re.search(r"[￥¥$€]|5[.,]00|12[.,]99|1,?299", shown)
    for secret in (str(order.buyer.phone), order.buyer.email, order.buyer.name):
        assert secret not in shown
    assert shown == text(packing_slip(seller_view(order), language))


@pytest.mark.rule("D5", "S8")
def test_a_packing_slip_tells_what_is_left_to_ship() -> None:
    """Cancelled units are not to be shipped; once something has shipped, it is told from what is left."""
    lines = (
        Line(sku="111", title="Bowl", quantity=5, unit_price_minor=500, shipped=1, cancelled=1),
        Line(sku="222", title="Plate", quantity=1, unit_price_minor=200, cancelled=1),
        Line(sku="333", title="Cup", quantity=4, unit_price_minor=200),
    )
    shown = text(packing_slip(charged(lines=lines), "en"))
    assert "Item Quantity Already shipped Still to ship Bowl 111 4 1 3 Cup 333 4 0 4 503-" in shown


@pytest.mark.rule("D5")
@pytest.mark.parametrize("status", VERIFIED)
def test_any_verified_order_has_a_packing_slip(status: Status) -> None:
    """From its verification on an order has a packing slip, for its seller too, and without a purchase order none is shown."""
    scene = in_state(status)
    for viewer in (Actor.SELLER, Actor.OPERATOR):
        shown = text(packing_slip(view(scene.order, scene.now, viewer), "en"))
        assert "Ship to Hanako Yamada Shibuya 1-2-3" in shown
        assert "Purchase order" not in shown


@pytest.mark.rule("D5", "G1")
@pytest.mark.parametrize("viewer", [Actor.SELLER, Actor.BUYER, Actor.OPERATOR])
def test_a_pending_order_has_no_packing_slip(viewer: Actor) -> None:
    """A Pending order shows no address, whoever asks; the error names the rule and the remedy."""
    scene = pending()
    with pytest.raises(DocumentError, match=r"^PACKING_SLIP_TOO_EARLY: .* is pending; .* verified; .*\[G1\]"):
        packing_slip(view(scene.order, scene.now, viewer), "ja")


@pytest.mark.rule("D5", "C13")
def test_a_cancelled_order_has_no_packing_slip() -> None:
    """What was cancelled must not be packed."""
    scene = in_state(Status.CANCELLED)
    with pytest.raises(DocumentError, match=r"^NOTHING_TO_PACK: .* was cancelled; .* do not ship it\. \[D5\]"):
        packing_slip(view(scene.order, scene.now), "ja")


def test_a_view_without_address_has_no_packing_slip() -> None:
    """A view that hides the address of a verified order is refused, with the views that show it."""
    with pytest.raises(DocumentError, match=r"^PACKING_SLIP_HIDDEN: .* hides where it goes; .*\[D5\]"):
        packing_slip(charged(address=None), "ja")


def test_an_unshipped_order_is_packed_in_one_column() -> None:
    """Before anything has shipped the packing slip shows one quantity for each item."""
    scene = unshipped()
    assert "Item Quantity Item A A 2 Item B B 1" in text(packing_slip(view(scene.order, scene.now), "en"))


@pytest.mark.rule("D1")
def test_the_command_line_knows_the_languages_of_the_templates() -> None:
    """The languages that can be typed are those that documents and mails are written in."""
    assert [each.value for each in Language] == list(TONGUES)
