"""The commands of an order: their forms on the wire, one model each.

A command is a JSON object with `actor`, an idempotency `id`, `requested_at` (the order's own clock when the person asked)
and the fields of its model. Every one is sent as an Update or as a Signal of the same name.
"""

import hashlib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from domain.base import (
    CardToken,
    Code,
    Filled500,
    Form,
    Instant,
    Line60,
    Line500,
    Minor,
    Money,
    Quantity,
    Sha256,
    Text1000,
    read_form,
)
from domain.message import Template, Topic
from domain.order import Actor, Address
from domain.reasons import BuyerReason, ParcelReason, ReturnReason, SellerReason
from domain.refund import DeductionKind, RefundReason

MAX_COMMAND_BYTES = 65_536
"""Largest command on the wire."""


class Command(Form):
    """What every command carries; without `id` the engine gives one, without `requested_at` the workflow's clock judges."""

    actor: Actor
    id: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[\x21-\x7e]+$")] | None = None
    requested_at: Instant | None = None


class LineEdit(Form):
    """A new quantity for one item, 0 to drop it; `unit_price` is refused unless it is the order's own (E2)."""

    sku: Code
    quantity: Annotated[int, Field(strict=True, ge=0, le=999)]
    unit_price: Money | None = None


class ShipLine(Form):
    """Units of one item in a parcel."""

    sku: Code
    quantity: Quantity


class RefundLineForm(Form):
    """What of one item is refunded: `quantity` units at their price, or `amount` of its price (R2).

    Without either it is all that is left of the item. With `with_shipping` the units' share of the shipping fee goes back too.
    """

    sku: Code
    quantity: Quantity | None = None
    amount: Money | None = None
    with_shipping: bool = False

    @model_validator(mode="after")
    def _share_of_units(self) -> Self:
        if self.amount is not None and self.with_shipping:
            raise ValueError("with_shipping goes with units; give an amount of the shipping fee in `shipping`")
        return self


class DeductionForm(Form):
    """One explicit deduction from a refund (R4)."""

    kind: DeductionKind
    amount: Money


def _each_sku_once(lines: Sequence[LineEdit | ShipLine | RefundLineForm]) -> None:
    seen: set[str] = set()
    for line in lines:
        if line.sku in seen:
            raise ValueError(f"lines: {line.sku} is named twice; name each item once")
        seen.add(line.sku)


class Edit(Command):
    """The buyer changes quantities, the shipping address or the shipping option (E1)."""

    lines: Annotated[tuple[LineEdit, ...], Field(max_length=50)] = ()
    shipping_address: Address | None = None
    shipping_option: Code | None = None

    @model_validator(mode="after")
    def _lines_once(self) -> Self:
        _each_sku_once(self.lines)
        return self


class Cancel(Command):
    """The buyer cancels alone (C1), or the seller with a reason code of the marketplace's list (C5).

    The marketplace itself cancels with `purchase_failed`, where another order of the same purchase cannot be had (P2).
    """

    reason: Code | None = None
    note: Line500 | None = None


class RequestCancellation(Command):
    """The buyer asks officially to cancel after the cancel window (C3); within it the order is cancelled at once (C2).

    After the shipment it asks for a cancellation of everything shipped, or of the items of `lines` (A1).
    """

    reason: BuyerReason = BuyerReason.OTHER
    note: Line500 | None = None
    lines: Annotated[tuple[ShipLine, ...], Field(max_length=50)] = ()

    @model_validator(mode="after")
    def _lines_once(self) -> Self:
        _each_sku_once(self.lines)
        return self


class AcceptCancellation(Command):
    """The seller accepts the buyer's request (C4)."""


class DeclineCancellation(Command):
    """The seller declines the buyer's request, before shipment (C4) or after it (A1, with the case's id if there are several)."""

    case_id: Code | None = None
    note: Line500 | None = None


class Ship(Command):
    """The seller confirms a shipment; without `lines` everything that is left (S1).

    With `expected_address`, the digest of the address that a combined parcel goes to, an order with another one is refused (S6).
    """

    carrier: Line60
    tracking_number: Code
    lines: Annotated[tuple[ShipLine, ...], Field(max_length=50)] = ()
    expected_address: Sha256 | None = None

    @model_validator(mode="after")
    def _lines_once(self) -> Self:
        _each_sku_once(self.lines)
        return self


class Deliver(Command):
    """The carrier delivered one parcel, or all of them when `shipment_id` is left out."""

    shipment_id: Code | None = None


class ExtendEdit(Command):
    """The operator extends the edit window by `minutes`, counted from its end or from now if that is later (E6)."""

    minutes: Annotated[int, Field(strict=True, ge=1, le=1440)]


class PayAgain(Command):
    """The buyer gives another card after a decline, or where the hold is gone (G3); `points_minor` changes the points used."""

    card: CardToken
    points_minor: Minor | None = None


class FlagOversold(Command):
    """The marketplace tells the order that the seller's stock no longer covers it (P4)."""


class HoldForReview(Command):
    """The marketplace holds the order's details for review (G4)."""

    reason: Filled500


class ReleaseReview(Command):
    """The marketplace finds nothing wrong: the hold ends and the order goes on (G4)."""


class RefuseReview(Command):
    """The marketplace refuses the order after its review: it is cancelled (G4)."""

    note: Line500 | None = None


class CancelItems(Command):
    """Some items are cancelled before shipment (C11); `consent` says when and how the buyer agreed, for a seller's command."""

    lines: Annotated[tuple[ShipLine, ...], Field(min_length=1, max_length=50)]
    reason: SellerReason | None = None
    consent: Filled500 | None = None

    @model_validator(mode="after")
    def _lines_once(self) -> Self:
        _each_sku_once(self.lines)
        return self


class SendMessage(Command):
    """Buyer or seller writes to the other (V6): a text, or the marketplace's ready `template`.

    With `answer_by` silence until then cancels the order (C12).
    """

    text: Text1000 | None = None
    template: Template | None = None
    topic: Topic = Topic.GENERAL
    answer_by: Instant | None = None

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        if (self.text is None) == (self.template is None):
            raise ValueError("give either text or template")
        return self


class Rate(Command):
    """The buyer rates the seller, once per order (A8)."""

    stars: Annotated[int, Field(strict=True, ge=1, le=5)]
    comment: Text1000 | None = None


class RefundForm(Command):
    """Money goes back to the buyer (R1 to R7).

    Without `lines` and `shipping` it is all that is left of the order, or of the items of `case_id`. `shipping` is an amount
    of the shipping fee, spread over the named items or all. Units refunded as out of stock are no longer shipped (S8).
    """

    reason: RefundReason
    lines: Annotated[tuple[RefundLineForm, ...], Field(max_length=50)] = ()
    shipping: Money | None = None
    deductions: Annotated[tuple[DeductionForm, ...], Field(max_length=5)] = ()
    memo: Filled500 | None = None
    consent: Filled500 | None = None
    case_id: Code | None = None

    @model_validator(mode="after")
    def _lines_once(self) -> Self:
        _each_sku_once(self.lines)
        return self


class RetryRefund(Command):
    """A refund that failed at the provider is asked for once more (R6)."""

    refund_id: Code


WEBHOOK_SECONDS = 300
"""How far the time stamp of a webhook may be from the receiver's clock; that of Standard Webhooks and of Stripe."""


class WebhookFault(StrEnum):
    """Why a webhook is not believed."""

    FORGED = "forged"
    TOO_OLD = "too_old"


class PaymentEvent(Command):
    """The payment provider has hinted that a payment or refund moved; the provider itself is asked for the truth.

    One that came with a `fault` is the receiver's word of a webhook that it refused, for the order's history.
    """

    reference: Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[A-Za-z0-9._/-]+$")]
    event: Code
    fault: WebhookFault | None = None


class _OnItems(Command):
    """A case on the items named, on everything shipped without `lines`."""

    lines: Annotated[tuple[ShipLine, ...], Field(max_length=50)] = ()
    note: Line500 | None = None

    @model_validator(mode="after")
    def _lines_once(self) -> Self:
        _each_sku_once(self.lines)
        return self


class RequestReturn(_OnItems):
    """The buyer wants to send items back (A3)."""

    reason: ReturnReason = ReturnReason.NO_LONGER_WANTED


class ReportNotReceived(_OnItems):
    """The buyer reports that a parcel has not arrived (A6)."""


class ReturnToSender(_OnItems):
    """A parcel came back to the seller: undeliverable, refused or wrongly addressed (A4)."""

    reason: ParcelReason


class RecallParcel(_OnItems):
    """The carrier is asked to bring a parcel back (A5)."""


class OnCase(Command):
    """A step of one case; `case_id` may be left out where only one case fits."""

    case_id: Code | None = None
    note: Line500 | None = None


class AskToWait(OnCase):
    """The seller asks the buyer to wait for the parcel until a date (A6)."""

    until: Instant


COMMANDS: dict[str, type[Command]] = {
    "edit": Edit,
    "cancel": Cancel,
    "request_cancellation": RequestCancellation,
    "accept_cancellation": AcceptCancellation,
    "decline_cancellation": DeclineCancellation,
    "ship": Ship,
    "deliver": Deliver,
    "extend_edit": ExtendEdit,
    "pay_again": PayAgain,
    "flag_oversold": FlagOversold,
    "hold_for_review": HoldForReview,
    "release_review": ReleaseReview,
    "refuse_review": RefuseReview,
    "cancel_items": CancelItems,
    "send_message": SendMessage,
    "rate": Rate,
    "refund": RefundForm,
    "retry_refund": RetryRefund,
    "payment_event": PaymentEvent,
    "open_cancellation": OnCase,
    "approve_cancellation": OnCase,
    "deny_cancellation": OnCase,
    "request_return": RequestReturn,
    "authorize_return": OnCase,
    "decline_return": OnCase,
    "receive_return": OnCase,
    "return_to_sender": ReturnToSender,
    "recall_parcel": RecallParcel,
    "receive_parcel": OnCase,
    "report_not_received": ReportNotReceived,
    "send_trace": OnCase,
    "ask_to_wait": AskToWait,
    "open_claim": OnCase,
    "grant_claim": OnCase,
    "deny_claim": OnCase,
}
"""Every command by its name on the wire."""


_LATER_FIELDS: Mapping[str, tuple[str, ...]] = {
    "request_cancellation": ("lines",),
    "decline_cancellation": ("case_id",),
    "pay_again": ("points_minor",),
    "ship": ("expected_address",),
    "refund": ("consent",),
    "payment_event": ("fault",),
}
"""Fields that a command has not always had: they count only where they are given, so that an id is known for what it was."""


class UnreadableCommandError(ValueError):
    """The command cannot be read; the message names each field, its value and its limit."""


def parse_command(name: str, payload: object) -> Command:
    """Read a command from its decoded JSON; raises UnreadableCommandError with all errors at once, KeyError for an unknown name."""
    return read_form(COMMANDS[name], payload, "command", UnreadableCommandError, MAX_COMMAND_BYTES)


def digest(name: str, command: Command) -> str:
    """Return the SHA-256 of a command's content without its id and time stamp, by which a repeated id is compared."""
    unset = {field for field in _LATER_FIELDS.get(name, ()) if getattr(command, field) in (None, ())}
    content = command.model_dump_json(exclude={"id", "requested_at", *unset})
    return hashlib.sha256(f"{name}\n{content}".encode()).hexdigest()
