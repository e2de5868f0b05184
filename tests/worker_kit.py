"""Real worker processes for tests, on a task queue of their own."""

import asyncio
import signal
from pathlib import Path
from uuid import uuid4

from cli_kit import Ran, finished, python
from live_kit import Live, until
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest

from sandbox.stack import ROOT

WORKER = str(ROOT / "worker.py")
GRACE = 20.0


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
        worker = await python(self._folder, WORKER, **settings)
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
        answer = await self.live.orders.temporal.workflow_service.describe_task_queue(request, retry=True)
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
        await self.live.close()
