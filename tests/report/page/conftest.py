from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "made"))  # helpers of these tests

from made_runs import main_store

from grokfast import Ising, ModularAddition, load
from grokfast.figures.frequencies import keep_frequency_shares
from grokfast.report.page import Made, build_page, write_made, write_summary
from grokfast.store import Store

STUDIES = ("main-text", "main-text-ends", "main-text-dynamics", "geometry-diagonal", "ising", "ising-ends")


@pytest.fixture(scope="session")
def summaries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Summaries of made-up runs of the paper's setting."""
    folder = tmp_path_factory.mktemp("made-page")
    main_store(folder / "runs", ModularAddition(), Ising())
    runs = list(load(folder / "runs"))
    addition = [run for run in runs if run.record["config"]["task"]["name"] == "modular-addition"]
    for run in addition:
        keep_frequency_shares(run)
    keys = {
        study: [
            run.key
            for run in runs
            if study.startswith("geometry") or study.startswith("ising") == (run not in addition)
        ]
        for study in STUDIES
    }
    write_summary(Store(folder / "runs"), folder / "summaries", "main-text", [run.key for run in runs], keys)
    seconds = {"train main-text": 75.0, "measure main-text": 3720.0}
    made = Made(
        "quick",
        "grokfast reproduce --size quick",
        {"grokfast": "1.2.3"},
        {"processor": "a <fast> one"},
        seconds,
        {"0123456789abcdef": "MemoryError: no room for <it>"},
    )
    write_made(folder / "summaries", made)
    return folder / "summaries"


@pytest.fixture(scope="session")
def page(summaries: Path) -> tuple[Path, dict]:
    """The page made of them, and what stands on it."""
    file = summaries.parent / "page.html"
    return file, build_page(summaries, file)
