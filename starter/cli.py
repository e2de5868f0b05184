"""The command line of the order engine: `python -m starter --help`.

Exit codes: 0 done, 1 differences found, 2 bad input, 3 refused by policy, 4 no connection.
"""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.progress import Progress
from temporalio.client import WorkflowExecutionStatus

from domain.base import format_duration
from domain.order import CLOSED, Actor, Status
from domain.placement import Placement
from domain.refund import PaymentMethod
from starter import carts, documents_cli, joint_cli, message_cli, money_cli, output, refund_cli, stock_cli
from starter.client import InputError, OrderClient, RefusedError, UnreachableError
from starter.command_cli import LOCAL, ORDERS, SELLERS, AsJson, Number, duration, register
from starter.command_table import ROWS
from starter.session import BAD_INPUT, REFUSED, console, embedded_stack, fail, open_client, problems, run
from starter.shop import ShopError, heard, numbered, pay_number

app = typer.Typer(
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
PATIENCE = 3.0
"""Seconds that a new order's view is waited for."""


@app.command(rich_help_panel=ORDERS)
def place(  # noqa: PLR0913, PLR0917 - one parameter for each option
    item: Annotated[list[str] | None, typer.Option(help="SKU:QUANTITY:PRICE[:TITLE], price in minor units.")] = None,
    file: Annotated[Path | None, typer.Option(help="JSON file with one placement or a list of them.")] = None,
    number: Annotated[str | None, typer.Option(help="Order number; a new one when left out.")] = None,
    marketplace: Annotated[str, typer.Option(help="Marketplace of the policy: JP, IT, US.")] = "JP",
    seller: Annotated[str, typer.Option(help="Seller of the policy.")] = "S-100",
    method: Annotated[PaymentMethod, typer.Option(help="How it is paid.")] = PaymentMethod.CARD,
    card: Annotated[
        str | None, typer.Option(help="Card token; card-approve without it, card-decline, card-retry, card-slow …")
    ] = None,
    points: Annotated[int, typer.Option(min=0, help="Points used besides the card, in minor units.")] = 0,
    business: Annotated[str | None, typer.Option(help="A business buyer's purchase-order number.")] = None,
    shipping: Annotated[str, typer.Option(help="Shipping option of the marketplace.")] = "standard",
    language: Annotated[str | None, typer.Option(help="Language of the buyer's mails: ja, zh, en, it.")] = None,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="Place as many orders alike.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Place one order, or many with a progress bar."""

    async def work() -> None:
        if file is not None:
            if item or number is not None or count > 1:
                raise InputError("file: the file says what is ordered; leave --item, --number and --count out")
            placements = carts.read_file(file)
        else:
            if count > 1 and number is not None:
                raise InputError("number: one number cannot serve several orders; leave --number or --count out")
            wanted: dict[str, Any] = {
                "number": number,
                "marketplace": marketplace,
                "seller": seller,
                "items": tuple(item or ["CUP-01:1:1200:Tea cup"]),
                "method": method.value,
                "card": card,
                "points": points,
                "business": business,
                "shipping": shipping,
                "language": language,
            }
            placements = [carts.cart(**wanted) for _ in range(count)]
        client = await open_client()
        if len(placements) == 1:
            await _place_one(client, placements[0], as_json)
        else:
            await _place_many(client, placements, as_json)

    run(work)


async def _place_one(client: OrderClient, placement: Placement, as_json: bool) -> None:
    placed = await client.place(placement)
    if placement.payment.method is PaymentMethod.KONBINI:
        with suppress(UnreachableError, TimeoutError):
            await asyncio.wait_for(numbered(client, placed.number), PATIENCE)
    else:
        await client.settled(placed.number)
    try:
        order = await asyncio.wait_for(client.order(placed.number), PATIENCE)
    except (UnreachableError, TimeoutError):
        # The server has the order, only nobody works on it: it is safe, and placing it again would attach to it.
        order = None
    if as_json:
        output.print_json(console, order or {"number": placed.number, "received": True, "order": None})
        return
    if placed.attached:
        console.print(f"order {placed.number} exists already with the same content; this is it")
    if order is None:
        console.print(f"received: order {placed.number} will be decided once a worker takes it up", soft_wrap=True)
    else:
        console.print(output.order_panel(order, url=_url(placed.number)))


async def _place_many(client: OrderClient, placements: list[Placement], as_json: bool) -> None:
    """Place many orders, 20 at a time; each failure is told, and none stops the others."""
    gate, failures, placed = asyncio.Semaphore(20), [], []
    with Progress(console=problems, transient=True) as progress:
        task = progress.add_task("placing", total=len(placements))

        async def one(placement: Placement) -> None:
            async with gate:
                try:
                    placed.append((await client.place(placement)).number)
                except (RefusedError, InputError) as error:
                    failures.append((placement.order_number, error))
            progress.advance(task)

        await asyncio.gather(*(one(each) for each in placements))
    if as_json:
        output.print_json(console, {"placed": placed, "failed": {number: str(error) for number, error in failures}})
    else:
        console.print(f"{len(placed)} orders placed, {len(failures)} not")
        for number, error in failures:
            problems.print(f"{number}: {error}", markup=False, soft_wrap=True)
    if failures:
        raise typer.Exit(3 if any(isinstance(error, RefusedError) for _, error in failures) else 2)


def _url(number: str) -> str | None:
    stack = embedded_stack()
    return f"{stack.ui}/namespaces/default/workflows/order-{number}" if stack and stack.ui else None


def _duration(text: str) -> timedelta:
    try:
        return duration(text)
    except InputError as error:
        fail(str(error), BAD_INPUT)


@app.command(rich_help_panel=ORDERS)
def show(
    number: Number,
    as_: Annotated[Actor, typer.Option("--as", help="Whose view: buyer, seller, operator.")] = Actor.OPERATOR,
    as_json: AsJson = False,
) -> None:
    """Show an order: state, money, windows with countdowns, history."""

    async def work() -> None:
        client = await open_client()
        order, entries = await client.order(number, as_), await client.history(number, as_)
        if as_json:
            output.print_json(console, {"order": order, "history": entries})
        else:
            console.print(output.order_panel(order, entries, _url(number)))

    run(work)


@app.command("list", rich_help_panel=ORDERS)
def list_orders(
    status: Annotated[Status | None, typer.Option(help="Only orders in this state.")] = None,
    seller: Annotated[str | None, typer.Option(help="Only orders of this seller.")] = None,
    deadline: Annotated[str | None, typer.Option(help="Only orders that change by themselves within, like 7d.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List orders by state, seller or deadline, the newest first."""
    before = datetime.now(UTC) + _duration(deadline) if deadline else None

    async def work() -> None:
        client = await open_client()
        found = [each async for each in client.orders(status, seller, before, limit)]
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
                    live.update(Group(newest, output.order_panel(order, url=_url(number))), refresh=True)
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
            console.print(output.order_panel(order, entries, _url(number)))

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
