"""How each effect is performed: which activity, how long it may take, how often it is tried, how it is named in the UI.

- Background effects are tried until they succeed: a partner that is down delays them and nothing else.
- Awaited effects hold up the order's other commands, so they are bounded to `AWAITED_FOR` in all; past it the outcome
  is unknown and whatever the partner did is undone in the background.
- A record without notices is tried once as a local activity, which costs no task of its own, before it goes the patient way.
- A void is tried in rounds, so that one that keeps failing becomes visible after the first minute.
- A business refusal (a declined card, no stock) is a result of the activity, not a failure, and so is never retried.
"""

from datetime import timedelta
from typing import Any

from temporalio.common import RetryPolicy

from domain.effects import Ask, Authorize, Capture, Effect, PayRefund, Publish, Reserve, Void
from domain.money import format_money
from domain.refund import PaymentMethod

AWAITED_FOR = timedelta(seconds=15)
ATTEMPT = timedelta(seconds=6)
FIRST_VOID_ROUND = timedelta(minutes=1)
LATER_VOID_ROUNDS = timedelta(hours=6)

_PATIENT = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2.0, maximum_interval=timedelta(minutes=1)
)
_EAGER = RetryPolicy(
    initial_interval=timedelta(milliseconds=500), backoff_coefficient=1.5, maximum_interval=timedelta(seconds=3)
)

AT_ONCE: dict[str, Any] = {
    "schedule_to_close_timeout": timedelta(seconds=2),
    "retry_policy": RetryPolicy(maximum_attempts=1),
}
"""Options of the local activity that tries a mere record first."""


def activity_of(effect: Effect, *, awaited: bool) -> tuple[str, dict[str, Any]]:
    """Return the activity's name and its options for `workflow.execute_activity`."""
    options: dict[str, Any] = {"start_to_close_timeout": ATTEMPT, "retry_policy": _PATIENT}
    if awaited:
        options |= {"schedule_to_close_timeout": AWAITED_FOR, "retry_policy": _EAGER}
    match effect:
        case Authorize():
            name = "authorize"
        case Capture():
            name = "capture"
        case Reserve():
            name = "reserve_stock"
        case Void():
            name = "void"
            options["schedule_to_close_timeout"] = FIRST_VOID_ROUND if effect.round == 1 else LATER_VOID_ROUNDS
        case PayRefund():
            name = "refund"
        case Ask():
            name = "ask_provider"
        case Publish():
            name = "notify" if effect.notices else "record"
            options["start_to_close_timeout"] = timedelta(minutes=1)
            options["heartbeat_timeout"] = timedelta(seconds=20)
    return name, {**options, "summary": summary(effect)}


def summary(effect: Effect) -> str:
    """Say in a line what an effect does, for the Temporal UI; no personal data."""
    match effect:
        case Authorize():
            stock = "reserve stock, " if effect.reservation else ""
            what = "issue a payment number for" if effect.method is PaymentMethod.KONBINI else "authorise"
            return f"{stock}{what} {format_money(effect.amount_minor + effect.points_minor, effect.currency)}"
        case Capture():
            return f"charge {format_money(effect.amount_minor + effect.points_minor, effect.currency)}"
        case PayRefund():
            return f"refund {format_money(effect.amount_minor, effect.currency)}: {effect.reference}"
        case Ask():
            return f"ask the provider about {effect.reference}"
        case Reserve():
            return f"reserve stock for {len(effect.reservation.quantities)} items"
        case Void():
            return f"void {effect.reference}" + (f", round {effect.round}" if effect.round > 1 else "")
        case Publish():
            mails = ", ".join(f"{each.recipient}: {each.kind}" for each in effect.notices)
            return f"record version {effect.record.version}" + (f"; mail {mails}" if mails else "")
