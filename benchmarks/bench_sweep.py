"""What a sweep costs beyond the training of its shards, what saving states costs, and listing many runs.

The answers are asserted while the times are taken; the ratios are in ``extra_info`` and are printed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from grokfast import ModularAddition, RunConfig, Store, load
from grokfast.sweep import Carried, Job, Shard, Sweep, make_plan, run_shard, run_sweep

QUICK = os.environ.get("GROKFAST_BENCH_QUICK") == "1"


def _configs(count: int, epochs: int) -> list[RunConfig]:
    task = ModularAddition(P=29, hidden=(64,)) if QUICK else ModularAddition()
    return [
        RunConfig(
            task=task,
            epochs=epochs,
            w0=0.1 * 1.5 ** (k % 8),
            seed=k // 8,
            feature_schedule="last",
            compressibility_schedule="last",
        )
        for k in range(count)
    ]


_PURE = """
import json, sys, time
from grokfast.training import train_stack
from grokfast.sweep import Shard
stacks = [Shard.from_dicts(shard).configs for shard in json.loads(sys.stdin.readline())]
print("ready", flush=True)
sys.stdin.readline()
started = time.perf_counter()
for stack in stacks:
    train_stack(stack)
print(time.perf_counter() - started)
"""


def _pure_seconds(shards: list[Shard]) -> float:
    """Time of the slower of two processes that train the same shards and write nothing."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PURE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
        )
        for _ in range(2)
    ]
    for k, process in enumerate(processes):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([shard.to_dicts() for shard in shards[k::2]]) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
    return max(float(out) for out, _ in _go(processes))


def _go(processes: list[subprocess.Popen[str]]) -> list[tuple[str, str]]:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.communicate() for process in processes]


def test_sweep_of_64_members_over_two_workers(benchmark: Any, tmp_path: Path) -> None:
    """The rival trains before and after, so that a drift of the machine's speed shows and is averaged out."""
    configs = _configs(64, 20 if QUICK else 25)
    shards = list(make_plan(configs, Store(tmp_path / "none"), workers=2).shards)
    before = _pure_seconds(shards)
    report = benchmark.pedantic(
        lambda: run_sweep(Sweep("benchmark", tuple(configs)), tmp_path / "runs", Carried(workers=2)), rounds=1
    )
    after = _pure_seconds(shards)
    assert sorted(report.published) == sorted(config.key for config in configs)
    assert all(row["status"] == "finished" for row in load(tmp_path / "runs").rows)
    pure = (before + after) / 2
    inside = sum(receipt.seconds for receipt in report.receipts) / 2
    benchmark.extra_info.update(
        {
            "pure_seconds_before": before,
            "pure_seconds_after": after,
            "ratio": report.seconds / pure,
            "ratio_without_start_up": inside / pure,
            "share_of_saving": sum(receipt.save_seconds for receipt in report.receipts) / 2 / report.seconds,
        }
    )
    print(f"\nsweep {report.seconds:.1f} s; pure training {before:.1f} s before, {after:.1f} s after")
    print({name: round(value, 4) for name, value in benchmark.extra_info.items()})


def test_saving_the_state_of_a_stack(benchmark: Any, tmp_path: Path) -> None:
    """Share of the default interval that one save takes."""
    shard = Shard(tuple(_configs(8, 3)))
    receipt = run_shard(shard, Job(tmp_path, save_every=1e-9))
    assert len(receipt.published) == 8
    saves = shard.epochs - 1

    def again() -> float:
        found = run_shard(shard, Job(tmp_path, save_every=1e-9, redo=frozenset(shard.keys)))
        assert len(found.published) == 8
        return found.save_seconds / saves

    seconds = benchmark.pedantic(again, rounds=1)
    benchmark.extra_info.update({"seconds_a_save": seconds, "share_of_default_interval": seconds / 180})
    print(f"\none save {seconds * 1000:.0f} ms, {100 * seconds / 180:.3f} % of 180 s")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of many runs, made from one."""
    root = tmp_path_factory.mktemp("many")
    config = RunConfig(task=ModularAddition(P=7, hidden=(16,)), epochs=5)
    one = Store(root / "one")
    run_shard(Shard((config,)), Job(one.root))
    record = one.record(config.key)
    for k in range(1000 if QUICK else 10_000):
        key = f"{k:016x}"
        record |= {"key": key, "config": {**record["config"], "seed": k % 100, "w0": 0.1 * (1 + k // 100)}}
        folder = root / "many" / key / "v1"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps(record))
        (folder.parent / "current").write_text("v1\n")
    return root / "many"


def test_listing_and_filtering_a_large_store(benchmark: Any, many: Path) -> None:
    started = time.perf_counter()
    assert len(load(many)) == (1000 if QUICK else 10_000)
    benchmark.extra_info["without_index_seconds"] = time.perf_counter() - started

    table = benchmark(lambda: load(many).where("w0 < 0.95 AND seed < 50"))
    assert len(table) == 450
    assert all(row["seed"] < 50 for row in table.rows)
