"""The Fisher diagonal of a network of your own and the plot of its spectrum."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from grokfast.fisher import fisher_diag


def main(path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 10))
    data = DataLoader(TensorDataset(torch.randn(500, 1, 8, 8), torch.randint(0, 10, (500,))), batch_size=100)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(20):
        for x, y in data:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()

    fisher = fisher_diag(model, data)  # exact, softmax; labels in the batches are not needed
    print(fisher.plan)
    for name, entries in fisher.items():
        values = entries.flatten().sort(descending=True).values
        plt.loglog(range(1, len(values) + 1), values.clamp_min(1e-12), label=name)
    spectrum = fisher.flat().sort(descending=True).values
    plt.loglog(range(1, len(spectrum) + 1), spectrum.clamp_min(1e-12), color="black", label="all")
    plt.xlabel("rank")
    plt.ylabel("Fisher diagonal, squared nats")
    plt.legend(frameon=False)
    plt.savefig(path, dpi=150, bbox_inches="tight")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "fisher_spectrum.png"))
