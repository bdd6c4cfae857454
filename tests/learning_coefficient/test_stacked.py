"""Networks of a stack: the bits of each are its own, and the same as of a module by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_snapshots import ISING
from torch.nn import functional

from grokfast.errors import InputError
from grokfast.learning_coefficient import (
    Mala,
    ModuleDensity,
    Settings,
    Sgld,
    StackedDensity,
    curvature_of,
    estimate_curve,
    estimate_llc,
    recipe,
    stacked_curvature,
)
from grokfast.learning_coefficient.locality import stacked_localisation
from grokfast.learning_coefficient.posterior import Posterior, row_sums, squared_norms
from grokfast.models import stack_members
from grokfast.tasks import ModularAddition, load_parameters

TASK = ModularAddition(P=7, hidden=(12,))
SHORT = Mala(steps=12, warmup=4, most=36)
DTYPE = torch.float64


def _members(count):
    return [TASK.initial(seed, 0.5 + seed, DTYPE) for seed in range(count)], [TASK.split(seed) for seed in range(count)]


def _module(params):
    module = TASK.module().to(DTYPE)
    load_parameters(module, params)
    return module.eval()


def _density(task, members, splits):
    params = stack_members(members, task.input_major)
    inputs, labels = (
        torch.stack([getattr(split, name) for split in splits]) for name in ("train_inputs", "train_labels")
    )
    return StackedDensity(task, params, inputs, labels)


def _stack(members, splits):
    density = _density(TASK, members, splits)
    parts = [
        curvature_of(_module(own), functional.cross_entropy, TASK.encode(split.train_inputs, DTYPE), density)
        for own, split in zip(members, splits, strict=True)
    ]
    return density, stacked_curvature(parts)


def _curves(order, how=SHORT, **settings):
    members, splits = _members(4)
    density, curvature = _stack([members[k] for k in order], [splits[k] for k in order])
    return estimate_curve(density, curvature, rhos=(0.1, 0.3), sampling=how, settings=Settings(**settings))


@pytest.mark.parametrize("how", [SHORT, Sgld(step=1e-4, chains=3, steps=10, batch_size=8)])
def test_what_is_found_of_a_network_does_not_depend_on_the_others(how):
    together = _curves([0, 1, 2, 3], how, weight_decay=1e-3)
    other = _curves([3, 1], how, weight_decay=1e-3)
    for k, net in enumerate([3, 1]):
        for one, two in zip(together[net], other[k], strict=True):
            assert np.array_equal(one.trace, two.trace)
            np.testing.assert_equal(vars(one), vars(two))
    assert len({curve[0].value for curve in together}) == 4


@pytest.mark.parametrize("task", [ModularAddition(P=13, hidden=(40,)), ISING], ids=lambda task: task.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_row_has_its_bits_wherever_it_stands(task, dtype):
    """Through the compiled kernels: energies and gradients of chains in any order and number."""
    members, splits = [task.initial(seed, 1.0, dtype) for seed in (0, 1)], [task.split(seed) for seed in (0, 1)]
    density = _density(task, members, splits)
    pull = stacked_localisation(density.center, 0.3, None)
    posterior = Posterior(density, density.center, 50.0, torch.tensor([0.0, 1e-2]), pull)
    generator = torch.Generator().manual_seed(0)
    where = 0.1 * torch.randn(2, 5, posterior.size, generator=generator, dtype=dtype)
    whole = [part.view(2, 5, -1) for part in posterior.energy(where.flatten(0, 1))]
    for nets, chains in (([1, 0], [4, 2, 0, 1, 3]), ([1], [3]), ([0], [2, 1])):
        rows = where[nets][:, chains].flatten(0, 1)
        for part, found in zip(whole, posterior.only(nets).energy(rows), strict=True):
            assert torch.equal(found.view(len(nets), len(chains), -1), part[nets][:, chains])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 7, 30, 129, 1000, 1024, 1025])
def test_sums_of_a_row_have_the_bits_of_the_row_alone(size, dtype):
    rows = torch.randn(33, size, dtype=dtype, generator=torch.Generator().manual_seed(0))
    for function in (row_sums, squared_norms):
        alone = torch.cat([function(row[None]) for row in rows])
        for count in (2, 5, 8, 33):
            assert function(rows[:count]).equal(alone[:count])
    torch.testing.assert_close(row_sums(rows), rows.double().sum(1))
    torch.testing.assert_close(squared_norms(rows), rows.double().square().sum(1))


def test_networks_end_when_they_have_mixed():
    curves = _curves([0, 1, 2, 3], Mala(steps=12, warmup=4, most=200))
    lengths = {found.trace.shape[1] for curve in curves for found in curve}
    assert len(lengths) > 1, lengths
    for curve in curves:
        for found in curve:
            assert found.trace.shape[1] == 200 or (found.effective_samples >= 100 and found.r_hat <= 1.05)


def test_a_stack_finds_what_a_module_does():
    members, splits = _members(1)
    x = TASK.encode(splits[0].train_inputs, DTYPE)
    alone = ModuleDensity(_module(members[0]), functional.cross_entropy, x, splits[0].train_labels)
    curvature = curvature_of(_module(members[0]), functional.cross_entropy, x, alone)
    stacked = estimate_llc(*_stack(members, splits), sampling=SHORT)
    module = estimate_llc(alone, curvature, sampling=SHORT)
    assert np.allclose(stacked.trace, module.trace, rtol=1e-6)
    assert stacked.polish_gradients == module.polish_gradients > 1


def test_decay_is_of_each_network():
    members, splits = _members(2)
    density, curvature = _stack([members[0]] * 2, [splits[0]] * 2)
    both = estimate_curve(
        density, curvature, rhos=(0.1,), sampling=SHORT, settings=Settings(weight_decay=(0.0, 0.1), polish=False)
    )
    alone = _curves([0], weight_decay=0.1, polish=False)
    assert np.array_equal(both[1][0].trace, alone[0][0].trace)
    assert not np.array_equal(both[0][0].trace, both[1][0].trace)


def test_blocks_of_samples_sum_to_the_whole(monkeypatch):
    density, _ = _stack(*_members(2))
    params = {name: tensor.repeat_interleave(3, 0) for name, tensor in density.center.items()}
    whole = {name: torch.empty_like(tensor) for name, tensor in params.items()}
    parts = {name: torch.empty_like(tensor) for name, tensor in params.items()}
    loss = density.gradient(params, whole)
    assert torch.allclose(loss, density.loss(params), rtol=1e-12)
    monkeypatch.setattr("grokfast.learning_coefficient.stacked._SAMPLES_AT_ONCE", 10)
    assert torch.allclose(density.gradient(params, parts), loss, rtol=1e-12)
    assert torch.allclose(density.loss(params), loss, rtol=1e-12)
    for name, tensor in whole.items():
        assert torch.allclose(parts[name], tensor, rtol=1e-9, atol=1e-15)


def test_recipes_are_those_of_the_literature():
    paper = recipe("paper", 8938)
    assert (paper.sampling.step, paper.sampling.chains, paper.sampling.batch_size) == (1e-3, 1, 512)
    assert (paper.sampling.warmup, paper.sampling.steps, paper.settings.gamma) == (2500, 7500, 1.0)
    assert not paper.settings.polish
    assert recipe("devinterp", 300).sampling.batch_size == 300
    assert recipe("lau", 300, steps=64).sampling.steps == 64
    with pytest.raises(InputError, match="recipe must be one of"):
        recipe("nobody", 300)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p, x, y: (p, x[:, :1], y[:, :1]), "two or more samples"),
        (lambda p, x, y: (p, x, y[:, 1:]), "must be the same"),
        (lambda p, x, y: (p, x[:1], y[:1]), "a stack of 2, but there are data of 1"),
        (lambda p, x, y: ({**p, "0.bias": p["0.bias"] * float("nan")}, x, y), "0.bias holds NaN"),
    ],
)
def test_bad_stacks(change, words):
    density, _ = _stack(*_members(2))
    x, y = (torch.stack([getattr(s, n) for s in _members(2)[1]]) for n in ("train_inputs", "train_labels"))
    with pytest.raises(InputError, match=words):
        StackedDensity(TASK, *change(density.center, x, y))


def test_bad_calls():
    density, curvature = _stack(*_members(2))
    with pytest.raises(InputError, match="one for each of 2 networks, got 3"):
        estimate_curve(density, curvature, sampling=SHORT, settings=Settings(weight_decay=(0.1, 0.1, 0.1)))
    with pytest.raises(InputError, match="takes one network, got 2"):
        estimate_llc(density, curvature, sampling=Mala(steps=8, warmup=0, most=8), settings=Settings(polish=False))
