"""The commands of the starter that span several orders: a purchase across sellers, a combined parcel."""

from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer

from domain.parcel import Parcel, ParcelError, ParcelOrderResult, parse_parcel
from domain.placement import PlacementError
from domain.purchase import parse_purchase
from domain.views import OrderView
from starter import joint, output
from starter.carts import read_json
from starter.client import InputError, OrderClient
from starter.command_cli import AsJson
from starter.exits import REFUSED, console, problems, run
from starter.session import open_client


def purchase(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON file with one purchase across sellers.")],
    as_json: AsJson = False,
) -> None:
    """Make one purchase across several sellers: one order each, all of them or none. [dim]P2[/]"""

    async def work() -> None:
        try:
            wanted = parse_purchase(read_json(file))
        except PlacementError as error:
            raise InputError(str(error)) from None
        client = await open_client()
        started = await joint.purchase(client, wanted)
        result = await joint.purchased(started)
        if as_json:
            received: dict[str, Any] = {"purchase_number": wanted.purchase_number, "received": True, "orders": None}
            output.print_json(console, result or received)
            return
        if started.attached:
            console.print(f"purchase {wanted.purchase_number} exists already with the same content; this is it")
        if result is None:
            told = f"received: purchase {wanted.purchase_number} will be decided once a worker takes it up"
            console.print(told, soft_wrap=True)
            return
        for part in wanted.parts:
            await client.settled(part.order_number)
            order = await client.order(part.order_number)
            console.print(f"order {order.number}: seller {part.seller_id}, {output.status(order.status)}")

    run(work)


def combine(
    numbers: Annotated[list[str], typer.Argument(metavar="ORDER", help="2 to 20 orders of one buyer and seller.")],
    carrier: Annotated[str, typer.Option(help="Who carries the parcel.")] = "Yamato",
    tracking: Annotated[str, typer.Option(help="Its one tracking number.")] = "TRACK-1",
    saved: Annotated[
        list[str] | None, typer.Option(help="ORDER=AMOUNT: so much of its shipping fee goes back, in minor units.")
    ] = None,
    saved_each: Annotated[
        int | None, typer.Option(min=1, help="The same for every order without a --saved of its own.")
    ] = None,
    no_saving: Annotated[bool, typer.Option("--no-saving", help="Nothing is saved, and nothing goes back.")] = False,
    parcel_id: Annotated[str | None, typer.Option("--id", help="Id of the parcel; a new one without it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send several orders in one parcel: one confirmation each, what is saved of the fee refunded. [dim]S6[/]"""

    async def work() -> None:
        amounts = _amounts(numbers, saved or [], saved_each, no_saving=no_saving)
        client = await open_client()
        parcel = await _parcel(client, numbers, amounts, parcel_id or f"PARCEL-{uuid4().hex[:12]}", carrier, tracking)
        result = await joint.combined(await joint.combine(client, parcel))
        if as_json:
            received: dict[str, Any] = {"parcel_id": parcel.parcel_id, "received": True, "orders": None}
            output.print_json(console, result or received)
        elif result is None:
            console.print(f"received: parcel {parcel.parcel_id} will be sent once a worker takes it up", soft_wrap=True)
        else:
            console.print(f"parcel {parcel.parcel_id}: {parcel.carrier} {parcel.tracking_number}", markup=False)
        orders = () if result is None else result.orders
        if not as_json:
            for each in orders:
                _tell(each)
        if any(each.refusal or each.refund_refusal for each in orders):
            raise typer.Exit(REFUSED)

    run(work)


def _amounts(numbers: list[str], saved: list[str], each: int | None, *, no_saving: bool) -> dict[str, int]:
    """Read what each order saves, in minor units; raises InputError with everything that is wrong at once."""
    if no_saving and (saved or each is not None):
        raise InputError(
            "no-saving: --saved and --saved-each say what goes back; leave them out, or leave --no-saving out"
        )
    found = dict.fromkeys(numbers, 0 if no_saving else each)
    errors, named = [], set()
    for text in saved:
        number, _, amount = text.partition("=")
        if number in named:
            errors.append(f"saved: order {number} is named twice; name it once")
        named.add(number)
        if not amount.isascii() or not amount.isdigit():
            errors.append(f"saved: {text!r} is not ORDER=AMOUNT; write for example 503-1234567-1234567=500")
        elif number not in numbers:
            errors.append(f"saved: order {number} is not in the parcel; name it as an argument too")
        else:
            found[number] = int(amount)
    silent = [number for number, amount in found.items() if amount is None]
    if silent:
        errors.append(
            f"saved: nothing says how much of its shipping fee order {', '.join(silent)} saves; give --saved ORDER=AMOUNT "
            "or --saved-each AMOUNT, which go back to the buyer, or --no-saving [S6]"
        )
    if errors:
        raise InputError("; ".join(errors))
    return {number: amount for number, amount in found.items() if amount}


async def _parcel(
    client: OrderClient, numbers: list[str], amounts: dict[str, int], parcel_id: str, carrier: str, tracking: str
) -> Parcel:
    """Put the parcel together; its seller and the currency of what is saved are those of the orders."""
    known: dict[str, OrderView] = {number: await client.order(number) for number in dict.fromkeys(numbers)}
    orders = [
        {"order_number": number}
        | (
            {"saved": {"amount_minor": amounts[number], "currency": known[number].currency}}
            if number in amounts
            else {}
        )
        for number in numbers
    ]
    payload = {
        "parcel_id": parcel_id,
        "seller_id": known[numbers[0]].seller.seller_id,
        "carrier": carrier,
        "tracking_number": tracking,
        "orders": orders,
    }
    try:
        return parse_parcel(payload)
    except ParcelError as error:
        raise InputError(str(error)) from None


def _tell(each: ParcelOrderResult) -> None:
    """Say what became of one order, what was refused on standard error."""
    if each.refusal is not None:
        problems.print(f"order {each.order_number} not confirmed: {each.refusal}", markup=False, soft_wrap=True)
    elif each.refund_refusal is not None:
        told = f"order {each.order_number} CHARGED, BUT WHAT IT SAVED NOT REFUNDED: {each.refund_refusal}"
        problems.print(told, markup=False, soft_wrap=True)
    else:
        back = f", {each.refunded_minor} minor units refunded" if each.refunded_minor else ""
        console.print(f"order {each.order_number} confirmed{back}")
