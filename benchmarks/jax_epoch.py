"""Modular addition in JAX as a competent user writes it: one jitted epoch, a scan over batches, vmap over members.

The first layer is a gather of two rows a pair, not a product with two-hot vectors; Adam is written out, as in optax.
Import it only where JAX is installed (``pip install '.[bench]'``).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np
from torch import Tensor

Tree = dict[str, jax.Array]
State = tuple[Tree, Tree, Tree, jax.Array]


def _logits(params: Tree, pairs: jax.Array, modulus: int) -> jax.Array:
    hidden = params["rows"][pairs[:, 0]] + params["rows"][modulus + pairs[:, 1]] + params["bias1"]
    return jax.nn.relu(hidden) @ params["weight"].T + params["bias2"]


def _loss(params: Tree, pairs: jax.Array, labels: jax.Array, modulus: int) -> jax.Array:
    log_p = jax.nn.log_softmax(_logits(params, pairs, modulus))
    return -jnp.take_along_axis(log_p, labels[:, None], 1).mean()


def jax_state(params: Mapping[str, Tensor], moments: Sequence[Sequence[Tensor]], step: int) -> State:
    """Parameters and Adam's moments of a stack, copied: the first matrix with its inputs outermost."""

    def tree(tensors: Sequence[Tensor]) -> Tree:
        first, *rest = tensors
        arrays = [first.transpose(1, 2), *rest]
        return {
            name: jnp.array(np.array(a.contiguous().numpy()))
            for name, a in zip(("rows", "bias1", "weight", "bias2"), arrays, strict=True)
        }

    return tree(list(params.values())), tree(moments[0]), tree(moments[1]), jnp.int32(step)


def jax_epoch(
    modulus: int,
    batch_size: int,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    rates: tuple[Tensor, Tensor],
) -> Callable[[State], tuple[State, jax.Array, jax.Array]]:
    """A jitted epoch: state to state, mean training loss ``[E]`` and test loss ``[E]``.

    The last, smaller batch is taken outside the scan, so that every sample counts as in our loop.
    """
    pairs, labels = (jnp.array(t.contiguous().numpy()) for t in train)
    test_pairs, test_labels = (jnp.array(t.contiguous().numpy()) for t in test)
    lr, decay = (jnp.array(t.numpy(), dtype=jnp.float32) for t in rates)
    samples = labels.shape[1]
    whole = samples // batch_size

    def step(state: State, batch: tuple[jax.Array, jax.Array], lr: jax.Array, decay: jax.Array):
        params, m, v, t = state
        loss, g = jax.value_and_grad(_loss)(params, *batch, modulus)
        t = t + 1
        # 1 - beta^t without its cancellation in single precision.
        one, two = (-jnp.expm1(t.astype(jnp.float32) * math.log(beta)) for beta in (0.9, 0.999))
        g = jax.tree.map(lambda g, p: g + decay * p, g, params)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        params = jax.tree.map(lambda p, m, v: p - lr * (m / one) / (jnp.sqrt(v / two) + 1e-8), params, m, v)
        return (params, m, v, t), loss

    def member(params, m, v, t, pairs, labels, test_pairs, test_labels, lr, decay):
        cut = whole * batch_size
        batches = (pairs[:cut].reshape(whole, batch_size, 2), labels[:cut].reshape(whole, batch_size))
        state, losses = jax.lax.scan(lambda s, b: step(s, b, lr, decay), (params, m, v, t), batches)
        total = losses.sum() * batch_size
        if cut < samples:
            state, last = step(state, (pairs[cut:], labels[cut:]), lr, decay)
            total += last * (samples - cut)
        return state, total / samples, _loss(state[0], test_pairs, test_labels, modulus)

    stacked = jax.jit(jax.vmap(member, in_axes=(0, 0, 0, None, 0, 0, 0, 0, 0, 0)))

    def epoch(state: State) -> tuple[State, jax.Array, jax.Array]:
        params, m, v, t = state
        (params, m, v, ts), loss, test_loss = stacked(
            params, m, v, t, pairs, labels, test_pairs, test_labels, lr, decay
        )
        jax.block_until_ready(test_loss)
        return (params, m, v, ts[0]), loss, test_loss

    return epoch
