"""Every way in which an order is cancelled, as orders led there.

PYTEST_DONT_REWRITE: it asserts nothing.
"""

from collections.abc import Callable
from typing import Any

from domain_kit import (
    CARD_AND_POINTS,
    DAY,
    HOUR,
    NUMBER,
    PARCEL,
    T0,
    Scene,
    awaiting,
    declined,
    in_review,
    pending,
    unshipped,
)

Way = Callable[[], Scene]
FIRST = f"{NUMBER}/1/authorize"


def asked(placed: dict[str, Any] | None = None, **fields: Any) -> Scene:
    """Return an Unshipped order whose buyer asked officially to cancel, three hours after placement."""
    scene = unshipped(placed).at(T0 + 3 * HOUR)
    scene.send("request_cancellation", **fields)
    return scene


def by_buyer_pending() -> Scene:
    """The buyer cancels while the card is being authorised."""
    scene = pending()
    scene.send("cancel")
    return scene


def by_buyer() -> Scene:
    """The buyer cancels a verified order."""
    scene = unshipped()
    scene.send("cancel", reason="found_cheaper")
    return scene


def by_early_request() -> Scene:
    """The buyer files a request though it could have cancelled alone."""
    scene = unshipped()
    scene.send("request_cancellation")
    return scene


def by_seller() -> Scene:
    """The seller has no stock."""
    scene = unshipped()
    scene.send("cancel", "seller", reason="no_inventory")
    return scene


def by_acceptance() -> Scene:
    """The seller accepts the buyer's request."""
    scene = asked()
    scene.send("accept_cancellation", "seller")
    return scene


def by_processing_window() -> Scene:
    """The marketplace gives up waiting for a card."""
    return declined().at(T0 + 21 * DAY)


def by_confirm_window() -> Scene:
    """The marketplace gives up waiting for the seller."""
    return unshipped().at(T0 + 9 * DAY)


def after_failed_charge() -> Scene:
    """The seller cancels after the charge was not answered and the hold undone."""
    scene = unshipped().answer("lost")
    scene.send("ship", "seller", **PARCEL)
    scene.send("cancel", "seller", reason="general_adjustment")
    return scene


def by_store_payment_due() -> Scene:
    """The marketplace gives up waiting for the cash at the convenience store."""
    return awaiting().at(T0 + 3 * DAY).settle()


def by_buyer_unpaid() -> Scene:
    """The buyer cancels instead of paying at the convenience store."""
    scene = awaiting()
    scene.send("cancel")
    return scene


def by_buyer_paid_at_store() -> Scene:
    """The buyer cancels after paying at the convenience store."""
    scene = awaiting()
    scene.partners.pay_at_store(FIRST)
    scene.hear(FIRST).send("cancel")
    return scene


def by_buyer_with_points() -> Scene:
    """The buyer cancels what is paid with card and points."""
    scene = unshipped(CARD_AND_POINTS)
    scene.send("cancel")
    return scene


def by_refused_review() -> Scene:
    """The marketplace refuses the order after its review."""
    scene = in_review().settle()
    scene.send("refuse_review", "operator")
    return scene


def by_silence() -> Scene:
    """The buyer does not answer the seller in time."""
    scene = unshipped()
    scene.send("send_message", "seller", text="Which colour?", answer_by=(T0 + 2 * DAY).isoformat())
    return scene.at(T0 + 2 * DAY)


def by_unconfirmed_return() -> Scene:
    """The seller receives back what it had shipped without confirming."""
    scene = unshipped()
    scene.send("request_return")
    scene.send("authorize_return", "seller")
    scene.send("receive_return", "seller")
    return scene


def by_failed_purchase() -> Scene:
    """The marketplace takes the order back, for another order of the same purchase could not be placed."""
    scene = unshipped()
    scene.send("cancel", "system", reason="purchase_failed")
    return scene


WAYS: list[Way] = [
    by_buyer_pending,
    by_buyer,
    by_early_request,
    by_seller,
    by_acceptance,
    by_processing_window,
    by_confirm_window,
    after_failed_charge,
    by_store_payment_due,
    by_buyer_unpaid,
    by_buyer_paid_at_store,
    by_buyer_with_points,
    by_refused_review,
    by_silence,
    by_unconfirmed_return,
    by_failed_purchase,
]
