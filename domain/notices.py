"""Which notices a decision sends, and about what.

Policy: D1, G5, V7, R7.
"""

from domain.case import CaseStatus
from domain.effects import Notice, NoticeKind
from domain.lifecycle import Mail
from domain.order import Actor, Order, RequestStatus
from domain.refund import RefundStatus


def mail_due(mail: Mail, before: Order, after: Order) -> bool:
    """Return whether a row's mail is to be sent: not where the seller does without it, or there is nothing to tell (V7, G5)."""
    unwanted = {each.value for each in after.policy.seller.unwanted_notices}
    if mail.to is Actor.SELLER and mail.kind.value in unwanted:
        return False
    if mail.kind is NoticeKind.SOLD_SHIP_NOW:
        return after.policy.seller.notify_sold
    if mail.kind is NoticeKind.REQUEST_DECLINED:
        return before.request is not None and before.request.status is RequestStatus.OPEN
    if mail.kind is NoticeKind.ITEMS_CANCELLED:
        return len(after.reductions) > len(before.reductions)
    if mail.kind is NoticeKind.REFUND_REQUESTED:
        anew = len(before.refunds) == len(after.refunds) and not after.item_by_item
        return not anew and any(each.amount_minor for each in after.refunds if each not in before.refunds)
    return True


def notices(order: Order, mails: list[Mail], before: Order | None = None) -> tuple[Notice, ...]:
    """Return the notices of `mails`, keyed by the order's version, so that each is sent once."""
    base = f"{order.number}/{order.version}"
    return tuple(
        Notice(
            key=f"{base}/{mail.kind}/{mail.to}" + (f"/{subject}" if subject else ""),
            kind=mail.kind,
            recipient=mail.to,
            subject_id=subject,
        )
        for mail in mails
        for subject in _subjects(mail.kind, before or order, order)
    )


def _subjects(kind: NoticeKind, before: Order, after: Order) -> list[str | None]:
    """Return which messages, refunds or cases a notice is about: those that the decision changed; None for the order."""
    if kind is NoticeKind.MESSAGE:
        return [each.message_id for each in after.messages if each not in before.messages]
    if kind in (NoticeKind.REFUND_REQUESTED, NoticeKind.REFUND_PAID, NoticeKind.REFUND_FAILED):
        return [each.refund_id for each in after.refunds if each not in before.refunds]
    changed = [each for each in after.cases if each not in before.cases]
    if kind is NoticeKind.CASE_OPENED:
        return [each.case_id for each in changed]
    if kind is NoticeKind.CASE_CHANGED:
        # A case that a refund settles is told of by the refund, and so is what gives way to it.
        paid = {each.case_id for each in after.refunds if each not in before.refunds}
        over = {CaseStatus.CLOSED} if paid and after.item_by_item else set()
        told = (e for e in changed if e.status is not CaseStatus.REFUNDED or e.case_id not in paid)
        return [e.case_id for e in told if e.status not in over]
    return [None]


def of_cash_return(before: Order, after: Order) -> tuple[Notice, ...]:
    """Return the mail about cash that goes back: how much, by what way, by when or since when (R7)."""
    kinds = {RefundStatus.PAID: NoticeKind.REFUND_PAID, RefundStatus.FAILED: NoticeKind.REFUND_FAILED}
    fresh = after.refunds[len(before.refunds) :]
    mails = [Mail(kinds.get(each.status, NoticeKind.REFUND_REQUESTED), Actor.BUYER) for each in fresh]
    return notices(after, mails, before)
