"""From the end of training to the critical point beside it."""

from __future__ import annotations

import torch
from torch import Tensor

from grokfast.learning_coefficient.posterior import Posterior

MOST_GRADIENTS = 200

_GAIN = 0.005  # of n beta times the loss that is still to be expected when polishing ends


def polished(posterior: Posterior, scale: Tensor) -> tuple[Tensor, list[int]]:
    """L-BFGS on the regularised full-batch loss of each network, without the pull towards w*.

    It ends when the gradient, scaled by the curvature, promises less than 0.005 of n beta times the loss, or after
    200 gradients.

    Args:
        posterior: Centred at the parameters as given.
        scale: ``[E, d]``, about one over the root of the curvature.

    Returns:
        The displacements to the critical points ``[E, d]``, zero where no better point was found, and the gradients
        that each took.
    """
    found = [_polished(posterior.only([net]), scale[net : net + 1]) for net in range(posterior.nets)]
    return torch.cat([moved for moved, _ in found]), [gradients for _, gradients in found]


def _polished(posterior: Posterior, scale: Tensor) -> tuple[Tensor, int]:
    z = torch.zeros(1, posterior.size, dtype=posterior.center.dtype, requires_grad=True)
    # In these units the energy's curvature is about 1, so that half the squared gradient is what is left to gain.
    tolerance = (2 * _GAIN / posterior.size) ** 0.5
    optimiser = torch.optim.LBFGS(
        [z],
        max_iter=MOST_GRADIENTS,
        max_eval=MOST_GRADIENTS,
        tolerance_grad=tolerance,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )
    values: list[float] = []
    best = torch.zeros_like(z.detach())

    def closure() -> Tensor:
        nonlocal best
        with torch.no_grad():
            displacement = scale * z
            _, energy, slope = posterior.energy(displacement)
            value = float(energy - posterior.pull(displacement))
            z.grad = (slope - displacement * posterior.gamma.to(slope.dtype)) * scale
            if values and value < min(values):
                best = displacement.clone()
            values.append(value)
            return torch.tensor(value, dtype=torch.float64)

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return best, len(values)
