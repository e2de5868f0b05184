"""Recorded histories of every life of an order replay on today's workflow: running orders survive a deploy."""

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from bench.joint import JOINT
from bench.lives import LIVES
from workflows.order import OrderWorkflow
from workflows.parcel import ParcelWorkflow
from workflows.purchase import PurchaseWorkflow

FOLDER = Path(__file__).parent / "replay"
HISTORIES = sorted(FOLDER.glob("*.json"))


def read(path: Path) -> WorkflowHistory:
    """Read a recorded history."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return WorkflowHistory.from_json(content.pop("workflowId"), content)


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_order_replays(path: Path) -> None:
    """An order that ran on an earlier version goes on on this one."""
    workflows = [OrderWorkflow, PurchaseWorkflow, ParcelWorkflow]
    replayer = Replayer(workflows=workflows, data_converter=pydantic_data_converter)
    await replayer.replay_workflow(read(path))


def test_every_life_is_recorded() -> None:
    """There is a recorded history for each life of an order, for a purchase and for a combined parcel."""
    assert {life.name for life in LIVES} | JOINT.keys() <= {path.stem for path in HISTORIES}


async def test_a_changed_workflow_is_noticed() -> None:
    """The replay fails for a history that the workflow would not have made, so it can fail at all."""
    history = read(FOLDER / "happy.json")
    changed = json.loads(history.to_json())
    for event in changed["events"]:
        attributes = event.get("activityTaskScheduledEventAttributes")
        if attributes and attributes["activityType"]["name"] == "capture":
            attributes["activityType"]["name"] = "refund"
    replayer = Replayer(workflows=[OrderWorkflow], data_converter=pydantic_data_converter)
    with pytest.raises(Exception, match=r"[Nn]ondeterminism"):
        await replayer.replay_workflow(WorkflowHistory.from_json(history.workflow_id, changed))
