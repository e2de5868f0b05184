"""How a command of an order becomes one of the command line: a row of a table says its options, and how they are read.

The rows are in `starter/command_table.py`.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import typer

from domain.base import parse_duration
from domain.order import Actor
from starter import output
from starter.client import InputError, OrderClient
from starter.exits import BAD_INPUT, console, fail, run
from starter.session import open_client

MINUTE = timedelta(minutes=1)

Number = Annotated[str, typer.Argument(metavar="ORDER", help="Order number, like 503-1234567-1234567.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
CommandId = Annotated[str | None, typer.Option("--id", help="Idempotency id; the same id is carried out once.")]
ORDERS, BUYERS, SELLERS, SYSTEM, LOCAL = (
    "Orders",
    "As the buyer",
    "As the seller",
    "As marketplace or carrier",
    "Embedded stack",
)
"""The panels of the help."""
REQUIRED = inspect.Parameter.empty

Fields = Mapping[str, Any] | Callable[[OrderClient], Awaitable[Mapping[str, Any]]]
"""The fields of a command; a duration among them is counted from the order's own clock."""


class Viewer(StrEnum):
    """Whose view an order can be shown in; what partners send shows nothing of its own."""

    BUYER = Actor.BUYER.value
    SELLER = Actor.SELLER.value
    OPERATOR = Actor.OPERATOR.value


View = Annotated[Viewer, typer.Option("--as", help="Whose view.")]


class Option(NamedTuple):
    """One option of a command: its name on the wire, how it is typed, what it is when left out, and how it is read."""

    field: str
    kind: Any
    default: Any = None
    read: Callable[[Any], Any] | None = None


class Row(NamedTuple):
    """One command: its name on the wire, who sends it (the first unless --as says otherwise), and its options."""

    name: str
    panel: str
    help: str
    rules: str
    actors: tuple[Actor, ...]
    options: tuple[Option, ...] = ()


def send(
    number: str, name: str, fields: Fields, *, actor: Actor, command_id: str | None = None, as_json: bool = False
) -> None:
    """Send one command and show its answer."""

    async def work() -> None:
        client = await open_client()
        read = await fields(client) if callable(fields) else fields
        given = {key: value for key, value in read.items() if value is not None}
        asked_at = await client.clock(number)
        for key, value in given.items():
            if isinstance(value, timedelta):
                # To the next full minute: the order's clock goes on until the command is decided, and a day is to be a day.
                due = (asked_at + value + MINUTE).replace(second=0, microsecond=0)
                given[key] = due.isoformat()
        reply = await client.command(number, name, given, actor=actor, command_id=command_id, requested_at=asked_at)
        if as_json:
            output.print_json(console, {"id": reply.command_id, "received": True, "order": reply.order})
        elif reply.order is None:
            when = "will be decided once a worker takes it up"
            console.print(f"received: {name} of order {number} {when} (id {reply.command_id})", soft_wrap=True)
        else:
            told = [f"order {number} is {output.status(reply.order.status)}", *output.news(reply.order, name, given)]
            console.print(f"[green]done[/]: {name}; {'; '.join(told)}", soft_wrap=True)

    run(work)


def register(app: typer.Typer, row: Row) -> None:
    """Add the command of a row to the command line, dashes for underscores."""
    # Typer names an argument by its parameter; options name themselves.
    options = {each.field: each for each in row.options}

    def command(**given: Any) -> None:
        try:
            fields = {each.field: _read(each, given[name]) for name, each in options.items()}
        except InputError as error:
            fail(str(error), BAD_INPUT)
        actor = given.get("as_", row.actors[0])
        send(given["number"], row.name, fields, actor=actor, command_id=given["command_id"], as_json=given["as_json"])

    named = {"number": (Number, REQUIRED)} | {name: (each.kind, each.default) for name, each in options.items()}
    if len(row.actors) > 1:
        who = Annotated[Actor, typer.Option("--as", help=f"{' or '.join(row.actors)}.")]
        named["as_"] = (who, row.actors[0])
    named |= {"command_id": (CommandId, None), "as_json": (AsJson, False)}
    keyword = inspect.Parameter.KEYWORD_ONLY
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # functions take any attribute
        [inspect.Parameter(name, keyword, default=default, annotation=kind) for name, (kind, default) in named.items()]
    )
    command.__annotations__ = {}
    app.command(row.name.replace("_", "-"), rich_help_panel=row.panel, help=f"{row.help} [dim]{row.rules}[/]")(command)


def _read(option: Option, value: Any) -> Any:
    return value if option.read is None or value is None else option.read(value)


def units_of(texts: list[str]) -> list[dict[str, Any]]:
    """Read `SKU:UNITS`, one for each item; raises InputError."""
    return [_units(text) for text in texts]


def _units(text: str) -> dict[str, Any]:
    sku, _, units = text.partition(":")
    return {"sku": sku, "quantity": whole(units, 10, f"item: {text!r} is not SKU:QUANTITY; write for example CUP-01:2")}


def whole(text: str, digits: int, otherwise: str) -> int:
    """Read a whole number of fewer than `digits` digits; raises InputError with `otherwise`."""
    if not (text.isascii() and text.isdecimal() and len(text) < digits):
        raise InputError(otherwise)
    return int(text)


def duration(text: str) -> timedelta:
    """Read a duration such as 7d or 30m; raises InputError."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InputError(f"duration: {error}") from None


def instant(name: str) -> Callable[[str], timedelta | str]:
    """Return a reader of an instant with offset, or of a duration from the order's own clock; raises InputError with `name`."""

    def read(text: str) -> timedelta | str:
        try:
            return parse_duration(text)
        except ValueError:
            pass
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            found = None
        if found is None or found.tzinfo is None:
            raise InputError(
                f"{name}: {text!r} is neither an instant with its offset, like 2026-03-01T12:00:00Z, "
                "nor a duration from now, like 3d"
            )
        return found.isoformat()

    return read
