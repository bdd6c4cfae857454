"""What commands print, on terminals that lack characters, and of names that look like something else."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest

from grokfast import ModularAddition, RunConfig, train_runs
from grokfast.cli import main
from grokfast.errors import MissingRunsError
from grokfast.figures import draw, find_figure, save


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Path:
    """A folder whose name is markup and needs quotes."""
    folder = tmp_path_factory.mktemp("odd") / "a[x] it's[/] :smile:"
    train_runs([RunConfig(task=ModularAddition(P=5, hidden=(6,)), w0=w0, epochs=6) for w0 in (0.5, 4.0)], folder)
    return folder


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
@pytest.mark.parametrize("arguments", ["--help", "train modular-addition --help", "ising --help", "figure"])
def test_encodings_without_our_characters(encoding, arguments, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "grokfast", *arguments.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "40"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert len(done.stdout) > 200


def test_names_are_printed_as_they_are(odd, capsys):
    main(["runs", "--runs", str(odd)])
    assert f"2 runs in {odd}" in capsys.readouterr().out
    config = ["modular-addition", "--P", "5", "--hidden", "6", "--epochs", "6", "--w0", "0.5", "4"]
    main(["train", *config, "--runs", str(odd)])
    printed = capsys.readouterr().out
    assert f"2 are in {odd}" in printed.replace("\n", " ")
    assert f"2 runs lie in {odd}" in printed
    suggested = next(line for line in printed.splitlines() if line.startswith("next: "))
    assert str(odd) in shlex.split(suggested.removeprefix("next: "))


def test_no_colour_where_none_is_wanted(odd):
    done = subprocess.run(
        [sys.executable, "-m", "grokfast", "runs", "--runs", str(odd)],
        cwd=odd.parent,
        env={**os.environ, "NO_COLOR": "1", "FORCE_COLOR": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\x1b[3" not in done.stdout


def test_suggested_commands_are_quoted_for_the_shell(odd):
    from grokfast import load

    with pytest.raises(MissingRunsError) as raised:
        draw("fig15", load(odd))
    command = str(raised.value).splitlines()[-1]
    assert shlex.split(command)[-1] == str(odd)


def test_a_users_own_style_does_not_reach_figures(odd, tmp_path):
    from grokfast import load

    wanted = save(draw("training", load(odd)), tmp_path / "plain", "training", ("svg",))[0].read_text()
    with mpl.rc_context({"text.usetex": True, "font.size": 30.0, "lines.linewidth": 9.0}):
        found = save(draw("training", load(odd)), tmp_path / "own", "training", ("svg",))[0].read_text()
    assert found == wanted


def test_formats(odd, tmp_path, capsys):
    main(["figure", "training", "--runs", str(odd), "--out", str(tmp_path), "--format", "pdf", "eps"])
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".eps", ".pdf"]
    assert (tmp_path / "training.pdf").read_bytes().startswith(b"%PDF")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["figure", "training", "--runs", str(odd), "--out", str(tmp_path), "--format", "gif"])
    assert "format must be one of" in capsys.readouterr().err
    assert find_figure("training").name == "training"
