"""Official cancellation requests: the buyer asks after its window, the seller accepts, declines or ships."""

import pytest
from domain_kit import DAY, HOUR, T0, code, pending, unshipped
from domain_ways import asked

from domain.effects import NoticeKind
from domain.order import Actor, Flag, RequestStatus, Status
from domain.views import view


@pytest.mark.rule("G2", "C4", "G5")
def test_a_request_made_while_pending_is_answered_when_verified() -> None:
    """The buyer's request on a Pending order stays open until it is verified; then the seller answers it."""
    scene = pending().at(T0 + HOUR)
    assert code(scene, "request_cancellation") is None
    assert Flag.BUYER_REQUESTED_CANCELLATION in scene.settle().order.flags
    assert scene.status is Status.UNSHIPPED
    assert code(scene, "accept_cancellation", "seller") is None
    assert scene.order.status is Status.CANCELLED


@pytest.mark.rule("C3")
def test_a_request_flags_the_order_and_tells_the_seller() -> None:
    """The buyer's official request flags the order, keeps its reason, and the seller and the buyer are told."""
    scene = asked(reason="found_cheaper", note="It was cheaper next door")
    request = scene.order.request
    assert request is not None
    assert (request.status, request.reason) == (RequestStatus.OPEN, "found_cheaper")
    assert request.note == "It was cheaper next door"
    assert request.requested_at == T0 + 3 * HOUR
    assert Flag.BUYER_REQUESTED_CANCELLATION in view(scene.order, scene.now, Actor.SELLER).flags
    assert sorted(scene.mails(NoticeKind.REQUEST_RECEIVED)) == ["buyer", "seller"]
    assert scene.status is Status.UNSHIPPED


@pytest.mark.rule("C3")
def test_a_second_request_is_refused_while_one_is_open() -> None:
    """The buyer who asks twice is told that the first request is open, and since when."""
    refusal = asked().send("request_cancellation")
    assert refusal is not None
    assert refusal.code == "REQUEST_ALREADY_OPEN"
    assert "15:00:00 UTC" in refusal.message


@pytest.mark.rule("C4")
def test_the_seller_accepts_the_request() -> None:
    """The seller's acceptance cancels the order for "buyer cancelled", not counted in its rate; the buyer is told."""
    scene = asked()
    assert code(scene, "accept_cancellation", "seller") is None
    assert (scene.status, scene.cancellation.reason) == (Status.CANCELLED, "buyer_cancelled")
    assert scene.order.request is not None
    assert scene.order.request.status is RequestStatus.ACCEPTED
    assert scene.mails(NoticeKind.REQUEST_ACCEPTED) == ["buyer"]


@pytest.mark.rule("C4")
def test_the_seller_declines_and_the_buyer_may_ask_again() -> None:
    """The seller's decline keeps the order and unflags it; the buyer is told and may file another request."""
    scene = asked()
    assert code(scene, "decline_cancellation", "seller", note="Already packed") is None
    assert scene.status is Status.UNSHIPPED
    assert Flag.BUYER_REQUESTED_CANCELLATION not in scene.order.flags
    assert scene.mails(NoticeKind.REQUEST_DECLINED) == ["buyer"]
    assert code(scene, "request_cancellation") is None
    assert Flag.BUYER_REQUESTED_CANCELLATION in scene.order.flags


@pytest.mark.rule("C4")
@pytest.mark.parametrize("name", ["accept_cancellation", "decline_cancellation"])
def test_an_answer_needs_an_open_request(name: str) -> None:
    """The seller who answers where nobody asked, or twice, is refused."""
    assert code(unshipped(), name, "seller") == "NO_OPEN_REQUEST"
    scene = asked()
    scene.send("decline_cancellation", "seller")
    assert code(scene, name, "seller") == "NO_OPEN_REQUEST"


@pytest.mark.rule("C6")
@pytest.mark.parametrize(("official", "counts"), [(True, False), (False, True)])
def test_an_unofficial_wish_counts_in_the_rate(official: bool, counts: bool) -> None:
    """The seller who cancels for "buyer cancelled" is not counted only if the buyer filed an official request."""
    scene = asked() if official else unshipped()
    scene.send("cancel", "seller", reason="buyer_cancelled")
    assert scene.cancellation.counts_in_rate is counts


@pytest.mark.rule("C5", "C8", "C9")
@pytest.mark.parametrize("reason", ["no_inventory", None], ids=["seller", "marketplace"])
def test_a_cancelled_order_leaves_no_request_to_answer(reason: str | None) -> None:
    """The request that a cancellation for another reason overtakes is no longer open."""
    scene = asked()
    if reason:
        scene.send("cancel", "seller", reason=reason)
    scene.at(T0 + 9 * DAY)
    assert scene.status is Status.CANCELLED
    assert scene.order.request is not None
    assert scene.order.request.status is not RequestStatus.OPEN
