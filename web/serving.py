"""What every server of this folder does: say where it listens, and end cleanly when it is told to."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NoReturn

from activities.settings import Settings, SettingsError


def port_number(text: str) -> int:
    """Read a port, 0 for a free one; raises ArgumentTypeError for any other number."""
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give 0 to 65535, 0 for a free one")
    return int(text)


def announce(line: str, port_file: Path | None, port: int) -> None:
    """Print `line` and write the port to the file, in one step: whoever sees the file reads all of it.

    To be called once the socket listens: from then on connections wait for the server.
    """
    if port_file is not None:
        draft = port_file.with_name(port_file.name + ".draft")
        draft.write_text(str(port))
        draft.replace(port_file)
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run(
    name: str, description: str, serve: Callable[[argparse.Namespace, Settings], Coroutine[Any, Any, None]]
) -> NoReturn:
    """Run the server `python -m web.NAME` from the command line until SIGTERM or SIGINT, and end the process.

    It ends with 0, with 2 for settings that cannot be used, and with 4 when the port cannot be had.
    """
    parser = argparse.ArgumentParser(prog=f"python -m web.{name}", description=description)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=port_number, default=0, help="0 (default) takes a free port")
    parser.add_argument("--port-file", type=Path, help=f"file to write the port to once the {name} listens")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    ended = _served(name, arguments, serve)
    logging.shutdown()
    # Threads of Temporal's client that are still at work while Python shuts down abort the process now and then (exit 134).
    os._exit(ended)


def _served(
    name: str, arguments: argparse.Namespace, serve: Callable[[argparse.Namespace, Settings], Coroutine[Any, Any, None]]
) -> int:
    logger = logging.getLogger(f"web.{name}")
    # Uvicorn raises the signal that stopped it once more when it is done; without these the exit would not be clean.
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    try:
        asyncio.run(serve(arguments, Settings.from_environment()))
    except SettingsError as error:
        logger.error("settings: %s", error)
        return 2
    except OSError as error:
        logger.error("the %s cannot listen on %s:%d: %s", name, arguments.host, arguments.port, error)
        return 4
    except SystemExit:
        return 0
    return 0


def _end(_signal: int, _frame: Any) -> NoReturn:
    sys.exit(0)
