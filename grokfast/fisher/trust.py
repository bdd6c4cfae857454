"""Which parameters go by rules in a block: what is proven of their uses, and whether it adds up to autograd."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from grokfast.fisher.agreement import agree
from grokfast.fisher.batches import Inputs
from grokfast.fisher.findings import Findings
from grokfast.fisher.gradients import gradients
from grokfast.fisher.job import Job, State, World
from grokfast.fisher.layout import Layout
from grokfast.fisher.passes import check_repeats, untraced
from grokfast.fisher.samples import Traced, counts, pull_back, random_column


def rejected_of(
    job: Job, findings: Findings, state: State, world: World, inputs: Inputs, traced: Traced,
    places: Sequence[Layout | None],
) -> dict[str, str]:  # fmt: skip
    """The parameters that cannot go by rules in this block, with the reason."""
    reasons = dict.fromkeys(sorted(traced.stray), "used outside the layers that have rules")
    for use, place in zip(traced.uses, places, strict=True):
        for name in use.names.values():
            if not use.intact:
                reasons.setdefault(name, "the layer's input is overwritten later on")
            elif place is None:
                reasons.setdefault(name, f"the sample axis of {use.rule.what} {list(use.shape)} could not be proven")
    key = tuple(use.signature for use in traced.uses)
    if key not in findings.trusted:
        findings.trusted[key] = _distrusted(job, state, world, inputs, traced, places, set(reasons))
    for name in sorted(findings.trusted[key]):
        reasons.setdefault(name, "the layer rule does not add up to autograd's gradient")
    return reasons


def _distrusted(
    job: Job, state: State, world: World, inputs: Inputs, traced: Traced, places: Sequence[Layout | None],
    rejected: set[str],
) -> set[str]:  # fmt: skip
    """Parameters whose rules do not add up to the gradient of the untraced model; all, if its outputs differ."""
    outputs = untraced(job, state, world.double, inputs)
    if not agree(outputs[1].detach(), traced.outputs.detach()):
        check_repeats(job, state, world.double, inputs)
        return set(world.leaves)
    side = random_column(traced.outputs, 2)
    names = [name for name in world.leaves if name not in rejected]
    whole = gradients(outputs[1], [outputs[0].leaves[name] for name in names], side)
    sums: dict[str, Tensor] = {}
    sizes: dict[str, float] = {}
    for use, place, g in zip(traced.uses, places, pull_back(traced, traced.uses, side), strict=True):
        for role, name in use.names.items():
            if name in rejected or g is None or place is None or not counts(traced, use):
                continue
            x, rows = place.front(use.x, inputs.n, use.rule.x_axes), place.front(g, inputs.n, use.rule.g_axes)
            mine, size = use.rule.summed(role, x, rows)
            sums[name] = sums[name] + mine if name in sums else mine
            sizes[name] = sizes.get(name, 0.0) + size
    bad = set()
    for name, expected in zip(names, whole, strict=True):
        found = sums.get(name, torch.zeros_like(expected))
        error = float((found - expected).abs().max()) if expected.numel() else 0.0
        bound = 1e-3 if expected.dtype == torch.float32 else 1e-8
        if not error <= bound * max(sizes.get(name, 0.0), 1e-30):
            bad.add(name)
    return bad
