"""Chapter S and what follows: the charge at the first confirmation, parcels, delays, delivery, completion."""

from datetime import datetime
from typing import Any

import pytest
from domain_kit import DAY, HOUR, NUMBER, PARCEL, T0, Scene, cart, code, delivered, partly, pending, shipped, unshipped

from domain.effects import Authorize, Capture, NoticeKind, Result, Void
from domain.order import Flag, RequestStatus, Status
from domain.payment_state import PaymentStatus

FIRST, RENEWED = f"{NUMBER}/1/authorize", f"{NUMBER}/2/authorize"
ONE_A = {**PARCEL, "lines": [{"sku": "A", "quantity": 1}]}


def held(scene: Scene) -> list[str]:
    """Return the references under which money is held and not charged."""
    return [key for key, hold in scene.partners.holds.items() if hold.live(scene.now) and not hold.charged]


def ship(scene: Scene, **fields: Any) -> str | None:
    """Let the seller confirm a shipment; return the code of the refusal."""
    return code(scene, "ship", "seller", **{**PARCEL, **fields})


@pytest.mark.rule("S2", "S1", "S5")
def test_the_first_confirmation_charges_the_whole_total() -> None:
    """The seller confirms one of three units: the buyer is charged the whole order total, once, and told the parcel."""
    scene = unshipped()
    assert scene.partners.charged == 0
    assert code(scene, "ship", "seller", **ONE_A) is None
    assert scene.status is Status.PARTIALLY_SHIPPED
    payment = scene.order.payment
    assert (payment.status, payment.captured_minor, scene.partners.charged) == (PaymentStatus.CAPTURED, 3000, 3000)
    assert scene.mails(NoticeKind.SHIPPED) == ["buyer"]


@pytest.mark.rule("S2", "S5")
def test_later_confirmations_charge_nothing_more() -> None:
    """The seller confirms the rest in two parcels: no further charge, one mail each."""
    scene = partly()
    assert ship(scene, lines=[{"sku": "B", "quantity": 1}]) is None
    assert scene.status is Status.PARTIALLY_SHIPPED
    assert ship(scene) is None
    assert scene.order.status is Status.SHIPPED
    assert len(scene.did(Capture)) == 1
    assert scene.partners.charged == 3000
    assert scene.mails(NoticeKind.SHIPPED) == ["buyer"] * 3
    assert [dict(each.quantities) for each in scene.order.shipments] == [{"A": 1}, {"B": 1}, {"A": 1}]
    assert scene.did(Void) == []


@pytest.mark.rule("S2")
def test_the_charge_is_asked_before_the_order_is_shipped() -> None:
    """Nothing is charged before a confirmation, whatever the time that passes."""
    scene = unshipped().at(T0 + 8 * DAY)
    assert scene.did(Capture) == []
    ship(scene)
    assert scene.did(Capture) == [f"{FIRST}/capture"]


@pytest.mark.rule("S1")
@pytest.mark.parametrize(
    ("lines", "refused"),
    [
        ([{"sku": "A", "quantity": 2}], None),
        ([{"sku": "A", "quantity": 3}], "QUANTITY_EXCEEDED"),
        ([{"sku": "C", "quantity": 1}], "QUANTITY_EXCEEDED"),
        ([{"sku": "A", "quantity": 1}, {"sku": "B", "quantity": 2}], "QUANTITY_EXCEEDED"),
        ([{"sku": "A", "quantity": 0}], "INVALID_COMMAND"),
        ([{"sku": "A", "quantity": -1}], "INVALID_COMMAND"),
        ([{"sku": "A", "quantity": 1}, {"sku": "A", "quantity": 1}], "INVALID_COMMAND"),
    ],
)
def test_only_what_is_ordered_and_unshipped_is_confirmed(lines: list[dict[str, Any]], refused: str | None) -> None:
    """The seller confirms no more than is ordered; more, or another item, is refused before any charge."""
    scene = unshipped()
    assert ship(scene, lines=lines) == refused
    assert bool(scene.did(Capture)) is (refused is None)


@pytest.mark.rule("S1")
def test_the_rest_is_counted_after_each_parcel() -> None:
    """The seller who confirms again what was in the first parcel is told how many are left."""
    refusal = partly().send("ship", "seller", **PARCEL, lines=[{"sku": "A", "quantity": 2}])
    assert refusal is not None
    assert "1 unshipped of A, not 2" in refusal.message


@pytest.mark.rule("S1")
def test_only_the_one_who_ships_confirms() -> None:
    """The marketplace cannot confirm the seller's parcels, nor the seller the marketplace's."""
    own, theirs = unshipped(), unshipped(cart(fulfilment="marketplace"))
    assert code(own, "ship", "operator", **PARCEL) == "NOT_ALLOWED"
    assert code(theirs, "ship", "seller", **PARCEL) == "NOT_ALLOWED"
    assert code(theirs, "ship", "operator", **PARCEL) is None
    assert own.did(Capture) == []


@pytest.mark.rule("S2")
def test_a_lapsed_hold_is_renewed_before_the_charge() -> None:
    """The seller confirms after the hold has lapsed: it is renewed first, the old one voided, the charge taken once."""
    scene = unshipped()
    scene.partners.holds[FIRST].expires_at = T0 + DAY
    scene.order = scene.order.with_(payment=scene.order.payment.model_copy(update={"expires_at": T0 + DAY}))
    scene.at(T0 + DAY)
    assert ship(scene) is None
    assert [each.key for each in scene.effects] == [FIRST, RENEWED, f"{FIRST}/void/1", f"{RENEWED}/capture"]
    scene.settle()
    assert scene.status is Status.SHIPPED
    assert (scene.partners.charged, scene.order.payment.reference) == (3000, RENEWED)
    assert scene.order.voids == ()


@pytest.mark.rule("S2")
@pytest.mark.parametrize("gone", [Result.LAPSED, Result.VOIDED])
def test_a_hold_gone_at_the_provider_is_renewed_at_once(gone: Result) -> None:
    """The provider answers that the hold is gone: it is renewed and charged within the same confirmation."""
    scene = unshipped().answer(gone)
    assert ship(scene) is None
    first, renewed = scene.did(Authorize)
    assert first != renewed
    assert scene.did(Capture) == [f"{first}/capture", f"{renewed}/capture"]
    scene.settle()
    assert (scene.status, scene.partners.charged, held(scene)) == (Status.SHIPPED, 3000, [])


@pytest.mark.rule("S2")
def test_a_hold_that_is_gone_again_is_not_renewed_for_ever() -> None:
    """The provider that loses the renewed hold too ends the confirmation with a refusal, and nothing is held."""
    scene = unshipped().answer(Result.LAPSED, Result.AUTHORIZED, Result.VOIDED)
    assert ship(scene) is not None
    assert scene.status is Status.UNSHIPPED
    assert len(scene.did(Authorize)) == 2
    scene.settle()
    assert (scene.partners.charged, held(scene)) == (0, [])


@pytest.mark.rule("S2")
def test_a_declined_charge_refuses_the_confirmation() -> None:
    """The charge is declined: the confirmation is refused, the order stays Unshipped, buyer and seller are told."""
    scene = unshipped().answer(Result.DECLINED)
    refusal = scene.send("ship", "seller", **PARCEL)
    assert refusal is not None
    assert (refusal.code, refusal.rule) == ("PAYMENT_DECLINED", "S2")
    assert scene.status is Status.UNSHIPPED
    assert scene.order.shipments == ()
    assert [line.shipped for line in scene.order.lines] == [0, 0]
    assert sorted(scene.mails(NoticeKind.PAYMENT_PROBLEM)) == ["buyer", "seller"]
    assert Flag.PAYMENT_PROBLEM in scene.order.flags
    scene.settle()
    assert (scene.partners.charged, held(scene)) == (0, [])


@pytest.mark.rule("S2", "G3")
def test_another_card_saves_a_declined_charge() -> None:
    """The buyer gives another card after the charge was declined, and the next confirmation charges it once."""
    scene = unshipped().answer(Result.DECLINED)
    ship(scene)
    assert code(scene.settle(), "pay_again", card="card-new") is None
    assert ship(scene) == "PAYMENT_IN_PROGRESS"
    scene.settle()
    assert Flag.PAYMENT_PROBLEM not in scene.order.flags
    assert ship(scene) is None
    assert (scene.status, scene.settle().partners.charged) == (Status.SHIPPED, 3000)


@pytest.mark.rule("S2")
@pytest.mark.parametrize("answer", [Result.UNANSWERED, "lost"], ids=["not charged", "charged, answer lost"])
def test_an_unanswered_charge_refuses_the_confirmation_and_is_undone(answer: Result | str) -> None:
    """The provider does not answer in time: refused, whatever it did is undone, and the next confirmation renews."""
    scene = unshipped().answer(answer)
    refusal = scene.send("ship", "seller", **PARCEL)
    assert refusal is not None
    assert refusal.code == "PAYMENT_UNANSWERED"
    assert (scene.status, scene.order.shipments, scene.order.voids) == (Status.UNSHIPPED, (), (FIRST,))
    scene.settle()
    assert (scene.partners.charged, held(scene)) == (0, [])
    assert ship(scene) is None
    assert len(set(scene.did(Authorize))) == 2
    assert (scene.status, scene.settle().partners.charged, held(scene)) == (Status.SHIPPED, 3000, [])


@pytest.mark.rule("S2")
@pytest.mark.parametrize("answer", [Result.DECLINED, Result.UNANSWERED, "lost"])
def test_a_renewal_that_fails_refuses_the_confirmation(answer: Result | str) -> None:
    """The renewal of a lapsed hold fails: refused, Unshipped, nothing charged, nothing in doubt left standing."""
    scene = unshipped().answer(Result.LAPSED, answer)
    refusal = scene.send("ship", "seller", **PARCEL)
    assert refusal is not None
    assert scene.status is Status.UNSHIPPED
    told = ["buyer", "seller"] if answer == Result.DECLINED else []
    assert sorted(scene.mails(NoticeKind.PAYMENT_PROBLEM)) == told
    scene.settle()
    assert (scene.partners.charged, held(scene)) == (0, [])
    assert ship(scene) is None
    assert scene.settle().partners.charged == 3000


@pytest.mark.rule("G2", "S1")
@pytest.mark.parametrize("actor", ["seller", "operator"])
def test_nobody_ships_a_pending_order(actor: str) -> None:
    """A Pending order is not shipped, whoever asks and whoever fulfils it."""
    for fulfilment in ("seller", "marketplace"):
        assert code(pending(cart(fulfilment=fulfilment)), "ship", actor, **PARCEL) == "ORDER_PENDING"


@pytest.mark.rule("C4")
def test_a_confirmation_declines_the_buyers_request() -> None:
    """The seller ships in spite of the buyer's request: it is declined by that, and the buyer is told."""
    scene = unshipped().at(T0 + HOUR)
    scene.send("request_cancellation")
    assert ship(scene) is None
    request = scene.order.request
    assert request is not None
    assert (request.status, request.answered_at) == (RequestStatus.DECLINED, T0 + HOUR)
    assert Flag.BUYER_REQUESTED_CANCELLATION not in scene.order.flags
    assert scene.mails(NoticeKind.REQUEST_DECLINED) == ["buyer"]


@pytest.mark.rule("C4", "S2")
def test_a_refused_confirmation_leaves_the_buyers_request_open() -> None:
    """The confirmation whose charge failed answers no request."""
    scene = unshipped().at(T0 + HOUR)
    scene.send("request_cancellation")
    scene.answer(Result.DECLINED)
    ship(scene)
    assert scene.order.request is not None
    assert scene.order.request.status is RequestStatus.OPEN
    assert scene.mails(NoticeKind.REQUEST_DECLINED) == []


@pytest.mark.rule("C7", "S3")
def test_the_late_flag_stays_when_the_warning_goes() -> None:
    """The seller that confirms late is rid of the warning but stays late, also when everything has arrived."""
    scene = unshipped().at(T0 + 3 * DAY)
    assert scene.order.flags == {Flag.LATE_SHIPMENT, Flag.CONFIRM_SHIPMENT}
    ship(scene)
    assert scene.order.flags == {Flag.LATE_SHIPMENT}
    scene.send("deliver", "system")
    assert scene.at(T0 + 60 * DAY).order.flags == {Flag.LATE_SHIPMENT}


@pytest.mark.rule("S3", "S4")
def test_a_partly_confirmed_order_becomes_late_but_is_not_cancelled() -> None:
    """The seller that confirmed only a part by the ship date is late; the order is never cancelled for it."""
    scene = partly().at(T0 + 2 * DAY)
    assert scene.order.flags == {Flag.LATE_SHIPMENT}
    assert scene.at(T0 + 10 * DAY).status is Status.PARTIALLY_SHIPPED


@pytest.mark.rule("A7")
def test_parcels_are_delivered_one_by_one() -> None:
    """The carrier delivers two parcels: the order is Delivered with the second, and the return window starts there."""
    scene = partly()
    ship(scene)
    assert code(scene.at(T0 + DAY), "deliver", "system", shipment_id="P1") is None
    assert (scene.status, scene.order.delivered_at) == (Status.SHIPPED, None)
    assert code(scene.at(T0 + 2 * DAY), "deliver", "system", shipment_id="P2") is None
    assert (scene.status, scene.order.delivered_at) == (Status.DELIVERED, T0 + 2 * DAY)
    assert [each.delivered_at for each in scene.order.shipments] == [T0 + DAY, T0 + 2 * DAY]


@pytest.mark.rule("A7")
@pytest.mark.parametrize("shipment", ["P2", "P9"])
def test_an_unknown_parcel_cannot_be_delivered(shipment: str) -> None:
    """The carrier that names a parcel that there is not is told which are on their way."""
    refusal = shipped().send("deliver", "system", shipment_id=shipment)
    assert refusal is not None
    assert refusal.code == "UNKNOWN_SHIPMENT"
    assert "P1" in refusal.remedy


@pytest.mark.rule("A7")
def test_a_parcel_is_delivered_once() -> None:
    """A part of the order that was delivered is not delivered again, and the rest still can be shipped and delivered."""
    scene = partly()
    assert code(scene, "deliver", "operator", shipment_id="P1") is None
    assert code(scene, "deliver", "operator", shipment_id="P1") == "UNKNOWN_SHIPMENT"
    assert scene.status is Status.PARTIALLY_SHIPPED
    ship(scene)
    assert code(scene, "deliver", "operator") is None
    assert scene.order.status is Status.DELIVERED
    assert code(scene, "deliver", "operator") == "ALREADY_DELIVERED"


@pytest.mark.rule("A10", "A9")
def test_no_shipped_order_stays_open_for_ever() -> None:
    """A shipped order of which nobody hears again counts as delivered after 21 days and is Completed after 30 more."""
    scene = shipped().at(T0 + 51 * DAY)
    assert scene.status is Status.COMPLETED
    assert (scene.order.delivered_at, scene.order.completed_at) == (T0 + 21 * DAY, T0 + 51 * DAY)


@pytest.mark.rule("A9")
def test_a_completed_order_takes_no_command() -> None:
    """Whoever sends a command to a completed order is refused and told when it was completed."""
    scene = delivered().at(T0 + 30 * DAY)
    for name, actor, fields in (("cancel", "buyer", {}), ("ship", "seller", PARCEL), ("deliver", "system", {})):
        refusal = scene.send(name, actor, **fields)
        assert refusal is not None
        assert refusal.code == "ORDER_COMPLETED"
        assert "2026-03-31 12:00:00 UTC" in refusal.message


@pytest.mark.rule("S5")
@pytest.mark.parametrize(
    "bad", [{"carrier": ""}, {"carrier": "a\r\nb"}, {"tracking_number": ""}, {"tracking_number": "a b"}]
)
def test_a_confirmation_needs_carrier_and_number(bad: dict[str, Any]) -> None:
    """The seller's confirmation without a readable carrier or tracking number is refused."""
    assert ship(unshipped(), **bad) == "INVALID_COMMAND"


@pytest.mark.rule("G5")
@pytest.mark.parametrize(("seller", "sold"), [("S-100", ["seller"]), ("S-300", [])])
def test_a_verified_order_is_announced(seller: str, sold: list[str]) -> None:
    """Verified: the buyer gets the confirmation, the seller the "sold" notice only if it wants it."""
    scene = unshipped(cart(seller_id=seller))
    assert scene.status is Status.UNSHIPPED
    assert scene.mails(NoticeKind.ORDER_CONFIRMATION) == ["buyer"]
    assert scene.mails(NoticeKind.SOLD_SHIP_NOW) == sold
    verified: datetime | None = scene.order.verified_at
    assert verified == T0


@pytest.mark.rule("G3")
def test_a_declined_card_leaves_the_order_pending() -> None:
    """The buyer's card is declined: Pending, nothing charged, the buyer told, and another card may be given."""
    scene = Scene().answer(Result.DECLINED, Result.DECLINED).settle()
    assert (scene.status, scene.order.payment.decline_code) == (Status.PENDING, "card_declined")
    assert scene.mails(NoticeKind.PAYMENT_PROBLEM) == ["buyer"]
    scene.send("pay_again", card="card-second")
    assert code(scene, "pay_again", card="card-third") == "PAYMENT_IN_PROGRESS"
    assert scene.settle().status is Status.PENDING
    assert code(scene, "pay_again", card="card-third") is None
    assert scene.settle().status is Status.UNSHIPPED
    assert scene.order.payment.card == "card-third"
    assert code(scene, "pay_again", card="card-ok") == "PAYMENT_NOT_NEEDED"
    assert scene.partners.charged == 0


@pytest.mark.rule("C9", "S2")
def test_a_lapsed_hold_is_voided_though_its_renewal_was_declined() -> None:
    """The hold that lapsed by the order's clock is voided all the same: the provider's clock may be another."""
    scene = Scene()
    scene.partners.lasts = DAY
    scene.settle().at(T0 + 2 * DAY).answer(Result.DECLINED)
    assert ship(scene) == "PAYMENT_DECLINED"
    scene.send("cancel", "seller", reason="no_inventory")
    scene.settle()
    assert scene.partners.voided >= set(scene.partners.holds)
