from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from grokfast import fisher_diag
from grokfast.errors import InputError
from grokfast.models import stack_members
from grokfast.pruning import (
    apply_masks,
    measure_pruning,
    prune_module,
    pruning_curves,
    pruning_fractions,
    pruning_masks,
    pruning_order,
    pruning_selection,
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 5))


X = torch.randn(40, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def test_layerwise_masks_are_those_of_torch(model):
    for amount in (0, 1, 13, 27):
        ours = pruning_masks(model, amount / 27, names=["0.weight"])["0.weight"]
        theirs = prune.l1_unstructured(copy.deepcopy(model[0]), "weight", amount=amount).weight_mask
        assert torch.equal(ours, theirs)


def test_global_masks_are_those_of_torch(model):
    ours = pruning_masks(model, 30 / 87, "global")
    other = copy.deepcopy(model)
    pairs = [(other[0], "weight"), (other[3], "weight")]
    prune.global_unstructured(pairs, prune.L1Unstructured, amount=30)
    assert torch.equal(ours["0.weight"], other[0].weight_mask)
    assert torch.equal(ours["3.weight"], other[3].weight_mask)


def test_torch_takes_the_masks_and_gives_the_same_network(model):
    masks = pruning_masks(model, 0.6, "global-by-norm")
    ours, theirs = apply_masks(model, masks), copy.deepcopy(model)
    for name, mask in masks.items():
        layer, parameter = name.rsplit(".", 1)
        prune.custom_from_mask(theirs.get_submodule(layer), parameter, mask)
    assert torch.equal(ours(X), theirs(X))
    for layer in (theirs[0], theirs[3]):
        prune.remove(layer, "weight")
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(tensor, ours.state_dict()[name])


@pytest.mark.parametrize("scheme", ["fisher-global", "fisher-layerwise"])
def test_fisher_pruning_takes_what_fisher_diag_gives(model, scheme):
    fisher = fisher_diag(model, X)
    pruned = prune_module(model, 0.5, scheme, fisher=fisher)
    zeros = {name: int((tensor == 0).sum()) for name, tensor in pruned.named_parameters()}
    if scheme == "fisher-layerwise":
        assert zeros["0.weight"] + zeros["0.bias"] == 15
        assert zeros["3.weight"] + zeros["3.bias"] == 32
    else:
        assert sum(zeros.values()) == 47


def test_the_module_itself_stays(model):
    before = copy.deepcopy(model.state_dict())
    prune_module(model, 0.9)
    measure_pruning(model, lambda m: float(m[3].weight.abs().mean() > 0))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_curve_is_that_of_the_stack(model):
    labels = model(X).argmax(1)

    def accuracy(module):
        return (module(X).argmax(1) == labels).double().mean().item()

    curve = measure_pruning(model, accuracy)
    stack = stack_members([{name: tensor.detach() for name, tensor in model.named_parameters()}])

    def stacked(variants):
        outputs = torch.func.vmap(lambda p: torch.func.functional_call(model, p, (X,)))(variants)
        return (outputs.argmax(2) == labels).double().mean(1)

    evaluate = [lambda variants: (stacked(variants),)]
    (wanted,) = pruning_curves(stack, evaluate, pruning_fractions(), pruning_order(stack))
    torch.testing.assert_close(curve.accuracy, wanted[0])
    assert curve.accuracy[0] == 1
    low, high = curve.bounds
    assert low <= curve.compressibility <= high
    assert 0 <= curve.error <= high - low
    assert curve.size_at_drop() == curve.size_at_accuracy(0.95)


def test_tied_weights_stay_tied():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(3, 3)
            self.other = nn.Linear(3, 3)
            self.other.weight = self.one.weight

    pruned = prune_module(Tied(), 1.0)
    assert pruned.one.weight is pruned.other.weight
    assert not pruned.other.weight.any()


def test_equals_the_stacked_function(model):
    stack = stack_members([{name: tensor.detach() for name, tensor in model.named_parameters()}])
    one, other = prune_module(model, 0.37), pruning_order(stack).prune(stack, 0.37)
    for name, tensor in one.named_parameters():
        assert torch.equal(tensor, other[name][0])


def test_rejects(model):
    for fraction in (-0.1, 1.5):
        with pytest.raises(InputError, match=r"lie in \[0, 1\]"):
            pruning_masks(model, fraction)
    with pytest.raises(InputError, match=r"lie in \[0, 1\]"):
        measure_pruning(model, lambda m: 1.0, fractions=torch.tensor([0.0, 2.0]))
    with pytest.raises(InputError, match=r"must be \[5, 12\], got \[12, 5\]"):
        apply_masks(model, {"3.weight": torch.ones(12, 5)})
    with torch.no_grad():
        model[0].weight[0] = torch.nan
    with pytest.raises(InputError, match=r"parameters must be finite, got 9 in 0\.weight"):
        prune_module(model, 0.5)


def test_fractions_may_be_a_list_and_percent_is_refused_at_once(model):
    curve = measure_pruning(model, lambda m: 0.5, fractions=[0, 0.5, 1])
    assert curve.fractions.tolist() == [0, 0.5, 1]
    passes = []
    with pytest.raises(InputError, match=r"accuracy in \[0, 1\], got 93.5; divide percent by 100"):
        measure_pruning(model, lambda m: passes.append(m) or 93.5)
    assert len(passes) == 1


def test_what_is_left_out_is_said(model):
    curve = measure_pruning(model, lambda m: 0.5, fractions=[0, 1])
    assert list(curve.left_out) == ["0.bias", "3.bias"]
    assert "vector" in curve.left_out["0.bias"]
    selection = pruning_selection(model, names=["0.weight"])
    assert selection.names == ("0.weight",)
    assert selection.left_out["3.weight"] == "not among names="
    assert "3.weight  stays: not among names=" in str(selection)
    fisher = {name: p.detach().abs() for name, p in model.named_parameters() if name != "0.weight"}
    assert "frozen" in pruning_selection(model, "fisher-global", fisher=fisher).left_out["0.weight"]


@pytest.mark.parametrize("scheme", ["taylor-global", "taylor-layerwise"])
def test_taylor(model, scheme):
    torch.nn.functional.cross_entropy(model(X), torch.arange(40) % 5).backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    masks = pruning_masks(model, 0.5, scheme, gradients=gradients)
    scores = {name: (p.detach().double() * p.grad.double()).abs() for name, p in model.named_parameters()}
    groups = [["0.weight", "3.weight"]] if scheme == "taylor-global" else [["0.weight"], ["3.weight"]]
    for group in groups:
        kept = torch.cat([masks[name].flatten() for name in group]).bool()
        score = torch.cat([scores[name].flatten() for name in group])
        assert int((~kept).sum()) == len(kept) // 2
        assert score[~kept].max() <= score[kept].min()
    with pytest.raises(InputError, match="needs gradients="):
        pruning_masks(model, 0.5, scheme)


def test_after_torchs_own_pruning(model):
    """Ranked by the effective weight; the example of the documentation, and a copy, both ways round."""
    prune.l1_unstructured(model[3], "weight", amount=20)
    model(X)
    mask = pruning_masks(model, 0.5, names=["3.weight_orig"])["3.weight_orig"].bool()
    assert not (mask & (model[3].weight_mask == 0)).any()
    effective = model[3].weight.detach().abs()
    assert effective[~mask].max() <= effective[mask].min()
    pruned = prune_module(model, 0.5)
    assert torch.equal(pruned[3].weight, model[3].weight.detach() * mask)
    assert torch.equal(pruned(X), prune_module(model, 0.5)(X))
    curve = measure_pruning(model, lambda m: float(m(X).abs().sum() > 0), fractions=[0, 0.5, 1])
    assert curve.accuracy[0] == 1
    assert set(fisher_diag(model, X)) == {"0.weight", "0.bias", "3.weight_orig", "3.bias"}
    later = prune_module(model, 0.7)
    prune.custom_from_mask(later[0], "weight", pruning_masks(later, 0.7, names=["0.weight"])["0.weight"])
    prune_module(later, 0.8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("change", "what"),
    [
        (nn.utils.weight_norm, "'3.weight' is under weight_norm"),
        (nn.utils.spectral_norm, "'3.weight' is under spectral_norm"),
        (nn.utils.parametrizations.weight_norm, "'3' has a parametrisation of 'weight'"),
        (nn.utils.parametrizations.orthogonal, "'3' has a parametrisation of 'weight'"),
    ],
)
def test_weights_that_are_computed_are_refused_by_name(model, change, what):
    change(model[3])
    with pytest.raises(InputError, match=what):
        prune_module(model, 0.5)
    pruned = prune_module(model, 0.5, names=["0.weight"])
    assert int((pruned[0].weight == 0).sum()) == 13
