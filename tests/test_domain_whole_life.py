"""Whole lives at random, from placement to erasure: whatever anybody sends and the partners answer, the sums hold."""

from collections import Counter
from datetime import timedelta

import pytest
from domain_kit import DAY, HOUR, MINUTE, PERSONAL, SECOND, Scene, substance, unshipped
from domain_life import SECRET, STAMPS, beginnings, commands
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from domain.deadlines import deadlines, next_deadline
from domain.effects import Authorize, Capture, PayRefund, Result, Void
from domain.journal import Message, wants_turn_before
from domain.lifecycle import rows_for
from domain.movements import PROVIDER_CLEARING, Movement, buyer_account, movements
from domain.order import CLOSED, Actor, Flag, Order, ReviewStatus, Status
from domain.payment_state import PaymentStatus
from domain.refund import PaymentMethod, RefundStatus
from domain.refunding import allocate
from domain.views import view

STEPS = st.sampled_from([SECOND, 6 * MINUTE, HOUR, HOUR, DAY, DAY, 3 * DAY, 9 * DAY, 30 * DAY])
ANSWERS = st.sampled_from(["ok"] * 5 + ["no", "no", "lost", "paid"])
HAPPENINGS = ["command"] * 8 + ["answer"] * 4 + ["store", "bank", "bank", "time", "time", "deadline", "down"]
AWAITED = st.sampled_from(["ok"] * 6 + ["declined", "unanswered", "lost", "lapsed", "out_of_stock"])


POSSIBLE = {
    "edit": ("declined", "unanswered", "lost", "out_of_stock"),
    "ship": ("declined", "unanswered", "lost", "lapsed"),
}
"""How the partners may answer badly to what a command waits for."""


class Life(RuleBasedStateMachine):
    """Drives one order through its life at random and looks at it after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.scene: Scene = unshipped()
        self.count = 0
        self.seen: Order = self.scene.order
        self.posted: dict[str, Movement] = {}
        self.in_kind = False

    @initialize(scene=beginnings())
    def placed(self, scene: Scene) -> None:
        """A buyer places an order."""
        self.scene = scene
        self.seen = scene.order

    @rule(data=st.data(), what=st.sampled_from(HAPPENINGS))
    def something_happens(self, data: st.DataObject, what: str) -> None:
        """Somebody asks for something, a partner answers, a bank or a buyer pays, or time passes."""
        # One rule for everything: by rules of their own, whole lives would go by without a command.
        match what:
            case "command":
                self.somebody_sends_a_command(data, data.draw(STAMPS), data.draw(AWAITED))
            case "answer" if self.scene.open:
                self.a_partner_answers(data.draw(st.integers(0, 5)), data.draw(ANSWERS))
            case "store":
                self.the_buyer_pays_at_the_store(data.draw(st.integers(0, 3)), data.draw(st.booleans()))
            case "bank":
                self.the_bank_settles_a_refund(
                    data.draw(st.integers(0, 3)), data.draw(st.booleans()), data.draw(st.booleans())
                )
            case "time":
                self.scene.at(self.scene.now + data.draw(STEPS))
            case "deadline":
                self.the_next_deadline_comes(data.draw(st.sampled_from([-SECOND, timedelta(), SECOND])))
            case "down":
                self.scene.late(self.scene.now + data.draw(STEPS))

    def somebody_sends_a_command(self, data: st.DataObject, stamp: timedelta, answer: str) -> None:
        """Anybody sends anything; whoever is refused changes nothing but the book."""
        scene = self.scene
        name, actor, fields = data.draw(commands(scene))
        self.count += 1
        payload = {"actor": actor, "requested_at": (scene.now + stamp).isoformat(), "id": f"c{self.count}", **fields}
        message = Message(name=name, payload=payload, message_id="m")
        while (due := next_deadline(scene.order)) and due.at <= scene.now:
            if wants_turn_before(message, due, scene.now, scene.order):
                break
            scene.decide(due)
        if answer in POSSIBLE.get(name, ()) and (
            answer != "lapsed" or scene.order.payment.method is PaymentMethod.CARD
        ):
            scene.answer(answer if answer == "lost" else Result(answer))
        before, effects = scene.order, len(scene.effects)
        verdict = scene.take(message)
        scene.partners.answers.clear()
        assert not verdict.repeated
        if verdict.refusal is not None and len(scene.effects) == effects:
            assert substance(scene.order, "recorded_entries") == substance(before, "recorded_entries")
        assert verdict.refusal is None or name == "cancel" or verdict.refusal.code != "INVALID_COMMAND", verdict.refusal
        scene.at(scene.now)

    def a_partner_answers(self, pick: int, answer: str) -> None:
        """An effect in the background ends, in any order, well or badly; one whose answer is lost is tried again."""
        scene = self.scene
        scene.at(scene.now)
        if not scene.open:
            return
        effect = scene.open.pop(pick % len(scene.open))
        if answer == "lost":
            scene.partners.perform(effect, scene.now)
            scene.open.append(effect)
            return
        bad = {Authorize: Result.DECLINED, Void: Result.VOID_FAILED, PayRefund: Result.REFUND_FAILED}
        if answer == "no" and type(effect) in bad:
            self.refuse(effect, bad[type(effect)])
        if answer == "paid" and isinstance(effect, PayRefund):
            self.refuse(effect, Result.REFUND_PAID)
        scene.decide(scene.partners.perform(effect, scene.now))
        scene.partners.answers.clear()
        scene.at(scene.now)

    def refuse(self, effect: Authorize | Void | PayRefund | object, result: Result) -> None:
        """Let the partner answer `result`, unless it has done already what it is asked for."""
        done = getattr(effect, "reference", "") in {*self.scene.partners.holds, *self.scene.partners.refunds}
        if isinstance(effect, Void) or not done:
            self.scene.answer(result)

    def the_buyer_pays_at_the_store(self, pick: int, hint: bool) -> None:
        """The buyer pays a number that is open; the provider tells, or does not."""
        scene = self.scene
        holds = scene.partners.holds.items()
        unpaid = [
            key for key, hold in holds if hold.due_at and scene.now < hold.due_at and not hold.paid and not hold.voided
        ]
        if unpaid:
            reference = unpaid[pick % len(unpaid)]
            scene.partners.pay_at_store(reference)
            self.hint(reference, hint)

    def the_bank_settles_a_refund(self, pick: int, hint: bool, paid: bool) -> None:
        """A refund arrives or comes back; the provider tells, or does not."""
        backs = self.scene.partners.refunds.items()
        waiting = [key for key, back in backs if back.result is Result.REFUND_PENDING]
        if waiting:
            reference = waiting[pick % len(waiting)]
            self.scene.partners.settle_refund(reference, paid=paid)
            self.hint(reference, hint)

    def hint(self, reference: str, told: bool) -> None:
        """Let the provider hint that `reference` moved."""
        self.scene.at(self.scene.now)
        if told and self.scene.order.rejected is None:
            self.scene.send("payment_event", "system", reference=reference, event="payment.moved")

    def the_next_deadline_comes(self, nudge: timedelta) -> None:
        """The clock moves to the next deadline, or a second before or after it."""
        due = next_deadline(self.scene.order)
        if due is not None:
            self.scene.at(max(self.scene.now, due.at + nudge))

    @invariant()
    def no_more_is_charged_than_held(self) -> None:
        """Nothing is charged before a confirmation, the total after it, and never more than was authorised."""
        order, partners = self.scene.order, self.scene.partners
        assert order.payment.captured_minor <= order.payment.authorized_minor
        wanted = sum(hold.total_charged for key, hold in partners.holds.items() if key not in order.voids)
        # The charge of cash or points that was not answered is not undone: it is asked for again under the same key.
        unheard = order.payment.method is not PaymentMethod.CARD and order.payment.status is PaymentStatus.AUTHORIZED
        assert wanted == order.payment.captured_minor or (unheard and wanted == order.payment.amount_minor)
        assert (order.payment.captured_minor > 0) is bool(order.shipments)
        assert set(order.voids) <= {each.reference for each in self.scene.open if isinstance(each, Void)}

    @invariant()
    def no_more_is_refunded_than_charged(self) -> None:
        """The refunds stay within the charge in all, by item, by its shipping share and by payment method; the card first."""
        order = self.scene.order
        paid = order.payment
        shares = allocate(order.shipping_fee_minor, [line.quantity * line.unit_price_minor for line in order.lines])
        for line, share in zip(order.lines, shares, strict=True):
            back = [each for refund in order.refunds for each in refund.lines if each.sku == line.sku]
            assert sum(each.items_minor for each in back) <= line.quantity * line.unit_price_minor
            assert sum(each.shipping_minor for each in back) <= share
            assert sum(each.quantity for each in back) <= line.quantity
            assert sum(each.not_shipped for each in back) == line.cancelled
            assert all(
                min(each.items_minor, each.shipping_minor, each.quantity, each.not_shipped) >= 0 for each in back
            )
            assert line.shipped + line.cancelled <= line.quantity
        refunds = [refund for refund in order.refunds if refund.of_charge]
        assert sum(refund.gross_minor for refund in refunds) <= paid.captured_minor
        points = paid.points_minor if paid.method is PaymentMethod.CARD and order.shipments else 0
        charged = {paid.reference: paid.captured_minor - points, paid.points_reference: points}
        for refund in refunds:
            assert refund.amount_minor == sum(part.amount_minor for part in refund.parts) > 0
            for part in refund.parts:
                charged[part.payment_reference] -= part.amount_minor
                card_left = charged[paid.reference] if part.method is PaymentMethod.POINTS and points else 0
                assert charged[part.payment_reference] >= 0
                assert card_left == 0

    @invariant()
    def a_case_pays_for_its_own_units(self) -> None:
        """Under no case more units of an item are refunded than it is about."""
        order = self.scene.order
        for case in order.cases:
            made = [line for each in order.refunds if each.case_id == case.case_id for line in each.lines]
            units = Counter({sku: sum(line.quantity for line in made if line.sku == sku) for sku in case.quantities})
            assert all(units[sku] <= case.quantities[sku] for sku in units), case
            assert {line.sku for line in made if line.quantity} <= case.quantities.keys()

    @invariant()
    def cash_that_is_not_charged_goes_back(self) -> None:
        """Whatever was paid at a store is held, charged or going back, told to the buyer, and no more than was paid."""
        order, partners = self.scene.order, self.scene.partners
        backs = {part.reference: part for each in order.refunds if not each.of_charge for part in each.parts}
        failed = {key for key, part in backs.items() if part.status is RefundStatus.FAILED}
        unheard = {key for key, each in partners.refunds.items() if each.of_cash and key not in backs}
        bounced = {
            key for key, each in partners.refunds.items() if each.of_cash and each.result is Result.REFUND_FAILED
        }
        assert not partners.cash_owed or failed or unheard or bounced or self.scene.open
        told = {each.subject_id for each in self.scene.notices if each.kind.value.startswith("refund_")}
        assert {each.refund_id for each in order.refunds if not each.of_charge} <= told
        assert all(each.gross_minor == each.cash_minor for each in order.refunds if not each.of_charge)

    @invariant()
    def the_ledger_balances_and_only_grows(self) -> None:
        """Every movement balances and stays as it was posted; what the accounts hold follows from the order."""
        order = self.scene.order
        found = {each.movement_id: each for each in movements(order)}
        assert len(found) == len(movements(order))
        assert all(each.is_balanced for each in found.values())
        assert all(found.get(movement_id) == each for movement_id, each in self.posted.items())
        self.posted = found
        held: Counter[str] = Counter()
        for each in found.values():
            for entry in each.entries:
                held[entry.account] += entry.amount_minor
        unpaid = sum(
            part.amount_minor
            for refund in order.refunds
            for part in refund.parts
            if part.status is not RefundStatus.PAID
        )
        assert -held[buyer_account(order.buyer.buyer_id)] == unpaid
        cash = sum(each.cash_minor for each in order.refunds)
        assert held[PROVIDER_CLEARING] + held["points"] == order.payment.captured_minor + cash - sum(
            part.amount_minor for refund in order.refunds for part in refund.parts if part.status is RefundStatus.PAID
        )
        if order.settled_minor is not None:
            assert sum(amount for account, amount in held.items() if "settlement" in account) == 0

    @invariant()
    def an_end_is_an_end(self) -> None:
        """A closed order stays in its one state; cancelled, it holds and charges nothing once everything is settled."""
        order, before, scene = self.scene.order, self.seen, self.scene
        assert (order.cancellation is not None) is (order.status is Status.CANCELLED)
        assert (order.completed_at is not None) is (order.status is Status.COMPLETED)
        if before.status in CLOSED:
            assert order.status is before.status
            assert (order.lines, order.payment, order.shipments) == (before.lines, before.payment, before.shipments)
        if order.status is Status.CANCELLED:
            assert order.payment.captured_minor == 0
            assert not order.shipments
            live = {key for key, hold in scene.partners.holds.items() if hold.live(scene.now)}
            asked = {each.reference for each in scene.open if isinstance(each, Authorize)}
            assert live <= set(order.voids) | asked | self.paid_unheard()
        if order.status is Status.COMPLETED:
            assert not order.anything_open
        if before.rating is not None and order.rating != before.rating:
            assert order.erased_at is not None
            assert order.rating is not None
            assert order.rating.model_copy(update={"comment": before.rating.comment}) == before.rating

    def paid_unheard(self) -> set[str]:
        """Return the store payments of which the engine has not been told."""
        return {key for key, hold in self.scene.partners.holds.items() if hold.number and hold.paid}

    @invariant()
    def flags_tell_the_truth(self) -> None:
        """What the order shows is what is so: a review, an answer due, a case open, a refund failed or owed."""
        order = self.scene.order
        live = order.status not in CLOSED
        held = order.review is not None and order.review.status is ReviewStatus.HELD
        assert (Flag.IN_REVIEW in order.flags) is (held and live)
        assert (Flag.ANSWER_DUE in order.flags) is (order.answer_by is not None)
        assert (Flag.CASE_OPEN in order.flags) is any(each.open for each in order.cases)
        failed = any(each.status is RefundStatus.FAILED for each in order.refunds)
        assert (Flag.REFUND_FAILED in order.flags) is failed

    @invariant()
    def no_timer_fires_in_vain(self) -> None:
        """Whatever falls due in the order's state has a row there, and an order that is over waits for nothing."""
        order = self.scene.order
        for due in deadlines(order):
            assert rows_for(order.status, due.name, Actor.SYSTEM), due
        assert not (order.over and deadlines(order))

    @invariant()
    def everybody_sees_what_it_may(self) -> None:
        """The order can be looked at by anybody at any time; the seller sees neither payment nor points."""
        order, now = self.scene.order, self.scene.now
        for viewer in Actor:
            seen = view(order, now, viewer)
            assert (seen.buyer is None) is (
                order.erased_at is not None or (viewer is Actor.SELLER and order.verified_at is None)
            )
        seen = view(order, now, Actor.SELLER)
        assert (seen.payment, seen.voids, seen.movements) == (None, (), ())
        text = seen.model_dump_json()
        assert not [each for each in ("points", "konbini", "/authorize", "card-") if each in text]

    @invariant()
    def what_is_erased_is_gone(self) -> None:
        """An erased order holds nothing of the buyer's data and nothing that people wrote."""
        if self.scene.order.erased_at is not None:
            text = self.scene.order.model_dump_json()
            assert not [each for each in (*PERSONAL, SECRET, "PO-Hanako") if each in text]

    @invariant()
    def the_book_is_kept(self) -> None:
        """A change has a higher version, what is paid stays paid, and nothing is asked or told twice under one key."""
        order, before = self.scene.order, self.seen
        assert order.version > before.version or substance(order, "recorded_entries") == substance(
            before, "recorded_entries"
        )
        was_paid = {
            part.reference for each in before.refunds for part in each.parts if part.status is RefundStatus.PAID
        }
        assert was_paid <= {
            part.reference for each in order.refunds for part in each.parts if part.status is RefundStatus.PAID
        }
        told = Counter(each.key for each in self.scene.notices)
        assert told.total() == len(told), told.most_common(1)
        # A charge of cash or points that was not answered is asked for again under its key, whatever pays afterwards.
        self.in_kind = self.in_kind or order.payment.method is not PaymentMethod.CARD
        again = (PayRefund, Capture) if self.in_kind else (PayRefund,)
        asked = Counter(each.key for each in self.scene.effects if not isinstance(each, again))
        assert asked.total() == len(asked), asked.most_common(1)
        self.seen = order

    def teardown(self) -> None:
        """At the end everything that waits is answered: what is closed ends erased, and the state survives the wire."""
        scene = self.scene
        assert Order.model_validate_json(scene.order.model_dump_json()) == scene.order
        scene.at(scene.now).settle()
        for _ in range(4):
            for refund in [each for each in scene.order.refunds if each.status is RefundStatus.FAILED]:
                scene.send("retry_refund", "operator", refund_id=refund.refund_id)
            scene.settle()
            for reference, back in list(scene.partners.refunds.items()):
                if back.result is Result.REFUND_PENDING:
                    scene.partners.settle_refund(reference)
            scene.at(scene.now + 100 * DAY).settle()
        if scene.status is Status.CANCELLED:
            assert not [key for key, hold in scene.partners.holds.items() if hold.live(scene.now) and not hold.paid]
        if scene.status in CLOSED:
            assert scene.order.over
            assert next_deadline(scene.order) is None


@pytest.mark.rule("P5", "C9", "C13", "R1", "R2", "R4", "R5", "R6", "S1", "S2", "S7", "S8", "A7", "A8", "A9", "G1", "D3")
class TestWholeLivesAreSound(Life.TestCase):  # type: ignore[misc,valid-type]
    """Whatever anybody sends at whatever time and the partners answer, money, stock, states and secrets are kept."""

    # A whole life takes minutes to shrink; to have the shortest one of a failure, add Phase.shrink.
    settings = settings(
        max_examples=150,
        stateful_step_count=60,
        deadline=None,
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
