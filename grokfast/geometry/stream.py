"""Geometry of a trajectory as it grows: two checkpoints are remembered, and nothing else."""

from __future__ import annotations

from collections.abc import Container, Mapping

import torch
from torch import Tensor

from grokfast.geometry.meter import GeometryMeter
from grokfast.geometry.variants import Variant, parse_variants
from grokfast.models import Params

Stack = Mapping[str, Tensor]


class GeometryStream:
    """Takes checkpoints one after the other and measures a step as soon as its end is there.

    Args:
        meter: Measures one step.
        points: Epochs whose step is measured.
        step: Epochs that a step spans: the paper's f.
        last: Last epoch of the trajectory, if it is known: what lies beyond is not waited for.
    """

    def __init__(self, meter: GeometryMeter, points: Container[int], step: int = 1, last: int | None = None) -> None:
        self.meter, self.points, self.step, self.last = meter, points, step, last
        self.kept: dict[int, Params] = {}
        """Checkpoints that a later look needs."""
        self._undefined: dict[str, Tensor] = {}

    def needs(self, epoch: int) -> bool:
        """Whether this epoch's checkpoint takes part in a look."""
        return self._measured(epoch) or self._measured(epoch - self.step) or self._measured(epoch + self.step)

    def take(self, epoch: int, params: Stack) -> tuple[int, dict[str, Tensor]] | None:
        """The next checkpoint.

        Args:
            epoch: Its epoch, larger than those before.
            params: Stacked parameters ``[E, ...]``; copied where they are needed later.

        Returns:
            The epoch whose step ends here, and its columns ``[E]``: those of :meth:`GeometryMeter.look`, where
            ``_undefined`` counts the looks so far. None if no step to be measured ends here.
        """
        if not self.needs(epoch):
            return None
        now = {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in params.items()}
        here = epoch - self.step
        found = None
        if self._measured(here) and here in self.kept:
            columns = self.meter.look(self.kept.get(here - self.step), self.kept[here], now)
            for name, value in columns.items():
                if name.endswith("_undefined"):
                    columns[name] = self._undefined[name] = self._undefined.get(name, 0) + value
            found = here, columns
        self.kept[epoch] = now
        for old in [e for e in self.kept if not self._later(e, epoch)]:
            del self.kept[old]
        return found

    def _measured(self, epoch: int) -> bool:
        return epoch >= 0 and epoch in self.points and (self.last is None or epoch + self.step <= self.last)

    def _later(self, epoch: int, now: int) -> bool:
        """Whether a checkpoint takes part in a look that comes after ``now``."""
        ends = (epoch + self.step, epoch + 2 * self.step)
        return any(self._measured(end - self.step) and end > now for end in ends)

    def state_dict(self) -> dict[str, Tensor]:
        """The memory, as tensors by name."""
        state = {f"kept/{e}/{name}": value for e, params in self.kept.items() for name, value in params.items()}
        state |= {f"undefined/{name}": value for name, value in self._undefined.items()}
        for variant, marks in self.meter.split.items():
            state |= {f"split/{variant}/{name}": m for name, m in zip(self.meter.names, marks, strict=True)}
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up a memory that :meth:`state_dict` gave."""
        device = self.meter.inputs[0].device
        self.kept, self._undefined = {}, {}
        split: dict[Variant, dict[str, Tensor]] = {}
        for key, value in state.items():
            what, rest = key.split("/", 1)
            if what == "undefined":
                self._undefined[rest] = value.clone()
                continue
            group, name = rest.split("/", 1)
            if what == "kept":
                self.kept.setdefault(int(group), {})[name] = value.to(device, copy=True)
            else:
                (variant,) = parse_variants(group)
                split.setdefault(variant, {})[name] = value.to(device)
        self.meter.split = {variant: [marks[name] for name in self.meter.names] for variant, marks in split.items()}
