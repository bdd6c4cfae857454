"""A plan: how every parameter's diagonal is computed and why; made once, called any number of times."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grokfast._checks import check_at_least, parse_choice
from grokfast._html import heading, table
from grokfast.errors import InputError
from grokfast.fisher.batches import Block, Labels, batches
from grokfast.fisher.engine import block_squares
from grokfast.fisher.findings import Findings, Single
from grokfast.fisher.fused import Fused, recognise
from grokfast.fisher.guards import check_modes, plain_torch
from grokfast.fisher.job import Job, State, check_stack, make_job, member
from grokfast.fisher.likelihoods import IGNORE
from grokfast.fisher.outputs import Pick
from grokfast.fisher.probe import probe
from grokfast.fisher.progress import shown
from grokfast.fisher.refusals import told
from grokfast.fisher.result import FisherDiagonal
from grokfast.fisher.threads import one_thread
from grokfast.fisher.variants import Kind, Likelihood, Reduction, Way

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

    @told
    def __call__(
        self,
        inputs: object,
        targets: Labels = None,
        *,
        mask: Labels = None,
        params: Mapping[str, Tensor] | None = None,
        reduction: str | Reduction = Reduction.MEAN,
        batch_size: int | None = None,
        samples: int = 1,
        generator: torch.Generator | None = None,
        progress: bool = False,
    ) -> FisherDiagonal:
        """The diagonal for these inputs; arguments as in :func:`grokfast.fisher.fisher_diag`.

        Raises:
            InputError: As there; and if the model's parameters, modes or the shape of the inputs are no
                longer those that were planned for.
        """
        reduction = parse_choice("reduction", reduction, Reduction)
        check_run(batch_size, samples)
        check_modes(self._job.model)
        members = None if params is None else check_stack(self._job.model, params)
        leaves, stream = self._job.leaves, batches(inputs, targets, self._job.device, mask)
        return self.run(leaves, stream, inputs, params, members, reduction, batch_size, samples, generator, progress)

    def run(
        self, leaves: Mapping[str, Tensor], stream: Iterable[Block], inputs: object,
        params: Mapping[str, Tensor] | None, members: int | None, reduction: Reduction, batch_size: int | None,
        samples: int, generator: torch.Generator | None, progress: bool,
    ) -> FisherDiagonal:  # fmt: skip
        """The same for the batches of ``inputs``, arguments that have been checked, and the trainable parameters."""
        names = self._job.names
        if self.kind is Kind.MC and generator is None:
            generator = torch.Generator(self._job.device)
            generator.seed()
        n = 0
        total: dict[str, Tensor] | None = None
        with nullcontext() if self._fused is not None else plain_torch(self._job.device):
            for block in shown(self._blocks(stream, batch_size), progress, inputs):
                n += block.n
                part = self._block(block, leaves, params, members, samples, generator)
                with one_thread():
                    total = part if total is None else {name: total[name].double().add_(part[name]) for name in names}
        with one_thread():
            return finish(self._job, leaves, total, n, reduction, members, self)

    def _blocks(self, stream: Iterable[Block], batch_size: int | None) -> Iterator[Block]:
        for batch in stream:
            if batch.n == 0:
                continue
            if self._fused is not None:
                size = batch_size or self._fused.block
            else:
                assert self._findings is not None
                size = batch_size or int(min(4096, max(8, _BLOCK_BYTES / max(1.0, self._findings.sample_bytes))))
                if self._findings.single > Single.PAIR and batch_size is None:
                    size = min(size, _WHOLE)  # every sample is pulled back through all of its block
            yield from batch.cut(size)

    def _block(
        self, block: Block, leaves: Mapping[str, Tensor], params: Mapping[str, Tensor] | None, members: int |
        None,
        samples: int, generator: torch.Generator | None,
    ) -> dict[str, Tensor]:  # fmt: skip
        if self._fused is not None:
            return self._fused.squares(self._job, leaves, params, block, samples, generator)
        if members is None or params is None:
            return self._one(None, block, samples, generator)
        start = None if generator is None else generator.get_state()
        parts: list[dict[str, Tensor]] = []
        for index in range(members):
            if generator is not None and start is not None:
                generator.set_state(start)  # every member meets the same draws, so none depends on its neighbours
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
    reduction: Reduction,
    members: int | None,
    plan: FisherPlan | None,
) -> FisherDiagonal:
    """Sums as a result: reduced, in the dtype of the model."""
    if n == 0 and reduction is Reduction.MEAN:
        raise InputError("the mean over no samples is undefined; give at least one, or use reduction='sum'")
    if total is None:
        lead = () if members is None else (members,)
        total = {name: leaf.new_zeros(*lead, *leaf.shape) for name, leaf in leaves.items()}
    scale = 1 / n if reduction is Reduction.MEAN else 1
    entries = {name: (value * scale).to(job.dtype) for name, value in total.items()}
    largest = {name: float(value.max()) if value.numel() else 0.0 for name, value in entries.items()}
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
        reduction=reduction,
        n=n,
        stacked=members is not None,
        plan=plan,
    )


def check_run(batch_size: int | None, samples: int) -> None:
    """Raise unless block size and number of drawn labels are positive integers."""
    if batch_size is not None:
        check_at_least("batch_size", batch_size, 1)
    check_at_least("samples", samples, 1)


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


@told
def fisher_plan(
    model: nn.Module,
    inputs: object,
    *,
    kind: str | Kind = Kind.EXACT,
    likelihood: str | Likelihood = Likelihood.CATEGORICAL,
    params: Mapping[str, Tensor] | None = None,
    targets: str | None = None,
    mask: str | None = None,
    logits: Pick = None,
    class_axis: int | None = None,
    ignore_index: int = IGNORE,
) -> FisherPlan:
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
    job, _ = make_job(model, kind, likelihood, logits, class_axis, ignore_index)
    if params is not None:
        check_stack(model, params)
    first, _ = first_samples(batches(inputs, targets, job.device, mask))
    if first is None:
        raise InputError("inputs must hold at least one sample to plan with")
    return prepare(job, params, first)
