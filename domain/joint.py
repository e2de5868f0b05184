"""What a purchase across sellers (P2) and a combined parcel (S6) share: their refusals, and commands to single orders."""

from collections.abc import Mapping
from enum import StrEnum

from domain.base import Value, content_digest
from domain.commands import Command
from domain.order import Address
from domain.refusals import Refusal, RefusalText, worded


class OrderCommand(Value):
    """One command to one order: its form on the wire, and the id of the Update that carries it."""

    order_number: str
    name: str
    payload: Mapping[str, object]
    update_id: str


class CommandAnswer(Value):
    """How an order answered a command: `refusal` is None where it was carried out."""

    refusal: Refusal | None = None


def address_digest(address: Address) -> str:
    """Return the SHA-256 of an address, by which it is compared where it must not be shown (S6)."""
    return content_digest(address.model_dump(mode="json", exclude_none=True))


def wire_form(command: Command) -> dict[str, object]:
    """Return a command as it goes over the wire."""
    return command.model_dump(mode="json", exclude_none=True)


class JointRefusalCode(StrEnum):
    """The codes of refusals that belong to no single order."""

    PURCHASE_NUMBER_TAKEN = "PURCHASE_NUMBER_TAKEN"
    PARCEL_ID_TAKEN = "PARCEL_ID_TAKEN"
    NOT_COMBINABLE = "NOT_COMBINABLE"
    INVALID_PARCEL = "INVALID_PARCEL"


JOINT_REFUSALS: dict[JointRefusalCode, RefusalText] = {
    JointRefusalCode.PURCHASE_NUMBER_TAKEN: RefusalText(
        "purchase {number} exists already with other content", "make the purchase under a number of its own", "P2"
    ),
    JointRefusalCode.PARCEL_ID_TAKEN: RefusalText(
        "parcel {parcel_id} exists already with other content", "combine the orders under an id of its own", "S6"
    ),
    JointRefusalCode.NOT_COMBINABLE: RefusalText(
        "the orders of parcel {parcel_id} cannot travel together: {errors}; nothing was changed",
        "leave out the orders named, or confirm each shipment by itself",
        "S6",
    ),
    JointRefusalCode.INVALID_PARCEL: RefusalText(
        "the parcel cannot be combined: {errors}", "correct the fields named and send it again", "S6"
    ),
}


def refuse_joint(code: JointRefusalCode, **facts: object) -> Refusal:
    """Word the refusal `code` with the facts of the case."""
    return worded(code.value, JOINT_REFUSALS[code], **facts)
