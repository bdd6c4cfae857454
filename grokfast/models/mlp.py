"""Fully connected ReLU networks on two-hot pairs, as a module and as a stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from grokfast.models.stack import Params
from grokfast.ops import two_hot_relu


def mlp(widths: Sequence[int]) -> nn.Sequential:
    """``Linear - ReLU - ... - Linear`` with the given widths, from inputs to classes.

    Source:
        arXiv 2502.01739, table of models: widths (226, 512, 113).
    """
    layers: list[nn.Module] = []
    for k, (inputs, outputs) in enumerate(pairwise(widths)):
        if k:
            layers.append(nn.ReLU())
        layers.append(nn.Linear(inputs, outputs))
    return nn.Sequential(*layers)


def initial_mlp(widths: Sequence[int], w0: float, generator: torch.Generator, dtype: torch.dtype) -> Params:
    r"""Xavier-normal weights times ``w0``, zero biases, named as :func:`mlp` names them.

    .. math:: W_{oi} \sim w_0 \, \mathcal{N}\bigl(0, 2 / (n_\text{in} + n_\text{out})\bigr)

    Drawn in float64 and rounded, so that a float32 run starts where the float64 run does.

    Source:
        Glorot & Bengio 2010; the scale w0 is that of arXiv 2502.01739.
    """
    params = {}
    for k, (inputs, outputs) in enumerate(pairwise(widths)):
        scale = w0 * (2 / (inputs + outputs)) ** 0.5
        weight = torch.randn(outputs, inputs, generator=generator, dtype=torch.float64) * scale
        params[f"{2 * k}.weight"] = weight.to(dtype)
        params[f"{2 * k}.bias"] = torch.zeros(outputs, dtype=dtype)
    return params


def mlp_on_pairs(params: Mapping[str, Tensor], pairs: Tensor) -> Tensor:
    """Logits of a stack of :func:`mlp` on two-hot pairs, without forming the two-hot vectors.

    Args:
        params: Stacked parameters; the first weight is ``[E, H, 2P]``.
        pairs: int64 ``[E, N, 2]``.

    Returns:
        ``[E, N, C]``.
    """
    layers = len(params) // 2
    h: Tensor = two_hot_relu(params["0.weight"], params["0.bias"], pairs)
    for k in range(1, layers):
        bias = params[f"{2 * k}.bias"][:, None]
        h = torch.baddbmm(bias, h, params[f"{2 * k}.weight"].transpose(1, 2))
        if k + 1 < layers:
            h = torch.relu(h)
    return h
