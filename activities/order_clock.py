"""The clock of an order, which is ahead of ours where the order has travelled."""

from datetime import UTC, datetime

from temporalio.client import WorkflowExecutionDescription


def clock_of(found: WorkflowExecutionDescription) -> datetime:
    """Return the order's own clock, UTC, from Temporal's description of it."""
    extended = found.raw_description.workflow_extended_info
    if extended.HasField("time_skipping_info"):
        return extended.time_skipping_info.current_time.ToDatetime(tzinfo=UTC)
    return datetime.now(UTC)
