"""The scenes of the demo on a real stack, each checked against the policy and the payment provider's own books."""

import asyncio
from collections.abc import Sequence

import pytest
from live_kit import Live

from sandbox.stack import Stack
from starter.demo import PARTS
from starter.scenes import Scene, Stage

pytestmark = pytest.mark.patience


@pytest.mark.parametrize("scenes", [pytest.param(scenes, id=title) for title, scenes in PARTS])
async def test_every_scene_goes_as_the_policy_says(
    live: Live, stack: Stack, monkeypatch: pytest.MonkeyPatch, scenes: Sequence[Scene]
) -> None:
    """Side by side, as the tour plays them: no scene finds its order otherwise than the policy says."""
    monkeypatch.setenv("STACK_DIRECTORY", str(stack.directory))
    monkeypatch.delenv("TEMPORAL_ADDRESS", raising=False)
    live.stock_samples()
    await asyncio.gather(*(scene.play(Stage(live.orders, live.addresses.provider)) for scene in scenes))
