"""One live display over all parts of a reproduction, with the time left; lines now and then where it is no terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Lock
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from grokfast._words import duration
from grokfast.progress import NowAndThen
from grokfast.reproduce import PartCost
from grokfast.sweep import Outcome, Plan

_TELLING = 5.0  # seconds of work from which its pace says more than the measurement before


class ReproduceDisplay:
    """Listens to a reproduction.

    Args:
        console: Where to.
        parts: What it consists of, with what each was measured to take; None where nothing was measured.
    """

    def __init__(self, console: Console, parts: Sequence[PartCost]) -> None:
        self._console = console
        self._measured = all(part.seconds is not None for part in parts)
        # Where nothing was measured each part counts as much as any other.
        self._costs = {part.name: (part.seconds or 0.0) if self._measured else 1.0 for part in parts}
        self._shares = dict.fromkeys(self._costs, 0.0)
        self._began = dict.fromkeys(self._costs, 0.0)
        self._spent, self._expected = 0.0, 0.0  # of ended parts: seconds, and what they were measured to take
        self._part = ""
        self._training = _Training()
        self._pace = NowAndThen()
        self._lock = Lock()
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> ReproduceDisplay:
        if self._console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), console=self._console
            )
            self._tasks["all"] = self._bars.add_task("all", total=1.0, note="")
            self._tasks |= {name: self._bars.add_task(f"  {name}", total=1.0, note="") for name in self._costs}
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, kind: str, details: dict[str, Any]) -> None:
        """Take one event; may be called from several threads."""
        with self._lock:
            note = ""
            if kind == "part":
                self._part = details["part"]
                self._began[self._part] = time.monotonic()
                self._training = _Training()
            elif kind == "ended":
                self._shares[details["part"]] = 1.0
                self._spent += time.monotonic() - self._began[details["part"]]
                self._expected += self._costs[details["part"]]
                note = "done"
            elif kind == "share":
                total = details.get("total") or max(details["done"], _PAGE_STEPS)
                self._shares[self._part] = details["done"] / total
                note = details["note"]
            elif kind == "sweep":
                self._training.take(details)
                self._shares[self._part] = self._training.share
                note = self._training.note
            elif kind == "stopping":
                self._console.print(f"{details['reason']}: what is in hand is saved; once more stops at once")
            self._show(note, always=kind in ("part", "ended"))

    def _show(self, note: str, *, always: bool) -> None:
        left = self._left()
        if self._bars is not None:
            self._bars.update(self._tasks[self._part], completed=self._shares[self._part], note=note)
            self._bars.update(self._tasks["all"], completed=self._whole(), note=left)
            return
        if self._pace.due(always=always):
            done = f"{self._shares[self._part]:.0%}"
            self._console.print(f"{self._part}: {done}, {note or 'begins'}; {left}", soft_wrap=True)

    def _whole(self) -> float:
        total = sum(self._costs.values())
        return sum(self._costs[name] * share for name, share in self._shares.items()) / total if total else 0.0

    def _left(self) -> str:
        """What was measured beforehand for what is left, times how much slower than that it has gone so far.

        Where nothing was measured, what is left of the part in hand at the pace it has had.
        """
        part, spent, expected = self._part, self._spent, self._expected
        if not self._measured:
            passed, share = time.monotonic() - self._began[part], self._shares[part]
            if passed < _TELLING or not 0 < share < 1:
                return "time left not measured"
            return f"about {duration(passed * (1 - share) / share)} left of this part"
        if part and self._shares[part] < 1:
            spent += time.monotonic() - self._began[part]
            expected += self._costs[part] * self._shares[part]
        rest = sum(self._costs[name] * (1 - share) for name, share in self._shares.items())
        if spent >= _TELLING and expected >= _TELLING:
            rest *= spent / expected
        return f"about {duration(rest)} left of all"


_PAGE_STEPS = 64  # claims and figures that a page has


class _Training:
    """What share of a part's member-epochs is trained."""

    def __init__(self) -> None:
        self._work: dict[str, int] = {}
        self._members: dict[str, int] = {}
        self._epochs: dict[str, int] = {}
        self._total = 0
        self._runs = 0

    def take(self, details: dict[str, Any]) -> None:
        """One event of the sweep."""
        if details["kind"] == "plan":
            plan: Plan = details["plan"]
            self._members = {shard.id: len(shard.configs) for shard in plan.shards}
            self._work = {shard.id: shard.epochs for shard in plan.shards}
            self._total = sum(shard.work for shard in plan.shards)
        elif details["kind"] == "progress" and details["shard"] in self._members:
            self._epochs[details["shard"]] = int(details["epoch"])
        elif details["kind"] == "receipt":
            shard, receipt = details["shard"], details["receipt"]
            self._runs += len(receipt.published)
            if receipt.outcome is Outcome.DONE and shard.id in self._work:
                self._epochs[shard.id] = self._work[shard.id]

    @property
    def share(self) -> float:
        """Of what is to train."""
        done = sum(epoch * self._members[name] for name, epoch in self._epochs.items())
        return done / self._total if self._total else 1.0

    @property
    def note(self) -> str:
        """In words."""
        return f"{self._runs} runs trained" if self._total else "all runs are there"
