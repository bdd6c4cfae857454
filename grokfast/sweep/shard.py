"""Training one shard on a worker: one process at a time, from its last state, publishing each run once."""

from __future__ import annotations

import copy
import gc
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from grokfast.errors import StoreError
from grokfast.store import Store
from grokfast.store.atomic import write_json
from grokfast.store.lock import lock
from grokfast.sweep.receipt import Outcome, Receipt, Report, ShardProgress
from grokfast.training import (
    Interrupted,
    Observer,
    RunConfig,
    StateKeeper,
    plan_stacks,
    train_stack,
    with_looks,
)
from grokfast.training.endlooks import look_at_end
from grokfast.training.kept import KeptStates
from grokfast.training.looks import observer_looks
from grokfast.training.results import failed_result
from grokfast.training.shards import Shard, write_shard
from grokfast.training.stored import outstanding, publish

DEATHS = 5
"""Times that a worker may die with a shard without getting past its last state; then the shard is split, and
a shard of one run given up."""


@dataclass(frozen=True)
class Job:
    """How shards are trained.

    Args:
        root: The store.
        save_every: Seconds between saves of the state.
        device: Where to train.
        redo: Keys that are published again although the store holds them.
        observers: Further observers; each stack gets copies of its own.
        keep_state: Keep the end states of the runs, from which longer ones go on.
    """

    root: Path
    save_every: float = 180.0
    device: str = "cpu"
    redo: frozenset[str] = frozenset()
    observers: Sequence[Observer] = ()
    keep_state: bool = False


def run_shard(shard: Shard, job: Job, *, report: Report | None = None, stop: Event | None = None) -> Receipt:
    """Train a shard from its last state, publish its runs, remove the state.

    Calling it again, at any time and from anywhere, does no harm: published runs are left alone, and only one
    process at a time holds the shard.

    Args:
        shard: What to train.
        job: How.
        report: Told of the progress about once a second.
        stop: When set, training ends after the epoch in hand and the state is saved.

    Returns:
        What happened; errors of the store and of single runs are outcomes, not exceptions.
    """
    started = time.perf_counter()
    folder = shard.folder(job.root)
    receipt = Receipt(shard.id, Outcome.DONE)
    try:
        with lock(folder / "lock") as mine:
            if not mine:
                receipt.outcome = Outcome.BUSY
                return receipt
            _train(shard, folder, job, receipt, report or _ignore, stop or Event())
            if receipt.outcome is Outcome.DONE:
                shutil.rmtree(folder, ignore_errors=True)
    except StoreError as error:
        receipt.outcome, receipt.message = Outcome.STORAGE, str(error)
    receipt.seconds = time.perf_counter() - started
    return receipt


def _train(shard: Shard, folder: Path, job: Job, receipt: Receipt, report: Report, stop: Event) -> None:
    store = Store(job.root)
    missing = [config for config in shard.configs if config.key in job.redo or not _is_done(store, config, job)]
    looked = {config.key for config in missing if config.key not in job.redo and look_at_end(config, store)}
    missing = [config for config in missing if config.key not in looked or not _is_done(store, config, job)]
    if not missing:
        return
    _note(folder, shard)
    if (folder / "split").exists() or not _attempt(folder):
        _train_alone(shard, folder, job, receipt, report, stop)
        return
    keeper = StateKeeper(folder, job.save_every, receipt.damaged.append)
    progress = ShardProgress(shard, folder, receipt, report)
    try:
        results = train_stack(
            shard.configs,
            observers=copy.deepcopy(job.observers),
            device=job.device,
            on_epoch=progress,
            on_first_pass=progress.first_pass,
            stop=stop,
            keeper=keeper,
            kept=KeptStates(store, job.keep_state, job.device),
        )
    except Interrupted:
        _attempt_over(folder)
        receipt.outcome = Outcome.STOPPED
    except StoreError:
        _attempt_over(folder)
        raise
    except Exception as error:
        # The run cannot be trained: that is a result too, and it must not cost the others theirs.
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
        del error
        gc.collect()
        _attempt_over(folder)
        if len(shard.configs) > 1:
            _train_alone(shard, folder, job, receipt, report, stop)
        else:
            _give_up(shard.configs[0], store, receipt, reason)
    else:
        again = []
        for config, result in zip(shard.configs, results, strict=True):
            if config not in missing:
                continue
            missed = publish(store, result)
            if missed is None:
                receipt.published.append(result.key)
            else:
                again.append(with_looks(config, missed))
        _train_parts(plan_stacks(again), job, receipt, report, stop)
    receipt.resumed_at = keeper.resumed_at
    receipt.save_seconds += keeper.save_seconds


def _train_alone(shard: Shard, folder: Path, job: Job, receipt: Receipt, report: Report, stop: Event) -> None:
    """One member spoils the stack: train each by itself, to find which one."""
    if len(shard.configs) == 1:
        reason = (
            f"the worker died {DEATHS} times while training it, each time before a state could be saved: "
            "killed by the system, probably for lack of memory"
        )
        _give_up(shard.configs[0], Store(job.root), receipt, reason)
        return
    _write(folder / "split", {})
    _train_parts([[config] for config in shard.configs], job, receipt, report, stop)


def _train_parts(parts: Sequence[Sequence[RunConfig]], job: Job, receipt: Receipt, report: Report, stop: Event) -> None:
    """Further shards, in turn, whose receipts become part of this one."""
    for configs in parts:
        part = run_shard(Shard(tuple(configs)), job, report=report, stop=stop)
        receipt.published += part.published
        receipt.failed |= part.failed
        receipt.damaged += part.damaged
        receipt.epochs += part.epochs
        receipt.save_seconds += part.save_seconds
        if part.outcome is not Outcome.DONE:
            receipt.outcome, receipt.message = part.outcome, part.message
            return


def _give_up(config: RunConfig, store: Store, receipt: Receipt, reason: str) -> None:
    receipt.failed[config.key] = reason
    if _status(store, config.key) in (None, "failed"):  # a good run that lacks a look stays as it is
        publish(store, failed_result(config, reason))
        receipt.published.append(config.key)


def _status(store: Store, key: str) -> str | None:
    """Status of a sound run; None if there is none."""
    try:
        store.check(key)
        return str(store.record(key)["status"])
    except StoreError:
        return None


def _is_done(store: Store, config: RunConfig, job: Job) -> bool:
    status = _status(store, config.key)
    if status is None or status == "failed":
        return status is not None
    looks, _ = observer_looks(job.observers, config.task)
    return outstanding(config, store, looks) is None


def _attempt(folder: Path) -> bool:
    """Count the attempts since the last saved state; False when there were too many."""
    states = sorted(folder.rglob("state-*.json"))  # a first pass has its own
    state = states[-1].name if states else ""
    file = folder / "attempts.json"
    count = 0
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(file.read_text())
        count = int(found["count"]) if found["state"] == state else 0
    if count >= DEATHS:
        return False
    _write(file, {"state": state, "count": count + 1})
    return True


def _attempt_over(folder: Path) -> None:
    """This attempt did not end in a death."""
    with suppress(OSError):
        (folder / "attempts.json").unlink(missing_ok=True)


def _note(folder: Path, shard: Shard) -> None:
    try:
        write_shard(folder, shard)
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror or error}") from error


def _write(file: Path, values: Mapping[str, Any]) -> None:
    try:
        write_json(file, values, durable=False)
    except OSError as error:
        raise StoreError(f"{file} cannot be written: {error.strerror or error}") from error


def _ignore(told: dict[str, Any]) -> None:
    """No one asked."""
