"""Train one stack to its end: its measures, its saved states, and what comes of each member."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from threading import Event

import torch

from grokfast.observe import Closes, GeometryMeasure, Observer
from grokfast.ops.precision import full_float32
from grokfast.ops.threads import flushed_denormals, one_thread
from grokfast.training.config import RunConfig
from grokfast.training.geometry import geometry_observers, geometry_of, learn_split
from grokfast.training.interventions import watched
from grokfast.training.keeper import StateKeeper
from grokfast.training.kept import KeptStates
from grokfast.training.looks import joined_looks, observer_looks
from grokfast.training.loop import Interrupted, StackState, initial_stack, reads_only, run_epochs
from grokfast.training.observing import asked_observers
from grokfast.training.results import RunResult, stack_results


def train_stack(
    configs: Sequence[RunConfig],
    *,
    observers: Sequence[Observer] = (),
    device: str | torch.device = "cpu",
    on_epoch: Callable[[StackState], None] | None = None,
    on_first_pass: Callable[[StackState], None] | None = None,
    stop: Event | None = None,
    keeper: StateKeeper | None = None,
    kept: KeptStates | None = None,
) -> list[RunResult]:
    """Train one stack to its end on the calling thread.

    Denormal numbers are flushed to zero meanwhile, and torch uses one thread.

    Args:
        configs: One a member; they may differ in w0, seed, learning rate, weight decay and label noise only.
        observers: Measures of your own, besides those the configuration names.
        device: ``"cpu"`` or a CUDA device.
        on_epoch: Called after every epoch; it must change nothing.
        on_first_pass: Called after every epoch of the first of two passes, where the geometry needs one.
        stop: When set, training ends after the epoch in hand with ``Interrupted``.
        keeper: Saves the stack's state now and then and before ``Interrupted``, and takes it up again there.
        kept: States of shorter runs to go on from; the end states of this stack join them if it says so.

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
    begin = initial_stack if kept is None or observers else kept.begin
    if configs:
        observers = [*asked_observers(configs[0]), *observers, *geometry_observers(geometry, configs[0])]
    with quiet_numerics(), _closing(observers):
        if keeper is None:
            state = begin(configs, device)
            if geometry is not None and configs[0].geometry_stiff:
                learn_split(geometry, state, None, stop, on_first_pass)
            run_epochs(state, observers, on_epoch, stop)
            _keep(state, kept)
            return _results(state, geometry, time.perf_counter() - started, given)
        state = keeper.start(configs, device, observers, begin)
        if geometry is not None and configs[0].geometry_stiff and not geometry.has_split:
            learn_split(geometry, state, keeper, stop, on_first_pass)

        def after_epoch(state: StackState) -> None:
            if on_epoch is not None:
                on_epoch(state)
            if state.epoch < configs[0].epochs:
                keeper.after_epoch(state)

        after_epoch.reads_only = reads_only(on_epoch)  # type: ignore[attr-defined]
        try:
            run_epochs(state, observers, after_epoch, stop)
        except Interrupted:
            keeper.save(state)
            raise
        _keep(state, kept)
        return _results(state, geometry, keeper.seconds, given)


def _keep(state: StackState, kept: KeptStates | None) -> None:
    if kept is not None:
        kept.save(state)


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
    """One torch thread, flushed denormals on this thread and no TF32; what was set is put back afterwards."""
    with one_thread(), flushed_denormals(), full_float32():
        yield
