"""Layer rules on one block of samples: forward, columns, backward, squares; and what they cannot do, by fallback."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.fisher import fallback
from grokfast.fisher.batches import Block
from grokfast.fisher.guards import name_non_finite, raise_non_finite
from grokfast.fisher.job import Job, in_float64
from grokfast.fisher.layout import Layout
from grokfast.fisher.likelihoods import check_outputs, columns
from grokfast.fisher.tracing import Reader, Tracer, Use, reached
from grokfast.fisher.variants import Kind, Likelihood

# Blocks of at most this many samples x parameters are dominated by overhead, so float32 models run in
# float64.
SMALL = 1 << 23
# Rounding of logits becomes relative error of probabilities; above this magnitude float32 models run in
# float64.
FLOAT32_LOGITS = 8.0
_CHUNK = 1 << 22
_READ = 64  # samples of one float64 pass for the inputs of layers: few enough to stay in cache


@dataclass
class Traced:
    """A traced forward pass."""

    outputs: Tensor
    uses: list[Use]
    stray: set[str]  # parameters with a use that was not understood


@dataclass
class Findings:
    """What a probe of the model has shown."""

    signatures: list[tuple[object, ...]] = field(default_factory=list)
    layouts: list[Layout | None] = field(default_factory=list)
    distrusted: set[str] = field(default_factory=set)  # the rule did not reproduce autograd's gradient
    loop: bool = False
    probed: int = 0
    sample_bytes: float = 0.0

    def covers(self, index: int, use: Use, n: int) -> bool:
        """Whether the use at this place may go by its rule in a block of ``n`` samples."""
        layout = self.layouts[index]
        return (
            self.signatures[index] == use.signature
            and layout is not None
            and layout.fits(use.shape, n)
            and layout.fits(tuple(use.x.shape), n)
            and use.intact
        )


def trace(
    job: Job, state: Mapping[str, Tensor] | None, leaves: Mapping[str, Tensor], args: tuple[Tensor, ...]
) -> Traced:
    """Run the model and find out what it does with its parameters.

    Raises:
        InputError: If the outputs have no sample axis, or activations are not finite.
    """
    tracer = Tracer({id(leaf): name for name, leaf in leaves.items()})
    with tracer:
        outputs = fallback.run_model(job.model, state, args)
    outputs = check_outputs(outputs, args[0].shape[0], job.likelihood)
    marks = torch.stack([mark.double() for _, mark in tracer.finite] + [outputs.detach().sum().double()])
    if not bool(torch.isfinite(marks).all()):
        with torch.no_grad():
            where = name_non_finite(job.model, args, state)
        if where:
            raise_non_finite(where)
        if not bool(torch.isfinite(outputs).all()):
            raise_non_finite("the model")
    met = reached(outputs)
    if state is not None and any(id(p) in met for p in job.model.parameters() if p.requires_grad):
        raise InputError(
            "the model uses a parameter of its own through a reference of its own, which a stack "
            "in params= cannot "
            "replace; register the parameter once and use it from there"
        )
    return Traced(outputs, tracer.uses, {name for name, leaf in leaves.items() if id(leaf) in met})


def pull_back(traced: Traced, uses: Sequence[Use], column: Tensor) -> list[Tensor | None]:
    """The gradients of ``sum_n f_n . column_n`` at the outputs of the given uses."""
    if not uses or not traced.outputs.requires_grad:
        return [None] * len(uses)
    return list(
        torch.autograd.grad(traced.outputs, [use.edge for use in uses], column, retain_graph=True, allow_unused=True)
    )


def block_squares(
    job: Job,
    findings: Findings,
    state: Mapping[str, Tensor] | None,
    leaves: Mapping[str, Tensor],
    block: Block,
    samples: int = 1,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Sums over one block of samples of the squared pull-backs, by parameter, in float64."""
    args, dtype = block.args, next(iter(leaves.values())).dtype
    work = (block.cut_from or block.n) * sum(leaf.numel() for leaf in leaves.values())
    if dtype == torch.float32 and work <= SMALL:
        traced, state, leaves, args = _wider(job, state, leaves, args) or (
            trace(job, state, leaves, args), state, leaves, args
        )  # fmt: skip
    else:
        traced = trace(job, state, leaves, args)
        if dtype == torch.float32 and job.likelihood is not Likelihood.GAUSSIAN and _large(traced.outputs):
            wider = _wider(job, state, leaves, args)
            if wider is None:
                warnings.warn(
                    f"logits beyond {FLOAT32_LOGITS:g} need a float64 forward pass to keep five "
                    "digits, and this model "
                    "does not run in float64: create tensors in its forward with the dtype of its inputs",
                    RuntimeWarning,
                    stacklevel=2,
                )
            else:
                traced, state, leaves, args = wider
    sides = columns(traced.outputs.detach(), job.kind, job.likelihood, block.targets, samples, generator)
    rejected = set(traced.stray) | findings.distrusted
    aligned = len(traced.uses) == len(findings.signatures)
    for index, use in enumerate(traced.uses):
        if not aligned or not findings.covers(index, use, block.n):
            rejected |= set(use.names.values())
    total = {name: torch.zeros_like(leaf, dtype=torch.float64) for name, leaf in leaves.items()}
    kept: list[Tensor] = []
    read: dict[int, Tensor] = {}
    if job.kind is Kind.EXACT and args[0].shape[0] and next(iter(leaves.values())).dtype == torch.float32:
        read = _inputs_by_float64(job, state, leaves, args, traced, findings)
    rules = _Rules(traced, findings, rejected, block.n, read)
    for side in sides:
        if rejected:
            kept.append(side)
        rules.add(side, total)
    rules.finish(total)
    if rejected:
        some = {name: leaf for name, leaf in leaves.items() if name in rejected}
        for name, value in fallback.squares(job.model, state, some, args, kept, findings.loop).items():
            total[name] = value
    return total


def _wider(
    job: Job, state: Mapping[str, Tensor] | None, leaves: Mapping[str, Tensor], args: tuple[Tensor, ...]
) -> tuple[Traced, Mapping[str, Tensor], Mapping[str, Tensor], tuple[Tensor, ...]] | None:
    """The same in float64, or None if the model cannot run in it."""
    state = in_float64(job.model, state, tuple(leaves))
    leaves = {name: state[name] for name in leaves}
    args = tuple(a.double() if a.is_floating_point() else a for a in args)
    try:
        return trace(job, state, leaves, args), state, leaves, args
    except RuntimeError:
        return None


def _inputs_by_float64(
    job: Job, state: Mapping[str, Tensor] | None, leaves: Mapping[str, Tensor], args: tuple[Tensor, ...],
    traced: Traced, findings: Findings,
) -> dict[int, Tensor]:  # fmt: skip
    """The inputs of the uses, samples first, by the place of the use: computed in float64, then rounded.

    An activation that nearly cancels has few right digits after a float32 pass, and its square is all there is
    of an entry whose unit is active in few samples. Empty if the model cannot run in float64 or does
    something else there.
    """
    state = in_float64(job.model, state, tuple(leaves))
    names = {id(state[name]): name for name in leaves}
    signatures = [use.signature for use in traced.uses]
    if signatures != findings.signatures:
        return {}
    parts: list[list[Tensor]] = [[] for _ in signatures]
    for start in range(0, args[0].shape[0], _READ):
        some = tuple(a[start : start + _READ] for a in args)
        reader = Reader(names, traced.outputs.dtype)
        try:
            with reader:
                fallback.run_model(job.model, state, tuple(a.double() if a.is_floating_point() else a for a in some))
        except RuntimeError:
            return {}
        if [signature for signature, _ in reader.seen] != signatures:
            return {}
        m = some[0].shape[0]
        for part, layout, (_, x) in zip(parts, findings.layouts, reader.seen, strict=True):
            if layout is not None and layout.fits(tuple(x.shape), m):
                part.append(layout.front(x, m))
    return {k: torch.cat(part) for k, part in enumerate(parts) if part}


def _large(outputs: Tensor) -> bool:
    return bool(outputs.numel()) and float(outputs.detach().abs().max()) > FLOAT32_LOGITS


class _Rules:
    """The uses of one traced block that go by rules, and what is pooled over columns."""

    def __init__(
        self, traced: Traced, findings: Findings, rejected: set[str], n: int, read: Mapping[int, Tensor]
    ) -> None:
        self.traced, self.n = traced, n
        self.uses: list[Use] = []
        self.inputs: list[Tensor] = []
        self.layouts: list[Layout] = []
        self.by_name: dict[str, list[tuple[int, str]]] = {}
        for index, (use, layout) in enumerate(zip(traced.uses, findings.layouts, strict=False)):
            mine = {role: name for role, name in use.names.items() if name not in rejected}
            if not mine or layout is None:
                continue
            for role, name in mine.items():
                self.by_name.setdefault(name, []).append((len(self.uses), role))
            self.uses.append(use)
            self.layouts.append(layout)
            self.inputs.append(read[index] if index in read else layout.front(use.x, n))
        self.pools: dict[str, Tensor] = {}

    def add(self, side: Tensor, total: dict[str, Tensor]) -> None:
        """One column."""
        grads = [
            None if g is None else layout.front(g, self.n)
            for g, layout in zip(pull_back(self.traced, self.uses, side), self.layouts, strict=True)
        ]
        for name, places in self.by_name.items():
            places = [(k, role) for k, role in places if grads[k] is not None]
            if len(places) == 1:
                k, role = places[0]
                rule, x, g = self.uses[k].rule, self.inputs[k], grads[k]
                assert g is not None
                pooled = rule.pooled(role, x, g) if len(self.by_name[name]) == 1 else None
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
            parts = []
            for k, role in places:
                g = grads[k]
                assert g is not None
                parts.append(self.uses[k].rule.per_sample(role, self.inputs[k][rows], g[rows]))
            part = torch.stack(parts).sum(0).square().sum(0).double()
            total = part if total is None else total + part
        assert total is not None
        return total

    def finish(self, total: dict[str, Tensor]) -> None:
        """What was pooled over columns becomes squares."""
        for name, pooled in self.pools.items():
            k, role = self.by_name[name][0]
            total[name] += self.uses[k].rule.from_pooled(role, self.inputs[k], pooled)
