"""What a payment provider must do, whichever it is: holds, charges, voids, trouble.

Each test runs against the sandbox's provider, a real process, and against Stripe's wire format from a local fake.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from provider_drivers import Driver, ask_about, charged, hold_at, refund_of
from provider_kit import capture_of, hold_of, void_of

from activities.provider import ProviderContractError, ProviderUnavailable
from domain.effects import Outcome, Result

pytest_plugins = ["provider_kit", "provider_drivers"]


# Holds.


@pytest.mark.rule("P5")
async def test_a_good_card_is_held_until_a_known_instant(driver: Driver) -> None:
    """An approved hold tells when it lapses, and holds the amount once."""
    hold = hold_at(driver)
    outcome = await driver.provider.authorize(hold)
    assert (outcome.result, outcome.reference) == (Result.AUTHORIZED, hold.reference)
    assert outcome.expires_at is not None
    assert outcome.expires_at > hold.at
    assert await driver.kept(hold.order_number) == 1000


async def test_the_same_reference_holds_once(driver: Driver) -> None:
    """A repeated authorisation gets the first one's answer."""
    hold = hold_at(driver)
    first = await driver.provider.authorize(hold)
    assert [await driver.provider.authorize(hold) for _ in range(3)] == [first] * 3
    assert await driver.kept(hold.order_number) == 1000


async def test_concurrent_repetitions_hold_once(driver: Driver) -> None:
    """Of ten at once each is answered authorised or not at all, and one hold results."""
    hold = hold_at(driver)
    answers = await asyncio.gather(*(driver.provider.authorize(hold) for _ in range(10)), return_exceptions=True)
    assert {getattr(each, "result", type(each)) for each in answers} <= {Result.AUTHORIZED, ProviderUnavailable}
    assert (await driver.provider.authorize(hold)).result is Result.AUTHORIZED
    assert await driver.kept(hold.order_number) == 1000


async def test_a_reference_with_another_amount_is_a_contract_error(driver: Driver) -> None:
    """A reference that is used for two different holds is a bug, and the message names it."""
    hold = hold_at(driver)
    await driver.provider.authorize(hold)
    with pytest.raises(ProviderContractError, match=hold.reference):
        await driver.provider.authorize(hold.model_copy(update={"amount_minor": 2000}))
    assert await driver.kept(hold.order_number) == 1000


@pytest.mark.rule("G3")
async def test_a_declined_card_holds_nothing(driver: Driver) -> None:
    """A decline is an outcome with a code, stays one when repeated, and cannot be charged."""
    hold = hold_at(driver, "declining")
    for _ in range(2):
        outcome = await driver.provider.authorize(hold)
        assert outcome.result is Result.DECLINED
        assert outcome.decline_code
    assert (await driver.provider.ask(ask_about(hold))).result is Result.DECLINED
    assert (await driver.provider.capture(capture_of(hold, at=hold.at))).result is Result.DECLINED
    assert await driver.kept(hold.order_number) == 0


async def test_a_token_that_names_no_card_is_declined(driver: Driver) -> None:
    """A wrong token is the buyer's to correct, not a bug."""
    outcome = await driver.provider.authorize(hold_of("voucher-17", at=hold_at(driver).at))
    assert (outcome.result, outcome.decline_code) == (Result.DECLINED, "invalid_card")


# Charges.


@pytest.mark.rule("S2")
async def test_a_hold_is_charged_once_however_often_it_is_asked(driver: Driver) -> None:
    """Repeated captures are all answered captured, and so is the authorisation that is repeated after them."""
    hold = await charged(driver)
    for _ in range(3):
        assert (await driver.provider.capture(capture_of(hold, at=hold.at))).result is Result.CAPTURED
    assert (await driver.provider.authorize(hold)).result is Result.AUTHORIZED
    assert await driver.kept(hold.order_number) == 1000


@pytest.mark.rule("S2")
async def test_what_is_not_charged_of_a_hold_comes_free(driver: Driver) -> None:
    """A capture of less than the hold keeps just that, and is not repeated with another amount."""
    hold = hold_at(driver)
    await driver.provider.authorize(hold)
    assert (await driver.provider.capture(capture_of(hold, 400, at=hold.at))).result is Result.CAPTURED
    assert await driver.kept(hold.order_number) == 400
    with pytest.raises(ProviderContractError):
        await driver.provider.capture(capture_of(hold, 500, at=hold.at))
    assert await driver.kept(hold.order_number) == 400


async def test_more_than_the_hold_cannot_be_charged(driver: Driver) -> None:
    """A capture beyond the hold is a bug and charges nothing."""
    hold = hold_at(driver)
    await driver.provider.authorize(hold)
    with pytest.raises(ProviderContractError):
        await driver.provider.capture(capture_of(hold, 1001, at=hold.at))
    assert (await driver.provider.ask(ask_about(hold))).result is Result.AUTHORIZED


async def test_a_charge_without_a_hold_is_a_contract_error(driver: Driver) -> None:
    """Nothing is charged under a reference that was never authorised."""
    hold = hold_at(driver)
    with pytest.raises(ProviderContractError, match=hold.reference):
        await driver.provider.capture(capture_of(hold, at=hold.at))


@pytest.mark.rule("S2")
async def test_a_lapsed_hold_is_told_and_renewed(driver: Driver) -> None:
    """A capture after the lapse charges nothing; a new reference holds anew."""
    old = hold_at(driver)
    first = await driver.provider.authorize(old)
    later = await driver.after_lapse(old)
    assert (await driver.provider.capture(capture_of(old, at=later))).result is Result.LAPSED
    assert (await driver.provider.ask(ask_about(old, later))).result is Result.LAPSED
    assert await driver.provider.authorize(old.model_copy(update={"at": later})) == first
    renewed = hold_of(old.card, order=old.order_number, at=later)
    assert (await driver.provider.authorize(renewed)).result is Result.AUTHORIZED
    assert (await driver.provider.capture(capture_of(renewed, at=later))).result is Result.CAPTURED
    assert await driver.kept(old.order_number) == 1000


@pytest.mark.rule("E7")
async def test_an_order_s_holds_are_told_apart(driver: Driver) -> None:
    """The new hold of an edit stands when the old one is voided."""
    old = hold_at(driver)
    new = hold_of(old.card, 700, order=old.order_number, at=old.at)
    await driver.provider.authorize(old)
    await driver.provider.authorize(new)
    await driver.provider.void(void_of(old, at=old.at))
    assert await driver.kept(old.order_number) == 700
    assert (await driver.provider.capture(capture_of(new, at=old.at))).result is Result.CAPTURED


# Voids.


@pytest.mark.rule("C9")
async def test_a_void_is_final_and_may_be_repeated(driver: Driver) -> None:
    """After a void neither a capture nor a repeated authorisation brings the hold back."""
    hold = hold_at(driver)
    await driver.provider.authorize(hold)
    for _ in range(3):
        assert (await driver.provider.void(void_of(hold, at=hold.at))).result is Result.VOIDED
    assert (await driver.provider.capture(capture_of(hold, at=hold.at))).result is Result.VOIDED
    assert (await driver.provider.authorize(hold)).result is Result.VOIDED
    assert (await driver.provider.ask(ask_about(hold))).result is Result.VOIDED
    assert await driver.kept(hold.order_number) == 0


@pytest.mark.rule("C9")
async def test_a_void_before_its_authorisation_prevents_the_hold(driver: Driver) -> None:
    """A void that overtakes its authorisation voids it beforehand."""
    hold = hold_at(driver)
    assert (await driver.provider.void(void_of(hold, at=hold.at))).result is Result.VOIDED
    for _ in range(2):
        assert (await driver.provider.authorize(hold)).result is Result.VOIDED
    assert await driver.kept(hold.order_number) == 0


@pytest.mark.rule("C9")
async def test_a_void_that_races_its_authorisation_leaves_nothing_held(driver: Driver) -> None:
    """Whichever of the two wins, once both are answered nothing is held."""
    for _ in range(5):
        hold = hold_at(driver)
        calls = (driver.provider.authorize(hold), driver.provider.void(void_of(hold, at=hold.at)))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        if isinstance(answers[1], ProviderUnavailable):
            await driver.provider.void(void_of(hold, at=hold.at))
        else:
            assert getattr(answers[1], "result", answers[1]) is Result.VOIDED
        assert await driver.kept(hold.order_number) == 0
        assert (await driver.provider.authorize(hold)).result is Result.VOIDED


@pytest.mark.rule("C9")
async def test_a_void_after_the_charge_returns_the_money(driver: Driver) -> None:
    """A void of a charge pays back all of it, once."""
    hold = await charged(driver)
    for _ in range(3):
        assert (await driver.provider.void(void_of(hold, at=hold.at))).result is Result.VOIDED
    assert await driver.kept(hold.order_number) == 0
    assert (await driver.provider.capture(capture_of(hold, at=hold.at))).result is Result.VOIDED
    assert (await driver.provider.ask(ask_about(hold))).result is Result.VOIDED


# Trouble.


@pytest.mark.parametrize("operation", ["authorize", "capture", "void", "refund"])
@pytest.mark.parametrize("kind", ["down", "lose_answer"])
async def test_trouble_is_an_unknown_outcome_that_repetition_resolves(
    driver: Driver, kind: str, operation: str
) -> None:
    """A provider that is down or loses its answer leaves the outcome unknown; the same request again moves money once."""
    provider, hold = driver.provider, hold_at(driver)
    steps: dict[str, tuple[Callable[[], Awaitable[Outcome]], int]] = {
        "authorize": (lambda: provider.authorize(hold), 1000),
        "capture": (lambda: provider.capture(capture_of(hold, at=hold.at)), 1000),
        "refund": (lambda: provider.refund(refund_of(hold, 400)), 600),
        "void": (lambda: provider.void(void_of(hold, at=hold.at)), 0),
    }
    for name, (step, kept) in steps.items():
        if name == operation:
            if name == "void":  # the fault is of a hold's void
                hold = hold_at(driver)
                await provider.authorize(hold)
            await driver.fault(kind, operation)
            with pytest.raises(ProviderUnavailable, match=hold.order_number):
                await step()
        first = await step()
        assert await step() == first
        assert await driver.kept(hold.order_number) == kept
