"""Commands as they come off the wire, and refusals as they go back."""

from collections.abc import Sequence

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from domain.journal import Message
from domain.order import Actor
from domain.refusals import Refusal


def read_message(name: str, args: Sequence[RawValue], message_id: str) -> Message:
    """Take a command off the wire; what cannot be decoded is kept as unreadable, so that it is refused and never dropped."""
    size = sum(len(each.payload.data) for each in args)
    if len(args) != 1:
        return Message(
            name=name, message_id=message_id, size=size, unreadable=f"input: {len(args)} arguments; give one"
        )
    try:
        payload = workflow.payload_converter().from_payload(args[0].payload)
    except Exception as error:  # noqa: BLE001 - what cannot be decoded is refused, never dropped
        return Message(name=name, message_id=message_id, size=size, unreadable=f"input: not JSON ({error})"[:300])
    return Message(name=name, payload=payload, message_id=message_id, size=size)


def viewer_of(message: Message) -> Actor:
    """Return whose view of the order answers a command."""
    actor = message.payload.get("actor") if isinstance(message.payload, dict) else None
    return Actor.SELLER if actor == Actor.SELLER else Actor.OPERATOR


def as_error(refusal: Refusal) -> ApplicationError:
    """Return the error by which an Update answers with a refusal: its type is the code, its details the refusal."""
    return ApplicationError(str(refusal), refusal.model_dump(), type=refusal.code, non_retryable=True)
