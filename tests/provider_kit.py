"""A payment provider as a real process, the clients that ask it, and what they ask.

PYTEST_DONT_REWRITE: what it asserts while the provider starts says by itself what is wrong.
"""

import base64
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from live_kit import until
from standardwebhooks import Webhook, WebhookVerificationError

from activities.provider import HttpPaymentProvider
from domain.effects import Ask, Authorize, Capture, PayRefund, Void
from domain.refund import PaymentMethod

NOW = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
DUE = NOW + timedelta(days=3)
SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four!").decode()
"""What signs the webhooks of a test."""


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


def konbini_of(amount_minor: int = 1000, *, order: str | None = None, due_at: datetime = DUE) -> Authorize:
    """Return a request for a convenience-store payment in euro cents under a new reference."""
    more = {"method": PaymentMethod.KONBINI, "due_at": due_at}
    return hold_of("", amount_minor, order=order).model_copy(update=more)


def refund_of(hold: Authorize, amount_minor: int = 400, *, at: datetime = NOW) -> PayRefund:
    """Return a request to pay part of a charge back under a new reference."""
    return PayRefund(
        reference=f"{hold.order_number}/{uuid.uuid4().hex[:6]}/refund",
        payment_reference=hold.reference,
        order_number=hold.order_number,
        amount_minor=amount_minor,
        currency="EUR",
        at=at,
    )


def ask_of(request: Authorize | PayRefund, *, at: datetime = NOW) -> Ask:
    """Return the question how a payment or a refund stands."""
    refund = isinstance(request, PayRefund)
    return Ask(reference=request.reference, order_number=request.order_number, at=at, refund=refund)


async def pay_at_shop(
    http: httpx.AsyncClient, number: str | None, *, late: bool = False, at: datetime = NOW
) -> tuple[int, str]:
    """Pay a number at a convenience store and return the answer: 200 and the state, or the refusal's status and code."""
    body = {"number": number, "late": late}
    answer = await http.post("/konbini/payments", json=body, headers={"Sandbox-Clock": at.isoformat()})
    return answer.status_code, answer.json().get("error") or answer.json()["status"]


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
    held: Counter[str] = Counter()
    captured = 0
    for row in log:
        reference, amount = row["reference"], row["amount_minor"]
        match row["action"]:
            case "authorize" | "pay" | "pay_late":
                held[reference] = amount
            case "capture":
                held[reference] = 0
                captured += amount
            case "void" | "lapse":
                held[reference] = 0
            case "reverse" if held[reference]:
                held[reference] = 0
            case "reverse" | "refund_paid":
                captured -= amount
    return held.total(), captured


class Receiver:
    """A webhook endpoint: it keeps every event whose signature is right, and answers as it was told, then 204."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.answers: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(receiver.take(body, dict(self.headers)))
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/payments"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def take(self, body: bytes, headers: dict[str, str]) -> int:
        """Check an event and return the status of the answer."""
        status = self.answers.pop(0) if self.answers else 204
        try:
            event = Webhook(SECRET).verify(body, headers)
        except WebhookVerificationError as error:
            self.refused.append(str(error))
            return 401
        if status < 300:
            self.taken.append({"id": headers["webhook-id"], **event})
        return status

    def of(self, order: str) -> list[dict[str, Any]]:
        """Return the events of an order in the order of their arrival."""
        return [event for event in list(self.taken) if event["data"]["order_number"] == order]

    async def wait_for(self, order: str, count: int) -> list[dict[str, Any]]:
        """Wait until so many events of an order have arrived and return them."""

        async def there() -> list[dict[str, Any]] | None:
            found = self.of(order)
            return found if len(found) >= count else None

        return await until(there, f"{count} events of {order}, there were {self.of(order)}")

    def close(self) -> None:
        """Stop to listen."""
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(10)


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
    with run_provider(
        tmp_path_factory.mktemp("provider"), "--slow-seconds", "0.3", "--refund-seconds", "0.1"
    ) as process:
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
