"""The sandbox's payment provider, a process of its own: `python -m sandbox.provider --port 0 --database FILE`.

Test cards: `card-approve…` approves; `card-decline…` declines; `card-retry…` declines an order's first authorisation;
`card-slow…` answers late; `card-timeout…` holds the money and does not answer the first time; `card-capture-decline…`
approves the hold and declines the charge; `card-capture-timeout…` charges and does not answer the first time;
`card-refund-fail…` fails the first refund of a payment; `card-refund-hold…` keeps refunds pending until they are settled;
any other `card-…` approves, `points-<buyer id>` is a buyer's wallet, anything else is an invalid card.
"""

import argparse
import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import uvicorn
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from sandbox.provider_bodies import webhook_secret
from sandbox.provider_book import Book
from sandbox.provider_edge import BodyLimit, FaultInjection, refuse_http, refuse_invalid
from sandbox.provider_konbini import Shops
from sandbox.provider_refunds import Refunds
from sandbox.provider_routes import Parts, router
from sandbox.provider_store import Ledger
from sandbox.provider_tables import Wait
from sandbox.provider_webhooks import Courier, Outbox
from sandbox.serving import announce, end_on_signals, port_number

_logger = logging.getLogger(__name__)


class Delays(NamedTuple):
    """How long things take, in seconds: holds until they lapse, pending refunds, `card-slow`, the timeout cards."""

    hold: float = 7 * 86400.0
    refund: float = 1.0
    slow: float = 3.0
    timeout: float = 60.0


def create_app(book: Book, delays: Delays) -> FastAPI:
    """Build the provider over its database."""
    parts = Parts(
        Ledger(book, timedelta(seconds=delays.hold), timedelta(seconds=delays.refund)),
        Shops(book),
        Refunds(book, timedelta(seconds=delays.refund)),
        Outbox(book),
        {Wait.NONE: 0.0, Wait.SLOW: delays.slow, Wait.HANG: delays.timeout},
    )

    @asynccontextmanager
    async def work(_app: FastAPI) -> AsyncIterator[None]:
        parts.courier = Courier(book, parts.refunds, parts.outbox)
        background = asyncio.create_task(parts.courier.run())
        background.add_done_callback(_report_end)
        yield
        background.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await background
        book.close()

    app = FastAPI(title="Sandbox payment provider", lifespan=work)
    app.state.parts = parts
    app.include_router(router)
    app.add_middleware(FaultInjection, switchboard=parts.switchboard)
    app.add_middleware(BodyLimit)
    app.add_exception_handler(RequestValidationError, refuse_invalid)
    app.add_exception_handler(HTTPException, refuse_http)
    return app


def _report_end(background: asyncio.Task[None]) -> None:
    if not background.cancelled() and (error := background.exception()) is not None:
        _logger.error("refunds and webhooks have stopped; restart the payment provider", exc_info=error)


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.provider", description="The sandbox's payment provider.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=port_number, default=0, help="0 (default) takes a free port")
    parser.add_argument("--database", type=Path, required=True, help="SQLite file, made where it is missing")
    parser.add_argument("--port-file", type=Path, help="file to write the port to once the provider listens")
    usual = Delays()
    parser.add_argument("--hold-seconds", type=float, default=usual.hold, help="a hold lapses after this (7 days)")
    parser.add_argument(
        "--refund-seconds", type=float, default=usual.refund, help="a pending refund is paid after this"
    )
    parser.add_argument("--slow-seconds", type=float, default=usual.slow, help="delay of card-slow")
    parser.add_argument("--timeout-seconds", type=float, default=usual.timeout, help="delay of the timeout cards")
    parser.add_argument("--webhook-url", help="where webhooks go; without it they go where they went last time")
    parser.add_argument("--webhook-secret", type=webhook_secret, help="what signs them: whsec_ and base64")
    arguments = parser.parse_args()
    if (arguments.webhook_url is None) != (arguments.webhook_secret is None):
        parser.error("--webhook-url and --webhook-secret belong together: give both or none")
    return arguments


def main() -> None:
    """Run the provider until SIGTERM or SIGINT."""
    arguments = _read_arguments()
    end_on_signals()
    book = Book(arguments.database)
    if arguments.webhook_url is not None:
        Outbox(book).configure(arguments.webhook_url, arguments.webhook_secret)
    listener = socket.create_server((arguments.host, arguments.port))
    port = listener.getsockname()[1]
    seconds = (arguments.hold_seconds, arguments.refund_seconds, arguments.slow_seconds, arguments.timeout_seconds)
    config = uvicorn.Config(
        create_app(book, Delays(*seconds)), log_level="warning", access_log=False, timeout_graceful_shutdown=1
    )
    announce(f"payment provider on http://{arguments.host}:{port}", arguments.port_file, str(port))
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
