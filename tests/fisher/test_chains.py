"""Recognising chains: shapes without computing, and what breaks a chain; torch's threads."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from grokfast.errors import InputError
from grokfast.fisher import fisher_diag, fisher_plan
from grokfast.fisher.batches import Inputs
from grokfast.fisher.chains import chain_of
from grokfast.fisher.job import make_job
from grokfast.fisher.threads import one_thread

CONVS = [
    {"kernel_size": 3},
    {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 2)},
    {"kernel_size": 2, "stride": 3, "dilation": (2, 3), "bias": False},
    {"kernel_size": (1, 4), "padding": 3, "dilation": 2},
]
POOLS = [{"kernel_size": 2}, {"kernel_size": (2, 3), "stride": 1}, {"kernel_size": 3, "stride": (1, 2)}]


def _links(model, x):
    job, _ = make_job(model, "exact", "categorical")
    return chain_of(job, None, Inputs((x,), ("",)))


@pytest.mark.parametrize("conv", CONVS)
@pytest.mark.parametrize("pool", POOLS)
def test_shapes_are_those_of_torch(conv, pool):
    x = torch.randn(2, 2, 11, 13)
    body = nn.Sequential(nn.Conv2d(2, 3, **conv), nn.ReLU(), nn.MaxPool2d(**pool), nn.Flatten())
    model = nn.Sequential(*body, nn.Dropout().eval(), nn.Linear(body(x).shape[1], 4))
    expected = []
    for layer in model:
        x = layer(x)
        expected.append(tuple(x.shape[1:]))
    assert [link.out for link in _links(model, torch.empty(2, 2, 11, 13))] == expected


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.MaxPool2d(2, ceil_mode=True), nn.Flatten(), nn.Linear(27, 3)),
        nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.Flatten(), nn.Linear(36, 3)),
        nn.Sequential(nn.Flatten(), nn.Linear(50, 3), nn.Tanh()),
        nn.Sequential(nn.Flatten(), nn.Linear(50, 3), nn.Linear(3, 3).requires_grad_(False)),
    ],
)
def test_anything_else_is_no_chain(model):
    assert _links(model, torch.randn(2, 2, 5, 5)) is None


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(27, 3)), (2, 3, 5, 5)),
        (nn.Sequential(nn.Conv2d(2, 3, 7), nn.Flatten(), nn.Linear(27, 3)), (2, 2, 5, 5)),
        (nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(3, 2)), (2, 5)),
    ],
)
def test_layers_that_do_not_fit_fail_as_in_torch(model, shape):
    assert _links(model, torch.randn(shape)) is None
    with pytest.raises(InputError, match=re.escape(f"RuntimeError on inputs float32 {list(shape)}: ")) as refused:
        fisher_diag(model, torch.randn(shape))
    assert isinstance(refused.value.__cause__, RuntimeError)


class _Cut(nn.Module):
    """No gradient reaches the first layer."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 4), nn.Linear(4, 3)
        self.register_buffer("last", torch.zeros(3))

    def forward(self, x):
        with torch.no_grad():
            h = self.a(x)
        return self.b(h.relu())


class _Keeping(_Cut):
    def forward(self, x):
        self.last = self.a(x)
        return self.b(self.last.relu())


class _Half(_Cut):
    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.b(self.a(x).relu())


def test_what_no_operation_shows_is_seen(compare, brute_force):
    torch.manual_seed(0)
    cut, x = _Cut().double(), torch.randn(6, 5, dtype=torch.float64)
    assert compare(fisher_diag(cut, x), brute_force(cut, x)) < 1e-12
    assert _links(_Half(), torch.randn(6, 5)) is None


def test_a_buffer_that_the_model_sets_is_put_back():
    model = _Keeping()
    before = model.last
    assert str(fisher_plan(model, torch.randn(6, 5)).routes["a.weight"].way) == "closed-form"
    assert model.last is before


def test_threads_are_put_back():
    torch.set_num_threads(3)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
        with pytest.raises(ValueError, match="inside"), one_thread():
            raise ValueError("inside")
        assert torch.get_num_threads() == 3
        model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
        fisher_diag(model, torch.randn(6, 5), batch_size=2)
        with pytest.raises(InputError, match="overflows"):
            fisher_diag(model, torch.full((6, 5), 1e25), likelihood="gaussian")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
