"""The receiver of the payment provider's webhooks: it verifies each one and hands it to its order (P5, G7, R7).

`python -m web.receiver` needs Temporal only while it hands an event on: what it cannot hand on now it refuses with 503, and the
provider sends it again. An event is a hint and no more: the order asks the provider how the payment stands. What is forged or
too old is refused and, where it names an order, noted in that order's history.
"""

import argparse
import asyncio
import logging
import socket
from datetime import timedelta

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from temporalio.api.errordetails.v1 import NotFoundFailure
from temporalio.client import Client
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError, RPCStatusCode

from activities.events import ProviderEvent
from activities.settings import Settings, SettingsError
from domain.base import order_id
from web.deliveries import RefusedDelivery, read_event, read_stripe_event
from web.notes import Notes
from web.serving import announce, run
from workflows.connection import connect

MAX_BODY_BYTES = 64 * 1024
SIGNALLED_WITHIN = timedelta(seconds=5)
_logger = logging.getLogger("web.receiver")


def create_app(client: Client, settings: Settings) -> FastAPI:
    """Build the receiver; `client` may be lazy and need not be connected. A path whose secret is not set answers 404."""
    app = FastAPI(title="Receiver of payment webhooks", docs_url=None, redoc_url=None, openapi_url=None)
    notes = Notes()
    app.add_exception_handler(RefusedDelivery, _answer_refused)
    app.add_exception_handler(HTTPException, _answer_http)

    @app.get("/health")
    async def show_health() -> dict[str, str]:
        """Say that the receiver is up, whether or not Temporal is."""
        return {"status": "ok"}

    @app.post("/webhooks/payments")
    async def take_payment_event(request: Request) -> Response:
        """Take an event that is signed as Standard Webhooks says."""
        secret = _configured(settings.webhook_secret, "WEBHOOK_SECRET")
        body = await _body(request)
        async with notes.of_refusals(client):
            event = read_event(body, request.headers, secret)
        return await _hand_on(client, event)

    @app.post("/webhooks/stripe")
    async def take_stripe_event(request: Request) -> Response:
        """Take an event of Stripe."""
        secret = _configured(settings.stripe_webhook_secret, "STRIPE_WEBHOOK_SECRET")
        body, signature = await _body(request), request.headers.get("stripe-signature", "")
        async with notes.of_refusals(client):
            event = read_stripe_event(body, signature, secret)
        return JSONResponse({"status": "not about an order"}) if event is None else await _hand_on(client, event)

    return app


def _configured(secret: str | None, name: str) -> str:
    if secret is None:
        raise RefusedDelivery(404, "not_configured", f"{name} is not set; give the receiver the webhook's secret")
    return secret


async def _body(request: Request) -> bytes:
    """Read the body as it came; raises RefusedDelivery for one over 64 KiB."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                message = f"the body is over {MAX_BODY_BYTES} bytes; send one event at a time"
                raise RefusedDelivery(413, "too_large", message)
    except ClientDisconnect:
        raise RefusedDelivery(400, "incomplete", "the body ended early; send it again") from None
    return bytes(body)


async def _hand_on(client: Client, event: ProviderEvent) -> Response:
    """Signal the order: 202 once the server has it, 200 where there is no such order, 503 while Temporal is away."""
    order = client.get_workflow_handle(order_id(event.order_number))
    try:
        async with asyncio.timeout(SIGNALLED_WITHIN.total_seconds()):
            await order.signal("payment_event", event.command(), rpc_timeout=SIGNALLED_WITHIN)
    except RPCError as error:
        if not _no_such_order(error):
            raise _unavailable(event, f"{error.status.name}: {error.message}") from error
        # Sending it again would change nothing; any money that is left there is shown by `starter reconcile`.
        message = (
            "%s for order %s, which does not run, under %s: ignored; `starter reconcile` shows any money left there"
        )
        _logger.warning(message, event.type, event.order_number, event.reference)
        return JSONResponse({"status": "no such order"})
    except (RuntimeError, ValueError, OSError) as error:
        raise _unavailable(event, str(error) or f"no answer within {SIGNALLED_WITHIN.seconds} s") from error
    return JSONResponse({"status": "accepted"}, 202)


def _no_such_order(error: RPCError) -> bool:
    """Tell whether the order was not found, or is closed; a namespace that is not found is another matter."""
    details = error.grpc_status.details
    return error.status is RPCStatusCode.NOT_FOUND and any(each.Is(NotFoundFailure.DESCRIPTOR) for each in details)


def _unavailable(event: ProviderEvent, why: str) -> RefusedDelivery:
    _logger.warning("%s for order %s could not be handed on: %s", event.type, event.order_number, why[:300])
    message = "the event could not be handed to its order, Temporal does not take it; send it again later"
    return RefusedDelivery(503, "unavailable", message)


def _answer_refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedDelivery)  # noqa: S101 - narrows the type
    rule = {} if error.rule is None else {"rule": error.rule}
    return JSONResponse({"error": error.code, "message": error.message, **rule}, error.status)


def _answer_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - narrows the type
    message = f"{error.detail}; webhooks go to POST /webhooks/payments or POST /webhooks/stripe"
    return JSONResponse({"error": "no_such_route", "message": message}, error.status_code, error.headers)


async def serve(arguments: argparse.Namespace, settings: Settings) -> None:
    """Receive until SIGTERM or SIGINT; raises SettingsError where no secret is set, OSError where the port is taken."""
    if settings.webhook_secret is None and settings.stripe_webhook_secret is None:
        raise SettingsError("webhook_secret: missing; give WEBHOOK_SECRET or STRIPE_WEBHOOK_SECRET, or both")
    # Temporal's client is kept from writing lines of its own: what could not be handed on is told here, once.
    client = await connect(lazy=True, runtime=Runtime(telemetry=TelemetryConfig(logging=None)))
    listener = socket.create_server((arguments.host, arguments.port))
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        create_app(client, settings),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=SIGNALLED_WITHIN.seconds + 1,
    )
    announce(f"receiver on http://{arguments.host}:{port}", arguments.port_file, port)
    await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    run("receiver", "Receives payment webhooks.", serve)
