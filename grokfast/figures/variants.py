"""Runs by how they were trained: optimiser, weight decay, label noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from grokfast.figures.grouping import having
from grokfast.figures.kept import still_rising
from grokfast.runs import Run

METRICS = {"logit_16": "logit Fisher", "softmax_all": "softmax Fisher"}
"""Metrics and what they are called."""


def variants_of(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs by how they were trained, in words; those without any are left out."""
    plain = having(runs, loss="cross-entropy")
    adam = having(plain, optimizer="adam", precision="float32")
    found = {
        "Adam, L2 decay": [run for run in having(adam, noise=0.0) if run.record["config"]["weight_decay"] > 0],
        "AdamW": having(plain, optimizer="adamw"),
        "no decay": having(adam, weight_decay=0.0),
        "no decay, float64": having(plain, weight_decay=0.0, precision="float64"),
        "no decay, StableMax": having(runs, loss="stablemax"),
        "SGD, L2 decay": having(plain, optimizer="sgd"),
        "10 % label noise": having(adam, noise=0.1),
    }
    return {name: members for name, members in found.items() if members}


def plateau_of(run: Run) -> tuple[int, int] | None:
    """From t_train to t_test; None if test accuracy does not follow later, or still rises at the end."""
    if still_rising(run):
        return None
    first, last = run.summary.get("t_train"), run.summary.get("t_test")
    return (int(first), int(last)) if first is not None and last is not None and last > first else None


def looked(run: Run, column: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Epochs and values of a column of the history, where there is a value."""
    epochs, values = run.seen(column)
    return np.asarray(epochs, np.float64), np.asarray(values, np.float64)
