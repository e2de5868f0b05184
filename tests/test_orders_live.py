"""Orders on the real server, chapter by chapter: the state, the provider's money, the stock and the mails agree."""

from datetime import timedelta

import pytest
from live_kit import DAY, MINUTE, SECOND, Live, until

from domain.order import Actor, Flag, Status
from domain.payment_state import PaymentStatus
from starter import carts
from starter.client import RefusedError


@pytest.mark.rule("G1", "G5", "P5", "P7", "D1")
async def test_a_verified_order_is_confirmed_to_the_buyer_and_sold_to_the_seller(live: Live) -> None:
    """Once the card is authorised the order is unshipped; buyer and seller are told, nothing is charged."""
    number = await live.place()
    order = await live.reaches(number, Status.UNSHIPPED)
    assert order.expected_ship_at == order.placed_at + 2 * DAY
    assert (await live.held(number), await live.charged(number)) == (2900, 0)
    assert number in (await live.mailed(number, "order_confirmation", "buyer"))["subject"]
    assert (await live.mailed(number, "sold_ship_now", "seller"))["to"]


@pytest.mark.rule("G5")
async def test_a_seller_who_wants_no_sold_mail_gets_none(live: Live) -> None:
    """A seller whose preference is off gets no "sold, ship now"; the buyer is told all the same."""
    number = await live.place(seller="S-300", marketplace="US")
    await live.mailed(number, "order_confirmation", "buyer")
    assert all("sold_ship_now" not in mail["message_id"] for mail in await live.mails(number))


@pytest.mark.rule("G1", "G2", "G3", "P5")
async def test_a_pending_order_shows_the_seller_nothing_and_cannot_be_shipped(live: Live) -> None:
    """A declined card leaves the order pending: hidden from the seller, not to be shipped or cancelled by it, unpaid."""
    number = await live.place(card="card-decline")
    shown = await live.order(number, Actor.SELLER)
    assert (shown.status, shown.buyer, shown.address, shown.payment) == (Status.PENDING, None, None, None)
    assert await live.refused(number, "ship", "seller", carrier="Y", tracking_number="T") == "ORDER_PENDING"
    assert await live.refused(number, "cancel", "seller", reason="no_inventory") == "ORDER_PENDING"
    assert await live.charged(number) == 0
    await live.mailed(number, "payment_problem", "buyer")
    await live.do(number, "pay_again", "buyer", card="card-approve")
    order = await live.reaches(number, Status.UNSHIPPED)
    assert order.payment is not None and order.payment.status is PaymentStatus.AUTHORIZED
    assert Flag.PAYMENT_PROBLEM not in order.flags


@pytest.mark.rule("G6", "C9")
async def test_an_order_that_is_never_paid_is_cancelled_after_21_days(live: Live) -> None:
    """At 21 days the marketplace cancels an unverified order: buyer told, stock released, not counted."""
    sku = live.sku(5)
    number = await live.place(card="card-decline", items=(f"{sku}:2:1200:Cup",))
    assert live.units(sku) == (5, 2)
    order = await live.order(number)
    await live.travel_to(number, order.placed_at + 21 * DAY - SECOND)
    assert (await live.order(number)).status is Status.PENDING
    await live.travel(number, 2 * SECOND)
    order = await live.reaches(number, Status.CANCELLED)
    assert order.cancellation is not None
    assert (order.cancellation.actor, order.cancellation.counts_in_rate) == (Actor.SYSTEM, False)
    assert order.cancellation.at == order.placed_at + 21 * DAY
    await live.ended(number)
    await live.mailed(number, "order_cancelled", "buyer")
    assert live.units(sku) == (5, 0)


@pytest.mark.rule("E1", "E7")
async def test_an_edit_holds_the_new_amount_before_it_voids_the_old(live: Live) -> None:
    """A buyer raises a quantity: the new total is held first, the old hold voided after, stock follows."""
    sku = live.sku(10)
    number = await live.place(items=(f"{sku}:2:1200:Cup",))
    await live.do(number, "edit", "buyer", lines=[{"sku": sku, "quantity": 5}])
    order = await live.order(number)
    assert order.total_minor == 6500

    async def voided() -> bool:
        return await live.log(number) == ["authorize", "authorize", "void"]

    await until(voided, "new hold, then void of the old")
    assert await live.held(number) == 6500
    await live.mailed(number, "order_edited", "buyer")
    await live.stock_is(sku, 10, 5)


@pytest.mark.rule("E7", "P4")
async def test_an_edit_that_cannot_be_held_or_filled_leaves_everything_as_it_was(live: Live) -> None:
    """Raising beyond stock or beyond the card's limit is refused: order, hold and stock stay as they were."""
    sku = live.sku(4)
    card = f"card-limit-{sku}"
    limit = {"card": card, "limit_minor": 5000}
    (await live.provider.post("/cards", json=limit)).raise_for_status()
    number = await live.place(items=(f"{sku}:2:1200:Cup",), card=card)
    assert await live.refused(number, "edit", "buyer", lines=[{"sku": sku, "quantity": 5}]) == "OUT_OF_STOCK"
    assert await live.refused(number, "edit", "buyer", lines=[{"sku": sku, "quantity": 4}]) == "PAYMENT_DECLINED"
    order = await live.order(number)
    assert (order.total_minor, order.lines[0].quantity) == (2900, 2)
    assert await live.held(number) == 2900
    await live.stock_is(sku, 4, 2)
    await live.ship(number)
    assert await live.charged(number) == 2900


@pytest.mark.rule("E2", "E3", "E5")
async def test_nobody_adds_items_changes_prices_or_edits_what_is_not_theirs(live: Live) -> None:
    """New items, new prices, a seller's edit and an edit of a marketplace-fulfilled order are refused."""
    sku = live.sku()
    number = await live.place(items=(f"{sku}:2:1200:Cup",))
    price = {"amount_minor": 1, "currency": "JPY"}
    assert await live.refused(number, "edit", "buyer", lines=[{"sku": "OTHER", "quantity": 1}]) == "NEW_ITEM"
    cheaper = [{"sku": sku, "quantity": 1, "unit_price": price}]
    assert await live.refused(number, "edit", "buyer", lines=cheaper) == "PRICE_FIXED"
    assert await live.refused(number, "edit", "seller", lines=[{"sku": sku, "quantity": 1}]) == "CONTENTS_FIXED"
    afn = await live.place(fulfilment="marketplace")
    assert await live.refused(afn, "edit", "buyer", shipping_option="express") == "NOT_EDITABLE"


@pytest.mark.rule("E6", "E4", "E9")
async def test_an_operator_extends_the_edit_window_of_one_order_and_its_timer_moves(live: Live) -> None:
    """Ten more minutes: the edit in minute 14 is taken, the one in minute 15 refused; another order is untouched."""
    sku = live.sku()
    number, other = await live.place(items=(f"{sku}:2:1200:Cup",)), await live.place(items=(f"{sku}:2:1200:Cup",))
    placed = (await live.order(number)).placed_at
    await live.do(number, "extend_edit", "operator", minutes=10)
    order = await live.order(number)
    assert (order.next_deadline, order.next_deadline_at) == ("edit_window_closed", placed + 15 * MINUTE)
    await live.travel_to(number, placed + 14 * MINUTE)
    await live.do(number, "edit", "buyer", lines=[{"sku": sku, "quantity": 1}])
    await live.travel_to(number, placed + 15 * MINUTE + SECOND)
    assert await live.refused(number, "edit", "buyer", shipping_option="express") == "EDIT_WINDOW_CLOSED"
    await live.travel(other, 6 * MINUTE)
    assert await live.refused(other, "edit", "buyer", shipping_option="express") == "EDIT_WINDOW_CLOSED"


@pytest.mark.rule("C1", "C9", "D3")
async def test_a_buyers_cancellation_in_time_leaves_nothing_behind(live: Live) -> None:
    """Cancelled in minute 29: hold voided, nothing charged, stock back, buyer and seller told, one reason, one actor."""
    sku = live.sku(3)
    number = await live.place(items=(f"{sku}:3:1200:Cup",))
    await live.travel(number, 29 * MINUTE)
    await live.do(number, "cancel", "buyer", reason="changed_mind")
    await live.ended(number)
    order = await live.order(number)
    assert order.cancellation is not None
    assert (order.cancellation.actor, order.cancellation.reason) == (Actor.BUYER, "changed_mind")
    assert (order.voids, order.flags) == ((), ())
    assert await live.log(number) == ["authorize", "void"]
    assert live.units(sku) == (3, 0)
    for to in ("buyer", "seller"):
        await live.mailed(number, "order_cancelled", to)
    told = [(each.name, each.actor, each.accepted) for each in live.store.history(number)]
    assert ("place", Actor.BUYER, True) in told and ("cancel", Actor.BUYER, True) in told
    assert ("voided", Actor.SYSTEM, True) in told
    stored = live.store.order(number)
    assert stored is not None and stored.status is Status.CANCELLED and stored.voids == ()


@pytest.mark.rule("C3", "C4")
async def test_a_request_is_declined_then_filed_again_and_accepted(live: Live) -> None:
    """After the window the buyer asks; the seller declines; the buyer asks again and is granted; each is told."""
    number = await live.place()
    await live.travel(number, 31 * MINUTE)
    assert await live.refused(number, "accept_cancellation", "seller") == "NO_OPEN_REQUEST"
    await live.do(number, "request_cancellation", "buyer", reason="arrives_too_late")
    assert Flag.BUYER_REQUESTED_CANCELLATION in (await live.order(number)).flags
    assert await live.refused(number, "request_cancellation", "buyer") == "REQUEST_ALREADY_OPEN"
    await live.do(number, "decline_cancellation", "seller", note="already packed")
    assert Flag.BUYER_REQUESTED_CANCELLATION not in (await live.order(number)).flags
    await live.do(number, "request_cancellation", "buyer")
    await live.do(number, "accept_cancellation", "seller")
    await live.ended(number)
    order = await live.order(number)
    assert order.cancellation is not None
    assert (order.cancellation.reason, order.cancellation.counts_in_rate) == ("buyer_cancelled", False)
    for kind, to in (("request_received", "seller"), ("request_declined", "buyer"), ("request_accepted", "buyer")):
        await live.mailed(number, kind, to)


@pytest.mark.rule("C4", "S5")
async def test_a_confirmed_shipment_declines_the_open_request(live: Live) -> None:
    """The seller ships while a request is open: the request is declined, the buyer told of both."""
    number = await live.place()
    await live.travel(number, 31 * MINUTE)
    await live.do(number, "request_cancellation", "buyer")
    await live.ship(number, tracking_number="JP-77")
    order = await live.order(number)
    assert order.request is not None and order.request.status == "declined"
    await live.mailed(number, "request_declined", "buyer")
    assert "JP-77" in (await live.mailed(number, "shipped", "buyer"))["text"]


@pytest.mark.rule("C5", "C9")
async def test_a_seller_cancels_with_a_reason_of_the_list_until_it_ships(live: Live) -> None:
    """No reason or an unknown one is refused, a known one cancels and counts; after shipment nothing cancels."""
    number = await live.place()
    assert await live.refused(number, "cancel", "seller") == "REASON_REQUIRED"
    assert await live.refused(number, "cancel", "seller", reason="felt_like_it") == "REASON_REQUIRED"
    await live.do(number, "cancel", "seller", reason="no_inventory")
    order = await live.order(number)
    assert order.cancellation is not None and order.cancellation.counts_in_rate
    shipped = await live.place()
    await live.ship(shipped)
    assert await live.refused(shipped, "cancel", "seller", reason="no_inventory") == "ALREADY_SHIPPED"


@pytest.mark.rule("C7", "C8", "S3")
async def test_an_order_that_is_never_confirmed_is_warned_about_and_cancelled(live: Live) -> None:
    """At the expected ship date the seller is warned, 7 days later the order is cancelled and counts; ship is refused."""
    number = await live.place()
    order = await live.order(number)
    await live.travel_to(number, order.expected_ship_at - SECOND)
    assert (await live.order(number)).flags == ()
    await live.travel(number, 2 * SECOND)
    warned = await live.order(number)
    assert set(warned.flags) == {Flag.CONFIRM_SHIPMENT, Flag.LATE_SHIPMENT}
    await live.mailed(number, "confirm_warning", "seller")
    await live.travel_to(number, order.expected_ship_at + 7 * DAY + SECOND)
    cancelled = await live.reaches(number, Status.CANCELLED)
    assert cancelled.cancellation is not None and cancelled.cancellation.counts_in_rate
    assert await live.refused(number, "ship", "seller", carrier="Y", tracking_number="T") == "ORDER_CANCELLED"
    await live.ended(number)
    assert (await live.held(number), await live.charged(number)) == (0, 0)


@pytest.mark.rule("S1", "S2", "S4", "A7")
async def test_a_partly_confirmed_order_is_charged_whole_and_not_cancelled(live: Live) -> None:
    """One of three is shipped: the whole total is charged once; the confirm window ends without effect; the rest ships."""
    sku, other = live.sku(), live.sku()
    number = await live.place(items=(f"{sku}:2:1000:Cup", f"{other}:1:500:Lid"))
    await live.ship(number, lines=[{"sku": sku, "quantity": 1}], tracking_number="T-1")
    assert (await live.order(number)).status is Status.PARTIALLY_SHIPPED
    assert await live.charged(number) == 3000
    too_many = [{"sku": sku, "quantity": 2}]
    assert (
        await live.refused(number, "ship", "seller", carrier="Y", tracking_number="T", lines=too_many)
        == "QUANTITY_EXCEEDED"
    )
    await live.travel(number, 10 * DAY)
    order = await live.order(number)
    assert order.status is Status.PARTIALLY_SHIPPED and Flag.LATE_SHIPMENT in order.flags
    await live.ship(number, tracking_number="T-2")
    assert (await live.order(number)).status is Status.SHIPPED
    assert await live.log(number) == ["authorize", "capture"]
    await live.do(number, "deliver", "system", shipment_id="P1")
    assert (await live.order(number)).status is Status.SHIPPED
    phone = (await live.order(number, Actor.SELLER)).buyer
    assert phone is not None and phone.phone is not None
    await live.do(number, "deliver", "system")
    delivered = await live.order(number, Actor.SELLER)
    assert delivered.status is Status.DELIVERED and Flag.LATE_SHIPMENT in delivered.flags
    assert delivered.buyer is not None and delivered.buyer.phone is None


@pytest.mark.rule("S2")
async def test_a_lapsed_hold_is_renewed_before_the_charge(live: Live) -> None:
    """Shipped on day 8, after the 7-day hold lapsed: a new hold is made and charged, once."""
    number = await live.place()
    await live.travel(number, 8 * DAY)
    await live.ship(number)
    assert await live.charged(number) == 2900
    actions = await live.log(number)
    assert actions.count("capture") == 1 and actions.count("authorize") == 2


@pytest.mark.rule("S2")
async def test_a_charge_that_finally_fails_refuses_the_confirmation(live: Live) -> None:
    """The capture is declined: the order stays unshipped, buyer and seller are told; with another card it ships."""
    number = await live.place(card="card-capture-decline")
    assert await live.refused(number, "ship", "seller", carrier="Y", tracking_number="T") == "PAYMENT_DECLINED"
    order = await live.order(number)
    assert order.status is Status.UNSHIPPED and Flag.PAYMENT_PROBLEM in order.flags
    for to in ("buyer", "seller"):
        await live.mailed(number, "payment_problem", to)

    async def nothing_held() -> bool:
        return (await live.held(number), await live.charged(number)) == (0, 0)

    await until(nothing_held, "nothing held")
    await live.do(number, "pay_again", "buyer", card="card-approve")
    await live.sees(
        number, lambda order: order.payment and order.payment.status is PaymentStatus.AUTHORIZED, "the new card's hold"
    )
    await live.ship(number)
    assert await live.charged(number) == 2900


@pytest.mark.rule("P4")
async def test_a_sellers_correction_flags_the_newest_orders_as_oversold(live: Live) -> None:
    """Stock corrected below what is reserved: the newest order is flagged and the seller mailed, the earlier keeps its unit."""
    sku = live.sku(2)
    first = await live.place(items=(f"{sku}:1:1200:Cup",))
    second = await live.place(items=(f"{sku}:1:1200:Cup",))
    for number in live.store.set_on_hand("S-100", sku, 1):
        await live.do(number, "flag_oversold", "system")
    assert Flag.OVERSOLD in (await live.order(second)).flags
    assert Flag.OVERSOLD not in (await live.order(first)).flags
    await live.mailed(second, "oversold", "seller")
    await live.do(second, "cancel", "seller", reason="no_inventory")
    await live.ship(first)


@pytest.mark.rule("P3")
async def test_placing_twice_attaches_or_is_refused(live: Live) -> None:
    """The same number with the same content is one order; with other content it is refused, also once it is closed."""
    sku = live.sku()
    placement = carts.cart(items=(f"{sku}:1:1200:Cup",))
    await live.orders.place(placement)
    again = await live.orders.place(placement)
    assert again.attached
    other = carts.cart(items=(f"{sku}:2:1200:Cup",), number=placement.order_number)
    with pytest.raises(RefusedError, match="ORDER_NUMBER_TAKEN"):
        await live.orders.place(other)
    await live.orders.settled(placement.order_number)
    await live.do(placement.order_number, "cancel", "buyer")
    await live.ended(placement.order_number)
    with pytest.raises(RefusedError, match="ORDER_NUMBER_TAKEN"):
        await live.orders.place(other)
    assert (await live.orders.place(placement)).attached


@pytest.mark.rule("C13", "A9")
async def test_a_closed_order_stays_visible_and_takes_no_command(live: Live) -> None:
    """A cancelled and a completed order refuse every command, and can still be looked at with their history."""
    cancelled, completed = await live.place(), await live.place()
    await live.do(cancelled, "cancel", "buyer")
    await live.ship(completed)
    await live.do(completed, "deliver", "system")
    await live.travel(completed, 31 * DAY)
    for number, code in ((cancelled, "ORDER_CANCELLED"), (completed, "ORDER_COMPLETED")):
        await live.ended(number)
        before = await live.order(number)
        assert await live.refused(number, "edit", "buyer", shipping_option="express") == code
        assert await live.refused(number, "cancel", "buyer") == code
        after = await live.order(number)
        assert (after.status, after.version, after.lines) == (before.status, before.version, before.lines)
        assert (await live.history(number))[0].name == "place"
        listed = [each async for each in live.orders.orders(status=before.status, limit=1000)]
        assert number in [each.number for each in listed]


@pytest.mark.rule("P3", "D3")
async def test_orders_are_found_by_state_seller_and_deadline(live: Live) -> None:
    """An operator lists orders by state and seller, and by when they change by themselves."""
    number = await live.place(seller="S-200", marketplace="IT")
    order = await live.order(number)

    async def listed() -> bool:
        found = [each async for each in live.orders.orders(Status.UNSHIPPED, "S-200", order.confirm_by + SECOND, 1000)]
        return number in [each.number for each in found]

    await until(listed, "the order in the list")
    early = [
        each
        async for each in live.orders.orders(Status.UNSHIPPED, "S-200", order.confirm_by - timedelta(hours=1), 1000)
    ]
    assert number not in [each.number for each in early]
