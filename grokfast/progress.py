"""Progress of training and measuring: a bar on a terminal and in a notebook, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, NamedTuple

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


class NowAndThen:
    """Lets a line through every ten seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def due(self, *, always: bool = False) -> bool:
        """Whether it is time for the next line; ``always`` makes it so."""
        now = time.monotonic()
        if not always and now - self._last < _LINE_EVERY:
            return False
        self._last = now
        return True


class _Count(NamedTuple):
    """What is counted: ``training: 3 of 10 member-epochs``."""

    doing: str
    total: int
    what: str

    def said(self, done: int) -> str:
        return f"{self.doing}: {done} of {self.total} {self.what}"

    def left(self, done: int, seconds: float) -> str:
        return f"about {duration(seconds / max(done, 1) * (self.total - done))} left"


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
    with count_progress("training", total, "member-epochs", console) as show:
        yield TrainingProgress(show)


@contextmanager
def count_progress(
    doing: str, total: int, what: str, console: Console | None = None
) -> Iterator[Callable[[int, float], None]]:
    """Show how many of ``total`` there are while the context is open.

    Args:
        doing: A word for the work.
        total: All; with none there is nothing to show.
        what: What is counted.
        console: Where; in a notebook its cell, and standard output otherwise.

    Yields:
        What is told how many are done, and the seconds since the start.
    """
    count = _Count(doing, total, what)
    if total < 1:
        yield lambda done, seconds: None
    elif console is None and (display := _notebook_display()) is not None:
        yield _in_notebook(count, display)
    else:
        with _on_console(count, console or Console()) as show:
            yield show


@contextmanager
def _on_console(count: _Count, console: Console) -> Iterator[Callable[[int, float], None]]:
    if not console.is_terminal:
        yield _lines(count, lambda text: console.print(text, highlight=False))
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(count.what),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(count.doing, total=count.total)
        yield lambda done, seconds: bar.update(task, completed=done)


def _lines(count: _Count, write: Callable[[str], None]) -> Callable[[int, float], None]:
    pace = NowAndThen()

    def show(done: int, seconds: float) -> None:
        if pace.due():
            write(f"{count.said(done)}, {count.left(done, seconds)}")

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


def _bar(count: _Count, done: int, seconds: float) -> _Html:
    end = duration(seconds) if done >= count.total else count.left(done, seconds)
    text = f"{count.said(done)}, {end}"
    return _Html(f'<progress value="{done}" max="{count.total}"></progress> {text}', text)


def _in_notebook(count: _Count, display: Callable[..., Any]) -> Callable[[int, float], None]:
    """A bar in the cell's output, updated in place; it needs no widgets and stays readable in a saved notebook."""
    shown = display(_bar(count, 0, 0.0), display_id=True)
    last = 0.0

    def show(done: int, seconds: float) -> None:
        nonlocal last
        if seconds - last >= _SHOWN_EVERY or done >= count.total:
            last = seconds
            shown.update(_bar(count, done, seconds))

    return show
