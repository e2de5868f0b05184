"""The book of an order: every event is decided once, answered once and written down.

Policy: D3; idempotency ids, unreadable commands and floods are dealt with here, before anything is decided.
"""

import re
from datetime import datetime
from typing import NamedTuple

from domain.base import Value
from domain.commands import (
    COMMANDS,
    MAX_COMMAND_BYTES,
    Command,
    HoldForReview,
    PaymentEvent,
    UnreadableCommandError,
    digest,
    parse_command,
)
from domain.deadlines import Deadline
from domain.decide import Accepted, CommandEvent, Decision, Event, Refused, decide, judged_at
from domain.effects import Outcome, Result
from domain.order import Actor, Answer, EntryKind, HistoryEntry, Order
from domain.refusal_codes import RefusalCode
from domain.refusals import Refusal, refuse

MAX_COMMANDS = 200
"""Commands of one actor that one order takes; each actor has its own count, so that no flood locks another out."""
MAX_NOTED = 20
"""Refused or repeated webhooks that one order's history notes, of each kind."""
_UNSAFE = re.compile(r"[^A-Za-z0-9_ .-]")
_FAILURES = frozenset(
    {
        Result.DECLINED,
        Result.OUT_OF_STOCK,
        Result.UNANSWERED,
        Result.VOID_FAILED,
        Result.LAPSED,
        Result.REFUND_FAILED,
    }
)
KEPT_ENTRIES = 200
"""History entries that an order keeps at hand once they are in the store."""


class Message(Value):
    """A command as it arrived: its name, the decoded JSON, or why there is none, and the id it is answered under."""

    name: str
    payload: object = None
    unreadable: str | None = None
    message_id: str
    size: int = 0


class Verdict(NamedTuple):
    """What became of a message or event: the order, what to do now, and the answer if it is decided.

    `repeated` says that the id was answered before and nothing was done again.
    """

    order: Order
    decision: Decision | None
    refusal: Refusal | None
    repeated: bool = False


def receive(order: Order, message: Message, now: datetime) -> Verdict:
    """Decide a message that arrived at `now`, or give it the answer that its id had before."""
    command, refusal = _read(order, message)
    if command is None:
        return refuse_unread(order, message, refusal, now)
    command_id = command.id or message.message_id
    known = order.answers.get(command_id)
    if known is not None and known.digest == digest(message.name, command):
        return Verdict(_repeated(order, command, command_id, now), None, known.refusal, repeated=True)
    sender, most = _sender(message, command)
    if order.command_counts.get(sender, 0) >= most:
        too_many = refuse(RefusalCode.TOO_MANY_COMMANDS, number=order.number, actor=command.actor.value, most=most)
        return Verdict(order, None, too_many)
    counted = count(order, sender)
    event = CommandEvent(message.name, command, command_id)
    if known is not None:
        reused = refuse(RefusalCode.COMMAND_ID_REUSED, number=order.number, command_id=command_id)
        return Verdict(_write(counted, event, reused, now), Refused(reused, counted), reused)
    return record(counted, event, decide(counted, event, now), now)


def _sender(message: Message, command: Command) -> tuple[str, int]:
    """Return against whom a command counts, and how many of it are taken.

    A provider that hints again and again uses up its own count, not that of the carrier and the marketplace's clock; and
    whoever forges its webhooks a small one, so that what they say neither fills the order nor shuts the provider out.
    """
    if isinstance(command, PaymentEvent):
        return (message.name, MAX_COMMANDS) if command.fault is None else ("refused_webhook", MAX_NOTED)
    return command.actor.value, MAX_COMMANDS


def _repeated(order: Order, command: Command, command_id: str, now: datetime) -> Order:
    """Note a webhook that was told again; a command that is sent again by its sender is merely answered."""
    told = "repeated_webhook"
    hint = isinstance(command, PaymentEvent) and command.fault is None
    if not (hint and order.item_by_item) or order.command_counts.get(told, 0) >= MAX_NOTED:
        return order
    refusal = refuse(RefusalCode.WEBHOOK_REPEATED, event_id=command_id)
    return _write(count(order, told), CommandEvent("payment_event", command, command_id), refusal, now)


def engine_error(order: Order, message: Message, now: datetime) -> Verdict:
    """Refuse a message on which the engine itself failed: the order stays as it was and goes on."""
    return refuse_unread(order, message, refuse(RefusalCode.ENGINE_ERROR, number=order.number), now)


def wants_turn_before(message: Message, deadline: Deadline, now: datetime, order: Order) -> bool:
    """Return whether a waiting message was requested before `deadline` and so must be decided before it."""
    command, _ = _read(order, message)
    return command is not None and judged_at(order, command.requested_at, now) < deadline.at


def record(order: Order, event: Event, decision: Decision, now: datetime) -> Verdict:
    """Write down the decision of `event` and, where it answers a command, keep the answer; `order` is as before it."""
    waiting = order.in_progress
    after = decision.order
    if isinstance(decision, Accepted) and decision.awaited is not None:
        noted = _note_outcome(after, event, decision, now) if isinstance(event, Outcome) else after
        return Verdict(noted, decision, None)
    refusal = decision.refusal if isinstance(decision, Refused) else None
    if isinstance(event, CommandEvent):
        return Verdict(_write(after, event, refusal, now), decision, refusal)
    if isinstance(event, Deadline):
        changed = after is not order
        return Verdict(_note_deadline(after, event, now) if changed else order, decision, None)
    noted = _note_outcome(after, event, decision, now)
    if waiting is not None and after.in_progress is None:
        command = parse_command(waiting.name, waiting.command)
        event = CommandEvent(waiting.name, command, waiting.command_id)
        noted = _write(noted, event, refusal, now)
    return Verdict(trim(noted), decision, refusal)


def trim(order: Order) -> Order:
    """Drop old history that is known to be in the store."""
    if len(order.history) <= KEPT_ENTRIES:
        return order
    newest = order.history[-KEPT_ENTRIES].seq
    kept = tuple(each for each in order.history if each.seq >= newest or each.seq > order.recorded_entries)
    return order.with_(history=kept)


def unrecorded(order: Order) -> tuple[HistoryEntry, ...]:
    """Return the history entries that are not yet known to be in the store."""
    return tuple(each for each in order.history if each.seq > order.recorded_entries)


def _read(order: Order, message: Message) -> tuple[Command | None, Refusal | None]:
    if message.name not in COMMANDS:
        known = ", ".join(COMMANDS)
        return None, refuse(RefusalCode.UNKNOWN_COMMAND, number=order.number, name=message.name[:60], commands=known)
    errors = message.unreadable
    if message.size > MAX_COMMAND_BYTES:
        errors = f"input: {message.size} bytes; at most {MAX_COMMAND_BYTES}"
    if errors is None:
        try:
            return parse_command(message.name, message.payload), None
        except UnreadableCommandError as error:
            errors = str(error)
        except Exception as error:  # noqa: BLE001 - whatever a message does to its reader, it is refused and blocks nothing
            errors = f"input: {type(error).__name__}"
    return None, refuse(RefusalCode.INVALID_COMMAND, errors=_short(errors))


def _short(text: str) -> str:
    """Cut a text to a few hundred bytes: it is kept in the order's state."""
    return text.encode()[:400].decode(errors="ignore")


def refuse_unread(order: Order, message: Message, refusal: Refusal | None, now: datetime) -> Verdict:
    """Refuse a message that is no command, and note it, as long as there are not too many."""
    unread = "unread"
    if order.command_counts.get(unread, 0) >= MAX_COMMANDS:
        return Verdict(order, None, refusal)
    entry = HistoryEntry(
        seq=order.entries + 1,
        kind=EntryKind.COMMAND,
        name=_UNSAFE.sub("?", message.name)[:60],
        actor=None,
        at=now,
        recorded_at=now,
        accepted=False,
        status=order.status,
        command_id=message.message_id,
        refusal=refusal,
    )
    return Verdict(_append(count(order, unread), entry), None, refusal)


def count(order: Order, who: str) -> Order:
    """Return the order with one more command counted against `who`."""
    counts = {**order.command_counts, who: order.command_counts.get(who, 0) + 1}
    return order.with_(command_counts=counts)


def _append(order: Order, entry: HistoryEntry) -> Order:
    return order.with_(history=(*order.history, entry), entries=entry.seq)


def _write(order: Order, event: CommandEvent, refusal: Refusal | None, now: datetime) -> Order:
    command = event.command
    entry = HistoryEntry(
        seq=order.entries + 1,
        kind=EntryKind.COMMAND,
        name=event.name,
        actor=command.actor,
        at=judged_at(order, command.requested_at, now),
        recorded_at=now,
        accepted=refusal is None,
        status=order.status,
        detail=_detail(command),
        command_id=event.command_id,
        refusal=refusal,
    )
    answers = order.answers
    if event.command_id not in answers:
        answers = {**answers, event.command_id: Answer(digest=digest(event.name, command), refusal=refusal)}
    return _append(order, entry).with_(answers=answers)


def _detail(command: Command) -> str:
    """Say what a command asked for, without personal data."""
    hidden = {"actor", "id", "requested_at", "shipping_address", "note", "card", "text", "memo", "comment", "consent"}
    if isinstance(command, HoldForReview):
        hidden |= {"reason"}
    told = command.model_dump(mode="json", exclude=hidden, exclude_none=True, exclude_defaults=True)
    return ", ".join(f"{name}={value}" for name, value in told.items())[:300]


def _note_deadline(order: Order, deadline: Deadline, now: datetime) -> Order:
    entry = HistoryEntry(
        seq=order.entries + 1,
        kind=EntryKind.DEADLINE,
        name=deadline.name.value,
        actor=Actor.SYSTEM,
        at=deadline.at,
        recorded_at=now,
        accepted=True,
        status=order.status,
    )
    return _append(order, entry)


def _note_outcome(order: Order, outcome: Outcome, decision: Decision, now: datetime) -> Order:
    if outcome.result is Result.PUBLISHED and not outcome.refused:
        return order
    entry = HistoryEntry(
        seq=order.entries + 1,
        kind=EntryKind.OUTCOME,
        name=outcome.result.value,
        actor=Actor.SYSTEM,
        at=now,
        recorded_at=now,
        accepted=outcome.result not in _FAILURES and not outcome.refused,
        status=order.status,
        detail=(decision.detail if isinstance(decision, Accepted) else outcome.decline_code or outcome.reference)[:300],
    )
    return _append(order, entry)
