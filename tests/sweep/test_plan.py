from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grokfast import ModularAddition, RunConfig, Store, train_runs
from grokfast.errors import ConfigError
from grokfast.observe import Observer
from grokfast.store.lock import lock
from grokfast.sweep import Carried, Chosen, Shard, Sweep, make_plan, part_of, run_sweep
from grokfast.sweep.estimate import estimate, run_bytes
from grokfast.training.memory import member_bytes, parameter_bytes

Small = Callable[..., list[RunConfig]]


def test_stacks_share_shape_and_batch_and_are_filled_evenly(tmp_path: Path, small: Small) -> None:
    configs = [*small(18), *small(6, batch_size=16), *small(2, task=ModularAddition(P=11, hidden=(16,)))]
    plan = make_plan(configs, Store(tmp_path), workers=2)
    assert plan.runs == 26
    for shard in plan.shards:
        assert len({config.stack_key for config in shard.configs}) == 1
        assert len(shard.configs) <= 8
    # 18 members on two workers with at most 8 in a stack: four stacks.
    sizes = [len(shard.configs) for shard in plan.shards if shard.configs[0].batch_size == 8]
    assert sorted(sizes) == [1, 1, 4, 4, 5, 5]
    assert sorted(key for shard in plan.shards for key in shard.keys) == sorted(c.key for c in configs)


def test_stored_runs_are_left_out(tmp_path: Path, small: Small) -> None:
    configs = small(6, epochs=1)
    train_runs(configs[:4], Store(tmp_path))
    plan = make_plan(configs, Store(tmp_path), workers=1)
    assert set(plan.stored) == {config.key for config in configs[:4]}
    assert [shard.keys for shard in plan.shards] == [[config.key for config in configs[4:]]]
    assert make_plan(configs, Store(tmp_path), workers=1, force=True).runs == 6


def test_stacks_shrink_to_the_memory(tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = small(8)
    room = 64 * 2**20 + 3.5 * member_bytes(configs[0])
    monkeypatch.setattr("grokfast.sweep.plan.free_memory", lambda: int(room / 0.6))
    assert sorted(len(s.configs) for s in make_plan(configs, Store(tmp_path), workers=1).shards) == [2, 3, 3]
    chosen = make_plan(configs, Store(tmp_path), workers=1, stack_size=8)
    assert [len(shard.configs) for shard in chosen.shards] == [8]


def test_parts_are_fixed_disjoint_and_complete(tmp_path: Path, small: Small) -> None:
    configs = [*small(13), *small(5, epochs=40)]
    parts = [part_of(configs, i, 3) for i in (1, 2, 3)]
    keys = [key for part in parts for shard in part for key in shard.keys]
    assert sorted(keys) == sorted(config.key for config in configs)
    assert part_of(list(reversed(configs)), 2, 3) == parts[1]
    work = [sum(shard.work for shard in part) for part in parts]
    assert max(work) <= 2 * min(work)
    # What is stored meanwhile changes no one's part.
    train_runs([c for c in configs if c.key in set(parts[0][0].keys)], Store(tmp_path))
    for i, part in enumerate(parts, 1):
        plan = make_plan(configs, Store(tmp_path), workers=1, part=(i, 3))
        expected = {key for shard in part for key in shard.keys} - set(plan.stored)
        assert {key for shard in plan.shards for key in shard.keys} == expected


@pytest.mark.parametrize(("i", "n"), [(0, 3), (4, 3), (1, 0)])
def test_parts_out_of_range(small: Small, i: int, n: int) -> None:
    with pytest.raises(ConfigError, match="part"):
        part_of(small(4), i, n)


def test_a_shard_in_training_elsewhere_is_kept_together(tmp_path: Path, small: Small) -> None:
    configs = small(6)
    begun = Shard(tuple(configs[1:3]))
    folder = begun.folder(tmp_path)
    folder.mkdir(parents=True)
    from grokfast.store.atomic import write_json

    write_json(folder / "shard.json", {"configs": begun.to_dicts()})
    with lock(folder / "lock"):
        plan = make_plan(configs, Store(tmp_path), workers=2)
        assert begun.id in {shard.id for shard in plan.shards}
        assert plan.runs == 6
        # Not all of its members are wanted: it is not ours.
        other = make_plan(configs[:2], Store(tmp_path), workers=1)
        assert begun.id not in {shard.id for shard in other.shards}
    # Without a state and without a process there is nothing to keep.
    assert begun.id not in {shard.id for shard in make_plan(configs, Store(tmp_path), workers=1).shards}


def test_sizes_are_known_without_allocating() -> None:
    config = RunConfig()
    assert parameter_bytes(config) == 174_193 * 4
    assert parameter_bytes(replace(config, precision="float64")) == 174_193 * 8
    huge = replace(config, task=ModularAddition(P=113, hidden=(2**40,)))
    assert parameter_bytes(huge) == (2**40 * 340 + 113) * 4


def test_the_estimate_is_of_the_right_size(tmp_path: Path, small: Small) -> None:
    configs = small(4, epochs=40, checkpoint_schedule="every:4")
    plan = make_plan(configs, Store(tmp_path), workers=1)
    cost = estimate(plan)
    assert cost.runs == 4
    assert cost.seconds is not None
    assert 0.01 < cost.seconds < 60
    assert cost.unmeasured == ()
    train_runs(configs, Store(tmp_path))
    written = sum(file.stat().st_size for file in tmp_path.glob("*/v*/*")) / 4
    assert written / 2 < run_bytes(configs[0]) < 2 * written


def test_what_is_too_large_to_measure_is_said(tmp_path: Path) -> None:
    huge = RunConfig(task=ModularAddition(P=7, hidden=(2**40,)))
    cost = estimate(make_plan([huge], Store(tmp_path), workers=1))
    assert cost.seconds is None
    assert "was not measured" in cost.unmeasured[0]


def weight_norm(snapshot: Any) -> dict[str, Any]:
    return {}


def test_every_choice_reaches_the_shards(tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    class Noting:
        def __init__(self, client: Any, job: Any, report: Any, tell: Any, stop: Any, timeout: float) -> None:
            seen.update(job=job, timeout=timeout, plan=report.plan)

        def run(self) -> None:
            """Nothing is trained."""

    def connecting(workers: int, carried: Carried) -> Any:
        seen.update(workers=workers, carried=carried)
        return nullcontext()

    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr("grokfast.sweep.engine.Carrier", Noting)
    monkeypatch.setattr("grokfast.sweep.engine.connected", connecting)
    carried = Carried(workers=3, save_every=7.5, device="cuda", timeout=12.0)
    configs, observer = small(12, checkpoint_schedule="last"), Observer(weight_norm, "last")
    run_sweep(Sweep("t", configs), tmp_path, carried, Chosen(stack_size=2), observers=[observer], keep_state=True)
    job = seen["job"]
    assert (job.root, job.save_every, job.device, job.keep_state) == (tmp_path.resolve(), 7.5, "cuda", True)
    assert job.observers == (observer,)
    assert (seen["timeout"], seen["workers"], seen["carried"]) == (12.0, 3, carried)
    assert [len(shard.configs) for shard in seen["plan"].shards] == [2] * 6
