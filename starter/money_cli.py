"""The money commands of the starter: whether orders, ledger and payment provider agree."""

from typing import TYPE_CHECKING, Annotated

import httpx
import typer

from starter import output
from starter.client import InputError, UnreachableError
from starter.command_cli import AsJson
from starter.exits import console, run
from starter.session import open_store, settings

if TYPE_CHECKING:
    from starter.reconcile import Report

DIFFERENT = 1
"""Exit code where something differs."""


def reconcile(
    numbers: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ORDER]...", help="Only these orders; all of them and the totals without."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare orders, ledger and payment provider; each difference is a line, and the exit code 1. [dim]S7 R5 R6[/]"""
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - as in open_store

    from starter.reconcile import reconcile as compare  # noqa: PLC0415 - not needed by the other commands

    async def work() -> None:
        store = open_store()
        try:
            async with open_provider() as provider:
                report = await compare(store, provider, numbers or ())
        except SQLAlchemyError as error:
            raise UnreachableError(
                f"the store cannot be read ({type(error).__name__}); start a worker or the stack once, "
                "which brings its tables up to date"
            ) from None
        finally:
            store.close()
        if as_json:
            output.print_json(console, vars(report) | {"differences": [vars(each) for each in report.differences]})
        else:
            _show(report)
        if report.differences:
            raise typer.Exit(DIFFERENT)

    run(work)


def open_provider() -> httpx.AsyncClient:
    """Return a connection to the payment provider of the settings; each wait is bounded by ten seconds.

    Raises InputError for an address that is none.
    """
    chosen = settings()
    if chosen.payment_provider != "http":
        raise InputError(
            f"PAYMENT_PROVIDER: {chosen.payment_provider!r} has books of its own; reconcile reads the http provider's"
        )
    url = chosen.payment_provider_url
    try:
        return httpx.AsyncClient(base_url=url, timeout=10)
    except httpx.InvalidURL as error:
        raise InputError(f"PAYMENT_PROVIDER_URL: {url!r} is no address ({error}); write http://HOST:PORT") from None


def _show(report: "Report") -> None:
    looked_at = f"{_count(report.orders, 'order')}, {_count(report.movements, 'movement')}"
    for each in report.differences:
        console.print(str(each), markup=False, soft_wrap=True)
    if report.differences:
        console.print(f"{looked_at}, {_count(len(report.differences), 'difference')}", soft_wrap=True)
    else:
        console.print(f"{looked_at}, provider and ledger agree", soft_wrap=True)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
