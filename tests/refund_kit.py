"""What the tests of refunds, cases and messages share: commands that must be refused without a trace, and what was refunded."""

from datetime import datetime
from typing import Any

from domain_kit import NUMBER, Json, Scene, code, substance

from domain.effects import NoticeKind
from domain.refusals import Refusal

CARD = f"{NUMBER}/3/refund/card"


def jpy(amount: int, currency: str = "JPY") -> Json:
    """Return an amount in minor units."""
    return {"amount_minor": amount, "currency": currency}


def refused(scene: Scene, name: str, actor: str = "buyer", at: datetime | None = None, **fields: Any) -> Refusal:
    """Send a command that must be refused without any change, effect or mail; return the refusal."""
    before, effects, mails = substance(scene.order), len(scene.effects), len(scene.notices)
    refusal = scene.send(name, actor, at, **fields)
    assert refusal is not None, f"{name} by {actor} was accepted"
    assert substance(scene.order) == before
    assert (len(scene.effects), len(scene.notices)) == (effects, mails)
    return refusal


def refund(scene: Scene, reason: str = "goodwill", actor: str = "seller", **fields: Any) -> str | None:
    """Ask for a refund; return the code of its refusal, None when it was accepted."""
    return code(scene, "refund", actor, reason=reason, **fields)


def amounts(scene: Scene) -> list[tuple[str, int, int, int]]:
    """Return the lines of the newest refund: sku, units, goods and shipping in minor units."""
    made = scene.order.refunds[-1].lines
    return [(each.sku, each.quantity, each.items_minor, each.shipping_minor) for each in made]


def refunded(scene: Scene) -> Scene:
    """Let the seller refund everything, and the provider take it in."""
    assert refund(scene) is None
    return scene.settle()


def told(scene: Scene, kind: NoticeKind) -> list[tuple[str, str | None]]:
    """Return to whom and about what the notices of `kind` went."""
    return [(each.recipient.value, each.subject_id) for each in scene.notices if each.kind is kind]
