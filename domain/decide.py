"""The one decision of the engine: what an event makes of an order.

`decide(order, event, now)` is total, deterministic and free of side effects. An event is a command, a passed deadline or
the outcome of an effect; the answer is the order as it then is with the effects to perform, or a refusal.
"""

from datetime import datetime
from typing import NamedTuple

from domain.changes import APPLY, apply_deadline, apply_verdict, outcome_detail
from domain.commands import Command, parse_command
from domain.deadlines import Deadline, deadlines
from domain.effects import Authorize, Effect, Notice, NoticeKind, Outcome, Result, Void
from domain.guards import BEFORE_WINDOW, CHECKS, first_refusal, holds, no_row_refusal, window_refusal
from domain.lifecycle import Do, Mail, Row, rows_for
from domain.order import Actor, Flag, InProgress, Order, PaymentStatus, RequestStatus
from domain.payment import charge_failed, needed, renewed, replaced_hold
from domain.placement import first_authorization
from domain.refusals import Refusal, RefusalCode, refuse
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
    return _on_command(order, order, event, judged_at(order, event.command.requested_at, now), now)


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
    return _land(before, APPLY[name](order, command, at), row, now)


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


def _land(before: Order, changed: Order, row: Row, now: datetime, detail: str = "") -> Accepted:
    """Finish a transition: state, version, effects and mails of the row."""
    after = changed.with_(status=row.target, version=changed.version + 1, in_progress=None)
    effects: list[Effect] = []
    if Do.VOID in row.effects:
        effects += void_effects(before, after, now)
    if Do.AUTHORIZE in row.effects and after.payment.status is PaymentStatus.AUTHORIZING:
        effects += _authorize_again(before, after, now)
    mails = [each for each in row.effects if isinstance(each, Mail) and _mail_due(each, before, after)]
    return Accepted(after, tuple(effects), notices(after, mails), publish=bool(row.effects), detail=detail)


def void_effects(before: Order, after: Order, now: datetime) -> tuple[Void, ...]:
    """Return the voids of the references that `after` wants voided and `before` did not."""
    fresh = [reference for reference in after.voids if reference not in before.voids]
    return tuple(Void(reference=reference, order_number=after.number, at=now) for reference in fresh)


def _authorize_again(before: Order, after: Order, now: datetime) -> tuple[Authorize, ...]:
    if after.payment.reference == before.payment.reference:
        return ()
    effect = authorize_effect(after, now)
    if before.payment.status is PaymentStatus.AUTHORIZING:
        # The first authorisation is given up and with it, perhaps, the reservation that it was to make.
        first = first_authorization(after, view(after, now))
        effect = effect.model_copy(update={"reservation": first.reservation, "record": first.record})
    return (effect,)


def authorize_effect(order: Order, now: datetime) -> Authorize:
    """Return the authorisation of the order's present payment."""
    return Authorize(
        reference=order.payment.reference,
        order_number=order.number,
        amount_minor=order.payment.amount_minor,
        currency=order.currency,
        card=order.payment.card,
        at=now,
    )


def _mail_due(mail: Mail, before: Order, after: Order) -> bool:
    if mail.kind is NoticeKind.SOLD_SHIP_NOW:
        return after.policy.seller.notify_sold
    if mail.kind is NoticeKind.REQUEST_DECLINED:
        return before.request is not None and before.request.status is RequestStatus.OPEN
    return True


def notices(order: Order, mails: list[Mail]) -> tuple[Notice, ...]:
    """Return the notices of `mails`, keyed by the order's version, so that each is sent once."""
    return tuple(
        Notice(key=f"{order.number}/{order.version}/{mail.kind}/{mail.to}", kind=mail.kind, recipient=mail.to)
        for mail in mails
    )


def _on_deadline(order: Order, deadline: Deadline, now: datetime) -> Decision:
    rows = rows_for(order.status, deadline.name, Actor.SYSTEM)
    if not rows or now < deadline.at or deadline not in deadlines(order):
        return Accepted(order)
    return _land(order, apply_deadline(order, deadline), rows[0], now)


def _on_outcome(order: Order, outcome: Outcome, now: datetime) -> Decision:
    waiting = order.in_progress
    if waiting is not None and outcome.reference == waiting.reference:
        return _resume(order, waiting, outcome, now)
    if outcome.result in (Result.VOIDED, Result.VOID_FAILED):
        return _on_void(order, outcome, now)
    if outcome.result is Result.PUBLISHED:
        return Accepted(order.with_(recorded_entries=max(order.recorded_entries, outcome.entries)))
    current = outcome.reference == order.payment.reference and order.payment.status is PaymentStatus.AUTHORIZING
    if not current:
        return _on_stale(order, outcome, now)
    if outcome.result in (Result.OUT_OF_STOCK, Result.NUMBER_TAKEN):
        return _on_rejected(order, outcome)
    rows = rows_for(order.status, outcome.result, Actor.SYSTEM)
    if not rows:
        return _on_stale(order, outcome, now)
    return _land(order, apply_verdict(order, outcome, now), rows[0], now, outcome_detail(outcome))


def _on_void(order: Order, outcome: Outcome, now: datetime) -> Accepted:
    if outcome.reference not in order.voids:
        return Accepted(order)
    if outcome.result is Result.VOID_FAILED:
        again = Void(reference=outcome.reference, order_number=order.number, at=now, round=outcome.round + 1)
        flagged = order.with_(flags=order.flags | {Flag.VOID_FAILING}, version=order.version + 1)
        return Accepted(flagged, (again,), publish=True, detail=f"{outcome.reference} not voided yet; trying on")
    left = tuple(reference for reference in order.voids if reference != outcome.reference)
    flags = order.flags if left else order.flags - {Flag.VOID_FAILING}
    return Accepted(
        order.with_(voids=left, flags=flags, version=order.version + 1), publish=True, detail=outcome.reference
    )


def _on_stale(order: Order, outcome: Outcome, now: datetime) -> Accepted:
    """Void an authorisation that came too late to be wanted; anything else that is late changes nothing."""
    unwanted = outcome.result is Result.AUTHORIZED and outcome.reference != order.payment.reference
    if not unwanted or outcome.reference in order.voids:
        return Accepted(order)
    after = order.with_(voids=(*order.voids, outcome.reference), version=order.version + 1)
    effects = void_effects(order, after, now)
    return Accepted(after, effects, publish=True, detail=f"{outcome.reference} came too late; voided")


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
    decision = _on_command(order, moved, event, waiting.at, now)
    if isinstance(decision, Accepted) and decision.awaited is not None:
        return decision._replace(effects=void_effects(order, decision.order, now))
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
