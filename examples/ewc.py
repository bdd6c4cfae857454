"""Elastic weight consolidation: a second task is learned without forgetting the first, by one line in the loss."""

from __future__ import annotations

import argparse
import copy

import torch
from torch import nn

from grokfast import fisher_diag


def task(angle: float, n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points in the plane, labelled by the side of a line through the origin at this angle, marked by the task."""
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    y = (x @ torch.tensor([torch.cos(torch.tensor(angle)), torch.sin(torch.tensor(angle))]) > 0).long()
    mark = torch.full((n, 2), 0.0)
    mark[:, int(angle > 0.5)] = 1
    return torch.cat([x, mark], 1), y


def train(model: nn.Module, data: tuple[torch.Tensor, torch.Tensor], steps: int, penalty=lambda: 0.0) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        (nn.functional.cross_entropy(model(data[0]), data[1]) + penalty()).backward()
        optimizer.step()


def accuracy(model: nn.Module, data: tuple[torch.Tensor, torch.Tensor]) -> float:
    return float((model(data[0]).argmax(1) == data[1]).double().mean())


parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true")
steps = 60 if parser.parse_args().quick else 150
torch.manual_seed(0)
first, second = task(0.0, 400, 1), task(1.5, 400, 2)
model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
train(model, first, steps)
fisher = fisher_diag(model, first[0])  # of the first task; of several: fisher + fisher
anchor = {name: p.detach().clone() for name, p in model.named_parameters()}
for weight in (0.0, 100.0):
    learner = copy.deepcopy(model)
    train(learner, second, steps, lambda m=learner, w=weight: w * fisher.penalty(m, anchor))
    print(f"weight {weight:5g}: first task {accuracy(learner, first):.3f}, second {accuracy(learner, second):.3f}")
