"""What an estimate of the local learning coefficient says, and whether it may be believed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from grokfast._plots import plot_with
from grokfast.learning_coefficient.chains import Drawn
from grokfast.learning_coefficient.diagnostics import drift, effective_sample_size, split_r_hat, standard_error
from grokfast.models import Params

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
    """Whether an estimate may be believed; in columns their numbers, from 0, in this order."""

    OK = "ok"
    REJECTED = "rejected"
    """Fewer than one proposal in five was accepted."""
    NOT_LOCAL = "not local"
    """The samples lie further from w* than a third of its size."""
    UNMIXED = "unmixed"
    """The chains disagree or drift."""
    NEGATIVE = "negative"
    """The estimate lies below zero by more than two standard errors: w* is no minimum."""

    @property
    def number(self) -> int:
        """0 for ``ok``, then from 1 in the order of the members."""
        return list(Status).index(self)


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
        weights: Which of the tensors are matrices or kernels, by which ``not local`` is told; all where none is.
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
    weights: tuple[str, ...]
    drift: float
    below: float
    polish_change: float
    polish_gradients: int
    trace: NDArray[np.float64] = field(repr=False, compare=False)

    @property
    def furthest(self) -> float:
        """The largest displacement of a weight tensor, of those that are not zero."""
        found = [self.displacement[name] for name in self.weights]
        return max((value for value in found if math.isfinite(value)), default=0.0)

    def plot(self) -> Figure:
        """The trace of every chain, with the estimate and its standard error."""
        return plot_with("plot_llc", self)

    def __str__(self) -> str:
        where = "gamma given" if self.rho is None else f"rho = {self.rho:g}"
        return f"{self.value:.3g} ± {self.standard_error:.1g} ({where}, {self.status})"


def enough(losses: torch.Tensor) -> bool:
    """Whether losses ``[C, steps]`` of chains say what they can: they have mixed, and are many."""
    draws = losses.numpy()
    return bool(np.isfinite(draws).all()) and effective_sample_size(draws) >= ENOUGH and split_r_hat(draws) <= MIXED


@dataclass(frozen=True)
class Around:
    """What chains were run around.

    Attributes:
        center: The parameters w*, of one network.
        loss: There.
        nbeta: Number of samples times inverse temperature.
        rho: The locality, if not given by gamma.
        polish_change: What polishing did, in n beta times the loss.
        polish_gradients: Gradients that it took.
    """

    center: Params
    loss: float
    nbeta: float
    rho: float | None
    polish_change: float
    polish_gradients: int


def summarised(drawn: Drawn, around: Around) -> LLC:
    """The estimate of one network, and its status, from what its chains have drawn."""
    trace = ((drawn.losses - around.loss) * around.nbeta).numpy()
    acceptance = float(drawn.acceptance.mean())
    finite = bool(np.isfinite(trace).all())
    displacement = _displacement(drawn.squares, around.center)
    matrices = tuple(name for name, tensor in around.center.items() if tensor.dim() > 1)
    weights = matrices or tuple(around.center)
    value = float(trace.mean()) if finite else math.nan
    error = standard_error(trace) if finite else math.nan
    r_hat = split_r_hat(trace) if finite else math.nan
    z = drift(trace) if finite else math.nan
    furthest = max((displacement[name] for name in weights if math.isfinite(displacement[name])), default=0.0)
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
        rho=around.rho,
        nbeta=around.nbeta,
        r_hat=r_hat,
        effective_samples=effective_sample_size(trace) if finite else 0.0,
        acceptance=acceptance,
        displacement=displacement,
        weights=weights,
        drift=z,
        below=float((trace < 0).mean()),
        polish_change=around.polish_change,
        polish_gradients=around.polish_gradients,
        trace=trace,
    )


def _displacement(squares: torch.Tensor, center: Params) -> dict[str, float]:
    found = {}
    parts = torch.split(squares, [tensor.numel() for tensor in center.values()])
    for (name, tensor), part in zip(center.items(), parts, strict=True):
        size = tensor.double().square().sum().item()
        found[name] = math.sqrt(part.sum().item() / size) if size else math.inf
    return found
