"""A sample order and the reading of mails, for the tests of the notices."""

from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default
from html.parser import HTMLParser
from typing import Any

from activities.rendering import RECIPIENTS, render
from domain.effects import Notice, NoticeKind
from domain.order import (
    Actor,
    Address,
    Buyer,
    Cancellation,
    CancellationRequest,
    Fulfilment,
    Line,
    Payment,
    PaymentStatus,
    RequestStatus,
    Shipment,
    Status,
)
from domain.policy import SellerProfile
from domain.views import OrderView, WindowView

NUMBER = "503-1234567-1234567"
T0 = datetime(2026, 3, 1, 3, 30, tzinfo=UTC)
PLACES = {
    "ja": ("JPY", "Asia/Tokyo"),
    "zh": ("CNY", "Asia/Shanghai"),
    "en": ("USD", "America/New_York"),
    "it": ("EUR", "Europe/Rome"),
}
CASES = sorted((kind.value, actor.value) for kind, actors in RECIPIENTS.items() for actor in actors)


def make_view(language: str = "en", **changes: Any) -> OrderView:
    """Return an order with everything in it that a notice may speak of; amounts are 1,299 or 129,900 in all."""
    currency, timezone = PLACES[language]
    facts: dict[str, Any] = {
        "number": NUMBER,
        "version": 3,
        "content": "0" * 64,
        "status": Status.UNSHIPPED,
        "marketplace": "M1",
        "seller": SellerProfile(seller_id="S1", name="桃花堂", email="seller@shop.example", language=language),
        "fulfilment": Fulfilment.SELLER,
        "buyer": Buyer(
            buyer_id="B1", name="山田太郎", email="buyer@mail.example", phone="0312345678", language=language
        ),
        "address": Address(
            recipient="山田花子",
            line1="丸の内9-9",
            city="千代田区",
            region="東京都",
            postal_code="100-0005",
            country="JP",
        ),
        "currency": currency,
        "timezone": timezone,
        "lines": (
            Line(sku="111", title="赤い茶碗", quantity=2, unit_price_minor=60000, shipped=1),
            Line(sku="222", title="青い皿", quantity=1, unit_price_minor=9000),
        ),
        "shipping_option": "777",
        "shipping_fee_minor": 900,
        "total_minor": 129900,
        "placed_at": T0,
        "expected_ship_at": T0 + timedelta(days=2),
        "confirm_by": T0 + timedelta(days=9),
        "verified_at": T0 + timedelta(minutes=1),
        "payment": Payment(
            status=PaymentStatus.CAPTURED, card="4242", reference="r1", amount_minor=129900, captured_minor=129900
        ),
        "voids": (),
        "request": CancellationRequest(status=RequestStatus.OPEN, reason="changed_mind", requested_at=T0),
        "cancellation": Cancellation(actor=Actor.SELLER, reason="no_inventory", at=T0, counts_in_rate=True),
        "shipments": (
            Shipment(
                shipment_id="1", carrier="飛脚", tracking_number="9988776655", quantities={"111": 1}, confirmed_at=T0
            ),
        ),
        "delivered_at": None,
        "completed_at": None,
        "flags": (),
        "windows": tuple(
            WindowView(name=name, closes_at=T0 + after, closed=False)
            for name, after in (
                ("edit", timedelta(minutes=5)),
                ("cancel", timedelta(minutes=30)),
                ("processing", timedelta(days=21)),
            )
        ),
        "next_deadline": None,
        "next_deadline_at": None,
        "clock": T0 + timedelta(hours=1),
    }
    return OrderView(**{**facts, **changes})


def make_notice(kind: str, recipient: str) -> Notice:
    """Return a notice with the key that an order would give it."""
    return Notice(key=f"{NUMBER}/4/{kind}-{recipient}", kind=NoticeKind(kind), recipient=Actor(recipient))


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def words_of(html: str) -> str:
    """Return what a reader sees of `html`."""
    parser = _Words()
    parser.feed(html)
    return "\n".join(parser.words)


def parts_of(message: EmailMessage) -> tuple[str, str, str]:
    """Return subject, text and HTML of `message` after a way through its wire form."""
    received = message_from_bytes(message.as_bytes(policy=SMTP), policy=default)
    assert received.get_content_type() == "multipart/alternative"
    text, html = received.iter_parts()
    return str(received["Subject"]), text.get_content().replace("\r\n", "\n"), html.get_content()


def mail(kind: str, recipient: str, order: OrderView) -> tuple[str, str]:
    """Return the subject and text of a notice about `order`."""
    return parts_of(render(make_notice(kind, recipient), order))[:2]
