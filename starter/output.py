"""How the starter shows orders: tables for people, JSON for programs."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table

from domain.base import format_duration, format_instant
from domain.deadlines import SUMMARIES, DeadlineName
from domain.money import format_money
from domain.order import HistoryEntry
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


def order_panel(order: OrderView, entries: Iterable[HistoryEntry] = (), url: str | None = None) -> RenderableType:
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
    if url:
        facts.add_row("in the Temporal UI", url)
    parts: list[RenderableType] = [facts, _lines(order), _windows(order)]
    listed = list(entries)
    return Group(*parts, history_table(listed)) if listed else Group(*parts)


def _facts(order: OrderView) -> Iterable[tuple[str, str]]:
    yield "seller", f"{escape(order.seller.name)} ({order.seller.seller_id}, {order.fulfilment}-fulfilled)"
    if order.buyer is not None:
        yield "buyer", f"{escape(order.buyer.name)} <{escape(order.buyer.email)}>" + _phone(order)
    if order.address is not None:
        place = order.address
        parts = (place.recipient, place.line1, place.line2, place.city, place.region, place.postal_code, place.country)
        yield "ship to", escape(", ".join(part for part in parts if part))
    yield "total", f"{format_money(order.total_minor, order.currency)} ({order.shipping_option} shipping)"
    if order.payment is not None:
        paid = order.payment
        held = format_money(paid.authorized_minor, order.currency)
        charged = format_money(paid.captured_minor, order.currency)
        declined = f", {paid.decline_code}" if paid.decline_code else ""
        yield "payment", f"{paid.status}{declined}; authorised {held}, charged {charged}"
    if order.voids:
        yield "to be voided", ", ".join(order.voids)
    if order.rejected is not None:
        yield "refused", f"[red]{order.rejected.code}[/]: {escape(order.rejected.message)}"
    if order.flags:
        yield "flags", f"[bold yellow]{', '.join(order.flags)}[/]"
    if order.request is not None:
        yield "request", f"cancellation {order.request.status}, reason {order.request.reason}"
    if order.cancellation is not None:
        why = order.cancellation
        rate = "counts in the seller's rate" if why.counts_in_rate else "not in the seller's rate"
        yield "cancelled", f"by the {why.actor} at {format_instant(why.at)}: {why.reason} ({rate})"
    for parcel in order.shipments:
        arrived = f", delivered {format_instant(parcel.delivered_at)}" if parcel.delivered_at else ""
        yield f"parcel {parcel.shipment_id}", f"{escape(parcel.carrier)} {parcel.tracking_number}{arrived}"
    if "confirm_shipment" in order.flags:
        yield "to do", f"[bold]confirm shipment by {format_instant(order.confirm_by)} to avoid cancellation[/]"


def _phone(order: OrderView) -> str:
    return f" {escape(order.buyer.phone)}" if order.buyer is not None and order.buyer.phone else ""


def _lines(order: OrderView) -> Table:
    table = Table(box=box.SIMPLE, title="items", title_justify="left")
    for name in ("sku", "title", "ordered", "shipped", "price each"):
        table.add_column(name, justify="right" if name in ("ordered", "shipped", "price each") else "left")
    for line in order.lines:
        price = format_money(line.unit_price_minor, order.currency)
        table.add_row(line.sku, escape(line.title), str(line.quantity), str(line.shipped), price)
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
