"""What a few samples show about a model: whether it has per-sample gradients, and which way each parameter goes.

The way is a forecast, printed by a plan. What it rests on, where the samples are in every layer, is proven anew in
every block: :mod:`grokfast.fisher.samples`. Refused here, before any work: models that draw random numbers, give
other outputs when they are called again, or couple the samples.
"""

from __future__ import annotations

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.fisher.agreement import agree
from grokfast.fisher.batches import Block, Inputs, twice
from grokfast.fisher.fallback import per_sample_vmap
from grokfast.fisher.findings import Findings, Single
from grokfast.fisher.gradients import gradients
from grokfast.fisher.job import Job, State, World
from grokfast.fisher.likelihoods import SampleAxisError
from grokfast.fisher.passes import check_repeats, look, untraced, wider
from grokfast.fisher.randomness import deterministic
from grokfast.fisher.samples import Traced, find_samples, random_column
from grokfast.fisher.trust import rejected_of
from grokfast.fisher.variants import Way

_MOST_SAMPLES = 8
_ELEMENTS = 1 << 25


def probe(job: Job, state: State, block: Block) -> tuple[Findings, dict[str, tuple[Way, str]]]:
    """Look at a few samples; returns what was found and the way of each parameter, with the reason."""
    width = sum(leaf.numel() for leaf in job.leaves.values())
    m = min(block.n, max(2, min(_MOST_SAMPLES, _ELEMENTS // max(1, width))))
    findings = Findings(probed=m)
    few = block.slice(0, m)
    try:
        world, inputs, traced = _first_look(job, findings, state, few.inputs)
    except SampleAxisError:
        if block.n != 1:
            raise
        few = twice(few)
        world, inputs, traced = _first_look(job, findings, state, few.inputs)
    job.outputs.warn_of_widths(traced.outputs)
    check_repeats(job, state, world.double, inputs)
    _check_uncoupled(job, state, world.double, inputs, traced.outputs.detach())
    try:
        places = find_samples(traced, few.n)
        reasons = rejected_of(job, findings, state, world, inputs, traced, places)
    except InputError:
        raise
    except RuntimeError as error:  # autograd's: activation checkpointing refuses what tracing asks of it
        findings.opaque = True
        reasons = dict.fromkeys(world.leaves, f"the model cannot be traced ({_short(error)})")
    if reasons:
        side = random_column(traced.outputs, 0)
        findings.single, why = _choose(job, state, world.double, list(reasons), inputs, traced.outputs.detach(), side)
        if why:
            reasons = {name: f"{reason}; torch.func cannot follow ({why})" for name, reason in reasons.items()}
    return _memory(findings, traced, few.n), _ways(findings, traced, world, reasons)


def _first_look(job: Job, findings: Findings, state: State, inputs: Inputs) -> tuple[World, Inputs, Traced]:
    def run() -> tuple[World, Inputs, Traced]:
        wide = wider(job, findings, state, inputs) if job.dtype == torch.float32 and not findings.narrow else None
        if wide is not None:
            return wide
        world = job.world(state)
        return world, inputs, look(job, findings, world, inputs)

    return deterministic(run)


def _check_uncoupled(job: Job, state: State, double: bool, inputs: Inputs, outputs: Tensor) -> None:
    """Raise if the outputs for some samples change when another one is exchanged, or left out."""
    m = inputs.n
    if m < 2:
        return
    changes = [([1, *range(1, m)], slice(1, m)), ([*range(m - 1), 0], slice(0, m - 1))]
    for index, others in changes:
        found = untraced(job, state, double, inputs.rows(index))[1].detach()
        if not agree(found[others], outputs[others]):
            _raise_coupled("exchanged")
    if m > 2:
        try:
            rest = untraced(job, state, double, inputs.rows(slice(1, m)))[1].detach()
        except SampleAxisError:
            _raise_coupled("left out")
        if not agree(rest, outputs[1:]):
            _raise_coupled("left out")


def _raise_coupled(how: str) -> None:
    raise InputError(
        f"sample axis not found: the outputs for some samples change when another sample is {how}, so the samples are "
        "coupled or are not on the leading axis of inputs and outputs; per-sample gradients then have no meaning"
    )


def _choose(
    job: Job, state: State, double: bool, names: list[str], inputs: Inputs, outputs: Tensor, side: Tensor
) -> tuple[Single, str]:
    """The first way that gives right gradients of two samples, and why ``torch.func`` is not it."""
    few = inputs.rows([0, 1]) if inputs.n > 1 else inputs
    column = side[: few.n]
    world, whole = untraced(job, state, double, few)
    expected = gradients(whole, [world.leaves[name] for name in names], column)
    try:
        values, found = per_sample_vmap(job, job.world(state, double), names, few, column[None])
    except Exception as error:  # whatever a model may raise under vmap
        return Single.ALONE, _short(error)
    if not agree(values, outputs[: few.n]):
        return Single.ALONE, "a sample alone has other outputs than in its batch"
    for name, right in zip(names, expected, strict=True):
        bound = 1e-3 if right.dtype == torch.float32 else 1e-8
        sums = found[name].sum((0, 1))
        if not torch.allclose(sums, right, rtol=bound, atol=bound * float(right.abs().max() + 1e-30)):
            return Single.ALONE, f"its gradient of '{name}' differs from autograd's"
    return Single.VMAP, ""


def _short(error: Exception) -> str:
    kind = type(error).__name__
    return f"{kind}: {str(error).splitlines()[0][:120]}" if str(error) else kind


def _memory(findings: Findings, traced: Traced, m: int) -> Findings:
    size = traced.outputs.element_size() / m
    findings.sample_bytes = size * sum(use.x.numel() + 2 * torch.Size(use.shape).numel() for use in traced.uses)
    findings.sample_bytes += size * 6 * traced.outputs.numel()
    return findings


def _ways(findings: Findings, traced: Traced, world: World, reasons: dict[str, str]) -> dict[str, tuple[Way, str]]:
    way = Way.VMAP if findings.single is Single.VMAP else Way.LOOP
    found: dict[str, tuple[Way, str]] = {}
    for name in world.leaves:
        uses = [use for use in traced.uses if name in use.names.values()]
        if name in reasons:
            found[name] = way, reasons[name]
        elif not uses:
            found[name] = Way.RULE, "not used: its gradient is zero"
        else:
            what = " and ".join(dict.fromkeys(use.rule.what for use in uses))
            found[name] = (
                Way.RULE,
                what + (f", {len(uses)} uses added up per sample" if len(uses) > 1 else ""),
            )
    return found
