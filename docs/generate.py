"""The generated parts of the documentation: tables and a diagram, made from the code's own tables by `make docs`.

What the code does not say itself (what a state means, what a setting is for) stands in the tables of `docs/meanings.py`,
keyed by the code's names: a name without its line fails the tests. Policy: D4.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from enum import Enum
from typing import Any, get_args

import annotated_types
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from docs.meanings import CHAPTERS, DUE, FLAGS, STATES, WINDOWS
from domain.base import Code, Email, OrderNumber, Sha256, format_duration
from domain.cases import CASE_ROWS
from domain.commands import COMMANDS, MAX_COMMAND_BYTES, Command
from domain.deadlines import MOVES_THE_ORDER, SUMMARIES, DeadlineName
from domain.documents import DOCUMENT_REFUSALS
from domain.joint import JOINT_REFUSALS
from domain.journal import MAX_COMMANDS
from domain.lifecycle import PAYMENT_ROWS, REQUEST_ROWS, ROWS, Row, When, actors_for
from domain.order import CLOSED, Actor, Flag, Status
from domain.parcel import MAX_PARCEL_BYTES, Parcel
from domain.payment_state import PaymentStatus
from domain.placement import MAX_ITEMS, MAX_PLACEMENT_BYTES, MAX_UNITS, MAX_UNITS_OF_ONE, Placement
from domain.policy import PolicyWindows
from domain.purchase import Purchase
from domain.reasons import BuyerReason, ParcelReason, ReturnReason, SellerReason, SystemReason
from domain.refund import DeductionKind, RefundReason, RefundStatus
from domain.refusals import REFUSALS

_WORDS: Mapping[str, str] = {
    TypeAdapter(Code).json_schema()["pattern"]: "identifier: 1 to 60 letters, digits, `.`, `-` or `_`",
    TypeAdapter(Email).json_schema()["pattern"]: "mail address",
    TypeAdapter(OrderNumber).json_schema()["pattern"]: "order number, like `503-1234567-1234567`",
    r"^[\x21-\x7e]+$": "ASCII text without spaces",
    TypeAdapter(Sha256).json_schema()["pattern"]: "SHA-256 in hexadecimal",
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
    rows = [[code(r.source) if r.source else "none yet", code(r.event), r.actor, code(r.target), r.when, r.rule]
            for r in REQUEST_ROWS]  # fmt: skip
    return table(["request", "event", "by", "becomes", "when", "rule"], rows)


def cases() -> str:
    """Return every transition of a case, a table for each kind."""
    parts = []
    for kind in dict.fromkeys(row.kind for row in CASE_ROWS):
        rows = [[code(row.source) if row.source else "none yet", _event(row.event), code(row.target), row.rule]
                for row in CASE_ROWS if row.kind is kind]  # fmt: skip
        parts.append(
            f"### {kind.value.replace('_', ' ').capitalize()}\n\n{table(['case', 'event', 'becomes', 'rule'], rows)}"
        )
    return "\n\n".join(parts)


def refunds() -> str:
    """Return the codes of refunds: states, reasons, deductions."""
    rows = [
        ["state of a part", code(*RefundStatus)],
        ["reason", code(*RefundReason)],
        ["deduction", code(*DeductionKind)],
    ]
    return table(["what", "codes"], rows)


def windows() -> str:
    """Return the windows: default, start, end and rule; a handling time and an approval window are the seller's own."""
    rows = []
    for name, field in PolicyWindows.model_fields.items():
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
    each = {
        "cancelled by the buyer": BuyerReason,
        "cancelled by the seller": SellerReason,
        "cancelled by the marketplace": SystemReason,
        "returned by the buyer": ReturnReason,
        "come back by itself": ParcelReason,
    }
    return table(["what", "reason"], [[what, code(*kinds)] for what, kinds in each.items()])


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
        ["bytes of a combined parcel", f"{MAX_PARCEL_BYTES:,}"],
        ["commands of one actor to one order", f"{MAX_COMMANDS:,}"],
    ]
    return table(["what", "at most"], rows)


def placement() -> str:
    """Return the fields of a placement."""
    return _fields(Placement)


def purchase() -> str:
    """Return the fields of a purchase across sellers."""
    return _fields(Purchase)


def parcel() -> str:
    """Return the fields of a combined parcel."""
    return _fields(Parcel)


def forms() -> str:
    """Return the forms that commands and placements are made of."""
    found: dict[str, type[BaseModel]] = {}
    outer: list[type[BaseModel]] = [Placement, Purchase, Parcel, *COMMANDS.values()]
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
        rows.append(
            [code(name), value_of(field, schema["properties"][name], schema.get("$defs", {})), default_of(field)]
        )
    return table(["field", "value", "default"], rows)


def default_of(field: FieldInfo) -> str:
    """Say a field's default."""
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True, validated_data={})
    if default in (None, (), {}) or default is PydanticUndefined:
        return "none"
    if isinstance(default, bool):
        return code(str(default).lower())
    if isinstance(default, tuple):
        return code(*default)
    return code(format_duration(default) if isinstance(default, timedelta) else default)


def value_of(field: FieldInfo, schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """Say in words what a field takes and within which limits."""
    if field.annotation is timedelta:
        # JSON schema has no bounds for durations; the field itself has.
        low = next(each.ge for each in field.metadata if isinstance(each, annotated_types.Ge))
        high = next(each.le for each in field.metadata if isinstance(each, annotated_types.Le))
        return f"duration, {code(_span(low))} to {code(_span(high))}"
    return words_of(schema, defs)


def _span(bound: object) -> str:
    return format_duration(bound) if isinstance(bound, timedelta) else str(bound)


def words_of(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """Say in words what a JSON schema allows."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return code(*defs[name]["enum"]) if "enum" in defs[name] else f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(words_of(each, defs) for each in schema["anyOf"] if each.get("type") != "null")
    match schema.get("type"):
        case "integer":
            return "integer" + range_of(schema.get("minimum"), schema.get("maximum"))
        case "boolean":
            return "`true` or `false`"
        case "array":
            return f"list of {words_of(schema['items'], defs)}" + range_of(
                schema.get("minItems"), schema.get("maxItems")
            )
        case "object":
            inner = next(iter(schema.get("patternProperties", {}).values()), None)
            return f"table; each entry {words_of(inner, defs)}" if inner else "table"
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
    return words + range_of(schema.get("minLength"), schema.get("maxLength"), unit=" characters")


def range_of(low: int | None, high: int | None, before: str = ",", unit: str = "") -> str:
    """Say the bounds of a number, a length or a count."""
    if low is None and high is None:
        return ""
    if high is None:
        return f"{before} at least {low:,}{unit}"
    return f"{before} at most {high:,}{unit}" if low is None else f"{before} {low:,} to {high:,}{unit}"


def refusals() -> str:
    """Return every refusal: code, fact, remedy, rule."""
    rows = [[code(each), text.fact.replace("!r}", "}"), text.remedy, text.rule]
            for each, text in (*REFUSALS.items(), *JOINT_REFUSALS.items(), *DOCUMENT_REFUSALS.items())]  # fmt: skip
    return table(["code", "fact", "remedy", "rule"], rows)
