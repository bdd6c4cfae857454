"""Quantisation and truncation against their definitions, and the size at which too much is lost."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from grokfast.errors import InputError
from grokfast.measures import Truncated, quantised, size_that_keeps


def _weights(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.integers(1, 200), st.integers(0, 10))
def test_quantised_by_hand(half, seed):
    w = _weights(2, 3, 4, seed=seed)
    levels = 2 * half + 1
    found = quantised(w, levels)
    for e in range(2):
        top = w[e].abs().max().item()
        allowed = torch.linspace(-top, top, levels, dtype=torch.float64)
        nearest = (w[e].flatten()[:, None] - allowed).abs().min(1).values
        assert torch.allclose((found[e] - w[e]).flatten().abs(), nearest, atol=1e-12)
        assert len(found[e].unique()) <= levels
    assert torch.allclose(quantised(found, levels), found)


def test_quantised_keeps_types_and_zeros():
    assert quantised(torch.zeros(2, 3), 5).equal(torch.zeros(2, 3))
    assert quantised(_weights(1, 4).float(), 5).dtype == torch.float32
    with pytest.raises(InputError, match="levels must be odd"):
        quantised(_weights(1, 4), 4)
    with pytest.raises(InputError, match="must be finite"):
        quantised(_weights(1, 4) * float("inf"), 5)


def test_truncated_is_the_best_of_its_rank():
    w = _weights(3, 5, 2, 4)
    cut = Truncated(w)
    assert cut.largest == 5
    assert cut.to(5) is w
    assert not cut.to(0).any()
    values = torch.linalg.svdvals(w.flatten(2))
    for rank in range(6):
        found = cut.to(rank)
        assert (torch.linalg.matrix_rank(found.flatten(2)) <= rank).all()
        left_out = (found - w).flatten(1).square().sum(1)
        assert torch.allclose(left_out, values[:, rank:].square().sum(1), atol=1e-12)  # Eckart and Young
    with pytest.raises(InputError, match="matrices or kernels"):
        Truncated(_weights(3, 5))


def test_size_that_keeps_by_hand():
    sizes = torch.tensor([1.0, 2.0, 4.0])
    curves = torch.tensor([[0.0, 0.9, 1.0], [1.0, 0.5, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, math.nan]])
    found = size_that_keeps(sizes, curves, torch.ones(5), drop=0.05).tolist()
    assert found[0] == pytest.approx(3.0)
    assert found[1] == pytest.approx(2 + 2 * 0.45 / 0.5)
    assert found[2:4] == [1.0, 4.0]
    assert math.isnan(found[4])
    with pytest.raises(InputError, match="rising sizes"):
        size_that_keeps(sizes.flip(0), curves, torch.ones(5))
