from __future__ import annotations

import numpy as np
import pytest
import torch

from grokfast.errors import InputError
from grokfast.measures import fourier_power, input_ipr, inverse_participation_ratio, layer_ipr, output_ipr

P = 113
X = torch.arange(P, dtype=torch.float64)


def _wave(frequency, phase, size=P):
    return torch.cos(2 * torch.pi * frequency * torch.arange(size, dtype=torch.float64) / size + phase)


def _real_basis(size):
    rows = [np.ones(size) / np.sqrt(size)]
    angle = 2 * np.pi * np.arange(size) / size
    for k in range(1, size // 2 + 1):
        scale = np.sqrt((1 if 2 * k == size else 2) / size)
        rows.append(scale * np.cos(k * angle))
    for k in range(1, (size + 1) // 2):
        rows.append(np.sqrt(2 / size) * np.sin(k * angle))
    return np.stack(rows)


@pytest.mark.parametrize("size", [2, 3, 8, 9, 113, 114])
def test_real_power_equals_an_explicit_orthonormal_basis(size):
    basis = _real_basis(size)
    np.testing.assert_allclose(basis @ basis.T, np.eye(size), atol=1e-12)
    weights = torch.randn(4, size, dtype=torch.float64)
    expected = (weights.numpy() @ basis.T) ** 2
    np.testing.assert_allclose(fourier_power(weights).numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("basis", ["real", "complex"])
def test_power_keeps_the_norm(basis):
    weights = torch.randn(5, P, dtype=torch.float64)
    torch.testing.assert_close(fourier_power(weights, basis).sum(-1), weights.square().sum(-1))
    without = fourier_power(weights, basis, constant=False).sum(-1)
    torch.testing.assert_close(without, weights.square().sum(-1) - weights.sum(-1) ** 2 / P)


@pytest.mark.parametrize(("phase", "real"), [(0.0, 1.0), (np.pi / 2, 1.0), (np.pi / 4, 0.5)])
def test_a_single_wave_on_the_output(phase, real):
    weight = _wave(7, phase)[:, None]  # [P, 1]
    assert output_ipr(weight).item() == pytest.approx(real, rel=1e-12)
    assert output_ipr(weight, basis="complex").item() == pytest.approx(0.5, rel=1e-12)


@pytest.mark.parametrize(("phase", "joint", "separate"), [(0.0, 0.5, 1.0), (np.pi / 4, 0.25, 0.5)])
def test_a_single_wave_on_both_inputs(phase, joint, separate):
    weight = torch.cat([_wave(7, phase), _wave(7, phase)])[None]  # [1, 2P]
    assert input_ipr(weight).item() == pytest.approx(joint, rel=1e-12)
    assert input_ipr(weight, blocks="separate").item() == pytest.approx(separate, rel=1e-12)


def test_bounds_and_scale_invariance():
    power = torch.rand(100, 9, dtype=torch.float64)
    ratios = inverse_participation_ratio(power)
    assert ((ratios >= 1 / 9) & (ratios <= 1)).all()
    torch.testing.assert_close(inverse_participation_ratio(power * 1e-300), ratios)
    assert inverse_participation_ratio(torch.ones(9, dtype=torch.float64)).item() == pytest.approx(1 / 9)


def test_a_shared_constant_counts_only_with_constant():
    weight = (_wave(3, 0.0) + 10)[:, None]
    assert output_ipr(weight).item() < output_ipr(weight, constant=False).item() == pytest.approx(1.0)


def test_dead_neurons_are_left_out_and_counted():
    weight = torch.stack([_wave(7, 0.0), torch.zeros(P, dtype=torch.float64)], dim=1)
    ratios = output_ipr(weight)
    assert ratios[1].isnan()
    mean, dead = layer_ipr(ratios)
    assert mean.item() == pytest.approx(1.0)
    assert dead.item() == 1
    mean, dead = layer_ipr(output_ipr(torch.zeros(P, 2)))
    assert mean.isnan()
    assert dead.item() == 2


def test_stacked_equals_one_by_one():
    weight = torch.randn(3, 6, 2 * 11, dtype=torch.float64)
    for options in ({}, {"basis": "complex"}, {"blocks": "separate"}, {"constant": False}):
        together = input_ipr(weight, **options)
        torch.testing.assert_close(together, torch.stack([input_ipr(w, **options) for w in weight]))


def test_rejects():
    with pytest.raises(InputError, match="did you mean 'complex'"):
        output_ipr(torch.ones(4, 4), basis="comlex")
    with pytest.raises(InputError, match="2P"):
        input_ipr(torch.ones(4, 5))
    with pytest.raises(InputError, match="D >= 2"):
        fourier_power(torch.ones(4, 1))
