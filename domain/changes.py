"""What each accepted event changes in an order; state, version, effects and mails follow from its row."""

from collections.abc import Callable, Mapping
from datetime import datetime

from domain import commands
from domain.base import format_instant
from domain.commands import Command, SellerReason, SystemReason
from domain.deadlines import Deadline, DeadlineName
from domain.effects import Outcome, Result
from domain.guards import edited_lines, extended_edit_until, shipped_now
from domain.lifecycle import payment_target, request_target
from domain.order import (
    Actor,
    Cancellation,
    CancellationRequest,
    Flag,
    Order,
    PaymentStatus,
    RequestStatus,
    Shipment,
    Status,
)
from domain.payment import edited_fee
from domain.placement import authorization_reference

Change = Callable[[Order, Command, datetime], Order]

_ENDED_BY_CANCELLATION = frozenset({Flag.CONFIRM_SHIPMENT, Flag.OVERSOLD, Flag.PAYMENT_PROBLEM})
_ENDED_BY_SHIPMENT = frozenset(
    {Flag.CONFIRM_SHIPMENT, Flag.OVERSOLD, Flag.PAYMENT_PROBLEM, Flag.BUYER_REQUESTED_CANCELLATION}
)


def cancelled(order: Order, cancellation: Cancellation) -> Order:
    """Cancel: one actor, one reason, and whatever may be held is to be voided (C9)."""
    payment, voids = order.payment, order.voids
    if payment.status in (PaymentStatus.AUTHORIZING, PaymentStatus.AUTHORIZED):
        voids = voids if payment.reference in voids else (*voids, payment.reference)
        status = payment_target(payment.status, "cancelled")
        payment = payment.model_copy(update={"status": status, "authorized_minor": 0, "expires_at": None})
    return _answer(order, "cancelled", cancellation.actor, cancellation.at).with_(
        cancellation=cancellation, payment=payment, voids=voids, flags=order.flags - _ENDED_BY_CANCELLATION
    )


def _cancel(order: Order, command: Command, at: datetime) -> Order:
    assert isinstance(command, commands.Cancel | commands.RequestCancellation)  # noqa: S101 - narrows the type
    official = _request_status(order) is RequestStatus.OPEN and command.reason == SellerReason.BUYER_CANCELLED
    reason = command.reason or commands.BuyerReason.OTHER
    counts = command.actor is Actor.SELLER and not official
    answered = _answer(order, "cancel", command.actor, at) if official else order
    return cancelled(
        answered,
        Cancellation(actor=command.actor, reason=str(reason), at=at, counts_in_rate=counts, note=command.note),
    )


def _request(order: Order, command: Command, at: datetime) -> Order:
    assert isinstance(command, commands.RequestCancellation)  # noqa: S101 - narrows the type
    if at < order.cancel_until:
        return _cancel(order, command, at)
    request = CancellationRequest(
        status=RequestStatus.OPEN, reason=command.reason.value, note=command.note, requested_at=at
    )
    return order.with_(request=request, flags=order.flags | {Flag.BUYER_REQUESTED_CANCELLATION})


def _request_status(order: Order) -> RequestStatus | None:
    return order.request.status if order.request else None


def _answer(order: Order, event: str, actor: Actor, at: datetime) -> Order:
    """Bring the cancellation request in line with `event`, if its table has a row for it (C4)."""
    target = request_target(_request_status(order), event, actor)
    if target is None or order.request is None:
        return order
    return order.with_(request=order.request.model_copy(update={"status": target, "answered_at": at}))


def _accept_cancellation(order: Order, command: Command, at: datetime) -> Order:
    answered = _answer(order, "accept_cancellation", command.actor, at)
    reason = SellerReason.BUYER_CANCELLED.value
    return cancelled(answered, Cancellation(actor=command.actor, reason=reason, at=at, counts_in_rate=False))


def _decline_cancellation(order: Order, command: Command, at: datetime) -> Order:
    answered = _answer(order, "decline_cancellation", command.actor, at)
    return answered.with_(flags=order.flags - {Flag.BUYER_REQUESTED_CANCELLATION})


def _edit(order: Order, command: Command, at: datetime) -> Order:
    assert isinstance(command, commands.Edit)  # noqa: S101 - narrows the type
    edited = order.with_(
        lines=edited_lines(order, command),
        address=command.shipping_address or order.address,
        shipping_option=command.shipping_option or order.shipping_option,
        shipping_fee_minor=edited_fee(order, command),
    )
    total, payment = edited.total_minor, order.payment
    if payment.status is PaymentStatus.AUTHORIZED:
        return edited.with_(payment=payment.model_copy(update={"amount_minor": total, "authorized_minor": total}))
    if payment.status is PaymentStatus.AUTHORIZING and total != payment.amount_minor:
        # Nothing is held yet: the authorisation under way is given up for one of the new total.
        return _authorize_anew(edited.with_(voids=(*edited.voids, payment.reference)), payment.card, payment.status)
    return edited.with_(payment=payment.model_copy(update={"amount_minor": total}))


def _authorize_anew(order: Order, card: str, status: PaymentStatus) -> Order:
    sequence = order.sequence + 1
    payment = order.payment.model_copy(
        update={
            "status": status,
            "card": card,
            "reference": authorization_reference(order.number, sequence),
            "amount_minor": order.total_minor,
            "decline_code": None,
        }
    )
    return order.with_(payment=payment, sequence=sequence)


def _pay_again(order: Order, command: Command, at: datetime) -> Order:
    assert isinstance(command, commands.PayAgain)  # noqa: S101 - narrows the type
    return _authorize_anew(order, command.card, payment_target(order.payment.status, "pay_again"))


def _ship(order: Order, command: Command, at: datetime) -> Order:
    assert isinstance(command, commands.Ship)  # noqa: S101 - narrows the type
    quantities = shipped_now(order, command)
    shipment = Shipment(
        shipment_id=f"P{len(order.shipments) + 1}",
        carrier=command.carrier,
        tracking_number=command.tracking_number,
        quantities=quantities,
        confirmed_at=at,
    )
    lines = tuple(
        line.model_copy(update={"shipped": line.shipped + quantities.get(line.sku, 0)}) for line in order.lines
    )
    answered = _answer(order, "ship", command.actor, at)
    return answered.with_(lines=lines, shipments=(*order.shipments, shipment), flags=order.flags - _ENDED_BY_SHIPMENT)


def _deliver(order: Order, command: Command, at: datetime) -> Order:
    assert isinstance(command, commands.Deliver)  # noqa: S101 - narrows the type
    return _delivered(order, at, command.shipment_id)


def _delivered(order: Order, at: datetime, shipment_id: str | None = None) -> Order:
    shipments = tuple(
        each.model_copy(update={"delivered_at": each.delivered_at or max(at, each.confirmed_at)})
        if shipment_id in (None, each.shipment_id)
        else each
        for each in order.shipments
    )
    arrived = [each.delivered_at for each in shipments if each.delivered_at is not None]
    whole = order.status is Status.SHIPPED and len(arrived) == len(shipments)
    return order.with_(shipments=shipments, delivered_at=max(arrived) if whole else None)


def _extend_edit(order: Order, command: Command, at: datetime) -> Order:
    return order.with_(
        edit_until=extended_edit_until(order, command, at), passed=order.passed - {DeadlineName.EDIT_WINDOW_CLOSED}
    )


def _flag_oversold(order: Order, command: Command, at: datetime) -> Order:
    return order.with_(flags=order.flags | {Flag.OVERSOLD})


APPLY: Mapping[str, Change] = {
    "edit": _edit,
    "cancel": _cancel,
    "request_cancellation": _request,
    "accept_cancellation": _accept_cancellation,
    "decline_cancellation": _decline_cancellation,
    "ship": _ship,
    "deliver": _deliver,
    "extend_edit": _extend_edit,
    "pay_again": _pay_again,
    "flag_oversold": _flag_oversold,
}
"""What each command changes."""


def apply_deadline(order: Order, deadline: Deadline) -> Order:
    """Return what the passing of `deadline` changes, dated at the deadline itself and not at the clock that noticed it."""
    passed = order.with_(passed=order.passed | {deadline.name.value})
    match deadline.name:
        case DeadlineName.PROCESSING_WINDOW_CLOSED:
            return cancelled(passed, _by_marketplace(SystemReason.PAYMENT_UNVERIFIED, deadline.at, counts=False))
        case DeadlineName.CONFIRM_WINDOW_CLOSED if order.status is Status.UNSHIPPED:
            return cancelled(passed, _by_marketplace(SystemReason.SHIPMENT_UNCONFIRMED, deadline.at, counts=True))
        case DeadlineName.SHIP_DATE_PASSED:
            flags = {Flag.LATE_SHIPMENT} | ({Flag.CONFIRM_SHIPMENT} if order.status is Status.UNSHIPPED else set())
            return passed.with_(flags=order.flags | flags)
        case DeadlineName.DELIVERY_ASSUMED:
            return _delivered(passed, deadline.at)
        case DeadlineName.RETURN_WINDOW_CLOSED:
            return passed.with_(completed_at=deadline.at)
        case _:
            return passed


def _by_marketplace(reason: SystemReason, at: datetime, *, counts: bool) -> Cancellation:
    return Cancellation(actor=Actor.SYSTEM, reason=reason.value, at=at, counts_in_rate=counts)


def apply_verdict(order: Order, outcome: Outcome, now: datetime) -> Order:
    """Return the order with its payment authorised or declined; the first authorisation verifies it (G5)."""
    held = outcome.result is Result.AUTHORIZED
    payment = order.payment.model_copy(
        update={
            "status": payment_target(order.payment.status, outcome.result),
            "authorized_minor": order.payment.amount_minor if held else 0,
            "expires_at": outcome.expires_at,
            "decline_code": outcome.decline_code,
        }
    )
    flags = order.flags - {Flag.PAYMENT_PROBLEM} if held else order.flags | {Flag.PAYMENT_PROBLEM}
    verified = order.verified_at or (now if held else None)
    return order.with_(payment=payment, flags=flags, verified_at=verified)


def outcome_detail(outcome: Outcome) -> str:
    """Say in a few words what an outcome was, for the history."""
    if outcome.result is Result.DECLINED:
        return f"{outcome.reference}: {outcome.decline_code}"
    until = f", hold until {format_instant(outcome.expires_at)}" if outcome.expires_at else ""
    return f"{outcome.reference}{until}"
