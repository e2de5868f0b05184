"""Real worker processes: start, serve side by side, die, drain, and say clearly why they cannot start."""

import asyncio
from pathlib import Path

import pytest
from cli_kit import finished, python
from live_kit import Live, until
from worker_kit import WORKER, Workers

from domain.order import Status
from sandbox.stack import Stack, free_port


async def refused(folder: Path, code: int, *words: str, **settings: str) -> None:
    """A worker with these settings ends at once with `code` and one line that says `words`."""
    ran = await finished(await python(folder, WORKER, **settings))
    assert ran.code == code, ran
    assert "Traceback" not in ran.err, ran.err
    last = ran.err.strip().splitlines()[-1]
    for word in words:
        assert word in last, (word, ran.err)


async def once_each(live: Live, number: str) -> None:
    """The order was authorised once, charged once and told of once, and its stock is held once."""
    assert await live.log(number) == ["authorize", "capture"], number
    assert await live.charged(number) == 1700, number
    await live.mailed(number, "shipped", "buyer")
    keys = [each["message_id"] for each in await live.mails(number)]
    assert len(keys) == len(set(keys)), keys


@pytest.mark.rule("S2")
async def test_two_workers_serve_orders_side_by_side_and_drain(workers: Workers) -> None:
    """Two workers on one queue serve 20 orders, each effect once; both end with 0 on SIGTERM, within the grace time."""
    live, sku = workers.live, workers.live.sku()
    two = await asyncio.gather(workers.start(), workers.start())
    numbers = await asyncio.gather(*(live.place(items=(f"{sku}:1:1200:Cup",)) for _ in range(20)))
    await asyncio.gather(*(live.ship(number) for number in numbers))
    await asyncio.gather(*(once_each(live, number) for number in numbers))
    await live.stock_is(sku, 80, 0)
    for ran in await asyncio.gather(*(workers.drain(each) for each in two)):
        assert ran.code == 0, ran
        assert f"worker takes orders from task queue {workers.queue} in namespace default" in ran.err
        assert "worker is draining" in ran.err
        assert "Traceback" not in ran.err


@pytest.mark.rule("S2", "C9")
async def test_a_worker_that_is_killed_leaves_no_order_behind_and_nothing_twice(workers: Workers) -> None:
    """`kill -9` of one of two workers in the middle of 20 orders: all end as they must, and nobody is charged twice."""
    live, sku = workers.live, workers.live.sku()
    victim, _ = await asyncio.gather(workers.start(), workers.start())
    placing = [
        asyncio.create_task(live.place(items=(f"{sku}:1:1200:Cup",), card="card-slow" if index % 4 == 0 else "card-ok"))
        for index in range(20)
    ]
    await asyncio.wait(placing, return_when=asyncio.FIRST_COMPLETED)
    victim.kill()
    numbers = await asyncio.gather(*placing)
    for number in numbers:
        await live.reaches(number, Status.UNSHIPPED)
    kept, dropped = numbers[:15], numbers[15:]
    await asyncio.gather(
        *(live.ship(number) for number in kept), *(live.do(number, "cancel", "buyer") for number in dropped)
    )
    await asyncio.gather(*(once_each(live, number) for number in kept))
    for number in dropped:
        await live.ended(number)
        assert await live.log(number) == ["authorize", "void"], number
        assert (await live.held(number), await live.charged(number)) == (0, 0)


async def test_a_worker_that_drains_finishes_what_is_under_way(workers: Workers) -> None:
    """SIGTERM while a card is being authorised: the answer is waited for and kept, and the worker ends with 0."""
    live = workers.live
    worker = await workers.start()
    number = await live.place(card="card-slow", wait=False)

    async def asked() -> bool:
        found = await live.orders.handle(number).describe()
        return any(each.activity_type.name == "authorize" for each in found.raw_description.pending_activities)

    await until(asked, "the authorisation")
    ran = await workers.drain(worker)
    assert ran.code == 0, ran
    async with live.worker(workers.queue):
        await live.reaches(number, Status.UNSHIPPED)
        assert await live.log(number) == ["authorize"]


async def test_settings_that_cannot_be_used_end_a_worker_with_2(stack: Stack, tmp_path: Path) -> None:
    """A bad setting is named with its value and bound before anything starts."""
    assert stack.addresses is not None
    good = stack.addresses.environment()
    await asyncio.gather(
        refused(tmp_path, 2, "smtp_port: ", "valid integer", "'abc'", **good | {"SMTP_PORT": "abc"}),
        refused(tmp_path, 2, "database_url: ", "sqlite|postgresql", **good | {"DATABASE_URL": "mysql://db/orders"}),
        refused(tmp_path, 2, "TEMPORAL_ADDRESS", "invalid", **good | {"TEMPORAL_ADDRESS": "a:b:c"}),
    )


async def test_partners_that_are_not_there_end_a_worker_with_4(stack: Stack, tmp_path: Path) -> None:
    """Without a server, a namespace or a database the worker says which, ends with 4, and can be started again later."""
    assert stack.addresses is not None
    good, nobody = stack.addresses.environment(), f"127.0.0.1:{free_port()}"
    postgres = f"postgresql://{nobody}/orders"
    await asyncio.gather(
        refused(tmp_path, 4, "no Temporal server answers", nobody, **good | {"TEMPORAL_ADDRESS": nobody}),
        refused(tmp_path, 4, "Namespace nope is not found", **good | {"TEMPORAL_NAMESPACE": "nope"}),
        refused(tmp_path, 4, "the store does not answer", "DATABASE_URL", **good | {"DATABASE_URL": postgres}),
    )
