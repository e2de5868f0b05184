"""Providers under test and what the world does to them: a till, a bank that settles, time, faults.

PYTEST_DONT_REWRITE: its assertions are about the tests that use it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol

import httpx
import pytest
from provider_kit import capture_of, hold_of, new_card, run_provider
from stripe_fake import SECRET_KEY, Fault, StripeFake, serve

from activities.provider import HttpPaymentProvider, PaymentProvider
from activities.stripe_provider import StripePaymentProvider
from domain.effects import Ask, Authorize, Capture, Outcome, PayRefund, Result
from domain.refund import PaymentMethod

AT = datetime.now(UTC).replace(microsecond=0)
"""The order's clock: Stripe's is the wall's."""


class Driver(Protocol):
    """A provider and its surroundings; amounts are in minor units."""

    provider: PaymentProvider

    def card(self, kind: str = "good") -> str:
        """Return a card: good, declining, or one whose refunds stay pending."""
        ...

    async def kept(self, order_number: str) -> int:
        """Return what an order's payments hold or have taken, less what went back: the oracle of the money."""
        ...

    async def pay_at_till(self, payment: Authorize, number: str) -> None:
        """Pay a convenience-store payment."""
        ...

    async def after_due(self, payment: Authorize) -> datetime:
        """Let a convenience-store payment pass its due date, and return an instant after it."""
        ...

    async def after_lapse(self, hold: Authorize) -> datetime:
        """Let a hold lapse, and return an instant after it."""
        ...

    async def settle(self, refund: PayRefund, *, paid: bool) -> None:
        """End a pending refund."""
        ...

    async def fault(self, kind: str, operation: str) -> None:
        """Let the next `operation` (authorize, capture, void, refund) fail: down, or done with its answer lost."""
        ...


def hold_at(driver: Driver, kind: str = "good", amount_minor: int = 1000) -> Authorize:
    """Return a request to hold money in euro cents on a card."""
    return hold_of(driver.card(kind), amount_minor, at=AT)


def at_store(amount_minor: int = 1000) -> Authorize:
    """Return a request to be paid in yen at a convenience store, within three days."""
    update = {"method": PaymentMethod.KONBINI, "currency": "JPY", "due_at": AT + timedelta(days=3)}
    return hold_of("pm_konbini", amount_minor, at=AT).model_copy(update=update)


def refund_of(payment: Authorize, amount_minor: int, number: int = 1) -> PayRefund:
    """Return the request to pay part of a payment back; `number` tells an order's refunds apart."""
    return PayRefund(
        reference=f"{payment.order_number}/{number}/refund",
        payment_reference=payment.reference,
        order_number=payment.order_number,
        amount_minor=amount_minor,
        currency=payment.currency,
        at=AT,
    )


def ask_about(thing: Authorize | PayRefund, at: datetime = AT) -> Ask:
    """Return the question how a payment or a refund stands."""
    refund = isinstance(thing, PayRefund)
    return Ask(reference=thing.reference, order_number=thing.order_number, at=at, refund=refund)


class SandboxDriver:
    """The sandbox's provider, a process of its own."""

    _cards = {"good": "card-approve", "declining": "card-decline", "pending": "card-refund-hold"}  # noqa: RUF012 - never changed
    _paths = {"authorize": "/authorizations", "capture": "/captures", "void": "/voids", "refund": "/refunds"}  # noqa: RUF012 - never changed

    def __init__(self, provider: HttpPaymentProvider, http: httpx.AsyncClient) -> None:
        self.provider: PaymentProvider = provider
        self.http = http

    def card(self, kind: str = "good") -> str:
        """Return a card that no other test uses."""
        return new_card(self._cards[kind])

    async def kept(self, order_number: str) -> int:
        """Add up the states of the order's references."""
        rows = (await self.http.get("/authorizations", params={"order_number": order_number})).json()
        held: int = sum(row["amount_minor"] for row in rows if row["status"] == "authorized")
        charged: int = sum(row["captured_minor"] - row["refunded_minor"] for row in rows)
        return held + charged

    async def pay_at_till(self, payment: Authorize, number: str) -> None:
        """Pay the number."""
        headers = {"Sandbox-Clock": payment.at.isoformat()}
        (await self.http.post("/konbini/payments", json={"number": number}, headers=headers)).raise_for_status()

    async def after_due(self, payment: Authorize) -> datetime:
        """Return the due date: the sandbox goes by the request's clock."""
        assert payment.due_at is not None
        return payment.due_at

    async def after_lapse(self, hold: Authorize) -> datetime:
        """Return the expiry: the sandbox goes by the request's clock."""
        return hold.at + timedelta(days=7)

    async def settle(self, refund: PayRefund, *, paid: bool) -> None:
        """Settle the refund by the sandbox's switch."""
        body = {"reference": refund.reference, "status": "paid" if paid else "failed"}
        (await self.http.post("/refunds/settle", json=body)).raise_for_status()

    async def fault(self, kind: str, operation: str) -> None:
        """Switch the fault on for one call."""
        body = {"kind": kind, "count": 1, "path": self._paths[operation]}
        (await self.http.post("/faults", json=body)).raise_for_status()


class StripeDriver:
    """The Stripe adapter, over the fake of Stripe's wire format."""

    _cards = {  # noqa: RUF012 - never changed
        "good": "pm_card_visa",
        "declining": "pm_card_visa_chargeDeclinedInsufficientFunds",
        "pending": "pm_card_pendingRefund",
    }
    _operations = {"authorize": "confirm", "capture": "capture", "void": "cancel", "refund": "refund"}  # noqa: RUF012 - never changed

    def __init__(self, provider: PaymentProvider, fake: StripeFake, url: str) -> None:
        self.provider = provider
        self.fake = fake
        self.url = url

    def card(self, kind: str = "good") -> str:
        """Return one of Stripe's test payment methods."""
        return self._cards[kind]

    async def kept(self, order_number: str) -> int:
        """Ask the fake's account."""
        held, charged, _ = self.fake.money(order_number)
        return held + charged

    async def pay_at_till(self, payment: Authorize, number: str) -> None:
        """Pay, and let the search know of the payment by then."""
        self.fake.catch_up()
        self.fake.pay_at_till(payment.reference)

    async def after_due(self, payment: Authorize) -> datetime:
        """Let Stripe expire the payment: it goes by its own clock."""
        self.fake.expire(payment.reference)
        self.fake.catch_up()
        return payment.at

    async def after_lapse(self, hold: Authorize) -> datetime:
        """Let Stripe cancel the hold: it goes by its own clock."""
        self.fake.lapse(hold.reference)
        return hold.at

    async def settle(self, refund: PayRefund, *, paid: bool) -> None:
        """Let the bank answer."""
        self.fake.settle(refund.reference, "succeeded" if paid else "failed", "lost_or_stolen_card")

    async def fault(self, kind: str, operation: str) -> None:
        """Switch the fault on for one call."""
        self.fake.faults.append(Fault(kind, self._operations[operation]))


@asynccontextmanager
async def open_stripe() -> AsyncIterator[StripeDriver]:
    """Open the adapter over a fake account of its own."""
    fake = StripeFake()
    server = serve(fake)
    provider = StripePaymentProvider(SECRET_KEY, api_base=f"http://127.0.0.1:{server.server_port}", timeout=5)
    yield StripeDriver(provider, fake, f"http://127.0.0.1:{server.server_port}")
    await provider.aclose()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
async def stripe_driver() -> AsyncIterator[StripeDriver]:
    """Give the Stripe adapter over one fake account; each test uses references of its own."""
    async with open_stripe() as driver:
        yield driver


@pytest.fixture
async def shop() -> AsyncIterator[StripeDriver]:
    """Give the Stripe adapter over an account of the test's own."""
    async with open_stripe() as driver:
        yield driver


@pytest.fixture(scope="session")
async def sandbox_driver(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SandboxDriver]:
    """Give the sandbox's provider with refunds that stay pending until the driver settles them."""
    folder = tmp_path_factory.mktemp("unhurried-provider")
    with run_provider(folder, "--slow-seconds", "0.3", "--refund-seconds", "3600") as process:
        provider = HttpPaymentProvider(process.url)
        async with httpx.AsyncClient(base_url=process.url, timeout=10) as http:
            yield SandboxDriver(provider, http)
        await provider.aclose()


@pytest.fixture(params=["sandbox", "stripe"])
async def driver(
    request: pytest.FixtureRequest, sandbox_driver: SandboxDriver, stripe_driver: StripeDriver
) -> AsyncIterator[Driver]:
    """Give each provider in turn."""
    if request.param == "stripe":
        yield stripe_driver
        return
    yield sandbox_driver
    await sandbox_driver.http.delete("/faults")


async def charged(driver: Driver, kind: str = "good", amount_minor: int = 1000) -> Authorize:
    """Hold and charge an amount."""
    hold = hold_at(driver, kind, amount_minor)
    await driver.provider.authorize(hold)
    assert (await driver.provider.capture(capture_of(hold, at=hold.at))).result is Result.CAPTURED
    return hold


async def awaited(driver: Driver) -> tuple[Authorize, Outcome]:
    """Have a payment number issued."""
    payment = at_store()
    return payment, await driver.provider.authorize(payment)


def charge_of(payment: Authorize, amount_minor: int = 1000) -> Capture:
    """Return the request to charge a convenience-store payment."""
    return capture_of(payment, amount_minor, at=payment.at).model_copy(update={"currency": "JPY"})
