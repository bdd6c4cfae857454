"""Models that do with a batch what they do not do with another: sort, pack, mask, squeeze, route.

The truth is per-sample autograd over the whole batch, written here: the outputs of sample n in the pass over all
samples, differentiated class by class in float64.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from grokfast.errors import InputError
from grokfast.fisher import fisher_diag, fisher_inner, fisher_plan, fisher_vector_product


def truth(model, inputs, targets=None):
    """Exact (or empirical) categorical diagonal, summed over samples."""
    wide = copy.deepcopy(model).double()
    args = inputs if isinstance(inputs, tuple) else (inputs,)
    outputs = wide(*(a.double() if a.is_floating_point() else a for a in args))
    params = dict(wide.named_parameters())
    total = {name: torch.zeros_like(p) for name, p in params.items()}
    for n in range(len(outputs)):
        logs = outputs[n].log_softmax(-1)
        terms = [(p.exp().detach(), p) for p in logs] if targets is None else [(1.0, logs[targets[n]])]
        for weight, value in terms:
            grads = torch.autograd.grad(value, list(params.values()), retain_graph=True, allow_unused=True)
            for name, grad in zip(params, grads, strict=True):
                if grad is not None:
                    total[name] += weight * grad.square()
    return total


class Squeezed(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.out = nn.GRU(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        return self.out(self.gru(x)[1].squeeze())


class SortedMean(nn.Module):
    """Sorts by length, averages over real tokens, sorts back."""

    def __init__(self):
        super().__init__()
        self.embed, self.inner, self.out = nn.Embedding(20, 6, padding_idx=0), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x):
        lengths, order = (x != 0).sum(1).sort(descending=True)
        h = self.inner(self.embed(x[order])).tanh()
        mask = (x[order] != 0).unsqueeze(-1)
        return self.out(((h * mask).sum(1) / lengths.unsqueeze(1))[order.argsort()])


class WithoutPadding(nn.Module):
    """A linear layer on the real tokens alone."""

    def __init__(self):
        super().__init__()
        self.embed, self.inner, self.out = nn.Embedding(20, 6), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x):
        mask = x != 0
        h = self.embed(x)
        rows = self.inner(h[mask]).tanh()
        back = rows.new_zeros(*x.shape, 5)
        back[mask] = rows
        return self.out(back.sum(1))


class Packed(nn.Module):
    def __init__(self, cell=nn.LSTM, **how):
        super().__init__()
        self.embed = nn.Embedding(20, 6)
        self.cell = cell(6, 5, batch_first=True, **how)
        self.out = nn.Linear(5 * (1 + self.cell.bidirectional), 3)

    def forward(self, x):
        lengths = (x != 0).sum(1)
        packed = nn.utils.rnn.pack_padded_sequence(self.embed(x), lengths, batch_first=True, enforce_sorted=False)
        last = self.cell(packed)[1]
        last = last[0] if isinstance(last, tuple) else last
        last = last[-1 - int(self.cell.bidirectional) :]
        return self.out(torch.cat(list(last), -1))


class Experts(nn.Module):
    """Each sample to one of three experts, chosen by its values."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 6)
        self.experts, self.out = nn.ModuleList(nn.Linear(6, 5) for _ in range(3)), nn.Linear(5, 3)

    def forward(self, x):
        h = self.embed(x).mean(1)
        chosen = x.sum(1) % 3
        found = h.new_zeros(len(x), 5)
        for k, expert in enumerate(self.experts):
            rows = (chosen == k).nonzero().squeeze(1)
            found = found.index_add(0, rows, expert(h[rows]))
        return self.out(found.tanh())


def tokens(n, length=6, full=0, seed=0):
    """Right-padded sequences of random lengths, the first ``full`` of full length."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(1, 20, (n, length), generator=generator)
    lengths = torch.randint(1, length + 1, (n,), generator=generator)
    lengths[:full] = length
    return x * (torch.arange(length) < lengths.unsqueeze(1))


def test_squeezed_recurrent_net():
    torch.manual_seed(0)
    model = nn.GRU(4, 5, batch_first=True), nn.Linear(5, 3)
    x = torch.randn(6, 4, 4)
    net = Squeezed()
    net.gru, net.out = model
    found = fisher_diag(net, x, reduction="sum")
    sums = [round(float(found[name].sum()) / 6, 4) for name in list(found)[:4]]
    assert sums == [0.2688, 0.0171, 0.1281, 0.037]
    expected = truth(net, x)
    for name, value in expected.items():
        torch.testing.assert_close(found[name].double(), value, rtol=1e-5, atol=1e-7 * float(value.max()))


NETS = {
    "sorted": SortedMean,
    "without padding": WithoutPadding,
    "packed LSTM": Packed,
    "packed GRU, both directions": lambda: Packed(nn.GRU, bidirectional=True),
    "packed RNN, two layers": lambda: Packed(nn.RNN, num_layers=2),
    "experts": Experts,
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_first_samples_of_full_length(name, dtype):
    """What holds for the probe's samples does not hold for the others."""
    torch.manual_seed(1)
    model, x = NETS[name]().to(dtype), tokens(60, full=8)
    expected = truth(model, x)
    for how in ({}, {"batch_size": 4}, {"batch_size": 7}):
        found = fisher_diag(model, x, reduction="sum", **how)
        top = max(float(value.max()) for value in expected.values())
        for key, value in expected.items():
            assert float((found[key].double() - value).abs().max()) < (1e-5 if dtype == torch.float32 else 1e-10) * top
    y = torch.arange(60) % 3
    expected = truth(model, x, y)
    found = fisher_diag(model, [[x[k : k + 4], y[k : k + 4]] for k in range(0, 60, 4)], kind="empirical",
                        reduction="sum")  # fmt: skip
    for key, value in expected.items():
        torch.testing.assert_close(found[key].double(), value, rtol=1e-4, atol=1e-6 * top)


def test_sorted_samples_beyond_what_runs_in_float64():
    """The float64 pass for the inputs of layers runs in chunks, in which the order is another."""
    torch.manual_seed(0)

    class Wide(SortedMean):
        def __init__(self):
            super().__init__()
            self.embed, self.inner, self.out = nn.Embedding(20, 64), nn.Linear(64, 256), nn.Linear(256, 20)

    model, x = Wide(), tokens(420, full=8)
    assert 420 * sum(p.numel() for p in model.parameters()) > 1 << 23
    found = fisher_diag(model, x, reduction="sum")
    right = fisher_diag(model.double(), x, reduction="sum")
    top = float(right.flat().max())
    assert float((found.flat().double() - right.flat()).abs().max()) < 1e-5 * top


@pytest.mark.parametrize("name", NETS)
def test_these_go_by_rules(name):
    """Rows of samples are found wherever they are: no sample has to run alone."""
    torch.manual_seed(1)
    plan = fisher_diag(NETS[name](), tokens(30)).plan
    assert {str(route.way) for route in plan.routes.values()} == {"rule"}, plan


class Shuffled(nn.Module):
    """Gives each sample the outputs of its neighbour: samples are not on the leading axis in order."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(4, 3)

    def forward(self, x):
        return self.out(x.roll(1, 0))


class Masked(nn.Module):
    """Couples the samples beside a constant logit that is far from all others."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(4, 3)

    def forward(self, x):
        f = self.out(x - x.mean(0))
        return torch.cat([f, f.new_full((len(x), 1), -1e9)], 1)


@pytest.mark.parametrize("model", [Shuffled, Masked])
def test_coupled_samples_are_refused(model):
    torch.manual_seed(0)
    with pytest.raises(InputError, match="coupled"):
        fisher_diag(model(), torch.randn(6, 4))


class Trimmed(nn.Module):
    """Works on the steps up to the longest sample of its batch, and then looks at all of them."""

    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x, lengths):
        top = int(lengths.max())
        return self.out(torch.cat([self.inner(x[:, :top]), x[:, top:]], 1).tanh().mean(1))


def _trimmed(longest_at):
    torch.manual_seed(0)
    lengths = torch.full((12,), 2)
    lengths[longest_at] = 5
    return Trimmed().double(), (torch.randn(12, 5, 4, dtype=torch.float64), lengths)


@pytest.mark.parametrize("longest_at", [[0, 1, 2], [9], [11], [*range(8)]])
def test_what_depends_on_its_batch_is_not_cut(longest_at):
    """The first samples may show nothing of it; the block that is another than in the batch does."""
    model, inputs = _trimmed(longest_at)
    u = torch.ones(sum(p.numel() for p in model.parameters()), dtype=torch.float64)
    for ask in (
        lambda size: fisher_diag(model, inputs, batch_size=size),
        lambda size: fisher_diag(model, inputs, torch.zeros(12).long(), kind="empirical", batch_size=size),
        lambda size: fisher_inner(model, inputs, u, u, batch_size=size),
        lambda size: fisher_vector_product(model, inputs, u, batch_size=size),
    ):
        with pytest.raises(InputError, match=r"cannot be cut into blocks|samples are coupled"):
            ask(3)
        ask(12)


def test_a_whole_batch_of_what_depends_on_its_batch():
    """One batch is what it is: the outputs of each sample in it, differentiated."""
    model, inputs = _trimmed([*range(8)])
    logs = model(*inputs).log_softmax(-1)
    expected = 0.0
    for n in range(12):
        for c in range(3):
            grads = torch.autograd.grad(logs[n, c], list(model.parameters()), retain_graph=True)
            expected = expected + logs[n, c].exp().detach() * torch.cat([g.flatten() for g in grads]).square()
    torch.testing.assert_close(fisher_diag(model, inputs, batch_size=12, reduction="sum").flat(), expected)


def test_models_that_only_compute_are_not_run_twice():
    class Counted(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.LayerNorm(6), nn.Linear(6, 3))

        def forward(self, x):
            calls.append(len(x))
            return self.inner(x)

    calls: list[int] = []
    torch.manual_seed(0)
    model, x = Counted().double(), torch.randn(64, 4, dtype=torch.float64)
    plan = fisher_plan(model, x)
    plan(x, batch_size=32)
    calls.clear()
    plan(x, batch_size=32)
    assert calls == [32, 32]
