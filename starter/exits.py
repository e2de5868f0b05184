"""How a command of the starter ends: its exit code, and what went wrong in words or, with --json, as JSON."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup
from typer.exceptions import TyperException

from activities.settings import SettingsError
from domain.policy import PolicyError
from domain.refusals import Refusal
from sandbox.stack import StackError
from starter import output
from starter.client import InputError, RefusedError, UnreachableError

OK, BAD_INPUT, REFUSED, NO_CONNECTION = 0, 2, 3, 4
ERRORS = {BAD_INPUT: "bad_input", REFUSED: "refused", NO_CONNECTION: "no_connection"}
"""What an error is called in JSON, by its exit code; a refusal by policy has a code of its own."""
# Without `emoji`, a title like ":cup:" is shown and printed as JSON as it is.
console = Console(highlight=False, emoji=False)
problems = Console(stderr=True, highlight=False, emoji=False)
_as_json: ContextVar[bool] = ContextVar("as_json", default=False)


class Commands(TyperGroup):
    """All commands: with --json, whatever goes wrong is one JSON object on standard error, a misspelt option too."""

    def main(self, args: Sequence[str] | None = None, *given: Any, **more: Any) -> Any:
        """Run the command that `args` name, those of the process without it."""
        typed = list(sys.argv[1:] if args is None else args)
        # What stands behind `--` is an argument, whatever it looks like.
        if "--json" not in (typed[: typed.index("--")] if "--" in typed else typed):
            return super().main(typed, *given, **more)
        before = _as_json.set(True)
        try:
            ended = super().main(typed, *given, **more | {"standalone_mode": False})
        except TyperException as error:
            output.print_json(problems, {"error": ERRORS[BAD_INPUT], "message": error.format_message()})
            ended = error.exit_code
        finally:
            _as_json.reset(before)
        sys.exit(ended)


def tell_refusal(refusal: Refusal) -> None:
    """Print a refusal: fact and limit, remedy, rule."""
    if _as_json.get():
        output.print_json(problems, refusal)
        return
    problems.print(f"[bold red]{refusal.code}[/]: {_plain(refusal.message)}", soft_wrap=True)
    problems.print(f"  → {_plain(refusal.remedy)}  [dim]\\[{refusal.rule}][/]", soft_wrap=True)


def as_object(error: RefusedError | InputError) -> dict[str, Any]:
    """Return what --json prints of an error: a refusal by policy, or what was wrong with the input."""
    if isinstance(error, RefusedError):
        return error.refusal.model_dump(mode="json")
    return {"error": ERRORS[BAD_INPUT], "message": str(error)}


def _plain(text: str) -> str:
    return text.replace("[", "\\[")


def fail(message: str, code: int) -> NoReturn:
    """Print an error and end with `code`."""
    if _as_json.get():
        output.print_json(problems, {"error": ERRORS[code], "message": message})
    else:
        problems.print(f"[bold red]error[/]: {_plain(message)}", soft_wrap=True)
    raise typer.Exit(code)


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a command's work; its errors become exit codes 2 (bad input), 3 (refused) and 4 (no connection)."""
    try:
        asyncio.run(work())
    except RefusedError as error:
        tell_refusal(error.refusal)
        raise typer.Exit(REFUSED) from None
    except (InputError, PolicyError, SettingsError) as error:
        fail(str(error), BAD_INPUT)
    except (UnreachableError, StackError) as error:
        fail(str(error), NO_CONNECTION)
    except BrokenPipeError:
        # The reader of a pipe has seen enough; what is left in the buffer must not raise again at exit.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
