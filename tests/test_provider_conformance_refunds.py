"""What a payment provider must do, whichever it is: refunds, questions, convenience stores.

Each test runs against the sandbox's provider, a real process, and against Stripe's wire format from a local fake.
"""

import asyncio

import httpx
import pytest
from provider_drivers import Driver, ask_about, awaited, charge_of, charged, hold_at, refund_of
from provider_kit import capture_of, void_of

from activities.provider import ProviderContractError, ProviderUnavailable
from domain.effects import Authorize, PayRefund, Result
from domain.refund import RefundStatus

pytest_plugins = ["provider_kit", "provider_drivers"]


# Refunds.


@pytest.mark.rule("R2", "R6")
async def test_several_refunds_pay_what_was_charged_and_no_more(driver: Driver) -> None:
    """Parts are paid back each once; what would exceed the charge is refused."""
    payment = await charged(driver)
    for number, amount in enumerate((300, 500), start=1):
        outcome = await driver.provider.refund(refund_of(payment, amount, number))
        assert outcome.result in (Result.REFUND_PENDING, Result.REFUND_PAID)
    with pytest.raises(ProviderContractError, match="/3/refund"):
        await driver.provider.refund(refund_of(payment, 201, 3))
    assert await driver.kept(payment.order_number) == 200
    assert (await driver.provider.refund(refund_of(payment, 200, 4))).reference.endswith("/4/refund")
    assert await driver.kept(payment.order_number) == 0


@pytest.mark.rule("R6")
async def test_the_same_refund_twice_pays_once(driver: Driver) -> None:
    """A repeated refund gets the first answer; with another amount it is a bug."""
    payment = await charged(driver, "pending")
    refund = refund_of(payment, 400)
    first = await driver.provider.refund(refund)
    assert [await driver.provider.refund(refund) for _ in range(2)] == [first] * 2
    with pytest.raises(ProviderContractError, match=refund.reference):
        await driver.provider.refund(refund.model_copy(update={"amount_minor": 401}))
    assert await driver.kept(payment.order_number) == 600


@pytest.mark.rule("R6")
async def test_concurrent_repetitions_of_a_refund_pay_once(driver: Driver) -> None:
    """Of ten at once one pays; the others are told so, or that they should ask again."""
    payment = await charged(driver)
    refund = refund_of(payment, 400)
    answers = await asyncio.gather(*(driver.provider.refund(refund) for _ in range(10)), return_exceptions=True)
    paid = {Result.REFUND_PENDING, Result.REFUND_PAID, ProviderUnavailable}
    assert {getattr(each, "result", type(each)) for each in answers} <= paid
    assert await driver.kept(payment.order_number) == 600


@pytest.mark.rule("R6")
async def test_a_refund_whose_answer_was_lost_pays_once(driver: Driver) -> None:
    """An unknown outcome is resolved by asking, and by repeating the same request as well."""
    payment = await charged(driver, "pending")
    refund = refund_of(payment, 400)
    await driver.fault("lose_answer", "refund")
    with pytest.raises(ProviderUnavailable, match=refund.reference):
        await driver.provider.refund(refund)
    asked = await driver.provider.ask(ask_about(refund))
    assert asked.result is Result.REFUND_PENDING
    assert await driver.provider.refund(refund) == asked
    assert await driver.kept(payment.order_number) == 600


@pytest.mark.rule("R7")
async def test_a_pending_refund_tells_when_it_should_arrive_and_then_that_it_did(driver: Driver) -> None:
    """A pending refund has an expected date that repetition does not move, until the provider has paid."""
    payment = await charged(driver, "pending")
    refund = refund_of(payment, 400)
    pending = await driver.provider.refund(refund)
    assert (pending.result, pending.reference) == (Result.REFUND_PENDING, refund.reference)
    assert pending.expected_at is not None
    assert pending.expected_at > refund.at
    assert await driver.provider.ask(ask_about(refund)) == pending
    await driver.settle(refund, paid=True)
    assert (await driver.provider.ask(ask_about(refund))).result is Result.REFUND_PAID
    assert (await driver.provider.refund(refund)).result is Result.REFUND_PAID


@pytest.mark.rule("R6", "R7")
async def test_a_failed_refund_is_told_and_a_new_reference_may_try_again(driver: Driver) -> None:
    """A refund that failed stays failed with a code; its amount can be paid back under another reference."""
    payment = await charged(driver, "pending")
    refund = refund_of(payment, 1000)
    await driver.provider.refund(refund)
    await driver.settle(refund, paid=False)
    for outcome in (await driver.provider.refund(refund), await driver.provider.ask(ask_about(refund))):
        assert outcome.result is Result.REFUND_FAILED
        assert outcome.decline_code
    assert await driver.kept(payment.order_number) == 1000
    assert (await driver.provider.refund(refund_of(payment, 1000, 2))).result is Result.REFUND_PENDING
    assert await driver.kept(payment.order_number) == 0


@pytest.mark.rule("R1")
async def test_what_was_not_charged_cannot_be_refunded(driver: Driver) -> None:
    """A refund of a hold, of nothing or of a voided charge is refused, and moves nothing."""
    held, voided = hold_at(driver), await charged(driver)
    await driver.provider.authorize(held)
    await driver.provider.void(void_of(voided, at=voided.at))
    for payment, kept in ((held, 1000), (hold_at(driver), 0), (voided, 0)):
        with pytest.raises(ProviderContractError):
            await driver.provider.refund(refund_of(payment, 100))
        assert await driver.kept(payment.order_number) == kept


@pytest.mark.rule("C9", "R2")
async def test_a_void_after_a_refund_returns_the_rest(driver: Driver) -> None:
    """What a refund has paid back, a void does not pay again."""
    payment = await charged(driver)
    await driver.provider.refund(refund_of(payment, 400))
    assert (await driver.provider.void(void_of(payment, at=payment.at))).result is Result.VOIDED
    assert await driver.kept(payment.order_number) == 0


# Asking.


@pytest.mark.rule("R6")
async def test_asking_moves_nothing(driver: Driver) -> None:
    """A payment is told as it stands, and stands as before."""
    hold = hold_at(driver)
    await driver.provider.authorize(hold)
    for _ in range(3):
        assert (await driver.provider.ask(ask_about(hold))).result is Result.AUTHORIZED
    assert await driver.kept(hold.order_number) == 1000
    await driver.provider.capture(capture_of(hold, at=hold.at))
    for _ in range(3):
        assert (await driver.provider.ask(ask_about(hold))).result is Result.CAPTURED
    assert await driver.kept(hold.order_number) == 1000


@pytest.mark.rule("R6")
async def test_asking_for_a_stranger_is_unanswered_and_leaves_no_trace(driver: Driver) -> None:
    """A reference that nobody used is unanswered, and can still be authorised afterwards."""
    hold = hold_at(driver)
    refund: PayRefund = refund_of(hold, 100)
    assert (await driver.provider.ask(ask_about(hold))).result is Result.UNANSWERED
    assert (await driver.provider.ask(ask_about(refund))).result is Result.UNANSWERED
    assert (await driver.provider.authorize(hold)).result is Result.AUTHORIZED


# Convenience stores.


@pytest.mark.rule("P5")
async def test_a_store_payment_is_paid_charged_and_refunded(driver: Driver) -> None:
    """A number is issued once, paid at the till, then authorised, charged and paid back like any other payment."""
    payment, issued = await awaited(driver)
    assert (issued.result, issued.due_at) == (Result.AWAITING, payment.due_at)
    assert issued.number
    assert await driver.provider.authorize(payment) == issued
    assert await driver.kept(payment.order_number) == 0
    await driver.pay_at_till(payment, issued.number)
    assert (await driver.provider.ask(ask_about(payment))).result is Result.AUTHORIZED
    assert (await driver.provider.authorize(payment)).result is Result.AUTHORIZED
    for _ in range(2):
        assert (await driver.provider.capture(charge_of(payment))).result is Result.CAPTURED
    assert (await driver.provider.ask(ask_about(payment))).result is Result.CAPTURED
    outcome = await driver.provider.refund(refund_of(payment, 300))
    assert outcome.result is Result.REFUND_PENDING
    assert await driver.kept(payment.order_number) == 700


@pytest.mark.rule("G7")
async def test_a_store_payment_past_its_due_date_has_lapsed(driver: Driver) -> None:
    """Nobody paid in time: nothing was taken, nothing can be charged."""
    payment, _ = await awaited(driver)
    later = await driver.after_due(payment)
    assert (await driver.provider.ask(ask_about(payment, later))).result is Result.LAPSED
    assert (await driver.provider.authorize(payment.model_copy(update={"at": later}))).result is Result.LAPSED
    capture = charge_of(payment).model_copy(update={"at": later})
    assert (await driver.provider.capture(capture)).result is Result.LAPSED
    assert await driver.kept(payment.order_number) == 0


@pytest.mark.rule("C9")
async def test_a_voided_store_payment_can_no_longer_be_paid(driver: Driver) -> None:
    """A cancelled order's number is dead at the till."""
    payment, issued = await awaited(driver)
    assert (await driver.provider.void(void_of(payment, at=payment.at))).result is Result.VOIDED
    with pytest.raises((httpx.HTTPStatusError, AssertionError)):
        await driver.pay_at_till(payment, issued.number or "")
    assert (await driver.provider.authorize(payment)).result is Result.VOIDED


@pytest.mark.rule("C9")
async def test_a_void_pays_back_what_was_paid_at_the_till(driver: Driver) -> None:
    """An order that is cancelled after its buyer paid gives the cash back, though nothing was charged yet."""
    payment, issued = await awaited(driver)
    await driver.pay_at_till(payment, issued.number or "")
    for _ in range(2):
        assert (await driver.provider.void(void_of(payment, at=payment.at))).result is Result.VOIDED
    assert await driver.kept(payment.order_number) == 0


def return_of(payment: Authorize, name: str, amount_minor: int, attempt: int = 1) -> PayRefund:
    """Return the refund as which cash goes back: the provider's own, or another attempt of the order's."""
    again = f"/{attempt}" if attempt > 1 else ""
    refund = refund_of(payment, amount_minor)
    return refund.model_copy(update={"reference": f"{payment.reference}/{name}{again}"})


@pytest.mark.rule("R7", "C9")
async def test_cash_that_a_void_pays_back_can_be_followed(driver: Driver) -> None:
    """The void tells how much goes back, by when and as which refund; asked, that refund is pending and then paid."""
    payment, issued = await awaited(driver)
    await driver.pay_at_till(payment, issued.number or "")
    told = [(await driver.provider.void(void_of(payment, at=payment.at))).cash_return for _ in range(2)]
    cash, again = told
    assert cash == again
    assert cash is not None
    back = return_of(payment, "return", 1000)
    assert (cash.reference, cash.amount_minor, cash.status) == (back.reference, 1000, RefundStatus.PENDING)
    assert cash.expected_at is not None
    assert cash.expected_at > payment.at
    assert (await driver.provider.ask(ask_about(back))).result is Result.REFUND_PENDING
    await driver.settle(back, paid=True)
    assert (await driver.provider.ask(ask_about(back))).result is Result.REFUND_PAID


@pytest.mark.rule("R6", "R7")
async def test_cash_that_could_not_be_paid_back_is_told_and_tried_again_once(driver: Driver) -> None:
    """A return that failed leaves the payment voided; a new reference pays it back once, and no more than it was."""
    payment, issued = await awaited(driver)
    await driver.pay_at_till(payment, issued.number or "")
    await driver.provider.void(void_of(payment, at=payment.at))
    first, second = return_of(payment, "return", 1000), return_of(payment, "return", 1000, attempt=2)
    await driver.settle(first, paid=False)
    failed = await driver.provider.ask(ask_about(first))
    assert (failed.result, bool(failed.decline_code)) == (Result.REFUND_FAILED, True)
    assert (await driver.provider.ask(ask_about(payment))).result is Result.VOIDED
    for _ in range(2):
        assert (await driver.provider.refund(second)).result is Result.REFUND_PENDING
    with pytest.raises(ProviderContractError):
        await driver.provider.refund(return_of(payment, "return", 1, attempt=3))
    await driver.settle(second, paid=True)
    assert (await driver.provider.ask(ask_about(second))).result is Result.REFUND_PAID
    assert await driver.kept(payment.order_number) == 0


@pytest.mark.rule("C9")
async def test_a_number_that_nobody_paid_gives_nothing_back(driver: Driver) -> None:
    """The void of an unpaid number and that of a card's hold return no cash, and a charge of all of it no change."""
    payment, _ = await awaited(driver)
    assert (await driver.provider.void(void_of(payment, at=payment.at))).cash_return is None
    hold = await charged(driver)
    assert (await driver.provider.void(void_of(hold, at=hold.at))).cash_return is None
    paid, issued = await awaited(driver)
    await driver.pay_at_till(paid, issued.number or "")
    assert (await driver.provider.capture(charge_of(paid))).cash_return is None


@pytest.mark.rule("S2", "C11")
async def test_a_store_payment_above_what_is_charged_is_paid_back(driver: Driver) -> None:
    """Of what was paid at the till only the order's total is kept, once."""
    payment, issued = await awaited(driver)
    await driver.pay_at_till(payment, issued.number or "")
    told = [await driver.provider.capture(charge_of(payment, 600)) for _ in range(2)]
    assert [each.result for each in told] == [Result.CAPTURED] * 2
    change = told[0].cash_return
    assert change == told[1].cash_return
    assert change is not None
    assert (change.reference, change.amount_minor) == (f"{payment.reference}/change", 400)
    assert (await driver.provider.ask(ask_about(return_of(payment, "change", 400)))).result is Result.REFUND_PENDING
    assert await driver.kept(payment.order_number) == 600
    with pytest.raises(ProviderContractError):
        await driver.provider.refund(refund_of(payment, 601))


async def test_an_unpaid_store_payment_cannot_be_charged(driver: Driver) -> None:
    """A capture before the till is a bug."""
    payment, _ = await awaited(driver)
    with pytest.raises(ProviderContractError):
        await driver.provider.capture(charge_of(payment))
