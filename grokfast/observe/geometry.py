"""Geometry of the trajectory while a stack trains: a measure that remembers two checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from grokfast._checks import check_at_least, check_non_negative
from grokfast.geometry import GeometryMeter, GeometryStream, parse_variants
from grokfast.measures import Column, Kind, fisher_spectrum
from grokfast.models import Params, stack_members
from grokfast.observe.protocol import Need
from grokfast.observe.snapshot import Dated, Snapshot
from grokfast.tasks import Task, fresh_module

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
        stiff: Final Fisher diagonal from which a parameter counts as stiff; 0 where there is no split.

    Raises:
        ConfigError: If a metric has another form.
        InputError: If the step is less than 1.
    """

    name = "geometry"
    needs = frozenset({Need.PARAMETERS, Need.DATA, Need.FISHER, Need.PAST})
    version = "1"

    def __init__(self, metrics: str = "softmax-all", step: int = 1, stiff: float = 0.0) -> None:
        self.variants = parse_variants(metrics)
        check_at_least("step", step, 1)
        check_non_negative("stiff", stiff)
        self.step, self.stiff = step, stiff
        self.cost = 10.0 * len(self.variants)
        self._points: frozenset[int] = frozenset()
        self._last = 0
        self._stream: GeometryStream | None = None
        self._memory: Mapping[str, Tensor] = {}

    def columns(self, task: Task) -> Sequence[Column]:
        """Lengths and angles in each metric, and of the end model its spectra and shares of stiff parameters."""
        found = list(_columns("euclidean", "", "the Euclidean metric"))
        for variant in self.variants:
            label = str(variant).replace("-", "_")
            split = {"stiff_": ", stiff parameters", "sloppy_": ", sloppy parameters"} if self.stiff else {}
            for part, words in {"": "", **split}.items():
                found += _columns(label, part, f"the metric {variant}{words}")
        diagonals = sorted({str(variant.diagonal) for variant in self.variants})
        for diagonal in diagonals:
            label = diagonal.replace("-", "_")
            stiff = self.stiff or PAPER_THRESHOLD
            found += [
                Column(f"stiff_share_{label}", f"share of parameters with {diagonal} >= {stiff:g}", kind=Kind.END),
                Column(f"spectrum_{label}", f"sorted diagonal of {diagonal} at spectrum_ranks", kind=Kind.ARRAY),
            ]
        ranks = [Column("spectrum_ranks", "ranks, from 0, at which spectra are kept", kind=Kind.ARRAY)]
        return found + (ranks if diagonals else [])

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

    def split_by(self, final: Params, snapshot: Snapshot) -> None:
        """Measure stiff and sloppy parameters apart, by their Fisher diagonal in the end model."""
        self._ready(snapshot).meter.split_by(final, self.stiff)

    def end(self, snapshot: Snapshot) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Sorted Fisher diagonals of the stack as it is now.

        Args:
            snapshot: The trained stack.

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
                (spectrum >= (self.stiff or PAPER_THRESHOLD)).double().mean(1).masked_fill(lost, torch.nan)
            )
        return shares, arrays

    def _ready(self, snapshot: Snapshot) -> GeometryStream:
        if self._stream is None:
            like = next(iter(snapshot.params.values()))
            module = fresh_module(snapshot.task).to(like.device, like.dtype).eval()
            test, train = (self._inputs(snapshot, like.dtype, train) for train in (False, True))
            meter = GeometryMeter(module, test, self.variants, forgiving=True, train_inputs=train)
            self._stream = GeometryStream(meter, self._points, self.step, self._last)
            if self._memory:
                self._stream.load_state_dict(self._memory)
            elif snapshot.configs and snapshot.epoch <= self.step and self._stream.needs(0):
                drawn = [snapshot.task.initial(config.seed, config.w0, like.dtype) for config in snapshot.configs]
                self._stream.take(0, {name: t.to(like.device) for name, t in stack_members(drawn).items()})
        return self._stream

    def _inputs(self, snapshot: Snapshot, dtype: torch.dtype, train: bool) -> list[Tensor]:
        """What the model takes for each member's inputs, as many as any metric needs; shared where equal.

        Of training inputs none where no metric averages over them; of test inputs one at least.
        """
        samples = [variant.samples for variant in self.variants if variant.train == train]
        if train and not samples:
            return []
        most = None if 0 in samples else max(samples, default=1)
        raws = [(split.train_inputs if train else split.test_inputs)[:most] for split in snapshot.splits]
        encoded: list[Tensor] = []
        for e, raw in enumerate(raws):
            twin = next((k for k in range(e) if torch.equal(raws[k], raw)), None)
            encoded.append(snapshot.task.encode(raw, dtype) if twin is None else encoded[twin])
        return encoded


def _columns(label: str, part: str, where: str) -> list[Column]:
    prefix = f"geometry_{label}_{part}"
    found = [
        Column(f"{prefix}length", f"length of the step that begins here, in {where}"),
        Column(f"{prefix}cosine", f"cosine between the step before and the step after, in {where}"),
        Column(f"{prefix}origin", f"cosine between the step and the way to the origin, in {where}"),
    ]
    if not part:
        found.append(Column(f"{prefix}undefined", f"looks so far at which one of these had no meaning, in {where}"))
    return found


def _linear(size: int) -> Tensor:
    return torch.from_numpy(np.unique(np.linspace(0, size - 1, min(size, _RANKS)).round().astype(np.int64)))


def _logarithmic(size: int) -> Tensor:
    return torch.from_numpy(np.unique(np.geomspace(1, size, min(size, _RANKS // 4)).round().astype(np.int64)) - 1)
