"""The one decision of the engine: what an event makes of an order.

`decide(order, event, now)` is total, deterministic and free of side effects. An event is a command, a passed deadline or
the outcome of an effect; the answer is the order as it then is with the effects to perform, or a refusal.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from domain.changes import APPLY, apply_deadline, expired, outcome_detail
from domain.commands import AskToWait, Command, PaymentEvent, SendMessage, parse_command
from domain.conditions import holds
from domain.correspondence import question_lost
from domain.deadlines import Deadline, DeadlineName, deadlines
from domain.effects import Ask, Authorize, Effect, Notice, NoticeKind, Outcome, Result, Void
from domain.guards import BEFORE_WINDOW, CHECKS, first_refusal, no_row_refusal, window_refusal
from domain.lifecycle import Do, Mail, Row, rows_for
from domain.money import format_money
from domain.notices import mail_due, notices, of_cash_return
from domain.order import Actor, Flag, InProgress, Order
from domain.payment import apply_verdict, charge_failed, needed, renewed, replaced_hold
from domain.payment_state import PaymentStatus
from domain.placement import authorization, first_authorization
from domain.refund import PaymentMethod, RefundPart, RefundStatus
from domain.refund_payments import moved, part_of, pay_effect, pay_effects, with_cash_return
from domain.refusal_codes import RefusalCode
from domain.refusals import Refusal, refuse
from domain.views import view


class CommandEvent(NamedTuple):
    """A command that could be read, with the id under which it is answered."""

    name: str
    command: Command
    command_id: str


Event = CommandEvent | Deadline | Outcome


class Accepted(NamedTuple):
    """The event is carried out: the order as it now is, the effects to perform, the notices to send.

    With `awaited` the command is not yet decided: its outcome is to be fed back before any other event.
    `publish` says whether records and notices are to be brought up to date.
    """

    order: Order
    effects: tuple[Effect, ...] = ()
    notices: tuple[Notice, ...] = ()
    awaited: Effect | None = None
    publish: bool = False
    detail: str = ""


class Refused(NamedTuple):
    """The event is refused; `order` differs from before only where a partner's answer has to be kept."""

    refusal: Refusal
    order: Order
    effects: tuple[Effect, ...] = ()
    notices: tuple[Notice, ...] = ()
    publish: bool = False
    awaited: None = None


Decision = Accepted | Refused


def judged_at(order: Order, requested_at: datetime | None, now: datetime) -> datetime:
    """Return the instant by which a command is judged: when it was requested, never later than `now` nor before placement."""
    return now if requested_at is None else max(min(requested_at, now), order.placed_at)


def decide(order: Order, event: Event, now: datetime) -> Decision:
    """Decide `event` for `order` at the order's clock `now` (UTC)."""
    if isinstance(event, Deadline):
        return _on_deadline(order, event, now)
    if isinstance(event, Outcome):
        return _on_outcome(order, event, now)
    command = event.command
    # A date to answer by leaves the buyer its time from when the question is read here, not from when it was written.
    dated = (isinstance(command, SendMessage) and command.answer_by is not None) or (
        isinstance(command, AskToWait) and order.item_by_item
    )
    at = now if dated else judged_at(order, command.requested_at, now)
    return _on_command(order, order, event, at, now)


def _on_command(before: Order, order: Order, event: CommandEvent, at: datetime, now: datetime) -> Decision:
    """Decide a command; `before` is the order as it was when the command came, `order` what outcomes have made of it."""
    name, command = event.name, event.command
    rows = () if order.rejected else rows_for(order.status, name, command.actor)
    if not rows:
        return Refused(no_row_refusal(order, name, command.actor), order)
    if (refusal := first_refusal(BEFORE_WINDOW.get(name, ()), order, command, at)) is not None:
        return Refused(refusal, order)
    row = next((row for row in rows if holds(row.when, order, command, at)), None)
    if row is None:
        return Refused(window_refusal(order, rows[0].when), order)
    if (refusal := first_refusal(CHECKS.get(name, ()), order, command, at)) is not None:
        return Refused(refusal, order)
    if (effect := needed(order, command, now)) is not None:
        return _await(order, event, at, effect)
    changed = APPLY[name](order, command, at)
    asks = _ask_effects(changed, [command.reference], now) if isinstance(command, PaymentEvent) else ()
    return _land(before, changed, row, now, asks=asks)


def _await(order: Order, event: CommandEvent, at: datetime, effect: Effect) -> Accepted:
    waiting = InProgress(
        name=event.name,
        command=event.command.model_dump(mode="json"),
        command_id=event.command_id,
        at=at,
        reference=effect.key,
        granted=order.in_progress is not None,
    )
    # The version moves on twice: once for the reservation that the effect makes, once when the command is decided, so
    # that the record written then is newer than the reservation and brings stock in line with what was decided.
    later = order.with_(in_progress=waiting, version=order.version + 1, sequence=order.sequence + 1)
    return Accepted(later, awaited=effect, detail="waiting for a partner")


def _ask_effects(order: Order, references: Iterable[str], now: datetime) -> tuple[Ask, ...]:
    """Return a question to the provider for each reference; the order's sequence tells repeated questions apart."""
    return tuple(
        Ask(
            reference=reference,
            order_number=order.number,
            at=now,
            refund=part_of(order, reference) is not None,
            round=order.sequence,
        )
        for reference in references
    )


def _land(
    before: Order, changed: Order, row: Row, now: datetime, detail: str = "", asks: tuple[Ask, ...] = ()
) -> Accepted:
    """Finish a transition: state, version, effects and mails of the row."""
    after = changed.with_(status=row.target, version=changed.version + 1, in_progress=None)
    effects: list[Effect] = [*asks]
    if Do.VOID in row.effects:
        effects += void_effects(before, after, now)
    if Do.AUTHORIZE in row.effects and after.payment.status is PaymentStatus.AUTHORIZING:
        effects += _authorize_again(before, after, now)
    if Do.REFUND in row.effects:
        effects += pay_effects(before, after, now)
    mails = [each for each in row.effects if isinstance(each, Mail) and mail_due(each, before, after)]
    # A mere question to the provider changes nothing that the store would have to know.
    publish = any(each is not Do.ASK for each in row.effects)
    return Accepted(after, tuple(effects), notices(after, mails, before), publish=publish, detail=detail)


def void_effects(before: Order, after: Order, now: datetime) -> tuple[Void, ...]:
    """Return the voids of the references that `after` wants voided and `before` did not."""
    fresh = [reference for reference in after.voids if reference not in before.voids]
    return tuple(void_effect(after, reference, now) for reference in fresh)


def void_effect(order: Order, reference: str, now: datetime, round_number: int = 1) -> Void:
    """Return the void of one reference."""
    return Void(reference=reference, order_number=order.number, at=now, round=round_number)


def _authorize_again(before: Order, after: Order, now: datetime) -> tuple[Authorize, ...]:
    if after.payment.reference == before.payment.reference:
        return ()
    effect = authorization(after, after.payment.reference, after.payment.amount_minor, now)
    if before.payment.status is PaymentStatus.AUTHORIZING:
        # The first authorisation is given up and with it, perhaps, the reservation that it was to make.
        first = first_authorization(after, view(after, now))
        effect = effect.model_copy(update={"reservation": first.reservation, "record": first.record})
    elif effect.method is PaymentMethod.KONBINI:
        # A payment number is issued to somebody: the provider may need the buyer's name for it.
        effect = effect.model_copy(update={"record": view(after, now)})
    return (effect,)


def _on_deadline(order: Order, deadline: Deadline, now: datetime) -> Decision:
    rows = rows_for(order.status, deadline.name, Actor.SYSTEM)
    if not rows or now < deadline.at or deadline not in deadlines(order):
        return Accepted(order)
    changed = apply_deadline(order, deadline)
    return _land(order, changed, rows[0], now, asks=_ask_effects(changed, _asked_at(order, deadline), now))


def _asked_at(order: Order, deadline: Deadline) -> list[str]:
    """Return the references for which the provider is asked when `deadline` passes."""
    if deadline.name is DeadlineName.STORE_PAYMENT_DUE:
        return [order.payment.reference]
    if deadline.name is DeadlineName.REFUND_DUE:
        parts = (part for refund in order.refunds for part in refund.parts)
        return [part.reference for part in parts if part.ask_at is not None and part.ask_at <= deadline.at]
    return []


def _on_outcome(order: Order, outcome: Outcome, now: datetime) -> Decision:  # noqa: PLR0911 - one for each kind
    waiting = order.in_progress
    if waiting is not None and outcome.reference == waiting.reference:
        return _resume(order, waiting, outcome, now)
    awaited = order.payment.status is PaymentStatus.AWAITING and outcome.reference == order.payment.reference
    if outcome.result in (Result.VOIDED, Result.VOID_FAILED) and not awaited:
        return _on_void(order, outcome, now)
    if outcome.result is Result.PUBLISHED:
        return _on_published(order, outcome)
    if (part := part_of(order, outcome.reference)) is not None:
        return _on_refund(order, part, outcome, now)
    undecided = order.payment.status in (PaymentStatus.AUTHORIZING, PaymentStatus.AWAITING)
    if outcome.reference != order.payment.reference or not undecided:
        return _on_stale(order, outcome, now)
    if outcome.result in (Result.OUT_OF_STOCK, Result.NUMBER_TAKEN):
        return _on_rejected(order, outcome)
    if order.payment.status is PaymentStatus.AWAITING:
        return _on_store_payment(order, outcome, now)
    rows = rows_for(order.status, outcome.result, Actor.SYSTEM)
    row = next((row for row in rows if holds(row.when, order, None, now)), None)
    if row is None:
        return _on_stale(order, outcome, now)
    late = outcome.result is Result.LAPSED
    changed = expired(order, now) if late else apply_verdict(order, outcome, now)
    return _land(order, changed, row, now, outcome_detail(outcome))


def _on_published(order: Order, outcome: Outcome) -> Accepted:
    """Take in what was recorded and mailed: where a question was refused, nobody waits for its answer, and the seller is told."""
    recorded = order.with_(recorded_entries=max(order.recorded_entries, outcome.entries))
    if not outcome.refused:
        return Accepted(recorded)
    after, told = recorded, []
    for each in outcome.refused:
        if each.kind is NoticeKind.MESSAGE and each.recipient is Actor.BUYER:
            after = question_lost(after, each.subject_id)
            told.append(each.subject_id)
    after = after.with_(flags=after.flags | {Flag.MAIL_REFUSED}, version=order.version + 1)
    key = f"{order.number}/{after.version}/{NoticeKind.MESSAGE_UNDELIVERED}/seller"
    kind, seller = NoticeKind.MESSAGE_UNDELIVERED, Actor.SELLER
    mails = tuple(Notice(key=f"{key}/{each}", kind=kind, recipient=seller, subject_id=each) for each in told)
    refused = ", ".join(f"{each.kind} to the {each.recipient}" for each in outcome.refused)
    return Accepted(after, notices=mails, publish=True, detail=f"mail refused for good: {refused}"[:300])


def _on_store_payment(order: Order, outcome: Outcome, now: datetime) -> Decision:
    """Take in what the provider says of a payment number: paid, still awaited, or too late (G7)."""
    due_at = order.payment.due_at
    unpaid = outcome.result in (Result.AWAITING, Result.LAPSED, Result.VOIDED, Result.DECLINED, Result.UNANSWERED)
    if outcome.result is Result.AUTHORIZED:
        changed, result = apply_verdict(order, outcome, now), Result.AUTHORIZED
    elif unpaid and due_at is not None and due_at <= now:
        changed, result = expired(order, due_at), Result.LAPSED
    else:
        return Accepted(order, detail=f"{outcome.reference} is not paid yet")
    rows = rows_for(order.status, result, Actor.SYSTEM)
    row = next(row for row in rows if holds(row.when, order, None, now))
    return _land(order, changed, row, now, outcome_detail(outcome))


def _on_refund(order: Order, part: RefundPart, outcome: Outcome, now: datetime) -> Accepted:
    """Take in what the provider says of a refund; one that it does not know is asked for again, under the same key (R6)."""
    if outcome.result is Result.UNANSWERED:
        again = (pay_effect(order, part, now),) if part.status is RefundStatus.REQUESTED else ()
        return Accepted(order, again, detail=f"{part.reference} is not known to the provider")
    if outcome.result not in (Result.REFUND_PENDING, Result.REFUND_PAID, Result.REFUND_FAILED):
        return Accepted(order)
    after = moved(order, outcome, now)
    if after is order:
        return Accepted(order)
    after = after.with_(version=order.version + 1)
    refund_id = next(each.refund_id for each in after.refunds if part.reference in {p.reference for p in each.parts})
    was, now_is = (next(e.status for e in each.refunds if e.refund_id == refund_id) for each in (order, after))
    kinds = {RefundStatus.PAID: NoticeKind.REFUND_PAID, RefundStatus.FAILED: NoticeKind.REFUND_FAILED}
    mails = [Mail(kinds[now_is], Actor.BUYER)] if now_is is not was and now_is in kinds else []
    return Accepted(after, (), notices(after, mails, order), publish=True, detail=outcome_detail(outcome))


def _on_void(order: Order, outcome: Outcome, now: datetime) -> Accepted:
    if outcome.reference not in order.voids:
        return Accepted(order)
    if outcome.result is Result.VOID_FAILED:
        again = void_effect(order, outcome.reference, now, outcome.round + 1)
        flagged = order.with_(flags=order.flags | {Flag.VOID_FAILING}, version=order.version + 1)
        return Accepted(flagged, (again,), publish=True, detail=f"{outcome.reference} not voided yet; trying on")
    left = tuple(reference for reference in order.voids if reference != outcome.reference)
    flags = order.flags if left else order.flags - {Flag.VOID_FAILING}
    voided = order.with_(voids=left, flags=flags, version=order.version + 1)
    after = with_cash_return(voided, outcome, now)
    detail = outcome.reference
    if after.refunds != voided.refunds:
        returned = after.refunds[-1]
        detail += f"; {format_money(returned.amount_minor, order.currency)} in cash go back as {returned.refund_id}"
    return Accepted(after, notices=of_cash_return(voided, after), publish=True, detail=detail)


def _on_stale(order: Order, outcome: Outcome, now: datetime) -> Accepted:
    """Void an authorisation that came too late to be wanted; anything else that is late changes nothing."""
    payment = order.payment
    # Cash is taken at a store whatever became of the order meanwhile: what comes in late goes back.
    late_cash = payment.method is PaymentMethod.KONBINI and payment.status is PaymentStatus.VOIDED
    elsewhere = outcome.reference != payment.reference
    unwanted = outcome.result is Result.AUTHORIZED and (elsewhere or late_cash)
    # A charge that was undone can come back where the provider fails to pay it back: it is undone once more.
    undone = payment.status in (PaymentStatus.VOIDED, PaymentStatus.DECLINED)
    unwanted = unwanted or (outcome.result is Result.CAPTURED and (elsewhere or undone))
    # The points held besides an authorisation go with it, and are never voided by themselves.
    if not unwanted or outcome.reference in order.voids or outcome.reference.endswith("/points"):
        return Accepted(order)
    after = order.with_(voids=(*order.voids, outcome.reference), version=order.version + 1)
    effects = void_effects(order, after, now)
    # A buyer who has paid in cash does not see a hold vanish, and is told that the money comes back.
    cash = payment.method is PaymentMethod.KONBINI and outcome.result is Result.AUTHORIZED
    mails = [Mail(NoticeKind.LATE_PAYMENT_RETURNED, Actor.BUYER)] if cash else []
    told = notices(after, mails)
    return Accepted(after, effects, told, publish=True, detail=f"{outcome.reference} came too late; voided")


def _on_rejected(order: Order, outcome: Outcome) -> Accepted:
    """Refuse the placement itself: the last unit went to another buyer, or the number to another order (P3, P4)."""
    if outcome.result is Result.NUMBER_TAKEN:
        refusal = refuse(RefusalCode.ORDER_NUMBER_TAKEN, number=order.number)
    else:
        refusal = refuse(RefusalCode.OUT_OF_STOCK, number=order.number, short=_short(order, outcome))
    return Accepted(order.with_(rejected=refusal, version=order.version + 1), detail=refusal.message)


def _short(order: Order, outcome: Outcome) -> str:
    wanted = {line.sku: line.quantity for line in order.lines}
    return ", ".join(f"{sku}: {count} left, {wanted.get(sku, 'more')} wanted" for sku, count in outcome.short.items())


def _resume(order: Order, waiting: InProgress, outcome: Outcome, now: datetime) -> Decision:
    """Go on with the command that waited for `outcome`."""
    event = CommandEvent(waiting.name, parse_command(waiting.name, waiting.command), waiting.command_id)
    match outcome.result:
        case Result.AUTHORIZED if waiting.name == "edit":
            moved = replaced_hold(order, outcome)
        case Result.LAPSED | Result.VOIDED if waiting.granted or not waiting.reference.endswith("/capture"):
            return _not_granted(order, waiting, outcome, now)
        case Result.AUTHORIZED | Result.CAPTURED | Result.LAPSED | Result.VOIDED:
            moved = renewed(order, outcome, now)
        case Result.RESERVED:
            moved = order
        case _:
            return _not_granted(order, waiting, outcome, now)
    moved = with_cash_return(moved, outcome, now)
    decision = _on_command(order, moved, event, waiting.at, now)
    if isinstance(decision, Accepted) and decision.awaited is not None:
        return decision._replace(effects=void_effects(order, decision.order, now))
    if moved.refunds != order.refunds:
        return decision._replace(notices=(*decision.notices, *of_cash_return(order, decision.order)))
    return decision


def _not_granted(order: Order, waiting: InProgress, outcome: Outcome, now: datetime) -> Refused:
    """Refuse the waiting command: stock, hold or charge was not to be had (E7, S2)."""
    changed = charge_failed(order, waiting, outcome)
    after = changed.with_(in_progress=None, version=changed.version + 1)
    mails = []
    if waiting.name == "ship" and outcome.result is Result.DECLINED:
        mails = [Mail(NoticeKind.PAYMENT_PROBLEM, Actor.BUYER), Mail(NoticeKind.PAYMENT_PROBLEM, Actor.SELLER)]
    if outcome.result is Result.OUT_OF_STOCK:
        refusal = refuse(RefusalCode.OUT_OF_STOCK, number=order.number, short=_short_of_edit(outcome))
    elif outcome.result is Result.DECLINED:
        rule = "E7" if waiting.name == "edit" else "S2"
        code = outcome.decline_code or "declined"
        refusal = refuse(RefusalCode.PAYMENT_DECLINED, rule, number=order.number, decline_code=code)
    else:
        refusal = refuse(RefusalCode.PAYMENT_UNANSWERED, "E7" if waiting.name == "edit" else None, number=order.number)
    return Refused(refusal, after, void_effects(order, after, now), notices(after, mails), publish=True)


def _short_of_edit(outcome: Outcome) -> str:
    return ", ".join(f"{sku}: {count} to be had" for sku, count in outcome.short.items())
