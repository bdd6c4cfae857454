from __future__ import annotations

import importlib.util
import shutil

import numpy as np
import pytest
import torch

from grokfast import load
from grokfast.errors import InputError, StoreError
from grokfast.rows import regime_of


def test_table(runs_folder):
    table = load(runs_folder)
    assert len(table) == 6
    assert [run.config.w0 for run in table] == [0.5, 0.5, 2.0, 2.0, 8.0, 8.0]
    assert {"key", "task", "P", "w0", "seed", "groks", "compressibility", "ipr_output", "status"} <= set(table.columns)
    assert table.damaged == []
    rows = table.sql("SELECT w0, count(*) FROM runs GROUP BY w0 ORDER BY w0").fetchall()
    assert rows == [(0.5, 2), (2.0, 2), (8.0, 2)]


def test_where(runs_folder):
    table = load(runs_folder).where("w0 < 3 AND seed = 1")
    assert [(run.config.w0, run.config.seed) for run in table] == [(0.5, 1), (2.0, 1)]
    assert len(table.where("w0 > 100")) == 0
    with pytest.raises(InputError, match="invalid query"):
        table.where("nothing = 1")
    with pytest.raises(InputError, match="no runs"):
        table.where("w0 > 100").sql("SELECT 1")


@pytest.mark.parametrize("condition", ["", "  "])
def test_an_empty_condition_is_refused(runs_folder, condition):
    with pytest.raises(InputError, match="a condition must be SQL such as"):
        load(runs_folder).where(condition)


def test_an_order_keeps_all_runs(runs_folder):
    table = load(runs_folder)
    with pytest.raises(InputError, match=rf"must keep all {len(table)} runs, but 'w0 LIMIT 1' keeps 1"):
        table.sort("w0 LIMIT 1")


def test_model_answers_as_the_stack_did(runs_folder):
    for run in load(runs_folder):
        model, split = run.model(), run.data()
        assert not model.training
        with torch.no_grad():
            logits = model(run.config.task.encode(split.test_inputs, torch.float32))
        accuracy = (logits.argmax(1) == split.test_labels).double().mean().item()
        assert accuracy == run.summary["end_test_accuracy"] == run.history["test_accuracy"][-1]
        loss = torch.nn.functional.cross_entropy(logits.double(), split.test_labels).item()
        assert loss == pytest.approx(run.summary["end_test_loss"], rel=1e-5)


def test_history_and_arrays(runs_folder):
    run = next(iter(load(runs_folder)))
    assert run.history["epoch"].tolist() == list(range(1, 41))
    assert run.arrays["pruning_accuracy"].shape == (101,)
    assert run.arrays["pruning_accuracy"][0] == run.summary["end_test_accuracy"]
    assert run.arrays["ipr_output"].shape == (16,)
    assert np.nanmean(run.arrays["ipr_output"]) == pytest.approx(run.summary["ipr_output"])
    assert run.checkpoint_epochs == [40]
    assert list(run.checkpoint()) == list(run.config.task.module().state_dict())
    with pytest.raises(InputError, match=r"checkpoints of epochs \[40\], not of 3"):
        run.checkpoint(3)


def test_by_key_prefix(runs_folder):
    table = load(runs_folder)
    key = table.rows[0]["key"]
    assert table[key[:8]].key == key
    with pytest.raises(InputError, match="found 0"):
        table["zzz"]
    with pytest.raises(InputError, match="expected the key of a run, or how it starts, got 0"):
        table[0]


def test_a_damaged_run_is_named_and_the_rest_loads(runs_folder, tmp_path):
    copy = tmp_path / "runs"
    shutil.copytree(runs_folder, copy)
    broken = load(copy).rows[0]["key"]
    (next((copy / broken).glob("v*")) / "run.json").write_text('{"key": "x"}')
    table = load(copy)
    assert len(table) == 5
    assert len(table.damaged) == 1
    assert broken in table.damaged[0]


def test_a_missing_folder(tmp_path):
    with pytest.raises(StoreError, match="not a folder"):
        load(tmp_path / "none")


def test_regime_guards_runs_that_never_generalised():
    base = {"t_train": 5, "groks": True, "end_train_accuracy": 1.0}
    assert regime_of({**base, "end_test_accuracy": 1.0}) == "groks"
    assert regime_of({**base, "end_test_accuracy": 1.0, "groks": False}) == "learns"
    assert regime_of({**base, "end_test_accuracy": 0.1}) == "not generalised"
    # with two classes a guess is right half of the time
    assert regime_of({**base, "end_test_accuracy": 0.7, "chance": 0.5}) == "not generalised"
    assert regime_of({**base, "end_test_accuracy": 0.8, "chance": 0.5}) == "groks"
    assert regime_of({"end_test_accuracy": 0.0, "end_train_accuracy": 0.0}) == "not generalised"


def test_data_frame(runs_folder):
    table = load(runs_folder)
    if importlib.util.find_spec("pandas") is None:
        with pytest.raises(InputError, match="pip install pandas"):
            table.df()
    else:
        assert table.df().shape == (6, len(table.columns))
