"""The command line on a real stack: every command accepted once and refused once, and what it prints."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cli_kit import Case, Cli, Ran, accepted_once_and_refused_once, finished, refusal, samples, told_in_json
from live_kit import Live, until

from domain.order import Status
from domain.placement import parse_placement
from starter import carts

pytestmark = pytest.mark.patience


def cart(live: Live, **changes: Any) -> dict[str, Any]:
    """Return a placement as JSON of an item that is in stock."""
    return carts.cart(items=(f"{live.sku()}:2:1200:Cup",)).model_dump(mode="json") | changes


def file(folder: Path, payload: Any) -> str:
    """Write JSON to a file and return its path."""
    path = folder / f"{uuid4().hex}.json"
    path.write_text(json.dumps(payload), encoding="utf-8")
    return str(path)


ASKED = ("travel {n} 31m", "request-cancellation {n} --reason found_cheaper")
CASES = (
    Case(
        "edit",
        "{n} --item {sku}:1",
        {"total_minor": 1700},
        "{n} --item {sku}:1",
        "EDIT_WINDOW_CLOSED",
        "E4",
        unready=("travel {n} 5m",),
    ),
    Case(
        "cancel",
        "{n} --note sorry",
        {"status": "cancelled"},
        "{n}",
        "CANCEL_WINDOW_CLOSED",
        "C3",
        unready=("travel {n} 30m",),
    ),
    Case(
        "cancel",
        "{n} --as seller --reason no_inventory",
        {"status": "cancelled"},
        "{n} --as seller --reason bored",
        "REASON_REQUIRED",
        "C5",
    ),
    Case(
        "request-cancellation",
        "{n} --reason found_cheaper --note please",
        {"status": "unshipped", "flags": ["buyer_requested_cancellation"]},
        "{n}",
        "REQUEST_ALREADY_OPEN",
        "C3",
        ready=ASKED[:1],
        unready=ASKED,
    ),
    Case("accept-cancellation", "{n}", {"status": "cancelled"}, "{n}", "NO_OPEN_REQUEST", "C4", ready=ASKED),
    Case(
        "decline-cancellation",
        "{n} --note packed",
        {"status": "unshipped", "flags": []},
        "{n}",
        "NO_OPEN_REQUEST",
        "C4",
        ready=ASKED,
    ),
    Case(
        "ship",
        "{n} --carrier Yamato --tracking JP-1 --item {sku}:1",
        {"status": "partially_shipped"},
        "{n}",
        "ORDER_PENDING",
        "G2",
        refused_card="card-decline",
    ),
    Case("deliver", "{n} --parcel P1", {"status": "delivered"}, "{n}", "NOT_SHIPPED", "S1", ready=("ship {n}",)),
    Case(
        "extend-edit",
        "{n} 10m",
        {"status": "unshipped"},
        "{n} 1m",
        "EXTENSION_TOO_LONG",
        "E6",
        unready=("extend-edit {n} 24h",),
    ),
    Case(
        "pay-again",
        "{n} --card card-approve",
        {"status": "pending"},
        "{n}",
        "PAYMENT_NOT_NEEDED",
        "G3",
        card="card-decline",
    ),
)


@pytest.mark.parametrize("case", samples(CASES))
async def test_a_command_is_accepted_once_and_refused_once(cli: Cli, live: Live, case: Case) -> None:
    """An accepted command answers the order as JSON; a refused one names fact, limit, remedy and rule, and changes nothing."""
    await accepted_once_and_refused_once(cli, live, case)


async def test_one_order_from_placement_to_delivery_as_a_user_runs_it(cli: Cli, live: Live) -> None:
    """Placed, shipped, delivered and watched with the real command line; the answers are for people, errors empty."""
    number, sku = carts.order_number(), live.sku()
    placed = await cli.run("place", "--number", number, "--item", f"{sku}:2:1200::cup: of [tea]", "--language", "en")
    assert (placed.code, placed.err) == (0, "")
    for told in (f"order {number}: unshipped", "JPY 2,900 (standard shipping)", ":cup: of [tea]", "edit window closes"):
        assert told in placed.out
    shipped = await cli.run("ship", number, "--tracking", "JP-7")
    assert shipped.out.strip() == f"done: ship; order {number} is shipped"
    shown, listed = await asyncio.gather(cli.run("show", number), cli.run("list", "--limit", "1", COLUMNS="80"))
    assert "JP-7" in shown.out
    assert "→ shipped" in shown.out
    assert number in listed.out, "a number that is cut off cannot be used"
    watching = await cli.start("watch", number)
    assert (await cli.run("deliver", number)).code == 0
    assert (await cli.call("travel", number, "30d")).code == 0
    watched = await finished(watching)
    assert (watched.code, watched.err) == (0, "")
    assert f"order {number}: completed" in watched.out


async def test_standard_output_of_json_is_json_alone(cli: Cli, live: Live) -> None:
    """With --json a program can read standard output as it is, in any width of the terminal and with any title."""
    number, sku, title = carts.order_number(), live.sku(), "急須 :tea: [b]" + "x" * 90
    item = f"{sku}:1:1200:{title}"
    placed = await cli.run("place", "--number", number, "--item", item, "--json", COLUMNS="20")
    assert placed.json()["lines"][0]["title"] == title
    shown = (await cli.call("show", number, "--json")).json()
    assert (shown["order"]["number"], shown["history"][0]["name"]) == (number, "place")
    travelled = (await cli.call("travel", number, "2d", "--json")).json()
    assert {"edit_window_closed", "expected_ship_passed"} & {each["name"] for each in travelled["history"]}
    assert [each["closed"] for each in travelled["order"]["windows"]] == [True, True, False, False]
    clock = datetime.fromisoformat(travelled["order"]["clock"])
    assert clock - datetime.now(UTC) > timedelta(days=1, hours=23), (
        "an order is shown at its own time, not its last event's"
    )
    listed = (await cli.call("list", "--seller", "S-100", "--limit", "1000", "--json")).json()
    assert number in {each["number"] for each in listed}
    stock = (await cli.call("stock", "show", "S-100", "--json")).json()
    assert {"seller_id": "S-100", "sku": sku, "on_hand": 100, "reserved": 1, "available": 99} in stock


@pytest.mark.rule("C3", "D2")
async def test_a_refusal_is_one_object_where_json_is_asked_for(cli: Cli, live: Live, tmp_path: Path) -> None:
    """A refusal by policy has code, message, remedy and rule, that of a document too."""
    number = await live.place()
    assert (await cli.call("travel", number, "30m")).code == 0
    told = told_in_json(await cli.run("cancel", number, "--json"), 3)
    assert set(told) == {"code", "message", "remedy", "rule"}
    assert (told["code"], told["rule"]) == ("CANCEL_WINDOW_CLOSED", "C3")
    early = ("receipt", number, "--out", str(tmp_path / "receipt.pdf"), "--json")
    told = told_in_json(await cli.call(*early), 3)
    assert set(told) == {"code", "message", "remedy", "rule"}
    assert (f"order {number} has not been charged" in told["message"], told["rule"]) == (True, "D2")


async def test_an_order_from_a_file_is_what_the_file_says(cli: Cli, live: Live, tmp_path: Path) -> None:
    """A placement in a JSON file is placed as it is."""
    payload = cart(live, shipping_option="express")
    order = (await cli.call("place", "--file", file(tmp_path, payload), "--json")).json()
    assert (order["number"], order["total_minor"]) == (payload["order_number"], 3600)


@pytest.mark.rule("P3")
async def test_the_same_number_attaches_with_the_same_content_and_is_refused_with_other(
    cli: Cli, live: Live, tmp_path: Path
) -> None:
    """Placing the same order twice yields one; the same number with other content is refused, and the order stays."""
    payload = cart(live)
    number, path = payload["order_number"], file(tmp_path, payload)
    await cli.call("place", "--file", path)
    again = await cli.call("place", "--file", path)
    assert again.code == 0
    assert again.out.startswith(f"order {number} exists already with the same content; this is it")
    other = payload | {"shipping_option": "express"}
    refusal(await cli.call("place", "--file", file(tmp_path, other)), "ORDER_NUMBER_TAKEN", "P3")
    assert (await live.order(number)).total_minor == 2900
    assert await live.log(number) == ["authorize"]
    assert parse_placement(payload).content() == (await live.order(number)).content


async def test_many_orders_are_placed_and_each_failure_is_told(cli: Cli, live: Live, tmp_path: Path) -> None:
    """--count places orders alike, a file those it lists; a bad one among them is named and stops no other."""
    sku = live.sku()
    placed = (await cli.run("place", "--count", "12", "--item", f"{sku}:1:100", "--json")).json()
    assert len(set(placed["placed"])) == 12
    assert placed["failed"] == {}
    await asyncio.gather(*(live.orders.settled(number) for number in placed["placed"]))
    assert live.units(sku) == (100, 12)

    payloads = [cart(live), cart(live), cart(live, seller_id="S-999")]
    ran = await cli.call("place", "--file", file(tmp_path, payloads))
    assert ran.code == 2
    assert ran.out.strip() == "2 orders placed, 1 not"
    assert f"{payloads[2]['order_number']}: seller 'S-999' is unknown" in ran.err
    mixed = [payloads[0], payloads[1] | {"shipping_option": "express"}]
    ran = await cli.call("place", "--file", file(tmp_path, mixed), "--json")
    assert ran.code == 3
    assert json.loads(ran.out)["placed"] == [payloads[0]["order_number"]]
    assert json.loads(ran.out)["failed"][payloads[1]["order_number"]]["code"] == "ORDER_NUMBER_TAKEN"


@pytest.mark.rule("P4")
async def test_an_order_of_more_than_there_is_is_refused(cli: Cli, live: Live) -> None:
    """Out of stock is refused with what there is; the refused order can be shown, watched and not commanded."""
    number, sku = carts.order_number(), live.sku(1)
    ran = await cli.run("place", "--number", number, "--item", f"{sku}:2:1200")
    refusal(ran, "OUT_OF_STOCK", "P4")
    assert f"{sku}: 1 left, 2 wanted" in ran.err
    shown = (await cli.call("show", number)).out
    assert f"order {number}: refused" in shown
    assert "OUT_OF_STOCK" in shown
    assert (await asyncio.wait_for(cli.call("watch", number), 20)).code == 0
    refusal(await cli.call("cancel", number), "ORDER_REFUSED", "P4")
    assert live.units(sku) == (1, 0)


@pytest.mark.rule("P4")
async def test_a_lower_stock_flags_the_newest_order_as_oversold(cli: Cli, live: Live) -> None:
    """After a correction below what is reserved the newest order is flagged, the earlier one keeps its unit."""
    sku = live.sku(2)
    first = await live.place(items=(f"{sku}:1:1200:Cup",))
    second = await live.place(items=(f"{sku}:1:1200:Cup",))
    ran = await cli.call("stock", "set", "S-100", sku, "1")
    assert ran.code == 0
    assert f"S-100 has 1 of {sku}" in ran.out
    assert f"oversold: order {second}; cancel it with reason no_inventory" in ran.out
    assert ("oversold" in (await live.order(first)).flags, "oversold" in (await live.order(second)).flags) == (0, 1)
    assert (await cli.call("cancel", second, "--as", "seller", "--reason", "no_inventory")).code == 0
    await live.ended(second)
    table = (await cli.call("stock", "show", "S-100")).out
    assert [sku, "1", "1", "0"] in [line.split()[1:] for line in table.splitlines()]


@pytest.mark.rule("D3")
async def test_the_same_id_is_carried_out_once_and_answered_twice(cli: Cli, live: Live) -> None:
    """A command that is sent again under its --id gets the first answer; the id for another command is refused."""
    number, command_id = await live.place(), f"again-{uuid4().hex}"
    first = (await cli.call("extend-edit", number, "5m", "--id", command_id, "--json")).json()
    again = (await cli.call("extend-edit", number, "5m", "--id", command_id, "--json")).json()
    assert (first["id"], again["id"]) == (command_id, command_id)
    windows = [each["order"]["windows"][0]["closes_at"] for each in (first, again)]
    assert windows[0] == windows[1]
    assert [each.name for each in await live.history(number)].count("extend_edit") == 1
    refusal(await cli.call("extend-edit", number, "6m", "--id", command_id), "COMMAND_ID_REUSED", "D3")


@pytest.mark.rule("G1", "P5")
async def test_the_seller_sees_no_buyer_of_a_pending_order(cli: Cli, live: Live) -> None:
    """The seller's view of a pending order has no name, address, contact or card anywhere; verified, it has the address."""
    number = await live.place(card="card-decline")
    pending = await cli.call("show", number, "--as", "seller", "--json")
    order = pending.json()["order"]
    assert (order["status"], order["buyer"], order["address"], order["payment"]) == ("pending", None, None, None)
    people = (await cli.call("show", number, "--as", "seller")).out
    for hidden in ("佐藤", "buyers.example", "千代田", "+81 3 5555 0101", "card-"):
        assert hidden not in pending.out, hidden
        assert hidden not in people, hidden
    await cli.call("pay-again", number)
    await live.reaches(number, Status.UNSHIPPED)
    verified = (await cli.call("show", number, "--as", "seller", "--json")).json()["order"]
    assert verified["address"]["city"] == "東京"
    assert verified["payment"] is None


async def test_a_listing_is_by_state_seller_and_deadline(cli: Cli, live: Live) -> None:
    """`list` finds an order by state, seller and the time within which it changes by itself, and tells when there is none."""
    number = await live.place(card="card-decline")
    found = ("list", "--limit", "1000", "--json")

    async def numbers(*more: str) -> set[str]:
        return {each["number"] for each in (await cli.call(*found, *more)).json()}

    async def listed() -> bool:
        return number in await numbers("--status", "pending", "--seller", "S-100", "--deadline", "22d")

    await until(listed, "the order in the listing")
    assert number not in await numbers("--status", "unshipped")
    assert number not in await numbers("--seller", "S-200")
    assert number not in await numbers("--deadline", "20d")
    assert (await cli.call("list", "--seller", "nobody")).out.strip() == "no such orders"


@pytest.fixture
async def unattended(cli: Cli, live: Live) -> AsyncIterator[tuple[str, str, str]]:
    """An order, its item and a task queue on which nobody works."""
    sku, queue = live.sku(), f"unattended-{uuid4().hex}"
    down = live.on_queue(queue)
    async with live.worker(queue):
        number = await down.place(items=(f"{sku}:2:1200:Cup",))
    yield number, sku, queue
    await down.close()


async def test_without_a_worker_what_is_asked_is_kept_and_carried_out_later(
    cli: Cli, live: Live, unattended: tuple[str, str, str]
) -> None:
    """No worker: a view fails with the remedy, placements and commands are received, and a worker that comes carries them out."""
    number, sku, queue = unattended
    new = carts.order_number()
    view, placed, command = await asyncio.gather(
        cli.run("show", number, TASK_QUEUE=queue),
        cli.run("place", "--number", new, "--item", f"{sku}:1:1200", TASK_QUEUE=queue),
        cli.run("cancel", number, "--id", "later", TASK_QUEUE=queue),
    )
    assert (view.code, view.out) == (4, "")
    assert "no worker answers; start one with `python worker.py`" in view.err
    assert (placed.code, placed.err) == (0, "")
    assert placed.out.strip() == f"received: order {new} will be decided once a worker takes it up"
    expected = f"received: cancel of order {number} will be decided once a worker takes it up (id later)"
    assert (command.code, command.out.strip()) == (0, expected)
    async with live.worker(queue):
        await live.reaches(number, Status.CANCELLED)
        await live.reaches(new, Status.UNSHIPPED)
        names = [(each.name, each.command_id) for each in await live.history(number) if each.name == "cancel"]
        assert names == [("cancel", "later")]
        await live.ended(number)


async def test_a_reader_that_has_seen_enough_is_no_error(cli: Cli, live: Live) -> None:
    """When the reader of a pipe goes away, as in `list | head -1`, the command ends without a traceback."""
    number = await live.place()
    process = await cli.start("show", number, "--json")
    assert process.stdout is not None
    process.stdout._transport.close()  # type: ignore[attr-defined]
    assert process.stderr is not None
    told = await process.stderr.read()
    await process.wait()
    assert b"Traceback" not in told, Ran(process.returncode or 0, "", told.decode())
