"""Each of the four windows, and an answer's date, on the real server: T-1 s, T, T+1 s; worker up or down; Update or Signal."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from live_kit import DAY, MINUTE, SECOND, Live, sample_policy, until
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError

from domain.order import Actor, HistoryEntry, Status
from domain.views import OrderView

PARCEL = {"carrier": "Yamato", "tracking_number": "T-9"}


class Window(NamedTuple):
    """A window: what is asked of the order across its end, by whom, and what it says when it is too late."""

    name: str
    command: str
    actor: Actor
    fields: dict[str, Any]
    late: tuple[str, ...]
    after_early: tuple[Status, ...]
    after_late: tuple[Status, ...]
    card: str = "card-approve"


EDIT = Window("edit", "edit", Actor.BUYER, {}, ("EDIT_WINDOW_CLOSED",), (Status.UNSHIPPED,), (Status.UNSHIPPED,))
CANCEL = Window(
    "cancel", "cancel", Actor.BUYER, {}, ("CANCEL_WINDOW_CLOSED",), (Status.CANCELLED,), (Status.UNSHIPPED,)
)
PROCESSING = Window(
    "processing",
    "pay_again",
    Actor.BUYER,
    {"card": "card-approve"},
    ("ORDER_CANCELLED",),
    # Paid in time, but with the workers down not verified in time: the marketplace cancels (G6).
    (Status.UNSHIPPED, Status.CANCELLED),
    (Status.CANCELLED,),
    "card-decline",
)
CONFIRM = Window(
    "confirm",
    "ship",
    Actor.SELLER,
    PARCEL,
    ("CONFIRM_WINDOW_CLOSED", "ORDER_CANCELLED"),
    (Status.SHIPPED,),
    (Status.CANCELLED,),
)
ANSWER = Window(
    "answer",
    "send_message",
    Actor.BUYER,
    {"text": "Yes, it is."},
    ("ORDER_CANCELLED",),
    (Status.UNSHIPPED,),
    (Status.CANCELLED,),
)
WINDOWS = (EDIT, CANCEL, PROCESSING, CONFIRM, ANSWER)
OFFSETS = (-SECOND, timedelta(), SECOND)
RULES = pytest.mark.rule("E1", "E4", "C1", "C3", "C8", "C12", "G6", "S1")


def fields_for(window: Window, sku: str) -> dict[str, Any]:
    """Return the command's fields."""
    return {"lines": [{"sku": sku, "quantity": 1}]} if window is EDIT else window.fields


async def end_of(live: Live, number: str, window: Window, answer_within: timedelta) -> datetime:
    """Return the instant at which the window closes; the seller asks for an answer that many after placement."""
    order = await live.order(number)
    if window is not ANSWER:
        return next(each.closes_at for each in order.windows if each.name == window.name)
    end = order.placed_at + answer_within
    question = {"text": "Is the address right?", "answer_by": end.isoformat()}
    await live.do(number, "send_message", "seller", **question)
    return end


async def send(live: Live, number: str, window: Window, sku: str, at: datetime, channel: str, command_id: str) -> None:
    """Send the window's command stamped `at`, as a signal or through the starter's client; a refusal is kept for later."""
    fields = fields_for(window, sku)
    if channel == "signal":
        stamped = {"actor": window.actor.value, "id": command_id, "requested_at": at.isoformat(), **fields}
        with suppress(RPCError):  # the server refuses a signal to a closed order
            await live.signal(number, window.command, stamped)
        return
    try:
        await live.do(number, window.command, window.actor, command_id=command_id, requested_at=at, **fields)
    except Exception as error:  # noqa: BLE001 - what was answered is read from the order's history
        assert "[" in str(error), error


async def answer(live: Live, number: str, command_id: str) -> HistoryEntry | None:
    """Wait until the command is in the order's history, or the workflow is closed without it."""
    found: list[HistoryEntry] = []

    async def there() -> bool:
        closed = (await live.orders.describe(number)).status is not WorkflowExecutionStatus.RUNNING
        found.extend(each for each in await live.history(number) if each.command_id == command_id)
        return bool(found) or closed

    await until(there, "the command in the history")
    return found[0] if found else None


async def check(live: Live, number: str, window: Window, offset: timedelta, command_id: str) -> None:
    """The command was accepted exactly if it was asked for before the window's end, and the order is as it then must be."""
    early = offset < timedelta()
    expected = window.after_early if early else window.after_late
    entry = await answer(live, number, command_id)
    order = await until(lambda: _in(live, number, expected), f"{number} in {expected}")
    if entry is not None:
        assert entry.accepted is early, (window.name, offset, entry)
        assert early or (entry.refusal is not None and entry.refusal.code in window.late)
    else:
        # The order was closed before the command came: the client was told so, and nothing was changed.
        assert not early and order.status is Status.CANCELLED
    if order.status is Status.CANCELLED:
        await live.ended(number)
        assert (await live.held(number), await live.charged(number)) == (0, 0)


async def _in(live: Live, number: str, statuses: tuple[Status, ...]) -> OrderView | None:
    order = await live.order(number)
    settled = not (order.payment is not None and order.payment.status == "authorizing")
    return order if order.status in statuses and settled else None


@RULES
@pytest.mark.parametrize("channel", ["update", "signal"])
@pytest.mark.parametrize("offset", OFFSETS, ids=["T-1", "T", "T+1"])
@pytest.mark.parametrize("window", WINDOWS, ids=lambda each: each.name)
async def test_a_window_judges_by_when_it_was_asked_with_the_worker_up(
    live: Live, window: Window, offset: timedelta, channel: str
) -> None:
    """With the worker up, a command asked for before the end is carried out; at the end or later it is refused."""
    sku = live.sku()
    number = await live.place(items=(f"{sku}:2:1200:Cup",), card=window.card)
    end = await end_of(live, number, window, 2 * DAY)
    # At T and later the clock is beyond the window's end; the stamp says when it was asked.
    await live.travel_to(number, end + offset + (timedelta(milliseconds=300) if offset >= timedelta() else timedelta()))
    command_id = uuid4().hex
    await send(live, number, window, sku, end + offset, channel, command_id)
    await check(live, number, window, offset, command_id)
    # What was carried out in time still holds when the end has passed.
    await live.travel_to(number, end + 2 * SECOND)
    await check(live, number, window, offset, command_id)


@RULES
async def test_every_window_judges_by_when_it_was_asked_with_the_worker_down_across_its_end(live: Live) -> None:
    """With all workers down across the end, what was asked in time is served in time and what was late is refused."""
    raw = sample_policy().model_dump()
    raw["windows"] = {
        "edit_window": 15 * SECOND,
        "cancel_window": 16 * SECOND,
        "processing_window": 17 * SECOND,
        "confirm_window": 15 * SECOND,
        "shortest_answer_window": SECOND,
        "edit_extension_limit": DAY,
        "delivery_window": DAY,
        "return_window": DAY,
    }
    raw["sellers"]["S-100"]["handling_time"] = 2 * SECOND
    policy = type(sample_policy()).model_validate(raw)
    down = live.on_queue(f"down-{uuid4().hex}", policy)
    cases = [(w, o, c, uuid4().hex) for w in WINDOWS for o in OFFSETS for c in ("update", "signal")]
    # Only the seller of the confirm window's orders has a handling time of seconds; the others' orders stay unshipped.
    sku, other = live.sku(1000), live.sku(1000, "S-300")
    soon: dict[str, Any] = {"items": (f"{sku}:2:1200:Cup",)}
    later: dict[str, Any] = {"items": (f"{other}:2:1200:Cup",), "seller": "S-300", "marketplace": "US"}
    async with live.worker(down.orders._task_queue):
        numbers = await asyncio.gather(
            *(down.place(card=w.card, **(soon if w is CONFIRM else later)) for w, *_ in cases)
        )
        ends = await asyncio.gather(
            *(end_of(down, number, w, 17 * SECOND) for number, (w, *_) in zip(numbers, cases, strict=True))
        )
    assert datetime.now(UTC) < min(ends) - SECOND, "the machine was too slow to stop the worker in time"
    await asyncio.gather(
        *(
            send(down, number, window, sku if window is CONFIRM else other, end + offset, channel, command_id)
            for number, end, (window, offset, channel, command_id) in zip(numbers, ends, cases, strict=True)
        )
    )
    await asyncio.sleep((max(ends) + 2 * SECOND - datetime.now(UTC)).total_seconds())
    async with live.worker(down.orders._task_queue):
        await asyncio.gather(
            *(
                check(down, number, window, offset, command_id)
                for number, (window, offset, _, command_id) in zip(numbers, cases, strict=True)
            )
        )


@pytest.mark.rule("C2")
@pytest.mark.parametrize(("offset", "expected"), [(-SECOND, "cancelled"), (timedelta(), "CANCEL_WINDOW_CLOSED")])
async def test_a_sellers_longer_auto_approval_window_holds(live: Live, offset: timedelta, expected: str) -> None:
    """A seller with 120 minutes of auto-approval has a buyer's cancellation approved at once until then."""
    number = await live.place(seller="S-200", marketplace="IT")
    placed = (await live.order(number)).placed_at
    await live.travel_to(number, placed + 120 * MINUTE + offset + timedelta(milliseconds=200) * (offset >= timedelta()))
    if expected == "cancelled":
        await live.do(number, "request_cancellation", "buyer", reason="changed_mind")
        assert (await live.order(number)).status is Status.CANCELLED
    else:
        assert await live.refused(number, "cancel", "buyer") == expected


@pytest.mark.rule("A10", "A9")
async def test_an_order_that_is_never_delivered_counts_as_delivered_and_completes(live: Live) -> None:
    """21 days after the confirmation the order counts as delivered, 30 days later it is completed, at those instants."""
    number = await live.place()
    await live.ship(number)
    confirmed = (await live.order(number)).shipments[0].confirmed_at
    await live.travel_to(number, confirmed + 21 * DAY - 2 * SECOND)
    assert (await live.order(number)).status is Status.SHIPPED
    await live.travel(number, 3 * SECOND)
    delivered = await live.reaches(number, Status.DELIVERED)
    assert delivered.delivered_at == confirmed + 21 * DAY
    await live.travel(number, 30 * DAY)
    completed = await live.reaches(number, Status.COMPLETED)
    assert completed.completed_at == confirmed + 51 * DAY
