"""Payment methods (P5, G7): convenience stores, points alone and beside a card, and the provider's hints."""

from typing import Any

import pytest
from domain_kit import (
    CARD_AND_POINTS,
    DAY,
    HOUR,
    KONBINI,
    MINUTE,
    NEW_ADDRESS,
    NUMBER,
    PARCEL,
    POINTS,
    SECOND,
    T0,
    Json,
    Scene,
    awaiting,
    cart,
    code,
    every_method,
    place,
    unshipped,
)
from refund_kit import refund, refused

from domain.deadlines import DeadlineName, next_deadline
from domain.effects import Ask, Authorize, Capture, NoticeKind, Outcome, Result, Void
from domain.order import Actor, Status
from domain.payment_state import PaymentStatus
from domain.placement import PlacementError, open_order
from domain.refund import PaymentMethod
from domain.views import view

FIRST, SECOND_HOLD = f"{NUMBER}/1/authorize", f"{NUMBER}/2/authorize"
DUE = T0 + 3 * DAY
LESS: Json = {"lines": [{"sku": "A", "quantity": 1}]}


def authorized(scene: Scene) -> list[tuple[int, int]]:
    """Return what each authorisation of the scene held: by card or store, and in points."""
    return [(each.amount_minor, each.points_minor) for each in scene.effects if isinstance(each, Authorize)]


def captured(scene: Scene) -> list[tuple[int, int]]:
    """Return what each capture of the scene charged: by card or store, and in points."""
    return [(each.amount_minor, each.points_minor) for each in scene.effects if isinstance(each, Capture)]


def paid_at_store() -> Scene:
    """Return an order whose number was paid at a store two hours after placement."""
    scene = awaiting().at(T0 + 2 * HOUR)
    scene.partners.pay_at_store(FIRST)
    return scene.hear(FIRST)


def with_points() -> Scene:
    """Return an Unshipped order of 3,000 of which 700 are paid with points."""
    return unshipped(CARD_AND_POINTS, every_method())


@pytest.mark.rule("P5", "G7", "G1")
def test_a_store_payment_gets_a_number_and_a_date() -> None:
    """The order waits, Pending, with a payment number and its due date; the buyer is told them, the seller nothing."""
    scene = awaiting()
    payment = scene.order.payment
    assert (scene.status, payment.status) == (Status.PENDING, PaymentStatus.AWAITING)
    assert (payment.number, payment.due_at) == ("N-1", DUE)
    assert (scene.mails(NoticeKind.PAY_AT_STORE), scene.order.flags) == (["buyer"], frozenset())
    assert view(scene.order, T0, Actor.SELLER).payment is None
    assert code(scene, "pay_again", card="card-ok") == "PAYMENT_NOT_NEEDED"


@pytest.mark.rule("P5", "G5", "S2")
def test_a_number_that_was_paid_verifies_the_order() -> None:
    """The buyer pays at the store: the order is Unshipped, the date is off, and the shipment charges what was paid."""
    scene = paid_at_store()
    assert (scene.status, scene.order.verified_at) == (Status.UNSHIPPED, T0 + 2 * HOUR)
    assert scene.mails(NoticeKind.ORDER_CONFIRMATION) == ["buyer"]
    assert scene.at(DUE + DAY).did(Ask) == [f"{FIRST}/ask/2"]
    scene.send("ship", "seller", **PARCEL)
    assert (captured(scene), scene.partners.charged) == ([(3000, 0)], 3000)


@pytest.mark.rule("G7", "C9")
def test_a_number_that_nobody_paid_cancels_the_order_on_its_date() -> None:
    """Until the due date nothing happens; on it the provider is asked, and the unpaid order is cancelled."""
    scene = awaiting().at(DUE - SECOND)
    assert (scene.status, scene.did(Ask)) == (Status.PENDING, [])
    assert next_deadline(scene.order) == (DeadlineName.STORE_PAYMENT_DUE, DUE)
    assert (scene.at(DUE).status, len(scene.did(Ask))) == (Status.PENDING, 1)
    scene.settle()
    ended = scene.cancellation
    assert (ended.actor, ended.reason, ended.at, ended.counts_in_rate) == (Actor.SYSTEM, "payment_expired", DUE, False)
    assert (scene.mails(NoticeKind.ORDER_CANCELLED), scene.did(Void)) == (["buyer"], [f"{FIRST}/void/1"])
    assert (scene.order.payment.status, scene.partners.charged) == (PaymentStatus.VOIDED, 0)


@pytest.mark.rule("G7")
@pytest.mark.parametrize("answer", [Result.AWAITING, Result.LAPSED, Result.VOIDED, Result.DECLINED])
def test_whatever_is_no_payment_on_the_date_is_none(answer: Result) -> None:
    """Still awaited by the provider's clock, lapsed, voided or declined: on the due date that is unpaid, before it is not."""
    early = awaiting().at(DUE - SECOND)
    early.decide(Outcome(result=answer, reference=FIRST))
    assert (early.status, early.order.payment.status) == (Status.PENDING, PaymentStatus.AWAITING)
    scene = awaiting().at(DUE)
    scene.decide(Outcome(result=answer, reference=FIRST))
    assert (scene.status, scene.cancellation.reason) == (Status.CANCELLED, "payment_expired")


@pytest.mark.rule("G7", "G5")
def test_a_payment_in_time_of_which_nobody_told_is_found_on_the_date() -> None:
    """The buyer paid a second before the due date and the hint was lost: the question finds it, the order goes on."""
    scene = awaiting().at(DUE - SECOND)
    scene.partners.pay_at_store(FIRST)
    scene.at(DUE + HOUR).settle()
    assert (scene.status, scene.order.verified_at) == (Status.UNSHIPPED, DUE + HOUR)


@pytest.mark.rule("G7", "G6")
def test_the_processing_window_comes_first_where_it_is_shorter() -> None:
    """Processing ends in two days, the number is due in three: the order is cancelled as unverified after two."""
    short = every_method(('processing_window = "21d"', 'processing_window = "2d"'))
    scene = Scene(KONBINI, short).settle().at(T0 + 2 * DAY - SECOND)
    assert scene.status is Status.PENDING
    scene.at(T0 + 2 * DAY)
    assert (scene.cancellation.reason, scene.did(Ask)) == ("payment_unverified", [])


@pytest.mark.rule("G7", "C9", "C13")
@pytest.mark.parametrize("void_done", [True, False])
def test_cash_that_comes_after_the_cancellation_goes_back_by_itself(void_done: bool) -> None:
    """The buyer cancelled and the number is paid all the same: the payment is given back, the order stays cancelled."""
    scene = awaiting()
    assert code(scene, "cancel") is None
    if void_done:
        scene.settle()
    effects = len(scene.did(Void))
    scene.decide(Outcome(result=Result.AUTHORIZED, reference=FIRST))
    assert (scene.status, scene.order.voids) == (Status.CANCELLED, (FIRST,))
    assert len(scene.did(Void)) == effects + void_done
    assert (scene.settle().order.voids, scene.partners.voided) == ((), {FIRST})


@pytest.mark.rule("E1", "E7", "G7")
def test_an_edit_before_the_payment_issues_a_new_number() -> None:
    """The buyer edits an order not yet paid: the old number is voided, a new one for the new total has a date of its own."""
    scene = awaiting().at(T0 + MINUTE)
    assert code(scene, "edit", **LESS) is None
    assert (scene.order.payment.status, scene.order.payment.number) == (PaymentStatus.AUTHORIZING, None)
    scene.settle()
    payment = scene.order.payment
    assert (payment.status, payment.number, payment.due_at) == (PaymentStatus.AWAITING, "N-2", DUE + MINUTE)
    assert (authorized(scene), scene.partners.voided) == ([(3000, 0), (2000, 0)], {FIRST})
    scene.decide(Outcome(result=Result.AUTHORIZED, reference=FIRST))
    assert (scene.status, scene.order.voids) == (Status.PENDING, (FIRST,))
    scene.settle().at(DUE).settle()
    assert scene.status is Status.PENDING
    scene.at(DUE + MINUTE).settle()
    assert (scene.cancellation.reason, scene.cancellation.at) == ("payment_expired", DUE + MINUTE)


@pytest.mark.rule("E1", "G7")
def test_an_edit_of_the_address_keeps_the_number() -> None:
    """Another address costs nothing: the number that the buyer has stays good."""
    scene = awaiting()
    assert code(scene, "edit", shipping_address=NEW_ADDRESS) is None
    scene.settle()
    assert (scene.order.payment.number, scene.partners.voided) == ("N-1", set())


@pytest.mark.rule("E7")
def test_what_was_paid_in_cash_keeps_its_total() -> None:
    """After the payment an edit of the total is refused, one of the address is not."""
    scene = awaiting()
    scene.partners.pay_at_store(FIRST)
    scene.hear(FIRST)
    for change in (LESS, {"shipping_option": "express"}):
        refusal = refused(scene, "edit", **change)
        assert (refusal.code, refusal.rule) == ("PAID_IN_CASH", "E7")
    assert code(scene, "edit", shipping_address=NEW_ADDRESS) is None
    assert (scene.order.payment.reference, scene.order.address.city) == (FIRST, "Osaka")


@pytest.mark.rule("C11", "P5")
def test_less_is_charged_of_the_cash_where_items_were_cancelled() -> None:
    """Of an order paid in cash one item is cancelled with consent: the charge takes only the new total."""
    scene = paid_at_store()
    scene.send("cancel_items", "seller", lines=[{"sku": "B", "quantity": 1}], consent="by mail")
    scene.send("ship", "seller", **PARCEL)
    assert captured(scene) == [(2500, 0)]


@pytest.mark.rule("P5")
def test_points_are_held_and_charged_beside_the_card() -> None:
    """Of 3,000 the buyer pays 700 with points: the card holds and pays the rest, and the wallet is the buyer's own."""
    scene = with_points()
    scene.send("ship", "seller", **PARCEL)
    assert (authorized(scene), captured(scene)) == ([(2300, 700)], [(2300, 700)])
    assert (scene.order.payment.wallet, scene.order.payment.captured_minor) == ("points-B-1", 3000)


@pytest.mark.rule("P5")
@pytest.mark.parametrize(
    ("points", "lines", "held"),
    [
        (700, [{"sku": "A", "quantity": 1}], (1300, 700)),
        (1999, [{"sku": "A", "quantity": 1}], (1, 1999)),
        (2000, [{"sku": "A", "quantity": 1}], (1, 1999)),
        (2999, [{"sku": "A", "quantity": 0}], (1, 999)),
        (700, [{"sku": "A", "quantity": 3}], (3300, 700)),
    ],
)
def test_an_edit_leaves_the_card_something_to_pay(points: int, lines: list[Json], held: tuple[int, int]) -> None:
    """However low the edit brings the total, the points pay at most all but one minor unit, in hold and charge."""
    placed = cart(payment={"card": "card-ok", "points_minor": points})
    scene = unshipped(placed, every_method())
    assert code(scene, "edit", lines=lines) is None
    scene.settle()
    # The card's hold is replaced; the points stay held where they are, and fewer of them are charged.
    assert authorized(scene) == [(3000 - points, points), (held[0], 0)]
    assert scene.partners.voided == {FIRST}
    scene.send("ship", "seller", **PARCEL)
    assert captured(scene) == [held]
    assert (scene.order.payment.points_minor, scene.partners.charged) == (held[1], sum(held))
    assert refund(scene) is None
    assert sum(part.amount_minor for part in scene.order.refunds[0].parts) == scene.settle().partners.given_back


@pytest.mark.rule("P5")
def test_points_may_pay_it_all() -> None:
    """Paid with points alone: a lower total is charged to the hold that there is, and the wallet has the rest again."""
    scene = unshipped(POINTS, every_method())
    assert code(scene, "edit", **LESS) is None
    scene.send("ship", "seller", **PARCEL)
    assert (authorized(scene), captured(scene)) == ([(3000, 0)], [(2000, 0)])
    assert {each.card for each in scene.effects if isinstance(each, Authorize)} == {"points-B-1"}


@pytest.mark.rule("P5")
def test_the_seller_never_sees_how_points_were_used() -> None:
    """In whatever the seller sees of the order, before and after a refund, there is no word of points."""
    scene = with_points()
    scene.send("ship", "seller", **PARCEL)
    refund(scene, lines=[{"sku": "A"}, {"sku": "B"}])
    scene.answer(Result.REFUND_FAILED).settle()
    shown = view(scene.order, scene.now, Actor.SELLER)
    assert "points" not in shown.model_dump_json()
    assert [(part.method, part.amount_minor) for part in shown.refunds[0].parts] == [(PaymentMethod.CARD, 2500)]


@pytest.mark.rule("P5")
@pytest.mark.parametrize(
    ("payment", "told"),
    [
        ({"card": "points-B-2"}, "wallet of points, not a card"),
        ({"method": "konbini", "card": "card-ok"}, "go with method card"),
        ({"method": "points", "points_minor": 5}, "go with method card"),
        ({"method": "card"}, "card: missing"),
        ({"card": "card-ok", "points_minor": -1}, "points_minor"),
        ({"card": "card-ok", "points_minor": 3000}, "at most the total less 1"),
        ({"card": "card-ok", "points_minor": 3001}, "at most the total less 1"),
        ({"method": "cheque"}, "method"),
    ],
    ids=str,
)
def test_a_payment_that_does_not_fit_is_refused_at_placement(payment: Json, told: str) -> None:
    """A wallet for a card, a card with another method, points for all of it or more: no order is placed."""
    with pytest.raises(PlacementError, match=told):
        open_order(place(cart(payment=payment), every_method()), T0)


@pytest.mark.rule("P5")
@pytest.mark.parametrize(
    ("payment", "missing"),
    [
        ({"method": "konbini"}, "konbini"),
        ({"method": "points"}, "points"),
        ({"card": "c", "points_minor": 1}, "points"),
    ],
)
def test_a_marketplace_takes_only_its_own_methods(payment: Json, missing: str) -> None:
    """A method that the marketplace does not take is refused at placement, and those that it takes are named."""
    cards = every_method(payment_methods=(PaymentMethod.CARD,))
    with pytest.raises(PlacementError, match=f"{missing} is not taken by marketplace JP; use one of: card"):
        open_order(place(cart(payment=payment), cards), T0)


@pytest.mark.rule("P5", "G3")
def test_another_card_keeps_the_points_or_takes_others() -> None:
    """After a decline the buyer gives another card: the points stay as they were, unless it says otherwise."""
    choices: list[tuple[Json, tuple[int, int]]] = [({}, (2300, 700)), ({"points_minor": 100}, (2900, 100))]
    for given, held in (*choices, ({"points_minor": 0}, (3000, 0))):
        scene = Scene(CARD_AND_POINTS, every_method()).answer(Result.DECLINED).settle()
        assert code(scene, "pay_again", card="card-new", **given) is None
        assert authorized(scene.settle()) == [(2300, 700), held]
        assert scene.status is Status.UNSHIPPED
    points: Scene = Scene(POINTS, every_method()).answer(Result.DECLINED).settle()
    assert code(points, "pay_again", card="card-new") is None
    assert (authorized(points)[1], points.settle().order.payment.method) == ((3000, 0), PaymentMethod.CARD)


@pytest.mark.rule("P5", "G3")
@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"card": "card-new", "points_minor": 3000}, "POINTS_EXCEED"),
        ({"card": "card-new", "points_minor": -1}, "INVALID_COMMAND"),
        ({"card": "points-B-2"}, "INVALID_COMMAND"),
        ({}, "INVALID_COMMAND"),
    ],
    ids=str,
)
def test_another_card_that_does_not_fit_is_refused(given: Json, code: str) -> None:
    """Points for all of it, a wallet for a card, or no card: the order stays Pending and declined."""
    scene = Scene(CARD_AND_POINTS, every_method()).answer(Result.DECLINED).settle()
    refusal = refused(scene, "pay_again", **given)
    assert (refusal.code, refusal.rule) == (code, "P5" if code == "POINTS_EXCEED" else "D3")


@pytest.mark.rule("P5", "G3")
@pytest.mark.parametrize(
    ("taken", "placed", "given"),
    [
        ((PaymentMethod.CARD,), cart(), {"card": "card-new", "points_minor": 100}),
        ((PaymentMethod.KONBINI,), KONBINI, {"card": "card-new"}),
    ],
    ids=["points", "card"],
)
def test_no_other_method_slips_in_after_a_decline(taken: Any, placed: Json, given: Json) -> None:
    """What the marketplace does not take at placement it does not take afterwards either."""
    scene = Scene(placed, every_method(payment_methods=taken)).answer(Result.DECLINED).settle()
    assert refused(scene, "pay_again", **given).rule == "P5"


@pytest.mark.rule("P5", "R6")
@pytest.mark.parametrize("status", [Status.UNSHIPPED, Status.SHIPPED])
def test_an_answer_about_the_points_voids_nothing(status: Status) -> None:
    """The provider says that the points held besides are still held: that is as it should be, and they stay held."""
    scene = with_points()
    if status is Status.SHIPPED:
        scene.send("ship", "seller", **PARCEL)
    before = scene.order.payment
    scene.decide(Outcome(result=Result.AUTHORIZED, reference=f"{FIRST}/points"))
    assert (scene.order.voids, scene.did(Void), scene.order.payment) == ((), [], before)


@pytest.mark.rule("P5", "C9")
def test_a_cancellation_gives_the_points_back_too() -> None:
    """Cancelled or edited, the void covers the points that were held besides the card."""
    scene = with_points()
    scene.send("cancel")
    scene.settle()
    assert {each.reference for each in scene.effects if isinstance(each, Void)} == {FIRST, f"{FIRST}/points"}
    assert not any(hold.live(scene.now) for hold in scene.partners.holds.values())
