"""Chapter A where items, parcels and refunds are told apart: what a case is settled by, ended by, and free for again."""

import pytest
from domain_kit import DAY, PARCEL, SECOND, T0, Json, Scene, code, delivered, shipped, unshipped
from refund_kit import refund, refused

from domain.effects import NoticeKind
from domain.order import Flag, Status

A1: Json = {"lines": [{"sku": "A", "quantity": 1}]}
A2: Json = {"lines": [{"sku": "A", "quantity": 2}]}
B1: Json = {"lines": [{"sku": "B", "quantity": 1}]}
SECOND_PARCEL: Json = {"carrier": "Sagawa", "tracking_number": "T-2"}


def cases(scene: Scene) -> list[tuple[str, str, dict[str, int]]]:
    """Return kind, state and units of each case."""
    return [(each.kind.value, each.status.value, dict(each.quantities)) for each in scene.order.cases]


def received(scene: Scene, lines: Json) -> Scene:
    """Let the buyer return some items, and the seller take them back."""
    for name, actor, fields in (
        ("request_return", "buyer", lines),
        ("authorize_return", "seller", {}),
        ("receive_return", "seller", {}),
    ):
        assert code(scene, name, actor, **fields) is None
    return scene


def in_two_parcels(first: Json, second: Json) -> Scene:
    """Return an order that was sent in two parcels, neither delivered."""
    scene = unshipped()
    assert code(scene, "ship", "seller", **PARCEL, **first) is None
    assert code(scene, "ship", "seller", **SECOND_PARCEL, **second) is None
    return scene.settle()


def scene_of_one() -> Scene:
    """Return a shipped order of which one A is reported missing."""
    scene = shipped()
    scene.send("report_not_received", **A1)
    return scene


# What settles a case.


@pytest.mark.rule("A3", "R2")
@pytest.mark.parametrize("lines", [B1, {"lines": [{"sku": "A", "quantity": 2}, {"sku": "B", "quantity": 1}]}])
def test_a_refund_of_a_case_is_of_its_items(lines: Json) -> None:
    """A refund that names a return of A and pays B is refused: it would leave the buyer without the money for A."""
    scene = received(delivered(), A2)
    refusal = refused(scene, "refund", "seller", reason="buyer_return", case_id="K1", **lines)
    assert (refusal.code, refusal.rule) == ("NOT_IN_CASE", "R2")
    assert "is about 0 of B, not about 1" in refusal.message
    assert cases(scene) == [("return", "received", {"A": 2})]


@pytest.mark.rule("A3", "R2")
@pytest.mark.parametrize("part", [A1, {"shipping": {"amount_minor": 1, "currency": "JPY"}}])
def test_a_case_stays_owed_until_all_of_it_is_refunded(part: Json) -> None:
    """One unit of two, or a yen of the shipping fee, does not settle a return; the rest does."""
    scene = received(delivered(), A2)
    assert refund(scene, "buyer_return", case_id="K1", **part) is None
    assert (cases(scene), Flag.REFUND_DUE in scene.order.flags) == ([("return", "received", {"A": 2})], True)
    assert refund(scene, "buyer_return", case_id="K1") is None
    assert (cases(scene), Flag.REFUND_DUE in scene.order.flags) == ([("return", "refunded", {"A": 2})], False)
    assert sum(each.quantity for each in scene.order.refunds[-1].lines) in (1, 2)
    assert scene.order.cases[0].refund_id == "R2"


@pytest.mark.rule("A3", "R2", "R6")
def test_a_case_of_some_units_is_settled_by_their_refund_and_paid_once() -> None:
    """One of two came back and is refunded: the case is over, and the same refund again is refused; the other stays the buyer's."""
    scene = received(delivered(), A1)
    assert refund(scene, "buyer_return", case_id="K1") is None
    assert cases(scene) == [("return", "refunded", {"A": 1})]
    paid = scene.order.refunds[0].amount_minor
    for fields in ({}, A1):
        again = refused(scene, "refund", "seller", reason="buyer_return", case_id="K1", **fields)
        assert again.code == "CASE_NOT_OPEN_TO_THIS"
    assert (len(scene.order.refunds), paid) == (1, scene.settle().partners.given_back)
    assert scene.at(T0 + 99 * DAY).status is Status.DELIVERED
    scene.partners.settle_refund(scene.order.refunds[0].parts[0].reference)
    assert scene.at(T0 + 199 * DAY).settle().at(T0 + 399 * DAY).status is Status.COMPLETED


@pytest.mark.rule("A6", "R2")
def test_a_claim_after_the_refund_of_some_units_pays_no_others() -> None:
    """One of two A is missing: refunded, the report is over, and no claim pays for the A that has arrived."""
    scene = scene_of_one()
    assert refund(scene, "not_received", case_id="K1") is None
    assert cases(scene) == [("not_received", "refunded", {"A": 1})]
    assert code(scene, "open_claim") == "NO_SUCH_CASE"
    both = shipped()
    refusal = refused(scene_of_one(), "refund", "seller", reason="not_received", case_id="K1", **A2)
    assert (refusal.code, "is about 1 of A, not about 2" in refusal.message) == ("NOT_IN_CASE", True)
    both.send("report_not_received", **A2)
    assert refund(both, "not_received", case_id="K1", **A1) is None
    both.send("open_claim")
    assert code(both, "grant_claim", "operator") is None
    assert [sum(line.quantity for line in each.lines) for each in both.order.refunds] == [1, 1]


@pytest.mark.rule("A1", "A3", "R2")
def test_a_case_whose_money_has_gone_back_otherwise_can_be_ended() -> None:
    """Sums without the case, or several for its items, leave nothing to pay: the case ends, and the order with it."""
    scene = shipped()
    scene.send("request_cancellation", **A2)
    scene.send("open_cancellation", "seller")
    scene.send("approve_cancellation", "operator")
    shipping = {"amount_minor": 400, "currency": "JPY"}
    all_of_it = [{"sku": "A", "amount": {"amount_minor": 2000, "currency": "JPY"}}]
    assert refund(scene, lines=all_of_it, shipping=shipping) is None
    assert refund(scene, case_id="K1") is None
    assert cases(scene)[0][1] == "refunded"
    lumps = received(delivered(), {"lines": [*A2["lines"], *B1["lines"]]})
    for sku, amount in (("A", 2000), ("B", 500)):
        lump = [{"sku": sku, "amount": {"amount_minor": amount, "currency": "JPY"}}]
        assert refund(lumps, "buyer_return", case_id="K1", lines=lump) is None
    assert cases(lumps)[0][1] == "refunded"


@pytest.mark.rule("A3", "R2")
def test_what_a_case_is_owed_is_paid_whatever_was_refunded_before() -> None:
    """Fifty refunds of a yen use up an order's refunds; a return that came back is refunded all the same."""
    scene = received(delivered(), A1)
    yen: Json = {"lines": [{"sku": "B", "amount": {"amount_minor": 1, "currency": "JPY"}}]}
    for _ in range(50):
        assert refund(scene, **yen) is None
    assert refund(scene, **yen) == "REFUND_LIMIT"
    assert refund(scene, "buyer_return", case_id="K1") is None


@pytest.mark.rule("A3", "C11")
def test_a_return_of_items_that_were_cancelled_meanwhile_takes_nothing_away() -> None:
    """B is returned unconfirmed and cancelled before it came back: received, the return is over, and nothing is cancelled twice."""
    scene = unshipped()
    scene.send("request_return", **B1)
    scene.send("authorize_return", "seller")
    scene.send("cancel_items", "seller", consent="by mail", **B1)
    told = len(scene.mails(NoticeKind.ITEMS_CANCELLED))
    assert code(scene, "receive_return", "seller") is None
    assert (len(scene.order.reductions), len(scene.mails(NoticeKind.ITEMS_CANCELLED))) == (1, told)
    assert cases(scene) == [("return", "closed", {"B": 1})]


@pytest.mark.rule("A3", "R2")
def test_a_sum_named_for_an_item_settles_it() -> None:
    """The seller takes back used items and pays a part of their price: that is the refund of the case."""
    scene = received(delivered(), A2)
    half = [{"sku": "A", "amount": {"amount_minor": 700, "currency": "JPY"}}]
    assert refund(scene, "buyer_return", case_id="K1", lines=half) is None
    assert cases(scene) == [("return", "refunded", {"A": 2})]


@pytest.mark.rule("A3")
def test_what_a_settled_case_never_covered_is_free_for_another() -> None:
    """A return of everything was asked for before the shipment; A came back and was refunded: B, sent later, can be returned."""
    scene = unshipped()
    scene.send("request_return")
    scene.send("authorize_return", "seller")
    scene.send("ship", "seller", **PARCEL, **A2)
    scene.send("receive_return", "seller")
    assert refund(scene, "buyer_return", case_id="K1") is None
    assert cases(scene)[0][1:] == ("refunded", {"A": 2, "B": 0})
    scene.send("ship", "seller", **SECOND_PARCEL)
    assert code(scene, "request_return", **B1) is None


# What ends a case without a refund.


@pytest.mark.rule("A5", "A3")
def test_a_recalled_parcel_that_is_delivered_all_the_same_can_be_returned() -> None:
    """The recall came too late: it is over, and the buyer has its return window."""
    scene = shipped()
    assert code(scene, "recall_parcel", "seller") is None
    scene.at(T0 + 6 * DAY).send("deliver", "system")
    assert cases(scene) == [("parcel", "closed", {"A": 2, "B": 1})]
    assert scene.mails(NoticeKind.CASE_CHANGED) == ["buyer"]
    assert code(scene, "request_return") is None


@pytest.mark.rule("A10", "A6", "A9")
def test_a_delivery_after_it_was_assumed_ends_the_report() -> None:
    """Counted as delivered after 21 days, delivered on day 23: the report is over, the return window runs from then."""
    scene = shipped().at(T0 + 10 * DAY)
    scene.send("report_not_received")
    scene.at(T0 + 22 * DAY)
    assert (scene.status, scene.order.shipments[0].assumed, cases(scene)[0][1]) == (Status.DELIVERED, True, "reported")
    scene.at(T0 + 23 * DAY).send("deliver", "system")
    assert cases(scene)[0][1] == "closed"
    again = refused(scene, "deliver", "system")
    assert again.code == "ALREADY_DELIVERED"
    assert scene.order.delivered_at is not None
    assert scene.at(scene.order.delivered_at + 30 * DAY - SECOND).status is Status.DELIVERED
    assert scene.at(scene.now + SECOND).status is Status.COMPLETED


@pytest.mark.rule("A6")
def test_the_parcel_that_was_missed_ends_the_report_when_it_comes() -> None:
    """A report on P1 is over with P1's delivery, though P2 is under way; a report on what has come before stays open."""
    scene = in_two_parcels(A2, B1)
    scene.send("report_not_received", **A2)
    assert code(scene, "deliver", "system", shipment_id="P1") is None
    assert cases(scene) == [("not_received", "closed", {"A": 2})]
    assert code(scene, "report_not_received", **A2) is None
    assert code(scene, "deliver", "system", shipment_id="P2") is None
    assert [each[1] for each in cases(scene)] == ["closed", "reported"]
    one_of_two = in_two_parcels(A1, {"lines": [*A1["lines"], *B1["lines"]]})
    one_of_two.send("report_not_received", **A1)
    one_of_two.send("deliver", "system", shipment_id="P1")
    assert cases(one_of_two)[0][1] == "reported"
    one_of_two.send("deliver", "system", shipment_id="P2")
    assert cases(one_of_two)[0][1] == "closed"


@pytest.mark.rule("A4", "A1", "A6", "R4")
def test_a_parcel_that_comes_back_ends_what_was_open_on_it() -> None:
    """A cancellation in review and a claim do not keep the carrier's word out: refunded less the shipping fee, both are over."""
    for opening, step in (("request_cancellation", "open_cancellation"), ("report_not_received", "open_claim")):
        scene = shipped()
        scene.send(opening)
        scene.send(step, "seller" if step == "open_cancellation" else "buyer")
        told = len(scene.notices)
        assert code(scene, "return_to_sender", "system", reason="refused") is None
        assert [each[1] for each in cases(scene)] == ["closed", "refunded"]
        refunded = scene.order.refunds[0]
        assert (refunded.reason, refunded.deducted_minor > 0, refunded.case_id) == ("undeliverable", True, "K2")
        # The refund's mail tells it; "the parcel has arrived after all" would be untrue.
        assert "K1" not in {each.subject_id for each in scene.notices[told:]}
    part = shipped()
    part.send("request_cancellation", **A2)
    assert code(part, "return_to_sender", "system", reason="refused", lines=[*A1["lines"], *B1["lines"]]) is None
    assert cases(part) == [("cancellation", "requested", {"A": 1}), ("parcel", "refunded", {"A": 1, "B": 1})]


@pytest.mark.rule("A4")
def test_a_flood_of_cases_of_one_side_does_not_lock_out_the_carrier() -> None:
    """After fifty returns of the buyer no more are taken of it; the carrier's parcel is."""
    scene = shipped()
    for _ in range(50):
        assert code(scene, "request_return") is None
        assert code(scene, "decline_return", "seller") is None
    refusal = refused(scene, "request_return")
    assert (refusal.code, refusal.rule) == ("CASE_LIMIT", "A3")
    assert code(scene, "return_to_sender", "system", reason="refused") is None


# A wish to cancel what has arrived in part.


@pytest.mark.rule("A2", "A1")
def test_a_wish_is_a_cancellation_of_what_is_under_way_and_a_return_of_the_rest() -> None:
    """P1 with A has arrived, P2 with B has not: one wish opens a cancellation of B and a return of A."""
    scene = in_two_parcels(A2, B1)
    scene.send("deliver", "system", shipment_id="P1")
    assert code(scene, "request_cancellation") is None
    assert cases(scene) == [("cancellation", "requested", {"B": 1}), ("return", "requested", {"A": 2})]
    assert scene.mails(NoticeKind.CASE_OPENED).count("buyer") == 2


@pytest.mark.rule("A2")
def test_of_units_that_cannot_be_told_apart_the_one_under_way_is_cancelled() -> None:
    """One A arrived and was refunded, one is under way: the next wish for an A is a cancellation."""
    scene = in_two_parcels(A1, {"lines": [*A1["lines"], *B1["lines"]]})
    scene.send("deliver", "system", shipment_id="P1")
    received(scene, A1)
    refund(scene, "buyer_return", case_id="K1")
    assert code(scene, "request_cancellation", **A1) is None
    assert cases(scene)[-1] == ("cancellation", "requested", {"A": 1})


@pytest.mark.rule("A2")
@pytest.mark.parametrize(("seconds", "kind"), [(-1, "cancellation"), (0, "return"), (1, "return")])
def test_a_wish_is_judged_by_when_the_buyer_asked(seconds: int, kind: str) -> None:
    """Asked a second before the delivery and read after it, a wish is a cancellation; at the delivery or after, a return."""
    there = T0 + 3 * DAY
    scene = shipped().at(there)
    scene.send("deliver", "system")
    scene.at(there + DAY).send("request_cancellation", "buyer", there + seconds * SECOND)
    assert cases(scene)[0][0] == kind


@pytest.mark.rule("A3", "C11")
def test_a_part_that_came_back_unconfirmed_leaves_the_rest_to_be_shipped() -> None:
    """B came back of an order that was never confirmed: B is off the order, with the buyer's own return as consent; A goes on."""
    scene = unshipped()
    received(scene, B1)
    assert (scene.status, [(line.sku, line.quantity) for line in scene.order.lines]) == (Status.UNSHIPPED, [("A", 2)])
    (reduction,) = scene.order.reductions
    assert (dict(reduction.quantities), "return K1" in reduction.consent) == ({"B": 1}, True)
    assert cases(scene) == [("return", "closed", {"B": 1})]
    assert scene.order.flags == frozenset()
    assert scene.mails(NoticeKind.ITEMS_CANCELLED) == ["buyer", "seller"]
    scene.send("ship", "seller", **PARCEL)
    assert scene.partners.charged == scene.order.total_minor
    whole = received(unshipped(), {})
    assert whole.status is Status.CANCELLED
