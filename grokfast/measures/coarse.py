"""Coarser weights: uniformly quantised, or cut to their leading singular values; and how coarse is too coarse."""

from __future__ import annotations

import torch
from torch import Tensor

from grokfast._checks import check_at_least, check_fraction
from grokfast._edge import rows
from grokfast.errors import InputError


def quantised(weights: Tensor, levels: int) -> Tensor:
    r"""Weights rounded to equally spaced values, symmetric about zero, a member at a time.

    .. math:: Q(w) = s \, \mathrm{round}(w / s), \qquad s = \frac{2 \max |w|}{K - 1}

    Args:
        weights: ``[E, ...]``.
        levels: K, odd, at least 3: zero and as many values on either side.

    Returns:
        ``[E, ...]``, of the same type.

    Raises:
        InputError: If ``levels`` is even or too small, or a weight is not finite.
    """
    check_at_least("levels", levels, 3)
    if levels % 2 == 0:
        raise InputError(f"levels must be odd, so that zero is one of them, got {levels}")
    if not weights.numel() or not weights.dim():
        raise InputError(f"expected weights [E, ...], got shape {list(weights.shape)}")
    if not bool(weights.isfinite().all()):
        raise InputError("the weights to quantise must be finite")
    flat = rows(weights).double()
    step = flat.abs().amax(1, keepdim=True) * 2 / (levels - 1)
    rounded = torch.where(step > 0, (flat / step.where(step > 0, 1.0)).round() * step, 0.0)
    return rounded.view(weights.shape).to(weights.dtype)


class Truncated:
    r"""Matrices cut to their leading singular values, :math:`\sum_{k \le r} \sigma_k u_k v_k^\top`.

    Args:
        weights: ``[E, m, n]``, or kernels ``[E, m, ...]`` as matrices of a row an output.

    Raises:
        InputError: If they are no matrices, or a weight is not finite.
    """

    def __init__(self, weights: Tensor) -> None:
        if weights.dim() < 3:
            raise InputError(f"expected a stack of matrices or kernels [E, m, n], got {list(weights.shape)}")
        if not bool(weights.isfinite().all()):
            raise InputError("the weights to truncate must be finite")
        self._like = weights
        self._left, self._values, self._right = torch.linalg.svd(weights.flatten(2).double(), full_matrices=False)

    @property
    def largest(self) -> int:
        """The rank that leaves nothing out."""
        return int(self._values.shape[1])

    def to(self, rank: int) -> Tensor:
        """The weights at a rank; themselves from the largest on."""
        check_at_least("rank", rank, 0)
        if rank >= self.largest:
            return self._like
        left = self._left[:, :, :rank] * self._values[:, None, :rank]
        found: Tensor = left @ self._right[:, :rank]
        return found.view(self._like.shape).to(self._like.dtype)


def size_that_keeps(sizes: Tensor, accuracies: Tensor, whole: Tensor, drop: float = 0.05) -> Tensor:
    r"""The size from which on at most a share of the accuracy is lost, between the sizes by a straight line.

    Args:
        sizes: ``[S]``, rising.
        accuracies: ``[E, S]`` at each size.
        whole: ``[E]``, of the network as it is.
        drop: The accepted relative loss, in (0, 1).

    Returns:
        ``[E]``, float64: the first size if all keep it, the last if it alone or none does; NaN where an accuracy is.

    Raises:
        InputError: If shapes differ or sizes do not rise.
    """
    check_fraction("drop", drop)
    if sizes.dim() != 1 or accuracies.shape != (*whole.shape, len(sizes)) or not bool((sizes.diff() > 0).all()):
        raise InputError(
            f"expected rising sizes [S], accuracies [E, S] and whole [E], got {list(sizes.shape)}, "
            f"{list(accuracies.shape)} and {list(whole.shape)}"
        )
    found = []
    for curve, level in zip(accuracies.double(), ((1 - drop) * whole.double()).tolist(), strict=True):
        lost = (curve < level).nonzero().flatten().tolist()
        last = len(sizes) - 1
        if bool(curve.isnan().any()) or level != level:
            found.append(float("nan"))
        elif not lost or lost[-1] == last:
            found.append(float(sizes[0] if not lost else sizes[-1]))
        else:
            k = lost[-1]
            share = (level - float(curve[k])) / float(curve[k + 1] - curve[k])
            found.append(float(sizes[k]) + share * float(sizes[k + 1] - sizes[k]))
    return torch.tensor(found, dtype=torch.float64)
