"""The command line's help, and what it says to bad input and without a connection."""

import json
from collections.abc import Iterator
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import typer
from cli_kit import Cli, bad_input, told_in_json
from live_kit import Live

from sandbox.stack import Stack, free_port
from starter import carts
from starter.cli import app
from starter.client import InputError

pytestmark = pytest.mark.patience


@pytest.fixture
def cli(stack: Stack) -> Cli:
    """The command line on the running stack; no worker is needed to refuse bad input."""
    return Cli(stack.directory)


@pytest.fixture
def alone(tmp_path: Path) -> Cli:
    """The command line where no stack runs."""
    return Cli(tmp_path)


def parameters() -> Iterator[tuple[str, Any]]:
    """Yield every option and argument of every command with the command's name."""
    group = typer.main.get_command(app)
    commands: dict[str, Any] = dict(getattr(group, "commands", {}))
    while commands:
        name, command = commands.popitem()
        commands |= {f"{name} {each}": found for each, found in getattr(command, "commands", {}).items()}
        assert command.help, name
        for parameter in command.params:
            yield name, parameter


def test_every_command_option_and_argument_has_a_help_text() -> None:
    """Nothing that can be typed is without a word about it."""
    bare = [f"{name} {parameter.name}" for name, parameter in parameters() if not getattr(parameter, "help", None)]
    assert bare == []


async def test_the_help_names_every_command_and_exit_code(alone: Cli) -> None:
    """`--help` needs no connection and tells the commands, one line each, and what the exit codes mean."""
    ran = await alone.run("--help")
    assert (ran.code, ran.err) == (0, "")
    assert "0 done, 1 differences found, 2 bad input, 3 refused by policy, 4 no connection" in " ".join(ran.out.split())
    for name in {name.split()[0] for name, _ in parameters()}:
        assert f"│ {name} " in ran.out, name


@pytest.mark.parametrize("command", sorted({name for name, _ in parameters()}))
async def test_the_help_of_a_command_shows_each_of_its_options(alone: Cli, command: str) -> None:
    """The help of a command lists every option and argument of it, without raw markup."""
    ran = await alone.call(*command.split(), "--help")
    assert ran.code == 0
    assert "[dim]" not in ran.out
    assert "[/]" not in ran.out
    for name, parameter in parameters():
        if name == command and parameter.param_type_name == "option":
            assert all(option in ran.out for option in parameter.opts), parameter.opts


@pytest.mark.rule("P1")
@pytest.mark.parametrize(
    ("items", "limit"),
    [
        ([f"SKU-{index}:1:100" for index in range(51)], "51 items in the cart; at most 50 distinct items"),
        ([f"SKU-{index}:334:100" for index in range(3)], "1002 units in the cart; at most 1000 in all"),
        (["CUP-01:1000:100"], "less than or equal to 999"),
        (["CUP-01:0:100"], "greater than or equal to 1"),
        (["CUP-01:1:100", "CUP-01:2:100"], "CUP-01 is named twice; name each item once"),
    ],
    ids=["items", "units", "units-of-one", "none", "twice"],
)
async def test_a_cart_over_a_limit_is_refused_and_the_limit_is_named(cli: Cli, items: list[str], limit: str) -> None:
    """A cart over a limit of P1 never starts: exit 2 with the limit."""
    number = carts.order_number()
    options = [part for item in items for part in ("--item", item)]
    bad_input(await cli.call("place", "--number", number, *options), limit)
    bad_input(await cli.call("show", number), f"there is no order {number}")


async def test_everything_the_policy_does_not_know_is_told_at_once(cli: Cli) -> None:
    """Unknown marketplace, seller and shipping option are all named, each with what there is."""
    nowhere = ("place", "--marketplace", "XX", "--seller", "S-999")
    bad_input(await cli.run(*nowhere), "marketplace 'XX' is unknown; use one of: JP,", "seller 'S-999' is unknown")
    no_option = ("place", "--shipping", "drone", "--seller", "S-999")
    bad_input(
        await cli.call(*no_option),
        "shipping_option: 'drone' is unknown; use one of: standard, express",
        "seller 'S-999' is unknown; use one of: S-100,",
    )


async def test_every_bad_field_is_told_at_once(cli: Cli) -> None:
    """Number, language, card and quantity are all named at once."""
    ran = await cli.call("place", "--number", "1", "--language", "fr", "--card", "no card", "--item", "CUP-01:0:5")
    bad_input(ran, "order_number:", "(got '1')", "language:", "(got 'fr')", "card:", "quantity:")


def _sample(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return str(next(iter(kind)).value)
    return "1" if kind is int else "1d"


def _write(folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


async def test_a_file_that_cannot_be_used_is_named_with_the_cause(cli: Cli, tmp_path: Path) -> None:
    """Missing, garbled, deeply nested, empty and oversized files: exit 2, the file and the cause, no traceback."""
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(carts.MAX_FILE_BYTES + 1)
    for path, cause in (
        (str(tmp_path / "missing.json"), "No such file"),
        (str(tmp_path), "Is a directory"),
        (_write(tmp_path, "bytes.json", b"\xff\xfe\x00"), "can't decode byte 0xff"),
        (_write(tmp_path, "text.json", b"{not json"), "line 1 column 2"),
        (_write(tmp_path, "deep.json", b"[" * 100_000), "recursion"),
        (_write(tmp_path, "digits.json", b"1" * 5000), "4300 digits"),
        (str(huge), f"has {carts.MAX_FILE_BYTES + 1} bytes; at most {carts.MAX_FILE_BYTES}"),
    ):
        bad_input(await cli.call("place", "--file", path), path, cause)
    bad_input(await cli.call("place", "--file", _write(tmp_path, "none.json", b"[]")), "0 orders; 1 to 10000")
    nested = _write(tmp_path, "nested.json", b"[" * 900 + b"]" * 900)
    bad_input(await cli.call("place", "--file", nested), "order 1: ")
    address = _write(tmp_path, "address.json", b"{not json")
    bad_input(await cli.call("edit", carts.order_number(), "--address", address), "address: ", address, "line 1")


async def test_every_bad_order_of_a_file_is_told_by_its_position(cli: Cli, tmp_path: Path) -> None:
    """A list with bad orders places none of them and says of each what is wrong."""
    good = carts.cart().model_dump(mode="json")
    big = good | {"order_number": carts.order_number(), "buyer": good["buyer"] | {"name": "x" * 300_000}}
    payload = [good, 7, {"order_number": "nope"}, good | {"surprise": 1}, big, good]
    path = _write(tmp_path, "orders.json", json.dumps(payload).encode())
    bad_input(
        await cli.run("place", "--file", path),
        "order 2: input: Input should be an object",
        "order 3: order_number: String should match",
        "order 4: surprise: Extra inputs are not permitted",
        "order 5: input: ",
        "at most 262144",
        f"order_number: {good['order_number']} is named twice",
    )
    bad_input(await cli.call("show", good["order_number"]), "there is no order")


async def test_options_that_contradict_each_other_are_refused(cli: Cli, tmp_path: Path) -> None:
    """One number for several orders, and a file together with a cart, are refused rather than ignored."""
    number = carts.order_number()
    bad_input(await cli.call("place", "--count", "2", "--number", number), "one number cannot serve several orders")
    path = _write(tmp_path, "order.json", carts.cart().model_dump_json().encode())
    for more in (("--item", "CUP-01:1:1"), ("--number", number), ("--count", "2")):
        bad_input(await cli.call("place", "--file", path, *more), "file: the file says what is ordered")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("cancel 503-0000000-0000000", "order_number: there is no order 503-0000000-0000000"),
        ("watch bogus", "order_number: there is no order bogus; `starter list` shows those there are"),
        ("edit {n} --item CUP-01:two", "item: 'CUP-01:two' is not SKU:QUANTITY"),
        ("edit {n} --item CUP-01:²", "item: 'CUP-01:²' is not SKU:QUANTITY"),
        ("edit {n} --item CUP-01:99999999999999999999", "is not SKU:QUANTITY"),
        ("edit {n} --item CUP-01:1000", "less than or equal to 999"),
        ("ship {n} --item CUP-01:0", "greater than or equal to 1"),
        ("ship {n} --tracking [/x]", "tracking_number: String should match pattern"),
        ("cancel {n} --id ä", "id: String should match"),
        ("request-cancellation {n} --reason bored", "'bored' is not one of"),
        ("extend-edit {n} soon", "'soon' is not a duration; write days, hours, minutes, seconds"),
        ("extend-edit {n} 90s", "duration: 90s; give whole minutes"),
        ("extend-edit {n} 2d", "minutes: Input should be less than or equal to 1440"),
        ("list --deadline soon", "'soon' is not a duration"),
        ("list --status lost", "'lost' is not one of"),
        ("list --limit 0", "'--limit': Input should be greater than or equal to 1"),
        ("place --item CUP-01", "'CUP-01' is not SKU:QUANTITY:PRICE[:TITLE]; write for example CUP-01:2:1200"),
        ("place --item :x:1", "item: ':x:1' is not"),
        ("place --count 0", "'--count': Input should be greater than or equal to 1"),
        ("stock set S-100 CUP-01 -1", "No such option: -1"),
        ("stock set S-100 CUP-01 many", "'units': Input should be a valid integer"),
        ("place --method cash", "'cash' is not one of"),
        ("place --points -1", "'--points': Input should be greater than or equal to 0"),
        ("place --method konbini --card card-approve", "card and points_minor go with method card, not with konbini"),
        ("place --points 1700", "payment.points_minor: 1700 would pay it all"),
        ("place --business [x]", "purchase_order_number: String should match pattern"),
        ("place --marketplace IT --seller S-200 --method konbini", "konbini is not taken by marketplace IT"),
        ("refund {n}", "Missing option '--reason'"),
        ("refund {n} --reason bored", "'bored' is not one of"),
        ("refund {n} --reason goodwill --item CUP-01:x", "item: 'CUP-01:x' is not SKU[:UNITS]; write for example"),
        ("refund {n} --reason goodwill --item CUP-01:0", "quantity: Input should be greater than or equal to 1"),
        ("refund {n} --reason goodwill --item CUP-01 --item CUP-01:1", "item: CUP-01 is named twice"),
        ("refund {n} --reason goodwill --amount CUP-01=1 --amount CUP-01=2", "amount: CUP-01 is named twice"),
        (
            "refund {n} --reason goodwill --amount CUP-01=12.50",
            "amount: 'CUP-01=12.50' is not SKU=MINOR; give whole minor units of the order's currency, without its name: C",
        ),
        ("refund {n} --reason goodwill --amount CUP-01=500EUR", "without its name: CUP-01=500"),
        ("refund {n} --reason goodwill --amount CUP-01=-5", "amount: 'CUP-01=-5' is not SKU=MINOR"),
        ("refund {n} --reason goodwill --amount CUP-01=0", "amount_minor: Input should be greater than or equal to 1"),
        ("refund {n} --reason goodwill --amount CUP-01", "amount: 'CUP-01' is not SKU=MINOR"),
        ("refund {n} --reason goodwill --amount =5", "sku: String should match pattern"),
        ("refund {n} --reason goodwill --shipping EUR5", "shipping: 'EUR5' is not MINOR"),
        ("refund {n} --reason goodwill --shipping 9999999999999", "less than or equal to 1000000000000"),
        (
            "refund {n} --reason goodwill --deduct tax=5",
            "deduct: 'tax' in 'tax=5' is unknown; use one of: shipping_fee,",
        ),
        (
            "refund {n} --reason goodwill --deduct return_fee",
            "deduct: 'return_fee' is not KIND=MINOR; give whole minor units",
        ),
        ("refund {n} --reason goodwill --with-shipping", "with-shipping: it goes with --item"),
        (
            "refund {n} --reason goodwill --item CUP-01 --amount CUP-01=5 --with-shipping",
            "with_shipping goes with units",
        ),
        ("refund {n} --reason goodwill --case [x]", "case_id: String should match pattern"),
        ("cancel-items {n}", "Missing option '--item'"),
        ("cancel-items {n} --item CUP-01", "item: 'CUP-01' is not SKU:QUANTITY"),
        ("send-message {n}", "give either text or template"),
        ("send-message {n} hello --template how_to_cancel", "give either text or template"),
        ("send-message {n} hello --answer-by soon", "answer-by: 'soon' is neither an instant with its offset"),
        ("send-message {n} hello --answer-by 2026-03-01T12:00:00", "is neither an instant with its offset"),
        ("send-message {n} hello --answer-by 2026-13-01T12:00:00Z", "is neither an instant with its offset"),
        ("send-message {n} hello --topic weather", "'weather' is not one of"),
        ("rate {n} --stars 6", "'--stars': Input should be less than or equal to 5"),
        ("rate {n}", "Missing option '--stars'"),
        ("request-return {n} --reason bored", "'bored' is not one of"),
        ("return-to-sender {n}", "Missing option '--reason'"),
        ("ask-to-wait {n}", "Missing option '--until'"),
        ("ask-to-wait {n} --until ever", "until: 'ever' is neither an instant with its offset"),
        ("open-claim {n} --as nobody", "No such option: --as"),
        ("grant-claim {n} --case K1,K2", "case_id: String should match pattern"),
        ("hold-for-review {n}", "Missing option '--reason'"),
        ("receipt {n}", "Missing option '--out'"),
        ("pay-at-store 503-0000000-0000000", "there is no order 503-0000000-0000000"),
        ("show {n} --as system", "'system' is not one of 'buyer', 'seller', 'operator'"),
        ("messages {n} --as system", "'system' is not one of 'buyer', 'seller', 'operator'"),
        ("messages 503-0000000-0000000", "there is no order 503-0000000-0000000"),
        ("travel {n} 0s", "duration: 0s; more than 0s and at most 400d"),
        ("travel {n} 401d", "duration: 401d; more than 0s and at most 400d"),
    ],
)
async def test_bad_input_is_answered_with_field_value_and_bound(
    cli: Cli, live: Live, arguments: str, told: str
) -> None:
    """What cannot be read is exit 2, and the one message says which field, which value, and what it must be."""
    number = await live.place(wait=False) if "{n}" in arguments else ""
    ran = await cli.call(*arguments.format(n=number).split(), COLUMNS="400")
    bad_input(ran, told)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("refund 1 --json", "Missing option '--reason'"),
        ("edit 1 --item CUP-01 --json", "item: 'CUP-01' is not SKU:QUANTITY"),
        ("refund 1 --json --reason goodwill --deduct tax=5", "deduct: 'tax' in 'tax=5' is unknown"),
        ("cancel 503-0000000-0000000 --json", "there is no order 503-0000000-0000000"),
        ("list --deadline soon --json", "'soon' is not a duration"),
        ("stock set S-100 CUP-01 many --json", "valid integer"),
        ("watch bogus --json", "No such option: --json"),
        ("fly --json", "No such command 'fly'"),
    ],
)
async def test_bad_input_is_told_in_json_where_json_is_asked_for(cli: Cli, arguments: str, words: str) -> None:
    """Whoever finds the fault, the parser, a reader or the engine: exit 2 and one object for programs."""
    told = told_in_json(await cli.call(*arguments.split()), 2)
    assert told["error"] == "bad_input"
    assert words in told["message"]


async def test_an_argument_that_looks_like_the_option_asks_for_no_json(cli: Cli) -> None:
    """What stands behind two dashes is an argument."""
    bad_input(await cli.call("watch", "--", "--json"), "there is no order --json")


@pytest.mark.parametrize("command", sorted({name for name, each in parameters() if each.name == "as_json"}))
async def test_every_command_tells_its_failure_in_json(alone: Cli, command: str, tmp_path: Path) -> None:
    """Without server, store and provider every command with --json ends with one JSON object on standard error."""
    needed = [each for name, each in parameters() if name == command and each.required]
    given = [(each, _sample(each.type_descriptor.annotation)) for each in needed]
    options = [part for each, text in given if each.param_type_name == "option" for part in (each.opts[0], text)]
    arguments = [text for each, text in given if each.param_type_name == "argument"]
    nowhere = {"TEMPORAL_ADDRESS": f"127.0.0.1:{free_port()}", "DATABASE_URL": f"sqlite:///{tmp_path}/no.db"}
    ran = await alone.call(*command.split(), *arguments, *options, "--json", **nowhere)
    told = told_in_json(ran, ran.code)
    assert (ran.code, told["error"]) in ((2, "bad_input"), (4, "no_connection")), ran
    assert told["message"]


async def test_nothing_listening_is_exit_4_with_address_and_remedy(alone: Cli) -> None:
    """Without a server the answer is short: address, cause, remedy; no traceback."""
    address = f"127.0.0.1:{free_port()}"
    ran = await alone.run("list", TEMPORAL_ADDRESS=address)
    assert (ran.code, ran.out) == (4, "")
    expected = (
        f"error: no Temporal server answers ({address}: Connection refused); "
        "set TEMPORAL_ADDRESS, or run `python -m starter stack`"
    )
    assert ran.err.strip() == expected


async def test_settings_that_cannot_be_used_are_exit_2(cli: Cli, alone: Cli) -> None:
    """A bad address, port, database or policy file is named with its value."""
    bad_input(await alone.call("list", TEMPORAL_ADDRESS="a:b:c"), "TEMPORAL_ADDRESS: ", "write HOST:PORT")
    bad_input(await alone.call("list", SMTP_PORT="abc"), "smtp_port: ", "(got 'abc')")
    bad_input(await cli.call("list", POLICY_FILE="/nowhere.toml"), "POLICY_FILE /nowhere.toml cannot be read")
    bad_input(await alone.call("stock", "show", DATABASE_URL="sqlite://"), "DATABASE_URL: ", "name a file")


async def test_a_store_that_is_not_there_is_exit_4(alone: Cli, tmp_path: Path) -> None:
    """Stock without tables to read from says what to do."""
    ran = await alone.call("stock", "show", DATABASE_URL=f"sqlite:///{tmp_path / 'new.db'}")
    assert (ran.code, ran.out) == (4, "")
    assert "the store does not answer; check DATABASE_URL" in ran.err


async def test_no_clock_is_moved_anywhere_but_on_the_embedded_stack(
    cli: Cli, live: Live, alone: Cli, tmp_path: Path
) -> None:
    """On a Temporal server that is not the embedded stack `travel` is refused with the reason, and the clock stays."""
    number = await live.place()
    before = await live.orders.clock(number)
    elsewhere = live.addresses.temporal
    bad_input(await alone.call("travel", number, "1d", TEMPORAL_ADDRESS=elsewhere), "this is not the embedded stack")
    assert await live.orders.clock(number) - before < timedelta(hours=1)
    await live.do(number, "cancel", "buyer")
    assert (await cli.call("travel", number, "30d")).code == 0
    await live.over(number)
    bad_input(await cli.call("travel", number, "1d"), f"order {number} is closed; its clock stands still")


def test_placements_are_read_without_a_command_line() -> None:
    """The same reader serves programs: everything that is wrong is in one InputError."""
    with pytest.raises(InputError, match=r"order_number: .*; marketplace: "):
        carts.read({"order_number": "1", "marketplace": "?"})
    assert carts.read(carts.cart(marketplace="IT", items=("TAZZA-1:2:950",)).model_dump()).lines[0].title == "TAZZA-1"
