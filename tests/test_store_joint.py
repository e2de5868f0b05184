"""Several orders reserved in one transaction, all or nothing, on SQLite and on a real PostgreSQL."""

from collections import Counter

import pytest
from store_kit import SELLER, at_once, entry, number, snapshot, units, wish

from domain.effects import Reservation
from domain.order import Status
from domain.policy import SellerProfile
from domain.views import OrderView
from store.store import NumberTaken, Shortage, Store

pytest_plugins = ["store_kit"]

OTHER = "seller-2"


def pair(
    index: int, seller: str = SELLER, content: str | None = None, **quantities: int
) -> tuple[Reservation, OrderView]:
    """Return an order's first reservation with its first record."""
    profile = SellerProfile(seller_id=seller, name="Shop", email="shop@example.com", language="ja")
    lines = {sku: (quantity, 0) for sku, quantity in quantities.items()}
    changes = {"seller": profile, "status": Status.PENDING, "content": content or f"content-{index}"}
    reservation = wish(index, 1, **quantities).model_copy(update={"seller_id": seller})
    return reservation, snapshot(index, 1, lines, **changes)


def of(store: Store, seller: str, sku: str = "A") -> tuple[int, int]:
    """Return (on hand, reserved) of an item of a seller."""
    return next((row.on_hand, row.reserved) for row in store.stock(seller) if row.sku == sku)


@pytest.mark.rule("P2", "P4")
def test_orders_reserved_together_hold_their_units_once(store: Store) -> None:
    """Both orders hold their units, also when asked again together or one by one, and both are recorded."""
    store.set_on_hand(SELLER, "A", 5)
    store.set_on_hand(OTHER, "A", 5)
    orders = [pair(1, OTHER, A=2), pair(2, SELLER, A=3)]
    assert store.reserve_all(orders) == {} == store.reserve_all(orders)
    for reservation, record in orders:
        assert store.reserve(reservation, record) is None
    assert (of(store, SELLER), of(store, OTHER)) == ((5, 3), (5, 2))
    assert {each.number for each in store.orders()} == {number(1), number(2)}


@pytest.mark.rule("P2", "P4")
def test_one_order_that_is_short_leaves_nothing_reserved(store: Store) -> None:
    """Every shortage is told with what is left, and neither stock nor records have changed."""
    store.set_on_hand(SELLER, "A", 5)
    store.set_on_hand(OTHER, "A", 1)
    orders = [pair(1, SELLER, A=2), pair(2, OTHER, A=2, B=1)]
    assert store.reserve_all(orders) == {number(2): Shortage({"A": 1, "B": 0})}
    assert (of(store, SELLER), of(store, OTHER)) == ((5, 0), (1, 0))
    assert store.orders() == []
    assert store.reserve_all(orders[:1]) == {}


@pytest.mark.rule("P2", "P3")
def test_a_taken_number_leaves_nothing_reserved(store: Store) -> None:
    """The number of an order of other content refuses all, and that order keeps what it holds."""
    store.set_on_hand(SELLER, "A", 5)
    store.set_on_hand(OTHER, "A", 5)
    assert store.reserve(*pair(1, SELLER, A=1)) is None
    answer = store.reserve_all([pair(1, SELLER, "another", A=2), pair(2, OTHER, A=2)])
    assert answer == {number(1): NumberTaken(number(1))}
    assert (of(store, SELLER), of(store, OTHER)) == ((5, 1), (5, 0))


@pytest.mark.rule("P2", "P4")
def test_of_purchases_after_the_last_units_some_get_all_and_the_others_nothing(store: Store) -> None:
    """Twelve purchases at once of one unit of each of two sellers, who have five: five purchases get both."""
    store.set_on_hand(SELLER, "A", 5)
    store.set_on_hand(OTHER, "A", 5)

    def buy(index: int) -> bool:
        orders = [pair(2 * index, SELLER, A=1), pair(2 * index + 1, OTHER, A=1)]
        return store.reserve_all(orders if index % 2 else orders[::-1]) == {}

    assert Counter(at_once(buy, 12)) == {True: 5, False: 7}
    assert (of(store, SELLER), of(store, OTHER)) == ((5, 5), (5, 5))
    assert len(store.orders()) == 10


@pytest.mark.rule("P2", "C9")
def test_an_order_that_was_never_begun_gives_its_stock_back(store: Store) -> None:
    """Withdrawn once or twice it holds nothing and is not known; its number is free again."""
    store.set_on_hand(SELLER, "A", 5)
    store.reserve_all([pair(1, SELLER, A=2), pair(2, SELLER, A=1)])
    assert store.withdraw(number(1), "content-1") and not store.withdraw(number(1), "content-1")
    assert units(store) == (5, 1) and store.order(number(1)) is None
    assert store.reserve(*pair(1, SELLER, "another", A=4)) is None
    assert units(store) == (5, 5)


@pytest.mark.rule("P2", "C9")
def test_an_order_that_lives_is_not_withdrawn(store: Store) -> None:
    """An order with a history, and one of other content, keep their stock and records."""
    store.set_on_hand(SELLER, "A", 5)
    store.reserve_all([pair(1, SELLER, A=2), pair(2, SELLER, A=1)])
    store.record(snapshot(1, 2, {"A": (2, 0)}), [entry(1)])
    assert not store.withdraw(number(1), "content-1") and not store.withdraw(number(2), "another")
    assert units(store) == (5, 3) and len(store.orders()) == 2
