"""How numbers are written: as many digits as the interval supports, with their units."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from grokfast.measures import Estimate

if TYPE_CHECKING:
    from grokfast.report.claims import Finding

_MOST = 9  # digits after the point


def digits(value: float, half: float) -> str:
    """A number with two digits of its uncertainty: ``4.21`` at ±0.13, ``2,420`` at ±250.

    Args:
        value: The number.
        half: Half the width of its interval; 0 or not finite where it has none.
    """
    if not math.isfinite(value):
        return "never" if math.isinf(value) and value > 0 else "-"
    if not (math.isfinite(half) and half > 0):
        return f"{value:.4g}"
    places = 1 - math.floor(math.log10(half))
    return f"{round(value, places):,.{min(max(places, 0), _MOST)}f}"


def interval(estimate: Estimate, spec: str = "") -> str:
    """``4.21 [4.08, 4.34]``; without an interval the number alone.

    Args:
        estimate: What was measured.
        spec: A format of Python's for all three; empty for as many digits as the interval supports.
    """
    if math.isnan(estimate.mean):
        return "no value"
    if estimate.count < 2 or math.isnan(estimate.low):
        why = "one value" if estimate.count < 2 else "no interval"
        return f"{format(estimate.mean, spec) if spec else digits(estimate.mean, 0)} ({why})"
    ends = (estimate.mean, estimate.low, estimate.high)
    finite = [value for value in ends if math.isfinite(value)]
    half = (max(finite) - min(finite)) / 2 if len(finite) > 1 else 0.0
    mean, low, high = (format(value, spec) if spec and math.isfinite(value) else digits(value, half) for value in ends)
    return f"{mean} [{low}, {high}]"


def measured(finding: Finding) -> str:
    """What was measured, with its unit."""
    if finding.estimate is None:
        return "not measured"
    return f"{interval(finding.estimate, finding.spec)} {finding.unit}".strip()
