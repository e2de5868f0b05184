"""The documents of an order as PDF: the buyer's receipt and the packing slip that goes into the parcel.

The layout is in `templates/*.typ`; the wording is here in English and in `locale/documents_*.po` in the other languages.
After a change of wording, run

    pybabel extract --no-wrap --omit-header --sort-by-file --add-location=file \
        -o activities/locale/documents.pot activities/documents.py

and give every new message its translations. What users wrote reaches the layout as JSON data, never as its source.

Policy: D1, D2, D5, A7, G1, P5, P6, R4, R5, S8.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import typst
from babel.messages.pofile import read_po

from activities.rendering import TONGUES, format_address, format_money, format_when
from domain.documents import DocumentRefusalCode, refuse_document
from domain.order import Status
from domain.payment_state import Payment
from domain.refund import DeductionKind, PaymentMethod, Refund, RefundPart, RefundReason, RefundStatus
from domain.views import OrderView

_HERE = Path(__file__).parent
FONTS = dict.fromkeys(TONGUES, ("Noto Sans JP", "Noto Sans SC", "Noto Sans TC", "Noto Sans KR")) | {
    "zh": ("Noto Sans SC", "Noto Sans TC", "Noto Sans JP", "Noto Sans KR")
}
"""The font families of each language, first choice first: the same character is drawn as its readers write it."""


class DocumentError(ValueError):
    """A document cannot be issued; `refusal` names the fact, the limit and the remedy."""

    def __init__(self, code: DocumentRefusalCode, **facts: object) -> None:
        self.refusal = refuse_document(code, **facts)
        super().__init__(str(self.refusal))


def receipt(order: OrderView, language: str) -> bytes:
    """Return the buyer's receipt of `order` in `language` as PDF on A4, with every refund; the same order gives the same bytes.

    `order` is the buyer's or the operator's view. Raises DocumentError where nothing has been charged, the payment is
    hidden from the viewer, the personal data is erased or the language is none of D1. Policy: D2, R4, R5, P5, A7.
    """
    _check(order, language, "receipt")
    payment, buyer, number = order.payment, order.buyer, order.number
    if payment is None or buyer is None:
        raise DocumentError(DocumentRefusalCode.RECEIPT_HIDDEN, number=number)
    if payment.captured_minor <= 0:
        if (state := _over(order)) is not None:
            raise DocumentError(DocumentRefusalCode.NOTHING_TO_RECEIPT, number=number, state=state)
        raise DocumentError(DocumentRefusalCode.RECEIPT_TOO_EARLY, number=number)
    return _compile("receipt.typ", order, language, _receipt_facts(_Pen(order, language), payment, buyer.name))


def packing_slip(order: OrderView, language: str) -> bytes:
    """Return the packing slip of `order` in `language` as PDF on A4, without prices; the same order gives the same bytes.

    Any view will do. Raises DocumentError where the order is pending, refused or cancelled, the personal data is erased
    or the language is none of D1. Policy: D5, P6, G1, S8, A7.
    """
    _check(order, language, "packing slip")
    if (state := _over(order)) is not None:
        raise DocumentError(DocumentRefusalCode.NOTHING_TO_PACK, number=order.number, state=state)
    if order.verified_at is None:
        raise DocumentError(DocumentRefusalCode.PACKING_SLIP_TOO_EARLY, number=order.number)
    if order.address is None:
        raise DocumentError(DocumentRefusalCode.PACKING_SLIP_HIDDEN, number=order.number)
    pen = _Pen(order, language)
    return _compile("packing_slip.typ", order, language, _packing_facts(pen, format_address(order.address, language)))


def _check(order: OrderView, language: str, document: str) -> None:
    if language not in TONGUES:
        raise DocumentError(DocumentRefusalCode.DOCUMENT_LANGUAGE, language=language, languages=", ".join(TONGUES))
    if order.erased_at is not None:
        raise DocumentError(DocumentRefusalCode.DOCUMENT_ERASED, number=order.number, document=document)


def _over(order: OrderView) -> str | None:
    """Return how an order has ended that is never shipped, None for any other."""
    if order.rejected is not None:
        return "refused at its placement"
    return "cancelled" if order.status is Status.CANCELLED else None


@lru_cache
def _catalogue(language: str) -> dict[str, str]:
    """Return the translations of `language`; English is the language of this file."""
    if language == "en":
        return {}
    with (_HERE / "locale" / f"documents_{language}.po").open("rb") as source:
        return {str(entry.id): str(entry.string) for entry in read_po(source) if entry.id}


@dataclass(frozen=True)
class _Pen:
    """Writes words, amounts (minor units of the order's currency) and instants (in its time zone) for the readers of `language`."""

    order: OrderView
    language: str

    def gettext(self, text: str) -> str:
        """Return `text` in the language; as it is where there is no translation."""
        return _catalogue(self.language).get(text, text)

    def money(self, minor: int) -> str:
        """Write an amount, in minor units of the order's currency."""
        return format_money(minor, self.order.currency, self.language)

    def when(self, instant: datetime) -> str:
        """Write an instant in the order's time zone."""
        return format_when(instant, self.order.timezone, self.language)

    def title(self, sku: str) -> str:
        """Return the title of an item of the order, its sku where it is no longer on it."""
        return next((line.title for line in self.order.lines if line.sku == sku), sku)


def _common_facts(pen: _Pen, title: str) -> dict[str, Any]:
    """Return what both documents say of the order."""
    order = pen.order
    business = order.business
    return {
        "title": title,
        "number": order.number,
        "purchase_order": business and [pen.gettext("Purchase order number"), business.purchase_order_number],
        "as_of": pen.gettext("State of the order: %(date)s") % {"date": pen.when(order.clock)},
    }


def _receipt_facts(pen: _Pen, payment: Payment, buyer: str) -> dict[str, Any]:
    """Return what the receipt says, every amount and date already written."""
    order = pen.order
    dates = [[pen.gettext("Order number"), order.number], [pen.gettext("Order date"), pen.when(order.placed_at)]]
    if payment.captured_at is not None:
        dates.append([pen.gettext("Charged on"), pen.when(payment.captured_at)])
    paid = payment.shares(payment.captured_minor)
    return {
        **_common_facts(pen, pen.gettext("Receipt")),
        "buyer": pen.gettext("Received from %(name)s") % {"name": buyer},
        "total": [pen.gettext("Total charged"), pen.money(payment.captured_minor)],
        "issuer": [pen.gettext("Issued by the marketplace on behalf of the seller"), order.seller.name],
        "facts": dates,
        "head": [pen.gettext("Item"), pen.gettext("Quantity"), pen.gettext("Unit price"), pen.gettext("Amount")],
        "lines": [
            {
                "title": line.title,
                "sku": line.sku,
                "cells": [
                    str(line.quantity),
                    pen.money(line.unit_price_minor),
                    pen.money(line.quantity * line.unit_price_minor),
                ],
            }
            for line in order.lines
        ],
        "sums": [
            [pen.gettext("Items"), pen.money(order.items_minor)],
            [pen.gettext("Shipping"), pen.money(order.shipping_fee_minor)],
            [pen.gettext("Total charged"), pen.money(payment.captured_minor)],
        ],
        "paid_label": pen.gettext("How it was paid"),
        "paid": [[_method(pen, method), pen.money(minor)] for method, minor in paid.items()],
        "refunds_label": pen.gettext("Refunds"),
        "refunds": [_refund_facts(pen, refund) for refund in order.refunds if refund.of_charge],
        "balance": _balance(pen, payment.captured_minor),
    }


def _refund_facts(pen: _Pen, refund: Refund) -> dict[str, Any]:
    """Return what the receipt says of one refund: items, explicit deductions, amount, and each way in which it goes back."""
    rows = []
    for line in refund.lines:
        title, units = pen.title(line.sku), f" × {line.quantity}" if line.quantity else ""
        if line.items_minor or not line.shipping_minor:
            rows.append([title + units, pen.money(line.items_minor)])
        if line.shipping_minor:
            shipping = pen.gettext("Shipping fee for %(title)s") % {"title": title}
            rows.append([shipping, pen.money(line.shipping_minor)])
    rows += [[_deduction(pen, each.kind), pen.money(-each.amount_minor)] for each in refund.deductions]
    return {
        "title": pen.gettext("Refund of %(date)s") % {"date": pen.when(refund.requested_at)},
        "notes": [
            [pen.gettext("Reason"), _reason(pen, refund.reason)],
            *([[pen.gettext("Message"), refund.memo]] if refund.memo else []),
        ],
        "rows": rows,
        "amount": [pen.gettext("Refund"), pen.money(refund.amount_minor)],
        "parts": [
            [f"{_method(pen, part.method)} – {_progress(pen, part)}", pen.money(part.amount_minor)]
            for part in refund.parts
        ],
    }


def _balance(pen: _Pen, captured_minor: int) -> list[list[str]]:
    """Return what remains paid of the charge: after the refunds that were paid, and after those that are still to be."""
    refunds = [refund for refund in pen.order.refunds if refund.of_charge]
    if not refunds:
        return []
    paid = sum(part.amount_minor for each in refunds for part in each.parts if part.status is RefundStatus.PAID)
    unpaid = sum(each.amount_minor for each in refunds) - paid
    rows = [
        [pen.gettext("Total charged"), pen.money(captured_minor)],
        [pen.gettext("Refunded"), pen.money(-paid)],
        [pen.gettext("Remains paid"), pen.money(captured_minor - paid)],
    ]
    if unpaid:
        rows += [
            [pen.gettext("Refunds still to be paid"), pen.money(-unpaid)],
            [pen.gettext("Remains paid after all refunds"), pen.money(captured_minor - paid - unpaid)],
        ]
    return rows


def _packing_facts(pen: _Pen, address: tuple[str, ...]) -> dict[str, Any]:
    """Return what the packing slip says: units that were cancelled are not to be shipped (S8)."""
    order = pen.order
    lines = [line for line in order.lines if line.quantity > line.cancelled]
    begun = any(line.shipped for line in lines)
    more = [pen.gettext("Already shipped"), pen.gettext("Still to ship")] if begun else []
    return {
        **_common_facts(pen, pen.gettext("Packing slip")),
        "address": [pen.gettext("Ship to"), list(address)],
        "facts": [
            [pen.gettext("Order number"), order.number],
            [pen.gettext("Order date"), pen.when(order.placed_at)],
            [pen.gettext("Seller"), order.seller.name],
            [pen.gettext("Shipping option"), _option(pen, order.shipping_option)],
        ],
        "head": [pen.gettext("Item"), pen.gettext("Quantity"), *more],
        "lines": [
            {
                "title": line.title,
                "sku": line.sku,
                "cells": [
                    str(line.quantity - line.cancelled),
                    *([str(line.shipped), str(line.unshipped)] if begun else []),
                ],
            }
            for line in lines
        ],
    }


def _option(pen: _Pen, option: str) -> str:
    """Return the words for an option of the default policy; one that the marketplace named itself stands as it is."""
    words = {"standard": pen.gettext("standard shipping"), "express": pen.gettext("express shipping")}
    return words.get(option, option)


def _method(pen: _Pen, method: PaymentMethod) -> str:
    return {
        PaymentMethod.CARD: pen.gettext("Card"),
        PaymentMethod.KONBINI: pen.gettext("Convenience store"),
        PaymentMethod.POINTS: pen.gettext("Points"),
    }[method]


def _deduction(pen: _Pen, kind: DeductionKind) -> str:
    return {
        DeductionKind.SHIPPING_FEE: pen.gettext("Deduction: shipping fee"),
        DeductionKind.RETURN_FEE: pen.gettext("Deduction: return fee"),
    }[kind]


def _progress(pen: _Pen, part: RefundPart) -> str:
    """Return how far a part of a refund has come, with its date where there is one (R7)."""
    if part.status is RefundStatus.FAILED:
        return pen.gettext("failed, will be tried again")
    if part.status is RefundStatus.PAID:
        return (
            pen.gettext("paid on %(date)s") % {"date": pen.when(part.paid_at)} if part.paid_at else pen.gettext("paid")
        )
    if part.expected_at is None:
        return pen.gettext("pending")
    return pen.gettext("pending, expected by %(date)s") % {"date": pen.when(part.expected_at)}


def _reason(pen: _Pen, reason: str) -> str:
    words: dict[str, str] = {
        RefundReason.OUT_OF_STOCK: pen.gettext("out of stock"),
        RefundReason.BUYER_RETURN: pen.gettext("returned by the buyer"),
        RefundReason.POST_SHIPMENT_CANCELLATION: pen.gettext("cancelled after shipment"),
        RefundReason.UNDELIVERABLE: pen.gettext("the parcel could not be delivered"),
        RefundReason.RECALLED: pen.gettext("the parcel was called back"),
        RefundReason.NOT_RECEIVED: pen.gettext("not received"),
        RefundReason.GUARANTEE_CLAIM: pen.gettext("guarantee claim"),
        RefundReason.DAMAGED: pen.gettext("arrived damaged"),
        RefundReason.NOT_AS_DESCRIBED: pen.gettext("not as described"),
        RefundReason.COMBINED_PARCEL: pen.gettext("shipped together with another order"),
        RefundReason.PRICING_ERROR: pen.gettext("pricing error"),
        RefundReason.GOODWILL: pen.gettext("goodwill"),
    }
    return words[reason]


@lru_cache
def _fonts() -> typst.Fonts:
    """Return the packaged fonts alone, so that a document looks the same on every machine."""
    return typst.Fonts(include_system_fonts=False, font_paths=[str(files("justmytype_intl_cjk") / "fonts")])


def _compile(template: str, order: OrderView, language: str, facts: dict[str, Any]) -> bytes:
    """Return `template` filled with `facts` as PDF, dated with the order's clock."""
    tongue = TONGUES[language].html_lang.partition("-")[0]
    data = json.dumps({**facts, "lang": tongue, "fonts": FONTS[language]}, ensure_ascii=False)
    return typst.compile(
        _HERE / "templates" / template,
        root=_HERE / "templates",
        font_paths=_fonts(),
        ignore_system_fonts=True,
        # A lone surrogate has no UTF-8 form; everything else arrives as it was written.
        sys_inputs={"data": data.encode(errors="replace").decode()},
        timestamp=int(order.clock.timestamp()),
    )
