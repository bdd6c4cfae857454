"""Summaries: what each finished stage of a reproduction leaves, small enough to keep beside the text that cites it.

A folder has one packed file of runs a stage (:mod:`grokfast.store.packed`) whose ``about`` says which studies it
completes, and ``reproduction.json`` with the command, the machine and the times. The page is made from these alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from grokfast.errors import StoreError
from grokfast.report.claims.evaluate import ReadTable
from grokfast.runs import Run, RunTable, load
from grokfast.store import Store, about_packed, pack, unpack
from grokfast.store.atomic import write_json
from grokfast.studies import Setting, setting_of

ABOUT = "reproduction.json"
"""File of a summaries' folder that says how they were made."""


@dataclass(frozen=True)
class Made:
    """How a reproduction was made.

    Attributes:
        size: ``quick``, ``laptop`` or ``paper``.
        command: That makes it.
        versions: Of grokfast and what it stands on, by name.
        machine: What it ran on, by name: nothing in it says whose.
        seconds: Wall time of each part, by name: ``train main-text``, ``measure main-text``.
        failed: Runs that are not in the summaries, by key, with the reason.
    """

    size: str
    command: str
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Summaries:
    """The runs of the finished stages.

    Attributes:
        made: How they were made.
        table: All runs.
        studies: Keys of the runs of each finished study, by its name.
    """

    made: Made
    table: RunTable
    studies: Mapping[str, tuple[str, ...]]

    def of(self, studies: Sequence[str]) -> RunTable:
        """The runs of some studies; those that are not finished have none."""
        keys = {key for name in studies for key in self.studies.get(name, ())}
        return RunTable(self.table.store, [row for row in self.table.rows if row["key"] in keys], [])

    def seeds_of(self, studies: Sequence[str]) -> RunTable:
        """What a figure of some studies shows: their runs, and further seeds of the same settings and w0."""
        wanted = {self._places[row["key"]] for row in self.of(studies).rows}
        rows = [row for row in self.table.rows if self._places[row["key"]] in wanted]
        return RunTable(self.table.store, rows, [])

    @cached_property
    def _places(self) -> dict[str, tuple[Setting, float]]:
        """Setting and w0 of every run, by key."""
        configs = {run.key: run.record["config"] for run in self.table}
        return {key: (setting_of(config), float(config["w0"])) for key, config in configs.items()}

    def told(self, studies: Sequence[str]) -> RunTable:
        """What a claim on some studies is measured on: all runs, as in reports, once one of them is finished.

        Other studies may have further seeds of the same settings.
        """
        finished = any(name in self.studies for name in studies)
        return self.table if finished else RunTable(self.table.store, [], [])

    def runs(self) -> Iterator[Run]:
        """All runs."""
        return iter(self.table)


def write_summary(store: Store, folder: Path, stage: str, keys: Sequence[str], studies: Mapping[str, Any]) -> Path:
    """Write what a stage leaves; the file is there whole or not at all.

    Args:
        store: Where its runs lie.
        folder: Of the summaries.
        stage: Its name.
        keys: Its runs, failed ones left out.
        studies: Keys of every study that is complete with this stage, by name.

    Returns:
        The file.

    Raises:
        StoreError: If a run cannot be read or the file cannot be written.
    """
    file = folder / f"{stage}.parquet"
    pack(store, keys, file, {"stage": stage, "studies": {name: list(found) for name, found in studies.items()}})
    return file


def write_made(folder: Path, made: Made) -> None:
    """Write how a reproduction was made.

    Raises:
        StoreError: If the file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / ABOUT, vars(made))
    except OSError as error:
        raise StoreError(f"{folder / ABOUT} cannot be written: {error.strerror or error}") from error


def read_made(folder: Path) -> Made | None:
    """How the reproduction of a folder was made; None if it says nothing.

    Raises:
        StoreError: If the file is damaged.
    """
    file = folder / ABOUT
    if not file.is_file():
        return None
    try:
        return Made(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"{file} does not say how a reproduction was made: {error}") from error


@contextmanager
def open_summaries(folder: Path) -> Iterator[Summaries]:
    """The summaries of a folder, unpacked for the time of the context.

    Args:
        folder: That :func:`write_summary` and :func:`write_made` wrote.

    Raises:
        StoreError: If there are none, or a file is damaged.
    """
    made = read_made(folder)
    files = sorted(folder.glob("*.parquet")) if made is not None else []
    if made is None:
        raise StoreError(
            f"{folder} holds no summaries (no {ABOUT}): expected the folder that `grokfast reproduce` names at its end"
        )
    with TemporaryDirectory(prefix="grokfast-summaries-") as place:
        root = Path(place) / "runs"
        Store(root).check_writable()
        studies: dict[str, tuple[str, ...]] = {}
        for file in files:
            unpack(file, root)
            studies |= {name: tuple(keys) for name, keys in about_packed(file).get("studies", {}).items()}
        table = load(root)
        yield Summaries(made, ReadTable(table.store, table.rows, table.damaged), studies)
