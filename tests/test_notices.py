"""The notices: every kind, in every language, to each of its recipients."""

import re
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default
from functools import lru_cache
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po
from babel.support import NullTranslations
from hypothesis import given, settings
from hypothesis import strategies as st
from notice_samples import (
    CASES,
    NUMBER,
    SAMPLES,
    T0,
    Sample,
    make_case,
    make_message,
    make_notice,
    make_refund,
    make_view,
    parts_of,
    sample_of,
    words_of,
)

from activities import rendering
from activities.rendering import RECIPIENTS, TONGUES, message_id, render
from domain.effects import NoticeKind
from domain.lifecycle import ROWS, Mail
from domain.message import alias
from domain.order import (
    Actor,
    Buyer,
    Line,
)
from domain.views import OrderView

ACTIVITIES = Path(rendering.__file__).parent
TOTALS = {"ja": "￥129,900", "zh": "¥1,299.00", "en": "$1,299.00", "it": "1.299,00\xa0€"}
REFUNDED = {"ja": "￥54,000", "zh": "¥540.00", "en": "$540.00", "it": "540,00\xa0€"}
WITHOUT_AMOUNT = ("shipped", "message", "message_undelivered", "case_opened", "case_changed")
SHIP_BY = {
    "ja": "2026年3月3日(火) 12:30（日本標準時）",
    "zh": "2026年3月3日 11:30（中国标准时间）",
    "en": "March 2, 2026, 10:30 PM (Eastern Standard Time)",
    "it": "3 marzo 2026, 04:30 (Ora standard dell’Europa centrale)",
}


@pytest.mark.rule("D1")
@pytest.mark.parametrize("language", TONGUES)
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_every_notice_renders_in_every_language(sample: Sample, language: str) -> None:
    """Every kind of notice, in every state, is a mail to its recipient with number, amount and both forms in its language."""
    kind, recipient = sample.kind, sample.recipient
    message = sample_of(sample, language)
    subject, text, html = parts_of(message)
    assert subject == str(message["Subject"])
    address = message["To"].addresses[0]
    assert address.addr_spec == ("buyer@mail.example" if recipient == "buyer" else "seller@shop.example")
    assert address.display_name == ("山田太郎" if recipient == "buyer" else "桃花堂")
    for form in (subject, text, words_of(html)):
        assert NUMBER in form
        assert not re.search(r"%\(|{{|{%|None|\[\]", form)
    if kind not in WITHOUT_AMOUNT:
        amount = (REFUNDED if kind.startswith("refund") else TOTALS)[language]
        assert amount in text
        assert amount in words_of(html)
    assert f'<html lang="{TONGUES[language].html_lang}">' in html
    assert message["Date"].datetime == make_view().clock
    # A message was written by a person, every other notice by the marketplace.
    assert message["Auto-Submitted"] == (None if kind == "message" else "auto-generated")
    if kind != "message":
        assert message["From"] == "Marketplace <orders@marketplace.example>"
        assert message["Reply-To"] is None


@pytest.mark.rule("D1")
@pytest.mark.parametrize("language", TONGUES)
def test_amounts_and_dates_follow_the_recipients_conventions(language: str) -> None:
    """Amounts and instants read as the recipient's locale writes them, in the marketplace's zone, which is named."""
    for form in parts_of(render(make_notice("order_confirmation", "buyer"), make_view(language)))[1:]:
        assert TOTALS[language] in words_of(form)
        assert SHIP_BY[language] in words_of(form)


@pytest.mark.rule("D1")
@pytest.mark.parametrize(
    ("minor", "currency", "language", "written"),
    [
        (12300, "JPY", "ja", "￥12,300"),
        (123456, "EUR", "it", "1.234,56\xa0€"),
        (123456, "EUR", "ja", "€1,234.56"),
        (0, "USD", "en", "$0.00"),
        (123456, "KWD", "en", "KWD123.456"),
        (10**12, "JPY", "zh", "JP¥1,000,000,000,000"),
    ],
)
def test_minor_units_follow_the_currency(minor: int, currency: str, language: str, written: str) -> None:
    """An amount in minor units has as many decimals as its currency, and no rounding."""
    assert rendering.format_money(minor, currency, language) == written


def test_a_deadline_is_never_written_later_than_it_is() -> None:
    """The seconds of a deadline are cut off, not rounded up."""
    assert rendering.format_when(T0 + timedelta(seconds=59), "UTC", "en").startswith("March 1, 2026, 3:30 AM")


class _Bracketed(NullTranslations):
    def gettext(self, message: str) -> str:
        return f"⟦{message}⟧"

    ugettext = gettext


_bracketed_environment = lru_cache(rendering.environment.__wrapped__)


@pytest.fixture
def bracketed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render with a catalogue that brackets each message."""
    monkeypatch.setattr(rendering, "translations", lambda _: _Bracketed())
    monkeypatch.setattr(rendering, "environment", _bracketed_environment)


@pytest.mark.rule("D1")
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_every_word_of_a_notice_can_be_translated(sample: Sample, bracketed: None) -> None:
    """Rendered with a catalogue that brackets each message, no word stands outside the brackets."""
    subject, text, html = parts_of(sample_of(sample, "ja"))
    for form in (subject, text, words_of(html)):
        assert "⟦" in form
        bare, found = form, 1
        while found:
            bare, found = re.subn(r"⟦[^⟦⟧]*⟧", "", bare)
        assert not re.search(r"[A-Za-z]", bare.replace("(no_inventory)", ""))


def _english(text: str) -> list[str]:
    return re.findall(r"[A-Za-z]+", text.replace("no_inventory", ""))


@pytest.mark.rule("D1")
@pytest.mark.parametrize("language", ["ja", "zh"])
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_no_english_is_left_in_a_translated_notice(sample: Sample, language: str) -> None:
    """A Japanese or Chinese notice about an order without Latin letters holds no Latin letters."""
    subject, text, html = parts_of(sample_of(sample, language))
    assert [_english(form) for form in (subject, text, words_of(html))] == [[], [], []]


def _extracted() -> set[str]:
    with (ACTIVITIES / "locale" / "babel.cfg").open(encoding="utf-8") as config:
        methods, options = parse_mapping_cfg(config)  # type: ignore[no-untyped-call]
    return {str(found[2]) for found in extract_from_dir(ACTIVITIES, methods, options)}


def _catalogue(name: str) -> dict[str, str]:
    with (ACTIVITIES / "locale" / name).open("rb") as source:
        return {str(entry.id): str(entry.string) for entry in read_po(source) if entry.id and not entry.fuzzy}


def test_the_message_template_is_up_to_date() -> None:
    """notices.pot lists exactly the messages of the templates."""
    assert set(_catalogue("notices.pot")) == _extracted()


@pytest.mark.rule("D1")
@pytest.mark.parametrize("language", ["ja", "zh", "it"])
def test_every_message_is_translated_with_the_same_placeholders(language: str) -> None:
    """Each catalogue translates each message, with its placeholders and nothing that HTML would read as markup."""
    catalogue = _catalogue(f"{language}.po")
    assert set(catalogue) == _extracted()
    for source, translated in catalogue.items():
        assert translated.strip()
        assert sorted(re.findall(r"%\(\w+\)s", translated)) == sorted(re.findall(r"%\(\w+\)s", source))
        assert not re.search(r"[<>&]|%(?!\(\w+\)s)", translated + source)
        assert translated != source or source == "%(label)s: %(value)s"


HOSTILE = (
    "a\r\nBcc: victim@x.example",
    "=?utf-8?q?x=0D=0ABcc:_victim@x.example?=",
    "==??utf-8?b?eA0KQmNjOiB2aWN0aW1AeC5leGFtcGxl?=",
    'Rossi, "Mario" <victim@x.example>, ',
    "山田 \u202e太郎\u2028Bcc: v@x.example",
    "日" * 60,
    "a;b:c(d)\\e@f,",
    '"',
    "\ud800",
)


def assert_harmless(message: EmailMessage, to: str = "buyer@mail.example") -> None:
    """Assert that the wire form of `message` holds its own headers, one recipient, and only 7-bit lines of legal length."""
    raw = message.as_bytes(policy=SMTP)
    received = message_from_bytes(raw, policy=default)
    assert received.keys() == message.keys()
    assert not received.defects
    assert [each.addr_spec for each in received["To"].addresses] == [to]
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998


def hostile_view(name: str) -> OrderView:
    """Return an order whose buyer is named `name`, past the checks of the domain."""
    order = make_view()
    assert order.buyer is not None
    return order.model_copy(update={"buyer": order.buyer.model_copy(update={"name": name})})


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_adds_no_header(name: str) -> None:
    """Line breaks, encoded words, quotes, commas, bidi signs and lone surrogates in a name stay within the name."""
    assert_harmless(render(make_notice("order_confirmation", "buyer"), hostile_view(name)))


@settings(deadline=None)
@given(st.text(min_size=1, max_size=60))
def test_no_name_adds_a_header(name: str) -> None:
    """Whatever a name holds, the mail keeps its headers and its one recipient."""
    assert_harmless(render(make_notice("order_edited", "buyer"), hostile_view(name)))


@pytest.mark.rule("V6")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_within_the_name_of_a_message(name: str) -> None:
    """A writer's name adds no header and no address to From and Reply-To, which hold the alias alone."""
    message = render(make_notice("message", "seller"), hostile_view(name))
    assert_harmless(message, "seller@shop.example")
    received = message_from_bytes(message.as_bytes(policy=SMTP), policy=default)
    for header in ("From", "Reply-To"):
        assert [each.addr_spec for each in received[header].addresses] == [alias(NUMBER, "buyer")]


@settings(deadline=None)
@given(st.text(min_size=1, max_size=300))
def test_no_text_of_a_message_leaves_its_quotation(text: str) -> None:
    """Whatever is written, the mail keeps its headers, each line stands behind a quotation mark, and no markup is added."""
    order = make_view(messages=(make_message("buyer", text=text),))
    message = render(make_notice("message", "seller"), order)
    assert_harmless(message, "seller@shop.example")
    plain = parts_of(render(make_notice("message", "seller"), make_view(messages=(make_message("buyer", text="x"),))))
    written, html = parts_of(message)[1:]
    before, after = plain[1].split("> x\n")
    assert written.startswith(before)
    assert written.endswith(after)
    quoted = written[len(before) : len(written) - len(after)].split("\n")
    assert all(line.startswith(">") for line in quoted if line)
    assert re.sub(r"[^<]*(<[^>]*>)[^<]*", r"\1", html) == re.sub(r"[^<]*(<[^>]*>)[^<]*", r"\1", plain[2])


@pytest.mark.parametrize("email", ["a..b@x.example", ".a@x.example", "%+-_@x-.example"])
def test_every_address_that_the_domain_takes_can_be_written_to(email: str) -> None:
    """An address that is odd yet accepted at placement does not break the mail."""
    order = make_view()
    assert order.buyer is not None
    odd = order.model_copy(update={"buyer": Buyer(**{**order.buyer.model_dump(), "email": email})})
    address = message_from_bytes(
        render(make_notice("order_edited", "buyer"), odd).as_bytes(policy=SMTP), policy=default
    )["To"].addresses[0]
    assert f"{address.username}@{address.domain}" == email


@pytest.mark.parametrize(("kind", "recipient"), CASES)
def test_markup_from_outside_is_shown_and_not_run(kind: str, recipient: str) -> None:
    """The HTML part escapes what comes from outside: titles, messages, memos and notes."""
    evil = "<script>alert(1)</script>"
    order = make_view(
        lines=(Line(sku="111", title=evil, quantity=1, unit_price_minor=1),),
        messages=(make_message("buyer", text=evil), make_message("seller", text=evil)),
        refunds=(make_refund(memo=evil),),
        cases=(make_case(note=evil),),
    )
    html = parts_of(render(make_notice(kind, recipient), order))[2]
    assert "<script" not in html
    assert "&lt;script&gt;" in html or kind in ("refund_paid", "refund_failed")


def test_message_ids_are_stable_and_distinct() -> None:
    """A Message-ID follows from the key alone, and no two keys share one."""
    keys = ["a/b", "a.b", "a=2Eb", "a//b", "a", "/a", "é", "e", "x" * 300, "x" * 301, "~a", "", "a b", "a\r\nb"]
    made = [message_id(key) for key in keys]
    assert made == [message_id(key) for key in keys]
    assert len(set(made)) == len(keys)
    assert message_id(f"{NUMBER}/4/shipped-buyer") == f"<{NUMBER}.4.shipped-buyer@orders.invalid>"
    for each in made:
        assert re.fullmatch(r"<[A-Za-z0-9_=~-]+(\.[A-Za-z0-9_=~-]+)*@orders\.invalid>", each)


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_two_keys_share_a_message_id(one: str, other: str) -> None:
    """Keys differ if and only if their Message-IDs do."""
    assert (one == other) is (message_id(one) == message_id(other))


@pytest.mark.parametrize(
    ("kind", "recipient"),
    [(kind.value, actor) for kind in NoticeKind for actor in Actor if actor not in RECIPIENTS[kind]],
)
def test_a_notice_is_refused_for_whom_it_is_not_meant(kind: str, recipient: str) -> None:
    """A kind of notice that is not for a recipient is an error, not a mail."""
    with pytest.raises(ValueError, match="is not for the"):
        render(make_notice(kind, recipient), make_view())


def test_a_view_without_buyer_cannot_be_mailed_to_the_buyer() -> None:
    """A buyer's notice needs the full view."""
    with pytest.raises(ValueError, match="hides"):
        render(make_notice("order_edited", "buyer"), make_view(buyer=None))


@pytest.mark.parametrize(("kind", "recipient"), [case for case in CASES if make_notice(*case).subject_id])
def test_a_notice_about_nothing_is_an_error(kind: str, recipient: str) -> None:
    """A notice about a message, refund or case that the order does not have is an error, not a mail."""
    empty = make_view(messages=(), refunds=(), cases=())
    with pytest.raises(ValueError, match="does not have"):
        render(make_notice(kind, recipient), empty)


def test_every_notice_of_the_lifecycle_can_be_written() -> None:
    """Each notice that the lifecycle table sends goes to somebody whom its kind is for."""
    sent = {effect for row in ROWS for effect in row.effects if isinstance(effect, Mail)}
    assert sent
    assert {(mail.kind.value, mail.to.value) for mail in sent} <= set(CASES)
