"""The input and the result of an order's workflow.

They live outside the workflow's own module: models defined there are built anew for every order that is loaded.
"""

from domain.base import Value
from domain.effects import Authorize, Notice, Outcome, Publish, Void
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
    notices: tuple[Notice, ...] = ()
    dirty: bool = False


class OrderInput(Value):
    """The input of the workflow: a placement, or what an earlier run carried over."""

    place: PlaceOrder | None = None
    carried: Carried | None = None


class OrderResult(Value):
    """How an order ended: `reason` is that of its cancellation."""

    number: str
    status: str
    reason: str | None = None
