"""CKA of every pair of end models, and what it says of two regimes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grokfast.endmodel import compare_runs
from grokfast.errors import InputError
from grokfast.figures.choose import by_scale, seed_of
from grokfast.figures.grouping import having
from grokfast.measures import Estimate, bootstrap
from grokfast.observe.alignment import cka
from grokfast.runs import Run
from grokfast.store import derived

_DRAWS = 10_000


@dataclass(frozen=True)
class Alignment:
    """CKA between end models of several seeds in two groups.

    Attributes:
        groups: The two w0, the smaller first, or other names.
        seeds: S seeds.
        values: ``[2, S, 2, S]``, by group and seed of both; NaN for pairs of one seed.
    """

    groups: tuple[object, object]
    seeds: tuple[int, ...]
    values: NDArray[np.float64]

    def pairs(self, first: int, second: int) -> NDArray[np.float64]:
        """Values of all pairs of different seeds between two groups (0 or 1), each pair once."""
        block = self.values[first, :, second, :]
        kept = np.triu(np.ones_like(block, dtype=bool), 1) if first == second else np.ones_like(block, dtype=bool)
        found: NDArray[np.float64] = block[kept & np.isfinite(block)]
        return found

    def difference(self, seeds: Sequence[int] | None = None, swapped: Sequence[bool] | None = None) -> float:
        """Mean within a group, averaged over both, less the mean between them.

        Args:
            seeds: Positions of seeds, which may repeat; all by default. Pairs of one seed do not count.
            swapped: Of which seeds the two groups are exchanged.
        """
        chosen = np.arange(len(self.seeds)) if seeds is None else np.asarray(seeds)
        flip = np.zeros(len(self.seeds), dtype=int) if swapped is None else np.asarray(swapped, dtype=int)
        apart = chosen[:, None] != chosen
        if not apart.any():
            return float("nan")
        means = {}
        for a, b in itertools.product((0, 1), repeat=2):
            block = self.values[
                (a ^ flip[chosen])[:, None], chosen[:, None], (b ^ flip[chosen])[None, :], chosen[None, :]
            ]
            means[a, b] = float(block[apart].mean())
        return (means[0, 0] + means[1, 1]) / 2 - (means[0, 1] + means[1, 0]) / 2

    def interval(self, confidence: float = 0.95) -> Estimate:
        """The difference with its bootstrap interval over seeds."""
        return bootstrap(
            list(range(len(self.seeds))), lambda seeds: self.difference(seeds), draws=_DRAWS, confidence=confidence
        )

    def permutation_p(self) -> float:
        """Share of all exchanges of the groups within seeds whose difference is at least the one that was found."""
        found = self.difference()
        flips = list(itertools.product((False, True), repeat=len(self.seeds) - 1))
        drawn = [self.difference(swapped=(False, *flip)) for flip in flips]
        return float(np.mean([value >= found - 1e-12 for value in drawn]))


def alignment_of(runs: Sequence[Run]) -> Alignment:
    """CKA of every pair of end models of different seeds.

    Args:
        runs: Of one setting at two w0, the same seeds at both.

    Raises:
        InputError: If there are not two w0, or fewer than two seeds that both have.
    """
    groups = by_scale(runs)
    if len(groups) != 2:
        raise InputError(f"the comparison of two regimes needs runs at two w0, got {list(groups)}")
    return alignment_between(groups)


def alignment_between(groups: Mapping[Any, Sequence[Run]]) -> Alignment:
    """CKA of every pair of end models of different seeds in two groups.

    Args:
        groups: Two of them, with one run a seed.

    Raises:
        InputError: If there are fewer than two seeds that both have.
    """
    found = [{seed_of(run): run for run in members} for members in groups.values()]
    seeds = tuple(sorted(set(found[0]) & set(found[1])))
    if len(seeds) < 2:
        raise InputError(f"the comparison of two groups needs two seeds or more that both have, got {list(seeds)}")
    values = np.full((2, len(seeds), 2, len(seeds)), np.nan)
    places = list(itertools.product((0, 1), range(len(seeds))))
    for (a, i), (b, j) in _different(places):
        values[a, i, b, j] = values[b, j, a, i] = _cka(found[a][seeds[i]], found[b][seeds[j]])
    one, other = groups
    return Alignment((one, other), seeds, values)


def _cka(run: Run, other: Run) -> float:
    """CKA of two end models, kept beside the first for when the runs are without theirs."""
    kept = derived(run.store, run.key, f"cka-{other.key}", cka.version, lambda: compare_runs(run, other, cka))
    return float(kept["cka"])


def regimes(runs: Sequence[Run]) -> list[Run]:
    """Runs of the two w0 that stand for the regimes: 0.1, or the smallest, and the largest."""
    groups = by_scale(runs)
    low = 0.1 if 0.1 in groups else next(iter(groups), None)
    return [run for w0, members in groups.items() if w0 in (low, max(groups)) for run in members]


def paper_ising(runs: Sequence[Run]) -> list[Run]:
    """The Ising runs trained as in the paper: Adam with L2 decay, no noise."""
    return having(runs, task="ising", optimizer="adam", weight_decay=0.1, noise=0.0)


def _different(places: Sequence[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    for one, other in itertools.combinations(places, 2):
        if one[1] != other[1]:
            yield one, other
