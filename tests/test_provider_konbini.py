"""Convenience-store payments and points wallets at the payment provider, through the engine's client (P5, G7)."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from live_kit import until
from provider_kit import (
    DUE,
    NOW,
    ask_of,
    capture_of,
    hold_of,
    konbini_of,
    logged,
    new_card,
    new_order,
    pay_at_shop,
    refund_of,
    used,
    void_of,
)

from activities.provider import HttpPaymentProvider, ProviderContractError, ProviderUnavailable
from domain.effects import Result
from domain.refund import PaymentMethod

pytest_plugins = ["provider_kit"]


async def held_at_shop(http: httpx.AsyncClient, number: str | None) -> tuple[int, int]:
    """Return what is held and charged of a convenience-store payment, in euro cents."""
    return await used(http, f"konbini-{number}")


async def comes_to(http: httpx.AsyncClient, number: str | None, wanted: tuple[int, int]) -> None:
    """Wait until the bank has paid back what is not wanted of a convenience-store payment."""

    async def there() -> bool:
        return await held_at_shop(http, number) == wanted

    await until(there, f"{wanted} held and charged")


@pytest.mark.rule("P5")
async def test_a_number_is_issued_until_the_due_date(sandbox: HttpPaymentProvider, http: httpx.AsyncClient) -> None:
    """A convenience-store payment awaits its money under a number of 12 digits, the same one however often it is asked."""
    request = konbini_of()
    outcome = await sandbox.authorize(request)
    assert (outcome.result, outcome.reference, outcome.due_at) == (Result.AWAITING, request.reference, DUE)
    assert outcome.number is not None
    assert len(outcome.number) == 12
    assert outcome.number.isdigit()
    assert await sandbox.authorize(request) == outcome == await sandbox.ask(ask_of(request))
    assert (await sandbox.authorize(konbini_of())).number != outcome.number
    assert await held_at_shop(http, outcome.number) == (0, 0)


@pytest.mark.rule("P5")
async def test_a_paid_number_is_held_and_captured_whenever(
    sandbox: HttpPaymentProvider, http: httpx.AsyncClient
) -> None:
    """What a shop took is held without an expiry, long past the due date, and is charged and refunded like a card's hold."""
    request = konbini_of()
    number = (await sandbox.authorize(request)).number
    with pytest.raises(ProviderContractError, match=r"409.*not_paid"):
        await sandbox.capture(capture_of(request))
    assert await pay_at_shop(http, number, at=DUE - timedelta(microseconds=1)) == (200, "authorized")
    later = NOW + timedelta(days=300)
    for outcome in (await sandbox.authorize(request), await sandbox.ask(ask_of(request, at=later))):
        assert (outcome.result, outcome.expires_at) == (Result.AUTHORIZED, None)
    assert await held_at_shop(http, number) == (1000, 0)
    assert (await sandbox.capture(capture_of(request, 900, at=later))).result == Result.CAPTURED
    await comes_to(http, number, (0, 900))
    assert (await sandbox.refund(refund_of(request, 900))).result == Result.REFUND_PENDING
    assert (await logged(http, request.order_number))[:3] == [("issue", 1000), ("refuse", 1000), ("pay", 1000)]


@pytest.mark.rule("G7")
async def test_past_its_due_date_a_number_lapses(sandbox: HttpPaymentProvider, http: httpx.AsyncClient) -> None:
    """An unpaid number lapses at its due date by the order's clock, and a shop then takes nothing."""
    request = konbini_of()
    number = (await sandbox.authorize(request)).number
    assert (await sandbox.ask(ask_of(request, at=DUE - timedelta(microseconds=1)))).result == Result.AWAITING
    assert (await sandbox.ask(ask_of(request, at=DUE))).result == Result.LAPSED
    assert (await sandbox.authorize(request)).result == Result.LAPSED
    assert await pay_at_shop(http, number, at=DUE) == (409, "lapsed")
    assert (await sandbox.capture(capture_of(request))).result == Result.LAPSED
    assert [line for line in await logged(http, request.order_number) if line[0] == "expire"] == [("expire", 1000)]


@pytest.mark.rule("G7")
async def test_a_till_at_the_due_date_is_the_first_to_notice(
    sandbox: HttpPaymentProvider, http: httpx.AsyncClient
) -> None:
    """A shop refuses a number at its due date although nobody asked about it since."""
    number = (await sandbox.authorize(konbini_of())).number
    assert await pay_at_shop(http, number, at=DUE) == (409, "lapsed")


async def test_a_number_is_paid_once(sandbox: HttpPaymentProvider, http: httpx.AsyncClient) -> None:
    """Of ten tills at once one takes the money; later ones refuse it, late or not, and an unknown number is unknown."""
    number = (await sandbox.authorize(konbini_of())).number
    answers = await asyncio.gather(*(pay_at_shop(http, number) for _ in range(10)))
    assert sorted(answers) == [(200, "authorized"), *[(409, "already_paid")] * 9]
    assert await pay_at_shop(http, number, late=True) == (409, "already_paid")
    assert await held_at_shop(http, number) == (1000, 0)
    assert await pay_at_shop(http, "000000000000") == (404, "unknown_number")


@pytest.mark.rule("C9")
async def test_a_voided_number_can_no_longer_be_paid(sandbox: HttpPaymentProvider, http: httpx.AsyncClient) -> None:
    """A void of an unpaid number ends it, and a void of a paid one gives the money back."""
    unpaid, paid = konbini_of(), konbini_of()
    numbers = [(await sandbox.authorize(request)).number for request in (unpaid, paid)]
    await pay_at_shop(http, numbers[1])
    for request in (unpaid, paid):
        for _ in range(2):
            assert (await sandbox.void(void_of(request))).result == Result.VOIDED
        assert (await sandbox.authorize(request)).result == Result.VOIDED
    assert await pay_at_shop(http, numbers[0]) == (409, "voided")
    for number in numbers:
        await comes_to(http, number, (0, 0))
    assert (await logged(http, unpaid.order_number))[:2] == [("issue", 1000), ("void", 0)]
    assert (await logged(http, paid.order_number))[:3] == [("issue", 1000), ("pay", 1000), ("reverse", 1000)]


@pytest.mark.rule("C9")
@pytest.mark.parametrize("ending", ["voided", "lapsed"])
async def test_a_late_payment_is_held_and_a_new_void_gives_it_back(
    sandbox: HttpPaymentProvider, http: httpx.AsyncClient, ending: str
) -> None:
    """A shop that took the money too late leaves it held under the reference, and voiding again pays it back."""
    request = konbini_of()
    number = (await sandbox.authorize(request)).number
    if ending == "voided":
        await sandbox.void(void_of(request))
    assert await pay_at_shop(http, number, late=True, at=DUE) == (200, "authorized")
    assert (await sandbox.ask(ask_of(request))).result == Result.AUTHORIZED
    assert await held_at_shop(http, number) == (1000, 0)
    assert (await sandbox.void(void_of(request))).result == Result.VOIDED
    await comes_to(http, number, (0, 0))
    steps = [line for line in await logged(http, request.order_number) if line[0] in ("pay_late", "reverse")]
    assert steps == [("pay_late", 1000), ("reverse", 1000)]


@pytest.mark.rule("C9")
async def test_a_number_is_not_issued_after_its_void(sandbox: HttpPaymentProvider, http: httpx.AsyncClient) -> None:
    """A void that overtakes its authorisation leaves no number to pay."""
    request = konbini_of()
    await sandbox.void(void_of(request))
    for _ in range(2):
        outcome = await sandbox.authorize(request)
        assert (outcome.result, outcome.number) == (Result.VOIDED, None)
    assert await logged(http, request.order_number) == [("void", 0), ("refuse", 1000), ("replay", 1000)]


async def test_a_reference_with_another_due_date_is_a_contract_error(sandbox: HttpPaymentProvider) -> None:
    """The due date and the method belong to what a reference stands for; a missing due date is refused."""
    request = konbini_of()
    await sandbox.authorize(request)
    for change in ({"due_at": DUE + timedelta(hours=1)}, {"method": PaymentMethod.CARD, "card": new_card()}):
        with pytest.raises(ProviderContractError, match=r"409.*idempotency_conflict"):
            await sandbox.authorize(request.model_copy(update=change))
    with pytest.raises(ProviderContractError, match=r"422.*due_at"):
        await sandbox.authorize(konbini_of().model_copy(update={"due_at": None}))


async def test_without_a_clock_a_number_lapses_by_the_providers_own(http: httpx.AsyncClient) -> None:
    """A caller that sends no clock is judged by the provider's."""
    body = {"amount_minor": 1000, "currency": "JPY", "method": "konbini", "order_number": new_order()}
    states = []
    for reference, passed in (("early", timedelta(days=1)), ("late", -timedelta(seconds=1))):
        due_at = (datetime.now(UTC) + passed).isoformat()
        sent = {**body, "reference": f"{body['order_number']}/{reference}", "due_at": due_at}
        states.append((await http.post("/authorizations", json=sent)).json()["status"])
    assert states == ["awaiting", "lapsed"]


@pytest.mark.parametrize(
    "answer",
    [
        '{"reference": "REF", "status": "awaiting", "due_at": "2031-03-04T12:00:00Z"}',
        '{"reference": "REF", "status": "awaiting", "number": "123456789012"}',
    ],
)
async def test_a_number_without_a_due_date_is_no_answer(answer: str) -> None:
    """A payment that nobody could pay leaves its outcome unknown."""
    request = konbini_of()
    provider = HttpPaymentProvider("http://provider.invalid")
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=answer.replace("REF", request.reference)))
    provider._http = httpx.AsyncClient(base_url="http://provider.invalid", transport=transport)
    with pytest.raises(ProviderUnavailable, match="without number or due_at"):
        await provider.authorize(request)
    await provider.aclose()


@pytest.mark.rule("P5")
async def test_a_wallet_is_held_without_an_expiry(sandbox: HttpPaymentProvider, http: httpx.AsyncClient) -> None:
    """Points are held on the buyer's wallet up to its balance, never lapse, and are charged like a card."""
    wallet = new_card("points-buyer")
    await http.post("/cards", json={"card": wallet, "limit_minor": 500})
    hold = hold_of(wallet, 400).model_copy(update={"method": PaymentMethod.POINTS})
    outcome = await sandbox.authorize(hold)
    assert (outcome.result, outcome.expires_at) == (Result.AUTHORIZED, None)
    assert (await sandbox.authorize(hold_of(wallet, 200))).decline_code == "insufficient_funds"
    assert (await sandbox.capture(capture_of(hold, at=NOW + timedelta(days=300)))).result == Result.CAPTURED
    assert await used(http, wallet) == (0, 400)


@pytest.mark.rule("R5")
async def test_points_come_back_at_once(sandbox: HttpPaymentProvider, http: httpx.AsyncClient) -> None:
    """A refund to a wallet is paid with its acceptance, and the points can be used again."""
    wallet = new_card("points-buyer")
    hold = hold_of(wallet)
    await sandbox.authorize(hold)
    await sandbox.capture(capture_of(hold))
    refund = refund_of(hold)
    for _ in range(2):
        assert (await sandbox.refund(refund)).result == Result.REFUND_PAID
    assert await used(http, wallet) == (0, 600)
    assert (await logged(http, hold.order_number))[2:4] == [("refund", 400), ("refund_paid", 400)]


async def test_a_wallet_does_not_count_as_the_first_card(sandbox: HttpPaymentProvider) -> None:
    """The retry card declines an order's first card even when points were held before."""
    order = new_order()
    await sandbox.authorize(hold_of(new_card("points-buyer"), order=order))
    assert (await sandbox.authorize(hold_of(new_card("card-retry"), order=order))).result == Result.DECLINED
