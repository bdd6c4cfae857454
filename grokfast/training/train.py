"""Train many runs: group them into stacks, spread the stacks over threads, hand each finished run to a sink."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path
from threading import Event

import torch

from grokfast._checks import check_at_least
from grokfast.errors import ConfigError
from grokfast.observe import Closes, GeometryMeasure, Observer
from grokfast.ops.threads import one_thread
from grokfast.store import Store
from grokfast.training.config import RunConfig
from grokfast.training.endlooks import look_at_end
from grokfast.training.geometry import geometry_observers, geometry_of, learn_split
from grokfast.training.interventions import watched
from grokfast.training.keeper import StateKeeper
from grokfast.training.looks import joined_looks, observer_looks, with_looks
from grokfast.training.loop import Interrupted, StackState, initial_stack, run_epochs
from grokfast.training.memory import check_memory
from grokfast.training.observing import asked_observers
from grokfast.training.results import RunResult, stack_results
from grokfast.training.stored import Sink, outstanding, publish, united, warn_unseen

STACK_SIZE = 8
"""Members trained together by default: enough to hide per-step overheads, few enough for the cache."""

_MOST_THREADS = 4096


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
        on_epoch: Called after every epoch; it must change nothing.
        stop: When set, training ends after the epoch in hand with ``Interrupted``.
        keeper: Saves the stack's state now and then and before ``Interrupted``, and takes it up again there.

    Returns:
        One result a member, in the order of ``configs``.

    Raises:
        ConfigError: If the configurations cannot share a stack.
        InputError: If ``on_epoch`` changes the stack.
    """
    started = time.perf_counter()
    on_epoch = None if on_epoch is None else watched(on_epoch)
    given, _ = observer_looks(observers, configs[0].task) if configs else ({}, [])
    geometry = geometry_of(configs[0]) if configs else None
    if configs:
        observers = [*asked_observers(configs[0]), *observers, *geometry_observers(geometry, configs[0])]
    with quiet_numerics(), _closing(observers):
        if keeper is None:
            state = initial_stack(configs, device)
            if geometry is not None and configs[0].geometry_stiff:
                learn_split(geometry, state, None, stop)
            run_epochs(state, observers, on_epoch, stop)
            return _results(state, geometry, time.perf_counter() - started, given)
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
        return _results(state, geometry, keeper.seconds, given)


def train_runs(
    configs: Sequence[RunConfig],
    sink: Sink | str | Path,
    *,
    force: bool = False,
    threads: int = 1,
    observers: Sequence[Observer] = (),
    device: str | torch.device = "cpu",
    on_epoch: Callable[[StackState], None] | None = None,
) -> list[str]:
    """Train every configuration that the sink does not hold yet, in stacks, and publish each run.

    A stored run that has not looked at all that is asked for now is trained again with everything that it has looked at
    and is asked to; the columns join it where the bits are the same (:mod:`grokfast.training.stored`). Measures asked
    for at the end alone are taken from the stored model, without training.

    Args:
        configs: Any mixture; those that can share a stack do. Those that differ in their looks alone are one run.
        sink: Where runs go: ``Store(folder)``, or the folder.
        force: Train also what the sink holds already.
        threads: Stacks trained at the same time. What a run learns does not depend on it.
        observers: Measures of your own.
        device: ``"cpu"`` or a CUDA device.
        on_epoch: Called after every epoch of every stack, from its thread; it must change nothing.

    Returns:
        The keys of the runs trained now.

    Raises:
        ConfigError: If two configurations are equal, or a stored run of the same key was another training.
        InputError: If ``on_epoch`` changes a stack.
        StoreError: If the sink cannot be written.
    """
    check_at_least("threads", threads, 1, error=ConfigError)
    if threads > _MOST_THREADS:
        raise ConfigError(f"threads must be at most {_MOST_THREADS}, got {threads}")
    target = Store(sink) if isinstance(sink, str | Path) else sink
    configs = united(configs)
    target.check_writable()
    wanted = to_train(configs, target, observers, force=force)
    check_memory(wanted)
    if not force:
        looked = [config for config in wanted if look_at_end(config, target)]
        wanted = [*(config for config in wanted if config not in looked), *to_train(looked, target, observers)]
    stop = Event()

    def work(stack: Sequence[RunConfig]) -> None:
        again = []
        results = train_stack(stack, observers=observers, device=device, on_epoch=on_epoch, stop=stop)
        for config, result in zip(stack, results, strict=True):
            missed = publish(target, result)
            if missed:
                again.append(with_looks(config, missed))
        for rest in plan_stacks(again):
            work(rest)

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


def to_train(
    configs: Sequence[RunConfig], sink: Sink, observers: Sequence[Observer], *, force: bool = False
) -> list[RunConfig]:
    """What is left to train of configurations, each with what its stored run has looked at besides.

    An observer that cannot be told from others, and that stored runs were not trained again for, is warned about.

    Args:
        configs: Of different keys.
        sink: Where they may be stored.
        observers: Observers given as objects.
        force: Train also what is there and complete.
    """
    found: list[RunConfig] = []
    nameless: list[str] = []
    skipped = 0
    for config in configs:
        looks, nameless = observer_looks(observers, config.task)
        left = outstanding(config, sink, looks, force=force)
        skipped += left is None
        if left is not None:
            found.append(left)
    warn_unseen(skipped, nameless)
    return found


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


def _results(
    state: StackState, geometry: GeometryMeasure | None, seconds: float, given: Mapping[str, Sequence[str]]
) -> list[RunResult]:
    results = stack_results(state, seconds, [] if geometry is None else [geometry])
    return [
        replace(result, record={**result.record, "looks": joined_looks(result.record["looks"], given)})
        for result in results
    ]


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
    tiny = torch.tensor(1e-40)
    flushed = bool(tiny * 1 == 0)
    with one_thread():
        torch.set_flush_denormal(True)
        try:
            yield
        finally:
            torch.set_flush_denormal(flushed)
