"""Builders for the tests of reconciliation: a payment provider in memory, and records of orders with their movements.

PYTEST_DONT_REWRITE: it asserts nothing.
"""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from store_kit import SELLER, T0, number, snapshot

from domain.movements import Entry, Movement, MovementKind
from domain.order import Actor, Cancellation, Status
from domain.payment_state import Payment, PaymentStatus
from domain.refund import PaymentMethod, Refund, RefundLine, RefundPart, RefundReason, RefundStatus
from domain.views import OrderView
from store.store import Store

SETTLEMENT = f"seller:{SELLER}:settlement"
Json = dict[str, Any]


class FakeProvider:
    """A payment provider in memory that answers as the sandbox's does; `asked` is what it was asked."""

    def __init__(self) -> None:
        self.payments: dict[str, list[Json]] = {}
        self.refunds: dict[str, list[Json]] = {}
        self.other: dict[str, int] = {}
        self.asked: list[httpx.Request] = []
        self.on_ask: Callable[[int], None] = lambda _: None

    def pay(self, index: int, name: str = "1/authorize", status: str = "captured", amount: int = 800) -> None:
        """Let the provider have a reference of the `index`-th order."""
        charged = amount if status == "captured" else 0
        state = {"reference": f"{number(index)}/{name}", "status": status, "amount_minor": amount, "currency": "JPY"}
        self.payments.setdefault(number(index), []).append({**state, "captured_minor": charged, "replayed": False})

    def refund(self, index: int, status: str = "paid", amount: int = 300, name: str = "refund/R1/card/1") -> None:
        """Let the provider have a refund of the `index`-th order."""
        state = {"reference": f"{number(index)}/{name}", "payment_reference": f"{number(index)}/1/authorize"}
        listed = {**state, "amount_minor": amount, "order_number": number(index), "status": status}
        self.refunds.setdefault(number(index), []).append(listed)

    def connect(self) -> httpx.AsyncClient:
        """Return a connection to it."""
        return httpx.AsyncClient(transport=httpx.MockTransport(self._answer), base_url="http://provider")

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        self.on_ask(len(self.asked))
        order = request.url.params.get("order_number", "")
        if request.url.path == "/balances":
            captured = sum(each["captured_minor"] for listed in self.payments.values() for each in listed)
            captured -= sum(
                each["amount_minor"] for listed in self.refunds.values() for each in listed if each["status"] == "paid"
            )
            sums = {"JPY": captured} | self.other
            body: Any = {"currencies": {name: {"held_minor": 0, "captured_minor": sum_} for name, sum_ in sums.items()}}
        else:
            body = {"/authorizations": self.payments, "/refunds": self.refunds}[request.url.path].get(order, [])
        return httpx.Response(200, json=body)


@pytest.fixture
def provider() -> FakeProvider:
    """A provider without any payment."""
    return FakeProvider()


def movement(index: int, name: str = "charge", **entries: int) -> Movement:
    """Return a movement of the `index`-th order; `entries` maps settlement, buyer and clearing to minor units."""
    accounts = {"settlement": SETTLEMENT, "buyer": "buyer:buyer-1", "clearing": "provider:clearing", "points": "points"}
    kind = "refund_paid" if name.count("/") == 2 else name.partition("/")[0]
    return Movement(
        movement_id=f"{number(index)}/{name}",
        kind=MovementKind(kind if kind != "correction" else "charge"),
        order_number=number(index),
        currency="JPY",
        at=T0,
        entries=tuple(Entry(account=accounts[each], amount_minor=amount) for each, amount in entries.items()),
    )


def open_order(index: int, **changes: Any) -> OrderView:
    """Return the record of an order whose 800 are held and not charged."""
    return snapshot(index, 1, {"A": (1, 0)}, **changes)


def charged(index: int, *movements: Movement, amount: int = 800, points: int = 0, **changes: Any) -> OrderView:
    """Return the record of a shipped order that is charged 800, with its movement and those that are given."""
    reference = f"{number(index)}/1/authorize"
    payment = Payment(status=PaymentStatus.CAPTURED, card="card-1", reference=reference, amount_minor=amount)
    payment = payment.model_copy(update={"captured_minor": amount, "captured_at": T0, "points_minor": points})
    entries = {"clearing": amount - points, "points": points, "settlement": -amount}
    charge = movement(index, "charge", **{name: value for name, value in entries.items() if value})
    return snapshot(
        index, 2, {"A": (1, 1)}, status=Status.SHIPPED, payment=payment, movements=(charge, *movements), **changes
    )


def refunded(index: int, status: RefundStatus, amount: int = 300) -> OrderView:
    """Return the record of a charged order of which 300 are refunded to the card."""
    reference = f"{number(index)}/refund/R1/card/1"
    part = RefundPart(method=PaymentMethod.CARD, payment_reference="p", reference=reference, amount_minor=amount)
    part = part.model_copy(update={"status": status, "paid_at": T0 if status is RefundStatus.PAID else None})
    lines = (RefundLine(sku="A", items_minor=amount),)
    refund = Refund(
        refund_id="R1", reason=RefundReason.GOODWILL, lines=lines, parts=(part,), by="seller", requested_at=T0
    )
    movements = [movement(index, "refund/R1", settlement=amount, buyer=-amount)]
    if status is RefundStatus.PAID:
        movements.append(movement(index, "refund/R1/card", buyer=amount, clearing=-amount))
    return charged(index, *movements, refunds=(refund,))


def healthy(store: Store, provider: FakeProvider) -> None:
    """Fill store and provider with orders in many states, on which both agree."""
    store.record(open_order(1), [])
    provider.pay(1, status="authorized")
    store.record(charged(2), [])
    provider.pay(2)
    provider.pay(2, "2/authorize", "voided")
    store.record(refunded(3, RefundStatus.PAID), [])
    provider.pay(3)
    provider.refund(3)
    provider.refund(3, "failed", name="refund/R1/card/0")
    store.record(refunded(4, RefundStatus.PENDING), [])
    provider.pay(4)
    provider.refund(4, "pending")
    store.record(refunded(5, RefundStatus.REQUESTED), [])
    provider.pay(5)
    store.record(charged(6, points=300), [])
    provider.pay(6, amount=500)
    provider.pay(6, "1/authorize/points", amount=300)
    gone = Cancellation(actor=Actor.BUYER, reason="buyer_cancelled", at=T0, counts_in_rate=False)
    store.record(open_order(7, status=Status.CANCELLED, cancellation=gone), [])
    provider.pay(7, status="voided")
