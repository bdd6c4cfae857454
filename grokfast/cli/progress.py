"""Progress of training: live bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from grokfast.training import StackState

_LINE_EVERY = 10.0  # seconds


def make_console() -> Console:
    """Standard output; wide enough for the tables where it is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, 110))


class TrainingProgress:
    """Counts member-epochs over all stacks; made by :func:`training_progress`."""

    reads_only = True

    def __init__(self, total: int, console: Console, bar: Progress | None) -> None:
        self._total, self._console, self._bar = total, console, bar
        self._task = bar.add_task("training", total=total) if bar else None
        self._done = 0
        self._epochs: dict[int, int] = {}
        self._started = self._last = time.perf_counter()
        self._lock = Lock()

    def __call__(self, state: StackState) -> None:
        """One more epoch of a stack is finished; may be called from several threads."""
        with self._lock:
            # A stack that is taken up again has epochs behind it.
            last = self._epochs.get(id(state), 0)
            self._epochs[id(state)] = state.epoch % state.configs[0].epochs
            self._done += (state.epoch - last) * len(state.configs)
            if self._bar is not None and self._task is not None:
                self._bar.update(self._task, completed=self._done)
                return
            now = time.perf_counter()
            if now - self._last >= _LINE_EVERY:
                self._last = now
                left = (now - self._started) / self._done * (self._total - self._done)
                self._console.print(f"training: {self._done} of {self._total} member-epochs, about {left:.0f} s left")


@contextmanager
def training_progress(total: int, console: Console) -> Iterator[TrainingProgress]:
    """Show progress towards ``total`` member-epochs while the context is open."""
    if not console.is_terminal:
        yield TrainingProgress(total, console, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("member-epochs"),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        yield TrainingProgress(total, console, bar)
