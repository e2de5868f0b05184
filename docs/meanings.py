"""What the generated pages say of each name: meanings that stand in no table of the code.

Tests see to it that every name has one.
"""

from collections.abc import Mapping

from pydantic import BaseModel

from domain.deadlines import DeadlineName
from domain.order import Flag, Status
from domain.policy import MarketplacePolicy, SellerPolicy
from starter import exits

CHAPTERS: Mapping[str, tuple[str, int]] = {
    "P": ("placement", 7),
    "G": ("pending", 8),
    "E": ("editing", 9),
    "C": ("cancelling before shipment", 13),
    "S": ("shipping", 8),
    "A": ("after shipment", 10),
    "R": ("refunds", 7),
    "V": ("the seller's surfaces", 9),
    "D": ("documents", 5),
}
"""The chapters of the policy with the number of their rules."""

STATES: Mapping[Status, str] = {
    Status.PENDING: "Placed. Payment is not verified yet, and the seller sees no buyer data.",
    Status.UNSHIPPED: "Verified. The seller is to ship; nothing has been charged.",
    Status.PARTIALLY_SHIPPED: "A part is confirmed. The buyer is charged in full, and the rest is still due.",
    Status.SHIPPED: "Everything is confirmed, and at least one parcel is on its way.",
    Status.DELIVERED: "Every parcel has arrived or counts as arrived. The return window runs.",
    Status.COMPLETED: "The return window has ended with nothing open. After the retention period, personal data is erased.",
    Status.CANCELLED: "Cancelled, by one actor and for one reason. Nothing was charged; personal data is erased as above.",
}

FLAGS: Mapping[Flag, tuple[str, str]] = {
    Flag.BUYER_REQUESTED_CANCELLATION: ("the buyer files a cancellation request", "it is declined, or a parcel ships"),
    Flag.CONFIRM_SHIPMENT: ("the ship date passes with nothing confirmed", "the first confirmation, or a cancellation"),
    Flag.LATE_SHIPMENT: ("the ship date passes with something unshipped", "nothing: it stays"),
    Flag.OVERSOLD: ("the seller's stock no longer covers the order", "a confirmation, or a cancellation"),
    Flag.PAYMENT_PROBLEM: ("a hold or a charge is declined", "a hold or charge that succeeds, or a cancellation"),
    Flag.VOID_FAILING: ("the first round of a void fails", "the last open void succeeds"),
    Flag.IN_REVIEW: ("the marketplace holds the order's details for review", "the review ends, or a cancellation"),
    Flag.REFUND_FAILED: ("a refund fails at the payment provider", "it is asked for again"),
    Flag.MAIL_REFUSED: ("a mail server refuses a notice of the order for good", "nothing: it stays"),
    Flag.REFUND_DUE: ("a cancellation is approved or a return received", "the refund that settles the case"),
    Flag.CASE_OPEN: ("a case is opened", "the last open case ends"),
    Flag.ANSWER_DUE: ("the seller asks for an answer by a date", "the buyer's answer, a shipment, or a cancellation"),
}
"""What raises each flag and what takes it away."""

WINDOWS: Mapping[str, tuple[str, str, str]] = {
    "edit_window": ("placement", "the buyer can no longer change the order", "E1 E4"),
    "edit_extension_limit": ("the end of the edit window", "the operator can extend the edit window no further", "E6"),
    "cancel_window": ("placement", "the buyer can no longer cancel alone, only request it", "C1 C3"),
    "processing_window": ("placement", "an order that is still pending is cancelled by the marketplace", "G6"),
    "confirm_window": (
        "the expected ship date, or the verification where that came later",
        "with nothing confirmed, the marketplace cancels; with a part confirmed, the rest stays due",
        "C8 S4",
    ),
    "delivery_window": ("the last confirmation, once all is confirmed", "the order counts as delivered", "A10"),
    "return_window": ("delivery", "the order is completed, once no case is open and every refund is paid", "A9"),
    "refund_window": ("a refund", "it is expected to have arrived", "R7"),
    "store_payment_window": (
        "the issue of a payment number",
        "the provider is asked, and an order that is not paid is cancelled by the marketplace",
        "P5 G7",
    ),
    "transit_window": ("an authorised return or a recall", "a parcel that has not come back closes the case", "A3 A5"),
    "shortest_answer_window": ("a message with a date to answer by", "the earliest such date", "C12"),
    "settlement_window": ("the charge", "what is left of it becomes available to the seller", "S7"),
    "retention_window": ("the cancellation or completion", "personal data is erased from every store", "A7"),
}
"""Where each window starts, what happens at its end, and the rule."""

DUE: Mapping[DeadlineName, str] = {
    DeadlineName.EDIT_WINDOW_CLOSED: "placement + `edit_window`, later where the operator extended it",
    DeadlineName.CANCEL_WINDOW_CLOSED: "placement + `cancel_window`, or the seller's longer `auto_approval_minutes`",
    DeadlineName.PROCESSING_WINDOW_CLOSED: "placement + `processing_window`",
    DeadlineName.SHIP_DATE_PASSED: "placement + `handling_time`, or the verification where that came later",
    DeadlineName.CONFIRM_WINDOW_CLOSED: "`ship_date_passed` + `confirm_window`",
    DeadlineName.DELIVERY_ASSUMED: "the last confirmation + `delivery_window`",
    DeadlineName.RETURN_WINDOW_CLOSED: "delivery + `return_window`, not while a case is open or a refund unpaid",
    DeadlineName.STORE_PAYMENT_DUE: "the issue of the payment number + `store_payment_window`, as the provider confirms it",
    DeadlineName.ANSWER_DUE: "the date that the seller's message gives",
    DeadlineName.SETTLEMENT_ENDED: "the charge + `settlement_window`",
    DeadlineName.CASE_DUE: "its authorisation or recall + `transit_window`, or the date until which the buyer is to wait",
    DeadlineName.REFUND_DUE: "when the provider expects to have paid a refund, then once a day until it has",
    DeadlineName.RETENTION_ENDED: "the closing of the order + `retention_window`, not while a refund is unpaid",
}
"""When each deadline falls due."""

SETTINGS: Mapping[str, tuple[str, str]] = {
    "database_url": (
        "worker, inbox, stack, `stock`, `reconcile`; `receipt`, `packing-slip`, `refund` where an order's workflow does not answer",
        "The store: an SQLAlchemy URL of SQLite or PostgreSQL.",
    ),
    "payment_provider": (
        "worker, `reconcile`",
        "Which provider: one with the sandbox's protocol, or [Stripe](payments.md).",
    ),
    "payment_provider_url": ("worker, `reconcile`", "Where the payment provider answers, if it is not Stripe."),
    "webhook_secret": ("receiver", "What signs the payment provider's webhooks, as Standard Webhooks writes it."),
    "stripe_secret_key": ("worker", "The secret or restricted key of the account at Stripe."),
    "stripe_api_base": ("worker", "Where Stripe answers, if it is not Stripe itself; for tests."),
    "stripe_webhook_secret": ("receiver", "The secret of the webhook endpoint at Stripe."),
    "smtp_host": ("worker", "The mail server that takes the notices."),
    "smtp_port": ("worker", "Its port."),
    "mail_from": ("worker", "The sender of the notices, with or without a name; undeliverable mail returns there."),
    "inbox_sender": (
        "inbox",
        "Which addresses of a mail must be its writer's: envelope and From, or From alone, for [a DMARC check in front](mail.md).",
    ),
    "task_queue": ("worker, starter, stack", "The Temporal task queue; worker and starter must name the same one."),
    "policy_file": ("starter", "The policy; a relative path that is not found is looked for beside the code."),
    "max_cached_workflows": ("worker", "Orders that a worker keeps in memory; 0 replays an order at every step."),
}
"""Who reads each setting, and what it means."""

TEMPORAL_SETTINGS: Mapping[str, str] = {
    "TEMPORAL_ADDRESS": "Host and port of the Temporal server; `127.0.0.1:7233` when nothing names one.",
    "TEMPORAL_NAMESPACE": "Its namespace; `default` when nothing names one.",
    "TEMPORAL_API_KEY": "Sent as the key of the connection. It turns TLS on unless `TEMPORAL_TLS` is `false`.",
    "TEMPORAL_TLS": "`true` or `false`. Any other TLS setting below turns TLS on as well.",
    "TEMPORAL_TLS_SERVER_NAME": "The server name that the certificate must be for, where it differs from the address.",
    "TEMPORAL_TLS_SERVER_CA_CERT_PATH": "File with the certificate authority of the server, in PEM.",
    "TEMPORAL_TLS_SERVER_CA_CERT_DATA": "The same as text. Give the path or the text, not both.",
    "TEMPORAL_TLS_CLIENT_CERT_PATH": "File with the client's certificate, in PEM, for mutual TLS.",
    "TEMPORAL_TLS_CLIENT_CERT_DATA": "The same as text. Give the path or the text, not both.",
    "TEMPORAL_TLS_CLIENT_KEY_PATH": "File with the key of that certificate, in PEM.",
    "TEMPORAL_TLS_CLIENT_KEY_DATA": "The same as text. Give the path or the text, not both.",
    "TEMPORAL_GRPC_META_NAME": "A header sent with every call; `NAME` becomes its name, in lower case with dashes.",
    "TEMPORAL_CONFIG_FILE": "TOML file with profiles. One that does not exist is passed over in silence.",
    "TEMPORAL_PROFILE": "The profile to take from that file; `default` without it. An unknown one is an error.",
}
"""What `temporalio.envconfig` reads from the environment."""

POLICY_KEYS: Mapping[type[BaseModel], Mapping[str, str]] = {
    MarketplacePolicy: {
        "currency": "ISO 4217 code; an order in another currency is refused",
        "timezone": "IANA name, for example `Asia/Tokyo`; dates in notices are written in it",
        "shipping_options": "the shipping options with their fees in minor units",
        "windows": "windows of this marketplace; each replaces the one in `[windows]`",
        "payment_methods": "how buyers may pay: card, konbini (convenience store), points (P5)",
        "return_fee_minor": "kept back from the refund of a recalled parcel, in minor units (A5)",
        "review_above_minor": "an order above this total, in minor units, is held for review when it is placed (G4)",
        "live_attributes": "whether an order's search attributes follow its state; without, they stay as at its placement",
    },
    SellerPolicy: {
        "name": "the seller's name in notices",
        "email": "where the seller's notices go",
        "language": "language of the seller's notices",
        "unwanted_notices": "notices that the seller does without (V7); warnings always go out",
        "notify_sold": 'whether the seller wants the "sold, ship now" notice (G5)',
        "handling_time": "from placement to the expected ship date (P7)",
        "auto_approval_minutes": "how long the buyer cancels alone; must outlast `cancel_window` everywhere (C2)",
    },
}
"""What the keys of a marketplace and of a seller in the policy file mean."""

EXITS: Mapping[int, str] = {
    exits.OK: "done",
    1: "an unexpected error; for `reconcile` differences found, for `demo` a scene that did not go as the policy says",
    exits.BAD_INPUT: "bad input, settings or policy; the message names the field, its value and its limit",
    exits.REFUSED: "refused by policy; the message gives code, fact, remedy and rule",
    exits.NO_CONNECTION: "no connection to Temporal, to the store, or to a part of the embedded stack",
    130: "ended by Ctrl-C",
}
