"""Every way in which the engine says no: code, fact, remedy, rule.

A refusal is a value, never an exception. The table below is the only place where a refusal is worded; `docs/lifecycle.md`
lists it.
"""

from typing import NamedTuple

from domain.base import Value
from domain.refusal_codes import RefusalCode


class Refusal(Value):
    """Why a command or placement was not carried out: `message` names fact, limit and remedy; `rule` its source."""

    code: str
    message: str
    remedy: str
    rule: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}; {self.remedy}. [{self.rule}]"


class RefusalText(NamedTuple):
    """The wording of one refusal: `fact` and `remedy` may name fields of the refused case."""

    fact: str
    remedy: str
    rule: str


_R = RefusalCode
REFUSALS: dict[RefusalCode, RefusalText] = {
    _R.INVALID_COMMAND: RefusalText(
        "the command could not be read: {errors}", "correct the fields named and send it again", "D3"
    ),
    _R.UNKNOWN_COMMAND: RefusalText("order {number} knows no command {name!r}", "use one of: {commands}", "D4"),
    _R.INVALID_PLACEMENT: RefusalText(
        "the order cannot be placed: {errors}", "correct the fields named and place it again", "P1"
    ),
    _R.ORDER_NUMBER_TAKEN: RefusalText(
        "order {number} exists already with other content", "place the order under a number of its own", "P3"
    ),
    _R.OUT_OF_STOCK: RefusalText(
        "order {number} needs more than there is: {short}", "lower the quantities or choose another item", "P4"
    ),
    _R.ORDER_REFUSED: RefusalText("order {number} was refused at placement", "place a new order", "P4"),
    _R.COMMAND_ID_REUSED: RefusalText(
        "command id {command_id} was used on order {number} for another command",
        "send a new command with an id of its own",
        "D3",
    ),
    _R.TOO_MANY_COMMANDS: RefusalText(
        "the {actor} has sent {most} commands to order {number}, and no more are taken",
        "contact the marketplace's operator",
        "D3",
    ),
    _R.ENGINE_ERROR: RefusalText(
        "the engine failed on this command for order {number}; nothing was changed",
        "tell the marketplace's operator; the order goes on",
        "D3",
    ),
    _R.NOT_ALLOWED: RefusalText("the {actor} may not send {name}", "it is sent by: {actors}", "D4"),
    _R.ORDER_PENDING: RefusalText(
        "order {number} is pending: payment is not verified", "wait until the order is unshipped", "G2"
    ),
    _R.ORDER_CANCELLED: RefusalText(
        "order {number} was cancelled at {closed_at}",
        "place a new order, or contact the marketplace's customer service",
        "C13",
    ),
    _R.ORDER_COMPLETED: RefusalText(
        "order {number} was completed at {closed_at}", "contact the marketplace's customer service", "A9"
    ),
    _R.ORDER_ENDED: RefusalText(
        "the workflow of order {number} was ended from outside at {closed_at}, and nobody looks after it any more",
        "contact the marketplace's operator",
        "D3",
    ),
    _R.ALREADY_SHIPPED: RefusalText(
        "a shipment of order {number} was confirmed at {confirmed_at}",
        "it can no longer be cancelled or changed; the buyer can return it once it has arrived",
        "C5",
    ),
    _R.NOTHING_TO_SHIP: RefusalText(
        "everything in order {number} has been confirmed, the last at {confirmed_at}",
        "say `deliver` when it arrives, or `refund` what is not to be sent",
        "S1",
    ),
    _R.NOT_SHIPPED: RefusalText(
        "no shipment of order {number} is on its way",
        "come back once the shipment is confirmed; until then the order can be cancelled",
        "S1",
    ),
    _R.ALREADY_DELIVERED: RefusalText(
        "order {number} was delivered at {delivered_at}", "a buyer who no longer wants it returns it", "A9"
    ),
    _R.EDIT_WINDOW_CLOSED: RefusalText(
        "order {number} could be edited until {edit_until}", "cancel it and place a new order", "E4"
    ),
    _R.NOT_EDITABLE: RefusalText(
        "order {number} is fulfilled by the marketplace and cannot be edited", "cancel it and place a new order", "E5"
    ),
    _R.CONTENTS_FIXED: RefusalText(
        "the {actor} cannot change the contents of an order",
        "ask the buyer to edit in time, or to cancel and order anew",
        "E3",
    ),
    _R.NEW_ITEM: RefusalText(
        "order {number} has no item {sku}, and none can be added", "place another order for it", "E2"
    ),
    _R.PRICE_FIXED: RefusalText("the price of {sku} in order {number} is fixed", "place another order", "E2"),
    _R.NOTHING_LEFT: RefusalText("this would leave no item in order {number}", "cancel the order instead", "E1"),
    _R.NOTHING_CHANGED: RefusalText(
        "the edit changes nothing in order {number}", "name a quantity, address or option that differs", "E1"
    ),
    _R.CART_LIMIT: RefusalText(
        "the edit would take order {number} over a cart's limit: {errors}",
        "lower the quantities, or place several orders",
        "P1",
    ),
    _R.UNKNOWN_SHIPPING_OPTION: RefusalText(
        "order {number} has no shipping option {option!r}", "use one of: {options}", "E1"
    ),
    _R.EXTENSION_TOO_LONG: RefusalText(
        "the edit window of order {number} can be extended to {latest} at most", "extend it by less", "E6"
    ),
    _R.CANCEL_WINDOW_CLOSED: RefusalText(
        "order {number} could be cancelled by the buyer until {cancel_until} ({cancel_window} after placement)",
        "file a cancellation request instead",
        "C3",
    ),
    _R.REQUEST_ALREADY_OPEN: RefusalText(
        "a cancellation request for order {number} is open since {requested_at}", "wait for the seller's answer", "C3"
    ),
    _R.NO_OPEN_REQUEST: RefusalText(
        "order {number} has no open cancellation request",
        "cancel it with a reason of your own, or leave it as it is",
        "C4",
    ),
    _R.REASON_REQUIRED: RefusalText("a seller's cancellation needs a reason code", "give one of: {reasons}", "C5"),
    _R.CONFIRM_WINDOW_CLOSED: RefusalText(
        "the shipment of order {number} could be confirmed until {confirm_by}",
        "ask the buyer to place a new order",
        "C8",
    ),
    _R.QUANTITY_EXCEEDED: RefusalText(
        "order {number} has {left} unshipped of {sku}, not {asked}", "name no more than is left", "S1"
    ),
    _R.UNKNOWN_SHIPMENT: RefusalText(
        "order {number} has no undelivered {which}", "name one that is under way: {shipments}", "A7"
    ),
    _R.PAYMENT_DECLINED: RefusalText(
        "the payment of order {number} was declined ({decline_code}), so the command was not carried out",
        "the buyer can give another card",
        "G3",
    ),
    _R.PAYMENT_UNANSWERED: RefusalText(
        "the payment provider gave no answer in time for order {number}; the command was not carried out, and whatever"
        " the provider did is undone",
        "try again in a few minutes",
        "S2",
    ),
    _R.PAYMENT_IN_PROGRESS: RefusalText(
        "a payment of order {number} is being authorised", "wait until the provider has answered", "G3"
    ),
    _R.PAYMENT_NOT_NEEDED: RefusalText(
        "the payment of order {number} is {payment}", "nothing more is to be paid", "G3"
    ),
    _R.PAID_IN_CASH: RefusalText(
        "order {number} has been paid in cash at a convenience store, so its total cannot be changed",
        "cancel it and place a new order; what was paid goes back",
        "E7",
    ),
    _R.UNKNOWN_PAYMENT: RefusalText(
        "order {number} has neither a payment nor a refund {reference}", "check the reference with the provider", "R6"
    ),
    _R.WEBHOOK_FORGED: RefusalText(
        "a webhook{about} is not signed with the secret of the payment provider and this receiver",
        "nothing was done upon it: give both the same secret, and if they have it, find out who else sends webhooks",
        "P5",
    ),
    _R.WEBHOOK_TOO_OLD: RefusalText(
        "a webhook{about} was signed too long ago or ahead of the clock; {most} s at most are allowed",
        "nothing was done upon it: sign each delivery when it is sent, and see that both clocks are right",
        "P5",
    ),
    _R.WEBHOOK_UNREADABLE: RefusalText(
        "a webhook of the payment provider cannot be read: {errors}",
        "send JSON with type, and data with reference and order_number (503-1234567-1234567)",
        "P5",
    ),
    _R.WEBHOOK_REPEATED: RefusalText(
        "event {event_id} was told before, and nothing is done twice upon it",
        "a provider that repeats events without end has not got its answers: look at the receiver",
        "R6",
    ),
    _R.POINTS_EXCEED: RefusalText(
        "{points} points would pay all of order {number}, whose total is {total}",
        "use fewer points than the total",
        "P5",
    ),
    _R.METHOD_NOT_TAKEN: RefusalText(
        "the marketplace of order {number} does not take {method}", "pay with one of: {methods}", "P5"
    ),
    _R.NOT_IN_REVIEW: RefusalText("order {number} is not held for review", "hold it first, or leave it", "G4"),
    _R.ALREADY_IN_REVIEW: RefusalText(
        "order {number} is held for review since {since}", "release it or refuse it", "G4"
    ),
    _R.REVIEW_LIMIT: RefusalText(
        "the edit would lift order {number} above {limit}, beyond which an order is reviewed when it is placed",
        "edit it less, or cancel it and place a new order",
        "G4",
    ),
    _R.ALREADY_VERIFIED: RefusalText(
        "order {number} was verified at {verified_at}, and only a pending order is held for review",
        "ask the seller to cancel it, if it must not be shipped",
        "G4",
    ),
    _R.CHARGE_IN_DOUBT: RefusalText(
        "a charge of order {number} was asked for and not answered, so its total cannot be changed now",
        "confirm the shipment of what there is and refund the rest, or cancel the order",
        "S2",
    ),
    _R.CONSENT_REQUIRED: RefusalText(
        "the {actor} cancels items of order {number} only with the buyer's consent",
        "say in `consent` when and how the buyer agreed",
        "C11",
    ),
    _R.NOT_CHARGED: RefusalText(
        "nothing of order {number} has been charged: no shipment is confirmed", "cancel it or its items instead", "R1"
    ),
    _R.CURRENCY_MISMATCH: RefusalText(
        "{field} is in {given}; order {number} was paid in {currency}", "give every amount in {currency}", "R2"
    ),
    _R.UNKNOWN_ITEM: RefusalText("order {number} has no item {sku}", "its items are: {skus}", "R2"),
    _R.REFUND_EXCEEDS: RefusalText(
        "order {number} has {left} left to refund of {what}, not {asked}", "refund no more than is left", "R2"
    ),
    _R.NOTHING_TO_REFUND: RefusalText(
        "nothing would go back to the buyer of order {number}: {lines} less {deducted} of deductions",
        "refund more, or deduct less",
        "R4",
    ),
    _R.REFUND_LIMIT: RefusalText(
        "order {number} has had {most} refunds, and no more are taken",
        "contact the marketplace's operator",
        "R2",
    ),
    _R.ALREADY_REFUNDED: RefusalText(
        "{what} of order {number} has been refunded in full already", "nothing is left to refund of it", "R2"
    ),
    _R.UNKNOWN_REFUND: RefusalText("order {number} has no refund {refund_id}", "its refunds are: {refunds}", "R6"),
    _R.REFUND_NOT_FAILED: RefusalText(
        "refund {refund_id} of order {number} is {status}", "only a failed refund is tried again", "R6"
    ),
    _R.NO_SUCH_CASE: RefusalText(
        "order {number} has no {which} that {name} applies to",
        "look at its cases and their states; open ones: {cases}",
        "A1",
    ),
    _R.CASE_NOT_OPEN_TO_THIS: RefusalText(
        "case {case_id} of order {number} ({kind}) is {status}, and {name} does not apply to it",
        "the steps open to it: {names}",
        "A1",
    ),
    _R.SEVERAL_CASES: RefusalText(
        "{name} applies to several cases of order {number}: {cases}", "name one of them in `case_id`", "A1"
    ),
    _R.CASE_QUANTITY: RefusalText(
        "of {sku} in order {number}, {left} can be put in a new case, not {asked}",
        "ask for no more than was shipped and is neither refunded nor in another open case",
        "A1",
    ),
    _R.NOT_IN_CASE: RefusalText(
        "case {case_id} of order {number} is about {about} of {sku}, not about {asked}",
        "refund what is not of the case without naming it",
        "R2",
    ),
    _R.CASE_LIMIT: RefusalText(
        "order {number} has had {most} cases, and no more are taken", "contact the marketplace's customer service", "A1"
    ),
    _R.RETURN_WINDOW_CLOSED: RefusalText(
        "order {number} could be returned until {return_until}",
        "contact the marketplace's customer service",
        "A9",
    ),
    _R.INSTANT_OUT_OF_RANGE: RefusalText(
        "{field} is {given}; order {number} allows from {earliest} to {latest}", "choose a date between these", "C12"
    ),
    _R.NO_TIME_TO_ANSWER: RefusalText(
        "order {number} cannot be cancelled for want of an answer: {why}",
        "write without `answer_by`; the buyer can ask to cancel",
        "C12",
    ),
    _R.MESSAGE_LIMIT: RefusalText(
        "order {number} keeps {most} messages of the {actor}, and no more are taken",
        "contact the marketplace's customer service",
        "V6",
    ),
    _R.TEMPLATE_NOT_OFFERED: RefusalText(
        "{template} is not offered to the {actor} on order {number} now",
        "it is offered to the seller of an unshipped order whose buyer has written that it wishes to cancel; write a text"
        " instead",
        "C6",
    ),
    _R.ALREADY_RATED: RefusalText(
        "the buyer of order {number} rated the seller at {rated_at}", "a seller is rated once per order", "A8"
    ),
    _R.RATING_NOT_OPEN: RefusalText(
        "order {number} was cancelled by the {actor} ({reason})",
        "a cancelled order is rated where the seller had caused its cancellation",
        "C13",
    ),
    _R.ADDRESS_CHANGED: RefusalText(
        "order {number} goes to another address than the parcel that it was to travel in",
        "take it out of that parcel, and confirm it by itself to the address on the order",
        "S6",
    ),
}


def refuse(code: RefusalCode, rule: str | None = None, **facts: object) -> Refusal:
    """Word the refusal `code` with the facts of the case; `rule` replaces the table's rule where another one applies."""
    return worded(code.value, REFUSALS[code], rule, **facts)


def worded(code: str, text: RefusalText, rule: str | None = None, /, **facts: object) -> Refusal:
    """Return the refusal that `text` words with the facts of the case, for the codes of whatever table."""
    message, remedy = (each.format(**facts) for each in (text.fact, text.remedy))
    return Refusal(code=code, message=message, remedy=remedy, rule=rule or text.rule)
