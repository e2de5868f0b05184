"""What reaches an order on the real server by hand, by old clients and in floods: nothing fails, blocks or is lost."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from live_kit import DAY, SECOND, Live, open_live, sample_policy, until
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from domain.order import Actor, Status
from sandbox.stack import Stack
from workflows.inputs import OrderInput

GARBAGE: list[tuple[str, list[Any], str]] = [
    ("cancel", [], "INVALID_COMMAND"),
    ("cancel", [{}], "INVALID_COMMAND"),
    ("cancel", ["cancel please"], "INVALID_COMMAND"),
    ("cancel", [{"actor": "buyer"}, {"actor": "seller"}], "INVALID_COMMAND"),
    ("cancel", [{"actor": "king"}], "INVALID_COMMAND"),
    ("cancel", [{"actor": "buyer", "surprise": 1}], "INVALID_COMMAND"),
    ("cancel", [{"actor": "buyer", "requested_at": "2026-02-31T00:00:00Z"}], "INVALID_COMMAND"),
    ("cancel", [{"actor": "buyer", "requested_at": "2026-03-01T12:00:00"}], "INVALID_COMMAND"),
    ("edit", [{"actor": "buyer", "lines": [{"sku": "X", "quantity": -1}]}], "INVALID_COMMAND"),
    ("edit", [{"actor": "buyer", "lines": [{"sku": "X", "quantity": 1.5}]}], "INVALID_COMMAND"),
    ("ship", [{"actor": "seller", "carrier": "A\r\nBcc: x@y.zz", "tracking_number": "1"}], "INVALID_COMMAND"),
    ("ship", [{"actor": "seller", "carrier": "A" * 70_000, "tracking_number": "1"}], "INVALID_COMMAND"),
    ("fly", [{"actor": "seller"}], "UNKNOWN_COMMAND"),
    ("flag_oversold", [{"actor": "buyer"}], "NOT_ALLOWED"),
    ("accept_cancellation", [{"actor": "buyer"}], "NOT_ALLOWED"),
]


@pytest.mark.rule("D3")
async def test_garbage_by_signal_or_update_is_refused_in_the_history_and_changes_nothing(live: Live) -> None:
    """Malformed, unknown, oversized and illegal messages leave the order as it was, each in its history with its code."""
    number = await live.place()
    handle = live.orders.handle(number)
    before = await live.order(number)
    for name, args, code in GARBAGE:
        await handle.signal(name, args=args)
        with pytest.raises(WorkflowUpdateFailedError) as failed:
            await handle.execute_update(name, args=args)
        assert isinstance(failed.value.cause, ApplicationError)
        assert failed.value.cause.type == code, (name, args)
    after = await live.order(number)
    unchanged = ("status", "version", "lines", "payment", "flags", "shipments", "cancellation", "request")
    assert all(getattr(after, name) == getattr(before, name) for name in unchanged)
    refused = [each for each in await live.history(number) if not each.accepted]
    assert [each.refusal.code for each in refused if each.refusal] == [code for _, _, code in GARBAGE for _ in range(2)]
    await live.do(number, "cancel", "buyer")
    await live.ended(number)


@pytest.mark.rule("D3")
async def test_a_command_id_has_one_effect_and_one_answer(live: Live) -> None:
    """The same id again is answered as before and does nothing; the same id for another command is refused."""
    number = await live.place()
    first = await live.do(number, "extend_edit", "operator", minutes=5, command_id="once")
    again = await live.do(number, "extend_edit", "operator", minutes=5, command_id="once")
    assert first.order is not None and again.order is not None
    assert first.order.windows[0].closes_at == again.order.windows[0].closes_at
    handle = live.orders.handle(number)
    other = {"actor": "operator", "id": "once", "minutes": 9}
    with pytest.raises(WorkflowUpdateFailedError) as failed:
        await handle.execute_update("extend_edit", other)
    assert isinstance(failed.value.cause, ApplicationError) and failed.value.cause.type == "COMMAND_ID_REUSED"
    late = {"actor": "seller", "id": "never"}
    for _ in range(2):
        assert await live.refused(number, "accept_cancellation", "seller", command_id="never") == "NO_OPEN_REQUEST"
        await live.signal(number, "accept_cancellation", late)
    assert len([each for each in await live.history(number) if each.command_id == "never"]) == 1


async def test_a_placement_that_cannot_be_read_ends_at_once_with_its_errors(live: Live) -> None:
    """A hand-typed or old placement fails its workflow with INVALID_PLACEMENT instead of blocking it for ever."""
    good = OrderInput().model_dump(mode="json")
    given: Any
    for given in (None, 7, {"place": {"placement": {}}}, good):
        handle = await live.orders.temporal.start_workflow(
            "order", given, id=f"order-{uuid4().hex}", task_queue=live.settings.task_queue
        )
        with pytest.raises(WorkflowFailureError) as failed:
            await asyncio.wait_for(handle.result(), 20)
        assert isinstance(failed.value.cause, ApplicationError)
        assert failed.value.cause.type == "INVALID_PLACEMENT"


@pytest.mark.rule("C9")
async def test_a_state_that_a_worker_cannot_read_fails_no_order(live: Live) -> None:
    """A state carried over by a newer worker waits for one that can read it; it is not refused like a placement."""
    handle = await live.orders.temporal.start_workflow(
        "order", {"carried": {"order": {}}}, id=f"order-{uuid4().hex}", task_queue=live.settings.task_queue
    )

    async def task_failed() -> bool:
        return any(
            event.HasField("workflow_task_failed_event_attributes") for event in (await handle.fetch_history()).events
        )

    await until(task_failed, "the failed workflow task")
    assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    await handle.terminate()


@pytest.mark.rule("C9")
async def test_pressing_cancel_on_the_workflow_cancels_no_order(live: Live) -> None:
    """A workflow cancellation from the Temporal UI is noted in the history, and the order goes on."""
    number = await live.place()
    await live.orders.handle(number).cancel()
    entry = await live.entry(number, "workflow cancellation")
    assert not entry.accepted
    await live.ship(number)
    assert (await live.order(number)).status is Status.SHIPPED


@pytest.mark.rule("D3")
async def test_a_bug_in_one_command_is_refused_and_the_order_goes_on(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When deciding a command raises, that command is refused as ENGINE_ERROR, nothing moves, the next one is taken."""
    number = await live.place()
    before = await live.order(number)

    def broken(*_: object) -> None:
        raise KeyError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr("domain.journal.decide", broken)
        with pytest.raises(WorkflowUpdateFailedError) as failed:
            await live.orders.handle(number).execute_update("cancel", {"actor": "buyer", "id": "hit"})
        assert isinstance(failed.value.cause, ApplicationError) and failed.value.cause.type == "ENGINE_ERROR"
    after = await live.order(number)
    assert (after.status, after.version, after.payment) == (before.status, before.version, before.payment)
    await live.do(number, "cancel", "buyer")
    await live.ended(number)
    assert await live.log(number) == ["authorize", "void"]


@pytest.mark.rule("D3", "C1", "A9")
async def test_an_order_that_continues_as_new_loses_no_command_and_no_id(tmp_path: Path) -> None:
    """Under a flood the run ends and goes on in a new one: every queued command is decided, ids and history stay."""
    option = "--dynamic-config-value=limit.historyCount.suggestContinueAsNew=60"
    stack = Stack(tmp_path, ui_port=None, server_options=(option,))
    await stack.start(with_worker=False)
    try:
        async with open_live(stack) as live:
            number = await live.place()
            handle = live.orders.handle(number)
            await live.do(number, "extend_edit", "operator", minutes=7, command_id="kept")
            first_run = (await live.orders.describe(number)).run_id
            for start in range(0, 120, 20):
                flood = [{"actor": "seller", "id": f"f-{start + index}"} for index in range(20)]
                await asyncio.gather(*(handle.signal("accept_cancellation", each) for each in flood))

            async def all_decided() -> bool:
                return len([each for each in await live.history(number) if each.name == "accept_cancellation"]) == 120

            await until(all_decided, "the whole flood in the history")
            assert (await live.orders.describe(number)).run_id != first_run
            reply = await live.do(number, "extend_edit", "operator", minutes=7, command_id="kept")
            assert reply.order is not None
            order = await live.order(number)
            assert order.windows[0].closes_at == order.placed_at + timedelta(minutes=12)
            await live.ship(number)
            await live.do(number, "deliver", "system")
            await live.travel(number, 31 * DAY)
            await live.ended(number)
            assert await live.log(number) == ["authorize", "capture"]
            await live.erased(number)
            assert (await live.orders.describe(number)).status is WorkflowExecutionStatus.COMPLETED
    finally:
        await stack.stop()


@pytest.mark.rule("C1", "C9", "D3")
async def test_a_heavy_backlog_blocks_no_order(live: Live) -> None:
    """With the worker down megabytes of signals pile up, some of them binary; when it returns the cancel is carried out."""
    queue = f"backlog-{uuid4().hex}"
    seen = live.on_queue(queue)
    async with live.worker(queue):
        number = await seen.place()
    handle = live.orders.handle(number)
    for index in range(80):
        await handle.signal("decline_cancellation", {"actor": "seller", "id": f"b-{index}", "note": "x" * 60_000})
    for heavy in (b"\xff\xfe\x00", "y" * 1_700_000, "z" * 1_700_000):
        await handle.signal("cancel", heavy)
    await handle.signal("cancel", {"actor": "buyer", "id": "mine", "requested_at": datetime.now(UTC).isoformat()})
    async with live.worker(queue):
        await seen.reaches(number, Status.CANCELLED)
        await seen.ended(number)
    assert await live.held(number) == 0


@pytest.mark.rule("C1", "C8", "C10")
async def test_a_timely_cancel_behind_a_thousand_late_messages_goes_before_the_deadline(live: Live) -> None:
    """The worker is down across the confirm window's end; behind a thousand late messages a buyer's timely cancel counts."""
    raw = sample_policy().model_dump()
    raw["windows"] = {"confirm_window": 6 * SECOND}
    raw["sellers"]["S-100"]["handling_time"] = 2 * SECOND
    queue = f"late-{uuid4().hex}"
    seen = live.on_queue(queue, type(sample_policy()).model_validate(raw))
    async with live.worker(queue):
        number = await seen.place()
        order = await seen.order(number)
    handle = live.orders.handle(number)
    late = {"actor": "seller", "requested_at": (order.confirm_by + SECOND).isoformat()}
    for start in range(0, 1000, 50):
        flood = [{**late, "id": f"late-{start + index}"} for index in range(50)]
        await asyncio.gather(*(handle.signal("decline_cancellation", each) for each in flood))
    timely = {"actor": "buyer", "id": "timely", "requested_at": (order.confirm_by - SECOND).isoformat()}
    await handle.signal("cancel", timely)
    await asyncio.sleep(max(0.0, (order.confirm_by + SECOND - datetime.now(UTC)).total_seconds()))
    async with live.worker(queue):
        cancelled = await seen.reaches(number, Status.CANCELLED)
    assert cancelled.cancellation is not None
    assert cancelled.cancellation.actor is Actor.BUYER


@pytest.mark.rule("C9", "D3")
async def test_a_flood_of_refusals_does_not_weigh_on_what_is_published(live: Live) -> None:
    """Hundreds of refused messages with long errors, then a cancellation: it is recorded and mailed, the order ends."""
    number = await live.place()
    handle = live.orders.handle(number)
    wide = {"actor": "buyer", **{f"\U0001f600{index}": 1 for index in range(200)}}
    for start in range(0, 260, 20):
        await asyncio.gather(*(handle.signal("cancel", {**wide, "id": f"{start + index}"}) for index in range(20)))
    await live.do(number, "cancel", "buyer")
    await live.ended(number)
    await live.mailed(number, "order_cancelled", "buyer")
    stored = live.store.order(number)
    assert stored is not None and stored.status is Status.CANCELLED

    async def all_recorded() -> bool:
        return len(live.store.history(number)) == (await live.history(number))[-1].seq

    await until(all_recorded, "the whole history in the store")


async def test_a_flood_of_updates_is_answered_one_by_one(live: Live) -> None:
    """Fifty commands at once, far more than the server takes in flight: each is decided or received, none is lost."""
    number = await live.place()
    gate = asyncio.Semaphore(5)

    async def ask(index: int) -> None:
        async with gate:
            code = await live.refused(number, "accept_cancellation", "seller", command_id=f"q-{index}")
            assert code == "NO_OPEN_REQUEST"

    await asyncio.gather(*(ask(index) for index in range(50)))
    asked = [each for each in await live.history(number) if each.name == "accept_cancellation"]
    assert len(asked) == 50
