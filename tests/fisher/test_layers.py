"""Every layer against per-sample autograd in float64."""

from __future__ import annotations

import pytest
import torch

from grokfast.fisher import fisher_diag, fisher_diag_reference

pytestmark = pytest.mark.filterwarnings("ignore:Using padding=.same.")


def _setup(case, dtype):
    torch.manual_seed(3)
    model = case.make().to(dtype)
    inputs = case.inputs()
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    return model, tuple(a.to(dtype) if a.is_floating_point() else a for a in inputs)


@pytest.mark.parametrize("likelihood", ["categorical", "bernoulli", "gaussian"])
def test_exact_in_float64(case, likelihood, compare):
    model, inputs = _setup(case, torch.float64)
    found = fisher_diag(model, inputs, likelihood=likelihood)
    assert compare(found, fisher_diag_reference(model, inputs, likelihood=likelihood)) < 1e-12


@pytest.mark.parametrize("likelihood", ["categorical", "bernoulli", "gaussian"])
def test_empirical_in_float64(case, likelihood, compare):
    model, inputs = _setup(case, torch.float64)
    generator = torch.Generator().manual_seed(0)
    outputs = model(*inputs)
    if likelihood == "categorical":
        targets = torch.randint(0, outputs.shape[-1], outputs.shape[:-1], generator=generator)
    else:
        targets = torch.rand(outputs.shape, generator=generator, dtype=torch.float64)
    how = {"kind": "empirical", "likelihood": likelihood}
    found = fisher_diag(model, inputs, targets, **how)
    assert compare(found, fisher_diag_reference(model, inputs, targets, **how)) < 1e-12


@pytest.mark.parametrize("scale", [1, 3, 8])
def test_exact_in_float32(case, scale, compare, brute_force):
    model, inputs = _setup(case, torch.float32)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(scale)
    assert compare(fisher_diag(model, inputs), brute_force(model, inputs)) < 1e-5


def test_a_stack_is_its_members(case, compare):
    model, inputs = _setup(case, torch.float64)
    stack = {name: torch.stack([p.detach() * k for k in (1.0, 0.5, 1.5)]) for name, p in model.named_parameters()}
    found = fisher_diag(model, inputs, params=stack, reduction="sum")
    assert found.stacked
    assert found.flat().shape == (3, sum(p.numel() for p in model.parameters()))
    for e in range(3):
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(stack[name][e])
        expected = fisher_diag_reference(model, inputs, reduction="sum")
        assert compare({name: value[e] for name, value in found.items()}, expected) < 1e-12


def test_nothing_is_left_behind(case):
    model, inputs = _setup(case, torch.float32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [m.training for m in model.modules()]
    state = torch.get_rng_state()
    hooks = sum(len(m._forward_hooks) + len(m._backward_hooks) for m in model.modules())
    with torch.no_grad():
        fisher_diag(model, inputs, kind="mc", generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), state)
    assert modes == [m.training for m in model.modules()]
    assert hooks == sum(len(m._forward_hooks) + len(m._backward_hooks) for m in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_small_blocks_add_up(case, compare):
    model, inputs = _setup(case, torch.float64)
    assert compare(fisher_diag(model, inputs, batch_size=2), dict(fisher_diag(model, inputs))) < 1e-12
