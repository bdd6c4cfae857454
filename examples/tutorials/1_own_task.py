"""
A task of your own
==================

A task is its data and any ``nn.Module``. Everything else works on it: stacked training, the store, pruning, figures.
"""

# %%
# All pairs (a, b) with the label a - 2 b mod P. ``data()`` gives every sample, :class:`~grokfast.tasks.NetworkTask`
# splits them by the run's seed, and fields of the dataclass are what distinguishes runs.
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from grokfast import NetworkTask, RunConfig, register_task, train_runs


@register_task
@dataclass(frozen=True)
class Twisted(NetworkTask):
    """Pairs of residues with the label a - 2 b mod P.

    Args:
        P: The modulus.
    """

    name: ClassVar[str] = "twisted"
    title: ClassVar[str] = "twisted differences"
    P: int = 41

    def data(self):
        pairs = torch.cartesian_prod(torch.arange(self.P), torch.arange(self.P))
        labels = (pairs[:, 0] - 2 * pairs[:, 1]) % self.P
        return nn.functional.one_hot(pairs, self.P).flatten(1).float(), labels

    def module(self):
        return nn.Sequential(nn.Linear(2 * self.P, 160), nn.ReLU(), nn.Linear(160, self.P))


# %%
# Four runs: two scales of the initial weights, two seeds, trained in one stack. A run that the folder holds is not
# trained again.
configs = [
    RunConfig(task=Twisted(train_fraction=0.8), w0=w0, seed=seed, epochs=200, learning_rate=5e-3, weight_decay=1e-3)
    for w0 in (0.5, 4.0)
    for seed in (0, 1)
]
table = train_runs(configs, "runs-own-task")
table

# %%
# Large initial weights memorise first: train accuracy (dashed) is there long before test accuracy (solid).
table.plot("training")

# %%
# Each stored run is an ordinary module again, with its data.
run = next(iter(table))
split = run.data()
outputs = run.model()(run.config.task.encode(split.test_inputs, torch.float32))
print(f"{(outputs.argmax(1) == split.test_labels).float().mean():.3f}", run.history["test_accuracy"][-1])

# %%
# And how much of it can be pruned:
table.plot("pruning")
