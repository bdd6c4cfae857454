"""What several commands share: the folder of runs, training into it, and what to do next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from grokfast.errors import ConfigError
from grokfast.progress import training_progress
from grokfast.runs import RunTable, load
from grokfast.store import Store
from grokfast.train import only
from grokfast.training import RunConfig, train_runs

Runs = Annotated[Path, tyro.conf.arg(name="runs", help="Folder of runs.")]


def load_runs(folder: Path, where: str = "") -> RunTable:
    """The runs of a folder; what could not be read is named on stderr."""
    table = load(folder)
    for message in table.damaged:
        print(f"grokfast: warning: left out: {message}", file=sys.stderr)
    return table.where(where) if where else table


def train_into(
    configs: Sequence[RunConfig],
    folder: Path,
    console: Console,
    *,
    force: bool = False,
    threads: int = 0,
    device: str = "cpu",
) -> RunTable:
    """Train what the folder lacks, with progress, and return the table of exactly these configurations."""
    from grokfast.sweep.engine import cores

    if threads < 0:
        raise ConfigError(f"threads must be at least 0, got {threads}")
    store = Store(folder)
    missing = [config for config in configs if force or not store.has(config.key)]
    console.print(f"{len(configs)} runs: {len(configs) - len(missing)} are in {folder}, {len(missing)} to train")
    with training_progress(sum(config.epochs for config in missing), console) as progress:
        train_runs(configs, store, force=force, threads=threads or cores(), device=_device(device), on_epoch=progress)
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
