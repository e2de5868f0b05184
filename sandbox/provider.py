"""The sandbox's payment provider, a process of its own: `python -m sandbox.provider --port 0 --database FILE`.

Test cards: `card-approve…` approves; `card-decline…` declines; `card-retry…` declines an order's first authorisation;
`card-slow…` answers late; `card-timeout…` holds the money and does not answer the first time; `card-capture-decline…`
approves the hold and declines the charge; `card-capture-timeout…` charges and does not answer the first time; any
other `card-…` approves, anything else is an invalid card.
"""

import argparse
import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.types import StringConstraints
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.provider_store import CARD_PATTERN, Answer, Clock, Ledger, Payment, Wait

MAX_BODY_BYTES = 64 * 1024
PAYMENT_PATHS = ("/authorizations", "/captures", "/voids")

AmountMinor = Annotated[int, Field(strict=True, ge=1, le=10**12)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Reference = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,119}$")]
OrderCode = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$")]
AnyCard = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{1,60}$")]
KnownCard = Annotated[str, StringConstraints(pattern=rf"^{CARD_PATTERN.pattern}$")]
IdempotencyKey = Annotated[str, Header(alias="Idempotency-Key", pattern=r"^[\x21-\x7e]{1,160}$")]


class RequestBody(BaseModel):
    """A request body; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AuthorizationBody(RequestBody):
    """Hold `amount_minor` on `card` under `reference`, which is the idempotency key."""

    reference: Reference
    amount_minor: AmountMinor
    currency: Currency
    card: AnyCard
    order_number: OrderCode


class CaptureBody(RequestBody):
    """Charge `amount_minor` of the hold `reference`."""

    reference: Reference
    amount_minor: AmountMinor


class VoidBody(RequestBody):
    """Release or reverse `reference`; `order_number` files a void that comes before its authorisation in the log."""

    reference: Reference
    order_number: OrderCode | None = None


class CardBody(RequestBody):
    """Set the limit of a card in one currency, or in every currency where none is given."""

    card: KnownCard
    limit_minor: Annotated[int, Field(strict=True, ge=0, le=10**15)]
    currency: Currency | None = None


class Fault(RequestBody):
    """A fault of the payment calls on `path` (None: all), for the next `count` calls (None: until cleared).

    down: 503, nothing is done; error: 500, nothing is done; slow: `seconds` of delay; lose_answer: done, then 500.
    """

    kind: Literal["down", "slow", "error", "lose_answer"]
    count: Annotated[int, Field(strict=True, ge=1)] | None = None
    path: Literal["/authorizations", "/captures", "/voids"] | None = None
    seconds: Annotated[float, Field(ge=0, le=3600)] = 1.0


class Switchboard:
    """The faults that are switched on, in memory."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def take(self, path: str) -> list[Fault]:
        """Return the faults that strike a call on `path`, and count them down."""
        if path not in PAYMENT_PATHS:
            return []
        struck = [fault for fault in self.faults if fault.path in (None, path)]
        left = [_counted_down(fault) if fault in struck else fault for fault in self.faults]
        self.faults = [fault for fault in left if fault is not None]
        return struck


def _counted_down(fault: Fault) -> Fault | None:
    if fault.count is None:
        return fault
    return fault.model_copy(update={"count": fault.count - 1}) if fault.count > 1 else None


def _json(status: int, body: object) -> Response:
    # ASCII only: a name in a refused request may hold a lone surrogate, which UTF-8 cannot write.
    return Response(json.dumps(body), status, media_type="application/json")


def _error(status: int, code: str, message: str) -> Response:
    return _json(status, {"error": code, "message": message})


class BodyLimit:
    """Answers 413 to a body over 64 KiB, before anything reads it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body up to the limit and hand it on in one piece."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MAX_BODY_BYTES:
                response = _error(413, "too_large", f"a body holds {MAX_BODY_BYTES} bytes at most")
                return await response(scope, receive, send)
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return pending.pop() if pending else await receive()

        return await self.app(scope, replay, send)


class FaultInjection:
    """Lets the switchboard's faults strike."""

    def __init__(self, app: ASGIApp, switchboard: Switchboard) -> None:
        self.app, self.switchboard = app, switchboard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Delay, refuse or forget the answer of a call, as the switchboard says."""
        faults = self.switchboard.take(scope["path"]) if scope["type"] == "http" else []
        await asyncio.sleep(sum(fault.seconds for fault in faults if fault.kind == "slow"))
        kinds = {fault.kind for fault in faults}
        if "down" in kinds:
            return await _error(503, "down", "the provider is switched off")(scope, receive, send)
        if "error" in kinds:
            return await _error(500, "error", "the provider failed and did nothing")(scope, receive, send)
        if "lose_answer" in kinds:
            await self.app(scope, receive, _discard)
            return await _error(500, "lost_answer", "the provider lost its answer")(scope, receive, send)
        return await self.app(scope, receive, send)


async def _discard(_message: Message) -> None:
    pass


def _within_calendar(instant: datetime) -> datetime:
    if not 1970 <= instant.year <= 9000:
        raise ValueError("the clock must be between the years 1970 and 9000")
    return instant.astimezone(UTC)


def _read_clock(
    sandbox_clock: Annotated[Annotated[AwareDatetime, AfterValidator(_within_calendar)] | None, Header()] = None,
) -> Clock:
    if sandbox_clock is None:
        return Clock(datetime.now(UTC), own=True)
    return Clock(sandbox_clock, own=False)


def _ledger(request: Request) -> Ledger:
    ledger: Ledger = request.app.state.ledger
    return ledger


def _switchboard(request: Request) -> Switchboard:
    switchboard: Switchboard = request.app.state.switchboard
    return switchboard


RequestClock = Annotated[Clock, Depends(_read_clock)]
TheLedger = Annotated[Ledger, Depends(_ledger)]
TheSwitchboard = Annotated[Switchboard, Depends(_switchboard)]
router = APIRouter()


async def _answer(request: Request, operation: Callable[..., Answer], *arguments: object) -> Response:
    """Run an operation, keep its answer back as long as it says, and write it."""
    answer = await run_in_threadpool(operation, *arguments)
    seconds: dict[Wait, float] = request.app.state.wait_seconds
    await asyncio.sleep(seconds[answer.wait])
    return _json(answer.status, answer.body)


@router.get("/health")
async def show_health() -> dict[str, str]:
    """Say that the provider is up."""
    return {"status": "ok"}


@router.post("/authorizations")
async def authorize(request: Request, body: AuthorizationBody, ledger: TheLedger, clock: RequestClock) -> Response:
    """Hold money on a card."""
    return await _answer(request, ledger.authorize, Payment(**body.model_dump()), clock)


@router.post("/captures")
async def capture(
    request: Request, body: CaptureBody, key: IdempotencyKey, ledger: TheLedger, clock: RequestClock
) -> Response:
    """Charge a hold."""
    return await _answer(request, ledger.capture, body.reference, body.amount_minor, key, clock)


@router.post("/voids")
async def void(request: Request, body: VoidBody, ledger: TheLedger, clock: RequestClock) -> Response:
    """Release or reverse everything under a reference."""
    return await _answer(request, ledger.void, body.reference, body.order_number, clock)


@router.get("/authorizations")
async def show_authorizations(
    request: Request,
    ledger: TheLedger,
    clock: RequestClock,
    reference: Annotated[str | None, Query(max_length=120)] = None,
    order_number: Annotated[str | None, Query(max_length=60)] = None,
) -> Response:
    """Show the state of one reference, or a list of an order's references."""
    if reference is not None and order_number is None:
        return await _answer(request, ledger.find, reference, clock)
    if order_number is not None and reference is None:
        return _json(200, await run_in_threadpool(ledger.find_order, order_number, clock))
    return _error(422, "invalid", "give either reference or order_number")


@router.get("/log")
async def show_log(ledger: TheLedger, order_number: Annotated[str | None, Query(max_length=60)] = None) -> Response:
    """Show what the provider did, oldest first."""
    return _json(200, await run_in_threadpool(ledger.log, order_number))


@router.get("/balances")
async def show_balances(ledger: TheLedger, clock: RequestClock) -> Response:
    """Show what is held and charged, in minor units: in sum by currency, and card by card."""
    cards = await run_in_threadpool(ledger.accounts, clock)
    currencies: dict[str, dict[str, int]] = {}
    for card in cards:
        total = currencies.setdefault(card["currency"], {"held_minor": 0, "captured_minor": 0})
        for name in total:
            total[name] += card[name]
    return _json(200, {"currencies": currencies, "cards": cards})


@router.post("/cards")
async def set_card_limit(request: Request, body: CardBody, ledger: TheLedger) -> Response:
    """Set a card's limit."""
    return await _answer(request, ledger.set_limit, body.card, body.currency, body.limit_minor)


@router.post("/faults")
async def add_fault(body: Fault, switchboard: TheSwitchboard) -> list[Fault]:
    """Switch a fault on and list all."""
    switchboard.faults.append(body)
    return switchboard.faults


@router.get("/faults")
async def show_faults(switchboard: TheSwitchboard) -> list[Fault]:
    """List the faults that are on."""
    return switchboard.faults


@router.delete("/faults")
async def clear_faults(switchboard: TheSwitchboard) -> list[Fault]:
    """Switch every fault off."""
    switchboard.faults.clear()
    return switchboard.faults


async def _refuse_invalid(_request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    details = [{"where": [str(part) for part in item["loc"]], "problem": item["msg"]} for item in found]
    return _json(422, {"error": "invalid", "message": "the request is not valid", "details": details})


async def _refuse_http(_request: Request, error: Exception) -> Response:
    status, message = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "failed")
    return _error(status, "http_error", str(message))


def create_app(ledger: Ledger, *, slow_seconds: float = 3.0, timeout_seconds: float = 60.0) -> FastAPI:
    """Build the provider over its ledger; the seconds are the delays of `card-slow` and of the timeout cards."""

    @asynccontextmanager
    async def close_at_end(_app: FastAPI) -> AsyncIterator[None]:
        yield
        ledger.close()

    app = FastAPI(title="Sandbox payment provider", lifespan=close_at_end)
    app.state.ledger = ledger
    app.state.switchboard = Switchboard()
    app.state.wait_seconds = {Wait.NONE: 0.0, Wait.SLOW: slow_seconds, Wait.HANG: timeout_seconds}
    app.include_router(router)
    app.add_middleware(FaultInjection, switchboard=app.state.switchboard)
    app.add_middleware(BodyLimit)
    app.add_exception_handler(RequestValidationError, _refuse_invalid)
    app.add_exception_handler(HTTPException, _refuse_http)
    return app


class AnnouncingServer(uvicorn.Server):
    """A server that says where it listens once it does."""

    def __init__(self, config: uvicorn.Config, url: str, port_file: Path | None) -> None:
        super().__init__(config)
        self._url, self._port_file = url, port_file

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, write the port file in one step, and print the address."""
        await super().startup(sockets)
        if self._port_file is not None:
            draft = self._port_file.with_name(self._port_file.name + ".draft")
            draft.write_text(self._url.rpartition(":")[2])
            draft.replace(self._port_file)
        sys.stdout.write(f"payment provider on {self._url}\n")
        sys.stdout.flush()


def _stop(_signal: int, _frame: Any) -> NoReturn:
    sys.exit(0)


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.provider", description="The sandbox's payment provider.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 (default) takes a free port")
    parser.add_argument("--database", type=Path, required=True, help="SQLite file, made where it is missing")
    parser.add_argument("--port-file", type=Path, help="file to write the port to once the provider listens")
    parser.add_argument("--hold-seconds", type=float, default=7 * 86400.0, help="a hold lapses after this (7 days)")
    parser.add_argument("--slow-seconds", type=float, default=3.0, help="delay of card-slow")
    parser.add_argument("--timeout-seconds", type=float, default=60.0, help="delay of the timeout cards")
    return parser.parse_args()


def main() -> None:
    """Run the provider until SIGTERM or SIGINT."""
    arguments = _read_arguments()
    # Uvicorn raises the signal that stopped it once more when it is done; without these the exit would not be clean.
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    ledger = Ledger(arguments.database, timedelta(seconds=arguments.hold_seconds))
    listener = socket.create_server((arguments.host, arguments.port))
    url = f"http://{arguments.host}:{listener.getsockname()[1]}"
    app = create_app(ledger, slow_seconds=arguments.slow_seconds, timeout_seconds=arguments.timeout_seconds)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    AnnouncingServer(config, url, arguments.port_file).run(sockets=[listener])


if __name__ == "__main__":
    main()
