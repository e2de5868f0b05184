"""The reason codes of cancellations, returns and parcels that come back; those of refunds are in `domain/refund.py`."""

from enum import StrEnum


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
    """Why the marketplace cancels (G4, G6, G7, C8, C12, A3, P2)."""

    PAYMENT_UNVERIFIED = "payment_unverified"
    SHIPMENT_UNCONFIRMED = "shipment_unconfirmed"
    PAYMENT_EXPIRED = "payment_expired"
    REVIEW_REFUSED = "review_refused"
    NO_ANSWER = "no_answer"
    BUYER_RETURN_UNCONFIRMED = "buyer_return_unconfirmed"
    PURCHASE_FAILED = "purchase_failed"


class ReturnReason(StrEnum):
    """Why a buyer returns or reports a parcel (A3, A6)."""

    NO_LONGER_WANTED = "no_longer_wanted"
    DAMAGED = "damaged"
    NOT_AS_DESCRIBED = "not_as_described"
    WRONG_ITEM = "wrong_item"
    OTHER = "other"


class ParcelReason(StrEnum):
    """Why a parcel comes back (A4)."""

    UNDELIVERABLE = "undeliverable"
    REFUSED = "refused"
    WRONG_ADDRESS = "wrong_address"
