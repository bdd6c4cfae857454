"""Progress of training: a bar on a terminal and in a notebook, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from grokfast._words import duration
from grokfast.training import StackState

_LINE_EVERY = 10.0  # seconds
_SHOWN_EVERY = 0.25  # seconds, in a notebook: each time is a message


class TrainingProgress:
    """Counts member-epochs over all stacks; made by :func:`training_progress`.

    Args:
        show: Called with the member-epochs done and the seconds since the start.
    """

    reads_only = True

    def __init__(self, show: Callable[[int, float], None]) -> None:
        self._show = show
        self._done = 0
        self._epochs: dict[int, int] = {}
        self._started = time.perf_counter()
        self._lock = Lock()

    def __call__(self, state: StackState) -> None:
        """One more epoch of a stack is finished; may be called from several threads."""
        with self._lock:
            # A stack that is taken up again has epochs behind it.
            last = self._epochs.get(id(state), 0)
            self._epochs[id(state)] = state.epoch
            self._done += (state.epoch - (last if last < state.epoch else 0)) * len(state.configs)
            self._show(self._done, time.perf_counter() - self._started)

    @property
    def done(self) -> int:
        """Member-epochs done."""
        return self._done


@contextmanager
def training_progress(total: int, console: Console | None = None) -> Iterator[TrainingProgress]:
    """Show progress towards ``total`` member-epochs while the context is open.

    Args:
        total: All member-epochs; with none there is nothing to show.
        console: Where; in a notebook its cell, and standard output otherwise.
    """
    if total < 1:
        yield TrainingProgress(lambda done, seconds: None)
    elif console is None and (display := _notebook_display()) is not None:
        with _in_notebook(total, display) as progress:
            yield progress
    else:
        with _on_console(total, console or Console()) as progress:
            yield progress


@contextmanager
def _on_console(total: int, console: Console) -> Iterator[TrainingProgress]:
    if not console.is_terminal:
        yield TrainingProgress(_lines(total, lambda text: console.print(text, highlight=False)))
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
        task = bar.add_task("training", total=total)
        yield TrainingProgress(lambda done, seconds: bar.update(task, completed=done))


def _lines(total: int, write: Callable[[str], None]) -> Callable[[int, float], None]:
    last = 0.0

    def show(done: int, seconds: float) -> None:
        nonlocal last
        if seconds - last >= _LINE_EVERY:
            last = seconds
            left = seconds / done * (total - done)
            write(f"training: {done} of {total} member-epochs, about {left:.0f} s left")

    return show


def _notebook_display() -> Callable[..., Any] | None:
    """IPython's ``display``, if this is a notebook's kernel; nothing is imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or getattr(shell, "kernel", None) is None:
        return None
    from IPython.display import display

    found: Callable[..., Any] = display
    return found


class _Html:
    """A piece of HTML with a text for where there is none."""

    def __init__(self, html: str, text: str) -> None:
        self._html, self._text = html, text

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        return self._html


def _bar(done: int, total: int, seconds: float) -> _Html:
    end = f"{duration(seconds)}" if done >= total else f"about {duration(seconds / max(done, 1) * (total - done))} left"
    text = f"training: {done} of {total} member-epochs, {end}"
    return _Html(f'<progress value="{done}" max="{total}"></progress> {text}', text)


@contextmanager
def _in_notebook(total: int, display: Callable[..., Any]) -> Iterator[TrainingProgress]:
    """A bar in the cell's output, updated in place; it needs no widgets and stays readable in a saved notebook."""
    shown = display(_bar(0, total, 0.0), display_id=True)
    last = 0.0

    def show(done: int, seconds: float) -> None:
        nonlocal last
        if seconds - last >= _SHOWN_EVERY or done >= total:
            last = seconds
            shown.update(_bar(done, total, seconds))

    yield TrainingProgress(show)
