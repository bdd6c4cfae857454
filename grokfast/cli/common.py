"""What several commands share: the folder of runs, training into it, and what to do next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import Annotated

import tyro
from rich.console import Console

from grokfast.cli.printing import say, tell
from grokfast.errors import ConfigError
from grokfast.progress import training_progress
from grokfast.runs import RunTable, load
from grokfast.store import Store
from grokfast.train import only
from grokfast.training import Interrupted, RunConfig, train_runs
from grokfast.training.kept import KeptStates, told

Runs = Annotated[Path, tyro.conf.arg(name="runs", help="Folder of runs.")]


def load_runs(folder: Path, where: str = "") -> RunTable:
    """The runs of a folder; what could not be read is named on stderr."""
    table = load(folder)
    for message in table.damaged:
        say(f"grokfast: warning: left out: {message}", sys.stderr)
    return table.where(where) if where else table


def train_into(
    configs: Sequence[RunConfig],
    folder: Path,
    console: Console,
    *,
    force: bool = False,
    threads: int = 0,
    device: str = "cpu",
    keep_state: bool = False,
) -> RunTable:
    """Train what the folder lacks, with progress, and return the table of exactly these configurations.

    The first Ctrl-C lets every stack finish its epoch and save, the second ends at once.

    Raises:
        SystemExit: If it was stopped; the command that goes on is printed.
    """
    from grokfast.sweep.options import cores
    from grokfast.sweep.stopping import stopping

    if threads < 0:
        raise ConfigError(f"threads must be at least 0, got {threads}")
    store = Store(folder)
    missing = [config for config in configs if force or not store.has(config.key)]
    tell(console, f"{len(configs)} runs: {len(configs) - len(missing)} are in {folder}, {len(missing)} to train")
    stop, kept = Event(), KeptStates(store, device=_device(device))
    for line in told(missing, kept):
        tell(console, line)
    try:
        with (
            stopping(lambda name: stop.set()) as asked,
            training_progress(sum(config.epochs for config in missing), console) as progress,
        ):
            train_runs(
                configs,
                store,
                force=force,
                threads=threads or cores(),
                device=device,
                on_epoch=progress,
                keep_state=keep_state,
                stop=stop,
            )
    except Interrupted:
        resume = shlex.join(["grokfast", *sys.argv[1:]])
        tell(console, f"stopped by {asked.reason}; states are saved. Resume with\n  {resume}")
        raise SystemExit(130) from None
    return only(load_runs(folder), {config.key for config in configs})


def next_figure(table: RunTable) -> str:
    """The command that draws these runs."""
    from grokfast.figures import suggested_command

    return f"next: {shlex.join(suggested_command(table))}"


def _device(name: str) -> str:
    import torch

    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device must be 'cpu' or a CUDA device that torch can use, got {name!r}: {reason}") from None
    return name
