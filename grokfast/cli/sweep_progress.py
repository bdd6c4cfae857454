"""Progress of a sweep: live bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from threading import Lock
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from grokfast._words import duration
from grokfast.cli.printing import tell
from grokfast.progress import NowAndThen
from grokfast.sweep import Outcome, Plan, Receipt, Shard


class SweepDisplay:
    """Listens to a sweep and shows its shards, runs, epochs and the time left.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Progress | None = None
        self._all: TaskID | None = None
        self._tasks: dict[str, TaskID] = {}
        self._shards: dict[str, Shard] = {}
        self._epochs: dict[str, int] = {}
        self._first: dict[str, int] = {}
        self._finished: set[str] = set()
        self._runs = self._failed = 0
        self._started = 0.0
        self._pace = NowAndThen()
        self._lock = Lock()

    def __enter__(self) -> SweepDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, kind: str, details: dict[str, Any]) -> None:
        """Take one event; may be called from several threads."""
        with self._lock:
            if kind == "plan":
                self._plan(details["plan"])
            elif kind == "progress":
                self._progress(details["shard"], int(details["epoch"]), first_pass=details.get("first_pass", False))
            elif kind == "receipt":
                self._receipt(details["shard"], details["receipt"])
            elif kind == "dashboard":
                tell(self._console, f"dashboard: {details['address']}")
            elif kind == "stopping":
                tell(
                    self._console,
                    f"{details['reason']}: each shard finishes its epoch and saves; once more stops at once",
                )

    def _plan(self, plan: Plan) -> None:
        self._shards = {shard.id: shard for shard in plan.shards}
        if plan.shards and self._console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(),
                console=self._console,
            )
            total = sum(shard.work * shard.passes for shard in plan.shards)
            self._all = self._bars.add_task("sweep", total=total, note="starting workers")
            self._bars.start()

    def _progress(self, name: str, epoch: int, *, first_pass: bool = False) -> None:
        shard = self._shards.get(name)
        if shard is None:  # a member of a shard that was split
            return
        if not self._started:
            self._started = time.monotonic()
        behind = 0 if first_pass else shard.epochs * (shard.passes - 1)
        self._first.setdefault(name, behind + epoch)
        self._epochs[name] = behind + epoch
        if self._bars is not None:
            if name not in self._tasks:
                label = f"  shard {name[:6]}, {len(shard.configs)} runs"
                self._tasks[name] = self._bars.add_task(label, total=shard.epochs * shard.passes, note="")
            note = f"epoch {epoch} of {shard.epochs}{', first of two passes' if first_pass else ''}"
            self._bars.update(self._tasks[name], completed=behind + epoch, note=note)
        self._show()

    def _receipt(self, shard: Shard, receipt: Receipt) -> None:
        self._runs += len(receipt.published)
        self._failed += len(receipt.failed)
        if receipt.outcome is Outcome.DONE:
            self._finished.add(shard.id)
            self._epochs[shard.id] = shard.epochs * shard.passes
            self._first.setdefault(shard.id, shard.epochs * shard.passes - receipt.epochs)
        if self._bars is not None and shard.id in self._tasks:
            self._bars.remove_task(self._tasks.pop(shard.id))
        self._show(always=receipt.outcome is Outcome.DONE)

    def _show(self, always: bool = False) -> None:
        done = sum(epoch * len(self._shards[name].configs) for name, epoch in self._epochs.items())
        total = sum(shard.work * shard.passes for shard in self._shards.values())
        note = (
            f"{len(self._finished)} of {len(self._shards)} shards, {self._runs} runs"
            f"{f', {self._failed} failed' if self._failed else ''}, {self._left(done, total)}"
        )
        if self._bars is not None and self._all is not None:
            self._bars.update(self._all, completed=done, note=note)
            return
        if self._pace.due(always=always):
            tell(self._console, f"sweep: {done} of {total} member-epochs, {note}")

    def _left(self, done: int, total: int) -> str:
        """From what was trained since the start; what resumed shards had behind them does not count."""
        before = sum(epoch * len(self._shards[name].configs) for name, epoch in self._first.items())
        passed = time.monotonic() - self._started if self._started else 0.0
        if done <= before or passed < 1:
            return "time left unknown"
        return f"about {duration((total - done) * passed / (done - before))} left"
