"""The receiver of payment webhooks: what it takes, what it refuses, how it starts, and where the worker pays."""

import asyncio
import base64
import json
import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import pytest
import stripe
from google.protobuf.any_pb2 import Any as AnyMessage
from standardwebhooks import Webhook
from temporalio.api.common.v1 import GrpcStatus
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure, NotFoundFailure
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.settings import Settings
from web import notes, receiver

SECRET = "whsec_" + base64.b64encode(b"a secret that only two know").decode()
OTHER = "whsec_" + base64.b64encode(b"a secret that another has!!").decode()
STRIPE_SECRET = "whsec_stripe"
NUMBER = "503-1234567-1234567"
REFERENCE = f"{NUMBER}/1/authorize"


def event(number: object = NUMBER, reference: object = REFERENCE, kind: object = "payment.paid") -> bytes:
    """Return the body of an event."""
    data = {"reference": reference, "order_number": number}
    return json.dumps({"type": kind, "timestamp": "2026-03-01T00:00:00Z", "data": data}).encode()


def signed(body: bytes, *, secret: str = SECRET, event_id: str = "evt_1", seconds: float = 0) -> dict[str, str]:
    """Return the headers of a delivery signed `seconds` from now."""
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(event_id, at, body.decode()),
    }


def grpc_error(status: RPCStatusCode, *details: Any) -> RPCError:
    """Return what Temporal's client raises, with the details that the server gives."""
    packed = []
    for each in details:
        packed.append(AnyMessage())
        packed[-1].Pack(each)
    raw = GrpcStatus(code=status.value, details=packed).SerializeToString()
    return RPCError("told by the server", status, raw)


class FakeTemporal:
    """Takes signals as a client of Temporal does, or fails with `failure`."""

    def __init__(self) -> None:
        self.signals: list[tuple[str, str, dict[str, Any]]] = []
        self.failure: Exception | None = None
        self.hangs = False

    def get_workflow_handle(self, workflow_id: str) -> "FakeHandle":
        """Return the handle of a workflow."""
        return FakeHandle(self, workflow_id)


class FakeHandle:
    """The handle of a workflow."""

    def __init__(self, temporal: FakeTemporal, workflow_id: str) -> None:
        self.temporal, self.workflow_id = temporal, workflow_id

    async def signal(self, name: str, payload: dict[str, Any], *, rpc_timeout: timedelta) -> None:
        """Take a signal."""
        if self.temporal.hangs:
            await asyncio.Event().wait()
        if self.temporal.failure is not None:
            raise self.temporal.failure
        self.temporal.signals.append((self.workflow_id, name, payload))


class Desk:
    """A receiver in this process, over a fake Temporal."""

    def __init__(self, **settings: str | None) -> None:
        self.temporal = FakeTemporal()
        chosen = Settings.model_validate({"webhook_secret": SECRET, "stripe_webhook_secret": STRIPE_SECRET, **settings})
        app = receiver.create_app(cast(Client, self.temporal), chosen)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://receiver.test")

    @property
    def told(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Return the events that orders were told."""
        return [each for each in self.temporal.signals if "fault" not in each[2]]

    @property
    def noted(self) -> list[tuple[str, str]]:
        """Return of which orders the history notes a refused webhook, and why."""
        return [(each[0], each[2]["fault"]) for each in self.temporal.signals if "fault" in each[2]]

    async def post(self, body: bytes, headers: dict[str, str], path: str = "payments") -> tuple[int, str]:
        """Deliver; return the status and the word of the answer."""
        answer = await self.http.post(f"/webhooks/{path}", content=body, headers=headers)
        told = answer.json()
        assert set(told) - {"rule"} == ({"status"} if answer.is_success else {"error", "message"})
        assert ("rule" in told) is str(told.get("error")).startswith("WEBHOOK_")
        return answer.status_code, str(told.get("error") or told["status"])


@pytest.fixture
def desk() -> Desk:
    """A receiver that knows both secrets."""
    return Desk()


async def test_a_good_event_becomes_one_signal_to_its_order(desk: Desk) -> None:
    """The order is told reference and type, under the webhook's id, by which a repeated delivery has one effect."""
    body = event()
    assert await desk.post(body, signed(body)) == (202, "accepted")
    command = {"actor": "system", "id": "evt_1", "reference": REFERENCE, "event": "payment.paid"}
    assert desk.temporal.signals == [(f"order-{NUMBER}", "payment_event", command)]
    assert await desk.post(body, signed(body, seconds=-200)) == (202, "accepted")
    assert desk.temporal.signals[1] == desk.temporal.signals[0]


@pytest.mark.rule("P5", "D3")
async def test_forged_and_unsigned_events_are_refused(desk: Desk) -> None:
    """Another secret, another body, another id, headers that are missing or no signature at all: 401, and nothing is told."""
    body = event()
    good = signed(body)
    forged = [
        (body, signed(body, secret=OTHER)),
        (event("503-1234567-7654321"), good),
        (body, {**good, "webhook-id": "evt_2"}),
        (body, {**good, "webhook-timestamp": str(int(good["webhook-timestamp"]) - 1)}),
        *((body, {name: value for name, value in good.items() if name != left_out}) for left_out in good),
        *(
            (body, {**good, "webhook-signature": text})
            for text in ("", "v1", "v1,", "v1,é€", "v2,AAAA", "v1,A", "a,b,c")
        ),
        *((body, {**good, "webhook-timestamp": text}) for text in ("", "x", "nan", "inf", "1e999")),
        (body, {}),
    ]
    for text, headers in forged:
        raw = {name: value.encode() for name, value in headers.items()}
        assert await desk.post(text, cast(dict[str, str], raw)) == (401, "WEBHOOK_FORGED"), headers
    assert desk.told == []
    # Of each order it is noted once, however many there are.
    assert desk.noted == [(f"order-{NUMBER}", "forged"), ("order-503-1234567-7654321", "forged")]


@pytest.mark.rule("P5", "D3")
@pytest.mark.parametrize("seconds", [-301, -86_400, 310])
async def test_an_event_signed_too_long_ago_is_refused(desk: Desk, seconds: int) -> None:
    """A delivery that somebody kept and sends again after five minutes, or one from the future: 400, and nothing is told."""
    body = event()
    answer = await desk.http.post("/webhooks/payments", content=body, headers=signed(body, seconds=seconds))
    assert (answer.status_code, answer.json()["error"]) == (400, "WEBHOOK_TOO_OLD")
    assert "300 s at most are allowed" in answer.json()["message"]
    assert "sign each delivery when it is sent" in answer.json()["message"]
    assert answer.json()["rule"] == "P5"
    assert (desk.told, desk.noted) == ([], [(f"order-{NUMBER}", "too_old")])


@pytest.mark.parametrize("seconds", [-301, 310])
async def test_an_old_event_that_was_never_signed_is_forged(desk: Desk, seconds: int) -> None:
    """An old time stamp does not make a forgery a late delivery."""
    body = event()
    assert await desk.post(body, signed(body, secret=OTHER, seconds=seconds)) == (401, "WEBHOOK_FORGED")
    assert await desk.post(*stripe_delivery(secret="whsec_other", seconds=-400), "stripe") == (401, "WEBHOOK_FORGED")
    assert (desk.told, [fault for _, fault in desk.noted]) == ([], ["forged"])


@pytest.mark.rule("D3", "P5")
async def test_a_flood_of_forgeries_leaves_few_notes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty orders at most are noted in a minute, each once in ten; later there is room again; what names no order is none."""
    clock = [1000.0]
    monkeypatch.setattr("web.notes.time.monotonic", lambda: clock[0])
    for serial in range(40):
        body = event(f"503-1234567-{serial:07}")
        assert (await desk.post(body, signed(body, secret=OTHER)))[0] == 401
    assert len(desk.noted) == notes.NOTED_PER_MINUTE
    clock[0] += 61
    body = event("503-1234567-0000000")
    await desk.post(body, signed(body, secret=OTHER))
    assert len(desk.noted) == notes.NOTED_PER_MINUTE
    clock[0] += notes.NOTED_EVERY.total_seconds()
    await desk.post(body, signed(body, secret=OTHER))
    assert desk.noted[-1] == ("order-503-1234567-0000000", "forged")
    for nothing in (b"", b"[]", b"{" * 30_000, b'{"data": 7}', event("A-1"), event(reference="a b"), event(kind={})):
        assert (await desk.post(nothing, signed(nothing, secret=OTHER)))[0] == 401
    assert len(desk.noted) == notes.NOTED_PER_MINUTE + 1


async def test_a_refusal_that_cannot_be_noted_is_a_refusal_all_the_same(desk: Desk) -> None:
    """There is no such order, or Temporal is away: the answer is the same."""
    body = event()
    desk.temporal.failure = grpc_error(RPCStatusCode.UNAVAILABLE)
    assert await desk.post(body, signed(body, secret=OTHER)) == (401, "WEBHOOK_FORGED")
    assert desk.temporal.signals == []


UNREADABLE = [
    b"",
    b"[]",
    b"{",
    b'{"type": "payment.paid"}',
    event(None),
    event(""),
    event("503-1234567-123456"),
    event("x503-1234567-1234567"),
    event("503-1234567-1234567\n"),
    event("٥٠٣-1234567-1234567"),
    event("order-503-1234567-1234567"),
    event(reference=""),
    event(reference="a b"),
    event(reference="r" * 121),
    event(kind=""),
    event(kind="payment paid"),
    event(kind={}),
]


@pytest.mark.parametrize("body", UNREADABLE)
async def test_a_signed_event_that_cannot_be_read_is_refused(desk: Desk, body: bytes) -> None:
    """No JSON, fields missing, an order number that is none: 422 that says what is wanted, and nothing is told."""
    answer = await desk.http.post("/webhooks/payments", content=body, headers=signed(body))
    assert (answer.status_code, answer.json()["error"]) == (422, "WEBHOOK_UNREADABLE")
    assert "send JSON with type, and data with reference and order_number" in answer.json()["message"]
    assert desk.temporal.signals == []


async def test_bodies_ids_and_paths_out_of_bounds_are_refused(desk: Desk) -> None:
    """More than 64 KiB, bytes that are no text, an id that no order takes, and paths that are none."""
    large, exact = b"x" * 65_537, event().ljust(65_536)
    assert await desk.post(large, signed(large)) == (413, "too_large")
    assert await desk.post(exact, signed(exact)) == (202, "accepted")
    assert await desk.post(b"\xff\xfe", signed(b"")) == (422, "WEBHOOK_UNREADABLE")
    body = event()
    assert await desk.post(body, signed(body, event_id="e" * 101)) == (422, "WEBHOOK_UNREADABLE")
    assert await desk.post(body, signed(body, event_id="two words")) == (422, "WEBHOOK_UNREADABLE")
    assert await desk.post(body, signed(body), "nowhere") == (404, "no_such_route")
    assert (await desk.http.get("/webhooks/payments")).status_code == 405
    assert (await desk.http.get("/health")).json() == {"status": "ok"}
    assert len(desk.temporal.signals) == 1


async def test_an_event_for_no_order_is_taken_and_told_to_the_operator(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """An order that does not exist or is closed: 200, for sending it again is no use, and a warning names order and money."""
    desk.temporal.failure = grpc_error(RPCStatusCode.NOT_FOUND, NotFoundFailure())
    body = event()
    with caplog.at_level(logging.WARNING):
        assert await desk.post(body, signed(body)) == (200, "no such order")
    assert NUMBER in caplog.text
    assert REFERENCE in caplog.text
    assert "starter reconcile" in caplog.text


DOWN: list[Exception] = [
    grpc_error(RPCStatusCode.UNAVAILABLE),
    grpc_error(RPCStatusCode.DEADLINE_EXCEEDED),
    grpc_error(RPCStatusCode.CANCELLED),
    grpc_error(RPCStatusCode.RESOURCE_EXHAUSTED),
    grpc_error(RPCStatusCode.PERMISSION_DENIED),
    grpc_error(RPCStatusCode.NOT_FOUND, NamespaceNotFoundFailure(namespace="nope")),
    grpc_error(RPCStatusCode.NOT_FOUND),
    RuntimeError("Failed client connect: connection refused"),
    ValueError("invalid target URL"),
]


@pytest.mark.parametrize("failure", DOWN, ids=str)
async def test_while_temporal_is_away_the_provider_is_to_send_again(desk: Desk, failure: Exception) -> None:
    """Whatever keeps Temporal from taking the signal: 503, and the same delivery is taken once it is back.

    A namespace that is not there is no missing order: its events must not be lost.
    """
    desk.temporal.failure = failure
    body = event()
    assert await desk.post(body, signed(body)) == (503, "unavailable")
    desk.temporal.failure = None
    assert await desk.post(body, signed(body)) == (202, "accepted")
    assert len(desk.temporal.signals) == 1


async def test_a_server_that_does_not_answer_is_given_up_in_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that hangs is bounded, and answered with 503."""
    monkeypatch.setattr(receiver, "SIGNALLED_WITHIN", timedelta(seconds=0.05))
    desk.temporal.hangs = True
    body = event()
    assert await desk.post(body, signed(body)) == (503, "unavailable")


def stripe_delivery(
    kind: str = "payment_intent.succeeded", *, number: str = NUMBER, secret: str = STRIPE_SECRET, seconds: float = 0
) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a delivery of Stripe."""
    metadata = {"reference": REFERENCE, "order_number": number, "terms": "konbini 1000 JPY pm_konbini"}
    intent = {"id": "pi_1", "object": "payment_intent", "metadata": metadata}
    body = json.dumps({"id": "evt_s", "object": "event", "type": kind, "data": {"object": intent}})
    at = int(time.time() + seconds)
    return body.encode(), {"stripe-signature": stripe.WebhookSignature.generate_signature_header(body, secret, at)}


@pytest.mark.rule("G7", "R7")
async def test_events_of_stripe_are_told_in_the_same_way(desk: Desk) -> None:
    """Stripe's event becomes the same command; what concerns no order is taken and told nobody."""
    assert await desk.post(*stripe_delivery(), "stripe") == (202, "accepted")
    command = {"actor": "system", "id": "evt_s", "reference": REFERENCE, "event": "payment.paid"}
    assert desk.temporal.signals == [(f"order-{NUMBER}", "payment_event", command)]
    assert await desk.post(*stripe_delivery("payment_intent.created"), "stripe") == (200, "not about an order")
    assert len(desk.temporal.signals) == 1


async def test_deliveries_that_are_not_stripes_are_refused(desk: Desk) -> None:
    """Forged, unsigned, old or unreadable ones are answered as the others are, and nothing is told."""
    body, headers = stripe_delivery()
    assert await desk.post(*stripe_delivery(secret="whsec_other"), "stripe") == (401, "WEBHOOK_FORGED")
    assert await desk.post(body, {}, "stripe") == (401, "WEBHOOK_FORGED")
    assert await desk.post(body, {"stripe-signature": "t=x,v1="}, "stripe") == (401, "WEBHOOK_FORGED")
    assert await desk.post(body + b" ", headers, "stripe") == (401, "WEBHOOK_FORGED")
    assert await desk.post(*stripe_delivery(seconds=-400), "stripe") == (400, "WEBHOOK_TOO_OLD")
    assert await desk.post(*stripe_delivery(number="A-1"), "stripe") == (422, "WEBHOOK_UNREADABLE")
    empty = stripe.WebhookSignature.generate_signature_header("{}", STRIPE_SECRET)
    assert await desk.post(b"{}", {"stripe-signature": empty}, "stripe") == (422, "WEBHOOK_UNREADABLE")
    assert (desk.told, [fault for _, fault in desk.noted]) == ([], ["forged", "too_old"])


async def test_a_path_without_its_secret_takes_nothing() -> None:
    """Where a secret is not set its path answers 404 and names the setting, whatever is sent."""
    nothing, body = Desk(webhook_secret=None, stripe_webhook_secret=None), event()
    answer = await nothing.http.post("/webhooks/payments", content=body, headers=signed(body))
    assert (answer.status_code, answer.json()["error"]) == (404, "not_configured")
    assert answer.json()["message"].startswith("WEBHOOK_SECRET is not set")
    assert await nothing.post(*stripe_delivery(), "stripe") == (404, "not_configured")
    assert nothing.temporal.signals == []
