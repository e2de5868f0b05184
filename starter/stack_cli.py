"""Running the embedded stack from the command line."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from sandbox.stack import HOST, Addresses, Stack, StackError
from starter.exits import console, problems
from starter.samples import seed
from starter.session import stack_directory
from store.store import Store


async def serve(directory: Path | None, *, temporal_port: int, ui_port: int, mail_port: int, workers: int) -> None:
    """Run the stack until Ctrl-C or SIGTERM; raises StackError when a part ends by itself."""
    stack = Stack(directory or stack_directory(), temporal_port=temporal_port, ui_port=ui_port, mail_port=mail_port)

    async def ready(addresses: Addresses) -> None:
        for index in range(workers):
            await stack.start_worker(f"worker-{index + 1}")
        show_addresses(addresses)
        console.print("Ctrl-C stops the stack; its data stays in", str(stack.directory), soft_wrap=True)

    await run_stack(stack, ready, stay=True)


async def run_stack(stack: Stack, work: Callable[[Addresses], Awaitable[None]], *, stay: bool) -> None:
    """Start the stack, do `work`, stay until a stop signal if asked to, and stop everything in any case."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    stopping = asyncio.create_task(stop.wait())
    try:
        addresses = await stack.start(with_worker=False)
        store = Store(addresses.database_url)
        await asyncio.to_thread(store.migrate)
        await asyncio.to_thread(seed, store)
        store.close()
        working = asyncio.create_task(_attend(stack, work, addresses, stay))
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            working.cancel()
            problems.print("stopping …")
            await asyncio.wait({working})
        else:
            working.result()
    finally:
        stopping.cancel()
        await stack.stop()


async def _attend(stack: Stack, work: Callable[[Addresses], Awaitable[None]], addresses: Addresses, stay: bool) -> None:
    await work(addresses)
    if stay:
        await stack.wait()
        raise StackError("the stack has ended")


def show_addresses(addresses: Addresses) -> None:
    """Print where the parts of the stack are."""
    console.print(f"Temporal Web UI   {addresses.ui}")
    console.print(f"Temporal server   {addresses.temporal}")
    console.print(f"mails             {addresses.mail}")
    console.print(f"payment provider  {addresses.provider}")
    console.print(f"webhook receiver  {addresses.receiver}")
    console.print(f"inbox for mails   smtp://{HOST}:{addresses.inbox_port}")
