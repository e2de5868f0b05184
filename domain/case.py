"""What may be open beside an order once it is shipped: cancellations, returns, parcels coming back, parcels not received.

Policy: A1 to A6.
"""

from collections.abc import Mapping
from enum import StrEnum

from domain.base import Instant, Value


class CaseKind(StrEnum):
    """What a case is about."""

    CANCELLATION = "cancellation"
    RETURN = "return"
    PARCEL = "parcel"
    NOT_RECEIVED = "not_received"


class CaseStatus(StrEnum):
    """The state of a case; which states a kind knows is in its table in `domain/cases.py`."""

    REQUESTED = "requested"
    IN_REVIEW = "in_review"
    APPROVED = "approved"
    AUTHORIZED = "authorized"
    RECALLED = "recalled"
    RECEIVED = "received"
    REPORTED = "reported"
    TRACED = "traced"
    WAITING = "waiting"
    CLAIMED = "claimed"
    REFUNDED = "refunded"
    GRANTED = "granted"
    DENIED = "denied"
    DECLINED = "declined"
    CLOSED = "closed"


ENDED = frozenset(
    {
        CaseStatus.REFUNDED,
        CaseStatus.GRANTED,
        CaseStatus.DENIED,
        CaseStatus.DECLINED,
        CaseStatus.CLOSED,
    }
)
"""The states in which a case is at its end."""


class Case(Value):
    """One case: `quantities` maps sku to units; `due_at` is its deadline, where its state has one."""

    case_id: str
    kind: CaseKind
    status: CaseStatus
    reason: str
    quantities: Mapping[str, int]
    opened_at: Instant
    opened_by: str
    changed_at: Instant
    due_at: Instant | None = None
    note: str | None = None
    """What whoever opened it wrote."""
    answer: str | None = None
    """What was written with its newest step."""
    refund_id: str | None = None

    @property
    def open(self) -> bool:
        """Whether something is still to come of it."""
        return self.status not in ENDED
