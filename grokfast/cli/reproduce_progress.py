"""One live display over all parts of a reproduction, with the time left; lines now and then where it is no terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from grokfast._words import duration
from grokfast.cli.printing import tell
from grokfast.progress import NowAndThen
from grokfast.reproduce import PartCost
from grokfast.sweep import Outcome, Plan, Shard
from grokfast.sweep.estimate import MemberCost, makespan

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
        self._members = {part.name: part.members for part in parts}
        self._shares = dict.fromkeys(self._costs, 0.0)
        self._before = dict.fromkeys(self._costs, 0.0)  # shares that earlier sittings did
        self._began = dict.fromkeys(self._costs, 0.0)
        self._spent, self._expected = 0.0, 0.0  # of ended parts: seconds, and what they were measured to take
        self._part = ""
        self._training = _Training({})
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
                self._training = _Training(self._members[self._part])
            elif kind == "ended":
                part = details["part"]
                self._shares[part] = 1.0
                self._spent += time.monotonic() - self._began[part]
                self._expected += self._costs[part] * (1 - self._before[part])
                note = "done"
            elif kind == "share":
                total = details.get("total") or max(details["done"], _PAGE_STEPS)
                self._shares[self._part] = details["done"] / total
                note = details["note"]
            elif kind == "sweep":
                self._training.take(details)
                self._shares[self._part] = self._training.share
                self._before[self._part] = self._training.before
                note = self._training.note
            elif kind == "stopping":
                tell(self._console, f"{details['reason']}: what is in hand is saved; once more stops at once")
            self._show(note, always=kind in ("part", "ended"))

    def _show(self, note: str, *, always: bool) -> None:
        left = self._left()
        if self._bars is not None:
            self._bars.update(self._tasks[self._part], completed=self._shares[self._part], note=note)
            self._bars.update(self._tasks["all"], completed=self._whole(), note=left)
            return
        if self._pace.due(always=always):
            done = f"{self._shares[self._part]:.0%}"
            tell(self._console, f"{self._part}: {done}, {note or 'begins'}; {left}")

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
            gained = share - self._before[part]
            if passed < _TELLING or gained <= 0 or share >= 1:
                return "time left not measured"
            return f"about {duration(passed * (1 - share) / gained)} left of this part"
        if part and self._shares[part] < 1:
            spent += time.monotonic() - self._began[part]
            expected += self._costs[part] * (self._shares[part] - self._before[part])
        rest = sum(self._costs[name] * (1 - share) for name, share in self._shares.items())
        if spent >= _TELLING and expected >= _TELLING:
            rest *= spent / expected
        return f"about {duration(rest)} left of all"


_PAGE_STEPS = 64  # claims and figures that a page has


class _Training:
    """What share of the time that a part's training takes is behind it.

    Args:
        costs: What each run was measured to take, by key. Where one is unknown, epochs count alike.
    """

    def __init__(self, costs: Mapping[str, MemberCost]) -> None:
        self._known = costs
        self._shards: dict[str, Shard] = {}
        self._costs: dict[str, list[MemberCost]] = {}
        self._done: dict[str, float] = {}
        self._first: dict[str, float] = {}
        self._workers = 1
        self._runs = 0

    def take(self, details: dict[str, Any]) -> None:
        """One event of the sweep."""
        if details["kind"] == "plan":
            plan: Plan = details["plan"]
            self._workers = plan.workers
            self._shards = {shard.id: shard for shard in plan.shards}
            known = all(key in self._known for shard in plan.shards for key in shard.keys)
            self._costs = {
                shard.id: [
                    self._known[key] if known else MemberCost(shard.epochs, shard.passes, 1.0) for key in shard.keys
                ]
                for shard in plan.shards
            }
        elif details["kind"] == "progress" and details["shard"] in self._shards:
            name, epoch, first = details["shard"], int(details["epoch"]), details.get("first_pass", False)
            # The first epoch told is the first one of this sitting.
            self._first.setdefault(name, self._after(name, epoch - 1, first))
            self._done[name] = self._after(name, epoch, first)
        elif details["kind"] == "receipt":
            shard, receipt = details["shard"], details["receipt"]
            self._runs += len(receipt.published)
            if receipt.outcome is Outcome.DONE and shard.id in self._shards:
                self._done[shard.id] = self._whole(shard.id)

    @property
    def share(self) -> float:
        """Behind it."""
        return self._share(self._done)

    @property
    def before(self) -> float:
        """Behind it when this sitting began."""
        return self._share(self._first)

    @property
    def note(self) -> str:
        """In words."""
        return f"{self._runs} runs trained" if self._shards else "all runs are there"

    def _share(self, done: Mapping[str, float]) -> float:
        whole = {name: self._whole(name) for name in self._shards}
        total = makespan(whole.values(), self._workers)
        left = makespan((seconds - done.get(name, 0.0) for name, seconds in whole.items()), self._workers)
        return 1 - left / total if total else 1.0

    def _after(self, name: str, epoch: int, first_pass: bool) -> float:
        return sum(cost.after(epoch, first_pass=first_pass) for cost in self._costs[name])

    def _whole(self, name: str) -> float:
        return sum(cost.whole for cost in self._costs[name])
