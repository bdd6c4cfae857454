"""Figures: what each one shows and needs, and how one of your own is found."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from grokfast._checks import check_at_least
from grokfast._registry import References, Registry, place_of
from grokfast.errors import ConfigError, InputError
from grokfast.figures.overlay import Overlays
from grokfast.runs import Run

ENTRY_POINTS = "grokfast.figures"
"""The entry point group in which an installed package names its figures."""

WHOLE = "every setting"
"""Stands for ``apart`` in a figure that shows all runs of its studies at once."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class FigureSpec:
    """One figure.

    What a figure needs is named by columns; ``*`` in a name stands for anything. A run has a column if its summary has
    a value of that name, kept measures included, or it has an array or a column of its history of that name.

    Attributes:
        name: As on the command line: ``fig05a``.
        title: What it shows.
        draw: Draws it from runs of one setting, in the order of w0 and seed.
        study: The study whose runs the paper shows, or several; empty for a figure of any runs.
        columns: Names of what it needs of each run.
        curves: Columns of the history that it needs at two epochs or more.
        kept: Curves of stored end models that it needs (``pruning-global``): ``grokfast measure`` makes them.
        lacks: Says of a run that has all that is named what its network lacks for the figure to have a meaning.
        scales: How many different w0 it needs.
        apart: A field (``"task"`` too) whose values it shows apart, each in a panel of its own; :data:`WHOLE` for all
            runs of its studies, of every setting.
        paper: The paper's own curves, laid over runs of the paper's setting: by the label that ``draw`` gives the axes.

    Raises:
        ConfigError: If the name is no word of letters, digits, dots, hyphens and underscores.
    """

    name: str
    title: str
    draw: Callable[[Sequence[Run]], Figure]
    study: str | tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    curves: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    lacks: Callable[[Run], str | None] | None = None
    scales: int = 1
    apart: str | None = None
    paper: Overlays = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name) or self.name.lower() == "all":
            raise ConfigError(
                "a figure's name must be letters, digits, dots, hyphens and underscores and not 'all', got "
                f"{self.name!r}"
            )
        check_at_least("scales", self.scales, 1, error=ConfigError)
        for name in ("columns", "curves", "kept"):
            if isinstance(getattr(self, name), str):
                raise ConfigError(f"{name} of figure {self.name} must be a tuple of names, got one text")

    @property
    def studies(self) -> tuple[str, ...]:
        """Names of its studies."""
        return (self.study,) if isinstance(self.study, str) else self.study

    @property
    def needs_runs(self) -> bool:
        """Whether it shows runs at all."""
        return bool(self.columns or self.curves or self.kept)


_REGISTRY: Registry[str, FigureSpec] = Registry("figure", place=lambda spec: place_of(spec.draw))

FIGURES: Mapping[str, FigureSpec] = _REGISTRY
"""The registered figures by name."""


def register_figure(spec: FigureSpec) -> FigureSpec:
    """Let a figure be drawn by its name.

    Args:
        spec: The figure.

    Returns:
        The same.

    Raises:
        ConfigError: If it is no :class:`FigureSpec`, or another figure has its name, also by case.
    """
    _REGISTRY.add(_checked(spec, repr(spec)).name, spec)
    return spec


def find_figure(reference: str) -> FigureSpec:
    """The figure that a name means.

    Args:
        reference: A registered name, that of an entry point of an installed package (group ``grokfast.figures``), or
            ``module:attribute`` on the import path.

    Raises:
        InputError: If there is none; the message says what is missing.
    """
    return _REFERENCES.find(reference)


def _checked(found: Any, reference: str) -> FigureSpec:
    if not isinstance(found, FigureSpec):
        raise ConfigError(f"{reference} is no figure: expected a FigureSpec, got {type(found).__name__}")
    return found


_REFERENCES = References(_REGISTRY, "figure", ENTRY_POINTS, _checked, missing=InputError)
