"""Real worker processes: start, serve side by side, die, drain, and say clearly why they cannot start."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from cli_kit import Ran, environment, finished
from live_kit import Live, until
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest

from domain.order import Status
from sandbox.stack import ROOT, Stack, free_port

GRACE = 20.0


async def start(folder: Path, **settings: str) -> asyncio.subprocess.Process:
    """Start a worker with these settings alone."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "worker.py"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=environment(folder, **settings),
    )


async def refused(folder: Path, code: int, *words: str, **settings: str) -> None:
    """A worker with these settings ends at once with `code` and one line that says `words`."""
    ran = await finished(await start(folder, **settings))
    assert ran.code == code, ran
    assert "Traceback" not in ran.err, ran.err
    last = ran.err.strip().splitlines()[-1]
    for word in words:
        assert word in last, (word, ran.err)


class Workers:
    """Worker processes on a task queue of their own, and the orders that they serve."""

    def __init__(self, live: Live, folder: Path) -> None:
        self.queue = f"processes-{uuid4().hex}"
        self.live = live.on_queue(self.queue)
        self._folder = folder
        self._started: list[asyncio.subprocess.Process] = []

    async def start(self, *, polls: bool = True) -> asyncio.subprocess.Process:
        """Start one more worker and wait until it polls."""
        settings = self.live.addresses.environment() | {"TASK_QUEUE": self.queue}
        worker = await start(self._folder, **settings)
        self._started.append(worker)
        if polls:
            await until(lambda: self._polls(worker), "the worker's poll")
        return worker

    async def _polls(self, worker: asyncio.subprocess.Process) -> bool:
        assert worker.returncode is None, await finished(worker)
        request = DescribeTaskQueueRequest(
            namespace="default",
            task_queue=TaskQueue(name=self.queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
        answer = await self.live.orders.temporal.workflow_service.describe_task_queue(request)
        return any(each.identity.startswith(f"{worker.pid}@") for each in answer.pollers)

    async def drain(self, worker: asyncio.subprocess.Process) -> Ran:
        """End a worker with SIGTERM and return what it left."""
        worker.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(finished(worker), GRACE)

    async def close(self) -> None:
        """Kill what is left."""
        for worker in self._started:
            if worker.returncode is None:
                worker.kill()
                await worker.communicate()
        await self.live.provider.aclose()
        await self.live.mail.aclose()


@pytest.fixture
async def workers(live: Live, tmp_path: Path) -> AsyncIterator[Workers]:
    """Worker processes that are gone when the test is over."""
    processes = Workers(live, tmp_path)
    yield processes
    await processes.close()


async def once_each(live: Live, number: str) -> None:
    """The order was authorised once, charged once and told of once, and its stock is held once."""
    assert await live.log(number) == ["authorize", "capture"], number
    assert await live.charged(number) == 1700, number
    await live.mailed(number, "shipped", "buyer")
    keys = [each["message_id"] for each in await live.mails(number)]
    assert len(keys) == len(set(keys)), keys


@pytest.mark.rule("S2")
async def test_two_workers_serve_orders_side_by_side_and_drain(workers: Workers) -> None:
    """Two workers on one queue serve 20 orders, each effect once; both end with 0 on SIGTERM, within the grace time."""
    live, sku = workers.live, workers.live.sku()
    two = await asyncio.gather(workers.start(), workers.start())
    numbers = await asyncio.gather(*(live.place(items=(f"{sku}:1:1200:Cup",)) for _ in range(20)))
    await asyncio.gather(*(live.ship(number) for number in numbers))
    await asyncio.gather(*(once_each(live, number) for number in numbers))

    async def all_recorded() -> bool:
        return live.units(sku) == (80, 0)

    await until(all_recorded, "stock that follows the shipments")
    for ran in await asyncio.gather(*(workers.drain(each) for each in two)):
        assert ran.code == 0, ran
        assert f"worker takes orders from task queue {workers.queue} in namespace default" in ran.err
        assert "worker is draining" in ran.err
        assert "Traceback" not in ran.err


@pytest.mark.rule("S2", "C9")
async def test_a_worker_that_is_killed_leaves_no_order_behind_and_nothing_twice(workers: Workers) -> None:
    """`kill -9` of one of two workers in the middle of 20 orders: all end as they must, and nobody is charged twice."""
    live, sku = workers.live, workers.live.sku()
    victim, _ = await asyncio.gather(workers.start(), workers.start())
    placing = [
        asyncio.create_task(live.place(items=(f"{sku}:1:1200:Cup",), card="card-slow" if index % 4 == 0 else "card-ok"))
        for index in range(20)
    ]
    await asyncio.wait(placing, return_when=asyncio.FIRST_COMPLETED)
    victim.kill()
    numbers = await asyncio.gather(*placing)

    async def verified(number: str) -> bool:
        return (await live.order(number)).status is Status.UNSHIPPED

    for number in numbers:
        await until(lambda number=number: verified(number), f"the verification of {number}")  # type: ignore[misc]
    kept, dropped = numbers[:15], numbers[15:]
    await asyncio.gather(
        *(live.ship(number) for number in kept), *(live.do(number, "cancel", "buyer") for number in dropped)
    )
    await asyncio.gather(*(once_each(live, number) for number in kept))
    for number in dropped:
        await live.ended(number)
        assert await live.log(number) == ["authorize", "void"], number
        assert (await live.held(number), await live.charged(number)) == (0, 0)


async def test_a_worker_that_drains_finishes_what_is_under_way(workers: Workers) -> None:
    """SIGTERM while a card is being authorised: the answer is waited for and kept, and the worker ends with 0."""
    live = workers.live
    worker = await workers.start()
    number = await live.place(card="card-slow", wait=False)

    async def asked() -> bool:
        found = await live.orders.handle(number).describe()
        return any(each.activity_type.name == "authorize" for each in found.raw_description.pending_activities)

    await until(asked, "the authorisation")
    ran = await workers.drain(worker)
    assert ran.code == 0, ran
    async with live.worker(workers.queue):
        await live.reaches(number, Status.UNSHIPPED)
        assert await live.log(number) == ["authorize"]


async def test_settings_that_cannot_be_used_end_a_worker_with_2(stack: Stack, tmp_path: Path) -> None:
    """A bad setting is named with its value and bound before anything starts."""
    assert stack.addresses is not None
    good = stack.addresses.environment()
    await asyncio.gather(
        refused(tmp_path, 2, "smtp_port: ", "valid integer", "'abc'", **good | {"SMTP_PORT": "abc"}),
        refused(tmp_path, 2, "database_url: ", "sqlite|postgresql", **good | {"DATABASE_URL": "mysql://db/orders"}),
        refused(tmp_path, 2, "TEMPORAL_ADDRESS", "invalid", **good | {"TEMPORAL_ADDRESS": "a:b:c"}),
    )


async def test_partners_that_are_not_there_end_a_worker_with_4(stack: Stack, tmp_path: Path) -> None:
    """Without a server, a namespace or a database the worker says which, ends with 4, and can be started again later."""
    assert stack.addresses is not None
    good, nobody = stack.addresses.environment(), f"127.0.0.1:{free_port()}"
    postgres = f"postgresql://{nobody}/orders"
    await asyncio.gather(
        refused(tmp_path, 4, "no Temporal server answers", nobody, **good | {"TEMPORAL_ADDRESS": nobody}),
        refused(tmp_path, 4, "Namespace nope is not found", **good | {"TEMPORAL_NAMESPACE": "nope"}),
        refused(tmp_path, 4, "the store does not answer", "DATABASE_URL", **good | {"DATABASE_URL": postgres}),
    )
