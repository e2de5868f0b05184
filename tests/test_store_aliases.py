"""Finding whom an alias stands for: written with the record, gone with it, made good by the migration; on both databases."""

from datetime import timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlmodel import Session, select
from store_kit import T0, cancelled, number, snapshot

from domain.message import MESSAGE_DOMAIN, alias
from domain.order import Actor
from store.store import Addressee, Store
from store.tables import OrderTable

pytest_plugins = ["store_kit"]

STORE = Path(__file__).parent.parent / "store"
BUYER, SELLER = "Hanako@example.com", "shop@example.com"


def to_revision(store: Store, revision: str) -> None:
    """Bring the tables back to an older revision."""
    config = Config()
    config.set_main_option("script_location", str(STORE))
    config.set_main_option("version_locations", str(STORE / "migrations"))
    config.set_main_option("path_separator", "newline")
    with store._database.engine.execution_options(writes=True).begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


@pytest.mark.rule("V6")
def test_an_alias_stands_for_one_side_of_one_order_and_is_written_to_by_the_other(store: Store) -> None:
    """Each side's alias is found in any case of its letters, with the other side's registered address."""
    for index in (1, 2):
        store.record(snapshot(index, 1, {"A": (1, 0)}))
    assert store.addressee(alias(number(1), "buyer")) == Addressee(number(1), Actor.BUYER, SELLER)
    assert store.addressee(alias(number(2), "seller").upper()) == Addressee(number(2), Actor.SELLER, BUYER)
    store.record(cancelled(1, 2, {"A": (1, 0)}))
    assert store.addressee(alias(number(1), "seller")) == Addressee(number(1), Actor.SELLER, BUYER)


@pytest.mark.rule("V6")
@pytest.mark.parametrize(
    "address", ["", BUYER, alias("503-9999999-9999999", "buyer"), f"buyer@{MESSAGE_DOMAIN}", "a\x00b", "买家@例子"]
)
def test_what_is_no_alias_stands_for_nobody(store: Store, address: str) -> None:
    """A registered address, the alias of an order that is not there, and what is no address at all are unknown."""
    store.record(snapshot(1, 1, {"A": (1, 0)}))
    assert store.addressee(address) is None


@pytest.mark.rule("A7", "V6")
def test_the_aliases_of_an_erased_order_are_unknown(store: Store) -> None:
    """The last record, without personal data, takes the aliases with it."""
    store.record(snapshot(1, 1, {"A": (1, 0)}))
    store.record(snapshot(1, 2, {"A": (1, 0)}, buyer=None, erased_at=T0 + timedelta(days=60)))
    for side in ("buyer", "seller"):
        assert store.addressee(alias(number(1), side)) is None


@pytest.mark.rule("V6", "A7")
def test_orders_that_were_recorded_before_there_were_aliases_get_theirs(store: Store) -> None:
    """The migration makes the same aliases as the records do, and none for an order that is erased."""
    for index in range(5):
        store.record(snapshot(index, 1, {"A": (1, 0)}, **({"buyer": None} if index == 3 else {})))
    query = text("SELECT number, buyer_alias, seller_alias FROM orders ORDER BY number")
    with store._database.engine.connect() as connection:
        recorded = connection.execute(query).all()
    assert [row.buyer_alias is None for row in recorded] == [False, False, False, True, False]
    to_revision(store, "0002")
    store.migrate()
    with store._database.engine.connect() as connection:
        assert connection.execute(query).all() == recorded
    assert store.addressee(alias(number(4), "buyer")) is not None


@pytest.mark.rule("V6")
def test_a_migration_of_more_orders_than_one_batch_leaves_none_out(store: Store) -> None:
    """Of some thousand orders each gets its aliases."""
    store.record(snapshot(0, 1, {"A": (1, 0)}))
    with Session(store._database.engine) as session:
        fields = session.exec(select(OrderTable)).one().model_dump()
        session.add_all(OrderTable(**fields | {"number": number(index)}) for index in range(1, 2100))
        session.commit()
    to_revision(store, "0002")
    store.migrate()
    with Session(store._database.engine) as session:
        found = session.exec(select(OrderTable.number, OrderTable.buyer_alias, OrderTable.seller_alias)).all()
    assert len(found) == 2100
    assert all(tuple(each[1:]) == (alias(each[0], "buyer"), alias(each[0], "seller")) for each in found)
