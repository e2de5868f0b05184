"""The inbox as a process: its settings, how it starts and how it ends."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from cli_kit import environment, finished
from live_kit import until
from store_kit import number
from test_inbox import Desk, FakeOrders, recorded

from activities.settings import Settings, SettingsError
from sandbox.stack import ROOT, Stack, free_port


def test_the_check_of_senders_is_a_setting() -> None:
    """Envelope and From unless told otherwise; another word is refused."""
    assert Settings.from_environment({}).inbox_sender == "both"
    assert Settings.from_environment({"INBOX_SENDER": "from"}).inbox_sender == "from"
    with pytest.raises(SettingsError, match=r"inbox_sender: .*'none'"):
        Settings.from_environment({"INBOX_SENDER": "none"})


async def start(folder: Path, *options: str, **settings: str) -> asyncio.subprocess.Process:
    """Start an inbox as a process with these settings alone."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "web.inbox", *options),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=environment(folder, **settings),
    )


async def test_an_inbox_starts_and_stays_up_without_temporal(tmp_path: Path) -> None:
    """With nobody at TEMPORAL_ADDRESS it answers 451 for an order that it knows, and ends with 0 on SIGTERM.

    Its log names the order and no address.
    """
    records = recorded(tmp_path)
    nobody, port_file = f"127.0.0.1:{free_port()}", tmp_path / "inbox.port"
    database = f"sqlite:///{tmp_path}/orders.db"
    process = await start(tmp_path, f"--port-file={port_file}", TEMPORAL_ADDRESS=nobody, DATABASE_URL=database)
    try:

        async def announced() -> bool:
            assert process.returncode is None, await finished(process)
            return port_file.exists()

        await until(announced, "the port")
        desk = Desk(FakeOrders(), records, int(port_file.read_text()))
        for _ in range(2):
            assert (await desk.send())[0] == 451
        process.send_signal(signal.SIGTERM)
        ran = await asyncio.wait_for(finished(process), 20)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
        records.close()
    assert (ran.code, ran.out) == (0, f"inbox on smtp://127.0.0.1:{port_file.read_text()}\n")
    assert f"order {number(1)}: the buyer's mail is put off" in ran.err
    assert "example.com" not in ran.err
    assert "Traceback" not in ran.err


async def test_an_inbox_that_cannot_run_says_why(tmp_path: Path, stack: Stack) -> None:
    """A setting that cannot be used ends it with 2, a port that is taken with 4; the last line names fact and remedy."""
    assert stack.addresses is not None
    taken = stack.addresses.inbox_port
    refused: tuple[tuple[tuple[str, ...], dict[str, str], int, str], ...] = (
        ((), {"INBOX_SENDER": "nobody"}, 2, "inbox_sender: "),
        ((), {"DATABASE_URL": "sqlite://"}, 2, "DATABASE_URL: an SQLite database in memory"),
        (("--port=99999",), {}, 2, "'99999' is no port; give 0 to 65535, 0 for a free one"),
        ((f"--port={taken}",), {}, 4, f"cannot listen on 127.0.0.1:{taken}"),
    )
    for options, settings, code, words in refused:
        ran = await finished(await start(tmp_path, *options, **settings))
        assert (ran.code, ran.out) == (code, "")
        assert words in ran.err.strip().splitlines()[-1]
