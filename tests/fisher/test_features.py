"""Labels to ignore, masks, classes on another axis, dictionaries, named outputs, masked logits, sums of tasks."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from grokfast.errors import InputError
from grokfast.fisher import FisherDiagonal, fisher_diag, fisher_inner, fisher_plan

X = torch.randn(7, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 3, (7, 5), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def by_hand(model, x, y, keep, exact=False):
    """Sum over samples of the squared gradient of each sample's log-likelihood over the kept positions."""
    total = [torch.zeros_like(p) for p in model.parameters()]
    for n in range(len(x)):
        logs = model(x[n : n + 1])[0].log_softmax(-1)
        here = keep[n].nonzero().flatten().tolist()
        if exact:
            terms = [(logs[t, c].detach().exp(), logs[t, c]) for t in here for c in range(3)]
        else:
            terms = [(1.0, sum((logs[t, y[n, t]] for t in here), logs.sum() * 0))]
        for weight, value in terms:
            for k, grad in enumerate(torch.autograd.grad(value, list(model.parameters()), retain_graph=True)):
                total[k] += weight * grad.square()
    return torch.cat([part.flatten() for part in total])


def test_ignored_labels_and_masks(net):
    keep = torch.rand(7, 5, generator=torch.Generator().manual_seed(2)) < 0.6
    keep[3] = False
    expected = by_hand(net, X, Y, keep)
    y = Y.masked_fill(~keep, -100)
    how = {"kind": "empirical", "reduction": "sum"}
    torch.testing.assert_close(fisher_diag(net, X, y, **how).flat(), expected)
    torch.testing.assert_close(fisher_diag(net, X, y, kind="empirical").flat(), expected / 7)  # over all samples
    torch.testing.assert_close(fisher_diag(net, X, y.masked_fill(~keep, 9), ignore_index=9, **how).flat(), expected)
    torch.testing.assert_close(fisher_diag(net, X, Y, mask=keep, **how).flat(), expected)
    exact = fisher_diag(net, X, mask=keep, reduction="sum", batch_size=3).flat()
    torch.testing.assert_close(exact, by_hand(net, X, Y, keep, exact=True))
    drawn = fisher_diag(net, X, mask=keep, kind="mc", samples=3000, reduction="sum").flat()
    assert float((drawn - exact).norm() / exact.norm()) < 0.1
    with pytest.raises(InputError, match=r"mask must have shape \[7, 5\]"):
        fisher_diag(net, X, mask=keep[:, :4])


def test_ignored_labels_in_the_closed_form():
    torch.manual_seed(0)
    model, x, y = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), X[:, 0].float(), Y[:, 0].clone()
    y[2] = -100
    rows = [0, 1, 3, 4, 5, 6]
    found = fisher_diag(model, x, y, kind="empirical", reduction="sum")
    assert {str(route.way) for route in found.plan.routes.values()} == {"closed-form"}
    torch.testing.assert_close(
        found.flat(), fisher_diag(model, x[rows], y[rows], kind="empirical", reduction="sum").flat()
    )
    masked = fisher_diag(model, x, mask=y >= 0, reduction="sum").flat()
    torch.testing.assert_close(masked, fisher_diag(model, x[rows], reduction="sum").flat())


def test_classes_on_axis_one():
    torch.manual_seed(0)
    model = nn.Conv2d(2, 3, 3, padding=1).double()
    last = nn.Sequential(model, _Last())
    x = torch.randn(4, 2, 5, 5, dtype=torch.float64)
    y = torch.randint(0, 3, (4, 5, 5))
    for how, targets in (({}, None), ({"kind": "empirical"}, y)):
        found = fisher_diag(model, x, targets, class_axis=1, **how).flat()
        torch.testing.assert_close(found, fisher_diag(last, x, targets, class_axis=-1, **how).flat())
    with pytest.warns(RuntimeWarning, match="looks like the width of an image"):
        fisher_diag(model, x[:2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fisher_diag(model, x[:2], class_axis=-1)
    with pytest.raises(InputError, match="pass class_axis=1"):
        fisher_diag(model, x, y, kind="empirical", class_axis=-1)
    with pytest.raises(InputError, match="class_axis must be an axis"):
        fisher_diag(model, x, class_axis=0)


class _Last(nn.Module):
    def forward(self, x):
        return x.movedim(1, -1)


class _Named(nn.Module):
    """As a Hugging Face model: keywords in, a dictionary out."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, features, scale):
        return {"hidden": features, "logits": self.inner(features) * scale.view(-1, 1, 1)}


def test_dictionaries_in_and_out(net):
    named, scale = _Named(net), torch.linspace(1, 2, 7, dtype=torch.float64)
    batch = {"features": X, "scale": scale, "labels": Y}
    plain = _Scaled(net)
    expected = fisher_diag(plain, (X, scale), Y, kind="empirical").flat()
    how = {"kind": "empirical", "targets": "labels"}
    torch.testing.assert_close(fisher_diag(named, batch, **how).flat(), expected)
    parts = [{name: value[rows] for name, value in batch.items()} for rows in (slice(0, 4), slice(4, 7))]
    torch.testing.assert_close(fisher_diag(named, parts, **how).flat(), expected)
    for pick in ("logits", lambda out: out["logits"]):
        torch.testing.assert_close(fisher_diag(named, batch, logits=pick, **how).flat(), expected)
    exact = fisher_diag(plain, (X, scale)).flat()
    torch.testing.assert_close(fisher_plan(named, batch, targets="labels")(batch, "labels").flat(), exact)
    del batch["labels"]
    torch.testing.assert_close(fisher_diag(named, batch).flat(), exact)
    u = torch.ones(sum(p.numel() for p in net.parameters()), dtype=torch.float64)
    torch.testing.assert_close(fisher_inner(named, batch, u, u), fisher_inner(plain, (X, scale), u, u))
    with pytest.raises(InputError, match=r"logits='scores' must name one .* got \['hidden', 'logits'\]"):
        fisher_diag(named, batch, logits="scores")
    with pytest.raises(InputError, match="must be a key of the batch"):
        fisher_diag(named, batch, kind="empirical", targets="label")


class _Scaled(_Named):
    def forward(self, features, scale):
        return super().forward(features, scale)["logits"]


def test_classes_that_cannot_occur():
    torch.manual_seed(0)
    inner = nn.Linear(4, 4).double()
    allowed = torch.tensor([True, True, False, True])

    class Masked(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.inner, self.value = inner, value

        def forward(self, x):
            return self.inner(x).masked_fill(~allowed, self.value)

    class Three(Masked):
        def forward(self, x):
            return self.inner(x)[:, allowed]

    x = X[:, 0]
    u = torch.ones(20, dtype=torch.float64)
    for value in (-torch.inf, -1e9):
        model = Masked(value)
        torch.testing.assert_close(fisher_diag(model, x).flat(), fisher_diag(Three(0), x).flat())
        torch.testing.assert_close(fisher_inner(model, x, u, u), fisher_inner(Three(0), x, u, u))
    with pytest.raises(InputError, match="probability above 0"):
        fisher_diag(Masked(-torch.inf), x, torch.full((7,), 2), kind="empirical")
    with pytest.raises(InputError, match="non-finite"):
        fisher_diag(Masked(-torch.inf), x, likelihood="gaussian")


def test_tasks_add_up_and_hold_the_parameters(net, tmp_path):
    x = X[:, 0]
    first, second = fisher_diag(net, x[:3]), fisher_diag(net, x[3:])
    first.save(tmp_path / "first")
    both = FisherDiagonal.load(tmp_path / "first") * (3 / 7) + (4 / 7) * second
    torch.testing.assert_close(both.flat(), fisher_diag(net, x).flat())
    assert both.n == 7
    anchor = {name: p.detach().clone() for name, p in net.named_parameters()}
    assert float(both.penalty(net, anchor).detach()) == 0
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1)
    penalty = both.penalty(net, anchor)
    penalty.backward()
    torch.testing.assert_close(penalty.detach(), 0.5 * 0.01 * both.flat().sum())
    for name, p in net.named_parameters():
        torch.testing.assert_close(p.grad, 0.1 * both[name])
    with pytest.raises(InputError, match="one likelihood, got categorical and gaussian"):
        first + fisher_diag(net, x, likelihood="gaussian")
    with pytest.raises(InputError, match=r"the anchor must have '0.weight' of shape \[6, 4\], got none"):
        both.penalty(net, {})
    with pytest.raises(InputError, match="weight must be"):
        first * -1
