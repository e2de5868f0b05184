"""Placing orders from the command line: one and its view, or many with a progress bar."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from domain.placement import Placement
from domain.refund import PaymentMethod
from starter import carts, output
from starter.client import InputError, OrderClient, RefusedError, UnreachableError
from starter.command_cli import AsJson
from starter.documents_cli import Language
from starter.exits import as_object, console, problems, run
from starter.session import open_client, order_url
from starter.shop import numbered

PATIENCE = 3.0
"""Seconds that a new order's view is waited for."""


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
    language: Annotated[str | None, typer.Option(help=f"Language of the buyer's mails: {', '.join(Language)}.")] = None,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="Place as many orders alike.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Place one order, or many with a progress bar."""

    options = {
        "marketplace": marketplace,
        "seller": seller,
        "method": method.value,
        "card": card,
        "points": points,
        "business": business,
        "shipping": shipping,
        "language": language,
    }

    async def work() -> None:
        placements = _placements(file, item, number, count, options)
        client = await open_client()
        if len(placements) == 1:
            await _place_one(client, placements[0], as_json)
        else:
            await _place_many(client, placements, as_json)

    run(work)


def _placements(
    file: Path | None, items: list[str] | None, number: str | None, count: int, options: Mapping[str, Any]
) -> list[Placement]:
    """Return what is to be placed: from the file, or `count` carts alike; raises InputError where both are named."""
    if file is not None:
        if items or number is not None or count > 1:
            raise InputError("file: the file says what is ordered; leave --item, --number and --count out")
        return carts.read_file(file)
    if count > 1 and number is not None:
        raise InputError("number: one number cannot serve several orders; leave --number or --count out")
    lines = tuple(items or ["CUP-01:1:1200:Tea cup"])
    return [carts.cart(number=number, items=lines, **options) for _ in range(count)]


async def _place_one(client: OrderClient, placement: Placement, as_json: bool) -> None:
    placed = await client.place(placement)
    await _decided(client, placement, placed.number)
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
        output.print_order(console, order, url=order_url(placed.number))


async def _decided(client: OrderClient, placement: Placement, number: str) -> None:
    """Wait, for a moment, until a placement is decided; raises RefusedError where the order was refused."""
    if placement.payment.method is PaymentMethod.KONBINI:
        with suppress(UnreachableError, TimeoutError):
            await asyncio.wait_for(numbered(client, number), PATIENCE)
    else:
        await client.settled(number)


async def _place_many(client: OrderClient, placements: list[Placement], as_json: bool) -> None:
    """Place many orders, 20 at a time; each failure is told, and none stops the others."""
    gate, failures, placed = asyncio.Semaphore(20), [], []
    with Progress(console=problems, transient=True, disable=as_json) as progress:
        task = progress.add_task("placing", total=len(placements))

        async def one(placement: Placement) -> None:
            async with gate:
                try:
                    number = (await client.place(placement)).number
                    await _decided(client, placement, number)
                    placed.append(number)
                except (RefusedError, InputError) as error:
                    failures.append((placement.order_number, error))
            progress.advance(task)

        await asyncio.gather(*(one(each) for each in placements))
    if as_json:
        output.print_json(
            console, {"placed": placed, "failed": {number: as_object(error) for number, error in failures}}
        )
    else:
        console.print(f"{len(placed)} orders placed, {len(failures)} not")
        for number, error in failures:
            problems.print(f"{number}: {error}", markup=False, soft_wrap=True)
    if failures:
        raise typer.Exit(3 if any(isinstance(error, RefusedError) for _, error in failures) else 2)
