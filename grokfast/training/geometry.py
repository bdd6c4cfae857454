"""Geometry of the trajectory while a stack trains: an observer that remembers two checkpoints."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from threading import Event

import numpy as np
import torch
from torch import Tensor

from grokfast._checks import check_at_least
from grokfast.geometry import GeometryMeter, GeometryStream, Variant, parse_variants
from grokfast.measures import fisher_spectrum
from grokfast.models import Params, stack_members
from grokfast.training.config import RunConfig
from grokfast.training.keeper import StateKeeper
from grokfast.training.loop import Interrupted, StackState, initial_stack, run_epochs
from grokfast.training.observers import Dated, Observer, Snapshot
from grokfast.training.schedule import schedule_epochs

PAPER_THRESHOLD = 0.1

_RANKS = 2048  # of a spectrum are stored


class GeometryMeasure:
    """Lengths and angles of the steps of training in Fisher metrics, on the test inputs.

    Use it as a configuration's ``geometry``, or as an observer of your own:
    ``Observer(GeometryMeasure("softmax-all"), "every:10")``. Epoch e's row of the history holds the step from e to
    e + f, its cosine with the step from e - f to e, and its cosine with the way to the origin, all in the metric at
    e; the last f epochs have none. It remembers two checkpoints (more if looks overlap) and no Fisher diagonal.

    Args:
        metrics: Names joined by ``+``, as :func:`grokfast.geometry.parse_variants` takes them.
        step: Epochs that a step spans.

    Raises:
        ConfigError: If a metric has another form.
        InputError: If the step is less than 1.
    """

    def __init__(self, metrics: str = "softmax-all", step: int = 1) -> None:
        self.variants = parse_variants(metrics)
        check_at_least("step", step, 1)
        self.step = step
        self._points: frozenset[int] = frozenset()
        self._last = 0
        self._stream: GeometryStream | None = None
        self._memory: Mapping[str, Tensor] = {}

    def epochs(self, points: frozenset[int], total: int) -> frozenset[int]:
        """Epochs whose checkpoints are needed to measure at ``points``."""
        self._points, self._last = points, total
        ends = {e + k * self.step for e in points if e + self.step <= total for k in (-1, 0, 1)}
        return frozenset(e for e in ends if 1 <= e <= total)

    def __call__(self, snapshot: Snapshot) -> Mapping[str, Tensor | Dated]:
        """Columns of the epoch a step ago."""
        found = self._ready(snapshot).take(snapshot.epoch, snapshot.params)
        if found is None:
            return {}
        epoch, columns = found
        return {name: Dated(epoch, values) for name, values in columns.items()}

    def state_dict(self) -> Mapping[str, Tensor]:
        """The memory, as tensors by name."""
        return self._memory if self._stream is None else self._stream.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up a memory that :meth:`state_dict` gave."""
        self._memory, self._stream = dict(state), None

    @property
    def has_split(self) -> bool:
        """Whether it knows which parameters are stiff."""
        return any(name.startswith("split/") for name in self.state_dict())

    def split_by(self, final: Params, threshold: float, snapshot: Snapshot) -> None:
        """Measure stiff and sloppy parameters apart, by their Fisher diagonal in the end model."""
        self._ready(snapshot).meter.split_by(final, threshold)

    def spectra(self, snapshot: Snapshot, threshold: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Sorted Fisher diagonals of the stack as it is now.

        Args:
            snapshot: The trained stack.
            threshold: From which a parameter counts as stiff; 0 takes the paper's 0.1.

        Returns:
            ``stiff_share_<metric>`` ``[E]``, the share of the parameters; and ``spectrum_<metric>``, float32
            ``[E, K]`` at ranks ``spectrum_ranks`` int64 ``[E, K]`` from 0.
        """
        meter = self._ready(snapshot).meter
        arrays, shares = {}, {}
        for variant in sorted({variant.diagonal for variant in self.variants}):
            diagonal = meter.diagonals(snapshot.params, variant)
            lost = torch.stack([values.reshape(len(values), -1).isnan().any(1) for values in diagonal.values()]).any(0)
            spectrum = fisher_spectrum({name: values.nan_to_num() for name, values in diagonal.items()})
            spectrum[lost] = torch.nan
            size = spectrum.shape[1]
            ranks = torch.unique(torch.cat([_linear(size), _logarithmic(size)]))
            label = str(variant).replace("-", "_")
            arrays["spectrum_ranks"] = ranks.expand(len(spectrum), -1)
            arrays[f"spectrum_{label}"] = spectrum[:, ranks.to(spectrum.device)].float()
            shares[f"stiff_share_{label}"] = (
                (spectrum >= (threshold or PAPER_THRESHOLD)).double().mean(1).masked_fill(lost, torch.nan)
            )
        return shares, arrays

    def _ready(self, snapshot: Snapshot) -> GeometryStream:
        if self._stream is None:
            like = next(iter(snapshot.params.values()))
            module = snapshot.task.module().to(like.device, like.dtype).eval()
            meter = GeometryMeter(module, self._inputs(snapshot, like.dtype), self.variants, forgiving=True)
            self._stream = GeometryStream(meter, self._points, self.step, self._last)
            if self._memory:
                self._stream.load_state_dict(self._memory)
            elif snapshot.configs and snapshot.epoch <= self.step and self._stream.needs(0):
                drawn = [snapshot.task.initial(config.seed, config.w0, like.dtype) for config in snapshot.configs]
                self._stream.take(0, {name: t.to(like.device) for name, t in stack_members(drawn).items()})
        return self._stream

    def _inputs(self, snapshot: Snapshot, dtype: torch.dtype) -> list[Tensor]:
        """What the model takes for each member's test inputs, as many as any metric needs; shared where equal."""
        samples = [variant.samples for variant in self.variants]
        most = None if 0 in samples else max(samples, default=0)
        encoded: list[Tensor] = []
        for e, split in enumerate(snapshot.splits):
            raw = split.test_inputs[:most]
            twin = next((k for k in range(e) if torch.equal(snapshot.splits[k].test_inputs[:most], raw)), None)
            encoded.append(snapshot.task.encode(raw, dtype) if twin is None else encoded[twin])
        return encoded


def geometry_of(config: RunConfig) -> GeometryMeasure | None:
    """The measure that a configuration asks for; None if it asks for none."""
    if not config.geometry:
        return None
    measure = GeometryMeasure(config.geometry, config.geometry_step)
    measure.epochs(schedule_epochs(config.geometry_schedule, config.epochs), config.epochs)
    return measure


def learn_split(
    measure: GeometryMeasure,
    state: StackState,
    keeper: StateKeeper | None = None,
    stop: Event | None = None,
) -> None:
    """Train the stack once without a look, for the end model that says which parameters are stiff.

    Training is the same to the bit, so that the split is that of the run itself. The state of this first pass is kept
    beside that of the second.

    Args:
        measure: Gets the split.
        state: The second pass, at its start.
        keeper: Of the second pass.
        stop: When set, the first pass ends after the epoch in hand.

    Raises:
        Interrupted: If ``stop`` was set.
    """
    bare = [
        dataclasses.replace(
            config,
            geometry="",
            geometry_stiff=0.0,
            feature_schedule="never",
            compressibility_schedule="never",
            checkpoint_schedule="never",
        )
        for config in state.configs
    ]
    device = next(iter(state.params.values())).device
    if keeper is None:
        first = initial_stack(bare, device)
        run_epochs(first, stop=stop)
    else:
        own = StateKeeper(keeper.folder / FIRST_PASS, keeper.every)
        first = own.start(bare, device, ())
        try:
            run_epochs(first, on_epoch=own.after_epoch, stop=stop)
        except Interrupted:
            own.save(first)
            raise
    measure.split_by(first.params, state.configs[0].geometry_stiff, state.snapshot())


FIRST_PASS = "first-pass"
"""Name of the folder, in a shard's, that holds the state of the first of two passes."""


def geometry_observers(measure: GeometryMeasure | None, config: RunConfig) -> list[Observer]:
    """The configuration's geometry as observers."""
    return [] if measure is None else [Observer(measure, config.geometry_schedule)]


def look_epochs(config: RunConfig) -> int:
    """At how many epochs geometry is measured."""
    points = schedule_epochs(config.geometry_schedule, config.epochs)
    return sum(e + config.geometry_step <= config.epochs for e in points)


def geometry_columns(config: RunConfig) -> int:
    """How many columns of the history geometry takes."""
    metrics: Sequence[Variant] = parse_variants(config.geometry)
    return (4 + len(metrics) * (10 if config.geometry_stiff else 4)) if metrics else 0


def _linear(size: int) -> Tensor:
    return torch.from_numpy(np.unique(np.linspace(0, size - 1, min(size, _RANKS)).round().astype(np.int64)))


def _logarithmic(size: int) -> Tensor:
    return torch.from_numpy(np.unique(np.geomspace(1, size, min(size, _RANKS // 4)).round().astype(np.int64)) - 1)
