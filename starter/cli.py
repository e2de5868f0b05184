"""The command line of the order engine: `python -m starter --help`.

Exit codes: 0 done, 1 differences found, 2 bad input, 3 refused by policy, 4 no connection.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from temporalio.client import WorkflowExecutionStatus

from domain.base import format_duration
from domain.order import CLOSED, Actor, Flag, Status
from starter import documents_cli, joint_cli, message_cli, money_cli, output, place_cli, refund_cli, stock_cli
from starter.client import InputError
from starter.command_cli import LOCAL, ORDERS, SELLERS, AsJson, Number, View, Viewer, duration, register
from starter.command_table import ROWS
from starter.exits import BAD_INPUT, REFUSED, Commands, console, fail, run
from starter.session import embedded_stack, open_client, order_url
from starter.shop import ShopError, heard, pay_number

app = typer.Typer(
    cls=Commands,
    help="Place marketplace orders on Temporal, send them commands, watch them live. "
    "Exit codes: 0 done, 1 differences found, 2 bad input, 3 refused by policy, 4 no connection.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(stock_cli.app, name="stock")

NEWEST = 8
"""Lines of history that are watched."""


app.command(rich_help_panel=ORDERS)(place_cli.place)


def _duration(text: str) -> timedelta:
    try:
        return duration(text)
    except InputError as error:
        fail(str(error), BAD_INPUT)


@app.command(rich_help_panel=ORDERS)
def show(
    number: Number,
    as_: View = Viewer.OPERATOR,
    as_json: AsJson = False,
) -> None:
    """Show an order: state, money, windows with countdowns, history."""

    async def work() -> None:
        client = await open_client()
        viewer = Actor(as_)
        order, entries = await client.order(number, viewer), await client.history(number, viewer)
        if as_json:
            output.print_json(console, {"order": order, "history": entries})
        else:
            output.print_order(console, order, entries, order_url(number))

    run(work)


@app.command("list", rich_help_panel=ORDERS)
def list_orders(
    status: Annotated[Status | None, typer.Option(help="Only orders in this state.")] = None,
    seller: Annotated[str | None, typer.Option(help="Only orders of this seller.")] = None,
    deadline: Annotated[str | None, typer.Option(help="Only orders that change by themselves within, like 7d.")] = None,
    flag: Annotated[Flag | None, typer.Option(help="Only orders that show this, like refund_failed.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List orders by state, seller, deadline or flag, the newest first."""
    before = datetime.now(UTC) + _duration(deadline) if deadline else None

    async def work() -> None:
        client = await open_client()
        found = [each async for each in client.orders(status, seller, before, limit, flag)]
        if as_json:
            output.print_json(console, [vars(each) for each in found])
        else:
            console.print(output.listing(found) if found else "no such orders")

    run(work)


@app.command(rich_help_panel=ORDERS)
def watch(number: Number) -> None:
    """Watch an order live until it is closed or Ctrl-C."""

    async def work() -> None:
        client = await open_client()
        seen = -1
        with Live(console=console, auto_refresh=False, screen=False) as live:
            while True:
                found = await client.describe(number)
                length = found.raw_description.workflow_execution_info.history_length
                if length != seen:
                    seen = length
                    order, entries = await client.order(number), await client.history(number)
                    # What is new comes first: a terminal that is too small cuts off the end.
                    newest = output.history_table(entries[-NEWEST:])
                    live.update(Group(newest, output.order_panel(order)), refresh=True)
                    if order.status in CLOSED or found.status is not WorkflowExecutionStatus.RUNNING:
                        return
                await asyncio.sleep(0.3)

    run(work)


app.command(rich_help_panel=ORDERS)(joint_cli.purchase)
app.command(rich_help_panel=ORDERS)(message_cli.messages)
app.command(rich_help_panel=ORDERS)(documents_cli.receipt)
app.command("packing-slip", rich_help_panel=ORDERS)(documents_cli.packing_slip)
app.command(rich_help_panel=ORDERS)(money_cli.reconcile)
for _row in ROWS:
    register(app, _row)
    if _row.name == "ship":
        app.command(rich_help_panel=SELLERS)(joint_cli.combine)
        app.command(rich_help_panel=SELLERS)(refund_cli.refund)


@app.command(rich_help_panel=LOCAL)
def travel(
    number: Number,
    by: Annotated[str, typer.Argument(metavar="DURATION", help="Like 7d, 30m or 1d12h.")],
    as_json: AsJson = False,
) -> None:
    """Move one order's clock ahead, on the embedded stack: live through 7 days in a second."""
    from starter.travel import travel as move  # noqa: PLC0415 - pulls in Temporal's test helpers, for this command only

    ahead = _duration(by)

    async def work() -> None:
        client = await open_client()
        order, entries = await move(client, number, ahead)
        if as_json:
            output.print_json(console, {"order": order, "history": entries})
        else:
            console.print(f"order {number} is {format_duration(ahead)} further on")
            output.print_order(console, order, entries, order_url(number))

    run(work)


@app.command("pay-at-store", rich_help_panel=LOCAL)
def pay_at_store(
    number: Number,
    late: Annotated[bool, typer.Option("--late", help="The shop takes the money also past the due date.")] = False,
    as_json: AsJson = False,
) -> None:
    """Pay an order's number at a convenience store, on the embedded stack. [dim]P5 G7[/]"""

    async def work() -> None:
        stack = embedded_stack()
        if stack is None:
            raise InputError("pay-at-store: this is not the embedded stack, and elsewhere buyers go to a real shop")
        client = await open_client()
        try:
            paid = await pay_number(client, stack.provider, number, late=late)
        except ShopError as error:
            fail(str(error), REFUSED)
        order = await heard(client, number)
        if as_json:
            output.print_json(console, {"number": paid, "order": order})
        else:
            console.print(
                f"[green]paid[/]: number {paid}; order {number} is {output.status(order.status)}", soft_wrap=True
            )

    run(work)


@app.command(rich_help_panel=LOCAL)
def stack(
    directory: Annotated[Path | None, typer.Option(help="Where the stack keeps its data; `.data` without it.")] = None,
    ui_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the Web UI; a free one with 0.")] = 0,
    temporal_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the Temporal server.")] = 0,
    mail_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the mail page.")] = 0,
    workers: Annotated[int, typer.Option(min=0, max=8, help="Workers side by side.")] = 1,
) -> None:
    """Run server, Web UI, payment provider, mail sink and workers until Ctrl-C."""
    from starter.stack_cli import serve  # noqa: PLC0415 - not needed by the other commands

    run(lambda: serve(directory, temporal_port=temporal_port, ui_port=ui_port, mail_port=mail_port, workers=workers))


@app.command(rich_help_panel=LOCAL)
def demo(
    once: Annotated[bool, typer.Option("--once", help="End when the tour is over.")] = False,
    directory: Annotated[Path | None, typer.Option(help="Where the stack keeps its data; `.data` without it.")] = None,
) -> None:
    """Tour the policy with real orders on the embedded stack, in seconds instead of weeks."""
    from starter.demo import tour  # noqa: PLC0415 - not needed by the other commands

    run(lambda: tour(once=once, directory=directory))
