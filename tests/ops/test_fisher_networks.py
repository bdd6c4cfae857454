"""The whole-network operations: one hidden layer, and chains of layers."""

from __future__ import annotations

import pytest
import torch

from grokfast.errors import InputError
from grokfast.ops import (
    LabelMode,
    fisher_chain,
    fisher_chain_reference,
    fisher_two_layer,
    fisher_two_layer_reference,
)


def _two_layer(n=37, width=21, classes=5, inputs=40, members=2, mode=LabelMode.SOFTMAX, scale=1.0, sparse=False):
    generator = torch.Generator().manual_seed(n + width)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64) * scale

    x = torch.randn(n, inputs, generator=generator, dtype=torch.float64)
    if sparse:
        x = x * (torch.rand(n, inputs, generator=generator).argsort(-1) < 3)
    labels = torch.randint(0, classes, (members, 2, n), generator=generator) if mode == LabelMode.GIVEN else None
    return (
        x, draw(members, width, inputs) / 4, draw(members, width) / 4, draw(members, classes, width),
        draw(members, classes),
        labels, int(mode),
    )  # fmt: skip


SPEC = [
    0, 2, 7, 6, 3, 4, 6, 3, 3, 2, 1, 1, 1, 1, 1, 0, 1,
    1, 3, 4, 6, 3, 4, 6, 1, 1, 1, 1, 0, 0, 1, 1, -1, -1,
    2, 3, 4, 6, 3, 2, 3, 2, 2, 2, 2, 0, 0, 1, 1, -1, -1,
    0, 3, 2, 3, 5, 2, 1, 1, 2, 1, 2, 0, 0, 1, 1, 2, -1,
    1, 5, 2, 1, 5, 2, 1, 1, 1, 1, 1, 0, 0, 1, 1, -1, -1,
    3, 10, 1, 1, 4, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 3, 4,
]  # fmt: skip


def _chain(n=21, members=2, mode=LabelMode.SOFTMAX):
    generator = torch.Generator().manual_seed(n)
    shapes = [(3, 2, 3, 3), (3,), (5, 3, 1, 2), (4, 10), (4,)]
    params = [torch.randn(members, *s, generator=generator, dtype=torch.float64) for s in shapes]
    labels = torch.randint(0, 4, (members, 2, n), generator=generator) if mode == LabelMode.GIVEN else None
    return torch.randn(n, 2, 7, 6, generator=generator, dtype=torch.float64), params, SPEC, labels, int(mode)


def _same(found, expected, tolerance=1e-11):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(
            a, b, rtol=tolerance, atol=tolerance * float(b.double().abs().max()) if b.numel() else 0
        )


@pytest.mark.parametrize("mode", list(LabelMode))
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("shape", [(37, 21, 5), (300, 64, 33), (1, 1, 2), (100, 13, 2)])
def test_two_layer_equals_its_reference(mode, sparse, shape):
    n, width, classes = shape
    for scale in (1.0, 8.0):
        inputs = _two_layer(n, width, classes, mode=mode, sparse=sparse, scale=scale)
        _same(fisher_two_layer(*inputs), fisher_two_layer_reference(*inputs))


@pytest.mark.parametrize("mode", list(LabelMode))
@pytest.mark.parametrize("n", [1, 16, 37])
def test_chain_equals_its_reference(mode, n):
    _same(fisher_chain(*_chain(n, mode=mode)), fisher_chain_reference(*_chain(n, mode=mode)))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("largest", [5.0, 11.9, 23.9, 300.0])
@pytest.mark.parametrize("alike", [1, 3])
def test_two_layer_in_single_precision(core, sparse, largest, alike):
    """Below and above where logits are redone in double; and where classes with nearly the same weights compete."""
    x, w1, b1, w2, b2, labels, mode = (
        t.float() if isinstance(t, torch.Tensor) else t for t in _two_layer(300, 128, 31, sparse=sparse)
    )
    logits = torch.einsum("nk,ehk->enh", x, w1).add(b1[:, None]).relu() @ w2.mT
    w2, b2 = w2 * (largest / logits.abs().max()), b2 * 0
    w2[:, :alike] = w2[:, :1] + 0.01 * (w2[:, :alike] - w2[:, :1])
    b2[:, :alike] += largest
    found = fisher_two_layer(x, w1, b1, w2, b2, labels, mode)
    exact = fisher_two_layer_reference(*(t.double() for t in (x, w1, b1, w2, b2)), labels, mode)
    for got, want in zip(found[:4], exact, strict=False):
        counted = want > 1e-6 * want.amax()
        assert ((got - want).abs() / want)[counted].max() < 1e-5


def test_two_layer_without_biases():
    x, w1, _, w2, _, labels, mode = _two_layer()
    _same(
        fisher_two_layer(x, w1, None, w2, None, labels, mode),
        fisher_two_layer_reference(x, w1, None, w2, None, labels, mode),
    )


def test_every_instruction_set(isa):
    for mode in LabelMode:
        _same(fisher_two_layer(*_two_layer(mode=mode)), fisher_two_layer_reference(*_two_layer(mode=mode)))
        _same(fisher_chain(*_chain(mode=mode)), fisher_chain_reference(*_chain(mode=mode)))


def test_status(core):
    inputs = list(_two_layer())
    inputs[1][1, 2, 3] = torch.inf
    assert fisher_two_layer(*inputs)[4].tolist() == [0, 1]
    assert fisher_two_layer_reference(*inputs)[4].tolist() == [0, 1]
    inputs = list(_two_layer())
    inputs[4][0, 0] = torch.nan
    assert fisher_two_layer(*inputs)[4].tolist() == [2, 0]
    chain = _chain()
    chain[1][0][1, 0, 0, 0, 0] = torch.nan
    assert fisher_chain(*chain)[-1].tolist() == [0, 1]
    x, params, spec, labels, mode = _chain()
    params[4][0] += 100
    single = fisher_chain(x.float(), [p.float() for p in params], spec, labels, mode)
    assert single[-1].tolist()[0] == 3


@pytest.mark.parametrize("tap", [0, 4, 8])
def test_a_weight_that_is_not_finite_meets_the_zeros_of_the_border(core, tap):
    """A picture of one pixel: the taps around the middle one meet nothing else, and the answer has no meaning."""
    spec = [0, 1, 1, 1, 1, 1, 1, 3, 3, 1, 1, 1, 1, 1, 1, 0, 1, *(3, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 2, 3)]
    params = [torch.ones(2, *shape, dtype=torch.float64) for shape in ((1, 1, 3, 3), (1,), (2, 1), (2,))]
    params[0][1].view(-1)[tap] = torch.inf
    x = torch.ones(3, 1, 1, 1, dtype=torch.float64)
    for run in (fisher_chain, fisher_chain_reference):
        status = run(x, params, spec, None, int(LabelMode.SOFTMAX))[-1]
        assert status[0] == 0
        assert status[1] != 0


def test_opcheck():
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(fisher_two_layer, _two_layer(n=5, width=4), test_utils=tests)
    torch.library.opcheck(fisher_chain, _chain(n=3), test_utils=tests)


def test_rejects_what_does_not_fit():
    x, w1, b1, w2, b2, labels, mode = _two_layer()
    with pytest.raises(InputError, match="expects x"):
        fisher_two_layer(x[:, :3], w1, b1, w2, b2, labels, mode)
    with pytest.raises(InputError, match="labels go with mode 1"):
        fisher_two_layer(x, w1, b1, w2, b2, labels, int(LabelMode.GIVEN))
    with pytest.raises(InputError, match="b1 must be"):
        fisher_two_layer(x, w1, b1[:, :2], w2, b2, labels, mode)
    bad = torch.full((2, 1, 37), 9)
    with pytest.raises(InputError, match="must lie in"):
        fisher_two_layer(x, w1, b1, w2, b2, bad, int(LabelMode.GIVEN))
    x, params, spec, labels, mode = _chain()
    with pytest.raises(InputError, match="layer 0: weight must be one of 5 parameters, with 54 values a member"):
        fisher_chain(x, [params[0][:, :2], *params[1:]], spec, labels, mode)
    with pytest.raises(InputError, match="must take 42 values"):
        fisher_chain(x[:, :1], params, spec, labels, mode)
