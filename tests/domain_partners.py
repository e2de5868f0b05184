"""The stand-in for an order's partners in the tests of the pure domain: a payment provider and stock that keep books.

PYTEST_DONT_REWRITE: it asserts nothing; it raises AssertionError where it is asked for what no correct engine asks.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from domain.effects import (
    Ask,
    Authorize,
    Capture,
    CashReturn,
    Effect,
    Outcome,
    PayRefund,
    Publish,
    Reserve,
    Result,
    Void,
)
from domain.refund import PaymentMethod, RefundStatus

REFUND_TAKES = timedelta(days=3)
"""How long the provider says that a refund takes."""
_NEVER = datetime.max.replace(tzinfo=UTC)
_FAILURES = {Result.DECLINED: "card_declined", Result.REFUND_FAILED: "account_closed"}


@dataclass
class Hold:
    """What the provider knows of one authorisation, in minor units; points that are held besides a card have one of their own.

    With a `number` it is paid at a convenience store until `due_at`, and nothing is held before it is `paid`.
    """

    amount: int
    expires_at: datetime
    charged: int = 0
    voided: bool = False
    number: str | None = None
    due_at: datetime | None = None
    paid: bool = False
    points: bool = False

    def live(self, now: datetime) -> bool:
        """Return whether money or points are held or charged under it."""
        held = self.paid if self.number is not None else now < self.expires_at
        return not self.voided and (self.charged > 0 or held)

    @property
    def total_charged(self) -> int:
        """What has been charged under it and not been undone."""
        return 0 if self.voided else self.charged

    @property
    def kept(self) -> int:
        """What of it is held or charged."""
        return 0 if self.voided else self.charged or self.amount


@dataclass
class Back:
    """One refund as the provider knows it, in minor units."""

    payment_reference: str
    amount: int
    expected_at: datetime
    result: Result = Result.REFUND_PENDING
    of_cash: bool = False


@dataclass
class Partners:
    """The stand-in for provider and stock: `answers` are given one by one, everything after them succeeds.

    `lasts` is how long a hold lasts. An answer is a `Result`, or "lost": the partner did what was asked, but its answer never came.
    """

    answers: deque[Result | str] = field(default_factory=deque)
    holds: dict[str, Hold] = field(default_factory=dict)
    voided: set[str] = field(default_factory=set)
    refunds: dict[str, Back] = field(default_factory=dict)
    lasts: timedelta = timedelta(days=30)
    balance: int | None = None
    """The points in the buyer's wallet; None: as many as anybody wants."""

    def perform(self, effect: Effect, now: datetime) -> Outcome:
        """Do what `effect` asks, or what the next answer says."""
        if isinstance(effect, Publish):
            entries = effect.entries[-1].seq if effect.entries else 0
            return Outcome(result=Result.PUBLISHED, reference=effect.key, entries=entries)
        answer = self.answers.popleft() if self.answers else None
        reference = effect.reference if isinstance(effect, Ask) else effect.key
        if answer is None or answer == "lost":
            outcome = self._do(effect, now)
            return outcome if answer is None else Outcome(result=Result.UNANSWERED, reference=reference)
        if isinstance(effect, Void):
            return Outcome(result=Result.VOID_FAILED, reference=effect.reference, round=effect.round)
        if isinstance(effect, PayRefund) and answer != Result.UNANSWERED:
            self._refund(effect, now).result = Result(answer)
            return self._told(effect.reference, now)
        short = {"A": 1} if answer == Result.OUT_OF_STOCK else {}
        if answer == Result.LAPSED and isinstance(effect, Capture):
            self.holds[effect.reference].expires_at = now
        return Outcome(
            result=Result(answer), reference=reference, decline_code=_FAILURES.get(Result(answer)), short=short
        )

    def _do(self, effect: Effect, now: datetime) -> Outcome:
        match effect:
            case Authorize() if effect.reference in self.voided:
                return Outcome(result=Result.VOIDED, reference=effect.reference)
            case Authorize() if effect.reference not in self.holds and not self._affords(effect):
                return Outcome(result=Result.DECLINED, reference=effect.reference, decline_code="insufficient_funds")
            case Authorize():
                self._hold(effect, now)
                return self._stands(effect.reference, now, repeated=True)
            case Capture():
                return self._capture(effect, now)
            case Void():
                return self._void(effect, now)
            case Reserve():
                return Outcome(result=Result.RESERVED, reference=effect.key)
            case PayRefund():
                self._refund(effect, now)
                return self._told(effect.reference, now)
            case Ask():
                return self._told(effect.reference, now) if effect.refund else self._stands(effect.reference, now)
        raise TypeError(effect)

    def _affords(self, effect: Authorize) -> bool:
        wanted = effect.amount_minor if effect.method is PaymentMethod.POINTS else effect.points_minor
        kept = sum(hold.kept for hold in self.holds.values() if hold.points)
        return self.balance is None or kept + wanted <= self.balance

    def _hold(self, effect: Authorize, now: datetime) -> None:
        hold = Hold(effect.amount_minor, now + self.lasts)
        if effect.method is PaymentMethod.KONBINI:
            if effect.due_at is None:
                raise AssertionError(f"a convenience store is to be paid by no date: {effect}")
            hold.number, hold.due_at = f"N-{len(self.holds) + 1}", effect.due_at
        if effect.method is PaymentMethod.POINTS:
            hold.expires_at, hold.points = _NEVER, True
        if effect.amount_minor <= 0 or effect.points_minor < 0 or (effect.points_minor and effect.wallet is None):
            raise AssertionError(f"no hold of nothing, nor of points of nobody: {effect}")
        self.holds.setdefault(effect.reference, hold)
        if effect.points_minor:
            besides = Hold(effect.points_minor, _NEVER, points=True)
            besides.voided = f"{effect.reference}/points" in self.voided
            self.holds.setdefault(f"{effect.reference}/points", besides)

    def _stands(self, reference: str, now: datetime, *, repeated: bool = False) -> Outcome:
        """Tell how a payment stands; a repeated request for a hold is answered as the first one was."""
        hold = self.holds.get(reference)
        if hold is None:
            known = Result.VOIDED if reference in self.voided else Result.UNANSWERED
            return Outcome(result=known, reference=reference)
        told = Outcome(result=Result.AUTHORIZED, reference=reference, number=hold.number, due_at=hold.due_at)
        if hold.voided:
            return told.model_copy(update={"result": Result.VOIDED})
        if hold.charged and not repeated:
            return told.model_copy(update={"result": Result.CAPTURED})
        if hold.number is not None and hold.due_at is not None:
            unpaid = Result.AWAITING if now < hold.due_at else Result.LAPSED
            return told if hold.paid else told.model_copy(update={"result": unpaid})
        if not hold.live(now) and not repeated:
            return told.model_copy(update={"result": Result.LAPSED})
        return told.model_copy(update={"expires_at": None if hold.expires_at == _NEVER else hold.expires_at})

    def _capture(self, effect: Capture, now: datetime) -> Outcome:
        wanted = [(effect.reference, effect.amount_minor)]
        if effect.points_minor:
            wanted.append((effect.points_reference or "nowhere", effect.points_minor))
        for reference, amount in wanted:
            hold = self.holds[reference]
            if not hold.live(now):
                return Outcome(result=Result.VOIDED if hold.voided else Result.LAPSED, reference=effect.key)
            if amount > hold.amount:
                raise AssertionError(f"{effect} charges more than was held: {hold}")
            if hold.charged and hold.charged != amount:
                raise AssertionError(f"{effect} is another charge than the one made under the same key: {hold}")
            hold.charged = amount
        change = self._return(effect.reference, "change", now)
        return Outcome(result=Result.CAPTURED, reference=effect.key, cash_return=change)

    def _void(self, effect: Void, now: datetime) -> Outcome:
        self.voided.add(effect.reference)
        if (hold := self.holds.get(effect.reference)) is not None:
            hold.voided = True
        if self._back(effect.reference):
            raise AssertionError(f"{effect} undoes a charge of which something was refunded")
        cash = self._return(effect.reference, "return", now)
        return Outcome(result=Result.VOIDED, reference=effect.reference, round=effect.round, cash_return=cash)

    def _cash(self, payment_reference: str) -> int:
        """Return what was paid under a number and is not charged, whether it has gone back or not."""
        hold = self.holds.get(payment_reference)
        return hold.amount - hold.total_charged if hold is not None and hold.number and hold.paid else 0

    def _return(self, payment_reference: str, name: str, now: datetime) -> CashReturn | None:
        """Begin to pay cash back that nobody charges, once, and tell how it stands."""
        reference = f"{payment_reference}/{name}"
        left = self._cash(payment_reference) - self._back(payment_reference, of_cash=True)
        if reference not in self.refunds and left > 0:
            self.refunds[reference] = Back(payment_reference, left, now + REFUND_TAKES, of_cash=True)
        back = self.refunds.get(reference)
        if back is None:
            return None
        status = RefundStatus(back.result.value.removeprefix("refund_"))
        return CashReturn(reference=reference, amount_minor=back.amount, status=status, expected_at=back.expected_at)

    def _refund(self, effect: PayRefund, now: datetime) -> Back:
        """Take a refund in, once per reference; more than was charged under its payment is an engine's error."""
        if (known := self.refunds.get(effect.reference)) is not None:
            if (known.payment_reference, known.amount) != (effect.payment_reference, effect.amount_minor):
                raise AssertionError(f"{effect} is another refund than {known}")
            return known
        hold = self.holds.get(effect.payment_reference)
        of_cash = effect.reference.startswith(f"{effect.payment_reference}/")
        there = self._cash(effect.payment_reference) if of_cash else 0 if hold is None else hold.total_charged
        gone = self._back(effect.payment_reference, of_cash=of_cash)
        if effect.amount_minor <= 0 or gone + effect.amount_minor > there:
            raise AssertionError(f"{effect} refunds more than the {there} charged, or taken in cash, or nothing")
        back = Back(effect.payment_reference, effect.amount_minor, now + REFUND_TAKES, of_cash=of_cash)
        return self.refunds.setdefault(effect.reference, back)

    def _back(self, payment_reference: str, *, of_cash: bool = False) -> int:
        """Return what has gone back of one charge, or of the cash besides, or is on its way."""
        return sum(
            each.amount
            for each in self.refunds.values()
            if (each.payment_reference, each.of_cash) == (payment_reference, of_cash)
            and each.result is not Result.REFUND_FAILED
        )

    def _told(self, reference: str, now: datetime) -> Outcome:
        """Tell how a refund stands."""
        back = self.refunds.get(reference)
        if back is None:
            return Outcome(result=Result.UNANSWERED, reference=reference)
        pending = back.result is Result.REFUND_PENDING
        return Outcome(
            result=back.result,
            reference=reference,
            expected_at=back.expected_at if pending else None,
            decline_code=_FAILURES.get(back.result),
        )

    def pay_at_store(self, reference: str) -> None:
        """Let the buyer pay the number of `reference` in cash; raises LookupError where it has none that is open."""
        hold = self.holds[reference]
        if hold.number is None or hold.voided:
            raise LookupError(f"{reference} has no number that is open")
        hold.paid = True

    def settle_refund(self, reference: str, *, paid: bool = True) -> None:
        """Let the bank pay out the refund `reference`, or send it back; raises LookupError where it is not pending."""
        if self.refunds[reference].result is not Result.REFUND_PENDING:
            raise LookupError(f"{reference} is not pending")
        self.refunds[reference].result = Result.REFUND_PAID if paid else Result.REFUND_FAILED

    @property
    def charged(self) -> int:
        """What the buyer has been charged, points included, and what was not undone of it, before refunds; in minor units."""
        return sum(hold.total_charged for hold in self.holds.values())

    @property
    def given_back(self) -> int:
        """What was refunded of a charge or is on its way to the buyer, in minor units."""
        backs = (each for each in self.refunds.values() if not each.of_cash)
        return sum(each.amount for each in backs if each.result is not Result.REFUND_FAILED)

    @property
    def cash_owed(self) -> int:
        """What was paid at stores and is neither charged nor has gone back or is on its way, in minor units."""
        gone = {key: self._back(key, of_cash=True) for key in self.holds}
        return sum(self._cash(key) - gone[key] for key, hold in self.holds.items() if hold.voided or hold.charged)
