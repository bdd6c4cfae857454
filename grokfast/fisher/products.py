"""Products with the whole Fisher matrix, not only its diagonal, by forward-mode derivatives."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, vmap

from grokfast._checks import parse_choice
from grokfast.errors import InputError
from grokfast.fisher.batches import Block, Inputs, Labels, batches
from grokfast.fisher.engine import check_finite
from grokfast.fisher.fallback import gradients
from grokfast.fisher.guards import plain_torch
from grokfast.fisher.job import Job, World, check_stack, make_job, member
from grokfast.fisher.likelihoods import SampleAxisError
from grokfast.fisher.outputs import Pick
from grokfast.fisher.plan import check_run
from grokfast.fisher.randomness import States, deterministic
from grokfast.fisher.samples import random_column
from grokfast.fisher.tracing import Plain
from grokfast.fisher.variants import Kind, Likelihood, Reduction

_BLOCK = 1024

Direction = Mapping[str, Tensor] | Tensor


def fisher_inner(
    model: nn.Module,
    inputs: object,
    u: Direction,
    v: Direction,
    *,
    likelihood: str | Likelihood = Likelihood.CATEGORICAL,
    params: Mapping[str, Tensor] | None = None,
    reduction: str | Reduction = Reduction.MEAN,
    batch_size: int | None = None,
    mask: Labels = None,
    logits: Pick = None,
    class_axis: int | None = None,
) -> Tensor:
    r"""The inner product ``u^T F v`` in the exact Fisher metric, without the diagonal assumption.

    .. math::

        u^\top F v = \frac1N \sum_n \operatorname{Cov}_{c \sim p(x_n)} (\partial_u f_c, \partial_v f_c)

    for the categorical likelihood, :math:`\sum_c \sigma_c (1 - \sigma_c) \, \partial_u f_c \, \partial_v f_c` for the
    bernoulli and :math:`\sum_c \partial_u f_c \, \partial_v f_c` for the gaussian one, where
    :math:`\partial_u f` is the derivative of the outputs along ``u`` (forward mode: about the cost of one
    forward pass for each of ``u`` and ``v``, and one in all if they are the same object). The covariance is
    formed around the most probable class, so it keeps its accuracy for saturated models.

    Args:
        model: Any module, as for :func:`grokfast.fisher.fisher_diag`.
        inputs: As there.
        u: Direction in parameter space: a tensor by parameter name for every trainable parameter, or one
            vector ``[P]`` in their order (``[E, ...]`` and ``[E, P]`` for a stack).
        v: Likewise.
        likelihood: Which distribution of labels.
        params: A stack of parameters with a leading axis E.
        reduction: Mean or sum over samples.
        batch_size: Samples handled at once.
        mask: Which positions count, as for :func:`grokfast.fisher.fisher_diag`.
        logits: Where the outputs are in what the model returns, as there.
        class_axis: The axis of the classes, as there.

    Returns:
        A scalar, or ``[E]`` for a stack, in squared nats if ``u`` and ``v`` are steps of the parameters.

    Raises:
        InputError: As :func:`grokfast.fisher.fisher_diag`, and if ``u`` or ``v`` does not fit the parameters.

    Source:
        arXiv 2502.01739, eq. 8, 9 and 14, with the full metric.
    """
    directions = [("u", u)] if v is u else [("u", u), ("v", v)]
    work = _Work(model, inputs, likelihood, params, reduction, batch_size, mask, logits, class_axis)
    return _gram(work, directions)[..., 0, -1]


def fisher_gram(
    model: nn.Module,
    inputs: object,
    directions: Sequence[Direction],
    *,
    likelihood: str | Likelihood = Likelihood.CATEGORICAL,
    params: Mapping[str, Tensor] | None = None,
    reduction: str | Reduction = Reduction.MEAN,
    batch_size: int | None = None,
    mask: Labels = None,
    logits: Pick = None,
    class_axis: int | None = None,
) -> Tensor:
    r"""All inner products :math:`u_i^\top F u_j` of several directions in the exact Fisher metric.

    As :func:`fisher_inner` for every pair, but each direction is pushed through the network once and all of them
    together: the cost is about that of ``1 + k`` forward passes.

    Args:
        model: Any module, as for :func:`grokfast.fisher.fisher_diag`.
        inputs: As there.
        directions: k directions, each as in :func:`fisher_inner`.
        likelihood: Which distribution of labels.
        params: A stack of parameters with a leading axis E.
        reduction: Mean or sum over samples.
        batch_size: Samples handled at once.
        mask: Which positions count, as for :func:`grokfast.fisher.fisher_diag`.
        logits: Where the outputs are in what the model returns, as there.
        class_axis: The axis of the classes, as there.

    Returns:
        ``[k, k]``, or ``[E, k, k]`` for a stack, symmetric.

    Raises:
        InputError: As :func:`fisher_inner`, and if there is no direction.

    Source:
        arXiv 2502.01739, eq. 8, 9 and 14, with the full metric.
    """
    if not directions:
        raise InputError("directions must hold at least one direction, got none")
    named = [(f"directions[{k}]", direction) for k, direction in enumerate(directions)]
    work = _Work(model, inputs, likelihood, params, reduction, batch_size, mask, logits, class_axis)
    return _gram(work, named)


def _gram(work: _Work, directions: Sequence[tuple[str, Direction]]) -> Tensor:
    by_direction = [work.directions(label, direction) for label, direction in directions]
    size = len(by_direction)
    total = torch.zeros(work.count, size, size, dtype=torch.float64, device=work.job.device)
    for block in work.blocks():
        for e in range(work.count):
            f, tangents = work.push(e, [members[e] for members in by_direction], block)
            pushed = work.kept(_metric(f.expand_as(tangents), tangents, work.job.likelihood), block)
            total[e] += tangents.flatten(1).double() @ pushed.flatten(1).double().T
    total = (0.5 * (total + total.mT) * work.scale()).to(work.job.dtype)
    return total if work.params is not None else total[0]


def fisher_vector_product(
    model: nn.Module,
    inputs: object,
    v: Direction,
    *,
    likelihood: str | Likelihood = Likelihood.CATEGORICAL,
    params: Mapping[str, Tensor] | None = None,
    reduction: str | Reduction = Reduction.MEAN,
    batch_size: int | None = None,
    mask: Labels = None,
    logits: Pick = None,
    class_axis: int | None = None,
) -> dict[str, Tensor]:
    r"""Product of the exact Fisher matrix with a vector, :math:`\frac1N \sum_n J_n^\top M_n J_n v`.

    ``J`` is the Jacobian of the outputs, ``M`` the Fisher matrix of the outputs: ``diag(p) - p p^T``,
    ``diag(p (1 - p))`` or the identity. One forward-mode and one reverse-mode pass; nothing of size P x P.

    Args:
        model: Any module, as for :func:`grokfast.fisher.fisher_diag`.
        inputs: As there.
        v: A direction, as in :func:`fisher_inner`.
        likelihood: Which distribution of labels.
        params: A stack of parameters with a leading axis E.
        reduction: Mean or sum over samples.
        batch_size: Samples handled at once.
        mask: Which positions count, as for :func:`grokfast.fisher.fisher_diag`.
        logits: Where the outputs are in what the model returns, as there.
        class_axis: The axis of the classes, as there.

    Returns:
        By parameter name, shaped like the parameters (``[E, ...]`` for a stack).

    Raises:
        InputError: As :func:`fisher_inner`.

    Source:
        arXiv 2502.01739, eq. 14; Pearlmutter, Neural Computation 6, 147 (1994) and Schraudolph, ibid. 14,
        1723 (2002).
    """
    work = _Work(model, inputs, likelihood, params, reduction, batch_size, mask, logits, class_axis)
    right = work.directions("v", v)
    totals = [{n: torch.zeros_like(p, dtype=torch.float64) for n, p in work.leaves.items()} for _ in range(work.count)]
    for block in work.blocks():
        for e in range(work.count):
            f, (dv,) = work.push(e, [right[e]], block)
            cotangent = work.kept(_metric(f, dv, work.job.likelihood), block)
            for name, part in work.pull(e, cotangent, block).items():
                totals[e][name] += part
    scale = work.scale()
    found = [{name: (value * scale).to(work.job.dtype) for name, value in total.items()} for total in totals]
    return found[0] if params is None else {name: torch.stack([one[name] for one in found]) for name in work.leaves}


def _metric(f: Tensor, t: Tensor, likelihood: Likelihood) -> Tensor:
    """Fisher matrix of the outputs times a tangent."""
    if likelihood is Likelihood.GAUSSIAN:
        return t
    if likelihood is Likelihood.BERNOULLI:
        return torch.sigmoid(f) * torch.sigmoid(-f) * t
    p = torch.softmax(f, -1)
    mode = f.argmax(-1, keepdim=True)
    shifted = t - t.gather(-1, mode)
    others = p.scatter(-1, mode, 0)
    # p_c (t_c - E t) for every other class; the rows sum to zero, which gives the most probable one.
    rest = others * (shifted - (others * shifted).sum(-1, keepdim=True))
    return rest.scatter(-1, mode, -rest.sum(-1, keepdim=True))


# torch.func counts the levels of forward mode for the whole process.
_FORWARD = threading.RLock()
_warned: set[str] = set()


class _Work:
    """What the products share: checked arguments, blocks, and derivatives of one member."""

    def __init__(
        self, model: nn.Module, inputs: object, likelihood: str | Likelihood, params: Mapping[str, Tensor] | None,
        reduction: str | Reduction, batch_size: int | None, mask: Labels, logits: Pick, class_axis: int | None,
    ) -> None:  # fmt: skip
        self.job, self.leaves = make_job(model, Kind.EXACT, likelihood, logits, class_axis)
        self.params = params
        self.count = 1 if params is None else check_stack(model, params)
        self.reduction = parse_choice("reduction", reduction, Reduction)
        check_run(batch_size, 1)
        self._inputs, self._size, self._mask = inputs, batch_size or _BLOCK, mask
        self._n = 0
        self._backward_only = self._checked = False

    def directions(self, label: str, given: Direction) -> list[dict[str, Tensor]]:
        """One direction per member, by name."""
        lead = () if self.params is None else (self.count,)
        sizes = [leaf.numel() for leaf in self.leaves.values()]
        if isinstance(given, Tensor):
            expected = (*lead, sum(sizes))
            if tuple(given.shape) != expected:
                raise InputError(f"{label} must have shape {list(expected)}, got {list(given.shape)}")
            parts = torch.split(given, sizes, -1)
            given = {
                name: part.reshape(*lead, *leaf.shape)
                for (name, leaf), part in zip(self.leaves.items(), parts, strict=True)
            }
        if set(given) != set(self.leaves):
            raise InputError(
                f"{label} must have one tensor per trainable parameter; these differ: "
                f"{sorted(set(given) ^ set(self.leaves))}"
            )
        for name, leaf in self.leaves.items():
            if given[name].shape != (*lead, *leaf.shape):
                expected = (*lead, *leaf.shape)
                raise InputError(f"{label}['{name}'] must have shape {list(expected)}, got {list(given[name].shape)}")
        clean = {n: given[n].detach().to(self.job.device, self.job.dtype) for n in self.leaves}
        if not all(bool(torch.isfinite(t).all()) for t in clean.values()):
            raise InputError(f"{label} must be finite")
        return [clean] if self.params is None else [{n: t[e] for n, t in clean.items()} for e in range(self.count)]

    def blocks(self) -> Iterator[Block]:
        """Blocks of samples, counted."""
        for batch in batches(self._inputs, None, self.job.device, self._mask):
            for block in batch.cut(self._size) if batch.n else ():
                self._n += block.n
                yield block

    def scale(self) -> float:
        """What the sums are multiplied by."""
        if self.reduction is Reduction.SUM:
            return 1.0
        if self._n == 0:
            raise InputError("the mean over no samples is undefined; give at least one, or use reduction='sum'")
        return 1 / self._n

    def kept(self, tangent: Tensor, block: Block) -> Tensor:
        """A tangent of the outputs without the positions that do not count."""
        if block.mask is None:
            return tangent
        categorical = self.job.likelihood is Likelihood.CATEGORICAL
        mask = block.mask.to(tangent.device).bool()
        mask = mask.unsqueeze(-1) if categorical else mask
        if mask.dim() > tangent.dim() or mask.shape[:-1] != tangent.shape[-mask.dim() :][:-1]:
            raise InputError(
                f"mask must be shaped like labels of the outputs {list(tangent.shape)}, got {list(block.mask.shape)}"
            )
        return tangent * mask

    def _world(self, e: int) -> World:
        return self.job.world(None if self.params is None else member(self.params, e))

    def push(self, e: int, directions: Sequence[dict[str, Tensor]], block: Block) -> tuple[Tensor, Tensor]:
        """Outputs, and their derivatives along several directions, stacked."""
        before = States()
        with plain_torch(self.job.device):
            try:
                found = self._pushed(e, directions, block)
            except InputError:
                if not before.same(States()):  # a model that draws fits nothing: that is the reason to name
                    deterministic(lambda: self.job.run(self._world(e).model, block.inputs), before)
                raise
            if not before.same(States()):
                found = deterministic(lambda: self._pushed(e, directions, block), before)
        return found

    def _pushed(self, e: int, directions: Sequence[dict[str, Tensor]], block: Block) -> tuple[Tensor, Tensor]:
        found = None
        if not self._backward_only:
            with _FORWARD:
                found = _by_forward_mode(self.job, self._world(e), directions, block.inputs)
            if found is not None and not self._checked and not self._is_adjoint(e, *found, directions, block):
                found = None
            self._backward_only = found is None
        if found is None:
            found = _by_two_backward_passes(self.job, self._world(e), directions, block.inputs)
            if not self._is_adjoint(e, *found, directions, block):
                again = _by_two_backward_passes(self.job, self._world(e), directions, block.inputs)
                if not all(map(torch.equal, found, again)):
                    raise InputError("the model gives different outputs for the same inputs: it draws random numbers")
                raise InputError(
                    "the derivatives of the outputs along a direction do not fit the model's gradients: an operation "
                    "of its own has a backward pass that cannot be differentiated"
                )
        self._checked = True
        world = self._world(e)
        check_finite(self.job, world, block.inputs, found[0])
        return found

    def _is_adjoint(
        self, e: int, f: Tensor, tangents: Tensor, directions: Sequence[dict[str, Tensor]], block: Block
    ) -> bool:
        """Whether ``<side, J d> = <J^T side, d>`` for a random side: the derivatives belong to each other."""
        if not bool(torch.isfinite(f).all()):
            return True  # reported, or a class that cannot occur
        side = random_column(f, 4)
        back = self.pull(e, side, block)
        bound = 1e-3 if f.dtype == torch.float32 else 1e-7
        for tangent, direction in zip(tangents, directions, strict=True):
            pairs = [(part.double() * direction[name].double()) for name, part in back.items()]
            there, here = (side.double() * tangent.double()), sum(float(pair.sum()) for pair in pairs)
            size = float(there.square().sum().sqrt()) + float(sum(float(p.square().sum()) for p in pairs)) ** 0.5
            if abs(float(there.sum()) - here) > bound * size * 10 + 1e-300:
                return False
        return True

    def pull(self, e: int, cotangent: Tensor, block: Block) -> dict[str, Tensor]:
        """The cotangent of the outputs as a gradient."""
        world = self._world(e)
        with plain_torch(self.job.device), Plain():
            out = _run(self.job, world.model, block.inputs)
            found = gradients(out, list(world.leaves.values()), cotangent.to(out.dtype))
        return dict(zip(world.leaves, found, strict=True))


def _run(job: Job, model: nn.Module, inputs: Inputs) -> Tensor:
    """The outputs; those of a single sample from two, if the model squeezes."""
    try:
        return job.run(model, inputs)
    except SampleAxisError:
        if inputs.n != 1:
            raise
        return job.run(model, inputs.rows([0, 0]))[:1]


class _Called(nn.Module):
    """A module whose forward gives the checked outputs, to be called with parameters from outside."""

    def __init__(self, job: Job, model: nn.Module) -> None:
        super().__init__()
        self.job, self.inner = job, model

    def forward(self, inputs: Inputs) -> Tensor:
        """The logits."""
        return _run(self.job, self.inner, inputs)


def _by_forward_mode(
    job: Job, world: World, directions: Sequence[dict[str, Tensor]], inputs: Inputs
) -> tuple[Tensor, Tensor] | None:
    """Outputs and derivatives, or None for a model with an operation that has no forward mode."""
    called = _Called(job, world.model)
    primals = {f"inner.{name}": leaf.detach() for name, leaf in world.leaves.items()}

    def outputs(leaves: dict[str, Tensor]) -> Tensor:
        return functional_call(called, leaves, (inputs,))  # type: ignore[no-any-return]

    def one(direction: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return jvp(outputs, (primals,), (direction,))[:2]

    named = [{f"inner.{name}": t for name, t in direction.items()} for direction in directions]
    with torch.no_grad(), Plain(simple=True):
        if not _warned:
            with warnings.catch_warnings():  # torch's own, from its first forward-mode call
                warnings.simplefilter("ignore", DeprecationWarning)
                jvp(torch.sin, (torch.zeros(1),), (torch.ones(1),))
            _warned.add("")
        if len(named) > 1:
            together = {name: torch.stack([d[name] for d in named]) for name in named[0]}
            # What vmap cannot follow (values that decide what is run) goes one direction after the other.
            with suppress(RuntimeError):
                return vmap(one, out_dims=(None, 0))(together)  # type: ignore[arg-type]
        try:
            parts = [one(direction) for direction in named]
        except InputError:
            raise
        except Exception:  # whatever an operation says that has no forward mode; the other way raises it again
            return None
    return parts[0][0], torch.stack([tangent for _, tangent in parts])


def _by_two_backward_passes(
    job: Job, world: World, directions: Sequence[dict[str, Tensor]], inputs: Inputs
) -> tuple[Tensor, Tensor]:
    """The same by reverse mode: ``J^T v`` is linear in v, and its gradient along a direction d is ``J d``."""
    leaves = list(world.leaves.values())
    with Plain(simple=True):
        out = _run(job, world.model, inputs)
        v = torch.zeros_like(out, requires_grad=True)
        try:
            back = torch.autograd.grad(out, leaves, v, create_graph=True, allow_unused=True)
            used = [(g, name) for g, name in zip(back, world.leaves, strict=True) if g is not None and g.requires_grad]
            tangents = []
            for direction in directions:
                if not used:
                    tangents.append(torch.zeros_like(out))
                    continue
                sides = [direction[name] for _, name in used]
                (tangent,) = torch.autograd.grad([g for g, _ in used], [v], sides, retain_graph=True, allow_unused=True)
                tangents.append(torch.zeros_like(out) if tangent is None else tangent)
        except RuntimeError as error:
            raise InputError(
                "the model has an operation that can be differentiated neither forward nor twice backward, which the "
                f"full metric needs: {str(error).splitlines()[0]}"
            ) from error
    return out.detach(), torch.stack(tangents).detach()
