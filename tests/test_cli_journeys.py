"""Whole journeys on the command line: a refund that fails, a payment at a shop, messages, documents, no worker."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from cli_kit import Cli, bad_input, order_for, refusal
from live_kit import Live, until
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest

from domain.order import Status
from domain.refund import RefundStatus
from starter import carts

pytestmark = pytest.mark.patience


@pytest.mark.rule("R6", "R7")
async def test_a_refund_that_failed_is_asked_for_again_and_paid(cli: Cli, live: Live) -> None:
    """The provider fails a refund and tells so by webhook: the order shows it, and a retry is paid; a second one is refused."""
    names = await order_for(cli, live, "card-refund-fail", ("ship {n}", "refund {n} --reason damaged --item {sku}:1"))
    number = names["n"]
    assert "refund_failed" in (await live.refund_is(number, RefundStatus.FAILED)).flags
    assert "JPY 1,200 for damaged, failed (account_closed)" in (await cli.call("show", number)).out
    retried = await cli.call("retry-refund", number, "R1")
    assert retried.code == 0, retried
    assert "refund R1: JPY 1,200 for damaged, " in retried.out
    await live.refund_is(number, RefundStatus.PAID)
    assert "JPY 1,200 for damaged, paid at " in (await cli.call("show", number)).out
    refusal(await cli.call("retry-refund", number, "R1"), "REFUND_NOT_FAILED", "R6")
    refusal(await cli.call("retry-refund", number, "R9"), "UNKNOWN_REFUND", "R6")


@pytest.mark.rule("R2", "R4")
async def test_a_refund_without_items_is_all_that_is_left(cli: Cli, live: Live) -> None:
    """Units with their share of the fee first, then everything that is left; deductions are told, and the sum is the charge."""
    names = await order_for(cli, live, "card-approve", ("ship {n}",))
    number, sku = names["n"], names["sku"]
    one = (
        "refund",
        number,
        "--reason",
        "damaged",
        "--item",
        f"{sku}:1",
        "--with-shipping",
        "--deduct",
        "shipping_fee=100",
    )
    told = (await cli.run(*one)).out
    assert (
        f"done: refund; order {number} is shipped; refund R1: JPY 1,350 (JPY 1,450 less JPY 100 shipping_fee)" in told
    )
    rest = (await cli.call("refund", number, "--reason", "goodwill", "--json")).json()["order"]
    assert rest["refundable_minor"] == 0
    assert [line["items_minor"] + line["shipping_minor"] for line in rest["refunds"][1]["lines"]] == [1450]


@pytest.mark.rule("P5", "G7")
async def test_an_order_is_paid_at_a_convenience_store(cli: Cli, live: Live) -> None:
    """Placed with a payment number and pending; paid at the shop the provider's webhook makes it unshipped, once."""
    number = carts.order_number()
    item = f"{live.sku()}:1:1200:Cup"
    placed = await cli.run("place", "--number", number, "--item", item, "--method", "konbini")
    assert placed.code == 0, placed
    order = await live.order(number)
    assert order.payment is not None
    assert order.payment.number is not None
    for told in (
        f"order {number}: pending",
        "konbini, awaiting",
        order.payment.number,
        "at a convenience store, until",
    ):
        assert told in placed.out
    paid = await cli.call("pay-at-store", number)
    assert (paid.code, paid.out.strip()) == (0, f"paid: number {order.payment.number}; order {number} is unshipped")
    assert "payment_event" in [each.name for each in await live.history(number)]
    again = await cli.call("pay-at-store", number)
    assert (again.code, again.out) == (3, "")
    assert f"number {order.payment.number} was paid at" in again.err


async def test_only_an_order_with_a_number_is_paid_at_a_store(cli: Cli, live: Live, tmp_path: Path) -> None:
    """A card payment has no number, and elsewhere than on the embedded stack there is no shop."""
    number = await live.place()
    bad_input(await cli.call("pay-at-store", number), f"the payment number of order {number} is none")
    elsewhere = Cli(tmp_path)
    ran = await elsewhere.call("pay-at-store", number, TEMPORAL_ADDRESS=live.addresses.temporal)
    bad_input(ran, "pay-at-store: this is not the embedded stack")


@pytest.mark.rule("P5", "P6")
async def test_points_and_a_purchase_order_number_are_given_at_placement(cli: Cli, live: Live) -> None:
    """Points besides the card, points alone, and a business buyer's number are placed and shown."""
    item = f"{live.sku()}:1:1200:Cup"
    mixed = await cli.call("place", "--item", item, "--points", "300", "--business", "PO-77")
    for told in ("authorised JPY 1,700, of it JPY 300 in points", "purchase order PO-77"):
        assert told in mixed.out, mixed
    alone = (await cli.call("place", "--item", item, "--method", "points", "--json")).json()
    assert (alone["payment"]["method"], alone["status"]) == ("points", "unshipped")


@pytest.mark.rule("V6", "C6", "C12")
async def test_messages_are_listed_with_the_offered_reply(cli: Cli, live: Live) -> None:
    """A wish to cancel by message offers the seller the ready reply; texts, dates and markup are shown as they are."""
    number = await live.place()
    assert (await cli.call("messages", number)).out.strip() == "no messages"
    wish = ("send-message", number, "please [b]cancel[/b]", "--topic", "cancellation_wish")
    assert "message M1 is sent" in (await cli.call(*wish)).out
    listed = (await cli.call("messages", number, "--as", "seller")).out
    # The cell may be broken between two words, but its markup is shown as it was written.
    assert "please" in listed
    assert "[b]cancel[/b]" in listed
    assert f"offered to the seller: `starter send-message {number} --as seller --template how_to_cancel`" in listed
    ready = ("send-message", number, "--as", "seller", "--template", "how_to_cancel", "--answer-by", "2d")
    assert (await cli.call(*ready)).code == 0
    found = (await cli.call("messages", number, "--json")).json()
    assert [(each["sender"], each["template"]) for each in found["messages"]] == [
        ("buyer", None),
        ("seller", "how_to_cancel"),
    ]
    assert found["answer_by"] is not None
    shown = (await cli.call("show", number)).out
    assert "by the buyer until" in shown
    assert "2, the last from the seller at" in shown


async def test_the_panel_tells_what_came_after(cli: Cli, live: Live) -> None:
    """Refunds, cases, the rating and when the money is available are shown for people, each in a line."""
    names = await order_for(
        cli,
        live,
        "card-approve",
        (
            "ship {n}",
            "report-not-received {n}",
            "ask-to-wait {n} --until 5d",
            "rate {n} --stars 4 --comment '[b]slow[/b]'",
        ),
    )
    shown = (await cli.call("show", names["n"])).out
    for told in (
        "not_received waiting, due 20",
        "4 of 5 stars: [b]slow[/b]",
        "in settlement until 20",
        "card, captured;",
    ):
        assert told in shown
    reduced = await order_for(cli, live, "card-approve", ("cancel-items {n} --item {sku}:1 --consent 'by mail'",))
    assert f"1 × {reduced['sku']} by the seller: no_inventory; by mail" in (await cli.call("show", reduced["n"])).out


@pytest.mark.rule("C11", "D3")
async def test_items_that_the_buyer_cancels_are_not_told_as_out_of_stock(cli: Cli, live: Live) -> None:
    """Without --reason the buyer's own reason is recorded, and the seller's mail gives it."""
    number = await live.place(seller="S-300", marketplace="US")
    one = (number, "--item", f"{(await live.order(number)).lines[0].sku}:1")
    (reduction,) = (await cli.call("cancel-items", *one, "--as", "buyer", "--json")).json()["order"]["reductions"]
    assert (reduction["actor"], reduction["reason"]) == ("buyer", "buyer_cancelled")
    mail = await live.mailed(number, "items_cancelled", "seller")
    assert "cancelled at the buyer's request" in mail["text"]
    assert "out of stock" not in mail["text"]


@pytest.mark.rule("D2", "D5")
async def test_documents_are_written_and_refused_with_the_reason(cli: Cli, live: Live, tmp_path: Path) -> None:
    """The packing slip before shipment, the receipt once charged; what cannot be issued is exit 3, a bad file exit 2."""
    number, slip, receipt = await live.place(), tmp_path / "slip.pdf", tmp_path / "receipt.pdf"
    ran = await cli.run("packing-slip", number, "--out", str(slip), "--language", "en")
    assert (ran.code, ran.err) == (0, "")
    assert slip.read_bytes().startswith(b"%PDF")
    early = await cli.call("receipt", number, "--out", str(receipt))
    assert (early.code, early.out, receipt.exists()) == (3, "", False)
    assert f"order {number} has not been charged" in " ".join(early.err.split())
    await cli.call("ship", number)
    issued = (await cli.call("receipt", number, "--out", str(receipt), "--json")).json()
    assert (issued["language"], issued["bytes"]) == ("ja", len(receipt.read_bytes()))
    bad_input(await cli.call("receipt", number, "--out", str(tmp_path)), f"out: {tmp_path} cannot be written: Is a dir")
    bad_input(await cli.call("receipt", number, "--out", str(receipt), "--language", "fr"), "'fr' is not one of")
    unknown = await cli.call("receipt", carts.order_number(), "--out", str(receipt))
    bad_input(unknown, "there is no order")


@pytest.mark.rule("A7", "D2")
async def test_after_the_retention_period_no_document_is_issued(cli: Cli, live: Live, tmp_path: Path) -> None:
    """Once the personal data is erased the order is shown without it, and receipt and packing slip are refused."""
    number = await live.place()
    ready = ("send-message", number, "--as", "seller", "--template", "how_to_cancel")
    wrote = ("send-message", number, "Call me", "--topic", "cancellation_wish")
    for step in (wrote, ready, ("ship", number), ("deliver", number), ("travel", number, "61d")):
        assert (await cli.call(*step)).code == 0
    await live.sees(number, lambda order: order.erased_at is not None, "the erasure")
    shown = (await cli.call("show", number)).out
    assert "personal data at" in shown
    assert "佐藤" not in shown
    told = (await cli.call("messages", number)).out
    # A cell may be broken between two words.
    assert ("erased" in told, "Call" in told, "how_to_cancel" in told, "None" in told) == (True, False, True, False)
    for document in ("receipt", "packing-slip"):
        ran = await cli.call(document, number, "--out", str(tmp_path / "late.pdf"))
        assert (ran.code, ran.out) == (3, ""), ran
        assert f"the personal data of order {number} has been erased" in " ".join(ran.err.split())


@pytest.fixture
async def unattended(live: Live) -> AsyncIterator[tuple[str, str]]:
    """A shipped order that is recorded, and its task queue on which nobody works any more."""
    queue = f"unattended-{uuid4().hex}"
    down = live.on_queue(queue)
    async with live.worker(queue):
        number = await down.place()
        await down.ship(number)

        async def recorded() -> bool:
            kept = await asyncio.to_thread(live.store.order, number)
            return kept is not None and kept.status is Status.SHIPPED

        await until(recorded, "the record of the shipment")
    yield number, queue
    await down.close()


@pytest.mark.rule("R6")
async def test_a_refund_in_money_is_received_without_a_worker(
    cli: Cli, live: Live, unattended: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody works: the currency is known from the store, the refund is received, and a worker that comes pays it."""
    number, queue = unattended
    wanted = ("refund", number, "--reason", "goodwill", "--shipping", "100", "--id", "r")
    with monkeypatch.context() as impatient:
        impatient.setattr("starter.client.LOOKED_UP_WITHIN", timedelta(seconds=1))
        impatient.setattr("starter.client.TAKEN_UP_WITHIN", timedelta(seconds=1))
        ran = await cli.call(*wanted, TASK_QUEUE=queue)
    expected = f"received: refund of order {number} will be decided once a worker takes it up (id r)"
    assert (ran.code, ran.out.strip()) == (0, expected)
    async with live.worker(queue):
        order = await live.refund_is(number, RefundStatus.PAID)
        assert [each.amount_minor for each in order.refunds] == [100]


async def test_a_document_is_issued_from_the_store_where_the_workflow_does_not_answer(
    cli: Cli, live: Live, unattended: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a worker, and for an order that Temporal no longer has, the record of the store is the source."""
    number, queue = unattended
    monkeypatch.setattr("starter.client.LOOKED_UP_WITHIN", timedelta(seconds=1))
    out = tmp_path / "receipt.pdf"
    ran = await cli.call("receipt", number, "--out", str(out), TASK_QUEUE=queue)
    assert ran.code == 0, ran
    assert out.read_bytes().startswith(b"%PDF")
    out.unlink()
    which = WorkflowExecution(workflow_id=f"order-{number}")
    delete = DeleteWorkflowExecutionRequest(namespace="default", workflow_execution=which)
    await live.orders.temporal.workflow_service.delete_workflow_execution(delete)

    async def gone() -> bool:
        return (await cli.call("show", number, TASK_QUEUE=queue)).code == 2

    await until(gone, "the end of the workflow")
    assert (await cli.call("receipt", number, "--out", str(out), TASK_QUEUE=queue)).code == 0
    assert out.read_bytes().startswith(b"%PDF")
