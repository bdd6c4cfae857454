"""The caller's module is never touched: not by a call, not for a moment, not by many at once."""

from __future__ import annotations

import copy
import random
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from grokfast import Trajectory
from grokfast.errors import InputError
from grokfast.fisher import fisher_diag, fisher_gram, fisher_inner, fisher_plan, fisher_vector_product
from grokfast.models.copies import private_copy
from grokfast.pruning import measure_pruning


class Remembering(nn.Module):
    """Keeps caches in a buffer, attributes, a list and a dict, by size, dtype and in training of its own."""

    def __init__(self):
        super().__init__()
        self.a, self.out = nn.Linear(4, 5), nn.Linear(5, 3)
        self.scale = nn.Parameter(torch.ones(1) * 1.5)
        self.register_buffer("calls", torch.zeros(()))
        self.ones, self.seen, self.by_size, self.held = None, [], {}, [self.scale]
        self.hooked = []
        self.out.register_forward_hook(lambda m, i, o: self.hooked.__setitem__(slice(None), [o]))

    def forward(self, x):
        self.calls += 1
        if self.ones is None or self.ones.dtype != x.dtype:
            self.ones = torch.ones(5, dtype=x.dtype)
        self.by_size.setdefault((len(x), x.dtype), torch.full((1, 5), 0.5, dtype=x.dtype))
        h = self.a(x).tanh() * self.ones * self.by_size[len(x), x.dtype] * self.held[0]
        self.seen[:] = [*self.seen[-2:], h]
        return self.out(h)


class Deciding(Remembering):
    """The same where torch.func cannot follow."""

    def forward(self, x):
        found = super().forward(x)
        return found if float(self.scale.detach().exp()) > 0 else -found


def _numpy():
    return np.random.get_state()[1].tolist()  # noqa: NPY002 - the caller's generator


def _mlp():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def _general():
    return nn.Sequential(nn.Linear(4, 8), nn.PReLU(8), nn.LayerNorm(8), nn.Linear(8, 3))


MODELS = {"closed form": _mlp, "rules and vmap": _general, "caches": Remembering, "loop": Deciding}


@pytest.fixture(params=MODELS)
def model(request):
    torch.manual_seed(0)
    return MODELS[request.param]()


def _everything(model, x):
    direction = torch.linspace(-1, 1, sum(p.numel() for p in model.parameters()))
    stack = {name: torch.stack([p.detach(), 2 * p.detach()]) for name, p in model.named_parameters()}
    trajectory = Trajectory(model, x, "softmax-all+softmax-all-full")
    trajectory.record()
    return [
        fisher_diag(model, x).flat(),
        fisher_diag(model, x, torch.arange(len(x)) % 3, kind="empirical").flat(),
        fisher_diag(model, x, kind="mc", generator=torch.Generator().manual_seed(0)).flat(),
        fisher_diag(model, x, params=stack).flat().flatten(),
        fisher_plan(model, x)(x).flat(),
        fisher_inner(model, x, direction, direction).view(1),
        fisher_gram(model, x, [direction, direction.flip(0)]).flatten(),
        fisher_gram(model, x, [torch.stack([direction, direction])], params=stack).flatten(),
        torch.cat([part.flatten() for part in fisher_vector_product(model, x, direction).values()]),
        measure_pruning(model, lambda m: float(m(x).argmax(1).eq(0).double().mean()), fractions=[0, 0.5, 1]).accuracy,
    ]


def _state(model):
    return {
        name: {key: value for key, value in module.__dict__.items() if not key.startswith("_")}
        | {key: dict(value) for key, value in module.__dict__.items() if isinstance(value, dict)}
        for name, module in model.named_modules()
    }


def test_nothing_is_left(model):
    x = torch.randn(12, 4, generator=torch.Generator().manual_seed(1))
    before, tensors = _state(model), {name: value.clone() for name, value in model.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), _numpy()
    _everything(model, x)
    after = _state(model)
    for name, held in before.items():
        assert held.keys() == after[name].keys()
        for key, value in held.items():
            now = after[name][key]
            assert now is value or now == value, (name, key)
            if isinstance(value, list):
                assert len(value) == len(now)
    assert all(torch.equal(value, tensors[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert _numpy() == states[2]
    assert all(p.grad is None and p.grad_fn is None for p in model.parameters())
    assert not getattr(model, "seen", None)
    assert not getattr(model, "hooked", None)
    copy.deepcopy(model)


def test_hooks_on_parameters_do_not_fire():
    torch.manual_seed(0)
    model, fired = _general(), []
    for p in model.parameters():
        p.register_hook(lambda grad: fired.append(grad) or grad * 100)
    x = torch.randn(6, 4)
    found = fisher_diag(model, x).flat()
    assert not fired
    plain = _general()
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(found, fisher_diag(plain, x).flat())


def test_hooks_of_the_model_run_on_its_copies():
    torch.manual_seed(0)
    model, x = _general(), torch.randn(6, 4)
    plain = fisher_diag(model, x, likelihood="gaussian").flat()
    model.register_forward_hook(lambda module, inputs, output: 2 * output)
    torch.testing.assert_close(fisher_diag(model, x, likelihood="gaussian").flat(), 4 * plain)
    copied = private_copy(model)
    assert list(copied._forward_hooks) == list(model._forward_hooks)
    assert list(copied._modules) == list(model._modules)


def test_caches_of_other_worlds_are_not_met():
    """A model that was called before holds float32 caches; those of our passes are never in it."""
    torch.manual_seed(0)
    model, x = Remembering(), torch.randn(9, 4)
    first = fisher_diag(model, x).flat()
    model(x)
    model.seen.clear(), model.hooked.clear()
    torch.testing.assert_close(fisher_diag(model, x).flat(), first)
    copy.deepcopy(model)
    assert model(x).dtype == torch.float32


def test_eight_threads_and_a_caller(model):
    """Eight threads ask everything of one module while its owner predicts with it."""
    x = torch.randn(10, 4, generator=torch.Generator().manual_seed(1))
    expected = _everything(model, x)
    with torch.no_grad():
        right = model(x).clone()
    wrong, errors, stop = [], [], threading.Event()

    def ask():
        try:
            for _ in range(2):
                for k, (found, good) in enumerate(zip(_everything(model, x), expected, strict=True)):
                    if not torch.allclose(found, good, rtol=1e-5, atol=1e-7 * float(good.abs().max())):
                        wrong.append(k)
        except Exception as error:
            errors.append(error)

    def predict():
        try:
            while not stop.is_set():
                with torch.no_grad():
                    if not torch.equal(model(x), right):
                        wrong.append("the caller")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    caller = threading.Thread(target=predict)
    caller.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    caller.join()
    assert not errors, errors[0]
    assert not wrong
    assert all(p.dtype == torch.float32 for p in model.parameters())


class Drawing(nn.Module):
    def __init__(self, draw):
        super().__init__()
        self.a, self.draw = nn.Linear(4, 3), draw

    def forward(self, x):
        return self.a(x) * (1 + 0.1 * self.draw())


GENERATOR, OWN = np.random.default_rng(0), torch.Generator()


@pytest.mark.parametrize(
    "draw",
    [
        random.random,
        np.random.rand,
        lambda: torch.rand(()),
        GENERATOR.random,
        random.Random(0).random,
        np.random.default_rng(0).random,
        np.random.RandomState(0).rand,
        lambda: torch.rand((), generator=OWN),
    ],
)
def test_random_numbers_from_anywhere_are_refused(draw):
    model, direction = Drawing(draw), torch.ones(15)
    states = torch.get_rng_state(), random.getstate(), _numpy()
    for ask in (fisher_diag, lambda m, x: fisher_inner(m, x, direction, direction)):
        if ask is not fisher_diag and draw is not random.random:
            continue
        with pytest.raises(InputError, match="random numbers"):
            ask(model, torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert _numpy() == states[2]


@pytest.mark.parametrize("seed", [21, 26, 52, 54])
def test_a_refusal_for_another_reason_leaves_the_generators_alone(seed):
    """With these draws the products' own check of derivatives is the first to see that something is wrong."""
    random.seed(seed)
    torch.manual_seed(seed)
    model, state, u = Drawing(random.random), random.getstate(), torch.ones(15)
    with pytest.raises(InputError, match="random numbers"):
        fisher_inner(model, torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), u, u)
    assert random.getstate() == state


def test_draws_of_another_thread_are_not_the_models():
    torch.manual_seed(0)
    model, x, stop = _general(), torch.randn(64, 4), threading.Event()
    expected = fisher_diag(model, x).flat()

    def draw():
        while not stop.is_set():
            torch.rand(4)

    other = threading.Thread(target=draw)
    other.start()
    try:
        for _ in range(10):
            torch.testing.assert_close(fisher_diag(model, x, batch_size=8).flat(), expected)
    finally:
        stop.set()
        other.join()


def test_a_loader_leaves_the_generators_alone():
    torch.manual_seed(0)
    model, x = _general(), torch.randn(20, 4)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    found = fisher_diag(model, DataLoader(TensorDataset(x), batch_size=4, shuffle=True))
    assert torch.equal(torch.rand(3), expected)
    torch.testing.assert_close(found.flat(), fisher_diag(model, x).flat())
