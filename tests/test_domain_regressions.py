"""What holds at the edges of the domain: odd stamps and texts, edits and holds that overlap, news that comes late."""

from datetime import timedelta
from typing import Any

import pytest
from domain_kit import (
    DAY,
    HOUR,
    MINUTE,
    NEW_ADDRESS,
    NUMBER,
    PARCEL,
    T0,
    Json,
    Scene,
    cart,
    code,
    command,
    declined,
    line,
    partly,
    pending,
    policy,
    unshipped,
)

from domain.commands import UnreadableCommandError, parse_command
from domain.deadlines import next_deadline
from domain.decide import Accepted, Refused, decide
from domain.effects import Authorize, Outcome, Result
from domain.journal import Message, wants_turn_before
from domain.order import Order, Status
from domain.placement import PlacementError, parse_placement
from domain.policy import PolicyError
from domain.views import view
from workflows.display import details

FIRST = f"{NUMBER}/1/authorize"
QA = "\u0958"
"""A letter that NFC writes as two characters."""
EXPRESS: Json = {"shipping_option": "express"}
far = pytest.mark.parametrize("stamp", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])


@far
def test_a_stamp_that_does_not_exist_in_utc_is_refused(stamp: str) -> None:
    """Whoever stamps a command with an instant outside the calendar of UTC is refused, and told the field."""
    with pytest.raises(UnreadableCommandError, match="requested_at"):
        parse_command("cancel", {"actor": "buyer", "requested_at": stamp})


@far
def test_a_stamp_that_does_not_exist_in_utc_holds_up_no_deadline(stamp: str) -> None:
    """A deadline that is due does not wait for a message whose stamp lies outside the calendar of UTC."""
    scene = pending().late(T0 + HOUR)
    due = next_deadline(scene.order)
    assert due is not None
    sent = Message(name="cancel", payload={"actor": "buyer", "requested_at": stamp}, message_id="m")
    assert not wants_turn_before(sent, due, scene.now, scene.order)


@pytest.mark.rule("E1")
@pytest.mark.parametrize(("letters", "refused"), [(30, None), (31, "INVALID_COMMAND"), (60, "INVALID_COMMAND")])
def test_the_length_of_a_text_is_that_of_its_normal_form(letters: int, refused: str | None) -> None:
    """The buyer's edit with a name that grows by normalisation is taken if the grown name still fits, else refused."""
    scene = unshipped()
    address = {**NEW_ADDRESS, "recipient": QA * letters}
    assert code(scene, "edit", shipping_address=address, lines=[{"sku": "A", "quantity": 3}]) == refused
    assert scene.order.total_minor == (3000 if refused else 4000)


@pytest.mark.parametrize("letters", [30, 60])
def test_an_edited_order_is_read_back_as_it_was_written(letters: int) -> None:
    """An order whose buyer gave a name that grows by normalisation goes through JSON unchanged."""
    scene = unshipped()
    scene.send("edit", shipping_address={**NEW_ADDRESS, "recipient": QA * letters})
    assert Order.model_validate_json(scene.order.model_dump_json()) == scene.order


def option_edited() -> tuple[Scene, Authorize]:
    """Return an order whose buyer chose express during the first authorisation, and the effect that this decided."""
    scene = pending()
    assert code(scene, "edit", **EXPRESS) is None
    *_, effect = scene.effects
    assert isinstance(effect, Authorize)
    return scene, effect


@pytest.mark.rule("E1", "P4")
def test_an_option_edit_while_authorising_takes_the_reservation_along() -> None:
    """The authorisation for the buyer's new shipping option reserves all lines and writes the order, as the first would."""
    scene, effect = option_edited()
    assert effect.reference == scene.order.payment.reference != FIRST
    assert effect.amount_minor == scene.order.total_minor == 3700
    assert effect.reservation is not None
    assert dict(effect.reservation.quantities) == {"A": 2, "B": 1}
    assert (effect.reservation.order_number, effect.reservation.seller_id) == (NUMBER, "S-100")
    assert effect.reservation.version == scene.order.version > 0
    assert effect.record == view(scene.order, scene.now)


@pytest.mark.rule("P3", "P4")
@pytest.mark.parametrize(
    ("result", "refused"), [(Result.OUT_OF_STOCK, "OUT_OF_STOCK"), (Result.NUMBER_TAKEN, "ORDER_NUMBER_TAKEN")]
)
def test_a_placement_is_refused_by_the_authorisation_that_an_option_edit_asked_for(
    result: Result, refused: str
) -> None:
    """The buyer who changed the shipping option is refused the order if the new authorisation finds no stock or number."""
    scene, effect = option_edited()
    scene.decide(Outcome(result=result, reference=effect.key, short={"A": 0}))
    assert scene.order.rejected is not None
    assert scene.order.rejected.code == refused
    assert code(scene, "cancel") == "ORDER_REFUSED"


@pytest.mark.rule("P3")
@pytest.mark.parametrize("number", ["５０３-1234567-1234567", "٥٠٣-1234567-1234567"], ids=["full width", "arabic"])
def test_an_order_number_is_of_ascii_digits(number: str) -> None:
    """A placement whose number has digits of another script is refused, and told the field."""
    with pytest.raises(PlacementError, match="order_number"):
        parse_placement(cart(order_number=number))


@pytest.mark.rule("S2")
def test_a_hold_that_lapses_at_once_is_renewed_once() -> None:
    """The seller's confirmation whose renewed hold lapses at once is refused after that one renewal; nothing is charged."""
    scene = Scene()
    scene.partners.lasts = timedelta()
    scene.settle()
    decision = decide(scene.order, command("ship", "seller", **PARCEL), scene.now)
    for _ in range(10):
        if not isinstance(decision, Accepted) or decision.awaited is None:
            break
        decision = decide(decision.order, scene.partners.perform(decision.awaited, scene.now), scene.now)
    assert isinstance(decision, Refused)
    assert decision.order.status is Status.UNSHIPPED
    assert len(scene.partners.holds) == 2
    assert scene.partners.charged == 0


@pytest.mark.rule("A9")
def test_an_order_is_delivered_when_its_last_parcel_arrived() -> None:
    """The carrier that tells of two deliveries in the wrong order makes the order delivered at the later of the two."""
    scene = partly()
    scene.send("ship", "seller", **PARCEL)
    scene.late(T0 + 6 * DAY)
    assert code(scene, "deliver", "system", at=T0 + 5 * DAY, shipment_id="P2") is None
    assert code(scene, "deliver", "system", at=T0 + 3 * DAY, shipment_id="P1") is None
    assert scene.order.delivered_at == T0 + 5 * DAY


@pytest.mark.rule("A9")
def test_nothing_is_delivered_before_it_was_confirmed() -> None:
    """The carrier's delivery stamped before the confirmation counts from the confirmation."""
    scene = unshipped().at(T0 + DAY)
    scene.send("ship", "seller", **PARCEL)
    assert code(scene, "deliver", "system", at=T0) is None
    (parcel,) = scene.order.shipments
    assert scene.order.delivered_at == parcel.delivered_at == parcel.confirmed_at == T0 + DAY


def test_the_name_of_a_message_draws_nothing_in_the_details() -> None:
    """Whoever names a message with a line break and a heading gets neither into the operator's details."""
    scene = unshipped()
    scene.take(Message(name="x\n## FAKE", payload={}, message_id="m"))
    shown = details(scene.order, scene.now)
    assert "FAKE" in shown
    assert "\n## FAKE" not in shown


@pytest.mark.parametrize("mark", ["\u2066", "\u2067", "\u2069", "\u200f"], ids=lambda mark: f"U+{ord(mark):04X}")
def test_marks_that_turn_the_direction_of_a_text_are_refused(mark: str) -> None:
    """The buyer's address with a mark of direction in it is refused, and told the field and the mark."""
    address = {**cart()["shipping_address"], "city": f"a{mark}b"}
    with pytest.raises(PlacementError, match=rf"shipping_address\.city.*U\+{ord(mark):04X}"):
        parse_placement(cart(shipping_address=address))


@pytest.mark.rule("C1", "C3")
def test_a_request_in_time_cancels_though_a_later_one_is_open() -> None:
    """The buyer's request from within the window cancels at once, also if it is read after one from beyond it."""
    scene = unshipped().at(T0 + HOUR)
    assert code(scene, "request_cancellation") is None
    assert scene.order.cancellation is None
    assert code(scene, "request_cancellation", at=T0 + MINUTE) is None
    assert scene.status is Status.CANCELLED


@pytest.mark.rule("C9")
def test_a_hold_that_comes_too_late_moves_the_version() -> None:
    """The first card's hold that comes after the buyer gave another card is to be voided, in a version of its own."""
    scene = declined()
    assert code(scene, "pay_again", card="card-new") is None
    version = scene.order.version
    scene.decide(Outcome(result=Result.AUTHORIZED, reference=FIRST))
    assert scene.order.voids == (FIRST,)
    assert scene.order.version > version


@pytest.mark.rule("P1")
def test_a_cart_over_the_limit_and_a_wrong_field_are_told_at_once() -> None:
    """The buyer's cart of 51 items with an unknown country is refused with both, the limit and the field."""
    address = {**cart()["shipping_address"], "country": "jp"}
    with pytest.raises(PlacementError) as caught:
        parse_placement(cart(*(line(f"S{index}", 1) for index in range(51)), shipping_address=address))
    assert "at most 50" in str(caught.value)
    assert "shipping_address.country" in str(caught.value)


@pytest.mark.parametrize("value", ["true", "300", "5.5"])
def test_a_window_is_a_written_duration(value: str) -> None:
    """An engineer's policy that gives a window as a number or a truth value is refused, and told the form."""
    with pytest.raises(PolicyError, match=r"edit_window.*not a duration"):
        policy(('edit_window = "5m"', f"edit_window = {value}"))


@pytest.mark.rule("E6")
def test_a_deadline_that_moved_does_not_pass_at_its_old_instant() -> None:
    """The old end of an edit window that the operator extended passes without effect: the buyer still edits."""
    scene = unshipped()
    due = next_deadline(scene.order)
    assert due is not None
    assert code(scene, "extend_edit", "operator", minutes=10) is None
    before = scene.late(due.at).order
    scene.decide(due)
    assert scene.order == before
    assert code(scene, "edit", **EXPRESS) is None


def test_a_cart_nested_too_deep_is_refused() -> None:
    """A placement of 3,000 lists within each other is refused like any other that cannot be read."""
    payload: list[Any] = []
    for _ in range(3000):
        payload = [payload]
    with pytest.raises(PlacementError, match="input: "):
        parse_placement(payload)
