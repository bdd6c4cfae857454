"""What runs in a worker process: shards as Dask tasks, and signals that stop them in time.

A worker of your own cluster needs nothing special: ``dask worker ADDRESS --nthreads 1``. With
``--preload grokfast.sweep.worker`` it also saves its shards when it is told to end by SIGTERM.
"""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import time
from collections.abc import Mapping
from importlib import metadata
from threading import Event, Lock
from typing import Any

import torch
from distributed import Worker, WorkerPlugin, get_worker

from grokfast.sweep.shard import Job, run_shard
from grokfast.training.shards import Shard

TOPIC = "grokfast-sweep-"
"""Beginning of the name under which the progress of a sweep is told."""

_CLOSING = 8.0  # seconds a closing worker waits for its shards to save; a nanny kills it after 10

_stops: dict[str, Event] = {}
_running = 0
_lock = Lock()


def train(sweep: str, shard: list[dict[str, Any]], job: Job) -> dict[str, Any]:
    """The task: train one shard; returns a receipt as JSON values.

    Args:
        sweep: Name of the sweep, for progress and stopping.
        shard: Configurations, as JSON values.
        job: How to train.
    """
    global _running
    worker = get_worker()

    def report(told: dict[str, Any]) -> None:
        worker.log_event(TOPIC + sweep, {**told, "worker": worker.address})

    with _lock:
        stop = _stops.setdefault(sweep, Event())
        _running += 1
    try:
        return run_shard(Shard.from_dicts(shard), job, report=report, stop=stop).to_dict()
    finally:
        with _lock:
            _running -= 1


def request_stop(sweep: str | None = None) -> None:
    """Let shards of this process stop after the epoch in hand, those that begin later too.

    Args:
        sweep: Those of one sweep, or all.
    """
    with _lock:
        stops = list(_stops.values()) if sweep is None else [_stops.setdefault(sweep, Event())]
    for stop in stops:
        stop.set()


def versions() -> dict[str, str]:
    """What must be equal on all workers for equal results."""
    return {"grokfast": metadata.version("grokfast"), "torch": torch.__version__}


def where() -> dict[str, Any]:
    """Host and process."""
    return {"host": platform.node(), "pid": os.getpid()}


class SaveOnClose(WorkerPlugin):  # type: ignore[misc]
    """Gives the shards of a closing worker the time to save their state."""

    name = "grokfast-save-on-close"

    async def teardown(self, worker: Worker) -> None:
        """Stop and wait."""
        request_stop()
        until = time.monotonic() + _CLOSING
        while _running and time.monotonic() < until:
            await asyncio.sleep(0.05)


async def dask_setup(worker: Worker) -> None:
    """Preloaded by a worker: SIGINT is left to the process that started the sweep, SIGTERM saves first."""
    loop = asyncio.get_running_loop()

    def close(*_: object) -> None:
        loop.call_soon_threadsafe(lambda: loop.create_task(worker.close(reason="SIGTERM")))

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, close)
    if SaveOnClose.name not in worker.plugins:
        await worker.plugin_add(SaveOnClose(), name=SaveOnClose.name)


def same_versions(found: Mapping[str, dict[str, str]]) -> str | None:
    """What differs between the workers and this process, in words, or None."""
    ours = versions()
    for address, theirs in found.items():
        if theirs != ours:
            return f"worker {address} has {theirs}, this process has {ours}"
    return None
