"""A store written by the first version must open for ever."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from grokfast import ModularAddition, RunConfig, Store, load

FORMAT_1 = Path(__file__).with_name("format-1")


def test_a_store_of_format_1_opens(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    shutil.copytree(FORMAT_1, folder)
    table = load(folder)
    assert table.damaged == []
    (run,) = table
    Store(folder).check(run.key)
    task = ModularAddition(P=5, hidden=(8,))
    assert run.config == RunConfig(task=task, epochs=4, batch_size=8, w0=2.0, seed=3, feature_schedule="every:2")
    assert run.history["epoch"].tolist() == [1, 2, 3, 4]
    assert np.isfinite(run.history["ipr_output"]).tolist() == [False, True, False, True]
    assert run.summary["end_train_loss"] == run.history["train_loss"][-1]
    assert run.checkpoint(4)["0.weight"].shape == (8, 10)
    assert run.arrays["pruning_accuracy"].shape == (101,)
