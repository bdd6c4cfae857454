"""The paper's own curves, read from its vector figures: a CSV file a panel, and an index of what each shows."""

from __future__ import annotations

import csv
import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from grokfast._checks import nearest
from grokfast.errors import InputError

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Panel:
    """One panel of the paper whose curves were read.

    Attributes:
        name: ``fig08b``: figure 8, panel b.
        shows: What it shows, in words.
        x: Quantity or unit of the abscissa.
        y: Quantity or unit of the ordinate.
        of: What each curve is a mean of, by the caption.
        error: Of the reading.
        source: Where the figure is.
    """

    name: str
    shows: str
    x: str
    y: str
    of: str
    error: str
    source: str


@functools.cache
def panels() -> Mapping[str, Panel]:
    """The panels by name, in the order of the paper."""
    content = tomllib.loads(resources.files(__name__).joinpath("index.toml").read_text())
    source = content.pop("source")
    return {name: Panel(name=name, source=source, **values) for name, values in content.items()}


@functools.cache
def paper_curves(panel: str) -> Mapping[str, Curve]:
    """All curves of a panel by series: x ``[n]`` and y ``[n]`` in the order they were read.

    Args:
        panel: Such as ``fig05c``; figures 5c and 14c are one, and go by both names.

    Raises:
        InputError: If the paper's panel was not read, or is none.

    Source:
        arXiv 2502.01739v1; ``index.toml`` says how exactly.
    """
    name = _TWINS.get(panel, panel)
    if name not in panels():
        known = [*panels(), *_TWINS]
        raise InputError(
            f"no curve was read from panel {panel!r} of the paper; expected one of {', '.join(known)}"
            f"{nearest(panel, known)}"
        )
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in csv.DictReader(resources.files(__name__).joinpath(f"{name}.csv").read_text().splitlines()):
        curves.setdefault(row["series"], []).append((float(row["x"]), float(row["y"])))
    found = {}
    for series, points in curves.items():
        x, y = np.array(points).T
        x.flags.writeable = y.flags.writeable = False
        found[series] = x, y
    return found


def paper_curve(panel: str, series: str) -> Curve:
    """One curve of a panel.

    Args:
        panel: As in :func:`paper_curves`.
        series: Its name there.

    Raises:
        InputError: If there is no such panel, or no such series in it.
    """
    curves = paper_curves(panel)
    if series not in curves:
        raise InputError(f"panel {panel} has no series {series!r}; expected one of {list(curves)}")
    return curves[series]


_TWINS = {"fig05c": "fig14c", "fig05b": "fig14a"}
"""Panels that show what another one shows. Figure 5b by its caption: the text has modular addition in 5a."""

__all__ = ["Curve", "Panel", "panels", "paper_curve", "paper_curves"]
