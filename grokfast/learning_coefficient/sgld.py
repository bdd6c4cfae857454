r"""Stochastic-gradient Langevin dynamics, as the literature estimates the coefficient.

.. math::

    \Delta w = -\frac{\varepsilon}{2} \nabla U_m(w) + \mathcal{N}(0, \varepsilon)

with the gradient of a batch of m samples. It has no acceptance step: what it samples depends on the step size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from grokfast._checks import check_at_least, check_positive
from grokfast.learning_coefficient.chains import Drawn, chain_generator, normal
from grokfast.learning_coefficient.posterior import Posterior


@dataclass(frozen=True)
class Sgld:
    """Stochastic-gradient Langevin dynamics.

    Args:
        step: The step size epsilon, > 0.
        chains: Independent chains.
        warmup: Steps left out at the beginning.
        steps: Steps after that.
        batch_size: Samples a step, drawn anew; None takes all, which is plain Langevin.
        every: Steps between two looks at the loss on all samples.
        seed: Of all chains.

    Source:
        Welling and Teh 2011; Lau et al. 2024, arXiv 2308.12108.
    """

    step: float
    chains: int = 1
    warmup: int = 0
    steps: int = 1000
    batch_size: int | None = None
    every: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive("step", self.step)
        for name, least in (("chains", 1), ("warmup", 0), ("steps", 8), ("every", 1), ("seed", 0)):
            check_at_least(name, getattr(self, name), least)
        if self.batch_size is not None:
            check_at_least("batch_size", self.batch_size, 1)


def run_sgld(posterior: Posterior, how: Sgld) -> list[Drawn]:
    """All steps of all chains of each network, from w*.

    Returns:
        One a network, with the loss on all samples at each look after the warm-up.
    """
    generators = [chain_generator(how.seed, k) for k in range(how.chains)]
    dtype, size, nets = posterior.center.dtype, posterior.size, posterior.nets
    where = torch.zeros(nets * how.chains, size, dtype=dtype)
    samples = posterior.density.samples
    found = [Drawn() for _ in range(nets)]
    for t in range(1, how.warmup + how.steps + 1):
        batch = None
        if how.batch_size is not None and how.batch_size < samples:
            drawn = torch.stack([torch.randint(samples, (how.batch_size,), generator=g) for g in generators])
            batch = drawn.repeat(nets, 1)
        slope = posterior.energy(where, batch)[2]
        noise = normal(generators, nets, posterior.center)
        where.sub_(slope.mul_(0.5 * how.step)).add_(noise.mul_(math.sqrt(how.step)))
        if t > how.warmup and (t - how.warmup) % how.every == 0:
            losses = posterior.loss(where).view(nets, -1, 1)
            away = where.view(nets, -1, size).double().square().mean(1)
            for one, loss, distance in zip(found, losses, away, strict=True):
                one.add(loss, torch.full((how.chains,), math.nan), distance)
    return found
