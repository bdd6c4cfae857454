"""Tiny tasks of each kind, and stacks of their untrained networks as measures look at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from grokfast import Ising, ModularAddition
from grokfast.models import stack_members
from grokfast.observe import Snapshot
from grokfast.tasks import Loss, NetworkTask

ADDITION = ModularAddition(P=7, hidden=(10,))
ISING = Ising(L=4, channels=(2,), hidden=(6,), temperatures=4, snapshots=60, sweeps=5, train_size=20, test_size=60)


@dataclass(frozen=True)
class Stable(NetworkTask):
    """Two classes by StableMax."""

    name: ClassVar[str] = "stable"
    loss: ClassVar[Loss] = Loss.STABLEMAX

    def data(self):
        x = torch.linspace(-1, 1, 20)[:, None]
        return x, (x[:, 0] > 0).long()

    def module(self):
        return nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 2))


@dataclass(frozen=True)
class Line(NetworkTask):
    """A regression with one hidden layer."""

    name: ClassVar[str] = "line"
    loss: ClassVar[Loss] = Loss.MEAN_SQUARED_ERROR

    def data(self):
        x = torch.linspace(-1, 1, 20)[:, None]
        return x, x**2

    def module(self):
        return nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))


def snapshot(task, seeds=(0, 1), w0=1.0, dtype=torch.float64):
    params = stack_members([task.initial(seed, w0, dtype) for seed in seeds])
    return Snapshot(1, task, params, [task.split(seed) for seed in seeds])
