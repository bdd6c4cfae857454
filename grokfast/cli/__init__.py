"""The command line: a table of commands, each imported only when it is called."""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import os
import shlex
import sys
import sysconfig
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grokfast._checks import nearest
from grokfast.cli.printing import say
from grokfast.errors import ConfigError, GrokfastError


@dataclass(frozen=True)
class Command:
    """One command of ``grokfast``.

    Attributes:
        module: Where its function lies.
        function: Takes the command's own arguments and its name for messages.
        help: One line.
    """

    module: str
    function: str
    help: str


COMMANDS: dict[str, Command] = {
    "reproduce": Command("grokfast.cli.reproduce", "main", "Every figure and claim of the paper, on one page."),
    "demo": Command("grokfast.cli.demo", "main", "Train a steady learner and a grokker, in minutes."),
    "train": Command("grokfast.cli.train", "main", "Train runs of one task over initialisation scales and seeds."),
    "sweep": Command("grokfast.cli.sweep", "main", "Train all runs of a study or of a file of your own; resumable."),
    "status": Command("grokfast.cli.status", "main", "How far the sweeps of a folder are."),
    "measure": Command("grokfast.cli.measure", "main", "Measure stored end models: Gini, norms, pruning, your own."),
    "runs": Command("grokfast.cli.runs", "main", "List, query and export the runs of a folder."),
    "check": Command(
        "grokfast.cli.check", "main", "Compare the files of a folder of runs with their checksums; repair."
    ),
    "figure": Command("grokfast.cli.figure", "main", "Draw a figure, or list what can be drawn."),
    "report": Command("grokfast.cli.report", "main", "Measured against claimed values, as Markdown."),
    "ising": Command("grokfast.cli.ising", "main", "Scan the Ising model over temperatures, or quench it."),
    "doctor": Command("grokfast.cli.doctor", "main", "What is installed and native, and what to do about the rest."),
}

_LONGEST = 2000  # characters of a message
_BUG = 70  # exit status of an error that grokfast did not expect (EX_SOFTWARE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. What the user can mend ends in one line on stderr and exit status 2, never in a traceback."""
    chosen = list(sys.argv[1:] if arguments is None else arguments)
    _print_anything()
    try:
        _run(chosen)
        sys.stdout.flush()
    except GrokfastError as error:
        raise _failed(str(error)) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        # Whoever read us has gone: there is no one to tell, not even when Python flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except MemoryError as error:
        raise _failed(f"not enough memory: {error or 'an allocation failed'}") from None
    except OSError as error:  # a file or folder that the user named
        place = "" if error.filename is None else f": {str(error.filename)[:200]}"
        raise _failed(f"{error.strerror or error or type(error).__name__}{place}") from None
    except Exception as error:
        say(_report_bug(error, chosen), sys.stderr)
        raise SystemExit(_BUG) from None


def _print_anything() -> None:
    """What the terminal's encoding lacks is printed as question marks, and what has nowhere to go (``>&-``) nowhere."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _failed(message: str) -> SystemExit:
    """Say what the user can mend; the exit that follows."""
    say(f"grokfast: error: {message if len(message) <= _LONGEST else message[:_LONGEST] + ' ...'}", sys.stderr)
    return SystemExit(2)


def _run(arguments: list[str]) -> None:
    name = arguments[0] if arguments else "--help"
    if name in ("--help", "-h", "help"):
        say(overview())
        return
    if name == "--version":
        say(f"grokfast {importlib.metadata.version('grokfast')}")
        return
    if name in ("--tyro-print-completion", "--tyro-write-completion", "--completion"):
        from grokfast.cli.completion import print_completion

        print_completion(arguments[1:])
        return
    if any("\0" in argument for argument in arguments):
        raise ConfigError("an argument holds no zero byte")
    if name not in COMMANDS:
        say(f"grokfast: error: no command {name!r}{nearest(name, COMMANDS)}\n\n{overview()}", sys.stderr)
        raise SystemExit(2)
    if any(
        argument == "--runs=" or (argument == "--runs" and after == "")
        for argument, after in zip(arguments, [*arguments[1:], None], strict=True)
    ):
        raise ConfigError("--runs must name a folder, got an empty text")
    _import_from_here()
    command = COMMANDS[name]
    getattr(importlib.import_module(command.module), command.function)(arguments[1:])


def overview() -> str:
    """What ``grokfast --help`` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.help}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: grokfast COMMAND [OPTIONS]",
            "",
            "Study how networks learn, by grokking or steadily.",
            "",
            "commands:",
            *lines,
            "",
            "`grokfast COMMAND --help` lists a command's options; --version; --completion bash|zsh|tcsh.",
        ]
    )


def _import_from_here() -> None:
    """Tasks and measures of the user's are imported from the folder the command is called in, after all others.

    Not if that folder is a store: nothing is ever run from there.
    """
    here = os.getcwd()
    if here not in sys.path and not Path(here, "store.json").exists():
        sys.path.append(here)


def _report_bug(error: Exception, arguments: Sequence[str]) -> str:
    """Keep the traceback in a file and say where it is."""
    text = "".join(traceback.format_exception(error))
    first = f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"
    theirs = _not_ours(error)
    if theirs is None:
        line = f"grokfast: unexpected error: {first}"
    else:
        line = f"grokfast: error in {theirs.filename}, line {theirs.lineno}, in {theirs.name}: {first}"
    try:
        handle, name = tempfile.mkstemp(prefix="grokfast-error-", suffix=".txt")
        with os.fdopen(handle, "w") as file:
            file.write(f"grokfast {shlex.join(arguments)}\n\n{text}")
    except OSError:
        return f"{line}\n{text}"
    if theirs is None:
        return f"{line}; this is a bug: please report it with the file {name}"
    return f"{line}; the whole traceback is in {name}"


def _not_ours(error: Exception) -> traceback.FrameSummary | None:
    """The innermost line of a task, measure or figure of the user's own that the error came through."""
    package, library = Path(__file__).parents[1], Path(sysconfig.get_path("stdlib"))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        installed = {"site-packages", "dist-packages"} & set(file.parts) or {package, library} & set(file.parents)
        if file.is_file() and not installed:
            return frame
    return None
