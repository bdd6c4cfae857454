"""Code blocks of README and of the pages, as they are written: Python is run, of commands every option is read.

Pages whose name begins with ``own-`` are typed whole, commands included, by the tests in ``outside``.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
import tyro
from torch.nn import functional

from grokfast import Ising, ModularAddition, RunConfig, train_runs
from grokfast.cli import main
from grokfast.figures import find_figure
from grokfast.report import REPORTS
from grokfast.studies import find_study

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    page.relative_to(ROOT).as_posix(): page.read_text()
    for page in sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
    if "api" not in page.parts and "tutorials" not in page.parts
}
WITH_PYTHON = [name for name, text in PAGES.items() if "```python" in text and "/own-" not in name]
WITH_COMMANDS = [name for name, text in PAGES.items() if "```sh" in text and name != "CONTRIBUTING.md"]

SHORTER = {
    "P=59, hidden=(256,)": "P=7, hidden=(12,)",
    "ModularAddition(P=31)": "ModularAddition(P=7, hidden=(12,))",
    "epochs=200": "epochs=12",
    "log:20": "log:5",
    "replicas=1024": "replicas=64",
    "replicas=1000": "replicas=64",
    ".sweep(2000)": ".sweep(50)",
    "RunConfig(w0=w0, seed=seed)": "RunConfig(task=__import__('grokfast').ModularAddition(P=5, hidden=(6,)), "
    "w0=w0, seed=seed, epochs=3)",
    "range(5)": "range(2)",
    "L=16, sweeps=100": "L=16, temperatures=10, snapshots=140, sweeps=2",
    'data_file="mine.safetensors"), w0=10': 'data_file="mine.safetensors"), w0=10, epochs=6',
    "rho=0.1)": "rho=0.1, sampling=short)",
    "sampling=how.sampling": "sampling=short",
}
"""What makes a block of minutes one of a second; the slow tests run them as they are."""


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs that pages speak of, as small as they can be."""
    folder = tmp_path_factory.mktemp("reader")
    modular, ising = ModularAddition(P=7, hidden=(12,), train_fraction=0.5), Ising(L=8, channels=(2, 4), hidden=(16,))
    shared = {"epochs": 6, "geometry": "logit-16+softmax-all", "geometry_stiff": 0.1}
    configs = [RunConfig(task=modular, w0=w0, **shared) for w0 in (0.1, 10.0)]
    train_runs(configs, folder / "runs")
    train_runs([RunConfig(task=ising, w0=w0, epochs=2) for w0 in (1.0, 10.0)], folder / "runs")
    train_runs(configs, folder / "runs-geometry")
    return folder


def _names(page: str) -> dict[str, Any]:
    """What a reader is said to have: a network, inputs, batches of them, logits."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    inputs = torch.randn(32, 4)
    targets = model(inputs).argmax(1)

    def accuracy(module: torch.nn.Module) -> float:
        return float((module(inputs).argmax(1) == targets).double().mean())

    def train_one_epoch(module: torch.nn.Module) -> None:
        loss = functional.cross_entropy(module(inputs), targets)
        for parameter, step in zip(
            module.parameters(), torch.autograd.grad(loss, list(module.parameters())), strict=True
        ):
            parameter.data -= 0.1 * step

    return {
        "__name__": "__main__",
        "torch": torch,
        "model": model,
        "inputs": inputs,
        "loader": [(inputs, targets)],
        "accuracy": accuracy,
        "train_one_epoch": train_one_epoch,
        "epochs": 3,
        **{name: make() for name, make in _OF_PAGES.get(Path(page).stem, {}).items()},
    }


def _product() -> Callable[[torch.Tensor], torch.Tensor]:
    matrix = torch.diag(torch.arange(1.0, 9.0).double())
    return lambda vector: matrix @ vector


_OF_PAGES: dict[str, dict[str, Callable[[], Any]]] = {
    "cka": {
        "x_hidden": lambda: torch.randn(30, 5),
        "y_hidden": lambda: torch.randn(30, 4),
        "batches": lambda: [(torch.randn(10, 5), torch.randn(10, 4)) for _ in range(3)],
    },
    "effective-rank": {"hidden": lambda: torch.randn(30, 5)},
    "flatness": {"product": _product, "size": lambda: 8},
    "logit-scale": {"logits": lambda: torch.randn(30, 5), "labels": lambda: torch.arange(30) % 5},
    "mutual-information": {
        "x": lambda: torch.randn(60).double(),
        "y": lambda: torch.randn(60).double(),
        "labels": lambda: torch.arange(60) % 3,
        "r": lambda: torch.tensor(0.5),
    },
    "progress": {"logits": lambda: torch.randn(2, 7, 7, 7), "train": lambda: torch.rand(2, 7, 7) < 0.5},
    "llc": {"short": lambda: _short()},
}


def _short() -> Any:
    from grokfast.learning_coefficient import Mala

    return Mala(chains=2, warmup=5, steps=10, most=10)


@contextlib.contextmanager
def _reading(folder: Path) -> Iterator[None]:
    with contextlib.chdir(folder), mpl.rc_context({"backend": "agg"}):
        yield


def _type(page: str, folder: Path, shorter: dict[str, str]) -> None:
    """All blocks of a page, in one session; pages of measures begin with the block that all of them share."""
    names = _names(page)
    first = blocks("docs/measures.md", "python") if page.startswith("docs/measures/") else []
    given = _OF_PAGES.get(Path(page).stem, {})
    with _reading(folder):
        for text in [*first, *blocks(page, "python")]:
            for long, short in shorter.items():
                text = text.replace(long, short)
            exec(compile(text, page, "exec"), names)
            if text in first:
                names |= {name: make() for name, make in given.items()}


@pytest.fixture
def only_short_runs(monkeypatch):
    """Tells a block whose training takes minutes (100,000 epochs of Ising do) instead of waiting for it."""

    def training(configs: Any, *rest: Any, **options: Any) -> Any:
        longest = max(config.epochs for config in configs)
        assert longest <= 200, f"a block trains {longest} epochs: say in SHORTER how it takes seconds"
        return train_runs(configs, *rest, **options)

    monkeypatch.setattr("grokfast.train_runs", training)


@pytest.mark.parametrize("page", [page for page in WITH_PYTHON if page != "docs/sweeps.md"])
@pytest.mark.filterwarnings("ignore::grokfast.ising.UnreliableErrorWarning")
def test_python(page, runs, tmp_path, capsys, only_short_runs):
    for name in ("runs", "runs-geometry"):
        if "train_runs(" not in PAGES[page]:
            (tmp_path / name).symlink_to(runs / name)
    _type(page, tmp_path, SHORTER)


def test_a_script_that_starts_workers(tmp_path):
    (text,) = blocks("docs/sweeps.md", "python")
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    (tmp_path / "by_hand.py").write_text(text)
    done = subprocess.run([sys.executable, "by_hand.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "6 trained" in done.stdout


def _commands(page: str, folder: Path) -> list[list[str]]:
    """What a shell makes of a page's blocks: every call of grokfast, loops and quotes included."""
    stub = 'grokfast() { printf "%s\\0" "$@"; printf "\\n\\0"; }; pip() { :; }; pytest() { :; }; python() { :; };'
    stub += " sphinx-build() { :; };"
    found: list[list[str]] = []
    for text in blocks(page, "sh"):
        done = subprocess.run(["bash", "-euc", stub + text], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{page}: {done.stderr}"
        words = done.stdout.split("\0")[:-1]
        while "\n" in words:
            found.append(words[: words.index("\n")])
            words = words[words.index("\n") + 1 :]
    return found


@pytest.fixture
def only_read(monkeypatch, tmp_path):
    """Commands read their options and do nothing; files that pages have written lie in the folder."""
    read: list[Any] = []
    real = tyro.cli

    def reading(target: Any, **options: Any) -> Any:
        if isinstance(target, type):
            return real(target, **options)
        return real(functools.wraps(target)(lambda *a, **k: read.append((a, k))), **options)

    monkeypatch.setattr(tyro, "cli", reading)
    monkeypatch.setattr("grokfast.cli.train.train", lambda task, options: read.append((task, options)))
    for page in ("own-task", "own-measure"):
        for text in blocks(f"docs/{page}.md", "python"):
            if named := re.match(r"# (\w+\.py)\n", text):
                (tmp_path / named[1]).write_text(text)
    (tmp_path / "my_figures.py").write_text(blocks("docs/own-figure.md", "python")[0])
    (tmp_path / "product.toml").write_text(blocks("docs/own-task.md", "toml")[0])
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return read


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_commands(page, only_read, tmp_path):
    commands = _commands(page, tmp_path)
    for command in commands:
        before = len(only_read)
        with contextlib.suppress(SystemExit):
            main(command)
        assert len(only_read) == before + 1, f"{page}: grokfast {' '.join(command)} is not understood"
        name, *rest = command
        if name == "figure" and rest and not rest[0].startswith("-") and rest[0] != "all":
            find_figure(rest[0])
        if name == "sweep" and rest:
            find_study(rest[0])
        if name == "report" and rest:
            assert rest[0] in {*REPORTS, "all"}
    asked = sum(line.strip().startswith("grokfast ") for text in blocks(page, "sh") for line in text.splitlines())
    assert len(commands) >= asked


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/ising.md"])
def test_the_first_sampler_of_a_page_has_errors_to_be_trusted(page, capsys):
    """As it is written, in a second: a newcomer's first lines end without a warning."""
    text = next(text for text in blocks(page, "python") if "IsingSampler(" in text)
    names = {"__name__": "__main__"}
    exec(compile(text, page, "exec"), names)
    measured = names.get("measured") or names["sampler"].measure(100, every=5)
    assert all((trust.status == "reliable").all() for name, trust in measured.trust.items() if name != "magnetization")


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/notebooks.md", "docs/runs.md", "docs/ising.md"])
def test_python_at_its_own_length(page, tmp_path, capsys):
    _type(page, tmp_path, {})
    if page == "README.md":
        shown = re.search(r"^```\n(┌.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL)
        assert shown is not None
        promised = [row.split("│")[1:-1] for row in shown[1].splitlines() if re.match(r"│ +\d", row)]
        printed = [row.split("│")[1:-1] for row in capsys.readouterr().out.splitlines() if re.match(r"│ +\d", row)]
        wanted, found = (np.array(rows, dtype=float) for rows in (promised, printed))
        np.testing.assert_array_equal(found[:, 0], wanted[:, 0])
        # Bits depend on the instruction set: both regimes are there, at about these times.
        np.testing.assert_allclose(found[:, 1:], wanted[:, 1:], rtol=0.2, atol=2)
        assert found[0, 3] < found[0, 1]
        assert found[1, 3] > found[1, 1]


def test_blocks_are_found():
    """The test of the tests."""
    assert len(WITH_PYTHON) > 35
    assert sum(len(blocks(page, "python")) for page in WITH_PYTHON) > 45
    assert len(WITH_COMMANDS) > 40


def test_every_field_of_a_named_tuple_is_described():
    """The API reference has no "Alias for field number 0": fields stand among the attributes of their class."""
    sys.path.insert(0, str(ROOT / "docs" / "_ext"))
    try:
        pages = importlib.import_module("api_pages")
    finally:
        sys.path.pop(0)
    values = {
        value
        for module in pages.MODULES.values()
        for value in (getattr(importlib.import_module(module), name) for name in pages.public_names(module))
        if isinstance(value, type) and issubclass(value, tuple)
    }
    assert len(values) > 5
    for value in values:
        text = inspect.getdoc(value)
        assert "Attributes:" in text, value
        for field in value._fields:
            assert re.search(rf"^    {field}: \S", text, re.MULTILINE), f"{value.__name__}.{field}"
