"""Running a sweep: shards as Dask tasks, until every run is published or someone says stop."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grokfast._checks import check_at_least, check_positive
from grokfast.errors import ConfigError, StoreError
from grokfast.store import Store
from grokfast.studies import Sweep
from grokfast.sweep.carrier import Carrier, Listener, SweepReport
from grokfast.sweep.cluster import connected, local_workers
from grokfast.sweep.journal import Journal, journal, sweep_up
from grokfast.sweep.plan import make_plan
from grokfast.sweep.shard import Job, Outcome
from grokfast.sweep.stopping import stopping
from grokfast.training import Observer
from grokfast.training.kept import check_extendable


def run_sweep(
    sweep: Sweep,
    folder: str | Path,
    *,
    workers: int = 0,
    scheduler: str | None = None,
    scheduler_file: str | Path | None = None,
    part: tuple[int, int] | None = None,
    device: str = "cpu",
    stack_size: int | None = None,
    save_every: float = 180.0,
    retry_failed: bool = False,
    force: bool = False,
    timeout: float = 60.0,
    dashboard: bool = False,
    observers: Sequence[Observer] = (),
    keep_state: bool = False,
    listener: Listener | None = None,
    resume: str = "",
) -> SweepReport:
    """Train the runs of a sweep that a store lacks, on this machine or on a Dask cluster.

    It may be killed at any moment and started again: what is published stays, what was in training goes on
    from its last saved state, with the same bits. The first SIGINT, SIGTERM or SIGHUP lets each shard finish
    its epoch and save; the second ends everything at once.

    Args:
        sweep: The runs.
        folder: The store; on a cluster a path that all workers share.
        workers: Local processes; 0 is one a core, or one a CUDA device.
        scheduler: Address of a Dask scheduler to use instead, such as ``tcp://host:8786``.
        scheduler_file: The file that a Dask scheduler wrote, instead of its address.
        part: ``(i, n)``: only the i-th of n fixed parts, for job arrays; i from 1.
        device: ``"cpu"``, or ``"cuda"`` with one worker a device.
        stack_size: Most members of a stack; by default 8, or what the memory allows.
        save_every: Seconds between saves of a shard's state, > 0.
        retry_failed: Train again what failed earlier.
        force: Train again what is stored.
        timeout: Seconds to wait for a scheduler, and for one that was lost to come back.
        dashboard: Serve Dask's pages about local workers on loopback; everyone on this machine can read them.
        observers: Further observers, which must be picklable by Dask; each stack gets copies.
        keep_state: Keep the end states of the runs, from which sweeps of more epochs go on.
        listener: Told what happens.
        resume: Command that starts the sweep again, for ``grokfast status``.

    Returns:
        The report; ``stopped`` says if something is left to do.

    Raises:
        ConfigError: If options contradict each other.
        SweepError: If no scheduler answers, or it was lost.
        StoreError: If the store cannot be written, now or later; what was written is kept.
    """
    started = time.perf_counter()
    _check_options(workers, scheduler, scheduler_file, part, save_every, timeout, device)
    if dashboard and (scheduler is not None or scheduler_file is not None):
        raise ConfigError("a dashboard is for local workers; a scheduler of your own has its own pages")
    store = Store(folder)
    store.check_writable()
    if keep_state:
        check_extendable(sweep.configs)
    local = scheduler is None and scheduler_file is None
    count = local_workers(workers, device, cores()) if local else max(1, workers)
    plan = make_plan(
        sweep.configs,
        store,
        workers=count,
        stack_size=stack_size,
        part=part,
        retry_failed=retry_failed,
        force=force,
        observers=observers,
    )
    report = SweepReport(plan)
    tell = listener or _ignore
    tell("plan", {"plan": plan})
    if plan.shards:
        job = Job(
            root=store.root.resolve(),
            save_every=save_every,
            device=device,
            redo=plan.redo,
            observers=tuple(observers),
            keep_state=keep_state,
        )
        keys = [config.key for config in sweep.configs]
        with (
            journal(store.root, sweep.title, keys, plan, resume, {"workers": count, "part": part}) as kept,
            stopping(lambda name: tell("stopping", {"reason": name})) as stop,
            connected(
                min(count, len(plan.shards)),
                scheduler=scheduler,
                scheduler_file=None if scheduler_file is None else Path(scheduler_file),
                device=device,
                timeout=timeout,
                dashboard=dashboard,
            ) as client,
        ):
            if dashboard:
                tell("dashboard", {"address": client.dashboard_link})
            Carrier(client, job, report, tell, stop, timeout).run()
            report.stopped = stop.reason
            _note_end(kept, report)
        sweep_up(store)
    report.seconds = time.perf_counter() - started
    storage = [receipt.message for receipt in report.receipts if receipt.outcome is Outcome.STORAGE]
    if storage:
        raise StoreError(f"{storage[0]}; the sweep stopped, and all that was written before is kept")
    return report


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _note_end(kept: Journal, report: SweepReport) -> None:
    kept.note(
        state="stopped" if report.stopped else "finished",
        reason=report.stopped,
        published=len(report.published),
        failures=report.failed,
    )


def _check_options(
    workers: int,
    scheduler: str | None,
    scheduler_file: str | Path | None,
    part: tuple[int, int] | None,
    save_every: float,
    timeout: float,
    device: str,
) -> None:
    check_at_least("workers", workers, 0, error=ConfigError)
    check_positive("save_every", save_every, error=ConfigError)
    check_positive("timeout", timeout, error=ConfigError)
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"device must be 'cpu' or 'cuda' (one worker a device), got {device!r}")
    if scheduler is not None and scheduler_file is not None:
        raise ConfigError("scheduler and scheduler_file exclude each other: give one of them")
    if scheduler is not None or scheduler_file is not None:
        if workers:
            raise ConfigError("workers are those of the scheduler: leave workers away, or the scheduler")
        if part is not None:
            raise ConfigError("a part is for jobs that run without a scheduler: leave one of the two away")


def _ignore(kind: str, details: dict[str, Any]) -> None:
    """No one listens."""
