"""Builders for the tests of the pure domain: carts, an order led to any of its states, and a stand-in for its partners.

PYTEST_DONT_REWRITE: it asserts nothing.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from domain_partners import Back, Hold, Partners

from domain.commands import parse_command
from domain.deadlines import Deadline, next_deadline
from domain.decide import Accepted, CommandEvent, decide
from domain.effects import Ask, Authorize, Capture, Effect, Notice, NoticeKind, Outcome, Publish, Result
from domain.journal import Message, Verdict, receive, record, unrecorded
from domain.order import Actor, Cancellation, HistoryEntry, Order, Status
from domain.payment_state import PaymentStatus
from domain.placement import PlaceOrder, first_authorization, open_order, parse_placement
from domain.policy import Policy, load_policy
from domain.refund import PaymentMethod
from domain.refusals import Refusal
from domain.views import view

__all__ = ["Back", "Hold", "Partners"]
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


def every_method(*replaced: tuple[str, str], **changes: Any) -> Policy:
    """Return the project's policy with every payment method taken in Japan, and `changes` to that marketplace."""
    loaded = policy(*replaced)
    japan = loaded.marketplaces["JP"].model_copy(update={"payment_methods": tuple(PaymentMethod), **changes})
    return loaded.model_copy(update={"marketplaces": {**loaded.marketplaces, "JP": japan}})


def place(placed: Json | None = None, given: Policy | None = None) -> PlaceOrder:
    """Return the input of an order's workflow."""
    placement = parse_placement(placed or cart())
    return PlaceOrder(
        placement=placement, policy=(given or policy()).snapshot(placement.marketplace, placement.seller_id)
    )


def substance(order: Order, *besides: str) -> Json:
    """Return everything of an order but the book that is kept of what was asked of it, and the fields named `besides`."""
    return order.model_dump(exclude={"history", "entries", "answers", "command_counts", *besides})


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
        after = verdict.order.payment.status
        if isinstance(effect, Authorize | Capture) or (isinstance(effect, Ask) and after is not before):
            ended = verdict.order.cancellation is not self.order.cancellation
            event = "cancelled" if ended else outcome.result.value
            self.paid.add((before, event, after))
        return verdict

    def hear(self, reference: str) -> "Scene":
        """Let the provider's hint about `reference` arrive, and the question that follows be answered."""
        self.send("payment_event", "system", reference=reference, event="payment.moved")
        return self.settle()

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

    def not_delivered(self, notice: Notice) -> "Scene":
        """Let a mail server refuse a notice for good."""
        self.decide(Outcome(result=Result.PUBLISHED, reference="p", refused=(notice,)))
        return self

    def at(self, now: datetime) -> "Scene":
        """Move the clock to `now`; whatever falls due on the way happens at its own instant."""
        while (due := next_deadline(self.order)) is not None and due.at <= now:
            self.now, before = max(self.now, due.at), self.order
            self.decide(due)
            if self.order is before:
                raise AssertionError(f"{due} changes nothing: its timer would fire for ever")
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


KONBINI: Json = cart(payment={"method": "konbini"})
POINTS: Json = cart(payment={"method": "points"})
CARD_AND_POINTS: Json = cart(payment={"method": "card", "card": "card-ok", "points_minor": 700})
PARCEL: Json = {"carrier": "Yamato", "tracking_number": "T-1"}
ALL_STATES = tuple(Status)


def pending(placed: Json | None = None, given: Policy | None = None) -> Scene:
    """Return a Pending order whose card is being authorised."""
    return Scene(placed, given)


def declined(placed: Json | None = None) -> Scene:
    """Return a Pending order whose card was declined."""
    return Scene(placed).answer(Result.DECLINED).settle()


def awaiting(placed: Json | None = None) -> Scene:
    """Return a Pending order whose buyer has a payment number, to be paid within three days."""
    return Scene(placed or KONBINI, every_method()).settle()


def in_review(placed: Json | None = None) -> Scene:
    """Return an order that the marketplace holds for review, its payment being authorised."""
    return Scene(placed, every_method(review_above_minor=1))


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
