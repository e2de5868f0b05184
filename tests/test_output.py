"""What the starter prints of an order: items, payment numbers, the link to the Temporal UI."""

import pytest
from domain_kit import NUMBER, Scene, awaiting, partly
from refund_kit import refund
from rich.console import Console

from domain.views import view
from starter import output

FIRST = f"{NUMBER}/1/authorize"


def shown(scene: Scene, url: str | None = None, width: int = 120) -> str:
    """Return what `show` prints of an order."""
    console = Console(width=width, color_system=None)
    with console.capture() as printed:
        output.print_order(console, view(scene.order, scene.now), scene.order.history, url)
    return printed.get()


@pytest.mark.rule("S8")
def test_what_is_not_shipped_any_more_has_a_column() -> None:
    """Units refunded as out of stock stand beside those shipped; an order without any has no such column."""
    scene = partly()
    assert "not shipped" not in shown(scene)
    assert refund(scene, "out_of_stock", lines=[{"sku": "B"}]) is None
    row = next(line for line in shown(scene).splitlines() if line.strip().startswith("B "))
    assert row.split()[-5:-2] == ["1", "0", "1"]


@pytest.mark.rule("P5", "G7")
def test_a_payment_number_says_whether_it_can_be_paid() -> None:
    """Awaited it names its date, paid it is paid, and of a cancelled order it is no longer valid."""
    scene = awaiting()
    assert "N-1, at a convenience store, until 2026-" in shown(scene)
    paid = awaiting()
    paid.partners.pay_at_store(FIRST)
    assert "N-1, paid" in shown(paid.hear(FIRST))
    scene.send("cancel")
    assert "N-1, no longer valid" in shown(scene.settle())


def test_the_link_is_on_one_line_however_narrow_the_terminal() -> None:
    """The address of the Temporal UI can be opened and copied."""
    url = f"http://127.0.0.1:8233/namespaces/default/workflows/order-{NUMBER}"
    assert f"in the Temporal UI: {url}\n" in shown(awaiting(), url, width=40)
