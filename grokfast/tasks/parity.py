"""Sparse parity: from n bits to the parity of k of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from grokfast._checks import check_at_least
from grokfast.errors import ConfigError
from grokfast.measures import Column
from grokfast.tasks.base import Features
from grokfast.tasks.choice import Network, TokenTask, first_matrix
from grokfast.tasks.registry import register_task


@register_task
@dataclass(frozen=True, kw_only=True)
class SparseParity(TokenTask):
    """A fixed sample of bit strings, split at random, with the parity of the first k bits as label.

    Which bits count makes no difference to networks that treat all alike; here they are the first. An MLP takes them as
    numbers -1 and +1.

    Args:
        n: Bits of an input.
        k: Bits that count, 1 to n.
        samples: Inputs drawn, each bit 0 or 1 with equal probability, train and test together; one that comes twice is
            drawn again, so that no test input was trained on.
        sample_seed: Seed of that draw, the same for all runs.

    Source:
        Barak et al. 2022, arXiv 2207.08799; Merrill et al. 2023, arXiv 2303.11873, (n, k) = (40, 3).
    """

    name: ClassVar[str] = "sparse-parity"
    title: ClassVar[str] = "sparse parity"

    n: int = 40
    k: int = 3
    samples: int = 2000
    sample_seed: int = 0
    train_fraction: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("n", 1), ("k", 1), ("samples", 2), ("sample_seed", 0)):
            check_at_least(name, getattr(self, name), least, error=ConfigError)
        if self.k > self.n:
            raise ConfigError(f"k bits of n count: k must be at most n = {self.n}, got {self.k}")
        if self.n < 63 and self.samples > 2**self.n:
            raise ConfigError(
                f"there are {2**self.n} inputs of {self.n} bits: samples must be at most that, got {self.samples}"
            )

    @property
    def vocabulary(self) -> int:
        """2."""
        return 2

    @property
    def length(self) -> int:
        """The n bits."""
        return self.n

    @property
    def classes(self) -> int:
        """2."""
        return 2

    @property
    def vector(self) -> int:
        """The n bits."""
        return self.n

    def as_vectors(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:
        """-1 for a bit 0, +1 for a bit 1: ``[..., n]``."""
        return (2 * inputs - 1).to(dtype)

    def data(self) -> tuple[Tensor, Tensor]:
        """Bits int64 ``[samples, n]`` and parities int64 ``[samples]``."""
        generator = torch.Generator().manual_seed(self.sample_seed)
        if self.n <= 20:  # few enough to be shuffled
            places = torch.randperm(2**self.n, generator=generator)[: self.samples]
            bits = (places[:, None] >> torch.arange(self.n)) & 1
        else:
            bits = torch.empty(0, self.n, dtype=torch.int64)
            while len(bits) < self.samples:
                more = torch.randint(0, 2, (self.samples, self.n), generator=generator)
                bits = _without_repeats(torch.cat([bits, more]))[: self.samples]
        return bits, bits[:, : self.k].sum(1) % 2

    @property
    def columns(self) -> Sequence[Column]:
        """The share of the first matrix on the bits that count; none for a transformer, which treats places alike."""
        if self.network is Network.TRANSFORMER:
            return ()
        meaning = "share of the squares of the first matrix that belongs to the k bits that count; k / n at random"
        return [Column("relevant_share", meaning, label="relevant share", headline=True)]

    def features(self, params: Mapping[str, Tensor], inputs: Tensor) -> Features:
        r"""``Σ_h Σ_{i<k} |W_hi|² / Σ_h Σ_i |W_hi|²``; an embedding's entries are summed by bit. No input is needed."""
        if self.network is Network.TRANSFORMER:
            return Features({}, {})
        squares = first_matrix(params, self.network).double().square().sum(1)
        power = squares.reshape(len(squares), self.n, -1).sum(-1)
        return Features({"relevant_share": power[:, : self.k].sum(1) / power.sum(1)}, {})


def _without_repeats(rows: Tensor) -> Tensor:
    """The rows, each where it came first."""
    _, which = torch.unique(rows, dim=0, return_inverse=True)
    first = torch.full((int(which.max()) + 1,), len(rows)).scatter_reduce(0, which, torch.arange(len(rows)), "amin")
    return rows[first.sort().values]
