"""The reference parts of the docs: settings, policy keys, how effects are performed, the command line."""

import re
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import typer.main
from pydantic import BaseModel
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from activities.settings import Settings
from docs.generate import code, default_of, range_of, table, value_of, words_of
from docs.meanings import EXITS, POLICY_KEYS, SETTINGS, TEMPORAL_SETTINGS, WINDOWS
from domain.base import format_duration
from domain.effects import (
    Ask,
    Authorize,
    Capture,
    Effect,
    Notice,
    NoticeKind,
    PayRefund,
    Publish,
    Reservation,
    Reserve,
    Void,
)
from domain.order import Actor
from domain.policy import PolicyWindows, load_policy
from domain.views import OrderView
from starter import cli
from workflows.effects import AT_ONCE, activity_of

ROOT = Path(__file__).parent.parent


def settings() -> str:
    """Return every setting of the environment."""
    schema = Settings.model_json_schema()["properties"]
    rows = [[code(name.upper()), *reversed(SETTINGS[name]), words_of(schema[name], {}), default_of(field)]
            for name, field in Settings.model_fields.items()]  # fmt: skip
    return table(["setting", "meaning", "read by", "value", "default"], rows)


def temporal_settings() -> str:
    """Return Temporal's own settings of the environment."""
    return table(["setting", "meaning"], [[code(name), meaning] for name, meaning in TEMPORAL_SETTINGS.items()])


def policy_windows() -> str:
    """Return the windows of the policy file with default, bounds and the value of `policy.toml`."""
    chosen = PolicyWindows.model_validate(load_policy((ROOT / "policy.toml").read_text(encoding="utf-8")).windows)
    schema = PolicyWindows.model_json_schema()["properties"]
    rows = [[code(name), f"from {WINDOWS[name][0]}: at its end {WINDOWS[name][1]} ({', '.join(WINDOWS[name][2].split())})",
             value_of(field, schema[name], {}), default_of(field), code(format_duration(getattr(chosen, name)))]
            for name, field in PolicyWindows.model_fields.items()]  # fmt: skip
    return table(["key", "meaning", "value", "default", "`policy.toml`"], rows)


def policy_keys(form: type[BaseModel]) -> str:
    """Return the keys of a marketplace or a seller in the policy file."""
    schema = form.model_json_schema()
    rows = [[code(name), POLICY_KEYS[form][name],
             value_of(field, schema["properties"][name], schema.get("$defs", {})), default_of(field)]
            for name, field in form.model_fields.items()]  # fmt: skip
    return table(["key", "meaning", "value", "default"], rows)


def _samples() -> tuple[tuple[str, Effect, bool], ...]:
    """Return one effect of each kind, with what it is for and whether the order's other commands wait for it."""
    at, number = datetime(2026, 3, 1, tzinfo=UTC), "503-1234567-1234567"
    money = {"reference": "r", "order_number": number, "currency": "JPY", "amount_minor": 1, "at": at}
    stock = Reservation(order_number=number, seller_id="S-100", version=1, quantities={})
    build: Any = OrderView.model_construct  # the rest of a record is of no concern here
    record = build(version=1)
    notice = Notice(key="k", kind=NoticeKind.SHIPPED, recipient=Actor.BUYER)
    return (
        ("the hold of a placement or of another card", Authorize(**money, card="card-approve"), False),
        ("the new hold of an edit, or a lapsed one renewed", Authorize(**money, card="card-approve"), True),
        ("the charge at the first confirmation", Capture(**money), True),
        ("the stock of an edit without a hold", Reserve(reference="r", reservation=stock), True),
        ("the first round of a void", Void(reference="r", order_number=number, at=at), False),
        ("each later round of a void", Void(reference="r", order_number=number, at=at, round=2), False),
        (
            "a refund",
            PayRefund(reference="r", payment_reference="p", order_number=number, amount_minor=1, currency="JPY", at=at),
            False,
        ),
        ("how a payment or refund stands", Ask(reference="r", order_number=number, at=at), False),
        ("the record and its notices", Publish.model_construct(key="k", record=record, notices=(notice,)), False),
        ("the record alone", Publish.model_construct(key="k", record=record, notices=()), False),
    )


def effects() -> str:
    """Return how each effect is performed: activity, timeouts, retries."""
    calls = [(meaning, awaited, *activity_of(effect, awaited=awaited)) for meaning, effect, awaited in _samples()]
    calls.insert(-1, ("the record alone, tried first as a local activity", False, "record", AT_ONCE))
    rows = []
    for meaning, awaited, name, given in calls:
        retry, limit = given["retry_policy"], given.get("schedule_to_close_timeout")
        times = (
            f"{_seconds(retry.initial_interval)}, × {retry.backoff_coefficient:g}, {_seconds(retry.maximum_interval)}"
        )
        rows.append(
            [
                code(name),
                meaning,
                "yes" if awaited else "no",
                _seconds(given.get("start_to_close_timeout", limit)),
                _seconds(given.get("heartbeat_timeout")),
                "until it succeeds" if limit is None else _seconds(limit),
                "not tried again" if retry.maximum_attempts == 1 else times,
            ]
        )
    head = ["activity", "for", "awaited", "one attempt", "heartbeat", "all attempts", "pause: first, growth, longest"]
    return table(head, rows)


def _seconds(duration: timedelta | None) -> str:
    if duration is None:
        return "none"
    return format_duration(duration) if duration >= timedelta(seconds=1) else f"{duration.total_seconds():g}s"


def starter() -> str:
    """Return the reference of the command line, whatever the width of the terminal."""
    group = typer.main.get_command(cli.app)
    assert isinstance(group, TyperGroup)  # noqa: S101 - narrows the type; the app has several commands
    panels: dict[str, list[str]] = {}
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            told = [_command(f"{name} {inner}", each) for inner, each in command.commands.items()]
            panels[f"{name.capitalize()}\n\n{_plain(command.help)}"] = told
        else:
            panels.setdefault(str(getattr(command, "rich_help_panel", "")), []).append(_command(name, command))
    return "\n\n".join(f"## {panel}\n\n" + "\n\n".join(told) for panel, told in panels.items())


def _command(name: str, command: object) -> str:
    assert isinstance(command, TyperCommand)  # noqa: S101 - narrows the type
    needed = [each for each in command.params if isinstance(each, TyperArgument)]
    usage = " ".join([name, *(_argument(each) for each in needed), "[OPTIONS]"])
    rows = [_parameter(each) for each in command.params if isinstance(each, TyperArgument | TyperOption)]
    head = ["argument or option", "value", "default", "meaning"]
    return f"### {name}\n\n{_plain(command.help)}\n\n    python -m starter {usage}\n\n{table(head, rows)}"


def _argument(each: TyperArgument) -> str:
    name = each.metavar or str(each.name).upper()
    return name if each.required else f"[{name}]"


def _parameter(each: TyperArgument | TyperOption) -> list[str]:
    names = code(_argument(each)) if isinstance(each, TyperArgument) else code(*each.opts)
    kind = each.type_descriptor.annotation
    shown = each.default is not None and each.default is not False
    default = "required" if each.required else code(each.default) if shown else "none"
    return [names, _kind(kind, each.min, each.max), default, _plain(each.help)]


def _kind(kind: Any, low: float | None, high: float | None) -> str:
    if kind is bool:
        return "switch"
    if kind == list[str]:
        return "text; may be given several times"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return code(*kind)
    bounds = "" if low is None or high is None else range_of(int(low), int(high))
    return {int: "integer", Path: "path"}.get(kind, "text") + bounds


def _plain(markup: str | None) -> str:
    """Return a help text without its markup; dimmed rule ids are put in brackets."""
    return re.sub(r"\[dim\](.*?)\[/\]", r"(\1)", markup or "")


def exits() -> str:
    """Return what the exit codes of the starter mean."""
    return table(["exit code", "meaning"], [[code(number), meaning] for number, meaning in EXITS.items()])
