"""Reconciliation: each difference between orders, ledger and provider is told once, and a healthy system has none."""

from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from reconcile_kit import SETTLEMENT, FakeProvider, Json, charged, healthy, movement, open_order, refunded
from store_kit import T0, number

from domain.order import Status
from domain.refund import RefundStatus
from domain.refusals import Refusal
from starter.client import InputError, UnreachableError
from starter.reconcile import PAGE, DifferenceKind, Report, reconcile
from store import ledger
from store.store import Store
from store.tables import LedgerTable

pytest_plugins = ["store_kit", "reconcile_kit"]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """An empty database; how each kind of store keeps a ledger is tested with the store."""
    return f"sqlite:///{tmp_path}/orders.db"


async def compare(store: Store, provider: FakeProvider, *numbers: str) -> Report:
    """Reconcile, without a pause before the second look."""
    async with provider.connect() as http:
        return await reconcile(store, http, numbers, pause=0)


async def kinds(store: Store, provider: FakeProvider, *numbers: str) -> list[DifferenceKind]:
    """Reconcile and return the kinds of differences; each is told in one line with its order, both sides and a remedy."""
    report = await compare(store, provider, *numbers)
    for each in report.differences:
        line = str(each)
        assert "\n" not in line
        assert line.startswith(f"{each.order_number or 'all orders'}: ")
        assert "; " in line
        assert line.endswith(f" → {each.remedy}")
    return [each.kind for each in report.differences]


def written_by_hand(store: Store, *rows: Json) -> None:
    """Add entries to the ledger past the program."""
    facts: Json = {"kind": "charge", "currency": "JPY", "at": T0, "position": 0}
    added = [LedgerTable(**(facts | row)) for row in rows]
    store._database.write(None, lambda session: session.add_all(added))


async def test_a_healthy_system_has_no_differences(store: Store, provider: FakeProvider) -> None:
    """Open, charged, refunded and cancelled orders, with points and renewed holds, agree; one look is enough."""
    healthy(store, provider)
    assert await compare(store, provider) == Report(7, 9, ())
    assert len(provider.asked) == 2 * 7 + 1
    assert await compare(store, provider, number(2), number(3), number(2)) == Report(2, 4, ())


async def test_an_empty_system_agrees(store: Store, provider: FakeProvider) -> None:
    """Without orders there is nothing to differ."""
    assert await compare(store, provider) == Report(0, 0, ())


async def test_all_pages_of_the_store_are_compared(store: Store, provider: FakeProvider) -> None:
    """No order is left out where there are more than one page of them."""
    for index in range(PAGE + 3):
        store.record(open_order(index), [])
    provider.pay(1)
    report = await compare(store, provider)
    assert report.orders == PAGE + 3
    assert [each.order_number for each in report.differences] == [number(1), None]


async def test_the_provider_is_asked_by_each_orders_own_clock(store: Store, provider: FakeProvider) -> None:
    """To ask must not make a hold lapse: the order's own instant goes with the question."""
    store.record(open_order(1, clock=T0 + timedelta(days=3)), [])
    await compare(store, provider)
    clocks = {request.url.path: request.headers.get("Sandbox-Clock") for request in provider.asked}
    assert clocks["/authorizations"] == "2026-03-04T12:00:00+00:00"
    assert clocks["/balances"] is None


@pytest.mark.rule("S7")
async def test_a_movement_that_the_ledger_lacks_is_told(
    store: Store, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order's record has a movement that was never posted."""
    provider.pay(1)
    with monkeypatch.context() as patched:
        patched.setattr(ledger, "write_movements", lambda *_: None)
        store.record(charged(1), [])
    assert await kinds(store, provider) == [DifferenceKind.NOT_IN_LEDGER, DifferenceKind.TOTALS]
    (first, total) = (await compare(store, provider)).differences
    assert str(first).startswith(
        f"{number(1)}: the order has {number(1)}/charge (JPY: provider:clearing +800, {SETTLEMENT} -800; "
        f"2026-03-01T12:00:00+00:00); the ledger has no {number(1)}/charge → it comes with the order's next record"
    )
    assert str(total).startswith(
        "all orders: the ledger has JPY 0 charged and not paid back; the provider has JPY 800 → settle the orders listed"
    )
    store.record(charged(1), [])
    assert await kinds(store, provider) == []


@pytest.mark.rule("S7")
async def test_a_movement_that_the_order_lacks_is_told(store: Store, provider: FakeProvider) -> None:
    """The ledger has a movement of which the order's newest record knows nothing, or of an order that is not there."""
    provider.pay(1)
    store.record(charged(1, movement(1, "refund/R9", settlement=5, buyer=-5)), [])
    store.record(charged(1).model_copy(update={"version": 3}), [])
    assert await kinds(store, provider) == [DifferenceKind.NOT_IN_ORDER]
    stranger: Json = {"movement_id": "x", "order_number": number(9)}
    written_by_hand(
        store,
        {**stranger, "account": "marketplace", "amount_minor": 7},
        {**stranger, "account": "buyer:b", "amount_minor": -7, "position": 1},
    )
    report = await compare(store, provider)
    assert [each.subject for each in report.differences] == [f"{number(1)}/refund/R9", "x"]
    assert report.differences[1].one == "the store has no such order"


@pytest.mark.rule("S7")
async def test_a_movement_of_other_content_is_told_until_it_is_corrected(store: Store, provider: FakeProvider) -> None:
    """What was posted first stays; a correction that leaves every account as the order says it ends the difference."""
    provider.pay(1, amount=900)
    store.record(charged(1), [])
    store.record(charged(1, amount=900).model_copy(update={"version": 3}), [])
    assert await kinds(store, provider) == [DifferenceKind.OTHER_CONTENT, DifferenceKind.TOTALS]
    (first, _) = (await compare(store, provider)).differences
    assert "provider:clearing +900" in first.one
    assert "provider:clearing +800" in first.other
    assert f"as {number(1)}/correction/1" in first.remedy
    correction = movement(1, "correction/1", clearing=100, settlement=-100)
    store._database.write(None, lambda session: ledger.write_movements(session, [correction]))
    assert await kinds(store, provider) == []
    wrong = movement(1, "correction/2", clearing=1, settlement=-1)
    store._database.write(None, lambda session: ledger.write_movements(session, [wrong]))
    assert DifferenceKind.NOT_IN_ORDER in await kinds(store, provider)


@pytest.mark.rule("S7")
async def test_an_unbalanced_movement_is_told(store: Store, provider: FakeProvider) -> None:
    """An entry that somebody added by hand is found, also where one order is asked for; its counterpart ends it."""
    for index in (1, 2):
        provider.pay(index)
        store.record(charged(index), [])
    by_hand: Json = {"movement_id": f"{number(1)}/charge", "order_number": number(1), "account": "marketplace"}
    written_by_hand(store, {**by_hand, "amount_minor": 9, "position": 2})
    expected = [DifferenceKind.OTHER_CONTENT, DifferenceKind.UNBALANCED]
    assert sorted(await kinds(store, provider)) == expected
    assert sorted(await kinds(store, provider, number(1))) == expected
    assert await kinds(store, provider, number(2)) == []
    written_by_hand(store, {**by_hand, "amount_minor": -9, "position": 3})
    assert await kinds(store, provider) == []


@pytest.mark.rule("S7")
async def test_a_charge_whose_record_names_no_movement_is_told(store: Store, provider: FakeProvider) -> None:
    """A record from before there was a ledger is not taken for one that agrees."""
    provider.pay(1)
    store.record(charged(1).model_copy(update={"movements": ()}), [])
    assert await kinds(store, provider) == [DifferenceKind.NO_MOVEMENT, DifferenceKind.TOTALS]


@pytest.mark.rule("C9")
async def test_a_charge_that_the_order_does_not_know_is_told(store: Store, provider: FakeProvider) -> None:
    """Money taken under any of the order's references and not reversed counts; a reversal under way is told as that."""
    store.record(open_order(1), [])
    provider.pay(1)
    assert await kinds(store, provider) == [DifferenceKind.CHARGE_UNKNOWN_TO_ORDER, DifferenceKind.TOTALS]
    (first, _) = (await compare(store, provider)).differences
    assert (first.one, first.other) == (
        "the order is charged JPY 0",
        f"the provider has charged JPY 800 under {number(1)}/1/authorize",
    )
    store.record(open_order(1, voids=(f"{number(1)}/1/authorize",)), [])
    (first, _) = (await compare(store, provider)).differences
    assert "is being reversed" in first.remedy


async def test_a_double_charge_is_told(store: Store, provider: FakeProvider) -> None:
    """Two references charged where the order knows one."""
    store.record(charged(1), [])
    provider.pay(1)
    provider.pay(1, "2/authorize")
    assert await kinds(store, provider, number(1)) == [DifferenceKind.CHARGE_UNKNOWN_TO_ORDER]


async def test_a_charge_that_the_provider_does_not_know_is_told(store: Store, provider: FakeProvider) -> None:
    """The order says that it is charged and the provider has reversed it, or never heard of it."""
    store.record(charged(1), [])
    provider.pay(1, status="voided")
    store.record(charged(2), [])
    gone = [DifferenceKind.CHARGE_UNKNOWN_TO_PROVIDER] * 2
    assert await kinds(store, provider) == [*gone, DifferenceKind.TOTALS]


@pytest.mark.rule("R6", "R7")
@pytest.mark.parametrize(
    ("order", "known", "kind"),
    [
        (RefundStatus.PENDING, "paid", DifferenceKind.REFUND_PENDING),
        (RefundStatus.REQUESTED, "paid", DifferenceKind.REFUND_PENDING),
        (RefundStatus.PENDING, "failed", DifferenceKind.REFUND_PENDING),
        (RefundStatus.PAID, "pending", DifferenceKind.REFUND_UNKNOWN_TO_PROVIDER),
        (RefundStatus.PAID, "failed", DifferenceKind.REFUND_UNKNOWN_TO_PROVIDER),
        (RefundStatus.PAID, None, DifferenceKind.REFUND_UNKNOWN_TO_PROVIDER),
        (RefundStatus.PENDING, None, DifferenceKind.REFUND_UNKNOWN_TO_PROVIDER),
        (RefundStatus.REQUESTED, "pending", None),
        (RefundStatus.REQUESTED, None, None),
        (RefundStatus.FAILED, "failed", None),
    ],
)
async def test_a_refund_on_whose_state_they_differ_is_told(
    store: Store, provider: FakeProvider, order: RefundStatus, known: str | None, kind: DifferenceKind | None
) -> None:
    """What the provider has ended and the order not, or the other way round; what is merely under way is no difference."""
    store.record(refunded(1, order), [])
    provider.pay(1)
    if known:
        provider.refund(1, known)
    assert await kinds(store, provider, number(1)) == ([kind] if kind else [])


async def test_a_refund_that_is_paid_and_not_yet_known_is_told_as_pending(store: Store, provider: FakeProvider) -> None:
    """The line says that the order does not know yet."""
    store.record(refunded(1, RefundStatus.PENDING), [])
    provider.pay(1)
    provider.refund(1)
    (first,) = (await compare(store, provider, number(1))).differences
    reference = f"{number(1)}/refund/R1/card/1"
    assert first.one == "pending: provider has paid, the order does not know yet"
    assert first.other == f"refund {reference} of JPY 300 is pending in the order"


@pytest.mark.rule("R6")
async def test_a_refund_that_the_order_does_not_know_is_told(store: Store, provider: FakeProvider) -> None:
    """A refund past this system, paid or pending; one that failed moved nothing."""
    store.record(charged(1), [])
    provider.pay(1)
    provider.refund(1, "pending", name="by-hand")
    provider.refund(1, "failed", name="failed")
    assert await kinds(store, provider) == [DifferenceKind.REFUND_UNKNOWN_TO_ORDER]


@pytest.mark.rule("R6")
async def test_a_refund_of_another_amount_is_told(store: Store, provider: FakeProvider) -> None:
    """The same reference with another amount at the provider."""
    store.record(refunded(1, RefundStatus.PAID), [])
    provider.pay(1)
    provider.refund(1, amount=200)
    assert await kinds(store, provider) == [DifferenceKind.REFUND_AMOUNT, DifferenceKind.TOTALS]


@pytest.mark.rule("C9")
@pytest.mark.parametrize("closed", ["cancelled", "completed", "refused"])
async def test_money_held_for_a_closed_order_is_told(store: Store, provider: FakeProvider, closed: str) -> None:
    """A hold of an order that is over; where its void is under way, the remedy says so."""
    refusal = Refusal(code="OUT_OF_STOCK", message="none left", remedy="order less", rule="P4")
    over: Json = {"rejected": refusal} if closed == "refused" else {"status": Status(closed)}
    store.record(open_order(1, **over), [])
    provider.pay(1, status="authorized")
    assert await kinds(store, provider) == [DifferenceKind.HELD_FOR_CLOSED_ORDER]
    provider.pay(1, "1/authorize/points", "authorized", 50)
    store.record(open_order(1, **over, voids=(f"{number(1)}/1/authorize",)), [])
    found = (await compare(store, provider)).differences
    assert [each.subject for each in found] == [f"{number(1)}/1/authorize", f"{number(1)}/1/authorize/points"]
    assert all("it is being voided" in each.remedy for each in found)


async def test_money_of_no_order_shows_in_the_totals(store: Store, provider: FakeProvider) -> None:
    """What the provider has charged for an order that the store does not know differs in its currency's total."""
    healthy(store, provider)
    provider.other = {"EUR": 1250}
    (only,) = (await compare(store, provider)).differences
    assert str(only).startswith(
        "all orders: the ledger has EUR 0.00 charged and not paid back; the provider has EUR 12.50"
    )
    assert await kinds(store, provider, number(1)) == []


async def test_what_moves_while_it_is_looked_at_is_no_difference(store: Store, provider: FakeProvider) -> None:
    """An order that is charged between the two looks differs in the first and agrees in the second."""
    store.record(open_order(1), [])
    provider.pay(1)

    def record(asked: int) -> None:
        if asked == 3:
            store.record(charged(1), [])

    provider.on_ask = record
    assert await compare(store, provider) == Report(1, 0, ())
    assert len(provider.asked) == 6


async def test_what_begins_to_differ_at_the_second_look_is_left_to_the_next_run(
    store: Store, provider: FakeProvider
) -> None:
    """A difference is told only when both looks find it: a new one may be money on its way."""
    store.record(open_order(1), [])
    provider.pay(1)

    def move(asked: int) -> None:
        if asked == 3:
            store.record(charged(1), [])
            provider.refund(1, "pending", name="by-hand")

    provider.on_ask = move
    assert await kinds(store, provider) == []
    assert await kinds(store, provider) == [DifferenceKind.REFUND_UNKNOWN_TO_ORDER]


async def test_an_unknown_order_and_a_silent_provider_are_errors(store: Store, provider: FakeProvider) -> None:
    """The errors name the fact and the remedy."""
    with pytest.raises(InputError, match=r"order 503-0000000-0000009 is not in the store; look it up"):
        await compare(store, provider, number(9))
    store.record(open_order(1), [])
    for answer in (httpx.Response(503), httpx.Response(200, text="[{}]"), httpx.Response(200, text="<html>")):
        http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _, a=answer: a), base_url="http://provider")
        with pytest.raises(UnreachableError, match=r"http://provider has no proper answer to /auth.*start the stack"):
            await reconcile(store, http, pause=0)

    def refuse(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(UnreachableError, match="refused"):
        await reconcile(store, httpx.AsyncClient(transport=httpx.MockTransport(refuse), base_url="http://provider"))
