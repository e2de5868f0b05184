"""What earlier releases of the engine answered, for orders that were placed on them.

Such an order may have refused a command that is taken today; when its history is replayed, it must refuse it again. An
order of the first release is known by its policy snapshot, which has no retention period, one of the second by its revision.
"""

from datetime import datetime

from domain.commands import Command, UnreadableCommandError, parse_command
from domain.decide import CommandEvent, Refused
from domain.guards import no_row_refusal
from domain.journal import Message, Verdict, count, record, refuse_unread
from domain.order import Actor, Order, Status
from domain.refusal_codes import RefusalCode
from domain.refusals import refuse

FIRST_COMMANDS = (
    "edit",
    "cancel",
    "request_cancellation",
    "accept_cancellation",
    "decline_cancellation",
    "ship",
    "deliver",
    "extend_edit",
    "pay_again",
    "flag_oversold",
)
"""The commands of the first release."""
_CHARGED = (Status.PARTIALLY_SHIPPED, Status.SHIPPED, Status.DELIVERED)


_LATER_FIELDS = {"refund": ("consent",), "ship": ("expected_address",), "payment_event": ("fault",)}
"""Fields that the commands got with the second revision of the rules; before, a command with one of them was unreadable."""


def _has_later_field(order: Order, message: Message) -> bool:
    payload = message.payload if isinstance(message.payload, dict) else {}
    return not order.item_by_item and any(field in payload for field in _LATER_FIELDS.get(message.name, ()))


def is_later_command(order: Order, message: Message) -> bool:
    """Return whether an order of an earlier release would have refused the message: unreadable, or for want of a row."""
    if _has_later_field(order, message):
        return True
    if order.policy.retention_window is not None:
        return False
    if message.name not in FIRST_COMMANDS:
        return True
    actor = message.payload.get("actor") if isinstance(message.payload, dict) else None
    wish = message.name == "request_cancellation" and actor == Actor.BUYER and order.status in _CHARGED
    return wish or (message.name == "cancel" and actor == Actor.SYSTEM)


def receive_as_before(order: Order, message: Message, now: datetime) -> Verdict:
    """Refuse a later command as the release did that the order was placed on: unreadable, unknown, or not open to it."""
    if _has_later_field(order, message):
        return refuse_unread(order, message, refuse(RefusalCode.INVALID_COMMAND, errors="a field is unknown"), now)
    if message.name not in FIRST_COMMANDS:
        known = ", ".join(FIRST_COMMANDS)
        unknown = refuse(RefusalCode.UNKNOWN_COMMAND, number=order.number, name=message.name[:60], commands=known)
        return refuse_unread(order, message, unknown, now)
    try:
        command: Command = parse_command(message.name, message.payload)
    except UnreadableCommandError as error:
        return refuse_unread(order, message, refuse(RefusalCode.INVALID_COMMAND, errors=str(error)[:400]), now)
    counted = count(order, command.actor)
    refused = no_row_refusal(counted, message.name, command.actor)
    event = CommandEvent(message.name, command, command.id or message.message_id)
    return record(counted, event, Refused(refused, counted), now)
