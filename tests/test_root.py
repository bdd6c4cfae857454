"""What importing costs, and what happens where the checkout hides the installed package."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import grokfast
from grokfast.cli import COMMANDS, main

HEAVY = ("torch", "scipy", "numba", "distributed", "dask", "duckdb", "matplotlib", "tyro", "pandas")


def _modules(code: str, tmp_path: Path) -> set[str]:
    asked = f"import sys\n{code}\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], cwd=tmp_path, capture_output=True, text=True, check=True)
    return set(ast.literal_eval(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        ("import grokfast", set()),
        ("from grokfast.cli import overview; overview()", set()),
        ("import grokfast; grokfast.fisher_diag", {"torch"}),
        ("import grokfast; grokfast.Trajectory", {"torch"}),
        ("import grokfast; grokfast.Column", {"torch"}),
    ],
)
def test_only_what_is_used_is_imported(code, loaded, tmp_path):
    assert _modules(code, tmp_path) == loaded


@pytest.mark.parametrize("name", ["IsingSampler", "load", "RunConfig", "train_runs", "measure_pruning"])
def test_figures_and_clusters_wait_until_they_are_used(name, tmp_path):
    assert not _modules(f"import grokfast; grokfast.{name}", tmp_path) & {"matplotlib", "distributed", "dask", "pandas"}


def test_every_public_name_is_there_and_documented():
    assert grokfast.__all__ == sorted(set(grokfast.__all__))
    for name in grokfast.__all__:
        found = getattr(grokfast, name)
        assert found.__doc__, name
    assert set(grokfast.__all__) <= set(dir(grokfast))
    with pytest.raises(AttributeError, match="no attribute 'fisher_diagg'"):
        _ = grokfast.fisher_diagg


def test_editors_are_told_of_the_same_names():
    tree = ast.parse(Path(grokfast.__file__).read_text())
    told = {
        (node.module, name.name): name.asname
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert sorted(told.values()) == grokfast.__all__
    for (module, name), alias in told.items():
        assert name == alias
        assert getattr(importlib.import_module(module), name) is getattr(grokfast, name)
    assert (Path(grokfast.__file__).parent / "py.typed").is_file()


def test_the_checkout_says_that_it_hides_the_installed_package(tmp_path):
    (tmp_path / "csrc").mkdir()
    (tmp_path / "grokfast").mkdir()
    (tmp_path / "grokfast" / "__init__.py").write_text(Path(grokfast.__file__).read_text())
    done = subprocess.run(
        [sys.executable, "-c", "import grokfast"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "ImportError: this is the source folder" in done.stderr
    assert "run from another folder" in done.stderr


def _run(arguments: list[str], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "grokfast", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )


def test_as_a_module(tmp_path):
    for arguments in ([], ["--help"], ["-h"]):
        done = _run(arguments, tmp_path)
        assert done.returncode == 0
        for name, command in COMMANDS.items():
            assert f"  {name}" in done.stdout
            assert command.help in done.stdout
    assert _run(["--version"], tmp_path).stdout.startswith("grokfast 0.")
    wrong = _run(["trian"], tmp_path)
    assert wrong.returncode == 2
    assert "no command 'trian'; did you mean 'train'" in wrong.stderr
    assert _run(["runs", "--runs", ""], tmp_path).returncode == 2


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_a_help(name, capsys):
    if name == "train":
        main([name, "--help"])
    else:
        with pytest.raises(SystemExit) as stop:
            main([name, "--help"])
        assert stop.value.code == 0
    assert f"usage: grokfast {name}" in capsys.readouterr().out


def test_an_unexpected_error_is_one_line_and_a_file(monkeypatch, capsys, tmp_path):
    names: dict = {}
    exec("def broken(arguments): raise RuntimeError('a bug\\nof two lines')", names)  # from no file of anybody's
    monkeypatch.setattr("grokfast.cli.doctor.main", names["broken"])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as stop:
        main(["doctor"])
    assert stop.value.code == 70
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("grokfast: unexpected error: RuntimeError: a bug; this is a bug: please report it")
    (file,) = tmp_path.iterdir()
    assert str(file) in line
    assert "Traceback" in file.read_text()


def test_an_error_in_a_file_of_the_user_s_names_its_line(tmp_path):
    (tmp_path / "theirs.py").write_text(
        "from dataclasses import dataclass\n"
        "from grokfast.tasks import NetworkTask, register_task\n"
        "@register_task\n"
        "@dataclass(frozen=True)\n"
        "class Broken(NetworkTask):\n"
        "    'A task.'\n"
        "    name = 'broken'\n"
        "    def data(self):\n"
        "        return {}['x']\n"
    )
    done = _run(["train", "theirs:Broken", "--epochs", "1"], tmp_path)
    assert done.returncode == 70
    line = done.stderr.splitlines()[-1]
    assert line.startswith(f"grokfast: error in {tmp_path / 'theirs.py'}, line 9, in data: KeyError: 'x'; ")
    assert "the whole traceback is in " in line


def test_completion(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--completion", "bash"])
    assert not stop.value.code
    script = capsys.readouterr().out
    for word in ("sweep", "--retry-failed", "modular-addition", "--weight-decay"):
        assert word in script
    with pytest.raises(SystemExit) as stop:
        main(["--completion", "fish-and-chips"])
    assert stop.value.code == 2
