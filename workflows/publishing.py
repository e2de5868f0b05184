"""When an order is brought up to date in the store, and its notices are sent.

- A void's first round is waited for, so that what is told of a cancellation is the whole of it.
- Nothing is told of an order while it is open if there is such an order, unless it is cancelled meanwhile.
- Notices go at once; a mere record waits for the one under way, since the newest snapshot holds everything.
- No publication grows without bound: history entries that are left over go with the next one.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from domain.effects import Authorize, Effect, Notice, Publish, Void
from domain.journal import unrecorded
from domain.order import CLOSED, Order
from domain.views import view

ENTRIES_AT_ONCE = 100
"""History entries in one publication."""


def publication(
    order: Order, running: Collection[Effect], notices: Sequence[Notice], dirty: bool, now: datetime
) -> Publish | None:
    """Return what is to be published now, None when there is nothing or it has to wait."""
    voiding = any(isinstance(each, Void) and each.round == 1 for each in running)
    if voiding or order.rejected is not None or _undecided(order, running):
        return None
    waiting = unrecorded(order)
    stale = dirty or len(waiting) > ENTRIES_AT_ONCE or (order.status in CLOSED and bool(waiting))
    under_way = any(isinstance(each, Publish) for each in running)
    if not notices and (under_way or not stale):
        return None
    return Publish(
        key=f"{order.number}/{order.version}/{order.entries}/publish",
        record=view(order, now),
        entries=waiting[:ENTRIES_AT_ONCE],
        notices=tuple(notices),
    )


def _undecided(order: Order, running: Collection[Effect]) -> bool:
    first = (each for each in running if isinstance(each, Authorize) and each.record is not None)
    return order.status not in CLOSED and any(each.reference == order.payment.reference for each in first)
