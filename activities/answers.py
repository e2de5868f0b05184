"""What an order's workflow answers, as it is read from outside: the refusal in an error, and that of an order that is closed."""

from datetime import UTC, datetime
from typing import Any

from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus, WorkflowHandle
from temporalio.exceptions import ApplicationError

from domain.base import Instant, Value, format_instant
from domain.order import Status
from domain.refusal_codes import RefusalCode
from domain.refusals import Refusal, refuse


class _Ending(Value):
    """What the result of an order's workflow says of its end; one without `closed_at` was written before there was one."""

    status: Status
    closed_at: Instant | None = None


def refusal_of(error: BaseException) -> Refusal | None:
    """Return the refusal that an error of Temporal carries, None where it carries none."""
    cause = error.__cause__
    if isinstance(cause, ApplicationError) and cause.details:
        return Refusal.model_validate(cause.details[0])
    return None


async def closed_refusal(number: str, handle: WorkflowHandle[Any, Any], found: WorkflowExecutionDescription) -> Refusal:
    """Say why an order whose workflow has ended takes no command, as the order itself had said it (C13).

    The workflow ends after the retention period; the order was closed when it was cancelled or completed. Raises RPCError.
    """
    if found.status is WorkflowExecutionStatus.FAILED:
        return refuse(RefusalCode.ORDER_REFUSED, number=number)
    ended_at = found.close_time or datetime.now(UTC)
    if found.status is not WorkflowExecutionStatus.COMPLETED:
        return refuse(RefusalCode.ORDER_ENDED, number=number, closed_at=format_instant(ended_at))
    ending = _Ending.model_validate(await handle.result())
    code = RefusalCode.ORDER_COMPLETED if ending.status is Status.COMPLETED else RefusalCode.ORDER_CANCELLED
    return refuse(code, number=number, closed_at=format_instant(ending.closed_at or ended_at))
