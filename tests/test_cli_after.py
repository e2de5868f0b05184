"""The command line after placement: every command accepted once and refused once, on a real stack."""

from typing import Any

import pytest
from cli_kit import Case, Cli, accepted_once_and_refused_once, samples
from live_kit import Live

from domain.commands import COMMANDS
from domain.lifecycle import actors_for
from starter.command_table import ROWS

pytestmark = pytest.mark.patience


SHIPPED = ("ship {n}",)
DELIVERED = (*SHIPPED, "deliver {n}")
RETURNED = (*DELIVERED, "request-return {n}")
WISHED = (*SHIPPED, "request-cancellation {n}")
LOST = (*SHIPPED, "report-not-received {n}")
HELD = ("hold-for-review {n} --reason 'odd address'",)


def of_a_case(
    command: str, accepted: str, becomes: dict[str, Any], rule: str, ready: tuple[str, ...], unready: tuple[str, ...]
) -> Case:
    """Return a step of a case, which is refused by `rule` where the order has no case that is open to it."""
    return Case(command, accepted, becomes, "{n}", "NO_SUCH_CASE", rule, ready=ready, unready=unready)


CASES = (
    Case(
        "refund",
        "{n} --reason damaged --item {sku}:1 --memo 'one cup broke'",
        {"status": "shipped", "refund": 1200, "refundable_minor": 1700},
        "{n} --reason damaged --item {sku}:3",
        "REFUND_EXCEEDS",
        "R2",
        ready=SHIPPED,
        unready=SHIPPED,
    ),
    Case(
        "refund",
        "{n} --reason goodwill --amount {sku}=300 --shipping 200 --deduct return_fee=100 --as operator",
        {"refund": 400, "refundable_minor": 2400},
        "{n} --reason goodwill --as buyer",
        "NOT_ALLOWED",
        "D4",
        ready=SHIPPED,
        unready=SHIPPED,
    ),
    Case(
        "refund",
        "{n} --reason buyer_return --case K1 --deduct return_fee=700",
        {"case": "return refunded", "refund": 2200, "refundable_minor": 0, "flags": []},
        "{n} --reason buyer_return --case K1",
        "CASE_NOT_OPEN_TO_THIS",
        "A3",
        ready=(*RETURNED, "authorize-return {n}", "receive-return {n}"),
        unready=RETURNED,
    ),
    Case(
        "cancel-items",
        "{n} --item {sku}:1 --consent 'agreed by telephone'",
        {"status": "unshipped", "total_minor": 1700},
        "{n} --item {sku}:1",
        "CONSENT_REQUIRED",
        "C11",
    ),
    Case(
        "hold-for-review",
        "{n} --reason 'odd address'",
        {"status": "pending", "flags": ["in_review", "payment_problem"]},
        "{n} --reason again",
        "ALREADY_IN_REVIEW",
        "G4",
        unready=HELD,
        card="card-decline",
        refused_card="card-decline",
    ),
    Case(
        "release-review",
        "{n}",
        {"flags": ["payment_problem"]},
        "{n}",
        "NOT_IN_REVIEW",
        "G4",
        ready=HELD,
        card="card-decline",
        refused_card="card-decline",
    ),
    Case(
        "refuse-review",
        "{n}",
        {"status": "cancelled"},
        "{n}",
        "NOT_IN_REVIEW",
        "G4",
        ready=HELD,
        card="card-decline",
        refused_card="card-decline",
    ),
    Case(
        "send-message",
        "{n} 'Is it on its way?'",
        {"status": "unshipped", "flags": []},
        "{n} 'Answer me' --answer-by 3d",
        "NOT_ALLOWED",
        "C12",
    ),
    Case(
        "send-message",
        "{n} 'Shall I send it?' --as seller --answer-by 2d",
        {"flags": ["answer_due"]},
        "{n} 'Shall I send it?' --as seller --answer-by 2h",
        "INSTANT_OUT_OF_RANGE",
        "C12",
    ),
    Case(
        "rate",
        "{n} --stars 4 --comment fine",
        {"status": "shipped"},
        "{n} --stars 1",
        "ALREADY_RATED",
        "A8",
        ready=SHIPPED,
        unready=(*SHIPPED, "rate {n} --stars 5"),
    ),
    Case(
        "request-cancellation",
        "{n} --reason arrives_too_late --item {sku}:1",
        {"case": "cancellation requested"},
        "{n} --item {sku}:3",
        "CASE_QUANTITY",
        "A1",
        ready=SHIPPED,
        unready=SHIPPED,
    ),
    Case(
        "decline-cancellation",
        "{n} --case K1 --note 'it is on its way'",
        {"case": "cancellation declined"},
        "{n} --case K2",
        "NO_SUCH_CASE",
        "A1",
        ready=WISHED,
        unready=WISHED,
    ),
    of_a_case("open-cancellation", "{n}", {"case": "cancellation in_review"}, "A1", WISHED, SHIPPED),
    Case(
        "approve-cancellation",
        "{n}",
        {"case": "cancellation approved", "flags": ["case_open", "refund_due"]},
        "{n} --case K1",
        "CASE_NOT_OPEN_TO_THIS",
        "A1",
        ready=(*WISHED, "open-cancellation {n}"),
        unready=WISHED,
    ),
    of_a_case(
        "deny-cancellation",
        "{n} --note 'it has left the country'",
        {"case": "cancellation denied", "flags": []},
        "A1",
        (*WISHED, "open-cancellation {n}"),
        WISHED,
    ),
    Case(
        "request-return",
        "{n} --reason damaged --item {sku}:1",
        {"case": "return requested"},
        "{n} --item {sku}:3",
        "CASE_QUANTITY",
        "A3",
        ready=DELIVERED,
        unready=DELIVERED,
    ),
    of_a_case("authorize-return", "{n}", {"case": "return authorized"}, "A3", RETURNED, DELIVERED),
    of_a_case("decline-return", "{n} --note worn", {"case": "return declined"}, "A3", RETURNED, DELIVERED),
    of_a_case(
        "receive-return",
        "{n}",
        {"case": "return received", "flags": ["case_open", "refund_due"]},
        "A3",
        (*RETURNED, "authorize-return {n}"),
        RETURNED,
    ),
    Case(
        "return-to-sender",
        "{n} --reason undeliverable",
        {"case": "parcel refunded", "refund": 2400},
        "{n} --reason refused --item {sku}:3",
        "CASE_QUANTITY",
        "A4",
        ready=SHIPPED,
        unready=SHIPPED,
    ),
    Case(
        "recall-parcel",
        "{n} --note 'wrong address'",
        {"case": "parcel recalled"},
        "{n}",
        "NOT_SHIPPED",
        "S1",
        ready=SHIPPED,
    ),
    of_a_case(
        "receive-parcel",
        "{n}",
        {"case": "parcel refunded", "refund": 2200},
        "A5",
        (*SHIPPED, "recall-parcel {n}"),
        SHIPPED,
    ),
    Case(
        "report-not-received",
        "{n} --item {sku}:1",
        {"case": "not_received reported"},
        "{n}",
        "CASE_QUANTITY",
        "A6",
        ready=SHIPPED,
        unready=LOST,
    ),
    of_a_case("send-trace", "{n} --note 'seen in Osaka'", {"case": "not_received traced"}, "A6", LOST, SHIPPED),
    Case(
        "ask-to-wait",
        "{n} --until 5d",
        {"case": "not_received waiting"},
        "{n} --until 31d",
        "INSTANT_OUT_OF_RANGE",
        "A6",
        ready=LOST,
        unready=LOST,
    ),
    of_a_case("open-claim", "{n}", {"case": "not_received claimed"}, "A6", LOST, SHIPPED),
    of_a_case(
        "grant-claim", "{n}", {"case": "not_received granted", "refund": 2900}, "A6", (*LOST, "open-claim {n}"), LOST
    ),
    Case(
        "deny-claim",
        "{n} --note 'it was signed for'",
        {"case": "not_received denied", "refund": 0},
        "{n} --case K1",
        "CASE_NOT_OPEN_TO_THIS",
        "A6",
        ready=(*LOST, "open-claim {n}"),
        unready=LOST,
    ),
)


@pytest.mark.parametrize("case", samples(CASES))
async def test_a_command_is_accepted_once_and_refused_once(cli: Cli, live: Live, case: Case) -> None:
    """An accepted command answers the order as JSON; a refused one names fact, limit, remedy and rule, and changes nothing."""
    await accepted_once_and_refused_once(cli, live, case)


def test_every_command_of_the_engine_can_be_typed_by_those_it_is_open_to() -> None:
    """The command line has every command but the two that partners send, each open to the actors of the lifecycle only."""
    typed = {row.name for row in ROWS} | {"refund"}
    assert typed == set(COMMANDS) - {"flag_oversold", "payment_event"}
    assert [row.name for row in ROWS if not set(row.actors) <= set(actors_for(row.name))] == []
