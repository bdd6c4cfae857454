from __future__ import annotations

import pytest

from grokfast import ModularAddition, RunConfig, train_runs


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """Four trained runs of two scales."""
    task = ModularAddition(P=7, hidden=(12,))
    configs = [RunConfig(task=task, w0=w0, seed=seed, epochs=12) for w0 in (0.5, 4.0) for seed in (0, 1)]
    return train_runs(configs, tmp_path_factory.mktemp("notebook") / "runs")
