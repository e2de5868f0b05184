"""The durable shell of a combined parcel: look at all orders, then confirm and refund one after another (S6)."""

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from domain.base import Money
    from domain.joint import JointRefusalCode, refuse_joint
    from domain.money import format_money
    from domain.parcel import (
        CheckedOrder,
        Parcel,
        ParcelChecked,
        ParcelOrderResult,
        ParcelResult,
        refund_command,
        ship_command,
    )
    from domain.refusals import Refusal
    from workflows.joint import PATIENT, command_order, read_input, unbroken
    from workflows.wire import NOTHING, as_error


@workflow.defn(name="parcel")
class ParcelWorkflow:
    """One combined parcel, `parcel-<id>`."""

    @workflow.run
    async def run(self, start: RawValue = NOTHING) -> ParcelResult:
        """Confirm each order of the parcel and refund what it saves; fails, with nothing changed, where they do not fit."""
        parcel = read_input(Parcel, start, "parcel_id", lambda given: given.parcel_id, _invalid)
        return await unbroken(self._send(parcel))

    async def _send(self, parcel: Parcel) -> ParcelResult:
        found: ParcelChecked = await workflow.execute_activity(
            "check_parcel",
            parcel,
            result_type=ParcelChecked,
            summary=f"look at {len(parcel.orders)} orders",
            **PATIENT,
        )
        if found.errors:
            facts = {"parcel_id": parcel.parcel_id, "errors": "; ".join(found.errors)}
            raise as_error(refuse_joint(JointRefusalCode.NOT_COMBINABLE, **facts))
        saved = {each.order_number: each.saved for each in parcel.orders}
        done: list[ParcelOrderResult] = []
        for order in found.orders:
            self._show(parcel, found, done)
            done.append(await self._one(parcel, order, saved[order.order_number]))
        self._show(parcel, found, done)
        return ParcelResult(parcel_id=parcel.parcel_id, orders=tuple(done))

    async def _one(self, parcel: Parcel, order: CheckedOrder, saved: Money | None) -> ParcelOrderResult:
        number = order.order_number
        told = f"confirm order {number}: {parcel.tracking_number}"
        refusal = await command_order(number, "ship", ship_command(parcel, order), told)
        if refusal is not None:
            return ParcelOrderResult(order_number=number, confirmed=False, refusal=refusal)
        if saved is None:
            return ParcelOrderResult(order_number=number, confirmed=True)
        amount = format_money(saved.amount_minor, saved.currency)
        told = f"refund {amount} of order {number}"
        refusal = await command_order(number, "refund", refund_command(parcel, order, saved), told)
        if refusal is not None:
            # The buyer has been charged in full: somebody has to see to it.
            workflow.logger.error(
                "parcel %s: %s of order %s not refunded: %s", parcel.parcel_id, amount, number, refusal
            )
            return ParcelOrderResult(order_number=number, confirmed=True, refund_refusal=refusal)
        return ParcelOrderResult(order_number=number, confirmed=True, refunded_minor=saved.amount_minor)

    def _show(self, parcel: Parcel, found: ParcelChecked, done: list[ParcelOrderResult]) -> None:
        rows = [f"### {parcel.parcel_id}: {parcel.carrier} {parcel.tracking_number}", ""]
        for each in done:
            if each.refusal is not None:
                rows.append(f"- {each.order_number}: not confirmed, {each.refusal}")
            elif each.refund_refusal is not None:
                rows.append(
                    f"- **{each.order_number}: charged, but what it saved not refunded: {each.refund_refusal}**"
                )
            else:
                rows.append(f"- {each.order_number}: confirmed")
        rows += [f"- {each.order_number}: still to be confirmed" for each in found.orders[len(done) :]]
        workflow.set_current_details("\n".join(rows))


def _invalid(errors: str) -> Refusal:
    return refuse_joint(JointRefusalCode.INVALID_PARCEL, errors=errors)
