"""The receiver as a process: how it starts, what it cannot start without, and where the worker pays."""

import asyncio
import signal
from pathlib import Path

import httpx
import pytest
from cli_kit import finished, python
from live_kit import until
from test_receiver import SECRET, event, signed

from activities.provider import HttpPaymentProvider
from activities.settings import Settings, SettingsError
from activities.stripe_provider import StripePaymentProvider
from sandbox.stack import Stack, free_port
from worker import payment_provider


async def test_the_worker_pays_where_the_setting_says() -> None:
    """PAYMENT_PROVIDER chooses between the HTTP protocol and Stripe, which needs its key; no message tells a secret."""
    chosen = {"PAYMENT_PROVIDER": "stripe", "STRIPE_SECRET_KEY": "sk_test_1", "STRIPE_API_BASE": "http://127.0.0.1:9"}
    for settings, kind in (({}, HttpPaymentProvider), (chosen, StripePaymentProvider)):
        provider = payment_provider(Settings.from_environment(settings))
        assert isinstance(provider, kind)
        await provider.aclose()
    with pytest.raises(SettingsError, match=r"stripe_secret_key: missing; PAYMENT_PROVIDER is stripe"):
        payment_provider(Settings.from_environment({"PAYMENT_PROVIDER": "stripe"}))
    with pytest.raises(SettingsError, match=r"payment_provider: .*'cash'"):
        Settings.from_environment({"PAYMENT_PROVIDER": "cash"})
    for name in ("WEBHOOK_SECRET", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"):
        with pytest.raises(SettingsError, match=f"{name.lower()}: ") as caught:
            Settings.from_environment({name: "open-sesame"})
        assert "sesame" not in str(caught.value)
    with pytest.raises(SettingsError, match="webhook_secret: String should match pattern"):
        Settings.from_environment({"WEBHOOK_SECRET": "whsec_c2hvcnQ="})
    with pytest.raises(SettingsError, match=r"webhook_secret: .*not base64"):
        Settings.from_environment({"WEBHOOK_SECRET": "whsec_" + "A" * 25})
    assert "sk_test_1" not in repr(Settings.from_environment(chosen))


async def start(folder: Path, *options: str, **settings: str) -> asyncio.subprocess.Process:
    """Start a receiver as a process with these settings alone."""
    return await python(folder, "-m", "web.receiver", *options, **settings)


async def test_a_receiver_starts_and_stays_up_without_temporal(tmp_path: Path) -> None:
    """With nobody at TEMPORAL_ADDRESS it is healthy, answers 503, and ends with 0 on SIGTERM."""
    nobody, port_file = f"127.0.0.1:{free_port()}", tmp_path / "receiver.port"
    process = await start(
        tmp_path, "--port=0", f"--port-file={port_file}", TEMPORAL_ADDRESS=nobody, WEBHOOK_SECRET=SECRET
    )
    try:

        async def announced() -> bool:
            assert process.returncode is None, await finished(process)
            return port_file.exists()

        await until(announced, "the port")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port_file.read_text()}") as http:
            for _ in range(2):
                assert (await http.get("/health")).status_code == 200
                body = event()
                assert (await http.post("/webhooks/payments", content=body, headers=signed(body))).status_code == 503
        process.send_signal(signal.SIGTERM)
        ran = await asyncio.wait_for(finished(process), 20)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert (ran.code, ran.out) == (0, f"receiver on http://127.0.0.1:{port_file.read_text()}\n")
    assert "could not be handed on" in ran.err
    assert "Traceback" not in ran.err


async def test_a_receiver_that_cannot_run_says_why(tmp_path: Path, stack: Stack) -> None:
    """No secret or a bad one ends it with 2, a port that is taken with 4; the last line names fact and remedy."""
    assert stack.addresses is not None
    taken = stack.addresses.receiver.rpartition(":")[2]
    refused: tuple[tuple[tuple[str, ...], dict[str, str], int, str], ...] = (
        ((), {}, 2, "webhook_secret: missing; give WEBHOOK_SECRET or STRIPE_WEBHOOK_SECRET"),
        ((), {"WEBHOOK_SECRET": "sesame"}, 2, "webhook_secret: "),
        (("--port=99999",), {"WEBHOOK_SECRET": SECRET}, 2, "'99999' is no port; give 0 to 65535, 0 for a free one"),
        ((f"--port={taken}",), {"WEBHOOK_SECRET": SECRET}, 4, f"cannot listen on 127.0.0.1:{taken}"),
    )
    for options, settings, code, words in refused:
        ran = await finished(await start(tmp_path, *options, **settings))
        assert (ran.code, ran.out) == (code, "")
        assert words in ran.err.strip().splitlines()[-1]
        assert "sesame" not in ran.err
