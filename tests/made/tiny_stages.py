"""A reproduction of seconds: the paper's studies on tiny tasks. Run as a script it reproduces into a folder."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import patch

from grokfast import Ising, ModularAddition, RunConfig
from grokfast.reproduce import Reproduced, Stage, reproduce
from grokfast.sweep import Carried

COMMAND = "grokfast reproduce --size quick"


def tiny_stages() -> list[Stage]:
    """Both tasks, two scales and two seeds, with all looks."""
    addition = ModularAddition(P=7, hidden=(16,), train_fraction=0.8)
    phases = Ising(L=8, temperatures=6, snapshots=40, sweeps=10, train_size=40, test_size=60, hidden=(9,))
    looks = {"feature_schedule": "log:6", "compressibility_schedule": "log:4"}
    geometry = {"geometry": "logit-8+softmax-all", "geometry_stiff": 0.1, "geometry_schedule": "every:5"}
    first = tuple(
        RunConfig(task=addition, w0=w0, seed=seed, epochs=60, **looks, **geometry)
        for w0 in (0.5, 8.0)
        for seed in (0, 1)
    )
    second = tuple(
        RunConfig(task=phases, w0=w0, seed=seed, epochs=60, learning_rate=5e-3, test_schedule="every:3", **looks)
        for w0 in (1.0, 4.0)
        for seed in (0, 1)
    )
    keys = [tuple(config.key for config in configs) for configs in (first, second)]
    main = dict.fromkeys(("main-text", "main-text-ends", "main-text-dynamics", "geometry-diagonal"), keys[0])
    return [
        Stage("main-text", first, main, True),
        Stage("ising", second, {"ising": keys[1], "ising-ends": keys[1]}, True),
    ]


FEW = ("fig02a", "fig02b", "fig04", "fig05c", "fig06", "fig07", "fig15", "fig20", "fig22", "fig32")
"""Figures on the page: one of each kind, so that it is made in seconds."""


def run_tiny(folder: Path, workers: int = 2) -> Reproduced:
    """Reproduce into a folder, or go on there."""
    carried = Carried(workers=workers, save_every=0.2)
    with patch("grokfast.report.page.content.PAPERS", FEW):
        return reproduce(tiny_stages(), folder, "quick", COMMAND, carried, lambda kind, details: None)


if __name__ == "__main__":
    print(run_tiny(Path(sys.argv[1])).page)
