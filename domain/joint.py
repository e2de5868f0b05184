"""The refusals of what spans several orders: a purchase across sellers (P2), a combined parcel (S6)."""

from enum import StrEnum

from domain.refusals import Refusal, RefusalText


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
    text = JOINT_REFUSALS[code]
    return Refusal(
        code=code.value,
        message=text.fact.format(**facts),
        remedy=text.remedy.format(**facts),
        rule=text.rule,
    )
