"""The ledger: posted once with the order's record, never changed, whatever arrives; on SQLite and PostgreSQL."""

import logging
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, StatementError
from store_kit import SELLER, T0, at_once, number, place, snapshot, units, wish

from domain.movements import Entry, Movement, MovementKind
from domain.order import Status
from domain.views import OrderView
from store import ledger
from store.store import Balance, LedgerRow, NumberTaken, Store, Unbalanced
from store.tables import LedgerTable

pytest_plugins = ["store_kit"]

SETTLEMENT, BUYER, CLEARING = f"seller:{SELLER}:settlement", "buyer:buyer-1", "provider:clearing"


def movement(index: int, name: str = "charge", currency: str = "JPY", **entries: int) -> Movement:
    """Return a movement of the `index`-th order; `entries` maps settlement, buyer and clearing to minor units."""
    accounts = {"settlement": SETTLEMENT, "buyer": BUYER, "clearing": CLEARING}
    return Movement(
        movement_id=f"{number(index)}/{name}",
        kind=MovementKind(name.partition("/")[0]),
        order_number=number(index),
        currency=currency,
        at=T0 + timedelta(minutes=index, microseconds=7),
        entries=tuple(Entry(account=accounts[each], amount_minor=amount) for each, amount in entries.items()),
    )


def charge(index: int, amount: int = 800, **changes: Any) -> Movement:
    """Return the charge of the `index`-th order."""
    return movement(index, clearing=amount, settlement=-amount, **changes)


def refund(index: int, amount: int = 300) -> Movement:
    """Return a refund of the `index`-th order."""
    return movement(index, "refund/R1", settlement=amount, buyer=-amount)


def with_movements(index: int, version: int, *movements: Movement, **changes: Any) -> OrderView:
    """Return a snapshot whose record has `movements`."""
    return snapshot(index, version, {"A": (1, 0)}, movements=movements, **changes)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged as an error."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.rule("S7")
def test_a_record_posts_its_movements_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """However often a record is written, each of its movements is posted once, entry by entry."""
    for version in (1, 1, 2):
        store.record(with_movements(1, version, charge(1)), [])
    store.record(with_movements(1, 3, charge(1), refund(1)), [])
    at = T0 + timedelta(minutes=1, microseconds=7)
    facts: dict[str, Any] = {"order_number": number(1), "currency": "JPY", "at": at}
    assert store.entries(number(1)) == [
        LedgerRow(f"{number(1)}/charge", 0, MovementKind.CHARGE, account=CLEARING, amount_minor=800, **facts),
        LedgerRow(f"{number(1)}/charge", 1, MovementKind.CHARGE, account=SETTLEMENT, amount_minor=-800, **facts),
        LedgerRow(f"{number(1)}/refund/R1", 0, MovementKind.REFUND, account=SETTLEMENT, amount_minor=300, **facts),
        LedgerRow(f"{number(1)}/refund/R1", 1, MovementKind.REFUND, account=BUYER, amount_minor=-300, **facts),
    ]
    assert store.movements([number(1), number(2)]) == {number(1): [charge(1), refund(1)], number(2): []}
    assert errors(caplog) == []


@pytest.mark.rule("S7")
def test_an_older_record_still_posts_what_is_missing(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Records that arrive out of order leave the newest snapshot and every movement that any of them knew."""
    store.record(with_movements(1, 5, refund(1)), [])
    store.record(with_movements(1, 3, charge(1)), [])
    assert store.movements([number(1)]) == {number(1): [charge(1), refund(1)]}
    known = store.order(number(1))
    assert known is not None
    assert known.version == 5
    assert errors(caplog) == []


def test_a_record_that_comes_with_its_reservation_is_posted_too(store: Store) -> None:
    """Both ways of writing a record post its movements; a refused reservation posts none."""
    record = with_movements(1, 1, charge(1))
    assert store.reserve(wish(1, 1, A=1), record) is not None
    assert store.entries() == []
    store.set_on_hand(SELLER, "A", 1)
    assert store.reserve(wish(1, 1, A=1), record) is None
    assert store.movements([number(1)]) == {number(1): [charge(1)]}


@pytest.mark.rule("P3")
def test_a_record_of_other_content_posts_nothing(store: Store) -> None:
    """A number that belongs to another order gets none of a stranger's movements."""
    store.set_on_hand(SELLER, "A", 5)
    place(store, 1, A=1)
    other = with_movements(1, 7, charge(1), content="other")
    store.record(other, [])
    assert store.reserve(wish(1, 8, A=2), other) == NumberTaken(number(1))
    assert store.entries() == []


@pytest.mark.rule("S7")
def test_workers_that_post_the_same_movement_at_once_post_it_once(store: Store) -> None:
    """Many workers write the same records at the same instant; every movement is there once, and none is torn."""
    at_once(lambda index: store.record(with_movements(index % 3, 1, charge(index % 3), refund(index % 3)), []), 12)
    assert len(store.entries()) == 12
    assert store.unbalanced() == []


def test_writers_that_are_not_alone_on_their_order_never_tear_a_movement(store: Store) -> None:
    """Without the order's lock, too, of two contents of one movement one is posted whole; the other is logged."""
    contents = [charge(1, 800), movement(1, clearing=500, buyer=300, settlement=-800)]
    at_once(
        lambda index: store._database.write(
            None, lambda session: ledger.write_movements(session, [contents[index % 2], refund(1)])
        ),
        12,
    )
    (kept, other) = store.movements([number(1)])[number(1)]
    assert kept in contents
    assert other == refund(1)


@pytest.mark.rule("S7")
def test_a_movement_that_is_known_with_other_content_stays_and_the_record_is_written(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The ledger keeps what it has and says so in the log; the order's record and its new movements are not held up."""
    store.record(with_movements(1, 1, charge(1, 800)), [])
    store.record(with_movements(1, 2, charge(1, 900), refund(1), status=Status.SHIPPED), [])
    assert store.movements([number(1)]) == {number(1): [charge(1, 800), refund(1)]}
    known = store.order(number(1))
    assert known is not None
    assert known.status is Status.SHIPPED
    assert known.movements == (charge(1, 900), refund(1))
    (error,) = errors(caplog)
    assert error == (
        f"ledger: movement {number(1)}/charge is posted with other content and stays as it is; "
        f"run `starter reconcile {number(1)}`"
    )


@pytest.mark.rule("S7")
def test_an_unbalanced_movement_is_never_posted(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """The ledger refuses it; a record that has one is written without it, loudly, with the movements that balance."""
    wrong = movement(1, clearing=800, settlement=-799)
    with pytest.raises(ValueError, match=r"charge does not balance: 1 minor units are too much"):
        store._database.write(None, lambda session: ledger.write_movements(session, [refund(1), wrong]))
    assert store.entries() == []
    store.record(with_movements(1, 1, wrong, refund(1)), [])
    assert store.movements([number(1)]) == {number(1): [refund(1)]}
    assert store.order(number(1)) is not None
    (error,) = errors(caplog)
    assert f"{number(1)}/charge does not balance and is not posted" in error


@pytest.mark.rule("S7")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledgerentry SET amount_minor = 0",
        "UPDATE ledgerentry SET account = 'marketplace' WHERE position = 1",
        "DELETE FROM ledgerentry",
        "INSERT OR REPLACE INTO ledgerentry SELECT movement_id, position, kind, order_number, account, currency, 1, at"
        " FROM ledgerentry",
        "TRUNCATE ledgerentry",
    ],
)
def test_the_database_itself_lets_nothing_be_changed_or_removed(store: Store, statement: str) -> None:
    """Whoever writes by hand, by whatever statement of the database's own dialect, changes nothing of what is posted."""
    store.record(with_movements(1, 1, charge(1)), [])
    with pytest.raises(DBAPIError) as caught, store._database.engine.begin() as connection:
        connection.execute(text(statement))
    foreign = {"sqlite": "TRUNCATE", "postgresql": "INSERT OR"}[store._database.engine.dialect.name]
    if not statement.startswith(foreign):
        assert "the ledger is append-only; post a counter-movement instead" in str(caught.value)
    assert store.movements([number(1)]) == {number(1): [charge(1)]}


@pytest.mark.rule("S7")
def test_accounts_are_added_up_by_currency(store: Store) -> None:
    """A balance is debits less credits of one account in one currency; a prefix means exactly what it says."""
    store.record(with_movements(1, 1, charge(1), refund(1)), [])
    store.record(with_movements(2, 1, charge(2, 10**12)), [])
    store.record(with_movements(3, 1, charge(3, 50, currency="EUR")), [])
    assert store.balances() == [
        Balance(BUYER, "JPY", -300),
        Balance(CLEARING, "EUR", 50),
        Balance(CLEARING, "JPY", 10**12 + 800),
        Balance(SETTLEMENT, "EUR", -50),
        Balance(SETTLEMENT, "JPY", -(10**12) - 500),
    ]
    assert store.balances("buyer:") == [Balance(BUYER, "JPY", -300)]
    for other in ("BUYER:", "b%", "buyer_"):
        assert store.balances(other) == []
    of_account = store.entries(account=SETTLEMENT)
    assert [row.amount_minor for row in of_account] == [-800, 300, -(10**12), -50]
    assert store.entries(number(1), BUYER) == [row for row in store.entries() if row.account == BUYER]


def test_what_was_written_by_hand_is_found(store: Store) -> None:
    """An entry without its counterpart is listed as unbalanced, and one of an order that is not there as such."""
    store.record(with_movements(1, 1, charge(1)), [])
    assert (store.unbalanced(), store.orders_without_record()) == ([], [])
    facts: dict[str, Any] = {"kind": "charge", "account": "marketplace", "at": T0}
    mine: dict[str, Any] = {
        "movement_id": f"{number(1)}/charge",
        "order_number": number(1),
        "currency": "JPY",
        "amount_minor": -9,
    }
    other: dict[str, Any] = {
        "movement_id": f"{number(2)}/charge",
        "order_number": number(2),
        "currency": "EUR",
        "amount_minor": 5,
    }
    rows = [LedgerTable(position=2, **facts, **mine), LedgerTable(position=0, **facts, **other)]
    store._database.write(None, lambda session: session.add_all(rows))
    assert store.unbalanced() == [
        Unbalanced(f"{number(1)}/charge", number(1), "JPY", -9),
        Unbalanced(f"{number(2)}/charge", number(2), "EUR", 5),
    ]
    assert store.orders_without_record() == [number(2)]


def test_a_failed_record_posts_nothing(store: Store) -> None:
    """Record, stock and ledger are one transaction: an error in it leaves none of them."""
    bad = with_movements(1, 1, charge(1)).model_copy(update={"placed_at": T0.replace(tzinfo=None)})
    with pytest.raises(StatementError):
        store.record(bad, [])
    assert store.entries() == []
    store.set_on_hand(SELLER, "A", 1)
    store.record(with_movements(1, 1, charge(1)), [])
    assert units(store) == (1, 1)
    assert len(store.entries()) == 2
