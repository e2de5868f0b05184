"""The whole machine against a small model written from the policy: random commands, times, partners, duplicates."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from domain_kit import DAY, HOUR, MINUTE, NUMBER, PARCEL, SECOND, T0, Scene, cart, policy, substance
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from test_domain_oracle import CLOSED, FEES, Ask, Model

from domain.deadlines import next_deadline
from domain.effects import Authorize, Effect, NoticeKind, Result, Void
from domain.journal import Message, wants_turn_before
from domain.order import Actor, Order
from domain.views import view

FIRST = f"{NUMBER}/1/authorize"
ACTORS = st.sampled_from(["buyer", "buyer", "seller", "seller", "operator", "system"])
STAMPS = st.sampled_from(["now"] * 6 + ["early", "future", "ancient", "edit", "cancel", "confirm"])
NUDGE = st.sampled_from([-SECOND, timedelta(), SECOND])
STEPS = st.sampled_from([SECOND, 4 * MINUTE, 6 * MINUTE, 26 * MINUTE, 2 * HOUR, DAY, 3 * DAY, 6 * DAY, 12 * DAY])
EDIT_ANSWERS = st.sampled_from(["ok", "ok", "ok", "declined", "unanswered", "lost", "out_of_stock"])
SHIP_ANSWERS = st.sampled_from(
    ["ok"] * 4 + ["declined", "unanswered", "lost", "lapsed", "lapsed, declined", "lapsed, lost"]
)


def order_of(scene: Scene) -> dict[str, object]:
    """Return the substance of an order."""
    return substance(scene.order, "recorded_entries", "version")


class OrderMachine(RuleBasedStateMachine):
    """Drives one order at random and compares it with the model after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Message] = []
        self.count = 0

    @initialize(
        seller=st.sampled_from(["seller", "seller", "marketplace"]),
        own=st.sampled_from(["30m", "2h"]),
        lasts=st.sampled_from([3 * DAY, 30 * DAY]),
    )
    def placed(self, seller: str, own: str, lasts: timedelta) -> None:
        """Place an order, of a seller that auto-approves for two hours or does not."""
        wanted = ('handling_time = "2d"', 'handling_time = "2d"\nauto_approval_minutes = 120')
        self.scene = Scene(cart(fulfilment=seller), policy(*([wanted] if own == "2h" else [])))
        self.scene.partners.lasts = lasts
        cancel_end = T0 + (2 * HOUR if own == "2h" and seller == "seller" else 30 * MINUTE)
        ships = "seller" if seller == "seller" else "operator"
        self.model = Model(ships=ships, cancel_end=cancel_end, lasts=lasts)
        self.current = FIRST
        self.before: tuple[Order, dict[str, object]] = (self.scene.order, order_of(self.scene))

    def stamp(self, kind: str, nudge: timedelta) -> datetime:
        """Return when a command claims to have been asked for."""
        model, now = self.model, self.scene.now
        edges = {"edit": model.edit_end, "cancel": model.cancel_end, "confirm": model.confirm_by}
        times = {"now": now, "early": now - HOUR, "future": now + DAY, "ancient": T0 - DAY}
        return times[kind] if kind in times else edges[kind] + nudge

    def send(self, name: str, actor: str, at: datetime, what: dict[str, Any], answer: str, **fields: Any) -> None:
        """Send a command, with the deadlines before and after it as they fall, and compare with the model."""
        scene, model = self.scene, self.model
        judged = max(min(at, scene.now), T0)
        model.pass_time(judged)
        self.count += 1
        payload = {"actor": actor, "requested_at": at.isoformat(), "id": f"c{self.count}", **fields}
        message = Message(name=name, payload=payload, message_id="m")
        while (due := next_deadline(scene.order)) and due.at <= scene.now:
            if wants_turn_before(message, due, scene.now, scene.order):
                break
            scene.decide(due)
        was_open = bool(model.requested)
        if name == "request_cancellation" and was_open and judged < model.cancel_end:
            return  # the policy does not say what a second request within the window is
        before, effects = order_of(scene), len(scene.effects)
        expected = model.command(name, Ask(actor, judged, scene.now, what, answer))
        scene.partners.answers.extend(self.answers(name, answer))
        verdict = scene.take(message)
        scene.partners.answers.clear()
        assert (verdict.refusal is None) is expected, f"{name} by {actor} at {judged}: {verdict.refusal}"
        if verdict.refusal is not None and not scene.effects[effects:]:
            assert order_of(scene) == before
        self.sent.append(message)
        model.pass_time(scene.now)
        scene.at(scene.now)
        self.note_current()

    def answers(self, name: str, answer: str) -> list[Result | str]:
        """Return what the partners answer to what the command will ask of them."""
        order = self.scene.order
        if name == "edit" and order.payment.status != "authorized" and answer == "declined":
            return [Result.UNANSWERED]  # stock is not declined
        if name == "ship" and answer.startswith("lapsed"):
            there = order.payment.status == "authorized" and self.scene.now < (order.payment.expires_at or T0)
            rest = [] if answer == "lapsed" else [self.result(answer.split(", ")[1])]
            return [Result.LAPSED, *rest] if there else [*rest, *([Result.UNANSWERED] if not rest else [])]
        return [] if answer == "ok" else [self.result(answer)]

    @staticmethod
    def result(answer: str) -> Result | str:
        """Return the answer as the partners take it."""
        return answer if answer == "lost" else Result(answer)

    def note_current(self) -> None:
        """Remember the authorisation that was begun last in the background."""
        begun = [each.key for each in self.scene.open if isinstance(each, Authorize)]
        if begun and begun[-1] != FIRST:
            self.current = max(begun, key=lambda key: int(key.split("/")[1]))

    @rule(
        stamp=STAMPS,
        nudge=NUDGE,
        actor=ACTORS,
        name=st.sampled_from(["cancel", "request_cancellation", "flag_oversold"]),
    )
    def somebody_cancels(self, stamp: str, nudge: timedelta, actor: str, name: str) -> None:
        """The buyer or somebody else cancels, or asks to; or the marketplace flags the order."""
        fields = {"reason": "no_inventory"} if (name, actor) == ("cancel", "seller") else {}
        self.send(name, actor, self.stamp(stamp, nudge), {}, "ok", **fields)

    @rule(
        stamp=STAMPS, nudge=NUDGE, actor=ACTORS, name=st.sampled_from(["accept_cancellation", "decline_cancellation"])
    )
    def somebody_answers(self, stamp: str, nudge: timedelta, actor: str, name: str) -> None:
        """The seller or somebody else answers the buyer's request."""
        self.send(name, actor, self.stamp(stamp, nudge), {}, "ok")

    @rule(
        stamp=STAMPS,
        nudge=NUDGE,
        actor=ACTORS,
        units=st.integers(0, 4) | st.none(),
        answer=EDIT_ANSWERS,
        data=st.data(),
    )
    def somebody_edits(
        self, stamp: str, nudge: timedelta, actor: str, units: int | None, answer: str, data: st.DataObject
    ) -> None:
        """The buyer or somebody else changes a quantity or the shipping option."""
        at = self.stamp(stamp, nudge)
        if units is None:
            option = data.draw(st.sampled_from(list(FEES)))
            answer = "ok" if answer == "out_of_stock" else answer
            self.send("edit", actor, at, {"option": option}, answer, shipping_option=option)
        else:
            self.send("edit", actor, at, {"A": units}, answer, lines=[{"sku": "A", "quantity": units}])

    @rule(
        stamp=STAMPS,
        nudge=NUDGE,
        actor=ACTORS,
        answer=SHIP_ANSWERS,
        units=st.dictionaries(st.sampled_from(["A", "B"]), st.integers(1, 2), max_size=2),
    )
    def somebody_ships(self, stamp: str, nudge: timedelta, actor: str, answer: str, units: dict[str, int]) -> None:
        """The seller, the marketplace or somebody else confirms a shipment."""
        lines = [{"sku": sku, "quantity": count} for sku, count in units.items()]
        self.send("ship", actor, self.stamp(stamp, nudge), units, answer, **PARCEL, lines=lines)

    @rule(actor=ACTORS, parcel=st.none() | st.integers(0, 2))
    def somebody_delivers(self, actor: str, parcel: int | None) -> None:
        """The carrier delivers one parcel or all."""
        fields = {} if parcel is None else {"shipment_id": f"P{parcel + 1}"}
        self.send("deliver", actor, self.scene.now, {"parcel": parcel}, "ok", **fields)

    @rule(stamp=STAMPS, nudge=NUDGE, actor=ACTORS, minutes=st.sampled_from([1, 10, 600, 1440]))
    def somebody_extends(self, stamp: str, nudge: timedelta, actor: str, minutes: int) -> None:
        """The operator or somebody else extends the edit window."""
        self.send("extend_edit", actor, self.stamp(stamp, nudge), {"minutes": minutes}, "ok", minutes=minutes)

    @rule(stamp=STAMPS, nudge=NUDGE, actor=ACTORS)
    def somebody_pays_again(self, stamp: str, nudge: timedelta, actor: str) -> None:
        """The buyer or somebody else gives another card."""
        self.send("pay_again", actor, self.stamp(stamp, nudge), {}, "ok", card=f"card-{self.count}")

    @precondition(lambda self: self.scene.open)
    @rule(pick=st.integers(0, 5), answer=st.sampled_from(["ok", "ok", "ok", "no", "no stock"]))
    def a_partner_answers(self, pick: int, answer: str) -> None:
        """An effect in the background ends, in any order, well or badly."""
        scene, model = self.scene, self.model
        scene.at(scene.now)
        model.pass_time(scene.now)
        effect: Effect = scene.open.pop(pick % len(scene.open))
        current = effect.key == self.current
        if isinstance(effect, Authorize) and answer == "no stock" and effect.reservation and current:
            scene.answer(Result.OUT_OF_STOCK)
            model.rejected = model.rejected or model.status == "pending"
        elif answer != "ok":
            scene.answer(Result.DECLINED if isinstance(effect, Authorize) else Result.VOID_FAILED)
        good = answer == "ok" and isinstance(effect, Authorize)
        scene.decide(scene.partners.perform(effect, scene.now))
        if isinstance(effect, Authorize) and not model.rejected:
            model.verdict(good, current, scene.now)
        scene.at(scene.now)
        model.pass_time(scene.now)

    @rule(step=STEPS)
    def time_passes(self, step: timedelta) -> None:
        """The clock moves on and every deadline is met at its instant."""
        self.scene.at(self.scene.now + step)
        self.model.pass_time(self.scene.now)

    @rule(step=STEPS)
    def every_worker_is_down(self, step: timedelta) -> None:
        """The clock moves on while nobody works; what waits meets deadlines that are past."""
        self.scene.late(self.scene.now + step)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def a_command_comes_twice(self, data: st.DataObject) -> None:
        """A command that was answered is delivered again."""
        before, effects = self.scene.order, len(self.scene.effects)
        assert self.scene.take(data.draw(st.sampled_from(self.sent))).repeated
        assert self.scene.order is before
        assert len(self.scene.effects) == effects

    @rule()
    def the_store_catches_up(self) -> None:
        """The history is written to the store."""
        self.scene.publish()

    @invariant()
    def state_is_the_models(self) -> None:
        """The order is in the state, of the contents and with the money that the policy says."""
        order, model = self.scene.order, self.model
        if (due := next_deadline(order)) is not None and due.at <= self.scene.now:
            return  # workers are down: nothing has been decided yet
        assert order.status == model.status
        assert (order.rejected is not None) is model.rejected
        assert {line.sku: line.quantity for line in order.lines} == model.ordered
        assert order.total_minor == model.total
        assert order.edit_until == model.edit_end
        assert {line.sku: line.shipped for line in order.lines} == {sku: model.shipped[sku] for sku in model.ordered}

    @invariant()
    def money_is_sound(self) -> None:
        """Never more charged than held, nothing before a confirmation, the whole total after it; at most one wanted hold."""
        order, partners, now = self.scene.order, self.scene.partners, self.scene.now
        kept = {key: hold for key, hold in partners.holds.items() if hold.live(now) and key not in order.voids}
        charged = sum(hold.charged for hold in kept.values())
        assert order.payment.captured_minor <= order.payment.authorized_minor
        assert charged == order.payment.captured_minor == (order.total_minor if order.shipments else 0)
        assert len([each for each in self.scene.order.history if each.name == "captured"]) <= 1
        waiting = {each.key for each in self.scene.open if isinstance(each, Authorize)}
        assert len(set(kept) | (waiting & {order.payment.reference})) <= 1
        assert set(kept) <= {order.payment.reference}
        begun = {each.reference for each in self.scene.open if isinstance(each, Void)}
        assert set(order.voids) <= begun

    @invariant()
    def an_end_is_an_end(self) -> None:
        """One cancellation, never after a shipment, with nothing held or charged; closed orders stay as they are."""
        order, (before, _) = self.scene.order, self.before
        assert (order.cancellation is not None) is (order.status == "cancelled")
        if order.cancellation is not None:
            assert not order.shipments
            kept = [key for key, hold in self.scene.partners.holds.items() if hold.live(self.scene.now)]
            assert set(kept) <= set(order.voids)
            told = self.scene.mails(NoticeKind.ORDER_CANCELLED) + self.scene.mails(NoticeKind.REQUEST_ACCEPTED)
            assert told.count("buyer") == 1
        if before.status in CLOSED:
            assert (order.status, order.cancellation) == (before.status, before.cancellation)
            assert order.flags | {"void_failing"} == before.flags | {"void_failing"}

    @invariant()
    def the_book_is_kept(self) -> None:
        """A change has a higher version, entries are numbered through, notices are unique, the seller sees no more than it may."""
        order, (before, was) = self.scene.order, self.before
        now_is = order_of(self.scene)
        assert order.version > before.version or now_is == was
        self.before = (order, now_is)
        assert [each.seq for each in order.history][-3:] == list(range(1, order.entries + 1))[-3:]
        keys = [each.key for each in self.scene.notices]
        assert len(keys) == len(set(keys))
        assert all(line.shipped <= line.quantity for line in order.lines)
        seen = view(order, self.scene.now, Actor.SELLER)
        assert seen.payment is None
        assert (seen.buyer is None) is (order.verified_at is None or order.erased_at is not None)


@pytest.mark.rule(
    "C1", "C2", "C3", "C4", "C5", "C8", "C9", "C10", "E1", "E7", "E8", "G2", "G3", "G6", "S1", "S2", "A9", "A10"
)
class TestTheOrderKeepsToThePolicy(OrderMachine.TestCase):  # type: ignore[misc,valid-type]
    """Whatever anybody sends at whatever time and the partners answer, the order does what the policy's model does."""

    settings = settings(
        max_examples=150, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
    )
