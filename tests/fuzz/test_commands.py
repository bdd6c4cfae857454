"""Random command lines and files: an answer, or one line and exit status 2; never a traceback or a bug's message."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grokfast.cli import main
from grokfast.errors import SweepError
from grokfast.training import kept, stack

WORDS = [
    "", " ", "-", "--", "-1", "0", "1", "2", "5", "0.5", "1e400", "nan", "inf", "-inf", "9" * 5000, "1e-320", "True",
    "false", "None", "null", "[]", "{}", "task", "gini", "fig02b", "ising", "modular-addition", "../..", "/",
    "/dev/null",
    "a" * 5000, "ü\u202e", "x\ny", "'", "; DROP TABLE runs", "w0 > 1", "select 1", "log:5", "every:0", "at:9+1", "1/0",
    "3/2", "cpu", "cuda:9", "adam", "layerwise", "size", "quick", "x:y", "os:system", "logit-16", "@last", "norms@last",
    str(2**63 - 1), str(10**22), "1 2 3", "0x10", "１", "\\", "$HOME", "~nobody/x", "a\0b",
]  # fmt: skip
OPTIONS = {
    "train": ["--P", "--hidden", "--epochs", "--w0", "--seeds", "--first-seed", "--threads", "--device", "--batch-size",
              "--learning-rate", "--optimizer", "--reshuffle", "--test-schedule", "--geometry", "--observe", "--L",
              "--label-noise", "--data-file", "--n", "--k", "--samples", "--precision", "--force"],
    "sweep": ["--plan", "--size", "--workers", "--shard", "--scheduler", "--scheduler-file", "--device", "--stack-size",
              "--save-every", "--timeout", "--measure", "--no-measure", "--dashboard"],
    "status": [], "check": ["--repair"], "doctor": [], "demo": ["--task", "--epochs"],
    "measure": ["--measure", "--where", "--workers"],
    "runs": ["--where", "--sql", "--export", "--upgrade", "--prune", "--prune-states", "--sort", "--columns"],
    "figure": ["--where", "--out", "--size", "--study", "--format"],
    "report": ["--out", "--where", "--size"],
    "ising": ["--L", "--temperatures", "--replicas", "--dynamics", "--seed", "--out", "--quench"],
    "reproduce": ["--size", "--page-from", "--experiments"],
    "--completion": ["bash", "zsh"], "--help": [], "--version": [], "help": [], "trian": [],
}  # fmt: skip
FIRST = {
    "train": ["modular-addition", "ising", "modular", "sparse-parity", "mnist", "permutations", "x:y", "--w0"],
    "sweep": ["main-text", "FILE", "none.toml", "."],
    "figure": ["fig02b", "training", "fig5a", ""], "report": ["modular-addition", "all", "isnig", "beyond"],
    "ising": ["--L"], "reproduce": ["--size"],
}  # fmt: skip
TOML = """title = "t"
[run]
epochs = 3
batch_size = 8
task = { name = "modular-addition", P = 5, hidden = [4] }
[grid]
w0 = [0.5, 1]
seed = { count = 2 }
"""
TOML_VALUES = [
    "1", "-1", "0", "1.5", "nan", "inf", "1e999", '"x"', '""', "[]", "{}", "true", "[[]]", "[1, \"a\"]",
    "{ count = 0 }",
    "{ count = -3 }", "{ count = 99999999999 }", "{ from = 1 }", "9" * 5000, "1" + "0" * 400, "[" * 2000 + "]" * 2000,
    "1979-05-27",
    '"log:9"', '{ name = "ising" }', '{ name = 3 }', '{ name = "modular-addition", P = 1 }', "\"\\u0000\"",
    '{ name = "x:y" }', "{ log = [1, 2, 3] }", '"every:1"', "{ a = { b = { c = 1 } } }", "[0.1, 0.1]",
    "2020-01-01T00:00:00Z",
]  # fmt: skip


class HungError(BaseException):
    """A command took too long."""


@pytest.fixture(autouse=True)
def _nothing_is_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Training ends before its first epoch, as if the user had asked; a command that hangs is stopped."""

    def stop(*_: Any, **__: Any) -> Any:
        raise SweepError("nothing is trained here")

    def hung(*_: Any) -> None:
        raise HungError

    for module in (kept, stack):
        monkeypatch.setattr(module, "initial_stack", stop)
    monkeypatch.setattr("grokfast.cli.sweep.run_sweep", stop)
    monkeypatch.setattr("grokfast.cli.demo.train_into", stop)
    monkeypatch.chdir(tmp_path)
    before = signal.signal(signal.SIGALRM, hung)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def line(chance: random.Random, folder: Path) -> list[str]:
    """A command line that begins rightly, as a user's does."""
    name = chance.choice(list(OPTIONS))
    words = [name]
    if name in FIRST and chance.random() < 0.8:
        words.append(chance.choice(FIRST[name]))
    for _ in range(chance.choice([0, 1, 1, 2, 3])):
        if OPTIONS[name] and chance.random() < 0.8:
            words.append(chance.choice(OPTIONS[name]))
        words.extend(chance.choice(WORDS) for _ in range(chance.choice([0, 1, 1, 2])))
    if name in ("reproduce", "ising"):  # these would begin to work
        words.append("--nonsense")
    of_runs = FIRST.keys() | {"status", "check", "measure", "runs"}
    if name in of_runs and chance.random() < 0.9:
        words += ["--runs", chance.choice([str(folder), str(folder), "none", "", "/dev/null", "a" * 5000])]
    return words


def toml(chance: random.Random) -> str:
    """A sweep's file with one to three lines changed."""
    lines = TOML.splitlines()
    for _ in range(chance.choice([1, 1, 2, 3])):
        k = chance.randrange(len(lines))
        how = chance.random()
        if how < 0.5 and "=" in lines[k]:
            lines[k] = f"{lines[k].split('=')[0]}= {chance.choice(TOML_VALUES)}"
        elif how < 0.6:
            name = chance.choice(["w0", "epoch", "task", "observe", "geometry", '"a b"'])
            lines.insert(k, f"{name} = {chance.choice(TOML_VALUES)}")
        elif how < 0.7:
            lines.insert(k, chance.choice(["[grid]", "[run]", "[sizes.quick]", "[[grid]]", "[a.b]", "]", "=", "\x01"]))
        elif how < 0.8:
            del lines[k]
        elif lines[k]:
            place = chance.randrange(len(lines[k]))
            lines[k] = lines[k][:place] + chance.choice("\"'[]{}=#,.\\0x\n") + lines[k][place + 1 :]
        if not lines:
            lines = [""]
    return "\n".join(lines)


def ends(words: list[str], capsys: Any) -> str:
    """How a command ends; fails unless it ends as commands should."""
    what = repr(words)[:600]
    signal.alarm(100)
    try:
        main(words)
        status: Any = 0
    except SystemExit as stop:
        status = 0 if stop.code is None else stop.code
    except HungError:
        pytest.fail(f"{what} did not end")
    except BaseException as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    finally:
        signal.alarm(0)
    said = capsys.readouterr().err
    assert status in (0, 2), f"{what}: exit {status}: {said[-600:]}"
    assert "Traceback" not in said, what
    assert "unexpected" not in said, f"{what}: {said[-600:]}"
    if status == 2:
        assert said.strip(), f"{what} says nothing"
    return "answered" if status == 0 else "refused"


def many_lines(count: int, seed: int, folder: Path, capsys: Any) -> Counter[str]:
    chance = random.Random(seed)
    return Counter(ends(line(chance, folder), capsys) for _ in range(count))


def many_files(count: int, seed: int, folder: Path, capsys: Any) -> Counter[str]:
    chance, found = random.Random(seed), Counter()
    file = folder / "own.toml"
    for _ in range(count):
        text = toml(chance)
        file.write_bytes(text.encode() if chance.random() < 0.97 else b"\xff" + text.encode())
        try:
            found[ends(["sweep", str(file), "--plan", "--runs", str(folder / "none")], capsys)] += 1
        except (AssertionError, pytest.fail.Exception) as error:
            raise AssertionError(f"{error}\n{text[:1500]}") from error
    return found


@pytest.mark.parametrize("count", [25, pytest.param(500, marks=pytest.mark.slow)])
def test_random_command_lines(count: int, runs_folder: Path, capsys: Any) -> None:
    found = many_lines(count, count, runs_folder, capsys)
    with capsys.disabled():
        print(dict(found))
    assert found["refused"] > 0.3 * count


@pytest.mark.parametrize("count", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_random_files(count: int, tmp_path: Path, capsys: Any) -> None:
    found = many_files(count, count, tmp_path, capsys)
    with capsys.disabled():
        print(dict(found))
    assert found["refused"] > 0.3 * count
