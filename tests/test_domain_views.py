"""Who sees what: the seller of a Pending order, of a delivered one, how it is paid, and what operators' surfaces hold."""

import json
from datetime import datetime
from typing import Any

import pytest
from domain_kit import (
    ALL_STATES,
    CARD_AND_POINTS,
    DAY,
    HOUR,
    KONBINI,
    MINUTE,
    NEW_ADDRESS,
    PARCEL,
    PERSONAL,
    POINTS,
    SECOND,
    T0,
    Json,
    Scene,
    cart,
    declined,
    delivered,
    in_state,
    partly,
    pending,
    shipped,
    unshipped,
)

from domain.effects import Notice
from domain.order import Actor, Flag, Status
from domain.payment_state import PaymentStatus
from domain.views import OrderView, seller_view, view
from workflows.display import attribute_updates, details, shown
from workflows.effects import summary

PHONE = "+81-90-1234-5678"
MARKETPLACE_SHIPS = cart(fulfilment="marketplace")


def for_seller(scene: Scene) -> OrderView:
    """Return what the seller sees now."""
    return view(scene.order, scene.now, Actor.SELLER)


def personal(text: str) -> list[str]:
    """Return the buyer's data that `text` gives away."""
    return [each for each in PERSONAL if each in text]


def cancelled_while_pending() -> Scene:
    """Return an order that was cancelled before it was verified."""
    scene = pending()
    scene.send("cancel")
    return scene.settle()


@pytest.mark.rule("G1")
@pytest.mark.parametrize("start", [pending, declined, cancelled_while_pending])
def test_a_pending_order_hides_the_buyer_from_the_seller(start: Any) -> None:
    """The seller sees no name, address or contact of an order that was never verified, not even once it is cancelled."""
    scene = start()
    seen = for_seller(scene)
    assert (seen.buyer, seen.address) == (None, None)
    assert personal(seen.model_dump_json()) == []
    assert seen.status is scene.status
    assert [line.sku for line in seen.lines] == ["A", "B"]


@pytest.mark.rule("G1")
def test_an_order_that_timed_out_stays_hidden() -> None:
    """The seller sees no buyer of an order that the marketplace cancelled unverified."""
    assert personal(for_seller(pending().at(T0 + 21 * DAY)).model_dump_json()) == []


@pytest.mark.rule("G1", "A7")
@pytest.mark.parametrize("start", [unshipped, partly, shipped])
def test_a_verified_order_shows_the_seller_where_to_ship(start: Any) -> None:
    """The seller of a verified order sees name, address and phone until it is delivered."""
    seen = for_seller(start())
    assert seen.address is not None
    assert seen.buyer is not None
    assert (seen.address.city, seen.buyer.phone) == ("Tokyo", PHONE)


@pytest.mark.rule("A7")
@pytest.mark.parametrize("state", [Status.DELIVERED, Status.COMPLETED, Status.CANCELLED])
def test_delivery_ends_the_sellers_access_to_the_phone_number(state: Status) -> None:
    """The seller sees no phone number once the order is delivered, completed or cancelled; the rest stays."""
    seen = for_seller(in_state(state))
    assert seen.buyer is not None
    assert (seen.buyer.name, seen.buyer.phone) == ("Hanako Yamada", None)
    assert PHONE not in seen.model_dump_json()


@pytest.mark.rule("A7", "A10")
def test_an_assumed_delivery_ends_it_too() -> None:
    """The seller's access to the phone number ends also where the delivery is only assumed."""
    scene = shipped().at(T0 + 21 * DAY)
    assert scene.status is Status.DELIVERED
    assert PHONE not in for_seller(scene).model_dump_json()


@pytest.mark.rule("A7")
@pytest.mark.parametrize("state", ALL_STATES)
def test_a_marketplace_fulfilled_order_never_shows_the_phone(state: Status) -> None:
    """The seller never sees the phone number of an order that the marketplace ships."""
    assert PHONE not in for_seller(in_state(state, MARKETPLACE_SHIPS)).model_dump_json()


@pytest.mark.rule("P5")
@pytest.mark.parametrize("state", ALL_STATES)
def test_the_seller_never_sees_how_it_is_paid(state: Status) -> None:
    """The seller sees neither card nor payment state nor voids, whatever the order's state."""
    scene = in_state(state)
    seen = for_seller(scene)
    assert (seen.payment, seen.voids) == (None, ())
    assert "card-ok" not in seen.model_dump_json()
    assert "authorize" not in seen.model_dump_json()


@pytest.mark.rule("P5", "R5")
@pytest.mark.parametrize("placed", [CARD_AND_POINTS, POINTS, KONBINI], ids=["card and points", "points", "konbini"])
def test_the_seller_never_sees_how_points_or_cash_were_used(placed: Json) -> None:
    """The seller sees of a refund its amount and state, and neither there nor elsewhere by which methods it is paid."""
    scene = unshipped(placed)
    reference = scene.order.payment.reference
    if placed is KONBINI:
        scene.partners.pay_at_store(reference)
        scene.hear(reference)
    scene.send("ship", "seller", **PARCEL)
    scene.send("refund", "seller", reason="goodwill")
    scene.settle()
    seen = for_seller(scene)
    assert [(each.amount_minor, len(each.parts), each.status.value) for each in seen.refunds] == [(3000, 1, "pending")]
    text = seen.model_dump_json()
    assert not [each for each in ("points", "konbini", "authorize", "N-1") if each in text]
    whole = view(scene.order, scene.now, Actor.BUYER)
    assert len(whole.refunds[0].parts) == (2 if placed is CARD_AND_POINTS else 1)


@pytest.mark.parametrize("state", ALL_STATES)
@pytest.mark.parametrize("viewer", [Actor.BUYER, Actor.OPERATOR, Actor.SYSTEM])
def test_buyer_and_operator_see_the_whole_order(state: Status, viewer: Actor) -> None:
    """The buyer and the operator see the buyer's data and the payment in every state."""
    scene = in_state(state)
    seen = view(scene.order, scene.now, viewer)
    assert seen.buyer == scene.order.buyer
    assert seen.address == scene.order.address
    assert seen.payment == scene.order.payment


@pytest.mark.rule("G1", "A7")
@pytest.mark.parametrize("state", ALL_STATES)
def test_the_sellers_view_of_a_stored_record_is_the_same(state: Status) -> None:
    """The seller sees the same of an order whether it is asked or its stored record is read."""
    scene = in_state(state)
    stored = OrderView.model_validate_json(view(scene.order, scene.now).model_dump_json())
    assert seller_view(stored) == for_seller(scene)


@pytest.mark.rule("A7", "G1", "D3")
def test_what_operators_see_in_the_workflow_list_holds_no_personal_data() -> None:
    """The Temporal UI's details, attributes and summaries hold no personal data through an order's whole life."""
    for state in ALL_STATES:
        for placed in (None, MARKETPLACE_SHIPS):
            scene = in_state(state, placed)
            note: Json = {"note": "Call Hanako at +81-90-1234-5678"}
            scene.send("cancel", **note)
            scene.send("request_cancellation", **note)
            scene.send("edit", shipping_address={**NEW_ADDRESS, "recipient": "Hanako Yamada"})
            if state in (Status.SHIPPED, Status.DELIVERED):
                scene.send("refund", "seller", reason="goodwill", memo=note["note"])
                scene.settle().hear(scene.order.refunds[0].parts[0].reference)
                scene.send("send_message", text=note["note"])
            text = details(scene.order, scene.now) + str(shown(scene.order))
            text += str([each.value for each in attribute_updates(scene.order)])
            text += " ".join(summary(each) for each in scene.effects)
            assert personal(text) == []
            assert scene.order.number in text


@pytest.mark.rule("A7", "D3")
def test_the_history_holds_no_personal_data() -> None:
    """The history says what was asked, but not the address, the note or the card that came with it."""
    scene = declined()
    note: Json = {"note": "Call Hanako at +81-90-1234-5678"}
    scene.send("edit", shipping_address={**NEW_ADDRESS, "recipient": "Hanako", "line1": "Shibuya"}, lines=[])
    scene.send("pay_again", card="card-of-Hanako")
    scene.settle().at(T0 + HOUR)
    scene.send("request_cancellation", **note)
    scene.send("decline_cancellation", "seller", **note)
    scene.send("cancel", "seller", reason="no_inventory", **note)
    told = json.dumps([each.model_dump(mode="json") for each in scene.order.history])
    assert personal(told) == []
    assert "card-of" not in told
    assert "no_inventory" in told


def test_a_notice_carries_no_personal_data() -> None:
    """What is asked of the mail partner names the order and the side, and no address."""
    scene = shipped()
    assert scene.notices
    assert set(Notice.model_fields) == {"key", "kind", "recipient", "subject_id"}
    assert len({each.key for each in scene.notices}) == len(scene.notices)


@pytest.mark.rule("S3", "D1")
@pytest.mark.parametrize("state", ALL_STATES)
def test_a_view_reckons_as_its_order_does(state: Status) -> None:
    """The price of the items, and the instant after which a shipment is late, are those of the order."""
    order = in_state(state).order
    seen = view(order, T0)
    assert (seen.items_minor, seen.ship_by) == (order.items_minor, order.ship_by)


@pytest.mark.rule("C7")
def test_the_view_shows_windows_flags_and_the_next_deadline() -> None:
    """Whoever looks at an order sees its windows with their ends, its flags and what falls due next."""
    scene = unshipped().at(T0 + 5 * MINUTE - SECOND)
    seen = view(scene.order, scene.now)
    windows = {each.name: (each.closes_at, each.closed) for each in seen.windows}
    assert windows["edit"] == (T0 + 5 * MINUTE, False)
    assert windows["cancel"] == (T0 + 30 * MINUTE, False)
    assert windows["confirm"] == (T0 + 9 * DAY, False)
    assert (seen.next_deadline, seen.next_deadline_at) == ("edit_window_closed", T0 + 5 * MINUTE)
    scene.at(T0 + 3 * DAY)
    later = view(scene.order, scene.now)
    assert later.flags == (Flag.CONFIRM_SHIPMENT, Flag.LATE_SHIPMENT)
    assert later.confirm_by == T0 + 9 * DAY
    assert {each.name for each in later.windows if each.closed} == {"edit", "cancel"}


@pytest.mark.parametrize("state", [each for each in ALL_STATES if each not in (Status.PENDING, Status.UNSHIPPED)])
def test_windows_are_closed_once_the_order_has_moved_on(state: Status) -> None:
    """Nobody is shown an open window of an order that is shipped or cancelled."""
    scene = in_state(state)
    assert all(each.closed for each in view(scene.order, scene.now).windows)


@pytest.mark.rule("A7")
@pytest.mark.parametrize(("state", "end"), [(Status.CANCELLED, T0 + 30 * DAY), (Status.COMPLETED, T0 + 60 * DAY)])
def test_a_closed_order_has_no_next_deadline_but_its_erasure(state: Status, end: datetime) -> None:
    """A closed order shows nothing that falls due but the end of the retention period; once erased nothing at all."""
    scene = in_state(state)
    seen = view(scene.order, scene.now)
    assert (seen.next_deadline, seen.next_deadline_at) == ("retention_ended", end)
    scene.at(end)
    assert scene.order.over
    for viewer in Actor:
        seen = view(scene.order, scene.now, viewer)
        assert (seen.next_deadline, seen.next_deadline_at) == (None, None)
        assert (seen.buyer, seen.address, seen.erased_at) == (None, None, end)
        assert personal(seen.model_dump_json()) == []
    assert personal(scene.order.model_dump_json()) == []


def test_the_details_tell_an_operator_the_state_of_an_order() -> None:
    """The operator reads state, money, items, deadlines, flags and the newest history in the details."""
    scene = delivered().at(T0 + DAY)
    text = details(scene.order, scene.now)
    for told in (
        ": delivered",
        "JPY 3,000",
        "captured",
        "2 × A (2 shipped)",
        "return window closes",
        "deliver (system)",
    ):
        assert told in text
    late = unshipped().at(T0 + 3 * DAY)
    late.send("ship", "buyer", **PARCEL)
    text = details(late.order, late.now)
    assert "confirm_shipment, late_shipment" in text
    assert "ship (buyer) — NOT_ALLOWED" in text
    gone = cancelled_while_pending()
    gone.order = gone.order.with_(voids=("r/1",))
    assert "To be voided | r/1" in details(gone.order, T0)
    assert "by buyer: other" in details(gone.order, T0)


def test_a_refused_placement_is_shown_as_refused() -> None:
    """The operator's list shows a placement without stock as refused and not as pending."""
    scene = pending().answer("out_of_stock").settle()
    assert shown(scene.order)[0] == "refused"
    assert scene.order.payment.status is PaymentStatus.AUTHORIZING


@pytest.mark.rule("A7", "G1", "D3")
@pytest.mark.parametrize("bad", [{"line1": "Shibuya 1\n2"}, {"phone": PHONE}, {"recipient": "Hanako\x00"}])
def test_a_refused_address_is_not_in_the_history(bad: Json) -> None:
    """The buyer's address that could not be read is refused by its field, its value not kept in the history."""
    scene = unshipped()
    scene.send("edit", shipping_address={**NEW_ADDRESS, **bad})
    assert scene.last.refusal is not None
    assert next(iter(bad)) in scene.last.refusal.message
    assert personal(scene.last.model_dump_json()) == []
