"""Pruning curves of a stack against a loop of masked forward passes over members and fractions."""

from __future__ import annotations

import pytest
import torch
from partial_runs import train_until
from torch import nn

from grokfast.observe import stack_pruning_curve
from grokfast.ops import mlp_cross_entropy_, mlp_losses
from grokfast.pruning import pruned_count, pruning_fractions, pruning_order, ranks_of
from grokfast.tasks import ModularAddition, evaluate
from grokfast.training import RunConfig, initial_stack


def _trained(members, quick, epochs):
    """A stack after a few epochs, when less has died in it than at the end: later curves are faster to take."""
    task = ModularAddition(P=31, hidden=(64,)) if quick else ModularAddition()
    configs = [
        RunConfig(task=task, seed=e, w0=0.5 + e / 4, epochs=100, feature_schedule="never", checkpoint_schedule="never")
        for e in range(members)
    ]
    state = initial_stack(configs)
    torch.set_flush_denormal(True)
    try:
        train_until(state, epochs)
    finally:
        torch.set_flush_denormal(False)
    return task, state


def _loop(task, params, splits, fractions):
    """What one writes first: mask the weights, run the model on all two-hot test vectors, count."""
    rows = []
    for e, split in enumerate(splits):
        inputs = task.encode(split.test_inputs, torch.float32)
        model: nn.Sequential = task.module()
        own = {name: tensor[e].contiguous() for name, tensor in params.items()}
        model.load_state_dict(own)
        weights = {name: p for name, p in model.named_parameters() if name.endswith("weight")}
        ranks = {name: ranks_of(own[name].abs().reshape(1, -1)).reshape(own[name].shape) for name in weights}
        row = []
        with torch.no_grad():
            for fraction in fractions.tolist():
                for name, weight in weights.items():
                    weight.copy_(own[name] * (ranks[name] >= pruned_count(fraction, weight.numel())))
                row.append((model(inputs).argmax(1) == split.test_labels).double().mean())
        rows.append(torch.stack(row))
    return torch.stack(rows)


def test_pruning_curves(side_by_side, quick):
    """101 fractions of 8 networks, 3,831 test pairs each; accuracies may differ where two logits tie in rounding."""
    task, state = _trained(2 if quick else 8, quick, 2 if quick else 12)
    fractions = pruning_fractions(10 if quick else 100)
    snapshot = state.snapshot()
    ours, theirs = side_by_side(
        lambda: stack_pruning_curve(snapshot, fractions),
        lambda: _loop(task, snapshot.params, snapshot.splits, fractions),
        rounds=3,
        name="a loop of masked forward passes",
    )
    samples = len(snapshot.splits[0].test_labels)
    assert (ours - theirs).abs().max() <= 2 / samples
    assert ours[:, 0].min() > 3 * ours[:, -1].max() or quick


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.9])
def test_losses_of_pruned_networks(side_by_side, quick, fraction):
    """One pass over the test pairs: active units alone, against the dense products that training uses."""
    task, state = _trained(1, quick, 2 if quick else 12)
    snapshot = state.snapshot()
    params = pruning_order(snapshot.params).prune(snapshot.params, fraction)
    inputs, labels = snapshot.splits[0].test_inputs[None], snapshot.splits[0].test_labels[None]
    tensors = list(params.values())
    (loss, hits), (wanted, wanted_hits) = side_by_side(
        lambda: mlp_losses(tensors, inputs, labels),
        lambda: mlp_cross_entropy_(tensors, inputs, labels, []),
        rounds=21,
        name="dense products",
    )
    torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=1e-6)
    assert (hits - wanted_hits).abs().max() <= 2
    assert evaluate(task, params, inputs, labels)[0].item() == pytest.approx(loss.item(), rel=1e-5)
