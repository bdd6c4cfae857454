"""Gradients of outputs in one direction, dense, whatever the model is made of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def gradients(outputs: Tensor, leaves: Sequence[Tensor], side: Tensor) -> list[Tensor]:
    """Gradients of ``sum(outputs * side)``, dense, zeros where there are none; the graph is kept.

    Activation checkpointing of the older kind refuses ``torch.autograd.grad``; it runs with
    ``backward`` on the leaves of the private copy.
    """
    if not leaves or not outputs.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    try:
        found = torch.autograd.grad(outputs, list(leaves), side, retain_graph=True, allow_unused=True)
    except RuntimeError as error:
        if "heckpoint" not in str(error):
            raise
        for leaf in leaves:
            leaf.grad = None
        torch.autograd.backward(outputs, side, retain_graph=True)
        found = tuple(leaf.grad for leaf in leaves)  # type: ignore[misc]
    dense = (None if g is None else g.to_dense() if g.is_sparse else g for g in found)
    return [torch.zeros_like(leaf) if g is None else g for g, leaf in zip(dense, leaves, strict=True)]
