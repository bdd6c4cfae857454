"""Merging two models by their Fisher information: each parameter from the one that is surer of it.

theta = (F_a theta_a + F_b theta_b) / (F_a + F_b), Matena and Raffel, arXiv 2111.09832, beside the plain mean.
"""

from __future__ import annotations

import argparse
import copy

import torch
from torch import nn

from grokfast import fisher_diag

parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true")
steps = 60 if parser.parse_args().quick else 300
torch.manual_seed(0)
start = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 2))
truth = torch.randn(8)


def data(kept: slice) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples that show some of the features only."""
    x = torch.zeros(500, 8)
    x[:, kept] = torch.randn(500, len(range(8)[kept]))
    return x, (x @ truth > 0).long()


models, fishers, sets = [], [], [data(slice(0, 5)), data(slice(3, 8))]
for x, y in sets:
    model = copy.deepcopy(start)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    models.append(dict(model.named_parameters()))
    fishers.append(fisher_diag(model, x))


def accuracy(params: dict[str, torch.Tensor]) -> float:
    hits = [(torch.func.functional_call(start, params, x).argmax(1) == y).double().mean() for x, y in sets]
    return float(sum(hits)) / len(hits)


floor = 1e-8 * float((fishers[0] + fishers[1]).flat().max())  # where neither knows anything: the mean
merged = {
    name: sum((f[name] + floor) * m[name].detach() for f, m in zip(fishers, models, strict=True))
    / sum(f[name] + floor for f in fishers)
    for name in models[0]
}
mean = {name: (models[0][name] + models[1][name]).detach() / 2 for name in merged}
print(f"accuracy on both sets: mean of the weights {accuracy(mean):.3f}, by Fisher information {accuracy(merged):.3f}")
