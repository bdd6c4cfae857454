"""Statistics that the tests share."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

COMBINED = []  # p-values of check_scores, each of independent random numbers


def chi_square_tail(statistic, degrees):
    """P(χ² >= statistic) for that many degrees of freedom."""
    half = torch.tensor([degrees / 2.0, statistic / 2.0], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


def fisher(p_values):
    """One p-value from independent ones, by Fisher's method."""
    return chi_square_tail(-2.0 * sum(math.log(max(p, 1e-300)) for p in p_values), 2 * len(p_values))


def histogram_p(values, levels, probabilities):
    """P-value of Pearson's chi-square of ``values`` against the probabilities of ``levels``."""
    counts = np.array([(values == level).sum() for level in levels])
    assert counts.sum() == values.size, "a value outside the exact levels"
    expected = probabilities * values.size
    order = np.argsort(expected)[::-1]
    counts, expected = counts[order], expected[order]
    rare = np.cumsum(expected[::-1])[::-1] < 10.0  # merge the tail into one bin
    keep = ~rare
    if rare.any():
        counts = np.append(counts[keep], counts[rare].sum())
        expected = np.append(expected[keep], expected[rare].sum())
        if expected[-1] < 5.0:
            counts[-2] += counts[-1]
            expected[-2] += expected[-1]
            counts, expected = counts[:-1], expected[:-1]
    statistic = ((counts - expected) ** 2 / expected).sum()
    return chi_square_tail(statistic, len(counts) - 1)


def as_normal(t, degrees):
    """A Student's t as the equally unlikely normal score (Wallace's approximation)."""
    size = np.sqrt(degrees * np.log1p(np.square(t) / degrees)) * (8 * degrees + 1) / (8 * degrees + 3)
    return np.sign(t) * size


def independent_scores(values, states, probabilities):
    """Z of the means of ``values`` ``[k, n]`` along the axes in which they do not depend on each other: ``[<= k]``.

    Axes and variances are those of all states ``[k, S]``: what was drawn may hold one rare state where 1.4 are
    expected, and its own variance would then make a deviation of 0.8 σ look like one of 4 σ. An axis whose mean is not
    nearly normal, since rare states decide it, has no score.
    """
    values, states = np.asarray(values, dtype=float), np.asarray(states, dtype=float)
    means = states @ probabilities
    off = states - means[:, None]
    variances, axes = np.linalg.eigh((off * probabilities) @ off.T)
    kept = variances > 1e-9 * variances.max()
    variances, axes = variances[kept], axes[:, kept]
    skewness = (axes.T @ off) ** 3 @ probabilities / variances**1.5
    n = values.shape[1]
    z = axes.T @ (values.mean(axis=1) - means) / np.sqrt(variances / n)
    return list(z[np.abs(skewness) < 0.1 * math.sqrt(n)])


def check_scores(scores):
    """Each |z| < 4, and Σ z² as likely as it should be; scores should not depend on each other."""
    z = np.asarray(scores, dtype=float)
    assert np.isfinite(z).all()
    assert np.abs(z).max() < 4.0, z
    p = chi_square_tail(float((z**2).sum()), z.size)
    COMBINED.append(p)
    assert p > 1e-4, (p, z)


def pytest_terminal_summary(terminalreporter):
    if COMBINED:
        terminalreporter.write_line(f"physics: combined p-value {fisher(COMBINED):.3g} of {len(COMBINED)} tests")


@pytest.fixture(scope="session")
def stats():
    yield SimpleNamespace(
        as_normal=as_normal,
        chi_square_tail=chi_square_tail,
        fisher=fisher,
        histogram_p=histogram_p,
        check_scores=check_scores,
        independent_scores=independent_scores,
    )
    p = fisher(COMBINED) if COMBINED else 1.0
    assert p > 1e-4, f"{len(COMBINED)} tests of physics together: p = {p}"
