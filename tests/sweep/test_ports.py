"""No one but the sweep itself can talk to its workers: who listens where, and who is answered."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest
from distributed import Scheduler, Security, SpecCluster, Worker, rpc

from grokfast import RunConfig, Store
from grokfast.errors import ConfigError, SweepError
from grokfast.sweep import Carried, Sweep, run_sweep
from grokfast.sweep.cluster import connected

CERTIFICATES = ("tls_ca_file", "tls_client_key", "tls_client_cert")


def _listening(processes: list[psutil.Process]) -> set[tuple[str, int]]:
    found = set()
    for process in processes:
        with suppress(psutil.Error):
            places = [c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
            found |= {(place.ip, place.port) for place in places}
    return found


def test_a_running_sweep_listens_on_loopback_alone(
    tmp_path: Path, start: Callable[..., Any], sweep_file: Callable[..., Path], wait_for: Callable[..., None]
) -> None:
    sweep = start("sweep", sweep_file(100_000, 4), "--runs", tmp_path / "runs", "--workers", 2, "--no-measure")
    wait_for(
        lambda: len(list((tmp_path / "runs").glob(".shards/*/attempts.json"))) == 2 or not sweep.running(), "training"
    )
    assert sweep.running(), sweep.output
    head = psutil.Process(sweep.process.pid)
    places = _listening([head, *head.children(recursive=True)])
    sweep.end()
    assert {address for address, _ in places} == {"127.0.0.1"}
    # The scheduler, and for each worker its nanny and itself: no pages.
    assert len(places) == 1 + 2 * 2, places


async def _identity(address: str, security: Security) -> dict[str, Any]:
    async with rpc(address, timeout=3, connection_args=security.get_connection_args("client")) as peer:
        return dict(await peer.identity())


def test_no_one_else_is_answered() -> None:
    with connected(1, Carried(timeout=30)) as client:
        workers = client.scheduler_info()["workers"]
        places = [client.scheduler.address, *workers, *(worker["nanny"] for worker in workers.values())]
        assert len(places) == 3
        for place in places:
            assert place.startswith("tls://127.0.0.1:")
            assert asyncio.run(_identity(place, client.security))["type"]
            with pytest.raises(OSError, match=r"before comm was established|Timed out"):
                asyncio.run(_identity(place, Security.temporary()))  # a certificate, but not ours
            with pytest.raises(OSError, match=r"before comm was established|Timed out"):
                asyncio.run(_identity(place.replace("tls://", "tcp://"), Security()))
            host, port = place.removeprefix("tls://").split(":")
            with socket.create_connection((host, int(port)), timeout=5) as connection, suppress(ConnectionError):
                connection.sendall(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
                assert not connection.recv(100).startswith(b"HTTP")


def test_a_scheduler_with_certificates_of_the_users_own(tmp_path: Path, small: Callable[..., list[RunConfig]]) -> None:
    """A given scheduler is met with what Dask is configured with; without that the error names it."""
    security = Security.temporary()
    told = {"protocol": "tls", "host": "127.0.0.1", "port": 0, "dashboard": False, "dashboard_address": ":0"}
    head = {"cls": Scheduler, "options": {**told, "security": security}}
    worker = {"cls": Worker, "options": {"protocol": "tls", "host": "127.0.0.1", "nthreads": 1, "security": security}}
    files = {}
    for name in CERTIFICATES:
        files[name] = tmp_path / name
        files[name].write_text(getattr(security, name))
    configured = {
        "distributed.comm.tls.ca-file": str(files["tls_ca_file"]),
        "distributed.comm.tls.client.key": str(files["tls_client_key"]),
        "distributed.comm.tls.client.cert": str(files["tls_client_cert"]),
    }
    configs = small(1)
    with SpecCluster(workers={0: worker}, scheduler=head, security=security) as cluster:
        address = cluster.scheduler_address
        with pytest.raises(SweepError, match="certificates"):
            run_sweep(Sweep("t", configs), tmp_path / "runs", Carried(scheduler=address, timeout=3))
        with dask.config.set(configured):
            report = run_sweep(Sweep("t", configs), tmp_path / "runs", Carried(scheduler=address, timeout=30))
    assert report.published == [configs[0].key]
    Store(tmp_path / "runs").check(configs[0].key)


def test_a_dashboard_is_for_local_workers_and_needs_bokeh(
    tmp_path: Path, small: Callable[..., list[RunConfig]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="local workers"):
        run_sweep(Sweep("t", small(1)), tmp_path, Carried(scheduler="tcp://127.0.0.1:1", dashboard=True))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="pip install bokeh"):
        run_sweep(Sweep("t", small(1)), tmp_path, Carried(dashboard=True))
