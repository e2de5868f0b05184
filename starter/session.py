"""What every command of the starter shares: finding the stack, connecting to it, opening the store."""

import asyncio
import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError

from activities.settings import Settings
from domain.base import order_id
from domain.policy import Policy, PolicyError, load_policy
from sandbox.stack import ROOT, Addresses, running_stack
from starter.client import InputError, OrderClient, UnreachableError
from workflows.connection import connect

if TYPE_CHECKING:
    from store.store import Store


def stack_directory() -> Path:
    """Return the folder of the embedded stack: `STACK_DIRECTORY`, else `.data` beside the code."""
    return Path(os.environ.get("STACK_DIRECTORY") or ROOT / ".data")


def embedded_stack() -> Addresses | None:
    """Return the running embedded stack, unless the environment names a Temporal server of its own."""
    found = running_stack(stack_directory())
    address = os.environ.get("TEMPORAL_ADDRESS")
    return found if found is not None and address in (None, "", found.temporal) else None


def order_url(number: str) -> str | None:
    """Return where the Temporal UI shows an order, None where no embedded stack has a UI."""
    stack = embedded_stack()
    return f"{stack.ui}/namespaces/default/workflows/{order_id(number)}" if stack and stack.ui else None


def settings() -> Settings:
    """Return the settings of the environment, those of a running embedded stack filling what is not set."""
    stack = embedded_stack()
    given = {name: value for name, value in os.environ.items() if value}
    return Settings.from_environment({**(stack.environment() if stack else {}), **given})


def policy(chosen: Settings) -> Policy:
    """Load the policy file; a relative path that is not found is looked for beside the code."""
    path = chosen.policy_file if chosen.policy_file.exists() else ROOT / chosen.policy_file
    try:
        return load_policy(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PolicyError(f"POLICY_FILE {path} cannot be read: {error.strerror}") from None


def open_store() -> "Store":
    """Open the store of the settings; raises UnreachableError when it does not answer."""
    from store.store import Store  # noqa: PLC0415 - the database's libraries take a second, for what reads the store only

    try:
        store = Store(settings().database_url)
    except ValueError as error:
        raise InputError(f"DATABASE_URL: {error}") from None
    if not store.healthy():
        raise UnreachableError("the store does not answer; check DATABASE_URL, or start a worker or the stack once")
    return store


async def open_client() -> OrderClient:
    """Connect to the environment's Temporal, or to the running embedded stack; raises UnreachableError."""
    chosen = settings()
    stack = embedded_stack()
    # The embedded server speaks plain text, whatever the environment says of another one.
    plain = {"tls": False, "api_key": None, "namespace": "default"}
    overrides = {**plain, "target_host": stack.temporal} if stack else {}
    try:
        client = await asyncio.wait_for(connect(**overrides, runtime=_quiet()), 10)
    except ValueError as error:
        raise InputError(f"TEMPORAL_ADDRESS: {error}; write HOST:PORT") from None
    except (RuntimeError, RPCError, TimeoutError) as error:
        raise UnreachableError(
            f"no Temporal server answers ({reason(error)}); set TEMPORAL_ADDRESS, or run `python -m starter stack`"
        ) from None
    return OrderClient(client, chosen.task_queue, policy(chosen))


@cache
def _quiet() -> Runtime:
    """Return Temporal's runtime without its own lines on standard error: what went wrong is told by the starter."""
    return Runtime(telemetry=TelemetryConfig(logging=None))


def reason(error: Exception) -> str:
    """Return why a connection failed: address and cause where Temporal's message has them, else all of it."""
    text = str(error) or "it took too long"
    found = re.search(r', ([^,]+:\d+), .*message: "([^"]+)"', text)
    return f"{found[1]}: {found[2]}" if found else text[:300]
