"""Chapter C: who cancels before shipment, how, and that every cancellation ends with nothing held and nothing charged."""

from datetime import timedelta
from itertools import permutations, product
from typing import Any

import pytest
from domain_kit import (
    CARD_AND_POINTS,
    DAY,
    FIELDS,
    HOUR,
    KONBINI,
    MINUTE,
    PARCEL,
    POINTS,
    SECOND,
    T0,
    Json,
    cart,
    code,
    declined,
    in_state,
    partly,
    pending,
    shipped,
    substance,
    unshipped,
)
from domain_ways import (
    FIRST,
    WAYS,
    Way,
    by_acceptance,
    by_buyer,
    by_buyer_pending,
    by_buyer_unpaid,
    by_confirm_window,
    by_early_request,
    by_failed_purchase,
    by_processing_window,
    by_refused_review,
    by_seller,
    by_store_payment_due,
)
from refund_kit import refused

from domain.commands import COMMANDS
from domain.effects import Ask, NoticeKind, Outcome, Result, Void
from domain.order import Actor, Flag, Status
from domain.payment_state import PaymentStatus
from domain.reasons import BuyerReason, SellerReason
from domain.views import view

ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@pytest.mark.rule("C9")
@ways
def test_every_cancellation_leaves_nothing_held_or_charged(way: Way) -> None:
    """Whoever cancels: one state, one reason, one actor; every hold is voided, nothing charged, the buyer told."""
    scene = way()
    assert scene.status is Status.CANCELLED
    assert scene.cancellation.reason
    scene.settle()
    assert scene.partners.charged == 0
    assert not [key for key, hold in scene.partners.holds.items() if hold.live(scene.now)]
    assert scene.order.payment.captured_minor == 0
    assert scene.order.voids == ()
    told = scene.mails(NoticeKind.ORDER_CANCELLED) + scene.mails(NoticeKind.REQUEST_ACCEPTED)
    assert told.count("buyer") == 1
    assert told.count("seller") <= 1


@pytest.mark.rule("C9", "G6")
@pytest.mark.parametrize(
    ("way", "actor", "counts"),
    [
        (by_buyer_pending, Actor.BUYER, False),
        (by_buyer, Actor.BUYER, False),
        (by_early_request, Actor.BUYER, False),
        (by_seller, Actor.SELLER, True),
        (by_acceptance, Actor.SELLER, False),
        (by_processing_window, Actor.SYSTEM, False),
        (by_confirm_window, Actor.SYSTEM, True),
        (by_store_payment_due, Actor.SYSTEM, False),
        (by_buyer_unpaid, Actor.BUYER, False),
        (by_refused_review, Actor.OPERATOR, False),
        (by_failed_purchase, Actor.SYSTEM, False),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_whom_a_cancellation_counts_against(way: Way, actor: Actor, counts: bool) -> None:
    """A cancellation counts in the seller's rate when the seller wants it or lets the confirm window pass, else not."""
    cancellation = way().cancellation
    assert (cancellation.actor, cancellation.counts_in_rate) == (actor, counts)


@pytest.mark.rule("C1")
def test_the_sellers_notice_of_a_buyers_cancellation() -> None:
    """The seller hears of a buyer's cancellation only if it knew of the order as one to ship."""
    assert by_buyer().mails(NoticeKind.ORDER_CANCELLED) == ["buyer", "seller"]
    assert by_buyer_pending().mails(NoticeKind.ORDER_CANCELLED) == ["buyer"]


@pytest.mark.rule("C9")
def test_an_authorisation_that_succeeds_after_the_cancellation_is_voided() -> None:
    """The buyer cancels while the provider is away; whatever it authorises afterwards is voided."""
    scene = by_buyer_pending()
    late, void = scene.open
    scene.open = []
    scene.decide(scene.partners.perform(late, scene.now))
    assert scene.status is Status.CANCELLED
    assert scene.partners.holds[FIRST].live(scene.now)
    scene.open.append(void)
    scene.settle()
    assert not scene.partners.holds[FIRST].live(scene.now)


@pytest.mark.rule("C9")
def test_a_hold_that_appears_after_its_void_is_voided_again() -> None:
    """A hold of a replaced card that appears after it was known to be voided is voided once more."""
    scene = declined()
    scene.send("pay_again", card="card-new")
    scene.decide(Outcome(result=Result.AUTHORIZED, reference=FIRST))
    assert scene.order.voids == (FIRST,)
    assert scene.did(Void) == [f"{FIRST}/void/1"]
    assert scene.order.payment.status is PaymentStatus.AUTHORIZING


@pytest.mark.rule("C9")
def test_a_void_that_keeps_failing_is_loud_and_never_given_up() -> None:
    """A void that fails is tried again in another round and flagged to the operator until it succeeds."""
    scene = by_buyer().answer(*[Result.VOID_FAILED] * 3)
    for failures in range(1, 4):
        scene.decide(scene.partners.perform(scene.open.pop(), scene.now))
        assert Flag.VOID_FAILING in scene.order.flags
        assert scene.did(Void)[-1] == f"{FIRST}/void/{failures + 1}"
    scene.settle()
    assert Flag.VOID_FAILING not in scene.order.flags
    assert scene.order.voids == ()
    assert scene.status is Status.CANCELLED


@pytest.mark.rule("C1")
@pytest.mark.parametrize("reason", [None, *BuyerReason])
def test_the_buyer_gives_a_reason_or_none(reason: str | None) -> None:
    """The buyer cancels with any of the buyer's reasons, or without one."""
    scene = unshipped()
    assert code(scene, "cancel", reason=reason) is None
    assert scene.cancellation.reason == (reason or "other")


@pytest.mark.rule("C1")
def test_the_buyers_reason_is_of_the_list() -> None:
    """The buyer's cancellation with a reason outside the buyer's list is refused, naming the list."""
    refusal = unshipped().send("cancel", reason="no_inventory")
    assert refusal is not None
    assert refusal.code == "INVALID_COMMAND"
    assert "changed_mind" in refusal.message


@pytest.mark.rule("C5")
@pytest.mark.parametrize("reason", SellerReason)
def test_the_seller_cancels_with_a_reason_of_the_list(reason: str) -> None:
    """The seller cancels an Unshipped order with any of the marketplace's reasons, at any time before shipment."""
    scene = unshipped().at(T0 + 9 * DAY - SECOND)
    assert code(scene, "cancel", "seller", reason=reason) is None
    assert (scene.cancellation.reason, scene.cancellation.actor) == (reason, Actor.SELLER)


@pytest.mark.rule("C5")
@pytest.mark.parametrize("reason", [None, "because", "changed_mind", "NO_INVENTORY", "payment_unverified"])
def test_the_seller_cannot_cancel_without_a_known_reason(reason: str | None) -> None:
    """The seller's cancellation without a reason, or with one off the list, is refused with the list; the order stands."""
    scene = unshipped()
    refusal = scene.send("cancel", "seller", reason=reason)
    assert refusal is not None
    assert refusal.code == "REASON_REQUIRED"
    assert all(each in refusal.remedy for each in SellerReason)
    assert scene.status is Status.UNSHIPPED


@pytest.mark.rule("C5", "C10")
@pytest.mark.parametrize("start", [partly, shipped])
def test_nobody_cancels_once_a_shipment_is_confirmed(start: Way) -> None:
    """From the moment a shipment is confirmed neither buyer nor seller cancels, and the refusal says why."""
    scene = start()
    for actor in ("buyer", "seller"):
        assert code(scene, "cancel", actor, at=T0, reason="no_inventory") == "ALREADY_SHIPPED"
    assert scene.order.cancellation is None


@pytest.mark.rule("G2")
@pytest.mark.parametrize("start", [pending, declined])
def test_the_seller_can_do_nothing_with_a_pending_order(start: Way) -> None:
    """The seller neither cancels nor ships a Pending order, nor answers its buyer's request; it opens when verified."""
    scene = start().at(T0 + HOUR)
    scene.send("request_cancellation")
    for name, fields in (
        ("cancel", {"reason": "no_inventory"}),
        ("ship", PARCEL),
        ("accept_cancellation", {}),
        ("decline_cancellation", {}),
    ):
        assert code(scene, name, "seller", **fields) == "ORDER_PENDING"
    assert code(scene, "ship", "operator", **PARCEL) == "ORDER_PENDING"
    assert scene.status is Status.PENDING


@pytest.mark.rule("C8")
def test_a_confirmation_after_the_marketplace_cancelled_is_refused() -> None:
    """The seller who says afterwards that it had shipped is refused and not paid."""
    scene = by_confirm_window()
    assert code(scene, "ship", "seller", **PARCEL) == "ORDER_CANCELLED"
    assert scene.settle().partners.charged == 0


@pytest.mark.rule("C7")
def test_the_warning_goes_when_the_order_is_cancelled() -> None:
    """The order that showed "confirm shipment" shows it no more once it is cancelled."""
    scene = unshipped().at(T0 + 3 * DAY)
    assert Flag.CONFIRM_SHIPMENT in scene.order.flags
    scene.send("cancel", "seller", reason="no_inventory")
    assert Flag.CONFIRM_SHIPMENT not in scene.order.flags


RIVALS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "buyer cancels": ("cancel", "buyer", {}),
    "seller cancels": ("cancel", "seller", {"reason": "no_inventory"}),
    "seller ships": ("ship", "seller", PARCEL),
}


@pytest.mark.rule("C10")
@pytest.mark.parametrize("order", list(permutations(RIVALS)), ids=" then ".join)
def test_of_rivals_at_one_instant_exactly_one_wins(order: tuple[str, ...]) -> None:
    """Of cancel and confirm at the same instant the first wins, the others are refused, and the money agrees."""
    scene = unshipped().at(T0 + MINUTE)
    answers = {each: code(scene, *RIVALS[each][:2], **RIVALS[each][2]) for each in order}
    scene.settle()
    assert [each for each, refused in answers.items() if refused is None] == [order[0]]
    shipped_first = order[0] == "seller ships"
    assert set(answers.values()) == {None, "ALREADY_SHIPPED" if shipped_first else "ORDER_CANCELLED"}
    assert scene.status is (Status.SHIPPED if shipped_first else Status.CANCELLED)
    assert scene.partners.charged == (3000 if shipped_first else 0)
    assert (scene.order.cancellation is None) is shipped_first
    assert bool(scene.order.shipments) is shipped_first


@pytest.mark.rule("C13")
@ways
def test_a_cancelled_order_stays_as_it_is(way: Way) -> None:
    """Whatever anyone sends to a cancelled order is refused with when it was cancelled and where to turn."""
    scene = way().settle()
    # Cash that was paid for it is back before the personal data goes.
    for reference in scene.partners.refunds:
        scene.partners.settle_refund(reference)
        scene.hear(reference)
    before, before_total = substance(scene.order, "sequence"), scene.order.total_minor
    for name, actor in product(COMMANDS, Actor):
        if (name, actor) in (("rate", Actor.BUYER), ("payment_event", Actor.SYSTEM)):
            continue
        if (name, actor) == ("retry_refund", Actor.OPERATOR):
            assert refused(scene, name, actor, refund_id="R9").code == "UNKNOWN_REFUND"
            continue
        refusal = scene.send(name, actor, at=T0, **FIELDS.get(name, {}))
        assert refusal is not None
        assert (refusal.code, refusal.rule) == ("ORDER_CANCELLED", "C13")
        assert "new order" in refusal.remedy
        assert "customer service" in refusal.remedy
    kept_until = scene.cancellation.at + 30 * DAY
    assert substance(scene.at(kept_until - SECOND).order, "sequence") == before
    erased = scene.at(T0 + 99 * DAY).order
    assert (erased.status, erased.erased_at, erased.total_minor) == (Status.CANCELLED, kept_until, before_total)


@pytest.mark.rule("A8", "C13")
@ways
def test_a_cancelled_order_is_rated_where_the_seller_caused_it(way: Way) -> None:
    """The buyer may still leave feedback, once, if the seller cancelled or let the confirm window pass; else it is refused."""
    scene = way().settle()
    cancellation = scene.cancellation
    open_to_it = cancellation.actor is Actor.SELLER or cancellation.counts_in_rate
    assert code(scene, "rate", stars=1) == (None if open_to_it else "RATING_NOT_OPEN")
    assert code(scene, "rate", stars=5) == ("ALREADY_RATED" if open_to_it else "RATING_NOT_OPEN")
    assert (scene.order.rating is not None) is open_to_it
    assert (scene.status, scene.order.cancellation) == (Status.CANCELLED, cancellation)


@pytest.mark.rule("C9", "C13")
@ways
def test_a_hint_about_a_cancelled_orders_payment_moves_nothing(way: Way) -> None:
    """The provider's hint leads to a question and to nothing else: the order stays cancelled with nothing held or charged."""
    scene = way().settle()
    before = substance(scene.order, "version", "sequence")
    scene.hear(scene.order.payment.reference)
    assert scene.did(Ask)
    assert substance(scene.order, "version", "sequence") == before
    assert scene.partners.charged == 0
    assert not [key for key, hold in scene.partners.holds.items() if hold.live(scene.now)]


@pytest.mark.rule("C13")
def test_a_cancelled_order_stays_visible() -> None:
    """The seller still sees a cancelled order's basic data: items, total, reason, actor."""
    shown = view(in_state(Status.CANCELLED).order, T0, Actor.SELLER)
    assert (shown.status, shown.total_minor, len(shown.lines)) == (Status.CANCELLED, 3000, 2)
    assert shown.cancellation is not None


@pytest.mark.rule("G6")
def test_a_verification_before_the_processing_window_ends_saves_the_order() -> None:
    """The buyer whose second card is authorised a second before the window ends keeps the order."""
    scene = declined().late(T0 + 21 * DAY - SECOND)
    assert code(scene, "pay_again", card="card-new") is None
    scene.settle()
    assert scene.at(T0 + 21 * DAY).status is Status.UNSHIPPED
    assert scene.order.verified_at == T0 + 21 * DAY - SECOND


@pytest.mark.rule("C2", "C1")
def test_the_auto_approval_is_the_sellers_own() -> None:
    """The buyer's cancellation an hour after placement is at once with the auto-approving seller, and late with another."""
    late = timedelta(hours=1)
    assert code(unshipped(cart(seller_id="S-200")).at(T0 + late), "cancel") is None
    assert code(unshipped().at(T0 + late), "cancel") == "CANCEL_WINDOW_CLOSED"


@pytest.mark.rule("C11", "S2")
@pytest.mark.parametrize("placed", [KONBINI, POINTS], ids=["in cash", "with points"])
def test_items_cancelled_after_an_unanswered_charge_leave_no_doubt_about_the_amount(placed: Json) -> None:
    """Where the charge of cash or points was not answered and items are cancelled then, the buyer pays what remains."""
    scene = unshipped(placed)
    if placed is KONBINI:
        scene.partners.pay_at_store(FIRST)
        scene.hear(FIRST)
    assert code(scene.answer("lost"), "ship", "seller", **PARCEL) == "PAYMENT_UNANSWERED"
    code(scene, "cancel_items", "seller", **FIELDS["cancel_items"])
    assert code(scene, "ship", "seller", **PARCEL) is None
    assert scene.settle().partners.charged - scene.partners.given_back == scene.order.total_minor


@pytest.mark.rule("C11", "S2", "P5")
@pytest.mark.parametrize("placed", [KONBINI, POINTS, CARD_AND_POINTS], ids=["in cash", "points", "card and points"])
def test_what_remains_after_items_were_cancelled_is_charged_and_no_more(placed: Json) -> None:
    """The buyer whose order was reduced before shipment pays the total that remains, whichever way it pays."""
    scene = unshipped(placed)
    if placed is KONBINI:
        scene.partners.pay_at_store(FIRST)
        scene.hear(FIRST)
    assert code(scene, "cancel_items", "seller", **FIELDS["cancel_items"]) is None
    assert code(scene, "ship", "seller", **PARCEL) is None
    assert scene.settle().partners.charged == scene.order.total_minor == 2500
