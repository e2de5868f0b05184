"""Record one history for each life of an order, for the replay tests: `make histories`.

A change to the workflow that these histories no longer replay would break orders that are running: keep the old way
with `workflow.patched`, and record the new one beside it.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle

from bench.joint import JOINT
from bench.lives import LIVES
from bench.player import live_through
from sandbox.stack import ROOT, Stack
from starter.client import OrderClient
from starter.samples import seed
from starter.session import policy as load_policy
from starter.session import settings as load_settings
from store.store import Store
from workflows.connection import connect

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
    with tempfile.TemporaryDirectory() as folder:
        os.environ["STACK_DIRECTORY"] = folder
        stack = Stack(Path(folder), ui_port=None)
        addresses = await stack.start()
        try:
            seed(Store(addresses.database_url))
            temporal = await connect(target_host=addresses.temporal, namespace="default")
            client = OrderClient(temporal, "orders", load_policy(load_settings()))
            plays: dict[str, Callable[[OrderClient], Awaitable[WorkflowHandle[Any, Any]]]] = {**JOINT}
            plays |= {life.name: partial(live_through, life=life) for life in LIVES}
            for name, play in plays.items():
                path = FOLDER / f"{name}.json"
                if path.exists() if not wanted else name not in wanted:
                    continue
                history = await (await play(client)).fetch_history()
                content = {"workflowId": history.workflow_id, **scrubbed(json.loads(history.to_json()))}
                path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")
                sys.stdout.write(f"{name}: {len(history.events)} events\n")
        finally:
            await stack.stop()
    return 0


if __name__ == "__main__":
    code = asyncio.run(_main())
    sys.stdout.flush()
    # Threads of Temporal's client that are still at work while Python shuts down abort the process now and then.
    os._exit(code)
