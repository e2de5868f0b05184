"""A small model of an order, written from the policy alone, by which the machine is judged in `test_domain_model`."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest
from domain_kit import DAY, MINUTE, SECOND, T0

OPEN = ("pending", "unshipped")
CLOSED = ("cancelled", "completed")
FEES = {"standard": 500, "express": 1200}
PRICES = {"A": 1000, "B": 500}


class Ask(NamedTuple):
    """A command as the policy sees it: who, judged at when, decided when, what, and how the partners answer."""

    actor: str
    at: datetime
    now: datetime
    what: dict[str, Any]
    answer: str


@dataclass
class Parcel:
    """One confirmed parcel: its units by sku."""

    units: dict[str, int]
    arrived: bool = False


@dataclass
class Wish:
    """A buyer's wish after shipment: a cancellation (A1), or a return of what had arrived (A2); open until it is declined."""

    units: dict[str, int]
    is_return: bool
    open: bool = True


@dataclass
class Model:
    """What the policy says of one order; `pay` is authorizing, held, declined, none or charged."""

    ships: str
    cancel_end: datetime
    lasts: timedelta
    status: str = "pending"
    pay: str = "authorizing"
    hold_until: datetime = T0
    edit_end: datetime = T0 + 5 * MINUTE
    verified_at: datetime | None = None
    ordered: dict[str, int] = field(default_factory=lambda: {"A": 2, "B": 1})
    shipped: dict[str, int] = field(default_factory=lambda: {"A": 0, "B": 0})
    option: str = "standard"
    requested: bool = False
    rejected: bool = False
    parcels: list[Parcel] = field(default_factory=list)
    wishes: list[Wish] = field(default_factory=list)
    last_confirmed: datetime = T0
    delivered_at: datetime = T0

    @property
    def confirm_by(self) -> datetime:
        """C8, counted from the verification where that came later than the ship date of the seller (two days)."""
        return max(T0 + 2 * DAY, self.verified_at or T0) + 7 * DAY

    @property
    def total(self) -> int:
        """The order's total in minor units."""
        return FEES[self.option] + sum(PRICES[sku] * units for sku, units in self.ordered.items())

    def pass_time(self, until: datetime) -> None:
        """Let the marketplace act at each window that ends (G6, C8, A10, A9)."""
        while not self.rejected:
            end, then = {
                "pending": (T0 + 21 * DAY, "cancelled"),
                "unshipped": (self.confirm_by, "cancelled"),
                "shipped": (self.last_confirmed + 21 * DAY, "delivered"),
                "delivered": (self.delivered_at + 30 * DAY, "completed"),
            }.get(self.status, (None, ""))
            held_open = self.status == "delivered" and any(each.open for each in self.wishes)  # A9
            if end is None or end > until or held_open:
                return
            self.status = then
            if then == "delivered":
                self.delivered_at = end
                for parcel in self.parcels:
                    parcel.arrived = True

    def verdict(self, good: bool, current: bool, now: datetime) -> None:
        """Take in the outcome of a background authorisation (G3, G5); one that is not current changes nothing."""
        if not current or self.pay != "authorizing" or self.status not in OPEN:
            return
        self.pay = "held" if good else "declined"
        if good:
            self.hold_until = now + self.lasts
            if self.status == "pending":
                self.status, self.verified_at = "unshipped", now

    def command(self, name: str, ask: Ask) -> bool:
        """Return whether the policy accepts a command, and make the change if so."""
        if self.rejected or self.status in CLOSED:
            return False
        return bool(getattr(self, f"_{name}")(ask))

    def _edit(self, ask: Ask) -> bool:
        if ask.actor != "buyer" or self.ships != "seller" or self.status not in OPEN or ask.at >= self.edit_end:
            return False
        ordered, option = dict(self.ordered), ask.what.get("option", self.option)
        if "A" in ask.what:
            if "A" not in ordered:
                return False
            ordered["A"] = ask.what["A"]
        ordered = {sku: units for sku, units in ordered.items() if units}
        if (ordered, option) == (self.ordered, self.option):
            return False
        if ask.answer != "ok" and (self.pay == "held" or ordered != self.ordered):
            return False
        self.ordered, self.option = ordered, option
        if self.pay == "held":
            self.hold_until = ask.now + self.lasts
        return True

    def _cancel(self, ask: Ask) -> bool:
        alone = ask.actor == "buyer" and self.status in OPEN and ask.at < self.cancel_end
        accepted = alone or (ask.actor == "seller" and self.status == "unshipped")
        if accepted:
            self.status = "cancelled"
        return accepted

    def _request_cancellation(self, ask: Ask) -> bool:
        if ask.actor == "buyer" and self.status not in OPEN:
            return self._wish(ask)
        if ask.actor != "buyer" or self.requested:
            return False
        if ask.at < self.cancel_end:
            self.status = "cancelled"
        else:
            self.requested = True
        return True

    def _accept_cancellation(self, ask: Ask) -> bool:
        accepted = ask.actor == "seller" and self.status == "unshipped" and self.requested
        if accepted:
            self.status = "cancelled"
        return accepted

    def _wish(self, ask: Ask) -> bool:
        """Take the buyer's wish to cancel everything that is shipped and not in another open wish (A1, A2)."""
        taken = [each.units for each in self.wishes if each.open]
        free = {sku: units - sum(each.get(sku, 0) for each in taken) for sku, units in self.shipped.items()}
        units = {sku: count for sku, count in free.items() if count > 0}
        if not units or (self.status == "delivered" and ask.at >= self.delivered_at + 30 * DAY):
            return False
        there = [each.units for each in self.parcels if each.arrived]
        arrived = all(count <= sum(each.get(sku, 0) for each in there) for sku, count in units.items())
        self.wishes.append(Wish(units, is_return=arrived))
        return True

    def _decline_cancellation(self, ask: Ask) -> bool:
        if self.status not in OPEN:
            fitting = [each for each in self.wishes if each.open and not each.is_return]
            if ask.actor != "seller" or len(fitting) != 1:
                return False
            fitting[0].open = False
            return True
        accepted = ask.actor == "seller" and self.status == "unshipped" and self.requested
        if accepted:
            self.requested = False
        return accepted

    def _ship(self, ask: Ask) -> bool:
        left = {sku: units - self.shipped[sku] for sku, units in self.ordered.items()}
        if ask.actor != self.ships or self.status not in ("unshipped", "partially_shipped"):
            return False
        if self.status == "unshipped" and (ask.at >= self.confirm_by or self.pay == "authorizing"):
            return False
        sent = ask.what or {sku: units for sku, units in left.items() if units}
        if any(units > left.get(sku, 0) for sku, units in sent.items()):
            return False
        if self.status == "unshipped" and not self._charge(ask.answer, ask.now):
            return False
        for sku, units in sent.items():
            self.shipped[sku] += units
        self.parcels.append(Parcel(dict(sent)))
        self.requested = False
        self.last_confirmed = max(self.last_confirmed, ask.at)
        whole = all(self.shipped[sku] == units for sku, units in self.ordered.items())
        self.status = "shipped" if whole else "partially_shipped"
        return True

    def _charge(self, answer: str, now: datetime) -> bool:
        there = self.pay == "held" and now < self.hold_until
        if answer == "ok" or (answer == "lapsed" and there):
            self.pay = "charged"
            return True
        if answer in ("declined", "lapsed, declined"):
            self.pay = "declined"
        elif there:
            self.pay = "none"
        return False

    def _deliver(self, ask: Ask) -> bool:
        known = [index for index, parcel in enumerate(self.parcels) if not parcel.arrived]
        chosen = known if ask.what.get("parcel") is None else [each for each in known if each == ask.what["parcel"]]
        if ask.actor not in ("system", "operator") or self.status not in ("partially_shipped", "shipped") or not chosen:
            return False
        for index in chosen:
            self.parcels[index].arrived = True
        if self.status == "shipped" and all(each.arrived for each in self.parcels):
            self.status, self.delivered_at = "delivered", ask.at
        return True

    def _extend_edit(self, ask: Ask) -> bool:
        end = max(self.edit_end, ask.at) + ask.what["minutes"] * MINUTE
        if ask.actor != "operator" or self.ships != "seller" or self.status not in OPEN or end > T0 + 5 * MINUTE + DAY:
            return False
        self.edit_end = end
        return True

    def _pay_again(self, ask: Ask) -> bool:
        if ask.actor != "buyer" or self.status not in OPEN or self.pay not in ("declined", "none"):
            return False
        self.pay = "authorizing"
        return True

    def _flag_oversold(self, ask: Ask) -> bool:
        return ask.actor == "system" and self.status in OPEN


def ask(actor: str, at: datetime, answer: str = "ok", **what: Any) -> Ask:
    """Return a command asked for and decided at `at`."""
    return Ask(actor, at, at, what, answer)


def fresh() -> Model:
    """Return the model of an order that its seller ships, with the plain cancel window."""
    return Model(ships="seller", cancel_end=T0 + 30 * MINUTE, lasts=30 * DAY)


@pytest.mark.rule("G2", "G5", "S2", "A10", "A9")
def test_the_model_lives_an_orders_life() -> None:
    """The model of an order that is verified, shipped in parts and never heard of again ends as the policy says."""
    model = fresh()
    assert not model.command("ship", ask("seller", T0))
    model.verdict(good=True, current=True, now=T0 + MINUTE)
    assert not model.command("ship", ask("seller", T0 + DAY, "declined"))
    assert (model.status, model.pay) == ("unshipped", "declined")
    assert model.command("ship", ask("seller", T0 + DAY, A=1))
    assert not model.command("cancel", ask("seller", T0 + DAY))
    assert model.command("ship", ask("seller", T0 + 2 * DAY))
    model.pass_time(T0 + 53 * DAY - SECOND)
    assert (model.status, model.delivered_at) == ("delivered", T0 + 23 * DAY)
    model.pass_time(T0 + 53 * DAY)
    assert model.status == "completed"


@pytest.mark.rule("A1", "A2", "A9")
def test_the_model_holds_a_delivered_order_open_for_the_buyers_wish() -> None:
    """The model takes a wish of what is shipped once, as a return of what has arrived, and completes nothing meanwhile."""
    model = fresh()
    model.verdict(good=True, current=True, now=T0 + MINUTE)
    assert model.command("ship", ask("seller", T0 + DAY, A=1))
    assert model.command("request_cancellation", ask("buyer", T0 + DAY))
    assert not model.command("request_cancellation", ask("buyer", T0 + DAY))
    assert model.command("ship", ask("seller", T0 + 2 * DAY))
    assert model.command("deliver", ask("system", T0 + 3 * DAY))
    assert model.command("request_cancellation", ask("buyer", T0 + 3 * DAY))
    assert [each.is_return for each in model.wishes] == [False, True]
    assert model.command("decline_cancellation", ask("seller", T0 + 3 * DAY))
    assert not model.command("decline_cancellation", ask("seller", T0 + 3 * DAY))
    model.pass_time(T0 + 99 * DAY)
    assert model.status == "delivered"


@pytest.mark.rule("C1", "C3", "C4", "G6")
def test_the_model_cancels_as_the_policy_says() -> None:
    """The model lets the buyer cancel until the window ends, then request, and the marketplace end what stays unverified."""
    late = T0 + 30 * MINUTE
    assert fresh().command("cancel", ask("buyer", late - SECOND))
    model = fresh()
    assert not model.command("cancel", ask("buyer", late))
    assert model.command("request_cancellation", ask("buyer", late))
    assert not model.command("accept_cancellation", ask("seller", late))
    model.pass_time(T0 + 21 * DAY)
    assert model.status == "cancelled"
