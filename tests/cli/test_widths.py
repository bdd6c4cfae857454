"""What commands print on terminals of several widths, which nothing may exceed but a path or another single word."""

from __future__ import annotations

import os
import pty
import re
import shlex
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from grokfast import ModularAddition, RunConfig, train_runs
from grokfast._tables import Fitted, Heading
from grokfast.cli.printing import WHOLE, say, width_of, wrapped

if sys.platform == "win32":
    pytest.skip("needs a pseudo-terminal", allow_module_level=True)
import fcntl
import termios

SQL = "'SELECT key, w0, seed, t_train, t_test, regime, compressibility, end_test_accuracy, status FROM runs'"
COMMANDS = [
    "--help", "no-such-command", "runs", "runs --all", f"runs --sql {SQL}", "runs --runs nowhere", "runs --help",
    "runs --where 'w0 >'", "figure", "figure no-such-figure", "figure fig17", "report", "report no-such-report",
    "sweep", "sweep main-text --size quick --no-measure --plan", "sweep nothing", "status", "check", "doctor", "train",
    "train modular-addition --help", "reproduce --help", "reproduce --only nothing", "ising --help", "demo --help",
    "ising --L 4 6 --T 2.0,2.3 --measurements 8 --replicas 1", "measure --where 'w0 > 100'",
    "train modular-addition --P 5 --hidden 6 --epochs 6 --w0 0.5 4",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    found = tmp_path_factory.mktemp("w")
    train_runs(
        [RunConfig(task=ModularAddition(P=5, hidden=(6,)), w0=w0, epochs=6) for w0 in (0.5, 4.0)], found / "runs"
    )
    return found


def on_terminal(arguments: list[str], folder: Path, width: int) -> str:
    """What a command writes to a terminal, without its colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "grokfast", *arguments],
        cwd=folder, env={**env, "TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    pieces = []
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(ours)
    assert process.wait() in (0, 2), arguments
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(pieces).decode())


def too_long(text: str, width: int) -> list[str]:
    """Lines beyond the edge, less those of one word; what a bar writes over itself counts each time by itself."""
    lines = [line for part in text.replace("\r\n", "\n").split("\n") for line in part.split("\r")]
    lines = [line for line in lines if not line.startswith("usage: grokfast train")]  # tyro's own, with the task's name
    return [line for line in lines if len(line.rstrip()) > width and len(line.split()) > 1]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("width", [40, pytest.param(60, marks=pytest.mark.slow)])
def test_nothing_stands_beyond_a_terminals_edge(command, width, folder):
    text = on_terminal(shlex.split(command), folder, width)
    assert text.strip()
    assert not too_long(text, width), text


@pytest.mark.parametrize("command", ["runs", "figure"])
def test_tables_obey_columns_in_a_pipe_and_without_it_lines_stay_whole(command, folder):
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    found = {}
    for columns in ("40", ""):
        done = subprocess.run(
            [sys.executable, "-m", "grokfast", command],
            cwd=folder, env={**env, "COLUMNS": columns, "NO_COLOR": "1"}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        found[columns] = done.stdout
    assert not [line for line in too_long(found["40"], 40) if " runs in " not in line]  # a line that is no table's
    assert len(found["40"].splitlines()) >= len(found[""].splitlines())
    assert "…" not in found["40"] + found[""]


def test_every_column_of_a_wide_table_can_be_read(folder):
    from grokfast import load

    text = on_terminal(["runs", "--all"], folder, 40)
    table = load(folder / "runs")
    for name in ("key", "compressibility", "end_test_accuracy", "regime"):
        assert name in text
    for row in table.rows:
        assert row["key"] in text


def test_words_are_kept_and_commands_can_be_copied():
    folder = "/a/" + "long/" * 12
    text = wrapped(f"2 runs lie in {folder}", 30)
    assert text.splitlines() == ["2 runs lie in", f"  {folder}"]
    told = wrapped("  name  one two three four five six seven", 24)
    assert [line.find(word) for line, word in zip(told.splitlines(), ("one", "four"), strict=False)] == [8, 8]
    command = ["grokfast", "figure", "pruning", "--runs", "a[x] it's", "--where", "w0 < 1 AND task = 'ising'"]
    lines = wrapped(f"next: {shlex.join(command)}", 30).removeprefix("next: ")
    assert all(len(line) <= 30 or len(shlex.split(line.rstrip("\\"))) == 1 for line in lines.splitlines())
    shell = subprocess.run(["sh", "-c", f"printf '%s\\n' {lines}"], capture_output=True, text=True, check=True)
    assert shell.stdout.splitlines() == command
    assert wrapped("short", 40) == "short"
    assert wrapped("grokfast figure it's " + "x" * 30, 20).count("\\") == 0  # no command that a shell takes


def test_lines_stay_whole_where_there_is_no_terminal(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "33")
    assert width_of(sys.stdout) == width_of(None) == WHOLE
    say("word " * 20)
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize("width", [16, 25, 60, WHOLE])
def test_a_table_or_its_values_line_by_line(width, tmp_path):
    rows = [("a", "some words about a thing", "0.12345"), ("b", "[bold]more[/]", "")]
    fitted = Fitted([Heading("name", "left"), Heading("what it shows", "left", 8), Heading("value")], rows, "a title")
    text = printed(fitted, width, tmp_path)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    joined = "".join(text.split())
    for word in ("name", "a", "0.12345", "[bold]more[/]", "title"):
        assert word in joined


def test_spare_columns_give_way_and_are_named(tmp_path):
    fitted = Fitted([Heading("name"), Heading("first", spare=True), Heading("second", spare=True)], [("a", "1", "2")])
    assert "no room for" not in printed(fitted, 30, tmp_path)
    assert printed(fitted, 20, tmp_path).split() == [
        "name", "first", "\u2500" * 13, "a", "1", "no", "room", "for", "second",
    ]  # fmt: skip
    assert printed(fitted, 7, tmp_path).split() == ["name", "a", "first", "1", "second", "2"]


def printed(fitted: Fitted, width: int, folder: Path) -> str:
    with (folder / "printed").open("w+") as file:
        Console(width=width, markup=False, file=file).print(fitted)
        file.seek(0)
        return file.read()
