"""What the workflows that span several orders share: reading their input, commanding orders, seeing it through."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy

with workflow.unsafe.imports_passed_through():
    from pydantic import BaseModel, ValidationError

    from domain.base import describe_errors
    from domain.commands import Command
    from domain.joint import CommandAnswer, OrderCommand, wire_form
    from domain.refusals import Refusal
    from workflows.wire import NOTHING, as_error, update_id

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


def read_input(
    model: type[Model], start: RawValue, field: str, named: Callable[[Model], str], refused: Callable[[str], Refusal]
) -> Model:
    """Read the input of a workflow whose id is its type and the name that `named` finds in `field`.

    Raises the error of the refusal that `refused` makes of what is wrong with it.
    """
    info = workflow.info()
    try:
        if start is NOTHING:
            raise ValueError(f"input: missing; give one {model.__name__}")
        given = model.model_validate_json(start.payload.data)
        if info.workflow_id != f"{info.workflow_type}-{named(given)}":
            raise ValueError(f"{field}: {named(given)} does not fit the workflow id")
    except ValueError as error:
        raise as_error(refused(wrong(error))) from None
    return given


def wrong(error: ValueError) -> str:
    """Say what is wrong with an input, in 2,000 characters at most; of private fields no value."""
    return (describe_errors(error) if isinstance(error, ValidationError) else str(error))[:2000]


async def command_order(number: str, name: str, command: Command, told: str) -> Refusal | None:
    """Have an order carry out a command once, whatever is down meanwhile; return why it was refused, None where it was not.

    `told` is what the Temporal UI says of it.
    """
    known_as = update_id(name, command, command.id or "")
    answer: CommandAnswer = await workflow.execute_activity(
        "command_order",
        OrderCommand(order_number=number, name=name, payload=wire_form(command), update_id=known_as),
        result_type=CommandAnswer,
        summary=told,
        **PATIENT,
    )
    return answer.refusal


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """See `work` through, whoever presses "cancel" on the workflow: half of it would leave money or stock behind."""
    life = asyncio.create_task(work)
    while not life.done():
        with contextlib.suppress(asyncio.CancelledError):
            await workflow.wait_condition(life.done)
    return life.result()
