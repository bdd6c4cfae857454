"""The page "Your own measure", typed as written: a folder outside the package, fresh processes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from grokfast import load
from grokfast.cli import main

DOCS = Path(__file__).resolve().parents[2] / "docs"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _fresh(arguments: list[str], folder: Path, path: Path | None = None) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **({"PYTHONPATH": str(path)} if path else {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def typed(tmp_path_factory):
    """The folder after all blocks of the page, and what each printed."""
    folder = tmp_path_factory.mktemp("outside")
    printed = []
    for kind, text in _BLOCK.findall((DOCS / "own-measure.md").read_text()):
        named = re.match(r"# (\w+\.py)\n", text)
        if named:
            (folder / named[1]).write_text(text)
        elif kind == "python":
            (folder / "typed.py").write_text(text)
            printed.append(_fresh(["typed.py"], folder))
        else:
            assert kind == "sh"
            for line in text.splitlines():
                program, *arguments = shlex.split(line)
                assert program == "grokfast"
                printed.append(_fresh(["-m", "grokfast", *arguments], folder))
    return folder, printed


def _effective_rank(matrix: torch.Tensor) -> float:
    values = np.linalg.svd(matrix.double().numpy(), compute_uv=False)
    shares = values / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def test_it_is_a_column_of_tables_and_sql(typed):
    folder, printed = typed
    assert "effective_rank" in printed[2]
    table = load(folder / "runs")
    assert len(table) == 2
    column = table.described()["effective_rank"]
    assert (column.meaning, column.label, column.headline) == (
        "exp of the entropy of the first matrix's singular values",
        "rank",
        True,
    )
    values = [rank for (rank,) in table.sql("SELECT effective_rank FROM runs ORDER BY w0").fetchall()]
    wanted = [_effective_rank(run.checkpoint()["0.weight"]) for run in table.sort("w0")]
    assert values == pytest.approx(wanted, rel=1e-9)
    assert wanted[0] != wanted[1]


def test_its_looks_are_in_history_and_record(typed):
    folder, _ = typed
    for run in load(folder / "runs"):
        seen = np.flatnonzero(np.isfinite(run.history["effective_rank"])) + 1
        assert seen[0] == 1
        assert seen[-1] == 60
        assert len(seen) <= 10
        assert run.record["looks"]["my_measures:effective_rank"] == ["log:10"]
        assert run.record["problems"] == {}
        (column,) = [found for found in run.record["columns"] if found["name"] == "effective_rank"]
        assert column["measure"] == "effective_rank"


def test_of_checkpoints_it_is_what_it_was_in_training(typed, monkeypatch):
    folder, printed = typed
    monkeypatch.syspath_prepend(folder)
    from grokfast.endmodel import measure_checkpoints

    for run in load(folder / "runs"):
        found = measure_checkpoints(run, "my_measures:effective_rank")
        assert found["epoch"].tolist() == [1, 30, 60]
        wanted = [_effective_rank(run.checkpoint(epoch)["0.weight"]) for epoch in (1, 30, 60)]
        np.testing.assert_allclose(found["effective_rank"], wanted, rtol=1e-9)
        assert found["effective_rank"][0] == pytest.approx(run.history["effective_rank"][0], rel=1e-9)
    assert printed[4].count("effective_rank") == 4


def test_arrays_and_comparisons(typed):
    folder, printed = typed
    numbers, comparison = printed[-1].splitlines()
    first, second = load(folder / "runs")
    largest = max(torch.linalg.matrix_norm(first.checkpoint()[name], 2).item() for name in ("0.weight", "2.weight"))
    assert f"{largest:.4f}"[:5] in numbers
    assert "(1, 26)" in numbers or "(26,)" in numbers
    inputs = first.config.task.encode(first.data().test_inputs, torch.float32)
    with torch.no_grad():
        same = first.model()(inputs).argmax(-1) == second.model()(inputs).argmax(-1)
    assert f"{same.double().mean().item():.6f}"[:7] in comparison


def test_a_missing_file_is_named_and_hides_nothing(typed, capsys, monkeypatch, tmp_path):
    folder, _ = typed
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "my_measures", None)
    assert len(load(folder / "runs").sql("SELECT effective_rank FROM runs").fetchall()) == 2
    with pytest.raises(SystemExit):
        main(["train", "modular-addition", "--P", "5", "--epochs", "2", "--observe", "my_measures:effective_rank@last"])
    assert "my_measures" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").glob("*/*/run.json"))


def test_an_installed_package_s_measure_goes_by_its_short_name(typed, tmp_path):
    """A wheel is a folder of files: the module and its metadata on the path."""
    folder, _ = typed
    site = tmp_path / "site"
    about = site / "my_measures-1.dist-info"
    about.mkdir(parents=True)
    (site / "my_measures.py").write_text((folder / "my_measures.py").read_text())
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-measures\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[grokfast.measures]\nspread = my_measures:effective_rank\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    train = "train modular-addition --P 5 --hidden 8 --w0 1 --epochs 3 --observe spread@every:1 --runs runs"
    _fresh(["-m", "grokfast", *train.split()], elsewhere, path=site)
    (run,) = load(elsewhere / "runs")
    assert np.isfinite(run.history["effective_rank"]).all()
    assert run.record["looks"]["spread"] == ["every:1"]
    kept = _fresh(["-m", "grokfast", "measure", "--measure", "spread", "--runs", "runs"], elsewhere, path=site)
    assert "1 run" in kept


def test_the_page_of_columns_is_the_registry():
    page = "from grokfast.report.columns import columns_page; print(columns_page(), end='')"
    assert (DOCS / "columns.md").read_text() == _fresh(["-P", "-c", page], DOCS.parent / "tests")
