"""The book of an order: one answer per command id, everything that came in is written down, no flood locks anybody out."""

from typing import Any

import pytest
from domain_kit import DAY, HOUR, MINUTE, NEW_ADDRESS, PARCEL, T0, Scene, code, in_state, pending, substance, unshipped

from domain.commands import COMMANDS, MAX_COMMAND_BYTES
from domain.effects import Capture, Outcome, Result
from domain.journal import KEPT_ENTRIES, MAX_COMMANDS, Message, engine_error, trim, unrecorded
from domain.order import Actor, EntryKind, HistoryEntry, Order, Status


def message(name: str, **payload: Any) -> Message:
    """Return a command as it arrives."""
    return Message(name=name, payload=payload, message_id="m1")


@pytest.mark.rule("D3")
def test_the_same_command_twice_has_one_effect_and_one_answer() -> None:
    """The seller's confirmation delivered twice under one id charges once, ships once and is answered alike."""
    scene = unshipped()
    ship = message("ship", actor="seller", id="s-1", requested_at=T0.isoformat(), **PARCEL)
    first = scene.take(ship)
    before, effects = scene.order, len(scene.effects)
    again = scene.late(T0 + HOUR).take(ship)
    assert (first.refusal, again.refusal, again.repeated) == (None, None, True)
    assert scene.order == before
    assert len(scene.effects) == effects
    assert len(scene.did(Capture)) == 1


@pytest.mark.rule("D3")
def test_a_refusal_is_repeated_too() -> None:
    """A refused command sent again under its id gets the same refusal, though it would be accepted by now."""
    scene = pending()
    cancel = message("cancel", actor="seller", id="s-1", reason="no_inventory")
    first = scene.take(cancel).refusal
    scene.settle()
    again = scene.take(cancel)
    assert first is not None
    assert first.code == "ORDER_PENDING"
    assert (again.refusal, again.repeated) == (first, True)
    assert scene.status is Status.UNSHIPPED
    assert code(scene, "cancel", "seller", reason="no_inventory") is None


@pytest.mark.rule("D3")
def test_a_repetition_is_the_same_whenever_it_was_stamped() -> None:
    """A sender that stamps its repetition anew is still answered with the first answer."""
    scene = unshipped()
    assert scene.take(message("cancel", actor="buyer", id="c", requested_at=T0.isoformat())).refusal is None
    later = message("cancel", actor="buyer", id="c", requested_at=(T0 + DAY).isoformat())
    assert scene.late(T0 + DAY).take(later).repeated


@pytest.mark.rule("D3")
@pytest.mark.parametrize(
    "other",
    [
        message("cancel", actor="buyer", id="x", reason="found_cheaper"),
        message("cancel", actor="seller", id="x", reason="no_inventory"),
        message("request_cancellation", actor="buyer", id="x"),
    ],
    ids=["other reason", "other actor", "other name"],
)
def test_an_id_used_for_something_else_is_refused(other: Message) -> None:
    """A command under an id that had another content is refused, changes nothing, and the first answer is kept."""
    scene = unshipped()
    edit = message("edit", actor="buyer", id="x", shipping_address=NEW_ADDRESS)
    assert scene.take(edit).refusal is None
    before = substance(scene.order)
    refusal = scene.take(other).refusal
    assert refusal is not None
    assert refusal.code == "COMMAND_ID_REUSED"
    assert substance(scene.order) == before
    assert scene.last.refusal == refusal
    assert scene.take(edit).repeated
    assert scene.take(edit).refusal is None


@pytest.mark.rule("D3")
def test_a_command_without_an_id_is_known_by_its_message() -> None:
    """A command without an id of its own is answered once per message."""
    scene = unshipped()
    cancel = Message(name="cancel", payload={"actor": "buyer"}, message_id="update-7")
    assert scene.take(cancel).refusal is None
    assert scene.take(cancel).repeated
    assert scene.last.command_id == "update-7"


@pytest.mark.rule("D3")
def test_ids_are_known_after_the_order_was_carried_over() -> None:
    """The same id is answered alike also after the order's state went through JSON."""
    scene = unshipped()
    cancel = message("cancel", actor="buyer", id="c")
    scene.take(cancel)
    scene.order = Order.model_validate_json(scene.order.model_dump_json())
    assert scene.take(cancel).repeated


UNREADABLE = [
    (Message(name="explode", payload={"actor": "buyer"}, message_id="m"), "UNKNOWN_COMMAND", "explode"),
    (Message(name="x" * 500, payload={}, message_id="m"), "UNKNOWN_COMMAND", "cancel, "),
    (Message(name="", payload={}, message_id="m"), "UNKNOWN_COMMAND", "knows no command"),
    (message("cancel"), "INVALID_COMMAND", "actor"),
    (message("cancel", actor="king"), "INVALID_COMMAND", "'king'"),
    (message("cancel", actor="buyer", price=1), "INVALID_COMMAND", "price"),
    (message("cancel", actor="buyer", id=""), "INVALID_COMMAND", "id"),
    (message("cancel", actor="buyer", id="a b"), "INVALID_COMMAND", "id"),
    (message("cancel", actor="buyer", id="x" * 101), "INVALID_COMMAND", "100"),
    (message("ship", actor="seller"), "INVALID_COMMAND", "carrier"),
    (message("extend_edit", actor="operator", minutes=10**9), "INVALID_COMMAND", "1440"),
    (Message(name="cancel", payload=None, message_id="m"), "INVALID_COMMAND", "input"),
    (Message(name="cancel", payload="buyer", message_id="m"), "INVALID_COMMAND", "input"),
    (Message(name="cancel", payload=[{"actor": "buyer"}], message_id="m"), "INVALID_COMMAND", "input"),
    (
        Message(name="cancel", unreadable="input: 2 arguments; give one", message_id="m"),
        "INVALID_COMMAND",
        "2 arguments",
    ),
    (
        Message(name="cancel", payload={"actor": "buyer"}, size=MAX_COMMAND_BYTES + 1, message_id="m"),
        "INVALID_COMMAND",
        "65536",
    ),
]


@pytest.mark.rule("D3")
@pytest.mark.parametrize(("sent", "refused", "told"), UNREADABLE, ids=lambda value: str(value)[:40])
def test_what_cannot_be_read_is_refused_and_written_down(sent: Message, refused: str, told: str) -> None:
    """Whoever sends something unreadable, unknown or oversized is refused; the order stays, the history has it."""
    scene = unshipped()
    before = substance(scene.order)
    verdict = scene.take(sent)
    assert verdict.refusal is not None
    assert verdict.refusal.code == refused
    assert told in str(verdict.refusal)
    assert len(verdict.refusal.message) < 1200
    assert substance(scene.order) == before
    last = scene.last
    assert (last.kind, last.accepted, last.refusal, last.actor) == (EntryKind.COMMAND, False, verdict.refusal, None)
    assert len(last.name) <= 60


def test_an_unknown_command_is_told_the_known_ones() -> None:
    """Whoever misspells a command is told all that there are."""
    refusal = unshipped().take(Message(name="cancle", payload={}, message_id="m")).refusal
    assert refusal is not None
    assert all(name in refusal.remedy for name in COMMANDS)


def test_a_command_of_the_largest_size_is_read() -> None:
    """A command exactly at the size limit is taken."""
    sent = Message(name="cancel", payload={"actor": "buyer"}, size=MAX_COMMAND_BYTES, message_id="m")
    assert unshipped().take(sent).refusal is None


def test_an_engine_error_changes_nothing_and_is_told() -> None:
    """A command on which the engine itself fails is refused by name, and the order goes on."""
    scene = unshipped()
    verdict = engine_error(scene.order, message("cancel", actor="buyer"), T0)
    assert verdict.refusal is not None
    assert verdict.refusal.code == "ENGINE_ERROR"
    assert substance(verdict.order) == substance(scene.order)
    assert verdict.order.history[-1].refusal == verdict.refusal


@pytest.mark.rule("D3")
def test_a_sellers_flood_does_not_lock_the_buyer_out() -> None:
    """The seller that sends command after command is refused at its limit, unwritten; the buyer cancels all the same."""
    scene = pending()
    for index in range(MAX_COMMANDS):
        scene.take(message("ship", actor="seller", id=f"s{index}", **PARCEL))
    entries = scene.order.entries
    for index in range(5):
        assert code(scene, "ship", "seller", id=f"t{index}", **PARCEL) == "TOO_MANY_COMMANDS"
    assert scene.order.entries == entries
    assert scene.take(message("ship", actor="seller", id="s1", **PARCEL)).repeated
    assert code(scene, "cancel") is None
    assert scene.status is Status.CANCELLED


@pytest.mark.rule("D3")
def test_a_flood_of_rubbish_locks_nobody_out() -> None:
    """Rubbish is refused and written down up to a limit, beyond it only refused; every actor is still served."""
    scene = unshipped()
    for _ in range(MAX_COMMANDS + 20):
        scene.take(Message(name="rubbish", payload={}, message_id="m"))
    assert scene.order.entries <= MAX_COMMANDS + 10
    refusal = scene.take(Message(name="rubbish", payload={}, message_id="m")).refusal
    assert refusal is not None
    assert refusal.code == "UNKNOWN_COMMAND"
    assert code(scene, "ship", "seller", **PARCEL) is None


@pytest.mark.rule("D3")
def test_a_reused_id_counts_towards_the_flood() -> None:
    """The buyer that sends changing commands under one id is stopped at the limit like any other flood."""
    scene = unshipped()
    codes = {
        code(scene, "edit", id="x", lines=[{"sku": "Z", "quantity": index % 900}]) for index in range(MAX_COMMANDS + 1)
    }
    assert codes == {"NEW_ITEM", "COMMAND_ID_REUSED", "TOO_MANY_COMMANDS"}


def test_trimming_keeps_what_the_store_does_not_know() -> None:
    """Old history is dropped once the store has it, and not a line before."""
    scene = unshipped()
    for index in range(KEPT_ENTRIES + 50):
        code(scene, "cancel", "seller", id=f"s{index}")
    assert trim(scene.order).history == scene.order.history
    assert unrecorded(scene.order) == scene.order.history
    total = scene.order.entries
    scene.publish()
    assert len(scene.order.history) == KEPT_ENTRIES
    assert unrecorded(scene.order) == ()
    assert [each.seq for each in scene.order.history] == list(range(total - KEPT_ENTRIES + 1, total + 1))
    code(scene, "cancel", "seller", id="one more")
    assert [each.seq for each in unrecorded(scene.order)] == [total + 1]


def test_an_older_publication_does_not_unrecord_history() -> None:
    """Two publications that are answered in the wrong order leave the higher mark."""
    scene = in_state(Status.SHIPPED)
    for entries in (4, 2):
        scene.decide(Outcome(result=Result.PUBLISHED, reference="p", entries=entries))
    assert scene.order.recorded_entries == 4


def told(scene: Scene) -> list[tuple[str, Actor | None, bool]]:
    """Return the history as (what, who, accepted)."""
    return [(each.name, each.actor, each.accepted) for each in scene.order.history]


@pytest.mark.rule("D3")
def test_the_history_tells_an_orders_life() -> None:
    """The history has every command, timer and effect of an order with who, what and whether it was accepted."""
    scene = unshipped()
    scene.send("ship", "buyer", **PARCEL)
    scene.at(T0 + 2 * DAY).answer(Result.DECLINED)
    scene.send("ship", "seller", **PARCEL)
    scene.settle().send("cancel", "seller", reason="no_inventory")
    scene.settle()
    assert told(scene) == [
        ("place", Actor.BUYER, True),
        ("authorized", Actor.SYSTEM, True),
        ("ship", Actor.BUYER, False),
        ("edit_window_closed", Actor.SYSTEM, True),
        ("cancel_window_closed", Actor.SYSTEM, True),
        ("ship_date_passed", Actor.SYSTEM, True),
        ("declined", Actor.SYSTEM, False),
        ("ship", Actor.SELLER, False),
        ("voided", Actor.SYSTEM, True),
        ("cancel", Actor.SELLER, True),
    ]
    assert [each.seq for each in scene.order.history] == list(range(1, scene.order.entries + 1))
    assert [each.recorded_at for each in scene.order.history] == sorted(
        each.recorded_at for each in scene.order.history
    )


@pytest.mark.rule("D3")
def test_an_entry_says_when_and_why() -> None:
    """An entry has the instant it was judged by, when it was written, what was asked, and the refusal if any."""
    scene = unshipped().late(T0 + HOUR)
    scene.send("cancel", at=T0 + 40 * MINUTE, id="c-1", reason="found_cheaper")
    entry: HistoryEntry = scene.last
    assert (entry.at, entry.recorded_at) == (T0 + 40 * MINUTE, T0 + HOUR)
    assert (entry.command_id, entry.detail, entry.status) == ("c-1", "reason=found_cheaper", Status.UNSHIPPED)
    assert entry.refusal is not None
    assert entry.refusal.rule == "C3"


@pytest.mark.rule("D3")
def test_an_awaited_command_is_written_once_when_it_is_decided() -> None:
    """A confirmation that waits for the charge is in the history once, with its final answer."""
    scene = unshipped()
    scene.send("ship", "seller", id="s-1", **PARCEL)
    names = [each.name for each in scene.order.history]
    assert names.count("ship") == 1
    assert names[-2:] == ["captured", "ship"]
    assert scene.last.command_id == "s-1"
    assert scene.order.answers["s-1"].refusal is None
