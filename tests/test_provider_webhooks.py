"""The payment provider's webhooks: signed, in order, tried until they are taken, and the switches that break that."""

import asyncio
import base64
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from live_kit import until
from provider_kit import (
    DUE,
    NOW,
    SECRET,
    Process,
    Receiver,
    ask_of,
    capture_of,
    hold_of,
    konbini_of,
    new_card,
    new_order,
    pay_at_shop,
    refund_of,
    run_provider,
    void_of,
)

from activities.provider import HttpPaymentProvider
from domain.effects import PayRefund
from sandbox.provider_webhooks import retry_seconds

OTHER_SECRET = "whsec_" + base64.b64encode(b"another one of 24 bytes!").decode()


class Wired:
    """A provider with its client, and the endpoint that hears from it."""

    def __init__(self, url: str, receiver: Receiver) -> None:
        self.receiver = receiver
        self.http = httpx.AsyncClient(base_url=url, timeout=10)
        self.provider = HttpPaymentProvider(url)

    async def send_to(self, url: str | None, secret: str | None = SECRET) -> None:
        """Set where webhooks go."""
        body = {"url": url, "secret": secret if url else None}
        (await self.http.put("/webhooks", json=body)).raise_for_status()

    async def fault(self, kind: str, count: int = 1) -> None:
        """Let something go wrong with the next events."""
        (await self.http.post("/webhooks/faults", json={"kind": kind, "count": count})).raise_for_status()

    async def pay(self, order: str) -> str:
        """Issue a number and pay it at a shop; returns its reference."""
        request = konbini_of(order=order)
        number = (await self.provider.authorize(request)).number
        assert await pay_at_shop(self.http, number) == (200, "authorized")
        return request.reference

    async def pending_refund(self) -> PayRefund:
        """Charge a card, ask for a refund that stays pending, and return it."""
        hold = hold_of(new_card("card-refund-hold"))
        await self.provider.authorize(hold)
        await self.provider.capture(capture_of(hold))
        refund = refund_of(hold)
        await self.provider.refund(refund)
        return refund

    async def outbox(self, order: str) -> list[dict[str, Any]]:
        """Return what the outbox says about an order."""
        rows: list[dict[str, Any]] = (await self.http.get("/webhooks", params={"order_number": order})).json()
        return rows

    async def delivered(self, order: str) -> list[dict[str, Any]]:
        """Wait until nothing of an order is left to deliver and return what the outbox says about it."""

        async def there() -> list[dict[str, Any]] | None:
            rows = await self.outbox(order)
            return rows if rows and all(row["delivered"] or row["dropped"] for row in rows) else None

        return await until(there, f"the delivery of all events of {order}")

    async def close(self) -> None:
        """Close the connections and stop to listen."""
        self.receiver.close()
        await self.http.aclose()
        await self.provider.aclose()


@pytest.fixture(scope="module")
def telling_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Give a provider that only the tests of webhooks use."""
    with run_provider(tmp_path_factory.mktemp("webhooks"), "--refund-seconds", "0.05") as process:
        yield process


@pytest.fixture
async def wired(telling_provider: Process) -> AsyncIterator[Wired]:
    """Give the provider with an endpoint that is ready."""
    wired = Wired(telling_provider.url, Receiver())
    await wired.send_to(wired.receiver.url)
    yield wired
    await wired.http.delete("/webhooks/faults")
    await wired.send_to(None)
    await wired.close()


async def test_a_shop_s_payment_is_told_with_a_signature(wired: Wired) -> None:
    """A payment at a shop is told with its reference and the instant of the order's clock, signed as Standard Webhooks says."""
    order = new_order()
    reference = await wired.pay(order)
    (event,) = await wired.receiver.wait_for(order, 1)
    (row,) = await wired.delivered(order)
    data = {"reference": reference, "order_number": order}
    assert event == {
        "id": row["id"],
        "type": "payment.paid",
        "timestamp": NOW.isoformat(timespec="microseconds"),
        "data": data,
    }
    assert (row["type"], row["reference"], row["attempts"]) == ("payment.paid", reference, 1)
    assert wired.receiver.refused == []


@pytest.mark.rule("G7")
async def test_an_expired_number_is_told_once_and_a_late_payment_too(wired: Wired) -> None:
    """The end of an unpaid number and money that came too late are events of their own."""
    request = konbini_of()
    number = (await wired.provider.authorize(request)).number
    for _ in range(2):
        await wired.provider.ask(ask_of(request, at=DUE))
    await pay_at_shop(wired.http, number, late=True, at=DUE)
    events = await wired.receiver.wait_for(request.order_number, 2)
    assert [event["type"] for event in events] == ["payment.expired", "payment.paid_late"]


@pytest.mark.rule("R7")
async def test_the_end_of_a_refund_is_told(wired: Wired) -> None:
    """A refund that the provider pays or fails by itself, or that a test settles, is told with its own reference."""
    failing = hold_of(new_card("card-refund-fail"))
    order = failing.order_number
    await wired.provider.authorize(failing)
    await wired.provider.capture(capture_of(failing))
    refunds = [refund_of(failing, 300) for _ in range(2)]
    for refund in refunds:
        await wired.provider.refund(refund)
    events = await wired.receiver.wait_for(order, 2)
    told = {event["data"]["reference"]: event["type"] for event in events}
    assert told == {refunds[0].reference: "refund.failed", refunds[1].reference: "refund.paid"}
    settled = await wired.pending_refund()
    await wired.http.post("/refunds/settle", json={"reference": settled.reference, "status": "failed"})
    assert [event["type"] for event in await wired.receiver.wait_for(settled.order_number, 1)] == ["refund.failed"]


async def test_what_the_engine_does_itself_is_not_told(wired: Wired) -> None:
    """Holds, charges, voids, a number's issue and points that come back at once are answers, not events."""
    order = new_order()
    hold, wallet, number = hold_of(new_card(), order=order), hold_of(new_card("points-x"), order=order), konbini_of()
    for request in (hold, wallet, number):
        await wired.provider.authorize(request)
    await wired.provider.capture(capture_of(wallet))
    await wired.provider.refund(refund_of(wallet))
    await wired.provider.void(void_of(hold))
    await wired.provider.void(void_of(number))
    assert await wired.outbox(order) == await wired.outbox(number.order_number) == []


async def test_an_endpoint_that_fails_is_tried_until_it_takes_the_event(wired: Wired) -> None:
    """Errors and redirects are tried again with the same id, and events keep their order meanwhile."""
    order = new_order()
    wired.receiver.answers[:] = [500, 302, 503]
    references = [await wired.pay(order) for _ in range(3)]
    events = await wired.receiver.wait_for(order, 3)
    assert [event["data"]["reference"] for event in events] == references
    rows = await wired.delivered(order)
    assert [row["attempts"] for row in rows] == [4, 1, 1]
    assert [row["id"] for row in rows] == [event["id"] for event in events]


async def test_an_event_that_is_refused_holds_up_no_other(wired: Wired) -> None:
    """An event that the endpoint will not have is tried again by and by; the ones behind it go on at once."""
    order = new_order()
    wired.receiver.answers[:] = [422]
    references = [await wired.pay(order) for _ in range(2)]
    events = await wired.receiver.wait_for(order, 2)
    assert {event["data"]["reference"] for event in events} == set(references)
    rows = await wired.delivered(order)
    assert [row["attempts"] for row in rows] == [2, 1]


async def test_an_endpoint_that_is_down_loses_nothing(wired: Wired) -> None:
    """Events wait while nobody listens, and arrive in their order at an endpoint named later, or where it comes back."""
    order = new_order()
    gone = Receiver()
    gone.close()
    await wired.send_to(gone.url)
    references = [await wired.pay(order)]

    async def attempted() -> bool:
        return int((await wired.outbox(order))[0]["attempts"]) >= 2

    await until(attempted, "a second attempt")
    await wired.send_to(None)
    references.append(await wired.pay(order))
    assert [row["delivered"] for row in await wired.outbox(order)] == [False, False]
    await wired.send_to(wired.receiver.url)
    events = await wired.receiver.wait_for(order, 2)
    assert [event["data"]["reference"] for event in events] == references


async def test_a_wrong_secret_is_not_believed(wired: Wired) -> None:
    """A receiver tells what was signed with another secret, and gets it again once the secret is right."""
    order = new_order()
    await wired.send_to(wired.receiver.url, OTHER_SECRET)
    await wired.pay(order)

    async def refused() -> list[str]:
        return wired.receiver.refused

    await until(refused, "a refused signature")
    assert wired.receiver.of(order) == []
    await wired.send_to(wired.receiver.url)
    assert len(await wired.receiver.wait_for(order, 1)) == 1


async def test_a_duplicate_comes_twice_with_one_id(wired: Wired) -> None:
    """A duplicated event is delivered twice under the same id, and the next one once."""
    order = new_order()
    await wired.fault("duplicate")
    references = [await wired.pay(order) for _ in range(2)]
    events = await wired.receiver.wait_for(order, 3)
    assert [event["data"]["reference"] for event in events] == [references[0], *references]
    assert events[0] == events[1]
    assert [row["attempts"] for row in await wired.delivered(order)] == [2, 1]


async def test_an_event_is_overtaken_by_the_next(wired: Wired) -> None:
    """A held back event arrives right after the one that came later, before a third."""
    order = new_order()
    await wired.fault("reorder")
    first, second, third = [await wired.pay(order) for _ in range(3)]
    events = await wired.receiver.wait_for(order, 3)
    assert [event["data"]["reference"] for event in events] == [second, first, third]


async def test_an_event_that_nothing_overtakes_comes_all_the_same(wired: Wired) -> None:
    """A held back event arrives by itself when no other one follows."""
    order = new_order()
    await wired.fault("reorder", count=2)
    references = [await wired.pay(order) for _ in range(2)]
    assert [row["attempts"] for row in await wired.outbox(order)] == [0, 0]
    events = await wired.receiver.wait_for(order, 2)
    assert [event["data"]["reference"] for event in events] == references[::-1]


@pytest.mark.rule("R6")
async def test_a_dropped_event_never_comes_and_asking_tells(wired: Wired) -> None:
    """What a webhook never told is found by asking; cleared faults strike nothing."""
    order = new_order()
    await wired.fault("drop")
    await wired.fault("drop", count=5)
    lost = konbini_of(order=order)
    await pay_at_shop(wired.http, (await wired.provider.authorize(lost)).number)

    async def dropped() -> bool:
        return bool((await wired.outbox(order))[0]["dropped"])

    await until(dropped, "the loss of an event")
    assert (await wired.http.get("/webhooks/faults")).json() == ["drop"] * 5
    assert (await wired.http.delete("/webhooks/faults")).json() == []
    told = await wired.pay(order)
    (event,) = await wired.receiver.wait_for(order, 1)
    assert event["data"]["reference"] == told
    assert [(row["attempts"], row["delivered"]) for row in await wired.delivered(order)] == [(0, False), (1, True)]
    assert (await wired.provider.ask(ask_of(lost))).result == "authorized"


@pytest.mark.parametrize(
    "body",
    [
        {"url": "http://127.0.0.1:9/x"},
        {"url": "ftp://127.0.0.1/x", "secret": SECRET},
        {"url": "http://127.0.0.1:9/x", "secret": "c2VjcmV0"},
        {"url": "http://127.0.0.1:9/x", "secret": "whsec_"},
        {"url": "http://127.0.0.1:9/x", "secret": "whsec_not base64"},
        {},
    ],
)
async def test_an_endpoint_must_be_whole(wired: Wired, body: dict[str, str]) -> None:
    """An endpoint without a secret, a secret of another form, or another kind of address is refused."""
    answer = await wired.http.put("/webhooks", json=body)
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid")


def test_the_retries_double_up_to_half_a_minute() -> None:
    """An endpoint is left alone for 0.2 s, then twice as long each time, and never longer than 30 s."""
    assert [retry_seconds(failures) for failures in (1, 2, 3, 8, 9, 5000)] == [0.2, 0.4, 0.8, 25.6, 30.0, 30.0]


async def test_the_outbox_and_the_endpoint_outlive_a_kill(tmp_path: Path) -> None:
    """Events that were not delivered before kill -9 are delivered by the next run, to the endpoint that was set, in order."""
    receiver, order = Receiver(), new_order()
    receiver.answers[:] = [503] * 10_000
    with run_provider(tmp_path, "--webhook-url", receiver.url, "--webhook-secret", SECRET) as process:
        wired = Wired(process.url, receiver)
        references = [await wired.pay(order) for _ in range(3)]

        async def attempted() -> bool:
            return int((await wired.outbox(order))[0]["attempts"]) >= 1

        await until(attempted, "a first attempt")
        os.kill(process.popen.pid, signal.SIGKILL)
        process.popen.wait(10)
    receiver.answers.clear()
    with run_provider(tmp_path):
        events = await receiver.wait_for(order, 3)
    assert [event["data"]["reference"] for event in events] == references
    await wired.close()


async def test_a_slow_endpoint_delays_nobody(wired: Wired) -> None:
    """While an endpoint does not answer, the provider answers its callers and goes on to end refunds."""
    release = threading.Event()
    take = wired.receiver.take

    def slow(body: bytes, headers: dict[str, str]) -> int:
        release.wait(20)
        return take(body, headers)

    wired.receiver.take = slow  # type: ignore[method-assign]
    await wired.pay(new_order())
    hold = hold_of(new_card())
    await wired.provider.authorize(hold)
    await wired.provider.capture(capture_of(hold))
    refund = refund_of(hold)
    await wired.provider.refund(refund)

    async def paid() -> bool:
        return (await wired.provider.ask(ask_of(refund))).result == "refund_paid"

    await asyncio.wait_for(until(paid, "the payment of a refund"), 8)
    release.set()
    assert [event["type"] for event in await wired.receiver.wait_for(hold.order_number, 1)] == ["refund.paid"]


def test_a_url_without_a_secret_is_refused_at_the_start(tmp_path: Path) -> None:
    """The two options belong together, and the message says so."""
    with (
        pytest.raises(AssertionError, match="ended before it listened"),
        run_provider(tmp_path, "--webhook-url", "http://127.0.0.1:9/x"),
    ):
        pass
