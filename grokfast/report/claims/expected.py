"""What the paper says of a task, and what its figures show: one TOML file a task, read into references."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from grokfast.errors import InputError
from grokfast.measures import Estimate
from grokfast.paper import paper_curve
from grokfast.report.claims.reduce import find_reduction
from grokfast.report.claims.verdict import Reference


@dataclass(frozen=True)
class Expected:
    """The paper's two values of one quantity.

    Attributes:
        prose: What the text says; None where it says nothing.
        figure: What its figure shows; None where no curve was read.
    """

    prose: Reference | None = None
    figure: Reference | None = None


NOTHING = Expected()


@cache
def expected_of(task: str) -> Mapping[str, Mapping[str, Expected]]:
    """What the paper has of a task, by claim and quantity; nothing of a task that is not the paper's.

    Raises:
        InputError: If the file of the task has an entry that means nothing.
    """
    file = resources.files(__package__).joinpath("paper", f"{task}.toml")
    if not file.is_file():
        return {}
    content = tomllib.loads(file.read_text())
    return {
        claim: {name: _expected(f"{task}: {claim}, {name}", entry) for name, entry in quantities.items()}
        for claim, quantities in content.items()
    }


def _expected(where: str, entry: Mapping[str, Any]) -> Expected:
    unknown = set(entry) - {"prose", "figure"}
    if unknown or not entry:
        raise InputError(f"{where}: expected prose and figure, got {sorted(entry)}")
    return Expected(*(reference(where, entry[name]) if name in entry else None for name in ("prose", "figure")))


def reference(where: str, entry: float | Mapping[str, Any]) -> Reference:
    """One value of the paper as its file writes it.

    A number; ``{ value = 0.4 }``; ``{ low = 1, high = 2 }``, a bracket; ``{ above = 0 }`` or ``{ below = 0 }``, a bound
    without margin; ``{ curve = "fig08b", series = "grokking", take = "peak" }``, a reduction of a curve, or of several
    series as one set of points (``by = "w0"`` takes the w0 that a series is called by for x). Further: ``says`` is the
    text shown, ``source`` names a panel, the rest goes to the reduction.

    Raises:
        InputError: If it is none of these.
    """
    if not isinstance(entry, Mapping):
        return Reference(float(entry), float(entry), f"{entry:g}")
    fields = dict(entry)
    says, source = fields.pop("says", None), str(fields.pop("source", ""))
    if "curve" in fields:
        return _from_curve(fields, says)
    if set(fields) == {"value"}:
        low = high = float(fields["value"])
        text = f"{low:g}"
    elif set(fields) == {"low", "high"}:
        low, high = float(fields["low"]), float(fields["high"])
        text = f"({low:g}, {high:g}]"
    elif set(fields) == {"above"}:
        low, high = float(fields["above"]), math.inf
        text = f"above {low:g}"
    elif set(fields) == {"below"}:
        low, high = -math.inf, float(fields["below"])
        text = f"below {high:g}"
    else:
        raise InputError(f"{where}: expected value, low and high, above, below or curve, got {sorted(fields)}")
    return Reference(low, high, says or text, not math.isfinite(high - low), source)


def _from_curve(fields: dict[str, Any], says: str | None) -> Reference:
    panel, series, take = fields.pop("curve"), fields.pop("series"), fields.pop("take")
    names = [series] if isinstance(series, str) else series
    curves = [paper_curve(panel, name) for name in names]
    if fields.pop("by", None) == "w0":  # the points of a series belong to the w0 that it is called by
        curves = [
            (np.full(len(x), float(name.removeprefix("w0="))), y) for name, (x, y) in zip(names, curves, strict=True)
        ]
    x, y = (np.concatenate(parts) for parts in zip(*curves, strict=True))
    found = find_reduction(take)(x, y, **fields)
    if isinstance(found, Estimate):
        return Reference(found.low, found.high, says or f"{found:.3g}", source=panel)
    return Reference(found, found, says or f"{found:.3g}", source=panel)
