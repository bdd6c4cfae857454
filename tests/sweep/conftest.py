"""Small sweeps, started as a user starts them, and the comparison of two stores."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from grokfast import ModularAddition, RunConfig, Store, load, train_runs
from grokfast.sweep import read_sweep

TASK = ModularAddition(P=7, hidden=(16,))

HANGS = 900.0
"""Seconds after which a wait is given up: long, since tests wait for events, which a busy machine only makes later."""


def small(count: int = 4, **fields: Any) -> list[RunConfig]:
    """Configurations that train in a fraction of a second."""
    plain: dict[str, Any] = {
        "task": TASK,
        "epochs": 12,
        "batch_size": 8,
        "reshuffle": True,
        "feature_schedule": "log:4",
        "compressibility_schedule": "last",
        "checkpoint_schedule": "log:3",
    }
    return [RunConfig(**{**plain, **fields}, w0=0.5 * 2 ** (k % 4), seed=k // 4) for k in range(count)]


@pytest.fixture(name="small")
def _small() -> Callable[..., list[RunConfig]]:
    return small


SWEEP_FILE = """
title = "kill me"
[run]
epochs = {epochs}
batch_size = 8
reshuffle = true
feature_schedule = "log:4"
checkpoint_schedule = "log:3"
task = {{ name = "modular-addition", P = 7, hidden = [16] }}
[grid]
w0 = [0.5, 1, 2, 4]
seed = {{ count = {seeds} }}
"""


@pytest.fixture
def sweep_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a sweep file of ``4 * seeds`` runs."""

    def write(epochs: int, seeds: int) -> Path:
        file = tmp_path / "sweep.toml"
        file.write_text(SWEEP_FILE.format(epochs=epochs, seeds=seeds))
        return file

    return write


@pytest.fixture
def epochs_lasting(tmp_path: Path, sweep_file: Callable[..., Path]) -> Callable[[float], int]:
    """Epochs that eight runs of ``sweep_file`` train for so many seconds here: long enough to be killed in."""

    def measure(seconds: float) -> int:
        configs = list(read_sweep(sweep_file(20, 2)).configs)
        train_runs(configs, Store(tmp_path / "warm"))
        configs = list(read_sweep(sweep_file(220, 2)).configs)
        start = time.perf_counter()
        train_runs(configs, Store(tmp_path / "measured"))
        return max(200, round(seconds * 220 / (time.perf_counter() - start)))

    return measure


class Started:
    """A process of the command line, and its output."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self.output_file = folder / f"output-{time.monotonic_ns()}.txt"
        with self.output_file.open("w") as output:
            self.process = subprocess.Popen(
                arguments, stdout=output, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True
            )

    @property
    def output(self) -> str:
        return self.output_file.read_text()

    def wait(self, timeout: float = HANGS) -> int:
        return self.process.wait(timeout)

    def running(self) -> bool:
        return self.process.poll() is None

    def workers(self) -> list[psutil.Process]:
        """Spawned worker processes."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if any("spawn_main" in part for part in child.cmdline()):
                    found.append(child)
            except psutil.Error:
                continue
        return found

    def end(self) -> None:
        if self.running():
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Starts ``grokfast`` (or another module's command) in a process group of its own."""
    begun: list[Started] = []

    def begin(*arguments: object, module: str = "grokfast") -> Started:
        if module == "grokfast":
            command = [sys.executable, "-c", "from grokfast.cli import main; main()"]
        else:
            command = [sys.executable, "-m", module]
        begun.append(Started([*command, *map(str, arguments)], tmp_path))
        return begun[-1]

    yield begin
    for process in begun:
        process.end()


@pytest.fixture
def wait_for() -> Callable[[Callable[[], bool], str], None]:
    """Waits until something is true; fails after :data:`HANGS` seconds."""

    def wait(condition: Callable[[], bool], what: str, timeout: float = HANGS) -> None:
        until = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < until, f"timed out waiting for {what}"
            time.sleep(0.02)

    return wait


@pytest.fixture
def undisturbed(tmp_path: Path) -> Callable[[list[RunConfig]], Store]:
    """A store of the same runs, trained by the plain trainer in this process."""

    def train(configs: list[RunConfig]) -> Store:
        store = Store(tmp_path / "undisturbed")
        train_runs(configs, store)
        return store

    return train


@pytest.fixture
def assert_same_runs() -> Callable[[Store, Store], None]:
    """Fails unless two stores hold the same runs to the bit: all but hosts, times, and who shared the stack.

    A shard that is killed while it publishes leaves some of its runs to a smaller stack.
    """

    def compare(found: Store, expected: Store) -> None:
        keys = [run.key for run in load(expected.root)]
        assert [run.key for run in load(found.root)] == keys
        for key in keys:
            found.check(key)
            ours, theirs = found.record(key), expected.record(key)
            for name in ("host", "seconds", "stacked_with"):
                ours.pop(name), theirs.pop(name)
            assert ours == theirs
            history, other = found.history(key), expected.history(key)
            assert list(history) == list(other)
            assert all(history[name].tobytes() == other[name].tobytes() for name in other)
            for file in ("checkpoints", "arrays"):
                tensors, others = found.tensors(key, file), expected.tensors(key, file)
                assert set(tensors) == set(others)
                assert all(tensors[name].tobytes() == others[name].tobytes() for name in others)
            assert "order_generator" in expected.tensors(key, "arrays")

    return compare


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"NO FULL DISK WAS TRIED: mounting a tmpfs was refused ({mounted.stderr.strip()})")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
