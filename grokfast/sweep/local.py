"""A Dask cluster on this machine that no one else can talk to: loopback only, TLS, no HTTP pages.

Dask runs any function that a peer sends. On a shared machine every user reaches loopback, so the address alone
protects nothing: scheduler, workers and client share one key and certificate that are made for this cluster, live in
the memory of its processes alone, and are asked of every peer.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from distributed import Nanny, Scheduler, Security, SpecCluster, Worker

from grokfast.errors import ConfigError, SweepError
from grokfast.training.memory import free_memory

HOST = "127.0.0.1"
"""The only address on which a local cluster listens."""


class NoPagesScheduler(Scheduler):  # type: ignore[misc]
    """A scheduler without an HTTP server."""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Open no port."""


class NoPagesWorker(Worker):  # type: ignore[misc]
    """A worker without an HTTP server."""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Open no port."""


@contextmanager
def local_cluster(workers: int, device: str, *, dashboard: bool) -> Iterator[SpecCluster]:
    """A cluster of processes of this machine.

    Args:
        workers: Processes.
        device: On ``"cuda"``, each sees one device.
        dashboard: Serve Dask's pages about the scheduler, on loopback, to whoever asks there.

    Raises:
        ConfigError: If a dashboard is asked for and bokeh is missing.
        SweepError: If a process ends while it is started.
    """
    if dashboard and importlib.util.find_spec("bokeh") is None:
        raise ConfigError("the dashboard needs bokeh: pip install bokeh, or leave --dashboard away")
    shared = {"host": HOST, "protocol": "tls", "security": Security.temporary()}
    environment = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    spec = {}
    for k in range(workers):
        own = {"CUDA_VISIBLE_DEVICES": _visible(k)} if device == "cuda" else {}
        options: dict[str, Any] = {
            **shared,
            "nthreads": 1,
            "env": {**environment, **own},
            "memory_limit": int(0.95 * free_memory() / workers),
            "preload": ["grokfast.sweep.worker"],
            "worker_class": NoPagesWorker,
            "dashboard": False,
            "silence_logs": logging.CRITICAL,
        }
        spec[k] = {"cls": Nanny, "options": options}
    pages: dict[str, Any] = {"dashboard": dashboard, "dashboard_address": f"{HOST}:8787" if dashboard else None}
    head = {
        "cls": Scheduler if dashboard else NoPagesScheduler,
        "options": {**shared, **pages, "port": 0},
    }
    try:
        cluster = SpecCluster(workers=spec, scheduler=head, security=shared["security"], silence_logs=logging.CRITICAL)
    except RuntimeError as error:  # what Dask raises where a process ends before it has said that it is there
        raise SweepError(
            f"a worker process ended while it was started ({error}): it was killed, or `python -c 'import grokfast'` "
            "no longer works here; the same command starts again"
        ) from error
    try:
        yield cluster
    finally:
        with suppress(TimeoutError):  # what does not end in time is a daemon, and ends with this process
            cluster.close(timeout=20)


def _visible(k: int) -> str:
    """The k-th device that this process may use, as its children name it."""
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    return names.split(",")[k] if names else str(k)
