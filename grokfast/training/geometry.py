"""Geometry of the trajectory as a configuration asks for it, and the first of two passes where it is split."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from threading import Event

from grokfast.observe import GeometryMeasure, Observer, schedule_epochs
from grokfast.training.config import RunConfig
from grokfast.training.keeper import StateKeeper
from grokfast.training.loop import Interrupted, StackState, initial_stack, reads_only, run_epochs


def geometry_of(config: RunConfig) -> GeometryMeasure | None:
    """The measure that a configuration asks for; None if it asks for none."""
    if not config.geometry:
        return None
    measure = GeometryMeasure(config.geometry, config.geometry_step, config.geometry_stiff)
    measure.epochs(schedule_epochs(config.geometry_schedule, config.epochs), config.epochs)
    return measure


def learn_split(
    measure: GeometryMeasure,
    state: StackState,
    keeper: StateKeeper | None = None,
    stop: Event | None = None,
    on_epoch: Callable[[StackState], None] | None = None,
) -> None:
    """Train the stack once without a look, for the end model that says which parameters are stiff.

    Training is the same to the bit, so that the split is that of the run itself. The state of this first pass is kept
    beside that of the second.

    Args:
        measure: Gets the split.
        state: The second pass, at its start.
        keeper: Of the second pass.
        stop: When set, the first pass ends after the epoch in hand.
        on_epoch: Called after every epoch of the first pass; it must change nothing.

    Raises:
        Interrupted: If ``stop`` was set.
    """
    bare = [
        dataclasses.replace(
            config,
            geometry="",
            geometry_stiff=0.0,
            observe=(),
            feature_schedule="never",
            compressibility_schedule="never",
            checkpoint_schedule="never",
        )
        for config in state.configs
    ]
    device = next(iter(state.params.values())).device
    if keeper is None:
        first = initial_stack(bare, device)
        run_epochs(first, on_epoch=on_epoch, stop=stop)
    else:
        own = StateKeeper(keeper.folder / FIRST_PASS, keeper.every)
        first = own.start(bare, device, ())

        def after_epoch(state: StackState) -> None:
            if on_epoch is not None:
                on_epoch(state)
            own.after_epoch(state)

        after_epoch.reads_only = reads_only(on_epoch)  # type: ignore[attr-defined]
        try:
            run_epochs(first, on_epoch=after_epoch, stop=stop)
        except Interrupted:
            own.save(first)
            raise
    measure.split_by(first.params, state.snapshot())


FIRST_PASS = "first-pass"
"""Name of the folder, in a shard's, that holds the state of the first of two passes."""


def geometry_observers(measure: GeometryMeasure | None, config: RunConfig) -> list[Observer]:
    """The configuration's geometry as observers."""
    return [] if measure is None else [Observer(measure, config.geometry_schedule)]


def look_epochs(config: RunConfig) -> int:
    """At how many epochs geometry is measured."""
    points = schedule_epochs(config.geometry_schedule, config.epochs)
    return sum(e + config.geometry_step <= config.epochs for e in points)
