from __future__ import annotations

import numpy as np
import pytest
import torch

from grokfast.errors import InputError
from grokfast.measures import (
    activation_weights,
    constant_neurons,
    leading_quantity,
    led_shares,
    mean_correlation,
    neuron_correlations,
    weighted_correlation,
)

GENERATOR = torch.Generator().manual_seed(3)


def _random(*shape, dtype=torch.float64):
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_equals_numpys_corrcoef(dtype, tolerance):
    z, x = _random(2, 50, 4, dtype=dtype) + 5, _random(2, 50, 3)
    found = neuron_correlations(z, x)
    for e in range(2):
        wanted = np.corrcoef(z[e].double().numpy().T, x[e].numpy().T)[:4, 4:]
        np.testing.assert_allclose(found[e].numpy(), wanted, atol=tolerance)


def test_a_linear_neuron_has_r_of_one_whatever_its_scale_and_offset():
    x = _random(1, 200, 1)
    z = torch.cat([3 * x + 1, -1e-9 * x, 1e9 * x - 4, x + 1e3], dim=-1)
    np.testing.assert_allclose(neuron_correlations(z, x)[0, :, 0].numpy(), [1, -1, 1, 1], atol=1e-9)


def test_r_of_a_square_is_the_closed_form():
    """For x uniform on a grid symmetric about 0, x and x² are uncorrelated; x + a x² has r = 1 / sqrt(1 + a² v4/v2)."""
    x = torch.linspace(-1, 1, 101, dtype=torch.float64)
    square = x.square()
    v2, v4 = x.var(unbiased=False), square.var(unbiased=False)
    z = torch.stack([square, x + 2 * square], dim=-1)
    r = neuron_correlations(z, x[:, None])[:, 0]
    wanted = torch.stack([torch.zeros_like(v2), 1 / (1 + 4 * v4 / v2).sqrt()])
    torch.testing.assert_close(r, wanted, rtol=1e-12, atol=1e-12)


def test_constant_neurons_are_counted_and_left_out():
    x = _random(40, 2)
    z = torch.stack([x[:, 0], torch.zeros(40, dtype=torch.float64), torch.full((40,), 0.1, dtype=torch.float64)], -1)
    r, weights = neuron_correlations(z, x), activation_weights(z)
    assert r.isnan().any(-1).tolist() == [False, True, True]
    assert constant_neurons(r) == 2
    torch.testing.assert_close(mean_correlation(r), r[0].abs())
    torch.testing.assert_close(weighted_correlation(r, weights), r[0].abs())
    torch.testing.assert_close(weighted_correlation(r, weights, per_neuron=True), r[0].abs() / 3)
    assert leading_quantity(r).tolist() == [0, -1, -1]
    assert led_shares(r).tolist() == led_shares(r, weights).tolist() == [1, 0]


def test_rounding_noise_of_float32_does_not_pass_for_a_feature():
    x = _random(500, 1)
    z = (1 + 1e-9 * x).float()
    z[::2] = torch.nextafter(z[::2], torch.tensor(2.0))
    assert neuron_correlations(z, x).isnan().all()


def test_a_layer_of_constants_has_no_mean():
    r, weights = torch.full((3, 2), torch.nan), torch.full((3,), torch.nan)
    for found in (mean_correlation(r), weighted_correlation(r, weights), led_shares(r), led_shares(r, weights)):
        assert found.isnan().all()
    assert activation_weights(torch.zeros(5, 3)).isnan().all()


def test_eq_6_by_hand():
    z = torch.tensor([[1.0, -4.0], [-3.0, 2.0], [2.0, 0.0]], dtype=torch.float64)
    x = _random(3, 3)
    weights = activation_weights(z)
    torch.testing.assert_close(weights, torch.tensor([0.5, 0.5], dtype=torch.float64))
    r = neuron_correlations(z, x)
    wanted = sum(weights[k] * r[k].abs() for k in range(2))
    torch.testing.assert_close(weighted_correlation(r, weights), wanted)
    torch.testing.assert_close(weighted_correlation(r, weights, per_neuron=True), wanted / 2)


def test_shares_by_hand():
    r = torch.tensor([[0.9, -0.95, 0.1], [0.5, 0.2, 0.1], [-0.3, 0.1, 0.2], [0.0, 0.1, 0.4]], dtype=torch.float64)
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    assert leading_quantity(r).tolist() == [1, 0, 0, 2]
    torch.testing.assert_close(led_shares(r), torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64))
    torch.testing.assert_close(led_shares(r, weights), torch.tensor([0.5, 0.1, 0.4], dtype=torch.float64))


@pytest.mark.parametrize(("z", "x"), [((5, 2), (4, 1)), ((2, 5, 2), (5, 1)), ((1, 2), (1, 1)), ((3,), (3,))])
def test_rejects_what_does_not_fit(z, x):
    with pytest.raises(InputError, match="N of at least 2"):
        neuron_correlations(torch.zeros(z), torch.zeros(x))
