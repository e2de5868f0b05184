"""The checks of the commands: what a command must satisfy besides its row."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial

from domain import commands
from domain.base import format_duration, format_instant
from domain.cases import OPENERS, STEPS, opening_refusal, refund_case_refusal, step_refusal
from domain.commands import WEBHOOK_SECONDS, Command, WebhookFault
from domain.conditions import edited_lines, edited_total, in_review, part_returned, shipped_now
from domain.correspondence import message_refusal, rating_refusal
from domain.deadlines import OPEN
from domain.joint import address_digest
from domain.lifecycle import When, actors_for, rows_for
from domain.money import format_money
from domain.order import Actor, Fulfilment, Line, Order, RequestStatus, Status
from domain.payment_state import PaymentStatus
from domain.placement import cart_errors
from domain.reasons import BuyerReason, SellerReason, SystemReason
from domain.refund import PaymentMethod, RefundStatus
from domain.refund_payments import part_of
from domain.refunding import refund_refusal
from domain.refusal_codes import RefusalCode
from domain.refusals import Refusal, refuse

Check = Callable[[Order, Command, datetime], Refusal | None]


def _edit_fulfilment(order: Order, command: Command, at: datetime) -> Refusal | None:
    if order.fulfilment is Fulfilment.MARKETPLACE:
        return refuse(RefusalCode.NOT_EDITABLE, number=order.number)
    return None


def _edit_contents(order: Order, command: Command, at: datetime) -> Refusal | None:  # noqa: PLR0911 - one for each reason
    assert isinstance(command, commands.Edit)  # noqa: S101 - narrows the type
    for change in command.lines:
        line = order.line(change.sku)
        if line is None:
            return refuse(RefusalCode.NEW_ITEM, number=order.number, sku=change.sku)
        price = change.unit_price
        if price and (price.amount_minor, price.currency) != (line.unit_price_minor, order.currency):
            return refuse(RefusalCode.PRICE_FIXED, number=order.number, sku=change.sku)
    lines = edited_lines(order, command)
    if not lines:
        return refuse(RefusalCode.NOTHING_LEFT, number=order.number)
    if errors := cart_errors([(line.sku, line.quantity) for line in lines]):
        return refuse(RefusalCode.CART_LIMIT, number=order.number, errors="; ".join(errors))
    options = order.policy.shipping_options
    option = command.shipping_option or order.shipping_option
    if option not in options:
        return refuse(
            RefusalCode.UNKNOWN_SHIPPING_OPTION, number=order.number, option=option, options=", ".join(options)
        )
    address = command.shipping_address or order.address
    if (lines, option, address) == (order.lines, order.shipping_option, order.address):
        return refuse(RefusalCode.NOTHING_CHANGED, number=order.number)
    total = edited_total(order, command)
    in_cash = order.payment.method is PaymentMethod.KONBINI and order.payment.status is PaymentStatus.AUTHORIZED
    if order.payment.charge_unanswered and total != order.total_minor:
        return refuse(RefusalCode.CHARGE_IN_DOUBT, number=order.number)
    if in_cash and total != order.total_minor:
        return refuse(RefusalCode.PAID_IN_CASH, number=order.number)
    above = order.policy.review_above_minor
    if above is not None and total > above >= order.total_minor:
        return refuse(RefusalCode.REVIEW_LIMIT, number=order.number, limit=format_money(above, order.currency))
    return None


def _payment_settled(order: Order, command: Command, at: datetime) -> Refusal | None:
    if order.payment.status is PaymentStatus.AUTHORIZING:
        return refuse(RefusalCode.PAYMENT_IN_PROGRESS, number=order.number)
    return None


def _payment_needed(order: Order, command: Command, at: datetime) -> Refusal | None:
    if order.payment.status not in (PaymentStatus.DECLINED, PaymentStatus.VOIDED):
        return refuse(RefusalCode.PAYMENT_NOT_NEEDED, number=order.number, payment=order.payment.status.value)
    return None


def _points_fit(order: Order, command: Command, at: datetime) -> Refusal | None:
    assert isinstance(command, commands.PayAgain)  # noqa: S101 - narrows the type
    points, total = command.points_minor or 0, order.total_minor
    kept = order.payment.points_chosen if command.points_minor is None else points
    wanted = [PaymentMethod.CARD, PaymentMethod.POINTS] if kept else [PaymentMethod.CARD]
    missing = [each for each in wanted if each not in order.policy.payment_methods]
    if missing:
        taken = ", ".join(order.policy.payment_methods)
        return refuse(RefusalCode.METHOD_NOT_TAKEN, number=order.number, method=missing[0].value, methods=taken)
    if points >= total:
        return refuse(
            RefusalCode.POINTS_EXCEED, number=order.number, points=points, total=format_money(total, order.currency)
        )
    return None


def _review_open(order: Order, command: Command, at: datetime) -> Refusal | None:
    return None if in_review(order) else refuse(RefusalCode.NOT_IN_REVIEW, number=order.number)


def _review_free(order: Order, command: Command, at: datetime) -> Refusal | None:
    if in_review(order) and order.review is not None:
        return refuse(RefusalCode.ALREADY_IN_REVIEW, number=order.number, since=format_instant(order.review.since))
    return None


def reduced_lines(order: Order, gone: Mapping[str, int]) -> tuple[Line, ...]:
    """Return the order's lines less the units `gone`, emptied ones left out (C11)."""
    lines = (line.model_copy(update={"quantity": line.quantity - gone.get(line.sku, 0)}) for line in order.lines)
    return tuple(line for line in lines if line.quantity > 0)


def _reduction(order: Order, command: Command, at: datetime) -> Refusal | None:
    assert isinstance(command, commands.CancelItems)  # noqa: S101 - narrows the type
    if order.payment.charge_unanswered:
        return refuse(RefusalCode.CHARGE_IN_DOUBT, number=order.number)
    if command.actor is Actor.SELLER and command.consent is None:
        return refuse(RefusalCode.CONSENT_REQUIRED, number=order.number, actor=command.actor.value)
    for each in command.lines:
        line = order.line(each.sku)
        left = line.quantity if line else 0
        if each.quantity > left:
            more = {"sku": each.sku, "left": left, "asked": each.quantity}
            return refuse(RefusalCode.QUANTITY_EXCEEDED, "C11", number=order.number, **more)
    if not reduced_lines(order, {line.sku: line.quantity for line in command.lines}):
        return refuse(RefusalCode.NOTHING_LEFT, "C11", number=order.number)
    return None


def _refund(order: Order, command: Command, at: datetime) -> Refusal | None:
    assert isinstance(command, commands.RefundForm)  # noqa: S101 - narrows the type
    return refund_refusal(order, command) or refund_case_refusal(order, command, at)


def _refund_failed(order: Order, command: Command, at: datetime) -> Refusal | None:
    assert isinstance(command, commands.RetryRefund)  # noqa: S101 - narrows the type
    # Cash that was never charged is none of the seller's (P5).
    known = {each.refund_id: each for each in order.refunds if command.actor is not Actor.SELLER or each.of_charge}
    if command.refund_id not in known:
        refunds = ", ".join(known) or "none"
        return refuse(RefusalCode.UNKNOWN_REFUND, number=order.number, refund_id=command.refund_id, refunds=refunds)
    if order.status is Status.COMPLETED and not order.item_by_item:
        return no_row_refusal(order, "retry_refund", command.actor)
    status = known[command.refund_id].status
    if status is not RefundStatus.FAILED:
        return refuse(
            RefusalCode.REFUND_NOT_FAILED, number=order.number, refund_id=command.refund_id, status=status.value
        )
    return None


def _known_payment(order: Order, command: Command, at: datetime) -> Refusal | None:
    assert isinstance(command, commands.PaymentEvent)  # noqa: S101 - narrows the type
    if command.fault is not None:
        codes = {WebhookFault.FORGED: RefusalCode.WEBHOOK_FORGED, WebhookFault.TOO_OLD: RefusalCode.WEBHOOK_TOO_OLD}
        about = f" about {command.reference} of order {order.number}"
        return refuse(codes[command.fault], about=about, most=WEBHOOK_SECONDS)
    own = re.fullmatch(rf"{re.escape(order.number)}/([0-9]{{1,9}})/authorize", command.reference)
    used = own is not None and 1 <= int(own[1]) <= order.sequence
    if not used and part_of(order, command.reference) is None:
        return refuse(RefusalCode.UNKNOWN_PAYMENT, number=order.number, reference=command.reference)
    return None


def _cancel_reason(order: Order, command: Command, at: datetime) -> Refusal | None:
    assert isinstance(command, commands.Cancel)  # noqa: S101 - narrows the type
    if command.actor is Actor.SELLER and command.reason not in tuple(SellerReason):
        return refuse(RefusalCode.REASON_REQUIRED, reasons=", ".join(SellerReason))
    if command.actor is Actor.SYSTEM and command.reason != SystemReason.PURCHASE_FAILED:
        errors = f"reason: the marketplace cancels by command only as {SystemReason.PURCHASE_FAILED}"
        return refuse(RefusalCode.INVALID_COMMAND, "P2", errors=errors)
    if command.actor is Actor.BUYER and command.reason not in (None, *BuyerReason):
        errors = f"reason: {command.reason!r} is unknown; use one of: {', '.join(BuyerReason)}"
        return refuse(RefusalCode.INVALID_COMMAND, "C1", errors=errors)
    return None


def _request_free(order: Order, command: Command, at: datetime) -> Refusal | None:
    if order.status not in OPEN:
        return opening_refusal("request_cancellation", order, command, at)
    late = at >= order.cancel_until
    if late and order.request is not None and order.request.status is RequestStatus.OPEN:
        opened = format_instant(order.request.requested_at)
        return refuse(RefusalCode.REQUEST_ALREADY_OPEN, number=order.number, requested_at=opened)
    return None


def _request_open(order: Order, command: Command, at: datetime) -> Refusal | None:
    if order.request is None or order.request.status is not RequestStatus.OPEN:
        return refuse(RefusalCode.NO_OPEN_REQUEST, number=order.number)
    return None


def _ships_itself(order: Order, command: Command, at: datetime) -> Refusal | None:
    allowed = Actor.SELLER if order.fulfilment is Fulfilment.SELLER else Actor.OPERATOR
    if command.actor is not allowed:
        return refuse(RefusalCode.NOT_ALLOWED, "S1", name="ship", actor=command.actor.value, actors=allowed.value)
    return None


def _confirm_window(order: Order, command: Command, at: datetime) -> Refusal | None:
    if order.status is Status.UNSHIPPED and at >= order.confirm_by:
        until = format_instant(order.confirm_by)
        return refuse(RefusalCode.CONFIRM_WINDOW_CLOSED, number=order.number, confirm_by=until)
    return None


def _ship_quantities(order: Order, command: Command, at: datetime) -> Refusal | None:
    for sku, asked in shipped_now(order, command).items():
        line = order.line(sku)
        left = line.unshipped if line else 0
        if asked > left:
            return refuse(RefusalCode.QUANTITY_EXCEEDED, number=order.number, left=left, sku=sku, asked=asked)
    return None


def _expected_address(order: Order, command: Command, at: datetime) -> Refusal | None:
    assert isinstance(command, commands.Ship)  # noqa: S101 - narrows the type
    if command.expected_address not in (None, address_digest(order.address)):
        return refuse(RefusalCode.ADDRESS_CHANGED, number=order.number)
    return None


def _known_shipment(order: Order, command: Command, at: datetime) -> Refusal | None:
    assert isinstance(command, commands.Deliver)  # noqa: S101 - narrows the type
    underway = [each.shipment_id for each in order.shipments if each.delivered_at is None or each.assumed]
    wanted = command.shipment_id
    if not underway and order.delivered_at is not None:
        delivered_at = format_instant(order.delivered_at)
        return refuse(RefusalCode.ALREADY_DELIVERED, number=order.number, delivered_at=delivered_at)
    if not underway or (wanted is not None and wanted not in underway):
        shown = ", ".join(underway) or "none"
        return refuse(
            RefusalCode.UNKNOWN_SHIPMENT,
            number=order.number,
            which=f"parcel {wanted}" if wanted else "parcel",
            shipments=shown,
        )
    return None


def _extension(order: Order, command: Command, at: datetime) -> Refusal | None:
    latest = order.placed_at + order.policy.edit_window + order.policy.edit_extension_limit
    if extended_edit_until(order, command, at) > latest:
        return refuse(RefusalCode.EXTENSION_TOO_LONG, number=order.number, latest=format_instant(latest))
    return None


def extended_edit_until(order: Order, command: Command, at: datetime) -> datetime:
    """Return the new end of the edit window: `minutes` after its end, or after `at` if it has closed already (E6)."""
    assert isinstance(command, commands.ExtendEdit)  # noqa: S101 - narrows the type
    return max(order.edit_until, at) + timedelta(minutes=command.minutes)


def _step(name: str, order: Order, command: Command, at: datetime) -> Refusal | None:
    refusal = step_refusal(order, name, command, at)
    reduces = name == "receive_return" and order.status is Status.UNSHIPPED and part_returned(order, command)
    if refusal is None and reduces and order.payment.charge_unanswered:
        return refuse(RefusalCode.CHARGE_IN_DOUBT, number=order.number)
    return refusal


def _decline(order: Order, command: Command, at: datetime) -> Refusal | None:
    """Check the answer to a request: before shipment the order's own, after it a case's (C4, A1)."""
    if order.status in OPEN:
        return _request_open(order, command, at)
    return step_refusal(order, "decline_cancellation", command, at)


BEFORE_WINDOW: Mapping[str, tuple[Check, ...]] = {
    "edit": (_edit_fulfilment,),
    "extend_edit": (_edit_fulfilment,),
    "ship": (_ships_itself, _confirm_window),
}
"""Checks whose refusal tells more than a closed window does."""

CHECKS: Mapping[str, tuple[Check, ...]] = {
    "edit": (_edit_contents,),
    "cancel": (_cancel_reason,),
    "accept_cancellation": (_request_open,),
    "ship": (_payment_settled, _ship_quantities, _expected_address),
    "deliver": (_known_shipment,),
    "extend_edit": (_extension,),
    "pay_again": (_payment_settled, _payment_needed, _points_fit),
    "hold_for_review": (_review_free,),
    "release_review": (_review_open,),
    "refuse_review": (_review_open,),
    "cancel_items": (_reduction,),
    "send_message": (message_refusal,),
    "rate": (rating_refusal,),
    "refund": (_refund,),
    "retry_refund": (_refund_failed,),
    "payment_event": (_known_payment,),
    **{name: (partial(opening_refusal, name),) for name in OPENERS},
    "request_cancellation": (_request_free,),
    **{name: (partial(_step, name),) for name in STEPS},
    "decline_cancellation": (_decline,),
}
"""What a command must satisfy besides its row."""


def first_refusal(checks: tuple[Check, ...], order: Order, command: Command, at: datetime) -> Refusal | None:
    """Return the refusal of the first check that does not hold, None when all hold."""
    for check in checks:
        if (refusal := check(order, command, at)) is not None:
            return refusal
    return None


def window_refusal(order: Order, when: When) -> Refusal:
    """Return the refusal for a row whose window is closed."""
    if when is When.EDIT_WINDOW_OPEN:
        return refuse(RefusalCode.EDIT_WINDOW_CLOSED, number=order.number, edit_until=format_instant(order.edit_until))
    return refuse(
        RefusalCode.CANCEL_WINDOW_CLOSED,
        number=order.number,
        cancel_until=format_instant(order.cancel_until),
        cancel_window=format_duration(order.cancel_until - order.placed_at),
    )


def _closed_refusal(order: Order) -> Refusal | None:
    if order.rejected is not None:
        return refuse(RefusalCode.ORDER_REFUSED, number=order.number)
    if order.status is Status.CANCELLED and order.cancellation is not None:
        return refuse(RefusalCode.ORDER_CANCELLED, number=order.number, closed_at=format_instant(order.cancellation.at))
    if order.status is Status.COMPLETED and order.completed_at is not None:
        return refuse(RefusalCode.ORDER_COMPLETED, number=order.number, closed_at=format_instant(order.completed_at))
    return None


def no_row_refusal(order: Order, name: str, actor: Actor) -> Refusal:  # noqa: PLR0911 - one for each reason
    """Return why (state, command, actor) has no row: closed order, wrong actor or wrong state."""
    if (closed := _closed_refusal(order)) is not None:
        return closed
    actors = actors_for(name)
    if actor not in actors:
        if name == "edit":
            return refuse(RefusalCode.CONTENTS_FIXED, actor=actor.value)
        allowed = ", ".join(each.value for each in actors)
        return refuse(RefusalCode.NOT_ALLOWED, name=name, actor=actor.value, actors=allowed)
    if name == "refund" and order.status in OPEN:
        return refuse(RefusalCode.NOT_CHARGED, number=order.number)
    if order.status is Status.PENDING and rows_for(Status.UNSHIPPED, name, actor):
        return refuse(RefusalCode.ORDER_PENDING, number=order.number)
    if name in ("release_review", "refuse_review"):
        return refuse(RefusalCode.NOT_IN_REVIEW, number=order.number)
    if name == "hold_for_review" and order.verified_at is not None:
        verified_at = format_instant(order.verified_at)
        return refuse(RefusalCode.ALREADY_VERIFIED, number=order.number, verified_at=verified_at)
    if order.status in OPEN:
        return refuse(RefusalCode.NOT_SHIPPED, number=order.number)
    if name == "ship":
        last = format_instant(order.shipments[-1].confirmed_at)
        return refuse(RefusalCode.NOTHING_TO_SHIP, number=order.number, confirmed_at=last)
    if order.delivered_at is not None:
        return refuse(
            RefusalCode.ALREADY_DELIVERED, number=order.number, delivered_at=format_instant(order.delivered_at)
        )
    confirmed = format_instant(order.shipments[0].confirmed_at)
    return refuse(RefusalCode.ALREADY_SHIPPED, number=order.number, confirmed_at=confirmed)
