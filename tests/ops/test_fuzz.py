"""Random calls of every kernel: sizes from nothing to some vectors, memory laid out in any way, special numbers."""

from __future__ import annotations

import random

import pytest
import torch

from grokfast.errors import InputError

SPECIAL = [torch.nan, torch.inf, -torch.inf, 1e-310, -1e-40, 0.0, -0.0]
# Maps that are too small to be pooled, and gradients or states that are stored otherwise than their parameters.
REFUSED = ("at least 2", "strides", "values a sample, got sizes", "do not become")
FEWER = {"fisher_chain": 0.06, "cnn_cross_entropy": 0.2, "mlp_nested": 0.4, "fisher_two_layer": 0.3}
LIMITS = {
    "E": 3,
    "side": 9,
    "k": 5,
    "mode": 2,
    "weighted": 1,
    "split": 1,
    "classes": 5,
    "groups": 3,
    "K": 6,
    "filled": 9,
}


def _size(chance, axis):
    limit = LIMITS.get(axis, 40)
    value = chance.choice([0, 1, 2, chance.randint(0, limit), chance.randint(0, limit)])
    if axis == "k":
        return value // 2 * 2 + 1
    return min(value, limit)


def _laid_out(chance, tensor):
    """The same values in other memory."""
    how = chance.choice(["dense", "misaligned", "transposed", "expanded", "strided"])
    if how == "misaligned":
        room = torch.empty(tensor.numel() + 3, dtype=tensor.dtype)
        return room[3:].view(tensor.shape).copy_(tensor)
    if how == "transposed" and tensor.dim() > 2:
        return tensor.transpose(-1, -2).contiguous().transpose(-1, -2)
    if how == "strided":
        room = tensor.new_empty(*tensor.shape, 2)
        return room[..., 1].copy_(tensor)
    return tensor.contiguous()


def _calls(cases, core, count, seed):
    chance = random.Random(seed)
    right = refused = 0
    names = list(cases)
    weights = [FEWER.get(name, 1.0) for name in names]
    for call in range(count):
        (name,) = chance.choices(names, weights)
        case, dtype = cases[name], chance.choice([torch.float32, torch.float64])
        sizes = {axis: _size(chance, axis) for axis in case.sizes}
        if core is not None:
            core.set_isa(chance.choice(["baseline", core.best]))
        torch.set_num_threads(chance.choice([1, 2, 5]))
        what = f"call {call} of seed {seed}: {name} {sizes} {dtype}"
        try:
            sizes, tensors = case.problem(seed=call, dtype=dtype, **sizes)
        except (RuntimeError, ZeroDivisionError, IndexError):
            continue  # torch itself cannot make the tensors
        special = chance.random() < 0.2
        for k, tensor in enumerate(tensors):
            if special and tensor.is_floating_point() and tensor.numel() and chance.random() < 0.5:
                tensor = tensor.clone()
                tensor.flatten()[chance.randrange(tensor.numel())] = chance.choice(SPECIAL)
                place = torch.unravel_index(torch.tensor(chance.randrange(tensor.numel())), tensor.shape)
                tensor[place] = chance.choice(SPECIAL)
            tensors[k] = _laid_out(chance, tensor)
        try:
            found = case.run(sizes, *tensors)
        except InputError as error:
            if 0 not in sizes.values() and not any(word in str(error) for word in REFUSED):
                pytest.fail(f"{what}: {error}")
            refused += 1
            continue
        if not special:
            try:
                case.check(sizes, tensors, found)
            except (RuntimeError, IndexError) as error:  # torch's own, of tensors without entries
                if 0 not in sizes.values():
                    pytest.fail(f"{what}: {error}")
                continue
            except AssertionError as error:
                raise AssertionError(f"{what}: {error}") from error
        right += 1
    return right, refused


class _Core:
    """The instruction sets of this machine."""

    def __init__(self, module):
        self.module, self.best = module, module.isa()

    def set_isa(self, name):
        self.module.set_isa(name)


@pytest.fixture
def any_isa(core):
    machine = _Core(core)
    yield machine
    core.set_isa(machine.best)


def test_random_calls(cases, any_isa):
    right, refused = _calls(cases, any_isa, 2000, seed=0)
    assert right > 1000
    assert right > refused


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 51))
def test_many_random_calls(cases, any_isa, seed):
    assert _calls(cases, any_isa, 2000, seed)[0] > 1000
