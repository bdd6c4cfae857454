"""Tasks as a user would write them: small, with networks of many kinds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from grokfast.tasks import Loss, NetworkTask


class OneLayer(nn.Module):
    """A transformer in the names of the literature: no layer norm, a causal mask as a constant buffer."""

    def __init__(self, P, width=8, heads=2, hidden=12):
        super().__init__()
        self.W_E = nn.Parameter(torch.randn(P + 1, width) / width**0.5)
        self.W_pos = nn.Parameter(torch.randn(3, width) / width**0.5)
        self.W_Q = nn.Parameter(torch.randn(heads, width // heads, width) / width**0.5)
        self.W_K = nn.Parameter(torch.randn(heads, width // heads, width) / width**0.5)
        self.W_V = nn.Parameter(torch.randn(heads, width // heads, width) / width**0.5)
        self.W_O = nn.Parameter(torch.randn(width, width) / width**0.5)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.W_U = nn.Parameter(torch.randn(P, width) / width**0.5)
        self.register_buffer("mask", torch.tril(torch.ones(3, 3, dtype=torch.bool)))

    def forward(self, pairs):
        tokens = torch.cat([pairs, torch.full_like(pairs[:, :1], len(self.W_E) - 1)], 1)
        x = self.W_E[tokens] + self.W_pos
        q, k, v = (torch.einsum("ntd,hed->nhte", x, w) for w in (self.W_Q, self.W_K, self.W_V))
        scores = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).masked_fill(~self.mask, -torch.inf)
        x = x + (scores.softmax(-1) @ v).transpose(1, 2).flatten(2) @ self.W_O.T
        return (x + self.mlp(x))[:, -1] @ self.W_U.T


class Tied(nn.Module):
    """Embeds and unembeds with one matrix."""

    def __init__(self, P, width=8):
        super().__init__()
        self.embed = nn.Embedding(P, width)
        self.norm = nn.LayerNorm(width)
        self.unembed = nn.Linear(width, P, bias=False)
        self.unembed.weight = self.embed.weight

    def forward(self, pairs):
        return self.unembed(torch.tanh(self.norm(self.embed(pairs).sum(1))))


@dataclass(frozen=True)
class Product(NetworkTask):
    """a·b mod P by a transformer."""

    name: ClassVar[str] = "test-product"
    P: int = 7

    def data(self):
        pairs = torch.cartesian_prod(torch.arange(self.P), torch.arange(self.P))
        return pairs, pairs.prod(1) % self.P

    def module(self):
        return OneLayer(self.P)


@dataclass(frozen=True)
class OneHotProduct(Product):
    """Mean squared error on one-hot labels."""

    name: ClassVar[str] = "test-one-hot-product"
    loss: ClassVar[Loss] = Loss.MEAN_SQUARED_ERROR


@dataclass(frozen=True)
class TiedProduct(Product):
    """By a network with tied weights."""

    name: ClassVar[str] = "test-tied-product"

    def module(self):
        return Tied(self.P)


@dataclass(frozen=True)
class HingeProduct(Product):
    """A loss of one's own."""

    name: ClassVar[str] = "test-hinge-product"

    def loss(self, outputs, labels):
        return nn.functional.multi_margin_loss(outputs, labels, reduction="none")


@dataclass(frozen=True)
class Waves(NetworkTask):
    """Regression: no accuracy."""

    name: ClassVar[str] = "test-waves"
    loss: ClassVar[str] = "mean-squared-error"
    samples: int = 40

    def data(self):
        x = torch.linspace(-3, 3, self.samples, dtype=torch.float64)[:, None]
        return x, torch.cat([x.sin(), x.cos()], 1)

    def module(self):
        return nn.Sequential(nn.Linear(1, 9), nn.Tanh(), nn.Linear(9, 2))
