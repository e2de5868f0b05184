"""Commands at the same instant on the real server: exactly one wins, and money, stock and mail agree with the winner."""

import asyncio

import pytest
from live_kit import Live

from domain.order import Status
from domain.placement import Placement
from starter import carts
from starter.client import RefusedError, Reply

PARCEL = {"carrier": "Yamato", "tracking_number": "T-1"}


@pytest.fixture
def orders(request: pytest.FixtureRequest) -> int:
    """How many orders race: 40, or as many as `--soak` says."""
    return int(request.config.getoption("--soak")) or 40


async def _both(live: Live, number: str, first: str) -> list[Reply | BaseException]:
    cancel = live.do(number, "cancel", "buyer", reason="changed_mind")
    ship = live.do(number, "ship", "seller", **PARCEL)
    pair = (cancel, ship) if first == "cancel" else (ship, cancel)
    return list(await asyncio.gather(*pair, return_exceptions=True))


@pytest.mark.rule("C10", "C9", "S2")
async def test_cancel_and_ship_at_once_have_one_winner(live: Live, orders: int) -> None:
    """Of a buyer's cancel and a seller's ship sent together one wins; provider, stock and history agree with it."""
    sku = live.sku(orders * 2)
    gate = asyncio.Semaphore(10)

    async def race(index: int) -> Status:
        async with gate:
            number = await live.place(items=(f"{sku}:2:1200:Cup",))
            answers = await _both(live, number, "cancel" if index % 2 else "ship")
            refused = [each for each in answers if isinstance(each, RefusedError)]
            others = [each for each in answers if isinstance(each, Exception) and not isinstance(each, RefusedError)]
            assert not others, others
            assert len(refused) == 1, answers
            status = (await live.order(number)).status
            assert (
                refused[0].refusal.code
                in {
                    Status.CANCELLED: ("ORDER_CANCELLED",),
                    Status.SHIPPED: ("ALREADY_SHIPPED",),
                }[status]
            )
            if status is Status.CANCELLED:
                await live.ended(number)
                assert await live.log(number) == ["authorize", "void"]
            else:
                assert await live.log(number) == ["authorize", "capture"]
                assert await live.charged(number) == 2900
            return status

    outcomes = await asyncio.gather(*(race(index) for index in range(orders)))
    shipped = outcomes.count(Status.SHIPPED)
    await live.stock_is(sku, orders * 2 - shipped * 2, 0)


@pytest.mark.rule("P4")
async def test_the_last_unit_goes_to_one_buyer(live: Live) -> None:
    """Of eight buyers after the last unit one gets it; the others are refused, and nothing is held on their cards."""
    sku = live.sku(1)
    placements = [carts.cart(items=(f"{sku}:1:1200:Cup",)) for _ in range(8)]

    async def buy(placement: Placement) -> bool:
        placed = await live.orders.place(placement)
        try:
            await live.orders.settled(placed.number)
        except RefusedError as error:
            assert error.refusal.code == "OUT_OF_STOCK"
            assert await live.at_provider(placed.number) == []
            return False
        return True

    won = await asyncio.gather(*(buy(each) for each in placements))
    assert won.count(True) == 1
    assert live.units(sku) == (1, 1)


@pytest.mark.rule("C9", "D3")
async def test_the_same_command_many_times_at_once_is_carried_out_once(live: Live) -> None:
    """A confirmation sent eight times under one id, as updates and signals, charges once and is answered alike."""
    number = await live.place()
    payload = {"actor": "seller", "id": "same-id", **PARCEL}
    handle = live.orders.handle(number)
    updates = [handle.execute_update("ship", payload, id=f"update-{index}") for index in range(4)]
    signals = [handle.signal("ship", payload) for _ in range(4)]
    answers = await asyncio.gather(*updates, *signals)
    assert {answer["status"] for answer in answers[:4]} == {"shipped"}
    assert await live.log(number) == ["authorize", "capture"]
    entries = [each for each in await live.history(number) if each.name == "ship"]
    assert [each.command_id for each in entries] == ["same-id"]
    assert len((await live.order(number)).shipments) == 1


@pytest.mark.rule("C10")
async def test_two_confirmations_of_everything_at_once_ship_it_once(live: Live) -> None:
    """Two sellers' clerks confirm everything at once under different ids: one parcel, one charge, one refusal."""
    number = await live.place()
    answers = await asyncio.gather(live.ship(number), live.ship(number), return_exceptions=True)
    refused = [each for each in answers if isinstance(each, RefusedError)]
    assert [each.refusal.code for each in refused] == ["NOTHING_TO_SHIP"]
    assert len((await live.order(number)).shipments) == 1
    assert await live.charged(number) == 2900
