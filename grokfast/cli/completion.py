"""Shell completion of every command: `grokfast --completion bash`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from grokfast.errors import ConfigError

SHELLS = ("bash", "zsh", "tcsh")


def print_completion(arguments: Sequence[str]) -> None:
    """Print a completion script.

    Args:
        arguments: The shell, alone.

    Raises:
        ConfigError: If it is another shell.
    """
    if len(arguments) != 1 or arguments[0] not in SHELLS:
        raise ConfigError(f"--completion takes one of {list(SHELLS)}, got {' '.join(arguments) or 'nothing'}")
    tyro.extras.subcommand_cli_from_dict(_functions(), prog="grokfast", args=["--tyro-print-completion", arguments[0]])


def _functions() -> dict[str, Callable[..., Any]]:
    from grokfast.cli import COMMANDS
    from grokfast.cli.train import options_of
    from grokfast.tasks import TASKS

    found: dict[str, Any] = {
        name: getattr(importlib.import_module(command.module), name)
        for name, command in COMMANDS.items()
        if name != "train"
    }
    return found | {f"train {name}": options_of(task) for name, task in TASKS.items()}
