"""A payment provider as a real process, the clients that ask it, and what they ask.

PYTEST_DONT_REWRITE: what it asserts while the provider starts says by itself what is wrong.
"""

import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from activities.provider import HttpPaymentProvider
from domain.effects import Authorize, Capture, Void

NOW = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)


class Process(NamedTuple):
    """A running provider: its process and its address."""

    popen: subprocess.Popen[str]
    url: str


def new_order() -> str:
    """Return an order number that no other test uses."""
    digits = str(uuid.uuid4().int)[:17].rjust(17, "0")
    return f"{digits[:3]}-{digits[3:10]}-{digits[10:]}"


def new_card(kind: str = "card-approve") -> str:
    """Return a card of a kind that no other test uses."""
    return f"{kind}-{uuid.uuid4().hex[:12]}"


def hold_of(card: str, amount_minor: int = 1000, *, order: str | None = None, at: datetime = NOW) -> Authorize:
    """Return a request to hold money in euro cents under a new reference."""
    order = order or new_order()
    reference = f"{order}/{uuid.uuid4().hex[:6]}/authorize"
    return Authorize(
        reference=reference, order_number=order, amount_minor=amount_minor, currency="EUR", card=card, at=at
    )


def capture_of(hold: Authorize, amount_minor: int | None = None, *, at: datetime = NOW) -> Capture:
    """Return the request to charge a hold."""
    amount_minor = hold.amount_minor if amount_minor is None else amount_minor
    return Capture(
        reference=hold.reference, order_number=hold.order_number, amount_minor=amount_minor, currency="EUR", at=at
    )


def void_of(hold: Authorize, *, at: datetime = NOW) -> Void:
    """Return the request to void a hold."""
    return Void(reference=hold.reference, order_number=hold.order_number, at=at)


async def used(http: httpx.AsyncClient, card: str) -> tuple[int, int]:
    """Return what is held and charged on a card, in euro cents."""
    cards = (await http.get("/balances")).json()["cards"]
    return next(((row["held_minor"], row["captured_minor"]) for row in cards if row["card"] == card), (0, 0))


async def logged(http: httpx.AsyncClient, order: str) -> list[tuple[str, int]]:
    """Return the provider's log of an order: action and amount."""
    rows = (await http.get("/log", params={"order_number": order})).json()
    return [(row["action"], row["amount_minor"]) for row in rows]


def folded(log: list[dict[str, Any]]) -> tuple[int, int]:
    """Add up a log: what it says is held and charged, in minor units."""
    held: dict[str, int] = {}
    captured: dict[str, int] = {}
    for row in log:
        reference, amount = row["reference"], row["amount_minor"]
        match row["action"]:
            case "authorize":
                held[reference] = amount
            case "capture":
                held[reference], captured[reference] = 0, amount
            case "void" | "lapse":
                held[reference] = 0
            case "reverse":
                captured[reference] = 0
    return sum(held.values()), sum(captured.values())


@contextmanager
def run_provider(folder: Path, *options: str) -> Iterator[Process]:
    """Run a provider over the database in `folder` until the block ends."""
    port_file = folder / "port"
    port_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "sandbox.provider", "--database", str(folder / "provider.db")]
    command += ["--port-file", str(port_file), *options]
    popen = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    try:
        deadline = time.monotonic() + 30
        while not port_file.exists():
            assert popen.poll() is None, "the provider ended before it listened"
            assert time.monotonic() < deadline, "the provider did not listen within 30 s"
            time.sleep(0.01)
        yield Process(popen, f"http://127.0.0.1:{port_file.read_text()}")
    finally:
        if popen.poll() is None:
            popen.kill()
        popen.wait(10)
        if popen.stdout is not None:
            popen.stdout.close()


@pytest.fixture(scope="session")
def provider_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a provider that all tests share; each test uses references and cards of its own."""
    with run_provider(tmp_path_factory.mktemp("provider"), "--slow-seconds", "0.3") as process:
        yield process.url


@pytest.fixture(scope="session")
async def http(provider_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Give a plain client, to ask what the engine's client never asks."""
    async with httpx.AsyncClient(base_url=provider_url, timeout=10) as client:
        yield client


@pytest.fixture(scope="session")
async def sandbox(provider_url: str) -> AsyncIterator[HttpPaymentProvider]:
    """Give the engine's client."""
    provider = HttpPaymentProvider(provider_url)
    yield provider
    await provider.aclose()


@pytest.fixture
async def impatient(provider_url: str) -> AsyncIterator[HttpPaymentProvider]:
    """Give the engine's client with a short time-out."""
    provider = HttpPaymentProvider(provider_url, timeout=0.2)
    yield provider
    await provider.aclose()


@pytest.fixture
async def faults(http: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """Give the plain client and switch every fault off afterwards."""
    yield http
    await http.delete("/faults")
