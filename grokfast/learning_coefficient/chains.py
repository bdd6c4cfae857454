"""Preconditioned Metropolis-adjusted Langevin chains: exact for any step, and quick where the curvature is known."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grokfast._checks import check_at_least, check_fraction, check_positive
from grokfast.errors import InputError
from grokfast.learning_coefficient.posterior import Posterior, squared_norms

_SMALL = 50_000  # parameters
_LARGEST = math.pi / 2  # a quarter turn: of a normal posterior, an independent draw
_HALVINGS = 40
_SHRINK, _EARLY = 0.05, 10.0  # gamma and t0 of dual averaging: Hoffman and Gelman 2014, sec. 3.2


@dataclass(frozen=True)
class Mala:
    r"""Metropolis-adjusted Langevin with the diagonal :math:`G = 1/(n\beta(F + \lambda) + \gamma)`.

    In units of the widths :math:`\sqrt G` the posterior is near the normal distribution. A step is one of Hamiltonian
    dynamics in which that normal part is followed exactly, as a rotation of position and momentum by the angle of the
    step, and only the rest of the gradient is a kick before and after it: of an exactly normal posterior every step
    is accepted, and at a quarter turn independent of the last, in any number of dimensions. More kicks a step make it
    Hamiltonian Monte Carlo.

    Args:
        chains: Independent chains, at least 2.
        warmup: Steps in which the step size is fitted, then left out; None takes 50, or 10 of large networks.
        steps: Steps kept at least; None takes 400, or 40 of more than 50,000 parameters.
        most: Steps at most, if the chains have not mixed before; None takes four times ``steps``, or eight times of
            large networks.
        leapfrog: Gradients a step; None takes 1.
        step: The angle of a kick, in (0, pi / 2]; None fits it to ``acceptance``.
        acceptance: The share of proposals to accept, in (0, 1).
        seed: Of all chains.

    Source:
        Roberts and Tweedie 1996; the splitting of Beskos et al. 2011 (Stoch. Proc. Appl. 121, 2201) and Shahbaba et
        al. 2014, arXiv 1106.5941; dual averaging of Hoffman and Gelman 2014, arXiv 1111.4246.
    """

    chains: int = 4
    warmup: int | None = None
    steps: int | None = None
    most: int | None = None
    leapfrog: int | None = None
    step: float | None = None
    acceptance: float = 0.7
    seed: int = 0

    def __post_init__(self) -> None:
        check_at_least("chains", self.chains, 2)
        check_at_least("seed", self.seed, 0)
        for name, least in (("leapfrog", 1), ("warmup", 0), ("steps", 8), ("most", 8)):
            if getattr(self, name) is not None:
                check_at_least(name, getattr(self, name), least)
        if self.step is not None:
            check_positive("step", self.step)
            if self.step > _LARGEST:
                raise InputError(f"step must be an angle of at most pi / 2, got {self.step}")
        check_fraction("acceptance", self.acceptance)

    def lengths(self, size: int) -> tuple[int, int, int]:
        """Warm-up, least and most steps for a network of ``size`` parameters."""
        small = size <= _SMALL
        steps = self.steps or (400 if small else 40)
        warmup = self.warmup if self.warmup is not None else (50 if small else 10)
        return warmup, steps, max(steps, self.most or (4 if small else 8) * steps)

    def leaps(self, size: int) -> int:
        """Gradients a step for a network of ``size`` parameters."""
        return self.leapfrog or 1


class Drawn:
    """What the chains of one network have drawn so far.

    Attributes:
        losses: The loss after each step ``[C, steps]``, float64.
        acceptance: Mean probability of acceptance ``[C]``.
        squares: Mean squares of the displacements ``[d]`` over steps and chains, float64.
    """

    def __init__(self) -> None:
        self.losses = torch.empty(0, 0, dtype=torch.float64)
        self.acceptance = self.squares = torch.zeros(0, dtype=torch.float64)

    def add(self, losses: Tensor, acceptance: Tensor, squares: Tensor) -> None:
        """Take further steps, with the means over them."""
        before, more = self.losses.shape[1], losses.shape[1]
        if not before:
            self.losses, self.acceptance, self.squares = losses, acceptance, squares
            return
        share = more / (before + more)
        self.losses = torch.cat([self.losses, losses], dim=1)
        self.acceptance = self.acceptance * (1 - share) + acceptance * share
        self.squares = self.squares * (1 - share) + squares * share


class Chains:
    """Chains in motion around each network of a stack; one call of :meth:`run` goes on where the last ended.

    What a chain does depends on the seed, its number and its network alone: chains of one number have the same random
    numbers in every network.

    Args:
        posterior: What is sampled.
        scale: ``[E, d]``, the width of the posterior along each parameter, from its curvature.
        sampling: How.
    """

    def __init__(self, posterior: Posterior, scale: Tensor, sampling: Mala) -> None:
        self._posterior, self._scale, self._how = posterior, scale, sampling
        self._leapfrog = sampling.leaps(posterior.size)
        self._generators = [chain_generator(sampling.seed, k) for k in range(sampling.chains)]
        self._z = self._normal()
        self._loss, self._energy, self._kick = self._look(self._z)
        self._step = torch.full((len(self._z),), math.log(sampling.step or _LARGEST), dtype=torch.float64)

    def warm_up(self, steps: int) -> None:
        """Fit each chain's step size, unless it is given, and leave the start behind."""
        if self._how.step is None:
            self._halve()
        error = torch.zeros(len(self._z), dtype=torch.float64)
        start, late = self._step, []
        for t in range(1, steps + 1):
            accepted = self._move()
            if self._how.step is not None:
                continue
            share = 1 / (t + _EARLY)
            error = (1 - share) * error + share * (self._how.acceptance - accepted)
            self._step = (start - math.sqrt(t) / _SHRINK * error).clamp(max=math.log(_LARGEST))
            late.append(self._step)
        if late:
            self._step = torch.stack(late[len(late) // 2 :]).mean(0)

    def _halve(self) -> None:
        """Halve each chain's step until a first proposal would be taken as often as not."""
        momentum = self._normal()
        for _ in range(_HALVINGS):
            bold = self._propose(momentum.clone())[0] < 0.5
            if not bool(bold.any()):
                break
            self._step = torch.where(bold, self._step - math.log(2), self._step)

    def run(self, steps: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Go on for some steps.

        Returns:
            For each network what :meth:`Drawn.add` takes.
        """
        nets, size = self._posterior.nets, self._posterior.size
        losses, accepted = [], torch.zeros(len(self._z), dtype=torch.float64)
        squares = torch.zeros_like(self._scale)  # of z, which is about 1
        for _ in range(steps):
            accepted += self._move()
            losses.append(self._loss.clone())
            for own, rows in zip(squares, self._z.view(nets, -1, size), strict=True):
                for row in rows:
                    own.addcmul_(row, row)
        trace = torch.stack(losses, dim=1).view(nets, -1, steps)
        means = squares.double() * self._scale.double().square() / (steps * len(self._z) / nets)
        return list(zip(trace, (accepted / steps).view(nets, -1), means, strict=True))

    def keep(self, nets: Sequence[int]) -> None:
        """Go on with some of the networks alone."""
        chains = self._how.chains
        rows = [net * chains + k for net in nets for k in range(chains)]
        self._posterior, self._scale = self._posterior.only(nets), self._scale[list(nets)]
        self._z, self._kick, self._step = self._z[rows], self._kick[rows], self._step[rows]
        self._loss, self._energy = self._loss[rows], self._energy[rows]

    def _move(self) -> Tensor:
        """One step of every chain; returns the probabilities of acceptance ``[R]``."""
        chance, z, loss, energy, kick = self._propose(self._normal())
        drawn = torch.stack([torch.rand((), generator=g, dtype=torch.float64) for g in self._generators])
        taken = drawn.repeat(self._posterior.nets) < chance
        for row in (~taken).nonzero().flatten().tolist():
            z[row], kick[row] = self._z[row], self._kick[row]
        self._z, self._kick = z, kick
        self._loss = torch.where(taken, loss, self._loss)
        self._energy = torch.where(taken, energy, self._energy)
        return chance

    def _propose(self, momentum: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Probability of acceptance ``[R]``, position, loss, energy and kick of each chain after a step.

        The momentum is overwritten: fresh memory of its size costs more than what is done with it.
        """
        angle = self._step.exp()
        half, cos, sin = (part.to(momentum.dtype)[:, None] for part in (angle / 2, angle.cos(), angle.sin()))
        before = self._energy + 0.5 * squared_norms(momentum)
        z, loss, energy, kick = self._z, self._loss, self._energy, self._kick
        part = torch.empty_like(z)
        for _ in range(self._leapfrog):
            momentum.sub_(torch.mul(kick, half, out=part))
            turned = (z * cos).add_(torch.mul(momentum, sin, out=part))
            momentum.mul_(cos).sub_(torch.mul(z, sin, out=part))
            z = turned
            loss, energy, kick = self._look(z)
            momentum.sub_(torch.mul(kick, half, out=part))
        after = energy + 0.5 * squared_norms(momentum)
        # A state of infinite or undefined energy is never accepted.
        return (before - after).nan_to_num(nan=-math.inf).clamp(max=0).exp(), z, loss, energy, kick

    def _look(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss and energy ``[R]``, and the gradient of the energy without its normal part ``[R, d]``."""
        nets, size = self._posterior.nets, self._posterior.size
        away = (z.view(nets, -1, size) * self._scale[:, None]).view_as(z)
        loss, energy, slope = self._posterior.energy(away)
        slope.view(nets, -1, size).mul_(self._scale[:, None])
        return loss, energy, slope.sub_(z)

    def _normal(self) -> Tensor:
        return normal(self._generators, self._posterior.nets, self._scale)


def run_mala(posterior: Posterior, scale: Tensor, how: Mala, enough: Callable[[Tensor], bool]) -> list[Drawn]:
    """Chains around each network until they have mixed, or for as long as they may.

    Args:
        posterior: What is sampled.
        scale: As in :class:`Chains`.
        how: How.
        enough: Whether losses ``[C, steps]`` suffice.

    Returns:
        One a network; those that end early do not change the others.
    """
    warmup, least, most = how.lengths(posterior.size)
    chains = Chains(posterior, scale, how)
    chains.warm_up(warmup)
    found = [Drawn() for _ in range(posterior.nets)]
    active, done, more = list(range(posterior.nets)), 0, least
    while active:
        for net, drawn in zip(active, chains.run(more), strict=True):
            found[net].add(*drawn)
        done += more
        more = min(max(8, least // 2), most - done)
        rest = [k for k, net in enumerate(active) if more > 0 and not enough(found[net].losses)]
        if rest and len(rest) < len(active):
            chains.keep(rest)
        active = [active[k] for k in rest]
    return found


def chain_generator(seed: int, chain: int) -> torch.Generator:
    """The random numbers of one chain, from the seed and its number alone."""
    mixed = np.random.SeedSequence([seed, zlib.crc32(b"llc"), chain]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(mixed[0]) & (2**63 - 1))


def normal(generators: Sequence[torch.Generator], nets: int, like: Tensor) -> Tensor:
    """Standard normal rows ``[E * C, d]`` in the type of ``like`` ``[E, d]``: each chain's own, the same for all E."""
    drawn = torch.empty(len(generators), like.shape[1], dtype=like.dtype)
    for row, generator in zip(drawn, generators, strict=True):
        row.normal_(generator=generator)
    return drawn if nets == 1 else drawn.repeat(nets, 1)
