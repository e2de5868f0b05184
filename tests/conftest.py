"""A real stack for the tests of the running thing: server, payment provider, mail sink, store, and a worker in process."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cli_kit import Cli
from hypothesis import settings
from live_kit import Live, open_live
from worker_kit import Workers

from sandbox.stack import Stack

pytest_plugins: list[str] = []
# How long an example takes depends on what else the machine does: no test is timed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the size of the long races."""
    parser.addoption(
        "--soak", type=int, default=0, help="orders in the long version of the races; 0 runs the short one"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that uses the live stack, and have the orders of each replayed at its end."""
    for item in items:
        names = getattr(item, "fixturenames", [])
        if "live" in names:
            item.add_marker(pytest.mark.live)
            names.append("replayed")


@pytest.fixture(scope="session")
def stack_folder() -> Iterator[Path]:
    """A folder for the stack's data."""
    with tempfile.TemporaryDirectory(prefix="orders-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
async def stack(stack_folder: Path) -> AsyncIterator[Stack]:
    """The embedded stack without a worker."""
    clean = {name: "" for name in os.environ if name.startswith("TEMPORAL_")}
    running = Stack(stack_folder, ui_port=None, environment=clean)
    await running.start(with_worker=False)
    yield running
    await running.stop()


@pytest.fixture(scope="session")
async def live(stack: Stack) -> AsyncIterator[Live]:
    """Orders on the stack, with a worker in this process."""
    async with open_live(stack, max_cached_workflows=int(os.environ.get("MAX_CACHED_WORKFLOWS", "1000"))) as orders:
        yield orders


@pytest.fixture
def cli(live: Live, stack: Stack) -> Cli:
    """The command line on the running stack, with a worker."""
    return Cli(stack.directory)


@pytest.fixture
async def workers(live: Live, tmp_path: Path) -> AsyncIterator[Workers]:
    """Worker processes that are gone when the test is over."""
    processes = Workers(live, tmp_path)
    yield processes
    await processes.close()


@pytest.fixture
async def replayed(live: Live) -> AsyncIterator[None]:
    """Replay every order of a live test at its end: a worker that takes it over decides as the first one did."""
    live.placed.clear()
    yield
    await live.replay()


@pytest.fixture
async def no_faults(live: Live) -> AsyncIterator[None]:
    """Leave provider and mail sink without faults, whatever the test did."""
    yield
    await asyncio.gather(live.clear_faults())
