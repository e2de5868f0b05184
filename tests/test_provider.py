"""The payment provider: what any provider behind the protocol does, and what the sandbox's holds and charges on a card."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from provider_kit import NOW, capture_of, folded, hold_of, logged, new_card, new_order, used, void_of

from activities.provider import HttpPaymentProvider, PaymentProvider, ProviderContractError
from domain.effects import Result
from sandbox.provider_book import Book
from sandbox.provider_store import Ledger
from sandbox.provider_tables import Clock, Payment

pytest_plugins = ["provider_kit"]

HOLD_PERIOD = timedelta(days=7)


class ProviderConformance:
    """What every payment provider behind the protocol does; a subclass names the provider by its fixture."""

    @pytest.fixture
    def provider(self) -> PaymentProvider:
        """Give the provider under test."""
        raise NotImplementedError

    async def test_a_good_card_is_held_for_the_hold_period(self, provider: PaymentProvider) -> None:
        """An approved authorisation tells when its hold lapses."""
        hold = hold_of(new_card())
        outcome = await provider.authorize(hold)
        assert (outcome.result, outcome.reference) == (Result.AUTHORIZED, hold.reference)
        assert outcome.expires_at == NOW + HOLD_PERIOD

    async def test_a_bad_card_is_declined_with_a_code(self, provider: PaymentProvider) -> None:
        """A declined authorisation is an outcome with a code, not an error."""
        outcome = await provider.authorize(hold_of(new_card("card-decline")))
        assert (outcome.result, outcome.decline_code) == (Result.DECLINED, "card_declined")

    async def test_no_card_at_all_is_declined(self, provider: PaymentProvider) -> None:
        """A token that names no card is declined as invalid."""
        outcome = await provider.authorize(hold_of("voucher-17"))
        assert (outcome.result, outcome.decline_code) == (Result.DECLINED, "invalid_card")

    async def test_the_second_try_of_an_order_is_approved(self, provider: PaymentProvider) -> None:
        """The retry card declines each order once, and a repetition of that request stays declined."""
        card, order = new_card("card-retry"), new_order()
        first = hold_of(card, order=order)
        assert (await provider.authorize(first)).result == Result.DECLINED
        assert (await provider.authorize(first)).result == Result.DECLINED
        assert (await provider.authorize(hold_of(card, order=order))).result == Result.AUTHORIZED
        assert (await provider.authorize(hold_of(card))).result == Result.DECLINED

    async def test_a_repeated_authorisation_gets_the_same_answer(self, provider: PaymentProvider) -> None:
        """The same request later is answered as the first one was, with the first expiry."""
        hold = hold_of(new_card())
        first = await provider.authorize(hold)
        again = await provider.authorize(hold.model_copy(update={"at": NOW + timedelta(hours=1)}))
        assert again == first

    async def test_a_reference_with_another_amount_is_a_contract_error(self, provider: PaymentProvider) -> None:
        """A reference that is used for two different holds is a bug, and the message says which."""
        hold = hold_of(new_card())
        await provider.authorize(hold)
        with pytest.raises(ProviderContractError, match=f"{hold.reference}.*409.*idempotency_conflict"):
            await provider.authorize(hold.model_copy(update={"amount_minor": 2000}))

    @pytest.mark.rule("S2")
    async def test_a_hold_is_captured_once_however_often_it_is_asked(self, provider: PaymentProvider) -> None:
        """Ten concurrent captures of a hold are all answered captured."""
        hold = hold_of(new_card())
        await provider.authorize(hold)
        outcomes = await asyncio.gather(*(provider.capture(capture_of(hold)) for _ in range(10)))
        assert {outcome.result for outcome in outcomes} == {Result.CAPTURED}

    async def test_a_capture_of_more_than_the_hold_is_a_contract_error(self, provider: PaymentProvider) -> None:
        """Nothing beyond the hold is charged."""
        hold = hold_of(new_card())
        await provider.authorize(hold)
        with pytest.raises(ProviderContractError, match="422"):
            await provider.capture(capture_of(hold, 1001))

    async def test_a_capture_of_an_unknown_reference_is_a_contract_error(self, provider: PaymentProvider) -> None:
        """A charge without a hold is refused."""
        with pytest.raises(ProviderContractError, match="404"):
            await provider.capture(capture_of(hold_of(new_card())))

    async def test_a_card_can_decline_the_charge(self, provider: PaymentProvider) -> None:
        """A hold that was approved may be declined when charged, on every try."""
        hold = hold_of(new_card("card-capture-decline"))
        assert (await provider.authorize(hold)).result == Result.AUTHORIZED
        for _ in range(2):
            outcome = await provider.capture(capture_of(hold))
            assert (outcome.result, outcome.decline_code) == (Result.DECLINED, "card_declined")

    @pytest.mark.rule("C9")
    async def test_a_void_is_final_and_may_be_repeated(self, provider: PaymentProvider) -> None:
        """After a void neither a capture nor a repeated authorisation brings the hold back."""
        hold = hold_of(new_card())
        await provider.authorize(hold)
        for _ in range(3):
            assert (await provider.void(void_of(hold))).result == Result.VOIDED
        assert (await provider.capture(capture_of(hold))).result == Result.VOIDED
        assert (await provider.authorize(hold)).result == Result.VOIDED

    @pytest.mark.rule("C9")
    async def test_an_authorisation_after_its_void_holds_nothing(self, provider: PaymentProvider) -> None:
        """A void that overtakes its authorisation voids it beforehand."""
        hold = hold_of(new_card())
        assert (await provider.void(void_of(hold))).result == Result.VOIDED
        for _ in range(2):
            assert (await provider.authorize(hold)).result == Result.VOIDED
        assert (await provider.capture(capture_of(hold))).result == Result.VOIDED

    async def test_a_hold_lapses_at_its_expiry_and_not_before(self, provider: PaymentProvider) -> None:
        """A capture is judged by the order's clock: in time until the expiry, lapsed from it on."""
        early, late = hold_of(new_card()), hold_of(new_card())
        await provider.authorize(early)
        await provider.authorize(late)
        last_instant = NOW + HOLD_PERIOD - timedelta(microseconds=1)
        assert (await provider.capture(capture_of(early, at=last_instant))).result == Result.CAPTURED
        assert (await provider.capture(capture_of(late, at=NOW + HOLD_PERIOD))).result == Result.LAPSED

    @pytest.mark.rule("S2")
    async def test_a_lapsed_hold_is_renewed_under_a_new_reference(self, provider: PaymentProvider) -> None:
        """A new hold replaces the lapsed one and can be charged."""
        old, later = hold_of(new_card()), NOW + timedelta(days=8)
        await provider.authorize(old)
        renewed = hold_of(old.card, order=old.order_number, at=later)
        assert (await provider.authorize(renewed)).expires_at == later + HOLD_PERIOD
        assert (await provider.capture(capture_of(renewed, at=later))).result == Result.CAPTURED
        assert (await provider.capture(capture_of(old, at=later))).result == Result.LAPSED


class TestSandboxProvider(ProviderConformance):
    """The sandbox's provider conforms."""

    @pytest.fixture
    def provider(self, sandbox: HttpPaymentProvider) -> PaymentProvider:
        """Give the sandbox's provider."""
        return sandbox


@pytest.mark.rule("G3")
async def test_a_declined_card_is_charged_nothing(sandbox: HttpPaymentProvider, http: httpx.AsyncClient) -> None:
    """A decline leaves no hold and cannot be charged afterwards."""
    hold = hold_of(new_card("card-decline"))
    await sandbox.authorize(hold)
    assert (await sandbox.capture(capture_of(hold))).result == Result.DECLINED
    assert await used(http, hold.card) == (0, 0)
    assert await logged(http, hold.order_number) == [("decline", 1000), ("decline", 1000)]


@pytest.mark.rule("S2")
async def test_repeated_captures_charge_once(sandbox: HttpPaymentProvider, http: httpx.AsyncClient) -> None:
    """The balance and the log show one charge after concurrent repetitions."""
    hold = hold_of(new_card())
    await sandbox.authorize(hold)
    await asyncio.gather(*(sandbox.capture(capture_of(hold)) for _ in range(8)))
    assert await used(http, hold.card) == (0, 1000)
    assert await logged(http, hold.order_number) == [("authorize", 1000), ("capture", 1000), *[("replay", 1000)] * 7]


@pytest.mark.rule("C9")
async def test_a_void_releases_a_hold_and_reverses_a_charge(
    sandbox: HttpPaymentProvider, http: httpx.AsyncClient
) -> None:
    """After a void nothing is held or charged, whatever came before it."""
    card, order = new_card(), new_order()
    held, charged = hold_of(card, 300, order=order), hold_of(card, 500, order=order)
    await sandbox.authorize(held)
    await sandbox.authorize(charged)
    await sandbox.capture(capture_of(charged))
    assert await used(http, card) == (300, 500)
    await sandbox.void(void_of(held))
    await sandbox.void(void_of(charged))
    assert await used(http, card) == (0, 0)
    assert (await logged(http, order))[-2:] == [("void", 300), ("reverse", 500)]


@pytest.mark.rule("C9")
async def test_a_tombstone_holds_nothing_and_is_logged(sandbox: HttpPaymentProvider, http: httpx.AsyncClient) -> None:
    """An authorisation that arrives after its void is refused without touching the card."""
    hold = hold_of(new_card())
    await sandbox.void(void_of(hold))
    await sandbox.authorize(hold)
    assert await used(http, hold.card) == (0, 0)
    assert await logged(http, hold.order_number) == [("void", 0), ("refuse", 1000)]


async def test_a_lapsed_hold_no_longer_counts(sandbox: HttpPaymentProvider, http: httpx.AsyncClient) -> None:
    """A hold frees the card once its order's clock has passed the expiry; other orders' clocks leave it alone."""
    card = new_card()
    await http.post("/cards", json={"card": card, "limit_minor": 1000})
    hold, later = hold_of(card), NOW + timedelta(days=30)
    await sandbox.authorize(hold)
    assert (await sandbox.authorize(hold_of(card, at=later))).decline_code == "insufficient_funds"
    state = await http.get(
        "/authorizations", params={"reference": hold.reference}, headers={"Sandbox-Clock": later.isoformat()}
    )
    assert state.json()["status"] == "lapsed"
    assert (await sandbox.authorize(hold_of(card, at=later))).result == Result.AUTHORIZED
    assert await logged(http, hold.order_number) == [("authorize", 1000), ("lapse", 1000)]


def test_without_a_clock_holds_lapse_by_the_providers_own(tmp_path: Path) -> None:
    """A caller that sends no clock is judged by the provider's, and a lapse frees the card for other orders."""
    card = new_card()
    book = Book(tmp_path / "provider.db")
    ledger = Ledger(book, timedelta(0), timedelta(0))
    ledger.set_limit(card, None, 1000)
    for hold in (hold_of(card), hold_of(card)):
        own_clock = Clock(datetime.now(UTC), own=True)
        payment = Payment(hold.reference, hold.order_number, 1000, "EUR", card)
        assert ledger.authorize(payment, own_clock).body["status"] == "authorized"
    assert ledger.accounts(Clock(datetime.now(UTC), own=True))[0]["held_minor"] == 0
    book.close()


async def test_another_key_does_not_charge_again(sandbox: HttpPaymentProvider, http: httpx.AsyncClient) -> None:
    """A captured hold refuses another key, and a key refuses another amount or reference."""
    hold, other = hold_of(new_card()), hold_of(new_card())
    await sandbox.authorize(hold)
    await sandbox.authorize(other)
    await sandbox.capture(capture_of(hold, 400))

    async def capture(reference: str, amount_minor: int, key: str) -> tuple[int, str]:
        body = {"reference": reference, "amount_minor": amount_minor}
        answer = await http.post("/captures", json=body, headers={"Idempotency-Key": key})
        return answer.status_code, answer.json()["error"]

    key = f"{hold.reference}/capture"
    assert await capture(hold.reference, 400, "another") == (409, "already_captured")
    assert await capture(hold.reference, 401, key) == (409, "idempotency_conflict")
    assert await capture(other.reference, 400, key) == (409, "idempotency_conflict")
    assert await used(http, hold.card) == (0, 400)
    assert await used(http, other.card) == (1000, 0)


async def test_an_order_s_references_are_listed(sandbox: HttpPaymentProvider, http: httpx.AsyncClient) -> None:
    """The provider tells the state of one reference, of all of an order, and 404 for a stranger."""
    order = new_order()
    holds = [hold_of(new_card(kind), order=order) for kind in ("card-approve", "card-decline")]
    for hold in holds:
        await sandbox.authorize(hold)
    listed = (await http.get("/authorizations", params={"order_number": order})).json()
    assert {row["reference"]: row["status"] for row in listed} == {
        holds[0].reference: "authorized",
        holds[1].reference: "declined",
    }
    assert (await http.get("/authorizations", params={"reference": "nobody"})).status_code == 404
    assert (await http.get("/authorizations")).status_code == 422


async def test_a_limit_is_per_currency_and_never_below_what_is_used(
    sandbox: HttpPaymentProvider, http: httpx.AsyncClient
) -> None:
    """Limits of one currency leave the others alone, and cannot be set below what is in use."""
    card = new_card()
    await http.post("/cards", json={"card": card, "limit_minor": 5000})
    await http.post("/cards", json={"card": card, "limit_minor": 10, "currency": "JPY"})
    assert (await sandbox.authorize(hold_of(card, 4000))).result == Result.AUTHORIZED
    yen = hold_of(card, 11).model_copy(update={"currency": "JPY"})
    assert (await sandbox.authorize(yen)).decline_code == "insufficient_funds"
    refused = await http.post("/cards", json={"card": card, "limit_minor": 3999, "currency": "EUR"})
    assert (refused.status_code, refused.json()["error"]) == (409, "limit_below_use")


STEPS = st.lists(
    st.tuples(st.sampled_from(["authorize", "capture", "void"]), st.integers(0, 5), st.integers(1, 60)), max_size=24
)


@given(steps=STEPS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_concurrent_requests_never_overdraw(
    sandbox: HttpPaymentProvider, http: httpx.AsyncClient, steps: list[tuple[str, int, int]]
) -> None:
    """Whatever arrives at once, a card is never overdrawn, and the log adds up to the balance."""
    card, order = new_card(), new_order()
    await http.post("/cards", json={"card": card, "limit_minor": 100})

    async def do(name: str, index: int, amount: int) -> None:
        hold = hold_of(card, amount, order=order).model_copy(update={"reference": f"{order}/{index}/authorize"})
        calls = {
            "authorize": lambda: sandbox.authorize(hold),
            "capture": lambda: sandbox.capture(capture_of(hold)),
            "void": lambda: sandbox.void(void_of(hold)),
        }
        with suppress(ProviderContractError):
            await calls[name]()

    await asyncio.gather(*(do(*step) for step in steps))
    held, captured = await used(http, card)
    assert held >= 0
    assert captured >= 0
    assert held + captured <= 100
    assert folded((await http.get("/log", params={"order_number": order})).json()) == (held, captured)


async def test_twenty_holds_at_once_take_what_the_card_has(
    sandbox: HttpPaymentProvider, http: httpx.AsyncClient
) -> None:
    """Of twenty concurrent holds of 300 on a limit of 1000, exactly three are approved."""
    card = new_card()
    await http.post("/cards", json={"card": card, "limit_minor": 1000})
    outcomes = await asyncio.gather(*(sandbox.authorize(hold_of(card, 300)) for _ in range(20)))
    assert sum(outcome.result == Result.AUTHORIZED for outcome in outcomes) == 3
    assert {outcome.decline_code for outcome in outcomes} == {None, "insufficient_funds"}
    assert await used(http, card) == (900, 0)
