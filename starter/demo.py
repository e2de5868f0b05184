"""The tour: real orders on the embedded stack, played side by side and checked against the policy."""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import typer
from rich import box
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from sandbox.stack import Addresses, Stack
from starter import output
from starter.exits import console
from starter.scenes import SCENES, Scene, SceneError, Stage
from starter.scenes_after import SCENES_AFTER
from starter.session import embedded_stack, open_client, stack_directory
from starter.stack_cli import run_stack, show_addresses

PARTS: tuple[tuple[str, Sequence[Scene]], ...] = (
    ("A marketplace's order policy, lived through", SCENES),
    ("What comes after: money back, parcels back, answers", SCENES_AFTER),
)
"""The parts of the tour, one after the other."""


async def tour(*, once: bool, directory: Path | None) -> None:
    """Play every scene; afterwards stay up until Ctrl-C, or with `once` end: exit 1 if an order did not end as it must."""
    if directory is not None:
        os.environ["STACK_DIRECTORY"] = str(directory)
    found = embedded_stack()
    if found is not None:
        console.print("using the embedded stack that is running")
        if not await _play_all(found):
            raise typer.Exit(1)
        return
    started = time.monotonic()
    stack = Stack(stack_directory())
    outcome: list[bool] = []

    async def work(addresses: Addresses) -> None:
        await stack.start_worker()
        # The tour is on this stack, whatever server the environment names.
        os.environ["TEMPORAL_ADDRESS"] = addresses.temporal
        console.print(f"server, provider, mail sink and worker are up after {time.monotonic() - started:.1f} s")
        outcome.append(await _play_all(addresses))
        if not once:
            console.print("Everything stays up: open the links, try `python -m starter --help`. Ctrl-C stops it.")

    console.print("starting Temporal server, payment provider, mail sink and worker …")
    await run_stack(stack, work, stay=not once)
    if outcome != [True]:
        raise typer.Exit(1)


async def _play_all(addresses: Addresses) -> bool:
    """Play both parts and show them; return whether every order ended as it must."""
    client, started, played = await open_client(), time.monotonic(), []
    for title, scenes in PARTS:
        stages = [Stage(client, addresses.provider) for _ in scenes]
        await _play_part(title, scenes, stages)
        played += list(zip(scenes, stages, strict=True))
    show_addresses(addresses)
    console.print()
    for scene, stage in played:
        console.print(
            f"{addresses.ui}/namespaces/default/workflows/order-{stage.number}  {scene.title}", soft_wrap=True
        )
    await _tell_mails(addresses)
    failures = [f"{scene.title}: {stage.failure}" for scene, stage in played if stage.failure]
    for failure in failures:
        console.print(f"[bold red]not as the policy says[/]: {escape(failure)}")
    if not failures:
        took = f"{time.monotonic() - started:.0f} s"
        console.print(f"[bold green]all {len(played)} scenes went as the policy says[/], in {took}")
    return not failures


async def _play_part(title: str, scenes: Sequence[Scene], stages: list[Stage]) -> None:
    """Play the scenes side by side and show them live and as one table."""
    playing = [asyncio.create_task(_play(scene, stage)) for scene, stage in zip(scenes, stages, strict=True)]
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while not all(task.done() for task in playing):
            live.update(_table(title, scenes, stages), refresh=True)
            await asyncio.wait(playing, timeout=0.2)
    console.print(_table(title, scenes, stages))


async def _play(scene: Scene, stage: Stage) -> None:
    try:
        await scene.play(stage)
    except SceneError as error:
        stage.failure = str(error)
    except Exception as error:  # noqa: BLE001 - one scene that breaks must not hide the others
        stage.failure = f"{type(error).__name__}: {error}"
    stage.done = True


def _table(title: str, scenes: Sequence[Scene], stages: list[Stage]) -> Table:
    table = Table(box=box.ROUNDED, title=title, title_justify="left", show_lines=True)
    table.add_column("scene", ratio=2)
    table.add_column("what happened", ratio=3)
    table.add_column("order and state", no_wrap=True)
    table.add_column("")
    for scene, stage in zip(scenes, stages, strict=True):
        mark = "[red]✗[/]" if stage.failure else "[green]✓[/]" if stage.done else "…"
        state = output.status(stage.status) if stage.status else ""
        order = f"{stage.number}\n{state}"
        table.add_row(f"{scene.title}\n[dim]{scene.rules}[/]", ", ".join(stage.steps), order, mark)
    return table


async def _tell_mails(addresses: Addresses) -> None:
    async with httpx.AsyncClient() as http:
        mails = (await http.get(f"{addresses.mail}/api/mails")).json()
    console.print(f"{len(mails)} mails went out; read them at {addresses.mail}")
