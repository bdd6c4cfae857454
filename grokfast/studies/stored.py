"""Which of a study's runs a folder holds, all settings together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from grokfast.errors import MissingRunsError
from grokfast.runs import Run, RunTable
from grokfast.studies.setting import Setting, setting_of
from grokfast.studies.study import Study, find_study

HALF = 0.5
"""Share of a cell's runs, and of a study's cells, from which it counts as there."""


@dataclass(frozen=True)
class Stored:
    """Runs of a study at one size.

    A cell is what differs in nothing but the seed: one setting at one w0. It is there where at least half of its runs
    are: of fewer seeds the majority is not known.

    Attributes:
        study: The study.
        size: The size that is taken.
        runs: The finished ones, in the order of the study's file.
        missing: How many are not there, or have not finished.
        counted: Those of the cells that are there.
        cells: How many cells are there.
        all_cells: How many the study has.
    """

    study: Study
    size: str | None
    runs: Sequence[Run]
    missing: int
    counted: Sequence[Run]
    cells: int
    all_cells: int

    @property
    def share(self) -> float:
        """Share of its cells that are there."""
        return self.cells / self.all_cells


def stored_runs(table: RunTable, name: str) -> Stored:
    """The finished runs of a study, of all its settings, at the size that :func:`stored_by_size` puts first.

    Args:
        table: All runs of a store.
        name: Of a study, as :func:`find_study` takes it.

    Raises:
        MissingRunsError: If there is none; the message has the command that trains them.
    """
    sizes = stored_by_size(table, [name])
    if not sizes:
        study = find_study(name)
        raise MissingRunsError(
            f"{table.store.named} holds no finished run of the study {name}; make them with\n"
            f"  {study.command} --runs {table.store.named}"
        )
    return sizes[0][name]


def stored_by_size(table: RunTable, names: Sequence[str], optional: Sequence[str] = ()) -> list[dict[str, Stored]]:
    """The finished runs of studies that are looked at together, by name, for each size; the best size first.

    Sizes are never mixed. First come those of which every study has at least half of its cells, then the ones with the
    most runs in cells that are there: a small size that is complete does not hide a larger one that nearly is.

    Args:
        table: All runs of a store.
        names: Of studies, as :func:`find_study` takes them.
        optional: Of further ones, whose cells need not be there.
    """
    finished = {run.key: run for run in table if run.record["status"] == "finished"}
    sizes: dict[str | None, dict[str, Stored]] = {}
    for name in (*names, *optional):
        study = find_study(name)
        for size, cells in _cells(study).items():
            stored = _stored(study, size, cells, finished)
            if stored.runs:
                sizes.setdefault(size, {})[name] = stored

    def rank(found: Mapping[str, Stored]) -> tuple[bool, int, int]:
        whole = all(name in found and found[name].share >= HALF for name in names)
        every = found.values()
        return whole, sum(len(stored.counted) for stored in every), sum(len(stored.runs) for stored in every)

    return sorted(sizes.values(), key=rank, reverse=True)


def _stored(study: Study, size: str | None, cells: _Cells, finished: Mapping[str, Run]) -> Stored:
    there = [keys for keys in cells.by_place if sum(key in finished for key in keys) >= HALF * len(keys)]
    counted = {key for keys in there for key in keys}
    runs = [finished[key] for key in cells.keys if key in finished]
    return Stored(
        study,
        size,
        runs,
        len(cells.keys) - len(runs),
        [run for run in runs if run.key in counted],
        len(there),
        len(cells.by_place),
    )


class _Cells(NamedTuple):
    """Keys of a size's runs, in order, and by cell."""

    keys: Sequence[str]
    by_place: Sequence[Sequence[str]]


@cache
def _cells(study: Study) -> dict[str | None, _Cells]:
    """By size, small to large."""
    found: dict[str | None, _Cells] = {}
    for size in study.sizes or (None,):
        places: dict[tuple[Setting, float], list[str]] = {}
        configs = study.sweep(size).configs
        for config in configs:
            places.setdefault((setting_of(config.training()), config.w0), []).append(config.key)
        found[size] = _Cells([config.key for config in configs], list(places.values()))
    return found
