"""The local learning coefficient of a network, with what says whether the number means anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from grokfast._checks import check_positive
from grokfast.errors import InputError
from grokfast.learning_coefficient.chains import Chains, Mala
from grokfast.learning_coefficient.curvature import Curvature, curvature_of
from grokfast.learning_coefficient.density import Density, LossFunction, ModuleDensity
from grokfast.learning_coefficient.diagnostics import drift, effective_sample_size, split_r_hat, standard_error
from grokfast.learning_coefficient.locality import localisation
from grokfast.learning_coefficient.polish import polished
from grokfast.learning_coefficient.posterior import Posterior, default_nbeta, flat, unflat
from grokfast.learning_coefficient.sgld import Sgld, run_sgld
from grokfast.models import Params

LOCAL = 0.35
"""From this mean |w - w*| / |w*| of a weight tensor on, the samples do not say anything about w*."""
MIXED = 1.05
"""Largest split R-hat of chains that have mixed."""
DRIFTS = 3.0
"""Largest |z| between the halves of chains that do not drift."""
ENOUGH = 100.0
"""Effective samples at which chains may end."""
REJECTS = 0.2
"""Acceptance below which chains hardly move."""


class Status(StrEnum):
    """Whether an estimate may be believed; the first that applies."""

    OK = "ok"
    REJECTED = "rejected"
    """Fewer than one proposal in five was accepted."""
    NOT_LOCAL = "not local"
    """The samples lie further from w* than a third of its size."""
    UNMIXED = "unmixed"
    """The chains disagree or drift."""
    NEGATIVE = "negative"
    """The estimate lies below zero by more than two standard errors: w* is no minimum."""


@dataclass(frozen=True)
class Settings:
    """What is sampled.

    Args:
        nbeta: Number of samples times inverse temperature; None takes n / ln n.
        weight_decay: L2 coefficient of the training, so that w* is a critical point of what is sampled.
        polish: Go to the critical point beside the parameters first.
        gamma: One strength of the pull to w* for all parameters, instead of ``rho``.
        curvature: From parameters to a diagonal of their shapes; None takes the one that fits the loss.
    """

    nbeta: float | None = None
    weight_decay: float = 0.0
    polish: bool = True
    gamma: float | None = None
    curvature: Curvature | None = None


@dataclass(frozen=True)
class LLC:
    r"""A local learning coefficient and its diagnostics.

    Attributes:
        value: :math:`\hat\lambda = n\beta (\overline{L_n(w_t)} - L_n(w^*))`; shown as it is, also below zero.
        standard_error: The larger of that between chains and that of batch means.
        status: Whether it may be believed.
        rho: The locality; None where ``gamma`` was given.
        nbeta: As said.
        r_hat: Split R-hat of the loss.
        effective_samples: Of the loss, over all chains.
        acceptance: Mean probability of acceptance; NaN for SGLD.
        displacement: Root mean square of |w - w*| over |w*|, by tensor; infinite where w* is zero.
        drift: z of the later half's mean minus the earlier's.
        below: Share of the samples whose loss is below that of w*.
        polish_change: n beta times the loss at w* minus that at the parameters as given.
        polish_gradients: Gradients that polishing took.
        trace: :math:`n\beta (L_n(w_t) - L_n(w^*))`, ``[chains, steps]``.
    """

    value: float
    standard_error: float
    status: Status
    rho: float | None
    nbeta: float
    r_hat: float
    effective_samples: float
    acceptance: float
    displacement: Mapping[str, float]
    drift: float
    below: float
    polish_change: float
    polish_gradients: int
    trace: NDArray[np.float64] = field(repr=False, compare=False)

    def __str__(self) -> str:
        where = "gamma given" if self.rho is None else f"rho = {self.rho:g}"
        return f"{self.value:.3g} ± {self.standard_error:.1g} ({where}, {self.status})"


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
    """As :func:`llc`, of any loss as a function of stacked parameters.

    Args:
        density: The loss.
        curvature: Its curvature along each parameter.
        rho: As said there.
        sampling: As said there.
        settings: As said there.
    """
    sampling, settings = sampling or Mala(), settings or Settings()
    nbeta = default_nbeta(density.samples) if settings.nbeta is None else settings.nbeta
    check_positive("nbeta", nbeta)
    near = None if settings.gamma is not None else rho
    given = density.center
    center, change, gradients = given, 0.0, 0
    if settings.polish:
        center, change, gradients = _polish(density, curvature, settings, nbeta, near)
    posterior = Posterior(density, center, nbeta, settings.weight_decay, localisation(center, near, settings.gamma))
    at_center = posterior.loss(torch.zeros(1, posterior.size, dtype=posterior.center.dtype))[0]
    if isinstance(sampling, Sgld):
        losses, squares = run_sgld(posterior, sampling)
        acceptance = math.nan
    else:
        losses, acceptance, squares = _run_mala(posterior, _scale(posterior, curvature(center)), sampling)
    trace = ((losses - at_center) * nbeta).numpy()
    return _result(trace, acceptance, squares, center, near, nbeta, (change, gradients))


def _polish(
    density: Density, curvature: Curvature, settings: Settings, nbeta: float, near: float | None
) -> tuple[Params, float, int]:
    given = density.center
    start = Posterior(density, given, nbeta, settings.weight_decay, localisation(given, near, settings.gamma))
    moved, gradients = polished(start, _scale(start, curvature(given)))
    both = start.loss(torch.stack([torch.zeros_like(moved), moved]))
    center = unflat(flat(given) + moved, given)
    return center, float(both[1] - both[0]) * nbeta, gradients


def _scale(posterior: Posterior, diagonal: Params) -> Tensor:
    """The posterior's width along each parameter, one over the root of n beta (F + lambda) + gamma."""
    steep = flat(diagonal).double()
    if not bool(steep.isfinite().all()) or bool((steep < 0).any()):
        raise InputError("the curvature must be finite and not negative")
    precision = posterior.nbeta * (steep + posterior.weight_decay) + posterior.gamma
    return precision.rsqrt().to(posterior.center.dtype)


def _run_mala(posterior: Posterior, scale: Tensor, how: Mala) -> tuple[Tensor, float, Tensor]:
    """Chains until they have mixed, or for as long as they may."""
    warmup, least, most = how.lengths(posterior.size)
    chains = Chains(posterior, scale, how)
    chains.warm_up(warmup)
    losses, accepted, squares = chains.run(least)
    done = least
    while done < most and not _settled(losses.numpy()):
        more = min(max(8, least // 2), most - done)
        further, chance, distances = chains.run(more)
        losses = torch.cat([losses, further], dim=1)
        accepted = (accepted * done + chance * more) / (done + more)
        squares = (squares * done + distances * more) / (done + more)
        done += more
    return losses, float(accepted.mean()), squares


def _settled(losses: NDArray[np.float64]) -> bool:
    return effective_sample_size(losses) >= ENOUGH and split_r_hat(losses) <= MIXED


def _result(
    trace: NDArray[np.float64],
    acceptance: float,
    squares: Tensor,
    center: Params,
    rho: float | None,
    nbeta: float,
    polish: tuple[float, int],
) -> LLC:
    finite = bool(np.isfinite(trace).all())
    value = float(trace.mean()) if finite else math.nan
    error = standard_error(trace) if finite else math.nan
    r_hat = split_r_hat(trace) if finite else math.nan
    z = drift(trace) if finite else math.nan
    displacement = {}
    for name, part in unflat(squares, center).items():
        size = center[name].double().square().sum().item()
        displacement[name] = math.sqrt(part.sum().item() / size) if size else math.inf
    weights = [displacement[name] for name, tensor in center.items() if tensor.dim() > 1]
    furthest = max([value for value in weights if math.isfinite(value)], default=0.0)
    if not finite or (math.isfinite(acceptance) and acceptance < REJECTS):
        status = Status.REJECTED if finite or math.isfinite(acceptance) else Status.NOT_LOCAL
    elif furthest > LOCAL:
        status = Status.NOT_LOCAL
    elif not r_hat <= MIXED or abs(z) > DRIFTS:
        status = Status.UNMIXED
    elif value < -2 * error:
        status = Status.NEGATIVE
    else:
        status = Status.OK
    return LLC(
        value=value,
        standard_error=error,
        status=status,
        rho=rho,
        nbeta=nbeta,
        r_hat=r_hat,
        effective_samples=effective_sample_size(trace) if finite else 0.0,
        acceptance=acceptance,
        displacement=displacement,
        drift=z,
        below=float((trace < 0).mean()),
        polish_change=polish[0],
        polish_gradients=polish[1],
        trace=trace,
    )
