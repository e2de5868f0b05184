"""Whether the parts of the embedded stack are up, asked of each in its own language; none raises where nobody answers."""

import asyncio
import contextlib

import httpx
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

WITHIN = 2.0
"""Seconds that an answer is waited for."""


async def answers(url: str) -> bool:
    """Tell whether a web server answers a GET of `url` with 200."""
    try:
        async with httpx.AsyncClient(timeout=WITHIN) as client:
            return (await client.get(url)).status_code == 200
    except httpx.HTTPError:
        return False


async def speaks_smtp(host: str, port: int) -> bool:
    """Tell whether a mail server greets those who connect."""
    try:
        async with asyncio.timeout(WITHIN):
            reader, writer = await asyncio.open_connection(host, port)
            greeting = await reader.readline()
            writer.close()
            await writer.wait_closed()
    except OSError:
        return False
    return greeting.startswith(b"220 ")


async def server_answers(target: str) -> bool:
    """Tell whether the Temporal server at `target`, host and port, knows how to count orders."""
    try:
        client = await Client.connect(target)
        return bool(await client.count_workflows("WorkflowType = 'order'") is not None)
    except (RPCError, RuntimeError):
        return False


async def worker_polls(target: str, queue: str, pid: int) -> bool:
    """Tell whether the worker of process `pid` polls `queue` for workflow tasks."""
    with contextlib.suppress(RPCError, RuntimeError):
        client = await Client.connect(target)
        request = DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
        answer = await client.workflow_service.describe_task_queue(request)
        # Temporal's SDK names a worker PID@HOST.
        return any(each.identity.startswith(f"{pid}@") for each in answer.pollers)
    return False
