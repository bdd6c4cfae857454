"""`grokfast sweep`: many runs from one study or file."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from grokfast._words import duration, size
from grokfast.cli.common import Runs
from grokfast.cli.printing import call, make_console, say, tell
from grokfast.cli.sweep_progress import SweepDisplay
from grokfast.errors import ConfigError
from grokfast.store import Store
from grokfast.studies import find_study, listing
from grokfast.sweep import Carried, Chosen, Plan, SweepReport, make_plan, run_sweep
from grokfast.sweep.estimate import estimate
from grokfast.sweep.options import HERE, cores
from grokfast.training import Observer
from grokfast.training.loggers import TensorBoardLog, WandbLog

SizeName = Annotated[str, tyro.conf.arg(name="size")]


def main(arguments: Sequence[str]) -> None:
    """The command."""
    call(sweep, arguments, "grokfast sweep")


@dataclass(frozen=True)
class Again:
    """What is trained a second time.

    Attributes:
        retry_failed: Train again what failed earlier.
        force: Train again what the folder holds.
    """

    retry_failed: bool = False
    force: bool = False


@dataclass(frozen=True)
class Logged:
    """Where the course of training is logged besides.

    Attributes:
        tensorboard: Log to this TensorBoard folder.
        wandb: Log to this folder with Weights & Biases, offline.
        log_schedule: Epochs that are logged.
    """

    tensorboard: Path | None = None
    wandb: Path | None = None
    log_schedule: str = "every:10"

    @property
    def observers(self) -> list[Observer]:
        """The loggers."""
        found = []
        if self.tensorboard is not None:
            found.append(Observer(TensorBoardLog(self.tensorboard.resolve()), self.log_schedule))
        if self.wandb is not None:
            found.append(Observer(WandbLog(self.wandb.resolve()), self.log_schedule))
        return found


_Flat = tyro.conf.arg(name="")
_ONCE, _NOWHERE = Again(), Logged()


@dataclass(frozen=True)
class Options:
    """How a sweep goes.

    Attributes:
        carried: How it is carried out.
        again: What is trained a second time.
        logged: Where it is logged.
        shard: i/n, to train only the i-th of n fixed parts, for job arrays.
        stack_size: Most runs trained in one stack; 0 is 8, or what the memory allows.
        keep_state: Keep the runs' end states, so that a sweep of more epochs goes on from them.
        measure: Measure how long it will take before it begins.
    """

    carried: Annotated[Carried, _Flat] = HERE
    again: Annotated[Again, _Flat] = _ONCE
    logged: Annotated[Logged, _Flat] = _NOWHERE
    shard: str = ""
    stack_size: int = 0
    keep_state: bool = False
    measure: bool = True

    @property
    def chosen(self) -> Chosen:
        """Which runs are trained."""
        return Chosen(_part(self.shard), self.stack_size or None, self.again.retry_failed, self.again.force)


_OPTIONS = Options()


def sweep(
    file: Annotated[str, tyro.conf.Positional] = "",
    folder: Runs = Path("runs"),
    size_name: SizeName = "",
    plan: bool = False,
    options: Annotated[Options, _Flat] = _OPTIONS,
) -> None:
    """Train all runs of a study that the folder lacks; after a kill it goes on where it was.

    Without a name, list the studies. Ctrl-C once finishes the epoch and saves, twice stops at once.

    Args:
        file: A study, a figure whose study is meant, or a .toml file of your own.
        folder: Folder of runs; on a cluster one that all workers share.
        size_name: Size, where the file has sizes: quick (minutes), laptop (overnight) or paper.
        plan: Only say how many runs, how long and how much disk.
        options: How it goes.
    """
    console = make_console()
    if not file:
        say(f"studies: grokfast sweep NAME --size SIZE\n\n{listing()}")
        return
    carried, which = options.carried, options.chosen
    chosen = find_study(file).sweep(size_name or None)
    if options.measure or plan:
        store = Store(folder)
        if not plan:
            store.check_writable()
        there = make_plan(chosen.configs, store, workers=carried.workers or cores(), **vars(which))
        tell(console, f"{chosen.title}: {len(chosen.configs)} runs")
        _tell_plan(console, there, folder, carried)
        if plan:
            return
    resume = shlex.join(["grokfast", *sys.argv[1:]])
    with SweepDisplay(console) as display:
        report = run_sweep(
            chosen,
            folder,
            carried,
            which,
            observers=options.logged.observers,
            keep_state=options.keep_state,
            listener=display,
            resume=resume,
        )
    _tell_report(console, report, folder, resume)


def _part(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None:
        raise ConfigError(f"--shard must be i/n such as 3/8, got {text!r}")
    return int(found[1]), int(found[2])


def _tell_plan(console: Console, plan: Plan, folder: Path, carried: Carried) -> None:
    tell(console, f"{len(plan.stored)} are in {folder}, {plan.runs} to train in {len(plan.shards)} shards")
    for key, reason in plan.failed.items():
        tell(console, f"failed earlier, left out (--retry-failed): {key}: {reason}")
    for message in plan.damaged.values():
        tell(console, f"trained again: {message}")
    if not plan.shards:
        return
    cost = estimate(plan, carried.device)
    if cost.seconds is not None:
        where = "a worker like this machine" if carried.remote else f"{plan.workers} workers"
        tell(console, f"time: about {duration(cost.seconds)} on {where}, by training a few epochs just now")
    for reason in cost.unmeasured:
        tell(console, f"not in this time: {reason}")
    there = next(path for path in [folder.resolve(), *folder.resolve().parents] if path.exists())
    free = shutil.disk_usage(there).free
    tell(console, f"disk: about {size(cost.disk)}, and up to {size(cost.scratch)} while it trains; free: {size(free)}")
    if free < cost.disk + cost.scratch:
        tell(console, "the disk may not hold all of it: the sweep will stop cleanly when it is full")


def _tell_report(console: Console, report: SweepReport, folder: Path, resume: str) -> None:
    for message in report.damaged_states:
        tell(console, f"an earlier state was taken: {message}")
    for key, reason in report.failed.items():
        tell(console, f"failed: {key}: {reason}")
    tell(
        console,
        f"{len(report.published) - len(report.failed)} runs trained, {len(report.failed)} failed, "
        f"in {duration(report.seconds)}; they lie in {folder.resolve()}",
    )
    if report.stopped:
        tell(console, f"stopped by {report.stopped}; states are saved. Resume with\n  {resume}")
        raise SystemExit(130)
