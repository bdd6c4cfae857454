"""The local learning coefficient against Langevin dynamics as one writes it first, in plain PyTorch."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from grokfast.learning_coefficient import Mala, ModuleDensity, Settings, Sgld, StackedDensity, estimate_llc
from grokfast.learning_coefficient.locality import stacked_localisation
from grokfast.learning_coefficient.posterior import Posterior, default_nbeta
from grokfast.learning_coefficient.sgld import run_sgld
from grokfast.models import stack_members
from grokfast.tasks import ModularAddition, load_parameters

NBETA, GAMMA = 1000.0, 50.0


class Quadratic(nn.Module):
    """A network whose output is its loss."""

    def __init__(self, size):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(size, dtype=torch.float64))
        self.h = torch.linspace(0.1, 3, size, dtype=torch.float64)

    def forward(self, x):
        return (0.5 * (self.h * self.w**2).sum()).expand(len(x))


def _langevin(model, loss_of, steps, step, gamma, chains, warmup):
    """Chains of SGLD one after the other, each step a backward pass and a loop over the parameters."""
    traces = []
    start = [p.detach().clone() for p in model.parameters()]
    for k in range(chains):
        generator = torch.Generator().manual_seed(k)
        with torch.no_grad():
            for p, at in zip(model.parameters(), start, strict=True):
                p.copy_(at)
        trace = []
        for _ in range(steps):
            model.zero_grad()
            loss = loss_of(model)
            loss.backward()
            trace.append(loss.item())
            with torch.no_grad():
                for p, at in zip(model.parameters(), start, strict=True):
                    noise = torch.randn(p.shape, generator=generator, dtype=p.dtype)
                    p.add_(-0.5 * step * (NBETA * p.grad + gamma * (p - at)) + math.sqrt(step) * noise)
        traces.append(trace[warmup:])
    with torch.no_grad():
        for p, at in zip(model.parameters(), start, strict=True):
            p.copy_(at)
    return torch.tensor(traces, dtype=torch.float64)


def _error(trace):
    from grokfast.learning_coefficient import standard_error

    return standard_error(trace.numpy())


def test_equal_standard_error_on_a_quadratic(side_by_side, quick):
    """1,000 parameters of curvatures 0.1 to 3: seconds times squared standard error, against SGLD at step 1e-4."""
    size, steps = (50, 200) if quick else (1000, 4000)
    model, x = Quadratic(size), torch.zeros(2, 1, dtype=torch.float64)
    exact = 0.5 * (NBETA * model.h / (NBETA * model.h + GAMMA)).sum().item()
    density = ModuleDensity(model, lambda outputs, _: outputs.mean(), x, x[:, 0])
    how = Mala(steps=steps // 10, warmup=20, most=steps // 10)
    settings = Settings(nbeta=NBETA, gamma=GAMMA, polish=False)

    def curvature(center):
        return {"w": model.h.expand_as(center["w"])}

    def ours():
        return estimate_llc(density, curvature, sampling=how, settings=settings)

    def rival():
        return NBETA * _langevin(model, lambda m: m(x[:1]).mean(), steps, 1e-4, GAMMA, 2 if quick else 4, steps // 4)

    found, theirs = ours(), rival()
    found, theirs = side_by_side(
        ours,
        rival,
        rounds=3,
        ours_counts=found.standard_error**-2,
        rival_counts=_error(theirs) ** -2,
        name="SGLD to the same standard error",
    )
    assert abs(found.value - exact) < 4 * found.standard_error
    assert abs(float(theirs.mean()) - exact) < 6 * _error(theirs) + 0.1 * exact  # its step and its burn-in bias it


def _addition(quick, gamma=None):
    """An untrained network of the main text: its posterior, a module of the same parameters and two-hot vectors."""
    task = ModularAddition(P=23, hidden=(64,)) if quick else ModularAddition()
    split = task.split(0)
    params = stack_members([task.initial(0, 1.0, torch.float32)], task.input_major)
    density = StackedDensity(task, params, split.train_inputs[None], split.train_labels[None])
    pull = stacked_localisation(params, None if gamma else 0.1, gamma)
    posterior = Posterior(density, params, default_nbeta(density.samples), torch.zeros(1), pull)
    model = task.module()
    load_parameters(model, {name: tensor[0] for name, tensor in params.items()})
    return posterior, model, task.encode(split.train_inputs, torch.float32), split.train_labels


def test_gradients_of_modular_addition(side_by_side, quick):
    """Full-batch gradients of four chains, against a module's backward pass on two-hot vectors."""
    (posterior, model, x, labels), chains = _addition(quick), 4
    where = torch.zeros(chains, posterior.size)

    def rival():
        slopes = []
        for _ in range(chains):
            model.zero_grad()
            functional.cross_entropy(model(x), labels).backward()
            slopes.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
        return torch.stack(slopes) * posterior.nbeta

    (_, _, ours), theirs = side_by_side(
        lambda: posterior.energy(where), rival, rounds=5, ours_counts=chains, rival_counts=chains, name="autograd"
    )
    assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


def test_steps_of_langevin_on_modular_addition(side_by_side, quick):
    """SGLD with batches of 512 at the paper's step and gamma, against a loop over a DataLoader as devinterp runs it."""
    (posterior, model, x, labels), steps, step, gamma = _addition(quick, 1.0), 16 if quick else 64, 1e-3, 1.0
    loader = DataLoader(TensorDataset(x, labels), batch_size=min(512, len(x)), shuffle=True)
    start = [p.detach().clone() for p in model.parameters()]
    how = Sgld(step=step, steps=steps, batch_size=512, every=steps)

    def rival():
        with torch.no_grad():
            for p, at in zip(model.parameters(), start, strict=True):
                p.copy_(at)
        done = 0
        while done < steps:
            for inputs, targets in loader:
                model.zero_grad()
                functional.cross_entropy(model(inputs), targets).backward()
                with torch.no_grad():
                    for p, at in zip(model.parameters(), start, strict=True):
                        pull = posterior.nbeta * p.grad + gamma * (p - at)
                        p.add_(-0.5 * step * pull + math.sqrt(step) * torch.randn_like(p))
                done += 1
                if done == steps:
                    break
        away = [(p.detach() - at).square().sum() for p, at in zip(model.parameters(), start, strict=True)]
        return float(torch.stack(away).sum())

    (ours,), theirs = side_by_side(
        lambda: run_sgld(posterior, how), rival, rounds=5, ours_counts=steps, rival_counts=steps, name="plain SGLD"
    )
    assert math.isclose(float(ours.squares.sum()), theirs, rel_tol=0.2 if quick else 0.05)
