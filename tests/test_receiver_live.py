"""Payments at a convenience store, told by webhook: provider, receiver and order on the real stack, and each of them away."""

import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from live_kit import PATIENCE, SECOND, Live, until
from test_receiver import NUMBER, REFERENCE, event, signed

from domain.order import Actor, Status
from domain.payment_state import PaymentStatus
from domain.placement import PaymentChoice
from domain.refund import PaymentMethod, Refund, RefundStatus
from domain.views import OrderView
from sandbox.stack import Stack
from starter import carts


class Cash:
    """Orders that are paid at a convenience store, on the live stack."""

    def __init__(self, live: Live, stack: Stack) -> None:
        self.live, self.stack = live, stack

    async def place(self) -> OrderView:
        """Place an order and return it once its payment number is issued."""
        cart = carts.cart(items=(f"{self.live.sku()}:2:1200:Cup",))
        payment = PaymentChoice(method=PaymentMethod.KONBINI)
        number = (await self.live.orders.place(cart.model_copy(update={"payment": payment}))).number
        return await self.payment(number, PaymentStatus.AWAITING)

    async def payment(self, number: str, status: PaymentStatus) -> OrderView:
        """Wait until the order's payment is in `status`."""
        return await self.live.sees(number, lambda order: order.payment and order.payment.status is status, str(status))

    async def pay(self, order: OrderView, *, late: bool = False) -> None:
        """Pay the order's number at a till, by the order's own clock; `late` where the till takes what is past due."""
        assert order.payment is not None
        clock = (await self.live.orders.clock(order.number)).isoformat()
        body = {"number": order.payment.number, "late": late}
        answer = await self.live.provider.post("/konbini/payments", json=body, headers={"Sandbox-Clock": clock})
        assert answer.status_code == 200, answer.text

    async def returned(self, number: str) -> Refund:
        """Wait until the cash of an order is back with the buyer, as far as the order knows, and return its refund."""
        return (await self.live.refund_is(number, RefundStatus.PAID)).refunds[0]

    async def outbox(self, order: OrderView | None = None) -> list[dict[str, Any]]:
        """Return what the provider says of its events."""
        query = {"order_number": order.number} if order else {}
        found: list[dict[str, Any]] = (await self.live.provider.get("/webhooks", params=query)).json()
        return found

    async def fault(self, kind: str) -> None:
        """Let this happen to the next event, once nothing else is on its way."""

        async def idle() -> bool:
            return all(each["delivered"] or each["dropped"] for each in await self.outbox())

        await until(idle, "an empty outbox")
        (await self.live.provider.post("/webhooks/faults", json={"kind": kind})).raise_for_status()

    async def told(self, number: str) -> list[str]:
        """Return the ids of the events that the order was told and took, in its history."""
        entries = [each for each in await self.live.history(number) if each.name == "payment_event"]
        return [str(each.command_id) for each in entries if each.accepted]


@pytest.fixture
async def cash(live: Live, stack: Stack) -> AsyncIterator[Cash]:
    """Orders paid in cash; webhooks are well again afterwards."""
    yield Cash(live, stack)
    await live.provider.delete("/webhooks/faults")


@pytest.mark.rule("P5", "G5", "G7")
async def test_an_order_paid_at_a_store_is_to_be_shipped(cash: Cash) -> None:
    """A number is issued and paid at a till; the webhook brings the order to Unshipped at once, with nothing charged yet."""
    order = await cash.place()
    assert order.status is Status.PENDING
    assert order.payment is not None
    assert order.payment.number is not None
    await cash.pay(order)
    await cash.live.reaches(order.number, Status.UNSHIPPED)
    assert len(await cash.told(order.number)) == 1
    assert await cash.live.log(order.number) == ["issue", "pay"]
    assert await cash.live.charged(order.number) == 0


@pytest.mark.rule("P5", "G7")
async def test_an_event_that_comes_twice_has_one_effect(cash: Cash) -> None:
    """The provider delivers the event twice: the order is told once and asks once."""
    order = await cash.place()
    await cash.fault("duplicate")
    await cash.pay(order)

    async def twice() -> bool:
        return [each["attempts"] for each in await cash.outbox(order)] == [2]

    await until(twice, "the second delivery")
    await cash.live.reaches(order.number, Status.UNSHIPPED)
    assert await cash.told(order.number) == [each["id"] for each in await cash.outbox(order)]
    refused = [each.refusal for each in await cash.live.history(order.number) if each.refusal]
    assert [(each.code, each.rule) for each in refused] == [("WEBHOOK_REPEATED", "R6")]
    assert await cash.live.log(order.number) == ["issue", "pay"]


@pytest.mark.rule("P5", "G7")
async def test_an_event_that_is_lost_is_made_good_at_the_due_date(cash: Cash) -> None:
    """The payment's event never comes: until the due date the order waits, and then it asks and is to be shipped."""
    order = await cash.place()
    await cash.fault("drop")
    await cash.pay(order)
    assert [each["dropped"] for each in await cash.outbox(order)] == [True]
    assert order.payment is not None
    assert order.payment.due_at is not None
    await cash.live.travel_to(order.number, order.payment.due_at - timedelta(hours=1))
    assert (await cash.live.order(order.number)).status is Status.PENDING
    await cash.live.travel_to(order.number, order.payment.due_at + SECOND)
    await cash.live.reaches(order.number, Status.UNSHIPPED)
    assert await cash.told(order.number) == []


@pytest.mark.rule("P5", "G7", "C9")
async def test_an_order_that_nobody_pays_is_cancelled_at_the_due_date(cash: Cash) -> None:
    """Nothing paid by the due date: cancelled, and the event that the number has expired changes nothing more."""
    order = await cash.place()
    assert order.payment is not None
    assert order.payment.due_at is not None
    await cash.live.travel_to(order.number, order.payment.due_at + SECOND)
    ended = await cash.live.reaches(order.number, Status.CANCELLED)
    assert ended.cancellation is not None
    assert ended.cancellation.counts_in_rate is False

    async def delivered() -> bool:
        return all(each["delivered"] for each in await cash.outbox(order))

    await until(delivered, "the provider's events")
    assert (await cash.live.order(order.number)).cancellation == ended.cancellation
    assert (await cash.live.held(order.number), await cash.live.charged(order.number)) == (0, 0)


@pytest.mark.rule("R7", "C9", "P5")
async def test_the_cash_of_a_cancelled_order_is_followed_until_it_is_back(cash: Cash) -> None:
    """The buyer pays and cancels: mails tell how much goes back by when and that it is paid, and the order shows it."""
    order = await cash.place()
    await cash.pay(order)
    await cash.payment(order.number, PaymentStatus.AUTHORIZED)
    await cash.live.do(order.number, "cancel", Actor.BUYER)
    told = await cash.live.mailed(order.number, "refund_requested", "buyer")
    refund = await cash.returned(order.number)
    (part,) = refund.parts
    assert (refund.reason, refund.amount_minor, part.method) == ("order_cancelled", order.total_minor, "konbini")
    assert part.reference == f"{order.number}/1/authorize/return"
    assert part.expected_at is not None
    assert f"{part.expected_at:%Y}" in told["text"]
    await cash.live.mailed(order.number, "refund_paid", "buyer")
    # The provider told by itself; nobody waited for the day on which the refund falls due.
    assert f"{order.number}/1/authorize/return" in " ".join(
        each.detail for each in await cash.live.history(order.number) if each.name == "payment_event"
    )
    assert await cash.live.held(order.number) == await cash.live.charged(order.number) == 0


@pytest.mark.rule("P5", "G7", "C9", "R7")
async def test_money_that_a_till_takes_after_the_cancellation_goes_back(cash: Cash) -> None:
    """Paid after the order was cancelled for want of payment: the webhook tells, and the money is not kept."""
    order = await cash.place()
    assert order.payment is not None
    assert order.payment.due_at is not None
    await cash.live.travel_to(order.number, order.payment.due_at + SECOND)
    await cash.live.reaches(order.number, Status.CANCELLED)
    await cash.pay(order, late=True)

    async def given_back() -> bool:
        late = [each["type"] for each in await cash.outbox(order) if each["delivered"]]
        return "payment.paid_late" in late and await cash.live.held(order.number) == 0

    await until(given_back, "the money's return")
    assert await cash.live.charged(order.number) == 0
    assert (await cash.returned(order.number)).amount_minor == order.total_minor
    assert (await cash.live.log(order.number))[-4:] == ["pay_late", "reverse", "refund", "refund_paid"]
    assert (await cash.live.order(order.number)).status is Status.CANCELLED


@pytest.mark.rule("P5", "G7")
async def test_a_payment_while_the_receiver_is_away_is_told_when_it_is_back(cash: Cash) -> None:
    """The receiver is killed, the number is paid, the receiver is started again: the provider's next try tells the order."""
    order = await cash.place()
    await cash.stack.stop_part("receiver", signal.SIGKILL)
    try:
        await cash.pay(order)

        async def tried() -> bool:
            return any(each["attempts"] > 0 for each in await cash.outbox(order))

        await until(tried, "a try in vain")
        assert (await cash.live.order(order.number)).status is Status.PENDING
    finally:
        await cash.stack.start_receiver()
    await cash.live.reaches(order.number, Status.UNSHIPPED)
    assert len(await cash.told(order.number)) == 1


@asynccontextmanager
async def own_stack(folder: Path) -> AsyncIterator[tuple[Stack, httpx.AsyncClient]]:
    """Run a stack of its own without a worker, with a client of its receiver."""
    stack = Stack(folder, ui_port=None, environment={name: "" for name in os.environ if name.startswith("TEMPORAL_")})
    addresses = await stack.start(with_worker=False)
    try:
        async with httpx.AsyncClient(base_url=addresses.receiver, timeout=20) as http:
            yield stack, http
    finally:
        await stack.stop()


async def test_events_wait_at_the_provider_while_temporal_is_down(tmp_path: Path) -> None:
    """The server is killed: 503 within seconds, and the provider keeps its event; the server is back: both go through."""
    async with own_stack(tmp_path) as (stack, receiving):
        secret, body = (tmp_path / "webhook.secret").read_text(), event()

        async def post() -> int:
            headers = signed(body, secret=secret)
            return (await receiving.post("/webhooks/payments", content=body, headers=headers)).status_code

        assert await post() == 200
        await stack.stop_part("server", signal.SIGKILL)
        began = time.monotonic()
        assert await post() == 503
        assert time.monotonic() - began < 10
        assert stack.addresses is not None
        async with httpx.AsyncClient(base_url=stack.addresses.provider) as provider:
            due_at = datetime.now(UTC) + timedelta(days=1)
            request = {
                **{"reference": REFERENCE, "order_number": NUMBER, "amount_minor": 1000, "currency": "JPY"},
                **{"method": "konbini", "due_at": due_at.isoformat()},
            }
            issued = (await provider.post("/authorizations", json=request)).raise_for_status().json()
            paid = await provider.post("/konbini/payments", json={"number": issued["number"]})
            assert paid.status_code == 200

            async def row() -> Any:
                return (await provider.get("/webhooks")).json()[0]

            async def tried() -> bool:
                return bool((await row())["attempts"])

            async def delivered() -> bool:
                return bool((await row())["delivered"])

            await until(tried, "a try in vain")
            assert not await delivered()
            await stack._start_server()
            await until(delivered, f"the event within {PATIENCE:.0f} s of the server's return")
        assert await post() == 200


@pytest.mark.rule("P5", "D3")
async def test_forged_and_old_webhooks_are_in_the_orders_history(cash: Cash) -> None:
    """Somebody says that the number is paid, with another signature or one of yesterday: refused with the rule, nothing moves."""
    order = await cash.place()
    body = event(order.number, f"{order.number}/1/authorize")
    secret = cash.stack.webhook_secret()
    async with httpx.AsyncClient(base_url=cash.live.addresses.receiver, timeout=20) as http:
        forged = await http.post("/webhooks/payments", content=body, headers=signed(body))
        old = await http.post("/webhooks/payments", content=body, headers=signed(body, secret=secret, seconds=-86_400))
    assert [(each.status_code, each.json()["error"], each.json()["rule"]) for each in (forged, old)] == [
        (401, "WEBHOOK_FORGED", "P5"),
        (400, "WEBHOOK_TOO_OLD", "P5"),
    ]

    async def noted() -> bool:
        told = [each.refusal.code for each in await cash.live.history(order.number) if each.refusal]
        return told == ["WEBHOOK_FORGED", "WEBHOOK_TOO_OLD"]

    await until(noted, "both refusals in the history")
    after = await cash.live.order(order.number)
    assert (after.status, after.version) == (Status.PENDING, order.version)
    assert after.payment is not None
    assert after.payment.status is PaymentStatus.AWAITING
