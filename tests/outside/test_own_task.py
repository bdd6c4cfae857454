"""The page "Your own task", typed as written: a folder outside the package, fresh processes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from grokfast import load
from grokfast.errors import MissingTaskError

DOCS = Path(__file__).resolve().parents[2] / "docs"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _fresh(arguments, folder):
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
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
    for kind, text in _BLOCK.findall((DOCS / "own-task.md").read_text()):
        named = re.match(r"# (\w+\.\w+)\n", text)
        if named:
            (folder / named[1]).write_text(text)
        elif kind == "python":
            (folder / "typed.py").write_text(text)
            printed.append(_fresh(["typed.py"], folder))
        else:
            for line in text.splitlines():
                program, *arguments = shlex.split(line)
                assert program == "grokfast"
                printed.append(_fresh(["-m", "grokfast", *arguments], folder))
    return folder, printed


def test_it_trains_is_swept_measured_and_drawn(typed):
    folder, _ = typed
    table = load(folder / "sweep")
    assert len(table) == 4
    assert {row["task"] for row in table.rows} == {"my_tasks:ModularProduct"}
    for row in table.rows:
        assert 1 < row["embedding_rank"] <= 16
        assert row["compressibility"] >= 1
        assert 0 < row["gini_weights_W_E"] < 1
        assert 0 < row["gini_fisher"] < 1
    for name in ("training", "measures"):
        assert (folder / "sweep" / "figures" / f"{name}.png").stat().st_size > 1000


def test_its_geometry_is_in_the_history(typed):
    folder, _ = typed
    for row in load(folder / "sweep").rows:
        (run,) = [run for run in load(folder / "sweep") if run.key == row["key"]]
        epochs, lengths = run.seen("geometry_softmax_all_length")
        assert list(epochs) == [10, 20, 30]
        assert (lengths > 0).all()


def test_its_networks_are_those_that_were_measured(typed):
    _, printed = typed
    lines = printed[-1].splitlines()
    assert len(lines) == 4
    for line in lines:
        _, ours, at_ten, unpruned = line.split()
        assert float(ours) == pytest.approx(float(at_ten), abs=1e-6)
        assert 0 <= float(unpruned) <= 1


def test_without_its_file_the_table_is_read_and_the_rest_says_what_is_missing(typed):
    folder, _ = typed
    run = next(iter(load(folder / "sweep")))
    assert np.isfinite(run.history["test_loss"]).all()
    with pytest.raises(MissingTaskError, match="no module my_tasks on the import path"):
        run.model()
