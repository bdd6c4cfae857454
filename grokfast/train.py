"""Train many runs and have them as a table: what a notebook or a script calls."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Unpack

from grokfast._options import takes_options
from grokfast.observe import Observer
from grokfast.progress import training_progress
from grokfast.runs import RunTable, load
from grokfast.store import Store
from grokfast.training import RunConfig, StackState
from grokfast.training import train_runs as train_missing
from grokfast.training.stored import united
from grokfast.training.train import TrainOptions, to_train


@takes_options
def train_runs(
    configs: Sequence[RunConfig], folder: str | Path | Store, *, progress: bool = False, **options: Unpack[TrainOptions]
) -> RunTable:
    """Train every configuration that the folder does not hold yet, in stacks, and return the table of all of them.

    A stored run that has not looked at all that is asked for now is trained again with everything that it has looked at
    and is asked to; see :func:`grokfast.training.train_runs`, which this calls.

    Args:
        configs: Any mixture; those that can share a stack do. Those that differ in their looks alone are one run.
        folder: Where runs lie; it is made where it is missing.
        progress: Show a bar, on a terminal and in a notebook, and a line now and then elsewhere.
        force: Train also what the folder holds already.
        threads: Stacks trained at the same time. What a run learns does not depend on it.
        observers: Measures of your own.
        device: ``"cpu"`` or a CUDA device.
        on_epoch: Called after every epoch of every stack, from its thread; it must change nothing.
        keep_state: Keep the end states of the runs, so that runs of more epochs can go on from them.
        save_every: Seconds between saves of a stack in training.
        stop: When set, every stack ends after the epoch in hand, with its state saved; the same call goes on there.

    Returns:
        The runs of these configurations, those that were there and those trained now, in the order of w0 and seed.

    Raises:
        Interrupted: If ``stop`` was set before all were trained.
        ConfigError: If a stored run of the same key was another training.
        InputError: If ``on_epoch`` changes a stack.
        StoreError: If the folder cannot be written.
    """
    store = folder if isinstance(folder, Store) else Store(folder)
    with ExitStack() as shown:
        if progress:
            total = _member_epochs(configs, store, options["observers"], force=options["force"])
            bar = shown.enter_context(training_progress(total))
            on_epoch = options["on_epoch"]
            options["on_epoch"] = bar if on_epoch is None else _both(bar, on_epoch)
        train_missing(configs, store, **options)
    return only(load(store.root), {config.key for config in configs})


def only(table: RunTable, keys: Collection[str]) -> RunTable:
    """The rows of a table with these keys."""
    return RunTable(table.store, [row for row in table.rows if row["key"] in keys], table.damaged)


def _member_epochs(configs: Sequence[RunConfig], store: Store, observers: Sequence[Observer], *, force: bool) -> int:
    """How many epochs of one member there will be, with runs that are trained again for a further look."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # training itself says what there is to say
        return sum(config.epochs for config in to_train(united(configs), store, observers, force=force))


def _both(bar: Callable[[StackState], None], on_epoch: Callable[[StackState], None]) -> Callable[[StackState], None]:
    def call(state: StackState) -> None:
        bar(state)
        on_epoch(state)

    call.reads_only = getattr(on_epoch, "reads_only", False)  # type: ignore[attr-defined]
    return call
