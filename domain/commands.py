"""The commands of an order: their forms on the wire, one model each.

A command is a JSON object with `actor`, an idempotency `id`, `requested_at` (the order's own clock when the person asked)
and the fields of its model. Every one is sent as an Update or as a Signal of the same name.
"""

import hashlib
import json
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from domain.base import CardToken, Code, Form, Instant, Line60, Line500, Money, Quantity
from domain.order import Actor, Address
from domain.policy import describe_errors

MAX_COMMAND_BYTES = 65_536
"""Largest command on the wire."""


class BuyerReason(StrEnum):
    """Why a buyer cancels or asks to cancel."""

    CHANGED_MIND = "changed_mind"
    ORDERED_BY_MISTAKE = "ordered_by_mistake"
    FOUND_CHEAPER = "found_cheaper"
    ARRIVES_TOO_LATE = "arrives_too_late"
    WRONG_ADDRESS = "wrong_address"
    OTHER = "other"


class SellerReason(StrEnum):
    """Why a seller cancels: the marketplace's own list (C5)."""

    NO_INVENTORY = "no_inventory"
    BUYER_CANCELLED = "buyer_cancelled"
    UNDELIVERABLE_ADDRESS = "undeliverable_address"
    PRICING_ERROR = "pricing_error"
    CUSTOMER_EXCHANGE = "customer_exchange"
    GENERAL_ADJUSTMENT = "general_adjustment"


class SystemReason(StrEnum):
    """Why the marketplace cancels by itself (G6, C8)."""

    PAYMENT_UNVERIFIED = "payment_unverified"
    SHIPMENT_UNCONFIRMED = "shipment_unconfirmed"


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


def _each_sku_once(lines: tuple[LineEdit, ...] | tuple[ShipLine, ...]) -> None:
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
    """The buyer cancels alone (C1), or the seller with a reason code of the marketplace's list (C5)."""

    reason: Code | None = None
    note: Line500 | None = None


class RequestCancellation(Command):
    """The buyer asks officially to cancel after the cancel window (C3); within it the order is cancelled at once (C2)."""

    reason: BuyerReason = BuyerReason.OTHER
    note: Line500 | None = None


class AcceptCancellation(Command):
    """The seller accepts the buyer's request (C4)."""


class DeclineCancellation(Command):
    """The seller declines the buyer's request (C4)."""

    note: Line500 | None = None


class Ship(Command):
    """The seller confirms a shipment; without `lines` everything that is left (S1)."""

    carrier: Line60
    tracking_number: Code
    lines: Annotated[tuple[ShipLine, ...], Field(max_length=50)] = ()

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
    """The buyer gives another card after a decline, or where the hold is gone (G3)."""

    card: CardToken


class FlagOversold(Command):
    """The marketplace tells the order that the seller's stock no longer covers it (P4)."""


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
}
"""Every command by its name on the wire."""


class UnreadableCommandError(ValueError):
    """The command cannot be read; the message names each field, its value and its limit."""


def parse_command(name: str, payload: object) -> Command:
    """Read a command from its decoded JSON; raises UnreadableCommandError with all errors at once, KeyError for an unknown name."""
    form = COMMANDS[name]
    try:
        return form.model_validate_json(json.dumps(payload))
    except ValidationError as error:
        raise UnreadableCommandError(describe_errors(error)) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise UnreadableCommandError(f"input: {error}") from None


def digest(name: str, command: Command) -> str:
    """Return the SHA-256 of a command's content without its id and time stamp, by which a repeated id is compared."""
    content = command.model_dump_json(exclude={"id", "requested_at"})
    return hashlib.sha256(f"{name}\n{content}".encode()).hexdigest()
