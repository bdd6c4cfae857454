"""The command line: `grokfast demo`, `train`, `sweep`, `status`, `measure`, `runs`, `figure`, `report`, `doctor`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from grokfast.cli.demo import demo
from grokfast.cli.doctor import doctor
from grokfast.cli.measure import measure
from grokfast.cli.show import figure, report, runs
from grokfast.cli.sweep import status, sweep
from grokfast.cli.train import train_modular_addition
from grokfast.cli.train_ising import train_ising
from grokfast.errors import GrokfastError

COMMANDS: dict[str, Any] = {
    "demo": demo,
    "train": {"modular-addition": train_modular_addition, "ising": train_ising},
    "sweep": sweep,
    "status": status,
    "measure": measure,
    "runs": runs,
    "figure": figure,
    "report": report,
    "doctor": doctor,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. What the user can mend ends in one line on stderr and exit status 2, never in a traceback."""
    chosen = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _run(COMMANDS, chosen)
    except GrokfastError as error:
        print(f"grokfast: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("grokfast: interrupted; finished runs are kept, the same command trains the rest", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:
        raise SystemExit(0) from None


def _run(commands: dict[str, Any], arguments: list[str], prog: str = "grokfast") -> None:
    if arguments and isinstance(commands.get(arguments[0]), dict):
        _run(commands[arguments[0]], arguments[1:], f"{prog} {arguments[0]}")
        return
    flat: dict[str, Callable[..., Any]] = {
        name: (lambda: None) if isinstance(command, dict) else command for name, command in commands.items()
    }
    for name, command in commands.items():
        if isinstance(command, dict):
            flat[name].__doc__ = f"Train runs; one subcommand a task: {', '.join(command)}."
    tyro.extras.subcommand_cli_from_dict(flat, args=arguments, prog=prog, description=__doc__)
