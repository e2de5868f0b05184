"""The documents of an order on the command line: the buyer's receipt and the packing slip, as PDF."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from domain.views import OrderView
from starter import output
from starter.client import InputError, RefusedError
from starter.command_cli import AsJson, Number
from starter.exits import console, run
from starter.known_order import known_order
from starter.session import open_client

if TYPE_CHECKING:
    from activities.documents import DocumentError


class Language(StrEnum):
    """The languages of documents (D1)."""

    JA = "ja"
    ZH = "zh"
    EN = "en"
    IT = "it"


Out = Annotated[Path, typer.Option("--out", help="File to write the PDF to; one that is there is replaced.")]
Tongue = Annotated[
    Language | None, typer.Option("--language", help="Language of the document; the buyer's without it.")
]


def receipt(number: Number, out: Out, language: Tongue = None, as_json: AsJson = False) -> None:
    """Issue the receipt of a charged order, with every refund. [dim]D2[/]"""
    from activities import documents  # noqa: PLC0415 - fonts and typesetting, for the documents only

    _issue(number, "receipt", documents.receipt, documents.DocumentError, out, language, as_json)


def packing_slip(number: Number, out: Out, language: Tongue = None, as_json: AsJson = False) -> None:
    """Issue the packing slip of an order that is to be shipped. [dim]D5 P6[/]"""
    from activities import documents  # noqa: PLC0415 - as in receipt

    _issue(number, "packing slip", documents.packing_slip, documents.DocumentError, out, language, as_json)


def _issue(
    number: str,
    document: str,
    issue: Callable[[OrderView, str], bytes],
    refusal: "type[DocumentError]",
    out: Path,
    language: Language | None,
    as_json: bool,
) -> None:
    async def work() -> None:
        order = await known_order(await open_client(), number)
        tongue = language or Language(order.buyer.language if order.buyer is not None else "en")
        try:
            pdf = issue(order, tongue.value)
        except refusal as error:
            raise RefusedError(error.refusal) from None
        _write(out, pdf)
        if as_json:
            output.print_json(
                console,
                {"order": number, "document": document, "language": tongue.value, "file": str(out), "bytes": len(pdf)},
            )
        else:
            console.print(f"{document} of order {number}: {out} ({len(pdf)} bytes, {tongue})", soft_wrap=True)

    run(work)


def _write(out: Path, pdf: bytes) -> None:
    try:
        out.write_bytes(pdf)
    except OSError as error:
        raise InputError(f"out: {out} cannot be written: {error.strerror or error}") from None
