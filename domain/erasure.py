"""What is left of an order once its retention period has ended: everything but personal data.

Policy: A7.
"""

from datetime import datetime

from domain.order import Order

ERASED = "erased"


def erased(order: Order, at: datetime) -> Order:
    """Return the order without names, addresses, contact data and whatever people wrote; numbers, amounts and dates stay.

    The record that is written next takes the place of the one in the store, so that the data is gone from there too.
    """
    buyer = order.buyer.model_copy(update={"name": ERASED, "email": "erased@erased.invalid", "phone": None})
    blank = dict.fromkeys(("recipient", "line1", "city", "postal_code"), ERASED)
    address = order.address.model_copy(update={**blank, "line2": None, "region": None})
    no_note = {"note": None}
    no_answer = {"note": None, "answer": None}
    return order.with_(
        buyer=buyer,
        address=address,
        business=None,
        request=order.request and order.request.model_copy(update=no_answer),
        cancellation=order.cancellation and order.cancellation.model_copy(update=no_note),
        reductions=tuple(each.model_copy(update={"consent": ERASED}) for each in order.reductions),
        refunds=tuple(each.model_copy(update={"memo": None, "consent": None}) for each in order.refunds),
        cases=tuple(each.model_copy(update=no_answer) for each in order.cases),
        messages=tuple(each.model_copy(update={"text": None}) for each in order.messages),
        rating=order.rating and order.rating.model_copy(update={"comment": None}),
        review=order.review and order.review.model_copy(update={"reason": ERASED}),
        erased_at=at,
    )
