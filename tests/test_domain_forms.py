"""How what comes in from outside is read: every form in one way, whatever is wrong with it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from domain.commands import MAX_COMMAND_BYTES, UnreadableCommandError, parse_command
from domain.parcel import MAX_PARCEL_BYTES, ParcelError, parse_parcel
from domain.placement import MAX_PLACEMENT_BYTES, PlacementError, parse_placement
from domain.purchase import parse_purchase

READERS: dict[str, tuple[Callable[[object], Any], type[ValueError], int]] = {
    "placement": (parse_placement, PlacementError, MAX_PLACEMENT_BYTES),
    "purchase": (parse_purchase, PlacementError, MAX_PLACEMENT_BYTES),
    "parcel": (parse_parcel, ParcelError, MAX_PARCEL_BYTES),
    "command": (partial(parse_command, "ship"), UnreadableCommandError, MAX_COMMAND_BYTES),
}


def nested(depth: int) -> object:
    """Return lists within each other."""
    payload: list[Any] = []
    for _ in range(depth):
        payload = [payload]
    return payload


@pytest.mark.rule("D4")
@pytest.mark.parametrize("noun", READERS)
def test_what_cannot_be_read_is_refused_in_the_same_words(noun: str) -> None:
    """Too long, too deep, no JSON, no object: each form's own error names the limit and what to give."""
    read, error, most = READERS[noun]
    for payload, told in (
        ({"carrier": "x" * most}, rf"^input: {most + 15} bytes; at most {most}$"),
        (nested(3000), rf"^input: nested too deeply; give one {noun}$"),
        ({"carrier": {1, 2}}, r"^input: .*set is not JSON serializable$"),
        ([], r"^input: "),
    ):
        with pytest.raises(error, match=told):
            read(payload)


@pytest.mark.rule("P1")
def test_an_oversized_cart_is_told_with_its_own_limits() -> None:
    """A placement that is too long and whose cart is too large is told both, in no longer than it takes to count."""
    lines = [{"sku": f"S-{index}", "quantity": 1} for index in range(20_000)]
    with pytest.raises(PlacementError, match=r"bytes; at most .* 20000 items in the cart; at most 50"):
        parse_placement({"lines": lines})
