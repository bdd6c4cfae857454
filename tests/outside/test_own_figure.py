"""docs/own-figure.md, typed as written, by someone who has the installed package and a folder of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "own-figure.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.S)


def _run(folder: Path, *command: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    environment.pop("PYTHONPATH", None)
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _grokfast(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    assert line.startswith("grokfast ")
    return _run(folder, sys.executable, "-m", *line.split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stranger")
    (folder / "my_figures.py").write_text(_blocks("python")[0])
    (train,) = [line for line in _blocks("sh")[0].splitlines() if " train " in line]
    done = _grokfast(folder, train)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_command_draws_it(folder):
    (line,) = [line for line in _blocks("sh")[0].splitlines() if " figure " in line]
    done = _grokfast(folder, line)
    assert done.returncode == 0, done.stderr
    for kind in ("svg", "png"):
        assert (folder / "mine" / "figures" / f"norms.{kind}").is_file()


def test_python_draws_it_by_its_name(folder):
    done = _run(folder, sys.executable, "-c", _blocks("python")[1])
    assert done.returncode == 0, done.stderr
    assert (folder / "pictures" / "norms.svg").is_file()


def test_an_installed_package_s_figure_is_found_by_its_name(folder, tmp_path):
    """A wheel is a folder of files: the module and its metadata on the path."""
    (tmp_path / "my_figures.py").write_text(_blocks("python")[0])
    about = tmp_path / "my_figures-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-figures\nVersion: 1\n")
    group = re.search(r'entry-points."(.*)"', _blocks("toml")[0])[1]
    (about / "entry_points.txt").write_text(f"[{group}]\nnorms = my_figures:NORMS\n")
    (folder / "my_figures.py").rename(folder / "away.txt")
    try:
        code = (
            "import sys; from grokfast import load; from grokfast.figures import draw; "
            "print(len(draw('norms', load('mine')).axes))"
        )
        done = _run(folder, sys.executable, "-c", code, path=tmp_path)
    finally:
        (folder / "away.txt").rename(folder / "my_figures.py")
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("my_figurs:NORMS", "no module my_figurs on the import path"),
        ("my_figures:NORM", "my_figures has no 'NORM'; did you mean 'NORMS'?"),
        ("my_figures:draw", "my_figures:draw is no figure: expected a FigureSpec, got function"),
        ("nroms", "figure must be one of training, "),
    ],
)
def test_what_is_wrong_is_said(folder, reference, message):
    done = _grokfast(folder, f"grokfast figure {reference} --runs mine")
    assert done.returncode == 2
    assert message in done.stderr
