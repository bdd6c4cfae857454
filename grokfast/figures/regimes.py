"""Cells of a phase diagram: runs that differ in the seed alone, and the regime that their seeds vote for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np

from grokfast.figures.choose import scale_of
from grokfast.figures.kept import measured
from grokfast.runs import Run

Place: TypeAlias = tuple[float, float, int, float]
"""w0, weight decay, batch size and train fraction."""

_LEARNED, _COLLAPSED = 0.95, 0.5
_COMPRESSIVE = 1.25
_ABOVE = 1.0


class Regime(StrEnum):
    """What a run ends as."""

    LEARNS = "learns"
    GROKS = "groks"
    COMPRESSIVE = "compressive"
    """It learns or groks, and c exceeds 1.25 times the median of the runs beside it with w0 of at least 1."""
    NOT_GENERALISED = "not generalised"
    COLLAPSED = "collapsed"


@dataclass(frozen=True)
class Cell:
    """Runs of one place.

    Attributes:
        place: w0, weight decay, batch size, train fraction.
        runs: One a seed.
        votes: Runs by regime; c counts for the cell as a whole.
        regime: That of most runs; of ties the first in the order of :class:`Regime`.
        compressibility: Median of the runs that generalise; NaN without.
        t_grok: Median of theirs, in epochs; NaN without.
    """

    place: Place
    runs: Sequence[Run]
    votes: Mapping[Regime, int]
    regime: Regime
    compressibility: float
    t_grok: float


def place_of(run: Run) -> Place:
    """Where a run lies."""
    config = run.record["config"]
    fraction = float(config["task"]["train_fraction"])
    return scale_of(run), float(config["weight_decay"]), int(config["batch_size"]), fraction


def cells_of(runs: Sequence[Run]) -> dict[Place, Cell]:
    """Cells by place, rising; which are compressive is judged by those that differ in w0 alone."""
    groups: dict[Place, list[Run]] = {}
    for run in runs:
        groups.setdefault(place_of(run), []).append(run)
    plain = {place: _cell(place, members, None) for place, members in sorted(groups.items())}
    found = {}
    for place, cell in plain.items():
        beside = [other.compressibility for at, other in plain.items() if at[1:] == place[1:] and at[0] >= _ABOVE]
        beside = [value for value in beside if np.isfinite(value)]
        found[place] = _cell(place, cell.runs, float(np.median(beside)) if beside else None)
    return found


def _cell(place: Place, runs: Sequence[Run], beside: float | None) -> Cell:
    labels = [_regime(run) for run in runs]
    scalars = [measured(run) for run, label in zip(runs, labels, strict=True) if _generalises(label)]
    c, lag = (_median([one[name] for one in scalars if name in one]) for name in ("compressibility", "t_grok"))
    if beside is not None and c > _COMPRESSIVE * beside:
        labels = [Regime.COMPRESSIVE if _generalises(label) else label for label in labels]
    votes = {regime: labels.count(regime) for regime in Regime if regime in labels}
    return Cell(place, runs, votes, max(votes, key=lambda regime: votes[regime]), c, lag)


def _generalises(regime: Regime) -> bool:
    return regime in (Regime.LEARNS, Regime.GROKS)


def _regime(run: Run) -> Regime:
    scalars = measured(run)
    if scalars.get("end_test_accuracy", 0.0) >= _LEARNED:
        return Regime.GROKS if scalars.get("groks") else Regime.LEARNS
    return Regime.COLLAPSED if scalars.get("end_train_accuracy", 0.0) < _COLLAPSED else Regime.NOT_GENERALISED


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else float("nan")
