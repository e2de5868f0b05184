"""The stock commands of the starter: what a seller has, and its corrections."""

from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError
from rich import box
from rich.table import Table

from domain.base import Code
from domain.order import Actor
from starter import output
from starter.client import InputError, RefusedError
from starter.command_cli import AsJson
from starter.exits import console, run
from starter.session import open_client, open_store, policy, settings

app = typer.Typer(help="A seller's stock: see it, correct it.", no_args_is_help=True)


@app.command("show")
def show(
    seller: Annotated[str | None, typer.Argument(help="Only this seller's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show units on hand, reserved and available."""

    async def work() -> None:
        rows = open_store().stock(seller)
        if as_json:
            output.print_json(console, [vars(row) | {"available": row.available} for row in rows])
            return
        table = Table(box=box.SIMPLE)
        for name in ("seller", "sku", "on hand", "reserved", "available"):
            table.add_column(name, justify="left" if name in ("seller", "sku") else "right")
        for row in rows:
            table.add_row(row.seller_id, row.sku, str(row.on_hand), str(row.reserved), str(row.available))
        console.print(table)

    run(work)


@app.command("set")
def set_units(
    seller: Annotated[str, typer.Argument(help="Seller of the policy, like S-100.")],
    sku: Annotated[str, typer.Argument(help="Item of the seller, like CUP-01.")],
    units: Annotated[int, typer.Argument(min=0, max=10**9, help="Units on hand.")],
    as_json: AsJson = False,
) -> None:
    """Correct a seller's stock; orders that can no longer be filled are flagged as oversold, the newest first. [dim]P4[/]"""

    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - as in open_store

    async def work() -> None:
        try:
            TypeAdapter(Code).validate_python(sku)
            policy(settings()).seller(seller)
            oversold = open_store().set_on_hand(seller, sku, units)
        except ValidationError:
            raise InputError(f"sku: {sku!r} is no item code; give letters, digits, dots, dashes, 60 at most") from None
        except (ValueError, SQLAlchemyError) as error:
            raise InputError(f"stock: {error}") from None
        client = await open_client() if oversold else None
        flagged = []
        for number in oversold:
            assert client is not None  # noqa: S101 - connected because there are oversold orders
            try:
                # The same correction sent again flags and mails nobody twice.
                once = f"oversold-{sku}-{units}"
                await client.command(number, "flag_oversold", {}, actor=Actor.SYSTEM, command_id=once)
                flagged.append(number)
            except (RefusedError, InputError):
                # Cancelled or shipped meanwhile: the order needs no flag any more.
                continue
        if as_json:
            output.print_json(console, {"seller": seller, "sku": sku, "on_hand": units, "oversold": flagged})
            return
        console.print(f"{seller} has {units} of {sku}")
        for number in flagged:
            console.print(f"[yellow]oversold[/]: order {number}; cancel it with reason no_inventory")

    run(work)
