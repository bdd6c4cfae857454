"""The five networks of the Fisher benchmarks, and their inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

P = 113


def modular_mlp() -> nn.Module:
    """M1: the modular-addition network, 174,193 parameters."""
    net = nn.Sequential(nn.Linear(2 * P, 512), nn.ReLU(), nn.Linear(512, P))
    for layer in (net[0], net[2]):
        nn.init.xavier_normal_(layer.weight)
    return net


def ising_cnn() -> nn.Module:
    """M2: the Ising network, 6,798 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 2),
    )  # fmt: skip


def digits_cnn() -> nn.Module:
    """M3: 32, 64 and 64 channels on 1 x 28 x 28, 10 classes."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 49, 10),
    )  # fmt: skip


class Transformer(nn.Module):
    """M4: the one-layer transformer of the grokking literature (d_model 128, 4 heads, d_mlp 512, 3 tokens)."""

    def __init__(self, tokens: int = P + 1, classes: int = P, width: int = 128, heads: int = 4, mlp: int = 512) -> None:
        super().__init__()
        self.heads = heads
        self.embed = nn.Embedding(tokens, width)
        self.position = nn.Parameter(torch.randn(3, width) / width**0.5)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.up, self.down = nn.Linear(width, mlp), nn.Linear(mlp, width)
        self.unembed = nn.Linear(width, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x) + self.position
        q, k, v = (
            layer(h).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        a = nn.functional.scaled_dot_product_attention(q, k, v)
        h = h + self.out(a.transpose(1, 2).flatten(-2))
        h = h + self.down(self.up(h).relu())
        return self.unembed(h[:, -1])


class Recurrent(nn.Module):
    """M5: an LSTM of 64 units over 20 steps of 16 numbers, and its last state's 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.LSTM(16, 64, batch_first=True), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cell(x)[0][:, -1])


def pairs(n: int, generator: torch.Generator) -> Tensor:
    """Pairs (a, b) of the modular-addition task, ``[n, 2]``."""
    return torch.randint(0, P, (n, 2), generator=generator)


def two_hot(ab: Tensor) -> Tensor:
    """Pairs as two-hot vectors, ``[n, 2 P]``."""
    return torch.cat([nn.functional.one_hot(ab[:, k], P) for k in (0, 1)], -1).float()


def dense(n: int, generator: torch.Generator) -> Tensor:
    """Inputs of the same size without zeros."""
    return torch.randn(n, 2 * P, generator=generator) / 10


def spins(n: int, generator: torch.Generator) -> Tensor:
    """Random spin configurations, ``[n, 1, 16, 16]``."""
    return torch.randint(0, 2, (n, 1, 16, 16), generator=generator).float() * 2 - 1


def images(n: int, generator: torch.Generator) -> Tensor:
    """Random images, ``[n, 1, 28, 28]``."""
    return torch.randn(n, 1, 28, 28, generator=generator)


def series(n: int, generator: torch.Generator) -> Tensor:
    """Random sequences, ``[n, 20, 16]``."""
    return torch.randn(n, 20, 16, generator=generator)


def tokens(n: int, generator: torch.Generator) -> Tensor:
    """Pairs followed by the equals sign, ``[n, 3]``."""
    return torch.cat([pairs(n, generator), torch.full((n, 1), P)], -1)
