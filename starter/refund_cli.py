"""The refund command of the starter: items, amounts, the shipping fee and deductions, in the order's own currency."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from domain.order import Actor
from domain.refund import DeductionKind, RefundReason
from starter.client import InputError, OrderClient
from starter.command_cli import AsJson, CommandId, Number, send, whole
from starter.exits import BAD_INPUT, fail
from starter.known_order import known_order

_DIGITS = 14
_KINDS = ", ".join(DeductionKind)


def refund(  # noqa: PLR0913, PLR0917 - one parameter for each option
    number: Number,
    reason: Annotated[RefundReason, typer.Option(help="Why money goes back.")],
    item: Annotated[
        list[str] | None, typer.Option(help="SKU[:UNITS] at their price; all that is left of it without UNITS.")
    ] = None,
    amount: Annotated[
        list[str] | None, typer.Option(help="SKU=MINOR: an amount of an item's price, in minor units.")
    ] = None,
    with_shipping: Annotated[
        bool, typer.Option("--with-shipping", help="With the shipping fee's share of the items named.")
    ] = False,
    shipping: Annotated[str | None, typer.Option(help="MINOR: an amount of the shipping fee, in minor units.")] = None,
    deduct: Annotated[
        list[str] | None, typer.Option(help=f"KIND=MINOR kept back, in minor units; KIND is {_KINDS}.")
    ] = None,
    memo: Annotated[str | None, typer.Option(help="A line to the buyer.")] = None,
    consent: Annotated[
        str | None, typer.Option(help="When and how the buyer agreed that items are not shipped any more.")
    ] = None,
    case: Annotated[str | None, typer.Option(help="The case that it settles, like K1.")] = None,
    as_: Annotated[Actor, typer.Option("--as", help="seller or operator.")] = Actor.SELLER,
    command_id: CommandId = None,
    as_json: AsJson = False,
) -> None:
    """Give money back: all that is left, of the order or of --case, unless items or amounts are named. [dim]R1 R2 R3 R4[/]"""
    try:
        lines = read_lines(item or [], amount or [], with_shipping=with_shipping)
        fee = None if shipping is None else _minor("shipping", shipping, shipping, "MINOR", "500")
        deductions = [_deduction(text) for text in deduct or []]
    except InputError as error:
        fail(str(error), BAD_INPUT)

    async def fields(client: OrderClient) -> Mapping[str, Any]:
        amounts = fee is not None or deductions or any("amount" in line for line in lines)
        currency = (await known_order(client, number)).currency if amounts else ""
        return {
            "reason": reason.value,
            "lines": [_with_currency(line, currency) for line in lines],
            "shipping": None if fee is None else _money(fee, currency),
            "deductions": [_with_currency(each, currency) for each in deductions],
            "memo": memo,
            "consent": consent,
            "case_id": case,
        }

    send(number, "refund", fields, actor=as_, command_id=command_id, as_json=as_json)


def read_lines(items: list[str], amounts: list[str], *, with_shipping: bool) -> list[dict[str, Any]]:
    """Return the lines of a refund, units and amount of one item in one line, amounts in minor units; raises InputError."""
    if with_shipping and not items:
        raise InputError(
            "with-shipping: it goes with --item; without items everything that is left is refunded, "
            "and an amount of the fee is given by --shipping"
        )
    lines: dict[str, dict[str, Any]] = {}
    for text in items:
        sku, colon, units = text.partition(":")
        if sku in lines:
            raise InputError(f"item: {sku} is named twice; name each item once")
        told = f"item: {text!r} is not SKU[:UNITS]; write for example CUP-01 or CUP-01:2"
        counted = {"quantity": whole(units, 10, told)} if colon else {}
        lines[sku] = {"sku": sku, **counted, **({"with_shipping": True} if with_shipping else {})}
    for text in amounts:
        sku, _, minor = text.partition("=")
        line = lines.setdefault(sku, {"sku": sku})
        if "amount" in line:
            raise InputError(f"amount: {sku} is named twice; name each item once")
        line["amount"] = _minor("amount", text, minor, "SKU=MINOR", "CUP-01=500")
    return list(lines.values())


def _deduction(text: str) -> dict[str, Any]:
    kind, _, minor = text.partition("=")
    if kind not in tuple(DeductionKind):
        raise InputError(f"deduct: {kind!r} in {text!r} is unknown; use one of: {_KINDS}, as in return_fee=500")
    return {"kind": kind, "amount": _minor("deduct", text, minor, "KIND=MINOR", f"{kind}=500")}


def _minor(option: str, text: str, minor: str, form: str, example: str) -> int:
    told = "give whole minor units of the order's currency, without its name"
    return whole(minor, _DIGITS, f"{option}: {text!r} is not {form}; {told}: {example}")


def _with_currency(fields: dict[str, Any], currency: str) -> dict[str, Any]:
    return {**fields, "amount": _money(fields["amount"], currency)} if "amount" in fields else fields


def _money(minor: int, currency: str) -> dict[str, Any]:
    return {"amount_minor": minor, "currency": currency}
