"""The refusals of an order's documents: the buyer's receipt (D2) and the packing slip (D5)."""

from enum import StrEnum

from domain.refusals import Refusal, RefusalText, worded


class DocumentRefusalCode(StrEnum):
    """The codes of documents that cannot be issued."""

    DOCUMENT_LANGUAGE = "DOCUMENT_LANGUAGE"
    DOCUMENT_ERASED = "DOCUMENT_ERASED"
    RECEIPT_HIDDEN = "RECEIPT_HIDDEN"
    RECEIPT_TOO_EARLY = "RECEIPT_TOO_EARLY"
    NOTHING_TO_RECEIPT = "NOTHING_TO_RECEIPT"
    PACKING_SLIP_HIDDEN = "PACKING_SLIP_HIDDEN"
    PACKING_SLIP_TOO_EARLY = "PACKING_SLIP_TOO_EARLY"
    NOTHING_TO_PACK = "NOTHING_TO_PACK"


_D = DocumentRefusalCode
DOCUMENT_REFUSALS: dict[DocumentRefusalCode, RefusalText] = {
    _D.DOCUMENT_LANGUAGE: RefusalText(
        "there are no documents in language {language!r}", "use one of: {languages}", "D1"
    ),
    _D.DOCUMENT_ERASED: RefusalText(
        "the personal data of order {number} has been erased; a {document} can be issued only until then",
        "use a copy that was issued before",
        "A7",
    ),
    _D.RECEIPT_HIDDEN: RefusalText(
        "this view of order {number} hides how it was paid; a receipt is for its buyer alone",
        "ask for it with the buyer's or the operator's view",
        "P5",
    ),
    _D.RECEIPT_TOO_EARLY: RefusalText(
        "order {number} has not been charged; a receipt is issued only for a charge",
        "ask again once a shipment is confirmed",
        "D2",
    ),
    _D.NOTHING_TO_RECEIPT: RefusalText(
        "order {number} was {state} and never charged; a receipt is issued only for a charge",
        "there is nothing to receipt, and never will be",
        "D2",
    ),
    _D.PACKING_SLIP_HIDDEN: RefusalText(
        "this view of order {number} hides where it goes; a packing slip needs the address",
        "ask for it with the seller's or the operator's view",
        "D5",
    ),
    _D.PACKING_SLIP_TOO_EARLY: RefusalText(
        "order {number} is pending; its address is shown only once payment and details are verified",
        "print the packing slip then",
        "G1",
    ),
    _D.NOTHING_TO_PACK: RefusalText(
        "order {number} was {state}; only what is to be shipped has a packing slip", "do not ship it", "D5"
    ),
}


def refuse_document(code: DocumentRefusalCode, **facts: object) -> Refusal:
    """Word the refusal `code` with the facts of the case."""
    return worded(code.value, DOCUMENT_REFUSALS[code], **facts)
