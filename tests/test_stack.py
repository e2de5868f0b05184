"""The embedded stack: loopback only, one to a folder, gone when it is stopped, and its data stay."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest
from cli_kit import Cli, finished
from live_kit import DAY, SECOND, Live, open_live, until
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client

from domain.order import Status
from domain.views import OrderView
from sandbox.stack import HOST, Stack, StackError, running_stack
from starter.client import UnreachableError

PARTS = ("server", "provider", "mail sink", "receiver", "inbox")


@contextlib.asynccontextmanager
async def running(stack: Stack, *, with_worker: bool = False) -> AsyncIterator[Stack]:
    """Run a stack for the length of a block."""
    await stack.start(with_worker=with_worker)
    try:
        yield stack
    finally:
        await stack.stop()


def processes(stack: Stack) -> list[psutil.Process]:
    """Return the processes of the stack's parts and what they started."""
    parts = [psutil.Process(each.pid) for each in stack._processes.values()]
    return [each for part in parts for each in (part, *part.children(recursive=True))]


def alive(found: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return those that still run."""
    return [each for each in found if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


async def test_every_part_listens_on_the_loopback_only_and_is_gone_after_the_stop(tmp_path: Path) -> None:
    """Server, UI, provider, receiver, mail sink, inbox and worker listen on 127.0.0.1 alone; a stop ends each of them.

    Once the stack is up, its worker has created the search attributes by which orders are listed.
    """
    async with running(Stack(tmp_path), with_worker=True) as stack:
        found = processes(stack)
        listening = {
            (socket.laddr.ip, socket.laddr.port)
            for process in found
            for socket in process.net_connections(kind="all")
            if socket.status == psutil.CONN_LISTEN
        }
        assert {address for address, _ in listening} == {HOST}
        told = running_stack(tmp_path)
        assert told == stack.addresses
        assert told is not None
        urls = (told.temporal, told.ui, told.provider, told.receiver, told.mail)
        ports = {told.smtp_port, told.inbox_port, *(int(str(url).rsplit(":", 1)[1]) for url in urls)}
        assert ports <= {port for _, port in listening}
        assert len(found) >= len(PARTS) + 1

        client = await Client.connect(told.temporal)
        request = ListSearchAttributesRequest(namespace="default")
        listed = await client.operator_service.list_search_attributes(request)
        assert set(listed.custom_attributes) >= {"OrderStatus", "OrderSeller", "OrderNextDeadline", "OrderFlags"}
    assert alive(found) == []
    assert running_stack(tmp_path) is None


async def test_a_second_stack_on_the_same_folder_is_refused(stack: Stack) -> None:
    """The second one says so and starts nothing, and the first one is still found and well."""
    second = Stack(stack.directory, ui_port=None)
    with pytest.raises(StackError, match=r"runs on .* already; stop it, or use it as it is"):
        await second.start()
    await second.stop()
    assert running_stack(stack.directory) == stack.addresses
    ran = await Cli(stack.directory).run("stack")
    assert (ran.code, ran.out) == (4, "")
    assert "already" in ran.err
    assert (await Cli(stack.directory).call("list", "--json")).code == 0


async def test_two_stacks_that_start_at_once_on_one_folder_are_one(tmp_path: Path) -> None:
    """Of two that start at the same moment one runs, the other is refused."""
    pair = (Stack(tmp_path, ui_port=None), Stack(tmp_path, ui_port=None))
    outcomes = await asyncio.gather(*(each.start(with_worker=False) for each in pair), return_exceptions=True)
    try:
        refused = [each for each in outcomes if isinstance(each, BaseException)]
        assert [type(each) for each in refused] == [StackError]
        assert running_stack(tmp_path) in outcomes
    finally:
        await asyncio.gather(*(each.stop() for each in pair))
    assert running_stack(tmp_path) is None


async def test_a_part_that_cannot_start_is_reported_and_the_others_are_stopped(tmp_path: Path, stack: Stack) -> None:
    """A port that is taken: the error names the part and the end of its log, and nothing is left running."""
    assert stack.addresses is not None
    taken = int(stack.addresses.provider.rsplit(":", 1)[1])
    broken = Stack(tmp_path, ui_port=None, provider_port=taken)
    with pytest.raises(StackError, match=r"provider did not start: .*provider\.log"):
        await broken.start()
    assert broken._processes == {}
    named = [line.split() for line in (tmp_path / "stack.lock").read_text().splitlines()]
    pids = [int(words[-1].rstrip(")")) for words in named]
    assert len(pids) >= len(PARTS)
    assert alive(psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)) == []


@pytest.mark.rule("A10", "C8")
async def test_orders_and_timers_survive_a_killed_server_and_a_stop(tmp_path: Path) -> None:
    """The server is killed and started again on its port, then all is stopped and started anew: no order or timer is lost."""
    async with running(Stack(tmp_path, ui_port=None)) as stack, open_live(stack) as live:
        placed, shipped = await asyncio.gather(live.place(), live.place())
        await live.ship(shipped)
        await live.travel(placed, DAY)
        before = await live.order(placed)
        await stack.stop_part("server", signal.SIGKILL)
        await stack._start_server()
        after = await until(lambda: _answer(live, placed), "an answer after the restart")
        assert after.model_dump(exclude={"clock"}) == before.model_dump(exclude={"clock"})
        assert after.clock >= before.clock
        await live.travel_to(placed, after.expected_ship_at + SECOND)
        assert "confirm_shipment" in (await live.order(placed)).flags
    async with running(Stack(tmp_path, ui_port=None)) as stack, open_live(stack) as live:
        await live.travel_to(placed, before.confirm_by + SECOND)
        cancelled = await live.reaches(placed, Status.CANCELLED)
        assert cancelled.cancellation is not None
        assert cancelled.cancellation.reason == "shipment_unconfirmed"
        parcel = (await live.order(shipped)).shipments[0]
        await live.travel_to(shipped, parcel.confirmed_at + 21 * DAY + SECOND)
        await live.reaches(shipped, Status.DELIVERED)
        assert await live.log(shipped) == ["authorize", "capture"]
        await live.mailed(shipped, "shipped", "buyer")


@pytest.mark.rule("G7")
async def test_the_provider_s_webhooks_find_the_receiver_whenever_the_stack_runs(tmp_path: Path) -> None:
    """The secret is the folder's own, for its owner's eyes; an event that nobody took is delivered by the next stack.

    A folder of a time when there was no receiver starts as any other.
    """
    gone = {"pid": os.getpid(), "temporal": "a:1", "ui": None, "provider": "b", "smtp_port": 1, "mail": "c"}
    (tmp_path / "stack.json").write_text(json.dumps({**gone, "database_url": "d"}))
    secret_file = tmp_path / "webhook.secret"
    async with running(Stack(tmp_path, ui_port=None)) as stack:
        secret, told = secret_file.read_text(), stack.addresses
        assert secret_file.stat().st_mode & 0o777 == 0o600
        assert told is not None
        async with httpx.AsyncClient() as http:
            assert (await http.post(f"{told.receiver}/webhooks/payments", content=b"{}")).status_code == 401
            await stack.stop_part("receiver")
            with pytest.raises(httpx.ConnectError):
                await http.get(f"{told.receiver}/health")
            await stack.start_receiver()
            assert (await http.get(f"{told.receiver}/health")).status_code == 200
            await stack.stop_part("receiver", signal.SIGKILL)
            await _pay_in_cash(http, told.provider)
            assert [each["delivered"] for each in (await http.get(f"{told.provider}/webhooks")).json()] == [False]
    async with running(Stack(tmp_path, ui_port=None)) as stack, httpx.AsyncClient() as http:
        assert secret_file.read_text() == secret
        assert stack.addresses is not None
        provider = stack.addresses.provider

        async def delivered() -> bool:
            return [each["delivered"] for each in (await http.get(f"{provider}/webhooks")).json()] == [True]

        await until(delivered, "the event of the stack before")
    log = (tmp_path / "logs" / "receiver.log").read_text()
    assert "payment.paid for order 503-1234567-1234567, which does not run, under r-1: ignored" in log


async def _pay_in_cash(http: httpx.AsyncClient, provider: str) -> None:
    """Issue a payment number at the provider, for an order that does not run, and pay it."""
    request = {
        **{"reference": "r-1", "order_number": "503-1234567-1234567", "amount_minor": 1000, "currency": "JPY"},
        **{"method": "konbini", "due_at": (datetime.now(UTC) + DAY).isoformat()},
    }
    issued = (await http.post(f"{provider}/authorizations", json=request)).raise_for_status().json()
    paid = await http.post(f"{provider}/konbini/payments", json={"number": issued["number"]})
    assert paid.status_code == 200, paid.text


async def _answer(live: Live, number: str) -> OrderView | None:
    try:
        return await live.order(number)
    except UnreachableError:
        return None


async def started(folder: Path, *options: str) -> tuple[asyncio.subprocess.Process, list[psutil.Process]]:
    """Start `starter stack` as a user does; return it and its parts once everything is up."""
    process = await Cli(folder).start("stack", "--directory", str(folder), *options)
    assert process.stdout is not None
    seen = ""
    async with asyncio.timeout(60):
        while "Ctrl-C stops the stack" not in seen:
            line = await process.stdout.readline()
            assert line, (await process.communicate())[1].decode()
            seen += line.decode()
    for name in (
        "Temporal Web UI   http://127.0.0.1:",
        "Temporal server   127.0.0.1:",
        "mails ",
        "payment provider ",
        "inbox ",
    ):
        assert name in seen
    return process, psutil.Process(process.pid).children(recursive=True)


def end(found: Iterable[psutil.Process]) -> None:
    """Kill what is left, each by its process id."""
    for each in alive(found):
        each.kill()


async def test_the_stack_command_ends_with_everything_it_started(tmp_path: Path) -> None:
    """SIGTERM ends the stack with 0 and leaves no process; a part that dies ends it with 4, naming the part and its log."""
    stopped, broken = await asyncio.gather(started(tmp_path / "1"), started(tmp_path / "2", "--workers", "0"))
    parts = stopped[1] + broken[1]
    try:
        stopped[0].send_signal(signal.SIGTERM)
        next(each for each in broken[1] if "sandbox.mail" in each.cmdline()).kill()
        terminated, failed = await asyncio.gather(finished(stopped[0]), finished(broken[0]))
        assert (terminated.code, terminated.err.strip()) == (0, "stopping …")
        assert failed.code == 4, failed
        assert "mail sink has ended by itself; its log is in" in failed.err
        assert alive(parts) == []
    finally:
        end(parts)


async def test_the_parts_of_a_stack_that_was_killed_are_named_before_another_one_starts(tmp_path: Path) -> None:
    """After `kill -9` of the stack two servers must never work on one database: the left-over parts are named by process."""
    process, parts = await started(tmp_path, "--workers", "0")
    try:
        process.kill()
        await process.communicate()
        assert running_stack(tmp_path) is None
        with pytest.raises(StackError, match="was killed and left parts behind; end them first: ") as caught:
            await Stack(tmp_path, ui_port=None).start()
        for each in parts:
            assert f"(process {each.pid})" in str(caught.value)
    finally:
        end(parts)
    psutil.wait_procs(parts, timeout=10)
    async with running(Stack(tmp_path, ui_port=None)):
        assert json.loads((tmp_path / "stack.json").read_text())["ui"] is None
