"""`grokfast sweep`: many runs from one study or file."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from grokfast._words import duration, size
from grokfast.cli.common import Runs
from grokfast.cli.progress import make_console
from grokfast.cli.sweep_progress import SweepDisplay
from grokfast.errors import ConfigError
from grokfast.store import Store
from grokfast.studies import find_study, listing
from grokfast.sweep import Plan, SweepReport, make_plan, run_sweep
from grokfast.sweep.engine import cores
from grokfast.sweep.estimate import estimate
from grokfast.training import Observer
from grokfast.training.kept import KeptStates, told
from grokfast.training.loggers import TensorBoardLog, WandbLog

SizeName = Annotated[str, tyro.conf.arg(name="size")]


def main(arguments: Sequence[str]) -> None:
    """The command."""
    tyro.cli(sweep, args=list(arguments), prog="grokfast sweep")


def sweep(
    file: Annotated[str, tyro.conf.Positional] = "",
    folder: Runs = Path("runs"),
    size_name: SizeName = "",
    plan: bool = False,
    workers: int = 0,
    scheduler: str = "",
    scheduler_file: Path | None = None,
    shard: str = "",
    device: str = "cpu",
    stack_size: int = 0,
    save_every: float = 180.0,
    retry_failed: bool = False,
    force: bool = False,
    keep_state: bool = False,
    timeout: float = 60.0,
    dashboard: bool = False,
    measure: bool = True,
    tensorboard: Path | None = None,
    wandb: Path | None = None,
    log_schedule: str = "every:10",
) -> None:
    """Train all runs of a study that the folder lacks; after a kill it goes on where it was.

    Without a name, list the studies. Ctrl-C once finishes the epoch and saves, twice stops at once.

    Args:
        file: A study, a figure whose study is meant, or a .toml file of your own.
        folder: Folder of runs; on a cluster one that all workers share.
        size_name: Size, where the file has sizes: quick (minutes), laptop (overnight) or paper.
        plan: Only say how many runs, how long and how much disk.
        workers: Worker processes; 0 is one a core, or one a CUDA device.
        scheduler: Address of a running Dask scheduler, such as tcp://host:8786.
        scheduler_file: File that a running Dask scheduler wrote.
        shard: i/n, to train only the i-th of n fixed parts, for job arrays.
        device: cpu or cuda.
        stack_size: Most runs trained in one stack; 0 is 8, or what the memory allows.
        save_every: Seconds between saves of the state of what is in training.
        retry_failed: Train again what failed earlier.
        force: Train again what the folder holds.
        keep_state: Keep the runs' end states, so that a sweep of more epochs goes on from them.
        timeout: Seconds to wait for a scheduler and its workers.
        dashboard: Serve Dask's pages about the local workers; everyone on this machine can read them.
        measure: Measure how long it will take before it begins.
        tensorboard: Log to this TensorBoard folder.
        wandb: Log to this folder with Weights & Biases, offline.
        log_schedule: Epochs that are logged.
    """
    console = make_console()
    if not file:
        print(f"studies: grokfast sweep NAME --size SIZE\n\n{listing()}")
        return
    part = _part(shard)
    chosen = find_study(file).sweep(size_name or None)
    observers = _loggers(tensorboard, wandb, log_schedule)
    options: dict[str, Any] = {
        "part": part,
        "stack_size": stack_size or None,
        "retry_failed": retry_failed,
        "force": force,
    }
    if measure or plan:
        store = Store(folder)
        if not plan:
            store.check_writable()
        there = make_plan(chosen.configs, store, workers=workers or cores(), **options)
        console.print(f"{chosen.title}: {len(chosen.configs)} runs", soft_wrap=True)
        _tell_plan(console, there, folder, device, remote=bool(scheduler or scheduler_file))
        for line in told(
            [config for shard in there.shards for config in shard.configs], KeptStates(store, device=device)
        ):
            console.print(line, soft_wrap=True)
        if plan:
            return
    resume = shlex.join(["grokfast", *sys.argv[1:]])
    with SweepDisplay(console) as display:
        report = run_sweep(
            chosen,
            folder,
            workers=workers,
            scheduler=scheduler or None,
            scheduler_file=scheduler_file,
            device=device,
            save_every=save_every,
            timeout=timeout,
            dashboard=dashboard,
            observers=observers,
            keep_state=keep_state,
            listener=display,
            resume=resume,
            **options,
        )
    _tell_report(console, report, folder, resume)


def _part(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None:
        raise ConfigError(f"--shard must be i/n such as 3/8, got {text!r}")
    return int(found[1]), int(found[2])


def _loggers(tensorboard: Path | None, wandb: Path | None, schedule: str) -> list[Observer]:
    observers = []
    if tensorboard is not None:
        observers.append(Observer(TensorBoardLog(tensorboard.resolve()), schedule))
    if wandb is not None:
        observers.append(Observer(WandbLog(wandb.resolve()), schedule))
    return observers


def _tell_plan(console: Console, plan: Plan, folder: Path, device: str, *, remote: bool) -> None:
    console.print(
        f"{len(plan.stored)} are in {folder}, {plan.runs} to train in {len(plan.shards)} shards",
        soft_wrap=True,
    )
    for key, reason in plan.failed.items():
        console.print(f"failed earlier, left out (--retry-failed): {key}: {reason}", soft_wrap=True)
    for message in plan.damaged.values():
        console.print(f"trained again: {message}", soft_wrap=True)
    if not plan.shards:
        return
    cost = estimate(plan, device)
    if cost.seconds is not None:
        where = "a worker like this machine" if remote else f"{plan.workers} workers"
        console.print(f"time: about {duration(cost.seconds)} on {where}, by training a few epochs just now")
    for reason in cost.unmeasured:
        console.print(f"not in this time: {reason}", soft_wrap=True)
    there = next(path for path in [folder.resolve(), *folder.resolve().parents] if path.exists())
    free = shutil.disk_usage(there).free
    console.print(f"disk: about {size(cost.disk)}, and up to {size(cost.scratch)} while it trains; free: {size(free)}")
    if free < cost.disk + cost.scratch:
        console.print("the disk may not hold all of it: the sweep will stop cleanly when it is full")


def _tell_report(console: Console, report: SweepReport, folder: Path, resume: str) -> None:
    for message in report.damaged_states:
        console.print(f"an earlier state was taken: {message}", soft_wrap=True)
    for key, reason in report.failed.items():
        console.print(f"failed: {key}: {reason}", soft_wrap=True)
    console.print(
        f"{len(report.published) - len(report.failed)} runs trained, {len(report.failed)} failed, "
        f"in {duration(report.seconds)}; they lie in {folder.resolve()}",
        soft_wrap=True,
    )
    if report.stopped:
        console.print(f"stopped by {report.stopped}; states are saved. Resume with\n  {resume}", soft_wrap=True)
        raise SystemExit(130)
