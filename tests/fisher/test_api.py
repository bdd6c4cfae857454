"""Arguments, refusals, results."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from grokfast.errors import InputError
from grokfast.fisher import FisherDiagonal, fisher_diag, fisher_plan


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


@pytest.fixture
def x():
    return torch.randn(11, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_reduction(net, x):
    torch.testing.assert_close(fisher_diag(net, x).flat() * 11, fisher_diag(net, x, reduction="sum").flat())


def test_iterables_equal_tensors(net, x):
    y = torch.arange(11) % 3
    loader = DataLoader(TensorDataset(x, y), batch_size=4)
    whole = fisher_diag(net, x, y, kind="empirical").flat()
    torch.testing.assert_close(fisher_diag(net, loader, kind="empirical").flat(), whole)
    torch.testing.assert_close(fisher_diag(net, iter([[x[:5], y[:5]], [x[5:], y[5:]]]), kind="empirical").flat(), whole)
    exact = fisher_diag(net, x).flat()
    torch.testing.assert_close(fisher_diag(net, loader).flat(), exact)
    torch.testing.assert_close(fisher_diag(net, [x[:1], x[1:1], x[1:]]).flat(), exact)
    torch.testing.assert_close(fisher_diag(net, (x,), batch_size=1, progress=True).flat(), exact)


def test_strange_strides(net, x):
    expected = fisher_diag(net, x).flat()
    spread = torch.zeros(11, 8, dtype=torch.float64)[:, ::2].copy_(x)
    torch.testing.assert_close(fisher_diag(net, spread).flat(), expected)
    torch.testing.assert_close(fisher_diag(net, x[:1].expand(7, -1)).flat(), fisher_diag(net, x[:1]).flat())


def test_no_samples(net, x):
    with pytest.raises(InputError, match="mean over no samples"):
        fisher_diag(net, x[:0])
    empty = fisher_diag(net, x[:0], reduction="sum")
    assert empty.n == 0
    assert not bool(empty.flat().any())
    assert list(empty) == [name for name, _ in net.named_parameters()]


def test_frozen_parameters_are_left_out(net, x):
    whole = fisher_diag(net, x)
    net[0].weight.requires_grad_(False)
    part = fisher_diag(net, x)
    assert list(part) == ["0.bias", "2.weight", "2.bias"]
    for name, value in part.items():
        torch.testing.assert_close(value, whole[name])


def test_save_and_load(net, x, tmp_path):
    found = fisher_diag(net, x, likelihood="gaussian", reduction="sum")
    found.save(tmp_path / "f.safetensors")
    again = FisherDiagonal.load(tmp_path / "f.safetensors")
    assert list(again) == list(found)
    assert torch.equal(again.flat(), found.flat())
    assert (again.kind, again.likelihood, again.reduction, again.n) == ("exact", "gaussian", "sum", 11)
    assert [path.name for path in tmp_path.iterdir()] == ["f.safetensors"]


def test_plan(net, x, capsys):
    plan = fisher_plan(net, x, likelihood="gaussian")
    assert {str(route.way) for route in plan.routes.values()} == {"rule"}
    torch.testing.assert_close(plan(x).flat(), fisher_diag(net, x, likelihood="gaussian").flat())
    with torch.no_grad():
        net[0].weight.mul_(2)
    torch.testing.assert_close(plan(x[:3]).flat(), fisher_diag(net, x[:3], likelihood="gaussian", explain=True).flat())
    assert "0.weight  rule  linear" in capsys.readouterr().out
    net[0].weight.requires_grad_(False)
    with pytest.raises(InputError, match=r"plan again"):
        plan(x)


def test_a_first_batch_of_one_sample(net, x):
    torch.testing.assert_close(fisher_diag(net, [x[:1], x[1:]]).flat(), fisher_diag(net, x).flat())


def test_monte_carlo_is_reproducible_and_converges(net, x):
    def drawn(samples, seed=0):
        return fisher_diag(net, x, kind="mc", samples=samples, generator=torch.Generator().manual_seed(seed)).flat()

    assert torch.equal(drawn(3), drawn(3))
    assert not torch.equal(drawn(3), drawn(3, seed=1))
    exact = fisher_diag(net, x).flat()
    few = sum(float((drawn(16, seed) - exact).square().mean()) for seed in range(20)) / 20
    many = sum(float((drawn(1024, seed) - exact).square().mean()) for seed in range(20)) / 20
    assert 64 / 2 < few / many < 64 * 2  # variance falls as 1 / samples


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_monte_carlo_of_other_likelihoods(net, x, likelihood):
    how = {"likelihood": likelihood, "reduction": "sum"}
    drawn = fisher_diag(net, x, kind="mc", samples=4000, generator=torch.Generator().manual_seed(0), **how).flat()
    exact = fisher_diag(net, x, **how).flat()
    assert float((drawn - exact).norm() / exact.norm()) < 0.1


def test_monte_carlo_in_the_closed_form_and_the_chain(core):
    torch.manual_seed(0)
    mlp = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    cnn = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    for model, data in ((mlp, torch.randn(10, 4)), (cnn, torch.randn(10, 1, 4, 4))):
        drawn = fisher_diag(model, data, kind="mc", samples=3000, generator=torch.Generator().manual_seed(0))
        exact = fisher_diag(model, data)
        assert {str(route.way) for route in drawn.plan.routes.values()} <= {"closed-form", "fused"}
        assert float((drawn.flat() - exact.flat()).norm() / exact.flat().norm()) < 0.1


def test_members_of_a_stack_meet_the_same_draws(net, x):
    stack = {name: torch.stack([p.detach(), p.detach()]) for name, p in net.named_parameters()}
    both = fisher_diag(net, x, kind="mc", params=stack, generator=torch.Generator().manual_seed(5)).flat()
    alone = fisher_diag(net, x, kind="mc", generator=torch.Generator().manual_seed(5)).flat()
    torch.testing.assert_close(both, alone.expand(2, -1))


class _Centred(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 3)

    def forward(self, x):
        return self.a(x - x.mean(0))


class _Noisy(_Centred):
    def forward(self, x):
        return self.a(x + torch.randn_like(x))


class _Last(_Centred):
    def forward(self, x):
        return self.a(x).T


class _Overflowing(_Centred):
    def forward(self, x):
        return torch.tanh(self.a(x) * 1e30 * 1e30)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)),
            r"'1' \(BatchNorm1d\) would use batch statistics",
        ),
        (
            lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False)).eval(),
            "batch statistics",
        ),
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)), r"'1' \(Dropout\) is in training mode"),
        (_Centred, "samples are coupled"),
        (_Noisy, "draws random numbers"),
        (_Last, "sample axis not found"),
        (lambda: nn.Sequential(nn.Linear(4, 1)), "C >= 2 classes"),
        (lambda: nn.Linear(4, 3).half(), "float32 or float64, got torch.float16"),
        (lambda: nn.Linear(4, 3).requires_grad_(False), "no parameter with requires_grad"),
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3).double()), "one dtype and device"),
        (lambda: "net", "must be a torch.nn.Module, got str"),
    ],
)
def test_what_has_no_meaning_raises(model, message):
    with pytest.raises(InputError, match=message):
        fisher_diag(model(), torch.randn(5, 4))


def test_dropout_called_by_hand_raises():
    class Hidden(_Centred):
        def forward(self, x):
            return nn.functional.dropout(self.a(x), 0.5)

    with pytest.raises(InputError, match="random mask"):
        fisher_diag(Hidden(), torch.randn(5, 4))


def test_non_finite_activations_name_the_layer():
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    deep = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 3))
    with torch.no_grad():
        model[0].weight[2, 1] = torch.inf
        deep[2].weight[0, 0] = torch.nan
    with pytest.raises(InputError, match=r"layer '0' \(Linear\)"):
        fisher_diag(model, torch.randn(5, 4))
    with pytest.raises(InputError, match=r"layer '2' \(Linear\)"):
        fisher_diag(deep, torch.randn(5, 4))
    with pytest.raises(InputError, match="inputs must be finite"):
        fisher_diag(deep, torch.full((5, 4), torch.nan))


def test_an_overflow_that_relu_and_pooling_hide_is_found(compare, brute_force, core):
    """The fused block of convolution, ReLU and pooling sees only positive values."""
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2 * 4 * 4, 3)
    )
    with torch.no_grad():
        model[0].weight[1] = -1e20
        model[0].weight[0] = model[0].bias[:] = 0.01
        model[4].weight *= 1e-20
    assert {str(route.way) for route in fisher_plan(model, torch.ones(2, 1, 8, 8)).routes.values()} == {"fused"}
    with pytest.raises(InputError, match=r"layer '0' \(Conv2d\)"):
        fisher_diag(model, torch.full((70, 1, 8, 8), 1e20))
    # Large but within float32: no overflow, and the answer is right.
    x = torch.rand(70, 1, 8, 8) * 1e17
    assert compare(fisher_diag(model, x), brute_force(model, x)) < 1e-5


def test_infinity_that_an_activation_hides_is_found():
    model = nn.Sequential(nn.Linear(4, 5), nn.Sigmoid(), nn.Linear(5, 3))
    with torch.no_grad():
        model[0].bias[0] = torch.inf
    with pytest.raises(InputError, match=r"layer '0'"):
        fisher_diag(model, torch.randn(5, 4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "exakt"}, "did you mean 'exact'"),
        ({"likelihood": "softmax"}, "likelihood must be one of"),
        ({"reduction": "max"}, "reduction must be one of"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1"),
        ({"samples": 0}, "samples must be an integer >= 1"),
        ({"kind": "empirical"}, "needs targets"),
        ({"targets": torch.zeros(11, dtype=torch.long)}, "targets are for kind='empirical'"),
        ({"kind": "empirical", "targets": torch.zeros(11)}, "integer class labels"),
        ({"kind": "empirical", "targets": torch.full((11,), 3)}, r"must lie in \[0, 3\)"),
        ({"kind": "empirical", "targets": torch.zeros(4, dtype=torch.long)}, "one row per sample"),
        ({"params": {}}, "missing"),
        ({"params": {"0.wieght": torch.zeros(1)}}, "did you mean '0.weight'"),
    ],
)
def test_arguments_are_checked(net, x, change, message):
    with pytest.raises(InputError, match=message):
        fisher_diag(net, x, **change)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": 1}, "must be tensors, got x=int"),
        (3, "got int"),
        ((torch.zeros(2, 4), torch.zeros(3, 4)), "share their leading axis"),
        ([(torch.zeros(2, 4), 1, 2)], "got tuple of 3"),
        (["a"], "a batch must be"),
    ],
)
def test_inputs_are_checked(net, inputs, message):
    with pytest.raises(InputError, match=message):
        fisher_diag(net, inputs)


def test_buffers_are_put_back():
    class Counting(_Centred):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))
            self.register_buffer("last", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            self.last = self.calls * 2
            return self.a(x)

    model = Counting()
    last = model.last
    fisher_diag(model, torch.randn(5, 4))
    assert float(model.calls) == 0
    assert model.last is last


def test_sequences_are_sums_over_positions(net):
    """Outputs [N, T, C]: positions have labels of their own, so the diagonal of the mean adds up their scores."""
    x = torch.randn(3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = fisher_diag(net, x, reduction="sum").flat()
    torch.testing.assert_close(found, fisher_diag(net, x.flatten(0, 1), reduction="sum").flat())
    y = torch.zeros(3, 2, dtype=torch.long)
    assert not torch.allclose(
        fisher_diag(net, x, y, kind="empirical", reduction="sum").flat(),
        fisher_diag(net, x.flatten(0, 1), y.flatten(), kind="empirical", reduction="sum").flat(),
    )
