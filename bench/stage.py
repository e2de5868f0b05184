"""What every bench stands on: an embedded stack of its own, in a folder that is gone afterwards, with stocked sellers."""

import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

from temporalio.client import Client

from domain.policy import Policy
from sandbox.stack import Stack
from starter.client import OrderClient
from starter.samples import seed
from starter.session import policy as load_policy
from starter.session import settings as load_settings
from store.store import Store
from workflows.connection import connect


class Stage(NamedTuple):
    """A running stack with a worker: its Temporal server, and the policy of the settings."""

    temporal: Client
    policy: Policy

    def orders(self, policy: Policy | None = None) -> OrderClient:
        """Return a client that places orders under `policy`, that of the settings without it."""
        return OrderClient(self.temporal, "orders", policy or self.policy)


@asynccontextmanager
async def open_stage() -> AsyncIterator[Stage]:
    """Start a stack, stock the sample sellers, and stop everything in any case."""
    with tempfile.TemporaryDirectory() as folder:
        # The stage is where the starter looks for a stack, whatever else runs on this machine.
        os.environ["STACK_DIRECTORY"] = folder
        stack = Stack(Path(folder), ui_port=None)
        addresses = await stack.start()
        try:
            store = Store(addresses.database_url)
            seed(store)
            store.close()
            temporal = await connect(target_host=addresses.temporal, namespace="default")
            yield Stage(temporal, load_policy(load_settings()))
        finally:
            await stack.stop()


def leave(code: int) -> NoReturn:
    """End the process with `code`."""
    sys.stdout.flush()
    # Threads of Temporal's client that are still at work while Python shuts down abort the process now and then.
    os._exit(code)
