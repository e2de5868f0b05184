"""`starter reconcile` as it is typed: what it prints and how it exits."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from reconcile_kit import FakeProvider, charged, healthy, open_order
from sqlalchemy import text
from store_kit import number
from typer.testing import CliRunner

from starter import money_cli
from store.store import Store

pytest_plugins = ["store_kit", "reconcile_kit"]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """An empty database; how each kind of store keeps a ledger is tested with the store."""
    return f"sqlite:///{tmp_path}/orders.db"


@pytest.fixture
def run(store: Store, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run the command on the fixtures' store and provider."""
    app = typer.Typer()
    app.command()(money_cli.reconcile)
    monkeypatch.setattr(money_cli, "open_provider", provider.connect)
    monkeypatch.setenv("DATABASE_URL", str(store._database.engine.url))
    return lambda *arguments: CliRunner().invoke(app, arguments, env={"COLUMNS": "80"})


def test_a_healthy_system_exits_0(run: Any, store: Store, provider: FakeProvider) -> None:
    """One line says how much was compared."""
    healthy(store, provider)
    assert (run().exit_code, run().output) == (0, "7 orders, 9 movements, provider and ledger agree\n")
    assert run(number(1)).output == "1 order, 0 movements, provider and ledger agree\n"
    assert json.loads(run("--json").output) == {"orders": 7, "movements": 9, "differences": []}


def test_differences_exit_1_one_a_line(run: Any, store: Store, provider: FakeProvider) -> None:
    """Each difference is one line, however narrow the screen; the last line counts them."""
    store.record(charged(1), [])
    result = run()
    lines = result.output.splitlines()
    assert (result.exit_code, len(lines)) == (1, 3)
    assert lines[0].startswith(f"{number(1)}: the order is charged JPY 800; the provider has charged JPY 0 under any")
    assert lines[2] == "1 order, 1 movement, 2 differences"
    result = run("--json", number(1))
    (only,) = json.loads(result.output)["differences"]
    assert (result.exit_code, only["kind"]) == (1, "charge_unknown_to_provider")
    assert set(only) == {"order_number", "kind", "subject", "one", "other", "remedy"}


def test_bad_input_exits_2_and_no_connection_4(run: Any, store: Store) -> None:
    """An unknown order, and tables that are too old."""
    result = run(number(9))
    assert (result.exit_code, "is not in the store" in result.output) == (2, True)
    store.record(open_order(1), [])
    with store._database.engine.begin() as connection:
        connection.execute(text("DROP TABLE ledgerentry"))
    result = run()
    assert (result.exit_code, "brings its tables up to date" in " ".join(result.output.split())) == (4, True)


@pytest.mark.parametrize(
    ("address", "code", "words"),
    [
        ("http://127.0.0.1:9", 4, "the payment provider at http://127.0.0.1:9 has no proper answer to /balances"),
        ("http://127.0.0.1:port", 2, "PAYMENT_PROVIDER_URL: 'http://127.0.0.1:port' is no address"),
    ],
)
def test_an_address_that_does_not_work_is_named(store: Store, address: str, code: int, words: str) -> None:
    """The message names the setting or the address, and the exit code says whose fault it is."""
    app = typer.Typer()
    app.command()(money_cli.reconcile)
    database = str(store._database.engine.url)
    result = CliRunner().invoke(app, [], env={"DATABASE_URL": database, "PAYMENT_PROVIDER_URL": address})
    assert (result.exit_code, words in " ".join(result.output.split())) == (code, True), result.output
