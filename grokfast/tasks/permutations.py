"""Composition of permutations: from the pair (σ, τ) to σ∘τ in the symmetric group."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from grokfast.errors import ConfigError
from grokfast.tasks.choice import TokenTask
from grokfast.tasks.registry import register_task


@register_task
@dataclass(frozen=True, kw_only=True)
class Permutations(TokenTask):
    """All pairs of permutations of n things, split at random, with their composition as label.

    A permutation is one token: its place among all in lexicographic order. (σ∘τ)(i) = σ(τ(i)): τ acts first.

    Args:
        n: Things that are permuted, 2 to 6: 5 is the S5 of the literature, 120 permutations and 14,400 pairs.

    Source:
        Power et al. 2022, arXiv 2201.02177.
    """

    name: ClassVar[str] = "permutations"
    title: ClassVar[str] = "composition of permutations"

    n: int = 5
    train_fraction: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.n, bool) or not isinstance(self.n, int) or not 2 <= self.n <= 6:
            raise ConfigError(f"n must be an integer from 2 to 6 ({math.factorial(6):,} permutations), got {self.n!r}")

    @property
    def vocabulary(self) -> int:
        """All n! permutations."""
        return math.factorial(self.n)

    @property
    def length(self) -> int:
        """2."""
        return 2

    @property
    def classes(self) -> int:
        """All n! permutations."""
        return self.vocabulary

    def data(self) -> tuple[Tensor, Tensor]:
        """Pairs (σ, τ) int64 ``[n!², 2]`` and the places of σ∘τ, int64 ``[n!²]``."""
        table = torch.tensor(list(itertools.permutations(range(self.n))))
        pairs = torch.cartesian_prod(torch.arange(len(table)), torch.arange(len(table)))
        composed = table[pairs[:, 0]].gather(1, table[pairs[:, 1]])
        # A permutation's digits in base n grow with its place, so that a search finds the place.
        base = self.n ** torch.arange(self.n - 1, -1, -1)
        return pairs, torch.searchsorted((table * base).sum(1), (composed * base).sum(1))
