"""The durable shell of a combined parcel: look at all orders, then confirm and refund one after another (S6)."""

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from domain.base import Money, describe_errors
    from domain.commands import Command
    from domain.joint import JointRefusalCode, refuse_joint
    from domain.money import format_money
    from domain.parcel import (
        CheckedOrder,
        CommandAnswer,
        OrderCommand,
        Parcel,
        ParcelChecked,
        ParcelOrderResult,
        ParcelResult,
        refund_command,
        ship_command,
        wire_form,
    )
    from domain.refusals import Refusal
    from workflows.joint import PATIENT, read_input, unbroken
    from workflows.wire import NOTHING, as_error, update_id


@workflow.defn(name="parcel")
class ParcelWorkflow:
    """One combined parcel, `parcel-<id>`."""

    @workflow.run
    async def run(self, start: RawValue = NOTHING) -> ParcelResult:
        """Confirm each order of the parcel and refund what it saves; fails, with nothing changed, where they do not fit."""
        try:
            parcel = read_input(Parcel, start)
            if workflow.info().workflow_id != f"parcel-{parcel.parcel_id}":
                raise ValueError(f"parcel_id: {parcel.parcel_id} does not fit the workflow id")
        except ValueError as error:
            told = describe_errors(error) if isinstance(error, ValidationError) else str(error)
            raise as_error(refuse_joint(JointRefusalCode.INVALID_PARCEL, errors=told[:2000])) from None
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
        refusal = await self._command(
            order, "ship", ship_command(parcel, order), f"confirm order {number}: {parcel.tracking_number}"
        )
        if refusal is not None:
            return ParcelOrderResult(order_number=number, confirmed=False, refusal=refusal)
        if saved is None:
            return ParcelOrderResult(order_number=number, confirmed=True)
        amount = format_money(saved.amount_minor, saved.currency)
        refusal = await self._command(
            order, "refund", refund_command(parcel, order, saved), f"refund {amount} of order {number}"
        )
        if refusal is not None:
            # The buyer has been charged in full: somebody has to see to it.
            workflow.logger.error(
                "parcel %s: %s of order %s not refunded: %s", parcel.parcel_id, amount, number, refusal
            )
            return ParcelOrderResult(order_number=number, confirmed=True, refund_refusal=refusal)
        return ParcelOrderResult(order_number=number, confirmed=True, refunded_minor=saved.amount_minor)

    async def _command(self, order: CheckedOrder, name: str, command: Command, told: str) -> Refusal | None:
        known_as = update_id(name, command, command.id or "")
        sent = OrderCommand(order_number=order.order_number, name=name, payload=wire_form(command), update_id=known_as)
        answer: CommandAnswer = await workflow.execute_activity(
            "command_order", sent, result_type=CommandAnswer, summary=told, **PATIENT
        )
        return answer.refusal

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
