"""When an order is completed while something is still open. A9, R7."""

import pytest
from domain_kit import DAY, T0, delivered
from refund_kit import CARD, refunded

from domain.deadlines import next_deadline
from domain.order import Status


@pytest.mark.rule("A9", "R7")
def test_an_unpaid_refund_holds_the_completion_back() -> None:
    """The return window ends while a refund is unpaid: the order is Completed when the provider has paid, not before."""
    scene = delivered().at(T0 + 29 * DAY)
    refunded(scene).at(T0 + 31 * DAY).settle()
    assert scene.status is Status.DELIVERED
    scene.partners.settle_refund(CARD)
    scene.at(T0 + 33 * DAY).settle().at(T0 + 33 * DAY)
    assert (scene.status, next_deadline(scene.order) is not None) == (Status.COMPLETED, True)
    assert scene.order.completed_at == T0 + 33 * DAY
