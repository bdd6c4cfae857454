"""Training as a table, with progress on consoles and in notebooks."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from grokfast import ModularAddition, RunConfig, Store, train_runs
from grokfast import progress as progress_module
from grokfast.progress import training_progress
from grokfast.training import train_runs as train_missing

TASK = ModularAddition(P=5, hidden=(6,))


def configs(*w0: float) -> list[RunConfig]:
    return [RunConfig(task=TASK, w0=value, epochs=7) for value in w0]


def test_table_has_the_asked_runs_alone(tmp_path):
    train_missing(configs(3.0), Store(tmp_path))
    table = train_runs(configs(2.0, 1.0), tmp_path)
    assert [row["w0"] for row in table.rows] == [1.0, 2.0]
    again = train_runs(configs(3.0, 1.0), str(tmp_path))
    assert [row["w0"] for row in again.rows] == [1.0, 3.0]


def test_lines_where_there_is_no_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress_module, "_LINE_EVERY", 0.0)
    seen = []
    train_runs(configs(1.0, 2.0), tmp_path, progress=True, on_epoch=lambda state: seen.append(state.epoch))
    lines = re.findall(r"training: (\d+) of 14 member-epochs, about \d+ s left", capsys.readouterr().out)
    assert lines == ["2", "4", "6", "8", "10", "12", "14"]
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    train_runs(configs(1.0, 2.0), tmp_path, progress=True)
    assert capsys.readouterr().out == ""  # all is there: nothing to show


def test_further_looks_are_counted(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress_module, "_LINE_EVERY", 0.0)
    train_runs(configs(1.0), tmp_path)
    (more,) = [RunConfig(task=TASK, w0=1.0, epochs=7, checkpoint_schedule="at:3")]
    train_runs([more], tmp_path, progress=True)
    assert "7 of 7 member-epochs" in capsys.readouterr().out


def test_bar_on_a_terminal():
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100)
    with training_progress(4, console) as bar:
        bar(SimpleNamespace(configs=[1, 2], epoch=1))
        bar(SimpleNamespace(configs=[1, 2], epoch=1))
    assert "4/4 member-epochs" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue())


def test_bar_in_a_notebook(monkeypatch):
    shown = []

    def display(what, *, display_id):
        assert display_id is True
        shown.append(what)
        return SimpleNamespace(update=shown.append)

    monkeypatch.setattr(progress_module, "_notebook_display", lambda: display)
    monkeypatch.setattr(progress_module, "_SHOWN_EVERY", 0.0)
    with training_progress(4) as bar:
        bar(SimpleNamespace(configs=[1], epoch=1))
        bar(SimpleNamespace(configs=[1, 2, 3], epoch=1))
    assert ["0 of 4" in repr(shown[0]), "1 of 4" in repr(shown[1]), "4 of 4" in repr(shown[2])] == [True] * 3
    assert '<progress value="4" max="4">' in shown[-1]._repr_html_()


@pytest.mark.slow
def test_a_notebook_runs_from_the_first_cell_to_the_last(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    code = [
        "import torch\nfrom torch import nn\n"
        "from grokfast import IsingSampler, ModularAddition, RunConfig, fisher_diag, measure_pruning, train_runs",
        "configs = [RunConfig(task=ModularAddition(P=7, hidden=(12,)), w0=w0, epochs=30) for w0 in (0.5, 4.0)]\n"
        "table = train_runs(configs, 'runs', progress=True, threads=2)",
        "table",
        "table.plot()",
        "run = next(iter(table))\nrun",
        "run.plot()",
        "model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(50, 4)\n"
        "fisher = fisher_diag(model, x)\nfisher",
        "fisher.plan",
        "fisher.plot()",
        "curve = measure_pruning(model, lambda m: 0.5)\ncurve",
        "curve.plot()",
        "sampler = IsingSampler(16, [1.8, 3.0], replicas=40, init='up', seed=0)\nsampler.sweep(300)\nsampler",
        "sampler.measure(50, every=20)",
        "table.df()",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in code])
    client.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [cell.outputs for cell in notebook.cells]
    bars = [output.data["text/html"] for output in outputs[1] if output.output_type == "display_data"]
    assert len(bars) == 1, outputs[1]  # one bar, updated in place
    assert "60 of 60 member-epochs" in bars[0]
    for cell, found in zip(code[2:], outputs[2:], strict=True):
        html = [output.data.get("text/html", "") for output in found if output.output_type == "execute_result"]
        assert len(html) == 1, (cell, found)
        assert html[0].startswith("<"), cell
        if ".plot()" in cell:
            assert "image/png" in html[0], cell
