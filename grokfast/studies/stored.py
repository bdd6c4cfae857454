"""Which of a study's runs a folder holds, all settings together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from grokfast.errors import MissingRunsError
from grokfast.runs import Run, RunTable
from grokfast.studies.study import Study, find_study


@dataclass(frozen=True)
class Stored:
    """Runs of a study at one size.

    Attributes:
        study: The study.
        size: The size of which the folder has most runs.
        runs: The finished ones, in the order of the study's file.
        missing: How many are not there, or have not finished.
    """

    study: Study
    size: str | None
    runs: Sequence[Run]
    missing: int


def stored_runs(table: RunTable, name: str) -> Stored:
    """The finished runs of a study, of all its settings, at the size of which the folder has most.

    Args:
        table: All runs of a store.
        name: Of a study, as :func:`find_study` takes it.

    Raises:
        MissingRunsError: If there is none; the message has the command that trains them.
    """
    study = find_study(name)
    finished = {run.key: run for run in table if run.record["status"] == "finished"}
    keys = _keys(study)
    share = {size: sum(key in finished for key in found) / len(found) for size, found in keys.items()}
    best = max(reversed(keys), key=lambda size: share[size])
    runs = [finished[key] for key in keys[best] if key in finished]
    if not runs:
        raise MissingRunsError(
            f"{table.store.named} holds no finished run of the study {name}; make them with\n"
            f"  {study.command} --runs {table.store.named}"
        )
    return Stored(study, best, runs, len(keys[best]) - len(runs))


@cache
def _keys(study: Study) -> dict[str | None, list[str]]:
    """Keys of its runs by size, small to large."""
    sizes: Sequence[str | None] = study.sizes or (None,)
    return {size: [config.key for config in study.sweep(size).configs] for size in sizes}
