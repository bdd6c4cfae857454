"""Processes killed at random moments: the store must end as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from grokfast import RunConfig, Store
from grokfast.sweep import read_sweep

SEEDS = 8  # 32 members, four shards
SHARD = 3.0  # seconds that each trains
OPTIONS = ("--workers", "2", "--save-every", "0.3", "--no-measure")

one_or_twenty = pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 20))]
)


def _training(store: Path) -> bool:
    return any(store.glob(".shards/*/progress.json"))


@one_or_twenty
def test_workers_killed_at_random(
    tmp_path: Path,
    seed: int,
    start: Callable[..., Any],
    sweep_file: Callable[..., Path],
    epochs_lasting: Callable[[float], int],
    undisturbed: Callable[[list[RunConfig]], Store],
    assert_same_runs: Callable[[Store, Store], None],
    wait_for: Callable[..., None],
) -> None:
    rng = random.Random(seed)
    file, store = sweep_file(epochs_lasting(SHARD), SEEDS), tmp_path / "runs"
    sweep = start("sweep", file, "--runs", store, *OPTIONS)
    kills = 0
    for _ in range(3):
        wait_for(lambda: _training(store) or not sweep.running(), "a shard in training")
        time.sleep(rng.uniform(0.0, 2.0))
        if not sweep.running():
            break
        workers = sweep.workers()
        if workers:
            rng.choice(workers).send_signal(signal.SIGKILL)
            kills += 1
    assert sweep.wait() == 0, sweep.output
    print(f"{kills} kills of workers")
    assert kills > 0
    configs = list(read_sweep(file).configs)
    assert len(configs) == 32
    assert_same_runs(Store(store), undisturbed(configs))
    assert not list(store.glob(".shards/*"))


@one_or_twenty
def test_the_whole_sweep_killed_at_random(
    tmp_path: Path,
    seed: int,
    start: Callable[..., Any],
    sweep_file: Callable[..., Path],
    epochs_lasting: Callable[[float], int],
    undisturbed: Callable[[list[RunConfig]], Store],
    assert_same_runs: Callable[[Store, Store], None],
    wait_for: Callable[..., None],
) -> None:
    rng = random.Random(1000 + seed)
    file, store = sweep_file(epochs_lasting(SHARD), SEEDS), tmp_path / "runs"
    kills = 0
    for _ in range(2):
        sweep = start("sweep", file, "--runs", store, *OPTIONS)
        wait_for(lambda sweep=sweep: bool(sweep.workers()) or not sweep.running(), "workers")
        # Start-up is as good a moment as any, but most should fall into the training.
        if rng.random() < 0.8:
            before = time.time()
            wait_for(lambda sweep=sweep, t=before: _begun_after(store, t) or not sweep.running(), "training")
        time.sleep(rng.uniform(0.0, 2.0))
        if not sweep.running():
            break
        workers = sweep.workers()
        os.kill(sweep.process.pid, signal.SIGKILL)
        sweep.process.wait()
        kills += 1
        wait_for(lambda workers=workers: not any(map(_alive, workers)), "the end of orphaned workers")
    print(f"{kills} kills of the whole sweep")
    assert kills > 0
    last = start("sweep", file, "--runs", store, *OPTIONS)
    assert last.wait() == 0, last.output
    assert_same_runs(Store(store), undisturbed(list(read_sweep(file).configs)))
    assert not list(store.glob(".shards/*"))


def _begun_after(store: Path, moment: float) -> bool:
    try:
        return any(file.stat().st_mtime >= moment for file in store.glob(".shards/*/progress.json"))
    except OSError:
        return False


def _alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_interrupted_once_it_saves_and_says_how_to_resume(
    tmp_path: Path,
    start: Callable[..., Any],
    sweep_file: Callable[..., Path],
    epochs_lasting: Callable[[float], int],
    undisturbed: Callable[[list[RunConfig]], Store],
    assert_same_runs: Callable[[Store, Store], None],
    wait_for: Callable[..., None],
) -> None:
    file, store = sweep_file(epochs_lasting(SHARD), SEEDS), tmp_path / "runs"
    # Nothing is saved on a schedule: what is there afterwards was saved at the signal.
    sweep = start("sweep", file, "--runs", store, "--workers", "2", "--save-every", "1e9", "--no-measure")
    wait_for(lambda: _training(store) or not sweep.running(), "training")
    # As a terminal does it: to every process of the group.
    os.killpg(sweep.process.pid, signal.SIGINT)
    assert sweep.wait() == 130, sweep.output
    assert "Resume with" in sweep.output
    assert "sweep.toml --runs" in sweep.output.replace("\n", "")
    assert list(store.glob(".shards/*/state-*.json"))
    shown = start("status", "--runs", store)
    assert shown.wait() == 0
    assert "stopped (SIGINT)" in shown.output
    assert "resume: grokfast sweep" in shown.output
    # With another number of workers it goes on from the same states.
    again = start("sweep", file, "--runs", store, "--workers", "1", "--no-measure")
    assert again.wait() == 0, again.output
    assert_same_runs(Store(store), undisturbed(list(read_sweep(file).configs)))


def test_told_to_end_with_all_its_workers_it_saves_and_says_how_to_resume(
    tmp_path: Path, start: Callable[..., Any], sweep_file: Callable[..., Path], wait_for: Callable[..., None]
) -> None:
    """As a service manager does it: SIGTERM to every process of the group, workers included."""
    file, store = sweep_file(1_000_000, 2), tmp_path / "runs"
    sweep = start("sweep", file, "--runs", store, "--workers", "1", "--save-every", "1e9", "--no-measure")
    wait_for(lambda: _training(store) or not sweep.running(), "training")
    os.killpg(sweep.process.pid, signal.SIGTERM)
    assert sweep.wait() == 130, sweep.output
    assert "Resume with" in sweep.output
    assert list(store.glob(".shards/*/state-*.json"))


def test_interrupted_twice_it_ends_at_once(
    tmp_path: Path,
    start: Callable[..., Any],
    sweep_file: Callable[..., Path],
    wait_for: Callable[..., None],
) -> None:
    # Epochs of minutes: only the second signal can end this soon.
    file, store = sweep_file(3, 1), tmp_path / "runs"
    file.write_text(file.read_text().replace("P = 7, hidden = [16]", "P = 113, hidden = [4096]"))
    sweep = start("sweep", file, "--runs", store, *OPTIONS)
    wait_for(lambda: any(store.glob(".shards/*/attempts.json")) or not sweep.running(), "a shard")
    workers = sweep.workers()
    os.kill(sweep.process.pid, signal.SIGINT)
    wait_for(lambda: "once more stops at once" in sweep.output, "the notice")
    os.kill(sweep.process.pid, signal.SIGINT)
    assert sweep.wait(10) == 130
    wait_for(lambda: not any(map(_alive, workers)), "the end of the workers", 10)
    assert "stopped at once" in sweep.output
    shown = start("status", "--runs", store)
    assert shown.wait() == 0
    assert "dead" in shown.output
