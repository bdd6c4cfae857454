"""The time left of a reproduction: by what its parts were measured to take, looks and both passes included."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from grokfast import Ising, ModularAddition, RunConfig
from grokfast.cli.reproduce_progress import ReproduceDisplay
from grokfast.reproduce import PartCost
from grokfast.store import Store
from grokfast.sweep import Outcome, Plan, Receipt, Shard, make_plan
from grokfast.sweep.estimate import MemberCost, estimate, makespan
from grokfast.training.shards import SHARDS


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    time = [100.0]
    monkeypatch.setattr("grokfast.cli.reproduce_progress.time.monotonic", lambda: time[0])
    return time


def _shards() -> tuple[Shard, Shard]:
    """Many short epochs, then few long ones."""
    ising = RunConfig(task=Ising(), epochs=10_000, seed=1)
    modular = RunConfig(task=ModularAddition(), epochs=50, geometry="softmax-all", geometry_stiff=0.1, seed=1)
    return Shard((ising,)), Shard((modular,))


def _costs(shards: tuple[Shard, Shard]) -> dict[str, MemberCost]:
    quick = MemberCost(10_000, 1, 0.001)  # 10 s
    looking = MemberCost(50, 2, 0.1, ((tuple(range(1, 51)), 3.0),), end=40.0)  # 10 s, 150 s and 40 s
    return {shards[0].keys[0]: quick, shards[1].keys[0]: looking}


def _display(costs: dict[str, MemberCost], workers: int = 1) -> tuple[ReproduceDisplay, io.StringIO]:
    out = io.StringIO()
    seconds = makespan((cost.whole for cost in costs.values()), workers)
    parts = [PartCost("train geometry", 2, seconds, members=costs), PartCost("page", 0, 5.0)]
    return ReproduceDisplay(Console(file=out, width=200), parts), out


def _sweep(display: ReproduceDisplay, kind: str, **details: object) -> None:
    display("sweep", {"kind": kind, **details})


def _last(out: io.StringIO) -> str:
    return out.getvalue().splitlines()[-1]


def test_costs_add_up_pass_by_pass_and_look_by_look() -> None:
    cost = MemberCost(50, 2, 0.1, (((10, 20, 50), 3.0),), end=40.0)
    assert cost.after(30, first_pass=True) == pytest.approx(3.0)
    assert cost.after(0) == pytest.approx(5.0)
    assert cost.after(20) == pytest.approx(5.0 + 2.0 + 6.0)
    assert cost.whole == pytest.approx(10.0 + 9.0 + 40.0)
    assert makespan([4.0, 3.0, 2.0], 2) == 5.0
    assert makespan([], 2) == 0.0


def test_a_part_whose_epochs_are_nearly_all_done_is_not_nearly_done(now: list[float]) -> None:
    shards = _shards()
    display, out = _display(_costs(shards))
    display("part", {"part": "train geometry"})
    _sweep(display, "plan", plan=Plan(shards, workers=1))
    now[0] += 10.0
    done = Receipt(shards[0].id, Outcome.DONE, published=shards[0].keys, epochs=10_000)
    _sweep(display, "receipt", shard=shards[0], receipt=done)
    # 10,000 of 10,050 epochs, and 10 of 210 seconds.
    assert _last(out) == "train geometry: 5%, 1 runs trained; about 3 min left of all"
    now[0] += 12.0
    _sweep(display, "progress", shard=shards[1].id, epoch=50, members=1, first_pass=True)
    assert _last(out).startswith("train geometry: 7%")
    now[0] += 155.0
    _sweep(display, "progress", shard=shards[1].id, epoch=50, members=1)
    # The looks at the end model are left, and the page.
    assert _last(out) == "train geometry: 81%, 1 runs trained; about 48 s left of all"


def test_what_an_earlier_sitting_did_says_nothing_of_the_pace(now: list[float]) -> None:
    shard = Shard((RunConfig(task=Ising(), epochs=1000),))
    display, out = _display({shard.keys[0]: MemberCost(1000, 1, 0.1)})
    display("part", {"part": "train geometry"})
    _sweep(display, "plan", plan=Plan((shard,), workers=1))
    _sweep(display, "progress", shard=shard.id, epoch=501, members=1)
    now[0] += 16.0
    _sweep(display, "progress", shard=shard.id, epoch=600, members=1)
    # 100 epochs in 16 s where 10 s were expected: so with the 45 s that were expected to be left.
    assert _last(out) == "train geometry: 60%, 0 runs trained; about 72 s left of all"


def test_workers_that_have_nothing_left_do_not_shorten_what_is_left(now: list[float]) -> None:
    configs = [RunConfig(task=Ising(), epochs=100, seed=seed) for seed in range(2)]
    shards = tuple(Shard((config,)) for config in configs)
    costs = {configs[0].key: MemberCost(100, 1, 1.0), configs[1].key: MemberCost(100, 1, 0.5)}
    display, out = _display(costs, workers=2)
    display("part", {"part": "train geometry"})
    _sweep(display, "plan", plan=Plan(shards, workers=2))
    now[0] += 50.0
    _sweep(display, "progress", shard=shards[0].id, epoch=50, members=1)
    _sweep(display, "receipt", shard=shards[1], receipt=Receipt(shards[1].id, Outcome.DONE, epochs=100))
    now[0] += 11.0
    _sweep(display, "progress", shard=shards[0].id, epoch=61, members=1)
    assert _last(out).startswith("train geometry: 61%")


def test_without_costs_epochs_count_alike_over_both_passes(now: list[float]) -> None:
    _, shard = _shards()
    out = io.StringIO()
    display = ReproduceDisplay(Console(file=out, width=200), [PartCost("train geometry", 0, None)])
    display("part", {"part": "train geometry"})
    _sweep(display, "plan", plan=Plan((shard,), workers=1))
    now[0] += 11.0
    _sweep(display, "progress", shard=shard.id, epoch=25, members=1, first_pass=True)
    assert _last(out).startswith("train geometry: 25%, 0 runs trained")
    now[0] += 11.0
    _sweep(display, "progress", shard=shard.id, epoch=25, members=1)
    assert _last(out).startswith("train geometry: 75%, 0 runs trained")


def test_the_estimate_has_every_run_with_its_passes_and_looks(tmp_path) -> None:
    task = ModularAddition(P=5, hidden=(8,))
    config = RunConfig(task=task, epochs=20, geometry="softmax-all", geometry_stiff=0.1, geometry_schedule="every:5")
    plain = RunConfig(task=task, epochs=20, seed=1, compressibility_schedule="every:10", feature_schedule="never")
    cost = estimate(make_plan([config, plain], Store(tmp_path), workers=2))
    assert cost.members.keys() == {config.key, plain.key}
    looking, bare = cost.members[config.key], cost.members[plain.key]
    assert looking.passes == 2
    assert (6, 11, 16) in [points for points, _ in looking.looks]  # a look is told when the step from it is done
    assert bare.passes == 1
    assert (10,) in [points for points, _ in bare.looks]
    assert looking.end > 0
    assert bare.end > 0
    assert cost.seconds == pytest.approx(max(looking.whole, bare.whole))
    assert not (tmp_path / SHARDS).exists()
