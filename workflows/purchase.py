"""The durable shell of a purchase across sellers: reserve everything at once, then begin one order per seller (P2).

Each order is a workflow of its own, which authorises its own part: a card that is declined for one leaves the others going.
"""

import asyncio

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from domain.base import format_instant
    from domain.commands import Cancel
    from domain.order import Actor
    from domain.placement import PlaceOrder
    from domain.purchase import (
        OrderBegun,
        PlacePurchase,
        PurchaseReserved,
        PurchaseResult,
        ReservePurchase,
        reservation_refusal,
        split,
    )
    from domain.reasons import SystemReason
    from domain.refusal_codes import RefusalCode
    from domain.refusals import Refusal, refuse
    from workflows.joint import PATIENT, command_order, read_input, unbroken, wrong
    from workflows.wire import NOTHING, as_error


@workflow.defn(name="purchase")
class PurchaseWorkflow:
    """One purchase, `purchase-<number>`, from its cart to its running orders."""

    @workflow.run
    async def run(self, start: RawValue = NOTHING) -> PurchaseResult:
        """Begin all orders of the purchase; fails, with nothing reserved and nothing begun, where one cannot be had."""
        place = read_input(PlacePurchase, start, "purchase_number", _number, _invalid)
        number = _number(place)
        try:
            orders = split(place)
        except ValueError as error:
            raise as_error(_invalid(wrong(error))) from None
        refusal = await unbroken(self._complete(number, orders))
        if refusal is not None:
            raise as_error(refusal)
        return PurchaseResult(purchase_number=number, orders=tuple(each.placement.order_number for each in orders))

    async def _complete(self, number: str, orders: tuple[PlaceOrder, ...]) -> Refusal | None:
        self._show(number, orders, "reserving the stock of all orders at once")
        answer: PurchaseReserved = await workflow.execute_activity(
            "reserve_purchase",
            ReservePurchase(orders=orders, at=workflow.info().start_time),
            result_type=PurchaseReserved,
            summary=f"reserve stock for {len(orders)} orders, all or nothing",
            **PATIENT,
        )
        if (refusal := reservation_refusal(orders, answer)) is not None:
            self._show(number, orders, f"refused: {refusal}")
            return refusal
        self._show(number, orders, "beginning the orders")
        begun = await asyncio.gather(*(self._begin(each) for each in orders))
        taken = tuple(each.order_number for each in begun if each.taken)
        if not taken:
            self._show(number, orders, "every order is begun")
            return None
        await asyncio.gather(*(self._undo(number, each, begun) for each in orders))
        refusal = refuse(RefusalCode.ORDER_NUMBER_TAKEN, number=", ".join(taken))
        self._show(number, orders, f"undone: {refusal}")
        return refusal

    async def _begin(self, place: PlaceOrder) -> OrderBegun:
        begun: OrderBegun = await workflow.execute_activity(
            "begin_order",
            place,
            result_type=OrderBegun,
            summary=f"begin order {place.placement.order_number} of seller {place.placement.seller_id}",
            **PATIENT,
        )
        return begun

    async def _undo(self, purchase: str, place: PlaceOrder, begun: list[OrderBegun]) -> None:
        """Cancel an order that was begun, give back the stock of one that was not."""
        number = place.placement.order_number
        if any(each.order_number == number and each.taken for each in begun):
            await workflow.execute_activity(
                "withdraw_order", place, summary=f"give back the stock of {number}, which was never begun", **PATIENT
            )
            return
        cancel = Cancel(actor=Actor.SYSTEM, id=f"{purchase}/{number}/cancel", reason=SystemReason.PURCHASE_FAILED.value)
        told = f"cancel order {number}: the purchase cannot be completed"
        refusal = await command_order(number, "cancel", cancel, told)
        if refusal is not None:
            workflow.logger.error("purchase %s: order %s could not be cancelled: %s", purchase, number, refusal)

    def _show(self, number: str, orders: tuple[PlaceOrder, ...], state: str) -> None:
        rows = [
            f"- {each.placement.order_number}: seller {each.placement.seller_id}, {len(each.placement.lines)} items"
            for each in orders
        ]
        at = format_instant(workflow.now())
        workflow.set_current_details("\n".join([f"### {number}: {state}", "", *rows, "", f"As of {at}."]))


def _number(place: PlacePurchase) -> str:
    return place.purchase.purchase_number


def _invalid(errors: str) -> Refusal:
    return refuse(RefusalCode.INVALID_PLACEMENT, "P2", errors=errors)
