"""Points are held once and charged once, whatever becomes of the card besides or of the answers. P5, E7, S2."""

import pytest
from domain_kit import CARD_AND_POINTS, DAY, PARCEL, POINTS, T0, Json, Scene, code, every_method, unshipped

from domain.payment_state import Payment, PaymentStatus
from domain.refund import PaymentMethod

LESS: Json = {"lines": [{"sku": "A", "quantity": 1}]}


@pytest.mark.rule("S2", "E7", "P5")
@pytest.mark.parametrize("change", ["renewal", "edit"])
def test_points_are_never_held_twice(change: str) -> None:
    """The wallet holds just the points of this order: neither a renewed hold of the card nor an edit asks for them again."""
    scene = Scene(CARD_AND_POINTS, every_method())
    scene.partners.balance = scene.order.payment.points_minor
    scene.partners.lasts = 7 * DAY
    scene.settle()
    if change == "edit":
        assert code(scene, "edit", shipping_option="express") is None
    else:
        scene.at(T0 + 8 * DAY)
    assert code(scene, "ship", "seller", **PARCEL) is None
    assert scene.settle().partners.charged == scene.order.total_minor


@pytest.mark.rule("E7", "S2", "P5")
def test_no_edit_changes_the_total_while_a_charge_is_in_doubt() -> None:
    """A charge of points that was not answered may have been made: the total stays, and the next charge is the same."""
    scene = unshipped(POINTS, every_method())
    assert code(scene.answer("lost"), "ship", "seller", **PARCEL) == "PAYMENT_UNANSWERED"
    assert code(scene, "edit", **LESS) == "CHARGE_IN_DOUBT"
    assert code(scene, "ship", "seller", **PARCEL) is None
    assert scene.settle().partners.charged == scene.order.total_minor == 3000


@pytest.mark.rule("P5", "R5")
@pytest.mark.parametrize(
    ("method", "points", "total", "shares"),
    [
        ("card", 0, 3000, [("card", 3000)]),
        ("card", 400, 3000, [("card", 2600), ("points", 400)]),
        ("card", 400, 300, [("points", 300)]),
        ("konbini", 0, 3000, [("konbini", 3000)]),
        ("points", 0, 3000, [("points", 3000)]),
        ("card", 400, 0, []),
    ],
)
def test_a_total_is_split_over_its_methods(method: str, points: int, total: int, shares: list[tuple[str, int]]) -> None:
    """The points chosen pay as far as the total goes, the rest is the card's or the store's, card first."""
    payment = Payment(
        status=PaymentStatus.CAPTURED,
        card="C",
        reference="R",
        amount_minor=total,
        method=PaymentMethod(method),
        points_minor=points,
    )
    assert list(payment.shares(total).items()) == shares
