"""Record one history for each life of an order, for the replay tests: `make histories`.

A change to the workflow that these histories no longer replay would break orders that are running: keep the old way
with `workflow.patched`, and record the new one beside it.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from temporalio.client import WorkflowHandle

from bench.joint import JOINT
from bench.lives import LIVES
from bench.player import live_through
from bench.stage import leave, open_stage
from sandbox.stack import ROOT
from starter.client import OrderClient

FOLDER = ROOT / "tests" / "replay"


def scrubbed(value: Any) -> Any:
    """Return a history without what tells of the machine it was recorded on."""
    if isinstance(value, dict):
        return {
            key: "recorder" if key == "identity" else scrubbed(each)
            for key, each in value.items()
            if key != "stackTrace"
        }
    return [scrubbed(each) for each in value] if isinstance(value, list) else value


async def _main() -> int:
    wanted = set(sys.argv[1:])
    FOLDER.mkdir(exist_ok=True)
    plays: dict[str, Callable[[OrderClient], Awaitable[WorkflowHandle[Any, Any]]]] = {**JOINT}
    plays |= {life.name: partial(live_through, life=life) for life in LIVES}
    async with open_stage() as stage:
        for name, play in plays.items():
            path = FOLDER / f"{name}.json"
            if path.exists() if not wanted else name not in wanted:
                continue
            history = await (await play(stage.orders())).fetch_history()
            content = {"workflowId": history.workflow_id, **scrubbed(json.loads(history.to_json()))}
            path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")
            sys.stdout.write(f"{name}: {len(history.events)} events\n")
    return 0


if __name__ == "__main__":
    leave(asyncio.run(_main()))
