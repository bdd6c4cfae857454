from __future__ import annotations

import shutil

import pytest

from grokfast import load
from grokfast.endmodel import measure_everything
from grokfast.errors import MissingRunsError
from grokfast.report import REPORTS


def test_rows_and_what_is_missing(runs_folder, tmp_path):
    shutil.copytree(runs_folder, tmp_path / "runs")
    with pytest.raises(MissingRunsError, match="grokfast measure --runs"):
        REPORTS["pruning"](load(tmp_path / "runs"))
    for run in load(tmp_path / "runs"):
        measure_everything(run)
    text = REPORTS["pruning"](load(tmp_path / "runs"))
    claims = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| C")]
    assert claims == ["C1"] * 3 + ["C2"] * 2 + ["C6"] * 8 + ["C7"] * 5
    for name, command in (("batch 200", "batch-200"), ("weight decay 3e-4", "strong-decay"), ("Ising", "ising")):
        assert f"- {name}: `grokfast sweep {command} --size laptop`" in text
    run = next(iter(load(runs_folder)))
    assert f"{run.config.epochs} epochs" in text


def test_no_runs_name_the_command(runs_folder):
    with pytest.raises(MissingRunsError, match="grokfast sweep main-text --size laptop"):
        REPORTS["pruning"](load(runs_folder).where("w0 > 100"))
