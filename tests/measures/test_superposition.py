from __future__ import annotations

import math

import pytest
import torch

from grokfast.errors import InputError
from grokfast.measures import (
    activation_rank,
    effective_rank,
    entropy_count,
    feature_dimensionality,
    fourier_directions,
    frequencies_per_neuron,
    interference,
    live_neurons,
)

ANGLES = 2 * math.pi * torch.arange(5, dtype=torch.float64) / 5
PENTAGON = torch.stack([ANGLES.cos(), ANGLES.sin()], 1)
PAIRS = torch.tensor([[1.0, 0], [-1, 0], [0, 3], [0, -3]]).double()


@pytest.mark.parametrize(
    ("directions", "dimensionality", "cosines"),
    [
        (4 * torch.eye(3).double(), [1, 1, 1], 0),
        (PAIRS, [1 / 2] * 4, 1 / 3),  # each meets one of three others, squarely
        (7 * PENTAGON, [2 / 5] * 5, 3 / 8),  # cos² of 72° and 144°, twice each, over four: (5/2 - 1) / 4
        (torch.tensor([[1.0, 0], [1, 1]]), [1 / 2, 4 / (4 + 1)], 1 / 2),
    ],
)
def test_toy_models(directions, dimensionality, cosines):
    expected = torch.tensor(dimensionality, dtype=torch.float64)
    if len(directions) == 2:  # unequal norms: |W|⁴ / sum of squared products, by hand: 1/(1+1), 4/(1+4)
        expected = torch.tensor([1 / 2, 4 / 5], dtype=torch.float64)
    torch.testing.assert_close(feature_dimensionality(directions), expected, rtol=0, atol=1e-14)
    assert interference(directions).item() == pytest.approx(cosines, abs=1e-14)


def test_random_directions_interfere_by_one_over_their_dimension():
    values = torch.randn(400, 50, generator=torch.Generator().manual_seed(0))
    assert interference(values).item() == pytest.approx(1 / 50, rel=0.03)


def test_features_without_weights_are_left_out():
    values = torch.cat([PENTAGON, torch.zeros(1, 2)])
    assert feature_dimensionality(values)[5].isnan()
    assert interference(values).item() == pytest.approx(3 / 8)
    assert interference(torch.tensor([[1.0, 2.0], [0.0, 0.0]])).isnan()


@pytest.mark.parametrize("size", [7, 8])
def test_fourier_directions_keep_the_power_of_all_but_the_constant(size):
    weight = torch.randn(2, size, 4, generator=torch.Generator().manual_seed(1)).double()
    directions = fourier_directions(weight)
    assert directions.shape == (2, size - 1, 4)
    centred = weight - weight.mean(1, keepdim=True)
    torch.testing.assert_close(directions.square().sum(1), centred.square().sum(1))
    classes = torch.arange(size).double()
    for k in (1, 2):
        waves = torch.stack([(2 * math.pi * k * classes / size).cos(), (2 * math.pi * k * classes / size).sin()])
        both = directions[:, [k - 1, size // 2 + k - 1]]
        torch.testing.assert_close(both, math.sqrt(2 / size) * waves @ weight)


@pytest.mark.parametrize("size", [11, 12])
def test_frequencies_per_neuron(size):
    classes = torch.arange(size).double()
    waves = [(2 * math.pi * k * classes / size + 0.3 * k).cos() for k in (1, 2, 4)]
    weight = torch.stack([waves[0], waves[0] + waves[1], sum(waves) + 5, torch.zeros(size)], 1)
    found = frequencies_per_neuron(weight)
    torch.testing.assert_close(found[:3], torch.tensor([1.0, 2.0, 3.0]).double())
    assert found[3].isnan()


def test_effective_ranks():
    assert effective_rank(torch.eye(6)).item() == pytest.approx(6)
    assert effective_rank(torch.outer(torch.arange(1.0, 4), torch.ones(5))).item() == pytest.approx(1)
    # Singular values 3 and 1: exp of the entropy of 3/4 and 1/4.
    expected = math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert effective_rank(torch.tensor([[3.0, 0, 0], [0, 0, 1]])).item() == pytest.approx(expected)
    assert effective_rank(torch.zeros(2, 2)).isnan()
    assert entropy_count(torch.tensor([2.0, 2, 2, 0])).item() == pytest.approx(3)
    square = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]]) @ torch.diag(torch.tensor([3.0**0.5, 1])) + 7
    assert activation_rank(square).item() == pytest.approx(expected, rel=1e-6)


def test_live_neurons():
    first, last = torch.ones(4, 3), torch.ones(2, 4)
    first[1] = 0
    last[:, 2] = 1e-5
    assert live_neurons(first, last).tolist() == [True, False, False, True]
    assert live_neurons(torch.zeros(4, 3), last).tolist() == [False] * 4


def test_bad_input():
    with pytest.raises(InputError, match="a row for each feature"):
        interference(torch.zeros(3))
    with pytest.raises(InputError, match="finite"):
        feature_dimensionality(torch.full((2, 2), torch.nan))
    for wrong in (frequencies_per_neuron, fourier_directions):
        with pytest.raises(InputError, match="P >= 3"):
            wrong(torch.zeros(2, 4))
    with pytest.raises(InputError, match="expected matrices"):
        effective_rank(torch.zeros(3))
    with pytest.raises(InputError, match="at least 0"):
        entropy_count(torch.tensor([-1.0, 2]))
    with pytest.raises(InputError, match="N >= 2 samples"):
        activation_rank(torch.zeros(1, 4))
    with pytest.raises(InputError, match="input weights"):
        live_neurons(torch.zeros(3, 2), torch.zeros(2, 4))
