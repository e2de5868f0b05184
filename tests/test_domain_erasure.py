"""What is left of an order after the retention period: no personal data, nothing that people wrote, and every amount (A7)."""

from typing import Any

import pytest
from domain_kit import DAY, FIELDS, PERSONAL, T0, Json, Scene, cart, code, delivered, in_review, shipped, unshipped

from domain.commands import COMMANDS
from domain.order import Actor, Order, Status

SECRET = "Only between us"
NOTE: Json = {"note": SECRET}


def gone(order: Order) -> bool:
    """Return whether nothing of the buyer's data and nothing that people wrote is left."""
    text = order.model_dump_json()
    return not [each for each in (*PERSONAL, SECRET, "PO-Hanako") if each in text]


def cancelled_after_a_review() -> Scene:
    """Return an order that was held for review by an operator, refused, and cancelled."""
    scene = in_review(cart(business={"purchase_order_number": "PO-Hanako"}))
    scene.send("release_review", "operator")
    scene.send("hold_for_review", "operator", reason=SECRET)
    scene.send("refuse_review", "operator", **NOTE)
    return scene.settle()


def cancelled_by_request() -> Scene:
    """Return an order with a message, a reduction and a request, which the seller cancelled with a note."""
    scene = unshipped()
    scene.send("send_message", text=SECRET)
    scene.send("cancel_items", "seller", lines=[{"sku": "B", "quantity": 1}], consent=SECRET)
    scene.at(scene.order.cancel_until).send("request_cancellation", **NOTE)
    scene.send("cancel", "seller", reason="pricing_error", **NOTE)
    scene.send("rate", stars=1, comment=SECRET)
    return scene.settle()


def completed_with_everything() -> Scene:
    """Return a completed order with a refund, declined cases, messages and a rating."""
    scene = shipped()
    scene.send("request_cancellation", **NOTE)
    scene.send("decline_cancellation", "seller", **NOTE)
    scene.send("send_message", text=SECRET)
    scene.send("refund", "seller", reason="goodwill", memo=SECRET, lines=[{"sku": "B"}])
    scene.settle().partners.settle_refund(scene.order.refunds[0].parts[0].reference)
    scene.hear(scene.order.refunds[0].parts[0].reference).send("rate", stars=5, comment=SECRET)
    scene.send("deliver", "system")
    return scene.at(T0 + 30 * DAY)


@pytest.mark.rule("A7")
@pytest.mark.parametrize("start", [cancelled_after_a_review, cancelled_by_request, completed_with_everything])
def test_nothing_personal_and_nothing_written_outlives_the_retention_period(start: Any) -> None:
    """Whatever an order went through, once erased neither its state nor its history holds what people are or wrote."""
    scene = start()
    assert scene.status in (Status.CANCELLED, Status.COMPLETED)
    assert not gone(scene.order)
    before = scene.order
    scene.at(scene.now + 31 * DAY)
    assert scene.order.erased_at is not None
    assert gone(scene.order)
    assert (scene.order.lines, scene.order.payment) == (before.lines, before.payment)
    assert [each.amount_minor for each in scene.order.refunds] == [each.amount_minor for each in before.refunds]
    assert (scene.order.rating and scene.order.rating.stars) == (before.rating and before.rating.stars)


@pytest.mark.rule("A7", "C13", "A9")
@pytest.mark.parametrize("start", [cancelled_by_request, delivered])
def test_nothing_is_written_into_an_order_that_was_erased(start: Any) -> None:
    """Whoever sends a command to an erased order leaves none of its words in it."""
    scene = start()
    scene.at(scene.now + 99 * DAY)
    assert scene.order.erased_at is not None
    words: dict[str, Json] = {
        "rate": {"comment": SECRET},
        "send_message": {"text": SECRET},
        "hold_for_review": {"reason": SECRET},
        "cancel_items": {"consent": SECRET},
        "refund": {"memo": SECRET},
    }
    for name, form in COMMANDS.items():
        for actor in Actor:
            said = words.get(name, NOTE if "note" in form.model_fields else {})
            scene.send(name, actor, **{**FIELDS.get(name, {}), **said})
    assert gone(scene.order)


@pytest.mark.rule("A7", "A9")
def test_an_order_is_kept_for_the_whole_retention_period_after_it_was_completed() -> None:
    """An order that a return held open for weeks is completed when that ends, and erased 30 days after and not at once."""
    scene = delivered().at(T0 + 29 * DAY)
    assert code(scene, "request_return") is None
    assert code(scene.at(T0 + 40 * DAY), "authorize_return", "seller") is None
    scene.at(T0 + 70 * DAY)
    assert scene.status is Status.COMPLETED
    assert scene.order.completed_at == T0 + 70 * DAY
    assert scene.order.erased_at is None
    assert scene.at(T0 + 100 * DAY).order.erased_at == T0 + 100 * DAY
