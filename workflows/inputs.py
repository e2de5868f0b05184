"""The input and the result of an order's workflow.

They live outside the workflow's own module: models defined there are built anew for every order that is loaded.
"""

from collections.abc import Iterable

from domain.base import Instant, Value
from domain.effects import Ask, Authorize, Effect, Notice, Outcome, PayRefund, Publish, Void
from domain.journal import Message
from domain.order import Order
from domain.placement import PlaceOrder


class Carried(Value):
    """What one run of an order hands to the next: state, waiting commands, effects under way, notices not yet sent."""

    order: Order
    messages: tuple[Message, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    authorizations: tuple[Authorize, ...] = ()
    voids: tuple[Void, ...] = ()
    publications: tuple[Publish, ...] = ()
    refunds: tuple[PayRefund, ...] = ()
    asks: tuple[Ask, ...] = ()
    notices: tuple[Notice, ...] = ()
    dirty: bool = False


def carry(
    order: Order,
    mailbox: Iterable[Message | Outcome],
    running: Iterable[Effect],
    notices: Iterable[Notice],
    dirty: bool,
) -> Carried:
    """Return what a run that ends hands to the next; effects under way are begun again there, under their keys."""
    waiting, effects = list(mailbox), list(running)
    return Carried(
        order=order,
        messages=tuple(each for each in waiting if isinstance(each, Message)),
        outcomes=tuple(each for each in waiting if isinstance(each, Outcome)),
        authorizations=tuple(each for each in effects if isinstance(each, Authorize)),
        voids=tuple(each for each in effects if isinstance(each, Void)),
        publications=tuple(each for each in effects if isinstance(each, Publish)),
        refunds=tuple(each for each in effects if isinstance(each, PayRefund)),
        asks=tuple(each for each in effects if isinstance(each, Ask)),
        notices=tuple(notices),
        dirty=dirty,
    )


class OrderInput(Value):
    """The input of the workflow: a placement, or what an earlier run carried over."""

    place: PlaceOrder | None = None
    carried: Carried | None = None


class OrderResult(Value):
    """How an order ended: `reason` is that of its cancellation, `closed_at` when it was cancelled or completed."""

    number: str
    status: str
    reason: str | None = None
    closed_at: Instant | None = None


def ended(order: Order) -> OrderResult:
    """Return how a closed order ended."""
    cancellation = order.cancellation
    return OrderResult(
        number=order.number,
        status=order.status.value,
        reason=cancellation.reason if cancellation else None,
        closed_at=order.closed_at,
    )
