"""Builders for the tests of the pure domain: carts, an order led to any of its states, and a stand-in for its partners.

PYTEST_DONT_REWRITE: it asserts nothing.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from domain.commands import parse_command
from domain.deadlines import Deadline, next_deadline
from domain.decide import Accepted, CommandEvent, decide
from domain.effects import Authorize, Capture, Effect, Notice, NoticeKind, Outcome, Publish, Reserve, Result, Void
from domain.journal import Message, Verdict, receive, record, unrecorded
from domain.order import Actor, Cancellation, HistoryEntry, Order, PaymentStatus, Status
from domain.placement import PlaceOrder, first_authorization, open_order, parse_placement
from domain.policy import Policy, load_policy
from domain.refusals import Refusal
from domain.views import view

Json = dict[str, Any]

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
"""When every order of these tests is placed."""
NUMBER = "503-1234567-1234567"
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
POLICY_FILE = Path(__file__).parent.parent / "policy.toml"
PERSONAL = ("Hanako", "hanako@", "+81-90-1234-5678", "Shibuya", "150-0001")
"""What of the buyer's data must not be seen where it does not belong."""
NEW_ADDRESS: Json = {
    "recipient": "Hanako Y",
    "line1": "9-9-9",
    "city": "Osaka",
    "postal_code": "530-0001",
    "country": "JP",
}


def line(sku: str = "A", quantity: int = 2, price: int = 1000, currency: str = "JPY") -> Json:
    """Return one line of a cart; `price` in minor units."""
    money = {"amount_minor": price, "currency": currency}
    return {"sku": sku, "title": f"Item {sku}", "quantity": quantity, "unit_price": money}


def cart(*lines: Json, **changes: Any) -> Json:
    """Return a placement as it comes in: two items (2 × A at 1000, 1 × B at 500) in Japan, plus 500 shipping."""
    address = {"recipient": "Hanako Yamada", "line1": "Shibuya 1-2-3", "city": "Tokyo", "postal_code": "150-0001"}
    buyer = {"buyer_id": "B-1", "name": "Hanako Yamada", "email": "hanako@buyers.example"}
    placed: Json = {
        "order_number": NUMBER,
        "marketplace": "JP",
        "seller_id": "S-100",
        "buyer": {**buyer, "phone": "+81-90-1234-5678", "language": "ja"},
        "shipping_address": {**address, "country": "JP"},
        "shipping_option": "standard",
        "lines": list(lines) or [line("A", 2, 1000), line("B", 1, 500)],
        "payment": {"method": "card", "card": "card-ok"},
    }
    return placed | changes


def policy(*replaced: tuple[str, str]) -> Policy:
    """Return the project's own policy, with parts of its text replaced."""
    text = POLICY_FILE.read_text(encoding="utf-8")
    for old, new in replaced:
        if old not in text:
            raise LookupError(old)
        text = text.replace(old, new, 1)
    return load_policy(text)


def place(placed: Json | None = None, given: Policy | None = None) -> PlaceOrder:
    """Return the input of an order's workflow."""
    placement = parse_placement(placed or cart())
    return PlaceOrder(
        placement=placement, policy=(given or policy()).snapshot(placement.marketplace, placement.seller_id)
    )


@dataclass
class Hold:
    """What the provider knows of one authorisation, in minor units."""

    amount: int
    expires_at: datetime
    charged: int = 0
    voided: bool = False

    def live(self, now: datetime) -> bool:
        """Return whether money is held or charged under it."""
        return not self.voided and (self.charged > 0 or now < self.expires_at)


@dataclass
class Partners:
    """The stand-in for provider and stock: `answers` are given one by one, everything after them succeeds.

    `lasts` is how long a hold lasts. An answer is a `Result`, or "lost": the partner did what was asked, but its answer never came.
    """

    answers: deque[Result | str] = field(default_factory=deque)
    holds: dict[str, Hold] = field(default_factory=dict)
    voided: set[str] = field(default_factory=set)
    lasts: timedelta = 30 * DAY

    def perform(self, effect: Effect, now: datetime) -> Outcome:
        """Do what `effect` asks, or what the next answer says."""
        if isinstance(effect, Publish):
            entries = effect.entries[-1].seq if effect.entries else 0
            return Outcome(result=Result.PUBLISHED, reference=effect.key, entries=entries)
        answer = self.answers.popleft() if self.answers else None
        if answer is None or answer == "lost":
            outcome = self._do(effect, now)
            return outcome if answer is None else Outcome(result=Result.UNANSWERED, reference=effect.key)
        if isinstance(effect, Void):
            return Outcome(result=Result.VOID_FAILED, reference=effect.reference, round=effect.round)
        short = {"A": 1} if answer == Result.OUT_OF_STOCK else {}
        code = "card_declined" if answer == Result.DECLINED else None
        if answer == Result.LAPSED and isinstance(effect, Capture):
            self.holds[effect.reference].expires_at = now
        return Outcome(result=Result(answer), reference=effect.key, decline_code=code, short=short)

    def _do(self, effect: Effect, now: datetime) -> Outcome:
        match effect:
            case Authorize() if effect.reference in self.voided:
                return Outcome(result=Result.VOIDED, reference=effect.reference)
            case Authorize():
                hold = self.holds.setdefault(effect.reference, Hold(effect.amount_minor, now + self.lasts))
                return Outcome(result=Result.AUTHORIZED, reference=effect.reference, expires_at=hold.expires_at)
            case Capture():
                hold = self.holds[effect.reference]
                if not hold.live(now):
                    return Outcome(result=Result.VOIDED if hold.voided else Result.LAPSED, reference=effect.key)
                hold.charged = effect.amount_minor
                return Outcome(result=Result.CAPTURED, reference=effect.key)
            case Void():
                self.voided.add(effect.reference)
                if effect.reference in self.holds:
                    self.holds[effect.reference].voided = True
                return Outcome(result=Result.VOIDED, reference=effect.reference, round=effect.round)
            case Reserve():
                return Outcome(result=Result.RESERVED, reference=effect.key)
        raise TypeError(effect)

    @property
    def charged(self) -> int:
        """What the buyer has been charged and not been given back, in minor units."""
        return sum(hold.charged for hold in self.holds.values() if not hold.voided)


class Scene:
    """One order with its clock and partners, driven as the workflow drives it."""

    def __init__(self, placed: Json | None = None, given: Policy | None = None) -> None:
        self.order: Order = open_order(place(placed, given), T0)
        self.now = T0
        self.partners = Partners()
        self.open: list[Effect] = [first_authorization(self.order, view(self.order, T0))]
        self.effects: list[Effect] = list(self.open)
        self.notices: list[Notice] = []
        self.paid: set[tuple[PaymentStatus, str, PaymentStatus]] = set()

    def answer(self, *answers: Result | str) -> "Scene":
        """Let the partners give these answers next."""
        self.partners.answers.extend(answers)
        return self

    def take(self, message: Message) -> Verdict:
        """Receive a message now and see it through; return the last verdict."""
        return self._follow(receive(self.order, message, self.now))

    def send(self, name: str, actor: str = "buyer", at: datetime | None = None, **fields: Any) -> Refusal | None:
        """Send a command requested at `at`, or now; return its refusal, None when it was accepted."""
        stamp = (at or self.now).isoformat()
        payload = {"actor": actor, "requested_at": stamp, **fields}
        before = self.order.payment.status
        refusal = self.take(Message(name=name, payload=payload, message_id=f"m{self.order.entries}")).refusal
        event = "cancelled" if self.order.status is Status.CANCELLED else name
        if refusal is None and event in ("cancelled", "pay_again") and self.order.payment.status is not before:
            self.paid.add((before, event, self.order.payment.status))
        return refusal

    def decide(self, event: Deadline | Outcome) -> Verdict:
        """Feed a deadline or an outcome."""
        return self._follow(record(self.order, event, decide(self.order, event, self.now), self.now))

    def _follow(self, verdict: Verdict) -> Verdict:
        while True:
            self.order = verdict.order
            decision = verdict.decision
            if decision is None:
                return verdict
            self.open.extend(decision.effects)
            self.effects.extend(decision.effects)
            self.notices.extend(decision.notices)
            if not isinstance(decision, Accepted) or decision.awaited is None:
                return verdict
            self.effects.append(decision.awaited)
            verdict = self._ask(decision.awaited)

    def _ask(self, effect: Effect) -> Verdict:
        outcome, before = self.partners.perform(effect, self.now), self.order.payment.status
        verdict = record(self.order, outcome, decide(self.order, outcome, self.now), self.now)
        if isinstance(effect, Authorize | Capture):
            self.paid.add((before, outcome.result, verdict.order.payment.status))
        return verdict

    def settle(self) -> "Scene":
        """Perform the effects that run in the background, until none is left."""
        while self.open:
            self._follow(self._ask(self.open.pop(0)))
        return self

    def publish(self) -> "Scene":
        """Let the store take the history that it does not know yet."""
        entries = unrecorded(self.order)
        self.decide(
            self.partners.perform(Publish(key="p", record=view(self.order, self.now), entries=entries), self.now)
        )
        return self

    def at(self, now: datetime) -> "Scene":
        """Move the clock to `now`; whatever falls due on the way happens at its own instant."""
        while (due := next_deadline(self.order)) is not None and due.at <= now:
            self.now = max(self.now, due.at)
            self.decide(due)
        self.now = max(self.now, now)
        return self

    def late(self, now: datetime) -> "Scene":
        """Move the clock alone, as if every worker had been down until `now`."""
        self.now = now
        return self

    def mails(self, kind: NoticeKind) -> list[str]:
        """Return to whom notices of `kind` went."""
        return [each.recipient.value for each in self.notices if each.kind is kind]

    def did(self, kind: type[Effect]) -> list[str]:
        """Return the keys of the effects of one kind, in the order they were decided."""
        return [each.key for each in self.effects if isinstance(each, kind)]

    @property
    def status(self) -> Status:
        """The order's state."""
        return self.order.status

    @property
    def cancellation(self) -> Cancellation:
        """The order's one cancellation; raises LookupError where it was not cancelled."""
        if self.order.cancellation is None:
            raise LookupError("the order is not cancelled")
        return self.order.cancellation

    @property
    def last(self) -> HistoryEntry:
        """The newest line of the history."""
        return self.order.history[-1]


def code(scene: Scene, name: str, actor: str = "buyer", at: datetime | None = None, **fields: Any) -> str | None:
    """Send a command; return the code of its refusal, None when it was accepted."""
    refusal = scene.send(name, actor, at, **fields)
    return refusal.code if refusal else None


PARCEL: Json = {"carrier": "Yamato", "tracking_number": "T-1"}
ALL_STATES = tuple(Status)


def pending(placed: Json | None = None, given: Policy | None = None) -> Scene:
    """Return a Pending order whose card is being authorised."""
    return Scene(placed, given)


def declined(placed: Json | None = None) -> Scene:
    """Return a Pending order whose card was declined."""
    return Scene(placed).answer(Result.DECLINED).settle()


def unshipped(placed: Json | None = None, given: Policy | None = None) -> Scene:
    """Return a verified order."""
    return Scene(placed, given).settle()


def shipper(scene: Scene) -> str:
    """Return who confirms shipments of this order."""
    return "seller" if scene.order.fulfilment == "seller" else "operator"


def partly(placed: Json | None = None, given: Policy | None = None) -> Scene:
    """Return an order of which one A was confirmed."""
    scene = unshipped(placed, given)
    scene.send("ship", shipper(scene), **PARCEL, lines=[{"sku": "A", "quantity": 1}])
    return scene


def shipped(placed: Json | None = None, given: Policy | None = None) -> Scene:
    """Return an order that was confirmed in one parcel."""
    scene = unshipped(placed, given)
    scene.send("ship", shipper(scene), **PARCEL)
    return scene


def delivered(placed: Json | None = None) -> Scene:
    """Return an order whose one parcel arrived at once."""
    scene = shipped(placed)
    scene.send("deliver", "system")
    return scene


def in_state(status: Status, placed: Json | None = None) -> Scene:
    """Return an order led to `status` by real steps; its clock is still within the edit and cancel windows."""
    match status:
        case Status.PENDING:
            return pending(placed)
        case Status.UNSHIPPED:
            return unshipped(placed)
        case Status.PARTIALLY_SHIPPED:
            return partly(placed)
        case Status.SHIPPED:
            return shipped(placed)
        case Status.DELIVERED:
            return delivered(placed)
        case Status.COMPLETED:
            scene = delivered(placed)
            return scene.at(scene.now + 30 * DAY)
        case Status.CANCELLED:
            scene = unshipped(placed)
            scene.send("cancel")
            return scene.settle()


def command(name: str, actor: Actor | str = "buyer", **fields: Any) -> CommandEvent:
    """Return a command as the machine takes it."""
    return CommandEvent(name, parse_command(name, {"actor": str(actor), **fields}), "c")


FIELDS: dict[str, Json] = {
    "edit": {"shipping_address": NEW_ADDRESS},
    "ship": PARCEL,
    "extend_edit": {"minutes": 5},
    "pay_again": {"card": "card-new"},
    "hold_for_review": {"reason": "unusual order"},
    "cancel_items": {"lines": [{"sku": "B", "quantity": 1}], "consent": "by telephone on 1 March"},
    "send_message": {"text": "Where is my order?"},
    "rate": {"stars": 5},
    "refund": {"reason": "goodwill"},
    "retry_refund": {"refund_id": "R1"},
    "payment_event": {"reference": f"{NUMBER}/1/authorize", "event": "payment.paid"},
    "return_to_sender": {"reason": "refused"},
    "ask_to_wait": {"until": (T0 + 10 * DAY).isoformat()},
}
"""What each command needs besides its actor."""
