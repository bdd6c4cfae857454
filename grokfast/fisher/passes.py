"""Traced passes over one block of samples, in the precision that the block needs, and what they refuse."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.fisher.agreement import agree
from grokfast.fisher.batches import Block, Inputs
from grokfast.fisher.findings import Findings
from grokfast.fisher.flow import Flow
from grokfast.fisher.guards import name_non_finite, raise_non_finite
from grokfast.fisher.job import Job, State, World
from grokfast.fisher.likelihoods import finite_outputs
from grokfast.fisher.samples import Traced
from grokfast.fisher.tracing import Plain, Tracer
from grokfast.fisher.variants import Likelihood

# Blocks of at most this many samples x parameters are dominated by overhead, so float32 models run in
# float64.
SMALL = 1 << 23
# Rounding of logits becomes relative error of probabilities; above this magnitude float32 models run in
# float64.
FLOAT32_LOGITS = 8.0


def trace(job: Job, world: World, inputs: Inputs) -> Traced:
    """Run a private copy and find out what it does with its parameters.

    Raises:
        InputError: If the outputs have no sample axis, or activations are not finite.
    """
    tracer = Tracer({id(leaf): name for name, leaf in world.leaves.items()})
    with tracer:
        outputs = job.run(world.model, inputs)
    check_finite(job, world, inputs, outputs, tracer.finite)
    flow = Flow(outputs, inputs.n)
    if flow.leaves & job.foreign():
        raise InputError(
            "the model uses a parameter through a reference outside of itself (a global variable), which neither a "
            "private copy nor a stack in params= can replace; register the parameter and use it from there"
        )
    stray = {name for name, p in world.leaves.items() if id(p) in flow.leaves}
    return Traced(outputs, tracer.uses, flow, stray, tracer.reads)


def check_finite(job: Job, world: World, inputs: Inputs, outputs: Tensor, marks: Sequence[Tensor] = ()) -> None:
    """Raise if the outputs or the sums of layers' outputs are not finite, and name the layer.

    Raises:
        InputError: If so.
    """
    fine = finite_outputs(outputs.detach(), job.likelihood)
    if fine and (not marks or bool(torch.isfinite(torch.stack([mark.double() for mark in marks])).all())):
        return
    with Plain():
        where = name_non_finite(world.model, lambda: job.run(world.model, inputs))
    if where and not (fine and bool(torch.isneginf(outputs).any())):
        raise_non_finite(where)
    if not fine:
        raise_non_finite(where or "the model")


def traced_pass(job: Job, findings: Findings, state: State, block: Block) -> tuple[World, Inputs, Traced]:
    """The traced pass in the precision that the block needs."""
    single = job.dtype == torch.float32 and not findings.narrow
    work = block.together * sum(p.numel() for p in job.leaves.values())
    if single and work <= SMALL:
        wide = wider(job, findings, state, block.inputs)
        if wide is not None:
            return wide
    world = job.world(state)
    traced = look(job, findings, world, block.inputs)
    if job.dtype == torch.float32 and job.likelihood is not Likelihood.GAUSSIAN and _large(traced.outputs):
        wide = wider(job, findings, state, block.inputs) if single else None
        if wide is not None:
            return wide
        warnings.warn(
            f"logits beyond {FLOAT32_LOGITS:g} need a float64 forward pass to keep five digits, and this model "
            "does not run in float64: create tensors in its forward with the dtype of its inputs",
            RuntimeWarning,
            stacklevel=2,
        )
    return world, block.inputs, traced


def look(job: Job, findings: Findings, world: World, inputs: Inputs) -> Traced:
    """A traced pass, or one without tracing for a model that cannot be traced."""
    if not findings.opaque:
        return trace(job, world, inputs)
    with Plain():
        outputs = job.run(world.model, inputs)
    check_finite(job, world, inputs, outputs)
    return Traced(outputs, [], Flow(outputs, inputs.n), set(world.leaves))


def wider(job: Job, findings: Findings, state: State, inputs: Inputs) -> tuple[World, Inputs, Traced] | None:
    """The pass in float64, or None if the model cannot run in it."""
    world = job.world(state, double=True)
    inputs = inputs.double()
    try:
        traced = look(job, findings, world, inputs)
    except InputError:
        raise
    except Exception:  # whatever a model says that was written for float32; in float32 it says it again if it must
        findings.narrow = True
        return None
    return world, inputs, traced


def untraced(job: Job, state: State, double: bool, inputs: Inputs) -> tuple[World, Tensor]:
    """A fresh private copy and its outputs, as it is written."""
    world = job.world(state, double)
    with Plain():
        return world, job.run(world.model, inputs)


def check_repeats(job: Job, state: State, double: bool, inputs: Inputs) -> None:
    """Raise if two fresh copies give different outputs for the same samples."""
    once, again = (untraced(job, state, double, inputs)[1].detach() for _ in range(2))
    if not agree(once, again):
        raise InputError(
            "the model gives different outputs for the same inputs: it draws random numbers from a generator of its "
            "own, or remembers outside of itself what it was called with; per-sample gradients then have no meaning"
        )


def _large(outputs: Tensor) -> bool:
    f = outputs.detach()
    if not f.numel():
        return False
    f = f.masked_fill(f < f.amax(-1, keepdim=True) - 100, 0)  # a class that cannot occur is no large logit
    return float(f.abs().max()) > FLOAT32_LOGITS
