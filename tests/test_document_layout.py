"""The documents as PDF: safe with any text, the same bytes each time, well broken over pages, in the right face and words."""

import hashlib
import os
import re
import subprocess
import sys
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po
from document_samples import charged, pages, part, refund, text
from domain_kit import T0
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from activities import documents
from activities.documents import packing_slip, receipt
from domain.order import Business, Line
from domain.refund import Deduction, DeductionKind, PaymentMethod, RefundReason, RefundStatus
from domain.views import OrderView

HERE = Path(documents.__file__).parent
HOSTILE = (
    '#panic("x")',
    "*bold* _it_ `raw` $x$ <l> @ref // c /* c",
    '"]; #read("/etc/passwd") \\u{41} \\',
    "= Title - item + item / term: x",
    "''--...~~ http://x.example",
)


def hostile(words: str) -> OrderView:
    """Return an order in which whatever users write is `words`."""
    order = charged(refunds=(refund(memo=words),))
    assert order.buyer is not None
    assert order.address is not None
    address = dict.fromkeys(("recipient", "line1", "line2", "city", "region", "postal_code"), words)
    return order.model_copy(
        update={
            "buyer": order.buyer.model_copy(update={"name": words}),
            "seller": order.seller.model_copy(update={"name": words}),
            "address": order.address.model_copy(update=address),
            "lines": (order.lines[0].model_copy(update={"title": words}),),
        }
    )


@pytest.mark.parametrize("words", HOSTILE)
@pytest.mark.parametrize("language", ["ja", "en"])
def test_what_users_write_is_shown_and_not_run(words: str, language: str) -> None:
    """Typst markup in names, titles, addresses and messages stands in the document letter by letter."""
    order, bare = hostile(words), words.replace(" ", "")
    assert "".join(pages(receipt(order, language))).replace(" ", "").count(bare) == 6
    assert "".join(pages(packing_slip(order, language))).replace(" ", "").count(bare) == 8


@pytest.mark.parametrize("words", ["😀 مرحبا שלום ไทย", "\ud800\0\u202e\u2028", "👩‍👩‍👧 e\u0301", ""])
def test_what_no_face_can_draw_does_not_stop_a_document(words: str) -> None:
    """Emoji, other scripts and signs past the checks of the domain leave a document with its number."""
    for issue in (receipt, packing_slip):
        assert "503-1234567-1234567" in pages(issue(hostile(words), "ja"))[0]


@settings(max_examples=25, deadline=timedelta(seconds=5))
@given(st.text(max_size=60))
def test_no_text_stops_a_document(words: str) -> None:
    """Whatever users write, both documents can be issued."""
    for issue in (receipt, packing_slip):
        assert issue(hostile(words), "zh").startswith(b"%PDF-")


@pytest.mark.parametrize("sign", ["W", "ー", "ж", "日"])
def test_a_long_word_stays_in_its_column(sign: str) -> None:
    """A title of 120 signs without a space is broken over lines of its column, and can be copied without foreign signs."""
    line = Line(sku="S" * 60, title=sign * 120, quantity=1, unit_price_minor=1299)
    order = charged(lines=(line,), shipping_fee_minor=0, business=Business(purchase_order_number="P" * 60))
    for issue in (receipt, packing_slip):
        runs = re.findall(f"{sign}+", text(issue(order, "en")))
        assert len(runs) > 1
        assert max(map(len, runs)) < 70
        assert sum(map(len, runs)) == 120
        assert "P" * 60 in text(issue(order, "en")).replace(" ", "")


@pytest.mark.rule("D2", "D5")
@pytest.mark.parametrize("issue", [receipt, packing_slip])
def test_fifty_items_run_over_pages_with_their_header(issue: Any) -> None:
    """The largest order breaks over pages: each item once, the header above the items of each page, all pages numbered."""
    lines = tuple(Line(sku=f"sku-{n:02}", title=f"Item {n} " * 8, quantity=1, unit_price_minor=100) for n in range(50))
    shown = pages(issue(charged(lines=lines, shipping_fee_minor=99, paid={"captured_minor": 5099}), "en"))
    assert len(shown) > 1
    assert [sku for page in shown for sku in re.findall(r"sku-\d\d", page)] == [f"sku-{n:02}" for n in range(50)]
    for number, page in enumerate(shown, start=1):
        assert page.count("Item Quantity") == bool(re.search("sku-", page))
        assert page.endswith(f"{number} / {len(shown)}")


@pytest.mark.parametrize("issue", [receipt, packing_slip])
def test_the_paper_is_a4(issue: Any) -> None:
    """Each page is 210 × 297 mm."""
    box = PdfReader(BytesIO(issue(charged(), "en"))).pages[0].mediabox
    assert (round(float(box.width) / 72 * 25.4), round(float(box.height) / 72 * 25.4)) == (210, 297)


@pytest.mark.rule("D1")
@pytest.mark.parametrize(("language", "face"), [("ja", "NotoSansJP"), ("zh", "NotoSansSC"), ("en", "NotoSansJP")])
def test_each_language_has_its_own_face(language: str, face: str) -> None:
    """A Chinese document is drawn in the Chinese face, the others in the Japanese one, all of them embedded."""
    for issue in (receipt, packing_slip):
        found = set()
        for page in PdfReader(BytesIO(issue(charged(language, refunds=(refund(),)), language))).pages:
            for font in page["/Resources"]["/Font"].values():  # type: ignore[index]
                found.add(re.sub(r"^/[A-Z]{6}\+|-.*", "", font.get_object()["/BaseFont"]))
                assert "/FontDescriptor" in font.get_object()["/DescendantFonts"][0].get_object()
        assert found == {face}


PRINT_DIGESTS = """
import hashlib, sys
from activities.documents import packing_slip, receipt
from domain.views import OrderView
order = OrderView.model_validate_json(sys.stdin.read())
print(*(hashlib.sha256(issue(order, "ja")).hexdigest() for issue in (receipt, packing_slip)))
"""


@pytest.mark.rule("D2", "D5")
def test_the_same_order_gives_the_same_bytes() -> None:
    """Both documents are the same to the byte when issued again, also by another process, and dated with the order's clock."""
    order = charged("ja", refunds=(refund(),))
    mine = [issue(order, "ja") for issue in (receipt, packing_slip)]
    assert mine == [issue(order, "ja") for issue in (receipt, packing_slip)]
    other = subprocess.run(
        [sys.executable, "-c", PRINT_DIGESTS],
        input=order.model_dump_json(),
        capture_output=True,
        text=True,
        check=True,
        cwd=HERE.parent,
        env={**os.environ, "PYTHONHASHSEED": "7", "TZ": "Pacific/Auckland"},
    ).stdout.split()
    assert other == [hashlib.sha256(pdf).hexdigest() for pdf in mine]
    for pdf in mine:
        about = PdfReader(BytesIO(pdf)).metadata
        assert about is not None
        assert about.creation_date == order.clock
        assert order.number in str(about.title)


@pytest.mark.rule("D1", "R7")
@pytest.mark.parametrize("language", ["ja", "zh"])
def test_no_english_is_left_in_a_translated_document(language: str) -> None:
    """A Japanese or Chinese document holds no Latin letter, whatever the reason, method, deduction and state of a refund."""
    kept = tuple(Deduction(kind=kind, amount_minor=1) for kind in DeductionKind)
    dates = ({"paid_at": None, "expected_at": None}, {"paid_at": T0, "expected_at": T0})
    parts = tuple(
        part(1, method, status=status, **when) for method in PaymentMethod for status in RefundStatus for when in dates
    )
    refunds = tuple(refund(*parts, reason=reason, deductions=kept) for reason in RefundReason)
    order = charged(language, refunds=refunds, paid={"points_minor": 1, "method": PaymentMethod.KONBINI})
    for issue in (receipt, packing_slip):
        assert re.findall("[A-Za-z]+", " ".join(pages(issue(order, language)))) == []


def _extracted() -> set[str]:
    return {str(found[1]) for found in extract_from_file("python", HERE / "documents.py")}


def _catalogue(name: str) -> dict[str, str]:
    with (HERE / "locale" / name).open("rb") as source:
        return {str(entry.id): str(entry.string) for entry in read_po(source) if entry.id and not entry.fuzzy}


def test_the_message_template_is_up_to_date() -> None:
    """documents.pot lists exactly the messages of the documents, each of them written out where it is used."""
    assert set(_catalogue("documents.pot")) == _extracted()
    source = (HERE / "documents.py").read_text(encoding="utf-8")
    assert len(re.findall(r"\.gettext\(", source)) == len(re.findall(r'\.gettext\("[^"]+"\)', source))


@pytest.mark.rule("D1")
@pytest.mark.parametrize("language", ["ja", "zh", "it"])
def test_every_message_is_translated_with_the_same_placeholders(language: str) -> None:
    """Each catalogue translates each message with its placeholders."""
    catalogue = _catalogue(f"documents_{language}.po")
    assert set(catalogue) == _extracted()
    for source, translated in catalogue.items():
        assert translated.strip()
        assert translated != source
        assert sorted(re.findall(r"%\(\w+\)s", translated)) == sorted(re.findall(r"%\(\w+\)s", source))
        assert "%" not in re.sub(r"%\(\w+\)s", "", translated)
