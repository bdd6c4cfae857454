"""A diagonal that says how steep the loss is along each parameter: what chains and the polishing are scaled by."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from grokfast.fisher import fisher_diag
from grokfast.learning_coefficient.density import Density, LossFunction
from grokfast.learning_coefficient.posterior import flat, unflat
from grokfast.models import Params

Curvature = Callable[[Params], Params]
"""From a stack of parameters ``[E, ...]`` to a diagonal of the same shapes, not negative."""

_EXACT_UP_TO = 64  # parameters whose columns of the Hessian are taken one by one
_PROBES = 32


def curvature_of(model: nn.Module, loss_fn: LossFunction, inputs: Tensor, density: Density) -> Curvature:
    """The curvature that fits a loss.

    The exact softmax Fisher diagonal for the cross entropy, the Gauss-Newton one for the mean squared error, and for
    any other loss the size of the Hessian's diagonal.

    Args:
        model: The network.
        loss_fn: Its loss.
        inputs: The data.
        density: The loss as a function of the parameters.
    """
    plain = loss_fn is functional.cross_entropy or (
        isinstance(loss_fn, nn.CrossEntropyLoss) and loss_fn.weight is None and loss_fn.label_smoothing == 0
    )
    squared = loss_fn is functional.mse_loss or (isinstance(loss_fn, nn.MSELoss) and loss_fn.reduction == "mean")

    def fisher(center: Params) -> Params:
        likelihood = "categorical" if plain else "gaussian"
        found = fisher_diag(model, inputs, likelihood=likelihood, params=_with_frozen(model, center))
        with torch.no_grad():
            outputs = model(inputs[:1])[0].numel() if squared else 1
        scale = 2.0 / outputs if squared else 1.0
        return {name: found[name].detach() * scale for name in center}

    return fisher if plain or squared else hessian_curvature(density)


def _with_frozen(model: nn.Module, center: Params) -> Params:
    """All parameters as a stack."""
    members = next(iter(center.values())).shape[0]
    return {
        name: center[name] if name in center else parameter.detach().expand(members, *parameter.shape)
        for name, parameter in model.named_parameters()
    }


def hessian_curvature(density: Density) -> Curvature:
    """The absolute diagonal of the loss's Hessian, from differences of gradients.

    Of up to 64 parameters each column is taken; of more, 32 random signs (Hutchinson) with a fixed seed.

    Args:
        density: The loss.
    """

    def diagonal(center: Params) -> Params:
        where = flat(center)
        nets, size = where.shape
        exact = size <= _EXACT_UP_TO
        step = (where.abs().mean(1, keepdim=True) * 1e-3).where(where.any(1, keepdim=True), 1e-3)
        generator = torch.Generator().manual_seed(0)
        found = torch.zeros(nets, size, dtype=torch.float64)
        rounds = size if exact else _PROBES
        for k in range(rounds):
            if exact:
                probe = torch.zeros(size, dtype=where.dtype)
                probe[k] = 1
            else:
                probe = torch.randint(0, 2, (size,), generator=generator).to(where.dtype) * 2 - 1
            slopes = []
            for sign in (1, -1):
                params = {name: part.clone() for name, part in unflat(where + sign * step * probe, center).items()}
                out = {name: torch.zeros_like(tensor) for name, tensor in params.items()}
                density.gradient(params, out)
                slopes.append(flat(out))
            found += (probe * (slopes[0] - slopes[1])).double() / (2 * step)
        return unflat((found if exact else found / rounds).abs().to(where.dtype), center)

    return diagonal
