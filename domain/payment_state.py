"""How an order is paid: its payment, what is held and charged of it, and by which methods.

Policy: P5, G3, S2, G7.
"""

from enum import StrEnum

from domain.base import Code, Instant, Value
from domain.refund import PaymentMethod


class PaymentStatus(StrEnum):
    """The state of an order's payment; AWAITING is a convenience-store payment that nobody has paid yet (G7)."""

    AUTHORIZING = "authorizing"
    AWAITING = "awaiting"
    AUTHORIZED = "authorized"
    DECLINED = "declined"
    CAPTURED = "captured"
    VOIDED = "voided"


class Payment(Value):
    """The payment of an order (P5).

    `reference` names the authorisation at the provider (`<order number>/<sequence>/authorize`); `authorized_minor` and
    `captured_minor` are in minor units; `expires_at` is when the hold lapses. Of `amount_minor`, `points_minor` are paid
    with points from `wallet`; with method points all of it is, and `card` is the wallet.
    `number` is a convenience store's payment number, to be paid until `due_at`.
    """

    status: PaymentStatus
    card: Code
    reference: str
    amount_minor: int
    authorized_minor: int = 0
    captured_minor: int = 0
    expires_at: Instant | None = None
    decline_code: str | None = None
    captured_at: Instant | None = None
    method: PaymentMethod = PaymentMethod.CARD
    points_minor: int = 0
    points_chosen: int = 0
    """The points that the buyer chose to use; an order that has become smaller uses fewer of them."""
    points_reference: str | None = None
    """Under which the points are held; they never lapse, and stay held there while the card's hold is replaced."""
    wallet: str | None = None
    number: str | None = None
    due_at: Instant | None = None
    charge_unanswered: bool = False
    """Whether a charge of this hold was asked for and not answered: it may have been made, for the amount of that time."""

    @property
    def references(self) -> tuple[str, ...]:
        """Everything that may be held or charged: the authorisation, and the points besides."""
        return (self.reference,) if self.points_reference is None else (self.reference, self.points_reference)

    def shares(self, total_minor: int) -> dict[PaymentMethod, int]:
        """Return what of a total each method pays, in minor units, the card first; methods that pay nothing are left out (R5)."""
        points = total_minor if self.method is PaymentMethod.POINTS else min(self.points_minor, total_minor)
        shares = ((self.method, total_minor - points), (PaymentMethod.POINTS, points))
        return {method: minor for method, minor in shares if minor}
