"""Builders and databases for the tests of the store: every test runs on SQLite and on a real PostgreSQL.

PYTEST_DONT_REWRITE: it asserts nothing.
"""

import itertools
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from domain.effects import Reservation
from domain.order import Actor, Buyer, Cancellation, EntryKind, Fulfilment, HistoryEntry, Line, Status
from domain.payment_state import Payment, PaymentStatus
from domain.policy import SellerProfile
from domain.views import OrderView
from store.store import NumberTaken, Shortage, Store

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SELLER = "seller-1"
_names = itertools.count()


def number(index: int) -> str:
    """Return the `index`-th order number."""
    return f"503-0000000-{index:07d}"


def snapshot(index: int, version: int, lines: dict[str, tuple[int, int]], **changes: Any) -> OrderView:
    """Return an order's snapshot; `lines` maps sku to (quantity, shipped)."""
    placed_at = T0 + timedelta(minutes=index)
    fields: dict[str, Any] = {
        "number": number(index),
        "version": version,
        "content": f"content-{index}",
        "status": Status.UNSHIPPED,
        "marketplace": "JP",
        "seller": SellerProfile(seller_id=SELLER, name="Shop", email="shop@example.com", language="ja"),
        "fulfilment": Fulfilment.SELLER,
        "buyer": Buyer(buyer_id="buyer-1", name="山田 花子", email="Hanako@example.com", language="ja"),
        "address": None,
        "currency": "JPY",
        "timezone": "Asia/Tokyo",
        "lines": tuple(
            Line(sku=sku, title=f"Item {sku}", quantity=quantity, unit_price_minor=500, shipped=shipped)
            for sku, (quantity, shipped) in lines.items()
        ),
        "shipping_option": "standard",
        "shipping_fee_minor": 300,
        "total_minor": 300 + 500 * sum(quantity for quantity, _ in lines.values()),
        "placed_at": placed_at,
        "expected_ship_at": placed_at + timedelta(days=2),
        "confirm_by": placed_at + timedelta(days=9),
        "verified_at": placed_at,
        "payment": Payment(status=PaymentStatus.AUTHORIZED, card="card-1", reference="r", amount_minor=800),
        "voids": (),
        "request": None,
        "cancellation": None,
        "shipments": (),
        "delivered_at": None,
        "completed_at": None,
        "flags": (),
        "windows": (),
        "next_deadline": "confirm",
        "next_deadline_at": placed_at + timedelta(days=9),
        "clock": placed_at,
    }
    return OrderView(**fields | changes)


def cancelled(index: int, version: int, lines: dict[str, tuple[int, int]]) -> OrderView:
    """Return the snapshot of a cancelled order."""
    reason = Cancellation(actor=Actor.BUYER, reason="buyer_cancelled", at=T0, counts_in_rate=False)
    return snapshot(
        index, version, lines, status=Status.CANCELLED, cancellation=reason, next_deadline=None, next_deadline_at=None
    )


def wish(index: int, version: int, **quantities: int) -> Reservation:
    """Return a reservation of the `index`-th order."""
    return Reservation(order_number=number(index), seller_id=SELLER, version=version, quantities=quantities)


def entry(seq: int, **changes: Any) -> HistoryEntry:
    """Return one line of an order's history."""
    fields: dict[str, Any] = {"seq": seq, "kind": EntryKind.COMMAND, "name": "edit", "actor": Actor.BUYER, "at": T0}
    fields |= {"recorded_at": T0, "accepted": True, "status": Status.UNSHIPPED}
    return HistoryEntry(**fields | changes)


def units(store: Store, sku: str = "A") -> tuple[int, int]:
    """Return (on hand, reserved) of an item."""
    return next((row.on_hand, row.reserved) for row in store.stock(SELLER) if row.sku == sku)


def place(store: Store, index: int, **quantities: int) -> Shortage | NumberTaken | None:
    """Reserve an order together with its first record."""
    lines = {sku: (quantity, 0) for sku, quantity in quantities.items()}
    return store.reserve(wish(index, 1, **quantities), snapshot(index, 1, lines, status=Status.PENDING))


def at_once(work: Callable[[int], Any], count: int) -> list[Any]:
    """Run `work(0)` … `work(count - 1)` in threads that start together; return their answers."""
    barrier = threading.Barrier(count)

    def run(index: int) -> Any:
        barrier.wait()
        return work(index)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count)))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[str], str]]:
    """A PostgreSQL server of this session: answers the url of one of its databases."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR, which a server in a directory of its own does not need
        from pgserver.postgres_server import get_server  # noqa: PLC0415 - only where a server is wanted
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # directly below the temporary folder: its user must reach it
    server = get_server(folder, cleanup_mode="stop")
    try:
        yield lambda database: str(server.get_uri(database))
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/new folder/orders.db"
        return
    server = request.getfixturevalue("postgres")
    name = f"test{next(_names)}"
    with psycopg.connect(server("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield server(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A migrated store."""
    store = Store(url)
    store.migrate()
    yield store
    store.close()
