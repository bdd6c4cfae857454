"""The squares of one block of samples: by layer rules what can be, by per-sample gradients the rest."""

from __future__ import annotations

import torch
from torch import Tensor

from grokfast.fisher.batches import Block, twice
from grokfast.fisher.columns import Columns
from grokfast.fisher.cutting import check_cut, separable
from grokfast.fisher.fallback import per_sample_squares
from grokfast.fisher.findings import Findings
from grokfast.fisher.job import Job, State
from grokfast.fisher.likelihoods import SampleAxisError
from grokfast.fisher.passes import traced_pass
from grokfast.fisher.randomness import States, deterministic
from grokfast.fisher.rule_sums import RuleSums
from grokfast.fisher.samples import find_samples
from grokfast.fisher.trust import rejected_of
from grokfast.fisher.variants import Kind
from grokfast.fisher.wide_inputs import inputs_by_float64


def block_squares(
    job: Job, findings: Findings, state: State, block: Block, samples: int = 1, generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """Sums over one block of samples of the squared pull-backs, by parameter, in float64."""
    try:
        return _squares(job, findings, state, block, samples, generator)
    except SampleAxisError:
        if block.n != 1:
            raise
    # A model that squeezes loses the axis of a single sample: the sample twice, and half of the sum.
    found = _squares(job, findings, state, twice(block), samples, generator)
    return {name: value / 2 for name, value in found.items()}


def _squares(
    job: Job, findings: Findings, state: State, block: Block, samples: int, generator: torch.Generator | None
) -> dict[str, Tensor]:
    before = States()
    world, inputs, traced = traced_pass(job, findings, state, block)
    if not before.same(States()):
        world, inputs, traced = deterministic(lambda: traced_pass(job, findings, state, block), before)
    outputs = traced.outputs.detach()
    if block.whole is not None and not separable(traced, block.n):
        check_cut(job, state, world.double, block, outputs)
    columns = Columns(
        outputs, job.kind, job.likelihood, block.targets, samples, generator, block.mask, job.ignore_index
    )
    total = {name: torch.zeros_like(leaf, dtype=torch.float64) for name, leaf in world.leaves.items()}
    rejected = set(total)
    if not findings.opaque:
        places = find_samples(traced, block.n)
        rejected = set(rejected_of(job, findings, state, world, inputs, traced, places))
        if rejected != set(total):
            read: dict[int, Tensor] = {}
            if job.kind is Kind.EXACT and block.n and world.dtype == torch.float32 and not findings.narrow:
                read = inputs_by_float64(job, state, inputs, traced, places)
            rules = RuleSums(traced, places, rejected, block.n, read)
            for side in columns:
                rules.add(side, total)
            rules.finish(total)
    del traced
    if rejected and len(columns) and block.n:
        some = [name for name in world.leaves if name in rejected]
        total |= per_sample_squares(job, findings, state, world.double, some, inputs, outputs, columns)
    return total
