"""The stock of the sample sellers, for an embedded stack and the benches."""

from store.store import Store

SAMPLES = {
    "S-100": {"CUP-01": 1000, "POT-02": 200, "TRAY-03": 50},
    "S-200": {"TAZZA-1": 500, "LAMPADA-2": 20},
    "S-300": {"BOOK-1": 1000, "MAP-2": 5},
}
"""What the sample sellers have when an embedded stack starts for the first time."""


def seed(store: Store) -> None:
    """Give the sample sellers their stock, once."""
    if store.stock():
        return
    for seller, items in SAMPLES.items():
        for sku, units in items.items():
            store.set_on_hand(seller, sku, units)
