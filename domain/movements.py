"""The money movements of an order, as balanced postings for the ledger.

They follow from the order's state alone, so that they can be written again at any time: each has an id of its own, and
the ledger takes in each id once. An entry's `amount_minor` is positive for a debit and negative for a credit.

Policy: S7, R5.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from enum import StrEnum

from domain.base import Instant, Value
from domain.order import Fulfilment, Order
from domain.refund import DeductionKind, PaymentMethod, Refund, RefundPart

PROVIDER_CLEARING = "provider:clearing"
POINTS = "points"
MARKETPLACE = "marketplace"


class MovementKind(StrEnum):
    """What moved."""

    CHARGE = "charge"
    SETTLEMENT = "settlement"
    REFUND = "refund"
    REFUND_PAID = "refund_paid"
    REFUND_RETURNED = "refund_returned"


class Entry(Value):
    """One side of a posting: debit > 0, credit < 0, in minor units of the movement's currency."""

    account: str
    amount_minor: int


class Movement(Value):
    """One balanced posting; `movement_id` is unique in the whole ledger."""

    movement_id: str
    kind: MovementKind
    order_number: str
    currency: str
    at: Instant
    entries: tuple[Entry, ...]

    @property
    def is_balanced(self) -> bool:
        """Whether debits and credits are equal."""
        return sum(entry.amount_minor for entry in self.entries) == 0


def movements(order: Order) -> tuple[Movement, ...]:
    """Return every money movement of `order` so far, the oldest first; before the charge only cash that goes back moves.

    As the order goes on, movements are added and none is changed. Policy: S7, R5.
    """
    charged_at = order.payment.captured_at
    charged = charged_at is not None and order.payment.captured_minor > 0
    found = [_charge(order, charged_at)] if charged_at is not None and charged else []
    for refund in order.refunds:
        found.append(_refund(order, refund))
        found.extend(_refund_paid(order, refund))
    if charged_at is not None and order.settled_minor is not None:
        found.append(
            _settlement(order, order.settled_minor, charged_at + (order.policy.settlement_window or timedelta(0)))
        )
    elif charged and order.policy.settlement_window is None and order.completed_at is not None:
        # An order placed before there was a settlement period has no deadline for it: its completion settles it.
        found.append(_settlement(order, _left_in_settlement(order, found), order.completed_at))
    return tuple(sorted((each for each in found if each.entries), key=lambda each: each.at))


def in_settlement(order: Order) -> int:
    """Return what of the charge is in settlement for the seller, in minor units: after refunds and the marketplace's fee.

    At the end of the settlement period this is what becomes available. Policy: S7.
    """
    return _left_in_settlement(order, movements(order))


def _left_in_settlement(order: Order, posted: Iterable[Movement]) -> int:
    account = _settlement_account(order)
    entries = (entry for each in posted for entry in each.entries if entry.account == account)
    return -sum(entry.amount_minor for entry in entries)


def buyer_account(buyer_id: str) -> str:
    """Return the account of what the marketplace owes a buyer until a refund is paid."""
    return f"buyer:{buyer_id}"


def _settlement_account(order: Order) -> str:
    return f"seller:{order.seller_id}:settlement"


def _available_account(order: Order) -> str:
    return f"seller:{order.seller_id}:available"


def _movement(order: Order, kind: MovementKind, name: str, at: datetime, *entries: tuple[str, int]) -> Movement:
    """Build a movement of the entries that move anything."""
    return Movement(
        movement_id=f"{order.number}/{name}",
        kind=kind,
        order_number=order.number,
        currency=order.currency,
        at=at,
        entries=tuple(Entry(account=account, amount_minor=amount) for account, amount in entries if amount),
    )


def _charge(order: Order, charged_at: datetime) -> Movement:
    payment = order.payment
    total = payment.captured_minor
    points = payment.shares(total).get(PaymentMethod.POINTS, 0)
    fee = min(order.shipping_fee_minor, total) if order.fulfilment is Fulfilment.MARKETPLACE else 0
    entries = (
        (PROVIDER_CLEARING, total - points),
        (POINTS, points),
        (_settlement_account(order), fee - total),
        (MARKETPLACE, -fee),
    )
    return _movement(order, MovementKind.CHARGE, "charge", charged_at, *entries)


def _refund(order: Order, refund: Refund) -> Movement:
    """Post what is owed to the buyer from the moment the refund is asked for."""
    amount = refund.amount_minor
    fee = _shipping_part(refund) if order.fulfilment is Fulfilment.MARKETPLACE else 0
    source = _available_account(order) if refund.from_available else _settlement_account(order)
    if not refund.of_charge:
        # It came in and was never charged: until it is paid the provider has it, and owes it to nobody but the buyer.
        source, fee = PROVIDER_CLEARING, 0
    entries = (
        (source, amount - fee),
        (MARKETPLACE, fee),
        (buyer_account(order.buyer.buyer_id), -amount),
    )
    return _movement(order, MovementKind.REFUND, f"refund/{refund.refund_id}", refund.requested_at, *entries)


def _shipping_part(refund: Refund) -> int:
    """Return what of a refund is shipping fee, in minor units: not less than nothing, not more than is paid back."""
    shipping = sum(line.shipping_minor for line in refund.lines)
    kept = sum(each.amount_minor for each in refund.deductions if each.kind is DeductionKind.SHIPPING_FEE)
    return min(max(shipping - kept, 0), refund.amount_minor)


def _refund_paid(order: Order, refund: Refund) -> Iterator[Movement]:
    """Post what the provider has paid back, one movement for each payment method, and again what a bank sent back of it."""
    for part in refund.parts:
        name = f"refund/{refund.refund_id}/{part.method}"
        paid = [each.paid_at for each in part.bounces] + ([part.paid_at] if part.paid_at is not None else [])
        for number, at in enumerate(paid, start=1):
            times = f"/{number}" if number > 1 else ""
            yield _to_buyer(order, part, MovementKind.REFUND_PAID, name + times, at, part.amount_minor)
        for number, bounce in enumerate(part.bounces, start=1):
            back = f"{name}/returned/{number}"
            yield _to_buyer(order, part, MovementKind.REFUND_RETURNED, back, bounce.returned_at, -part.amount_minor)


def _to_buyer(order: Order, part: RefundPart, kind: MovementKind, name: str, at: datetime, amount: int) -> Movement:
    source = POINTS if part.method is PaymentMethod.POINTS else PROVIDER_CLEARING
    return _movement(order, kind, name, at, (buyer_account(order.buyer.buyer_id), amount), (source, -amount))


def _settlement(order: Order, settled_minor: int, at: datetime) -> Movement:
    return _movement(
        order,
        MovementKind.SETTLEMENT,
        "settlement",
        at,
        (_settlement_account(order), settled_minor),
        (_available_account(order), -settled_minor),
    )
