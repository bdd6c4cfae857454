"""Metric products against the Fisher matrix written out."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev

from grokfast.errors import InputError
from grokfast.fisher import fisher_diag, fisher_gram, fisher_inner, fisher_vector_product


def _matrix(model, x, likelihood):
    params = {name: p.detach() for name, p in model.named_parameters()}
    total = 0.0
    for n in range(x.shape[0]):
        rows = jacrev(lambda leaves, n=n: functional_call(model, leaves, (x[n : n + 1],))[0])(params)
        j = torch.cat([row.flatten(1) for row in rows.values()], 1)
        f = model(x[n : n + 1])[0].detach()
        p = f.softmax(-1)
        middle = {
            "categorical": torch.diag(p) - torch.outer(p, p),
            "bernoulli": torch.diag(torch.sigmoid(f) * torch.sigmoid(-f)),
            "gaussian": torch.eye(len(f), dtype=f.dtype),
        }[likelihood]
        total = total + j.T @ middle @ j
    return total / x.shape[0]


class _Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.out = nn.Linear(3, 4), nn.Linear(4, 3)
        self.inner = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        h = self.a(x).relu_()
        return self.out(self.inner(h, h, h)[0].mean(1))


MODELS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)), (6, 4)),
    "cnn": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8, 3)),
        (5, 1, 3, 3),
    ),
    "attention": (_Mixed, (4, 2, 3)),
}


@pytest.fixture(params=MODELS)
def setup(request):
    torch.manual_seed(0)
    make, shape = MODELS[request.param]
    model = make().double()
    size = sum(p.numel() for p in model.parameters())
    return (
        model,
        torch.randn(shape, dtype=torch.float64),
        torch.randn(size, dtype=torch.float64),
        torch.randn(size).double(),
    )


@pytest.mark.parametrize("likelihood", ["categorical", "bernoulli", "gaussian"])
def test_products_equal_the_matrix(setup, likelihood):
    model, x, u, v = setup
    matrix = _matrix(model, x, likelihood)
    how = {"likelihood": likelihood, "batch_size": 3}
    torch.testing.assert_close(fisher_inner(model, x, u, v, **how), u @ matrix @ v, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(fisher_inner(model, x, v, v, **how), v @ matrix @ v, rtol=1e-10, atol=1e-12)
    product = fisher_vector_product(model, x, v, **how)
    flat = torch.cat([part.flatten() for part in product.values()])
    torch.testing.assert_close(flat, matrix @ v, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(
        fisher_diag(model, x, likelihood=likelihood).flat(), matrix.diag(), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("likelihood", ["categorical", "gaussian"])
def test_gram_equals_the_matrix(setup, likelihood):
    model, x, u, v = setup
    matrix = _matrix(model, x, likelihood)
    d = torch.stack([u, v, u - 2 * v])
    found = fisher_gram(model, x, list(d), likelihood=likelihood, batch_size=3)
    torch.testing.assert_close(found, d @ matrix @ d.T, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found, found.T, rtol=0, atol=0)
    with pytest.raises(InputError, match="at least one direction"):
        fisher_gram(model, x, [])
    with pytest.raises(InputError, match=r"directions\[1\] must have shape"):
        fisher_gram(model, x, [u, v[:-1]])


class _Decides(nn.Module):
    """What is run depends on values, which vmap cannot follow."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 3)

    def forward(self, x):
        y = self.a(x)
        return y * 2 if bool(self.a.weight.sum() > -1e9) else y


def test_gram_of_a_model_that_decides_by_value():
    torch.manual_seed(0)
    model, x, d = _Decides().double(), torch.randn(5, 4).double(), torch.randn(2, 15).double()
    torch.testing.assert_close(fisher_gram(model, x, list(d)), d @ _matrix(model, x, "categorical") @ d.T)


def test_stacked(setup):
    model, x, u, v = setup
    names = {name: p.detach() for name, p in model.named_parameters()}
    stack = {name: torch.stack([p, 2 * p]) for name, p in names.items()}
    both = fisher_inner(model, x, torch.stack([u, v]), torch.stack([v, v]), params=stack)
    product = fisher_vector_product(model, x, torch.stack([u, v]), params=stack)
    for e in range(2):
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(stack[name][e])
        w = (u, v)[e]
        torch.testing.assert_close(both[e], fisher_inner(model, x, w, v))
        alone = fisher_vector_product(model, x, w)
        for name in names:
            torch.testing.assert_close(product[name][e], alone[name])


def test_twice_the_divergence_to_third_order(setup):
    model, x, u, _ = setup
    u = u / u.norm()
    before = model(x).detach().log_softmax(-1)
    errors = []
    for step in (1e-2, 5e-3):
        parts = iter((u * step).split([p.numel() for p in model.parameters()]))
        moved = {name: p.detach() + next(parts).reshape(p.shape) for name, p in model.named_parameters()}
        after = functional_call(model, moved, (x,)).detach().log_softmax(-1)
        divergence = (before.exp() * (before - after)).sum(-1).mean()
        errors.append(float((2 * divergence - fisher_inner(model, x, u * step, u * step)).abs()))
    assert 5 < errors[0] / errors[1] < 13  # 2^3


def test_saturated_in_float32():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 5))
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(6)
    x = torch.randn(20, 4)
    u = torch.randn(sum(p.numel() for p in model.parameters()))
    found = fisher_inner(model, x, u, u)
    expected = fisher_inner(model.double(), x.double(), u.double(), u.double())
    assert abs(float(found) / float(expected) - 1) < 1e-4


def test_directions_are_checked(setup):
    model, x, u, v = setup
    with pytest.raises(InputError, match=r"u must have shape"):
        fisher_inner(model, x, u[:-1], v)
    with pytest.raises(InputError, match="one tensor per trainable parameter"):
        fisher_vector_product(model, x, {})
    with pytest.raises(InputError, match="v must be finite"):
        fisher_inner(model, x, u, v * torch.inf)
    with pytest.raises(InputError, match="mean over no samples"):
        fisher_inner(model, x[:0], u, v)
    assert float(fisher_inner(model, x[:0], u, v, reduction="sum")) == 0
