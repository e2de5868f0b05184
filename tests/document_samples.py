"""Sample orders with refunds and the reading of PDF, for the tests of the documents."""

from io import BytesIO
from typing import Any

from domain_kit import DAY, T0, shipped
from notice_samples import NOT_LATIN, PLACES
from pypdf import PdfReader

from domain.order import Business, Line
from domain.refund import CashReturnReason, PaymentMethod, Refund, RefundLine, RefundPart, RefundReason, RefundStatus
from domain.views import OrderView, view


def part(minor: int, method: PaymentMethod = PaymentMethod.CARD, **changes: Any) -> RefundPart:
    """Return a part of a refund, `minor` units to `method`, paid unless the changes say otherwise."""
    paid: dict[str, Any] = {"status": RefundStatus.PAID, "paid_at": T0 + 3 * DAY}
    return RefundPart(method=method, payment_reference="p", reference="r", amount_minor=minor, **{**paid, **changes})


def refund(
    *parts: RefundPart, reason: RefundReason | CashReturnReason = RefundReason.BUYER_RETURN, **changes: Any
) -> Refund:
    """Return a refund of one unit of item 111 (500) with its share of the shipping fee (20), less what the changes deduct."""
    facts: dict[str, Any] = {
        "refund_id": "1",
        "by": "seller",
        "requested_at": T0 + 2 * DAY,
        "lines": (RefundLine(sku="111", quantity=1, items_minor=500, shipping_minor=20),),
    }
    return Refund(parts=parts or (part(520),), reason=reason, **{**facts, **changes})


def charged(language: str = "en", **changes: Any) -> OrderView:
    """Return a shipped and charged order of a business buyer, without Latin letters: 2 × 500 + 1 × 200 + 99 shipping."""
    order = view(shipped().order, T0 + 5 * DAY)
    assert order.buyer is not None
    assert order.payment is not None
    currency, timezone = PLACES[language]
    paid = {"amount_minor": 1299, "captured_minor": 1299, "captured_at": T0 + DAY}
    payment = order.payment.model_copy(update=paid | changes.pop("paid", {}))
    facts = {
        "currency": currency,
        "timezone": timezone,
        "seller": order.seller.model_copy(update={"name": "桃花堂"}),
        "buyer": order.buyer.model_copy(update={"name": "山田太郎"}),
        "address": NOT_LATIN,
        "lines": (
            Line(sku="111", title="赤い茶碗", quantity=2, unit_price_minor=500),
            Line(sku="222", title="青い皿", quantity=1, unit_price_minor=200),
        ),
        "shipping_option": "standard",
        "shipping_fee_minor": 99,
        "total_minor": 1299,
        "payment": payment,
        "business": Business(purchase_order_number="2026-0815"),
    }
    return order.model_copy(update={**facts, **changes})


def pages(pdf: bytes) -> list[str]:
    """Return the text of each page, its white space in single spaces."""
    return [" ".join(page.extract_text().split()) for page in PdfReader(BytesIO(pdf)).pages]


def text(pdf: bytes) -> str:
    """Return the text of a document of one page."""
    (page,) = pages(pdf)
    return page
