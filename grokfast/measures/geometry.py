"""Geometry of a trajectory in parameter space: lengths and angles of steps in a metric, stiff and sloppy directions.

Everything takes stacks, ``Params`` with a leading axis E, and gives float64 ``[E]``. The metric is a diagonal, shaped
like the parameters (``grokfast.fisher_diag`` gives one), or None for the Euclidean one. For the whole Fisher matrix see
``grokfast.fisher_gram``; :func:`lengths_and_angles` turns either's inner products into measures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from grokfast._checks import check_non_negative
from grokfast._edge import check_members, computable, edge, rows
from grokfast.errors import InputError
from grokfast.models import Params

Stack = Mapping[str, Tensor]


@edge
def inner_product(u: Stack, v: Stack, metric: Stack | None = None) -> Tensor:
    r"""Inner product :math:`u^\top g v = \sum_i g_{ii} u_i v_i` of two directions in a diagonal metric.

    Args:
        u: ``[E, ...]`` by parameter name.
        v: Of the same names and shapes.
        metric: :math:`g_{ii}`, likewise; None is the Euclidean metric.

    Returns:
        float64 ``[E]``.

    Raises:
        InputError: If names or shapes differ, there is nothing, or a value is not finite.

    Source:
        arXiv 2502.01739, eq. 8 and 9.
    """
    _check(u, v=v, **({} if metric is None else {"metric": metric}))
    parts = []
    for name, value in u.items():
        product = value.double() * v[name].double()
        if metric is not None:
            product = product * metric[name].double()
        parts.append(rows(product).sum(1))
    return torch.stack(parts).sum(0)


@edge
def step_between(before: Stack, after: Stack) -> Params:
    r"""The step :math:`s^e = \theta^{e+f} - \theta^e` from one checkpoint to a later one, in float64.

    Args:
        before: Parameters ``[E, ...]``.
        after: Of the same names and shapes.

    Raises:
        InputError: If names or shapes differ, or a value is not finite.
    """
    _check(before, after=after)
    return {name: after[name].double() - value.double() for name, value in before.items()}


@edge
def step_length(step: Stack, metric: Stack | None = None) -> Tensor:
    r"""Length of a step, :math:`|s| = \sqrt{s^\top g s}` with g at the step's start.

    In the whole softmax Fisher metric, :math:`|s|^2` is twice the Kullback-Leibler divergence between the models
    before and after, to third order in the step; the diagonal leaves out how parameters work together.

    Args:
        step: ``[E, ...]`` by parameter name.
        metric: :math:`g_{ii}`; None for the Euclidean length.

    Returns:
        float64 ``[E]``, in nats to the power 1/2 for a Fisher metric.

    Raises:
        InputError: As :func:`inner_product`.

    Source:
        arXiv 2502.01739, eq. 8.
    """
    return inner_product(step, step, metric).sqrt()


@edge
def cosine(u: Stack, v: Stack, metric: Stack | None = None) -> Tensor:
    r"""Cosine of two directions, :math:`S(u, v) = u^\top g v / (|u| |v|)`.

    Of two consecutive steps, with g where the first ends and the second begins, it tells whether training goes
    straight on (1), turns at a right angle (0) or turns back (-1).

    Args:
        u: ``[E, ...]`` by parameter name.
        v: Likewise.
        metric: :math:`g_{ii}`; None for the Euclidean cosine.

    Returns:
        float64 ``[E]`` in [-1, 1]; NaN where a direction has no length.

    Raises:
        InputError: As :func:`inner_product`.

    Source:
        arXiv 2502.01739, eq. 9.
    """
    return _cosine(inner_product(u, v, metric), inner_product(u, u, metric), inner_product(v, v, metric))


@edge
def origin_similarity(step: Stack, params: Stack, metric: Stack | None = None) -> Tensor:
    r"""Cosine of a step with the way to the origin: :math:`S(s^e, -\theta^e)` with g at :math:`\theta^e`.

    It is 1 for a step of pure weight decay under SGD and AdamW. Under Adam with L2 decay such a step is close to
    :math:`-\operatorname{sign}\theta`, whose Euclidean similarity is :math:`E|\theta| / \sqrt{E\theta^2}`.

    Args:
        step: ``[E, ...]`` by parameter name.
        params: Parameters where it starts.
        metric: :math:`g_{ii}` there; None for the Euclidean similarity.

    Returns:
        float64 ``[E]`` in [-1, 1]; NaN where the step or the parameters have no length.

    Raises:
        InputError: As :func:`inner_product`.

    Source:
        arXiv 2502.01739, sec. 6 and fig. 8 (c, d).
    """
    return cosine(step, {name: -computable(value) for name, value in params.items()}, metric)


@dataclass(frozen=True)
class StepMeasures:
    """Measures of the step that starts at a checkpoint; tensors of any shape.

    Attributes:
        length: Of the step, at least 0.
        cosine: With the step before, in [-1, 1]; NaN where one of them has no length.
        origin: Cosine with the way to the origin; NaN likewise.
    """

    length: Tensor
    cosine: Tensor
    origin: Tensor


@edge
def lengths_and_angles(products: Tensor) -> StepMeasures:
    """Measures from the inner products ``ss, pp, oo, sp, so`` that :func:`grokfast.ops.metric_gram` gives.

    Args:
        products: float64 ``[..., 5]`` of the next step s, the step before p and the way to the origin o.

    Returns:
        Measures ``[...]``.
    """
    if products.dim() == 0 or products.shape[-1] != 5:
        raise InputError(f"products must be [..., 5], got {list(products.shape)}")
    ss, pp, oo, sp, so = computable(products).unbind(-1)
    return StepMeasures(ss.sqrt(), _cosine(sp, ss, pp), _cosine(so, ss, oo))


@edge
def stiff_parameters(final: Stack, threshold: float = 0.1) -> dict[str, Tensor]:
    r"""Which parameters are stiff: final :math:`g_{ii}` of at least a threshold. The others are sloppy.

    Args:
        final: Fisher diagonal of the end model, ``[E, ...]`` by parameter name.
        threshold: 0.1 in the paper, for the Fisher diagonal of the logits.

    Returns:
        Booleans of the same shapes.

    Raises:
        InputError: If the threshold is negative, or there is nothing or something not finite.

    Source:
        arXiv 2502.01739, fig. 20 and 32.
    """
    check_non_negative("threshold", threshold)
    _check(final)
    least = float(threshold)
    return {name: value >= least for name, value in final.items()}


@edge
def stiffest_parameters(final: Stack, counts: Tensor) -> dict[str, Tensor]:
    """Which parameters are among each member's stiffest: a quantile in place of a threshold; ties by position.

    It carries the split of one Fisher information over to another one of a different scale: as many stiff parameters.

    Args:
        final: Fisher diagonal of the end model, ``[E, ...]`` by parameter name.
        counts: int64 ``[E]``: how many are stiff.

    Returns:
        Booleans of the same shapes.

    Raises:
        InputError: If a count does not lie in 0 .. P, or there is nothing or something not finite.
    """
    _check(final)
    flat = torch.cat([rows(value) for value in final.values()], 1)
    members, size = flat.shape
    if counts.shape != (members,) or not bool(((counts >= 0) & (counts <= size)).all()):
        raise InputError(f"counts must be [{members}] numbers in 0 .. {size}, got {counts.tolist()}")
    order = torch.argsort(flat, dim=1, descending=True, stable=True)
    chosen = torch.arange(size, device=flat.device) < counts.to(flat.device)[:, None]
    marks = torch.zeros_like(chosen).scatter_(1, order, chosen)
    parts = torch.split(marks, [value[0].numel() for value in final.values()], 1)
    return {name: part.reshape(value.shape) for (name, value), part in zip(final.items(), parts, strict=True)}


@edge
def restrict(direction: Stack, mask: Stack) -> Params:
    """A direction with the components outside a subspace set to zero.

    Args:
        direction: ``[E, ...]`` by parameter name.
        mask: Booleans of the same shapes, as :func:`stiff_parameters` gives them.

    Raises:
        InputError: If names or shapes differ.
    """
    _check(direction, mask=mask)
    return {name: value * mask[name].bool() for name, value in direction.items()}


@edge
def fisher_spectrum(diagonal: Stack) -> Tensor:
    r"""The diagonal's entries sorted downwards, as fig. 20 shows them.

    Args:
        diagonal: :math:`g_{ii}`, ``[E, ...]`` by parameter name.

    Returns:
        ``[E, P]``.

    Raises:
        InputError: If there is nothing or something not finite.

    Source:
        arXiv 2502.01739, fig. 20.
    """
    _check(diagonal)
    return torch.cat([rows(value) for value in diagonal.values()], 1).sort(1, descending=True).values


def _cosine(uv: Tensor, uu: Tensor, vv: Tensor) -> Tensor:
    lengths = uu.sqrt() * vv.sqrt()
    return torch.where(lengths > 0, uv / lengths, torch.nan).clamp(-1, 1)


def _check(first: Stack, **others: Stack) -> None:
    if not first:
        raise InputError("expected at least one parameter, got none")
    for name, other in others.items():
        shapes = {key: list(value.shape) for key, value in first.items()}
        got = {key: list(value.shape) for key, value in other.items()}
        if shapes != got:
            raise InputError(f"{name} must have the names and shapes {shapes}, got {got}")
    check_members("parameters", first)
    for values in (first, *others.values()):
        for key, value in values.items():
            if value.shape[0] == 0:
                raise InputError(f"'{key}' must have a leading axis of at least one member, got {list(value.shape)}")
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise InputError(
                    f"'{key}' must be finite, got {int((~torch.isfinite(value)).sum())} values that are not"
                )
