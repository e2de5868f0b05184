"""The engine's client for the payment provider: holds, charges and voids over HTTP."""

from enum import StrEnum
from typing import Protocol

import httpx
from pydantic import BaseModel, ValidationError

from domain.base import Instant
from domain.effects import Authorize, Capture, Outcome, Result, Void

_ASK_AGAIN_STATUSES = frozenset({408, 425, 429})


class ProviderUnavailable(Exception):  # noqa: N818 - names the provider's condition, not a mistake
    """The provider could not be reached or did not answer properly: its outcome is unknown, ask again."""


class ProviderContractError(Exception):
    """The provider refused a request that a correct engine never sends: a bug on our side, asking again is no use."""


class PaymentProvider(Protocol):
    """Holds, charges and releases money on cards; every call may be repeated with the same request.

    Every method raises ProviderUnavailable when the outcome is unknown, and ProviderContractError for a request that
    contradicts an earlier one.
    """

    async def authorize(self, request: Authorize) -> Outcome:
        """Hold `amount_minor` on the card: AUTHORIZED with `expires_at`, DECLINED with `decline_code`, or VOIDED."""
        ...

    async def capture(self, request: Capture) -> Outcome:
        """Charge `amount_minor` of the hold: CAPTURED, DECLINED with `decline_code`, LAPSED or VOIDED."""
        ...

    async def void(self, request: Void) -> Outcome:
        """Make sure that nothing is or will be held or charged under the reference: VOIDED."""
        ...


class _Status(StrEnum):
    AUTHORIZED = "authorized"
    DECLINED = "declined"
    VOIDED = "voided"
    LAPSED = "lapsed"
    CAPTURED = "captured"


class _State(BaseModel):
    """A reference as the provider answers it; other fields are ignored."""

    reference: str
    status: _Status
    decline_code: str | None = None
    expires_at: Instant | None = None


class _Problem(BaseModel):
    """A refusal as the provider answers it; other fields are ignored."""

    error: str = ""
    message: str = ""
    decline_code: str | None = None


class HttpPaymentProvider:
    """The payment provider at `base_url`; `timeout` bounds each wait on the network, in seconds."""

    def __init__(self, base_url: str, *, timeout: float = 10.0) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, timeout=timeout)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def authorize(self, request: Authorize) -> Outcome:
        """Hold `amount_minor` on the card: AUTHORIZED with `expires_at`, DECLINED with `decline_code`, or VOIDED.

        A repeated request gets the first answer: a hold that lapsed or was charged since is still AUTHORIZED, with the
        `expires_at` it had. Raises ProviderUnavailable, ProviderContractError.
        """
        fields = {"reference", "amount_minor", "currency", "card", "order_number"}
        response = await self._post("/authorizations", request.model_dump(include=fields), request.at)
        state = _read_state(response, request.reference)
        if state.status is _Status.DECLINED:
            return Outcome(result=Result.DECLINED, reference=request.reference, decline_code=state.decline_code)
        if state.status is _Status.VOIDED:
            return Outcome(result=Result.VOIDED, reference=request.reference)
        if state.expires_at is None:
            raise _unavailable("/authorizations", "a hold without expires_at", request.reference)
        return Outcome(result=Result.AUTHORIZED, reference=request.reference, expires_at=state.expires_at)

    async def capture(self, request: Capture) -> Outcome:
        """Charge `amount_minor` of the hold: CAPTURED, DECLINED with `decline_code`, LAPSED or VOIDED.

        Raises ProviderUnavailable, ProviderContractError.
        """
        body = request.model_dump(include={"reference", "amount_minor"})
        key = f"{request.reference}/capture"
        response = await self._post("/captures", body, request.at, key=key, expected=frozenset({402, 409}))
        if response.status_code == 200:
            _expect(_read_state(response, request.reference), _Status.CAPTURED, "/captures")
            return Outcome(result=Result.CAPTURED, reference=request.reference)
        problem = _read_problem(response)
        results = {"declined": Result.DECLINED, "lapsed": Result.LAPSED, "voided": Result.VOIDED}
        if problem.error not in results:
            raise _contract_error(response, request.reference)
        return Outcome(result=results[problem.error], reference=request.reference, decline_code=problem.decline_code)

    async def void(self, request: Void) -> Outcome:
        """Make sure that nothing is or will be held or charged under the reference: VOIDED.

        Raises ProviderUnavailable, ProviderContractError.
        """
        response = await self._post("/voids", request.model_dump(include={"reference", "order_number"}), request.at)
        _expect(_read_state(response, request.reference), _Status.VOIDED, "/voids")
        return Outcome(result=Result.VOIDED, reference=request.reference)

    async def _post(
        self,
        path: str,
        body: dict[str, object],
        at: Instant,
        *,
        key: str | None = None,
        expected: frozenset[int] = frozenset(),
    ) -> httpx.Response:
        """Send one request and return its answer: 200 or an `expected` status."""
        headers = {"Sandbox-Clock": at.isoformat()}
        if key is not None:
            headers["Idempotency-Key"] = key
        reference = str(body["reference"])
        try:
            response = await self._http.post(path, json=body, headers=headers)
        except httpx.RequestError as error:
            raise _unavailable(path, f"no answer ({type(error).__name__}: {error})", reference) from error
        status = response.status_code
        if status == 200 or status in expected:
            return response
        if 400 <= status < 500 and status not in _ASK_AGAIN_STATUSES:
            raise _contract_error(response, reference)
        raise _unavailable(path, f"status {status}", reference)


def _unavailable(path: str, fact: str, reference: str) -> ProviderUnavailable:
    return ProviderUnavailable(
        f"payment provider, {path}: {fact}; the outcome of {reference} is unknown, "
        "repeat the same request until it is answered"
    )


def _contract_error(response: httpx.Response, reference: str) -> ProviderContractError:
    return ProviderContractError(
        f"payment provider, {response.request.url.path}: refused {reference} with status {response.status_code}: "
        f"{response.text[:500]}; repeating it will not help, the request itself must be corrected"
    )


def _read_state(response: httpx.Response, reference: str) -> _State:
    """Read an answer about `reference`; anything else is no proper answer."""
    path = response.request.url.path
    try:
        state = _State.model_validate_json(response.content)
    except ValidationError as error:
        raise _unavailable(path, f"unreadable answer with status {response.status_code}", reference) from error
    if state.reference != reference:
        raise _unavailable(path, f"an answer about {state.reference!r}", reference)
    return state


def _read_problem(response: httpx.Response) -> _Problem:
    """Read a refusal; an unreadable one counts as a refusal without a name."""
    try:
        return _Problem.model_validate_json(response.content)
    except ValidationError:
        return _Problem()


def _expect(state: _State, status: _Status, path: str) -> None:
    if state.status is not status:
        raise _unavailable(path, f"status {state.status} where {status} was due", state.reference)
