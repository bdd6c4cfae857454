from __future__ import annotations

import pytest
import torch

from grokfast.errors import InputError
from grokfast.pruning import (
    compressibility,
    compressibility_bounds,
    compressibility_error,
    pruning_fractions,
    size_at_accuracy,
    size_at_drop,
)

P = pruning_fractions()


def test_closed_forms():
    # a(p) = 1 - p: area 1/2, c = 2. A constant 0.75: c = 4. The trapezoid rule is exact on both.
    curves = torch.stack([1 - P, torch.full_like(P, 0.75)])
    assert compressibility(P, curves).tolist() == pytest.approx([2.0, 4.0])


def test_a_step_has_the_grid_error_of_the_trapezoid():
    step = (P <= 0.9).double()
    assert compressibility(P, step).item() == pytest.approx(1 / (1 - 0.905))


def test_never_losing_is_infinitely_compressible():
    assert compressibility(P, torch.ones_like(P)).isinf()


def test_size_at_drop():
    curve = torch.where(P <= 0.68, 1.0, 0.0).double()
    assert size_at_drop(P, curve).item() == pytest.approx(0.32)
    assert size_at_drop(P, 0.5 * curve).item() == pytest.approx(0.32)  # relative to the unpruned accuracy
    assert size_at_drop(P, torch.stack([1 - P, curve]), drop=0.1).tolist() == pytest.approx([0.9, 0.32])


@pytest.mark.parametrize(
    ("fractions", "accuracies", "words"),
    [
        (P[:-1], P[:-1], "from 0 to 1"),
        (P.flip(0), P, "from 0 to 1"),
        (P, P[:-1], "F >= 2"),
        (P, P * 2, r"lie in \[0, 1\]"),
    ],
)
def test_rejects(fractions, accuracies, words):
    with pytest.raises(InputError, match=words):
        compressibility(fractions, accuracies)


@pytest.mark.parametrize("power", [1, 2, 3])
def test_powers_in_closed_form(power):
    # a(p) = 1 - p^k: area k / (k + 1), c = k + 1.
    curve = 1 - P**power
    low, high = compressibility_bounds(P, curve)
    exact = power + 1
    assert compressibility(P, curve).item() == pytest.approx(exact, rel=1e-3)
    assert low < exact < high
    # A smooth curve: Richardson's estimate is the error itself to leading order.
    error = abs(compressibility(P, curve).item() - exact)
    assert compressibility_error(P, curve).item() == pytest.approx(error, rel=0.01, abs=1e-12)


def test_bounds_hold_wherever_the_steps_lie():
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        at, heights = torch.rand(30, generator=generator).double(), torch.rand(30, generator=generator).double()
        heights /= heights.sum()
        exact = 1 / (1 - (at * heights).sum())  # a(p) = sum of the heights of the steps at or beyond p
        curve = torch.stack([heights[at >= p].sum() for p in P]).clamp(max=1)
        low, high = compressibility_bounds(P, curve)
        assert low - 1e-9 <= exact <= high + 1e-9


def test_width_of_the_bounds():
    low, high = compressibility_bounds(P, 1 - P)
    assert (1 / low - 1 / high).item() == pytest.approx(0.01)  # 2 x 1/2 sum h |da|


def test_size_at_accuracy():
    curve = torch.where(P <= 0.68, 0.97, 0.2).double()
    assert size_at_accuracy(P, curve).item() == pytest.approx(0.32)
    assert size_at_accuracy(P, curve, 0.98).isnan()
    assert size_at_accuracy(P, curve, 0.1).item() == 0
    with pytest.raises(InputError, match="accuracy must lie in"):
        size_at_accuracy(P, curve, 1.2)
    with pytest.raises(InputError, match="equally spaced"):
        compressibility_error(torch.tensor([0.0, 0.1, 1.0]), torch.ones(3))


def test_without_accuracy_nothing_is_read_off():
    curves = torch.stack([P * torch.nan, 1 - P])
    for values in (compressibility(P, curves), size_at_drop(P, curves), size_at_accuracy(P, curves, 0.5)):
        assert values.isnan().tolist() == [True, False]
