"""What the workflows that span several orders share: reading their input, how their activities are tried, seeing it through."""

import asyncio
import contextlib
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy

with workflow.unsafe.imports_passed_through():
    from pydantic import BaseModel

    from workflows.wire import NOTHING

T = TypeVar("T")
Model = TypeVar("Model", bound=BaseModel)

PATIENT: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=10),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(milliseconds=500), backoff_coefficient=2.0, maximum_interval=timedelta(minutes=1)
    ),
}
"""Options of activities that are tried until they succeed; a refusal is a result and never tried again.

One attempt is short: a worker that is killed holds up what it was doing for as long.
"""


def read_input(model: type[Model], start: RawValue) -> Model:
    """Read a workflow's input; raises ValueError, of which pydantic's ValidationError is one, where it cannot be read."""
    if start is NOTHING:
        raise ValueError(f"input: missing; give one {model.__name__}")
    return model.model_validate_json(start.payload.data)


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """See `work` through, whoever presses "cancel" on the workflow: half of it would leave money or stock behind."""
    life = asyncio.create_task(work)
    while not life.done():
        with contextlib.suppress(asyncio.CancelledError):
            await workflow.wait_condition(life.done)
    return life.result()
