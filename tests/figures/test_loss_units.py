"""What a loss is called: by what the runs lower, in figures, claims and the columns of a record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from made_runs import FRACTIONS, Made, RunConfig, numbers

from grokfast import ModularAddition, load, register_task, train_runs
from grokfast.figures import draw
from grokfast.report.claims import CLAIMS, evaluate
from grokfast.store import Store
from grokfast.tasks import NetworkTask

LOSSES = {
    "cross-entropy": "cross entropy [nats]",
    "mean-squared-error": "squared error",
    "stablemax": "stablemax loss [nats]",
    "hinge": "hinge loss",
}


def _store(folder, task):
    for w0 in (0.5, 2.0, 8.0):
        for seed in range(2):
            config = RunConfig(task=task, w0=w0, seed=seed, epochs=12)
            rng = numbers(config)
            history = {
                f"{split}_{what}": rng.uniform(size=12) for split in ("train", "test") for what in ("accuracy", "loss")
            }
            summary = {f"end_{name}": values[-1] for name, values in history.items()}
            summary |= {"compressibility": rng.uniform(2, 9), "groks": w0 > 2, "t_train": 3, "t_test": 9, "t_grok": 6}
            made = Made(config, summary, history, {"pruning_fractions": FRACTIONS})
            made.scalars = {"gini_weights": rng.uniform(), "gini_fisher": rng.uniform()}
            made.publish(Store(folder))
    return load(folder)


@pytest.mark.parametrize(("loss", "words"), LOSSES.items())
def test_labels_by_loss(tmp_path, loss, words):
    table = _store(tmp_path, ModularAddition(P=7, hidden=(6,), train_fraction=0.8, loss=loss))
    assert draw("training", table).axes[1].get_ylabel() == f"{words},\ngeometric mean"
    assert draw("dynamics", table).axes[-1].get_ylabel() in ("", f"{words},\ngeometric mean")
    train, test = draw("losses", table).axes
    assert [axes.get_xlabel().replace("\n", " ") for axes in (train, test)] == [
        f"{split} {words} at the end" for split in ("train", "test")
    ]
    in_nats = "nats" in words
    assert ("per nat" in train.get_title()) == in_nats
    labels = [axes.get_xlabel() for axes in draw("fig15", table).axes[:2]]
    assert labels == [f"{split} loss{' [nats]' if in_nats else ''}" for split in ("train", "test")]
    units = {f.quantity: f.unit for name in ("G2", "C1") for f in evaluate(CLAIMS[name], table).findings}
    assert units["test loss at the end, learning"] == ("nat" if in_nats else "")
    assert units.get("slope of c, below the onset", "1/nat" if in_nats else "") == ("1/nat" if in_nats else "")


@register_task
@dataclass(frozen=True)
class OwnLoss(NetworkTask):
    """Three classes, lowered by a loss of one's own."""

    name: ClassVar[str] = "own-loss"

    def data(self):
        x = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 3))).float()
        return x, x.argmax(1)

    def module(self):
        return torch.nn.Linear(3, 3)

    def loss(self, outputs, labels):
        return (outputs.softmax(-1).gather(-1, labels[:, None])[:, 0] - 1).square()


def test_the_record_has_the_losses_unit(tmp_path):
    tasks = (OwnLoss(), *(ModularAddition(P=5, hidden=(4,), train_fraction=0.8, loss=loss) for loss in LOSSES))
    table = train_runs([RunConfig(task=task, epochs=3 + (task is tasks[0])) for task in tasks], tmp_path)
    for run in table:
        units = {column["name"]: column["unit"] for column in run.record["columns"]}
        loss = run.record["config"]["task"].get("loss")
        expected = "nat" if "nats" in LOSSES.get(loss, "") else ""
        assert [units[name] for name in ("train_loss", "test_loss", "end_train_loss", "end_test_loss")] == [
            expected
        ] * 4
        assert units["t_train"] == "epochs"
    assert draw("training", table, "epochs = 4").axes[1].get_ylabel() == "loss,\ngeometric mean"
