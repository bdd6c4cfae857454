"""A plan: how every parameter's diagonal is computed and why; made once, called any number of times."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Unpack

import torch
from torch import Tensor, nn

from grokfast._generators import generator_state, set_generator_state
from grokfast._html import heading, table
from grokfast._options import takes_options
from grokfast.errors import InputError
from grokfast.fisher.batches import Block, Labels, batches
from grokfast.fisher.engine import block_squares
from grokfast.fisher.findings import Findings, Single
from grokfast.fisher.fused import Fused, recognise
from grokfast.fisher.guards import check_modes, plain_torch
from grokfast.fisher.job import Job, State, check_stack, member
from grokfast.fisher.options import Call, CallOptions, PlanOptions, asked_job
from grokfast.fisher.probe import probe
from grokfast.fisher.progress import shown
from grokfast.fisher.refusals import told
from grokfast.fisher.result import FisherDiagonal
from grokfast.fisher.threads import one_thread
from grokfast.fisher.variants import Kind, Reduction, Way

_WHOLE = 32
_BLOCK_BYTES = 32 << 20  # with 64 MB, fresh pages made the wide CNN's empirical diagonal a tenth slower


@dataclass(frozen=True)
class Route:
    """How one parameter's diagonal is computed, and why that way."""

    way: Way
    reason: str


class FisherPlan:
    """A prepared Fisher diagonal; call it with inputs.

    Attributes:
        routes: Way and reason by parameter name.
        kind: Which labels.
        likelihood: Which distribution of labels.
    """

    def __init__(
        self,
        job: Job,
        routes: Mapping[str, Route],
        findings: Findings | None = None,
        fused: Fused | None = None,
    ) -> None:
        self.routes = dict(routes)
        self.kind, self.likelihood = job.kind, job.likelihood
        self._job, self._findings, self._fused = job, findings, fused

    def __str__(self) -> str:
        width = max((len(name) for name in self.routes), default=0)
        ways = max((len(route.way) for route in self.routes.values()), default=0)
        lines = [f"{name:{width}}  {route.way:{ways}}  {route.reason}" for name, route in self.routes.items()]
        return "\n".join([f"Fisher diagonal, {self.kind}, {self.likelihood}:", *lines])

    def _repr_html_(self) -> str:
        rows = [(name, route.way, route.reason) for name, route in self.routes.items()]
        return heading("Plan of a Fisher diagonal", f"{self.kind}, {self.likelihood}") + table(
            ("parameter", "way", "why"), rows
        )

    @takes_options
    @told
    def __call__(self, inputs: object, targets: Labels = None, **options: Unpack[CallOptions]) -> FisherDiagonal:
        """The diagonal for these inputs; arguments as in :func:`grokfast.fisher.fisher_diag`.

        Raises:
            InputError: As there; and if the model's parameters, modes or the shape of the inputs are no
                longer those that were planned for.
        """
        check_modes(self._job.model)
        call = Call.parse(self._job.model, options)
        stream = batches(inputs, targets, self._job.device, options["mask"])
        return self.run(self._job.leaves, stream, call, inputs)

    def run(self, leaves: Mapping[str, Tensor], stream: Iterable[Block], call: Call, inputs: object) -> FisherDiagonal:
        """The same for the batches of ``inputs``, arguments that have been checked, and the trainable parameters."""
        names = self._job.names
        if self.kind is Kind.MC and call.generator is None:
            generator = torch.Generator(self._job.device)
            generator.seed()
            call = replace(call, generator=generator)
        n = 0
        total: dict[str, Tensor] | None = None
        with nullcontext() if self._fused is not None else plain_torch(self._job.device):
            for block in shown(self._blocks(stream, call.batch_size), call.progress, inputs):
                n += block.n
                part = self._block(block, leaves, call)
                with one_thread():
                    total = part if total is None else {name: total[name].double().add_(part[name]) for name in names}
        with one_thread():
            return finish(self._job, leaves, total, n, call, self)

    def _blocks(self, stream: Iterable[Block], batch_size: int | None) -> Iterator[Block]:
        for batch in stream:
            if batch.n == 0:
                continue
            if self._fused is not None:
                on_cpu = self._job.device.type == "cpu"
                size = batch_size or (self._fused.block if on_cpu else self._fused.block_on_gpu)
            else:
                assert self._findings is not None
                size = batch_size or int(min(4096, max(8, _BLOCK_BYTES / max(1.0, self._findings.sample_bytes))))
                if self._findings.single > Single.PAIR and batch_size is None:
                    size = min(size, _WHOLE)  # every sample is pulled back through all of its block
            yield from batch.cut(size)

    def _block(self, block: Block, leaves: Mapping[str, Tensor], call: Call) -> dict[str, Tensor]:
        params, samples, generator = call.params, call.samples, call.generator
        if self._fused is not None:
            return self._fused.squares(self._job, leaves, params, block, samples, generator)
        if call.members is None or params is None:
            return self._one(None, block, samples, generator)
        start = None if generator is None else generator_state(generator)
        parts: list[dict[str, Tensor]] = []
        for index in range(call.members):
            if generator is not None and start is not None:
                # Every member meets the same draws, so none depends on its neighbours.
                set_generator_state(start, generator)
            parts.append(self._one(member(params, index), block, samples, generator))
        return {name: torch.stack([part[name] for part in parts]) for name in self._job.names}

    def _one(self, state: State, block: Block, samples: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        assert self._findings is not None
        if self._findings.probed < 2 <= block.n:
            self._findings, routes = probe(self._job, state, block)
            self.routes = {name: Route(*route) for name, route in routes.items()}
        return block_squares(self._job, self._findings, state, block, samples, generator)


def finish(
    job: Job,
    leaves: Mapping[str, Tensor],
    total: Mapping[str, Tensor] | None,
    n: int,
    call: Call,
    plan: FisherPlan | None,
) -> FisherDiagonal:
    """Sums as a result: reduced, in the dtype of the model."""
    if n == 0 and call.reduction is Reduction.MEAN:
        raise InputError("the mean over no samples is undefined; give at least one, or use reduction='sum'")
    if total is None:
        lead = () if call.members is None else (call.members,)
        total = {name: leaf.new_zeros(*lead, *leaf.shape) for name, leaf in leaves.items()}
    scale = 1 / n if call.reduction is Reduction.MEAN else 1
    # All parameters together: two launches and one wait on a GPU, not three for each.
    scaled = torch._foreach_mul(list(total.values()), scale)
    entries = {name: value.to(job.dtype) for name, value in zip(total, scaled, strict=True)}
    largest = _largest(entries)
    bad = [name for name, value in largest.items() if not math.isfinite(value)]
    if bad:
        raise InputError(
            f"the diagonal of '{bad[0]}' overflows {job.dtype}: its gradients are too large to be "
            "squared; use a "
            "float64 model, or look at the scale of its weights"
        )
    if max(largest.values()) < torch.finfo(job.dtype).tiny:
        top = max(float(value.max()) * scale if value.numel() else 0.0 for value in total.values())
        if top > 0:
            raise InputError(
                f"the model is so saturated that its whole diagonal (at most {top:.1e}) underflows "
                f"{job.dtype}; use a "
                "float64 model (model.double())"
            )
    return FisherDiagonal(
        entries,
        kind=job.kind,
        likelihood=job.likelihood,
        reduction=call.reduction,
        n=n,
        stacked=call.members is not None,
        plan=plan,
    )


def _largest(entries: Mapping[str, Tensor]) -> dict[str, float]:
    """The largest value of each tensor, NaN if there is one; 0 of none."""
    filled = {name: value for name, value in entries.items() if value.numel()}
    found = torch.stack(torch._foreach_max(list(filled.values()))).tolist() if filled else []
    return dict.fromkeys(entries, 0.0) | dict(zip(filled, found, strict=True))


def prepare(job: Job, params: Mapping[str, Tensor] | None, first: Block) -> FisherPlan:
    """Look at the model with the first samples and plan."""
    with torch.inference_mode(False):
        state = None if params is None else member(params, 0)
        fused = recognise(job, state, first)
    if fused is not None:
        return FisherPlan(job, {name: Route(fused.way, fused.reason) for name in job.names}, fused=fused)
    with plain_torch(job.device):
        findings, found = probe(job, state, first)
    return FisherPlan(job, {name: Route(*route) for name, route in found.items()}, findings=findings)


def first_samples(stream: Iterator[Block]) -> tuple[Block | None, Iterator[Block]]:
    """The first batch that holds samples, and a stream from which nothing is missing."""
    for block in stream:
        if block.n:
            return block, itertools.chain((block,), stream)
    return None, iter(())


@takes_options
@told
def fisher_plan(model: nn.Module, inputs: object, **options: Unpack[PlanOptions]) -> FisherPlan:
    """How :func:`grokfast.fisher.fisher_diag` would go about this model, parameter by parameter; print it, call it.

    Args:
        model: The network.
        inputs: As for :func:`fisher_diag`; only the first batch is looked at (of an iterator it is consumed).
        kind: Which labels.
        likelihood: Which distribution.
        params: A stack, if the model's own parameters are not what will be used.
        targets: The key of the labels in batches that are dictionaries.
        mask: The key of the mask in such batches.
        logits: As for :func:`fisher_diag`.
        class_axis: As there.
        ignore_index: As there.

    Returns:
        The plan. ``plan(inputs)`` computes the diagonal without looking at the model again.

    Raises:
        InputError: As :func:`fisher_diag`; and if there are no samples to look at.
    """
    job, _ = asked_job(model, options)
    params = options["params"]
    if params is not None:
        check_stack(model, params)
    first, _ = first_samples(batches(inputs, options["targets"], job.device, options["mask"]))
    if first is None:
        raise InputError("inputs must hold at least one sample to plan with")
    return prepare(job, params, first)
