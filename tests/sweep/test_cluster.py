"""A Dask cluster of separate processes over loopback, and what can be wrong with one."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from grokfast import RunConfig, Store
from grokfast.cli import main
from grokfast.errors import ConfigError, StoreError, SweepError
from grokfast.sweep import Carried, Chosen, Sweep, read_sweep, run_sweep, sweeps_of
from grokfast.sweep.cluster import connected
from grokfast.sweep.jobs import run_jobs
from grokfast.sweep.stopping import Stopping


def test_a_worker_then_the_scheduler_are_killed_and_a_new_cluster_goes_on(
    tmp_path: Path,
    start: Callable[..., Any],
    sweep_file: Callable[..., Path],
    epochs_lasting: Callable[[float], int],
    undisturbed: Callable[[list[RunConfig]], Store],
    assert_same_runs: Callable[[Store, Store], None],
    wait_for: Callable[..., None],
) -> None:
    file, store = sweep_file(epochs_lasting(3.0), 8), tmp_path / "runs"

    def cluster(name: str, workers: int) -> tuple[Path, list[Any]]:
        address = tmp_path / f"{name}.json"
        local = ("--host", "127.0.0.1", "--no-dashboard")
        head = start("scheduler", "--scheduler-file", address, "--port", 0, *local, module="dask")
        wait_for(lambda: _complete(address), "the scheduler file")
        shared = ("--scheduler-file", address, "--nthreads", 1, "--no-nanny", "--death-timeout", 10, *local)
        return address, [head, *(start("worker", *shared, module="dask") for _ in range(workers))]

    def held() -> int:
        return len(list(store.glob(".shards/*/progress.json")))

    address, (scheduler, first, second) = cluster("one", 2)
    arguments = ("sweep", file, "--runs", store, "--save-every", 0.3, "--no-measure", "--timeout", 30)
    sweep = start(*arguments, "--scheduler-file", address)
    wait_for(lambda: held() >= 1 or not sweep.running(), "training")
    os.kill(first.process.pid, signal.SIGKILL)
    begun = {path.name for path in store.glob(".shards/*")}
    # The other worker takes up what is left.
    wait_for(
        lambda: bool({path.name for path in store.glob(".shards/*")} - begun) or not sweep.running(),
        "another shard",
    )
    assert sweep.running(), sweep.output
    os.kill(scheduler.process.pid, signal.SIGKILL)
    assert sweep.wait(90) == 2, sweep.output
    assert "the Dask scheduler was lost" in sweep.output
    wait_for(lambda: not second.running(), "the worker without a scheduler to end")
    assert not list(store.glob("*/.tmp-*"))

    address, _ = cluster("two", 2)
    again = start(*arguments, "--scheduler-file", address)
    assert again.wait() == 0, again.output
    configs = list(read_sweep(file).configs)
    assert len(configs) == 32
    assert_same_runs(Store(store), undisturbed(configs))
    assert not list(store.glob(".shards/*"))
    (only,) = sweeps_of(Store(store))
    assert (only["state"], only["done"], only["missing"], only["alive"]) == ("finished", 32, 0, False)


def _complete(file: Path) -> bool:
    try:
        return bool(json.loads(file.read_text())["address"])
    except (OSError, ValueError, KeyError):
        return False


def test_a_scheduler_that_does_not_answer(tmp_path: Path, small: Callable[..., list[RunConfig]]) -> None:
    with socket.socket() as listening:  # accepts connections and says nothing
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(SweepError, match=rf"no scheduler answered at {address} within 1 s.*dask scheduler"):
            run_sweep(Sweep("t", small(1)), tmp_path, Carried(scheduler=address, timeout=1))
    with pytest.raises(SweepError, match="no scheduler answered"):
        run_sweep(Sweep("t", small(1)), tmp_path, Carried(scheduler=address, timeout=1))
    with pytest.raises(SweepError, match=r"did not appear within 0\.3 s"):
        run_sweep(Sweep("t", small(1)), tmp_path, Carried(scheduler_file=tmp_path / "none.json", timeout=0.3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheduler": "tcp://127.0.0.1:1", "scheduler_file": "s.json"}, "exclude each other"),
        ({"scheduler": "tcp://127.0.0.1:1", "workers": 2}, "workers are those of the scheduler"),
        ({"scheduler_file": "s.json", "part": (1, 2)}, "without a scheduler"),
        ({"part": (3, 2)}, "i in 1 .. n, got 3/2"),
        ({"save_every": 0.0}, "save_every must be"),
        ({"workers": -1}, "workers must be"),
        ({"device": "tpu"}, "device must be"),
        ({"stack_size": 0}, "stack_size must be"),
    ],
)
def test_contradictory_and_bad_options(
    tmp_path: Path, small: Callable[..., list[RunConfig]], options: dict[str, Any], message: str
) -> None:
    chosen = Chosen(**{name: value for name, value in options.items() if name in ("part", "stack_size")})
    carried = {name: value for name, value in options.items() if name not in vars(chosen)}
    with pytest.raises(ConfigError, match=message):
        run_sweep(Sweep("t", small(2)), tmp_path, Carried(**carried), chosen)


def test_a_store_of_a_later_version_is_refused(tmp_path: Path, small: Callable[..., list[RunConfig]]) -> None:
    (tmp_path / "store.json").write_text('{"format": 99}')
    with pytest.raises(StoreError, match="upgrade"):
        run_sweep(Sweep("t", small(1)), tmp_path)


def test_killed_workers_are_waited_for_however_long_new_ones_take(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    start: Callable[..., Any],
    sweep_file: Callable[..., Path],
    wait_for: Callable[..., None],
) -> None:
    """Dask gives up what is not back in time, 15 s by itself: on a busy machine that was all workers, and a hang."""
    monkeypatch.setenv("DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT", "0.1s")
    file, store = sweep_file(200, 1), tmp_path / "runs"
    sweep = start("sweep", file, "--runs", store, "--workers", 1, "--save-every", 0.3, "--no-measure")
    wait_for(lambda: bool(list(store.glob(".shards/*/progress.json"))) or not sweep.running(), "training")
    (worker,) = sweep.workers()
    worker.kill()
    wait_for(lambda: bool(sweep.workers()) or not sweep.running(), "a new worker")
    wait_for(lambda: not sweep.running() or not sweep.workers(), "the end of the sweep, or of its only worker")
    assert sweep.wait() == 0, sweep.output


def test_a_cluster_whose_workers_cannot_be_started_any_more_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when packages are removed while it runs: every new process ends at once."""
    monkeypatch.setattr("grokfast.sweep.cluster.NO_WORKER", 1.0)
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit(1)")
    with connected(1, Carried(workers=1)) as client:
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        (pid,) = client.run(os.getpid).values()
        psutil.Process(pid).kill()
        with pytest.raises(SweepError, match=r"no worker process has come up for 1 s.*the same command goes on"):
            run_jobs(client, time.sleep, [("nap", (600.0,))], Stopping(), lambda _: None)


def test_a_worker_that_ends_while_it_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit(1)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (
        pytest.raises(SweepError, match=r"ended while it was started.*starts again"),
        connected(1, Carried(workers=1)),
    ):
        pass


def test_two_sweeps_on_one_store_at_once(
    tmp_path: Path,
    start: Callable[..., Any],
    sweep_file: Callable[..., Path],
    undisturbed: Callable[[list[RunConfig]], Store],
    assert_same_runs: Callable[[Store, Store], None],
) -> None:
    file, store = sweep_file(100, 4), tmp_path / "runs"
    both = [start("sweep", file, "--runs", store, "--workers", 1, "--no-measure") for _ in range(2)]
    for sweep in both:
        assert sweep.wait() == 0, sweep.output
    assert_same_runs(Store(store), undisturbed(list(read_sweep(file).configs)))
    versions = [len(list(home.glob("v*"))) for home in store.glob("[0-9a-f]*")]
    assert versions == [1] * 16  # nothing was trained twice
    assert not list(store.glob(".shards/*"))


def test_poison_a_part_and_the_rest_in_one_process(
    tmp_path: Path, small: Callable[..., list[RunConfig]], capsys: pytest.CaptureFixture[str]
) -> None:
    """NaN at step 0, no memory, and honest runs: through the local cluster, in two parts."""
    nan = small(1, learning_rate=1e30, optimizer="sgd")[0]
    huge = replace(nan, task=replace(nan.task, hidden=(2**44,)))
    good = small(5)
    sweep = Sweep("poison", (*good, nan, huge))
    events: list[str] = []
    first = run_sweep(
        sweep, tmp_path, Carried(workers=1), Chosen(part=(1, 2)), listener=lambda kind, _: events.append(kind)
    )
    second = run_sweep(sweep, tmp_path, Carried(workers=1), Chosen(part=(2, 2)))
    assert {*events} >= {"plan", "progress", "receipt"} or not first.published
    assert sorted(first.published + second.published) == sorted(config.key for config in sweep.configs)
    failed = {**first.failed, **second.failed}
    assert list(failed) == [huge.key]
    assert "memory" in failed[huge.key]
    store = Store(tmp_path)
    assert store.record(nan.key)["status"] == "diverged"
    assert all(store.record(config.key)["status"] == "finished" for config in good)
    # Nothing is left to do, and what failed is named.
    third = run_sweep(sweep, tmp_path)
    assert (third.published, third.plan.shards, list(third.plan.failed)) == ([], (), [huge.key])
    main(["status", "--runs", str(tmp_path)])
    assert "6 of 7 runs done, 1 failed, 0 missing" in capsys.readouterr().out
    main(["runs", "--runs", str(tmp_path), "--where", "status = 'failed'"])
    assert "failed" in capsys.readouterr().out
