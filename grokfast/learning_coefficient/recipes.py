"""How the literature estimates the coefficient, by name: all by stochastic-gradient Langevin dynamics."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from grokfast._checks import check_at_least, parse_choice
from grokfast.learning_coefficient.estimate import Settings
from grokfast.learning_coefficient.sgld import Sgld


class RecipeName(StrEnum):
    """Whose recipe."""

    PAPER = "paper"
    """The code of the authors of arXiv 2502.01739: one chain, step 1e-3, gamma 1, batches of 512, 10,000 steps of which
    the first quarter is left out."""
    DEVINTERP = "devinterp"
    """The defaults of devinterp 1.0's estimator, ten chains of 100 steps from w* on with none left out, with the step
    1e-3 of its SGLD and a localisation of 100, which was not found among its defaults."""
    LAU = "lau"
    """Lau et al. 2024, arXiv 2308.12108, as their code has it for deep linear networks: one chain, step 5e-9, gamma 1,
    batches of 500, 200,000 steps."""


@dataclass(frozen=True)
class Recipe:
    """A sampler with its settings.

    Attributes:
        sampling: The sampler.
        settings: Its settings; nowhere is w* polished, and no weight decay is sampled.
    """

    sampling: Sgld
    settings: Settings


def recipe(name: str | RecipeName, samples: int, *, looks: int = 150, steps: int | None = None) -> Recipe:
    """A recipe of the literature for data of a size.

    Its loss is taken on all samples, at evenly spaced steps, where the literature takes that of each step's batch: the
    same mean, with less noise.

    Args:
        name: ``"paper"``, ``"devinterp"`` or ``"lau"``.
        samples: Number of training samples; a batch is at most all of them.
        looks: At the loss, at most one a step.
        steps: All steps, the ones left out too, instead of the recipe's.

    Raises:
        InputError: If there is no such recipe, or a number is out of range.
    """
    name = parse_choice("recipe", name, RecipeName)
    for what, value, least in (("samples", samples, 2), ("looks", looks, 8)):
        check_at_least(what, value, least)
    if steps is not None:
        check_at_least("steps", steps, 16)
    length, chains, epsilon, gamma, batch = {
        RecipeName.PAPER: (10_000, 1, 1e-3, 1.0, 512),
        RecipeName.DEVINTERP: (100, 10, 1e-3, 100.0, 512),
        RecipeName.LAU: (200_000, 1, 5e-9, 1.0, 500),
    }[name]
    length = steps or length
    warmup = length // 4 if name is RecipeName.PAPER else 0
    sampling = Sgld(
        step=epsilon,
        chains=chains,
        warmup=warmup,
        steps=length - warmup,
        batch_size=min(batch, samples),
        every=max(1, (length - warmup) // looks),
    )
    return Recipe(sampling, Settings(gamma=gamma, polish=False))
