"""Tasks of one's own for the benchmarks: plain modules, trained through NetworkTask alone; and the same in JAX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from grokfast.models import Transformer
from grokfast.tasks import NetworkTask


@dataclass(frozen=True)
class TransformerSum(NetworkTask):
    """a + b mod P by a one-layer transformer on the tokens a, b, =."""

    name: ClassVar[str] = "bench-transformer"
    P: int = 53
    width: int = 128
    hidden: int = 512
    train_fraction: float = 0.3

    def data(self):
        pairs = torch.cartesian_prod(torch.arange(self.P), torch.arange(self.P))
        return torch.cat([pairs, torch.full((len(pairs), 1), self.P)], 1), pairs.sum(1) % self.P

    def module(self):
        return Transformer(self.P + 1, self.P, width=self.width, hidden=self.hidden)


@dataclass(frozen=True)
class TwoLayerSum(NetworkTask):
    """a + b mod P by an MLP on two-hot vectors, as a plain nn.Sequential."""

    name: ClassVar[str] = "bench-mlp"
    P: int = 113
    hidden: int = 512
    train_fraction: float = 0.7

    def data(self):
        pairs = torch.cartesian_prod(torch.arange(self.P), torch.arange(self.P))
        return nn.functional.one_hot(pairs, self.P).flatten(1).to(torch.float32), pairs.sum(1) % self.P

    def module(self):
        return nn.Sequential(nn.Linear(2 * self.P, self.hidden), nn.ReLU(), nn.Linear(self.hidden, self.P))


def jax_transformer(p, tokens):
    """Logits of ``Transformer(layers=1)``, in the same formulation: the last position alone."""
    import jax
    import jax.numpy as jnp

    x = p["W_E"][tokens] + p["W_pos"]
    last, heads, b = x[:, -1], 4, "blocks.0."
    q = (last @ p[f"{b}W_Q"].T).reshape(len(x), 1, heads, -1)
    k, v = ((x @ p[f"{b}{name}"].T).reshape(len(x), x.shape[1], heads, -1) for name in ("W_K", "W_V"))
    pattern = jax.nn.softmax((q * k).sum(-1, keepdims=True) / q.shape[-1] ** 0.5, axis=1)
    x = last + (pattern * v).sum(1).reshape(len(x), -1) @ p[f"{b}W_O"].T
    hidden = jnp.maximum(x @ p[f"{b}W_in"].T + p[f"{b}b_in"], 0)
    return (x + hidden @ p[f"{b}W_out"].T + p[f"{b}b_out"]) @ p["W_U"].T


def jax_mlp(p, inputs):
    """Logits of the two-layer MLP."""
    import jax.numpy as jnp

    return jnp.maximum(inputs @ p["0.weight"].T + p["0.bias"], 0) @ p["2.weight"].T + p["2.bias"]


def jax_epoch(logits, config):
    """``jit(vmap(scan))`` over the whole batches of an epoch: parameters, moments, step; inputs and labels."""
    import jax
    import jax.numpy as jnp

    def loss(p, x, y):
        return -jnp.take_along_axis(jax.nn.log_softmax(logits(p, x)), y[:, None], 1).mean()

    def step(carry, batch):
        p, m, v, n = carry
        value, g = jax.value_and_grad(loss)(p, *batch)
        n = n + 1
        m = jax.tree.map(lambda m, g: config.beta1 * m + (1 - config.beta1) * g, m, g)
        v = jax.tree.map(lambda v, g: config.beta2 * v + (1 - config.beta2) * g * g, v, g)
        first, second = 1 - config.beta1**n, 1 - config.beta2**n
        p = jax.tree.map(
            lambda p, m, v: p - config.learning_rate * (m / first) / (jnp.sqrt(v / second) + config.eps), p, m, v
        )
        return (p, m, v, n), value

    def epoch(carry, x, y):
        size = min(config.batch_size, len(y))
        whole = len(y) // size
        carry, values = jax.lax.scan(
            step, carry, (x[: whole * size].reshape(whole, size, *x.shape[1:]), y[: whole * size].reshape(whole, size))
        )
        if whole * size < len(y):
            carry, last = step(carry, (x[whole * size :], y[whole * size :]))
            return carry, (values.sum() * size + last * (len(y) - whole * size)) / len(y)
        return carry, values.mean()

    return jax.jit(jax.vmap(epoch))
