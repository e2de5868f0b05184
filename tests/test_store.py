"""The stock and the records that move it: never sold twice, taken and released exactly once; on SQLite and PostgreSQL."""

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import select
from store_kit import SELLER, at_once, cancelled, entry, number, place, snapshot, units, wish

from domain.effects import Reservation
from domain.order import EntryKind, Flag, Status
from domain.refusals import Refusal
from domain.views import OrderView
from store.store import NumberTaken, Shortage, StockRow, Store
from store.tables import ReservationTable

pytest_plugins = ["store_kit"]

_examples = itertools.count(1)


@pytest.mark.rule("P4")
def test_the_last_unit_raced_by_many_buyers_goes_to_exactly_one(store: Store) -> None:
    """Of sixteen orders after one unit one holds it; the others are told that none is left and leave no record."""
    store.set_on_hand(SELLER, "A", 1)
    answers = at_once(lambda index: place(store, index, A=1), 16)
    assert answers.count(None) == 1
    assert answers.count(Shortage({"A": 0})) == 15
    assert units(store) == (1, 1)
    assert [order.number for order in store.orders()] == [number(answers.index(None))]


@pytest.mark.rule("P4")
def test_orders_over_the_same_items_in_any_order_never_deadlock(store: Store) -> None:
    """Many orders over the same three items, listed differently, all get them; their records release them again."""
    skus = ["A", "B", "C"]
    for sku in skus:
        store.set_on_hand(SELLER, sku, 1000)
    orders = [dict.fromkeys(order, 2) for order in itertools.permutations(skus)] * 2
    assert at_once(lambda index: place(store, index, **orders[index]), len(orders)) == [None] * len(orders)
    assert store.stock() == [StockRow(SELLER, sku, 1000, 24) for sku in skus]
    at_once(lambda index: store.record(cancelled(index, 2, dict.fromkeys(orders[index], (2, 0))), []), len(orders))
    assert store.stock() == [StockRow(SELLER, sku, 1000, 0) for sku in skus]


@pytest.mark.rule("P4")
def test_a_reservation_is_all_or_nothing(store: Store) -> None:
    """One short item refuses the whole order, and each short item is named with the units still to be had."""
    store.set_on_hand(SELLER, "A", 5)
    store.set_on_hand(SELLER, "B", 1)
    assert place(store, 1, A=2, B=2, unknown=1) == Shortage({"B": 1, "unknown": 0})
    assert (units(store, "A"), units(store, "B")) == ((5, 0), (1, 0))
    assert store.order(number(1)) is None
    assert place(store, 1, A=2, B=1) is None


@pytest.mark.rule("P4")
def test_a_repeated_or_older_reservation_changes_nothing(store: Store) -> None:
    """The same reservation delivered twice, or after a newer one, holds nothing more."""
    store.set_on_hand(SELLER, "A", 5)
    assert place(store, 1, A=2) is None
    assert place(store, 1, A=2) is None
    assert store.reserve(wish(1, 3, A=4)) is None
    assert store.reserve(wish(1, 2, A=5)) is None
    assert store.reserve(wish(1, 3, A=5)) is None
    assert units(store) == (5, 4)
    at_once(lambda _: store.reserve(wish(1, 4, A=5)), 8)
    assert units(store) == (5, 5)


@pytest.mark.rule("P3")
def test_a_number_with_other_content_is_taken(store: Store) -> None:
    """The same number with other content reserves nothing and leaves the first order's record and history alone."""
    store.set_on_hand(SELLER, "A", 5)
    place(store, 1, A=1)
    other = snapshot(1, 7, {"A": (3, 0)}, content="other")
    assert store.reserve(wish(1, 7, A=3), other) == NumberTaken(number(1))
    store.record(other, [entry(1)])
    assert units(store) == (5, 1)
    known = store.order(number(1))
    assert known is not None and known.content == "content-1"
    assert store.history(number(1)) == []


@pytest.mark.rule("C9", "C10")
def test_a_reservation_that_arrives_after_the_cancellation_holds_nothing(store: Store) -> None:
    """A cancelled order leaves a closed reservation behind: what was still under way reserves nothing."""
    store.set_on_hand(SELLER, "A", 5)
    store.record(cancelled(1, 2, {"A": (1, 0)}), [])
    assert place(store, 1, A=1) == NumberTaken(number(1))
    assert store.reserve(wish(1, 9, A=1)) == NumberTaken(number(1))
    assert units(store) == (5, 0)
    known = store.order(number(1))
    assert known is not None and known.status is Status.CANCELLED


@pytest.mark.rule("C9", "C10")
def test_reserving_and_cancelling_at_the_same_instant_hold_nothing(store: Store) -> None:
    """Whichever comes first, a cancelled order holds no stock."""
    store.set_on_hand(SELLER, "A", 20)

    def work(index: int) -> None:
        order = index // 2
        if index % 2:
            store.record(cancelled(order, 2, {"A": (1, 0)}), [])
        else:
            place(store, order, A=1)

    at_once(work, 16)
    assert units(store) == (20, 0)
    assert store.counts_by_status()[Status.CANCELLED] == 8


@pytest.mark.rule("C9")
def test_a_cancellation_releases_exactly_once(store: Store) -> None:
    """A cancellation delivered by several workers at once gives the units back once; another order keeps its own."""
    store.set_on_hand(SELLER, "A", 5)
    place(store, 1, A=2)
    place(store, 2, A=3)
    at_once(lambda _: store.record(cancelled(1, 2, {"A": (2, 0)}), [entry(1)]), 6)
    store.record(snapshot(1, 1, {"A": (2, 0)}), [])
    assert units(store) == (5, 3)


def test_an_older_snapshot_never_overwrites_a_newer(store: Store) -> None:
    """Snapshots delivered in any order leave the newest, with its lines; equal versions may be written again."""
    for version in (2, 5, 3, 5, 1):
        store.record(snapshot(1, version, {"A": (version, 0)}), [])
    assert store.order(number(1)) == snapshot(1, 5, {"A": (5, 0)})
    assert units(store) == (0, 5)
    flagged = snapshot(1, 5, {"A": (5, 0)}, flags=(Flag.OVERSOLD,))
    store.record(flagged, [])
    assert store.order(number(1)) == flagged


@pytest.mark.rule("P4")
def test_a_shipment_takes_its_units_away_exactly_once(store: Store) -> None:
    """Shipped units leave the stock once, however often and in whatever order the records arrive."""
    store.set_on_hand(SELLER, "A", 10)
    place(store, 1, A=3)
    partly = snapshot(1, 3, {"A": (3, 1)}, status=Status.PARTIALLY_SHIPPED)
    fully = snapshot(1, 4, {"A": (3, 3)}, status=Status.SHIPPED)
    at_once(lambda _: store.record(partly, []), 4)
    assert units(store) == (9, 2)
    for record in (fully, partly, fully):
        store.record(record, [])
    assert units(store) == (7, 0)
    store.record(snapshot(1, 5, {"A": (3, 3)}, status=Status.COMPLETED), [])
    assert store.reserve(wish(1, 6, A=1)) == NumberTaken(number(1))
    assert units(store) == (7, 0)


@pytest.mark.rule("P4", "E1")
def test_an_edit_raises_lowers_and_drops_lines(store: Store) -> None:
    """An edit that needs more asks for it first, all or nothing; what it drops is free when it is recorded."""
    store.set_on_hand(SELLER, "A", 5)
    store.set_on_hand(SELLER, "B", 5)
    place(store, 1, A=2, B=2)
    place(store, 2, A=2)
    assert store.reserve(wish(1, 2, A=4, B=1)) == Shortage({"A": 3})
    assert (units(store, "A"), units(store, "B")) == ((5, 4), (5, 2))
    assert store.reserve(wish(1, 2, A=3, B=1)) is None
    assert (units(store, "A"), units(store, "B")) == ((5, 5), (5, 1))
    store.record(snapshot(1, 3, {"A": (1, 0)}), [])
    assert (units(store, "A"), units(store, "B")) == ((5, 3), (5, 0))


def test_a_record_made_before_an_edit_is_decided_leaves_its_reservation_alone(store: Store) -> None:
    """What an edit under way has reserved is held until a newer record says whether the edit was made."""
    store.set_on_hand(SELLER, "A", 5)
    place(store, 1, A=2)
    assert store.reserve(wish(1, 3, A=4)) is None
    for version in (2, 3):
        store.record(snapshot(1, version, {"A": (2, 0)}), [])
        assert units(store) == (5, 4)
    store.record(snapshot(1, 4, {"A": (2, 0)}), [])
    assert units(store) == (5, 2)


def test_a_record_without_a_reservation_is_believed(store: Store) -> None:
    """An order that exists holds its units even where the reservation was lost; shipping more than there is leaves 0."""
    store.set_on_hand(SELLER, "A", 1)
    store.record(snapshot(1, 4, {"A": (3, 0)}), [])
    assert units(store) == (1, 3)
    store.record(snapshot(1, 5, {"A": (3, 2)}, status=Status.PARTIALLY_SHIPPED), [])
    assert units(store) == (0, 1)


@pytest.mark.rule("P4")
def test_a_corrected_stock_names_the_newest_orders_that_cannot_be_filled(store: Store) -> None:
    """The earlier order keeps its unit, whoever reserved first; negative stock is refused."""
    store.set_on_hand(SELLER, "A", 9)
    for index, quantity in ((3, 2), (1, 1), (2, 3)):
        place(store, index, A=quantity)
    assert store.set_on_hand(SELLER, "A", 6) == []
    assert store.set_on_hand(SELLER, "A", 5) == [number(3)]
    assert store.set_on_hand(SELLER, "A", 1) == [number(3), number(2)]
    assert store.set_on_hand(SELLER, "A", 0) == [number(3), number(2), number(1)]
    assert place(store, 4, A=1) == Shortage({"A": 0})
    assert store.stock(SELLER)[0].available == 0
    assert store.stock("another") == []
    store.record(cancelled(3, 2, {"A": (2, 0)}), [])
    assert store.set_on_hand(SELLER, "A", 1) == [number(2)]
    with pytest.raises(ValueError, match="give 0 or more"):
        store.set_on_hand(SELLER, "A", -1)


@pytest.mark.rule("D3")
def test_history_is_written_once_and_never_changed(store: Store) -> None:
    """Entries arrive repeated, out of order and with gaps; each is kept as it first came, NUL characters made visible."""
    refusal = Refusal(code="X", message="a\x00b", remedy="c", rule="D3")
    first = entry(1, command_id="id-1", accepted=False, refusal=refusal)
    store.record(snapshot(1, 5, {"A": (1, 0)}), [first, entry(4, actor=None, kind=EntryKind.DEADLINE)])
    store.record(snapshot(1, 4, {"A": (1, 0)}), [entry(2, name="ed\x00it"), entry(1, name="forged"), entry(2)])
    kept = store.history(number(1))
    assert kept == [first, entry(2, name="ed\ufffdit"), entry(4, actor=None, kind=EntryKind.DEADLINE)]
    at_once(lambda _: store.record(snapshot(1, 6, {"A": (1, 0)}), [entry(seq) for seq in range(1, 9)]), 4)
    assert [line.seq for line in store.history(number(1))] == list(range(1, 9))


def test_the_database_itself_refuses_negative_stock(store: Store) -> None:
    """Whatever the code does, no unit can be on hand or reserved below zero."""
    store.set_on_hand(SELLER, "A", 1)
    for statement in ("UPDATE stock SET on_hand = -1", "UPDATE stock SET reserved = -1"):
        with pytest.raises(IntegrityError), store._database.engine.begin() as connection:
            connection.execute(text(statement))


class Shop:
    """A seller with two items and three orders, whose messages to the store are delivered late, twice or out of order."""

    SKUS = ("A", "B")

    def __init__(self, store: Store, stock: int) -> None:
        example = next(_examples)
        self.store, self.stock, self.seller = store, stock, f"seller-{example}"
        self.orders = [example * 3 + offset for offset in range(3)]
        self.versions = dict.fromkeys(self.orders, 0)
        self.needs: dict[int, dict[str, tuple[int, int]]] = {order: {} for order in self.orders}
        self.over: set[int] = set()
        self.reservations: list[Reservation] = []
        self.records: list[OrderView] = []
        for sku in self.SKUS:
            store.set_on_hand(self.seller, sku, stock)

    def tell(self, order: int) -> None:
        """Make the record of what `order` is now; it is delivered later."""
        self.versions[order] += 1
        make = cancelled if order in self.over else snapshot
        record = make(order, self.versions[order], self.needs[order])
        seller = record.seller.model_copy(update={"seller_id": self.seller})
        self.records.append(record.model_copy(update={"seller": seller}))

    def want(self, order: int, quantities: dict[str, int]) -> None:
        """Place or edit `order`, if it may still be."""
        if order in self.over or any(shipped for _, shipped in self.needs[order].values()):
            return
        self.versions[order] += 1
        ask = Reservation(
            order_number=number(order), seller_id=self.seller, version=self.versions[order], quantities=quantities
        )
        self.reservations.append(ask)
        if self.store.reserve(ask) is None:
            self.needs[order] = {sku: (quantity, 0) for sku, quantity in quantities.items() if quantity}
        self.tell(order)

    def ship(self, order: int, sku: str) -> None:
        """Ship one unit, if there is one to ship."""
        quantity, shipped = self.needs[order].get(sku, (0, 0))
        if order not in self.over and shipped < quantity:
            self.needs[order][sku] = (quantity, shipped + 1)
            self.tell(order)

    def cancel(self, order: int) -> None:
        """Cancel an order of which nothing is shipped."""
        if order not in self.over and not any(shipped for _, shipped in self.needs[order].values()):
            self.over.add(order)
            self.tell(order)

    def deliver(self, pick: int) -> None:
        """Deliver one of the messages made so far, perhaps again."""
        if self.records:
            self.store.record(self.records[pick % len(self.records)], [])
        if self.reservations:
            self.store.reserve(self.reservations[pick % len(self.reservations)])

    def check(self) -> None:
        """What is held is what the orders hold; no unit appears or vanishes."""
        rows = self.store._database.read(
            lambda session: session.exec(
                select(ReservationTable).where(ReservationTable.seller_id == self.seller)
            ).all()
        )
        for item in self.store.stock(self.seller):
            of_item = [row for row in rows if row.sku == item.sku]
            assert item.reserved == sum(row.quantity for row in of_item)
            assert item.on_hand + sum(row.shipped for row in of_item) == self.stock
            assert 0 <= item.reserved <= item.on_hand

    def settle(self) -> None:
        """Deliver the newest of everything: the stock is what the orders say."""
        for record in self.records:
            self.store.record(record, [])
        for item in self.store.stock(self.seller):
            lines = [(order in self.over, *self.needs[order].get(item.sku, (0, 0))) for order in self.orders]
            assert item.reserved == sum(quantity - shipped for over, quantity, shipped in lines if not over)
            assert item.on_hand == self.stock - sum(shipped for _, _, shipped in lines)


_order = st.integers(0, 2)
_steps = st.one_of(
    st.tuples(st.just("want"), _order, st.fixed_dictionaries({"A": st.integers(0, 3), "B": st.integers(0, 3)})),
    st.tuples(st.just("ship"), _order, st.sampled_from(Shop.SKUS)),
    st.tuples(st.just("cancel"), _order, st.none()),
    st.tuples(st.just("deliver"), st.integers(0, 40), st.none()),
)


@pytest.mark.rule("P4", "C9", "C10")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stock=st.integers(0, 6), steps=st.lists(_steps, max_size=25))
def test_stock_is_conserved_whatever_arrives_in_whatever_order(
    store: Store, stock: int, steps: list[tuple[str, int, object]]
) -> None:
    """Under any mix of placements, edits, shipments, cancellations, repeats and late messages no unit is lost or made."""
    shop = Shop(store, stock)
    for name, which, argument in steps:
        arguments = [which] if name == "deliver" else [shop.orders[which]]
        getattr(shop, name)(*arguments, *([] if argument is None else [argument]))
        shop.check()
    shop.settle()
    shop.check()


@pytest.mark.rule("P4")
def test_a_pending_record_that_comes_before_its_reservation_takes_no_stock(store: Store) -> None:
    """Whoever is still waiting for its first reservation has to ask for stock, even if its record is there already."""
    store.set_on_hand(SELLER, "A", 1)
    store.record(snapshot(1, 2, {"A": (2, 0)}, status=Status.PENDING), [])
    assert units(store) == (1, 0)
    assert isinstance(place(store, 1, A=2), Shortage)
    assert units(store) == (1, 0)
