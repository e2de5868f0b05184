"""Partners that are down, slow or answer nothing: no order is blocked, nothing is lost, nothing is done twice."""

import asyncio
import threading
from typing import Any

import pytest
from live_kit import DAY, MINUTE, SECOND, Live, until
from temporalio.client import WorkflowExecutionStatus

from domain.order import Flag, Status
from domain.payment_state import PaymentStatus

pytestmark = pytest.mark.usefixtures("no_faults")


async def nothing_at_provider(live: Live, number: str) -> bool:
    """Return whether the provider neither holds nor has charged anything for the order."""
    return (await live.held(number), await live.charged(number)) == (0, 0)


@pytest.mark.rule("C1", "C9", "G2")
async def test_a_buyer_cancels_while_the_provider_is_away(live: Live) -> None:
    """With the provider down an order stays pending and can be cancelled; once it is back nothing is held."""
    await live.provider_fault("down")
    number = await live.place(wait=False)
    await live.do(number, "cancel", "buyer")
    assert (await live.order(number)).status is Status.CANCELLED
    await live.clear_faults()
    await live.ended(number)
    assert await nothing_at_provider(live, number)
    await live.mailed(number, "order_cancelled", "buyer")


@pytest.mark.rule("C9")
async def test_an_authorisation_that_succeeds_after_the_cancellation_is_voided(live: Live) -> None:
    """The provider holds the money but answers too late; the cancelled order leaves nothing held."""
    number = await live.place(wait=False, card="card-timeout")
    await until(lambda: live.held(number), "the hold at the provider")
    await live.do(number, "cancel", "buyer")
    await live.ended(number)
    assert await nothing_at_provider(live, number)


@pytest.mark.rule("G5")
async def test_an_answer_that_got_lost_is_asked_for_and_not_paid_twice(live: Live) -> None:
    """The provider holds and its answer is lost: asking again under the same reference finds the one hold."""
    await live.provider_fault("lose_answer", 2, path="/authorizations")
    number = await live.place()
    await live.reaches(number, Status.UNSHIPPED)
    assert await live.log(number) == ["authorize"]
    assert await live.held(number) == 2900


@pytest.mark.rule("S2")
async def test_a_charge_whose_answer_got_lost_is_made_once(live: Live) -> None:
    """The capture's first answer is lost; the confirmation is accepted and the buyer charged once."""
    number = await live.place(card="card-capture-timeout")
    await live.ship(number)
    assert await live.log(number) == ["authorize", "capture"]
    assert await live.charged(number) == 2900


@pytest.mark.rule("S2", "C9")
async def test_a_charge_without_any_answer_is_refused_and_undone(live: Live) -> None:
    """No answer in time: the confirmation is refused, what the provider did is undone, and it can be sent again."""
    number = await live.place()
    await live.provider_fault("lose_answer", None, path="/captures")
    assert await live.refused(number, "ship", "seller", carrier="Y", tracking_number="T") == "PAYMENT_UNANSWERED"
    assert (await live.order(number)).status is Status.UNSHIPPED
    await live.clear_faults()
    await until(lambda: nothing_at_provider(live, number), "the doubtful charge undone")
    await live.ship(number)
    assert (await live.order(number)).status is Status.SHIPPED
    assert await live.charged(number) == 2900


@pytest.mark.rule("E7")
async def test_an_edit_without_an_answer_leaves_the_order_as_it_was(live: Live) -> None:
    """The provider is away during an edit: refused in time, the old hold stays, and a later edit works."""
    sku = live.sku(10)
    number = await live.place(items=(f"{sku}:2:1200:Cup",))
    await live.provider_fault("down")
    change: dict[str, Any] = {"lines": [{"sku": sku, "quantity": 3}]}
    assert await live.refused(number, "edit", "buyer", **change) == "PAYMENT_UNANSWERED"
    await live.clear_faults()
    order = await live.order(number)
    assert order.total_minor == 2900 and order.payment is not None
    assert order.payment.status is PaymentStatus.AUTHORIZED
    await live.do(number, "edit", "buyer", **change)

    async def one_hold() -> bool:
        return await live.held(number) == 4100

    await until(one_hold, "one hold of the new total")
    await live.stock_is(sku, 10, 3)


@pytest.mark.rule("C9")
async def test_a_void_that_keeps_failing_is_loud_and_goes_on(live: Live) -> None:
    """A void that fails for a minute flags the order, the mails go out; the workflow ends only when it is voided."""
    number = await live.place()
    await live.provider_fault("error", None, path="/voids")
    await live.do(number, "cancel", "buyer")
    await live.travel(number, 2 * MINUTE)
    await live.sees(number, lambda order: Flag.VOID_FAILING in order.flags, "the flag")
    await live.mailed(number, "order_cancelled", "buyer")
    found = [each async for each in live.orders.orders(status=Status.CANCELLED, limit=1000) if each.number == number]
    assert Flag.VOID_FAILING in found[0].flags
    await live.clear_faults()
    await live.travel(number, 5 * MINUTE)
    await live.ended(number)
    order = await live.order(number)
    assert (order.voids, order.flags) == ((), ())
    assert await live.held(number) == 0


@pytest.mark.rule("C9", "D1")
async def test_mails_wait_for_a_mail_server_that_is_down_and_are_sent_once(live: Live) -> None:
    """The mail server is away: the order lives on; when it returns every notice arrives, each once."""
    await live.mail_fault("down")
    number = await live.place()
    await live.ship(number)
    assert (await live.order(number)).status is Status.SHIPPED
    await live.clear_faults()
    await live.mailed(number, "order_confirmation", "buyer")
    await live.mailed(number, "shipped", "buyer")

    async def all_recorded() -> bool:
        return len(live.store.notices(number)) == 3

    await until(all_recorded, "the notices in the store")
    mails = await live.mails(number)
    assert len({mail["message_id"] for mail in mails}) == 3
    assert all(mail["deliveries"] == 1 for mail in mails)


async def test_an_address_that_the_mail_server_refuses_holds_nothing_up(live: Live) -> None:
    """A recipient refused for good is kept as refused in the store; the order completes."""
    await live.mail_fault("refuse")
    number = await live.place()
    await live.ship(number)
    await live.do(number, "deliver", "system")
    await live.travel(number, 31 * DAY)
    await live.ended(number)
    assert {row.status for row in live.store.notices(number)} == {"refused"}


@pytest.mark.rule("C12", "V6", "D3")
async def test_a_question_that_the_buyers_mail_server_refuses_cancels_nothing(live: Live) -> None:
    """The question "answer by" bounces: nobody is silent, the seller is told by mail, and the date passes without effect."""
    number = await live.place()
    await live.mailed(number, "sold_ship_now", "seller")
    await live.mailed(number, "order_confirmation", "buyer")
    await live.mail_fault("refuse", count=1)
    answer_by = (await live.orders.clock(number)) + 2 * DAY
    await live.do(number, "send_message", "seller", text="Which colour?", answer_by=answer_by.isoformat())
    told = await live.mailed(number, "message_undelivered", "seller")
    assert "Which colour?" in told["text"]
    order = await live.order(number)
    assert (order.answer_by, order.flags) == (None, ("mail_refused",))
    assert "mail refused for good: message to the buyer" in [each.detail for each in await live.history(number)]
    await live.travel_to(number, answer_by + SECOND)
    assert (await live.order(number)).status is Status.UNSHIPPED


@pytest.mark.rule("D3", "A9")
async def test_a_record_that_fails_by_itself_is_made_up_for(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store fails on a mere record once; the next ones are written all the same and the order completes."""
    number = await live.place()
    await live.mailed(number, "sold_ship_now", "seller")
    failing = [True]
    write = live.store.record

    def once(*args: Any, **kwargs: Any) -> None:
        if failing:
            failing.clear()
            raise OSError("connection refused")
        write(*args, **kwargs)

    monkeypatch.setattr(live.store, "record", once)
    await live.do(number, "extend_edit", "operator", minutes=5)
    await live.ship(number)
    await live.do(number, "deliver", "system")
    await live.travel(number, 31 * DAY)
    await live.ended(number)
    assert not failing
    stored = live.store.order(number)
    assert stored is not None and stored.status is Status.COMPLETED


@pytest.mark.rule("P4", "G8")
async def test_a_placement_refused_after_other_commands_leaves_nothing(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is away while the order is extended twice; back, it says there is no stock: refused, no trace of it."""
    sku = live.sku(0)
    reserve = live.store.reserve
    away = [True]

    def down_at_first(*args: Any, **kwargs: Any) -> Any:
        if away:
            raise OSError("the database is down")
        return reserve(*args, **kwargs)

    monkeypatch.setattr(live.store, "reserve", down_at_first)
    number = await live.place(wait=False, items=(f"{sku}:1:1200:Cup",))
    for _ in range(2):
        await live.do(number, "extend_edit", "operator", minutes=5)
    away.clear()
    await live.ended(number)
    assert (await live.orders.describe(number)).status is WorkflowExecutionStatus.FAILED
    assert live.store.order(number) is None
    assert await live.at_provider(number) == []


@pytest.mark.rule("C9", "D1")
async def test_mails_do_not_wait_for_a_store_that_hangs(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write to the store hangs; the buyer cancels and is told within seconds, once."""
    number = await live.place()
    await live.mailed(number, "sold_ship_now", "seller")
    hanging = threading.Event()

    def hang(*_: object, **__: object) -> None:
        hanging.wait(15)
        raise OSError("gave up")

    with monkeypatch.context() as patched:
        for name in ("record", "save_notice", "notice_status"):
            patched.setattr(live.store, name, hang)
        await live.do(number, "cancel", "buyer")
        mail = await live.mailed(number, "order_cancelled", "buyer")
    hanging.set()
    await live.travel(number, 5 * MINUTE)
    await live.ended(number)
    mails = [each for each in await live.mails(number) if each["message_id"] == mail["message_id"]]
    assert [each["deliveries"] for each in mails] == [1]


@pytest.mark.rule("D3")
async def test_a_store_that_is_away_delays_no_order_and_catches_up(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the database is down orders are decided and mails sent, once each; when it returns it knows everything."""
    number = await live.place()
    await live.mailed(number, "sold_ship_now", "seller")

    def down(*_: object, **__: object) -> None:
        raise OSError("the database is down")

    with monkeypatch.context() as patched:
        for name in ("record", "save_notice", "notice_status"):
            patched.setattr(live.store, name, down)
        await live.ship(number)
        assert (await live.order(number)).status is Status.SHIPPED
        await live.mailed(number, "shipped", "buyer")
        await live.do(number, "deliver", "system")
        await asyncio.sleep(2.5)  # long enough for the publication to have been tried again
    await live.travel(number, 31 * DAY)
    await live.ended(number)
    stored = live.store.order(number)
    assert stored is not None and stored.status is Status.COMPLETED
    told = [each.seq for each in live.store.history(number)]
    assert told == list(range(1, len(told) + 1))
    shipped = [mail for mail in await live.mails(number) if "shipped" in mail["message_id"]]
    assert [mail["deliveries"] for mail in shipped] == [1]
