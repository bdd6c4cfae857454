from __future__ import annotations

import pytest
import torch
from torch import nn

from grokfast.models import (
    CnnShape,
    cnn,
    cnn_on_pictures,
    cnn_preactivations,
    initial_cnn,
    member,
    stack_members,
)

SHAPES = [
    CnnShape(16, (2, 4), 3, (100,), 2),
    CnnShape(8, (3, 2), 5, (7, 6), 2),
    CnnShape(8, (2,), 3, (5,), 3),
    CnnShape(8, (2, 3, 4), 1, (4,), 2),
]


def _stack(shape, members=3, dtype=torch.float64):
    drawn = [initial_cnn(shape, 1.5, torch.Generator().manual_seed(k), dtype) for k in range(members)]
    pictures = torch.randint(0, 2, (members, 9, 1, shape.side, shape.side), generator=torch.Generator().manual_seed(9))
    return stack_members(drawn), (2 * pictures - 1).to(torch.int8)


def test_the_papers_network():
    module = cnn(SHAPES[0])
    assert sum(p.numel() for p in module.parameters()) == 6_798
    assert [name for name, _ in module.named_parameters() if name.endswith("weight")] == [
        "0.weight",
        "3.weight",
        "7.weight",
        "9.weight",
    ]
    assert SHAPES[0].layers == {"conv1": "0", "conv2": "3", "hidden": "7", "output": "9"}


@pytest.mark.parametrize("shape", SHAPES)
def test_stacked_logits_equal_the_module(shape):
    params, pictures = _stack(shape)
    found = cnn_on_pictures(params, pictures)
    for e in range(3):
        module = cnn(shape).double()
        module.load_state_dict(member(params, e))
        torch.testing.assert_close(found[e], module(pictures[e].double()), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_preactivations_are_what_the_modules_layers_give(shape):
    params, pictures = _stack(shape)
    found = cnn_preactivations(params, pictures, shape)
    module = cnn(shape).double()
    module.load_state_dict(member(params, 1))
    seen = {}
    for name, layer in module.named_children():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda _, __, output, name=name: seen.update({name: output.detach()}))
    module(pictures[1].double())
    assert list(found) == list(shape.layers)
    for name, prefix in shape.layers.items():
        torch.testing.assert_close(found[name][1], seen[prefix], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_initial_parameters_have_pytorchs_default_law(shape):
    """Uniform in ±w0 / sqrt(n_in) like reset_parameters, biases too; names and order those of the module."""
    w0 = 3.0
    draws = [initial_cnn(shape, w0, torch.Generator().manual_seed(k), torch.float64) for k in range(200)]
    torch.manual_seed(0)
    module = cnn(shape).double()
    assert {name: t.shape for name, t in draws[0].items()} == {n: p.shape for n, p in module.named_parameters()}
    assert list(draws[0]) == [name for name, _ in module.named_parameters()]
    torches = [cnn(shape).state_dict() for _ in range(200)]
    for name in draws[0]:
        ours = torch.stack([draw[name] for draw in draws]).flatten()
        theirs = torch.stack([state[name] for state in torches]).flatten().double() * w0
        fan_in = module.state_dict()[name.replace("bias", "weight")][0].numel()
        bound = w0 / fan_in**0.5
        assert ours.abs().max() <= bound
        assert ours.abs().max() > 0.97 * bound
        for sample in (ours, theirs):  # variance of a uniform: bound² / 3, with its sampling error
            error = 4 * bound**2 / 3 * (0.8 / len(sample)) ** 0.5
            assert abs(sample.var() - bound**2 / 3) < error


def test_float32_starts_where_float64_does():
    shape = SHAPES[0]
    wide, narrow = (
        initial_cnn(shape, 2.0, torch.Generator().manual_seed(1), dtype) for dtype in (torch.float64, torch.float32)
    )
    assert all(torch.equal(wide[name].float(), narrow[name]) for name in wide)
