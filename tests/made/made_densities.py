"""Losses that are formulas of the parameters, of all chains at once: what is known of them is known exactly."""

from __future__ import annotations

import torch

from grokfast.learning_coefficient import hessian_curvature


class Formula:
    """The density of a loss ``[R]`` of rows of parameters ``[R, d]``, in float64.

    Args:
        loss: The formula.
        start: The parameters w*, ``[d]``.
    """

    samples = 50

    def __init__(self, loss, start):
        self._loss = loss
        self.center = {"w": torch.as_tensor(start, dtype=torch.float64)[None]}

    def only(self, nets):
        return self

    def loss(self, params):
        with torch.no_grad():
            return self._loss(params["w"])

    def gradient(self, params, out, batch=None):
        with torch.enable_grad():
            rows = params["w"].detach().clone().requires_grad_()
            losses = self._loss(rows)
            out["w"].copy_(torch.autograd.grad(losses.sum(), rows)[0])
        return losses.detach()

    @property
    def curvature(self):
        """The size of its Hessian's diagonal."""
        return hessian_curvature(self)
