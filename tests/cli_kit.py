"""The command line for tests: as a process of its own, as a user runs it, or quicker in a thread of this one."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from activities.settings import Settings
from sandbox.stack import ROOT
from starter.cli import app

WITHIN = 60.0
_SETTINGS = {name.upper() for name in Settings.model_fields}


@dataclass(frozen=True)
class Ran:
    """What a run left: exit code, standard output and standard error."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return standard output as JSON; the run must have been accepted."""
        assert self.code == 0, self
        return json.loads(self.out)


def environment(directory: Path, **settings: str) -> dict[str, str]:
    """Return an environment without settings but these, in which the starter finds the stack on `directory`."""
    own = {key: value for key, value in os.environ.items() if key not in _SETTINGS and not key.startswith("TEMPORAL_")}
    return own | {"STACK_DIRECTORY": str(directory), "COLUMNS": "200"} | settings


class Cli:
    """`python -m starter` for the stack on one folder."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._runner = CliRunner()
        self._turn = asyncio.Lock()

    async def start(self, *arguments: str, **settings: str) -> asyncio.subprocess.Process:
        """Start the command line as a process of its own."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "starter", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env=environment(self.directory, **settings),
        )

    async def run(self, *arguments: str, **settings: str) -> Ran:
        """Run the command line as a process of its own and return what it left."""
        return await finished(await self.start(*arguments, **settings))

    async def call(self, *arguments: str, **settings: str) -> Ran:
        """Run the command line in a thread of this process, one at a time: the same, without the start of Python."""
        wanted = environment(self.directory, **settings)
        gone = dict.fromkeys(set(os.environ) - set(wanted))
        async with self._turn:
            result = await asyncio.to_thread(self._runner.invoke, app, arguments, env={**gone, **wanted})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)


async def finished(process: asyncio.subprocess.Process) -> Ran:
    """Wait for the end of a process and return what it left; ends it if it takes too long."""
    try:
        out, err = await asyncio.wait_for(process.communicate(), WITHIN)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


def refusal(ran: Ran, code: str, rule: str) -> None:
    """The run was refused by policy: exit 3, and on standard error code and fact, the remedy and the rule."""
    assert (ran.code, ran.out) == (3, ""), ran
    first, second = ran.err.strip().splitlines()
    assert first.startswith(f"{code}: "), ran.err
    assert len(first) > len(code) + 10, ran.err
    assert second.lstrip().startswith("→ "), ran.err
    assert second.endswith(f"[{rule}]"), ran.err


def bad_input(ran: Ran, *words: str) -> None:
    """The run was refused as bad input: exit 2, one message on standard error that says `words`, no traceback."""
    assert (ran.code, ran.out) == (2, ""), ran
    assert "Traceback" not in ran.err, ran.err
    said = " ".join(ran.err.split())
    for word in words:
        assert word in said, (word, said)
