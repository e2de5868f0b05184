"""Random lives of orders: what anybody may send at any time, drawn for the property test of whole lives.

PYTEST_DONT_REWRITE: it asserts nothing.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from domain_kit import DAY, MINUTE, NEW_ADDRESS, PARCEL, Json, Scene, cart, every_method, line, shipper
from hypothesis import strategies as st

from domain.cases import CASE_ROWS
from domain.commands import COMMANDS
from domain.deadlines import OPEN
from domain.lifecycle import ROWS
from domain.message import Template, Topic
from domain.order import Actor
from domain.reasons import ParcelReason, SellerReason
from domain.refund import DeductionKind, RefundReason

SECRET = "Only between us"
"""What people write in every free text of these lives."""
PAID: dict[str, Json] = {
    "card": {"method": "card", "card": "card-ok"},
    "card and points": {"method": "card", "card": "card-ok", "points_minor": 1234},
    "konbini": {"method": "konbini"},
    "points": {"method": "points"},
}
SKUS = ("A", "B", "C")
SHORT = ('return_window = "30d"', 'return_window = "5d"')


@st.composite
def beginnings(draw: st.DrawFn) -> Scene:
    """Draw a placed order: how it is paid, who ships it, whether it is reviewed, how long holds last."""
    lines = [line("A", 2, 1000), line("B", 1, 500), line("C", 3, draw(st.sampled_from([333, 1, 33])))]
    placed = cart(
        *lines,
        payment=PAID[draw(st.sampled_from(list(PAID)))],
        fulfilment=draw(st.sampled_from(["seller", "seller", "marketplace"])),
        business=draw(st.sampled_from([None, {"purchase_order_number": "PO-Hanako"}])),
    )
    limit = draw(st.sampled_from([None, None, 1]))
    scene = Scene(placed, every_method(*draw(st.sampled_from([(), (SHORT,)])), review_above_minor=limit))
    scene.partners.lasts = draw(st.sampled_from([3 * DAY, 30 * DAY]))
    _lead_on(scene, draw(st.sampled_from(["placed", "verified", "partly shipped", "shipped", "shipped", "delivered"])))
    return scene


def _lead_on(scene: Scene, target: str) -> None:
    """Lead an order on by the plain way, so that as many lives are looked at after the shipment as before it."""
    if target == "placed":
        return
    reference = scene.order.payment.reference
    scene.settle()
    if scene.partners.holds[reference].number is not None:
        scene.partners.pay_at_store(reference)
        scene.hear(reference)
    scene.send("release_review", "operator")
    if target != "verified":
        parcel: Json = dict(PARCEL)
        if target == "partly shipped":
            parcel["lines"] = [{"sku": "A", "quantity": 1}, {"sku": "C", "quantity": 1}]
        scene.send("ship", shipper(scene), **parcel)
    if target == "delivered":
        scene.send("deliver", "system")


def _yen(most: int) -> st.SearchStrategy[Json]:
    return st.integers(1, most).map(lambda amount: {"amount_minor": amount, "currency": "JPY"})


def _lines(most: int = 3) -> st.SearchStrategy[list[Json]]:
    units = st.dictionaries(st.sampled_from(SKUS), st.integers(1, most), max_size=3)
    return units.map(lambda found: [{"sku": sku, "quantity": count} for sku, count in found.items()])


def _case_id() -> st.SearchStrategy[Json]:
    return st.sampled_from([{}, {}, {"case_id": "K1"}, {"case_id": "K2"}])


@st.composite
def _refund_line(draw: st.DrawFn) -> Json:
    form: Json = {"sku": draw(st.sampled_from(SKUS))}
    match draw(st.integers(0, 3)):
        case 0:
            form["amount"] = draw(_yen(700))
        case 1:
            form |= {"amount": draw(_yen(1200)), "quantity": draw(st.integers(1, 2))}
        case 2:
            form |= {"quantity": draw(st.integers(1, 3)), "with_shipping": draw(st.booleans())}
        case _:
            form["with_shipping"] = draw(st.booleans())
    return form


@st.composite
def _refund(draw: st.DrawFn) -> Json:
    form: Json = {
        "reason": draw(st.sampled_from(RefundReason)).value,
        "memo": SECRET,
        "consent": SECRET,
        **draw(_case_id()),
    }
    form["lines"] = draw(st.lists(_refund_line(), max_size=3, unique_by=lambda each: str(each["sku"])))
    if draw(st.booleans()):
        form["shipping"] = draw(_yen(520))
    if draw(st.integers(0, 3)) == 0:
        form["deductions"] = [{"kind": draw(st.sampled_from(DeductionKind)).value, "amount": draw(_yen(900))}]
    return form


@st.composite
def _message(draw: st.DrawFn, scene: Scene) -> Json:
    form: Json = {"topic": draw(st.sampled_from(Topic)).value}
    form |= {"template": Template.HOW_TO_CANCEL.value} if draw(st.integers(0, 4)) == 0 else {"text": SECRET}
    if draw(st.booleans()):
        form["answer_by"] = (scene.now + draw(st.integers(0, 4)) * DAY + MINUTE).isoformat()
    return form


def _plain(scene: Scene) -> Mapping[str, st.SearchStrategy[Json]]:
    """Return the strategies of the fields that need no more than a line each."""
    note = st.sampled_from([{}, {"note": SECRET}])
    on_items = st.builds(lambda lines, more: {"lines": lines, **more}, _lines(), note)
    on_case = st.builds(lambda case_id, more: {**case_id, **more}, _case_id(), note)
    known = [
        *scene.partners.holds,
        *scene.partners.refunds,
        scene.order.payment.reference,
        "503-0000000-0000000/1/authorize",
    ]
    untils = st.integers(-1, 40).map(lambda days: {"until": (scene.now + days * DAY).isoformat()})
    return {
        "edit": st.one_of(
            _lines(4).map(lambda lines: {"lines": lines}),
            st.sampled_from([{"shipping_option": "express"}, {"lines": [{"sku": "A", "quantity": 0}]}]),
            st.just({"shipping_address": {**NEW_ADDRESS, "recipient": "Hanako Yamada"}}),
        ),
        "cancel": st.sampled_from(
            [{}, {"reason": "other", "note": SECRET}, {"reason": "no_inventory", "note": SECRET}]
        ),
        "request_cancellation": on_items,
        "decline_cancellation": on_case,
        "ship": _lines(2).map(lambda lines: {**PARCEL, "lines": lines}) | st.just(PARCEL),
        "deliver": st.sampled_from([{}, {"shipment_id": "P1"}, {"shipment_id": "P2"}]),
        "extend_edit": st.sampled_from([{"minutes": 10}, {"minutes": 1440}]),
        "pay_again": st.sampled_from([None, 0, 300, 9999]).map(
            lambda points: {"card": "card-new", "points_minor": points}
        ),
        "hold_for_review": st.just({"reason": SECRET}),
        "refuse_review": note,
        "cancel_items": st.builds(
            lambda lines, reason, consent: {"lines": lines, "reason": reason.value, "consent": consent},
            _lines(2).filter(bool),
            st.sampled_from(SellerReason),
            st.sampled_from([None, SECRET, SECRET]),
        ),
        "rate": st.integers(1, 5).map(lambda stars: {"stars": stars, "comment": SECRET}),
        "retry_refund": st.sampled_from(["R1", "R2", "R3"]).map(lambda refund_id: {"refund_id": refund_id}),
        "payment_event": st.sampled_from(known).map(lambda ref: {"reference": ref, "event": "payment.moved"}),
        "request_return": on_items,
        "report_not_received": on_items,
        "recall_parcel": on_items,
        "return_to_sender": st.builds(
            lambda more, reason: {**more, "reason": reason.value}, on_items, st.sampled_from(ParcelReason)
        ),
        "ask_to_wait": st.builds(lambda until, more: {**until, **more}, untils, on_case),
        **dict.fromkeys(
            [name for name, form in COMMANDS.items() if form.__name__ == "OnCase"],
            on_case,
        ),
    }


_OFTEN = {"refund": 6, "ship": 3, "retry_refund": 3, "cancel_items": 3, "edit": 3, "pay_again": 3, "send_message": 2}
_STEPS = {row.event for row in CASE_ROWS if row.source is not None} - {"refund", "deliver"}
_ENDING = {"cancel", "accept_cancellation", "refuse_review", "receive_return"}


def _likely(scene: Scene, *, ends: bool) -> list[tuple[str, Actor]]:
    """Return the commands that the table opens in the order's state, those that lead far more often, the fitting steps of cases."""
    cases = {(case.kind, case.status) for case in scene.order.cases}
    fitting = {row.event for row in CASE_ROWS if (row.kind, row.source) in cases}
    found: list[tuple[str, Actor]] = []
    for row in ROWS:
        name = str(row.event)
        if row.source is not scene.status or name not in COMMANDS or (name in _ENDING and not ends):
            continue
        before_shipment = scene.status in OPEN
        if name == "request_cancellation" and before_shipment and not ends:
            continue
        if name in _STEPS and name not in fitting and not (name == "decline_cancellation" and before_shipment):
            continue
        found += [(name, row.actor)] * (4 if name in fitting else _OFTEN.get(name, 1))
    return found


@st.composite
def commands(draw: st.DrawFn, scene: Scene) -> tuple[str, Actor, dict[str, Any]]:
    """Draw a command: mostly one that the table opens in the order's state, else anybody's anything."""
    ends, wild = draw(st.integers(0, 7)) == 0, draw(st.integers(0, 5)) == 0
    likely = _likely(scene, ends=ends)
    if likely and not wild:
        name, actor = draw(st.sampled_from(likely))
    else:
        name, actor = draw(st.sampled_from(sorted(COMMANDS))), draw(st.sampled_from(Actor))
    if name == "refund":
        return name, actor, draw(_refund())
    if name == "send_message":
        return name, actor, draw(_message(scene))
    return name, actor, draw(_plain(scene).get(name, st.just({})))


STAMPS = st.sampled_from([timedelta(), timedelta(), timedelta(), -3 * MINUTE, -DAY, DAY, -90 * DAY])
"""How far from the order's clock a command claims to have been asked for."""
