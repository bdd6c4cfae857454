"""The local learning coefficient of a network, with what says whether the number means anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grokfast._checks import check_positive
from grokfast.errors import InputError
from grokfast.learning_coefficient.chains import Mala, run_mala
from grokfast.learning_coefficient.curvature import Curvature, curvature_of
from grokfast.learning_coefficient.density import Density, LossFunction, ModuleDensity
from grokfast.learning_coefficient.locality import stacked_localisation
from grokfast.learning_coefficient.polish import polished
from grokfast.learning_coefficient.posterior import Posterior, default_nbeta, flat, unflat
from grokfast.learning_coefficient.result import LLC, Around, enough, summarised
from grokfast.learning_coefficient.sgld import Sgld, run_sgld
from grokfast.models import Params
from grokfast.ops.threads import flushed_denormals

RHOS = (0.03, 0.1, 0.3)
"""Localities at which the coefficient is a curve."""

_POLISHED_AT = 0.1  # the locality whose widths polishing is scaled by: the same critical point for every rho


@dataclass(frozen=True)
class Settings:
    """What is sampled.

    Args:
        nbeta: Number of samples times inverse temperature; None takes n / ln n.
        weight_decay: L2 coefficient of the training, so that w* is a critical point of what is sampled; one for all
            networks of a stack, or one each.
        polish: Go to the critical point beside the parameters first.
        gamma: One strength of the pull to w* for all parameters, instead of ``rho``.
        curvature: From a stack of parameters to a diagonal of their shapes; None takes the one that fits the loss.
    """

    nbeta: float | None = None
    weight_decay: float | Sequence[float] = 0.0
    polish: bool = True
    gamma: float | None = None
    curvature: Curvature | None = None


def llc(
    model: nn.Module,
    loss_fn: LossFunction,
    inputs: Tensor,
    targets: Tensor,
    *,
    rho: float = 0.1,
    sampling: Mala | Sgld | None = None,
    settings: Settings | None = None,
) -> LLC:
    r"""The local learning coefficient of any module at its parameters w*.

    .. math::

        \hat\lambda = n\beta \left(\mathbb{E}[L_n(w)] - L_n(w^*)\right), \qquad
        w \sim \exp\Bigl(-n\beta [L_n(w) + \tfrac{\lambda}{2}|w|^2] - \sum_l \tfrac{\gamma_l}{2}|w_l - w^*_l|^2\Bigr)

    with :math:`\gamma_l = 1/(\rho\,\mathrm{RMS}_l)^2`: the estimate depends on how near is near, so that networks are
    only comparable at equal ``rho``, and the curve over several is the result.

    Args:
        model: The network, in evaluation mode; it is copied and stays as it is.
        loss_fn: Mean loss over samples, of outputs and targets.
        inputs: All training data, ``[n, ...]``.
        targets: ``[n, ...]``.
        rho: Width of the neighbourhood, in units of each tensor's root mean square.
        sampling: :class:`Mala` (the default), or :class:`Sgld` for the recipes of the literature.
        settings: Temperature, weight decay, polishing, curvature.

    Returns:
        The estimate with its diagnostics.

    Raises:
        InputError: If a number is out of range, the data are fewer than two samples, parameters or loss are not
            finite, the loss is no mean over samples, or the module is in training mode with batch statistics or
            dropout.

    Source:
        Lau et al. 2024, arXiv 2308.12108, with the locality and the sampler of ``docs/measures/llc.md``.
    """
    density = ModuleDensity(model, loss_fn, inputs, targets)
    settings = settings or Settings()
    curvature = settings.curvature or curvature_of(model, loss_fn, inputs, density)
    return estimate_llc(density, curvature, rho=rho, sampling=sampling, settings=settings)


def estimate_llc(
    density: Density,
    curvature: Curvature,
    *,
    rho: float = 0.1,
    sampling: Mala | Sgld | None = None,
    settings: Settings | None = None,
) -> LLC:
    """As :func:`llc`, of any loss as a function of stacked parameters, of one network.

    Args:
        density: The loss.
        curvature: Its curvature along each parameter.
        rho: As said there.
        sampling: As said there.
        settings: As said there.

    Raises:
        InputError: As said there; or if the density is of several networks.
    """
    curves = estimate_curve(density, curvature, rhos=(rho,), sampling=sampling, settings=settings)
    if len(curves) != 1:
        raise InputError(f"estimate_llc takes one network, got {len(curves)}: use estimate_curve")
    return curves[0][0]


def estimate_curve(
    density: Density,
    curvature: Curvature,
    *,
    rhos: Sequence[float] = RHOS,
    sampling: Mala | Sgld | None = None,
    settings: Settings | None = None,
) -> list[list[LLC]]:
    r"""The local learning coefficients of a stack of networks over several localities.

    w* is polished once for all localities. The chains of all networks move together as rows of one stack; what is
    found of a network does not depend, to the bit, on which others there are.

    Args:
        density: The losses of E networks.
        curvature: Their curvature along each parameter.
        rhos: The localities; with ``settings.gamma`` there is one estimate, of that gamma.
        sampling: As in :func:`llc`.
        settings: As in :func:`llc`.

    Returns:
        For each network its estimates in the order of ``rhos``.

    Raises:
        InputError: As in :func:`llc`.
    """
    if settings is None or settings.gamma is None:
        _check_rhos(rhos)
    with flushed_denormals():
        return _curve(density, curvature, tuple(rhos), sampling or Mala(), settings or Settings())


def _curve(
    density: Density, curvature: Curvature, rhos: tuple[float, ...], sampling: Mala | Sgld, settings: Settings
) -> list[list[LLC]]:
    nbeta = default_nbeta(density.samples) if settings.nbeta is None else settings.nbeta
    check_positive("nbeta", nbeta)
    decay = _decays(settings.weight_decay, density)
    center, changes, gradients = density.center, [0.0] * len(decay), [0] * len(decay)
    if settings.polish:
        center, changes, gradients = _polish(density, curvature, settings, nbeta, decay)
    diagonal = curvature(center)
    found: list[list[LLC]] = [[] for _ in changes]
    for rho in (None,) if settings.gamma is not None else rhos:
        posterior = Posterior(density, center, nbeta, decay, stacked_localisation(center, rho, settings.gamma))
        at_center = posterior.loss(torch.zeros_like(posterior.center))
        if not bool(at_center.isfinite().all()):
            raise InputError(f"the loss at w* must be finite, got {at_center.tolist()}")
        if isinstance(sampling, Sgld):
            drawn = run_sgld(posterior, sampling)
        else:
            drawn = run_mala(posterior, _scale(posterior, diagonal), sampling, enough)
        for e, one in enumerate(drawn):
            own = {name: tensor[e] for name, tensor in center.items()}
            around = Around(own, float(at_center[e]), nbeta, rho, changes[e], gradients[e])
            found[e].append(summarised(one, around))
    return found


def _check_rhos(rhos: Sequence[float]) -> None:
    if not isinstance(rhos, Sequence) or not rhos or len(set(rhos)) < len(rhos):
        raise InputError(f"rhos must be one or more different numbers, got {rhos!r}")
    for rho in rhos:
        check_positive("rho", rho)


def _decays(given: float | Sequence[float], density: Density) -> Tensor:
    nets = next(iter(density.center.values())).shape[0]
    values = [float(given)] * nets if isinstance(given, int | float) else [float(value) for value in given]
    if len(values) != nets:
        raise InputError(f"weight_decay must be one number, or one for each of {nets} networks, got {len(values)}")
    return torch.tensor(values, dtype=torch.float64)


def _polish(
    density: Density, curvature: Curvature, settings: Settings, nbeta: float, decay: Tensor
) -> tuple[Params, list[float], list[int]]:
    given = density.center
    near = None if settings.gamma is not None else _POLISHED_AT
    start = Posterior(density, given, nbeta, decay, stacked_localisation(given, near, settings.gamma))
    moved, gradients = polished(start, _scale(start, curvature(given)))
    changes = (start.loss(moved) - start.loss(torch.zeros_like(moved))) * nbeta
    return unflat(flat(given) + moved, given), changes.tolist(), gradients


def _scale(posterior: Posterior, diagonal: Params) -> Tensor:
    """The posterior's width along each parameter ``[E, d]``, one over the root of n beta (F + lambda) + gamma."""
    shapes = {name: tensor.shape[1:] for name, tensor in posterior.density.center.items()}
    found = {name: tensor.shape[1:] for name, tensor in diagonal.items()}
    if found != shapes:
        raise InputError(f"the curvature must have the names and shapes of the parameters {shapes}, got {found}")
    steep = flat({name: diagonal[name] for name in shapes}).double()
    if not bool(steep.isfinite().all()) or bool((steep < 0).any()):
        raise InputError("the curvature must be finite and not negative")
    precision = posterior.nbeta * (steep + posterior.weight_decay[:, None]) + posterior.gamma
    return precision.rsqrt().to(posterior.center.dtype)
