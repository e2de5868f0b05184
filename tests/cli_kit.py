"""The command line for tests: as a process of its own, as a user runs it, or quicker in a thread of this one."""

import asyncio
import json
import os
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from live_kit import Live
from typer.testing import CliRunner

from activities.settings import Settings
from domain.views import OrderView
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


async def python(folder: Path, *arguments: str, **settings: str) -> asyncio.subprocess.Process:
    """Start Python on the project's code as a process of its own, with these settings alone and the stack on `folder`."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=environment(folder, **settings),
    )


class Cli:
    """`python -m starter` for the stack on one folder."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._runner = CliRunner()
        self._turn = asyncio.Lock()

    async def start(self, *arguments: str, **settings: str) -> asyncio.subprocess.Process:
        """Start the command line as a process of its own."""
        return await python(self.directory, "-m", "starter", *arguments, **settings)

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


def told_in_json(ran: Ran, code: int) -> dict[str, str]:
    """The run failed with `code`; return what it says of it: one JSON object, alone on standard error."""
    assert (ran.code, ran.out) == (code, ""), ran
    found: dict[str, str] = json.loads(ran.err)
    return found


def bad_input(ran: Ran, *words: str) -> None:
    """The run was refused as bad input: exit 2, one message on standard error that says `words`, no traceback."""
    assert (ran.code, ran.out) == (2, ""), ran
    assert "Traceback" not in ran.err, ran.err
    said = " ".join(ran.err.split())
    for word in words:
        assert word in said, (word, said)


class Case(NamedTuple):
    """A command: an order where it is accepted and what becomes of that, one where it is refused and how.

    `ready` and `unready` are what is done with the order before; `{n}` stands for its number, `{sku}` for its item.
    `becomes` names fields of the answer; `case` stands for kind and state of its newest case, `refund` for what goes back.
    """

    command: str
    accepted: str
    becomes: dict[str, Any]
    refused: str
    code: str
    rule: str
    ready: tuple[str, ...] = ()
    unready: tuple[str, ...] = ()
    card: str = "card-approve"
    refused_card: str = "card-approve"


def samples(cases: Iterable[Case]) -> list[Any]:
    """Return the cases as parameters of a test, each with its name and the rule it proves."""
    return [pytest.param(each, id=f"{each.command}-{each.code}", marks=pytest.mark.rule(each.rule)) for each in cases]


async def order_for(cli: Cli, live: Live, card: str, steps: tuple[str, ...]) -> dict[str, str]:
    """Place an order of two units, do `steps` with it, and return what stands for it in a command."""
    sku = live.sku()
    number = await live.place(items=(f"{sku}:2:1200:Cup",), card=card)
    names = {"n": number, "sku": sku}
    for step in steps:
        ran = await cli.call(*shlex.split(step.format(**names)))
        assert ran.code == 0, ran
    return names


async def accepted_once_and_refused_once(cli: Cli, live: Live, case: Case) -> None:
    """The command answers the order where it is accepted, and where it is refused the refusal; then nothing has changed."""
    names = await order_for(cli, live, case.card, case.ready)
    answer = (await cli.call(case.command, *shlex.split(case.accepted.format(**names)), "--json")).json()
    assert answer["received"] is True
    became = dict(answer["order"])
    became["case"] = " ".join(became["cases"][-1][field] for field in ("kind", "status")) if became["cases"] else None
    became["refund"] = sum(part["amount_minor"] for each in became["refunds"] for part in each["parts"])
    assert {key: became[key] for key in case.becomes} == case.becomes

    names = await order_for(cli, live, case.refused_card, case.unready)
    before = _decided(await live.order(names["n"]))
    refusal(await cli.call(case.command, *shlex.split(case.refused.format(**names))), case.code, case.rule)
    assert _decided(await live.order(names["n"])) == before


def _decided(order: OrderView) -> tuple[Any, ...]:
    """Return what commands decide of an order, without what only time and partners move."""
    back = [(each.refund_id, each.lines, each.deductions) for each in order.refunds]
    said = (order.messages, order.rating, order.review, order.answer_by)
    return (order.status, order.total_minor, order.lines, order.flags, order.cases, back, said)
