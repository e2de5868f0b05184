"""Chapter E: what the buyer may change in time, what nobody may, and that an edit is all or nothing."""

from collections.abc import Callable

import pytest
from domain_kit import (
    MINUTE,
    NEW_ADDRESS,
    NUMBER,
    PARCEL,
    T0,
    Json,
    Scene,
    cart,
    code,
    declined,
    line,
    pending,
    substance,
    unshipped,
)

from domain.effects import Authorize, NoticeKind, Outcome, Reserve, Result, Void
from domain.order import Order, Status
from domain.payment_state import PaymentStatus

FIRST, SECOND_HOLD = f"{NUMBER}/1/authorize", f"{NUMBER}/2/authorize"
MORE: Json = {"lines": [{"sku": "A", "quantity": 3}]}
LESS: Json = {"lines": [{"sku": "A", "quantity": 1}]}
DROP: Json = {"lines": [{"sku": "B", "quantity": 0}]}
EXPRESS: Json = {"shipping_option": "express"}
ELSEWHERE: Json = {"shipping_address": NEW_ADDRESS}
CHANGES: list[tuple[Json, int]] = [
    (MORE, 4000),
    (LESS, 2000),
    (DROP, 2500),
    (EXPRESS, 3700),
    (ELSEWHERE, 3000),
]
changes = pytest.mark.parametrize(("change", "total"), CHANGES, ids=["more", "less", "drop", "express", "address"])


def contents(order: Order) -> dict[str, object]:
    """Return what an order is, besides the book that is kept of it and what is being voided."""
    return substance(order, "version", "sequence", "voids")


def held(scene: Scene) -> list[str]:
    """Return the references under which money is held now."""
    return [reference for reference, hold in scene.partners.holds.items() if hold.live(scene.now)]


@pytest.mark.rule("E1", "E7")
@changes
def test_the_buyer_edits_a_verified_order(change: Json, total: int) -> None:
    """The buyer's edit of a verified order is carried out: the new total is held, the old hold voided, the buyer told."""
    scene = unshipped()
    assert code(scene, "edit", **change) is None
    order = scene.settle().order
    assert order.status is Status.UNSHIPPED
    assert order.total_minor == order.payment.amount_minor == order.payment.authorized_minor == total
    assert held(scene) == [order.payment.reference]
    assert scene.partners.holds[order.payment.reference].amount == total
    assert scene.mails(NoticeKind.ORDER_EDITED) == ["buyer"]
    assert order.payment.captured_minor == 0


@pytest.mark.rule("E1", "G2")
@changes
def test_the_buyer_edits_while_the_card_is_authorised(change: Json, total: int) -> None:
    """The buyer's edit of a Pending order is carried out at once; in the end only the new total is held."""
    scene = pending()
    assert code(scene, "edit", **change) is None
    assert scene.status is Status.PENDING
    order = scene.settle().order
    assert order.status is Status.UNSHIPPED
    assert order.total_minor == order.payment.authorized_minor == total
    assert held(scene) == [order.payment.reference]


@pytest.mark.rule("E1", "G3")
@changes
def test_the_buyer_edits_after_a_decline(change: Json, total: int) -> None:
    """The buyer whose card was declined edits the order; the next card is asked for the new total."""
    scene = declined()
    assert code(scene, "edit", **change) is None
    assert scene.settle().order.payment.status is PaymentStatus.DECLINED
    assert held(scene) == []
    scene.send("pay_again", card="card-new")
    assert scene.settle().order.payment.authorized_minor == total
    assert scene.status is Status.UNSHIPPED


@pytest.mark.rule("E7")
def test_the_new_amount_is_held_before_the_old_one_is_voided() -> None:
    """An edit that changes the total holds the new amount first and voids the old hold only after."""
    scene = unshipped()
    scene.send("edit", **MORE)
    assert [each.key for each in scene.effects] == [FIRST, SECOND_HOLD, f"{FIRST}/void/1"]
    assert held(scene) == [FIRST, SECOND_HOLD]
    assert scene.order.voids == (FIRST,)
    assert held(scene.settle()) == [SECOND_HOLD]


@pytest.mark.rule("E7")
def test_an_edit_that_keeps_the_total_holds_nothing_new() -> None:
    """A changed address costs no new authorisation."""
    scene = unshipped()
    scene.send("edit", **ELSEWHERE)
    assert scene.did(Authorize) == [FIRST]
    assert scene.did(Void) == []


FAILURES = [
    (Result.DECLINED, "PAYMENT_DECLINED"),
    (Result.OUT_OF_STOCK, "OUT_OF_STOCK"),
    (Result.UNANSWERED, "PAYMENT_UNANSWERED"),
    ("lost", "PAYMENT_UNANSWERED"),
]


@pytest.mark.rule("E7")
@pytest.mark.parametrize(("answer", "refused"), FAILURES, ids=["declined", "out of stock", "unanswered", "lost"])
@pytest.mark.parametrize("change", [MORE, {**MORE, **EXPRESS, **ELSEWHERE}], ids=["more", "everything"])
def test_an_edit_that_fails_leaves_the_order_as_it_was(answer: Result | str, refused: str, change: Json) -> None:
    """The buyer's edit whose new amount or stock is not to be had is refused; the order and its hold stand as they were."""
    scene = unshipped()
    before = contents(scene.order)
    refusal = scene.answer(answer).send("edit", **change)
    assert refusal is not None
    assert refusal.code == refused
    assert contents(scene.settle().order) == before
    assert held(scene) == [FIRST]
    assert scene.mails(NoticeKind.ORDER_EDITED) == []


@pytest.mark.rule("E7")
@pytest.mark.parametrize("answer", [Result.UNANSWERED, "lost"])
def test_a_hold_in_doubt_is_voided(answer: Result | str) -> None:
    """The new hold whose outcome stayed unknown is voided, and the one that is surely there is kept."""
    scene = unshipped().answer(answer)
    scene.send("edit", **MORE)
    assert scene.order.voids == (SECOND_HOLD,)
    assert scene.did(Void) == [f"{SECOND_HOLD}/void/1"]


@pytest.mark.rule("E7")
def test_an_edit_may_be_tried_again() -> None:
    """The buyer whose edit was declined tries again under a new reference and is served."""
    scene = unshipped().answer(Result.DECLINED)
    scene.send("edit", **MORE)
    assert code(scene, "edit", **LESS) is None
    assert scene.settle().order.payment.reference == f"{NUMBER}/3/authorize"
    assert held(scene) == [f"{NUMBER}/3/authorize"]


@pytest.mark.rule("E7", "P4")
@pytest.mark.parametrize("start", [pending, declined], ids=["authorising", "declined"])
@pytest.mark.parametrize("answer", [Result.OUT_OF_STOCK, Result.UNANSWERED])
def test_an_edit_without_stock_leaves_a_pending_order_as_it_was(start: Callable[[], Scene], answer: Result) -> None:
    """The buyer's edit of a Pending order for which there is no stock is refused, and the order stands as it was."""
    scene = start()
    before = contents(scene.order)
    # The first authorisation is still under way; the stock for the edit is asked for ahead of it.
    assert code(scene.answer(answer), "edit", **MORE) is not None
    assert contents(scene.order) == before
    assert scene.did(Void) == []


@pytest.mark.rule("E7", "P4")
def test_stock_is_reserved_for_both_until_the_edit_is_decided() -> None:
    """An edit reserves for the order as it is and as it would be, so that either outcome is covered."""
    scene = unshipped()
    scene.send("edit", lines=[{"sku": "A", "quantity": 5}, {"sku": "B", "quantity": 0}])
    (asked,) = [each for each in scene.effects[1:] if isinstance(each, Authorize)]
    assert asked.reservation is not None
    assert dict(asked.reservation.quantities) == {"A": 5, "B": 1}
    versions = (asked.reservation.version, scene.order.version)
    assert versions[0] < versions[1]
    before = declined()
    before.send("edit", **LESS)
    (reserved,) = [each for each in before.effects if isinstance(each, Reserve)]
    assert dict(reserved.reservation.quantities) == {"A": 2, "B": 1}


@pytest.mark.rule("E7")
def test_the_authorisation_that_an_edit_gave_up_is_voided_when_it_comes() -> None:
    """The first authorisation, given up for one of the edited total, never verifies the order, whenever it comes."""
    scene = pending()
    scene.send("edit", **MORE)
    scene.decide(scene.partners.perform(scene.open.pop(0), scene.now))
    assert scene.status is Status.PENDING
    wanted = scene.order.payment.reference
    assert wanted != FIRST
    assert held(scene.settle()) == [wanted]


@pytest.mark.rule("E2")
@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ([{"sku": "C", "quantity": 1}], "NEW_ITEM"),
        ([{"sku": "C", "quantity": 0}], "NEW_ITEM"),
        ([{"sku": "A", "quantity": 2, "unit_price": {"amount_minor": 1, "currency": "JPY"}}], "PRICE_FIXED"),
        ([{"sku": "A", "quantity": 3, "unit_price": {"amount_minor": 1000, "currency": "EUR"}}], "PRICE_FIXED"),
        ([{"sku": "A", "quantity": 0}, {"sku": "B", "quantity": 0}], "NOTHING_LEFT"),
        ([{"sku": "A", "quantity": 2}], "NOTHING_CHANGED"),
        ([], "NOTHING_CHANGED"),
        ([{"sku": "A", "quantity": 1}, {"sku": "A", "quantity": 3}], "INVALID_COMMAND"),
        ([{"sku": "A", "quantity": -1}], "INVALID_COMMAND"),
        ([{"sku": "A", "quantity": 1000}], "INVALID_COMMAND"),
        ([{"sku": "A", "quantity": 1.0}], "INVALID_COMMAND"),
        ([{"sku": "A", "quantity": 1, "title": "Gold"}], "INVALID_COMMAND"),
        ([{"quantity": 1}], "INVALID_COMMAND"),
    ],
)
def test_what_no_edit_can_do(change: list[Json], refused: str) -> None:
    """The buyer's edit that adds an item, changes a price, empties the order or changes nothing is refused."""
    scene = unshipped()
    before = contents(scene.order)
    assert code(scene, "edit", lines=change) == refused
    assert contents(scene.order) == before
    assert scene.did(Authorize) == [FIRST]


@pytest.mark.rule("E2")
def test_naming_the_price_as_it_is_changes_nothing() -> None:
    """The buyer's edit that repeats an item's price is read as the quantity change that it is."""
    price = {"amount_minor": 1000, "currency": "JPY"}
    scene = unshipped()
    assert code(scene, "edit", lines=[{"sku": "A", "quantity": 3, "unit_price": price}]) is None


@pytest.mark.rule("E1", "G4")
@pytest.mark.parametrize(("quantity", "refused"), [(299, None), (300, "REVIEW_LIMIT")])
def test_an_edit_lifts_no_order_above_the_review_limit(quantity: int, refused: str | None) -> None:
    """An order that would be reviewed at placement is not made by an edit: 300,000 is allowed, more is not."""
    scene = unshipped(cart(line("A", 2, 1000), line("B", 1, 500)))
    refusal = scene.send("edit", lines=[{"sku": "A", "quantity": quantity}])
    assert (refusal.code if refusal else None) == refused


@pytest.mark.rule("E1", "P1")
@pytest.mark.parametrize(("quantity", "refused"), [(998, None), (999, "CART_LIMIT")])
def test_an_edit_stays_within_the_cart_limits(quantity: int, refused: str | None) -> None:
    """The buyer raises quantities up to 1,000 units in all, and no further; the refusal names the limit."""
    scene = unshipped(cart(line("A", 2, 10), line("B", 1, 10)))
    refusal = scene.send("edit", lines=[{"sku": "A", "quantity": quantity}, {"sku": "B", "quantity": 2}])
    assert (refusal.code if refusal else None) == refused
    if refusal is not None:
        assert "at most 1000" in refusal.message
        assert refusal.rule == "P1"


@pytest.mark.rule("E1")
def test_an_unknown_shipping_option_is_refused_with_the_known_ones() -> None:
    """The buyer who wants a shipping option that there is not is told the options."""
    refusal = unshipped().send("edit", shipping_option="drone")
    assert refusal is not None
    assert refusal.code == "UNKNOWN_SHIPPING_OPTION"
    assert "standard, express" in refusal.remedy


@pytest.mark.rule("E1")
@pytest.mark.parametrize("field", ["recipient", "line1", "city", "postal_code", "country"])
def test_an_edited_address_is_checked_like_a_placed_one(field: str) -> None:
    """The buyer's new address with a line break in it is refused and told the field."""
    scene = unshipped()
    refusal = scene.send("edit", shipping_address={**NEW_ADDRESS, field: "a\r\nb"})
    assert refusal is not None
    assert refusal.code == "INVALID_COMMAND"
    assert f"shipping_address.{field}" in refusal.message


@pytest.mark.rule("E3")
@pytest.mark.parametrize("actor", ["seller", "operator", "system"])
def test_nobody_but_the_buyer_changes_the_contents(actor: str) -> None:
    """The seller, the operator and the marketplace can change nothing of an order's contents."""
    for scene in (pending(), unshipped()):
        refusal = scene.send("edit", actor, **MORE)
        assert refusal is not None
        assert (refusal.code, refusal.rule) == ("CONTENTS_FIXED", "E3")


@pytest.mark.rule("E5")
@pytest.mark.parametrize("change", [MORE, EXPRESS, ELSEWHERE])
def test_a_marketplace_fulfilled_order_cannot_be_edited(change: Json) -> None:
    """The buyer of an order that the marketplace ships cannot edit it, and is told what to do instead."""
    for scene in (pending(cart(fulfilment="marketplace")), unshipped(cart(fulfilment="marketplace"))):
        refusal = scene.send("edit", **change)
        assert refusal is not None
        assert (refusal.code, refusal.rule) == ("NOT_EDITABLE", "E5")
        assert "new order" in refusal.remedy


@pytest.mark.rule("E8", "E9")
def test_a_confirmed_shipment_ends_the_window_early() -> None:
    """The buyer who edits a minute after placement, a shipment being confirmed already, is refused."""
    scene = unshipped().late(T0 + MINUTE)
    scene.send("ship", "seller", **PARCEL)
    assert code(scene, "edit", **ELSEWHERE) == "ALREADY_SHIPPED"
    assert scene.order.address.city == "Tokyo"


@pytest.mark.rule("E7", "S2")
def test_what_is_charged_is_the_edited_total() -> None:
    """The buyer who dropped an item is charged the new total at shipment, and not the old one."""
    scene = unshipped()
    scene.send("edit", **DROP)
    scene.settle().send("ship", "seller", **PARCEL)
    assert scene.settle().partners.charged == 2500


@pytest.mark.rule("E7")
def test_many_edits_end_with_one_hold() -> None:
    """The buyer who edits again and again ends with one hold, of the last total."""
    scene = unshipped(cart(line("A", 1, 1000)))
    for quantity in (2, 5, 3, 7):
        assert code(scene, "edit", lines=[{"sku": "A", "quantity": quantity}]) is None
    scene.settle()
    (reference,) = held(scene)
    assert scene.partners.holds[reference].amount == scene.order.total_minor == 7500


@pytest.mark.rule("P4")
@pytest.mark.parametrize(
    ("result", "refused"), [(Result.OUT_OF_STOCK, "OUT_OF_STOCK"), (Result.NUMBER_TAKEN, "ORDER_NUMBER_TAKEN")]
)
def test_a_placement_without_stock_is_refused_also_after_an_address_edit(result: Result, refused: str) -> None:
    """The buyer who corrects the address while the stock is being reserved loses the order all the same if there is none."""
    scene = pending()
    scene.send("edit", **ELSEWHERE)
    scene.decide(Outcome(result=result, reference=FIRST, short={"A": 1}))
    assert scene.order.rejected is not None
    assert scene.order.rejected.code == refused
    assert code(scene, "cancel") == "ORDER_REFUSED"


@pytest.mark.rule("G3")
def test_another_card_is_a_token_and_never_a_card_number() -> None:
    """The buyer's client that sends a card number instead of the provider's token is refused, the number not kept."""
    scene = declined()
    assert code(scene, "pay_again", card="4242424242424242") == "INVALID_COMMAND"
    assert "4242" not in scene.order.model_dump_json()


@pytest.mark.rule("E5", "E6")
def test_there_is_no_window_to_extend_where_nothing_can_be_edited() -> None:
    """The operator's extension for an order that the marketplace ships is refused, for it cannot be edited."""
    assert code(unshipped(cart(fulfilment="marketplace")), "extend_edit", "operator", minutes=5) == "NOT_EDITABLE"
