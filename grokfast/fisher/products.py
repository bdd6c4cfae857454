"""Products with the whole Fisher matrix, not only its diagonal, by forward-mode derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from grokfast._edge import said
from grokfast._options import takes_options
from grokfast.errors import InputError
from grokfast.fisher.options import ProductOptions
from grokfast.fisher.pushes import Direction, Pushes
from grokfast.fisher.refusals import told
from grokfast.fisher.variants import Likelihood


@takes_options
@told
def fisher_inner(
    model: nn.Module,
    inputs: object,
    u: Direction,
    v: Direction,
    **options: Unpack[ProductOptions],
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
    work = Pushes(model, inputs, options)
    return _gram(work, directions)[..., 0, -1]


@takes_options
@told
def fisher_gram(
    model: nn.Module,
    inputs: object,
    directions: Sequence[Direction],
    **options: Unpack[ProductOptions],
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
    if not isinstance(directions, Sequence) or not directions:
        raise InputError(f"directions must be a list of at least one direction, got {said(directions)}")
    named = [(f"directions[{k}]", direction) for k, direction in enumerate(directions)]
    work = Pushes(model, inputs, options)
    return _gram(work, named)


def _gram(work: Pushes, directions: Sequence[tuple[str, Direction]]) -> Tensor:
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


@takes_options
@told
def fisher_vector_product(
    model: nn.Module,
    inputs: object,
    v: Direction,
    **options: Unpack[ProductOptions],
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
    work = Pushes(model, inputs, options)
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
    return (
        found[0] if work.params is None else {name: torch.stack([one[name] for one in found]) for name in work.leaves}
    )


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
