"""Random networks that mask, sort, pack, squeeze and route their batches: right, or refused, never wrong."""

from __future__ import annotations

import collections
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from grokfast.errors import InputError
from grokfast.fisher import fisher_diag

WIDTH = 4


class Step(nn.Module):
    """One layer of width 4 on sequences ``[N, T, 4]`` of known lengths, applied in one of many ways."""

    def __init__(self, how, inner):
        super().__init__()
        self.how, self.inner = how, inner

    def forward(self, h, lengths):
        return getattr(self, self.how)(h, lengths, torch.arange(h.shape[1]) < lengths.unsqueeze(1))

    def plain(self, h, lengths, mask):
        return self.inner(h)

    def masked(self, h, lengths, mask):
        rows = self.inner(h[mask])
        return h.masked_scatter(mask.unsqueeze(-1), rows)

    def indexed(self, h, lengths, mask):
        where = mask.flatten().nonzero().squeeze(1)
        flat = h.reshape(-1, WIDTH)
        return flat.index_add(0, where, self.inner(flat[where])).view_as(h)

    def ordered(self, h, lengths, mask):
        order = lengths.sort(descending=True, stable=True)[1]
        return self.inner(h[order])[order.argsort()]

    def trimmed(self, h, lengths, mask):
        top = int(lengths.max())
        return torch.cat([self.inner(h[:, :top]), h[:, top:]], 1)

    def time_first(self, h, lengths, mask):
        return self.inner(h.transpose(0, 1)).transpose(0, 1)

    def merged(self, h, lengths, mask):
        return self.inner(h.reshape(-1, WIDTH)).view_as(h)

    def time_major(self, h, lengths, mask):
        return self.inner(h.transpose(0, 1).reshape(-1, WIDTH)).view(h.shape[1], h.shape[0], -1).transpose(0, 1)

    def by_length(self, h, lengths, mask):
        out = h.clone()
        for length in lengths.unique():
            out[lengths == length] = self.inner(h[lengths == length])
        return out

    def long_only(self, h, lengths, mask):
        rows = (lengths > 2).nonzero().flatten()
        return h.index_copy(0, rows, self.inner(h[rows])) if len(rows) else h

    def backwards(self, h, lengths, mask):
        return self.inner(h.flip(0)).flip(0)

    def one_by_one(self, h, lengths, mask):
        return torch.stack([self.inner(row) for row in h])

    def squeezed(self, h, lengths, mask):
        return self.inner(h.unsqueeze(1).squeeze()).reshape(h.shape)


class Cell(nn.Module):
    def __init__(self, cell, packed, how):
        super().__init__()
        self.cell, self.packed = cell(WIDTH, WIDTH // (1 + how["bidirectional"]), batch_first=True, **how), packed

    def forward(self, h, lengths):
        if not self.packed:
            return self.cell(h)[0]
        rnn = nn.utils.rnn
        packed = rnn.pack_padded_sequence(h, lengths, batch_first=True, enforce_sorted=False)
        return rnn.pad_packed_sequence(self.cell(packed)[0], batch_first=True, total_length=h.shape[1])[0]


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, h, lengths):
        q, k, v = self.qkv(h).chunk(3, -1)
        mask = (torch.arange(h.shape[1]) < lengths.unsqueeze(1)).unsqueeze(1)
        return h + nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)


class Experts(nn.Module):
    """Rows or samples to one of two layers, by a value or by the length."""

    def __init__(self, tokens):
        super().__init__()
        self.tokens, self.experts = tokens, nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(2))

    def forward(self, h, lengths):
        chosen = h.detach()[..., 0] > 0 if self.tokens else lengths % 2 == 0
        out = torch.zeros_like(h)
        for rows, expert in zip((chosen, ~chosen), self.experts, strict=True):
            out[rows] = expert(h[rows])
        return out


class Model(nn.Module):
    def __init__(self, draw):
        super().__init__()
        shared = nn.Linear(WIDTH, WIDTH)
        self.steps = nn.ModuleList(self._step(draw, shared) for _ in range(draw.randint(1, 4)))
        self.pool, self.squeezes = draw.choice(["mean", "last", "max", "sum"]), draw.random() < 0.3
        self.activation = draw.choice([torch.tanh, torch.relu, nn.functional.gelu])
        self.out = nn.Linear(WIDTH, draw.choice([2, 3]))

    @staticmethod
    def _step(draw, shared):
        kind = draw.random()
        if kind < 0.15:
            how = {"bidirectional": draw.random() < 0.3, "num_layers": draw.choice([1, 1, 2])}
            return Cell(draw.choice([nn.RNN, nn.GRU, nn.LSTM]), draw.random() < 0.6, how)
        if kind < 0.25:
            return Attention()
        if kind < 0.4:
            return Experts(draw.random() < 0.5)
        inner = draw.choice([
            lambda: shared, lambda: nn.Linear(WIDTH, WIDTH), lambda: nn.Linear(WIDTH, WIDTH, bias=False),
            lambda: nn.LayerNorm(WIDTH), lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.PReLU(WIDTH)),
        ])()  # fmt: skip
        ways = [name for name, value in vars(Step).items() if callable(value) and name not in ("__init__", "forward")]
        way = draw.choice(ways)
        if isinstance(inner, nn.Sequential):  # PReLU has its channels on axis 1
            way = draw.choice(["merged", "masked", "indexed", "time_major"])
        return Step(way, inner)

    def forward(self, x, lengths):
        h = x
        for step in self.steps:
            h = self.activation(step(h, lengths))
        mask = (torch.arange(h.shape[1]) < lengths.unsqueeze(1)).unsqueeze(-1)
        if self.pool == "mean":
            pooled = (h * mask).sum(1, keepdim=True) / lengths.view(-1, 1, 1)
        elif self.pool == "last":
            pooled = h[torch.arange(len(h)), lengths - 1].unsqueeze(1)
        elif self.pool == "max":
            pooled = h.masked_fill(~mask, -9).amax(1, keepdim=True)
        else:
            pooled = (h * mask).sum(1, keepdim=True)
        return self.out(pooled.squeeze() if self.squeezes else pooled.squeeze(1))


def _truth(model, args, labels):
    """Exact and empirical sums, from the outputs of each sample in a pass over all of them."""
    leaves = list(model.parameters())
    logs = model(*args).log_softmax(-1)
    exact = [torch.zeros_like(p) for p in leaves]
    empirical = [torch.zeros_like(p) for p in leaves]
    for n in range(len(logs)):
        for c in range(logs.shape[1]):
            grads = torch.autograd.grad(logs[n, c], leaves, retain_graph=True, allow_unused=True)
            for k, grad in enumerate(grads):
                if grad is not None:
                    exact[k] += logs[n, c].detach().exp() * grad.square()
                    empirical[k] += grad.square() * float(labels[n] == c)
    return [torch.cat([part.flatten() for part in parts]) for parts in (exact, empirical)]


def check(seed):
    """One random network, on one random batch; returns the ways taken, or "refused"."""
    draw = random.Random(seed)
    torch.manual_seed(seed % 2**31)
    model = Model(draw).double()
    n, length = draw.randint(2, 12), draw.randint(1, 5)
    x = torch.randn(n, length, WIDTH, dtype=torch.float64)
    lengths = torch.randint(1, length + 1, (n,))
    if draw.random() < 0.5:
        lengths[: draw.choice([2, 4, 8])] = length
    labels = torch.randint(0, model.out.out_features, (n,))
    exact, empirical = _truth(model, (x, lengths), labels)
    kind, size = draw.choice(["exact", "empirical"]), draw.choice([None, 1, 2, 3, 5])
    expected = exact if kind == "exact" else empirical
    single = draw.random() < 0.3
    if single:
        model, x = model.float(), x.float()
    try:
        found = fisher_diag(
            model, (x, lengths), labels if kind == "empirical" else None, kind=kind, reduction="sum", batch_size=size
        )
    except InputError:
        return {"refused"}
    error = float((found.flat().double() - expected).abs().max() / expected.max().clamp(min=1e-30))
    assert error < (1e-4 if single else 1e-9), (seed, error, found.plan)
    return {str(route.way) for route in found.plan.routes.values()}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**40))
def test_random_networks(seed):
    check(seed)


@pytest.mark.slow
def test_ten_thousand_random_networks():
    ways = collections.Counter()
    for seed in range(10_000):
        ways.update(check(seed))
    print(dict(ways))
    assert ways["refused"] < 500
