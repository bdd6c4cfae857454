"""Preconditioned Metropolis-adjusted Langevin chains: exact for any step, and quick where the curvature is known."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grokfast._checks import check_at_least, check_fraction, check_positive
from grokfast.learning_coefficient.posterior import Posterior

_SHRINK, _EARLY = 0.05, 10.0  # gamma and t0 of dual averaging: Hoffman and Gelman 2014, sec. 3.2


@dataclass(frozen=True)
class Mala:
    r"""Metropolis-adjusted Langevin with the diagonal :math:`G = 1/(n\beta(F + \lambda) + \gamma)`.

    A step is one leapfrog step of Hamiltonian dynamics; more of them a step make it Hamiltonian Monte Carlo.

    Args:
        chains: Independent chains, at least 2.
        warmup: Steps in which the step size is fitted, then left out; None takes 50, or 10 of large networks.
        steps: Steps kept at least; None takes 400, or 40 of more than 50,000 parameters.
        most: Steps at most, if the chains have not mixed before; None takes four times ``steps``.
        leapfrog: Gradients a step.
        step: Step size, in units of the posterior's width; None fits it to ``acceptance``.
        acceptance: The share of proposals to accept, in (0, 1).
        seed: Of all chains.

    Source:
        Roberts and Tweedie 1996; dual averaging of Hoffman and Gelman 2014, arXiv 1111.4246.
    """

    chains: int = 4
    warmup: int | None = None
    steps: int | None = None
    most: int | None = None
    leapfrog: int = 1
    step: float | None = None
    acceptance: float = 0.7
    seed: int = 0

    def __post_init__(self) -> None:
        check_at_least("chains", self.chains, 2)
        check_at_least("leapfrog", self.leapfrog, 1)
        check_at_least("seed", self.seed, 0)
        for name, least in (("warmup", 0), ("steps", 8), ("most", 8)):
            if getattr(self, name) is not None:
                check_at_least(name, getattr(self, name), least)
        if self.step is not None:
            check_positive("step", self.step)
        check_fraction("acceptance", self.acceptance)

    def lengths(self, size: int) -> tuple[int, int, int]:
        """Warm-up, least and most steps for a network of ``size`` parameters."""
        small = size <= 50_000
        steps = self.steps or (400 if small else 40)
        warmup = self.warmup if self.warmup is not None else (50 if small else 10)
        return warmup, steps, max(steps, self.most or 4 * steps)


class Chains:
    """Chains in motion; one call of :meth:`run` goes on where the last ended.

    What a chain does depends on the seed and its number alone, not on how many there are.

    Args:
        posterior: What is sampled.
        scale: ``[d]``, the width of the posterior along each parameter, from its curvature.
        sampling: How.
    """

    def __init__(self, posterior: Posterior, scale: Tensor, sampling: Mala) -> None:
        self._posterior, self._scale, self._how = posterior, scale, sampling
        self._generators = [chain_generator(sampling.seed, k) for k in range(sampling.chains)]
        self._z = self._normal()
        self._loss, self._energy, self._slope = self._look(self._z)
        start = sampling.step or 1.65 * posterior.size ** (-1 / 6) / math.sqrt(sampling.leapfrog)
        self._step = torch.full((sampling.chains,), math.log(start), dtype=torch.float64)
        self._start = math.log(start)

    def warm_up(self, steps: int) -> None:
        """Fit each chain's step size, unless it is given, and leave the start behind."""
        error = torch.zeros(self._how.chains, dtype=torch.float64)
        late: list[Tensor] = []
        for t in range(1, steps + 1):
            accepted = self._move()
            if self._how.step is not None:
                continue
            share = 1 / (t + _EARLY)
            error = (1 - share) * error + share * (self._how.acceptance - accepted)
            self._step = self._start - math.sqrt(t) / _SHRINK * error
            late.append(self._step)
        if late:
            self._step = torch.stack(late[len(late) // 2 :]).mean(0)

    def run(self, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        """Go on for some steps.

        Returns:
            The loss after each step ``[C, steps]``, the mean probability of acceptance ``[C]``, and the mean squares
            of the displacements ``[d]`` over steps and chains, all float64.
        """
        losses, accepted = [], torch.zeros(self._how.chains, dtype=torch.float64)
        squares = torch.zeros(self._posterior.size, dtype=torch.float64)
        for _ in range(steps):
            accepted += self._move()
            losses.append(self._loss.clone())
            squares += (self._z * self._scale).double().square().mean(0)
        return torch.stack(losses, dim=1), accepted / steps, squares / steps

    def _move(self) -> Tensor:
        """One step of every chain; returns the probabilities of acceptance ``[C]``."""
        step = self._step.exp().to(self._z.dtype)[:, None]
        momentum = self._normal()
        before = self._energy + 0.5 * momentum.double().square().sum(1)
        z, slope = self._z, self._slope
        loss = energy = self._energy
        for _ in range(self._how.leapfrog):
            momentum = momentum - 0.5 * step * slope
            z = z + step * momentum
            loss, energy, slope = self._look(z)
            momentum = momentum - 0.5 * step * slope
        after = energy + 0.5 * momentum.double().square().sum(1)
        # A state of infinite or undefined energy is never accepted.
        chance = (before - after).nan_to_num(nan=-math.inf).clamp(max=0).exp()
        drawn = torch.stack([torch.rand((), generator=g, dtype=torch.float64) for g in self._generators])
        taken = drawn < chance
        self._z = torch.where(taken[:, None], z, self._z)
        self._slope = torch.where(taken[:, None], slope, self._slope)
        self._loss = torch.where(taken, loss, self._loss)
        self._energy = torch.where(taken, energy, self._energy)
        return chance

    def _look(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        loss, energy, slope = self._posterior.energy(z * self._scale)
        return loss, energy, slope * self._scale

    def _normal(self) -> Tensor:
        size, dtype = self._posterior.size, self._scale.dtype
        return torch.stack([torch.randn(size, generator=generator, dtype=dtype) for generator in self._generators])


def chain_generator(seed: int, chain: int) -> torch.Generator:
    """The random numbers of one chain, from the seed and its number alone."""
    mixed = np.random.SeedSequence([seed, zlib.crc32(b"llc"), chain]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(mixed[0]) & (2**63 - 1))
