"""Sums that are taken in chunks of samples or columns: one more, one less, and two pieces and a half."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from grokfast.fisher import fallback, fisher_diag, fisher_diag_reference

SAMPLES, CLASSES = 10, 6
COLUMNS = CLASSES - 1  # the rank of the categorical Fisher of one sample


class _Ruled(nn.Module):
    """A norm, whose rule has no faster way, and a layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.twice, self.out = nn.LayerNorm(4), nn.Linear(4, 4), nn.Linear(4, CLASSES)

    def forward(self, x):
        return self.out(self.twice(self.norm(self.twice(x)).tanh()))


class _Free(nn.Module):
    """A parameter that no rule knows."""

    def __init__(self) -> None:
        super().__init__()
        self.floor, self.out = nn.Parameter(torch.randn(4)), nn.Linear(4, CLASSES)

    def forward(self, x):
        return self.out(torch.maximum(x, self.floor).tanh())


def _setup(make, dtype):
    torch.manual_seed(0)
    return make().to(dtype), torch.randn(SAMPLES, 4, dtype=dtype)


@pytest.mark.parametrize("step", [1, 3, 4, SAMPLES - 1, SAMPLES, SAMPLES + 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_by_rules(step, dtype, compare, monkeypatch):
    monkeypatch.setattr("grokfast.fisher.rules._CHUNK", step * 4)  # the norm's parameters
    monkeypatch.setattr("grokfast.fisher.rule_sums._CHUNK", step * 4 * 4)  # the matrix that is used twice
    model, x = _setup(_Ruled, dtype)
    found = fisher_diag(model, x)
    assert {str(route.way) for route in found.plan.routes.values()} == {"rule"}
    expected = fisher_diag_reference(model.double(), x.double())
    assert compare(found, expected) < (1e-12 if dtype == torch.float64 else 1e-5)


@pytest.mark.parametrize("held", [1, 50, 100, 200, 400, 10_000])
@pytest.mark.parametrize("sides", [1, 2 * SAMPLES * CLASSES, COLUMNS * SAMPLES * CLASSES])
def test_samples_and_columns_without_rules(held, sides, compare, monkeypatch):
    """Each pair of sample and column once: what is left out is noticed, and found again by a way that takes longer."""
    pairs = []

    def counted(job, world, names, inputs, columns):
        pairs.append((inputs.n, len(columns)))
        return per_sample_vmap(job, world, names, inputs, columns)

    per_sample_vmap = fallback.per_sample_vmap
    monkeypatch.setattr("grokfast.fisher.fallback._CHUNK", held)
    monkeypatch.setattr("grokfast.fisher.fallback._SIDES", sides)
    monkeypatch.setattr("grokfast.fisher.fallback.per_sample_vmap", counted)
    model, x = _setup(_Free, torch.float64)
    found = fisher_diag(model, x)
    assert str(found.plan.routes["floor"].way) == "vmap"
    assert sum(n * columns for n, columns in pairs) == SAMPLES * COLUMNS, pairs
    assert compare(found, fisher_diag_reference(model, x)) < 1e-12
