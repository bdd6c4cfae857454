"""The Fisher diagonal of a network with one hidden ReLU layer, in closed form."""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.ops._arguments import check_device, check_floats, check_memory, check_range
from grokfast.ops._native import call, kernel


class LabelMode(IntEnum):
    """Whose labels the squared score is averaged over."""

    SOFTMAX = 0
    """The model's own, summed."""
    GIVEN = 1
    """Sets of given labels, added up."""
    GAUSSIAN = 2
    """A normal distribution of unit variance around the outputs."""


_MODES = frozenset(int(mode) for mode in LabelMode)


def fisher_two_layer_reference(
    x: Tensor, w1: Tensor, b1: Tensor | None, w2: Tensor, b2: Tensor | None, labels: Tensor | None, mode: int
) -> list[Tensor]:
    """The readable twin of :func:`fisher_two_layer`: a few matrix products in float64."""
    x64 = x.double()
    results: list[list[Tensor]] = [[], [], [], [], []]
    for e in range(w1.shape[0]):
        first, second = w1[e].double(), w2[e].double()
        z = x64 @ first.T + (0 if b1 is None else b1[e].double())
        h = z.relu()
        f = h @ second.T + (0 if b2 is None else b2[e].double())
        status = 1 if not bool(torch.isfinite(z).all()) else 2 if not bool(torch.isfinite(f).all()) else 0
        if mode == LabelMode.GAUSSIAN:
            v = second.square().sum(0).expand_as(h)
            a = torch.ones_like(f)
        else:
            p = torch.softmax(f, -1)
            centres = f.argmax(-1).unsqueeze(0) if labels is None else labels[e]
            v, a = torch.zeros_like(h), torch.zeros_like(f)
            for centre in centres:
                others = p.scatter(-1, centre.unsqueeze(-1), 0)
                rest = others.sum(-1, keepdim=True)
                mean = torch.zeros_like(h)
                square = torch.zeros_like(h)
                for c in torch.unique(centre).tolist():
                    rows = (centre == c).nonzero().squeeze(-1)
                    d = second - second[c]
                    mean[rows] = others[rows] @ d
                    square[rows] = others[rows] @ d.square()
                if mode == LabelMode.SOFTMAX:
                    v += (square - mean.square()).clamp_min(0)
                    a += p * torch.where(others == p, 1 - p, rest)
                else:
                    v += mean.square()
                    a += others.square().scatter(-1, centre.unsqueeze(-1), rest.square())
        v = v * (z > 0)
        parts = [v.T @ x64.square(), v.sum(0), a.T @ h.square(), a.sum(0)]
        parts[1] = parts[1] if b1 is not None else torch.zeros_like(parts[1])
        parts[3] = parts[3] if b2 is not None else torch.zeros_like(parts[3])
        for found, part in zip(results, [*parts, torch.tensor(status, device=x.device)], strict=True):
            found.append(part)
    shapes = [w1.shape, w1.shape[:2], w2.shape, w2.shape[:2]]
    out = [
        torch.stack(found).to(x.dtype) if found else x.new_zeros(shape)
        for found, shape in zip(results, shapes, strict=False)
    ]
    states = torch.stack(results[4]) if results[4] else x.new_zeros(0)
    return [*out, states.to(x.device, torch.int64)]


def _check(
    x: Tensor, w1: Tensor, b1: Tensor | None, w2: Tensor, b2: Tensor | None, labels: Tensor | None, mode: int
) -> None:
    shapes = f"x {list(x.shape)}, w1 {list(w1.shape)}, w2 {list(w2.shape)}"
    fits = x.dim() == 2 and w1.dim() == 3 and w2.dim() == 3 and w1.shape[2] == x.shape[1]
    if not fits or w2.shape[0] != w1.shape[0] or w2.shape[2] != w1.shape[1]:
        raise InputError(f"fisher_two_layer expects x [N, I], w1 [E, H, I] and w2 [E, C, H], got {shapes}")
    check_floats(x, w1=w1, w2=w2)
    for name, bias, weight in (("b1", b1, w1), ("b2", b2, w2)):
        if bias is not None:
            check_floats(x, **{name: bias})
            if bias.shape != weight.shape[:2]:
                raise InputError(f"{name} must be {list(weight.shape[:2])}, got {list(bias.shape)}")
    if w2.shape[1] == 0:
        raise InputError(f"fisher_two_layer expects at least one output, got {shapes}")
    check_labels(x, w1.shape[0], labels, mode)


def check_labels(x: Tensor, members: int, labels: Tensor | None, mode: int) -> None:
    """Raise unless ``mode`` is a :class:`LabelMode`, and there are labels int64 ``[E, S, N]`` if it asks for them."""
    if mode not in _MODES:
        raise InputError(f"mode must be one of {[f'{m.value} ({m.name})' for m in LabelMode]}, got {mode}")
    if (labels is not None) != (mode == LabelMode.GIVEN):
        raise InputError(f"labels go with mode {LabelMode.GIVEN.value} (given labels), got mode {mode}")
    if labels is None:
        return
    if labels.dim() != 3 or labels.shape[::2] != (members, x.shape[0]) or labels.dtype != torch.int64:
        raise InputError(
            f"labels must be int64 [E, S, N] with E = {members} and N = {x.shape[0]}, got {labels.dtype} "
            f"{list(labels.shape)}"
        )
    check_device(x, labels=labels)


@torch.library.custom_op("grokfast::fisher_two_layer", mutates_args=())
def fisher_two_layer(
    x: Tensor, w1: Tensor, b1: Tensor | None, w2: Tensor, b2: Tensor | None, labels: Tensor | None, mode: int
) -> list[Tensor]:
    r"""Fisher diagonal (sum over samples) of :math:`f = W_2 \operatorname{relu}(W_1 x + b_1) + b_2`.

    .. math::

        F_{W_1,hi} = \sum_n V_{nh} \, x_{ni}^2, \qquad F_{W_2,ch} = \sum_n A_{nc} \, h_{nh}^2

    with, where the unit is active, :math:`V_{nh} = \operatorname{Var}_{c \sim p}(W_{2,ch})` and
    :math:`A_{nc} = p_c (1 - p_c)` for the model's own labels, :math:`V_{nh} = (\sum_c p_c W_{2,ch} -
    W_{2,yh})^2` and :math:`A_{nc} = (p_c - [c = y])^2` for a given one, :math:`V_{nh} = \sum_c W_{2,ch}^2`
    and :math:`A = 1` for the gaussian. Rows of ``x`` with at most four non-zeros (two-hot pairs) skip both
    products with ``x``.

    Args:
        x: Inputs ``[N, I]`` shared by all members, float32 or float64.
        w1: ``[E, H, I]``.
        b1: ``[E, H]`` or None.
        w2: ``[E, C, H]``.
        b2: ``[E, C]`` or None.
        labels: For mode ``GIVEN``: int64 ``[E, S, N]``, in [0, C).
        mode: A :class:`LabelMode`.

    Returns:
        Sums for ``w1``, ``b1``, ``w2``, ``b2`` (zeros for an absent bias) and a status ``[E]``: 0, 1 (hidden
        layer not finite) or 2 (outputs not finite).

    Raises:
        InputError: If shapes, dtypes or devices do not match.

    Source:
        arXiv 2502.01739, eq. 14, for this architecture.
    """
    _check(x, w1, b1, w2, b2, labels, mode)
    if labels is not None:
        check_range("labels", labels, w2.shape[1])
    return fisher_two_layer_reference(x, w1, b1, w2, b2, labels, mode)


@fisher_two_layer.register_kernel(["cpu", "cuda"])
def _compiled(
    x: Tensor, w1: Tensor, b1: Tensor | None, w2: Tensor, b2: Tensor | None, labels: Tensor | None, mode: int
) -> list[Tensor]:
    _check(x, w1, b1, w2, b2, labels, mode)
    check_memory(tensor for tensor in (x, w1, b1, w2, b2, labels) if tensor is not None)
    if labels is not None:
        check_range("labels", labels, w2.shape[1])
    run = kernel("fisher_two_layer", x)
    if run is None:
        return fisher_two_layer_reference(x, w1, b1, w2, b2, labels, mode)
    dense = [None if t is None else t.contiguous() for t in (x, w1, b1, w2, b2, labels)]
    members, width, inputs = w1.shape
    classes = w2.shape[1]
    out = [
        x.new_empty(members, width, inputs), x.new_zeros(members, width),
        x.new_empty(members, classes, width), x.new_zeros(members, classes),
        x.new_zeros(members, dtype=torch.int64),
    ]  # fmt: skip
    sets = 1 if labels is None else labels.shape[1]
    call(
        run, x, *(0 if t is None else t for t in dense), *out,
        members, x.shape[0], inputs, width, classes, sets, mode,
    )  # fmt: skip
    return out


@fisher_two_layer.register_fake
def _fake(
    x: Tensor, w1: Tensor, b1: Tensor | None, w2: Tensor, b2: Tensor | None, labels: Tensor | None, mode: int
) -> list[Tensor]:
    _check(x, w1, b1, w2, b2, labels, mode)
    sizes = (w1.shape, w1.shape[:2], w2.shape, w2.shape[:2])
    return [*(x.new_empty(size) for size in sizes), x.new_empty(w1.shape[0], dtype=torch.int64)]
