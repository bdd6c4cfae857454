from __future__ import annotations

import pytest
import torch

from grokfast.errors import InputError
from grokfast.measures import gini, gini_of

N = 200_001
# Quantiles in the middle of N equal shares of probability: their Gini coefficient is the distribution's, up to 1/N.
Q = (torch.arange(N, dtype=torch.float64) + 0.5) / N


@pytest.mark.parametrize(
    ("values", "expected", "tolerance"),
    [
        (Q, 1 / 3, 1e-5),
        (-torch.log1p(-Q), 1 / 2, 1e-4),
        ((1 - Q) ** (-1 / 3), 1 / 5, 1e-4),  # Pareto, a = 3: 1 / (2a - 1)
        ((1 - Q) ** (-1 / 5), 1 / 9, 1e-4),
        (torch.full((100,), 7.0), 0.0, 1e-15),
    ],
)
def test_known_distributions(values, expected, tolerance):
    assert gini(values).item() == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("n", [1, 2, 10, 1000])
def test_one_has_everything(n):
    values = torch.zeros(n)
    values[n // 2] = 3.0
    assert gini(values).item() == pytest.approx(1 - 1 / n)


def test_equals_the_mean_difference():
    values = torch.rand(5, 40, dtype=torch.float64)
    pairs = (values[:, :, None] - values[:, None, :]).abs().mean((1, 2))
    torch.testing.assert_close(gini(values), pairs / (2 * values.mean(1)))


def test_scale_and_order_do_not_matter():
    values = torch.rand(300, dtype=torch.float64)
    torch.testing.assert_close(gini(1e12 * values.flip(0)), gini(values))


def test_stacked_equals_one_by_one_over_all_tensors():
    params = {"0.weight": torch.randn(3, 4, 5), "0.bias": torch.randn(3, 4)}
    together = gini_of(params)
    for e in range(3):
        torch.testing.assert_close(together[e], gini(torch.cat([p[e].reshape(-1) for p in params.values()]).abs()))
    torch.testing.assert_close(gini_of(params, ["0.bias"]), gini(params["0.bias"].abs()))


def test_nothing_at_all_has_none():
    assert gini(torch.zeros(4)).isnan()


def test_rejects():
    with pytest.raises(InputError, match="at least 0"):
        gini(torch.tensor([-1.0, 2.0]))
    with pytest.raises(InputError, match="finite"):
        gini(torch.tensor([torch.nan]))
    with pytest.raises(InputError, match="n >= 1"):
        gini(torch.zeros(3, 0))
    with pytest.raises(InputError, match="names among"):
        gini_of({"a": torch.ones(1, 2)}, ["b"])


def test_shares_of_a_sum_that_is_too_large_for_a_double():
    values = torch.tensor([1e308, 1e308, 5e307], dtype=torch.float64)
    torch.testing.assert_close(gini(values), gini(values / 1e308), rtol=1e-12, atol=0)
    assert gini(torch.full((4,), 1.7e308, dtype=torch.float64)) == 0
