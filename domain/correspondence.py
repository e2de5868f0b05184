"""Messages between buyer and seller, the answer that is waited for, and the buyer's rating.

Policy: C6, C12, C13, V6, A8.
"""

from datetime import datetime

from domain import commands
from domain.base import format_instant
from domain.commands import Command
from domain.message import OrderMessage, Rating, Template, Topic
from domain.order import Actor, Flag, Order, Status
from domain.refusal_codes import RefusalCode
from domain.refusals import Refusal, refuse

MAX_MESSAGES = 30
"""Messages of each side that one order keeps, so that neither can silence the other."""


def message_refusal(order: Order, command: Command, at: datetime) -> Refusal | None:
    """Return why a message is not taken, None when it is: too many, a template not offered, an answer date out of range."""
    assert isinstance(command, commands.SendMessage)  # noqa: S101 - narrows the type
    own = sum(each.sender == command.actor for each in order.messages)
    answer = command.actor is Actor.BUYER and order.answer_by is not None
    if own >= MAX_MESSAGES and not answer:
        return refuse(RefusalCode.MESSAGE_LIMIT, number=order.number, actor=command.actor.value, most=MAX_MESSAGES)
    offered = command.actor is Actor.SELLER and order.status is Status.UNSHIPPED
    wished = command.template in offered_replies(order) or not order.item_by_item
    if command.template is not None and not (offered and wished):
        who = {"template": command.template.value, "actor": command.actor.value}
        return refuse(RefusalCode.TEMPLATE_NOT_OFFERED, number=order.number, **who)
    if command.answer_by is None:
        return None
    if command.actor is not Actor.SELLER:
        who = {"name": "answer_by", "actor": command.actor.value, "actors": Actor.SELLER.value}
        return refuse(RefusalCode.NOT_ALLOWED, "C12", **who)
    earliest = at + order.policy.shortest_answer_window
    if order.status is not Status.UNSHIPPED:
        why = "a shipment of it is confirmed"
        return refuse(RefusalCode.NO_TIME_TO_ANSWER, number=order.number, why=why)
    if earliest >= order.confirm_by:
        why = f"no answer could be awaited before its shipment must be confirmed, {format_instant(order.confirm_by)}"
        return refuse(RefusalCode.NO_TIME_TO_ANSWER, number=order.number, why=why)
    if not earliest <= command.answer_by < order.confirm_by:
        return refuse(
            RefusalCode.INSTANT_OUT_OF_RANGE,
            number=order.number,
            field="answer_by",
            given=format_instant(command.answer_by),
            earliest=format_instant(earliest),
            latest=format_instant(order.confirm_by),
        )
    return None


def with_message(order: Order, command: Command, at: datetime) -> Order:
    """Return the order with the message; a buyer's message is the answer that was waited for (C12)."""
    assert isinstance(command, commands.SendMessage)  # noqa: S101 - narrows the type
    message = OrderMessage(
        message_id=f"M{len(order.messages) + 1}",
        sender=command.actor.value,
        text=command.text,
        template=command.template,
        topic=command.topic,
        sent_at=at,
        answer_by=command.answer_by,
    )
    changed = order.with_(messages=(*order.messages, message))
    if command.actor is Actor.BUYER:
        if order.answer_by is not None and at >= order.answer_by:
            return changed
        return changed.with_(answer_by=None, flags=order.flags - {Flag.ANSWER_DUE})
    if command.answer_by is not None:
        return changed.with_(answer_by=command.answer_by, flags=order.flags | {Flag.ANSWER_DUE})
    return changed


def question_lost(order: Order, message_id: str | None) -> Order:
    """Return the order without its answer date, if the question was never brought to the buyer: nobody is silent (C12)."""
    asked = [each.message_id for each in order.messages if each.answer_by is not None]
    if order.answer_by is None or asked[-1:] != [message_id]:
        return order
    return order.with_(answer_by=None, flags=order.flags - {Flag.ANSWER_DUE})


def offered_replies(order: Order) -> tuple[Template, ...]:
    """Return the ready replies that the seller is offered: the official way, to a wish to cancel (C6)."""
    from_buyer = [each for each in order.messages if each.sender == Actor.BUYER]
    wish = bool(from_buyer) and from_buyer[-1].topic is Topic.CANCELLATION_WISH
    return (Template.HOW_TO_CANCEL,) if wish and order.status is Status.UNSHIPPED else ()


def rating_refusal(order: Order, command: Command, at: datetime) -> Refusal | None:
    """Return why the buyer cannot rate the seller, None when it can: once per order, and where the seller had a part in it."""
    if order.erased_at is not None and order.closed_at is not None:
        code = RefusalCode.ORDER_COMPLETED if order.cancellation is None else RefusalCode.ORDER_CANCELLED
        return refuse(code, number=order.number, closed_at=format_instant(order.closed_at))
    if order.rating is not None:
        rated_at = format_instant(order.rating.rated_at)
        return refuse(RefusalCode.ALREADY_RATED, number=order.number, rated_at=rated_at)
    cancellation = order.cancellation
    if cancellation is not None and cancellation.actor is not Actor.SELLER and not cancellation.counts_in_rate:
        return refuse(
            RefusalCode.RATING_NOT_OPEN,
            number=order.number,
            actor="marketplace" if cancellation.actor is Actor.SYSTEM else cancellation.actor.value,
            reason=cancellation.reason,
        )
    return None


def rated(order: Order, command: Command, at: datetime) -> Order:
    """Return the order with the buyer's rating (A8)."""
    assert isinstance(command, commands.Rate)  # noqa: S101 - narrows the type
    return order.with_(rating=Rating(stars=command.stars, comment=command.comment, rated_at=at))
