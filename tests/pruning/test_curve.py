from __future__ import annotations

import pytest
import torch

from grokfast.errors import InputError
from grokfast.pruning import compressibility, pruning_fractions, size_at_drop

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
        (P, P * torch.nan, r"lie in \[0, 1\]"),
    ],
)
def test_rejects(fractions, accuracies, words):
    with pytest.raises(InputError, match=words):
        compressibility(fractions, accuracies)
