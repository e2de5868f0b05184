"""What every server of this folder does: say where it listens, and end cleanly when it is told to."""

import argparse
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn


def port_number(text: str) -> int:
    """Read a port, 0 for a free one; raises ArgumentTypeError for any other number."""
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give 0 to 65535, 0 for a free one")
    return int(text)


def announce(line: str, port_file: Path | None, ports: str) -> None:
    """Print `line` and write `ports` to the file, in one step: whoever sees the file reads all of it.

    To be called once the socket listens: from then on connections wait for the server.
    """
    if port_file is not None:
        draft = port_file.with_name(port_file.name + ".draft")
        draft.write_text(ports)
        draft.replace(port_file)
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def end_on_signals() -> None:
    """Let SIGTERM and SIGINT end the process with exit code 0."""
    # Uvicorn raises the signal that stopped it once more when it is done; without these the exit would not be clean.
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)


def _end(_signal: int, _frame: Any) -> NoReturn:
    sys.exit(0)
