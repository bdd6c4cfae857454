"""Running a sweep: shards as Dask tasks, until every run is published or someone says stop."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grokfast.errors import ConfigError, StoreError
from grokfast.store import Store
from grokfast.studies import Sweep
from grokfast.sweep.carrier import Carrier, Listener, SweepReport
from grokfast.sweep.cluster import connected
from grokfast.sweep.journal import Journal, journal, sweep_up
from grokfast.sweep.options import ALL, HERE, Carried, Chosen
from grokfast.sweep.plan import make_plan
from grokfast.sweep.receipt import Outcome
from grokfast.sweep.shard import Job
from grokfast.sweep.stopping import stopping
from grokfast.training import Observer
from grokfast.training.kept import check_extendable


def run_sweep(
    sweep: Sweep,
    folder: str | Path,
    carried: Carried = HERE,
    chosen: Chosen = ALL,
    *,
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
        carried: How: on how many local processes, or on which cluster.
        chosen: Which of them: a part, failed and stored ones again.
        observers: Further observers, which must be picklable by Dask; each stack gets copies.
        keep_state: Keep the end states of the runs, from which sweeps of more epochs go on.
        listener: Told what happens.
        resume: Command that starts the sweep again, for ``grokfast status``.

    Returns:
        The report; ``stopped`` says if something is left to do.

    Raises:
        ConfigError: If options are out of range.
        SweepError: If no scheduler answers, or it was lost, or no worker comes up any more.
        StoreError: If the store cannot be written, now or later; what was written is kept.
    """
    started = time.perf_counter()
    if carried.remote and chosen.part is not None:
        raise ConfigError("a part is for jobs that run without a scheduler: leave one of the two away")
    store = Store(folder)
    store.check_writable()
    if keep_state:
        check_extendable(sweep.configs)
    count = carried.count
    plan = make_plan(sweep.configs, store, workers=count, observers=observers, **vars(chosen))
    report = SweepReport(plan)
    tell = listener or _ignore
    tell("plan", {"plan": plan})
    if plan.shards:
        job = Job(
            root=store.root.resolve(),
            save_every=carried.save_every,
            device=carried.device,
            redo=plan.redo,
            observers=tuple(observers),
            keep_state=keep_state,
        )
        keys = [config.key for config in sweep.configs]
        with (
            journal(store.root, sweep.title, keys, plan, resume, {"workers": count, "part": chosen.part}) as kept,
            stopping(lambda name: tell("stopping", {"reason": name})) as stop,
            connected(min(count, len(plan.shards)), carried) as client,
        ):
            if carried.dashboard:
                tell("dashboard", {"address": client.dashboard_link})
            Carrier(client, job, report, tell, stop, carried.timeout).run()
            report.stopped = stop.reason
            _note_end(kept, report)
        sweep_up(store)
    report.seconds = time.perf_counter() - started
    storage = [receipt.message for receipt in report.receipts if receipt.outcome is Outcome.STORAGE]
    if storage:
        raise StoreError(f"{storage[0]}; the sweep stopped, and all that was written before is kept")
    return report


def _note_end(kept: Journal, report: SweepReport) -> None:
    kept.note(
        state="stopped" if report.stopped else "finished",
        reason=report.stopped,
        published=len(report.published),
        failures=report.failed,
    )


def _ignore(kind: str, details: dict[str, Any]) -> None:
    """No one listens."""
