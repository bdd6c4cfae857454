"""Local learning coefficients whose value is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from made_densities import Formula
from torch import nn

from grokfast.learning_coefficient import Mala, Settings, Sgld, Status, estimate_llc, llc

N = 50
X, Y = torch.zeros(N, 1, dtype=torch.float64), torch.zeros(N, dtype=torch.float64)


def mean(outputs, targets):
    return outputs.mean()


class Potential(nn.Module):
    """A network whose output is its loss, a function of the parameters alone."""

    def __init__(self, function, start):
        super().__init__()
        self.w = nn.Parameter(torch.as_tensor(start, dtype=torch.float64))
        self.function = function

    def forward(self, x):
        return self.function(self.w).expand(len(x))


def _quadratic(curvatures):
    h = torch.as_tensor(curvatures, dtype=torch.float64)
    return Potential(lambda w: 0.5 * (h * w**2).sum(), torch.zeros(len(h))), h


def _of(loss, start, sampling, settings):
    density = Formula(loss, start)
    return estimate_llc(density, density.curvature, sampling=sampling, settings=settings)


def _plain(nbeta, gamma):
    return Settings(nbeta=nbeta, gamma=gamma, polish=False)


@pytest.mark.parametrize("d", [1, 7, 50, 1000])
def test_localised_quadratic(d):
    model, h = _quadratic(torch.linspace(0.1, 3, d))
    nbeta, gamma = 1000.0, 50.0
    exact = 0.5 * (nbeta * h / (nbeta * h + gamma)).sum().item()
    found = llc(model, mean, X, Y, settings=_plain(nbeta, gamma))
    assert found.status is Status.OK
    assert abs(found.value - exact) < 3.5 * found.standard_error
    assert found.standard_error < 0.1 * exact
    assert found.acceptance > 0.99  # normal, and its widths are known: followed exactly


def test_a_normal_posterior_of_many_dimensions_is_drawn_from_independently():
    model, _ = _quadratic(torch.linspace(0.1, 3, 20_000))
    found = llc(model, mean, X, Y, sampling=Mala(steps=20, warmup=5, most=20), settings=_plain(1000.0, 50.0))
    assert found.effective_samples > 40
    assert found.acceptance > 0.99


@pytest.mark.parametrize(("power", "exact"), [(4, 1 / 4), (6, 1 / 6)])
def test_single_monomials(power, exact):
    how = Mala(chains=64, warmup=200, steps=400, most=800)
    found = _of(lambda w: (w**power).sum(1), [0.0], how, _plain(1e4, 1e-4))
    assert found.status is Status.OK
    assert found.value == pytest.approx(exact, rel=0.05)
    assert abs(found.value - exact) < 4 * found.standard_error + 0.005 * exact


@pytest.mark.parametrize("gamma", [30.0, 100.0])
def test_a_sum_of_monomials_is_the_sum_of_their_coefficients(gamma):
    """1/2 + 1/4 + 1/4 but for the localisation, by quadrature; with none chains start far off and do not mix."""
    nbeta = 1e4
    w = np.linspace(-3, 3, 200_001)
    weight = np.exp(-nbeta * w**4 - gamma * w**2 / 2)
    exact = 2 * nbeta * (w**4 * weight).sum() / weight.sum() + nbeta / (2 * nbeta + gamma)
    how = Mala(chains=64, warmup=200, steps=400, most=800)
    found = _of(lambda w: w[:, 0] ** 2 + w[:, 1] ** 4 + w[:, 2] ** 4, [0.0, 0.0, 0.0], how, _plain(nbeta, gamma))
    assert 0.85 < exact < 1
    assert found.status is Status.OK
    assert found.standard_error < 0.03
    assert abs(found.value - exact) < 3.5 * found.standard_error


@pytest.mark.parametrize("nbeta", [100.0, 1000.0])
def test_a_normal_crossing_at_its_own_temperature(nbeta):
    """(w1 w2)^2 goes to 1/2 with 1/ln(n beta): it is compared with quadrature at the same n beta."""
    gamma = 1.0
    grid = np.linspace(-6, 6, 4001)
    a = grid[:, None] * grid[None, :]
    weight = np.exp(-nbeta * a**2 - 0.5 * gamma * (grid[:, None] ** 2 + grid[None, :] ** 2))
    exact = nbeta * (a**2 * weight).sum() / weight.sum()
    how = Mala(chains=64, warmup=200, steps=1000, most=2000)
    found = _of(lambda w: (w[:, 0] * w[:, 1]) ** 2, [0.0, 0.0], how, _plain(nbeta, gamma))
    assert 0.3 < exact < 0.4
    assert abs(found.value - exact) < 4 * found.standard_error + 0.01 * exact
    assert found.value == pytest.approx(exact, rel=0.06)


def test_sgld_has_the_bias_of_its_step():
    """26.07 where exact is 24.96: 50 curvatures over three decades, at a step of 1e-4."""
    h = torch.logspace(-2, 1, 50, dtype=torch.float64)
    nbeta, gamma, step = 1000.0, 0.1, 1e-4
    a = nbeta * h + gamma
    exact = 0.5 * (nbeta * h / a).sum().item()
    biased = 0.5 * (nbeta * h / (a * (1 - step * a / 4))).sum().item()
    assert (round(exact, 2), round(biased, 2)) == (24.96, 26.07)
    how = Sgld(step=step, chains=64, warmup=4000, steps=4000, every=10)
    found = _of(lambda w: 0.5 * (h * w**2).sum(1), torch.zeros(50), how, _plain(nbeta, gamma))
    assert found.standard_error < 0.25
    assert abs(found.value - biased) < 3.5 * found.standard_error
    assert found.value - exact > 3 * found.standard_error
    assert math.isnan(found.acceptance)


def test_a_maximum_ends_negative():
    model = Potential(lambda w: -(w**2).sum(), torch.zeros(5))
    found = llc(model, mean, X, Y, settings=_plain(10.0, 100.0))
    assert found.status is Status.NEGATIVE
    assert found.value < 0
    assert found.below == 1.0


def test_too_large_a_step_is_seen_by_the_acceptance():
    model, _ = _quadratic(torch.ones(200))
    how, flat = Mala(step=1.5, steps=40), lambda params: {name: 0 * tensor for name, tensor in params.items()}
    settings = Settings(nbeta=1000.0, gamma=50.0, polish=False, curvature=flat)  # which is far from what it is
    found = llc(model, mean, X, Y, sampling=how, settings=settings)
    assert found.status is Status.REJECTED
    assert found.acceptance < 0.05


def test_the_coefficient_falls_with_the_neighbourhood():
    start = 1 + torch.rand(20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    model = Potential(lambda w: 0.01 * ((w - start) ** 2).sum(), start)
    values = [llc(model, mean, X, Y, rho=rho, settings=Settings(nbeta=100.0, polish=False)) for rho in (0.03, 0.3)]
    assert values[0].value < values[1].value


def test_what_runs_away_is_not_local():
    torch.manual_seed(0)
    model = nn.Linear(6, 1).double()
    x, y = torch.zeros(20, 6, dtype=torch.float64), torch.zeros(20, 1, dtype=torch.float64)
    found = llc(model, nn.functional.mse_loss, x, y, rho=2.0)  # the loss says nothing of the weight
    assert found.status is Status.NOT_LOCAL
    assert found.displacement["weight"] == pytest.approx(2.0, rel=0.3)


def test_what_runs_away_is_not_local_without_a_matrix_either():
    found = llc(Potential(lambda w: 0 * w.sum(), torch.ones(6)), mean, X, Y, rho=2.0)
    assert found.status is Status.NOT_LOCAL
    assert found.furthest == found.displacement["w"] > 1


RANK_REGRESSION = [((3, 2, 3, 0), 2.5), ((3, 2, 3, 1), 3.5), ((4, 3, 4, 2), 7.0), ((5, 3, 5, 1), 8.0)]
"""(inputs, hidden, outputs, rank) and Aoyagi and Watanabe's coefficient."""


def rank_regression(sizes, generator):
    """|BA - truth|^2 / 2 of rows of (A, B) and one of its minima, whose rank is the truth's."""
    m, hidden, n, rank = sizes
    a, b = torch.zeros(hidden, m, dtype=torch.float64), torch.zeros(n, hidden, dtype=torch.float64)
    a[:rank] = torch.randn(rank, m, generator=generator, dtype=torch.float64)
    b[:, :rank] = torch.randn(n, rank, generator=generator, dtype=torch.float64)
    truth = b @ a

    def loss(rows):
        left, right = rows[:, hidden * m :].view(-1, n, hidden), rows[:, : hidden * m].view(-1, hidden, m)
        return 0.5 * (left @ right - truth).square().sum((1, 2))

    return loss, torch.cat([a.flatten(), b.flatten()])


def test_reduced_rank_regression_at_its_own_temperature():
    """Rank 0, against quadrature: given A, B is normal, and the eigenvalues of A A^T have Wishart's density."""
    (m, _, n, _), nbeta = RANK_REGRESSION[0][0], 1000.0
    log = np.linspace(-40, 6, 3001)
    s = np.exp(log)
    density = np.exp((m - 1) / 2 * log - s / 2) * (nbeta * s + 1) ** (-n / 2)
    both = density[:, None] * density * np.abs(s[:, None] - s)
    share = nbeta * s / (nbeta * s + 1)
    exact = n / 2 * (both * (share[:, None] + share)).sum() / both.sum()
    loss, start = rank_regression(RANK_REGRESSION[0][0], torch.Generator())
    found = _of(loss, start, Mala(chains=32, warmup=200, steps=400, most=400, leapfrog=3), _plain(nbeta, 1.0))
    assert exact == pytest.approx(2.418, abs=1e-3)
    assert abs(found.value - exact) < 4 * found.standard_error
    assert found.standard_error < 0.03 * exact


@pytest.mark.slow
@pytest.mark.parametrize(("sizes", "exact"), RANK_REGRESSION)
@pytest.mark.parametrize("nbeta", [1e3, 1e4, 1e5, 1e6])
def test_reduced_rank_regression(sizes, exact, nbeta):
    """Within 5 % of the closed form at each n beta, corrected by (m - 1) / ln(n beta).

    The multiplicity m is 2 where the sizes and the rank sum to an odd number. The valleys of B A = truth are bent and,
    at 10^6, a thousand times as long as wide, so that the curvature at w* is no measure of them: the scale is that of
    the pull to w*, and a step goes as far as the valley is long.
    """
    loss, start = rank_regression(sizes, torch.Generator().manual_seed(1))
    how = Mala(chains=128, warmup=50, steps=30, most=30, leapfrog=int(1.5 * nbeta**0.5))
    density, flat = Formula(loss, start), lambda center: {"w": torch.zeros_like(center["w"])}
    found = estimate_llc(density, flat, sampling=how, settings=_plain(nbeta, 1.0))
    value = found.value + sum(sizes) % 2 / math.log(nbeta)
    assert value == pytest.approx(exact, rel=0.05)
    assert found.standard_error < 0.025 * exact


@pytest.mark.slow
@pytest.mark.parametrize(("sizes", "exact"), RANK_REGRESSION)
def test_reduced_rank_regression_over_temperatures(sizes, exact):
    """Within 5 % of the closed form at n beta 10^3 to 10^6 together, each corrected by (m - 1) / ln(n beta).

    The multiplicity m is 2 where the sizes and the rank sum to an odd number. The valleys of B A = truth are long and
    thin: at 10^6 chains say of themselves that they have not mixed, and count by their standard errors.
    """
    loss, start = rank_regression(sizes, torch.Generator().manual_seed(1))
    multiplicity = 1 + sum(sizes) % 2
    values, errors = [], []
    how = Mala(chains=16, warmup=60, steps=200, most=200, leapfrog=32)
    for nbeta in (1e3, 1e4, 1e5, 1e6):
        found = _of(loss, start, how, _plain(nbeta, 1.0))
        values.append(found.value + (multiplicity - 1) / math.log(nbeta))
        errors.append(found.standard_error)
    pooled = np.average(values, weights=np.square(np.reciprocal(errors)))
    assert pooled == pytest.approx(exact, rel=0.05), list(zip(values, errors, strict=True))
    assert 1 / math.sqrt(np.square(np.reciprocal(errors)).sum()) < 0.025 * exact
