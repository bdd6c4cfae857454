from __future__ import annotations

import math

import pytest
import torch

from grokfast.errors import InputError
from grokfast.measures import linear_information, mutual_information, mutual_information_with_classes

N = 1000


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _gaussian(r: float, draws: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    x, noise = torch.randn(2, draws, N, generator=_generator(0), dtype=torch.float64)
    return x, r * x + math.sqrt(1 - r * r) * noise


@pytest.mark.parametrize("r", [0.6, 0.9, 0.99])
def test_gaussian_within_five_percent(r):
    x, y = _gaussian(r)
    expected = -0.5 * math.log(1 - r * r)
    assert mutual_information(x, y).mean().item() == pytest.approx(expected, rel=0.05)
    torch.testing.assert_close(
        linear_information(torch.tensor([r, -r], dtype=torch.float64)), torch.full((2,), expected).double()
    )


def test_independent_variables_have_none():
    x, _ = _gaussian(0.5)
    y = torch.randn(40, N, generator=_generator(7), dtype=torch.float64)
    found = mutual_information(x, y)
    assert abs(found.mean().item()) < 4 * found.std().item() / math.sqrt(40) < 0.03


def test_an_atom_beside_continuous_values_gives_none_out_of_nothing():
    # A rectified neuron that says nothing: many samples lie just as far from those near the atom as all of the atom.
    x, y = torch.randn(2, 30, N, generator=_generator(8), dtype=torch.float64)
    found = mutual_information(x.clamp_min(0), y)
    assert abs(found.mean().item()) < 0.018


@pytest.mark.parametrize("estimate", [mutual_information, mutual_information_with_classes])
def test_discrete_and_uniform_mixture(estimate):
    # Gao et al., experiment II: x uniform on 0 .. m - 1, y uniform on [x, x + 2]: ln m - (m - 1) ln 2 / m.
    m = 5
    x = torch.randint(0, m, (20, N), generator=_generator(1)).double()
    y = x + 2 * torch.rand(20, N, generator=_generator(2), dtype=torch.float64)
    found = estimate(y, x).mean().item()
    assert found == pytest.approx(math.log(m) - (m - 1) * math.log(2) / m, rel=0.05)


def test_two_discrete_variables():
    # A symmetric channel of four symbols that errs with probability 1/4.
    x = torch.randint(0, 4, (20, N), generator=_generator(3))
    wrong = torch.rand(20, N, generator=_generator(4)) < 0.25
    y = torch.where(wrong, (x + torch.randint(1, 4, (20, N), generator=_generator(5))) % 4, x)
    expected = math.log(4) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25 / 3)
    assert mutual_information(x.double(), y.double()).mean().item() == pytest.approx(expected, rel=0.05)


def test_half_discrete_half_continuous():
    # With probability 1/2 both are one of two equal atoms, else independent uniforms on [2, 3]: one bit whether
    # they are atoms, and half of a bit which: 1.5 ln 2.
    atoms = torch.rand(20, N, generator=_generator(6)) < 0.5
    which = torch.randint(0, 2, (20, N), generator=_generator(7)).double()
    x, y = (2 + torch.rand(20, N, generator=_generator(k), dtype=torch.float64) for k in (8, 9))
    found = mutual_information(torch.where(atoms, which, x), torch.where(atoms, which, y)).mean().item()
    assert found == pytest.approx(1.5 * math.log(2), rel=0.05)


def test_scales_do_not_count_and_shuffling_destroys_it():
    x, y = _gaussian(0.9, draws=3)
    torch.testing.assert_close(mutual_information(x, y), mutual_information(1e6 * x + 3, -1e-6 * y), rtol=0.02, atol=0)
    order = torch.randperm(N, generator=_generator(10))
    assert mutual_information(x, y[:, order]).abs().max() < 0.1


def test_equals_the_slow_definition():
    x, y = _gaussian(0.7, draws=1)
    x, y = x[0, :60] / x[0, :60].std(), y[0, :60] / y[0, :60].std()
    total = 0.0
    for i in range(60):
        far = torch.maximum((x - x[i]).abs(), (y - y[i]).abs())
        radius = far.sort().values[3]
        counts = [((v - v[i]).abs() < radius).sum().double() for v in (x, y)]
        total += (torch.digamma(torch.tensor(3.0).double()) - sum(torch.digamma(c) for c in counts)).item()
    expected = total / 60 + math.log(60)
    assert mutual_information(x, y).item() == pytest.approx(expected, abs=1e-12)


def test_classes_with_one_sample_are_left_out():
    x = torch.tensor([0.0, 0.1, 5.0, 5.1, 9.0])
    found = mutual_information_with_classes(x, torch.tensor([0, 0, 1, 1, 2]), neighbours=1)
    # Both kept classes apart: psi(4) + psi(1) - psi(2) - psi(1).
    assert found.item() == pytest.approx((torch.digamma(torch.tensor(4.0)) - torch.digamma(torch.tensor(2.0))).item())
    assert mutual_information_with_classes(torch.arange(3.0), torch.arange(3)).isnan()


def test_bad_input():
    with pytest.raises(InputError, match="same N > 3 samples"):
        mutual_information(torch.zeros(3), torch.zeros(3))
    with pytest.raises(InputError, match="same N"):
        mutual_information(torch.zeros(9), torch.zeros(8))
    with pytest.raises(InputError, match="finite"):
        mutual_information(torch.full((9,), torch.nan), torch.zeros(9))
    with pytest.raises(InputError, match="neighbours"):
        mutual_information(torch.zeros(9), torch.zeros(9), neighbours=0)
    with pytest.raises(InputError, match="must lie in"):
        linear_information(torch.tensor([1.5]))
    assert mutual_information(torch.zeros(9), torch.arange(9.0)).item() == 0
