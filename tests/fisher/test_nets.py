"""The four networks of the benchmarks, also with weights scaled until the softmax saturates."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from grokfast.errors import InputError
from grokfast.fisher import fisher_diag, fisher_plan
from grokfast.fisher.passes import SMALL

NETS = {
    "M1": ("modular_mlp", lambda nets, g: nets.two_hot(nets.pairs(5, g))),
    "M1 dense": ("modular_mlp", lambda nets, g: nets.dense(5, g)),
    "M2": ("ising_cnn", lambda nets, g: nets.spins(150, g)),
    "M3": ("digits_cnn", lambda nets, g: nets.images(24, g)),
    "M4": ("Transformer", lambda nets, g: nets.tokens(8, g)),
}


@pytest.fixture(scope="module")
def nets():
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "fisher_nets.py"
    spec = importlib.util.spec_from_file_location("fisher_nets", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _make(nets, name, scale):
    torch.manual_seed(0)
    maker, inputs = NETS[name]
    model = getattr(nets, maker)()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(scale)
    return model, inputs(nets, torch.Generator().manual_seed(1))


@pytest.mark.parametrize("scale", [1, 3, 8])
@pytest.mark.parametrize("name", NETS)
def test_exact_in_float32(nets, name, scale, compare, brute_force):
    model, x = _make(nets, name, scale)
    expected = brute_force(model, x)
    if max(float(value.max()) for value in expected.values()) < 1e-38:
        with pytest.raises(InputError, match=r"underflows torch\.float32"):
            fisher_diag(model, x)
        assert compare(fisher_diag(model.double(), x.double()), expected) < 1e-12
    else:
        assert compare(fisher_diag(model, x), expected) < 1e-5


def test_exact_in_float32_beyond_what_runs_in_float64(nets, compare):
    """Units that are hardly active in few samples: a float32 pass leaves their activations two digits too few."""
    model, _ = _make(nets, "M3", 1)
    x = nets.images(140, torch.Generator().manual_seed(1))
    assert 140 * sum(p.numel() for p in model.parameters()) > SMALL
    found = fisher_diag(model, x)
    assert compare(found, fisher_diag(model.double(), x.double())) < 5e-6


@pytest.mark.parametrize("name", ["M1", "M2"])
def test_exact_in_float64(nets, name, compare, brute_force):
    model, x = _make(nets, name, 3)
    assert compare(fisher_diag(model.double(), x[:8].double()), brute_force(model, x[:8])) < 1e-12


@pytest.mark.parametrize("name", NETS)
def test_empirical_and_gaussian(nets, name, compare, brute_force):
    model, x = _make(nets, name, 1)
    x = x[:5]
    classes = model(x).shape[-1]
    y = torch.arange(5) % classes
    found = fisher_diag(model, x, y, kind="empirical")
    assert compare(found, brute_force(model, x, y, kind="empirical")) < 1e-5
    assert compare(fisher_diag(model, x, likelihood="gaussian"), brute_force(model, x, likelihood="gaussian")) < 1e-5


def test_many_samples_of_the_modular_net(nets, compare):
    """The closed form on several hundred samples in float32 against its own reference in float64."""
    from grokfast.ops import LabelMode, fisher_two_layer_reference

    model, _ = _make(nets, "M1", 3)
    x = nets.two_hot(nets.pairs(3000, torch.Generator().manual_seed(2)))
    weights = [p.detach().double().unsqueeze(0) for p in model.parameters()]
    sums = fisher_two_layer_reference(x.double(), *weights, None, int(LabelMode.SOFTMAX))
    expected = {name: s[0] / 3000 for (name, _), s in zip(model.named_parameters(), sums, strict=False)}
    assert compare(fisher_diag(model, x), expected) < 1e-5


@pytest.mark.parametrize(("name", "way"), [("M1", "closed-form"), ("M2", "fused"), ("M3", "rule"), ("M4", "rule")])
def test_the_fast_way_is_taken(nets, name, way, core):
    model, x = _make(nets, name, 1)
    assert {str(route.way) for route in fisher_plan(model, x).routes.values()} == {way}


def test_a_saturated_net_has_neither_nan_nor_zero(nets):
    model, x = _make(nets, "M1", 8)
    found = fisher_diag(model, x).flat()
    assert bool(torch.isfinite(found).all())
    assert float(found.max()) > 0


def test_threads_do_not_change_a_bit(nets):
    for name in ("M1", "M2"):
        model, _ = _make(nets, name, 1)
        x = nets.two_hot(nets.pairs(300, torch.Generator())) if name == "M1" else nets.spins(300, torch.Generator())
        one = fisher_diag(model, x).flat()
        torch.set_num_threads(3)
        assert torch.equal(fisher_diag(model, x).flat(), one)
        torch.set_num_threads(1)


@pytest.mark.gpu
@pytest.mark.parametrize("name", NETS)
def test_cuda_equals_cpu(nets, name):
    model, x = _make(nets, name, 3)
    model = model.double()
    x = x.double() if x.is_floating_point() else x
    expected = fisher_diag(model, x).flat()
    found = fisher_diag(model.cuda(), x.cuda()).flat().cpu()
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12 * float(expected.max()))
