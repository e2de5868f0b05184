"""Placements for the starter: from options, from a JSON file, or many alike."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from domain.placement import Placement, PlacementError, parse_placement
from starter.client import InputError

MAX_FILE_BYTES = 64 * 1024 * 1024
MOST_ORDERS = 10_000

_BUYERS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "JP": (
        {"name": "佐藤 花子", "language": "ja", "phone": "+81 3 5555 0101"},
        {"line1": "千代田1-1-1", "city": "東京", "postal_code": "100-0001", "country": "JP"},
    ),
    "IT": (
        {"name": "Giulia Rossi", "language": "it", "phone": "+39 06 5555 0102"},
        {"line1": "Via Roma 1", "city": "Roma", "postal_code": "00184", "country": "IT"},
    ),
    "US": (
        {"name": "Alex Smith", "language": "en", "phone": "+1 212 555 0103"},
        {"line1": "1 Main Street", "city": "New York", "postal_code": "10001", "country": "US"},
    ),
}
_CURRENCIES = {"JP": "JPY", "IT": "EUR", "US": "USD"}


def order_number() -> str:
    """Return a new order number of the 3-7-7 digit form."""
    pick = random.SystemRandom().randrange
    return f"503-{pick(10**7):07d}-{pick(10**7):07d}"


def cart(  # noqa: PLR0913 - a sample with everything that can be varied
    *,
    number: str | None = None,
    marketplace: str = "JP",
    seller: str = "S-100",
    items: tuple[str, ...] = ("CUP-01:1:1200",),
    card: str | None = None,
    shipping: str = "standard",
    language: str | None = None,
    fulfilment: str = "seller",
    email: str = "buyer-1@buyers.example",
    method: str = "card",
    points: int = 0,
    business: str | None = None,
) -> Placement:
    """Build a placement for a sample buyer; raises InputError with all errors at once.

    `items` are `SKU:QUANTITY:PRICE[:TITLE]`, the price in minor units of the marketplace's currency, as `points` are.
    Method card takes `card-approve` unless told otherwise; `business` is a business buyer's purchase-order number (P6).
    """
    card = "card-approve" if card is None and method == "card" else card
    buyer, address = _BUYERS.get(marketplace, _BUYERS["US"])
    person = {**buyer, "buyer_id": "B-1", "email": email, **({"language": language} if language else {})}
    payload = {
        "order_number": number or order_number(),
        "marketplace": marketplace,
        "seller_id": seller,
        "fulfilment": fulfilment,
        "buyer": person,
        "shipping_address": {**address, "recipient": person["name"]},
        "shipping_option": shipping,
        "lines": [_line(text, _CURRENCIES.get(marketplace, "USD")) for text in items],
        "payment": {"method": method, "card": card, "points_minor": points},
        "business": {"purchase_order_number": business} if business is not None else None,
    }
    return read(payload)


def _line(text: str, currency: str) -> dict[str, Any]:
    parts = text.split(":", 3)
    try:
        sku, quantity, price = parts[0], int(parts[1]), int(parts[2])
    except (IndexError, ValueError):
        raise InputError(f"item: {text!r} is not SKU:QUANTITY:PRICE[:TITLE]; write for example CUP-01:2:1200") from None
    title = parts[3] if len(parts) > 3 else sku
    return {
        "sku": sku,
        "title": title,
        "quantity": quantity,
        "unit_price": {"amount_minor": price, "currency": currency},
    }


def read(payload: object) -> Placement:
    """Read one placement; raises InputError with all errors at once."""
    try:
        return parse_placement(payload)
    except PlacementError as error:
        raise InputError(str(error)) from None


def read_json(path: Path, name: str = "file") -> Any:
    """Read a JSON file; raises InputError naming the field, the file and what is wrong with it."""
    try:
        size = path.stat().st_size
        if size <= MAX_FILE_BYTES:
            return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{name}: {path} cannot be read as JSON: {error}") from None
    raise InputError(f"{name}: {path} has {size} bytes; at most {MAX_FILE_BYTES}")


def read_file(path: Path) -> list[Placement]:
    """Read one placement or a list of them from a JSON file; raises InputError naming every bad one by its position."""
    payload = read_json(path)
    carts = payload if isinstance(payload, list) else [payload]
    if not 1 <= len(carts) <= MOST_ORDERS:
        raise InputError(f"file: {len(carts)} orders; 1 to {MOST_ORDERS}")
    placements, errors = [], []
    for position, each in enumerate(carts):
        try:
            placements.append(read(each))
        except InputError as error:
            errors.append(f"order {position + 1}: {error}")
    errors += [f"order_number: {number} is named twice" for number in _twice(placements)]
    if errors:
        raise InputError("; ".join(errors[:20]) + (f"; and {len(errors) - 20} more" if len(errors) > 20 else ""))
    return placements


def _twice(placements: list[Placement]) -> Iterator[str]:
    seen: set[str] = set()
    for each in placements:
        if each.order_number in seen:
            yield each.order_number
        seen.add(each.order_number)
