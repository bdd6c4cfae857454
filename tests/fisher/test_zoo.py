"""The zoo: every architecture against per-sample autograd in float64 that is written here."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from grokfast.fisher import fisher_diag

_spec = importlib.util.spec_from_file_location("fisher_zoo", Path(__file__).parent / "zoo.py")
zoo = importlib.util.module_from_spec(_spec)
sys.modules["fisher_zoo"] = zoo
_spec.loader.exec_module(zoo)

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*spectral_norm:FutureWarning"),
    pytest.mark.filterwarnings("ignore:enable_nested_tensor is True"),
    pytest.mark.filterwarnings("ignore:.*NestedTensor"),
    pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True"),
]
LARGEST = 33


def per_sample(model, inputs):
    """``[n, C]`` probabilities and gradients ``[n, C, P]`` of log-probabilities, from a pass over all samples."""
    outputs = model(*inputs)
    logs = outputs.log_softmax(-1)
    leaves = [p for p in model.parameters() if p.requires_grad]
    rows = []
    for n in range(len(outputs)):
        for c in range(outputs.shape[-1]):
            if not torch.isfinite(logs[n, c]):
                rows.append(torch.zeros(sum(p.numel() for p in leaves), dtype=torch.float64))
                continue
            for p in leaves:
                p.grad = None
            logs[n, c].backward(retain_graph=True)
            parts = [torch.zeros_like(p) if p.grad is None else p.grad.to_dense() for p in leaves]
            rows.append(torch.cat([part.flatten() for part in parts]))
    for p in leaves:
        p.grad = None
    return logs.exp().detach(), torch.stack(rows).view(*outputs.shape, -1)


def check(found, expected, bound):
    top = float(expected.max())
    big = expected > 1e-6 * top
    error = float(((found.double() - expected).abs() / expected.clamp(min=1e-300))[big].max())
    assert error < bound, error
    assert float((found.double() - expected).abs().max()) < bound * top


def test_the_zoo_is_large():
    assert len(zoo.ZOO) >= 60


@pytest.mark.parametrize("name", zoo.ZOO)
def test_diagonal(name):
    make, inputs = zoo.ZOO[name]
    torch.manual_seed(len(name))
    model = make().double()
    x = inputs(LARGEST, torch.Generator().manual_seed(1))
    squeezes = name == "squeezes everything"  # as its own owner can call it: never with one sample
    p, grads = per_sample(model, x)
    exact = (p.unsqueeze(-1) * grads.square()).sum(1)
    labels = torch.arange(LARGEST) % 3
    empirical = grads[torch.arange(LARGEST), labels].square()
    for size in (1, 4, LARGEST):
        part = tuple(t[:size] for t in x)
        check(fisher_diag(model, part, reduction="sum").flat(), exact[:size].sum(0), 1e-9)
        found = fisher_diag(model, part, labels[:size], kind="empirical", reduction="sum")
        check(found.flat(), empirical[:size].sum(0), 1e-9)
    last = [[tuple(t[:4] for t in x), labels[:4]], [tuple(t[4:5] for t in x), labels[4:5]]]
    check(fisher_diag(model, last, reduction="sum").flat(), exact[:5].sum(0), 1e-9)
    check(fisher_diag(model, last, kind="empirical", reduction="sum").flat(), empirical[:5].sum(0), 1e-9)
    few = tuple(t[:4] for t in x)
    drawn = fisher_diag(model, few, kind="mc", samples=300, generator=torch.Generator().manual_seed(0)).flat()
    assert float((drawn - exact[:4].mean(0)).norm() / exact[:4].mean(0).norm()) < 0.3
    if not squeezes:
        single = make().float()
        single.load_state_dict(model.state_dict())
        narrow = tuple(t.float() if t.is_floating_point() else t for t in x)
        check(fisher_diag(single, narrow, reduction="sum").flat(), exact.sum(0), 2e-4)
