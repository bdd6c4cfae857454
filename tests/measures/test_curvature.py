from __future__ import annotations

import pytest
import torch

from grokfast.errors import InputError
from grokfast.measures import hutchinson_trace, largest_eigenvalue, logit_margin, logit_scale


def _matrix(size: int, values: torch.Tensor) -> torch.Tensor:
    rotation = torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(0)).double())[0]
    return rotation @ torch.diag(values) @ rotation.T


@pytest.mark.parametrize("values", [torch.linspace(0, 5, 80) ** 2, torch.linspace(-30, 25, 80)])
def test_largest_eigenvalue(values):
    matrix = _matrix(80, values.double())
    found = largest_eigenvalue(matrix.mv, 80, tolerance=1e-6)
    assert found.value == pytest.approx(25, rel=1e-6)
    assert found.residual <= 1e-6 * 30 or found.steps == 60


def test_it_says_how_far_it_got():
    matrix = _matrix(80, torch.linspace(0, 1, 80).double())
    short = largest_eigenvalue(matrix.mv, 80, steps=3)
    assert short.steps == 3
    assert 1 - short.value <= short.residual


def test_small_and_degenerate_matrices():
    assert largest_eigenvalue(lambda v: -2 * v, 1).value == pytest.approx(-2)
    assert largest_eigenvalue(lambda v: 3 * v, 50).steps == 1
    assert largest_eigenvalue(torch.zeros_like, 9).value == 0


def test_trace():
    matrix = _matrix(60, torch.linspace(-1, 3, 60).double())
    value, error = hutchinson_trace(matrix.mv, 60, probes=200)
    assert abs(value - 60) < 4 * error < 6
    assert hutchinson_trace(torch.diag(torch.arange(5.0).double()).mv, 5)[0] == pytest.approx(10)


def test_logits():
    logits = torch.tensor([[[3.0, 1.0], [-1.0, 1.0]]])
    assert logit_scale(logits).item() == pytest.approx(1)
    assert logit_scale(5 * logits + 9).item() == pytest.approx(5)
    assert logit_margin(logits, torch.tensor([[0, 0]])).item() == pytest.approx(0)
    assert logit_margin(logits, torch.tensor([[0, 1]])).item() == pytest.approx(2)


def test_bad_input():
    with pytest.raises(InputError, match=r"times a vector \[3\]"):
        largest_eigenvalue(lambda v: v[:2], 3)
    with pytest.raises(InputError, match="not finite"):
        hutchinson_trace(lambda v: v / 0, 3)
    with pytest.raises(InputError, match="probes"):
        hutchinson_trace(lambda v: v, 3, probes=1)
    with pytest.raises(InputError, match="C >= 2 classes"):
        logit_scale(torch.zeros(4, 1))
    with pytest.raises(InputError, match="expected labels"):
        logit_margin(torch.zeros(4, 3), torch.zeros(3, dtype=torch.int64))
