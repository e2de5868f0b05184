"""How a refund is made and goes back to the original payment methods, and what the provider says of it.

Policy: R3 to R7.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from domain.commands import RefundForm
from domain.effects import Outcome, PayRefund, Result
from domain.order import Actor, Flag, Order, Status
from domain.refund import (
    Bounce,
    CashReturnReason,
    Deduction,
    DeductionKind,
    PaymentMethod,
    Refund,
    RefundLine,
    RefundPart,
    RefundReason,
    RefundStatus,
)
from domain.refunding import planned
from domain.refusals import Refusal

ASK_EVERY = timedelta(days=1)
"""How often the provider is asked for a refund that is overdue."""


def from_form(order: Order, form: RefundForm, at: datetime) -> Order:
    """Return the order with the refund of a command that was not refused."""
    lines = planned(order, form)
    assert not isinstance(lines, Refusal)  # noqa: S101 - refund_refusal went before
    if not lines:
        return order
    deductions = tuple(Deduction(kind=each.kind, amount_minor=each.amount.amount_minor) for each in form.deductions)
    refund = Refund(
        refund_id=f"R{len(order.refunds) + 1}",
        reason=form.reason,
        memo=form.memo,
        lines=lines,
        deductions=deductions,
        parts=(),
        by=form.actor.value,
        requested_at=at,
        consent=form.consent,
        case_id=form.case_id,
    )
    return with_refund(order, refund)


def of_case(
    order: Order,
    case_id: str,
    lines: tuple[RefundLine, ...],
    reason: RefundReason,
    deduction: tuple[DeductionKind, int] | None,
    by: str,
    at: datetime,
) -> Order:
    """Return the order with the refund that settles a case by itself; unchanged where nothing would go back."""
    gross = sum(each.items_minor + each.shipping_minor for each in lines)
    kept = min(deduction[1], gross) if deduction else 0
    if gross - kept <= 0:
        return order
    refund = Refund(
        refund_id=f"R{len(order.refunds) + 1}",
        reason=reason,
        lines=lines,
        deductions=(Deduction(kind=deduction[0], amount_minor=kept),) if deduction and kept else (),
        parts=(),
        by=by,
        requested_at=at,
        case_id=case_id,
    )
    return with_refund(order, refund)


def with_refund(order: Order, refund: Refund) -> Order:
    """Add a refund: split over the original methods, card first (R5), and drop from the order what is not shipped any more."""
    sequence = order.sequence + 1
    lost = {each.sku: each.not_shipped for each in refund.lines}
    lines = tuple(line.model_copy(update={"cancelled": line.cancelled + lost.get(line.sku, 0)}) for line in order.lines)
    parts = _parts(order, refund.amount_minor, sequence, refund.requested_at)
    refund = refund.model_copy(update={"parts": parts, "from_available": order.settled_minor is not None})
    changed = order.with_(refunds=(*order.refunds, refund), lines=lines, sequence=sequence)
    arrived = [each.delivered_at for each in changed.shipments if each.delivered_at is not None]
    done = all(line.unshipped == 0 for line in lines) and len(arrived) == len(changed.shipments)
    return changed.with_(delivered_at=max(arrived)) if done and arrived and order.delivered_at is None else changed


def _parts(order: Order, amount: int, sequence: int, at: datetime) -> tuple[RefundPart, ...]:
    payment, parts = order.payment, []
    for method, charged in payment.shares(payment.captured_minor).items():
        reference = payment.reference if method is payment.method else payment.points_reference
        gone = (part for refund in order.refunds if refund.of_charge for part in refund.parts)
        back = sum(part.amount_minor for part in gone if part.payment_reference == reference)
        share = min(amount, charged - back)
        if share > 0:
            amount -= share
            parts.append(
                RefundPart(
                    method=method,
                    payment_reference=reference,
                    reference=f"{order.number}/{sequence}/refund/{method}",
                    amount_minor=share,
                    expected_at=at + order.policy.refund_window,
                )
            )
    if amount:
        raise ValueError(f"refund of order {order.number} exceeds what was charged by {amount} minor units")
    return tuple(parts)


def with_cash_return(order: Order, outcome: Outcome, now: datetime) -> Order:
    """Add the cash that the provider pays back with a void or beside a charge, as a refund of its own (R7); once."""
    returned = outcome.cash_return
    if returned is None or any(_is_attempt_of(part, returned.reference) for part in _all_parts(order)):
        return order
    charged = outcome.result is Result.CAPTURED
    cancelled = CashReturnReason.ITEMS_CANCELLED if charged else CashReturnReason.ORDER_CANCELLED
    part = RefundPart(
        method=PaymentMethod.KONBINI,
        payment_reference=outcome.reference.removesuffix("/capture"),
        reference=returned.reference,
        amount_minor=returned.amount_minor,
        expected_at=now + order.policy.refund_window,
    )
    refund = Refund(
        refund_id=f"R{len(order.refunds) + 1}",
        reason=cancelled if charged or order.status is Status.CANCELLED else CashReturnReason.PAYMENT_NOT_NEEDED,
        lines=(),
        cash_minor=returned.amount_minor,
        parts=(part,),
        by=Actor.SYSTEM.value,
        requested_at=now,
    )
    results = {
        RefundStatus.PENDING: Result.REFUND_PENDING,
        RefundStatus.PAID: Result.REFUND_PAID,
        RefundStatus.FAILED: Result.REFUND_FAILED,
    }
    if returned.status not in results:
        return order.with_(refunds=(*order.refunds, refund))
    told = Outcome(
        result=results[returned.status],
        reference=returned.reference,
        expected_at=returned.expected_at,
        decline_code=returned.failure_code,
    )
    return moved(order.with_(refunds=(*order.refunds, refund)), told, now)


def _is_attempt_of(part: RefundPart, reference: str) -> bool:
    return part.reference == reference or part.reference.startswith(f"{reference}/")


def _all_parts(order: Order) -> Iterable[RefundPart]:
    return (part for refund in order.refunds for part in refund.parts)


def part_of(order: Order, reference: str) -> RefundPart | None:
    """Return the part of a refund that is known under `reference` at the provider, or None."""
    return next((part for part in _all_parts(order) if part.reference == reference), None)


def pay_effects(before: Order, after: Order, now: datetime) -> tuple[PayRefund, ...]:
    """Return the payments of the refund parts that `after` asks for and `before` did not."""
    known = {part.reference for part in _all_parts(before)}
    return tuple(pay_effect(after, part, now) for part in _all_parts(after) if part.reference not in known)


def pay_effect(order: Order, part: RefundPart, now: datetime) -> PayRefund:
    """Return the payment of one part of a refund."""
    return PayRefund(
        reference=part.reference,
        payment_reference=part.payment_reference,
        order_number=order.number,
        amount_minor=part.amount_minor,
        currency=order.currency,
        at=now,
    )


def retried(order: Order, refund_id: str, at: datetime) -> Order:
    """Return the order with every failed part of a refund asked for anew, under a key of its own (R6)."""
    return _changed(
        order,
        lambda refund, part: refund.refund_id == refund_id and part.status is RefundStatus.FAILED,
        lambda part: {
            "status": RefundStatus.REQUESTED,
            "attempt": part.attempt + 1,
            "reference": f"{part.reference.removesuffix(f'/{part.attempt}')}/{part.attempt + 1}",
            "failure_code": None,
            "expected_at": at + order.policy.refund_window,
        },
    )


def asked_again(order: Order, due_at: datetime) -> Order:
    """Return the order with the next question to the provider put off, for the parts whose turn it was at `due_at`."""
    return _changed(
        order,
        lambda _refund, part: part.ask_at is not None and part.ask_at <= due_at,
        lambda part: {"ask_at": due_at + ASK_EVERY},
    )


def moved(order: Order, outcome: Outcome, now: datetime) -> Order:
    """Return the order with what the provider said of one refund part; a part that was paid can come back as failed."""
    expected = outcome.expected_at
    changes: dict[Result, dict[str, object]] = {
        Result.REFUND_PENDING: {"status": RefundStatus.PENDING},
        Result.REFUND_PAID: {"status": RefundStatus.PAID, "ask_at": None},
        Result.REFUND_FAILED: {
            "status": RefundStatus.FAILED,
            "failure_code": outcome.decline_code or "failed",
            "ask_at": None,
        },
    }
    change = changes[outcome.result]

    def update(part: RefundPart) -> dict[str, object]:
        if outcome.result is Result.REFUND_PAID:
            return {**change, "paid_at": part.paid_at or now}
        if outcome.result is Result.REFUND_FAILED and part.paid_at is not None and order.item_by_item:
            sent_back = Bounce(paid_at=part.paid_at, returned_at=now)
            return {**change, "paid_at": None, "bounces": (*part.bounces, sent_back)}
        if outcome.result is not Result.REFUND_PENDING:
            return change
        when = expected or part.expected_at
        asks = part.ask_at or max(when or now, now + timedelta(minutes=1))
        return {**change, "expected_at": when, "ask_at": asks}

    changed = _changed(
        order, lambda _refund, part: part.reference == outcome.reference and _news(order, part, outcome), update
    )
    failed = any(part.status is RefundStatus.FAILED for part in _all_parts(changed))
    flags = changed.flags | {Flag.REFUND_FAILED} if failed else changed.flags - {Flag.REFUND_FAILED}
    return changed.with_(flags=flags) if flags != changed.flags else changed


def _news(order: Order, part: RefundPart, outcome: Outcome) -> bool:
    """Return whether an outcome can be later than what is known: answers overtake each other."""
    if part.status is RefundStatus.PAID:
        # What was paid can still come back from the bank; it does not become pending again.
        return outcome.result is Result.REFUND_FAILED
    # A failed one is over under its reference: it is tried again under another.
    return part.status is not RefundStatus.FAILED or not order.item_by_item


def _changed(
    order: Order, which: Callable[[Refund, RefundPart], bool], how: Callable[[RefundPart], dict[str, object]]
) -> Order:
    refunds = tuple(
        refund.model_copy(
            update={
                "parts": tuple(
                    part.model_copy(update=how(part)) if which(refund, part) else part for part in refund.parts
                )
            }
        )
        for refund in order.refunds
    )
    return order.with_(refunds=refunds) if refunds != order.refunds else order
