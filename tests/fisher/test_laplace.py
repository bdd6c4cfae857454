"""The backend for laplace-torch in examples/: the same H and the same evidence as its own backends."""

from __future__ import annotations

import copy
import importlib.util
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def example():
    path = Path(__file__).resolve().parents[2] / "examples" / "laplace_backend.py"
    spec = importlib.util.spec_from_file_location("laplace_backend", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["laplace_backend"] = module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            spec.loader.exec_module(module)
        except SystemExit:
            pytest.skip("laplace-torch cannot be imported")
    return module


def _mlp(out):
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, out))


def _cnn(out):
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, out))


class _Own(nn.Module):
    """What BackPACK does not take: a bare parameter, a residual connection, a norm."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.out = nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 3)
        self.shift = nn.Parameter(torch.randn(4) / 4)

    def forward(self, x):
        return self.out(self.norm(x + self.a(x).tanh() + self.shift))


CASES = {
    "MLP": (lambda: _mlp(3), (4,), "classification"),
    "MLP, regression": (lambda: _mlp(2), (4,), "regression"),
    "CNN": (lambda: _cnn(3), (1, 4, 4), "classification"),
    "its own": (_Own, (4,), "classification"),
}


def _fit(example, backend, model, loader, likelihood, part="all", **how):
    from laplace import Laplace

    # A copy: BackPACK leaves hooks in a model that torch.func cannot follow.
    found = Laplace(copy.deepcopy(model), likelihood, part, "diag", backend=backend, backend_kwargs=how or None)
    found.fit(loader)
    return found


def _setup(name):
    make, shape, likelihood = CASES[name]
    torch.manual_seed(0)
    x = torch.randn(30, *shape)
    y = torch.randn(30, 2) if likelihood == "regression" else torch.randint(0, 3, (30,))
    return make().eval(), DataLoader(TensorDataset(x, y), batch_size=11), likelihood


@pytest.mark.parametrize("name", CASES)
def test_the_same_as_its_own_backends(example, name):
    from laplace.curvature import BackPackGGN, CurvlinopsGGN

    model, loader, likelihood = _setup(name)
    ours = _fit(example, example.GrokfastGGN, model, loader, likelihood)
    for backend in (CurvlinopsGGN, BackPackGGN):
        if backend is BackPackGGN and name == "its own":
            continue
        theirs = _fit(example, backend, model, loader, likelihood)
        torch.testing.assert_close(ours.H, theirs.H, rtol=1e-5, atol=1e-7 * float(theirs.H.max()))
        torch.testing.assert_close(ours.loss, theirs.loss, rtol=1e-6, atol=0)
        torch.testing.assert_close(ours.log_marginal_likelihood(), theirs.log_marginal_likelihood(), rtol=1e-6, atol=0)
    x = next(iter(loader))[0]
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-6)


def test_the_last_layer_and_drawn_labels(example):
    from laplace.curvature import CurvlinopsGGN

    model, loader, likelihood = _setup("MLP")
    ours = _fit(example, example.GrokfastGGN, model, loader, likelihood, "last_layer")
    theirs = _fit(example, CurvlinopsGGN, model, loader, likelihood, "last_layer")
    torch.testing.assert_close(ours.H, theirs.H, rtol=1e-5, atol=1e-7)
    drawn = _fit(example, example.GrokfastGGN, model, loader, likelihood, stochastic=True, num_samples=2000)
    whole = _fit(example, example.GrokfastGGN, model, loader, likelihood)
    assert float((drawn.H - whole.H).norm() / whole.H.norm()) < 0.1
