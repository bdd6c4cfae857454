"""Layer rules on one block of samples: forward, columns, backward, squares; and what they cannot do, by fallback."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.fisher import fallback
from grokfast.fisher.batches import Block, Inputs
from grokfast.fisher.fallback import Single
from grokfast.fisher.flow import Flow
from grokfast.fisher.guards import name_non_finite, raise_non_finite
from grokfast.fisher.job import Job, State, World
from grokfast.fisher.layout import Layout
from grokfast.fisher.likelihoods import Columns, SampleAxisError, finite_outputs
from grokfast.fisher.randomness import States, deterministic
from grokfast.fisher.samples import Traced, counts, find_samples, pull_back, random_column
from grokfast.fisher.tracing import Plain, Reader, Tracer, Use
from grokfast.fisher.variants import Kind, Likelihood

# Blocks of at most this many samples x parameters are dominated by overhead, so float32 models run in
# float64.
SMALL = 1 << 23
# Rounding of logits becomes relative error of probabilities; above this magnitude float32 models run in
# float64.
FLOAT32_LOGITS = 8.0
_CHUNK = 1 << 22
_READ = 64  # samples of one float64 pass for the inputs of layers: few enough to stay in cache
_NEAR = 1e-3  # how far a float64 input may be from the float32 one, in parts of the largest of its sample


@dataclass
class Findings:
    """What has been seen of a model so far.

    Attributes:
        trusted: By the sequence of uses: parameters whose rules did not reproduce autograd's gradient.
        single: The first way of per-sample gradients that has not failed.
        narrow: The model does not run in float64.
        opaque: The model cannot be traced, so nothing goes by rules.
        probed: How many samples the probe had.
        sample_bytes: Memory of one sample.
    """

    trusted: dict[tuple[object, ...], set[str]] = field(default_factory=dict)
    single: Single = Single.VMAP
    narrow: bool = False
    opaque: bool = False
    probed: int = 0
    sample_bytes: float = 0.0


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
    return Traced(outputs, tracer.uses, flow, {name for name, p in world.leaves.items() if id(p) in flow.leaves})


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


def twice(block: Block) -> Block:
    """A block of one sample as a block of two."""
    double = [None if t is None else torch.cat([t, t]) for t in (block.targets, block.mask)]
    return Block(block.inputs.rows([0, 0]), double[0], double[1])


def _squares(
    job: Job, findings: Findings, state: State, block: Block, samples: int, generator: torch.Generator | None
) -> dict[str, Tensor]:
    before = States()
    world, inputs, traced = _traced(job, findings, state, block)
    if not before.same(States()):
        world, inputs, traced = deterministic(lambda: _traced(job, findings, state, block), before)
    outputs = traced.outputs.detach()
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
                read = _inputs_by_float64(job, state, inputs, traced, places)
            rules = _Rules(traced, places, rejected, block.n, read)
            for side in columns:
                rules.add(side, total)
            rules.finish(total)
    del traced
    if rejected and len(columns) and block.n:
        some = [name for name in world.leaves if name in rejected]
        total |= fallback.squares(job, findings, state, world.double, some, inputs, outputs, columns)
    return total


def _traced(job: Job, findings: Findings, state: State, block: Block) -> tuple[World, Inputs, Traced]:
    """The traced pass in the precision that the block needs."""
    single = job.dtype == torch.float32 and not findings.narrow
    work = (block.cut_from or block.n) * sum(p.numel() for p in job.leaves.values())
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
    if not fallback.agree(outputs[1].detach(), traced.outputs.detach()):
        check_repeats(job, state, world.double, inputs)
        return set(world.leaves)
    side = random_column(traced.outputs, 2)
    names = [name for name in world.leaves if name not in rejected]
    whole = fallback.gradients(outputs[1], [outputs[0].leaves[name] for name in names], side)
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


def untraced(job: Job, state: State, double: bool, inputs: Inputs) -> tuple[World, Tensor]:
    """A fresh private copy and its outputs, as it is written."""
    world = job.world(state, double)
    with Plain():
        return world, job.run(world.model, inputs)


def check_repeats(job: Job, state: State, double: bool, inputs: Inputs) -> None:
    """Raise if two fresh copies give different outputs for the same samples."""
    once, again = (untraced(job, state, double, inputs)[1].detach() for _ in range(2))
    if not fallback.agree(once, again):
        raise InputError(
            "the model gives different outputs for the same inputs: it draws random numbers from a generator of its "
            "own, or remembers outside of itself what it was called with; per-sample gradients then have no meaning"
        )


def _inputs_by_float64(
    job: Job, state: State, inputs: Inputs, traced: Traced, places: Sequence[Layout | None]
) -> dict[int, Tensor]:
    """The inputs of the uses, samples first, by the place of the use: computed in float64, then rounded.

    An activation that nearly cancels has few right digits after a float32 pass, and its square is all there is
    of an entry whose unit is active in few samples. The pass runs in chunks; what is read is taken only where
    every sample of it is what the float32 pass over the block saw, within its rounding. A model that sorts, packs
    or pads within its batch does something else on a chunk, and keeps its float32 inputs.
    """
    world = job.world(state, double=True)
    names = {id(leaf): name for name, leaf in world.leaves.items()}
    signatures = [use.signature for use in traced.uses]
    parts: list[list[Tensor]] = [[] for _ in signatures]
    n = inputs.n
    mine = [None if type(place) is not Layout else place.front(use.x, n, use.rule.x_axes)
            for use, place in zip(traced.uses, places, strict=True)]  # fmt: skip
    for start in range(0, n, _READ):
        some = inputs.rows(slice(start, start + _READ)).double()
        reader = Reader(names, traced.outputs.dtype)
        try:
            with reader:
                job.run(world.model, some)
        except Exception:  # whatever a model says that was written for float32 or for whole batches
            return {}
        if [signature for signature, _ in reader.seen] != signatures:
            return {}
        for k, (place, (_, x)) in enumerate(zip(places, reader.seen, strict=True)):
            here = mine[k]
            if here is None or place is None:
                continue
            rows = here[start : start + _READ]
            read = (
                place.front(x, some.n, traced.uses[k].rule.x_axes)
                if place.fits(tuple(x.shape), some.n, traced.uses[k].rule.x_axes)
                else None
            )
            if read is None or not _near(read, rows):
                mine[k] = None
                parts[k] = []
            else:
                parts[k].append(read)
    return {k: torch.cat(part) for k, part in enumerate(parts) if part and mine[k] is not None}


def _near(read: Tensor, rows: Tensor) -> bool:
    if read.shape != rows.shape:
        return False
    if not read.is_floating_point():
        return torch.equal(read, rows)
    if not read.numel():
        return True
    size = rows.flatten(1).abs().amax(1)
    return bool(((read - rows).flatten(1).abs().amax(1) <= _NEAR * size).all())


def _large(outputs: Tensor) -> bool:
    f = outputs.detach()
    if not f.numel():
        return False
    f = f.masked_fill(f < f.amax(-1, keepdim=True) - 100, 0)  # a class that cannot occur is no large logit
    return float(f.abs().max()) > FLOAT32_LOGITS


class _Rules:
    """The uses of one traced block that go by rules, and what is pooled over columns."""

    def __init__(
        self, traced: Traced, places: Sequence[Layout | None], rejected: set[str], n: int, read: Mapping[int, Tensor]
    ) -> None:
        self.traced, self.n = traced, n
        self.uses: list[Use] = []
        self.inputs: list[Tensor] = []
        self.layouts: list[Layout] = []
        self.by_name: dict[str, list[tuple[int, str]]] = {}
        for index, (use, layout) in enumerate(zip(traced.uses, places, strict=True)):
            mine = {role: name for role, name in use.names.items() if name not in rejected}
            if not mine or layout is None or not counts(traced, use):
                continue
            for role, name in mine.items():
                self.by_name.setdefault(name, []).append((len(self.uses), role))
            self.uses.append(use)
            self.layouts.append(layout)
            self.inputs.append(read[index] if index in read else layout.front(use.x, n, use.rule.x_axes))
        self.pools: dict[str, Tensor] = {}

    def add(self, side: Tensor, total: dict[str, Tensor]) -> None:
        """One column."""
        grads = [
            None if g is None else layout.front(g, self.n, use.rule.g_axes)
            for g, layout, use in zip(pull_back(self.traced, self.uses, side), self.layouts, self.uses, strict=True)
        ]
        for name, every in self.by_name.items():
            places = [(k, role) for k, role in every if grads[k] is not None]
            if len(places) == 1:
                k, role = places[0]
                rule, x, g = self.uses[k].rule, self.inputs[k], grads[k]
                assert g is not None
                pooled = rule.pooled(role, x, g) if len(every) == 1 else None
                if pooled is None:
                    total[name] += rule.squares(role, x, g)
                elif name in self.pools:
                    self.pools[name] += pooled
                else:
                    self.pools[name] = pooled
            elif places:
                total[name] += self._together(places, grads, total[name].numel())

    def _together(self, places: list[tuple[int, str]], grads: list[Tensor | None], width: int) -> Tensor:
        """A parameter used several times: every use is added up per sample before squaring."""
        step = max(1, _CHUNK // max(1, width))
        total: Tensor | None = None
        for start in range(0, self.n, step):
            rows = slice(start, start + step)
            each: Tensor | None = None
            for k, role in places:
                g = grads[k]
                assert g is not None
                mine = self.uses[k].rule.per_sample(role, self.inputs[k][rows], g[rows])
                each = mine if each is None else each + mine
            assert each is not None
            part = each.square().sum(0).double()
            total = part if total is None else total + part
        assert total is not None
        return total

    def finish(self, total: dict[str, Tensor]) -> None:
        """What was pooled over columns becomes squares."""
        for name, pooled in self.pools.items():
            k, role = self.by_name[name][0]
            total[name] += self.uses[k].rule.from_pooled(role, self.inputs[k], pooled)
