"""How long a sweep will take and how much it will hold, told before it begins."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Cost:
    """What a plan will cost.

    Attributes:
        runs: Runs to train.
        seconds: Time on the plan's workers, from a measurement on this machine; None if none was possible.
        disk: Bytes that the runs will take.
        scratch: Bytes that states of shards in training take at most.
        unmeasured: Why some shards are not in ``seconds``.
    """

    runs: int
    seconds: float | None
    disk: int
    scratch: int
    unmeasured: tuple[str, ...] = ()


def estimate(plan: Plan, device: str = "cpu") -> Cost:
    """Train one epoch of each kind of shard, and add up.

    Begun shards count from their first epoch, so that a resumed sweep takes less than this.

    Args:
        plan: The plan.
        device: Where it will train.

    Returns:
        The estimate.
    """
    times: dict[tuple[str, int], float] = {}
    unmeasured: list[str] = []
    loads = [0.0] * plan.workers
    for shard in plan.shards:
        kind = (shard.configs[0].stack_key, len(shard.configs))
        if kind not in times:
            try:
                times[kind] = shard_seconds(shard, device)
            except (GrokfastError, RuntimeError, MemoryError) as error:
                unmeasured.append(str(error).splitlines()[0])
                times[kind] = 0.0
        loads[loads.index(min(loads))] += times[kind]
    disk = sum(run_bytes(config) for shard in plan.shards for config in shard.configs)
    states = sorted((_state_bytes(shard) for shard in plan.shards), reverse=True)[: plan.workers]
    seconds = max(loads) if any(loads) else None
    return Cost(plan.runs, seconds, disk, sum(states), tuple(unmeasured))


def shard_seconds(shard: Shard, device: str = "cpu") -> float:
    """Time that a shard takes, from a few of its epochs and one look of each of its observers.

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
        epoch = (time.perf_counter() - started) / (state.epoch - first)
        passes = 2 if config.geometry and config.geometry_stiff else 1
        return passes * config.epochs * epoch + _look_seconds(config, len(shard.configs), device)


def _look_seconds(config: RunConfig, members: int, device: str) -> float:
    """Of the configuration's own observers; compressibility takes longest, so one member stands for all."""
    alone = initial_stack([config], device)
    total = 0.0
    for observer in [*built_in_observers(config), *asked_observers(config)]:
        started = time.perf_counter()
        observer.measure(alone.snapshot())
        looks = len(schedule_epochs(observer.schedule, config.epochs) | {config.epochs})
        total += looks * members * (time.perf_counter() - started)
    return total + members * _geometry_seconds(config, alone)


def _geometry_seconds(config: RunConfig, alone: StackState) -> float:
    """Of all looks at one member's geometry, from two of them: the first one plans."""
    measure = geometry_of(config)
    looks = look_epochs(config)
    if measure is None or not looks:
        return 0.0
    points = frozenset(range(1, 4))
    measure.step = 1
    measure.epochs(points, 4)
    seconds = 0.0
    for epoch in range(1, 5):
        started = time.perf_counter()
        measure(dataclasses.replace(alone.snapshot(), epoch=epoch))
        seconds = time.perf_counter() - started
    return looks * seconds


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
