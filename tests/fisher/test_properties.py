"""Random architectures, shapes and dtypes, and the columns behind every likelihood."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from grokfast.fisher import fisher_diag, fisher_diag_reference
from grokfast.fisher.columns import Columns, softmax_factor
from grokfast.fisher.variants import Kind, Likelihood

ACTIVATIONS = [nn.ReLU, nn.Tanh, nn.GELU, lambda: nn.ReLU(inplace=True), lambda: nn.Dropout(0.0), nn.Identity]


@st.composite
def networks(draw):
    """A convolutional part or none, and one to three linear layers."""
    layers = []
    n = draw(st.integers(0, 6))
    if draw(st.booleans()):
        channels, size = draw(st.integers(1, 3)), draw(st.integers(4, 7))
        shape = (n, channels, size, size)
        for _ in range(draw(st.integers(1, 2))):
            out, kernel = draw(st.integers(1, 4)), draw(st.integers(1, 3))
            mode = draw(st.sampled_from(["zeros", "circular"]))
            layers.append(
                nn.Conv2d(channels, out, kernel, draw(st.integers(1, 2)),
                          draw(st.integers(kernel // 2, 1 + kernel // 2)),
                          bias=draw(st.booleans()), padding_mode=mode)
            )  # fmt: skip
            layers.append(draw(st.sampled_from(ACTIVATIONS))())
            channels = out
        if draw(st.booleans()):
            layers.append(nn.MaxPool2d(2, ceil_mode=draw(st.booleans())))
        layers.append(nn.Flatten())
    else:
        shape = (n, draw(st.integers(1, 40)))
    sample = torch.zeros(1, *shape[1:])
    try:
        width = nn.Sequential(*layers)(sample).flatten(1).shape[1]
    except RuntimeError:
        layers, shape, width = [nn.Flatten()], (n, 5), 5
    for _ in range(draw(st.integers(1, 3))):
        out = draw(st.integers(2, 7))
        layers += [nn.Linear(width, out, bias=draw(st.booleans())), draw(st.sampled_from(ACTIVATIONS))()]
        width = out
    return layers[:-1], shape


@settings(max_examples=60, deadline=None)
@given(
    networks(),
    st.integers(0, 2**20),
    st.sampled_from(list(Likelihood)),
    st.sampled_from([1.0, 4.0]),
    st.booleans(),
)
def test_any_network(network, seed, likelihood, scale, single):
    layers, shape = network
    torch.manual_seed(seed)
    model = nn.Sequential(*layers)
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.reset_parameters()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(scale)
    x = torch.randn(shape)
    dtype = torch.float32 if single else torch.float64
    found = fisher_diag(model.to(dtype), x.to(dtype), likelihood=likelihood, reduction="sum")
    expected = fisher_diag_reference(model.double(), x.double(), likelihood=likelihood, reduction="sum")
    top = max(float(value.max()) for value in expected.values())
    for name, value in expected.items():
        big = value > 1e-6 * top
        if bool(big.any()):
            error = float(((found[name].double() - value).abs() / value)[big].max())
            assert error < (1e-5 if single else 1e-11)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 9), st.floats(0.1, 40), st.integers(0, 2**20))
def test_softmax_factor(classes, scale, seed):
    f = torch.randn(4, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * scale
    factor = torch.stack(list(softmax_factor(f)), -1)
    p = f.softmax(-1)
    assert factor.shape == (4, classes, classes - 1)
    covariance = torch.diag_embed(p) - p.unsqueeze(-1) * p.unsqueeze(-2)
    torch.testing.assert_close(factor @ factor.mT, covariance, rtol=1e-9, atol=1e-15)
    # Relative accuracy on the diagonal, where p - p^2 itself has lost it.
    others = p.unsqueeze(1).expand(-1, classes, -1).masked_fill(torch.eye(classes, dtype=torch.bool), 0).sum(-1)
    torch.testing.assert_close(factor.square().sum(-1), p * others, rtol=1e-9, atol=0)


@pytest.mark.parametrize("likelihood", list(Likelihood))
def test_drawn_columns_average_to_the_exact_ones(likelihood):
    f = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def outer(kind, **how):
        return sum(c.unsqueeze(-1) * c.unsqueeze(-2) for c in Columns(f, kind, likelihood, **how))

    drawn = outer(Kind.MC, samples=20000, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(drawn, outer(Kind.EXACT), rtol=0, atol=0.05)
