"""The money of an order before shipment: holds, their replacement and renewal, the charge.

Policy: E7, S2, C9, P5.
"""

from datetime import datetime

from domain.base import wallet_of
from domain.commands import Command, Edit, PayAgain, Ship
from domain.conditions import edited_lines, edited_total, in_review
from domain.deadlines import DeadlineName
from domain.effects import Authorize, Capture, Effect, Outcome, Reservation, Reserve, Result
from domain.lifecycle import payment_target
from domain.order import Flag, InProgress, Line, Order, Status
from domain.payment_state import Payment, PaymentStatus
from domain.placement import authorization, authorization_reference, points_reference, points_used
from domain.refund import PaymentMethod


def needed(order: Order, command: Command, now: datetime) -> Effect | None:
    """Return the effect without whose outcome the command cannot be decided, None when nothing is wanting."""
    if isinstance(command, Edit) and order.in_progress is None:
        return _needed_by_edit(order, command, now)
    if isinstance(command, Ship) and order.status is Status.UNSHIPPED:
        return _needed_by_ship(order, now)
    return None


def _needed_by_edit(order: Order, command: Edit, now: datetime) -> Effect | None:
    lines = edited_lines(order, command)
    total = edited_total(order, command)
    reservation = _both_quantities(order, lines) if lines != order.lines else None
    in_cash = order.payment.method is PaymentMethod.KONBINI
    # Points lapse never: an order of points alone that has become smaller is charged less of the hold that it has.
    enough = order.payment.method is PaymentMethod.POINTS and total <= order.payment.authorized_minor
    held = order.payment.status is PaymentStatus.AUTHORIZED and not in_cash and not enough
    if held and (reservation is not None or total != order.total_minor):
        return _authorize(order, total, now, reservation)
    if reservation is not None:
        return Reserve(reference=f"{order.number}/{order.sequence + 1}/reserve", reservation=reservation)
    return None


def _both_quantities(order: Order, lines: tuple[Line, ...]) -> Reservation:
    """Reserve for the order as it is and as it would be; the record of the decision releases what is not needed."""
    quantities = {line.sku: line.quantity for line in order.lines}
    for line in lines:
        quantities[line.sku] = max(line.quantity, quantities[line.sku])
    return Reservation(
        order_number=order.number, seller_id=order.seller_id, version=order.version + 1, quantities=quantities
    )


def _needed_by_ship(order: Order, now: datetime) -> Effect | None:
    payment = order.payment
    if payment.status is PaymentStatus.CAPTURED:
        return None
    # A hold that was renewed for this very confirmation is captured whatever its date says: two renewals in a row
    # would only pile up holds.
    lapsed = order.in_progress is None and payment.expires_at is not None and payment.expires_at <= now
    if payment.status is not PaymentStatus.AUTHORIZED or lapsed:
        return _authorize(order, order.total_minor, now)
    points = points_used(payment, order.total_minor)
    return Capture(
        reference=payment.reference,
        order_number=order.number,
        amount_minor=order.total_minor - points,
        currency=order.currency,
        at=now,
        points_minor=points,
        points_reference=payment.points_reference,
    )


def _authorize(order: Order, amount: int, now: datetime, reservation: Reservation | None = None) -> Authorize:
    held = authorization(order, authorization_reference(order.number, order.sequence + 1), amount, now)
    return held.model_copy(update={"reservation": reservation}) if reservation else held


def replaced_hold(order: Order, outcome: Outcome) -> Order:
    """Put the hold of an edit in the place of the old one, which is to be voided (E7)."""
    old = order.payment
    payment = old.model_copy(
        update={
            "reference": outcome.reference,
            "expires_at": outcome.expires_at,
            "status": payment_target(old.status, Result.AUTHORIZED),
            "charge_unanswered": False,
        }
    )
    return order.with_(payment=payment, voids=(*order.voids, old.reference))


def renewed(order: Order, outcome: Outcome, now: datetime) -> Order:
    """Take in the outcome that a confirmation waited for: the hold renewed, lapsed or captured (S2)."""
    old = order.payment
    status = payment_target(old.status, outcome.result)
    if outcome.result is Result.CAPTURED:
        payment = old.model_copy(
            update={
                "status": status,
                "captured_minor": order.total_minor,
                "charge_unanswered": False,
                "captured_at": now,
                "expires_at": None,
            }
        )
        return order.with_(payment=payment, flags=order.flags - {Flag.PAYMENT_PROBLEM})
    if outcome.result in (Result.LAPSED, Result.VOIDED):
        gone = {"status": status, "authorized_minor": 0, "expires_at": None}
        return order.with_(payment=old.model_copy(update=gone), voids=_with(order, old.reference))
    payment = old.model_copy(
        update={
            "status": status,
            "reference": outcome.reference,
            "amount_minor": order.total_minor,
            "authorized_minor": order.total_minor,
            "expires_at": outcome.expires_at,
            "decline_code": None,
            "points_reference": _points_held(order, outcome.reference),
        }
    )
    # What was held before has lapsed or failed; voiding it all the same costs nothing and leaves no doubt.
    voids = _with(order, old.reference) if old.status is PaymentStatus.AUTHORIZED else order.voids
    return order.with_(payment=payment, voids=voids)


def _points_held(order: Order, reference: str) -> str | None:
    """Return where the points are held once `reference` is authorised: where they were, or besides it."""
    payment = order.payment
    fresh = points_reference(reference) if points_used(payment, order.total_minor) else None
    return payment.points_reference or fresh


def charge_failed(order: Order, waiting: InProgress, outcome: Outcome) -> Order:
    """Keep what a refused or unanswered hold or charge has left behind: nothing held that is not wanted."""
    old = order.payment
    if not waiting.reference.endswith("/capture"):
        doubtful = outcome.result is Result.UNANSWERED and waiting.reference.endswith("/authorize")
        changed = order
        if doubtful:
            fresh = old.points_reference is None and old.wallet is not None
            late = (waiting.reference, points_reference(waiting.reference)) if fresh else (waiting.reference,)
            changed = order.with_(voids=_with(order, *late))
        if waiting.name == "ship" and outcome.result is Result.DECLINED:
            status = payment_target(old.status, outcome.result)
            held = old.status is PaymentStatus.AUTHORIZED
            changed = changed.with_(voids=_with(changed, *old.references)) if held else changed
            return _problem(changed, old.model_copy(update={"status": status}), outcome)
        return changed
    if outcome.result is Result.UNANSWERED and old.method is not PaymentMethod.CARD:
        # Cash and points lapse never: they stay held, and the next confirmation charges them under the same key.
        return order.with_(payment=old.model_copy(update={"charge_unanswered": True}))
    status = payment_target(old.status, outcome.result)
    voided = order.with_(voids=_with(order, *old.references))
    return _problem(voided, old.model_copy(update={"status": status}), outcome)


def _problem(order: Order, payment: Payment, outcome: Outcome) -> Order:
    gone = {"decline_code": outcome.decline_code, "authorized_minor": 0, "expires_at": None, "points_reference": None}
    payment = payment.model_copy(update=gone)
    flags = order.flags | {Flag.PAYMENT_PROBLEM} if outcome.result is Result.DECLINED else order.flags
    return order.with_(payment=payment, flags=flags)


def _with(order: Order, *references: str) -> tuple[str, ...]:
    return (*order.voids, *(each for each in references if each not in order.voids))


def of_total(payment: Payment, total: int) -> Payment:
    """Return the payment of a new total: as many points as were chosen, as long as the card pays something (P5)."""
    return payment.model_copy(update={"amount_minor": total, "points_minor": points_used(payment, total)})


def authorize_anew(order: Order, card: str, status: PaymentStatus) -> Order:
    """Return the order with an authorisation of its total begun anew, under a reference of its own (G3, E7)."""
    sequence = order.sequence + 1
    reference = authorization_reference(order.number, sequence)
    payment = of_total(order.payment, order.total_minor)
    payment = payment.model_copy(
        update={
            "status": status,
            "card": card,
            "reference": reference,
            "points_reference": points_reference(reference) if payment.points_minor else None,
            "decline_code": None,
            "number": None,
            "due_at": None,
            "charge_unanswered": False,
        }
    )
    return order.with_(payment=payment, sequence=sequence, passed=order.passed - {DeadlineName.STORE_PAYMENT_DUE.value})


def paid_again(order: Order, command: Command, at: datetime) -> Order:
    """Return the order with another card, and with other points where they are named (G3, P5)."""
    assert isinstance(command, PayAgain)  # noqa: S101 - narrows the type
    given = order.payment.model_copy(update={"method": PaymentMethod.CARD})
    if command.points_minor is not None:
        wallet = given.wallet or wallet_of(order.buyer.buyer_id) if command.points_minor else given.wallet
        given = given.model_copy(update={"points_chosen": command.points_minor, "wallet": wallet})
    changed = order.with_(payment=given)
    return authorize_anew(changed, command.card, payment_target(order.payment.status, "pay_again"))


def _awaited(order: Order, outcome: Outcome) -> Order:
    status = payment_target(order.payment.status, outcome.result)
    payment = order.payment.model_copy(
        update={"status": status, "number": outcome.number, "due_at": outcome.due_at, "decline_code": None}
    )
    return order.with_(payment=payment)


def apply_verdict(order: Order, outcome: Outcome, now: datetime) -> Order:
    """Return the order with its payment authorised, awaited or declined; the first authorisation verifies it (G5)."""
    if outcome.result is Result.AWAITING:
        return _awaited(order, outcome)
    held = outcome.result is Result.AUTHORIZED
    payment = order.payment.model_copy(
        update={
            "status": payment_target(order.payment.status, outcome.result),
            "authorized_minor": order.payment.amount_minor if held else 0,
            "expires_at": outcome.expires_at,
            "decline_code": outcome.decline_code,
            "points_reference": order.payment.points_reference if held else None,
        }
    )
    flags = order.flags - {Flag.PAYMENT_PROBLEM} if held else order.flags | {Flag.PAYMENT_PROBLEM}
    verified = order.verified_at or (now if held and not in_review(order) else None)
    return order.with_(payment=payment, flags=flags, verified_at=verified)
