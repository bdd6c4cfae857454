"""The shards of a sweep on their way through a Dask cluster, and the report of what became of them."""

from __future__ import annotations

import queue
import secrets
import time
from asyncio import CancelledError as AsyncCancelledError
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from distributed import Client, Future, KilledWorker

from grokfast.errors import SweepError
from grokfast.sweep.cluster import Presence
from grokfast.sweep.plan import Plan
from grokfast.sweep.receipt import Outcome, Receipt
from grokfast.sweep.shard import Job
from grokfast.sweep.stopping import Stopping
from grokfast.sweep.worker import TOPIC, request_stop, train
from grokfast.training.shards import Shard

_AGAIN = 2.0  # seconds until a shard that another process trains, or whose receipt was lost, is tried again
_TICK = 0.2  # seconds between looks at signals and at the scheduler
_STOP_LIMIT = 600.0  # seconds given to shards to finish their epoch once asked to stop

_LOST = (
    "the Dask scheduler was lost; its workers save their shards as they close, finished runs are kept, and "
    "the same command with a new scheduler goes on from there"
)

Listener = Callable[[str, dict[str, Any]], None]
"""Told of events: ``plan``, ``dashboard``, ``progress``, ``receipt``, ``stopping``, each with its details."""


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


class Carrier:
    """The shards of a plan on their way through a cluster.

    Args:
        client: Of the cluster.
        job: How to train.
        report: Filled in; its plan says what to train.
        tell: Told what happens.
        stop: Whether someone said stop.
        timeout: Seconds to wait for a scheduler that was lost.
    """

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
        self._workers = Presence(client)
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
            held = self._client.processing()
            busy = {key for keys in held.values() for key in keys}
            if not held:  # the workers were told to end too, and have saved: none is left to end what has begun
                waiting = list(self._pending)
        for future in waiting:
            if future.key not in busy:
                self._pending.pop(future, None)
                future.cancel()

    def _check_scheduler(self, now: float) -> None:
        if self._client.status == "running":
            self._unseen = 0.0
            self._workers.check()
            return
        self._unseen = self._unseen or now
        if self._client.status == "closed" or now - self._unseen > self._timeout:
            raise SweepError(_LOST)
