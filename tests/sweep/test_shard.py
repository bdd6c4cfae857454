"""One shard in this process: poison, deaths, full and read-only disks, two at once, damage."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from grokfast import ModularAddition, Observer, RunConfig, Store
from grokfast.errors import StoreError
from grokfast.runs import load
from grokfast.store.lock import lock
from grokfast.sweep import Job, Outcome, Shard, make_plan, run_shard
from grokfast.sweep import shard as module
from grokfast.training import Interrupted, Snapshot, train_stack

Small = Callable[..., list[RunConfig]]


def _shard(configs: list[RunConfig]) -> Shard:
    return Shard(tuple(configs))


def _stopped(shard: Shard, job: Job, epoch: int) -> None:
    """Train to an epoch and stop as a signal would."""
    stop = Event()

    def report(told: dict[str, object]) -> None:
        stop.set()

    assert epoch == 1  # the first report comes after the first epoch
    assert run_shard(shard, job, report=report, stop=stop).outcome is Outcome.STOPPED


def test_both_passes_are_told(tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grokfast.sweep.receipt._REPORT_EVERY", 0.0)
    configs = small(2, epochs=3, geometry="softmax-all", geometry_stiff=0.1)
    told: list[dict[str, object]] = []
    receipt = run_shard(_shard(configs), Job(tmp_path), report=told.append)
    assert receipt.epochs == 3
    assert [(one["epoch"], one.get("first_pass", False)) for one in told] == [
        *((epoch, True) for epoch in (1, 2, 3)),
        *((epoch, False) for epoch in (1, 2, 3)),
    ]


def test_a_shard_publishes_its_runs_and_leaves_nothing_else(
    tmp_path: Path, small: Small, undisturbed: Callable[..., Store], assert_same_runs: Callable[..., None]
) -> None:
    configs = small(4)
    receipt = run_shard(_shard(configs), Job(tmp_path / "runs"))
    assert receipt.outcome is Outcome.DONE
    assert sorted(receipt.published) == sorted(config.key for config in configs)
    assert receipt.epochs == 12
    assert not list((tmp_path / "runs" / ".shards").glob("*"))
    assert_same_runs(Store(tmp_path / "runs"), undisturbed(configs))


def test_called_again_it_publishes_nothing(tmp_path: Path, small: Small) -> None:
    shard, job = _shard(small(2)), Job(tmp_path)
    run_shard(shard, job)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/current")}
    receipt = run_shard(shard, job)
    assert (receipt.outcome, receipt.published, receipt.epochs) == (Outcome.DONE, [], 0)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/current")} == before


def test_a_shard_half_published_publishes_the_other_half(
    tmp_path: Path, small: Small, undisturbed: Callable[..., Store], assert_same_runs: Callable[..., None]
) -> None:
    configs = small(4)
    shard, job = _shard(configs), Job(tmp_path / "runs", save_every=1e-9)
    _stopped(shard, job, 1)
    expected = undisturbed(configs)
    store = Store(tmp_path / "runs")
    shutil.copytree(expected.root / configs[1].key, store.root / configs[1].key)
    plan = make_plan(configs, store, workers=3)
    assert [found.id for found in plan.shards] == [shard.id]
    assert plan.runs == 3
    receipt = run_shard(plan.shards[0], job)
    assert (receipt.resumed_at, len(receipt.published)) == (1, 3)
    assert_same_runs(store, expected)


def test_a_shard_that_another_process_trains_is_busy(tmp_path: Path, small: Small) -> None:
    shard = _shard(small(2))
    with lock(shard.folder(tmp_path) / "lock") as ours:
        assert ours
        assert run_shard(shard, Job(tmp_path)).outcome is Outcome.BUSY
    assert run_shard(shard, Job(tmp_path)).outcome is Outcome.DONE


def test_a_lock_goes_with_its_process(tmp_path: Path) -> None:
    code = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from grokfast.store.lock import lock
        with lock(Path(sys.argv[1])) as ours:
            print(ours, flush=True)
            time.sleep(60)
        """
    )
    file = tmp_path / "folder" / "lock"
    command = [sys.executable, "-c", code, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        with lock(file) as ours:
            assert not ours
        other.kill()
        other.wait()
    with lock(file) as ours:
        assert ours


def test_nan_at_step_0_is_recorded_and_the_others_are_untouched(
    tmp_path: Path, small: Small, undisturbed: Callable[..., Store], assert_same_runs: Callable[..., None]
) -> None:
    configs = small(3, precision="float32")
    poison = RunConfig(**{**vars(configs[0]), "w0": 1e38, "seed": 99})
    receipt = run_shard(_shard([*configs, poison]), Job(tmp_path / "runs"))
    assert receipt.outcome is Outcome.DONE
    store = Store(tmp_path / "runs")
    record = store.record(poison.key)
    assert (record["status"], record["diverged_epoch"]) == ("diverged", 1)
    assert "not finite in epoch 1" in record["reason"]
    shutil.rmtree(store.root / poison.key)
    for config in configs:  # the only thing that tells of the fourth member
        assert store.record(config.key)["stacked_with"] == 3
    expected = undisturbed(configs)
    for config in configs:
        for file in ("checkpoints", "arrays"):
            ours, theirs = store.tensors(config.key, file), expected.tensors(config.key, file)
            assert all(ours[name].tobytes() == theirs[name].tobytes() for name in theirs)


def test_a_run_without_enough_memory_fails_with_its_reason_alone(tmp_path: Path) -> None:
    huge = ModularAddition(P=7, hidden=(2**44,))
    configs = [RunConfig(task=huge, epochs=2, seed=seed) for seed in (0, 1)]
    receipt = run_shard(_shard(configs), Job(tmp_path))
    assert receipt.outcome is Outcome.DONE
    assert set(receipt.failed) == {config.key for config in configs}
    assert all("memory" in reason for reason in receipt.failed.values())
    table = load(tmp_path)
    assert [row["status"] for row in table.rows] == ["failed", "failed"]
    assert "memory" in table.rows[0]["reason"]
    assert len(table.where("status = 'failed'")) == 2


class Poisonous:
    """Raises for one seed."""

    def __call__(self, snapshot: Snapshot) -> dict[str, object]:
        if any(config.seed == 1 for config in snapshot.configs):
            raise MemoryError("no room for seed 1")
        return {}


def test_one_poisonous_member_costs_the_others_nothing(tmp_path: Path, small: Small) -> None:
    configs = small(6)
    job = Job(tmp_path, observers=(Observer(Poisonous(), "at:5"),))  # type: ignore[arg-type]
    receipt = run_shard(_shard(configs), job)
    poisoned = {config.key for config in configs if config.seed == 1}
    assert receipt.failed == dict.fromkeys(poisoned, "MemoryError: no room for seed 1")
    statuses = [Store(tmp_path).record(config.key)["status"] for config in configs]
    assert statuses == ["failed" if config.key in poisoned else "finished" for config in configs]
    plan = make_plan(configs, Store(tmp_path), workers=1)
    assert (plan.shards, set(plan.failed)) == ((), poisoned)
    assert make_plan(configs, Store(tmp_path), workers=1, retry_failed=True).runs == len(poisoned)


def test_a_run_that_kills_its_worker_is_given_up_and_the_others_are_trained(tmp_path: Path, small: Small) -> None:
    """The system's memory killer leaves no exception: only the count of deaths tells."""
    code = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from grokfast.sweep import Job, Shard, run_shard
        import json
        import grokfast.sweep.shard as module
        import grokfast.training.kept as kept
        module.DEATHS = 2
        start = kept.initial_stack
        def deadly(configs, device="cpu"):
            if any(config.seed == 1 for config in configs):
                os.kill(os.getpid(), signal.SIGKILL)
            return start(configs, device)
        kept.initial_stack = deadly
        receipt = run_shard(Shard.from_dicts(json.loads(sys.argv[2])), Job(Path(sys.argv[1])))
        print(json.dumps(receipt.to_dict()))
        """
    )
    configs = [config for config in small(6) if config.seed == 0 or config.w0 == 0.5]
    dicts = json.dumps(_shard(configs).to_dicts())
    command = [sys.executable, "-c", code, str(tmp_path), dicts]
    for deaths in range(2 * 2):
        done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
        assert done.returncode == -9, (deaths, done.stderr)
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    receipt = json.loads(done.stdout)
    poisoned = [config.key for config in configs if config.seed == 1]
    assert list(receipt["failed"]) == poisoned
    assert "died 2 times" in receipt["failed"][poisoned[0]]
    statuses = [Store(tmp_path).record(config.key)["status"] for config in configs]
    assert statuses == ["failed" if config.seed == 1 else "finished" for config in configs]


class _KilledError(BaseException):
    """The process ends here, as far as the shard can tell."""


def test_deaths_count_since_the_last_saved_state(
    tmp_path: Path, small: Small, undisturbed: Callable[..., Store], assert_same_runs: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Who gets on between deaths is never given up."""

    def dies(*arguments: object, **options: object) -> object:
        try:
            return train_stack(*arguments, **options)  # type: ignore[arg-type]
        except Interrupted:
            raise _KilledError from None

    monkeypatch.setattr(module, "DEATHS", 2)
    monkeypatch.setattr(module, "train_stack", dies)
    shard, job = _shard(small(1)), Job(tmp_path / "runs")
    for _ in range(2):
        stop = Event()
        with pytest.raises(_KilledError):
            run_shard(shard, job, report=lambda _, stop=stop: stop.set(), stop=stop)
    receipt = run_shard(shard, job)
    assert (receipt.outcome, receipt.failed, receipt.resumed_at) == (Outcome.DONE, {}, 2)
    assert_same_runs(Store(job.root), undisturbed(shard.configs))


def test_a_disk_that_is_full_again_and_again_is_no_death(
    tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StoreError("no space left")

    shard, job = _shard(small(1)), Job(tmp_path / "runs")
    with monkeypatch.context() as context:
        context.setattr(module, "train_stack", full)
        for _ in range(module.DEATHS + 1):
            assert run_shard(shard, job).outcome is Outcome.STORAGE
    receipt = run_shard(shard, job)
    assert (receipt.outcome, receipt.failed) == (Outcome.DONE, {})


def _fill(disk: Path, leave: int) -> Path:
    filler = disk / "filler"
    with filler.open("wb") as file:
        free = shutil.disk_usage(disk).free
        os.posix_fallocate(file.fileno(), 0, max(4096, free - leave))
    return filler


@pytest.mark.parametrize("leave", [0, 20_000, 60_000, 120_000, 200_000])
def test_a_full_disk_stops_cleanly_and_loses_nothing(
    small_disk: Path,
    small: Small,
    leave: int,
    undisturbed: Callable[..., Store],
    assert_same_runs: Callable[..., None],
) -> None:
    configs = small(8)
    shard, job = _shard(configs), Job(small_disk / "runs", save_every=1e-9)
    _stopped(shard, job, 1)
    early = run_shard(_shard(small(1, epochs=2, batch_size=4)), job)
    assert early.outcome is Outcome.DONE
    filler = _fill(small_disk, leave)
    receipt = run_shard(shard, job)
    if leave < 200_000:
        assert receipt.outcome is Outcome.STORAGE
        assert "could not be" in receipt.message or "cannot be written" in receipt.message
    store = Store(job.root)
    [store.check(run.key) for run in load(store.root)]  # whatever was published is whole
    assert store.has(early.published[0])
    filler.unlink()
    again = run_shard(shard, job)
    assert again.outcome is Outcome.DONE
    if leave < 200_000:
        assert again.resumed_at >= 1 or again.epochs == 0
    shutil.rmtree(store.root / early.published[0])
    assert_same_runs(store, undisturbed(configs))


def test_a_folder_on_a_read_only_disk_is_refused_before_training(small_disk: Path, small: Small) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreError, match=r"must be writable: Read-only file system.*--runs"):
        Store(small_disk / "runs").check_writable()
    receipt = run_shard(_shard(small(1)), Job(small_disk / "runs"))
    assert receipt.outcome is Outcome.STORAGE
    assert "Read-only" in receipt.message


@pytest.mark.parametrize("name", ["history.parquet", "checkpoints.safetensors", "run.json"])
def test_only_a_damaged_run_is_redone(
    tmp_path: Path,
    small: Small,
    name: str,
    undisturbed: Callable[..., Store],
    assert_same_runs: Callable[..., None],
) -> None:
    configs = small(4)
    store = Store(tmp_path / "runs")
    run_shard(_shard(configs), Job(store.root))
    versions = {config.key: store.path(config.key) for config in configs}
    file = versions[configs[2].key] / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    plan = make_plan(configs, store, workers=2)
    assert list(plan.damaged) == [configs[2].key]
    assert str(file) in plan.damaged[configs[2].key]
    assert [shard.keys for shard in plan.shards] == [[configs[2].key]]
    receipt = run_shard(plan.shards[0], Job(store.root))
    assert receipt.published == [configs[2].key]
    for config in configs[:2] + configs[3:]:
        assert store.path(config.key) == versions[config.key]
    expected = undisturbed(configs)
    for config in configs:
        store.check(config.key)
        ours, theirs = store.tensors(config.key, "checkpoints"), expected.tensors(config.key, "checkpoints")
        assert all(ours[key].tobytes() == theirs[key].tobytes() for key in theirs)
