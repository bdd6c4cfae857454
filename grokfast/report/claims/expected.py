"""What the paper says of a task, and what its figures show: one TOML file a task, read into references."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from grokfast.errors import InputError
from grokfast.measures import Estimate
from grokfast.paper import Curve, paper_curve
from grokfast.report.claims.reduce import find_reduction
from grokfast.report.claims.verdict import Reference
from grokfast.report.wording import digits, interval

_READ = 0.01  # of a value read from a curve, for its digits: three or four


@dataclass(frozen=True)
class Expected:
    """The paper's two values of one quantity.

    Attributes:
        prose: What the text says; None where it says nothing.
        figure: What its figure shows; None where no curve was read.
        curve: How to read the figure once the runs are known: where their place on its axis counts.
    """

    prose: Reference | None = None
    figure: Reference | None = None
    curve: Mapping[str, Any] = field(default_factory=dict)

    def at(self, **given: float) -> Expected:
        """The same, with the figure's value taken from its curve at places that depend on the runs.

        Args:
            given: ``place``, ``since`` or ``until``, on the figure's axis; for others see the reduction. No value comes
                of a place that the curve does not have.
        """
        if not self.curve or not given:
            return self
        return Expected(self.prose, _from_curve({**self.curve, **given}))


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
    unknown = set(entry) - {"prose", "figure", "at"}
    if unknown or not entry:
        raise InputError(f"{where}: expected prose, figure and at, got {sorted(entry)}")
    prose, figure = (reference(where, entry[name]) if name in entry else None for name in ("prose", "figure"))
    return Expected(prose, figure, entry.get("at", {}))


def reference(where: str, entry: float | Mapping[str, Any]) -> Reference:
    """One value of the paper as its file writes it.

    A number; ``{ value = 0.4 }``; ``{ low = 1, high = 2 }``, a bracket; ``{ above = 0 }``, ``{ below = 0 }`` or
    ``{ within = 0.05 }``, bounds without margin; ``{ curve = "fig08b", series = "grokking", take = "peak" }``, a
    reduction of a curve, or of several series as one set of points. ``by = "w0"`` takes the w0 that a series is called
    by for x, ``less`` and ``over`` name a series that is subtracted or divided by, ``since`` and ``until`` bound x.
    ``says`` is the text shown, ``source`` names a panel; the rest goes to the reduction.

    Raises:
        InputError: If it is none of these.
    """
    if not isinstance(entry, Mapping):
        return Reference(float(entry), float(entry), f"{entry:g}")
    fields = dict(entry)
    says, source = fields.pop("says", None), str(fields.pop("source", ""))
    if "curve" in fields:
        found = _from_curve({**fields, "says": says})
        if found is None:
            raise InputError(f"{where}: the curve has no point there")
        return found
    if set(fields) == {"value"}:
        low = high = float(fields["value"])
        text = f"{low:g}"
    elif set(fields) == {"low", "high"}:
        low, high = float(fields["low"]), float(fields["high"])
        text = f"({low:g}, {high:g}]"
    elif set(fields) == {"above"}:
        low, high = float(fields["above"]), math.inf
        text = f"above {low:g}"
    elif set(fields) == {"within"}:
        low, high = -float(fields["within"]), float(fields["within"])
        return Reference(low, high, says or f"within {high:g}", True, source)
    elif set(fields) == {"below"}:
        low, high = -math.inf, float(fields["below"])
        text = f"below {high:g}"
    else:
        raise InputError(f"{where}: expected value, low and high, above, below, within or curve, got {sorted(fields)}")
    return Reference(low, high, says or text, not math.isfinite(high - low), source)


def _from_curve(fields: Mapping[str, Any]) -> Reference | None:
    """A reduction of a curve; None where the curve has nothing at the places it is asked for."""
    fields = dict(fields)
    panel, series, take, says = (fields.pop(name, None) for name in ("curve", "series", "take", "says"))
    x, y = _points(panel, series, fields)
    since, until = fields.pop("since", -np.inf), fields.pop("until", np.inf)
    inside = (x >= since) & (x <= until)
    if not inside.any() or (take == "at" and not np.isclose(x, fields["place"], rtol=0.01).any()):
        return None
    found = find_reduction(take)(x[inside], y[inside], **fields)
    if isinstance(found, Estimate):
        return Reference(found.low, found.high, says or interval(found), source=panel)
    return Reference(found, found, says or digits(found, abs(found) * _READ), source=panel)


def _points(panel: str, series: str | Sequence[str], fields: dict[str, Any]) -> Curve:
    """Points of one series or several; ``by``, ``less`` and ``over`` are taken out of the fields."""
    names = [series] if isinstance(series, str) else series
    curves = [paper_curve(panel, name) for name in names]
    if fields.pop("by", None) == "w0":
        scales = [float(name.removeprefix("w0=")) for name in names]
        curves = [(np.full(len(x), w0), y) for w0, (x, y) in zip(scales, curves, strict=True)]
    x, y = (np.concatenate(parts) for parts in zip(*curves, strict=True))
    for name, combine in (("less", np.subtract), ("over", np.divide)):
        if name in fields:
            y = combine(y, np.interp(x, *paper_curve(panel, fields.pop(name))))
    return x, y
