"""The Dask cluster that carries a sweep: processes of this machine, or one that is there already."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
from distributed import Client, Security, rpc

from grokfast.errors import SweepError
from grokfast.sweep.local import local_cluster
from grokfast.sweep.options import Carried
from grokfast.sweep.worker import same_versions, versions

_SETTINGS = {
    # A worker that has one shard gets no second one to wait behind it.
    "distributed.scheduler.worker-saturation": 1.0,
    # Which runs are to blame for dying workers is told by the shards, from how far they got.
    "distributed.scheduler.allowed-failures": 1_000_000,
    "distributed.scheduler.work-stealing": False,
    # Dask gives up a worker that is not back 15 s after it died, for good: with all of them gone nothing would go on.
    # On a busy machine, or with packages on a network's disk, a new process takes longer.
    "distributed.deploy.lost-worker-timeout": "1000 days",
    "distributed.worker.daemon": True,
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 65536,
}

NO_WORKER = 600.0
"""Seconds without any worker after which a cluster of this machine is given up: none can be started any more."""


class Presence:
    """Whether a cluster of this machine has workers; one that is there already gets and loses them as its owner likes.

    Args:
        client: Of the cluster.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._seen = time.monotonic()

    def check(self) -> None:
        """Look once more.

        Raises:
            SweepError: If there was no worker for :data:`NO_WORKER` seconds.
        """
        now, cluster = time.monotonic(), self._client.cluster
        if cluster is None or cluster.scheduler.workers:
            self._seen = now
        elif now - self._seen > NO_WORKER:
            raise SweepError(
                f"no worker process has come up for {NO_WORKER:g} s: see whether `python -c 'import grokfast'` still "
                "works here, and whether memory is left; what was written is kept, and the same command goes on"
            )


@contextmanager
def connected(workers: int, carried: Carried) -> Iterator[Client]:
    """A client of a running cluster.

    Args:
        workers: Processes to spawn on this machine; not used with a scheduler.
        carried: Which cluster, and for how long it is waited; on ``"cuda"`` each local worker sees one device.

    Raises:
        ConfigError: If a dashboard is asked for and bokeh is missing.
        SweepError: If no scheduler answers, it has no workers, theirs are other versions, or none can be started.
    """
    with _quiet(), dask.config.set(_SETTINGS):
        if not carried.remote:
            with (
                local_cluster(workers, carried.device, dashboard=carried.dashboard) as cluster,
                Client(cluster, timeout=carried.timeout, set_as_default=False) as client,
            ):
                _await_workers(client, "the local cluster", carried.timeout)
                yield client
            return
        with _remote(carried.scheduler, carried.scheduler_file, carried.timeout) as client:
            _await_workers(client, client.scheduler.address, carried.timeout)
            different = same_versions(client.run(versions))
            if different:
                raise SweepError(f"{different}: install the same versions everywhere")
            yield client


@contextmanager
def _remote(scheduler: str | None, scheduler_file: Path | None, timeout: float) -> Iterator[Client]:
    where = scheduler or str(scheduler_file)
    if scheduler_file is not None:
        until = time.monotonic() + timeout
        while not scheduler_file.is_file():
            if time.monotonic() > until:
                raise SweepError(
                    f"scheduler file {scheduler_file} did not appear within {timeout:g} s; start one with "
                    f"`dask scheduler --scheduler-file {scheduler_file}`"
                )
            time.sleep(0.1)
    try:
        address = scheduler or str(json.loads(Path(str(scheduler_file)).read_text())["address"])
        asyncio.run(asyncio.wait_for(_ask(address, timeout), timeout))
        client = Client(address, timeout=timeout, set_as_default=False)
    except (OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
        raise SweepError(
            f"no scheduler answered at {where} within {timeout:g} s ({type(error).__name__}); check the address "
            "(and, for tls://, the certificates that Dask is configured with), start one with `dask scheduler`, "
            "or leave --scheduler away to use this machine"
        ) from error
    with client:
        yield client


async def _ask(address: str, timeout: float) -> None:
    """Ask a scheduler who it is; a client would wait for ever for one that accepts and says nothing.

    Keys and certificates come from Dask's own configuration, as a client takes them.
    """
    arguments = Security().get_connection_args("client")
    async with rpc(address, timeout=timeout, connection_args=arguments) as scheduler:
        await scheduler.identity()


def _await_workers(client: Client, where: str, timeout: float) -> None:
    try:
        client.wait_for_workers(1, timeout=timeout)
    except TimeoutError as error:
        raise SweepError(
            f"the scheduler at {where} has no worker after {timeout:g} s; "
            f"start some with `dask worker {client.scheduler.address} --nthreads 1`"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Dask's loggers say each death and each lost connection; the sweep says what it means."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client", "tornado", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
