"""Measures of end models: their columns, and that they agree with slow definitions on real networks."""

from __future__ import annotations

import math

import pytest
import torch
from made_snapshots import ADDITION, ISING, Line, Stable, snapshot
from torch import nn

from grokfast import ModularAddition
from grokfast.errors import InputError
from grokfast.measures import linear_cka, logit_scale, mutual_information
from grokfast.observe import MEASURES, Snapshot, hessian_product, last_hidden
from grokfast.observe.mutual_information import spread
from grokfast.tasks import Modular

TRANSFORMER = Modular(P=5, operation="a+b", network="transformer", width=8, heads=2)
NEW = (
    "superposition",
    "effective_rank",
    "logit_scale",
    "flatness",
    "progress",
    "mutual_information",
    "quantisation_bits",
    "svd_rank",
)


@pytest.mark.parametrize("task", [ADDITION, ISING, Line(), TRANSFORMER], ids=lambda task: task.name)
@pytest.mark.parametrize("name", NEW)
def test_gives_what_it_declares_member_by_member(name, task):
    measure, both = MEASURES[name], snapshot(task)
    found = measure(both)
    assert sorted(found) == sorted(column.name for column in measure.columns(task))
    for e in (0, 1):
        alone = measure(snapshot(task, seeds=(e,)))
        for column, values in found.items():
            assert values.shape == (2,)
            torch.testing.assert_close(values[e].double(), alone[column][0].double(), rtol=1e-5, atol=1e-9)


def _hessian(task, seen):
    model, split = seen.model(0), seen.splits[0]
    parameters = dict(model.named_parameters())
    names, sizes = list(parameters), [p.numel() for p in parameters.values()]
    inputs = task.encode(split.train_inputs, torch.float64)

    def loss(flat):
        parts = torch.split(flat, sizes)
        own = {n: part.reshape(parameters[n].shape) for n, part in zip(names, parts, strict=True)}
        outputs = torch.func.functional_call(model, own, (inputs,))
        if task.has_accuracy:
            return nn.functional.cross_entropy(outputs, split.train_labels)
        return nn.functional.mse_loss(outputs, split.train_labels.double())

    flat = torch.cat([p.detach().flatten() for p in parameters.values()])
    return torch.autograd.functional.hessian(loss, flat)


@pytest.mark.parametrize("task", [ADDITION, Line()], ids=lambda task: task.name)
def test_flatness_equals_whole_matrices(task):
    seen = snapshot(task, seeds=(0,))
    found = {name: values.item() for name, values in MEASURES["flatness"](seen).items()}
    hessian = _hessian(task, seen)
    product = hessian_product(seen.model(0), task, seen.splits[0])
    probe = torch.randn(len(hessian), dtype=torch.float64)
    torch.testing.assert_close(product(probe), hessian @ probe)
    assert found["hessian_largest"] == pytest.approx(torch.linalg.eigvalsh(hessian)[-1].item(), rel=1e-4)
    signs = torch.randint(0, 2, (16, len(hessian)), generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    if len(hessian) < 20:  # the stream's signs are drawn one probe after the other
        drawn = torch.stack([signs[k] for k in range(16)])
        assert found["hessian_trace"] == pytest.approx((drawn @ hessian * drawn).sum(1).mean().item())
    # J^T M J from the whole Jacobian.
    model, inputs = seen.model(0), task.encode(seen.splits[0].test_inputs, torch.float64)
    outputs = model(inputs)
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(one, list(model.parameters()), retain_graph=True)])
        for one in outputs.flatten()
    ]
    jacobian = torch.stack(rows).reshape(*outputs.shape, -1)
    logit = torch.einsum("nci,ncj->ij", jacobian, jacobian) / len(inputs)
    assert found["logit_fisher_trace"] == pytest.approx(logit.trace().item(), rel=1e-9)
    assert found["logit_fisher_largest"] == pytest.approx(torch.linalg.eigvalsh(logit)[-1].item(), rel=1e-4)
    if task.has_accuracy:
        p = outputs.softmax(-1).detach()
        metric = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        softmax = torch.einsum("nci,ncd,ndj->ij", jacobian, metric, jacobian) / len(inputs)
        assert found["fisher_trace"] == pytest.approx(softmax.trace().item(), rel=1e-9)
        assert found["fisher_largest"] == pytest.approx(torch.linalg.eigvalsh(softmax)[-1].item(), rel=1e-4)


def test_the_hessian_is_that_of_the_task_s_loss():
    seen = snapshot(Stable(), seeds=(0,))
    product = hessian_product(seen.model(0), seen.task, seen.splits[0])
    params = {n: p.clone() for n, p in seen.params.items()}
    probe = torch.randn(sum(p[0].numel() for p in params.values()), dtype=torch.float64)
    slopes = []
    for sign in (1, -1):
        parts = torch.split(sign * 1e-5 * probe, [p[0].numel() for p in params.values()])
        moved = {n: p + part.reshape(p.shape) for (n, p), part in zip(params.items(), parts, strict=True)}
        out = {n: torch.zeros_like(p) for n, p in moved.items()}
        seen.task.gradients(moved, seen.splits[0].train_inputs[None], seen.splits[0].train_labels[None], out)
        slopes.append(torch.cat([part.flatten() for part in out.values()]))
    torch.testing.assert_close(product(probe), (slopes[0] - slopes[1]) / 2e-5, rtol=1e-5, atol=1e-7)


class OwnProducts(nn.Module):
    """Written without layers: the same function as two of them."""

    def __init__(self, layers):
        super().__init__()
        self.W, self.b = nn.Parameter(layers[0].weight.detach()), nn.Parameter(layers[0].bias.detach())
        self.V = nn.Parameter(layers[2].weight.detach().T.contiguous())

    def forward(self, x):
        return torch.einsum("nd,dc->nc", torch.relu(torch.addmm(self.b, x, self.W.T)), self.V)


def test_networks_that_multiply_by_their_own_matrices_are_read_too():
    model, inputs = snapshot(ADDITION, seeds=(0,)).model(0), ADDITION.split(0).test_inputs
    own = OwnProducts(list(model))
    torch.testing.assert_close(last_hidden(own, ADDITION, inputs).hidden, last_hidden(model, ADDITION, inputs).hidden)
    seen = snapshot(TRANSFORMER, seeds=(0,))
    found = last_hidden(seen.model(0), TRANSFORMER, seen.splits[0].test_inputs)
    unembedding = dict(seen.model(0).named_parameters())["W_U"].detach()
    torch.testing.assert_close(found.hidden @ unembedding.T, found.outputs)


def test_last_hidden_is_what_the_last_matrix_takes():
    seen = snapshot(ADDITION)
    model, inputs = seen.model(1), seen.splits[1].test_inputs
    found = last_hidden(model, ADDITION, inputs)
    torch.testing.assert_close(found.hidden @ model[2].weight.T + model[2].bias, found.outputs)
    with pytest.raises(InputError, match="runs no linear layer"):
        last_hidden(nn.Conv2d(1, 1, 1).double(), ISING, ISING.split(0).test_inputs)


def test_cka_of_the_same_network_is_one_and_of_others_is_not():
    one, other = snapshot(ADDITION), snapshot(ADDITION, seeds=(5, 6))
    same = MEASURES["cka"](one, one)
    assert same["cka"].tolist() == pytest.approx([1, 1])
    found = MEASURES["cka"](one, other)
    inputs = one.splits[0].test_inputs
    hidden = [last_hidden(seen.model(0), ADDITION, inputs).hidden for seen in (one, other)]
    assert found["cka"][0].item() == pytest.approx(linear_cka(*hidden).item())
    assert found["cka_outputs"][0] < 0.9


def test_a_pure_wave_is_its_own_solution():
    """A network whose neurons are one wave each: one frequency a neuron, all key waves."""
    size, hidden = 7, 24
    seen = snapshot(ModularAddition(P=size, hidden=(hidden,)), seeds=(0,))
    angles = 2 * torch.pi * torch.arange(size).double() / size
    phases = 2 * torch.pi * torch.arange(hidden).double() / hidden
    first = torch.cat([torch.cos(angles + phase / 2)[None] for phase in phases])
    params = {
        "0.weight": torch.cat([first, first], 1)[None],
        "0.bias": torch.zeros(1, hidden).double(),
        "2.weight": torch.cos(angles[:, None] + phases)[None],
        "2.bias": torch.zeros(1, size).double(),
    }
    seen = Snapshot(1, seen.task, params, seen.splits)
    found = MEASURES["superposition"](seen)
    assert found["frequencies_per_neuron"].item() == pytest.approx(1)
    assert found["live_neurons"].item() == hidden
    # Two features with weights, at right angles: each has a dimension of its own.
    assert found["feature_packing"].item() == pytest.approx(2 / hidden)
    assert found["feature_interference"].item() == pytest.approx(0, abs=1e-12)
    progress = MEASURES["progress"](seen)
    assert progress["key_frequencies"].item() == 1
    assert progress["trigonometric_loss"] < progress["excluded_loss"]
    logits = seen.task.logits(params, seen.test_inputs())
    assert MEASURES["logit_scale"](seen)["logit_scale"].item() == pytest.approx(logit_scale(logits[0]).item())


def test_addition_under_its_general_name_has_the_same_measures():
    seen = snapshot(ADDITION, seeds=(0, 1))
    named = Snapshot(1, Modular(P=7, operation="a+b", network="mlp", hidden=(10,)), seen.params, seen.splits)
    for name in ("superposition", "progress"):
        columns = [column.name for column in MEASURES[name].columns(seen.task)]
        assert [column.name for column in MEASURES[name].columns(named.task)] == columns
        one, other = MEASURES[name](seen), MEASURES[name](named)
        assert sorted(one) == sorted(columns)
        for column in columns:
            torch.testing.assert_close(one[column], other[column], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("task", "superposed", "progress"),
    [
        (Modular(P=7, operation="a+b", network="transformer"), 1, 4),
        (Modular(P=7, operation="a+b", network="embedding-mlp"), 1, 4),
        (Modular(P=7, operation="a*b", network="mlp"), 1, 0),
        (Modular(P=7, operation="a-b", network="mlp"), 1, 0),
        (ISING, 1, 0),
    ],
)
def test_what_has_no_residues_added_by_an_mlp_has_fewer(task, superposed, progress):
    assert len(MEASURES["superposition"].columns(task)) == superposed
    assert len(MEASURES["progress"].columns(task)) == progress
    if isinstance(task, Modular):
        seen = snapshot(task, seeds=(0,))
        for name in ("superposition", "progress"):
            declared = [column.name for column in MEASURES[name].columns(task)]
            assert sorted(MEASURES[name](seen)) == sorted(declared)


def test_information_of_a_neuron_that_is_the_energy():
    seen = snapshot(ISING, seeds=(0,))
    found = MEASURES["mutual_information"](seen)
    assert 0 < found["informed_neurons"].item() <= 6
    assert found["information_energy"].item() > -0.05
    assert found["linear_information_energy"].item() >= 0


def test_levels_closer_than_neighbours_give_no_information_out_of_nothing():
    x, noise = torch.randn(2, 20, 1000, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for r in (0.0, 0.5):
        levels = ((r * x + math.sqrt(1 - r * r) * noise) / 0.05).round() * 0.05
        found = torch.stack([mutual_information(one, spread(two)) for one, two in zip(x, levels, strict=True)]).mean()
        raw = mutual_information(x, levels).mean()
        exact = -0.5 * math.log(1 - r * r)
        assert found.item() == pytest.approx(exact, abs=0.015)
        assert raw.item() > exact + 0.1  # what the spreading is for
    again = spread(levels[0])
    assert torch.equal((again / 0.05).round(), (levels[0] / 0.05).round())
    assert len(again.unique()) == 1000
    assert torch.equal(spread(torch.full((5,), 2.0)), torch.full((5,), 2.0).double())
