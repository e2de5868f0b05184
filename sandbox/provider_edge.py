"""The HTTP edge of the payment provider: how much a body may hold, which faults strike a call, how an answer is written."""

import asyncio
import json

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.provider_bodies import PAYMENT_PATHS, Fault

MAX_BODY_BYTES = 64 * 1024


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


def json_response(status: int, body: object) -> Response:
    """Write an answer."""
    # ASCII only: a name in a refused request may hold a lone surrogate, which UTF-8 cannot write.
    return Response(json.dumps(body), status, media_type="application/json")


def error_response(status: int, code: str, message: str) -> Response:
    """Write a refusal."""
    return json_response(status, {"error": code, "message": message})


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
                response = error_response(413, "too_large", f"a body holds {MAX_BODY_BYTES} bytes at most")
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
            return await error_response(503, "down", "the provider is switched off")(scope, receive, send)
        if "error" in kinds:
            return await error_response(500, "error", "the provider failed and did nothing")(scope, receive, send)
        if "lose_answer" in kinds:
            await self.app(scope, receive, _discard)
            return await error_response(500, "lost_answer", "the provider lost its answer")(scope, receive, send)
        return await self.app(scope, receive, send)


async def _discard(_message: Message) -> None:
    pass


async def refuse_invalid(_request: Request, error: Exception) -> Response:
    """Answer 422 with every error of a request."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    details = [{"where": [str(part) for part in item["loc"]], "problem": item["msg"]} for item in found]
    return json_response(422, {"error": "invalid", "message": "the request is not valid", "details": details})


async def refuse_http(_request: Request, error: Exception) -> Response:
    """Answer what no route answers."""
    status, message = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "failed")
    return error_response(status, "http_error", str(message))
