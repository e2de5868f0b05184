"""The generated parts of the documentation: tables and a diagram, made from the code's own tables by `make docs`.

What the code does not say itself (what a state means, what a setting is for) stands in the tables at the top, keyed by
the code's names: a name without its line fails the tests. Policy: D4.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import annotated_types
import typer.main
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from activities.settings import Settings
from domain.base import Code, Email, OrderNumber, format_duration
from domain.commands import COMMANDS, MAX_COMMAND_BYTES, BuyerReason, Command, SellerReason, SystemReason
from domain.deadlines import MOVES_THE_ORDER, SUMMARIES, DeadlineName
from domain.effects import Authorize, Capture, Effect, Notice, NoticeKind, Publish, Reservation, Reserve, Void
from domain.journal import MAX_COMMANDS
from domain.lifecycle import PAYMENT_ROWS, REQUEST_ROWS, ROWS, Row, When, actors_for
from domain.order import CLOSED, Actor, Flag, PaymentStatus, Status
from domain.placement import MAX_ITEMS, MAX_PLACEMENT_BYTES, MAX_UNITS, MAX_UNITS_OF_ONE, Placement
from domain.policy import MarketplacePolicy, SellerPolicy, Windows, load_policy
from domain.refusals import REFUSALS
from domain.views import OrderView
from starter import cli, session
from workflows.effects import AT_ONCE, activity_of

ROOT = Path(__file__).parent.parent

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
    Status.COMPLETED: "The return window has ended. Nothing more happens.",
    Status.CANCELLED: "Cancelled, by one actor and for one reason. Nothing was charged.",
}

FLAGS: Mapping[Flag, tuple[str, str]] = {
    Flag.BUYER_REQUESTED_CANCELLATION: ("the buyer files a cancellation request", "it is declined, or a parcel ships"),
    Flag.CONFIRM_SHIPMENT: ("the ship date passes with nothing confirmed", "the first confirmation, or a cancellation"),
    Flag.LATE_SHIPMENT: ("the ship date passes with something unshipped", "nothing: it stays"),
    Flag.OVERSOLD: ("the seller's stock no longer covers the order", "a confirmation, or a cancellation"),
    Flag.PAYMENT_PROBLEM: ("a hold or a charge is declined", "a hold or charge that succeeds, or a cancellation"),
    Flag.VOID_FAILING: ("the first round of a void fails", "the last open void succeeds"),
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
    "return_window": ("delivery", "the order is completed", "A9"),
}
"""Where each window starts, what happens at its end, and the rule."""

DUE: Mapping[DeadlineName, str] = {
    DeadlineName.EDIT_WINDOW_CLOSED: "placement + `edit_window`, later where the operator extended it",
    DeadlineName.CANCEL_WINDOW_CLOSED: "placement + `cancel_window`, or the seller's longer `auto_approval_minutes`",
    DeadlineName.PROCESSING_WINDOW_CLOSED: "placement + `processing_window`",
    DeadlineName.SHIP_DATE_PASSED: "placement + `handling_time`, or the verification where that came later",
    DeadlineName.CONFIRM_WINDOW_CLOSED: "`ship_date_passed` + `confirm_window`",
    DeadlineName.DELIVERY_ASSUMED: "the last confirmation + `delivery_window`",
    DeadlineName.RETURN_WINDOW_CLOSED: "delivery + `return_window`",
}
"""When each deadline falls due."""

SETTINGS: Mapping[str, tuple[str, str]] = {
    "database_url": ("worker, `stock` commands, stack", "The store: an SQLAlchemy URL of SQLite or PostgreSQL."),
    "payment_provider_url": ("worker", "Where the payment provider answers."),
    "smtp_host": ("worker", "The mail server that takes the notices."),
    "smtp_port": ("worker", "Its port."),
    "mail_from": ("worker", "The sender of the notices, with or without a name; undeliverable mail returns there."),
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
        "live_attributes": "whether an order's search attributes follow its state; without, they stay as at its placement",
    },
    SellerPolicy: {
        "name": "the seller's name in notices",
        "email": "where the seller's notices go",
        "language": "language of the seller's notices",
        "notify_sold": 'whether the seller wants the "sold, ship now" notice (G5)',
        "handling_time": "from placement to the expected ship date (P7)",
        "auto_approval_minutes": "how long the buyer cancels alone; must outlast `cancel_window` everywhere (C2)",
    },
}
"""What the keys of a marketplace and of a seller in the policy file mean."""

EXITS: Mapping[int, str] = {
    session.OK: "done",
    1: "an unexpected error",
    session.BAD_INPUT: "bad input, settings or policy; the message names the field, its value and its limit",
    session.REFUSED: "refused by policy; the message gives code, fact, remedy and rule",
    session.NO_CONNECTION: "no connection to Temporal, to the store, or to a part of the embedded stack",
    130: "ended by Ctrl-C",
}

_WORDS: Mapping[str, str] = {
    TypeAdapter(Code).json_schema()["pattern"]: "identifier: 1 to 60 letters, digits, `.`, `-` or `_`",
    TypeAdapter(Email).json_schema()["pattern"]: "mail address",
    TypeAdapter(OrderNumber).json_schema()["pattern"]: "order number, like `503-1234567-1234567`",
    r"^[\x21-\x7e]+$": "ASCII text without spaces",
    r"^[A-Z]{2}$": "two capital letters",
    r"^[A-Z]{3}$": "three capital letters",
}


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; a bar in a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(*names: object) -> str:
    """Return names as code, separated by commas."""
    return ", ".join(f"`{name.value if isinstance(name, Enum) else name}`" for name in names)


def chapters() -> str:
    """Return what the letters of the rule ids stand for."""
    return table(["rules", "chapter"], [[f"{letter}1 to {letter}{n}", name] for letter, (name, n) in CHAPTERS.items()])


def states() -> str:
    """Return what each state means, and which ones end an order."""
    rows = [[code(each), STATES[each], "yes" if each in CLOSED else "no"] for each in Status]
    return table(["state", "meaning", "terminal"], rows)


def flags() -> str:
    """Return what raises each flag and what takes it away."""
    return table(["flag", "raised when", "taken away by"], [[code(each), *FLAGS[each]] for each in Flag])


def _grouped(rows: Iterable[Row]) -> dict[tuple[str, When, Status, tuple[object, ...], str], list[Actor]]:
    """Put rows together that differ in their actor only."""
    found: dict[tuple[str, When, Status, tuple[object, ...], str], list[Actor]] = {}
    for row in rows:
        found.setdefault((str(row.event), row.when, row.target, row.effects, row.rule), []).append(row.actor)
    return found


def diagram() -> str:
    """Return the changes of state as a Mermaid diagram: one edge for two states, its events grouped by who and when."""
    edges: dict[tuple[Status, Status], dict[str, list[str]]] = {}
    for source in Status:
        for (event, when, target, _, _), actors in _grouped(row for row in ROWS if row.source is source).items():
            if target is not source:
                who = " or ".join(actors) + ("" if when is When.ALWAYS else f", {when.value}")
                edges.setdefault((source, target), {}).setdefault(f"({who})", []).append(event)
    lines = [
        f"    {a.value} --> {b.value} : " + "<br/>".join("<br/>".join([*events, who]) for who, events in groups.items())
        for (a, b), groups in edges.items()
    ]
    ends = [f"    {each.value} --> [*]" for each in Status if each in CLOSED]
    first = f"    [*] --> {Status.PENDING.value} : place (buyer)"
    return "\n".join(["```mermaid", "stateDiagram-v2", "    direction LR", first, *lines, *ends, "```"])


def _event(name: str) -> str:
    if name in COMMANDS:
        return code(name)
    return f"{'deadline' if name in tuple(DeadlineName) else 'outcome'} {code(name)}"


def _when(when: When) -> str:
    return "" if when is When.ALWAYS else when.value


def transitions() -> str:
    """Return every transition of an order, a table for each state."""
    head = ["event", "by", "only when", "leads to", "effects", "rules"]
    parts = []
    for source in Status:
        rows = [
            [_event(event), ", ".join(actors), _when(when), code(target), ", ".join(map(str, effects)) or "none", rule]
            for (event, when, target, effects, rule), actors in _grouped(r for r in ROWS if r.source is source).items()
        ]
        parts.append(
            f"### From {source.value}\n\n{table(head, rows) if rows else 'No way leads out. Every command is refused.'}"
        )
    return "\n\n".join(parts)


def payments() -> str:
    """Return every transition of the payment that a partner's answer brings about."""
    rows = [[code(r.source), code(r.event), code(r.target), r.when, r.rule] for r in PAYMENT_ROWS]
    return table(["payment", "answer", "becomes", "when", "rules"], rows)


def payment_states() -> str:
    """Return the names of the payment's states."""
    return code(*PaymentStatus)


def requests() -> str:
    """Return every transition of a cancellation request."""
    rows = [[code(r.source) if r.source else "none yet", code(r.event), r.actor, code(r.target), r.rule]
            for r in REQUEST_ROWS]  # fmt: skip
    return table(["request", "command", "by", "becomes", "rule"], rows)


def windows() -> str:
    """Return the windows: default, start, end and rule; a handling time and an approval window are the seller's own."""
    rows = []
    for name, field in Windows.model_fields.items():
        starts, end, rule = WINDOWS[name]
        rows.append([code(name), format_duration(field.default), starts, end, rule])
    return table(["window", "default", "starts at", "at its end", "rules"], rows)


def deadlines() -> str:
    """Return the deadlines in their order, with the states in which they count."""
    rows = []
    for name in DeadlineName:
        found = [row for row in ROWS if row.event == name]
        alone = "yes" if name in MOVES_THE_ORDER else "no"
        rules = " ".join(dict.fromkeys(rule for row in found for rule in row.rule.split()))
        rows.append([code(name), SUMMARIES[name], DUE[name], code(*(row.source for row in found)), alone, rules])
    return table(["deadline", "timer in the UI", "falls due at", "counts in", "can move the state", "rules"], rows)


def reasons() -> str:
    """Return the reason codes of cancellations, by who cancels."""
    each = {"buyer": BuyerReason, "seller": SellerReason, "marketplace": SystemReason}
    return table(["cancelled by", "reason"], [[who, code(*kinds)] for who, kinds in each.items()])


def commands() -> str:
    """Return every command: what it does, who may send it, in which states, and its fields."""
    parts = [f"### Every command\n\n{_first(Command)}\n\n{_fields(Command)}"]
    for name, form in COMMANDS.items():
        sources = dict.fromkeys(row.source for row in ROWS if row.event == name)
        told = f"From: {', '.join(actors_for(name))}. Open in: {code(*sources)}."
        own = [each for each in form.model_fields if each not in Command.model_fields]
        fields = _fields(form, own) if own else "No fields of its own."
        parts.append(f"### {name}\n\n{_first(form)} {told}\n\n{fields}")
    return "\n\n".join(parts)


def limits() -> str:
    """Return the limits on the size of placements and commands."""
    rows: list[list[object]] = [
        ["different items in a cart (P1)", f"{MAX_ITEMS:,}"],
        ["units in a cart (P1)", f"{MAX_UNITS:,}"],
        ["units in a cart of one single item (P1)", f"{MAX_UNITS_OF_ONE:,}"],
        ["bytes of a placement", f"{MAX_PLACEMENT_BYTES:,}"],
        ["bytes of a command", f"{MAX_COMMAND_BYTES:,}"],
        ["commands of one actor to one order", f"{MAX_COMMANDS:,}"],
    ]
    return table(["what", "at most"], rows)


def placement() -> str:
    """Return the fields of a placement."""
    return _fields(Placement)


def forms() -> str:
    """Return the forms that commands and placements are made of."""
    found: dict[str, type[BaseModel]] = {}
    outer: list[type[BaseModel]] = [Placement, *COMMANDS.values()]
    for form in outer:
        _collect(form, found)
    return "\n\n".join(f"### {name}\n\n{_first(form)}\n\n{_fields(form)}" for name, form in sorted(found.items()))


def _collect(form: type[BaseModel], found: dict[str, type[BaseModel]]) -> None:
    for field in form.model_fields.values():
        for kind in _kinds(field.annotation):
            if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__name__ not in found:
                found[kind.__name__] = kind
                _collect(kind, found)


def _kinds(annotation: Any) -> list[Any]:
    parts = get_args(annotation)
    return [each for part in parts for each in _kinds(part)] if parts else [annotation]


def _first(form: type[BaseModel]) -> str:
    text = " ".join((form.__doc__ or "").split())
    return text[:1].upper() + text[1:]


def _fields(form: type[BaseModel], names: Iterable[str] | None = None) -> str:
    schema = form.model_json_schema()
    rows = []
    for name in form.model_fields if names is None else names:
        field = form.model_fields[name]
        rows.append([code(name), _value(field, schema["properties"][name], schema.get("$defs", {})), _default(field)])
    return table(["field", "value", "default"], rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True, validated_data={})
    if default in (None, (), {}) or default is PydanticUndefined:
        return "none"
    if isinstance(default, bool):
        return code(str(default).lower())
    return code(format_duration(default) if isinstance(default, timedelta) else default)


def _value(field: FieldInfo, schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """Say in words what a field takes and within which limits."""
    if field.annotation is timedelta:
        # JSON schema has no bounds for durations; the field itself has.
        low = next(each.ge for each in field.metadata if isinstance(each, annotated_types.Ge))
        high = next(each.le for each in field.metadata if isinstance(each, annotated_types.Le))
        return f"duration, {code(_span(low))} to {code(_span(high))}"
    return _words(schema, defs)


def _span(bound: object) -> str:
    return format_duration(bound) if isinstance(bound, timedelta) else str(bound)


def _words(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return code(*defs[name]["enum"]) if "enum" in defs[name] else f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_words(each, defs) for each in schema["anyOf"] if each.get("type") != "null")
    match schema.get("type"):
        case "integer":
            return "integer" + _range(schema.get("minimum"), schema.get("maximum"))
        case "boolean":
            return "`true` or `false`"
        case "array":
            return f"list of {_words(schema['items'], defs)}" + _range(schema.get("minItems"), schema.get("maxItems"))
        case "object":
            inner = next(iter(schema.get("patternProperties", {}).values()), None)
            return f"table; each entry {_words(inner, defs)}" if inner else "table"
    return _text(schema)


def _text(schema: Mapping[str, Any]) -> str:
    if schema.get("format") == "date-time":
        return "instant with its offset, ISO 8601"
    if schema.get("format") == "path":
        return "path"
    pattern = schema.get("pattern", "")
    if choices := re.fullmatch(r"\^\(?([\w|]+)\)?\$", pattern):
        return code(*choices[1].split("|"))
    words = _WORDS.get(pattern) or (f"text that matches `{pattern}`" if pattern else "text")
    return words + _range(schema.get("minLength"), schema.get("maxLength"), unit=" characters")


def _range(low: int | None, high: int | None, before: str = ",", unit: str = "") -> str:
    if low is None and high is None:
        return ""
    if high is None:
        return f"{before} at least {low:,}{unit}"
    return f"{before} at most {high:,}{unit}" if low is None else f"{before} {low:,} to {high:,}{unit}"


def refusals() -> str:
    """Return every refusal: code, fact, remedy, rule."""
    rows = [[code(each), text.fact.replace("!r}", "}"), text.remedy, text.rule] for each, text in REFUSALS.items()]
    return table(["code", "fact", "remedy", "rule"], rows)


def settings() -> str:
    """Return every setting of the environment."""
    schema = Settings.model_json_schema()["properties"]
    rows = [[code(name.upper()), *reversed(SETTINGS[name]), _words(schema[name], {}), _default(field)]
            for name, field in Settings.model_fields.items()]  # fmt: skip
    return table(["setting", "meaning", "read by", "value", "default"], rows)


def temporal_settings() -> str:
    """Return Temporal's own settings of the environment."""
    return table(["setting", "meaning"], [[code(name), meaning] for name, meaning in TEMPORAL_SETTINGS.items()])


def policy_windows() -> str:
    """Return the windows of the policy file with default, bounds and the value of `policy.toml`."""
    chosen = Windows.model_validate(load_policy((ROOT / "policy.toml").read_text(encoding="utf-8")).windows)
    schema = Windows.model_json_schema()["properties"]
    rows = [[code(name), f"from {WINDOWS[name][0]}: at its end {WINDOWS[name][1]} ({', '.join(WINDOWS[name][2].split())})",
             _value(field, schema[name], {}), _default(field), code(format_duration(getattr(chosen, name)))]
            for name, field in Windows.model_fields.items()]  # fmt: skip
    return table(["key", "meaning", "value", "default", "`policy.toml`"], rows)


def policy_keys(form: type[BaseModel]) -> str:
    """Return the keys of a marketplace or a seller in the policy file."""
    schema = form.model_json_schema()
    rows = [[code(name), POLICY_KEYS[form][name], _value(field, schema["properties"][name], {}), _default(field)]
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
    bounds = "" if low is None or high is None else _range(int(low), int(high))
    return {int: "integer", Path: "path"}.get(kind, "text") + bounds


def _plain(markup: str | None) -> str:
    """Return a help text without its markup; dimmed rule ids are put in brackets."""
    return re.sub(r"\[dim\](.*?)\[/\]", r"(\1)", markup or "")


def exits() -> str:
    """Return what the exit codes of the starter mean."""
    return table(["exit code", "meaning"], [[code(number), meaning] for number, meaning in EXITS.items()])
