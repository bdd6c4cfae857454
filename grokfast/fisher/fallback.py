"""Per-sample gradients of any model: through ``torch.func`` in chunks, one sample at a time, or from the whole block.

Running one sample alone is not what the model does in its batch if it sorts, packs, pads or squeezes. So every way
must give the block's own outputs, sample by sample, and its gradients, in a random combination, must add up to
autograd's gradient of the block; otherwise the next way is taken. The last one differentiates the outputs
of each sample in the pass over the whole block, which is the definition.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, vjp, vmap

from grokfast.errors import InputError
from grokfast.fisher.agreement import agree
from grokfast.fisher.batches import Inputs
from grokfast.fisher.columns import Columns
from grokfast.fisher.findings import Findings, Single
from grokfast.fisher.gradients import gradients
from grokfast.fisher.job import Job, State, World
from grokfast.fisher.tracing import Plain

_CHUNK = 1 << 22  # elements of per-sample gradients held at once
_SIDES = 1 << 22  # elements of columns held at once


class _FailedError(Exception):
    """This way does not give what the block gives."""


class _Sums:
    """Squares over samples and columns, and beside them the same gradients in a random combination."""

    def __init__(self, leaves: dict[str, Tensor], weights: Tensor, sample_bytes: float) -> None:
        self.sample_bytes = sample_bytes
        self.squares = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in leaves.items()}
        self.mixed = {name: torch.zeros_like(p) for name, p in leaves.items()}
        self.weights = weights  # [K, n]

    def add(self, name: str, grads: Tensor, weights: Tensor) -> None:
        """Gradients ``[m, *shape]`` with their weights ``[m]``."""
        flat = grads.reshape(len(weights), -1)
        self.mixed[name] += (weights.to(flat.dtype) @ flat).view_as(self.mixed[name])
        self.squares[name] += flat.square_().sum(0).view_as(self.squares[name])


class _Asked(NamedTuple):
    """Of which gradients the squares are wanted.

    Attributes:
        job: The model and what is asked of it.
        state: The parameters it has instead of its own.
        double: Whether float32 is float64 here.
        names: Parameters.
        inputs: The block's.
        outputs: What the model gives for them.
        columns: The cotangents.
    """

    job: Job
    state: State
    double: bool
    names: Sequence[str]
    inputs: Inputs
    outputs: Tensor
    columns: Columns

    def world(self) -> World:
        """A new copy of the model."""
        return self.job.world(self.state, self.double)


def per_sample_squares(
    job: Job, findings: Findings, state: State, double: bool, names: Sequence[str], inputs: Inputs, outputs: Tensor,
    columns: Columns,
) -> dict[str, Tensor]:  # fmt: skip
    """The sum over samples and columns of squared gradients of some parameters, in bounded memory.

    Raises:
        InputError: If the outputs of a sample depend on the others.
    """
    generator = torch.Generator().manual_seed(3)
    weights = 0.5 + torch.rand(len(columns), inputs.n, generator=generator)
    weights *= torch.randint(0, 2, weights.shape, generator=generator) * 2 - 1
    weights = weights.to(outputs.device, outputs.dtype)
    world = job.world(state, double)
    with Plain():
        again = job.run(world.model, inputs)
    side = torch.zeros_like(outputs)
    for k, column in enumerate(columns):
        side += column * weights[k].view(-1, *[1] * (side.dim() - 1))
    whole = dict(zip(names, gradients(again, [world.leaves[name] for name in names], side), strict=True))
    del world, again
    of = _Asked(job, state, double, names, inputs, outputs, columns)
    ways = {Single.VMAP: _by_vmap, Single.ALONE: _alone, Single.PAIR: _paired, Single.WHOLE: _from_the_whole}
    for way, run in ways.items():
        if way < findings.single:
            continue
        leaves = {name: job.leaves[name] for name in names}
        zeros = {name: p.detach().double() if double else p.detach() for name, p in leaves.items()}
        sums = _Sums(zeros, weights, findings.sample_bytes)
        try:
            run(of, sums)
        except _FailedError:
            continue
        except InputError:
            if way >= Single.PAIR:
                raise
            continue
        except Exception:  # whatever a model may raise alone or under vmap; the last way raises it again
            if way is Single.WHOLE:
                raise
            continue
        if way is Single.WHOLE or all(_adds_up(sums, name, whole[name]) for name in names):
            return sums.squares
    raise AssertionError("the last way returns or raises")


def _adds_up(sums: _Sums, name: str, whole: Tensor) -> bool:
    if not whole.numel():
        return True
    size = float(sums.squares[name].max()) ** 0.5
    bound = 1e-3 if whole.dtype == torch.float32 else 1e-7
    return bool(float((sums.mixed[name] - whole).abs().max()) <= bound * max(size, 1e-30))


def _parts(columns: Columns, size: int) -> Iterator[tuple[slice, Tensor]]:
    """Columns ``[k, n, ...]``, some at a time."""
    step = max(1, _SIDES // max(1, size))
    for start in range(0, len(columns), step):
        stop = min(start + step, len(columns))
        yield slice(start, stop), torch.stack([columns.column(k) for k in range(start, stop)])


def _by_vmap(of: _Asked, sums: _Sums) -> None:
    # A pair of sample and column holds its gradients, and about what a pass over the sample holds.
    width = sum(sums.mixed[name].numel() for name in of.names)
    width += int(sums.sample_bytes / of.outputs.element_size()) + of.outputs[0].numel()
    held = max(1, _CHUNK // max(1, width))
    for some, sides in _parts(of.columns, of.outputs.numel()):
        per = min(len(sides), held)
        step = max(1, held // per)
        for start in range(0, of.inputs.n, step):
            rows = slice(start, start + step)
            for first in range(0, len(sides), per):
                part = sides[first : first + per, rows]
                values, grads = per_sample_vmap(of.job, of.world(), of.names, of.inputs.rows(rows), part)
                if not agree(values, of.outputs[rows]):
                    raise _FailedError
                weights = sums.weights[some][first : first + per, rows].T.reshape(-1)
                for name in of.names:
                    sums.add(name, grads.pop(name), weights)


_warn_of_loops: Callable[[bool], None] = getattr(torch._C._functorch, "_set_vmap_fallback_warning_enabled")  # noqa: B009
_quiet = threading.Lock()
_running = 0


def _without_warnings(run: Callable[[], tuple[Tensor, dict[str, Tensor]]]) -> tuple[Tensor, dict[str, Tensor]]:
    """Without the warning that an operation has no batching rule and runs in a loop: slow, not wrong."""
    global _running
    with _quiet:
        _running += 1
        _warn_of_loops(False)
    try:
        return run()
    finally:
        with _quiet:
            _running -= 1
            if not _running:
                _warn_of_loops(True)


def per_sample_vmap(
    job: Job, world: World, names: Sequence[str], inputs: Inputs, columns: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Outputs ``[n, ...]``, and gradients ``[n, K, *shape]`` of ``f_n . columns[k, n]``, by reverse mode."""
    mine = {name: world.leaves[name].detach() for name in names}

    def one(sample: tuple[Tensor, ...], sides: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        def run(leaves: dict[str, Tensor]) -> Tensor:
            alone = inputs.of(t.unsqueeze(0) for t in sample)
            pairs = list(zip(alone.names, alone.tensors, strict=True))
            args = tuple(t for name, t in pairs if not name)
            found = functional_call(world.model, leaves, args, {name: t for name, t in pairs if name})
            return job.outputs.of(found, 1)[0]

        value, pull = vjp(run, mine)[:2]
        return value, vmap(lambda side: pull(side)[0])(sides)

    # Without gradients around it, so that no graph reaches the parameters that are held fixed.
    with torch.no_grad(), Plain(simple=True):
        return _without_warnings(lambda: vmap(one)(inputs.tensors, columns.movedim(0, 1)))


def _alone(of: _Asked, sums: _Sums) -> None:
    _one_by_one(of, sums, lambda n: [n])


def _paired(of: _Asked, sums: _Sums) -> None:
    if of.inputs.n < 2:
        raise _FailedError
    _one_by_one(of, sums, lambda n: [n, (n + 1) % of.inputs.n])


def _one_by_one(of: _Asked, sums: _Sums, rows: Callable[[int], list[int]]) -> None:
    """Each sample first in a small batch of its own, on a fresh copy of the model."""
    for some, sides in _parts(of.columns, of.outputs.numel()):
        for n in range(of.inputs.n):
            index = rows(n)
            world = of.world()
            with Plain():
                out = of.job.run(world.model, of.inputs.rows(index))
                if not agree(out.detach()[:1], of.outputs[n : n + 1]):
                    if len(index) > 1:
                        raise InputError(
                            "the outputs of a sample change when others are left out of its batch, so the samples are "
                            "coupled; per-sample gradients then have no meaning"
                        )
                    raise _FailedError
                side = torch.zeros_like(out)
                for k in range(len(sides)):
                    side[0] = sides[k, n]
                    _take(sums, of.names, world, out, side, sums.weights[some][k, n])


def _from_the_whole(of: _Asked, sums: _Sums) -> None:
    world = of.world()
    with Plain():
        out = of.job.run(world.model, of.inputs)
        for k, column in enumerate(of.columns):
            for n in range(of.inputs.n):
                side = torch.zeros_like(out)
                side[n] = column[n]
                _take(sums, of.names, world, out, side, sums.weights[k, n])


def _take(sums: _Sums, names: Sequence[str], world: World, out: Tensor, side: Tensor, weight: Tensor) -> None:
    grads = gradients(out, [world.leaves[name] for name in names], side)
    for name, grad in zip(names, grads, strict=True):
        sums.add(name, grad.unsqueeze(0).clone(), weight.view(1))
