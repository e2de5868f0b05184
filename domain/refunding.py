"""The arithmetic of refunds: exact in integer minor units, and never more than was charged.

Every line of an order has its price and its share of the shipping fee (largest remainder). What is refunded of either is
counted before deductions, so that no sequence of refunds exceeds the charge by line, by shipping fee or in all.

Policy: R1 to R4, S8.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from domain.case import Case
from domain.commands import RefundForm, RefundLineForm
from domain.money import format_money
from domain.order import Line, Order
from domain.refund import RefundLine, RefundReason
from domain.refusal_codes import RefusalCode
from domain.refusals import Refusal, refuse


def allocate(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` in proportion to `weights` without a remainder: largest remainder first, then the earlier place."""
    whole = sum(weights)
    if whole == 0:
        return [0 for _ in weights]
    shares = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares


MAX_REFUNDS = 50
"""Refunds that one order takes."""


class Left(NamedTuple):
    """What of one line can still be refunded: units, goods and shipping share in minor units."""

    units: int
    items_minor: int
    shipping_minor: int


def refunded(order: Order, sku: str) -> list[RefundLine]:
    """Return everything that was refunded of one item, failed refunds included: they are still owed."""
    return [line for refund in order.refunds for line in refund.lines if line.sku == sku]


def left_of(order: Order) -> dict[str, Left]:
    """Return what of each item can still be refunded."""
    shares = allocate(order.shipping_fee_minor, [line.quantity * line.unit_price_minor for line in order.lines])
    found = {}
    for line, share in zip(order.lines, shares, strict=True):
        back = refunded(order, line.sku)
        found[line.sku] = Left(
            line.quantity - sum(each.quantity for each in back),
            line.quantity * line.unit_price_minor - sum(each.items_minor for each in back),
            share - sum(each.shipping_minor for each in back),
        )
    return found


def refundable_minor(order: Order) -> int:
    """Return what of the charge has not been refunded yet, in minor units; 0 before the charge (R1)."""
    if order.payment.captured_at is None:
        return 0
    return sum(left.items_minor + left.shipping_minor for left in left_of(order).values())


def _shipping_of_units(order: Order, line: Line, units: int, left: Left) -> int:
    """Return the shipping share of `units` more units; the shares of all units come to the share of the line."""
    before = line.quantity - left.units
    share = left.shipping_minor + sum(each.shipping_minor for each in refunded(order, line.sku))
    due = share * (before + units) // line.quantity - share * before // line.quantity
    return min(due, left.shipping_minor)


def _line(
    order: Order, line: Line, left: Left, units: int, *, shipping: bool, out_of_stock: bool = False
) -> RefundLine:
    """Return the refund of `units` units at their price, as far as it has not gone back already."""
    items = min(units * line.unit_price_minor, left.items_minor)
    gone = line.quantity - left.units
    beyond_shipped = gone + units - line.shipped - line.cancelled
    lost = min(units, line.unshipped) if out_of_stock else max(0, min(beyond_shipped, line.unshipped))
    share = _shipping_of_units(order, line, units, left) if shipping else 0
    return RefundLine(sku=line.sku, quantity=units, not_shipped=lost, items_minor=items, shipping_minor=share)


def lines_of_units(order: Order, quantities: Mapping[str, int]) -> tuple[RefundLine, ...]:
    """Return the refund of the shipped units named with their shipping share, as far as they are not refunded yet."""
    left = left_of(order)
    here = {line.sku: line.shipped - (line.quantity - left[line.sku].units - line.cancelled) for line in order.lines}
    wanted = ((line, min(quantities.get(line.sku, 0), here[line.sku], left[line.sku].units)) for line in order.lines)
    return tuple(_line(order, line, left[line.sku], units, shipping=True) for line, units in wanted if units > 0)


def rest_of_case(order: Order, case: Case) -> tuple[RefundLine, ...]:
    """Return the refund of what of a case has not been refunded under it yet."""
    done = refunded_under(order, case)
    return lines_of_units(order, {sku: units - done[sku] for sku, units in case.quantities.items()})


def refunded_under(order: Order, case: Case) -> dict[str, int]:
    """Return how many units of each item of a case have been refunded under it."""
    made = [line for each in order.refunds if each.case_id == case.case_id for line in each.lines]
    return {sku: sum(line.quantity for line in made if line.sku == sku) for sku in case.quantities}


def planned(order: Order, form: RefundForm) -> tuple[RefundLine, ...] | Refusal:
    """Return the lines that a refund command comes to, or why it cannot be made."""
    lines: list[RefundLine] = []
    left = left_of(order)
    case = next((each for each in order.cases if each.case_id == form.case_id), None)
    if not form.lines and form.shipping is None:
        if case is not None:
            lines += rest_of_case(order, case)
        else:
            lines += [_rest(line, left[line.sku]) for line in order.lines]
    for each in form.lines:
        made = _named(order, left, each, form.reason)
        if isinstance(made, Refusal):
            return made
        lines.append(made)
    if form.shipping is not None:
        spread = _with_shipping(order, left, lines, form)
        if isinstance(spread, Refusal):
            return spread
        lines = spread
    return tuple(each for each in lines if each.items_minor or each.shipping_minor or each.not_shipped)


def _rest(line: Line, left: Left) -> RefundLine:
    return RefundLine(
        sku=line.sku,
        quantity=left.units,
        not_shipped=line.unshipped,
        items_minor=left.items_minor,
        shipping_minor=left.shipping_minor,
    )


def _named(order: Order, every: Mapping[str, Left], form: RefundLineForm, reason: RefundReason) -> RefundLine | Refusal:
    line = order.line(form.sku)
    if line is None:
        skus = ", ".join(each.sku for each in order.lines)
        return refuse(RefusalCode.UNKNOWN_ITEM, number=order.number, sku=form.sku, skus=skus)
    left = every[form.sku]
    if form.amount is not None:
        if form.amount.currency != order.currency:
            return _other_currency(order, f"the amount of {form.sku}", form.amount.currency)
        if form.amount.amount_minor > left.items_minor:
            return _exceeds(order, form.sku, left.items_minor, form.amount.amount_minor)
        if form.quantity is not None and form.quantity > left.units:
            return _exceeds_units(order, form.sku, left.units, form.quantity)
        units = form.quantity or 0
        lost = _line(
            order, line, left, units, shipping=False, out_of_stock=reason is RefundReason.OUT_OF_STOCK
        ).not_shipped
        return RefundLine(sku=form.sku, quantity=units, not_shipped=lost, items_minor=form.amount.amount_minor)
    units = left.units if form.quantity is None else form.quantity
    if units > left.units:
        return _exceeds_units(order, form.sku, left.units, units)
    out_of_stock = reason is RefundReason.OUT_OF_STOCK
    if units < left.units and units * line.unit_price_minor > left.items_minor and not out_of_stock:
        return _exceeds(order, form.sku, left.items_minor, units * line.unit_price_minor)
    made = _line(order, line, left, units, shipping=form.with_shipping, out_of_stock=out_of_stock)
    if form.quantity is None:
        rest = {"items_minor": left.items_minor}
        made = made.model_copy(update=rest | ({"shipping_minor": left.shipping_minor} if form.with_shipping else {}))
    return made


def _with_shipping(
    order: Order, left: Mapping[str, Left], lines: list[RefundLine], form: RefundForm
) -> list[RefundLine] | Refusal:
    """Spread an amount of the shipping fee over the lines named, or over all."""
    assert form.shipping is not None  # noqa: S101 - narrows the type
    if form.shipping.currency != order.currency:
        return _other_currency(order, "the shipping fee", form.shipping.currency)
    lines = lines or [RefundLine(sku=line.sku) for line in order.lines]
    open_shares = [left[each.sku].shipping_minor - each.shipping_minor for each in lines]
    asked = form.shipping.amount_minor
    if asked > sum(open_shares):
        return _exceeds(order, "the shipping fee", sum(open_shares), asked)
    spread = allocate(asked, open_shares)
    return [
        each.model_copy(update={"shipping_minor": each.shipping_minor + more})
        for each, more in zip(lines, spread, strict=True)
    ]


def _exceeds(order: Order, what: str, left: int, asked: int) -> Refusal:
    amounts = {"left": format_money(left, order.currency), "asked": format_money(asked, order.currency)}
    return refuse(RefusalCode.REFUND_EXCEEDS, number=order.number, what=what, **amounts)


def _exceeds_units(order: Order, sku: str, left: int, asked: int) -> Refusal:
    units = f"{left} {'unit' if left == 1 else 'units'}"
    return refuse(RefusalCode.REFUND_EXCEEDS, number=order.number, what=sku, left=units, asked=asked)


def _other_currency(order: Order, field: str, given: str) -> Refusal:
    return refuse(RefusalCode.CURRENCY_MISMATCH, number=order.number, field=field, given=given, currency=order.currency)


def refund_refusal(order: Order, form: RefundForm) -> Refusal | None:
    """Return why a refund command cannot be carried out, None when it can (R1 to R4)."""
    if order.payment.captured_at is None:
        return refuse(RefusalCode.NOT_CHARGED, number=order.number)
    # What a case is owed is paid whatever was refunded before; cases have a limit of their own.
    owed = form.case_id is not None and order.item_by_item
    if sum(each.of_charge for each in order.refunds) >= MAX_REFUNDS and not owed:
        return refuse(RefusalCode.REFUND_LIMIT, number=order.number, most=MAX_REFUNDS)
    lines = planned(order, form)
    if isinstance(lines, Refusal):
        return lines
    other = next((each for each in form.deductions if each.amount.currency != order.currency), None)
    if other is not None:
        return _other_currency(order, f"the deduction {other.kind}", other.amount.currency)
    gross = sum(each.items_minor + each.shipping_minor for each in lines)
    deducted = sum(each.amount.amount_minor for each in form.deductions)
    if gross == 0 and not deducted:
        # Nothing goes back, and yet something comes of it: units that are shipped no more, a case that ends.
        ends_case = form.case_id is not None and not form.lines and form.shipping is None
        if ends_case or any(each.not_shipped for each in lines):
            return None
        what = ", ".join(each.sku for each in form.lines) or "the charge"
        return refuse(RefusalCode.ALREADY_REFUNDED, number=order.number, what=what)
    return _nothing(order, gross, deducted) if gross <= deducted else None


def _nothing(order: Order, gross: int, deducted: int) -> Refusal:
    money = {"lines": format_money(gross, order.currency), "deducted": format_money(deducted, order.currency)}
    return refuse(RefusalCode.NOTHING_TO_REFUND, number=order.number, **money)
