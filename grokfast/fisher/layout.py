"""Where the samples are in a layer's input and output."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """The place of the sample axis.

    Attributes:
        axis: The axis that holds the samples.
        merged: ``""``, or how samples and positions share axis 0: ``"major"`` (sample after sample) or
            ``"minor"``.
    """

    axis: int = 0
    merged: str = ""

    def fits(self, shape: tuple[int, ...], n: int) -> bool:
        """Whether a tensor of this shape can hold ``n`` samples this way."""
        if self.merged:
            return len(shape) > 0 and n > 0 and shape[0] % n == 0
        return len(shape) > self.axis and shape[self.axis] == n

    def front(self, tensor: Tensor, n: int, axes: int) -> Tensor:
        """The same numbers with the samples on the leading axis; the last ``axes`` axes belong to the layer."""
        if self.merged == "major":
            return tensor.reshape(n, tensor.shape[0] // n, *tensor.shape[1:])
        if self.merged == "minor":
            return tensor.reshape(tensor.shape[0] // n, n, *tensor.shape[1:]).movedim(1, 0)
        return tensor.movedim(self.axis, 0)


class Rows(Layout):
    """Rows of samples in any order and number: a mask, packed sequences, experts.

    Args:
        sample: The sample of every row ``[R]``; -1 for a row that no output depends on.
        n: How many samples.
    """

    def __init__(self, sample: Tensor, n: int) -> None:
        super().__init__()
        order = sample.argsort(stable=True)
        order = order[sample[order] >= 0]
        counts = torch.bincount(sample[order], minlength=n)
        self.most = max(1, int(counts.max()) if len(order) else 1)
        starts = counts.cumsum(0) - counts
        place = torch.arange(len(order), device=sample.device) - starts[sample[order]]
        self._order, self._slots = order, sample[order] * self.most + place

    def fits(self, shape: tuple[int, ...], n: int) -> bool:
        """They were counted in this very block."""
        return True

    def front(self, tensor: Tensor, n: int, axes: int) -> Tensor:
        """``[n, most, ...]``, with zeros where a sample has fewer rows."""
        tail = tensor.shape[tensor.dim() - axes :]
        rows = tensor.reshape(-1, *tail)
        return rows.new_zeros(n * self.most, *tail).index_copy_(0, self._slots, rows[self._order]).view(n, -1, *tail)


LEADING = Layout()
CANDIDATES = (LEADING, Layout(1), Layout(merged="major"), Layout(merged="minor"), Layout(2))
