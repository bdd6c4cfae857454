"""Train a small stack with a measure of your own and read it back from the store.

Run it anywhere: ``python examples/own_observer.py`` (half a minute; ``--quick`` for a few seconds).
"""

from __future__ import annotations

import sys
import tempfile

import numpy as np

from grokfast import ModularAddition, Observer, RunConfig, Store, load, train_runs


def weight_norms(snapshot):
    """Euclidean norm of each weight matrix, one value a member."""
    return {
        f"norm_{name.replace('.', '_')}": tensor.flatten(1).norm(dim=1)
        for name, tensor in snapshot.params.items()
        if name.endswith("weight")
    }


def main() -> None:
    epochs = 60 if "--quick" in sys.argv else 400
    task = ModularAddition(P=31, hidden=(128,))
    configs = [
        RunConfig(task=task, w0=w0, seed=seed, epochs=epochs, weight_decay=1e-3) for w0 in (0.5, 8.0) for seed in (0, 1)
    ]
    with tempfile.TemporaryDirectory() as folder:
        train_runs(configs, Store(folder), observers=[Observer(weight_norms, "log:8")])
        table = load(folder)
        print(table.sql("SELECT w0, seed, t_train, t_test, end_test_accuracy, compressibility FROM runs"))
        for run in table.where("seed = 0"):
            norm = run.history["norm_0_weight"]
            seen = ~np.isnan(norm)
            path = ", ".join(f"{e}: {n:.1f}" for e, n in zip(run.history["epoch"][seen], norm[seen], strict=True))
            print(f"w0 = {run.config.w0:g}, norm of the first matrix by epoch: {path}")


if __name__ == "__main__":
    main()
