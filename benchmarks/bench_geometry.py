"""What the geometry of a trajectory costs beside the training that makes it, and the fused sums against torch's.

The ratio printed for ``test_cost_beside_training`` is training over geometry, per member: 2.5 x is 40 % of an epoch.
"""

from __future__ import annotations

import pytest
import torch
from partial_runs import train_until

from grokfast.fisher import fisher_diag
from grokfast.measures import cosine, origin_similarity, step_between, step_length
from grokfast.ops import metric_gram, metric_gram_reference
from grokfast.tasks import ModularAddition
from grokfast.training import GeometryMeasure, RunConfig, Snapshot, initial_stack


@pytest.mark.parametrize(
    ("metrics", "every"),
    [
        ("softmax-all", 1),
        ("softmax-all", 10),
        ("softmax-16", 1),
        ("logit-all", 1),
        ("logit-16", 1),
        ("softmax-all-full", 10),
    ],
)
def test_cost_beside_training(side_by_side, quick, metrics, every):
    """Modular addition with 3,831 held-out pairs; the last look is compared with the readable measures."""
    task, members = (ModularAddition(P=11, hidden=(32,)), 2) if quick else (ModularAddition(), 4)
    configs = [
        RunConfig(task=task, seed=e, w0=1 + e / 4, epochs=1000, feature_schedule="never", checkpoint_schedule="never")
        for e in range(members)
    ]
    state = initial_stack(configs)
    measure = GeometryMeasure(metrics)
    measure.epochs(frozenset(range(every, 1001, every)), 1000)
    needed = measure.epochs(frozenset(range(every, 1001, every)), 1000)
    passed = {}

    def train():
        for _ in range(every):
            train_until(state, state.epoch + 1)
            if every > 1 or state.epoch < 4:
                passed[state.epoch] = {name: tensor.clone() for name, tensor in state.params.items()}

    def look():
        """The looks that fall due in the epochs just trained."""
        found = {}
        for epoch in range(state.epoch - every + 1, state.epoch + 1):
            if epoch in needed:
                params = passed.get(epoch, state.params)
                snapshot = Snapshot(epoch, task, params, state.splits, configs, {})
                found = measure(snapshot) or found
        return found

    torch.set_flush_denormal(True)
    try:
        train()
        look()  # makes the plan
        rounds = 3 if every > 1 else 7
        counts = {"ours_counts": members * every, "rival_counts": members * every}
        found, _ = side_by_side(look, train, rounds=rounds, **counts, name="training")
        while not found:
            train()
            found = look()
    finally:
        torch.set_flush_denormal(False)
    if every == 1:
        return  # its parameters are gone; the same columns are checked at every tenth epoch and in the tests
    dated = next(iter(found.values()))
    before, here, after = (passed[dated.epoch + k] for k in (-1, 0, 1))
    e, name = 0, metrics.replace("-", "_")
    if "full" in metrics:
        return
    x = task.encode(state.splits[e].test_inputs, torch.float32)
    one = [{n: t[:1] for n, t in params.items()} for params in (before, here, after)]
    g = fisher_diag(task.module(), x, params=one[1])
    last, step = step_between(one[0], one[1]), step_between(one[1], one[2])
    for column, value in (
        ("length", step_length(step, g)),
        ("cosine", cosine(last, step, g)),
        ("origin", origin_similarity(step, one[1], g)),
    ):
        torch.testing.assert_close(found[f"geometry_{name}_{column}"].values[:1], value, rtol=1e-6, atol=1e-9)


def test_sums_of_a_look(side_by_side, quick):
    """One pass in double precision over three checkpoints and a metric of 174,193 parameters, 8 members."""
    generator = torch.Generator().manual_seed(0)
    lists = [[torch.randn(8, 1000 if quick else 174_193, generator=generator)] for _ in range(4)]
    lists[3][0].square_()
    mine, theirs = side_by_side(
        lambda: metric_gram(*lists, []), lambda: metric_gram_reference(*lists, []), rounds=9, name="torch operations"
    )
    torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)
