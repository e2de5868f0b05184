"""Which units of an order its cases are about: what is free for another case, what has arrived, what a parcel brings back.

Policy: A1 to A6.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

from domain import commands
from domain.case import Case, CaseKind, CaseStatus
from domain.commands import Command
from domain.order import Order, Shipment, Status

YIELDING = frozenset({CaseKind.CANCELLATION, CaseKind.NOT_RECEIVED, CaseKind.PARCEL})
"""The kinds of cases that a parcel which has come back ends for its units: they are refunded, nothing else is left to decide."""
_SETTLED = (CaseStatus.REFUNDED, CaseStatus.GRANTED)


def yielding(order: Order, command: Command) -> frozenset[CaseKind]:
    """Return the kinds of open cases that do not stand in the way of the command's own (A4)."""
    comes_back = isinstance(command, commands.ReturnToSender) and order.item_by_item
    return YIELDING if comes_back else frozenset()


def free_units(order: Order, over: Collection[CaseKind] = ()) -> dict[str, int]:
    """Return of how many units of each item a case can be opened: neither refunded nor in another open case.

    They are the shipped units, or all of an order whose shipment was never confirmed (A3). Open cases of the kinds `over`
    do not count.
    """
    units = {}
    for line in order.lines:
        sent = line.quantity if order.status is Status.UNSHIPPED else line.shipped
        cases = (case for case in order.cases if (case.open and case.kind not in over) or case.status in _SETTLED)
        taken = sum(case.quantities.get(line.sku, 0) for case in cases)
        outside = (each for refund in order.refunds if refund.case_id is None for each in refund.lines)
        back = sum(each.quantity - each.not_shipped for each in outside if each.sku == line.sku)
        units[line.sku] = max(0, sent - taken - back)
    return units


def wanted_units(order: Order, command: Command) -> dict[str, int]:
    """Return the units that an opening command is about: those named, or all that are free for it."""
    lines = getattr(command, "lines", ())
    if lines:
        return {line.sku: line.quantity for line in lines}
    return {sku: units for sku, units in free_units(order, yielding(order, command)).items() if units}


def parts_of_wish(order: Order, wanted: Mapping[str, int], at: datetime) -> list[tuple[CaseKind, dict[str, int]]]:
    """Split a wish to cancel after shipment: what is under way at `at` is a cancellation, what has arrived a return (A2)."""
    if not order.item_by_item:
        return [(CaseKind.RETURN if _all_arrived(order, wanted) else CaseKind.CANCELLATION, dict(wanted))]
    under_way = {sku: min(units, _under_way(order, sku, at)) for sku, units in wanted.items()}
    arrived = {sku: units - under_way[sku] for sku, units in wanted.items()}
    parts = ((CaseKind.CANCELLATION, under_way), (CaseKind.RETURN, arrived))
    found = [(kind, {sku: units for sku, units in part.items() if units}) for kind, part in parts]
    return [(kind, part) for kind, part in found if part]


def _all_arrived(order: Order, wanted: Mapping[str, int]) -> bool:
    if order.status is Status.DELIVERED:
        return True
    there = [each.quantities for each in order.shipments if each.delivered_at is not None]
    return bool(wanted) and all(units <= sum(each.get(sku, 0) for each in there) for sku, units in wanted.items())


def _under_way(order: Order, sku: str, at: datetime) -> int:
    """Return the units of an item in parcels not delivered at `at` for which nothing else has been asked."""
    parcels = (each for each in order.shipments if each.delivered_at is None or each.delivered_at > at)
    sent = sum(each.quantities.get(sku, 0) for each in parcels)
    cases = (case for case in order.cases if case.kind in YIELDING and (case.open or case.status in _SETTLED))
    return max(0, sent - sum(case.quantities.get(sku, 0) for case in cases))


def has_come(order: Order, case: Case, parcels: Collection[Shipment]) -> bool:
    """Return whether the delivery of `parcels` has brought everything that a case is about.

    Units of one item in several parcels cannot be told apart: as long as one of them is under way it may be the one.
    """
    brought = {sku for parcel in parcels for sku in parcel.quantities}
    missing = {sku for each in order.shipments if each.delivered_at is None for sku in each.quantities}
    return bool(brought & case.quantities.keys()) and not missing & case.quantities.keys()


def yielded(order: Order, wanted: Mapping[str, int]) -> tuple[Case, ...]:
    """Return the order's cases as the units `wanted` leave them: free units go first, then those of cases that give way."""
    free = free_units(order)
    excess = {sku: max(0, units - free.get(sku, 0)) for sku, units in wanted.items()}
    cases = []
    for case in order.cases:
        if not case.open or case.kind not in YIELDING:
            cases.append(case)
            continue
        taken = {sku: min(units, excess.get(sku, 0)) for sku, units in case.quantities.items()}
        excess = {sku: units - taken.get(sku, 0) for sku, units in excess.items()}
        left = {sku: units - taken[sku] for sku, units in case.quantities.items() if units > taken[sku]}
        cases.append(case.model_copy(update={"quantities": left}) if any(taken.values()) else case)
    return tuple(cases)
