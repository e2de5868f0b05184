"""The Stripe adapter where it differs from any other provider: keys that end, the search's delay, currencies."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from provider_drivers import AT, StripeDriver, ask_about, at_store, hold_at, refund_of
from provider_kit import capture_of, hold_of, new_order, void_of
from stripe_account import Json, Refused
from stripe_fake import SECRET_KEY, Fault

from activities.provider import ProviderContractError, ProviderUnavailable
from activities.stripe_provider import StripePaymentProvider
from activities.stripe_wire import stripe_amount
from domain.effects import Authorize, Result
from domain.refund import PaymentMethod

pytest_plugins = ["provider_drivers"]


def old(request: Authorize) -> Authorize:
    """Return the request as it was decided two days ago."""
    return request.model_copy(update={"at": AT - timedelta(days=2)})


# One reference is one PaymentIntent, also when Stripe has forgotten its idempotency keys.


@pytest.mark.rule("R6", "S2")
async def test_a_hold_is_found_after_its_key_is_forgotten(shop: StripeDriver) -> None:
    """The order's charges tell of a hold at once, even while the search knows nothing."""
    hold = old(hold_at(shop))
    first = await shop.provider.authorize(hold)
    shop.fake.keys.clear()
    assert await shop.provider.authorize(hold) == first
    assert (await shop.provider.capture(capture_of(hold, at=AT))).result is Result.CAPTURED
    shop.fake.keys.clear()
    assert (await shop.provider.capture(capture_of(hold, at=AT))).result is Result.CAPTURED
    assert (await shop.provider.void(void_of(hold))).result is Result.VOIDED
    shop.fake.keys.clear()
    assert (await shop.provider.void(void_of(hold))).result is Result.VOIDED
    assert shop.fake.money(hold.order_number) == (0, 0, 1000)


@pytest.mark.rule("G7")
async def test_a_number_is_found_after_its_key_is_forgotten(shop: StripeDriver) -> None:
    """A number that nobody has paid has no charge: for the first day its key answers, then the search does."""
    payment = at_store()
    first = await shop.provider.authorize(payment)
    assert await shop.provider.authorize(payment) == first
    shop.fake.a_day_passes()
    assert await shop.provider.authorize(old(payment)) == first
    assert (await shop.provider.ask(ask_about(payment))) == first
    assert (await shop.provider.void(void_of(payment))).result is Result.VOIDED
    assert len(shop.fake.intents) == 1


@pytest.mark.rule("C9")
async def test_a_void_is_found_by_an_authorisation_days_later(shop: StripeDriver) -> None:
    """A void that came first still prevents the hold when its key is forgotten."""
    hold = old(hold_at(shop))
    await shop.provider.void(void_of(hold))
    shop.fake.a_day_passes()
    assert (await shop.provider.authorize(hold)).result is Result.VOIDED
    assert len(shop.fake.intents) == 1


@pytest.mark.rule("C9")
async def test_a_void_meets_a_number_that_no_list_shows_yet(shop: StripeDriver) -> None:
    """What neither charges nor search tell of, the idempotency key does: no second PaymentIntent is made."""
    payment = at_store()
    await shop.provider.authorize(payment)
    assert (await shop.provider.void(void_of(payment))).result is Result.VOIDED
    assert [each["status"] for each in shop.fake.intents.values()] == ["canceled"]


@pytest.mark.rule("C9")
async def test_a_void_between_terms_and_confirmation_wins(shop: StripeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hold that is voided while it is being made is never made."""
    hold, confirm = hold_at(shop), shop.fake.do_confirm

    def overtaken(intent_id: str, parameters: Json) -> Json:
        shop.fake.do_cancel(intent_id, {"cancellation_reason": "abandoned"})
        return confirm(intent_id, parameters)

    monkeypatch.setattr(shop.fake, "do_confirm", overtaken)
    assert (await shop.provider.authorize(hold)).result is Result.VOIDED
    assert await shop.kept(hold.order_number) == 0


@pytest.mark.rule("C9")
async def test_a_replayed_confirmation_is_not_believed(shop: StripeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a key replays is the state of then: a hold that was voided since is told as voided."""
    hold, update = hold_at(shop), shop.fake.do_update
    await shop.provider.authorize(hold)
    shop.fake.named(hold.reference)["status"] = "requires_confirmation"

    def overtaken(intent_id: str, parameters: Json) -> Json:
        update(intent_id, parameters)
        return shop.fake.do_cancel(intent_id, {"cancellation_reason": "abandoned"})

    monkeypatch.setattr(shop.fake, "do_update", overtaken)
    assert (await shop.provider.authorize(hold)).result is Result.VOIDED


@pytest.mark.rule("C9")
async def test_a_void_that_is_overtaken_by_the_charge_pays_it_back(
    shop: StripeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A charge that slips in before the cancellation is paid back."""
    hold, cancel = hold_at(shop), shop.fake.do_cancel
    await shop.provider.authorize(hold)

    def overtaken(intent_id: str, parameters: Json) -> Json:
        shop.fake.do_capture(intent_id, {})
        return cancel(intent_id, parameters)

    monkeypatch.setattr(shop.fake, "do_cancel", overtaken)
    assert (await shop.provider.void(void_of(hold))).result is Result.VOIDED
    assert shop.fake.money(hold.order_number) == (0, 0, 1000)


@pytest.mark.rule("R6")
async def test_a_refund_is_found_after_its_key_is_forgotten_among_many(shop: StripeDriver) -> None:
    """The list of refunds is read to its end before money goes back."""
    hold = hold_at(shop)
    await shop.provider.authorize(hold)
    await shop.provider.capture(capture_of(hold, at=AT))
    refund = refund_of(hold, 400)
    await shop.provider.refund(refund)
    made = next(iter(shop.fake.refunds.values()))
    for number in range(150):
        other = {"id": f"re_other{number}", "amount": 0, "metadata": {"reference": f"other/{number}"}}
        shop.fake.refunds[f"re_other{number}"] = made | other
    shop.fake.keys.clear()
    assert (await shop.provider.refund(refund)).result is Result.REFUND_PAID
    assert shop.fake.money(hold.order_number) == (0, 600, 400)


@pytest.mark.parametrize("operation", ["create", "confirm"])
async def test_a_remembered_500_is_unknown_until_its_key_is_forgotten(shop: StripeDriver, operation: str) -> None:
    """Stripe repeats a 500 under the same key for a day; the adapter never goes round it with another key."""
    hold = old(hold_at(shop))
    shop.fake.faults.append(Fault("error", operation))
    for _ in range(2):
        with pytest.raises(ProviderUnavailable, match="status 500"):
            await shop.provider.authorize(hold)
    shop.fake.a_day_passes()
    assert (await shop.provider.authorize(hold)).result is Result.AUTHORIZED
    assert shop.fake.money(hold.order_number) == (1000, 0, 0)


async def test_the_requests_of_each_operation_are_few(shop: StripeDriver) -> None:
    """What an order costs at Stripe's rate limit, and that a replayed key is not taken for the state of now."""
    hold = hold_at(shop)

    async def calls(step: Any) -> list[str]:
        shop.fake.calls.clear()
        await step
        return list(shop.fake.calls)

    assert await calls(shop.provider.authorize(hold)) == ["create", "method", "update", "confirm"]
    assert await calls(shop.provider.authorize(hold)) == ["create", "retrieve"]
    assert await calls(shop.provider.capture(capture_of(hold, at=AT))) == [
        "charges",
        "retrieve",
        "capture",
        "retrieve",
    ]
    assert await calls(shop.provider.ask(ask_about(hold))) == ["charges", "retrieve"]
    assert await calls(shop.provider.refund(refund_of(hold, 1))) == ["charges", "retrieve", "refunds", "refund"]
    voided = hold_at(shop)
    await shop.provider.authorize(voided)
    assert await calls(shop.provider.void(void_of(voided))) == ["charges", "retrieve", "cancel"]


# Cards.


@pytest.mark.rule("S2")
async def test_a_saved_card_is_charged_as_its_customers(shop: StripeDriver) -> None:
    """A card that is attached to a customer is used with that customer, again and again."""
    first = hold_of("pm_saved", at=AT)
    again = hold_of("pm_saved", order=first.order_number, at=AT)
    for hold in (first, again):
        assert (await shop.provider.authorize(hold)).result is Result.AUTHORIZED
        assert shop.fake.named(hold.reference)["customer"] == "cus_buyer"


@pytest.mark.rule("G3")
async def test_a_bank_that_wants_the_buyer_declines(shop: StripeDriver) -> None:
    """Nobody is there to prove who they are, so that is a decline with its own code, once and for all."""
    hold = hold_of("pm_card_authenticationRequired", at=AT)
    for _ in range(2):
        outcome = await shop.provider.authorize(hold)
        assert (outcome.result, outcome.decline_code) == (Result.DECLINED, "authentication_required")
    assert (await shop.provider.void(void_of(hold))).result is Result.VOIDED


@pytest.mark.rule("P5")
@pytest.mark.parametrize("update", [{"card": "points-buyer-1"}, {"method": PaymentMethod.POINTS}])
async def test_points_are_refused(shop: StripeDriver, update: dict[str, Any]) -> None:
    """A points wallet needs a provider of its own; nothing is sent to Stripe."""
    with pytest.raises(ProviderContractError, match="points are not Stripe's; hold them at"):
        await shop.provider.authorize(hold_at(shop).model_copy(update=update))
    assert shop.fake.calls == []


@pytest.mark.rule("S2")
async def test_a_hold_that_its_bank_let_lapse_is_told(shop: StripeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hold can lapse before Stripe has noted so: the capture tells."""
    hold = hold_at(shop)
    await shop.provider.authorize(hold)

    def lapsed(_intent_id: str, _parameters: Json) -> Json:
        raise Refused(400, "the charge has expired", code="charge_expired_for_capture")

    monkeypatch.setattr(shop.fake, "do_capture", lapsed)
    assert (await shop.provider.capture(capture_of(hold, at=AT))).result is Result.LAPSED


@pytest.mark.rule("S2")
async def test_a_declined_charge_is_told(shop: StripeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bank can decline the charge of a hold that it approved."""
    hold = hold_at(shop)
    await shop.provider.authorize(hold)

    def declined(_intent_id: str, _parameters: Json) -> Json:
        raise Refused(402, "no", kind="card_error", code="card_declined", decline_code="do_not_honor")

    monkeypatch.setattr(shop.fake, "do_capture", declined)
    outcome = await shop.provider.capture(capture_of(hold, at=AT))
    assert (outcome.result, outcome.decline_code) == (Result.DECLINED, "do_not_honor")


@pytest.mark.rule("C9")
async def test_a_void_whose_refund_failed_pays_again_when_repeated(shop: StripeDriver) -> None:
    """The money of a void that did not arrive is sent anew, once."""
    hold = hold_at(shop)
    await shop.provider.authorize(hold)
    await shop.provider.capture(capture_of(hold, at=AT))
    await shop.provider.refund(refund_of(hold, 100))
    await shop.provider.void(void_of(hold))
    shop.fake.settle(hold.reference, "failed")
    assert await shop.kept(hold.order_number) == 900
    assert (await shop.provider.ask(ask_about(hold))).result is Result.CAPTURED
    for _ in range(2):
        assert (await shop.provider.void(void_of(hold))).result is Result.VOIDED
    assert shop.fake.money(hold.order_number) == (0, 0, 1000)


@pytest.mark.rule("R7")
async def test_a_paid_refund_can_still_fail(shop: StripeDriver) -> None:
    """A bank may send a refund back days after Stripe called it paid; asking tells."""
    hold = hold_at(shop)
    await shop.provider.authorize(hold)
    await shop.provider.capture(capture_of(hold, at=AT))
    refund = refund_of(hold, 400)
    assert (await shop.provider.refund(refund)).result is Result.REFUND_PAID
    await shop.settle(refund, paid=False)
    asked = await shop.provider.ask(ask_about(refund))
    assert (asked.result, asked.decline_code) == (Result.REFUND_FAILED, "lost_or_stolen_card")


# Convenience stores.


@pytest.mark.rule("P5")
async def test_a_number_names_the_store_whose_codes_it_shows(shop: StripeDriver) -> None:
    """Each chain has codes of its own, so the first chain is named with both of its codes."""
    outcome = await shop.provider.authorize(at_store())
    assert outcome.number is not None
    assert outcome.number.startswith("FamilyMart 113423-")
    assert len(outcome.number.rpartition("-")[2]) == 11


@pytest.mark.rule("P5")
async def test_who_pays_at_the_store_comes_from_the_order(shop: StripeDriver) -> None:
    """Stripe wants a name and a mail address: without a konbini PaymentMethod they are the buyer's, else it is a bug."""
    payment = at_store().model_copy(update={"card": "konbini"})
    with pytest.raises(ProviderContractError, match="name and the mail address of who pays; give"):
        await shop.provider.authorize(payment)
    record = SimpleNamespace(buyer=SimpleNamespace(name="Sato Hanako", email="sato@example.com"))
    outcome = await shop.provider.authorize(payment.model_copy(update={"record": record}))
    assert outcome.result is Result.AWAITING


@pytest.mark.rule("S2", "R6")
async def test_what_was_paid_too_much_goes_back_once(shop: StripeDriver) -> None:
    """A charge that was interrupted after it paid the rest back does not pay it again, days later either."""
    payment = at_store()
    await shop.provider.authorize(payment)
    shop.fake.pay_at_till(payment.reference)
    capture = capture_of(payment, 600, at=AT).model_copy(update={"currency": "JPY"})
    shop.fake.faults.append(Fault("down", "update"))
    with pytest.raises(ProviderUnavailable):
        await shop.provider.capture(capture)
    shop.fake.a_day_passes()
    assert (await shop.provider.capture(capture)).result is Result.CAPTURED
    assert shop.fake.money(payment.order_number) == (0, 600, 400)


@pytest.mark.rule("P5")
async def test_a_store_takes_yen_only(shop: StripeDriver) -> None:
    """Another currency is refused by Stripe, and that is a bug of the request."""
    with pytest.raises(ProviderContractError, match="jpy only"):
        await shop.provider.authorize(at_store().model_copy(update={"currency": "EUR"}))


# Money.


@pytest.mark.parametrize(
    ("minor", "currency", "sent"),
    [
        (1099, "EUR", 1099),
        (500, "JPY", 500),
        (500, "KRW", 500),
        (5, "ISK", 500),
        (1099, "HUF", 1099),
        (1099, "TWD", 1099),
        (5120, "KWD", 5120),
        (7, "AFN", 700),
    ],
)
def test_amounts_are_converted_exactly(minor: int, currency: str, sent: int) -> None:
    """Minor units, as buyers are shown them, become Stripe's integer without rounding."""
    assert stripe_amount(minor, currency, "r") == sent


@pytest.mark.parametrize(("minor", "currency"), [(5124, "KWD"), (500, "UGX")])
def test_amounts_that_stripe_cannot_charge_exactly_are_refused(minor: int, currency: str) -> None:
    """A third decimal, and a currency that Stripe documents in two ways, are refused instead of rounded."""
    with pytest.raises(ProviderContractError, match=currency):
        stripe_amount(minor, currency, "r")


# Trouble.


@pytest.mark.parametrize("kind", ["down", "rate_limit", "lock_timeout", "lose_answer", "error"])
@pytest.mark.parametrize("operation", ["charges", "retrieve", "search"])
async def test_trouble_while_looking_is_unknown(shop: StripeDriver, kind: str, operation: str) -> None:
    """A question that fails says nothing about the money, and nothing has moved."""
    hold = hold_at(shop)
    if operation == "retrieve":
        await shop.provider.authorize(hold)
    shop.fake.faults.append(Fault(kind, operation))
    with pytest.raises(ProviderUnavailable, match=f"{hold.reference} is unknown, repeat"):
        await shop.provider.ask(ask_about(hold))
    assert shop.fake.faults == []


async def test_a_wrong_key_is_the_operators_trouble(shop: StripeDriver) -> None:
    """No card is called declined because of a key: the outcome stays unknown and names the setting."""
    wrong = StripePaymentProvider("sk_test_wrong", api_base=shop.url)
    with pytest.raises(ProviderUnavailable, match=r"401.*check STRIPE_SECRET_KEY"):
        await wrong.authorize(hold_at(shop))
    await wrong.aclose()


async def test_nobody_there_is_unknown() -> None:
    """A connection that is refused is an unknown outcome."""
    provider = StripePaymentProvider(SECRET_KEY, api_base="http://127.0.0.1:9", timeout=1)
    with pytest.raises(ProviderUnavailable, match="APIConnectionError"):
        await provider.void(void_of(hold_of("pm_card_visa", at=AT)))
    await provider.aclose()


@pytest.mark.parametrize("answer", [{}, {"id": "pi_1", "object": "payment_intent"}, []])
async def test_an_unreadable_answer_is_unknown(
    shop: StripeDriver, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    """An answer that says nothing about the payment leaves its outcome unknown."""
    monkeypatch.setattr(shop.fake, "do_create", lambda _parameters: answer)
    with pytest.raises(ProviderUnavailable, match="unreadable intent"):
        await shop.provider.authorize(hold_at(shop))


@pytest.mark.parametrize("status", ["processing", "something_new"])
async def test_a_state_that_is_none_yet_is_unknown(shop: StripeDriver, status: str) -> None:
    """While Stripe itself does not know, neither a question nor a void pretends to."""
    hold = hold_at(shop)
    await shop.provider.authorize(hold)
    shop.fake.named(hold.reference)["status"] = status
    with pytest.raises(ProviderUnavailable, match=status):
        await shop.provider.ask(ask_about(hold))
    with pytest.raises(ProviderUnavailable, match="cannot be cancelled yet"):
        await shop.provider.void(void_of(hold))


async def test_order_numbers_of_other_orders_are_left_alone(shop: StripeDriver) -> None:
    """Voiding one order's hold leaves another's."""
    mine, other = hold_at(shop), hold_of("pm_card_visa", order=new_order(), at=AT)
    for each in (mine, other):
        await shop.provider.authorize(each)
    await shop.provider.void(void_of(mine))
    assert await shop.kept(other.order_number) == 1000
