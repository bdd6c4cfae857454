"""Many small jobs on the cluster that carries sweeps: each writes its own result where all can read it."""

from __future__ import annotations

import queue
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from distributed import Client, Future, KilledWorker

from grokfast.errors import GrokfastError, SweepError
from grokfast.sweep.cluster import Presence
from grokfast.sweep.stopping import Stopping

_TICK = 0.2  # seconds between looks at signals
_TRIES = 3  # times that a job may take its worker with it


@dataclass
class JobReport:
    """What became of jobs.

    Attributes:
        done: Names of those that ended well.
        failed: Names of those that did not, with their reasons.
        stopped: Why it ended before all was done; empty if all was.
    """

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    stopped: str = ""


def run_jobs(
    client: Client,
    function: Callable[..., Any],
    jobs: Sequence[tuple[str, tuple[Any, ...]]],
    stop: Stopping,
    tell: Callable[[JobReport], None],
) -> JobReport:
    """Call a function once for each job, on all workers.

    A job that was begun is not broken off; when someone says stop, those that wait are withdrawn.

    Args:
        client: Of the cluster.
        function: Found by its name on the workers; an error of grokfast in it is that job's failure.
        jobs: A name and the arguments of each.
        stop: Whether someone said stop.
        tell: Told after each job.

    Raises:
        SweepError: If a job fails in a way that grokfast does not expect, or the scheduler or all workers are lost.
    """
    report = JobReport()
    ended: queue.SimpleQueue[Future] = queue.SimpleQueue()
    pending: dict[Future, tuple[str, tuple[Any, ...], int]] = {}

    def submit(name: str, arguments: tuple[Any, ...], tries: int) -> None:
        future = client.submit(function, *arguments, key=f"grokfast-job-{secrets.token_hex(8)}", pure=False)
        pending[future] = (name, arguments, tries)
        future.add_done_callback(ended.put)

    for name, arguments in jobs:
        submit(name, arguments, 1)
    withdrawn, workers = False, Presence(client)
    while pending:
        if stop.reason and not withdrawn:
            withdrawn = True
            report.stopped = stop.reason
            _withdraw(client, pending)
        if client.status != "running":
            raise SweepError("the Dask scheduler was lost; what was measured is kept")
        workers.check()
        with suppress(queue.Empty):
            future = ended.get(timeout=_TICK)
            name, arguments, tries = pending.pop(future, ("", (), 0))
            if not name or future.cancelled():
                continue
            error = future.exception() if future.status == "error" else None
            if isinstance(error, KilledWorker) and tries < _TRIES:
                submit(name, arguments, tries + 1)
                continue
            if error is None:
                report.done.append(name)
            elif isinstance(error, GrokfastError | KilledWorker | MemoryError):
                report.failed[name] = str(error).splitlines()[0]
            else:
                raise SweepError(f"{name} failed unexpectedly ({type(error).__name__}: {error})") from error
            tell(report)
    return report


def _withdraw(client: Client, pending: dict[Future, Any]) -> None:
    """Cancel what no worker has begun."""
    busy: set[str] = set()
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            busy = {key for keys in client.processing().values() for key in keys}
            break
        except (OSError, TimeoutError, RuntimeError):
            time.sleep(_TICK)
    for future in [future for future in pending if future.key not in busy]:
        pending.pop(future)
        future.cancel()
