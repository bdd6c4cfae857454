"""Running a sweep: shards as Dask tasks, until every run is published or someone says stop."""

from __future__ import annotations

import os
import queue
import secrets
import time
from asyncio import CancelledError as AsyncCancelledError
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Client, Future, KilledWorker

from grokfast._checks import check_at_least, check_positive
from grokfast.errors import ConfigError, StoreError, SweepError
from grokfast.store import Store
from grokfast.studies import Sweep
from grokfast.sweep.cluster import connected, local_workers
from grokfast.sweep.journal import Journal, journal, sweep_up
from grokfast.sweep.plan import Plan, make_plan
from grokfast.sweep.shard import Job, Outcome, Receipt
from grokfast.sweep.shards import Shard
from grokfast.sweep.stopping import Stopping, stopping
from grokfast.sweep.worker import TOPIC, request_stop, train
from grokfast.training import Observer

_AGAIN = 2.0  # seconds until a shard that another process trains, or whose receipt was lost, is tried again
_TICK = 0.2  # seconds between looks at signals and at the scheduler
_STOP_LIMIT = 600.0  # seconds given to shards to finish their epoch once asked to stop

Listener = Callable[[str, dict[str, Any]], None]
"""Told of events: ``plan``, ``progress``, ``receipt``, ``stopping``, each with its details."""


@dataclass
class SweepReport:
    """What a sweep did.

    Attributes:
        plan: What it had to do.
        published: Keys published now, failed ones too.
        failed: Keys that failed now, with their reasons.
        damaged_states: State files found damaged and passed over.
        seconds: Time it took, start-up of the cluster included.
        receipts: One a finished, stopped or given-up shard.
        stopped: Why it ended before all was done; empty if all was.
    """

    plan: Plan
    published: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    damaged_states: list[str] = field(default_factory=list)
    seconds: float = 0.0
    receipts: list[Receipt] = field(default_factory=list)
    stopped: str = ""


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
    observers: Sequence[Observer] = (),
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
        observers: Further observers, which must be picklable by Dask; each stack gets copies.
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
    store = Store(folder)
    store.check_writable()
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
            ) as client,
        ):
            _Run(client, job, report, tell, stop, timeout).run()
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


class _Run:
    """The shards of a plan on their way through a cluster."""

    def __init__(
        self, client: Client, job: Job, report: SweepReport, tell: Listener, stop: Stopping, timeout: float
    ) -> None:
        self._client, self._job, self._report = client, job, report
        self._tell, self._stop, self._timeout = tell, stop, timeout
        self._name = secrets.token_hex(6)
        self._done: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._pending: dict[Future, Shard] = {}
        self._later: list[tuple[float, Shard]] = []
        self._begun: set[str] = set()
        self._unseen = 0.0  # when the scheduler was last found missing, 0 if it is there

    def run(self) -> None:
        """Until nothing is left."""
        self._client.subscribe_topic(TOPIC + self._name, self._on_progress)
        for shard in self._report.plan.shards:
            self._submit(shard)
        asked = next_ask = 0.0
        while self._pending or (self._later and not self._stop.reason):
            with suppress(queue.Empty):
                self._on_done(self._done.get(timeout=_TICK))
            now = time.monotonic()
            self._check_scheduler(now)
            if self._stop.reason:
                asked = asked or now
                if now - asked > _STOP_LIMIT:
                    raise SweepError(f"shards did not stop within {_STOP_LIMIT:g} s; their last states are kept")
                if now >= next_ask:
                    next_ask = now + 1.0
                    self._ask_to_stop()
                continue
            for entry in [entry for entry in self._later if entry[0] <= now]:
                self._later.remove(entry)
                self._submit(entry[1])

    def _submit(self, shard: Shard) -> None:
        future = self._client.submit(
            train,
            self._name,
            shard.to_dicts(),
            self._job,
            key=f"grokfast-{self._name}-{shard.id}-{secrets.token_hex(3)}",
            pure=False,
        )
        self._pending[future] = shard
        future.add_done_callback(self._done.put)

    def _on_progress(self, event: tuple[float, dict[str, Any]]) -> None:
        self._begun.add(event[1]["shard"])
        self._tell("progress", event[1])

    def _on_done(self, future: Future) -> None:
        shard = self._pending.pop(future, None)
        if shard is None:
            return
        if future.cancelled() or future.status == "lost":
            if not self._stop.reason:
                raise SweepError(_LOST)
            return
        if future.status == "error":
            error = future.exception()
            if isinstance(error, KilledWorker):
                self._submit(shard)
                return
            self._ask_to_stop()
            raise SweepError(
                f"shard {shard.id} could not be run ({type(error).__name__}: {error}); finished runs are kept"
            ) from error
        try:
            receipt = Receipt.from_dict(future.result(timeout=self._timeout))
        except (OSError, TimeoutError, CancelledError, AsyncCancelledError):
            # The worker that holds the receipt, or the scheduler, died just now: shards may be run again.
            self._later.append((time.monotonic() + _AGAIN, shard))
            return
        self._take(shard, receipt)

    def _take(self, shard: Shard, receipt: Receipt) -> None:
        if receipt.outcome is Outcome.BUSY:
            self._later.append((time.monotonic() + _AGAIN, shard))
            return
        report = self._report
        report.receipts.append(receipt)
        report.published += receipt.published
        report.failed |= receipt.failed
        report.damaged_states += receipt.damaged
        if receipt.outcome is Outcome.STORAGE:
            self._stop(receipt.message)
        self._tell("receipt", {"receipt": receipt, "shard": shard})

    def _ask_to_stop(self) -> None:
        """Stop what runs and withdraw what waits; asked again and again, since workers may be replaced."""
        waiting = [future for future, shard in self._pending.items() if shard.id not in self._begun]
        with suppress(OSError, TimeoutError, RuntimeError):
            self._client.run(request_stop, self._name, wait=True, on_error="ignore")
        busy = set()
        with suppress(OSError, TimeoutError, RuntimeError):
            busy = {key for keys in self._client.processing().values() for key in keys}
        for future in waiting:
            if future.key not in busy:
                self._pending.pop(future, None)
                future.cancel()

    def _check_scheduler(self, now: float) -> None:
        if self._client.status == "running":
            self._unseen = 0.0
            return
        self._unseen = self._unseen or now
        if self._client.status == "closed" or now - self._unseen > self._timeout:
            raise SweepError(_LOST)


_LOST = (
    "the Dask scheduler was lost; its workers save their shards as they close, finished runs are kept, and "
    "the same command with a new scheduler goes on from there"
)


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
