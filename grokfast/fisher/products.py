"""Products with the whole Fisher matrix, not only its diagonal, by forward-mode derivatives."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, vjp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from grokfast._checks import parse_choice
from grokfast.errors import InputError
from grokfast.fisher.batches import Block, batches
from grokfast.fisher.guards import RandomWatch, raise_non_finite, untouched
from grokfast.fisher.job import check_stack, make_job, member
from grokfast.fisher.likelihoods import check_outputs
from grokfast.fisher.plan import check_run
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

    Returns:
        A scalar, or ``[E]`` for a stack, in squared nats if ``u`` and ``v`` are steps of the parameters.

    Raises:
        InputError: As :func:`grokfast.fisher.fisher_diag`, and if ``u`` or ``v`` does not fit the parameters.

    Source:
        arXiv 2502.01739, eq. 8, 9 and 14, with the full metric.
    """
    directions = [("u", u)] if v is u else [("u", u), ("v", v)]
    return _gram(model, inputs, directions, likelihood, params, reduction, batch_size)[..., 0, -1]


def fisher_gram(
    model: nn.Module,
    inputs: object,
    directions: Sequence[Direction],
    *,
    likelihood: str | Likelihood = Likelihood.CATEGORICAL,
    params: Mapping[str, Tensor] | None = None,
    reduction: str | Reduction = Reduction.MEAN,
    batch_size: int | None = None,
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
    return _gram(model, inputs, named, likelihood, params, reduction, batch_size)


def _gram(
    model: nn.Module, inputs: object, directions: Sequence[tuple[str, Direction]], likelihood: str | Likelihood,
    params: Mapping[str, Tensor] | None, reduction: str | Reduction, batch_size: int | None,
) -> Tensor:  # fmt: skip
    work = _Work(model, inputs, likelihood, params, reduction, batch_size)
    by_direction = [work.directions(label, direction) for label, direction in directions]
    size = len(by_direction)
    total = torch.zeros(work.count, size, size, dtype=torch.float64, device=work.job.device)
    for block in work.blocks():
        for e in range(work.count):
            f, tangents = work.push_all(e, [members[e] for members in by_direction], block)
            flat = tangents.flatten(1).double()
            total[e] += flat @ _metric(f.expand_as(tangents), tangents, work.job.likelihood).flatten(1).double().T
    total = (0.5 * (total + total.mT) * work.scale()).to(work.job.dtype)
    return total if params is not None else total[0]


def fisher_vector_product(
    model: nn.Module,
    inputs: object,
    v: Direction,
    *,
    likelihood: str | Likelihood = Likelihood.CATEGORICAL,
    params: Mapping[str, Tensor] | None = None,
    reduction: str | Reduction = Reduction.MEAN,
    batch_size: int | None = None,
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

    Returns:
        By parameter name, shaped like the parameters (``[E, ...]`` for a stack).

    Raises:
        InputError: As :func:`fisher_inner`.

    Source:
        arXiv 2502.01739, eq. 14; Pearlmutter, Neural Computation 6, 147 (1994) and Schraudolph, ibid. 14,
        1723 (2002).
    """
    work = _Work(model, inputs, likelihood, params, reduction, batch_size)
    right = work.directions("v", v)
    totals: list[dict[str, Tensor]] = [{} for _ in range(work.count)]
    for block in work.blocks():
        for e in range(work.count):
            f, dv = work.push(e, right[e], block)
            for name, part in work.pull(e, _metric(f, dv, work.job.likelihood), block).items():
                totals[e][name] = part.double() + totals[e].get(name, 0.0)
    scale = work.scale()
    zero = {name: torch.zeros_like(leaf, dtype=torch.float64) for name, leaf in work.leaves.items()}
    found = [{name: total.get(name, zero[name]) * scale for name in zero} for total in totals]
    if params is None:
        return {name: value.to(work.job.dtype) for name, value in found[0].items()}
    return {name: torch.stack([one[name] for one in found]).to(work.job.dtype) for name in zero}


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


class _Work:
    """What both products share: checked arguments, blocks, and derivatives of one member."""

    def __init__(
        self, model: nn.Module, inputs: object, likelihood: str | Likelihood, params: Mapping[str, Tensor] |
        None,
        reduction: str | Reduction, batch_size: int | None,
    ) -> None:  # fmt: skip
        self.job, self.leaves = make_job(model, Kind.EXACT, likelihood)
        self.params = params
        self.count = 1 if params is None else check_stack(model, params)
        self.reduction = parse_choice("reduction", reduction, Reduction)
        check_run(batch_size, 1)
        self._inputs, self._size = inputs, batch_size or _BLOCK
        self._n = 0

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
        for batch in batches(self._inputs, None, self.job.device):
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

    def _function(self, e: int, block: Block) -> tuple[Callable[[dict[str, Tensor]], Tensor], dict[str, Tensor]]:
        own = {n: p.detach() for n, p in self.leaves.items()}
        state = {} if self.params is None else member(self.params, e, ())
        primals = {n: state.get(n, own[n]).detach() for n in self.leaves}
        fixed = {n: t for n, t in state.items() if n not in primals}

        def outputs(leaves: dict[str, Tensor]) -> Tensor:
            out = functional_call(self.job.model, {**fixed, **leaves}, block.args)
            return check_outputs(out, block.n, self.job.likelihood)

        return outputs, primals

    def push(self, e: int, direction: dict[str, Tensor], block: Block) -> tuple[Tensor, Tensor]:
        """Outputs and their derivative along a direction."""
        f, tangents = self.push_all(e, [direction], block)
        return f, tangents[0]

    def push_all(self, e: int, directions: Sequence[dict[str, Tensor]], block: Block) -> tuple[Tensor, Tensor]:
        """Outputs, and their derivatives along several directions, stacked."""
        outputs, primals = self._function(e, block)

        def one(direction: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            return jvp(outputs, (primals,), (direction,))[:2]

        watch = RandomWatch(self.job.device)
        # The fused attention kernels have no forward-mode derivative.
        with ExitStack() as stack:
            stack.enter_context(untouched(self.job.model))
            stack.enter_context(torch.no_grad())
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, from its first forward-mode call
            found = None
            if len(directions) > 1:
                together = {name: torch.stack([d[name] for d in directions]) for name in directions[0]}
                # What vmap cannot follow (values that decide what is run) goes one direction after the other.
                with suppress(RuntimeError):
                    found = vmap(one, out_dims=(None, 0))(together)  # type: ignore[arg-type]
            if found is None:
                parts = [one(direction) for direction in directions]
                found = parts[0][0], torch.stack([tangent for _, tangent in parts])
            watch.check()
        f, tangents = found
        if not bool(torch.isfinite(f).all()):
            raise_non_finite("the model")
        return f, tangents

    def pull(self, e: int, cotangent: Tensor, block: Block) -> dict[str, Tensor]:
        """The cotangent of the outputs as a gradient."""
        outputs, primals = self._function(e, block)
        with untouched(self.job.model):
            back = vjp(outputs, primals)[1]
            found: dict[str, Tensor] = back(cotangent)[0]
        return {name: value.detach() for name, value in found.items()}
