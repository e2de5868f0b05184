"""The payment provider in trouble: time-outs, faults, answers that say nothing, bad requests, a killed or stopped process."""

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from provider_kit import capture_of, folded, hold_of, new_card, run_provider, used, void_of

from activities.provider import HttpPaymentProvider, ProviderUnavailable
from domain.effects import Result

pytest_plugins = ["provider_kit"]


async def test_a_time_out_after_success_is_unknown_and_then_known(
    impatient: HttpPaymentProvider, http: httpx.AsyncClient
) -> None:
    """A card whose authorisation times out is held once; asking again tells so at once."""
    hold = hold_of(new_card("card-timeout"))
    with pytest.raises(ProviderUnavailable, match=rf"/authorizations.*{hold.reference} is unknown, repeat"):
        await impatient.authorize(hold)
    assert (await impatient.authorize(hold)).result == Result.AUTHORIZED
    assert await used(http, hold.card) == (1000, 0)


async def test_a_charge_that_times_out_is_made_once(impatient: HttpPaymentProvider, http: httpx.AsyncClient) -> None:
    """A capture that is not answered the first time is answered from memory the second time."""
    hold = hold_of(new_card("card-capture-timeout"))
    await impatient.authorize(hold)
    with pytest.raises(ProviderUnavailable, match="/captures"):
        await impatient.capture(capture_of(hold))
    assert (await impatient.capture(capture_of(hold))).result == Result.CAPTURED
    assert await used(http, hold.card) == (0, 1000)


async def test_a_slow_card_is_slower_than_an_impatient_client(
    impatient: HttpPaymentProvider, sandbox: HttpPaymentProvider
) -> None:
    """A slow card answers, to those who wait for it."""
    hold = hold_of(new_card("card-slow"))
    with pytest.raises(ProviderUnavailable):
        await impatient.authorize(hold)
    assert (await sandbox.authorize(hold)).result == Result.AUTHORIZED


@pytest.mark.parametrize(("kind", "status", "held"), [("down", 503, 0), ("error", 500, 0), ("lose_answer", 500, 1000)])
async def test_a_failing_provider_leaves_the_outcome_unknown(
    sandbox: HttpPaymentProvider, faults: httpx.AsyncClient, kind: str, status: int, held: int
) -> None:
    """Each fault is an unknown outcome to the client, and repeating the request resolves it without a second hold."""
    hold = hold_of(new_card())
    await faults.post("/faults", json={"kind": kind, "count": 1})
    with pytest.raises(ProviderUnavailable, match=f"/authorizations: status {status}"):
        await sandbox.authorize(hold)
    assert await used(faults, hold.card) == (held, 0)
    assert (await faults.get("/faults")).json() == []
    assert (await sandbox.authorize(hold)).result == Result.AUTHORIZED
    assert await used(faults, hold.card) == (1000, 0)


async def test_a_fault_strikes_its_path_until_it_is_cleared(
    impatient: HttpPaymentProvider, faults: httpx.AsyncClient
) -> None:
    """A fault without a count stays, and leaves other paths alone."""
    hold = hold_of(new_card())
    await faults.post("/faults", json={"kind": "slow", "path": "/captures", "seconds": 5})
    await impatient.authorize(hold)
    for _ in range(2):
        with pytest.raises(ProviderUnavailable, match="/captures"):
            await impatient.capture(capture_of(hold))
    assert len((await faults.get("/faults")).json()) == 1
    await faults.delete("/faults")
    assert (await impatient.capture(capture_of(hold))).result == Result.CAPTURED


async def test_a_lost_void_answer_is_resolved_by_asking_again(
    sandbox: HttpPaymentProvider, faults: httpx.AsyncClient
) -> None:
    """A void whose answer was lost has happened, and its repetition says so."""
    hold = hold_of(new_card())
    await sandbox.authorize(hold)
    await faults.post("/faults", json={"kind": "lose_answer", "count": 1, "path": "/voids"})
    with pytest.raises(ProviderUnavailable):
        await sandbox.void(void_of(hold))
    assert await used(faults, hold.card) == (0, 0)
    assert (await sandbox.void(void_of(hold))).result == Result.VOIDED


async def test_nobody_there_is_unavailable() -> None:
    """A provider that does not run is an unknown outcome, with the cause named."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    provider = HttpPaymentProvider(f"http://127.0.0.1:{port}", timeout=1)
    with pytest.raises(ProviderUnavailable, match="ConnectError"):
        await provider.void(void_of(hold_of(new_card())))
    await provider.aclose()


@pytest.mark.parametrize(
    "answer",
    [
        "<html>",
        "[]",
        '{"reference": "another/reference", "status": "voided"}',
        '{"reference": "REF", "status": "fine"}',
        '{"reference": "REF", "status": "authorized"}',
    ],
)
async def test_an_unreadable_answer_is_unavailable(answer: str) -> None:
    """An answer that says nothing certain about the reference leaves its outcome unknown, whatever the status."""
    hold = hold_of(new_card())
    provider = HttpPaymentProvider("http://provider.invalid")
    body = answer.replace("REF", hold.reference)
    provider._http = httpx.AsyncClient(
        base_url="http://provider.invalid", transport=httpx.MockTransport(lambda _: httpx.Response(200, text=body))
    )
    with pytest.raises(ProviderUnavailable, match="/authorizations"):
        await provider.authorize(hold)
    with pytest.raises(ProviderUnavailable, match="/captures"):
        await provider.capture(capture_of(hold))
    await provider.aclose()


GOOD = {"reference": "r", "amount_minor": 1, "currency": "EUR", "card": "card-x", "order_number": "1"}
INVALID: list[tuple[Any, int]] = [
    ({**GOOD, "amount_minor": 0, "currency": "eur", "card": ""}, 3),
    ({**GOOD, "amount_minor": 1.5, "tip_minor": 1}, 2),
    ({**GOOD, "amount_minor": 2**70}, 1),
    ({**GOOD, "reference": "\ud800"}, 1),
    ({**GOOD, "\ud800": 1}, 1),
    ({}, 5),
    ([], 1),
]


@pytest.mark.parametrize(("body", "errors"), INVALID)
async def test_invalid_requests_are_refused_with_all_errors(http: httpx.AsyncClient, body: Any, errors: int) -> None:
    """The edge refuses what it cannot read, and names every error at once."""
    answer = await http.post("/authorizations", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["error"] == "invalid"
    assert len(answer.json()["details"]) == errors


async def test_a_huge_body_and_a_wrong_clock_are_refused(http: httpx.AsyncClient) -> None:
    """A body over 64 KiB is 413, an unreadable clock or a missing key 422, a deeply nested body 4xx."""
    headers = {"Content-Type": "application/json"}
    assert (await http.post("/voids", content=b" " * 65537, headers=headers)).status_code == 413
    assert (await http.post("/voids", content=b"[" * 60000, headers=headers)).status_code in (400, 422)
    for clock in ("yesterday", "2026-01-01T00:00:00", "9999-12-31T23:59:59-05:00"):
        answer = await http.post("/voids", json={"reference": "r"}, headers={"Sandbox-Clock": clock})
        assert answer.status_code == 422, clock
    assert (await http.post("/captures", json={"reference": "r", "amount_minor": 1})).status_code == 422
    assert (await http.get("/nowhere")).json()["error"] == "http_error"


async def test_a_kill_loses_nothing(tmp_path: Path) -> None:
    """Holds, charges, tombstones and the log outlive kill -9, also for a request that was never answered."""
    held, charged, hung, buried = (
        hold_of(new_card(kind)) for kind in ["card-approve"] * 2 + ["card-timeout", "card-x"]
    )
    with run_provider(tmp_path) as process:
        provider = HttpPaymentProvider(process.url, timeout=0.3)
        before = await provider.authorize(held)
        await provider.authorize(charged)
        await provider.capture(capture_of(charged))
        await provider.void(void_of(buried))
        with pytest.raises(ProviderUnavailable):
            await provider.authorize(hung)
        os.kill(process.popen.pid, signal.SIGKILL)
        process.popen.wait(10)
        await provider.aclose()
    with run_provider(tmp_path) as process:
        provider = HttpPaymentProvider(process.url, timeout=5)
        assert await provider.authorize(held) == before
        assert (await provider.authorize(hung)).result == Result.AUTHORIZED
        assert (await provider.authorize(buried)).result == Result.VOIDED
        assert (await provider.capture(capture_of(charged))).result == Result.CAPTURED
        async with httpx.AsyncClient(base_url=process.url) as http:
            cards = [await used(http, hold.card) for hold in (held, charged, hung, buried)]
            assert cards == [(1000, 0), (0, 1000), (1000, 0), (0, 0)]
            assert folded((await http.get("/log")).json()) == (2000, 1000)
        await provider.aclose()


def test_sigterm_stops_cleanly_even_with_a_hung_request(tmp_path: Path) -> None:
    """The provider announces itself on one line, and ends with status 0 while a client still waits."""
    with run_provider(tmp_path) as process, httpx.Client(base_url=process.url) as client:
        assert client.get("/health").status_code == 200
        body = hold_of(new_card("card-timeout")).model_dump(include=set(GOOD))
        with pytest.raises(httpx.ReadTimeout):
            client.post("/authorizations", json=body, timeout=0.2)
        process.popen.terminate()
        assert process.popen.wait(10) == 0
        assert process.popen.stdout is not None
        assert process.popen.stdout.read() == f"payment provider on {process.url}\n"
