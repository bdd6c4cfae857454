"""Statistics that figures and reports share: means with intervals, straight lines with theirs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from grokfast._checks import check_fraction
from grokfast._edge import edge
from grokfast.errors import InputError


@dataclass(frozen=True)
class Estimate:
    """A mean with its confidence interval.

    Attributes:
        mean: The sample mean.
        low: Lower end of the interval.
        high: Upper end.
        count: Number of values.
    """

    mean: float
    low: float
    high: float
    count: int

    def __format__(self, spec: str) -> str:
        spec = spec or ".3g"
        if math.isnan(self.mean):
            return "no value"
        if self.count < 2:
            return f"{self.mean:{spec}} (one value)"
        if math.isnan(self.low) or math.isnan(self.high):
            return f"{self.mean:{spec}} (no interval)"
        return f"{self.mean:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


@edge
def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Mean of independent values with Student's t interval; with fewer than two values the interval is NaN.

    Args:
        values: ``[n]``, n >= 1, finite.
        confidence: Coverage, in (0, 1).

    Returns:
        The estimate.

    Raises:
        InputError: If there is no value or one is not finite.
    """
    check_fraction("confidence", confidence)
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size == 0 or not np.isfinite(sample).all():
        raise InputError(f"expected at least one finite value, got {sample.tolist()}")
    mean = float(sample.mean())
    if sample.size < 2:
        return Estimate(mean, np.nan, np.nan, 1)
    half = float(_student((1 + confidence) / 2, sample.size - 1) * sample.std(ddof=1) / np.sqrt(sample.size))
    return Estimate(mean, mean - half, mean + half, int(sample.size))


@edge
def share_interval(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Mean of independent shares, such as accuracies, with an interval inside [0, 1].

    Wilson's interval at the number of trials that the spread over the values speaks for, n = m (1 - m) n / s², with
    Student's quantile: it holds the mean, and never leaves what a share can be. With fewer than two values it is NaN.

    Args:
        values: ``[n]``, n >= 1, in [0, 1].
        confidence: Coverage, in (0, 1).

    Returns:
        The estimate.

    Raises:
        InputError: If there is no value or one is not in [0, 1].

    Source:
        E. B. Wilson, J. Am. Stat. Assoc. 22, 209 (1927), at an effective number of trials as for surveys: C. Franco et
        al., J. Surv. Stat. Methodol. 7, 334 (2019).
    """
    plain = mean_interval(values, confidence)
    sample = np.asarray(values, dtype=np.float64)
    if sample.min() < 0 or sample.max() > 1:
        raise InputError(f"expected shares in [0, 1], got {sample.tolist()}")
    m, n = plain.mean, plain.count
    error = float(sample.var(ddof=1)) / n if n > 1 else 0.0
    if error == 0:
        return Estimate(m, *((np.nan, np.nan) if n < 2 else (m, m)), n)
    over = _student((1 + confidence) / 2, n - 1) ** 2 * error / (m * (1 - m))  # t² / trials
    middle = (m + over / 2) / (1 + over)
    half = float(np.sqrt(over * (m * (1 - m) + over / 4)) / (1 + over))
    return Estimate(m, max(0.0, middle - half), min(1.0, middle + half), n)


@dataclass(frozen=True)
class LinearFit:
    """Ordinary least squares y = intercept + slope x.

    Attributes:
        slope: With its interval.
        intercept: With its interval.
        r_squared: Share of the variance explained.
        p_value: Two-sided, of the hypothesis that the slope is zero.
        x: Abscissae of the fitted points.
        residual_error: Standard error of the residuals, with n - 2 degrees of freedom.
        confidence: Coverage of the intervals.
    """

    slope: Estimate
    intercept: Estimate
    r_squared: float
    p_value: float
    x: NDArray[np.float64]
    residual_error: float
    confidence: float

    def band(self, x: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """The line at ``x`` with the pointwise confidence band of the mean: (line, low, high)."""
        at = np.asarray(x, dtype=np.float64)
        line = self.intercept.mean + self.slope.mean * at
        spread = ((self.x - self.x.mean()) ** 2).sum()
        error = self.residual_error * np.sqrt(1 / self.x.size + (at - self.x.mean()) ** 2 / spread)
        half = _student((1 + self.confidence) / 2, self.x.size - 2) * error
        return line, line - half, line + half


@edge
def linear_fit(x: ArrayLike, y: ArrayLike, confidence: float = 0.95) -> LinearFit:
    """Fit a straight line by least squares.

    Args:
        x: ``[n]``, n >= 3, not all equal.
        y: ``[n]``.
        confidence: Coverage of the intervals, in (0, 1).

    Returns:
        The fit.

    Raises:
        InputError: If there are fewer than three points, values are not finite or all x are equal.
    """
    check_fraction("confidence", confidence)
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if xs.ndim != 1 or xs.shape != ys.shape or xs.size < 3 or not (np.isfinite(xs).all() and np.isfinite(ys).all()):
        raise InputError(f"expected at least three finite points, got shapes {xs.shape} and {ys.shape}")
    if xs.min() == xs.max():
        raise InputError(f"a line needs different x, got {xs.size} times {xs[0]:g}")
    from scipy.stats import linregress

    found = linregress(xs, ys)
    quantile = _student((1 + confidence) / 2, xs.size - 2)

    def estimate(value: float, error: float) -> Estimate:
        return Estimate(float(value), float(value - quantile * error), float(value + quantile * error), xs.size)

    residuals = ys - found.intercept - found.slope * xs
    return LinearFit(
        slope=estimate(found.slope, found.stderr),
        intercept=estimate(found.intercept, found.intercept_stderr),
        r_squared=float(found.rvalue**2),
        p_value=float(found.pvalue),
        x=xs,
        residual_error=float(np.sqrt((residuals**2).sum() / (xs.size - 2))),
        confidence=confidence,
    )


@edge
def grokking_onset(w0: ArrayLike, groks: ArrayLike) -> float:
    """The smallest w0 from which all larger w0 grok.

    Args:
        w0: ``[n]`` initialisation scales of one seed.
        groks: ``[n]`` booleans.

    Returns:
        The onset on the grid of ``w0``; NaN if the largest does not grok.

    Source:
        arXiv 2502.01739, definition 2 and fig. 10.
    """
    scales, labels = np.asarray(w0, dtype=np.float64), np.asarray(groks, dtype=bool)
    if scales.ndim != 1 or scales.shape != labels.shape or scales.size == 0:
        raise InputError(f"expected one label per w0, got shapes {scales.shape} and {labels.shape}")
    order = np.argsort(scales)
    tail = np.logical_and.accumulate(labels[order][::-1])[::-1]
    return float(scales[order][tail].min()) if tail.any() else float("nan")


def _student(share: float, freedom: int) -> float:
    """Quantile of Student's t; SciPy takes a while to import, and only those who ask for intervals wait."""
    from scipy.stats import t

    return float(t.ppf(share, freedom))
