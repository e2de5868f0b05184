"""What each accepted event changes in an order; state, version, effects and mails follow from its row."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial

from domain import cases, commands
from domain.base import format_instant
from domain.commands import Command
from domain.conditions import edited_fee, edited_lines, part_returned, shipped_now
from domain.correspondence import rated, with_message
from domain.deadlines import OPEN, Deadline, DeadlineName
from domain.effects import Outcome, Result
from domain.erasure import erased
from domain.guards import extended_edit_until, reduced_lines
from domain.lifecycle import payment_target, request_target
from domain.movements import in_settlement
from domain.order import (
    Actor,
    Cancellation,
    CancellationRequest,
    Flag,
    Order,
    Reduction,
    RequestStatus,
    Review,
    ReviewStatus,
    Shipment,
    Status,
)
from domain.payment import authorize_anew, of_total, paid_again
from domain.payment_state import PaymentStatus
from domain.reasons import BuyerReason, SellerReason, SystemReason
from domain.refund import PaymentMethod, RefundStatus
from domain.refund_payments import asked_again, from_form, retried

Change = Callable[[Order, Command, datetime], Order]

_ENDED_BY_CANCELLATION = frozenset(
    {Flag.CONFIRM_SHIPMENT, Flag.OVERSOLD, Flag.PAYMENT_PROBLEM, Flag.IN_REVIEW, Flag.ANSWER_DUE}
)
_ENDED_BY_SHIPMENT = frozenset(
    {
        Flag.CONFIRM_SHIPMENT,
        Flag.OVERSOLD,
        Flag.PAYMENT_PROBLEM,
        Flag.BUYER_REQUESTED_CANCELLATION,
        Flag.ANSWER_DUE,
    }
)


def cancelled(order: Order, cancellation: Cancellation) -> Order:
    """Cancel: one actor, one reason, and whatever may be held is to be voided (C9)."""
    payment, voids = order.payment, order.voids
    if payment.status in (PaymentStatus.AUTHORIZING, PaymentStatus.AWAITING, PaymentStatus.AUTHORIZED):
        voids = (*voids, *(each for each in payment.references if each not in voids))
        status = payment_target(payment.status, "cancelled")
        payment = payment.model_copy(update={"status": status, "authorized_minor": 0, "expires_at": None})
    ended = cases.ended(order, cancellation.at) if order.cases else order
    return _answer(ended, "cancelled", cancellation.actor, cancellation.at).with_(
        cancellation=cancellation,
        payment=payment,
        voids=voids,
        flags=ended.flags - _ENDED_BY_CANCELLATION,
        answer_by=None,
    )


def _cancel(order: Order, command: Command, at: datetime) -> Order:
    assert isinstance(command, commands.Cancel | commands.RequestCancellation)  # noqa: S101 - narrows the type
    official = _request_status(order) is RequestStatus.OPEN and command.reason == SellerReason.BUYER_CANCELLED
    reason = command.reason or BuyerReason.OTHER
    counts = command.actor is Actor.SELLER and not official
    answered = _answer(order, "cancel", command.actor, at) if official else order
    return cancelled(
        answered,
        Cancellation(actor=command.actor, reason=str(reason), at=at, counts_in_rate=counts, note=command.note),
    )


def _request(order: Order, command: Command, at: datetime) -> Order:
    assert isinstance(command, commands.RequestCancellation)  # noqa: S101 - narrows the type
    if order.status not in OPEN:
        return cases.opened(order, "request_cancellation", command, at)
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
    if order.status not in OPEN:
        return cases.stepped(order, "decline_cancellation", command, at)
    answered = _answer(order, "decline_cancellation", command.actor, at)
    if answered.request is not None and isinstance(command, commands.DeclineCancellation):
        answered = answered.with_(request=answered.request.model_copy(update={"answer": command.note}))
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
        # Cash and points are held as they were paid; a card's hold has been replaced by one of the new total.
        held = max(total, payment.authorized_minor) if payment.method is not PaymentMethod.CARD else total
        return edited.with_(payment=of_total(payment, total).model_copy(update={"authorized_minor": held}))
    unpaid = payment.status in (PaymentStatus.AUTHORIZING, PaymentStatus.AWAITING)
    if unpaid and total != payment.amount_minor:
        # Nothing is held yet: the authorisation under way is given up for one of the new total.
        anew = edited.with_(voids=(*edited.voids, *payment.references))
        return authorize_anew(anew, payment.card, PaymentStatus.AUTHORIZING)
    return edited.with_(payment=of_total(payment, total))


def _hold_for_review(order: Order, command: Command, at: datetime) -> Order:
    assert isinstance(command, commands.HoldForReview)  # noqa: S101 - narrows the type
    review = Review(status=ReviewStatus.HELD, reason=command.reason, since=at)
    return order.with_(review=review, flags=order.flags | {Flag.IN_REVIEW})


def _end_review(order: Order, status: ReviewStatus, at: datetime) -> Order:
    review = order.review and order.review.model_copy(update={"status": status, "ended_at": at})
    return order.with_(review=review, flags=order.flags - {Flag.IN_REVIEW})


def _release_review(order: Order, command: Command, at: datetime) -> Order:
    held = order.payment.status is PaymentStatus.AUTHORIZED
    return _end_review(order, ReviewStatus.RELEASED, at).with_(verified_at=at if held else None)


def _refuse_review(order: Order, command: Command, at: datetime) -> Order:
    assert isinstance(command, commands.RefuseReview)  # noqa: S101 - narrows the type
    reason = SystemReason.REVIEW_REFUSED.value
    cancellation = Cancellation(actor=Actor.OPERATOR, reason=reason, at=at, counts_in_rate=False, note=command.note)
    return cancelled(_end_review(order, ReviewStatus.REFUSED, at), cancellation)


def _cancel_items(order: Order, command: Command, at: datetime) -> Order:
    assert isinstance(command, commands.CancelItems)  # noqa: S101 - narrows the type
    default = SellerReason.NO_INVENTORY if command.actor is Actor.SELLER else SellerReason.BUYER_CANCELLED
    return _reduced(
        order,
        Reduction(
            quantities={line.sku: line.quantity for line in command.lines},
            actor=command.actor,
            reason=(command.reason or default).value,
            consent=command.consent or "the buyer's own command",
            at=at,
        ),
    )


def _reduced(order: Order, reduction: Reduction) -> Order:
    lines = reduced_lines(order, reduction.quantities)
    titles = {each.sku: each.title for each in order.lines if each.sku in reduction.quantities}
    told = reduction.model_copy(update={"titles": titles})
    changed = order.with_(lines=lines, reductions=(*order.reductions, told))
    # More may be held than the new total; the charge takes no more than that, and the rest is released with it.
    return changed.with_(payment=of_total(order.payment, changed.total_minor))


def _refund(order: Order, command: Command, at: datetime) -> Order:
    assert isinstance(command, commands.RefundForm)  # noqa: S101 - narrows the type
    refunded = cases.settled_by_refund(from_form(order, command, at), command, at)
    refunded = cases.without_rest(refunded, at) if order.cases else refunded
    ends = order.delivered_at is None and refunded.delivered_at is not None and bool(order.cases)
    return cases.arrived(refunded, at, ()) if ends else refunded


def _retry_refund(order: Order, command: Command, at: datetime) -> Order:
    assert isinstance(command, commands.RetryRefund)  # noqa: S101 - narrows the type
    changed = retried(order, command.refund_id, at)
    failed = any(each.status is RefundStatus.FAILED for each in changed.refunds)
    return changed if failed else changed.with_(flags=changed.flags - {Flag.REFUND_FAILED})


def _ask(order: Order, command: Command, at: datetime) -> Order:
    return order.with_(sequence=order.sequence + 1)


def _receive_return(order: Order, command: Command, at: datetime) -> Order:
    received = cases.stepped(order, "receive_return", command, at)
    if order.status is not Status.UNSHIPPED:
        return received
    reason = SystemReason.BUYER_RETURN_UNCONFIRMED.value
    if part_returned(order, command):
        case = next(each for each in received.cases if each not in order.cases)
        consent = f"the buyer's return {case.case_id} of {format_instant(case.opened_at)}"
        ended = cases.closed(received, case.case_id, at)
        # Items may have been cancelled since the return was asked for.
        ordered = {line.sku: line.quantity for line in order.lines}
        gone = {sku: min(units, ordered.get(sku, 0)) for sku, units in case.quantities.items() if ordered.get(sku)}
        reduction = Reduction(quantities=gone, actor=command.actor, reason=reason, consent=consent, at=at)
        return _reduced(ended, reduction) if gone else ended
    return cancelled(received, Cancellation(actor=command.actor, reason=reason, at=at, counts_in_rate=False))


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
    flags = order.flags - _ENDED_BY_SHIPMENT
    return answered.with_(lines=lines, shipments=(*order.shipments, shipment), flags=flags, answer_by=None)


def _deliver(order: Order, command: Command, at: datetime) -> Order:
    assert isinstance(command, commands.Deliver)  # noqa: S101 - narrows the type
    delivered = _delivered(order, at, command.shipment_id)
    if not order.cases:
        return delivered
    parcels = [each for each in delivered.shipments if each not in order.shipments]
    return cases.arrived(delivered, at, parcels)


def _delivered(order: Order, at: datetime, shipment_id: str | None = None, *, assumed: bool = False) -> Order:
    shipments = tuple(
        _arrived(each, at, assumed=assumed) if shipment_id in (None, each.shipment_id) else each
        for each in order.shipments
    )
    arrived = [each.delivered_at for each in shipments if each.delivered_at is not None]
    whole = order.status in (Status.SHIPPED, Status.DELIVERED) and len(arrived) == len(shipments)
    return order.with_(shipments=shipments, delivered_at=max(arrived) if whole else None)


def _arrived(parcel: Shipment, at: datetime, *, assumed: bool) -> Shipment:
    """Return a parcel as delivered; one that was only counted as delivered has arrived when the carrier says so (A10)."""
    if parcel.delivered_at is None:
        return parcel.model_copy(update={"delivered_at": max(at, parcel.confirmed_at), "assumed": assumed})
    if parcel.assumed and not assumed:
        return parcel.model_copy(update={"delivered_at": max(at, parcel.delivered_at), "assumed": False})
    return parcel


def _extend_edit(order: Order, command: Command, at: datetime) -> Order:
    return order.with_(
        edit_until=extended_edit_until(order, command, at), passed=order.passed - {DeadlineName.EDIT_WINDOW_CLOSED}
    )


def _flag_oversold(order: Order, command: Command, at: datetime) -> Order:
    return order.with_(flags=order.flags | {Flag.OVERSOLD})


def _opened(name: str, order: Order, command: Command, at: datetime) -> Order:
    return cases.opened(order, name, command, at)


def _stepped(name: str, order: Order, command: Command, at: datetime) -> Order:
    return cases.stepped(order, name, command, at)


APPLY: Mapping[str, Change] = {
    "edit": _edit,
    "cancel": _cancel,
    "request_cancellation": _request,
    "accept_cancellation": _accept_cancellation,
    "decline_cancellation": _decline_cancellation,
    "ship": _ship,
    "deliver": _deliver,
    "extend_edit": _extend_edit,
    "pay_again": paid_again,
    "flag_oversold": _flag_oversold,
    "hold_for_review": _hold_for_review,
    "release_review": _release_review,
    "refuse_review": _refuse_review,
    "cancel_items": _cancel_items,
    "send_message": with_message,
    "rate": rated,
    "refund": _refund,
    "retry_refund": _retry_refund,
    "payment_event": _ask,
    **{name: partial(_opened, name) for name in cases.OPENERS if name != "request_cancellation"},
    **{name: partial(_stepped, name) for name in cases.STEPS if name != "decline_cancellation"},
    "receive_return": _receive_return,
}
"""What each command changes."""


def apply_deadline(order: Order, deadline: Deadline) -> Order:  # noqa: PLR0911 - one for each deadline
    """Return what the passing of `deadline` changes, dated at the deadline itself and not at the clock that noticed it."""
    repeats = deadline.name in (DeadlineName.CASE_DUE, DeadlineName.REFUND_DUE)
    passed = order if repeats else order.with_(passed=order.passed | {deadline.name.value})
    match deadline.name:
        case DeadlineName.ANSWER_DUE:
            return cancelled(passed, _by_marketplace(SystemReason.NO_ANSWER, deadline.at, counts=True))
        case DeadlineName.STORE_PAYMENT_DUE:
            return passed.with_(sequence=order.sequence + 1)
        case DeadlineName.REFUND_DUE:
            return asked_again(order, deadline.at).with_(sequence=order.sequence + 1)
        case DeadlineName.CASE_DUE:
            return cases.due(order, deadline.at)
        case DeadlineName.SETTLEMENT_ENDED:
            return passed.with_(settled_minor=in_settlement(order))
        case DeadlineName.RETENTION_ENDED:
            return erased(passed, deadline.at)
        case DeadlineName.PROCESSING_WINDOW_CLOSED:
            return cancelled(passed, _by_marketplace(SystemReason.PAYMENT_UNVERIFIED, deadline.at, counts=False))
        case DeadlineName.CONFIRM_WINDOW_CLOSED if order.status is Status.UNSHIPPED:
            return cancelled(passed, _by_marketplace(SystemReason.SHIPMENT_UNCONFIRMED, deadline.at, counts=True))
        case DeadlineName.SHIP_DATE_PASSED:
            flags = {Flag.LATE_SHIPMENT} | ({Flag.CONFIRM_SHIPMENT} if order.status is Status.UNSHIPPED else set())
            return passed.with_(flags=order.flags | flags)
        case DeadlineName.DELIVERY_ASSUMED:
            return _delivered(passed, deadline.at, assumed=order.item_by_item)
        case DeadlineName.RETURN_WINDOW_CLOSED:
            return passed.with_(completed_at=deadline.at)
        case _:
            return passed


def _by_marketplace(reason: SystemReason, at: datetime, *, counts: bool) -> Cancellation:
    return Cancellation(actor=Actor.SYSTEM, reason=reason.value, at=at, counts_in_rate=counts)


def expired(order: Order, due_at: datetime) -> Order:
    """Return the order cancelled because nobody paid its number at a store in time (G7)."""
    return cancelled(order, _by_marketplace(SystemReason.PAYMENT_EXPIRED, due_at, counts=False))


def outcome_detail(outcome: Outcome) -> str:
    """Say in a few words what an outcome was, for the history."""
    if outcome.result is Result.DECLINED:
        return f"{outcome.reference}: {outcome.decline_code}"
    until = f", hold until {format_instant(outcome.expires_at)}" if outcome.expires_at else ""
    return f"{outcome.reference}{until}"
