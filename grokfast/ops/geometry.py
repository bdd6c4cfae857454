"""Inner products of consecutive steps in a diagonal metric, in one pass over three checkpoints."""

from __future__ import annotations

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.ops._arguments import check_device, check_floats, check_memory, check_same
from grokfast.ops._native import call, kernel

GRAM = ("ss", "pp", "oo", "sp", "so")
"""Inner products of the next step s, the previous step p and the way to the origin o, in the order of the result."""


def metric_gram_reference(
    before: list[Tensor], here: list[Tensor], after: list[Tensor], metric: list[Tensor], stiff: list[Tensor]
) -> Tensor:
    """The readable twin of :func:`metric_gram`."""
    parts = []
    for k, theta in enumerate(here):
        shape = (theta.shape[0], -1)
        o = -theta.double().reshape(shape)
        s, p = after[k].double().reshape(shape) + o, -o - before[k].double().reshape(shape)
        g = metric[k].double().reshape(shape) if metric else torch.ones_like(o)
        products = torch.stack([g * s * s, g * p * p, g * o * o, g * s * p, g * s * o], 1)
        if stiff:
            on = stiff[k].reshape(shape).bool()[:, None]
            parts.append(torch.stack([products.where(~on, 0.0).sum(-1), products.where(on, 0.0).sum(-1)], 1))
        else:
            parts.append(products.sum(-1)[:, None])
    return torch.stack(parts).sum(0)


@torch.library.custom_op("grokfast::metric_gram", mutates_args=())
def metric_gram(
    before: list[Tensor], here: list[Tensor], after: list[Tensor], metric: list[Tensor], stiff: list[Tensor]
) -> Tensor:
    r"""Inner products :math:`u^\top g v` of steps of a trajectory in a diagonal metric, summed over parameters.

    With :math:`s = \theta'' - \theta'`, :math:`p = \theta' - \theta` and :math:`o = -\theta'` for checkpoints
    :math:`\theta, \theta', \theta''`: the products :data:`GRAM` = ss, pp, oo, sp, so, in double precision.

    Args:
        before: :math:`\theta`, one tensor ``[E, ...]`` a parameter, float32 or float64.
        here: :math:`\theta'`, where the metric is taken.
        after: :math:`\theta''`.
        metric: :math:`g_{ii}`, shaped like the parameters; an empty list is the Euclidean metric.
        stiff: uint8, shaped like the parameters: 1 goes to the second row of the result, 0 to the first; empty for
            no split.

    Returns:
        float64 ``[E, S, 5]``, S = 2 with a split and 1 without, in squared nats if the metric is a Fisher's.

    Raises:
        InputError: If shapes, dtypes or devices do not match.

    Source:
        arXiv 2502.01739, eq. 8 and 9.
    """
    _check(before, here, after, metric, stiff)
    return metric_gram_reference(before, here, after, metric, stiff)


@metric_gram.register_kernel(["cpu", "cuda"])
def _compiled(
    before: list[Tensor], here: list[Tensor], after: list[Tensor], metric: list[Tensor], stiff: list[Tensor]
) -> Tensor:
    _check(before, here, after, metric, stiff)
    check_memory((*before, *here, *after, *metric, *stiff))
    run = kernel("metric_gram", here[0])
    if run is None:
        return metric_gram_reference(before, here, after, metric, stiff)
    members = here[0].shape[0]
    sums = torch.zeros(members, 2 if stiff else 1, len(GRAM), dtype=torch.float64, device=here[0].device)
    for k, theta in enumerate(here):
        lists = (before, here, after, metric, stiff)
        dense = [values[k].contiguous() if values else 0 for values in lists]
        call(run, theta, *dense, sums, members, theta.numel() // members)
    return sums


@metric_gram.register_fake
def _fake(
    before: list[Tensor], here: list[Tensor], after: list[Tensor], metric: list[Tensor], stiff: list[Tensor]
) -> Tensor:
    _check(before, here, after, metric, stiff)
    return here[0].new_empty(here[0].shape[0], 2 if stiff else 1, len(GRAM), dtype=torch.float64)


def _check(
    before: list[Tensor], here: list[Tensor], after: list[Tensor], metric: list[Tensor], stiff: list[Tensor]
) -> None:
    if not here or any(theta.dim() == 0 or theta.shape[0] != here[0].shape[0] for theta in here):
        raise InputError(
            "here must be parameters [E, ...] of the same members, at least one member, "
            f"got {[list(theta.shape) for theta in here]}"
        )
    if here[0].shape[0] == 0:
        raise InputError("here must have at least one member, got none")
    check_floats(here[0], **{f"here[{k}]": theta for k, theta in enumerate(here)})
    shapes = [theta.shape for theta in here]
    for name, values, optional in (
        ("before", before, False),
        ("after", after, False),
        ("metric", metric, True),
        ("stiff", stiff, True),
    ):
        if optional and not values:
            continue
        if [value.shape for value in values] != shapes:
            raise InputError(
                f"{name} must have the shapes of here, {[list(shape) for shape in shapes]}, "
                f"got {[list(value.shape) for value in values]}"
            )
        named = {f"{name}[{k}]": value for k, value in enumerate(values)}
        if name != "stiff":
            check_same(here[0], named)
            continue
        check_device(here[0], **named)
        if any(value.dtype != torch.uint8 for value in values):
            raise InputError(f"stiff must be uint8, got {[value.dtype for value in values]}")
