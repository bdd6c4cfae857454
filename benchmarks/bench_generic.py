"""Any network through NetworkTask, against a plain PyTorch loop over the members and against JAX, per member.

An epoch of training without a test pass, with recorded steps, as after a run's first 500. JAX (``pip install jax``)
is skipped where it is not installed.
"""

from __future__ import annotations

import os

import pytest
import torch
from generic_tasks import TransformerSum, TwoLayerSum, jax_epoch, jax_mlp, jax_transformer
from torch import nn

from grokfast.models import member
from grokfast.tasks import bound, load_parameters, stream
from grokfast.training import RunConfig, initial_stack
from grokfast.training.steps import train_pass

MEMBERS = 8

CASES = {
    "transformer, full batch": (TransformerSum(), None, jax_transformer),
    "transformer, batches of 128": (TransformerSum(), 128, jax_transformer),
    "two-layer MLP, batches of 64": (TwoLayerSum(), 64, jax_mlp),
}
SMALL = {
    "transformer, full batch": TransformerSum(P=11, width=16, hidden=32),
    "transformer, batches of 128": TransformerSum(P=23, width=16, hidden=32),
    "two-layer MLP, batches of 64": TwoLayerSum(P=13, hidden=32),
}


class Problem:
    """The members' data in their order, and their start."""

    def __init__(self, case, quick):
        task, batch, self.logits = CASES[case]
        task = SMALL[case] if quick else task
        size = {} if batch is None else {"batch_size": batch}
        self.configs = [
            RunConfig(task=task, seed=e, learning_rate=1e-3, weight_decay=0.0, **size) for e in range(MEMBERS)
        ]
        self.config, self.task = self.configs[0], task
        splits = [task.split(e) for e in range(MEMBERS)]
        orders = [torch.randperm(len(s.train_labels), generator=stream(e, "order")) for e, s in enumerate(splits)]
        self.inputs = torch.stack([s.train_inputs[o] for s, o in zip(splits, orders, strict=True)])
        self.labels = torch.stack([s.train_labels[o] for s, o in zip(splits, orders, strict=True)])
        starts = [task.initial(e, 1.0, torch.float32) for e in range(MEMBERS)]
        self.start = {name: torch.stack([start[name] for start in starts]) for name in starts[0]}

    def batches(self):
        for first in range(0, self.labels.shape[1], self.config.batch_size):
            yield slice(first, first + self.config.batch_size)


def ours(problem):
    """The engine's epoch, without its test pass."""
    state = initial_stack(problem.configs)

    def epoch():
        losses, _ = train_pass(problem.config, state.parts(), state.optimizer, problem.inputs, problem.labels)
        return (losses / problem.labels.shape[1]).tolist()

    return epoch


def plain_loop(problem):
    """The members one after the other: nn.Module, fused Adam."""
    models = [load_parameters(problem.task.module(), member(problem.start, e)) for e in range(MEMBERS)]
    optimizers = [torch.optim.Adam(m.parameters(), lr=problem.config.learning_rate, fused=True) for m in models]

    def epoch():
        found = []
        for e, (model, optimizer) in enumerate(zip(models, optimizers, strict=True)):
            total = 0.0
            for batch in problem.batches():
                inputs, labels = problem.inputs[e, batch], problem.labels[e, batch]
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(inputs), labels)
                loss.backward()
                optimizer.step()
                total += loss.item() * len(labels)
            found.append(total / problem.labels.shape[1])
        return found

    return epoch


def with_jax(problem):
    """``jit(vmap(scan over the epoch))``, one thread."""
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    jax = pytest.importorskip("jax", reason="JAX is not installed: pip install jax")
    params = {name: jax.numpy.asarray(tensor.numpy()) for name, tensor in problem.start.items()}
    zeros = jax.tree.map(jax.numpy.zeros_like, params)
    carry = [(params, zeros, zeros, jax.numpy.zeros(MEMBERS))]
    inputs, labels = jax.numpy.asarray(problem.inputs.numpy()), jax.numpy.asarray(problem.labels.numpy())
    run = jax_epoch(problem.logits, problem.config)

    def epoch():
        carry[0], losses = run(carry[0], inputs, labels)
        return [float(loss) for loss in losses]

    return epoch


@pytest.mark.parametrize("rival", [plain_loop, with_jax], ids=["loop", "jax"])
@pytest.mark.parametrize("case", list(CASES))
def test_an_epoch_of_any_network(monkeypatch, side_by_side, quick, case, rival):
    """Per member; every member's loss compared after as many epochs on both sides."""
    monkeypatch.setattr(bound, "RECORD_AFTER", 0)
    problem = Problem(case, quick)
    names = {plain_loop: "a loop over nn.Modules, fused Adam", with_jax: "jax.jit(vmap(scan))"}
    mine, theirs = side_by_side(
        ours(problem), rival(problem), rounds=7, ours_counts=MEMBERS, rival_counts=MEMBERS, name=names[rival]
    )
    assert mine == pytest.approx(theirs, rel=2e-3)
