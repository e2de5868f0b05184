"""A Stripe account in memory: payment intents, charges and refunds, as strict as Stripe's documentation says.

It knows manual capture, cancellation, lapse, konbini and refunds. Its search finds nothing until `catch_up`, as Stripe's may
for a minute. Amounts are in Stripe's units.

PYTEST_DONT_REWRITE: its assertions are about the tests that use it.
"""

import re
import time
from itertools import count
from typing import Any

HOLD_SECONDS = 7 * 86400
Json = dict[str, Any]

PAYMENT_METHODS: dict[str, str | None] = {
    "pm_card_visa": None,
    "pm_card_chargeDeclined": None,
    "pm_card_visa_chargeDeclinedInsufficientFunds": None,
    "pm_card_authenticationRequired": None,
    "pm_card_pendingRefund": None,
    "pm_saved": "cus_buyer",
    "pm_konbini": None,
}
"""The payment methods that exist, with the customer each is attached to."""
DECLINES = {
    "pm_card_chargeDeclined": ("card_declined", "generic_decline"),
    "pm_card_visa_chargeDeclinedInsufficientFunds": ("card_declined", "insufficient_funds"),
    "pm_card_authenticationRequired": ("authentication_required", None),
}


class Refused(Exception):  # noqa: N818 - an answer, not a mistake
    """An error answer."""

    def __init__(self, status: int, message: str, *, kind: str = "invalid_request_error", **details: object) -> None:
        super().__init__(message)
        self.status, self.body = status, {"error": {"type": kind, "message": message, **details}}


class StripeAccount:
    """The account's objects, what Stripe's operations (`do_…`) make of them, and the switches of the tests."""

    def __init__(self) -> None:
        self.intents: dict[str, Json] = {}
        self.charges: dict[str, Json] = {}
        self.refunds: dict[str, Json] = {}
        self._searchable: set[str] = set()
        self._ids = count(1)

    # What the outside world does.

    def catch_up(self) -> None:
        """Let the search find everything that exists by now."""
        self._searchable = set(self.intents)

    def lapse(self, reference: str) -> None:
        """Let the hold of a reference lapse."""
        intent = self.named(reference)
        intent |= {"status": "canceled", "cancellation_reason": "automatic", "amount_capturable": 0}

    def pay_at_till(self, reference: str) -> None:
        """Pay a konbini payment."""
        intent = self.named(reference)
        assert intent["status"] == "requires_action", f"{reference} is {intent['status']}"
        charge = self._charge(intent, captured=intent["amount"])
        intent |= {"status": "succeeded", "amount_received": intent["amount"], "latest_charge": charge["id"]}
        intent["next_action"] = None

    def expire(self, reference: str) -> None:
        """Let a konbini payment pass its due date."""
        problem = {"type": "invalid_request_error", "code": "payment_intent_payment_attempt_expired"}
        self.named(reference).update(status="requires_payment_method", last_payment_error=problem, next_action=None)

    def settle(self, refund_reference: str, status: str, reason: str | None = None) -> None:
        """End a refund: succeeded, failed or canceled."""
        names = ("reference", "cash_return")
        refund = next(
            each for each in self.refunds.values() if refund_reference in [each["metadata"].get(name) for name in names]
        )
        failed = status in ("failed", "canceled")
        if failed and refund["status"] not in ("failed", "canceled"):
            self.charges[refund["charge"]]["amount_refunded"] -= refund["amount"]
        refund |= {"status": status, "failure_reason": (reason or "unknown") if failed else None}

    def named(self, reference: str) -> Json:
        """Return the one PaymentIntent of a reference."""
        found = [each for each in self.intents.values() if each["metadata"].get("reference") == reference]
        assert len(found) == 1, f"{len(found)} payment intents for {reference}"
        return found[0]

    def money(self, order_number: str) -> tuple[int, int, int]:
        """Return what is held, charged and paid back of an order, in Stripe's units."""
        intents = [each for each in self.intents.values() if each["transfer_group"] == order_number]
        ids = {each["id"] for each in intents}
        refunds = [each for each in self.refunds.values() if each["payment_intent"] in ids]
        returned = sum(each["amount"] for each in refunds if each["status"] not in ("failed", "canceled"))
        held = sum(each["amount_capturable"] for each in intents)
        return held, sum(each["amount_received"] for each in intents) - returned, returned

    # PaymentIntents.

    def do_create(self, parameters: Json) -> Json:
        """Open a PaymentIntent."""
        identity = f"pi_{next(self._ids)}"
        intent: Json = {
            "id": identity,
            "object": "payment_intent",
            "created": int(time.time()),
            "status": "requires_payment_method",
            "amount_capturable": 0,
            "amount_received": 0,
            "cancellation_reason": None,
            "customer": None,
            "last_payment_error": None,
            "latest_charge": None,
            "next_action": None,
            "payment_method": None,
            "metadata": {},
        }
        self.intents[identity] = intent
        return self.do_update(identity, parameters)

    def do_retrieve(self, intent_id: str, parameters: Json) -> Json:
        """Return a PaymentIntent."""
        if intent_id not in self.intents:
            raise Refused(404, f"No such payment_intent: '{intent_id}'", code="resource_missing", param="intent")
        intent = dict(self.intents[intent_id])
        if "latest_charge" in parameters.get("expand", []) and intent["latest_charge"]:
            intent["latest_charge"] = self.charges[intent["latest_charge"]]
        return intent

    def do_update(self, intent_id: str, parameters: Json) -> Json:
        """Change a PaymentIntent that is not confirmed, or its metadata."""
        intent = self.intents[intent_id]
        money = set(parameters) - {"metadata", "expand"}
        if money:
            self._expect(intent, "requires_payment_method", "requires_confirmation")
        types = parameters.pop("allowed_payment_method_types", None)
        data = parameters.pop("payment_method_data", None)
        intent["metadata"] = {**intent["metadata"], **parameters.pop("metadata", {})}
        intent |= parameters | ({"amount": int(parameters["amount"])} if "amount" in parameters else {})
        intent |= {"payment_method_types": types} if types else {}
        if data:
            missing = [name for name in ("name", "email") if name not in data["billing_details"]]
            if missing:
                raise Refused(400, "billing details are missing", code="parameter_missing", param=missing[0])
            intent["payment_method"] = "pm_konbini"
        method = intent["payment_method"]
        if method and "konbini" in intent["payment_method_types"] and intent["currency"] != "jpy":
            raise Refused(400, "konbini takes jpy only", param="currency")
        if method and method not in PAYMENT_METHODS:
            raise Refused(400, f"No such PaymentMethod: '{method}'", code="resource_missing", param="payment_method")
        if method and PAYMENT_METHODS[method] != intent["customer"]:
            raise Refused(400, "The PaymentMethod belongs to a Customer; give it in `customer`", param="payment_method")
        if method and intent["status"] == "requires_payment_method":
            intent["status"] = "requires_confirmation"
        return intent

    def do_confirm(self, intent_id: str, parameters: Json) -> Json:
        """Try to pay."""
        intent = self.intents[intent_id]
        self._expect(intent, "requires_confirmation")
        method = intent["payment_method"]
        if "konbini" in intent["payment_method_types"]:
            assert intent["capture_method"] == "automatic", "konbini cannot be captured by hand"
            due_at = intent.get("payment_method_options", {}).get("konbini", {}).get("expires_at")
            codes = {"payment_code": "113423", "confirmation_number": f"{next(self._ids):011}"}
            stores = {"familymart": codes, "lawson": {**codes, "payment_code": "700400"}}
            details = {"expires_at": int(due_at or time.time() + 3 * 86400), "stores": stores}
            action = {"type": "konbini_display_details", "konbini_display_details": details}
            intent |= {"status": "requires_action", "next_action": action}
            return self.do_retrieve(intent_id, parameters)
        if method == "pm_card_authenticationRequired" and parameters.get("off_session") != "true":
            intent |= {"status": "requires_action", "next_action": {"type": "use_stripe_sdk"}}
            return intent
        charge = self._charge(intent, captured=0)
        intent["latest_charge"] = charge["id"]
        if method in DECLINES:
            code, decline_code = DECLINES[method]
            problem = {"type": "card_error", "code": code, "decline_code": decline_code, "message": "declined"}
            charge |= {"status": "failed", "paid": False}
            intent |= {"status": "requires_payment_method", "payment_method": None, "last_payment_error": problem}
            raise Refused(
                402, "declined", kind="card_error", code=code, decline_code=decline_code, payment_intent=intent
            )
        intent |= {"status": "requires_capture", "amount_capturable": intent["amount"]}
        return self.do_retrieve(intent_id, parameters)

    def _charge(self, intent: Json, captured: int) -> Json:
        charge: Json = {
            "id": f"ch_{next(self._ids)}",
            "object": "charge",
            "created": int(time.time()),
            "status": "succeeded",
            "paid": True,
            "amount": intent["amount"],
            "amount_captured": captured,
            "amount_refunded": 0,
            "payment_intent": intent["id"],
            "payment_method": intent["payment_method"],
            "payment_method_details": {"card": {"capture_before": int(time.time()) + HOLD_SECONDS}},
            "transfer_group": intent["transfer_group"],
            "metadata": dict(intent["metadata"]),
        }
        self.charges[charge["id"]] = charge
        return charge

    def do_capture(self, intent_id: str, parameters: Json) -> Json:
        """Charge a hold."""
        intent = self.intents[intent_id]
        self._expect(intent, "requires_capture")
        amount = int(parameters.get("amount_to_capture") or intent["amount"])
        if amount > intent["amount_capturable"]:
            raise Refused(400, "more than can be captured", code="amount_too_large", param="amount_to_capture")
        self.charges[intent["latest_charge"]]["amount_captured"] = amount
        intent |= {"status": "succeeded", "amount_received": amount, "amount_capturable": 0}
        return intent

    def do_cancel(self, intent_id: str, parameters: Json) -> Json:
        """Release a hold, or give a payment up."""
        intent = self.intents[intent_id]
        self._expect(intent, "requires_payment_method", "requires_confirmation", "requires_action", "requires_capture")
        reason = parameters.get("cancellation_reason")
        intent |= {"status": "canceled", "cancellation_reason": reason, "amount_capturable": 0, "next_action": None}
        return self.do_retrieve(intent_id, parameters)

    def _expect(self, intent: Json, *states: str) -> None:
        if intent["status"] not in states:
            message = f"This PaymentIntent has a status of {intent['status']}"
            raise Refused(400, message, code="payment_intent_unexpected_state", payment_intent=intent)

    def do_search(self, parameters: Json) -> Json:
        """Find a PaymentIntent by its reference, among those that are searchable by now."""
        match = re.fullmatch(r"metadata\['reference'\]:'([^']+)'", parameters["query"])
        assert match, parameters["query"]
        found = [
            self.intents[each] for each in self._searchable if self.intents[each]["metadata"]["reference"] == match[1]
        ]
        return {"object": "search_result", "url": "/v1/payment_intents/search", "data": found, "has_more": False}

    # What belongs to them.

    def do_charges(self, parameters: Json) -> Json:
        """List the charges of a transfer group."""
        return _page("charges", self.charges, parameters, "transfer_group")

    def do_refunds(self, parameters: Json) -> Json:
        """List the refunds of a PaymentIntent or a charge."""
        name = "charge" if "charge" in parameters else "payment_intent"
        return _page("refunds", self.refunds, parameters, name)

    def do_method(self, method_id: str, _parameters: Json) -> Json:
        """Return a payment method."""
        if method_id not in PAYMENT_METHODS:
            message = f"No such PaymentMethod: '{method_id}'"
            raise Refused(404, message, code="resource_missing", param="payment_method")
        kind = "konbini" if "konbini" in method_id else "card"
        return {"id": method_id, "object": "payment_method", "type": kind, "customer": PAYMENT_METHODS[method_id]}

    def do_refund(self, parameters: Json) -> Json:
        """Pay a charge back, never more than is left of it."""
        intent = self.intents[parameters["payment_intent"]]
        assert intent["status"] == "succeeded", "Stripe would cancel a hold upon a refund"
        charge = self.charges[intent["latest_charge"]]
        left = charge["amount_captured"] - charge["amount_refunded"]
        amount = int(parameters.get("amount") or left)
        if not left:
            raise Refused(400, "Charge has already been refunded.", code="charge_already_refunded")
        if amount > left:
            raise Refused(400, f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})")
        charge["amount_refunded"] += amount
        asked = "konbini" in intent["payment_method_types"]
        pending = charge["payment_method"] == "pm_card_pendingRefund"
        refund = {
            "id": f"re_{next(self._ids)}",
            "object": "refund",
            "created": int(time.time()),
            "status": "requires_action" if asked else "pending" if pending else "succeeded",
            "amount": amount,
            "charge": charge["id"],
            "payment_intent": intent["id"],
            "failure_reason": None,
            "metadata": parameters.get("metadata", {}),
        }
        self.refunds[refund["id"]] = refund
        return refund


def _page(name: str, rows: dict[str, Json], parameters: Json, field: str) -> Json:
    """Return a page of the rows with a field as given, newest first."""
    found = [row for row in reversed(rows.values()) if row[field] == parameters[field]]
    if "starting_after" in parameters:
        found = found[[row["id"] for row in found].index(parameters["starting_after"]) + 1 :]
    limit = int(parameters.get("limit", 10))
    return {"object": "list", "url": f"/v1/{name}", "data": found[:limit], "has_more": len(found) > limit}
