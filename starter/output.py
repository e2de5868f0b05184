"""How the starter shows orders: tables for people, JSON for programs."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table

from domain.base import format_duration, format_instant
from domain.case import Case
from domain.cases import OPENERS, STEPS
from domain.deadlines import SUMMARIES, DeadlineName
from domain.message import OrderMessage
from domain.money import format_money
from domain.order import HistoryEntry, Status
from domain.payment_state import Payment, PaymentStatus
from domain.refund import Refund, RefundStatus
from domain.views import OrderView
from starter.client import Listed

_COLOURS = {
    "pending": "yellow",
    "unshipped": "cyan",
    "partially_shipped": "blue",
    "shipped": "blue",
    "delivered": "green",
    "completed": "bold green",
    "cancelled": "red",
    "refused": "red",
}


def print_json(console: Console, value: Any) -> None:
    """Print a model, or a list or mapping of them, as JSON on one stretch of standard output."""
    console.print(json.dumps(_plain(value), ensure_ascii=False, indent=2), soft_wrap=True, markup=False)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.isoformat() if isinstance(value, datetime) else value


def status(name: str) -> str:
    """Colour a state."""
    return f"[{_COLOURS.get(name, 'white')}]{name}[/]"


def countdown(at: datetime, now: datetime) -> str:
    """Say how far an instant is from the order's clock."""
    if at <= now:
        return f"[dim]closed {format_duration(now - at)} ago[/]"
    return f"in {format_duration(at - now)}"


def print_order(
    console: Console, order: OrderView, entries: Iterable[HistoryEntry] = (), url: str | None = None
) -> None:
    """Print an order and where it is in the Temporal UI, on a line that nothing breaks, so that it can be opened or copied."""
    console.print(order_panel(order, entries))
    if url:
        console.print(f"in the Temporal UI: {url}", soft_wrap=True)


def order_panel(order: OrderView, entries: Iterable[HistoryEntry] = ()) -> RenderableType:
    """Show an order: state, money, windows with countdowns, history."""
    facts = Table(
        box=box.SIMPLE,
        show_header=False,
        title=f"order {order.number}: {status('refused' if order.rejected else order.status)}",
        title_justify="left",
    )
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    for name, value in _facts(order):
        facts.add_row(name, value)
    parts: list[RenderableType] = [facts, _lines(order), _windows(order)]
    listed = list(entries)
    parts += [history_table(listed)] if listed else []
    return Group(*parts)


def _facts(order: OrderView) -> Iterable[tuple[str, str]]:
    yield from _people(order)
    yield from _money(order)
    if order.rejected is not None:
        yield "refused", f"[red]{order.rejected.code}[/]: {escape(order.rejected.message)}"
    if order.flags:
        yield "flags", f"[bold yellow]{', '.join(order.flags)}[/]"
    if order.review is not None:
        since = format_instant(order.review.ended_at or order.review.since)
        yield "review", f"{order.review.status} at {since}: {escape(order.review.reason)}"
    if order.request is not None:
        yield "request", f"cancellation {order.request.status}, reason {order.request.reason}"
    if order.cancellation is not None:
        why = order.cancellation
        rate = "counts in the seller's rate" if why.counts_in_rate else "not in the seller's rate"
        yield "cancelled", f"by the {why.actor} at {format_instant(why.at)}: {why.reason} ({rate})"
    yield from _parcels(order)
    yield from _afterwards(order)


def _people(order: OrderView) -> Iterable[tuple[str, str]]:
    yield "seller", f"{escape(order.seller.name)} ({order.seller.seller_id}, {order.fulfilment}-fulfilled)"
    if order.buyer is not None:
        yield "buyer", f"{escape(order.buyer.name)} <{escape(order.buyer.email)}>" + _phone(order)
    if order.address is not None:
        place = order.address
        parts = (place.recipient, place.line1, place.line2, place.city, place.region, place.postal_code, place.country)
        yield "ship to", escape(", ".join(part for part in parts if part))


def _money(order: OrderView) -> Iterable[tuple[str, str]]:
    yield "total", f"{format_money(order.total_minor, order.currency)} ({order.shipping_option} shipping)"
    if order.business is not None:
        yield "business", f"purchase order {order.business.purchase_order_number}"
    if order.purchase is not None:
        yield "purchase", order.purchase
    if order.payment is not None:
        yield from _payment(order, order.payment)
    if order.available_at is not None:
        settled = order.available_at <= order.clock
        when = "available since" if settled else "in settlement until"
        yield "proceeds", f"{when} {format_instant(order.available_at)}"
    if order.voids:
        yield "to be voided", ", ".join(order.voids)


def _parcels(order: OrderView) -> Iterable[tuple[str, str]]:
    for parcel in order.shipments:
        arrived = f", delivered {format_instant(parcel.delivered_at)}" if parcel.delivered_at else ""
        yield f"parcel {parcel.shipment_id}", f"{escape(parcel.carrier)} {parcel.tracking_number}{arrived}"
    if "confirm_shipment" in order.flags:
        yield "to do", f"[bold]confirm shipment by {format_instant(order.confirm_by)} to avoid cancellation[/]"


def _payment(order: OrderView, paid: Payment) -> Iterable[tuple[str, str]]:
    held = format_money(paid.authorized_minor, order.currency)
    charged = format_money(paid.captured_minor, order.currency)
    declined = f", {paid.decline_code}" if paid.decline_code else ""
    points = f", of it {format_money(paid.points_minor, order.currency)} in points" if paid.points_minor else ""
    yield "payment", f"{paid.method}, {paid.status}{declined}; authorised {held}{points}, charged {charged}"
    if paid.number is not None:
        due = f", until {format_instant(paid.due_at)}" if paid.due_at else ""
        told = {
            PaymentStatus.AWAITING: f"[bold]{paid.number}[/], at a convenience store{due}",
            PaymentStatus.AUTHORIZED: f"{paid.number}, paid",
            PaymentStatus.CAPTURED: f"{paid.number}, paid",
        }
        yield "payment number", told.get(paid.status, f"{paid.number}, no longer valid")


def _afterwards(order: OrderView) -> Iterable[tuple[str, str]]:
    """Yield what may follow a shipment or a wish: reductions, refunds, cases, messages, the rating."""
    for reduction in order.reductions:
        told = (
            f"{_units(reduction.quantities)} by the {reduction.actor}: {reduction.reason}; {escape(reduction.consent)}"
        )
        yield "items cancelled", told
    for refund in order.refunds:
        yield f"refund {refund.refund_id}", refund_line(order, refund)
    if any(each.of_charge for each in order.refunds):
        yield "left to refund", format_money(order.refundable_minor, order.currency)
    for case in order.cases:
        yield f"case {case.case_id}", case_line(case)
    if order.messages:
        last = order.messages[-1]
        yield "messages", f"{len(order.messages)}, the last from the {last.sender} at {format_instant(last.sent_at)}"
    if order.answer_by is not None:
        yield "to answer", f"[bold]by the buyer until {format_instant(order.answer_by)}, or the order is cancelled[/]"
    if order.rating is not None:
        comment = f": {escape(order.rating.comment)}" if order.rating.comment else ""
        yield "rating", f"{order.rating.stars} of 5 stars{comment}"
    if order.erased_at is not None:
        yield "erased", f"personal data at {format_instant(order.erased_at)}"


def _units(quantities: Mapping[str, int]) -> str:
    return ", ".join(f"{units} × {sku}" for sku, units in quantities.items())


def refund_line(order: OrderView, refund: Refund) -> str:
    """Tell a refund in a line: amount, deductions, why, how far it is and when it is expected."""
    kept = "".join(f" less {format_money(each.amount_minor, order.currency)} {each.kind}" for each in refund.deductions)
    gross = f" ({format_money(refund.gross_minor, order.currency)}{kept})" if kept else ""
    paid = [part.paid_at for part in refund.parts if part.paid_at is not None]
    expected = [part.expected_at for part in refund.parts if part.expected_at is not None]
    if refund.status is RefundStatus.PAID and paid:
        when = f" at {format_instant(max(paid))}"
    elif refund.status is RefundStatus.FAILED:
        when = f" ({', '.join(part.failure_code for part in refund.parts if part.failure_code)})"
    else:
        when = f", expected by {format_instant(max(expected))}" if expected else ""
    amount, memo = format_money(refund.amount_minor, order.currency), f"; {escape(refund.memo)}" if refund.memo else ""
    return f"{amount}{gross} for {refund.reason}, {refund.status}{when}{memo}"


def case_line(case: Case) -> str:
    """Tell a case in a line: kind, state, items, why, and when it is due."""
    due = f", due {format_instant(case.due_at)}" if case.due_at is not None else ""
    note = f"; {escape(case.note)}" if case.note else ""
    return f"{case.kind} {case.status}{due}; {_units(case.quantities)}, {case.reason}{note}"


def news(order: OrderView, name: str, fields: Mapping[str, Any]) -> list[str]:
    """Return what a command has done besides moving the order, each in a line: a refund, a case, a message, a new total."""
    told = []
    before_shipment = order.status in (Status.PENDING, Status.UNSHIPPED, Status.CANCELLED)
    if name in {*OPENERS, *STEPS} and order.cases and not (before_shipment and name.endswith("_cancellation")):
        case = max(order.cases, key=lambda each: each.changed_at)
        told.append(f"case {case.case_id} is {case_line(case)}")
        told += [refund_news(order, each) for each in order.refunds if each.refund_id == case.refund_id]
    if name == "refund" and order.refunds:
        told.append(refund_news(order, order.refunds[-1]))
    if name == "retry_refund":
        told += [refund_news(order, each) for each in order.refunds if each.refund_id == fields.get("refund_id")]
    if name == "cancel_items":
        told.append(f"its total is {format_money(order.total_minor, order.currency)}")
    if name == "send_message" and order.messages:
        told.append(f"message {order.messages[-1].message_id} is sent")
    return told


def refund_news(order: OrderView, refund: Refund) -> str:
    """Tell a refund with its name."""
    return f"refund {refund.refund_id}: {refund_line(order, refund)}"


def _phone(order: OrderView) -> str:
    return f" {escape(order.buyer.phone)}" if order.buyer is not None and order.buyer.phone else ""


def _lines(order: OrderView) -> Table:
    table = Table(box=box.SIMPLE, title="items", title_justify="left")
    # Only an order of which something was refunded instead of shipped has the column that tells it (S8).
    dropped = ("not shipped",) if any(line.cancelled for line in order.lines) else ()
    for name in ("sku", "title", "ordered", "shipped", *dropped, "price each"):
        table.add_column(name, justify="left" if name in ("sku", "title") else "right")
    for line in order.lines:
        price = format_money(line.unit_price_minor, order.currency)
        gone = (str(line.cancelled),) if dropped else ()
        table.add_row(line.sku, escape(line.title), str(line.quantity), str(line.shipped), *gone, price)
    return table


def _windows(order: OrderView) -> Table:
    table = Table(box=box.SIMPLE, title=f"windows, at {format_instant(order.clock)}", title_justify="left")
    for name in ("window", "closes", ""):
        table.add_column(name)
    for window in order.windows:
        left = "[dim]closed[/]" if window.closed else countdown(window.closes_at, order.clock)
        table.add_row(window.name, format_instant(window.closes_at), left)
    if order.next_deadline is not None and order.next_deadline_at is not None:
        name = SUMMARIES[DeadlineName(order.next_deadline)]
        left = countdown(order.next_deadline_at, order.clock)
        table.add_row(f"[bold]next: {name}[/]", format_instant(order.next_deadline_at), left)
    return table


def history_table(entries: Iterable[HistoryEntry]) -> Table:
    """Show an order's history: when, who, what, accepted or refused and why."""
    table = Table(box=box.SIMPLE, title="history", title_justify="left")
    for name in ("#", "when", "who", "what", "answer"):
        table.add_column(name, overflow="fold")
    for each in entries:
        table.add_row(str(each.seq), format_instant(each.at), each.actor or "?", _what(each), _reply(each))
    return table


def _what(entry: HistoryEntry) -> str:
    return f"{entry.name}" + (f" [dim]{escape(entry.detail)}[/]" if entry.detail else "")


def _reply(entry: HistoryEntry) -> str:
    if entry.refusal is not None:
        return f"[red]{entry.refusal.code}[/] [dim]{escape(entry.refusal.message)} \\[{entry.refusal.rule}][/]"
    if not entry.accepted:
        return "[red]failed[/]"
    return f"→ {status(entry.status)}" if entry.kind != "outcome" else f"[dim]→[/] {status(entry.status)}"


def listing(orders: Iterable[Listed]) -> Table:
    """Show many orders, one a row."""
    table = Table(box=box.SIMPLE)
    for name in ("order", "state", "seller", "placed", "changes by itself at", "flags"):
        table.add_column(name, no_wrap=name in ("order", "state"), overflow="fold")
    for each in orders:
        deadline = format_instant(each.deadline) if each.deadline else ""
        flags = f"[yellow]{', '.join(each.flags)}[/]" if each.flags else ""
        table.add_row(each.number, status(each.status), each.seller_id, format_instant(each.placed_at), deadline, flags)
    return table


def messages(order: OrderView) -> Table:
    """Show the messages of an order, the oldest first."""
    table = Table(box=box.SIMPLE)
    for name in ("#", "when", "from", "about", "message", "answer by"):
        table.add_column(name, overflow="fold")
    for each in order.messages:
        answer = format_instant(each.answer_by) if each.answer_by else ""
        table.add_row(each.message_id, format_instant(each.sent_at), each.sender, each.topic, _said(each), answer)
    return table


def _said(message: OrderMessage) -> str:
    if message.text is not None:
        return escape(message.text)
    # Of an erased order only what the marketplace itself wrote is left.
    return "[dim]text erased[/]" if message.template is None else f"[dim]ready message[/] {message.template}"
