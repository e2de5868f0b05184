"""The routes of the payment provider: what the engine asks, what a shop does, and the switches of a test."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from sandbox.provider_bodies import (
    AuthorizationBody,
    CalendarInstant,
    CaptureBody,
    CardBody,
    EndpointBody,
    Fault,
    IdempotencyKey,
    RefundBody,
    SettleBody,
    ShopPaymentBody,
    VoidBody,
    WebhookFaultBody,
)
from sandbox.provider_edge import Switchboard, error_response, json_response
from sandbox.provider_konbini import Shops
from sandbox.provider_refunds import RefundRequest, Refunds
from sandbox.provider_store import Ledger
from sandbox.provider_tables import Answer, Clock, Payment, RefundStatus, Wait, iso
from sandbox.provider_webhooks import Courier, Outbox


class Parts:
    """The parts of a running provider; `wait_seconds` are the delays of the slow and hanging cards."""

    courier: Courier

    def __init__(
        self, ledger: Ledger, shops: Shops, refunds: Refunds, outbox: Outbox, wait_seconds: dict[Wait, float]
    ) -> None:
        self.ledger, self.shops, self.refunds, self.outbox = ledger, shops, refunds, outbox
        self.wait_seconds = wait_seconds
        self.switchboard = Switchboard()


def _read_clock(sandbox_clock: Annotated[CalendarInstant | None, Header()] = None) -> Clock:
    if sandbox_clock is None:
        return Clock(datetime.now(UTC), own=True)
    return Clock(sandbox_clock, own=False)


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


RequestClock = Annotated[Clock, Depends(_read_clock)]
TheParts = Annotated[Parts, Depends(_parts)]
OneReference = Annotated[str | None, Query(max_length=120)]
OneOrder = Annotated[str | None, Query(max_length=60)]
router = APIRouter()


async def _answer(parts: Parts, operation: Callable[..., Answer], *arguments: object) -> Response:
    """Run an operation, keep its answer back as long as it says, and write it."""
    answer = await run_in_threadpool(operation, *arguments)
    await asyncio.sleep(parts.wait_seconds[answer.wait])
    return json_response(answer.status, answer.body)


@router.get("/health")
async def show_health() -> dict[str, str]:
    """Say that the provider is up."""
    return {"status": "ok"}


@router.post("/authorizations")
async def authorize(body: AuthorizationBody, parts: TheParts, clock: RequestClock) -> Response:
    """Hold money on a card or wallet, or issue the number of a convenience-store payment."""
    due_at = None if body.due_at is None else iso(body.due_at)
    payment = Payment(**body.model_dump(exclude={"due_at", "method"}), method=body.method.value, due_at=due_at)
    return await _answer(parts, parts.ledger.authorize, payment, clock)


@router.post("/captures")
async def capture(body: CaptureBody, key: IdempotencyKey, parts: TheParts, clock: RequestClock) -> Response:
    """Charge a hold."""
    return await _answer(parts, parts.ledger.capture, body.reference, body.amount_minor, key, clock)


@router.post("/voids")
async def void(body: VoidBody, parts: TheParts, clock: RequestClock) -> Response:
    """Release or reverse everything under a reference."""
    return await _answer(parts, parts.ledger.void, body.reference, body.order_number, clock)


@router.get("/authorizations")
async def show_authorizations(
    parts: TheParts, clock: RequestClock, reference: OneReference = None, order_number: OneOrder = None
) -> Response:
    """Show the state of one reference, or a list of an order's references."""
    if reference is not None and order_number is None:
        return await _answer(parts, parts.ledger.find, reference, clock)
    if order_number is not None and reference is None:
        return json_response(200, await run_in_threadpool(parts.ledger.find_order, order_number, clock))
    return error_response(422, "invalid", "give either reference or order_number")


@router.post("/konbini/payments")
async def pay_at_shop(body: ShopPaymentBody, parts: TheParts, clock: RequestClock) -> Response:
    """Pay a number at a convenience store: what the buyer does there."""
    return await _answer(parts, parts.shops.pay, body.number, body.late, clock)


@router.post("/refunds")
async def refund(body: RefundBody, parts: TheParts, clock: RequestClock) -> Response:
    """Pay part of a charge back."""
    return await _answer(parts, parts.refunds.request, RefundRequest(**body.model_dump()), clock)


@router.get("/refunds")
async def show_refunds(parts: TheParts, reference: OneReference = None, order_number: OneOrder = None) -> Response:
    """Show the state of one refund, or a list of an order's refunds."""
    if reference is not None and order_number is None:
        return await _answer(parts, parts.refunds.find, reference)
    if order_number is not None and reference is None:
        return json_response(200, await run_in_threadpool(parts.refunds.find_order, order_number))
    return error_response(422, "invalid", "give either reference or order_number")


@router.post("/refunds/settle")
async def settle_refund(body: SettleBody, parts: TheParts, clock: RequestClock) -> Response:
    """End a pending refund: a switch for tests."""
    return await _answer(parts, parts.refunds.settle, body.reference, RefundStatus(body.status), clock)


@router.get("/log")
async def show_log(parts: TheParts, order_number: OneOrder = None) -> Response:
    """Show what the provider did, oldest first."""
    return json_response(200, await run_in_threadpool(parts.ledger.log, order_number))


@router.get("/balances")
async def show_balances(parts: TheParts, clock: RequestClock) -> Response:
    """Show what is held and charged, in minor units: in sum by currency, and account by account."""
    cards = await run_in_threadpool(parts.ledger.accounts, clock)
    currencies: dict[str, dict[str, int]] = {}
    for card in cards:
        total = currencies.setdefault(card["currency"], {"held_minor": 0, "captured_minor": 0})
        for name in total:
            total[name] += card[name]
    return json_response(200, {"currencies": currencies, "cards": cards})


@router.post("/cards")
async def set_card_limit(body: CardBody, parts: TheParts) -> Response:
    """Set the limit of a card or wallet."""
    return await _answer(parts, parts.ledger.set_limit, body.card, body.currency, body.limit_minor)


@router.post("/faults")
async def add_fault(body: Fault, parts: TheParts) -> list[Fault]:
    """Switch a fault on and list all."""
    parts.switchboard.faults.append(body)
    return parts.switchboard.faults


@router.get("/faults")
async def show_faults(parts: TheParts) -> list[Fault]:
    """List the faults that are on."""
    return parts.switchboard.faults


@router.delete("/faults")
async def clear_faults(parts: TheParts) -> list[Fault]:
    """Switch every fault off."""
    parts.switchboard.faults.clear()
    return parts.switchboard.faults


@router.put("/webhooks")
async def set_endpoint(body: EndpointBody, parts: TheParts) -> dict[str, str | None]:
    """Set where webhooks go; those in the outbox are sent at once."""
    url = None if body.url is None else str(body.url)
    await run_in_threadpool(parts.outbox.configure, url, body.secret)
    parts.courier.try_now()
    return {"url": url}


@router.get("/webhooks")
async def show_webhooks(parts: TheParts, order_number: OneOrder = None) -> Response:
    """List the outbox, oldest first, of one order or of all."""
    return json_response(200, await run_in_threadpool(parts.outbox.events, order_number))


@router.post("/webhooks/faults")
async def add_webhook_fault(body: WebhookFaultBody, parts: TheParts) -> list[str]:
    """Say what goes wrong with the next events, and list all that will."""
    parts.outbox.faults.extend([body.kind] * body.count)
    return list(parts.outbox.faults)


@router.get("/webhooks/faults")
async def show_webhook_faults(parts: TheParts) -> list[str]:
    """List what will go wrong with the next events."""
    return list(parts.outbox.faults)


@router.delete("/webhooks/faults")
async def clear_webhook_faults(parts: TheParts) -> list[str]:
    """Let nothing more go wrong."""
    parts.outbox.faults.clear()
    return []
