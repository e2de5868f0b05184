"""The read model and its database: finding orders, notices, instants, migrations, several processes; on both databases."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import StatementError
from store_kit import SELLER, T0, at_once, cancelled, number, place, snapshot, units, wish

from domain.effects import NoticeKind
from domain.order import Actor, Flag, Status
from domain.views import OrderView
from store.database import Database
from store.store import NoticeRow, Store
from store.tables import Table

pytest_plugins = ["store_kit"]

ROOT = Path(__file__).parent.parent


def run_together(code: str, *arguments: list[str]) -> None:
    """Run `code` in one new process for each list of arguments, all at once; each must end well within a minute."""
    processes = [
        subprocess.Popen([sys.executable, "-c", code, *each], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for each in arguments
    ]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), errors


@pytest.mark.rule("V1", "G8")
def test_orders_are_found_by_status_seller_and_deadline(store: Store) -> None:
    """A tab shows exactly its orders, the newest first; a pending order is pending and nowhere else."""
    for index, status in enumerate((Status.PENDING, Status.UNSHIPPED, Status.PENDING)):
        store.record(snapshot(index, 1, {"A": (1, 0)}, status=status, flags=(Flag.LATE_SHIPMENT, Flag.OVERSOLD)))
    store.record(cancelled(3, 2, {"A": (1, 0)}))

    def found(orders: list[OrderView]) -> list[str]:
        return [order.number for order in orders]

    assert found(store.orders(status=Status.PENDING)) == [number(2), number(0)]
    assert found(store.orders(status=Status.UNSHIPPED, seller_id=SELLER)) == [number(1)]
    assert found(store.orders(seller_id="another")) == []
    assert found(store.orders(deadline_before=T0 + timedelta(days=9, minutes=2))) == [number(1), number(0)]
    counts = store.counts_by_status(SELLER)
    assert counts == dict.fromkeys(Status, 0) | {Status.PENDING: 2, Status.UNSHIPPED: 1, Status.CANCELLED: 1}
    assert set(store.counts_by_status("another").values()) == {0}


@pytest.mark.rule("V2")
def test_orders_are_found_by_number_and_buyer_address(store: Store) -> None:
    """An order is found by its number and by the buyer's address in any case, exactly as it was recorded."""
    record = cancelled(1, 3, {"B": (2, 0), "A": (1, 0)})
    store.record(record)
    assert store.order(number(1)) == record
    assert store.order(number(2)) is None
    assert store.orders(buyer_email="hanako@EXAMPLE.com") == [record]
    assert store.orders(buyer_email="taro@example.com") == []
    store.record(snapshot(2, 1, {"A": (1, 0)}, buyer=None))
    assert store.orders(buyer_email="hanako@example.com") == [record]


@pytest.mark.rule("V1")
def test_pages_follow_each_other_without_gap_or_repeat(store: Store) -> None:
    """Orders of the same instant are split between pages by their number."""
    for index in range(7):
        store.record(snapshot(index, 1, {"A": (1, 0)}, placed_at=T0 + timedelta(hours=index // 3)))
    seen: list[str] = []
    after = None
    while page := store.orders(limit=2, after=after):
        seen += [order.number for order in page]
        after = (page[-1].placed_at, page[-1].number)
    assert seen == [number(index) for index in reversed(range(7))]


def test_a_notice_is_kept_as_it_first_was(store: Store) -> None:
    """A notice saved by several workers at once is known once; the first word on it stands."""
    key = f"{number(1)}/3/order_cancelled"
    assert store.notice_status(key) is None
    facts = (number(1), NoticeKind.ORDER_CANCELLED, Actor.BUYER, "ja")
    at_once(lambda _: store.save_notice(key, *facts, "sent", None, T0), 4)
    store.save_notice(key, *facts, "refused", "550 unknown", T0 + timedelta(days=1))
    store.save_notice("later", *facts, "refused", "550 \x00", T0 + timedelta(hours=1))
    assert store.notice_status(key) == "sent"
    assert store.notices(number(1)) == [
        NoticeRow(key, *facts, "sent", None, T0),
        NoticeRow("later", *facts, "refused", "550 \ufffd", T0 + timedelta(hours=1)),
    ]


def test_instants_come_back_in_utc_and_need_an_offset(store: Store) -> None:
    """An instant of any zone is kept as the same instant in UTC; one without an offset is refused."""
    tokyo = timezone(timedelta(hours=9))
    facts = (number(1), NoticeKind.SHIPPED, Actor.BUYER, "ja", "sent", None)
    store.save_notice("a", *facts, datetime(2026, 3, 1, 21, 0, 0, 123456, tzinfo=tokyo))
    kept = store.notices(number(1))[0].sent_at
    assert (kept, kept.tzinfo) == (datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC), UTC)
    with pytest.raises(StatementError, match="give an instant with a time zone"):
        store.save_notice("b", *facts, datetime(2026, 3, 1))  # noqa: DTZ001 - the case under test
    with pytest.raises(StatementError, match="give an instant with a time zone"):
        store.orders(deadline_before=datetime(2026, 3, 1))  # noqa: DTZ001 - the case under test


def test_migrations_are_up_to_date_with_the_tables(store: Store) -> None:
    """What the revisions build is what the tables declare, and migrating again changes nothing."""
    store.migrate()
    with store._database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []


def test_several_processes_may_migrate_an_empty_database(url: str) -> None:
    """Workers that start together on an empty database all find it migrated."""
    code = (
        "import sys; from store.store import Store; s = Store(sys.argv[1]); s.migrate(); assert s.healthy(); s.close()"
    )
    run_together(code, *[[url]] * 3)


def test_several_threads_may_migrate_an_empty_database(url: str, tmp_path: Path) -> None:
    """Stores of one database and of others, migrated by several threads at once, end up with one set of tables each."""
    stores = [Store(each) for each in (url, url, *(f"sqlite:///{tmp_path}/{index}.db" for index in range(3)))]
    at_once(lambda index: stores[index // 2].migrate(), 10)
    assert all(each.healthy() for each in stores)
    with stores[0]._database.engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).all() == [("0003",)]
    for each in stores:
        each.close()


@pytest.mark.rule("P4")
def test_several_processes_write_at_once(store: Store, url: str) -> None:
    """Three processes of four threads each sell, ship and cancel the same item: nothing is locked out, no unit is lost."""
    store.set_on_hand(SELLER, "A", 40)
    code = """
import sys; sys.path[:0] = ["tests", "."]
from store_kit import *
base, store = int(sys.argv[2]), Store(sys.argv[1])
def work(thread):
    for step in range(6):
        index = base + thread * 6 + step
        if place(store, index, A=1) is None:
            end = [snapshot(index, 2, {"A": (1, 1)}, status=Status.SHIPPED), cancelled(index, 2, {"A": (1, 0)})][step % 2]
            store.record(end, [entry(1)])
            store.record(end, [entry(1)])
at_once(work, 4)
store.close()
"""
    run_together(code, [url, "0"], [url, "100"], [url, "200"])
    shipped = store.counts_by_status()[Status.SHIPPED]
    assert shipped == 36
    assert units(store) == (40 - shipped, 0)


def test_a_failed_write_changes_nothing(store: Store) -> None:
    """An error in the middle of a reservation with its record leaves neither of them."""
    store.set_on_hand(SELLER, "A", 5)
    bad = snapshot(1, 1, {"A": (1, 0)}).model_copy(update={"placed_at": datetime(2026, 3, 1)})  # noqa: DTZ001 - same
    with pytest.raises(StatementError):
        store.reserve(wish(1, 1, A=1), bad)
    assert store.order(number(1)) is None
    assert units(store) == (5, 0)
    assert place(store, 1, A=1) is None


def test_health_tells_of_missing_tables(url: str) -> None:
    """A database without tables is not healthy, one with them is."""
    store = Store(url)
    assert not store.healthy()
    store.migrate()
    assert store.healthy()
    store.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://h/db", "use sqlite:///FILE or postgresql"),
        ("sqlite://", "name a file"),
        ("sqlite:///:memory:", "name a file"),
    ],
)
def test_a_database_that_cannot_be_used_is_refused_at_once(url: str, message: str) -> None:
    """The error names the fact and the remedy."""
    with pytest.raises(ValueError, match=message):
        Store(url)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_postgresql_url_uses_psycopg(scheme: str) -> None:
    """The driver is always the one that is installed."""
    assert Database(f"{scheme}://u@localhost/db").engine.dialect.driver == "psycopg"
