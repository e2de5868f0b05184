"""What the payment provider has in its books, asked over HTTP; nothing is moved.

Policy: R6, R7.
"""

import asyncio
from datetime import datetime
from typing import TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from starter.client import UnreachableError

T = TypeVar("T")
AT_ONCE = 8
"""Questions that are put to the provider at the same time."""


class Held(BaseModel):
    """A reference of an order as the provider answers it, in minor units; other fields are ignored."""

    reference: str
    status: str
    amount_minor: int | None = None
    captured_minor: int = 0


class Repaid(BaseModel):
    """A refund as the provider answers it; other fields are ignored."""

    reference: str
    amount_minor: int
    status: str


class _Captured(BaseModel):
    captured_minor: int


class _Balances(BaseModel):
    currencies: dict[str, _Captured]


class ProviderBooks:
    """What the payment provider has in its books, asked over `http`; raises UnreachableError where it does not answer."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def payments(self, order_number: str, at: datetime) -> list[Held]:
        """Return the references of an order as they stand at `at`, the order's own clock."""
        return await self._get("/authorizations", TypeAdapter(list[Held]), order_number, at)

    async def refunds(self, order_number: str, at: datetime) -> list[Repaid]:
        """Return the refunds of an order."""
        return await self._get("/refunds", TypeAdapter(list[Repaid]), order_number, at)

    async def captured(self) -> dict[str, int]:
        """Return what is charged and not paid back in all, in minor units by currency."""
        found = await self._get("/balances", TypeAdapter(_Balances))
        return {currency: each.captured_minor for currency, each in found.currencies.items()}

    async def _get(
        self, path: str, form: TypeAdapter[T], order_number: str | None = None, at: datetime | None = None
    ) -> T:
        # By the real clock, which may be years ahead of the order's own, holds would lapse that the order counts on.
        headers = {} if at is None else {"Sandbox-Clock": at.isoformat()}
        parameters = {} if order_number is None else {"order_number": order_number}
        try:
            async with self._gate:
                response = await self._http.get(path, params=parameters, headers=headers)
            response.raise_for_status()
            return form.validate_json(response.content)
        except (httpx.HTTPError, ValidationError) as error:
            told = "unreadable" if isinstance(error, ValidationError) else str(error)
            fact = told.partition("\n")[0] or type(error).__name__
            raise UnreachableError(
                f"the payment provider at {self._http.base_url} has no proper answer to {path} ({fact}); "
                "check PAYMENT_PROVIDER_URL, or start the stack"
            ) from None
