"""The command line of the order engine: `python -m starter --help`.

Exit codes: 0 done, 2 bad input, 3 refused by policy, 4 no connection.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.progress import Progress
from temporalio.client import WorkflowExecutionStatus

from domain.base import format_duration, parse_duration
from domain.reasons import BuyerReason, SellerReason
from domain.order import CLOSED, Actor, Status
from domain.placement import Placement
from starter import carts, output, stock_cli
from starter.client import InputError, OrderClient, RefusedError, UnreachableError
from starter.session import console, embedded_stack, fail, open_client, problems, run

app = typer.Typer(
    help="Place marketplace orders on Temporal, send them commands, watch them live. "
    "Exit codes: 0 done, 2 bad input, 3 refused by policy, 4 no connection.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(stock_cli.app, name="stock")

Number = Annotated[str, typer.Argument(metavar="ORDER", help="Order number, like 503-1234567-1234567.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
CommandId = Annotated[str | None, typer.Option("--id", help="Idempotency id; the same id is carried out once.")]

PATIENCE = 3.0
"""Seconds that a new order's view is waited for."""
ORDERS, BUYERS, SELLERS, SYSTEM, LOCAL = (
    "Orders",
    "As the buyer",
    "As the seller",
    "As marketplace or carrier",
    "Embedded stack",
)


@app.command(rich_help_panel=ORDERS)
def place(
    item: Annotated[list[str] | None, typer.Option(help="SKU:QUANTITY:PRICE[:TITLE], price in minor units.")] = None,
    file: Annotated[Path | None, typer.Option(help="JSON file with one placement or a list of them.")] = None,
    number: Annotated[str | None, typer.Option(help="Order number; a new one when left out.")] = None,
    marketplace: Annotated[str, typer.Option(help="Marketplace of the policy: JP, IT, US.")] = "JP",
    seller: Annotated[str, typer.Option(help="Seller of the policy.")] = "S-100",
    card: Annotated[
        str, typer.Option(help="Card token; card-approve, card-decline, card-retry, card-slow …")
    ] = "card-approve",
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
            wanted = {
                "marketplace": marketplace,
                "seller": seller,
                "card": card,
                "shipping": shipping,
                "language": language,
            }
            items = tuple(item or ["CUP-01:1:1200:Tea cup"])
            placements = [carts.cart(number=number, items=items, **wanted) for _ in range(count)]  # type: ignore[arg-type]
        client = await open_client()
        if len(placements) == 1:
            await _place_one(client, placements[0], as_json)
        else:
            await _place_many(client, placements, as_json)

    run(work)


async def _place_one(client: OrderClient, placement: Placement, as_json: bool) -> None:
    placed = await client.place(placement)
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


def _send(number: str, name: str, fields: dict[str, Any], actor: Actor, command_id: str | None, as_json: bool) -> None:
    """Send one command and show its answer."""

    async def work() -> None:
        client = await open_client()
        given = {key: value for key, value in fields.items() if value is not None}
        reply = await client.command(number, name, given, actor=actor, command_id=command_id)
        if as_json:
            output.print_json(console, {"id": reply.command_id, "received": True, "order": reply.order})
        elif reply.order is None:
            when = "will be decided once a worker takes it up"
            console.print(f"received: {name} of order {number} {when} (id {reply.command_id})", soft_wrap=True)
        else:
            console.print(f"[green]done[/]: {name}; order {number} is {output.status(reply.order.status)}")

    run(work)


@app.command(rich_help_panel=BUYERS)
def edit(
    number: Number,
    item: Annotated[list[str] | None, typer.Option(help="SKU:QUANTITY, 0 to drop the item.")] = None,
    address: Annotated[Path | None, typer.Option(help="JSON file with the new shipping address.")] = None,
    shipping: Annotated[str | None, typer.Option(help="New shipping option.")] = None,
    command_id: CommandId = None,
    as_json: AsJson = False,
) -> None:
    """Change quantities, address or shipping option within the edit window. [dim]E1[/]"""
    lines = [_quantity(each) for each in item or []]
    try:
        new_address = carts.read_json(address, "address") if address else None
    except InputError as error:
        fail(str(error), 2)
    fields = {"lines": lines, "shipping_address": new_address, "shipping_option": shipping}
    _send(number, "edit", fields, Actor.BUYER, command_id, as_json)


def _quantity(text: str) -> dict[str, Any]:
    sku, _, quantity = text.partition(":")
    if not (quantity.isdecimal() and len(quantity) < 10):
        fail(f"item: {text!r} is not SKU:QUANTITY; write for example CUP-01:2", 2)
    return {"sku": sku, "quantity": int(quantity)}


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        fail(f"duration: {error}", 2)


@app.command(rich_help_panel=BUYERS)
def cancel(
    number: Number,
    as_: Annotated[Actor, typer.Option("--as", help="buyer or seller.")] = Actor.BUYER,
    reason: Annotated[str | None, typer.Option(help=f"A seller's reason: {', '.join(SellerReason)}.")] = None,
    note: Annotated[str | None, typer.Option(help="A line to the other side.")] = None,
    command_id: CommandId = None,
    as_json: AsJson = False,
) -> None:
    """Cancel: as the buyer within the cancel window, as the seller until shipment with a reason. [dim]C1 C5[/]"""
    _send(number, "cancel", {"reason": reason, "note": note}, as_, command_id, as_json)


@app.command("request-cancellation", rich_help_panel=BUYERS)
def request_cancellation(
    number: Number,
    reason: Annotated[BuyerReason, typer.Option(help="Why.")] = BuyerReason.OTHER,
    note: Annotated[str | None, typer.Option(help="A line to the seller.")] = None,
    command_id: CommandId = None,
    as_json: AsJson = False,
) -> None:
    """Ask the seller to cancel, after the cancel window. [dim]C3[/]"""
    fields = {"reason": reason.value, "note": note}
    _send(number, "request_cancellation", fields, Actor.BUYER, command_id, as_json)


@app.command("pay-again", rich_help_panel=BUYERS)
def pay_again(
    number: Number,
    card: Annotated[str, typer.Option(help="Token of the new card.")] = "card-approve",
    command_id: CommandId = None,
    as_json: AsJson = False,
) -> None:
    """Give another card after a decline. [dim]G3[/]"""
    _send(number, "pay_again", {"card": card}, Actor.BUYER, command_id, as_json)


@app.command("accept-cancellation", rich_help_panel=SELLERS)
def accept_cancellation(number: Number, command_id: CommandId = None, as_json: AsJson = False) -> None:
    """Accept the buyer's cancellation request. [dim]C4[/]"""
    _send(number, "accept_cancellation", {}, Actor.SELLER, command_id, as_json)


@app.command("decline-cancellation", rich_help_panel=SELLERS)
def decline_cancellation(
    number: Number,
    note: Annotated[str | None, typer.Option(help="A line to the buyer.")] = None,
    command_id: CommandId = None,
    as_json: AsJson = False,
) -> None:
    """Decline the buyer's cancellation request. [dim]C4[/]"""
    _send(number, "decline_cancellation", {"note": note}, Actor.SELLER, command_id, as_json)


@app.command(rich_help_panel=SELLERS)
def ship(
    number: Number,
    carrier: Annotated[str, typer.Option(help="Who carries the parcel.")] = "Yamato",
    tracking: Annotated[str, typer.Option(help="Tracking number.")] = "TRACK-1",
    item: Annotated[list[str] | None, typer.Option(help="SKU:QUANTITY; everything that is left without it.")] = None,
    as_: Annotated[
        Actor, typer.Option("--as", help="seller, or operator for marketplace-fulfilled orders.")
    ] = Actor.SELLER,
    command_id: CommandId = None,
    as_json: AsJson = False,
) -> None:
    """Confirm a shipment; the first one charges the buyer. [dim]S1 S2[/]"""
    lines = [_quantity(each) for each in item or []]
    fields = {"carrier": carrier, "tracking_number": tracking, "lines": lines}
    _send(number, "ship", fields, as_, command_id, as_json)


@app.command(rich_help_panel=SYSTEM)
def deliver(
    number: Number,
    parcel: Annotated[str | None, typer.Option(help="One parcel, like P1; all of them without it.")] = None,
    command_id: CommandId = None,
    as_json: AsJson = False,
) -> None:
    """Say that the carrier has delivered. [dim]A7 A9[/]"""
    _send(number, "deliver", {"shipment_id": parcel}, Actor.SYSTEM, command_id, as_json)


@app.command("extend-edit", rich_help_panel=SYSTEM)
def extend_edit(
    number: Number,
    by: Annotated[str, typer.Argument(metavar="DURATION", help="Like 10m or 2h.")],
    command_id: CommandId = None,
    as_json: AsJson = False,
) -> None:
    """Extend the edit window of one running order. [dim]E6[/]"""
    minutes, rest = divmod(_duration(by), timedelta(minutes=1))
    if rest:
        fail(f"duration: {by}; give whole minutes, like 10m or 2h", 2)
    _send(number, "extend_edit", {"minutes": minutes}, Actor.OPERATOR, command_id, as_json)


@app.command(rich_help_panel=ORDERS)
def show(
    number: Number,
    as_: Annotated[Actor, typer.Option("--as", help="Whose view: buyer, seller, operator.")] = Actor.OPERATOR,
    as_json: AsJson = False,
) -> None:
    """Show an order: state, money, windows with countdowns, history."""

    async def work() -> None:
        client = await open_client()
        order, entries = await client.order(number, as_), await client.history(number)
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
                    live.update(output.order_panel(order, entries, _url(number)), refresh=True)
                    if order.status in CLOSED or found.status is not WorkflowExecutionStatus.RUNNING:
                        return
                await asyncio.sleep(0.3)

    run(work)


@app.command(rich_help_panel=LOCAL)
def travel(
    number: Number,
    by: Annotated[str, typer.Argument(metavar="DURATION", help="Like 7d, 30m or 1d12h.")],
    as_json: AsJson = False,
) -> None:
    """Move one order's clock ahead, on the embedded stack: live through 7 days in a second."""
    from starter.travel import travel as move  # noqa: PLC0415 - pulls in Temporal's test helpers, for this command only

    duration = _duration(by)

    async def work() -> None:
        client = await open_client()
        order, entries = await move(client, number, duration)
        if as_json:
            output.print_json(console, {"order": order, "history": entries})
        else:
            console.print(f"order {number} is {format_duration(duration)} further on")
            console.print(output.order_panel(order, entries, _url(number)))

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
