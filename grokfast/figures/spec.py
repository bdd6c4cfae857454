"""Figures: what each one shows and needs, and how one of your own is found."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from matplotlib.figure import Figure

from grokfast._checks import check_at_least, nearest
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


class _Registry(Mapping[str, FigureSpec]):
    def __init__(self) -> None:
        self._found: dict[str, FigureSpec] = {}

    def __getitem__(self, name: str) -> FigureSpec:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def add(self, spec: FigureSpec) -> None:
        twin = {name.lower(): name for name in self._found}.get(spec.name.lower())
        if twin is not None and _place(self._found[twin]) != _place(spec):
            raise ConfigError(f"there is a figure {twin!r} already: give yours another name")
        self._found[spec.name] = spec


_REGISTRY = _Registry()

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
    _REGISTRY.add(_checked(spec, repr(spec)))
    return spec


def find_figure(reference: str) -> FigureSpec:
    """The figure that a name means.

    Args:
        reference: A registered name, that of an entry point of an installed package (group ``grokfast.figures``), or
            ``module:attribute`` on the import path.

    Raises:
        InputError: If there is none; the message says what is missing.
    """
    if reference in FIGURES:
        return FIGURES[reference]
    module, colon, attribute = reference.partition(":")
    if colon:
        return _imported(module, attribute, reference)
    entries = {entry.name: entry for entry in metadata.entry_points(group=ENTRY_POINTS)}
    if reference in entries:
        return _imported(entries[reference].module, entries[reference].attr, reference)
    known = [*FIGURES, *entries]
    raise InputError(
        f"figure must be one of {', '.join(known)}, or module:attribute for one of your own, got {reference!r}"
        f"{nearest(reference, known)}"
    )


def _place(spec: FigureSpec) -> tuple[str, str]:
    """Where a figure was written: a file that is imported twice has the same ones."""
    return getattr(spec.draw, "__module__", ""), getattr(spec.draw, "__qualname__", repr(spec.draw))


def _imported(module: str, attribute: str, reference: str) -> FigureSpec:
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:
        raise InputError(
            f"figure {reference!r}: module {module} cannot be imported ({type(error).__name__}: {error}); it must lie "
            "in the folder the command is called in, or be installed"
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise InputError(f"figure {reference!r}: {module} has no {attribute!r}{nearest(part, dir(found))}")
        found = getattr(found, part)
    return _checked(found, reference)


def _checked(found: Any, reference: str) -> FigureSpec:
    if not isinstance(found, FigureSpec):
        raise ConfigError(f"{reference} is no figure: expected a FigureSpec, got {type(found).__name__}")
    return found
