"""Recorded steps give the bits of the module and of autograd, and what cannot be recorded trains as it is."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from grokfast.models import Transformer
from grokfast.tasks import NetworkTask, bound
from grokfast.tasks.replay import NotRecordableError, Recording
from grokfast.training import RunConfig, train_stack

P, N = 7, 12


class Tied(nn.Module):
    """One matrix to embed and to read out; a constant buffer; an operation in place; a part of a tensor."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(P, 8)
        self.norm = nn.LayerNorm(8)
        self.gain = nn.Parameter(torch.ones(2, 8))
        self.register_buffer("scale", torch.linspace(0.5, 1.5, 8))

    def forward(self, tokens):
        x = self.norm(self.embed(tokens)[:, -1] * self.scale) * self.gain[1]
        x += self.gain[0, :1]
        return functional.relu_(x) @ self.embed.weight.T


class Attention(nn.Module):
    """Torch's own attention, several results an operation."""

    def __init__(self):
        super().__init__()
        self.embed, self.inside, self.out = nn.Embedding(P, 8), nn.Linear(8, 24, bias=False), nn.Linear(8, P)

    def forward(self, tokens):
        q, k, v = self.inside(self.embed(tokens)).view(len(tokens), -1, 2, 12).transpose(1, 2).chunk(3, -1)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(2)[:, -1])


class Convolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.conv, self.out = nn.Embedding(P, 6), nn.Conv1d(6, 5, 2, padding=1), nn.Linear(5, P)

    def forward(self, tokens):
        x = functional.max_pool1d(self.conv(self.embed(tokens).transpose(1, 2)), 2)
        return self.out(functional.gelu(x).mean(-1).squeeze())


class Mlp(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Embedding(P, 4), nn.Flatten(), nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, P))


class Shared(nn.Module):
    """A layer used twice, and a parameter seen through a view."""

    def __init__(self):
        super().__init__()
        self.embed, self.layer = nn.Embedding(P, 8), nn.Linear(8, 8)
        self.W_U = nn.Parameter(torch.randn(8, P))

    def forward(self, tokens):
        x = self.embed(tokens).sum(1)
        return self.layer(torch.tanh(self.layer(x))) @ self.W_U.view(4, 2, P).flatten(0, 1)


MODULES = {
    "mlp": Mlp,
    "tied": Tied,
    "attention": Attention,
    "convolution": Convolution,
    "shared": Shared,
    "transformer": lambda: Transformer(P, P, width=8, hidden=12, heads=2, layers=2),
}


@dataclass(frozen=True)
class Pairs(NetworkTask):
    """a + b mod P by any module."""

    name: ClassVar[str] = "replay-pairs"
    kind: str = "mlp"

    def data(self):
        pairs = torch.cartesian_prod(torch.arange(P), torch.arange(P))
        return pairs, pairs.sum(1) % P

    def module(self):
        return MODULES[self.kind]()


def stack(task, members, dtype):
    drawn = [task.initial(e, 1.0, dtype) for e in range(members)]
    return {name: torch.stack([one[name] for one in drawn]) for name in drawn[0]}


def steps(task, dtype, members=3):
    """Losses and parameters of a plain descent over batches of two sizes."""
    params = stack(task, members, dtype)
    slopes = {name: torch.full_like(tensor, torch.nan) for name, tensor in params.items()}
    inputs, labels = task.data()
    found = []
    for step in range(6):
        taken = torch.arange(step, step + (5 if step % 3 == 2 else N))
        loss, _ = task.gradients(
            params, inputs[taken].expand(members, -1, -1), labels[taken].expand(members, -1), slopes
        )
        found.append(loss)
        for name, tensor in params.items():
            tensor.sub_(slopes[name], alpha=0.02)
    return [*found, *params.values()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kind", list(MODULES))
def test_a_recorded_step_has_the_bits_of_the_module(monkeypatch, kind, dtype):
    task = Pairs(kind=kind)
    monkeypatch.setattr(bound, "RECORD_AFTER", 10**9)
    plain = steps(Pairs(kind=kind), dtype)
    monkeypatch.setattr(bound, "RECORD_AFTER", 2)
    recorded = steps(task, dtype)
    assert all(task._here._recordings.values())
    assert len(task._here._recordings) == 2
    for one, other in zip(plain, recorded, strict=True):
        assert torch.equal(one, other)


def test_gradients_are_written_where_they_belong(monkeypatch):
    """Without a copy: the kernels that give the matrices' gradients write to the stack's memory."""
    task = Pairs(kind="mlp")
    params = stack(task, 1, torch.float32)
    names = list(params)
    slots = [torch.full_like(params[name][0], torch.nan) for name in names]
    tokens, _ = task.data()
    recording = Recording(task.draw(0), names, tokens[:N])
    replay = recording.bind([params[name][0] for name in names], slots)
    outputs = replay.forward(tokens[:N])
    replay.backward(torch.ones_like(outputs))
    leaves = [params[name][0].clone().requires_grad_() for name in names]
    module = torch.func.functional_call(task.draw(0), dict(zip(names, leaves, strict=True)), (tokens[:N],))
    for slot, gradient in zip(slots, torch.autograd.grad(module.sum(), leaves), strict=True):
        assert torch.equal(slot, gradient)
    written = {kwargs["out"].data_ptr() for _, _, kwargs, _, _ in replay._calls[1] if "out" in kwargs}
    assert {slot.data_ptr() for slot in slots[1:]} <= written  # all but the embedding's


class Counting(Mlp):
    calls = 0

    def forward(self, tokens):
        self.calls += 1
        return super().forward(tokens) * (1 + self.calls % 2)


class Branching(Mlp):
    def forward(self, tokens):
        outputs = super().forward(tokens)
        return outputs if outputs.sum() > 0 else 2 * outputs


class Noisy(Mlp):
    def forward(self, tokens):
        return super().forward(tokens) + torch.rand(P)


class Remembering(Mlp):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, tokens):
        self.seen += 1
        return super().forward(tokens) * self.seen


@pytest.mark.parametrize("module", [Counting, Branching, Noisy, Remembering], ids=lambda m: m.__name__)
def test_what_depends_on_more_than_parameters_and_inputs_is_not_recorded(module):
    made = module()
    with pytest.raises(NotRecordableError):
        Recording(made, [name for name, _ in made.named_parameters()], torch.zeros(N, 2, dtype=torch.int64))


def test_hooks_are_called_and_therefore_not_recorded():
    made = Mlp()
    made[2].register_forward_hook(lambda *_: None)
    with pytest.raises(NotRecordableError, match="hooks"):
        Recording(made, [name for name, _ in made.named_parameters()], torch.zeros(N, 2, dtype=torch.int64))


def test_what_cannot_be_recorded_trains_as_it_is(monkeypatch):
    monkeypatch.setitem(MODULES, "branching", Branching)
    monkeypatch.setattr(bound, "RECORD_AFTER", 10**9)
    plain = steps(Pairs(kind="branching"), torch.float32)
    monkeypatch.setattr(bound, "RECORD_AFTER", 1)
    tried = steps(Pairs(kind="branching"), torch.float32)
    assert all(torch.equal(one, other) for one, other in zip(plain, tried, strict=True))


def test_a_run_does_not_tell_when_its_steps_were_recorded(monkeypatch):
    configs = [RunConfig(task=Pairs(kind="tied"), seed=e, epochs=6, batch_size=9, weight_decay=0.1) for e in range(3)]
    ends = []
    for after in (10**9, 4, 0):
        monkeypatch.setattr(bound, "RECORD_AFTER", after)
        ends.append(train_stack(configs))
    for other in ends[1:]:
        for one, two in zip(ends[0], other, strict=True):
            checkpoints = one.tensors["checkpoints"]
            assert checkpoints.keys() == two.tensors["checkpoints"].keys()
            for name in checkpoints:
                np.testing.assert_array_equal(two.tensors["checkpoints"][name], checkpoints[name])
