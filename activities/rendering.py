"""The notices of an order as mails: subject, plain text and HTML in the recipient's language.

The wording is in `templates/` in English and in `locale/` in the other languages. After a change of wording, run

    pybabel extract -F activities/locale/babel.cfg --no-wrap --omit-header --sort-by-file --add-location=file \
        -o activities/locale/notices.pot activities

and give every new message its translations.

Policy: D1, G1, G5, G7, C3, C4, C6, C7, C8, C9, C11, C12, S2, S5, S8, E4, P4, P5, R7, A1, A3, A4, A5, A6, V6.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from email.headerregistry import Address as MailAddress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from babel import Locale
from babel.dates import format_datetime, get_timezone
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_currency, get_currency_precision
from babel.support import NullTranslations, Translations
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from activities.notice_facts import CASE_KINDS, paying, reduction_facts, shipment_facts, subject_facts
from domain.effects import Notice, NoticeKind
from domain.order import Actor, Address, Fulfilment
from domain.views import OrderView, seller_view

SENDER = "Marketplace <orders@marketplace.example>"
"""The From of every notice, unless another one is given."""


class Tongue(NamedTuple):
    """A notice language: its Babel locale, its HTML language tag and how it writes an instant with its zone."""

    locale: str
    html_lang: str
    instant: str


TONGUES: Mapping[str, Tongue] = {
    "ja": Tongue("ja_JP", "ja", "y年M月d日(E) H:mm（zzzz）"),
    "zh": Tongue("zh_CN", "zh-Hans", "y年M月d日 HH:mm（zzzz）"),
    "en": Tongue("en_US", "en", "MMMM d, y, h:mm a (zzzz)"),
    "it": Tongue("it_IT", "it", "d MMMM y, HH:mm (zzzz)"),
}
"""The languages of D1; minutes are never rounded up, so that no deadline reads later than it is."""

_BOTH = frozenset({Actor.BUYER, Actor.SELLER})
_BUYER = frozenset({Actor.BUYER})
_SELLER = frozenset({Actor.SELLER})
RECIPIENTS: Mapping[NoticeKind, frozenset[Actor]] = {
    NoticeKind.ORDER_CONFIRMATION: _BUYER,
    NoticeKind.SOLD_SHIP_NOW: _SELLER,
    NoticeKind.ORDER_EDITED: _BUYER,
    NoticeKind.CONFIRM_WARNING: _SELLER,
    NoticeKind.ORDER_CANCELLED: _BOTH,
    NoticeKind.REQUEST_RECEIVED: _BOTH,
    NoticeKind.REQUEST_ACCEPTED: _BUYER,
    NoticeKind.REQUEST_DECLINED: _BUYER,
    NoticeKind.SHIPPED: _BUYER,
    NoticeKind.PAYMENT_PROBLEM: _BOTH,
    NoticeKind.OVERSOLD: _SELLER,
    NoticeKind.PAY_AT_STORE: _BUYER,
    NoticeKind.LATE_PAYMENT_RETURNED: _BUYER,
    NoticeKind.MESSAGE: _BOTH,
    NoticeKind.ITEMS_CANCELLED: _BOTH,
    NoticeKind.REFUND_REQUESTED: _BOTH,
    NoticeKind.REFUND_PAID: _BUYER,
    NoticeKind.REFUND_FAILED: _BUYER,
    NoticeKind.CASE_OPENED: _BOTH,
    NoticeKind.CASE_CHANGED: _BOTH,
    NoticeKind.MESSAGE_UNDELIVERED: _SELLER,
}
"""Whom each kind of notice can be written to."""

_HERE = Path(__file__).parent
# Folded headers lose or gain blanks between encoded words; 998 is the longest line that mail allows.
_POLICY = SMTP.clone(cte_type="7bit", max_line_length=998)


@lru_cache
def translations(language: str) -> NullTranslations:
    """Return the catalogue of `language`, read from its .po file; English is the language of the templates."""
    if language == "en":
        return NullTranslations()
    with (_HERE / "locale" / f"{language}.po").open("rb") as source:
        catalogue = read_po(source, locale=TONGUES[language].locale)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Translations(compiled)


@lru_cache
def environment(language: str, form: str) -> Environment:
    """Return the templates in `language` for `form`, "txt" or "html"."""
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=form == "html",  # noqa: S701 - the other form is plain text
        extensions=["jinja2.ext.i18n"],
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["ext.i18n.trimmed"] = True
    made.install_gettext_translations(translations(language), newstyle=True)  # type: ignore[attr-defined]  # of the i18n extension
    made.globals.update(layout=f"layout.{form}.j2", parts=f"parts.{form}.j2")
    return made


def format_money(minor: int, currency: str, language: str) -> str:
    """Write `minor` units of `currency` as the readers of `language` do."""
    amount = Decimal(minor).scaleb(-get_currency_precision(currency))
    return format_currency(amount, currency, locale=TONGUES[language].locale)


def format_when(instant: datetime, timezone: str, language: str) -> str:
    """Write `instant` in `timezone`, naming the zone, as the readers of `language` do."""
    tongue = TONGUES[language]
    return format_datetime(instant, tongue.instant, tzinfo=get_timezone(timezone), locale=tongue.locale)


def format_address(address: Address, language: str) -> tuple[str, ...]:
    """Write `address` line by line, from the large to the small where both country and reader do so."""
    territory = Locale.parse(TONGUES[language].locale).territories.get(address.country, address.country)
    line2 = (address.line2,) if address.line2 else ()
    region = address.region or ""
    if address.country in ("JP", "CN", "TW") and language in ("ja", "zh") and not address.city.isascii():
        mark = "〒" if address.country == "JP" else ""
        place = f"{region}{address.city}{address.line1}"
        return (territory, f"{mark}{address.postal_code}", place, *line2, address.recipient)
    if address.country == "US":
        place = f"{address.city}, {region} {address.postal_code}" if region else f"{address.city} {address.postal_code}"
    else:
        place = f"{address.postal_code} {address.city}" + (f" ({region})" if region else "")
    return (address.recipient, address.line1, *line2, place, territory)


def _facts(order: OrderView, recipient: Actor, name: str, language: str) -> dict[str, Any]:
    """Return what the templates may use; `order` holds only what the recipient may see."""
    windows = {window.name: window for window in order.windows}

    def open_until(window: str) -> datetime | None:
        found = windows.get(window)
        return None if found is None or found.closed else found.closes_at

    return {
        **shipment_facts(order),
        **reduction_facts(order),
        "pay": paying(order),
        "order": order,
        "name": name,
        "html_lang": TONGUES[language].html_lang,
        "to_buyer": recipient is Actor.BUYER,
        "seller_ships": order.fulfilment is Fulfilment.SELLER,
        "ship_by": order.ship_by,
        "items_minor": order.items_minor,
        "address_lines": format_address(order.address, language) if order.address else (),
        "open_until": open_until,
        "money": lambda minor: format_money(minor, order.currency, language),
        "when": lambda instant: format_when(instant, order.timezone, language),
    }


def message_id(key: str) -> str:
    """Return the Message-ID of the notice `key`; different keys never share one.

    A slash becomes a dot, anything else unsafe its bytes in hexadecimal, a very long key its digest.
    """
    parts = (
        character if re.fullmatch(r"[A-Za-z0-9_-]", character) else "." if character == "/" else _escaped(character)
        for character in key
    )
    local = "".join(parts)
    # Empty labels between dots are no valid Message-ID; such keys and long ones are told apart by their digest.
    if len(local) > 200 or not all(local.split(".")):
        local = "~" + hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
    return f"<{local}@orders.invalid>"


def _escaped(character: str) -> str:
    return "".join(f"={byte:02X}" for byte in character.encode(errors="surrogatepass"))


def header_text(text: str) -> str:
    """Return `text` safe for a header: one line, and nothing that a mail library would decode again.

    The standard library decodes an encoded word inside a header that it is given, line breaks included: a name such
    as `=?utf-8?q?x=0D=0ABcc:y?=` would otherwise end the header and begin another.
    """
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    while "=?" in line:
        line = line.replace("=?", "= ?")
    return line


def _encodable(text: str) -> str:
    return text.encode(errors="replace").decode()


def _mailbox(name: str, email: str) -> MailAddress:
    user, _, domain = header_text(email).rpartition("@")
    return MailAddress(header_text(name), user, domain)


def _sender(written: str | None, facts: Mapping[str, Any], sender: str) -> MailAddress:
    """Return whom a mail is from: the writer behind its alias where a person wrote it (V6), else the marketplace."""
    return _mailbox(*parseaddr(sender)) if written is None else _mailbox(written, facts["writer_alias"])


def render(notice: Notice, order: OrderView, sender: str = SENDER) -> EmailMessage:
    """Write `notice` about `order` to its recipient, in the recipient's language.

    `order` is the full view; a seller's mail is written from what the seller may see of it (G1, A7, P5).
    Raises ValueError when this kind of notice is not for that recipient, the view hides the buyer it is for, or the
    order does not have what it is about.
    """
    if notice.recipient not in RECIPIENTS[notice.kind]:
        raise ValueError(f"notice {notice.kind.value} is not for the {notice.recipient.value}")
    if notice.recipient is Actor.SELLER:
        order = seller_view(order)
    person = order.seller if notice.recipient is Actor.SELLER else order.buyer
    if person is None:
        raise ValueError(f"notice {notice.key} is for the buyer, whom this view of order {order.number} hides")
    facts = _facts(order, notice.recipient, person.name, person.language) | subject_facts(notice, order)
    facts["marketplace"] = parseaddr(sender)[0] or parseaddr(sender)[1]
    name = "case.j2" if notice.kind in CASE_KINDS else f"{notice.kind.value}.j2"
    text, html = (environment(person.language, form).get_template(name) for form in ("txt", "html"))
    blocks = {block: "".join(write(text.new_context(facts))) for block, write in text.blocks.items() if block != "body"}

    message = EmailMessage(policy=_POLICY)
    message["Message-ID"] = message_id(notice.key)
    message["Date"] = order.clock
    message["From"] = _sender(blocks.get("sender"), facts, sender)
    message["To"] = _mailbox(person.name, person.email)
    message["Subject"] = header_text(blocks["subject"])
    if "sender" in blocks:
        message["Reply-To"] = message["From"].addresses[0]
    else:
        message["Auto-Submitted"] = "auto-generated"
    message["Content-Language"] = TONGUES[person.language].html_lang
    message.set_content(re.sub(r"\n{3,}", "\n\n", _encodable(text.render(facts))).strip() + "\n")
    message.add_alternative(_encodable(html.render(facts)), subtype="html")
    return message
