"""Where the samples are in a layer's output."""

from __future__ import annotations

from dataclasses import dataclass

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

    def front(self, tensor: Tensor, n: int) -> Tensor:
        """The same numbers with the samples on the leading axis."""
        if self.merged == "major":
            return tensor.reshape(n, -1, *tensor.shape[1:])
        if self.merged == "minor":
            return tensor.reshape(-1, n, *tensor.shape[1:]).movedim(1, 0)
        return tensor.movedim(self.axis, 0)

    def __str__(self) -> str:
        if self.merged:
            return f"axis 0, sample-{self.merged} with positions"
        return f"axis {self.axis}"


LEADING = Layout()
CANDIDATES = (LEADING, Layout(1), Layout(merged="major"), Layout(merged="minor"), Layout(2))
