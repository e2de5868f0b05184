"""Commands as they come off the wire, and refusals as they go back."""

import json
from collections.abc import Sequence

from pydantic import ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from domain.base import describe_errors
from domain.commands import MAX_COMMAND_BYTES, Command, digest
from domain.journal import Message
from domain.order import Actor
from domain.placement import PlacementError
from domain.refusals import Refusal
from workflows.inputs import OrderInput

# The input is taken in raw: one that cannot be read is refused by name instead of blocking the workflow task for ever.
NOTHING = RawValue(Payload())


def read_start(start: RawValue) -> OrderInput:
    """Read the workflow's input; raises PlacementError for a placement that cannot be read.

    A state carried over from an earlier run is another matter: one that this code cannot read belongs to a running
    order, so the error is let out, and the workflow task is tried again until a worker can read it.
    """
    if start is NOTHING:
        raise PlacementError("input: missing; give one OrderInput")
    try:
        given = json.loads(start.payload.data)
    except ValueError:
        raise PlacementError("input: not JSON; give one OrderInput") from None
    if isinstance(given, dict) and given.get("carried") is not None:
        return OrderInput.model_validate_json(start.payload.data)
    try:
        return OrderInput.model_validate_json(start.payload.data)
    except ValidationError as error:
        raise PlacementError(describe_errors(error)) from None


def read_message(name: str, args: Sequence[RawValue], message_id: str) -> Message:
    """Take a command off the wire; what cannot be decoded or kept is marked unreadable, so that it is refused by name."""
    size = sum(len(each.payload.data) for each in args)
    unreadable = None
    if len(args) != 1:
        unreadable = f"input: {len(args)} arguments; give one"
    elif size > MAX_COMMAND_BYTES:
        unreadable = f"input: {size} bytes; at most {MAX_COMMAND_BYTES}"
    else:
        try:
            message = Message(name=name, payload=json.loads(args[0].payload.data), message_id=message_id, size=size)
            # A message must survive being carried over to the next run of the order.
            message.model_dump_json()
        except Exception:  # noqa: BLE001 - what cannot be decoded is refused, never dropped
            unreadable = "input: not JSON; give one object"
        else:
            return message
    # Nothing is kept of what will be refused anyway: a backlog of it would weigh on every run.
    return Message(name=name[:200], message_id=message_id, unreadable=unreadable)


def update_id(name: str, command: Command, command_id: str) -> str:
    """Return the id of the Update that carries a command.

    The server answers an Update id that it knows by itself; the order must see a command id that is used again for
    another command, to refuse it, so the Update's id ends in the command's digest.
    """
    return f"{command_id}-{digest(name, command)[:12]}"


def viewer_of(message: Message) -> Actor:
    """Return whose view of the order answers a command."""
    actor = message.payload.get("actor") if isinstance(message.payload, dict) else None
    return Actor(actor) if actor in (Actor.SELLER, Actor.BUYER) else Actor.OPERATOR


def as_error(refusal: Refusal) -> ApplicationError:
    """Return the error by which an Update answers with a refusal: its type is the code, its details the refusal."""
    return ApplicationError(str(refusal), refusal.model_dump(), type=refusal.code, non_retryable=True)
