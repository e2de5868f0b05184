"""The engine's client for the payment provider: holds, charges, voids, refunds and questions over HTTP."""

from enum import StrEnum
from typing import Protocol, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from domain.base import WALLET_PREFIX, Instant
from domain.effects import Ask, Authorize, Capture, CashReturn, Outcome, PayRefund, Result, Void
from domain.refund import PaymentMethod, RefundStatus

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
        """Hold `amount_minor` on the card: AUTHORIZED with `expires_at`, DECLINED with `decline_code`, or VOIDED.

        With `method` konbini: AWAITING with `number` and `due_at` until it is paid, then AUTHORIZED. Points are not looked at.
        """
        ...

    async def capture(self, request: Capture) -> Outcome:
        """Charge `amount_minor` of the hold: CAPTURED, DECLINED with `decline_code`, LAPSED or VOIDED.

        What a convenience store took above it is paid back, and told as `cash_return`.
        """
        ...

    async def void(self, request: Void) -> Outcome:
        """Make sure that nothing is or will be held or charged under the reference: VOIDED.

        What a convenience store took is paid back, and told as `cash_return`; `ask` tells how that refund goes on.
        """
        ...

    async def refund(self, request: PayRefund) -> Outcome:
        """Pay back part of a charge, once per reference.

        REFUND_PENDING with `expected_at`, REFUND_PAID, or REFUND_FAILED with `decline_code`.
        """
        ...

    async def ask(self, request: Ask) -> Outcome:
        """Tell how a reference stands, moving nothing.

        A payment: AWAITING with `number` and `due_at`, AUTHORIZED, CAPTURED, DECLINED, LAPSED or VOIDED. A refund: as `refund`
        answers. A reference that the provider does not know: UNANSWERED.
        """
        ...


class _Status(StrEnum):
    AWAITING = "awaiting"
    AUTHORIZED = "authorized"
    DECLINED = "declined"
    VOIDED = "voided"
    LAPSED = "lapsed"
    CAPTURED = "captured"


class _RefundStatus(StrEnum):
    PENDING = "pending"
    PAID = "paid"
    FAILED = "failed"


class _RefundState(BaseModel):
    """A refund as the provider answers it; other fields are ignored."""

    reference: str
    amount_minor: int
    status: _RefundStatus
    failure_code: str | None = None
    expected_at: Instant | None = None


class _State(BaseModel):
    """A payment as the provider answers it; other fields are ignored."""

    reference: str
    status: _Status
    decline_code: str | None = None
    expires_at: Instant | None = None
    number: str | None = None
    due_at: Instant | None = None
    cash_return: _RefundState | None = None


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
        """Hold `amount_minor` on the card or wallet, or issue the number of a convenience-store payment.

        A card: AUTHORIZED with `expires_at`, DECLINED with `decline_code`, or VOIDED; a repeated request gets the first
        answer, so a hold that lapsed or was charged since is still AUTHORIZED, with the `expires_at` it had. A wallet likewise,
        but it never lapses. A convenience store: AWAITING with `number` and `due_at`, AUTHORIZED, LAPSED or VOIDED as it
        stands now. Raises ProviderUnavailable, ProviderContractError. Policy: P5.
        """
        konbini = request.method is PaymentMethod.KONBINI
        body = request.model_dump(include={"reference", "amount_minor", "currency", "order_number"})
        if konbini:
            body |= {"method": "konbini", "due_at": request.due_at.isoformat() if request.due_at else None}
        else:
            body["card"] = request.card
        state = _read(_State, await self._post("/authorizations", body, request.at), request.reference)
        held = {_Status.AUTHORIZED, _Status.CAPTURED} | (set() if konbini else {_Status.LAPSED})
        if state.status not in held:
            return _payment_outcome(state, "/authorizations")
        if state.expires_at is None and not konbini and not request.card.startswith(WALLET_PREFIX):
            raise unavailable("/authorizations", "a hold without expires_at", request.reference)
        return _payment_outcome(state.model_copy(update={"status": _Status.AUTHORIZED}), "/authorizations")

    async def capture(self, request: Capture) -> Outcome:
        """Charge `amount_minor` of the hold: CAPTURED, DECLINED with `decline_code`, LAPSED or VOIDED.

        Raises ProviderUnavailable, ProviderContractError.
        """
        body = request.model_dump(include={"reference", "amount_minor"})
        key = f"{request.reference}/capture"
        response = await self._post("/captures", body, request.at, key=key, expected=frozenset({402, 409}))
        if response.status_code == 200:
            return _ended(_read(_State, response, request.reference), _Status.CAPTURED, "/captures")
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
        return _ended(_read(_State, response, request.reference), _Status.VOIDED, "/voids")

    async def refund(self, request: PayRefund) -> Outcome:
        """Pay `amount_minor` of a charge back, once per reference, as often as it is asked.

        REFUND_PENDING with `expected_at`, REFUND_PAID, or REFUND_FAILED with `decline_code`. Raises ProviderUnavailable, and
        ProviderContractError for more than is left of the charge. Policy: R2, R6.
        """
        body = request.model_dump(include={"reference", "payment_reference", "amount_minor", "order_number"})
        response = await self._post("/refunds", body, request.at)
        return _refund_outcome(_read(_RefundState, response, request.reference), "/refunds")

    async def ask(self, request: Ask) -> Outcome:
        """Tell how a payment or a refund stands, moving nothing; UNANSWERED when the provider does not know it.

        Raises ProviderUnavailable, ProviderContractError. Policy: R6.
        """
        path = "/refunds" if request.refund else "/authorizations"
        question = self._http.build_request(
            "GET", path, params={"reference": request.reference}, headers=_clock_header(request.at)
        )
        response = await self._send(question, request.reference, expected=frozenset({404}))
        if response.status_code == 404:
            if _read_problem(response).error != "unknown_reference":
                raise _contract_error(response, request.reference)
            return Outcome(result=Result.UNANSWERED, reference=request.reference)
        if request.refund:
            return _refund_outcome(_read(_RefundState, response, request.reference), path)
        return _payment_outcome(_read(_State, response, request.reference), path)

    async def _post(
        self,
        path: str,
        body: dict[str, object],
        at: Instant,
        *,
        key: str | None = None,
        expected: frozenset[int] = frozenset(),
    ) -> httpx.Response:
        headers = _clock_header(at) | ({"Idempotency-Key": key} if key is not None else {})
        request = self._http.build_request("POST", path, json=body, headers=headers)
        return await self._send(request, str(body["reference"]), expected=expected)

    async def _send(self, request: httpx.Request, reference: str, *, expected: frozenset[int]) -> httpx.Response:
        """Send one request and return its answer: 200 or an `expected` status."""
        path = request.url.path
        try:
            response = await self._http.send(request)
        except httpx.RequestError as error:
            raise unavailable(path, f"no answer ({type(error).__name__}: {error})", reference) from error
        status = response.status_code
        if status == 200 or status in expected:
            return response
        if 400 <= status < 500 and status not in _ASK_AGAIN_STATUSES:
            raise _contract_error(response, reference)
        raise unavailable(path, f"status {status}", reference)


def _clock_header(at: Instant) -> dict[str, str]:
    return {"Sandbox-Clock": at.isoformat()}


def _payment_outcome(state: _State, path: str) -> Outcome:
    """Tell a payment as it stands."""
    outcome = Outcome(result=Result(state.status.value), reference=state.reference)
    at_shop = {"number": state.number, "due_at": state.due_at}
    match state.status:
        case _Status.AWAITING:
            if state.number is None or state.due_at is None:
                raise unavailable(path, "a convenience-store payment without number or due_at", state.reference)
            return outcome.model_copy(update=at_shop)
        case _Status.AUTHORIZED:
            return outcome.model_copy(update={"expires_at": state.expires_at, **at_shop})
        case _Status.DECLINED:
            return outcome.model_copy(update={"decline_code": state.decline_code})
        case _:
            return outcome


def _refund_outcome(state: _RefundState, path: str) -> Outcome:
    """Tell a refund as it stands."""
    match state.status:
        case _RefundStatus.PENDING:
            if state.expected_at is None:
                raise unavailable(path, "a pending refund without expected_at", state.reference)
            return Outcome(result=Result.REFUND_PENDING, reference=state.reference, expected_at=state.expected_at)
        case _RefundStatus.PAID:
            return Outcome(result=Result.REFUND_PAID, reference=state.reference)
        case _RefundStatus.FAILED:
            return Outcome(result=Result.REFUND_FAILED, reference=state.reference, decline_code=state.failure_code)


def unavailable(where: str, fact: str, reference: str) -> ProviderUnavailable:
    """Return the error that says what failed at the provider, at which place, and that nothing is known about `reference`."""
    return ProviderUnavailable(
        f"payment provider, {where}: {fact}; the outcome of {reference} is unknown, "
        "repeat the same request until it is answered"
    )


def _contract_error(response: httpx.Response, reference: str) -> ProviderContractError:
    return ProviderContractError(
        f"payment provider, {response.request.url.path}: refused {reference} with status {response.status_code}: "
        f"{response.text[:500]}; repeating it will not help, the request itself must be corrected"
    )


_Answered = TypeVar("_Answered", _State, _RefundState)


def _read(kind: type[_Answered], response: httpx.Response, reference: str) -> _Answered:
    """Read an answer about `reference`; anything else is no proper answer."""
    path = response.request.url.path
    try:
        state = kind.model_validate_json(response.content)
    except ValidationError as error:
        raise unavailable(path, f"unreadable answer with status {response.status_code}", reference) from error
    if state.reference != reference:
        raise unavailable(path, f"an answer about {state.reference!r}", reference)
    return state


def _read_problem(response: httpx.Response) -> _Problem:
    """Read a refusal; an unreadable one counts as a refusal without a name."""
    try:
        return _Problem.model_validate_json(response.content)
    except ValidationError:
        return _Problem()


def _ended(state: _State, status: _Status, path: str) -> Outcome:
    """Tell a charge or void that was carried out, and the cash that goes back with it."""
    if state.status is not status:
        raise unavailable(path, f"status {state.status} where {status} was due", state.reference)
    back = state.cash_return
    cash_return = (
        None if back is None else CashReturn(**{**back.model_dump(), "status": RefundStatus(back.status.value)})
    )
    return Outcome(result=Result(status.value), reference=state.reference, cash_return=cash_return)
