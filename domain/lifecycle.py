"""The state machine of an order, as data: every transition is a row, everything else is refused.

What cannot be a column is a named condition (`When`) or check in `domain/guards.py`. The generated documentation, the
allowed actions and the refusals all come from these tables.
"""

from collections import defaultdict
from enum import StrEnum
from typing import NamedTuple

from domain.deadlines import DeadlineName
from domain.effects import NoticeKind, Result
from domain.order import Actor, PaymentStatus, RequestStatus, Status


class When(StrEnum):
    """A named condition under which a row applies, judged at the instant the command was requested."""

    ALWAYS = "always"
    EDIT_WINDOW_OPEN = "edit window open"
    CANCEL_WINDOW_OPEN = "cancel window open"
    CANCEL_WINDOW_CLOSED = "cancel window closed"
    ALL_CONFIRMED = "nothing left unshipped"
    SOME_LEFT = "something left unshipped"
    ALL_DELIVERED = "every parcel delivered"
    PARCELS_UNDERWAY = "a parcel still on its way"


class Do(StrEnum):
    """An effect other than a mail."""

    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    VOID = "void"
    RESERVE = "reserve stock"
    RELEASE = "release stock"
    RECORD = "record"


class Mail(NamedTuple):
    """A notice to one side."""

    kind: NoticeKind
    to: Actor

    def __str__(self) -> str:
        return f"mail {self.to.value}: {self.kind.value}"


class Row(NamedTuple):
    """One transition: in `source`, `event` by `actor` leads to `target`, provided `when` holds."""

    source: Status
    event: str
    actor: Actor
    target: Status
    when: When
    effects: tuple[Do | Mail, ...]
    rule: str


_B, _S, _O, _M = Actor.BUYER, Actor.SELLER, Actor.OPERATOR, Actor.SYSTEM
_N, _W, _D = NoticeKind, When, DeadlineName
_PENDING, _UNSHIPPED, _PARTIAL = Status.PENDING, Status.UNSHIPPED, Status.PARTIALLY_SHIPPED
_SHIPPED, _DELIVERED, _COMPLETED, _CANCELLED = Status.SHIPPED, Status.DELIVERED, Status.COMPLETED, Status.CANCELLED
_CANCEL = (Do.VOID, Do.RELEASE, Mail(_N.ORDER_CANCELLED, _B))
_CANCEL_BOTH = (*_CANCEL, Mail(_N.ORDER_CANCELLED, _S))
_VERIFIED = (Mail(_N.ORDER_CONFIRMATION, _B), Mail(_N.SOLD_SHIP_NOW, _S))
_EDITED = (Do.RESERVE, Do.AUTHORIZE, Do.VOID, Mail(_N.ORDER_EDITED, _B))
_REQUESTED = (Mail(_N.REQUEST_RECEIVED, _S), Mail(_N.REQUEST_RECEIVED, _B))
_PROBLEM = Mail(_N.PAYMENT_PROBLEM, _B)
_CONFIRMED = (Do.AUTHORIZE, Do.CAPTURE, Mail(_N.SHIPPED, _B), Mail(_N.REQUEST_DECLINED, _B))
_WARNED = (Mail(_N.CONFIRM_WARNING, _S),)


def _ship(source: Status, actor: Actor) -> tuple[Row, Row]:
    first = source is _UNSHIPPED
    effects, rules = (_CONFIRMED, "S1 S2 S5") if first else ((Mail(_N.SHIPPED, _B),), "S1 S5")
    return (
        Row(source, "ship", actor, _SHIPPED, _W.ALL_CONFIRMED, effects, rules),
        Row(source, "ship", actor, _PARTIAL, _W.SOME_LEFT, effects, rules),
    )


def _deliver(source: Status, actor: Actor) -> tuple[Row, ...]:
    if source is _PARTIAL:
        return (Row(source, "deliver", actor, _PARTIAL, _W.ALWAYS, (Do.RECORD,), "A7"),)
    return (
        Row(source, "deliver", actor, _DELIVERED, _W.ALL_DELIVERED, (Do.RECORD,), "A7"),
        Row(source, "deliver", actor, _SHIPPED, _W.PARCELS_UNDERWAY, (Do.RECORD,), "A7"),
    )


ROWS: tuple[Row, ...] = (
    # Pending: payment and details are not yet verified.
    Row(_PENDING, Result.AUTHORIZED, _M, _UNSHIPPED, _W.ALWAYS, _VERIFIED, "G5"),
    Row(_PENDING, Result.DECLINED, _M, _PENDING, _W.ALWAYS, (_PROBLEM,), "G3"),
    Row(_PENDING, "pay_again", _B, _PENDING, _W.ALWAYS, (Do.AUTHORIZE, Do.RECORD), "G3"),
    Row(_PENDING, "edit", _B, _PENDING, _W.EDIT_WINDOW_OPEN, _EDITED, "E1 E7 G2"),
    Row(_PENDING, "extend_edit", _O, _PENDING, _W.ALWAYS, (Do.RECORD,), "E6"),
    Row(_PENDING, "cancel", _B, _CANCELLED, _W.CANCEL_WINDOW_OPEN, _CANCEL, "C1 C2 C9"),
    Row(_PENDING, "request_cancellation", _B, _CANCELLED, _W.CANCEL_WINDOW_OPEN, _CANCEL, "C1 C2 C9"),
    Row(_PENDING, "request_cancellation", _B, _PENDING, _W.CANCEL_WINDOW_CLOSED, _REQUESTED, "C3"),
    Row(_PENDING, "flag_oversold", _M, _PENDING, _W.ALWAYS, (Mail(_N.OVERSOLD, _S),), "P4"),
    Row(_PENDING, _D.EDIT_WINDOW_CLOSED, _M, _PENDING, _W.ALWAYS, (), "E1"),
    Row(_PENDING, _D.CANCEL_WINDOW_CLOSED, _M, _PENDING, _W.ALWAYS, (), "C1"),
    Row(_PENDING, _D.PROCESSING_WINDOW_CLOSED, _M, _CANCELLED, _W.ALWAYS, _CANCEL, "G6 C9"),
    # Unshipped: verified, to be shipped.
    Row(_UNSHIPPED, Result.AUTHORIZED, _M, _UNSHIPPED, _W.ALWAYS, (Do.RECORD,), "G3"),
    Row(_UNSHIPPED, Result.DECLINED, _M, _UNSHIPPED, _W.ALWAYS, (_PROBLEM,), "G3"),
    Row(_UNSHIPPED, "pay_again", _B, _UNSHIPPED, _W.ALWAYS, (Do.AUTHORIZE, Do.RECORD), "G3"),
    Row(_UNSHIPPED, "edit", _B, _UNSHIPPED, _W.EDIT_WINDOW_OPEN, _EDITED, "E1 E7"),
    Row(_UNSHIPPED, "extend_edit", _O, _UNSHIPPED, _W.ALWAYS, (Do.RECORD,), "E6"),
    Row(_UNSHIPPED, "cancel", _B, _CANCELLED, _W.CANCEL_WINDOW_OPEN, _CANCEL_BOTH, "C1 C2 C9"),
    Row(_UNSHIPPED, "cancel", _S, _CANCELLED, _W.ALWAYS, _CANCEL, "C5 C9"),
    Row(_UNSHIPPED, "request_cancellation", _B, _CANCELLED, _W.CANCEL_WINDOW_OPEN, _CANCEL_BOTH, "C1 C2 C9"),
    Row(_UNSHIPPED, "request_cancellation", _B, _UNSHIPPED, _W.CANCEL_WINDOW_CLOSED, _REQUESTED, "C3"),
    Row(
        _UNSHIPPED,
        "accept_cancellation",
        _S,
        _CANCELLED,
        _W.ALWAYS,
        (Do.VOID, Do.RELEASE, Mail(_N.REQUEST_ACCEPTED, _B)),
        "C4 C9",
    ),
    Row(_UNSHIPPED, "decline_cancellation", _S, _UNSHIPPED, _W.ALWAYS, (Mail(_N.REQUEST_DECLINED, _B),), "C4"),
    *_ship(_UNSHIPPED, _S),
    *_ship(_UNSHIPPED, _O),
    Row(_UNSHIPPED, "flag_oversold", _M, _UNSHIPPED, _W.ALWAYS, (Mail(_N.OVERSOLD, _S),), "P4"),
    Row(_UNSHIPPED, _D.EDIT_WINDOW_CLOSED, _M, _UNSHIPPED, _W.ALWAYS, (), "E1"),
    Row(_UNSHIPPED, _D.CANCEL_WINDOW_CLOSED, _M, _UNSHIPPED, _W.ALWAYS, (), "C1"),
    Row(_UNSHIPPED, _D.SHIP_DATE_PASSED, _M, _UNSHIPPED, _W.ALWAYS, _WARNED, "C7 S3"),
    Row(_UNSHIPPED, _D.CONFIRM_WINDOW_CLOSED, _M, _CANCELLED, _W.ALWAYS, _CANCEL_BOTH, "C8 C9"),
    # Partially shipped: charged, a remainder is due.
    *_ship(_PARTIAL, _S),
    *_ship(_PARTIAL, _O),
    *_deliver(_PARTIAL, _M),
    *_deliver(_PARTIAL, _O),
    Row(_PARTIAL, _D.SHIP_DATE_PASSED, _M, _PARTIAL, _W.ALWAYS, (Do.RECORD,), "S3"),
    Row(_PARTIAL, _D.CONFIRM_WINDOW_CLOSED, _M, _PARTIAL, _W.ALWAYS, (Do.RECORD,), "S4"),
    # Shipped and delivered.
    *_deliver(_SHIPPED, _M),
    *_deliver(_SHIPPED, _O),
    Row(_SHIPPED, _D.DELIVERY_ASSUMED, _M, _DELIVERED, _W.ALWAYS, (Do.RECORD,), "A10"),
    Row(_DELIVERED, _D.RETURN_WINDOW_CLOSED, _M, _COMPLETED, _W.ALWAYS, (Do.RECORD,), "A9"),
)
"""Every transition of an order."""


class PaymentRow(NamedTuple):
    """One transition of the payment; `when` names what the order is doing."""

    source: PaymentStatus
    event: str
    target: PaymentStatus
    when: str
    rule: str


_P = PaymentStatus
PAYMENT_ROWS: tuple[PaymentRow, ...] = (
    PaymentRow(_P.AUTHORIZING, Result.AUTHORIZED, _P.AUTHORIZED, "payment verified or given again", "P5 G5"),
    PaymentRow(_P.AUTHORIZING, Result.DECLINED, _P.DECLINED, "payment verified or given again", "G3"),
    PaymentRow(
        _P.AUTHORIZED, Result.AUTHORIZED, _P.AUTHORIZED, "edit with a new total; a lapsed hold renewed", "E7 S2"
    ),
    PaymentRow(_P.DECLINED, "pay_again", _P.AUTHORIZING, "another card given", "G3"),
    PaymentRow(_P.VOIDED, "pay_again", _P.AUTHORIZING, "another card given", "G3"),
    PaymentRow(_P.DECLINED, Result.AUTHORIZED, _P.AUTHORIZED, "renewed before capture", "S2"),
    PaymentRow(_P.VOIDED, Result.AUTHORIZED, _P.AUTHORIZED, "renewed before capture", "S2"),
    PaymentRow(_P.DECLINED, Result.DECLINED, _P.DECLINED, "renewal declined", "S2"),
    PaymentRow(_P.VOIDED, Result.DECLINED, _P.DECLINED, "renewal declined", "S2"),
    PaymentRow(_P.AUTHORIZED, Result.CAPTURED, _P.CAPTURED, "first confirmation", "S2"),
    PaymentRow(_P.AUTHORIZED, Result.DECLINED, _P.DECLINED, "capture or renewal declined: voided", "S2"),
    PaymentRow(_P.AUTHORIZED, Result.LAPSED, _P.VOIDED, "capture of a lapsed hold: renewed at once", "S2"),
    PaymentRow(_P.AUTHORIZED, Result.VOIDED, _P.VOIDED, "hold gone at the provider: renewed at once", "S2"),
    PaymentRow(_P.AUTHORIZING, "cancelled", _P.VOIDED, "order cancelled", "C9"),
    PaymentRow(_P.AUTHORIZED, "cancelled", _P.VOIDED, "order cancelled", "C9"),
    PaymentRow(_P.AUTHORIZED, Result.UNANSWERED, _P.VOIDED, "capture not answered in time: undone", "S2"),
)
"""Every transition of a payment; where there is no row for a cancellation, nothing can be held."""


class RequestRow(NamedTuple):
    """One transition of a cancellation request; a source of None means that there is none yet."""

    source: RequestStatus | None
    event: str
    actor: Actor
    target: RequestStatus
    when: str
    rule: str


REQUEST_ROWS: tuple[RequestRow, ...] = (
    RequestRow(None, "request_cancellation", _B, RequestStatus.OPEN, "cancel window closed", "C3"),
    RequestRow(RequestStatus.DECLINED, "request_cancellation", _B, RequestStatus.OPEN, "cancel window closed", "C3"),
    RequestRow(RequestStatus.OPEN, "accept_cancellation", _S, RequestStatus.ACCEPTED, "always", "C4"),
    RequestRow(RequestStatus.OPEN, "cancel", _S, RequestStatus.ACCEPTED, "reason buyer_cancelled", "C4"),
    RequestRow(RequestStatus.OPEN, "decline_cancellation", _S, RequestStatus.DECLINED, "always", "C4"),
    RequestRow(RequestStatus.OPEN, "ship", _S, RequestStatus.DECLINED, "always", "C4"),
    RequestRow(RequestStatus.OPEN, "ship", _O, RequestStatus.DECLINED, "always", "C4"),
    RequestRow(RequestStatus.OPEN, "cancelled", _S, RequestStatus.OVERTAKEN, "for any other reason", "C5"),
    RequestRow(RequestStatus.OPEN, "cancelled", _M, RequestStatus.OVERTAKEN, "by a deadline", "C8 G6"),
    RequestRow(RequestStatus.OPEN, "cancelled", _B, RequestStatus.OVERTAKEN, "by the buyer, asked for in time", "C1"),
)
"""Every transition of a buyer's cancellation request."""


def _index() -> dict[tuple[Status, str, Actor], tuple[Row, ...]]:
    found: dict[tuple[Status, str, Actor], list[Row]] = defaultdict(list)
    for row in ROWS:
        rows = found[row.source, str(row.event), row.actor]
        if any(other.when is row.when for other in rows):
            raise ValueError(f"two rows for {row.source} {row.event} {row.actor} {row.when}")
        rows.append(row)
    return {key: tuple(rows) for key, rows in found.items()}


BY_KEY = _index()
"""The rows by (source, event, actor)."""


def rows_for(source: Status, event: str, actor: Actor) -> tuple[Row, ...]:
    """Return the rows of one (state, event, actor), none where it is refused."""
    return BY_KEY.get((source, str(event), actor), ())


def actors_for(event: str) -> tuple[Actor, ...]:
    """Return the actors to whom `event` is open in some state."""
    return tuple(actor for actor in Actor if any(row.event == event and row.actor is actor for row in ROWS))


def payment_target(source: PaymentStatus, event: str) -> PaymentStatus:
    """Return the payment state that `event` leads to; raises KeyError where the table has no such row."""
    for row in PAYMENT_ROWS:
        if row.source is source and row.event == event:
            return row.target
    raise KeyError(f"no payment transition from {source} on {event}")


def request_target(source: RequestStatus | None, event: str, actor: Actor) -> RequestStatus | None:
    """Return the request state that `event` leads to, None where the table has no such row."""
    return next(
        (row.target for row in REQUEST_ROWS if (row.source, row.event, row.actor) == (source, event, actor)), None
    )
