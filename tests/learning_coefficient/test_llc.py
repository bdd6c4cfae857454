"""What does not depend on what, what is refused, and what is left alone."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from grokfast.errors import InputError
from grokfast.learning_coefficient import (
    Mala,
    ModuleDensity,
    Settings,
    Sgld,
    drift,
    effective_sample_size,
    estimate_curve,
    hessian_curvature,
    llc,
    localisation,
    rms_of_tensors,
    split_r_hat,
    standard_error,
)

SHORT = Mala(steps=16, warmup=4, most=16)


@pytest.fixture(scope="module")
def problem():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    x = torch.randn(60, 5, dtype=torch.float64)
    return model, x, (x @ torch.randn(5, 3, dtype=torch.float64)).argmax(1)


def test_a_chain_does_not_depend_on_how_many_there_are(problem):
    one = llc(problem[0], functional.cross_entropy, *problem[1:], sampling=SHORT)
    more = llc(problem[0], functional.cross_entropy, *problem[1:], sampling=Mala(chains=7, steps=16, warmup=4, most=16))
    assert np.array_equal(one.trace, more.trace[:4])
    again = llc(problem[0], functional.cross_entropy, *problem[1:], sampling=SHORT)
    assert np.array_equal(one.trace, again.trace)
    other = llc(problem[0], functional.cross_entropy, *problem[1:], sampling=Mala(steps=16, warmup=4, most=16, seed=1))
    assert not np.array_equal(one.trace, other.trace)


def test_the_model_is_left_alone(problem):
    model, x, y = problem
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    llc(model, functional.cross_entropy, x, y, sampling=SHORT)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_denormals_are_flushed_meanwhile_and_not_afterwards(problem):
    model, x, y = problem
    seen = []

    def watching(outputs, labels):
        seen.append(bool(torch.tensor(1e-40) * 1 == 0))
        return functional.cross_entropy(outputs, labels)

    llc(model, watching, x, y, sampling=Mala(steps=8, warmup=0, most=8), settings=Settings(polish=False))
    assert seen[-1]
    assert not bool(torch.tensor(1e-40) * 1 == 0)


def test_permuting_neurons_changes_nothing(problem):
    model, x, y = problem
    order = torch.randperm(8, generator=torch.Generator().manual_seed(3))
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[0].weight.copy_(model[0].weight[order])
        other[0].bias.copy_(model[0].bias[order])
        other[2].weight.copy_(model[2].weight[:, order])
    how = Mala(steps=200, warmup=40, most=200)
    one, two = (llc(m, functional.cross_entropy, x, y, sampling=how) for m in (model, other))
    assert abs(one.value - two.value) < 4 * np.hypot(one.standard_error, two.standard_error)


@pytest.mark.parametrize("factor", [4.0, 0.3])
def test_rescaling_relu_layers_changes_no_draw(problem, factor):
    """Localities and widths go with the weights; without a bias behind the ReLU, which takes its layer's width."""
    _, x, y = problem
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3, bias=False)).double()
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[0].weight.mul_(factor)
        other[0].bias.mul_(factor)
        other[2].weight.div_(factor)
    how, plain = Mala(steps=40, warmup=10, most=40), Settings(polish=False)
    one, two = (llc(m, functional.cross_entropy, x, y, sampling=how, settings=plain) for m in (model, other))
    assert np.allclose(one.trace, two.trace, rtol=1e-6)
    assert one.value != two.value or factor == 4.0  # which is exact


def test_polishing_finds_the_critical_point(problem):
    model, x, y = problem
    found = llc(model, functional.cross_entropy, x, y, sampling=SHORT, settings=Settings(weight_decay=0.05))
    assert found.polish_change < -1
    assert 0 < found.polish_gradients <= 200
    rough = llc(
        model, functional.cross_entropy, x, y, sampling=SHORT, settings=Settings(weight_decay=0.05, polish=False)
    )
    assert (rough.polish_change, rough.polish_gradients) == (0.0, 0)


def test_saturated_networks_stay_finite(problem):
    model, x, y = problem
    large = copy.deepcopy(model)
    with torch.no_grad():
        for p in large.parameters():
            p.mul_(100)
    found = llc(large, functional.cross_entropy, x, y, sampling=SHORT, settings=Settings(polish=False))
    assert np.isfinite(found.trace).all()


def test_locality_by_tensor():
    center = {
        "0.weight": torch.full((2, 2), 2.0),
        "0.bias": torch.zeros(2),
        "norm.weight": torch.tensor([3.0, 4.0]),
        "2.weight": torch.zeros(2, 2),
    }
    whole = ((4 * 4 + 25) / 12) ** 0.5
    rms = rms_of_tensors(center)
    assert rms == {
        "0.weight": 2.0,
        "0.bias": 2.0,
        "norm.weight": pytest.approx(12.5**0.5),
        "2.weight": pytest.approx(whole),
    }
    assert localisation(center, 0.1, None)["0.bias"] == pytest.approx(1 / 0.2**2)
    assert set(localisation(center, None, 7.0).values()) == {7.0}


class Noisy(nn.Module):
    """Another output at every call, also in evaluation mode, or in training mode alone."""

    def __init__(self, always):
        super().__init__()
        self.layer, self.always = nn.Linear(5, 3).double(), always

    def forward(self, x):
        return functional.dropout(self.layer(x), 0.5, training=self.always or self.training)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m, x, y: (m, x[:1], y[:1]), "two or more samples, got 1 and 1"),
        (lambda m, x, y: (m, x, y[:-1]), "got 60 and 59"),
        (lambda m, x, y: (_with(m, float("nan")), x, y), "0.weight holds NaN"),
        (lambda m, x, y: (nn.Sequential(nn.Linear(5, 3), nn.Dropout(0.1)).double(), x, y), "dropout: call model.eval"),
        (lambda m, x, y: (nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)).double(), x, y), "batch statistics"),
        (lambda m, x, y: (Noisy(False), x, y), "acts differently in training mode: call model.eval"),
        (lambda m, x, y: (Noisy(True).eval(), x, y), "other outputs at a second call"),
        (lambda m, x, y: (nn.Sequential(nn.Linear(5, 3), nn.RReLU()).double(), x, y), "differently in training mode"),
        (lambda m, x, y: (nn.Flatten(), x, y), "no trainable parameter"),
        (lambda m, x, y: (copy.deepcopy(m).half(), x, y), "on the CPU, but 0.weight is torch.float16"),
        (lambda m, x, y: (copy.deepcopy(m).to("meta"), x, y), "on the CPU, but 0.weight is torch.float64 on meta"),
        (lambda m, x, y: (_mixed(m), x, y), "must be of one type, got"),
        (lambda m, x, y: (m, x.index_fill(0, torch.tensor([59]), torch.nan), y), "loss at w. must be finite"),
        (lambda m, x, y: (m, x.index_fill(0, torch.tensor([58]), torch.inf), y), "inputs must be finite"),
    ],
)
def test_bad_models_and_data(problem, change, words):
    model, x, y = change(*problem)
    state = torch.get_rng_state()
    with pytest.raises(InputError, match=words):
        llc(model, functional.cross_entropy, x, y, sampling=SHORT)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_module_in_training_mode_that_acts_the_same_is_taken(problem):
    model, x, y = problem
    assert model.training
    other = copy.deepcopy(model).eval()
    one, two = (llc(m, functional.cross_entropy, x, y, sampling=SHORT) for m in (model, other))
    assert np.array_equal(one.trace, two.trace)


def _mixed(model):
    model = copy.deepcopy(model)
    model[0].float()
    return model


def _with(model, value):
    model = copy.deepcopy(model)
    with torch.no_grad():
        model[0].weight[0, 0] = value
    return model


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"settings": Settings(nbeta=0.0)}, "nbeta must be a finite number > 0"),
        ({"settings": Settings(nbeta=-1.0)}, "nbeta must be"),
        ({"settings": Settings(weight_decay=-1.0)}, "weight_decay must be"),
        ({"settings": Settings(gamma=0.0)}, "gamma must be"),
        ({"rho": 0.0}, "rho must be"),
        ({"rho": float("nan")}, "rho must be"),
        ({"settings": Settings(nbeta=float("inf"))}, "nbeta must be"),
        ({"settings": Settings(curvature=lambda p: {"w": torch.ones(1, 3)})}, "names and shapes of the parameters"),
        ({"settings": Settings(curvature=lambda p: {k: -t.abs() - 1 for k, t in p.items()})}, "not negative"),
    ],
)
def test_bad_settings(problem, options, words):
    with pytest.raises(InputError, match=words):
        llc(problem[0], functional.cross_entropy, *problem[1:], sampling=SHORT, **options)


def test_the_curvature_goes_by_name(problem):
    def steep(params):
        return {name: torch.full_like(tensor, 1 + len(name)) for name, tensor in params.items()}

    one, two = (
        llc(problem[0], functional.cross_entropy, *problem[1:], sampling=SHORT, settings=Settings(curvature=curvature))
        for curvature in (steep, lambda params: dict(reversed(steep(params).items())))
    )
    assert np.array_equal(one.trace, two.trace)


@pytest.mark.parametrize("rhos", [(), (0.1, 0.1), 0.1, (0.1, 0.0)])
def test_bad_localities(problem, rhos):
    density = ModuleDensity(problem[0], functional.cross_entropy, *problem[1:])
    with pytest.raises(InputError, match=r"rhos? must be"):
        estimate_curve(density, hessian_curvature(density), rhos=rhos, sampling=SHORT)


def test_a_loss_that_is_no_mean_is_refused(problem):
    def total(outputs, targets):
        return functional.cross_entropy(outputs, targets, reduction="sum")

    with pytest.raises(InputError, match="the loss must be the mean over samples"):
        llc(problem[0], total, *problem[1:])
    weights = torch.tensor([1.0, 2.0, 30.0], dtype=torch.float64)
    with pytest.raises(InputError, match="the loss must be the mean over samples: of 16 samples it is"):
        llc(problem[0], nn.CrossEntropyLoss(weights), *problem[1:])
    with pytest.raises(InputError, match="the loss must be one number"):
        llc(problem[0], nn.CrossEntropyLoss(reduction="none"), *problem[1:])
    with pytest.raises(InputError, match="chains must be"):
        Mala(chains=1)
    with pytest.raises(InputError, match="step must be"):
        Sgld(step=0.0)
    with pytest.raises(InputError, match="an angle of at most pi / 2, got 2"):
        Mala(step=2.0)


def _chain(phi: float, chains: int, steps: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    draws = np.empty((chains, steps))
    draws[:, 0] = generator.normal(size=chains)
    for t in range(1, steps):
        draws[:, t] = phi * draws[:, t - 1] + np.sqrt(1 - phi**2) * generator.normal(size=chains)
    return draws


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, -0.3])
def test_diagnostics_of_an_autoregressive_chain(phi):
    draws = _chain(phi, 8, 4000)
    expected = draws.size * (1 - phi) / (1 + phi)
    assert effective_sample_size(draws) == pytest.approx(expected, rel=0.15)
    assert split_r_hat(draws) == pytest.approx(1, abs=0.01)
    assert abs(drift(draws)) < 4
    if phi >= 0:
        assert standard_error(draws) == pytest.approx(expected**-0.5, rel=0.6)


def test_diagnostics_of_chains_that_disagree_or_drift():
    draws = _chain(0.0, 4, 400)
    apart = draws + np.array([[0.0], [0.0], [5.0], [5.0]])
    assert split_r_hat(apart) > 2
    assert effective_sample_size(apart) < 20
    assert standard_error(apart) > 1
    assert drift(draws + np.linspace(0, 3, 400)) > 10
    with pytest.raises(InputError, match="at least 4 steps"):
        split_r_hat(draws[:, :3])


def test_split_r_hat_by_hand():
    draws = np.array([[1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 6.0, 5.0]])
    halves = np.array([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0], [6.0, 5.0]])
    within = halves.var(axis=1, ddof=1).mean()
    between = 2 * halves.mean(axis=1).var(ddof=1)
    assert split_r_hat(draws) == pytest.approx(np.sqrt((within / 2 + between / 2) / within))
