"""Refunds at the sandbox's payment provider: paid once, never more than was captured, and told when asked."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_kit import until
from provider_kit import (
    NOW,
    ask_of,
    capture_of,
    folded,
    hold_of,
    logged,
    new_card,
    refund_of,
    run_provider,
    used,
    void_of,
)

from activities.provider import HttpPaymentProvider, ProviderContractError, ProviderUnavailable
from domain.effects import Authorize, Outcome, PayRefund, Result

pytest_plugins = ["provider_kit"]


async def charged(provider: HttpPaymentProvider, card: str, amount_minor: int = 1000) -> Authorize:
    """Hold and charge money, and return its hold."""
    hold = hold_of(card, amount_minor)
    assert (await provider.authorize(hold)).result == Result.AUTHORIZED
    assert (await provider.capture(capture_of(hold))).result == Result.CAPTURED
    return hold


async def ended(provider: HttpPaymentProvider, refund: PayRefund) -> Outcome:
    """Wait until a refund is no longer pending and return how it ended."""

    async def asked() -> Outcome | None:
        outcome = await provider.ask(ask_of(refund))
        return outcome if outcome.result != Result.REFUND_PENDING else None

    return await until(asked, "the end of a refund")


async def settled(http: httpx.AsyncClient, refund: PayRefund, status: str) -> int:
    """End a refund as wanted and return the status of the answer."""
    answer = await http.post("/refunds/settle", json={"reference": refund.reference, "status": status})
    assert answer.status_code < 500, answer.text
    return answer.status_code


@pytest.mark.rule("R7")
async def test_a_refund_is_pending_with_a_date_and_then_paid(sandbox: HttpPaymentProvider) -> None:
    """A refund tells when it should arrive, and asking tells when it has been paid."""
    refund = refund_of(await charged(sandbox, new_card()))
    outcome = await sandbox.refund(refund)
    assert (outcome.result, outcome.reference) == (Result.REFUND_PENDING, refund.reference)
    assert outcome.expected_at == NOW + timedelta(days=3)
    assert (await ended(sandbox, refund)).result == Result.REFUND_PAID


@pytest.mark.rule("R6")
async def test_a_repeated_refund_is_the_same_refund(sandbox: HttpPaymentProvider) -> None:
    """Ten concurrent requests under one reference fit into a capture that holds one of them."""
    refund = refund_of(await charged(sandbox, new_card("card-refund-hold")), 600)
    outcomes = await asyncio.gather(*(sandbox.refund(refund) for _ in range(10)))
    assert {outcome.result for outcome in outcomes} == {Result.REFUND_PENDING}
    with pytest.raises(ProviderContractError, match=r"409.*idempotency_conflict"):
        await sandbox.refund(refund.model_copy(update={"amount_minor": 500}))


@pytest.mark.rule("R2")
async def test_partial_refunds_end_at_the_capture(sandbox: HttpPaymentProvider) -> None:
    """Several refunds are paid up to what was captured, and one cent more is a contract error that says what is left."""
    hold = await charged(sandbox, new_card())
    await sandbox.refund(refund_of(hold, 300))
    await sandbox.refund(refund_of(hold, 600))
    with pytest.raises(ProviderContractError, match=r"422.*exceeds_capture.*refund 100 at most"):
        await sandbox.refund(refund_of(hold, 101))
    assert (await sandbox.refund(refund_of(hold, 100))).result == Result.REFUND_PENDING


async def test_a_failed_refund_is_tried_again_under_a_new_reference(sandbox: HttpPaymentProvider) -> None:
    """A refund that failed stays failed with its code, and gives its amount free for another attempt."""
    hold = await charged(sandbox, new_card("card-refund-fail"))
    first, second = refund_of(hold, 1000), refund_of(hold, 1000)
    assert (await sandbox.refund(first)).result == Result.REFUND_PENDING
    outcome = await ended(sandbox, first)
    assert (outcome.result, outcome.decline_code) == (Result.REFUND_FAILED, "account_closed")
    assert await sandbox.refund(first) == outcome
    await sandbox.refund(second)
    assert (await ended(sandbox, second)).result == Result.REFUND_PAID


async def test_only_what_was_captured_is_refunded(sandbox: HttpPaymentProvider) -> None:
    """A payment that is unknown, only held, or voided is refused as a bug."""
    held, unknown = hold_of(new_card()), hold_of(new_card())
    await sandbox.authorize(held)
    voided = await charged(sandbox, new_card())
    await sandbox.void(void_of(voided))
    for hold, reason in ((unknown, "404"), (held, "409.*not_captured"), (voided, "409.*not_captured")):
        with pytest.raises(ProviderContractError, match=reason):
            await sandbox.refund(refund_of(hold))


@pytest.mark.rule("R6")
async def test_asking_tells_how_a_reference_stands(sandbox: HttpPaymentProvider) -> None:
    """A question moves nothing: a payment is told in each of its states, what the provider never heard of as unanswered."""
    hold, declined = hold_of(new_card()), hold_of(new_card("card-decline"))
    for unknown in (ask_of(hold), ask_of(refund_of(hold))):
        outcome = await sandbox.ask(unknown)
        assert (outcome.result, outcome.reference) == (Result.UNANSWERED, unknown.reference)
    approved = await sandbox.authorize(hold)
    assert await sandbox.ask(ask_of(hold)) == approved
    await sandbox.capture(capture_of(hold))
    assert (await sandbox.ask(ask_of(hold))).result == Result.CAPTURED
    await sandbox.void(void_of(hold))
    assert (await sandbox.ask(ask_of(hold))).result == Result.VOIDED
    await sandbox.authorize(declined)
    outcome = await sandbox.ask(ask_of(declined))
    assert (outcome.result, outcome.decline_code) == (Result.DECLINED, "card_declined")


async def test_asking_late_finds_a_hold_lapsed(sandbox: HttpPaymentProvider) -> None:
    """A question is judged by the order's clock: past its expiry a hold is told as lapsed."""
    hold = hold_of(new_card())
    await sandbox.authorize(hold)
    assert (await sandbox.ask(ask_of(hold, at=NOW + timedelta(days=7)))).result == Result.LAPSED


@pytest.mark.rule("R6")
async def test_a_refund_moves_money_once_when_it_is_paid(sandbox: HttpPaymentProvider, http: httpx.AsyncClient) -> None:
    """The charge goes down when the refund is paid, not before, and the log shows both steps."""
    card = new_card("card-refund-hold")
    hold = await charged(sandbox, card)
    refund = refund_of(hold)
    await sandbox.refund(refund)
    await sandbox.refund(refund)
    assert await used(http, card) == (0, 1000)
    assert [await settled(http, refund, "paid") for _ in range(2)] == [200, 200]
    assert await settled(http, refund, "failed") == 409
    assert await settled(http, refund_of(hold), "paid") == 404
    assert await used(http, card) == (0, 600)
    assert (await logged(http, hold.order_number))[2:] == [("refund", 400), ("replay", 400), ("refund_paid", 400)]
    assert (await sandbox.ask(ask_of(refund))).result == Result.REFUND_PAID


async def test_an_order_s_refunds_are_listed(sandbox: HttpPaymentProvider, http: httpx.AsyncClient) -> None:
    """The provider shows one refund or all of an order, and refuses a payment of another order."""
    hold = await charged(sandbox, new_card("card-refund-hold"))
    first, second = refund_of(hold, 100), refund_of(hold, 200)
    await sandbox.refund(first)
    await sandbox.refund(second)
    listed = (await http.get("/refunds", params={"order_number": hold.order_number})).json()
    assert [row["reference"] for row in listed] == [first.reference, second.reference]
    expected = {"status": "pending", "failure_code": None, "amount_minor": 100, "payment_reference": hold.reference}
    assert expected.items() <= listed[0].items()
    assert (await http.get("/refunds")).status_code == 422
    stranger = refund_of(hold).model_copy(update={"order_number": "another"})
    with pytest.raises(ProviderContractError, match=r"422.*wrong_order"):
        await sandbox.refund(stranger)


@pytest.mark.rule("R6")
async def test_a_lost_refund_answer_is_resolved_by_asking(
    sandbox: HttpPaymentProvider, faults: httpx.AsyncClient
) -> None:
    """A refund whose answer was lost is found by asking; one that never arrived is told as unanswered."""
    hold = await charged(sandbox, new_card("card-refund-hold"))
    lost, refused = refund_of(hold), refund_of(hold)
    for kind, refund, found in (
        ("lose_answer", lost, Result.REFUND_PENDING),
        ("down", refused, Result.UNANSWERED),
    ):
        await faults.post("/faults", json={"kind": kind, "count": 1, "path": "/refunds"})
        with pytest.raises(ProviderUnavailable, match=rf"/refunds.*{refund.reference} is unknown"):
            await sandbox.refund(refund)
        assert (await sandbox.ask(ask_of(refund))).result == found


@pytest.mark.parametrize("answer", ["<html>", '{"error": "http_error", "message": "Not Found"}'])
async def test_a_404_that_names_no_reference_is_no_answer(answer: str) -> None:
    """Only the provider itself can say that it does not know a reference: a wrong address is an error."""
    provider = HttpPaymentProvider("http://provider.invalid")
    transport = httpx.MockTransport(lambda _: httpx.Response(404, text=answer))
    provider._http = httpx.AsyncClient(base_url="http://provider.invalid", transport=transport)
    with pytest.raises(ProviderContractError, match="404"):
        await provider.ask(ask_of(hold_of(new_card())))
    await provider.aclose()


async def test_a_void_reverses_only_what_is_not_refunded(sandbox: HttpPaymentProvider, http: httpx.AsyncClient) -> None:
    """A void leaves paid and pending refunds alone, and a refund that fails afterwards goes back all the same."""
    card = new_card("card-refund-hold")
    hold = await charged(sandbox, card)
    paid, pending, failing = refund_of(hold, 100), refund_of(hold, 200), refund_of(hold, 300)
    for refund in (paid, pending, failing):
        await sandbox.refund(refund)
    await settled(http, paid, "paid")
    await sandbox.void(void_of(hold))
    assert await used(http, card) == (0, 500)
    await settled(http, pending, "paid")
    await settled(http, failing, "failed")
    assert await used(http, card) == (0, 0)
    assert [line for line in await logged(http, hold.order_number) if line[0] == "reverse"] == [
        ("reverse", 400),
        ("reverse", 300),
    ]


async def test_a_pending_refund_outlives_a_kill(tmp_path: Path) -> None:
    """The next run of a provider that was killed pays what the last one had promised, and no sooner than promised."""
    card = new_card()
    with run_provider(tmp_path, "--refund-seconds", "3600") as process:
        provider = HttpPaymentProvider(process.url)
        hold = await charged(provider, card)
        far = refund_of(hold, 100)
        assert (await provider.refund(far)).result == Result.REFUND_PENDING
        await provider.aclose()
    with run_provider(tmp_path, "--refund-seconds", "0.5") as process:
        provider = HttpPaymentProvider(process.url)
        near = refund_of(hold, 200)
        assert (await provider.refund(near)).result == Result.REFUND_PENDING
        os.kill(process.popen.pid, signal.SIGKILL)
        process.popen.wait(10)
        await provider.aclose()
    with run_provider(tmp_path) as process:
        provider = HttpPaymentProvider(process.url)
        assert (await ended(provider, near)).result == Result.REFUND_PAID
        assert (await provider.ask(ask_of(far))).result == Result.REFUND_PENDING
        async with httpx.AsyncClient(base_url=process.url) as http:
            assert await used(http, card) == (0, 800)
        await provider.aclose()


@pytest.mark.rule("R2")
async def test_twenty_refunds_at_once_take_what_was_captured(
    sandbox: HttpPaymentProvider, http: httpx.AsyncClient
) -> None:
    """Of twenty concurrent refunds of 300 on a capture of 1000, exactly three are accepted and paid."""
    card = new_card()
    hold = await charged(sandbox, card)
    refunds = [refund_of(hold, 300) for _ in range(20)]
    outcomes = await asyncio.gather(*(sandbox.refund(refund) for refund in refunds), return_exceptions=True)
    accepted = [refund for refund, outcome in zip(refunds, outcomes, strict=True) if isinstance(outcome, Outcome)]
    assert len(accepted) == 3
    assert sum(isinstance(outcome, ProviderContractError) for outcome in outcomes) == 17
    assert {(await ended(sandbox, refund)).result for refund in accepted} == {Result.REFUND_PAID}
    assert await used(http, card) == (0, 100)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["refund", "refund", "refund", "paid", "failed", "void"]), st.integers(0, 2), st.integers(1, 60)
    ),
    max_size=16,
)


@pytest.mark.rule("R2")
@given(steps=STEPS, at_once=st.booleans())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_no_sequence_of_refunds_overdraws_a_capture(
    sandbox: HttpPaymentProvider, http: httpx.AsyncClient, steps: list[tuple[str, int, int]], at_once: bool
) -> None:
    """Whatever is refunded, paid, failed and voided, in turn or at once: no more goes back than was captured."""
    card = new_card("card-refund-hold")
    hold = await charged(sandbox, card, 100)

    async def do(name: str, index: int, amount: int) -> None:
        refund = refund_of(hold, amount).model_copy(update={"reference": f"{hold.order_number}/{index}/refund"})
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "refund": lambda: sandbox.refund(refund),
            "paid": lambda: settled(http, refund, "paid"),
            "failed": lambda: settled(http, refund, "failed"),
            "void": lambda: sandbox.void(void_of(hold)),
        }
        with suppress(ProviderContractError):
            await calls[name]()

    if at_once:
        await asyncio.gather(*(do(*step) for step in steps))
    else:
        for step in steps:
            await do(*step)
    refunds = (await http.get("/refunds", params={"order_number": hold.order_number})).json()
    sums = {
        status: sum(row["amount_minor"] for row in refunds if row["status"] == status) for status in ("pending", "paid")
    }
    assert sum(sums.values()) <= 100
    state = (await http.get("/authorizations", params={"reference": hold.reference})).json()
    left = sums["pending"] if state["status"] == "voided" else 100 - sums["paid"]
    assert await used(http, card) == (0, left)
    assert folded((await http.get("/log", params={"order_number": hold.order_number})).json()) == (0, left)
