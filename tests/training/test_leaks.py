"""Training again and again takes no more memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from grokfast.tasks import ModularAddition
from grokfast.training import RunConfig, train_runs


@pytest.mark.parametrize("count", [30, pytest.param(1000, marks=pytest.mark.slow)])
def test_no_training_keeps_memory(tmp_path: Path, resident: Callable[[], int], count: int) -> None:
    config = RunConfig(task=ModularAddition(P=5, hidden=(8,)), epochs=3, batch_size=8, checkpoint_schedule="log:2",
                       geometry="logit-4")  # fmt: skip
    for k in range(count + 10):
        if k == 10:
            before = resident()
        train_runs([config], tmp_path / "runs")
        shutil.rmtree(tmp_path / "runs")
    grown = resident() - before
    print(f"{grown / 2**20:.1f} MiB in {count} trainings")
    assert grown < 5 * 2**20
