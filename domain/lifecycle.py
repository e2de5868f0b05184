"""The state machine of an order, as data: every transition is a row, everything else is refused.

What cannot be a column is a named condition in `domain/conditions.py` or a check in `domain/guards.py`. The generated
documentation, the allowed actions and the refusals all come from these tables.
"""

from collections import defaultdict
from enum import StrEnum
from typing import NamedTuple

from domain.deadlines import DeadlineName
from domain.effects import NoticeKind, Result
from domain.order import Actor, RequestStatus, Status
from domain.payment_state import PaymentStatus


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
    IN_REVIEW = "held for review"
    NOT_IN_REVIEW = "not held for review"
    PAYMENT_HELD = "payment authorised"
    PAYMENT_NOT_HELD = "payment not yet authorised"
    ALL_RETURNED = "everything came back"
    PART_RETURNED = "something is left to be shipped"
    REST_UNDERWAY = "nothing left unshipped, a parcel still on its way"
    REST_DELIVERED = "nothing left unshipped, every parcel delivered"


class Do(StrEnum):
    """An effect other than a mail."""

    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    VOID = "void"
    RESERVE = "reserve stock"
    RELEASE = "release stock"
    RECORD = "record"
    REFUND = "pay the refund"
    ASK = "ask the payment provider"
    ERASE = "erase personal data"


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
_REDUCED = (Do.RELEASE, Mail(_N.ITEMS_CANCELLED, _B), Mail(_N.ITEMS_CANCELLED, _S))
_WARNED = (Mail(_N.CONFIRM_WARNING, _S),)


_MESSAGES = (Mail(_N.MESSAGE, _B), Mail(_N.MESSAGE, _S))
_OPENED = (Mail(_N.CASE_OPENED, _B), Mail(_N.CASE_OPENED, _S))
_TOLD_BUYER = (Mail(_N.CASE_CHANGED, _B),)
_TOLD_SELLER = (Mail(_N.CASE_CHANGED, _S),)
_TOLD_BOTH = (*_TOLD_BUYER, *_TOLD_SELLER)
_REFUND = (Do.REFUND, Mail(_N.REFUND_REQUESTED, _B), Mail(_N.REFUND_REQUESTED, _S), Mail(_N.CASE_CHANGED, _B))
_PAID_ANEW = (Do.REFUND, Do.RECORD, Mail(_N.REFUND_REQUESTED, _B))
_CHARGED = (_PARTIAL, _SHIPPED, _DELIVERED)


def _refund(source: Status, actor: Actor, event: str = "refund", rule: str = "R1 R2 R3 R4 R5") -> tuple[Row, ...]:
    if source is not _PARTIAL:
        return (Row(source, event, actor, source, _W.ALWAYS, _REFUND, rule),)
    return (
        Row(source, event, actor, _PARTIAL, _W.SOME_LEFT, _REFUND, rule),
        Row(source, event, actor, _SHIPPED, _W.REST_UNDERWAY, _REFUND, f"{rule} S4 S8"),
        Row(source, event, actor, _DELIVERED, _W.REST_DELIVERED, _REFUND, f"{rule} S4 S8"),
    )


def _case(
    event: str,
    actors: tuple[Actor, ...],
    effects: tuple[Do | Mail, ...],
    rule: str,
    sources: tuple[Status, ...] = _CHARGED,
) -> tuple[Row, ...]:
    """Return the rows of a step of a case, which leaves the order's own state as it is."""
    return tuple(Row(source, event, actor, source, _W.ALWAYS, effects, rule) for source in sources for actor in actors)


def _ship(source: Status, actor: Actor) -> tuple[Row, Row]:
    first = source is _UNSHIPPED
    effects, rules = (_CONFIRMED, "S1 S2 S5") if first else ((Mail(_N.SHIPPED, _B),), "S1 S5")
    return (
        Row(source, "ship", actor, _SHIPPED, _W.ALL_CONFIRMED, effects, rules),
        Row(source, "ship", actor, _PARTIAL, _W.SOME_LEFT, effects, rules),
    )


def _deliver(source: Status, actor: Actor) -> tuple[Row, ...]:
    effects = (Do.RECORD, Mail(_N.CASE_CHANGED, _B))
    if source is not _SHIPPED:
        # A Delivered order was counted as such: the carrier says so only now (A10).
        return (Row(source, "deliver", actor, source, _W.ALWAYS, effects, "A7 A6" if source is _PARTIAL else "A6 A10"),)
    return (
        Row(source, "deliver", actor, _DELIVERED, _W.ALL_DELIVERED, effects, "A7 A6"),
        Row(source, "deliver", actor, _SHIPPED, _W.PARCELS_UNDERWAY, effects, "A7 A6"),
    )


ROWS: tuple[Row, ...] = (
    # Pending: payment and details are not yet verified.
    Row(_PENDING, Result.AUTHORIZED, _M, _UNSHIPPED, _W.NOT_IN_REVIEW, _VERIFIED, "G5"),
    Row(_PENDING, Result.AUTHORIZED, _M, _PENDING, _W.IN_REVIEW, (Do.RECORD,), "G4"),
    Row(_PENDING, Result.AWAITING, _M, _PENDING, _W.ALWAYS, (Mail(_N.PAY_AT_STORE, _B),), "P5 G7"),
    Row(_PENDING, Result.LAPSED, _M, _CANCELLED, _W.ALWAYS, _CANCEL, "G7 C9"),
    Row(_PENDING, Result.DECLINED, _M, _PENDING, _W.ALWAYS, (_PROBLEM,), "G3"),
    Row(_PENDING, "pay_again", _B, _PENDING, _W.ALWAYS, (Do.AUTHORIZE, Do.RECORD), "G3"),
    Row(_PENDING, "edit", _B, _PENDING, _W.EDIT_WINDOW_OPEN, _EDITED, "E1 E7 G2"),
    Row(_PENDING, "extend_edit", _O, _PENDING, _W.ALWAYS, (Do.RECORD,), "E6"),
    Row(_PENDING, "cancel", _B, _CANCELLED, _W.CANCEL_WINDOW_OPEN, _CANCEL, "C1 C2 C9"),
    Row(_PENDING, "cancel", _M, _CANCELLED, _W.ALWAYS, _CANCEL, "P2 C9"),
    Row(_PENDING, "request_cancellation", _B, _CANCELLED, _W.CANCEL_WINDOW_OPEN, _CANCEL, "C1 C2 C9"),
    Row(_PENDING, "request_cancellation", _B, _PENDING, _W.CANCEL_WINDOW_CLOSED, _REQUESTED, "C3"),
    Row(_PENDING, "flag_oversold", _M, _PENDING, _W.ALWAYS, (Mail(_N.OVERSOLD, _S),), "P4"),
    Row(_PENDING, "hold_for_review", _O, _PENDING, _W.ALWAYS, (Do.RECORD,), "G4"),
    Row(_PENDING, "release_review", _O, _UNSHIPPED, _W.PAYMENT_HELD, _VERIFIED, "G4 G5"),
    Row(_PENDING, "release_review", _O, _PENDING, _W.PAYMENT_NOT_HELD, (Do.RECORD,), "G4"),
    Row(_PENDING, "refuse_review", _O, _CANCELLED, _W.ALWAYS, _CANCEL, "G4 C9"),
    Row(_PENDING, _D.STORE_PAYMENT_DUE, _M, _PENDING, _W.ALWAYS, (Do.ASK,), "G7"),
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
    Row(_UNSHIPPED, "cancel", _M, _CANCELLED, _W.ALWAYS, _CANCEL_BOTH, "P2 C9"),
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
    Row(_UNSHIPPED, "cancel_items", _S, _UNSHIPPED, _W.ALWAYS, _REDUCED, "C11"),
    Row(_UNSHIPPED, "cancel_items", _B, _UNSHIPPED, _W.CANCEL_WINDOW_OPEN, _REDUCED, "C11 C1"),
    Row(_UNSHIPPED, _D.ANSWER_DUE, _M, _CANCELLED, _W.ALWAYS, _CANCEL_BOTH, "C12 C9"),
    Row(_UNSHIPPED, "request_return", _B, _UNSHIPPED, _W.ALWAYS, _OPENED, "A3"),
    Row(_UNSHIPPED, "authorize_return", _S, _UNSHIPPED, _W.ALWAYS, _TOLD_BUYER, "A3"),
    Row(_UNSHIPPED, "decline_return", _S, _UNSHIPPED, _W.ALWAYS, _TOLD_BUYER, "A3"),
    Row(_UNSHIPPED, "receive_return", _S, _CANCELLED, _W.ALL_RETURNED, _CANCEL_BOTH, "A3 C9"),
    Row(_UNSHIPPED, "receive_return", _S, _UNSHIPPED, _W.PART_RETURNED, _REDUCED, "A3 C11"),
    Row(_UNSHIPPED, _D.CASE_DUE, _M, _UNSHIPPED, _W.ALWAYS, _TOLD_BOTH, "A3"),
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
    *_deliver(_DELIVERED, _M),
    *_deliver(_DELIVERED, _O),
    Row(_DELIVERED, _D.RETURN_WINDOW_CLOSED, _M, _COMPLETED, _W.ALWAYS, (Do.RECORD,), "A9"),
    # Money after the charge: refunds, the settlement, what the provider tells.
    *(row for source in _CHARGED for actor in (_S, _O) for row in _refund(source, actor)),
    *_case("retry_refund", (_S, _O), _PAID_ANEW, "R6 R7"),
    # Cash that no charge covers goes back in any state, and a refund can come back from the bank after completion.
    *_case("retry_refund", (_O,), _PAID_ANEW, "R6 R7", (_PENDING, _UNSHIPPED, _COMPLETED, _CANCELLED)),
    *_case(_D.REFUND_DUE, (_M,), (Do.ASK,), "R6 R7", tuple(Status)),
    *_case(_D.SETTLEMENT_ENDED, (_M,), (Do.RECORD,), "S7", (*_CHARGED, _COMPLETED)),
    *_case("payment_event", (_M,), (Do.ASK,), "R6 G7", tuple(Status)),
    # Cases, each with a table of its own: beside the order's state, several at once on different items.
    *_case("request_cancellation", (_B,), _OPENED, "A1 A2"),
    *_case("open_cancellation", (_S, _O), _TOLD_BUYER, "A1"),
    *_case("decline_cancellation", (_S, _O), _TOLD_BUYER, "A1"),
    *_case("approve_cancellation", (_O,), _TOLD_BOTH, "A1"),
    *_case("deny_cancellation", (_O,), _TOLD_BOTH, "A1"),
    *_case("request_return", (_B,), _OPENED, "A3"),
    *_case("authorize_return", (_S, _O), _TOLD_BUYER, "A3"),
    *_case("decline_return", (_S, _O), _TOLD_BUYER, "A3"),
    *_case("receive_return", (_S, _O), _TOLD_BUYER, "A3"),
    *_case("recall_parcel", (_S, _O), (_OPENED[0],), "A5"),
    *_case("receive_parcel", (_S, _O), _REFUND, "A5 R4"),
    *_case("return_to_sender", (_S, _O, _M), _REFUND, "A4 R4"),
    *_case("report_not_received", (_B,), _OPENED, "A6"),
    *_case("send_trace", (_S,), _TOLD_BUYER, "A6"),
    *_case("ask_to_wait", (_S,), _TOLD_BUYER, "A6"),
    *_case("open_claim", (_B,), _TOLD_SELLER, "A6"),
    *_case("grant_claim", (_O,), (*_REFUND, *_TOLD_SELLER), "A6"),
    *_case("deny_claim", (_O,), _TOLD_BOTH, "A6"),
    *_case(_D.CASE_DUE, (_M,), _TOLD_BOTH, "A3 A5 A6"),
    # Messages and the rating.
    *_case("send_message", (_B,), (_MESSAGES[1],), "V6 C12", (_UNSHIPPED, *_CHARGED)),
    *_case("send_message", (_S,), (_MESSAGES[0],), "V6 C12", (_UNSHIPPED, *_CHARGED)),
    *_case("rate", (_B,), (Do.RECORD,), "A8", (*_CHARGED, _COMPLETED)),
    Row(_CANCELLED, "rate", _B, _CANCELLED, _W.ALWAYS, (Do.RECORD,), "A8 C13"),
    # Closed: nothing more but the end of the retention period.
    Row(_CANCELLED, _D.RETENTION_ENDED, _M, _CANCELLED, _W.ALWAYS, (Do.ERASE, Do.RECORD), "A7"),
    Row(_COMPLETED, _D.RETENTION_ENDED, _M, _COMPLETED, _W.ALWAYS, (Do.ERASE, Do.RECORD), "A7"),
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
    PaymentRow(_P.AUTHORIZING, Result.AWAITING, _P.AWAITING, "convenience store: the number is issued", "P5 G7"),
    PaymentRow(_P.AWAITING, Result.AUTHORIZED, _P.AUTHORIZED, "convenience store: paid", "P5 G5"),
    PaymentRow(_P.AWAITING, "cancelled", _P.VOIDED, "not paid by the due date, or order cancelled", "G7 C9"),
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
    RequestRow(RequestStatus.OPEN, "cancelled", _O, RequestStatus.OVERTAKEN, "refused after review", "G4"),
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
