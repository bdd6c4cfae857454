from __future__ import annotations

import pytest
import torch

from grokfast.errors import InputError
from grokfast.models import stack_members
from grokfast.pruning import Scheme, pruning_curves, pruning_fractions, pruning_order
from grokfast.tasks import HasNestedLosses, Ising, ModularAddition, evaluate, stream, task_pruning_curves

TASK = ModularAddition(P=11, hidden=(40,))


def _stack(task, dtype=torch.float64, members=3):
    params = stack_members([task.initial(seed, 1.0, dtype) for seed in range(members)], task.input_major)
    for name, tensor in params.items():
        if name.endswith("bias"):  # none of which are zero in a trained network
            tensor.copy_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1)) / 10)
    return params, [task.split(seed) for seed in range(members)]


def _one_after_another(task, params, splits, fractions, order):
    """Every fraction pruned and evaluated by itself."""
    inputs = torch.stack([split.test_inputs for split in splits])
    labels = torch.stack([split.test_labels for split in splits])
    found = [evaluate(task, order.prune(params, float(fraction)), inputs, labels) for fraction in fractions]
    loss, accuracy = zip(*found, strict=True)
    return torch.stack(accuracy, 1), torch.stack(loss, 1)


def _order(params, scheme, task):
    fisher = {name: torch.rand(tensor.shape, generator=stream(0, "fisher")) for name, tensor in params.items()}
    generators = [stream(seed, "pruning") for seed in range(3)]
    slopes = {name: torch.randn(tensor.shape, generator=stream(1, "slopes")) for name, tensor in params.items()}
    slopes = {name: slope.to(params[name].dtype) for name, slope in slopes.items()}
    return pruning_order(params, scheme, fisher=fisher, gradients=slopes, generators=generators)


@pytest.mark.parametrize("scheme", list(Scheme))
def test_every_scheme_equals_one_pruning_after_another(scheme):
    params, splits = _stack(TASK)
    order, fractions = _order(params, scheme, TASK), pruning_fractions()
    curves = task_pruning_curves(TASK, params, splits, fractions, order)
    for curve, wanted in zip(curves, _one_after_another(TASK, params, splits, fractions, order), strict=True):
        torch.testing.assert_close(curve, wanted, rtol=1e-12, atol=1e-14)


def test_single_precision():
    params, splits = _stack(TASK, torch.float32)
    order, fractions = _order(params, "layerwise", TASK), pruning_fractions()
    accuracy, loss = task_pruning_curves(TASK, params, splits, fractions, order)
    wanted, wanted_loss = _one_after_another(TASK, params, splits, fractions, order)
    assert (accuracy - wanted).abs().max() <= 1.5 / len(splits[0].test_labels)
    torch.testing.assert_close(loss, wanted_loss, rtol=1e-6, atol=0)


def test_fractions_in_any_order_and_twice():
    params, splits = _stack(TASK)
    order, fractions = _order(params, "global", TASK), torch.tensor([0.5, 0.0, 1.0, 0.5, 0.123], dtype=torch.float64)
    curves = task_pruning_curves(TASK, params, splits, fractions, order)
    for curve, wanted in zip(curves, _one_after_another(TASK, params, splits, fractions, order), strict=True):
        torch.testing.assert_close(curve, wanted, rtol=1e-12, atol=1e-14)


def test_several_hidden_layers_take_the_plain_path():
    task = ModularAddition(P=5, hidden=(12, 10))
    params, splits = _stack(task)
    order, fractions = _order(params, "layerwise", task), pruning_fractions(10)
    curves = task_pruning_curves(task, params, splits, fractions, order)
    for curve, wanted in zip(curves, _one_after_another(task, params, splits, fractions, order), strict=True):
        torch.testing.assert_close(curve, wanted)


def test_which_tasks_have_nested_losses():
    assert isinstance(TASK, HasNestedLosses)
    assert not isinstance(Ising(), HasNestedLosses)


def test_a_diverged_member_alone_is_spoilt():
    params, splits = _stack(TASK)
    order = _order(params, "layerwise", TASK)
    params["2.weight"][1, 3, 7] = torch.nan
    fractions = pruning_fractions(20)
    curves = task_pruning_curves(TASK, params, splits, fractions, order)
    for curve, wanted in zip(curves, _one_after_another(TASK, params, splits, fractions, order), strict=True):
        torch.testing.assert_close(curve, wanted, rtol=1e-12, atol=1e-14, equal_nan=True)
    assert curves[1][1].isnan().any()
    assert curves[1][[0, 2]].isfinite().all()


def test_rejects():
    params, splits = _stack(TASK)
    order = _order(params, "layerwise", TASK)
    for fraction in (-0.1, 1.1, torch.nan):
        with pytest.raises(InputError, match="pruned fraction must lie"):
            task_pruning_curves(TASK, params, splits, torch.tensor([0.0, fraction]), order)
    with pytest.raises(InputError, match="one accuracy function per member, 3, got 2"):
        task_pruning_curves(TASK, params, splits[:2], pruning_fractions(), order)


def test_the_plain_path_is_the_same_curve():
    """The generic evaluation of stacks of variants, which other models take."""
    params, splits = _stack(TASK)
    order, fractions = _order(params, "layerwise", TASK), pruning_fractions(30)

    def evaluation(split):
        def measure(variants):
            count = variants["0.weight"].shape[0]
            inputs = split.test_inputs.expand(count, -1, -1)
            return evaluate(TASK, variants, inputs, split.test_labels.expand(count, -1))[::-1]

        return measure

    plain = pruning_curves(params, [evaluation(split) for split in splits], fractions, order)
    for curve, wanted in zip(task_pruning_curves(TASK, params, splits, fractions, order), plain, strict=True):
        torch.testing.assert_close(curve, wanted, rtol=1e-12, atol=1e-14)
