"""Stripe's wire format as a local HTTP server, over a Stripe account in memory. It is not Stripe.

It speaks form-encoded requests as the SDK sends them, remembers idempotency keys with their answers (also 500s, as Stripe
does), and refuses parameters that the SDK of this version does not declare.

PYTEST_DONT_REWRITE: its assertions are about the tests that use it.
"""

import json
import re
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import stripe
import stripe.params as declared
from stripe import RequestOptions
from stripe_account import Json, Refused, StripeAccount

SECRET_KEY = "sk_test_fake"
Reply = tuple[int, Json, dict[str, str]]
PARAMETERS: dict[str, Any] = {
    "create": declared.PaymentIntentCreateParams,
    "update": declared.PaymentIntentUpdateParams,
    "confirm": declared.PaymentIntentConfirmParams,
    "capture": declared.PaymentIntentCaptureParams,
    "cancel": declared.PaymentIntentCancelParams,
    "retrieve": declared.PaymentIntentRetrieveParams,
    "search": declared.PaymentIntentSearchParams,
    "refund": declared.RefundCreateParams,
    "refunds": declared.RefundListParams,
    "charges": declared.ChargeListParams,
    "method": declared.PaymentMethodRetrieveParams,
}
ROUTES = (
    ("GET", r"/v1/payment_intents/search", "search"),
    ("POST", r"/v1/payment_intents", "create"),
    ("GET", r"/v1/payment_intents/(\w+)", "retrieve"),
    ("POST", r"/v1/payment_intents/(\w+)/(confirm|capture|cancel)", ""),
    ("POST", r"/v1/payment_intents/(\w+)", "update"),
    ("POST", r"/v1/refunds", "refund"),
    ("GET", r"/v1/refunds", "refunds"),
    ("GET", r"/v1/charges", "charges"),
    ("GET", r"/v1/payment_methods/([\w.-]+)", "method"),
)


class Fault(NamedTuple):
    """What goes wrong at the next call of `operation`: down, rate_limit, lock_timeout, error (500, remembered), lose_answer."""

    kind: str
    operation: str


class StripeFake(StripeAccount):
    """The account behind its wire: idempotency keys and the faults that are switched on."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[str, tuple[tuple[str, str], int, Json]] = {}
        self.faults: list[Fault] = []
        self.calls: list[str] = []
        self._busy: set[str] = set()
        self._lock = threading.RLock()

    def a_day_passes(self) -> None:
        """Forget the idempotency keys and let the search catch up."""
        self.keys.clear()
        self.catch_up()

    def answer(self, method: str, url: str, body: str, headers: dict[str, str]) -> Reply | None:
        """Answer one request; None hangs up without an answer."""
        key = headers.get("idempotency-key", "") if method == "POST" else ""
        with self._lock:
            if key in self._busy and key:
                message = "another request with this key is under way"
                return 409, _error("idempotency_error", message, code="idempotency_key_in_use"), {}
            self._busy.add(key)
        try:
            time.sleep(0.01)  # lets requests overlap
            with self._lock:
                return self._answer(method, url, body, headers, key)
        finally:
            self._busy.discard(key)

    def _answer(self, method: str, url: str, body: str, headers: dict[str, str], key: str) -> Reply | None:
        if headers.get("authorization") != f"Bearer {SECRET_KEY}":
            return 401, _error("invalid_request_error", "Invalid API Key provided"), {}
        assert headers["stripe-version"] == stripe.api_version, headers["stripe-version"]
        request = (f"{method} {url}", body)
        known = self.keys.get(key) if key else None
        if known and known[0] != request:
            message = (
                "Keys for idempotent requests can only be used with the same parameters they were first used with."
            )
            return 400, _error("idempotency_error", message), {}
        operation, arguments = _route(method, urlsplit(url).path)
        self.calls.append(operation)
        fault = next((each for each in self.faults if each.operation in (operation, "*")), None)
        if fault:
            self.faults.remove(fault)
            if fault.kind != "lose_answer":
                return self._fail(fault, key, request)
        if known:
            return known[1], known[2], {"Idempotent-Replayed": "true"}
        try:
            parameters = _nested(body if method == "POST" else urlsplit(url).query)
            _expect_declared(operation, parameters)
        except Refused as error:
            return error.status, error.body, {}
        try:
            perform: Callable[..., Json] = getattr(self, f"do_{operation}")
            status, answer = 200, perform(*arguments, parameters)
        except Refused as error:
            status, answer = error.status, error.body
        answer = json.loads(json.dumps(answer))
        if key:
            self.keys[key] = (request, status, answer)
        return None if fault else (status, answer, {})

    def _fail(self, fault: Fault, key: str, request: tuple[str, str]) -> Reply:
        match fault.kind:
            case "down":
                return 503, _error("api_error", "down"), {}
            case "rate_limit":
                return 429, _error("invalid_request_error", "Too many requests", code="rate_limit"), {}
            case "lock_timeout":
                return 429, _error("invalid_request_error", "locked", code="lock_timeout"), {}
        answer = _error("api_error", "An unknown error occurred")
        if key:
            self.keys[key] = (request, 500, answer)
        return 500, answer, {}


def _error(kind: str, message: str, **details: object) -> Json:
    return {"error": {"type": kind, "message": message, **details}}


def _route(method: str, path: str) -> tuple[str, tuple[str, ...]]:
    for verb, pattern, operation in ROUTES:
        match = re.fullmatch(pattern, path)
        if verb == method and match:
            return (operation or match[2], match.groups()[:1])
    raise AssertionError(f"the fake has no {method} {path}")


def _expect_declared(operation: str, parameters: Json) -> None:
    """Refuse what the SDK of this version does not declare, and the parameter that Stripe has withdrawn by name."""
    if "payment_method_types" in parameters:
        raise Refused(400, "no longer supported", code="payment_method_types_no_longer_supported")
    options = set(RequestOptions.__annotations__)
    unknown = set(parameters) - (set(PARAMETERS[operation].__annotations__) - options)
    if unknown:
        name = min(unknown)
        raise Refused(400, f"Received unknown parameter: {name}", code="parameter_unknown", param=name)


def _nested(form: str) -> Json:
    """Read a form with names such as `metadata[order]` and `expand[0]`."""
    tree: Json = {}
    for name, value in parse_qsl(form, keep_blank_values=True, strict_parsing=bool(form)):
        first, *rest = re.findall(r"[^\[\]]+", name)
        node = tree
        for part, following in zip([first, *rest], rest, strict=False):
            node = node.setdefault(part, {})
            assert isinstance(node, dict), f"{name}: {following}"
        node[[first, *rest][-1]] = value
    listed: Json = _listed(tree)
    return listed


def _listed(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    read = {name: _listed(value) for name, value in node.items()}
    return list(read.values()) if read and all(name.isdigit() for name in read) else read


def serve(fake: StripeFake) -> ThreadingHTTPServer:
    """Serve a fake on a free port of 127.0.0.1, in threads of its own, until `shutdown`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65536  # headers and body in one packet: else each answer waits 40 ms for the other side's ACK

        def answer_call(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            names = {name.lower(): value for name, value in self.headers.items()}
            assert not body or names["content-type"] == "application/x-www-form-urlencoded"
            answer = fake.answer(self.command, self.path, body, names)
            if answer is None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            status, content, headers = answer
            payload = json.dumps(content).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = answer_call  # noqa: N815 - the names that the base class calls

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server
