"""Local learning coefficients whose value is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from grokfast.learning_coefficient import Mala, Settings, Sgld, Status, llc

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
    model = Potential(lambda w: (w**power).sum(), [0.0])
    how = Mala(steps=1000, warmup=300, most=4000)
    found = llc(model, mean, X, Y, sampling=how, settings=_plain(1e4, 1e-4))
    assert abs(found.value - exact) < 4 * found.standard_error + 0.01 * exact


def test_a_sum_of_monomials_is_the_sum_of_their_coefficients():
    model = Potential(lambda w: w[0] ** 2 + w[1] ** 4 + w[2] ** 4, [0.0, 0.0, 0.0])
    found = llc(model, mean, X, Y, sampling=Mala(steps=1000, warmup=300, most=3000), settings=_plain(1e4, 1e-4))
    assert abs(found.value - 1.0) < 4 * found.standard_error + 0.01


def test_a_normal_crossing_at_its_own_temperature():
    """(w1 w2)^2 goes to 1/2 with 1/ln(n beta): it is compared with quadrature at the same n beta."""
    nbeta, gamma = 1000.0, 1.0
    grid = np.linspace(-6, 6, 4001)
    a = grid[:, None] * grid[None, :]
    weight = np.exp(-nbeta * a**2 - 0.5 * gamma * (grid[:, None] ** 2 + grid[None, :] ** 2))
    exact = nbeta * (a**2 * weight).sum() / weight.sum()
    model = Potential(lambda w: (w[0] * w[1]) ** 2, [0.0, 0.0])
    found = llc(model, mean, X, Y, sampling=Mala(steps=2000, warmup=300, most=8000), settings=_plain(nbeta, gamma))
    assert 0.3 < exact < 0.5
    assert abs(found.value - exact) < 4 * found.standard_error + 0.02 * exact


def test_sgld_has_the_bias_of_its_step():
    model, h = _quadratic(torch.ones(50))
    nbeta, gamma, step = 1000.0, 50.0, 2e-3
    a = nbeta * h + gamma
    exact = 0.5 * (nbeta * h / a).sum().item()
    biased = 0.5 * (nbeta * h / (a * (1 - step * a / 4))).sum().item()
    how = Sgld(step=step, chains=4, warmup=100, steps=2000, every=2)
    found = llc(model, mean, X, Y, sampling=how, settings=_plain(nbeta, gamma))
    assert abs(found.value - biased) < 4 * found.standard_error
    assert abs(found.value - exact) > 4 * found.standard_error
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


RANK_REGRESSION = [((3, 2, 3, 0), 2.5), ((3, 2, 3, 1), 3.5), ((4, 3, 4, 2), 7.0), ((5, 3, 5, 1), 8.0)]
"""(inputs, hidden, outputs, rank) and Aoyagi and Watanabe's coefficient."""


@pytest.mark.slow
@pytest.mark.parametrize(("sizes", "exact"), RANK_REGRESSION)
def test_reduced_rank_regression(sizes, exact):
    m, hidden, n, rank = sizes
    generator = torch.Generator().manual_seed(1)
    a = torch.zeros(hidden, m, dtype=torch.float64)
    b = torch.zeros(n, hidden, dtype=torch.float64)
    a[:rank] = torch.randn(rank, m, generator=generator, dtype=torch.float64)
    b[:, :rank] = torch.randn(n, rank, generator=generator, dtype=torch.float64)
    truth = b @ a

    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Parameter(a.clone()), nn.Parameter(b.clone())

        def forward(self, x):
            return 0.5 * ((self.b @ self.a - truth) ** 2).sum().expand(len(x))

    estimates = {}
    for nbeta in (1e3, 1e4, 1e5, 1e6):
        how = Mala(steps=8000, warmup=1000, most=32000, leapfrog=3)
        estimates[nbeta] = llc(Product(), mean, X, Y, sampling=how, settings=_plain(nbeta, 1.0))
    # lambda - (m - 1) / ln(n beta): the slope is fitted along.
    logs = np.array([1 / math.log(nbeta) for nbeta in estimates])
    values = np.array([found.value for found in estimates.values()])
    limit = np.polyfit(logs, values, 1)[1]
    assert limit == pytest.approx(exact, rel=0.05)
