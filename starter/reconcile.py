"""Reconciliation: whether the orders, the ledger and the payment provider tell the same story of the money.

Nothing is changed. What differs is looked at twice, so that money that moves meanwhile is not taken for a difference.

Policy: S7, R5, R6, R7.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import httpx

from domain.money import format_money
from domain.movements import POINTS, PROVIDER_CLEARING, Movement, MovementKind
from domain.order import CLOSED
from domain.refund import RefundPart, RefundStatus
from domain.views import OrderView
from starter.client import InputError
from starter.provider_books import Held, ProviderBooks, Repaid

if TYPE_CHECKING:
    from store.store import Store

PAGE = 100
"""Orders that are compared at a time."""


class DifferenceKind(StrEnum):
    """What does not agree."""

    NOT_IN_LEDGER = "not_in_ledger"
    NOT_IN_ORDER = "not_in_order"
    OTHER_CONTENT = "other_content"
    UNBALANCED = "unbalanced"
    NO_MOVEMENT = "no_movement"
    CHARGE_UNKNOWN_TO_ORDER = "charge_unknown_to_order"
    CHARGE_UNKNOWN_TO_PROVIDER = "charge_unknown_to_provider"
    HELD_FOR_CLOSED_ORDER = "held_for_closed_order"
    REFUND_PENDING = "refund_pending"
    REFUND_UNKNOWN_TO_ORDER = "refund_unknown_to_order"
    REFUND_UNKNOWN_TO_PROVIDER = "refund_unknown_to_provider"
    REFUND_AMOUNT = "refund_amount"
    TOTALS = "totals"


@dataclass(frozen=True)
class Difference:
    """One fact on which two of them disagree: `one` and `other` say what each tells, `remedy` what to do.

    `subject` names the movement, the provider's reference or the currency; `order_number` is None for the totals.
    """

    order_number: str | None
    kind: DifferenceKind
    subject: str
    one: str
    other: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.order_number or 'all orders'}: {self.one}; {self.other} → {self.remedy}"

    @property
    def key(self) -> tuple[str | None, DifferenceKind, str]:
        """What the difference is about, whatever the amounts."""
        return self.order_number, self.kind, self.subject


@dataclass(frozen=True)
class Report:
    """How many orders and movements of the ledger were compared, and what differs."""

    orders: int
    movements: int
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class _Seen:
    """One order: how many movements the ledger has of it, and what differs."""

    number: str
    movements: int
    differences: tuple[Difference, ...]


async def reconcile(
    store: "Store", http: httpx.AsyncClient, numbers: Sequence[str] = (), *, pause: float = 1.0
) -> Report:
    """Compare the orders of `numbers`, or all of them and the totals, and look again `pause` seconds later at what differs.

    Raises InputError for a number that the store does not know, UnreachableError where the provider does not answer.
    """
    books = ProviderBooks(http)
    seen = [each async for each in _of_orders(store, books, numbers)]
    first = [difference for each in seen for difference in each.differences]
    first += await _of_ledger(store, books, numbers)
    found: list[Difference] = []
    if first:
        await asyncio.sleep(pause)
        if suspects := [each.number for each in seen if each.differences]:
            found += [
                difference async for each in _of_orders(store, books, suspects) for difference in each.differences
            ]
        found += await _of_ledger(store, books, numbers)
    doubtful = {each.key for each in first}
    found.sort(key=lambda each: (each.order_number is None, each.order_number or ""))
    confirmed = tuple(each for each in found if each.key in doubtful)
    return Report(len(seen), sum(each.movements for each in seen), confirmed)


async def _of_orders(store: "Store", books: ProviderBooks, numbers: Sequence[str]) -> AsyncIterator[_Seen]:
    async for page in _pages(store, numbers):
        posted = await asyncio.to_thread(store.movements, [order.number for order in page])

        async def ask(order: OrderView) -> tuple[list[Held], list[Repaid]]:
            return await books.payments(order.number, order.clock), await books.refunds(order.number, order.clock)

        answers = await asyncio.gather(*(ask(order) for order in page))
        for order, (payments, refunds) in zip(page, answers, strict=True):
            kept = posted[order.number]
            differences = (*against_ledger(order, kept), *against_provider(order, payments, refunds))
            yield _Seen(order.number, len(kept), differences)


async def _pages(store: "Store", numbers: Sequence[str]) -> AsyncIterator[list[OrderView]]:
    """Yield the orders of `numbers`, or all of them, page by page."""
    unique = list(dict.fromkeys(numbers))
    for start in range(0, len(unique), PAGE):
        page = []
        for number in unique[start : start + PAGE]:
            order = await asyncio.to_thread(store.order, number)
            if order is None:
                raise InputError(f"order {number} is not in the store; look it up with `python -m starter list`")
            page.append(order)
        yield page
    if unique:
        return
    after = None
    while newest := await asyncio.to_thread(store.orders, limit=PAGE, after=after):
        yield newest
        after = (newest[-1].placed_at, newest[-1].number)


async def _of_ledger(store: "Store", books: ProviderBooks, numbers: Sequence[str]) -> list[Difference]:
    """Return what is wrong within the ledger, and where all orders are compared, between its totals and the provider's."""
    differences = [
        Difference(
            each.order_number,
            DifferenceKind.UNBALANCED,
            each.movement_id,
            f"the ledger's {each.movement_id} has {format_money(each.amount_minor, each.currency)} too much in debit",
            "a movement has as much debit as credit",
            "somebody wrote to the database by hand: add what is missing as a further entry of this movement",
        )
        for each in await asyncio.to_thread(store.unbalanced)
        if not numbers or each.order_number in numbers
    ]
    if numbers:
        return differences
    strangers = await asyncio.to_thread(store.orders_without_record)
    for number, posted in (await asyncio.to_thread(store.movements, strangers)).items():
        differences += [
            Difference(
                number,
                DifferenceKind.NOT_IN_ORDER,
                each.movement_id,
                "the store has no such order",
                f"the ledger has {_told(each)}",
                "write the order's record again, or find out who posted a movement without one",
            )
            for each in posted
        ]
    return differences + await _totals(store, books)


async def _totals(store: "Store", books: ProviderBooks) -> list[Difference]:
    charged: dict[str, int] = {}
    for account in (PROVIDER_CLEARING, POINTS):
        for each in await asyncio.to_thread(store.balances, account):
            charged[each.currency] = charged.get(each.currency, 0) + each.amount_minor
    captured = await books.captured()
    return [
        Difference(
            None,
            DifferenceKind.TOTALS,
            currency,
            f"the ledger has {format_money(charged.get(currency, 0), currency)} charged and not paid back",
            f"the provider has {format_money(captured.get(currency, 0), currency)}",
            "settle the orders listed; what is left was charged for no order of this store (see the provider's GET /log)",
        )
        for currency in sorted(charged | captured)
        if charged.get(currency, 0) != captured.get(currency, 0)
    ]


def against_ledger(order: OrderView, posted: Iterable[Movement]) -> Iterator[Difference]:
    """Yield where the order's movements and those that the ledger has of it differ.

    Nothing where `<order number>/correction/…` movements were posted and every account holds what it should. Policy: S7.
    """
    own, kept = {each.movement_id: each for each in order.movements}, {each.movement_id: each for each in posted}
    corrected = any(name.startswith(f"{order.number}/correction/") for name in kept)
    if corrected and _accounts(own.values()) == _accounts(kept.values()):
        return
    correction = f"post what is wrong in it, the other way round, as {order.number}/correction/1"
    for name, each in own.items():
        one = f"the order has {_told(each)}"
        if name not in kept:
            remedy = (
                "it comes with the order's next record; where it stays away, look for `ledger:` in the workers' log"
            )
            yield Difference(order.number, DifferenceKind.NOT_IN_LEDGER, name, one, f"the ledger has no {name}", remedy)
        elif not _agree(each, kept[name]):
            other = f"the ledger has {_told(kept[name])}"
            yield Difference(order.number, DifferenceKind.OTHER_CONTENT, name, one, other, correction)
    for name in sorted(kept.keys() - own.keys()):
        one, other = f"the order has no {name}", f"the ledger has {_told(kept[name])}"
        yield Difference(order.number, DifferenceKind.NOT_IN_ORDER, name, one, other, correction)
    charged = order.payment.captured_minor if order.payment else 0
    if charged > 0 and not any(each.kind is MovementKind.CHARGE for each in (*own.values(), *kept.values())):
        yield Difference(
            order.number,
            DifferenceKind.NO_MOVEMENT,
            f"{order.number}/charge",
            f"the order is charged {format_money(charged, order.currency)}",
            "its record names no movement of it",
            "the record was written before there was a ledger: the movement comes with the order's next record",
        )


def _accounts(movements: Iterable[Movement]) -> dict[tuple[str, str], int]:
    """Return what the movements leave on each account and currency, without those that hold nothing."""
    sums: dict[tuple[str, str], int] = {}
    for each in movements:
        for entry in each.entries:
            key = entry.account, each.currency
            sums[key] = sums.get(key, 0) + entry.amount_minor
    return {key: amount for key, amount in sums.items() if amount}


def _agree(one: Movement, other: Movement) -> bool:
    """Return whether two movements say the same, in however many entries."""
    same_facts = one.model_copy(update={"entries": ()}) == other.model_copy(update={"entries": ()})
    return same_facts and _accounts([one]) == _accounts([other])


def _told(movement: Movement) -> str:
    entries = ", ".join(f"{entry.account} {entry.amount_minor:+d}" for entry in movement.entries)
    return f"{movement.movement_id} ({movement.currency}: {entries}; {movement.at.isoformat(timespec='seconds')})"


def against_provider(order: OrderView, payments: Sequence[Held], refunds: Sequence[Repaid]) -> Iterator[Difference]:
    """Yield where the order and the provider differ on what is charged, held and paid back. Policy: C9, R5, R6, R7."""
    yield from _charges(order, payments)
    if order.status in CLOSED or order.rejected is not None:
        yield from _holds(order, payments)
    yield from _refunds(order, refunds)


def _charges(order: OrderView, payments: Sequence[Held]) -> Iterator[Difference]:
    charged = order.payment.captured_minor if order.payment else 0
    captured = {each.reference: each.captured_minor for each in payments if each.captured_minor}
    total = sum(captured.values())
    if charged == total:
        return
    names = ", ".join(captured) or "any reference"
    one = f"the order is charged {format_money(charged, order.currency)}"
    other = f"the provider has charged {format_money(total, order.currency)} under {names}"
    if total < charged:
        remedy = "the provider reversed it or never made it: settle it with the provider, and do not charge again"
        yield Difference(order.number, DifferenceKind.CHARGE_UNKNOWN_TO_PROVIDER, order.number, one, other, remedy)
        return
    reversing = [each for each in captured if _is_void(order, each)]
    remedy = "void at the provider what the order does not know; its history tells whether a charge was left unanswered"
    if reversing:
        remedy = f"{', '.join(reversing)} is being reversed: look again once the provider answers"
    yield Difference(order.number, DifferenceKind.CHARGE_UNKNOWN_TO_ORDER, order.number, one, other, remedy)


def _holds(order: OrderView, payments: Sequence[Held]) -> Iterator[Difference]:
    state = "refused" if order.rejected is not None else str(order.status)
    for each in payments:
        if each.status != "authorized":
            continue
        pending = "it is being voided: look again once the provider answers"
        yield Difference(
            order.number,
            DifferenceKind.HELD_FOR_CLOSED_ORDER,
            each.reference,
            f"the order is {state}",
            f"the provider holds {format_money(each.amount_minor or 0, order.currency)} under {each.reference}",
            pending if _is_void(order, each.reference) else f"void {each.reference} at the provider",
        )


def _is_void(order: OrderView, reference: str) -> bool:
    return reference.removesuffix("/points") in order.voids


def _refunds(order: OrderView, refunds: Sequence[Repaid]) -> Iterator[Difference]:
    parts = {part.reference: part for refund in order.refunds for part in refund.parts}
    known = {each.reference: each for each in refunds}
    for reference, part in parts.items():
        yield from _refund(order, part, known.get(reference))
    for reference, each in known.items():
        # A failed refund is tried again under another reference: the order names the newest alone.
        if reference in parts or each.status == RefundStatus.FAILED:
            continue
        amount = format_money(each.amount_minor, order.currency)
        yield Difference(
            order.number,
            DifferenceKind.REFUND_UNKNOWN_TO_ORDER,
            reference,
            f"the order has no refund {reference}",
            f"the provider has one of {amount}, {each.status}",
            "somebody refunded past this system: keep it in mind before the order's next refund",
        )


def _refund(order: OrderView, part: RefundPart, repaid: Repaid | None) -> Iterator[Difference]:
    """Yield where a part of a refund and what the provider has under its reference differ."""
    amount = format_money(part.amount_minor, order.currency)
    one = f"the order has refund {part.reference} of {amount} as {part.status}"
    if repaid is None:
        if part.status in (RefundStatus.PENDING, RefundStatus.PAID):
            remedy = "settle it with the provider: the buyer may not have the money"
            kind, other = DifferenceKind.REFUND_UNKNOWN_TO_PROVIDER, "the provider has no such refund"
            yield Difference(order.number, kind, part.reference, one, other, remedy)
        return
    if repaid.amount_minor != part.amount_minor:
        other = f"the provider has {format_money(repaid.amount_minor, order.currency)} under it"
        remedy = "settle the rest with the provider, outside this refund"
        yield Difference(order.number, DifferenceKind.REFUND_AMOUNT, part.reference, one, other, remedy)
    if repaid.status == part.status:
        return
    if part.status is RefundStatus.PAID:
        other, remedy = (
            f"the provider has it as {repaid.status}",
            "settle it with the provider: the buyer may not have it",
        )
        yield Difference(order.number, DifferenceKind.REFUND_UNKNOWN_TO_PROVIDER, part.reference, one, other, remedy)
    elif repaid.status != RefundStatus.PENDING:
        word = "paid" if repaid.status == RefundStatus.PAID else str(repaid.status)
        one = f"pending: provider has {word}, the order does not know yet"
        other = f"refund {part.reference} of {amount} is {part.status} in the order"
        remedy = "the order asks by itself; look again later, and where it stays so check the provider's webhooks"
        yield Difference(order.number, DifferenceKind.REFUND_PENDING, part.reference, one, other, remedy)
