"""Train many runs: group them into stacks, spread the stacks over threads, hand each finished run to a sink."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import groupby, pairwise
from threading import Event
from typing import Any, Protocol

import torch

from grokfast._checks import check_at_least
from grokfast.errors import ConfigError
from grokfast.observe import Closes, GeometryMeasure, Observer
from grokfast.training.config import RunConfig
from grokfast.training.geometry import geometry_observers, geometry_of, learn_split
from grokfast.training.keeper import StateKeeper
from grokfast.training.loop import Interrupted, StackState, initial_stack, run_epochs
from grokfast.training.observing import asked_observers
from grokfast.training.results import RunResult, stack_results

STACK_SIZE = 8
"""Members trained together by default: enough to hide per-step overheads, few enough for the cache."""


class Sink(Protocol):
    """Where finished runs go; ``grokfast.store.Store`` is one."""

    def check_writable(self) -> None:
        """Raise before training if nothing can be written."""
        ...

    def has(self, key: str) -> bool:
        """Whether a run is there already."""
        ...

    def publish(self, key: str, record: Any, history: Any, tensors: Any) -> Any:
        """Keep one finished run."""
        ...


def train_stack(
    configs: Sequence[RunConfig],
    *,
    observers: Sequence[Observer] = (),
    device: str | torch.device = "cpu",
    on_epoch: Callable[[StackState], None] | None = None,
    stop: Event | None = None,
    keeper: StateKeeper | None = None,
) -> list[RunResult]:
    """Train one stack to its end on the calling thread.

    Denormal numbers are flushed to zero meanwhile, and torch uses one thread.

    Args:
        configs: One a member; they may differ in w0, seed, learning rate, weight decay and label noise only.
        observers: Measures of your own, besides those the configuration names.
        device: ``"cpu"`` or a CUDA device.
        on_epoch: Called after every epoch.
        stop: When set, training ends after the epoch in hand with ``Interrupted``.
        keeper: Saves the stack's state now and then and before ``Interrupted``, and takes it up again there.

    Returns:
        One result a member, in the order of ``configs``.

    Raises:
        ConfigError: If the configurations cannot share a stack.
    """
    started = time.perf_counter()
    geometry = geometry_of(configs[0]) if configs else None
    if configs:
        observers = [*asked_observers(configs[0]), *observers, *geometry_observers(geometry, configs[0])]
    with quiet_numerics(), _closing(observers):
        if keeper is None:
            state = initial_stack(configs, device)
            if geometry is not None and configs[0].geometry_stiff:
                learn_split(geometry, state, None, stop)
            run_epochs(state, observers, on_epoch, stop)
            return _results(state, geometry, time.perf_counter() - started)
        state = keeper.start(configs, device, observers)
        if geometry is not None and configs[0].geometry_stiff and not geometry.has_split:
            learn_split(geometry, state, keeper, stop)

        def after_epoch(state: StackState) -> None:
            if on_epoch is not None:
                on_epoch(state)
            if state.epoch < configs[0].epochs:
                keeper.after_epoch(state)

        try:
            run_epochs(state, observers, after_epoch, stop)
        except Interrupted:
            keeper.save(state)
            raise
        return _results(state, geometry, keeper.seconds)


def train_runs(
    configs: Sequence[RunConfig],
    sink: Sink,
    *,
    force: bool = False,
    threads: int = 1,
    observers: Sequence[Observer] = (),
    device: str | torch.device = "cpu",
    on_epoch: Callable[[StackState], None] | None = None,
) -> list[str]:
    """Train every configuration that the sink does not hold yet, in stacks, and publish each run.

    Args:
        configs: Any mixture; those that can share a stack do.
        sink: Where runs go, usually ``Store(folder)``.
        force: Train also what the sink holds already.
        threads: Stacks trained at the same time. What a run learns does not depend on it.
        observers: Measures of your own.
        device: ``"cpu"`` or a CUDA device.
        on_epoch: Called after every epoch of every stack, from its thread.

    Returns:
        The keys of the runs trained now.

    Raises:
        ConfigError: If two configurations are equal.
        StoreError: If the sink cannot be written.
    """
    check_at_least("threads", threads, 1, error=ConfigError)
    keys = [config.key for config in configs]
    if len(set(keys)) < len(keys):
        raise ConfigError(f"expected different configurations, got {len(keys) - len(set(keys))} repeated ones")
    sink.check_writable()
    wanted = [config for config in configs if force or not sink.has(config.key)]
    stop = Event()

    def work(stack: Sequence[RunConfig]) -> None:
        for result in train_stack(stack, observers=observers, device=device, on_epoch=on_epoch, stop=stop):
            sink.publish(result.key, result.record, result.history, result.tensors)

    with ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(work, stack) for stack in plan_stacks(wanted, threads)]
        try:
            done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
            for job in done:
                job.result()
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return [config.key for config in wanted]


def plan_stacks(configs: Sequence[RunConfig], threads: int = 1, size: int = STACK_SIZE) -> list[list[RunConfig]]:
    """Group configurations into stacks of at most ``size``, evenly filled, at least ``threads`` of them if possible.

    Args:
        configs: Any mixture.
        threads: How many stacks will train at the same time.
        size: Largest stack.

    Returns:
        Stacks, longest runs first.
    """
    stacks = []
    for _, group in groupby(sorted(configs, key=lambda c: c.stack_key), key=lambda c: c.stack_key):
        members = list(group)
        rounds = -(-len(members) // (size * threads))
        count = min(len(members), rounds * threads)
        cuts = [len(members) * k // count for k in range(count + 1)]
        stacks += [members[a:b] for a, b in pairwise(cuts)]
    return sorted(stacks, key=lambda stack: -stack[0].epochs * len(stack))


def _results(state: StackState, geometry: GeometryMeasure | None, seconds: float) -> list[RunResult]:
    return stack_results(state, seconds, [] if geometry is None else [geometry])


@contextmanager
def _closing(observers: Sequence[Observer]) -> Iterator[None]:
    try:
        yield
    finally:
        for observer in observers:
            measure: object = observer.measure
            if isinstance(measure, Closes):
                measure.close()


@contextmanager
def quiet_numerics() -> Iterator[None]:
    """One torch thread and flushed denormals on this thread, both restored afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    tiny = torch.tensor(1e-40)
    flushed = bool(tiny * 1 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)
        torch.set_num_threads(threads)
