from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "made"))  # helpers of these tests

from made_runs import Made, main_store


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Made]]:
    """The store of made-up runs, and what was written to it."""
    folder = tmp_path_factory.mktemp("made") / "runs"
    return folder, main_store(folder)


@pytest.fixture(scope="session")
def of(made: tuple[Path, list[Made]]) -> Callable[..., list[Made]]:
    """Made-up runs of a task, of one w0."""

    def chosen(task: str, w0: float | None = None) -> list[Made]:
        return [r for r in made[1] if r.config.task.name == task and (w0 is None or r.config.w0 == w0)]

    return chosen
