"""What a stack remembers of its epochs, and how a run's columns are handed on: compact, made whole when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Series:
    """A metric of a stack, one row ``[E]`` an epoch, in one growing block.

    Args:
        rows: ``[n, E]`` float64, the rows so far.
    """

    def __init__(self, rows: Tensor | None = None) -> None:
        self._block = torch.empty(0, 0, dtype=torch.float64) if rows is None else rows.clone()
        self._length = len(self._block)

    def append(self, row: Tensor) -> None:
        """One more epoch."""
        if self._length == len(self._block):
            grown = torch.empty(max(256, 2 * self._length), len(row), dtype=torch.float64)
            grown[: self._length] = self._block[: self._length] if self._length else 0.0
            self._block = grown
        self._block[self._length] = row
        self._length += 1

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Tensor:
        return self.rows[index].clone()

    @property
    def rows(self) -> Tensor:
        """``[n, E]``, a view."""
        return self._block[: self._length]


class History(Mapping[str, "NDArray[np.generic]"]):
    """Columns ``[epochs]`` of one run, most of which know a few epochs only: those are kept as what was seen.

    A run of 100,000 epochs has a hundred such columns; whole, they would take 80 MB a member.

    Args:
        dense: Whole columns by name.
        looks: By name of the further columns, epochs (from 1) and values; all other entries are NaN.
        epochs: Their length.
    """

    def __init__(
        self,
        dense: Mapping[str, NDArray[np.generic]],
        looks: Mapping[str, tuple[Sequence[int], NDArray[np.float64]]],
        epochs: int,
    ) -> None:
        self._dense, self._looks, self._epochs = dict(dense), dict(looks), epochs

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        if name in self._dense:
            return self._dense[name]
        epochs, values = self._looks[name]
        column = np.full(self._epochs, np.nan)
        column[np.asarray(epochs, dtype=np.int64) - 1] = values
        return column

    def __iter__(self) -> Iterator[str]:
        return iter([*self._dense, *self._looks])

    def __len__(self) -> int:
        return len(self._dense) + len(self._looks)
