"""How far a chain may go from w*: a Gaussian a tensor, its width a share of the tensor's own size."""

from __future__ import annotations

import torch
from torch import Tensor

from grokfast._checks import check_positive
from grokfast.errors import InputError
from grokfast.models import Params


def rms_of_tensors(center: Params) -> dict[str, float]:
    r"""The root mean square that each tensor's locality is measured by.

    A tensor's own; of a bias that of the weight of its layer (the same name up to the last dot); of a tensor of
    zeros, or without a weight beside it, that of the whole network.

    Args:
        center: The parameters w*.

    Returns:
        Positive numbers by name.

    Raises:
        InputError: If all parameters are zero: nothing says what is near.
    """
    squares = {name: tensor.double().square().sum().item() for name, tensor in center.items()}
    sizes = {name: tensor.numel() for name, tensor in center.items()}
    whole = (sum(squares.values()) / max(1, sum(sizes.values()))) ** 0.5
    if whole == 0:
        raise InputError("all parameters are zero, so that nothing says how near is near: give gamma instead of rho")
    found = {}
    for name, tensor in center.items():
        source = name
        if tensor.dim() < 2:
            layer = name.rpartition(".")[0]
            beside = [other for other in center if other.rpartition(".")[0] == layer and center[other].dim() > 1]
            source = beside[0] if beside else name
        own = (squares[source] / sizes[source]) ** 0.5 if sizes[source] else 0.0
        found[name] = own or whole
    return found


def localisation(center: Params, rho: float | None, gamma: float | None) -> dict[str, float]:
    r"""The strengths :math:`\gamma_l = 1/(\rho\,\mathrm{RMS}_l)^2` of the pull towards w*, or ``gamma`` for all.

    Args:
        center: The parameters w*.
        rho: Width of the Gaussian around w*, in units of each tensor's root mean square.
        gamma: The same strength for every parameter instead.

    Returns:
        By name.

    Raises:
        InputError: If not exactly one of the two is given, or it is not positive.
    """
    if (rho is None) == (gamma is None):
        raise InputError(f"give rho or gamma, one of the two, got rho = {rho!r} and gamma = {gamma!r}")
    if gamma is not None:
        check_positive("gamma", gamma)
        return dict.fromkeys(center, float(gamma))
    check_positive("rho", rho)
    return {name: 1.0 / (float(rho or 0.0) * rms) ** 2 for name, rms in rms_of_tensors(center).items()}


def stacked_localisation(center: Params, rho: float | None, gamma: float | None) -> Tensor:
    """:func:`localisation` of each network of a stack, a value a parameter: ``[E, d]``, float64.

    Args:
        center: The parameters w*, ``[E, ...]``.
        rho: As said there.
        gamma: As said there.
    """
    rows = []
    for e in range(next(iter(center.values())).shape[0]):
        own = {name: tensor[e] for name, tensor in center.items()}
        values = localisation(own, rho, gamma)
        parts = [torch.full((tensor.numel(),), values[name], dtype=torch.float64) for name, tensor in own.items()]
        rows.append(torch.cat(parts))
    return torch.stack(rows)
