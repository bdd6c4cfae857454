"""How long a sweep will take and how much it will hold, told before it begins."""

from __future__ import annotations

import dataclasses
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from threading import Event

from grokfast.errors import GrokfastError
from grokfast.sweep.plan import Plan
from grokfast.training import (
    Interrupted,
    RunConfig,
    StackState,
    initial_stack,
    run_epochs,
    schedule_epochs,
)
from grokfast.training.geometry import geometry_of, look_epochs
from grokfast.training.memory import free_memory, member_bytes, parameter_bytes
from grokfast.training.observing import asked_observers, built_in_observers
from grokfast.training.shards import Shard
from grokfast.training.stack import quiet_numerics
from grokfast.training.statefiles import STATES_KEPT

_ENDLESS = 1_000_000  # epochs
_SHORT = 1.0  # seconds that one measurement of an epoch takes, at least one epoch
_MOST = 0.25  # of the free memory: larger members are not trained for a measurement
_RUN_OVERHEAD = 24_000  # bytes of run.json, the pruning curve, the features of the neurons
_SPECTRUM_BYTES = 12_000  # of a sorted Fisher diagonal as it is stored
_EPOCH_BYTES = 60  # bytes a row of history.parquet takes


_Looks = tuple[tuple[tuple[int, ...], float], ...]


@dataclass(frozen=True)
class MemberCost:
    """What training one member of a stack takes, in seconds: its share of the stack's.

    Attributes:
        epochs: Epochs of one pass.
        passes: How often it is trained.
        epoch: Of one epoch, without looks.
        looks: Of each measure that looks at the last pass: the epochs at which, rising, and what one look takes.
        end: Of the looks at the end model, after the last epoch.
    """

    epochs: int
    passes: int
    epoch: float
    looks: _Looks = ()
    end: float = 0.0

    def after(self, epoch: int, *, first_pass: bool = False) -> float:
        """Seconds that are behind it after an epoch of the last pass, or of the first one."""
        if first_pass:
            return epoch * self.epoch
        looked = sum(seconds * bisect_right(points, epoch) for points, seconds in self.looks)
        return (self.epochs * (self.passes - 1) + epoch) * self.epoch + looked

    @property
    def whole(self) -> float:
        """Seconds from its start to its published run."""
        return self.after(self.epochs) + self.end


def makespan(seconds: Iterable[float], workers: int) -> float:
    """Time that tasks take which are begun in order, each on the worker that is free first."""
    loads = [0.0] * workers
    for each in seconds:
        loads[loads.index(min(loads))] += each
    return max(loads)


@dataclass(frozen=True)
class Cost:
    """What a plan will cost.

    Attributes:
        runs: Runs to train.
        seconds: Time on the plan's workers, from a measurement on this machine; None if none was possible.
        disk: Bytes that the runs will take.
        scratch: Bytes that states of shards in training take at most.
        unmeasured: Why some shards are not in ``seconds``.
        members: What each run takes by itself, by key, of those that are in ``seconds``.
    """

    runs: int
    seconds: float | None
    disk: int
    scratch: int
    unmeasured: tuple[str, ...] = ()
    members: Mapping[str, MemberCost] = field(default_factory=dict)


def estimate(plan: Plan, device: str = "cpu") -> Cost:
    """Train one epoch of each kind of shard, and add up.

    Begun shards count from their first epoch, so that a resumed sweep takes less than this.

    Args:
        plan: The plan.
        device: Where it will train.

    Returns:
        The estimate.
    """
    times: dict[tuple[str, int], MemberCost | None] = {}
    unmeasured: list[str] = []
    members: dict[str, MemberCost] = {}
    for shard in plan.shards:
        kind = (shard.configs[0].stack_key, len(shard.configs))
        if kind not in times:
            try:
                times[kind] = member_cost(shard, device)
            except (GrokfastError, RuntimeError, MemoryError) as error:
                unmeasured.append(str(error).splitlines()[0])
                times[kind] = None
        cost = times[kind]
        if cost is not None:
            members |= dict.fromkeys(shard.keys, cost)
    loads = [sum(members[key].whole for key in shard.keys if key in members) for shard in plan.shards]
    disk = sum(run_bytes(config) for shard in plan.shards for config in shard.configs)
    states = sorted((_state_bytes(shard) for shard in plan.shards), reverse=True)[: plan.workers]
    seconds = makespan(loads, plan.workers) if any(loads) else None
    return Cost(plan.runs, seconds, disk, sum(states), tuple(unmeasured), members)


def member_cost(shard: Shard, device: str = "cpu") -> MemberCost:
    """Time that each member of a shard takes, from a few of its epochs and one look of each of its observers.

    Raises:
        MemoryError: If its members are too large to try.
        RuntimeError: If torch cannot train it.
    """
    config = shard.configs[0]
    if member_bytes(config) > _MOST * free_memory():
        raise MemoryError(
            f"a run of {config.task.name} with about {member_bytes(config) / 2**30:.1f} GiB was not measured"
        )
    # Without observers, and long enough not to end in the measurement.
    bare = [
        dataclasses.replace(
            config,
            epochs=max(config.epochs, _ENDLESS),
            feature_schedule="never",
            compressibility_schedule="never",
            observe=(),
            checkpoint_schedule="last",
        )
        for config in shard.configs
    ]
    with quiet_numerics():
        state = initial_stack(bare, device)
        _epoch(state)  # the first one is slower
        started, first = time.perf_counter(), state.epoch
        while state.epoch == first or time.perf_counter() - started < _SHORT:
            _epoch(state)
        epoch = (time.perf_counter() - started) / (state.epoch - first) / len(shard.configs)
        looks, end = _looks(config, device)
        return MemberCost(config.epochs, shard.passes, epoch, looks, end)


def _looks(config: RunConfig, device: str) -> tuple[_Looks, float]:
    """Of the configuration's own observers, and at the end; looks take longest, so one member stands for all."""
    alone = initial_stack([config], device)
    found = []
    end = 0.0
    built_in = built_in_observers(config)
    for observer in [*built_in, *asked_observers(config)]:
        look = partial(observer.measure, alone.snapshot())
        seconds = _timed(look)
        if seconds < _SHORT:  # the first look may compile, or make what later ones use
            seconds = _timed(look)
        found.append((tuple(sorted(observer.epochs(config.epochs))), seconds))
        end += seconds if observer in built_in else 0.0  # these look at the end model by themselves
    points, seconds, spectra = _geometry(config, alone)
    return (*found, (points, seconds)), end + spectra


def _geometry(config: RunConfig, alone: StackState) -> tuple[tuple[int, ...], float, float]:
    """Of one member's geometry: when it looks, what a look takes (of some the last: the first plans), and its end."""
    measure = geometry_of(config)
    if measure is None:
        return (), 0.0, 0.0
    looks = schedule_epochs(config.geometry_schedule, config.epochs)
    # A look is told when the step from it is done.
    told = tuple(sorted(e + measure.step for e in looks if e + measure.step <= config.epochs))
    points = frozenset(range(1, 4))
    measure.step = 1
    measure.epochs(points, 4)
    snapshots = [dataclasses.replace(alone.snapshot(), epoch=epoch) for epoch in range(1, 5)]
    seconds = [_timed(partial(measure, snapshot)) for snapshot in snapshots]
    return told, seconds[-1], _timed(partial(measure.end, snapshots[-1]))


def _timed(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def _epoch(state: StackState) -> None:
    stop = Event()
    stop.set()
    try:
        run_epochs(state, stop=stop)
    except Interrupted:
        return


def run_bytes(config: RunConfig) -> int:
    """Size of a finished run on disk, roughly: its checkpoints, history and arrays."""
    kept = len(schedule_epochs(config.checkpoint_schedule, config.epochs) | {config.epochs})
    measure = geometry_of(config)
    columns = 0 if measure is None else len(measure.columns(config.task))
    geometry = columns * (8 * look_epochs(config) + _SPECTRUM_BYTES // 10)
    return parameter_bytes(config) * kept + config.epochs * _EPOCH_BYTES + _RUN_OVERHEAD + geometry


def _state_bytes(shard: Shard) -> int:
    """Size of a shard's saved states: parameters and two moments each, and the checkpoints so far."""
    config = shard.configs[0]
    kept = len(schedule_epochs(config.checkpoint_schedule, config.epochs))
    return parameter_bytes(config) * len(shard.configs) * (3 * STATES_KEPT + kept)
