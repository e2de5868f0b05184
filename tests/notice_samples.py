"""A sample order and the reading of mails, for the tests of the notices."""

from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default
from html.parser import HTMLParser
from typing import Any, NamedTuple

from activities.rendering import RECIPIENTS, render
from domain.case import Case, CaseKind, CaseStatus
from domain.cases import CASE_ROWS
from domain.effects import Notice, NoticeKind
from domain.message import OrderMessage, Template
from domain.order import (
    Actor,
    Address,
    Buyer,
    Cancellation,
    CancellationRequest,
    Fulfilment,
    Line,
    Reduction,
    RequestStatus,
    Shipment,
    Status,
)
from domain.payment_state import Payment, PaymentStatus
from domain.policy import SellerProfile
from domain.reasons import SystemReason
from domain.refund import (
    CashReturnReason,
    Deduction,
    DeductionKind,
    PaymentMethod,
    Refund,
    RefundLine,
    RefundPart,
    RefundReason,
    RefundStatus,
)
from domain.views import OrderView, WindowView

NUMBER = "503-1234567-1234567"
T0 = datetime(2026, 3, 1, 3, 30, tzinfo=UTC)
PLACES = {
    "ja": ("JPY", "Asia/Tokyo"),
    "zh": ("CNY", "Asia/Shanghai"),
    "en": ("USD", "America/New_York"),
    "it": ("EUR", "Europe/Rome"),
}
NOT_LATIN = Address(
    recipient="山田花子",
    line1="丸の内9-9",
    city="千代田区",
    region="東京都",
    postal_code="100-0005",
    country="JP",
)
"""An address without Latin letters."""
CASES = sorted((kind.value, actor.value) for kind, actors in RECIPIENTS.items() for actor in actors)
SUBJECTS = {
    "message": {"buyer": "M1", "seller": "M2"},
    "message_undelivered": {"seller": "M1"},
    "refund_requested": {"buyer": "R1", "seller": "R1"},
    "refund_paid": {"buyer": "R1"},
    "refund_failed": {"buyer": "R1"},
    "case_opened": {"buyer": "A1", "seller": "A1"},
    "case_changed": {"buyer": "A1", "seller": "A1"},
}
"""What the sample notices are about, by kind and recipient."""


def make_payment(method: str = "card", points: int = 0, **changes: Any) -> Payment:
    """Return a payment of 1,299 or 129,900 in all, by `method` and with `points` of it in points, as given in `changes`."""
    facts: dict[str, Any] = {
        "status": PaymentStatus.AUTHORIZED,
        "card": "4242",
        "reference": "r1",
        "amount_minor": 129900,
        "method": PaymentMethod(method),
        "points_minor": points,
        "wallet": "W1" if points else None,
        "number": "88776655443322",
        "due_at": T0 + timedelta(days=3),
    }
    return Payment(**{**facts, **changes})


def make_message(sender: str, **changes: Any) -> OrderMessage:
    """Return a message with two lines and an empty one between them."""
    facts: dict[str, Any] = {
        "message_id": "M1" if sender == "seller" else "M2",
        "sender": sender,
        "text": "茶碗は赤ですか？\n\n青もあります。",
        "sent_at": T0,
    }
    return OrderMessage(**{**facts, **changes})


def make_refund(**changes: Any) -> Refund:
    """Return a refund of 540 or 54,000 after a deduction of 60 or 6,000, to the card and in points."""
    expected = T0 + timedelta(days=5)
    part = RefundPart(method=PaymentMethod.CARD, payment_reference="r1", reference="f1", amount_minor=44000)
    points = RefundPart(method=PaymentMethod.POINTS, payment_reference="r1/points", reference="f2", amount_minor=10000)
    facts: dict[str, Any] = {
        "refund_id": "R1",
        "reason": RefundReason.RECALLED,
        "memo": "申し訳ありません",
        "lines": (
            RefundLine(sku="111", quantity=1, items_minor=59100, shipping_minor=400),
            RefundLine(sku="222", items_minor=500),
        ),
        "deductions": (Deduction(kind=DeductionKind.RETURN_FEE, amount_minor=6000),),
        "parts": (part.model_copy(update={"expected_at": expected}), points),
        "by": "seller",
        "requested_at": T0,
    }
    return Refund(**{**facts, **changes})


def make_case(kind: str = "return", status: str = "requested", **changes: Any) -> Case:
    """Return a case of `kind` in `status`, due in nine days."""
    facts: dict[str, Any] = {
        "case_id": "A1",
        "kind": CaseKind(kind),
        "status": CaseStatus(status),
        "reason": "damaged",
        "quantities": {"111": 1},
        "opened_at": T0,
        "opened_by": "buyer",
        "changed_at": T0,
        "due_at": T0 + timedelta(days=9),
        "note": "割れていました",
    }
    return Case(**{**facts, **changes})


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
        "address": NOT_LATIN,
        "currency": currency,
        "timezone": timezone,
        "lines": (
            Line(sku="111", title="赤い茶碗", quantity=2, unit_price_minor=60000, shipped=1),
            Line(sku="222", title="青い皿", quantity=1, unit_price_minor=9000),
        ),
        "shipping_option": "standard",
        "shipping_fee_minor": 900,
        "total_minor": 129900,
        "placed_at": T0,
        "expected_ship_at": T0 + timedelta(days=2),
        "confirm_by": T0 + timedelta(days=9),
        "verified_at": T0 + timedelta(minutes=1),
        "payment": make_payment(status=PaymentStatus.CAPTURED, captured_minor=129900),
        "voids": (),
        "request": CancellationRequest(status=RequestStatus.OPEN, reason="changed_mind", requested_at=T0),
        "cancellation": Cancellation(actor=Actor.SELLER, reason="no_inventory", at=T0, counts_in_rate=True),
        "shipments": (
            Shipment(
                shipment_id="1", carrier="飛脚", tracking_number="9988776655", quantities={"111": 1}, confirmed_at=T0
            ),
        ),
        "reductions": (
            Reduction(
                quantities={"111": 1, "999": 2},
                actor=Actor.SELLER,
                reason="no_inventory",
                consent="はい",
                at=T0,
                titles={"111": "赤い茶碗", "999": "白い鉢"},
            ),
        ),
        "refunds": (make_refund(),),
        "cases": (make_case(),),
        "messages": (make_message("seller"), make_message("buyer")),
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
    return Notice(
        key=f"{NUMBER}/4/{kind}-{recipient}",
        kind=NoticeKind(kind),
        recipient=Actor(recipient),
        subject_id=SUBJECTS.get(kind, {}).get(recipient),
    )


class Sample(NamedTuple):
    """A notice in one state of the order: `changes` are those to the sample order."""

    kind: str
    recipient: str
    state: str
    changes: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.kind}-{self.recipient}-{self.state}"


CASE_STATES = sorted({(row.kind.value, row.target.value) for row in CASE_ROWS})
"""The states of each kind of case."""
_BOTH = ("buyer", "seller")
_WAITING: dict[str, Any] = {"status": PaymentStatus.AWAITING}
_CHARGED = {"status": PaymentStatus.CAPTURED, "captured_minor": 129900}
PAYMENTS = {
    "card": make_payment(),
    "card-and-points": make_payment(points=29900),
    "points": make_payment("points"),
    "store-awaited": make_payment("konbini", **_WAITING),
    "store-issuing": make_payment("konbini", status=PaymentStatus.AUTHORIZING, number=None, due_at=None),
    "store-paid": make_payment("konbini"),
}
"""The ways in which an order is paid, before the charge."""
PAID_KINDS = (
    "order_confirmation",
    "order_edited",
    "order_cancelled",
    "request_accepted",
    "payment_problem",
    "items_cancelled",
)
"""The mails to the buyer that speak of the payment."""


def _paid(name: str) -> dict[str, Any]:
    waiting = PAYMENTS[name].status is not PaymentStatus.AUTHORIZED
    return {"payment": PAYMENTS[name], "verified_at": None if waiting else T0}


def cancelled_for(reason: str) -> Cancellation:
    """Return a cancellation by the marketplace."""
    return Cancellation(actor=Actor.SYSTEM, reason=reason, at=T0, counts_in_rate=False)


def _payment_samples() -> list[Sample]:
    made = [Sample(kind, "buyer", name, _paid(name)) for kind in PAID_KINDS for name in PAYMENTS]
    made.append(Sample("pay_at_store", "buyer", "store-awaited", _paid("store-awaited")))
    late = _paid("store-awaited") | {"cancellation": cancelled_for("payment_expired")}
    made.append(Sample("late_payment_returned", "buyer", "store-late", late))
    parcels = make_view().shipments
    for name, payment in PAYMENTS.items():
        charged = {"payment": payment.model_copy(update=_CHARGED)}
        made.append(Sample("shipped", "buyer", name, charged))
        made.append(Sample("shipped", "buyer", f"{name}-second", charged | {"shipments": parcels * 2}))
    made += [
        Sample("order_cancelled", recipient, f"{reason}-{name}", _paid(name) | {"cancellation": cancelled_for(reason)})
        for reason in SystemReason
        for recipient in _BOTH
        for name in ("card", "store-awaited", "store-paid")
    ]
    lines = make_view().lines
    short = (lines[0].model_copy(update={"cancelled": 1}), lines[1])
    made.append(Sample("request_declined", "buyer", "cancelled-units", {"lines": short}))
    by_buyer = Reduction(quantities={"222": 1}, actor=Actor.BUYER, reason="changed_mind", consent="はい", at=T0)
    return made + [Sample("items_cancelled", to, "by-the-buyer", {"reductions": (by_buyer,)}) for to in _BOTH]


def _message_samples() -> list[Sample]:
    asking = (make_message("seller", answer_by=T0 + timedelta(days=2)), make_message("buyer"))
    ready = make_message("seller", text=None, template=Template.HOW_TO_CANCEL)
    return [
        Sample("message", "buyer", "answer-by", {"messages": asking}),
        Sample("message", "buyer", "how-to-cancel", {"messages": (ready,)}),
        Sample("message", "seller", "pending", {"verified_at": None}),
        Sample("message_undelivered", "seller", "answer-by", {"messages": asking}),
        Sample("message_undelivered", "seller", "how-to-cancel", {"messages": (ready,)}),
    ]


def _refund_samples() -> list[Sample]:
    return [
        Sample(kind, to, name, {"refunds": (refund,)})
        for name, refund in REFUNDS.items()
        for kind, recipients in SUBJECTS.items()
        if kind.startswith("refund")
        for to in recipients
        if refund.of_charge or to == "buyer"
    ]


def _case_samples() -> list[Sample]:
    made = []
    for kind, state in CASE_STATES:
        due, open_ended = make_case(kind, state), make_case(kind, state, due_at=None, note=None)
        made += [Sample("case_opened", to, f"{kind}-{state}", {"cases": (open_ended,)}) for to in _BOTH]
        made += [Sample("case_changed", to, f"{kind}-{state}-due", {"cases": (due,)}) for to in _BOTH]
    over = make_case("not_received", "reported", reason="not_received", changed_at=T0 + timedelta(days=3))
    settled = make_case("not_received", "granted", refund_id="R1")
    unconfirmed = {"cases": (make_case("return", "authorized"),), "shipments": ()}
    for to in _BOTH:
        made.append(Sample("case_changed", to, "wait-over", {"cases": (over,)}))
        made.append(Sample("case_changed", to, "claim-settled", {"cases": (settled,)}))
        made.append(Sample("case_changed", to, "unconfirmed-shipment", unconfirmed))
    return made


def _refund_parts(*methods: str, **changes: Any) -> tuple[RefundPart, ...]:
    return tuple(
        RefundPart(
            method=PaymentMethod(method), payment_reference="r1", reference=method, amount_minor=54000 // len(methods)
        ).model_copy(update=changes)
        for method in methods
    )


REFUNDS = {
    "by-transfer": make_refund(parts=_refund_parts("konbini", expected_at=T0 + timedelta(days=7))),
    "in-points": make_refund(parts=_refund_parts("points"), memo=None, reason=RefundReason.GOODWILL),
    "failed": make_refund(parts=_refund_parts("card", "points", status=RefundStatus.FAILED)),
    "of-cash": make_refund(
        lines=(),
        deductions=(),
        memo=None,
        cash_minor=54000,
        reason=CashReturnReason.ORDER_CANCELLED,
        parts=_refund_parts("konbini", expected_at=T0 + timedelta(days=7)),
    ),
    "paid": make_refund(parts=_refund_parts("card", status=RefundStatus.PAID, paid_at=T0 + timedelta(days=2))),
    "out-of-stock": make_refund(
        lines=(RefundLine(sku="222", quantity=1, not_shipped=1, items_minor=54000),),
        deductions=(),
        reason=RefundReason.OUT_OF_STOCK,
    ),
}
"""Refunds of 540 or 54,000."""


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
    # A long subject may begin on the line after its name, which reads back with the space of the fold.
    return str(received["Subject"]).strip(), text.get_content().replace("\r\n", "\n"), html.get_content()


def mail(kind: str, recipient: str, order: OrderView) -> tuple[str, str]:
    """Return the subject and text of a notice about `order`."""
    return parts_of(render(make_notice(kind, recipient), order))[:2]


def sample_of(sample: Sample, language: str) -> EmailMessage:
    """Return the mail of `sample` in `language`."""
    return render(make_notice(sample.kind, sample.recipient), make_view(language, **sample.changes))


SAMPLES = (
    *(Sample(kind, recipient, "plain", {}) for kind, recipient in CASES),
    *_payment_samples(),
    *_message_samples(),
    *_refund_samples(),
    *_case_samples(),
)
"""Every kind of notice, to each of its recipients, in every state that it words differently."""
