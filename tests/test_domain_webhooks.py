"""What the provider tells by itself: hints that are asked after, and webhooks that are refused or told again (R6, P5)."""

import pytest
from domain_kit import NUMBER, awaiting, code, in_state, partly, substance, unshipped
from refund_kit import refund, refused

from domain.effects import Ask
from domain.order import Actor, Status

FIRST = f"{NUMBER}/1/authorize"


@pytest.mark.rule("R6", "G7")
@pytest.mark.parametrize("status", list(Status))
def test_a_hint_of_the_provider_asks_and_changes_nothing(status: Status) -> None:
    """A hint about a payment of the order, whatever its state: the provider is asked, nothing else happens by itself."""
    scene = in_state(status)
    before, asked = substance(scene.order), len(scene.did(Ask))
    assert code(scene, "payment_event", "system", reference=FIRST, event="payment.paid") is None
    assert len(scene.did(Ask)) == asked + 1
    assert {name for name, value in substance(scene.order).items() if value != before[name]} == {"version", "sequence"}


@pytest.mark.rule("R6", "G7")
def test_repeated_hints_are_questions_of_their_own() -> None:
    """Each hint asks under a key of its own, so that none is taken for an answer to the other."""
    scene = partly()
    refund(scene, lines=[{"sku": "A", "quantity": 1}])
    for reference in (FIRST, FIRST, scene.order.refunds[0].parts[0].reference):
        scene.send("payment_event", "system", reference=reference, event="x")
    assert len(set(scene.did(Ask))) == 3
    assert [each.refund for each in scene.effects if isinstance(each, Ask)] == [False, False, True]


@pytest.mark.rule("R6", "G7")
@pytest.mark.parametrize(
    "reference",
    [
        "503-7654321-7654321/1/authorize",
        f"{NUMBER}/3/refund/card",
        f"{NUMBER}/1/capture",
        f"{NUMBER}/999/authorize",
        f"x{FIRST}",
        "1",
    ],
)
def test_a_hint_about_another_payment_is_refused(reference: str) -> None:
    """A reference that the order never used, or another order's: refused, and nobody is asked."""
    refusal = refused(unshipped(), "payment_event", "system", reference=reference, event="payment.paid")
    assert (refusal.code, refusal.rule) == ("UNKNOWN_PAYMENT", "R6")


@pytest.mark.rule("P5", "D3")
@pytest.mark.parametrize(("fault", "code"), [("forged", "WEBHOOK_FORGED"), ("too_old", "WEBHOOK_TOO_OLD")])
@pytest.mark.parametrize("status", list(Status))
def test_a_webhook_that_the_receiver_refused_is_in_the_history(status: Status, fault: str, code: str) -> None:
    """Told of a forged or old webhook, an order in any state asks nobody and changes nothing; the refusal names its rule."""
    scene = in_state(status).settle()
    asked = len(scene.effects)
    refusal = refused(scene, "payment_event", "system", reference=FIRST, event="payment.paid", fault=fault)
    assert (refusal.code, refusal.rule) == (code, "P5")
    assert (len(scene.effects), scene.last.refusal, scene.last.actor) == (asked, refusal, Actor.SYSTEM)
    assert f"about {FIRST} of order {NUMBER}" in refusal.message


@pytest.mark.rule("P5", "D3")
def test_forgeries_neither_fill_the_history_nor_shut_the_provider_out() -> None:
    """Twenty forgeries are noted and no more; the provider's own hint is heard all the same."""
    scene = awaiting()
    scene.partners.pay_at_store(FIRST)
    before = len(scene.order.history)
    for serial in range(30):
        scene.send(
            "payment_event", "system", reference=FIRST, event="payment.paid", fault="forged", id=f"refused-{serial}"
        )
    assert len(scene.order.history) == before + 20
    assert scene.hear(FIRST).status is Status.UNSHIPPED


@pytest.mark.rule("R6", "D3")
def test_a_webhook_that_is_told_again_is_noted_and_does_nothing() -> None:
    """The same event, delivered or replayed again: one question to the provider, the repetition refused in the history."""
    scene = awaiting()
    for _ in range(3):
        scene.send("payment_event", "system", reference=FIRST, event="payment.paid", id="evt_1")
    scene.settle()
    assert len(scene.did(Ask)) == 1
    noted = [each for each in scene.order.history if each.name == "payment_event"]
    assert [each.refusal and (each.refusal.code, each.refusal.rule) for each in noted] == [
        None,
        ("WEBHOOK_REPEATED", "R6"),
        ("WEBHOOK_REPEATED", "R6"),
    ]
    for _ in range(30):
        scene.send("payment_event", "system", reference=FIRST, event="payment.paid", id="evt_1")
    assert len([each for each in scene.order.history if each.name == "payment_event"]) == 21
