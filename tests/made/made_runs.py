"""Stores of made-up runs: every number is another one, so that what is swapped, dropped or averaged wrongly shows."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from grokfast import Ising, ModularAddition, RunConfig
from grokfast.store import Store, derived
from grokfast.training import run_record

EPOCHS = 24
LOOKS = np.array([1, 3, 8, 24])
STEPS = np.arange(1, 20, 2)
FRACTIONS = np.linspace(0, 1, 6)
METRICS = ("logit-16", "softmax-all")
LAYERS = ("conv1", "channels1", "conv2", "channels2", "hidden", "output")
QUANTITIES = ("energy", "magnetization", "abs_magnetization")
SCHEMES = (
    *("layerwise", "global", "global-by-norm", "random"),
    *(f"fisher-{scheme}-{fisher}" for scheme in ("global", "layerwise") for fisher in ("softmax", "logit")),
)

MODULAR = ModularAddition(P=7, hidden=(6,), train_fraction=0.8)
ISING = Ising(L=8, temperatures=6, snapshots=40, train_size=40, test_size=60, hidden=(5,))
GEOMETRY = {"geometry": "+".join(METRICS), "geometry_stiff": 0.1, "geometry_schedule": "every:2"}


class Made:
    """One made-up run: what was written is kept here, for tests to compute from."""

    def __init__(self, config: RunConfig, summary: Mapping[str, Any], history: Mapping[str, Any], arrays: Any) -> None:
        self.config, self.key = config, config.key
        self.summary, self.history, self.arrays = dict(summary), dict(history), dict(arrays)
        self.scalars: dict[str, float] = {}
        self.curves: dict[str, dict[str, Any]] = {}
        self.checkpoint: dict[str, Any] = {}

    def seen(self, name: str) -> tuple[Any, Any]:
        values = self.history[name]
        known = ~np.isnan(values)
        return np.arange(1, len(values) + 1)[known], values[known]

    def publish(self, store: Store, **record: Any) -> None:
        checkpoints = {f"{self.config.epochs}/{name}": values for name, values in self.checkpoint.items()}
        store.publish(
            self.key,
            run_record(self.config, summary=self.summary, **record),
            {"epoch": np.arange(1, self.config.epochs + 1), **self.history},
            {"arrays": self.arrays, "checkpoints": checkpoints},
        )
        for name, value in self.scalars.items():
            derived(store, self.key, f"measure-{name}", "1", lambda name=name, value=value: {name: np.float64(value)})
        for name, curve in self.curves.items():
            derived(store, self.key, f"pruning-{name}", "1", lambda curve=curve: curve)


def numbers(config: RunConfig) -> np.random.Generator:
    """A stream of its own for each run."""
    return np.random.default_rng(zlib.crc32(config.key.encode()))


def sparse(rng: np.random.Generator, at: np.ndarray, low: float = 0.1, high: float = 0.9) -> np.ndarray:
    values = np.full(EPOCHS, np.nan)
    values[at - 1] = rng.uniform(low, high, len(at))
    return values


def _common(config: RunConfig) -> Made:
    rng = numbers(config)
    history = {
        **{f"{split}_accuracy": rng.uniform(0.2, 1, EPOCHS) for split in ("train", "test")},
        **{f"{split}_loss": rng.uniform(0.01, 2, EPOCHS) for split in ("train", "test")},
        "compressibility": sparse(rng, LOOKS, 2, 9),
    }
    for metric in ("euclidean", *(name.replace("-", "_") for name in METRICS)):
        for part in ("",) if metric == "euclidean" else ("", "stiff_", "sloppy_"):
            for what in ("length", "cosine", "origin"):
                low, high = (0.1, 5) if what == "length" else (-1, 1)
                history[f"geometry_{metric}_{part}{what}"] = sparse(rng, STEPS, low, high)
    summary = {
        **{f"end_{name}": history[name][-1] for name in history if name.endswith(("loss", "accuracy"))},
        **{"t_train": int(rng.integers(2, 9)), "t_test": int(rng.integers(12, 22))},
        "compressibility": float(history["compressibility"][-1]),
        "size_at_5_percent_drop": rng.uniform(),
        "groks": config.w0 > 1,
        **{f"stiff_share_{metric.replace('-', '_')}": rng.uniform() for metric in METRICS},
    }
    summary["t_grok"] = summary["t_test"] - summary["t_train"]
    summary["end_test_accuracy"] = 0.7 * summary["end_train_accuracy"]
    arrays = {
        "pruning_fractions": FRACTIONS,
        "pruning_accuracy": rng.uniform(0.1, 1, len(FRACTIONS)),
        "spectrum_ranks": np.array([0, 2, 5, 9]),
        **{f"spectrum_{m.replace('-', '_')}": np.append(np.sort(rng.uniform(0.01, 2, 3))[::-1], 0.0) for m in METRICS},
    }
    made = Made(config, summary, history, arrays)
    ginis = ("weights", "parameters", "fisher", "fisher_weights", "fisher_logit", "fisher_logit_weights")
    made.scalars = {f"gini_{name}": rng.uniform() for name in ginis}
    layers = ("0", "2") if config.task.name == "modular-addition" else ("0", "3", "7", "9")
    layered = [f"{scheme}-layer-{layer}" for scheme in ("layerwise", "fisher-layerwise-softmax") for layer in layers]
    made.curves = {
        name: {"fractions": FRACTIONS, "accuracy": rng.uniform(size=6), "loss": rng.uniform(0.1, 3, 6)}
        for name in (*SCHEMES, *layered)
    }
    with_shapes = config.task.module().state_dict()
    made.checkpoint = {name: rng.normal(size=tuple(t.shape)).astype("float32") for name, t in with_shapes.items()}
    return made


def modular(config: RunConfig) -> Made:
    made, rng = _common(config), numbers(config)
    for name in ("ipr_output", "ipr_input", "ipr_input_separate"):
        made.history[name] = sparse(rng, LOOKS)
        made.summary[name] = float(made.history[name][-1])
    made.summary["dead_output"] = 1
    made.arrays["ipr_output"] = np.append(rng.uniform(0.1, 0.9, 5), np.nan)
    return made


def ising(config: RunConfig) -> Made:
    made, rng = _common(config), numbers(config)
    for layer in LAYERS:
        for reading in ("weighted", "mean", "led", "share"):
            for quantity in QUANTITIES:
                name = f"{layer}_{reading}_{quantity}"
                made.history[name] = sparse(rng, LOOKS)
                made.summary[name] = float(made.history[name][-1])
        made.arrays[f"r_{layer}"] = rng.uniform(-1, 1, (4, 3))
    made.arrays["r_hidden"][1] = np.nan
    made.arrays |= {"energy": rng.normal(size=9), "strongest": rng.normal(size=9)}
    return made


def main_store(folder: Path, addition: ModularAddition = MODULAR, phases: Ising = ISING, **fields: Any) -> list[Made]:
    """Both tasks at one setting each: modular addition at w0 0.5, 2 and 8 and two seeds, Ising at 1 and 4 and three.

    Args:
        folder: The store.
        addition: Modular addition of which size.
        phases: Ising of which size.
        fields: Further fields of the runs of modular addition.
    """
    shared = {"epochs": EPOCHS, **GEOMETRY}
    runs = [modular(RunConfig(task=addition, w0=w0, seed=k, **shared, **fields)) for w0 in (0.5, 2, 8) for k in (0, 1)]
    runs += [ising(RunConfig(task=phases, w0=w0, seed=k, **shared)) for w0 in (1, 4) for k in (0, 1, 2)]
    for run in reversed(runs):  # the order in which they are stored is not that of w0 and seed
        run.publish(Store(folder))
    return runs
