"""What a reproduction trains: the studies of its claims and figures, in stages that share their runs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from grokfast._checks import nearest
from grokfast.errors import ConfigError
from grokfast.figures import FIGURES
from grokfast.figures.choose import is_measurable
from grokfast.report.beyond import EXPERIMENTS
from grokfast.report.claims import CLAIMS
from grokfast.report.page.content import PAPERS
from grokfast.studies import STUDIES
from grokfast.training import RunConfig
from grokfast.training.stored import united

SIZES = ("quick", "laptop", "paper")
"""Sizes of a reproduction: minutes, an evening, the paper's own."""

APART = ("geometry",)
"""Studies that are trained only when they are asked for by name: they cost many times what shows the same."""

PAPER = "paper"
"""Stands for all of the paper's studies."""

BEYOND = "beyond"
"""Stands for the studies of the experiments past the paper that are not the paper's own."""

LLC_FIGURES = ("fig15", "fig16", "fig17", "fig19")
"""Figures with a panel of the local learning coefficient."""

_FIRST = ("main-text", "main-text-ends", "main-text-dynamics", "strong-decay", "batch-200", "ising")


@dataclass(frozen=True)
class Stage:
    """Runs that are trained, measured and summarised together.

    Attributes:
        name: The study it begins with.
        configs: Its runs, which no earlier stage has; each looks at all that any study wants of it.
        studies: Keys of all runs of every study that is complete with this stage, by name.
        measured: Whether a claim or figure wants the end models measured.
        llc: Whether the local learning coefficient is taken too.
    """

    name: str
    configs: tuple[RunConfig, ...]
    studies: dict[str, tuple[str, ...]]
    measured: bool
    llc: bool = False

    @property
    def keys(self) -> list[str]:
        """Keys of its runs."""
        return [config.key for config in self.configs]


def stages_of(size: str, only: Sequence[str] = ()) -> list[Stage]:
    """The stages of a reproduction, in order.

    Args:
        size: One of :data:`SIZES`.
        only: Names of claims, figures and studies, :data:`PAPER` and :data:`BEYOND`; all of the paper's if empty.

    Raises:
        ConfigError: If there is no such size, claim, figure or study.
    """
    if size not in SIZES:
        raise ConfigError(f"size must be one of {', '.join(SIZES)}, got {size!r}{nearest(size, SIZES)}")
    every = _ordered({*wanted_studies(()), *wanted_studies(only)})
    by_study = {name: STUDIES[name].sweep(size).configs for name in every}
    # One training for all: a run that several studies have looks at all that any of them wants.
    whole = {
        config.key: config for config in united(_different(config for found in by_study.values() for config in found))
    }
    stages: list[Stage] = []
    home: dict[str, int] = {}
    for name in _ordered(wanted_studies(only)):
        keys = tuple(config.key for config in by_study[name])
        new = [key for key in keys if key not in home]
        if new:
            home |= dict.fromkeys(new, len(stages))
            stages.append(Stage(name, tuple(whole[key] for key in new), {name: keys}, is_measured([name])))
        else:
            k = max(home[key] for key in keys)
            found = stages[k].studies | {name: keys}
            stages[k] = replace(stages[k], studies=found, measured=is_measured(found))
    return stages


def wanted_studies(only: Sequence[str]) -> set[str]:
    """Studies of some claims, figures and studies by name; of all of the paper's if there are none.

    Raises:
        ConfigError: If there is no claim, figure or study of a name.
    """
    if not only:
        owned = {study.name for study in STUDIES.values() if set(study.figures) & set(PAPERS)}
        claimed = {name for claim in CLAIMS.values() for name in claim.studies}
        return {*owned, *claimed} - set(APART)
    found: set[str] = set()
    known = [*CLAIMS, *PAPERS, *STUDIES, PAPER, BEYOND]
    for name in only:
        if name == PAPER:
            found |= wanted_studies(())
        elif name == BEYOND:
            own = {study for one in EXPERIMENTS.values() for study in (*one.studies, *one.optional)}
            found |= own - wanted_studies(())
        elif name in CLAIMS:
            found |= set(CLAIMS[name].studies) - set(APART)
        elif name in FIGURES:
            found |= set(FIGURES[name].studies) - set(APART)
        elif name in STUDIES:
            found.add(name)
        else:
            raise ConfigError(f"--only takes claims, figures and studies, got {name!r}{nearest(name, known)}")
    return found


def with_llc(stages: Sequence[Stage]) -> list[Stage]:
    """The same stages, with the local learning coefficient of every run that is in a study whose figure shows it."""
    shown = {study for name in LLC_FIGURES for study in FIGURES[name].studies}
    return [replace(stage, llc=not shown.isdisjoint(stage.studies)) for stage in stages]


def is_measured(studies: Collection[str]) -> bool:
    """Whether a claim or figure of some studies wants measures of end models."""
    needs = [(spec.columns, spec.kept) for spec in FIGURES.values() if set(spec.studies) & set(studies)]
    claims = [claim.needs for claim in CLAIMS.values() if set(claim.studies) & set(studies)]
    needs += [(need.columns, need.kept) for need in claims]
    return any(kept or any(map(is_measurable, columns)) for columns, kept in needs)


def _ordered(names: Iterable[str]) -> list[str]:
    return sorted(names, key=list(dict.fromkeys((*_FIRST, *STUDIES))).index)


def _different(configs: Iterable[RunConfig]) -> list[RunConfig]:
    return list({json.dumps(config.to_dict(), sort_keys=True): config for config in configs}.values())
