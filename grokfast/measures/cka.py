"""Centred kernel alignment: whether two representations of the same samples are alike, whatever their neurons."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from grokfast._edge import edge
from grokfast.errors import InputError

_LEAST = 4  # samples: the unbiased estimate divides by N - 3


@edge
def hsic(x: Tensor, y: Tensor, *, debiased: bool = True) -> Tensor:
    r"""Hilbert-Schmidt independence criterion of two representations with linear kernels.

    With :math:`K = X X^\top` and :math:`L = Y Y^\top`, and a tilde for a zero diagonal, the unbiased estimate is

    .. math::

        \frac{1}{N (N - 3)} \Bigl[ \operatorname{tr}(\tilde K \tilde L)
        + \frac{1^\top \tilde K 1 \; 1^\top \tilde L 1}{(N - 1)(N - 2)}
        - \frac{2}{N - 2} 1^\top \tilde K \tilde L 1 \Bigr]

    and the biased one :math:`\| X_c^\top Y_c \|_F^2 / (N - 1)^2` with centred columns. Neither forms an N x N matrix.

    Args:
        x: ``[..., N, d]``, N >= 4.
        y: ``[..., N, d']``.
        debiased: Whether the unbiased estimate is taken, which is 0 on average for independent representations; it
            may be negative.

    Returns:
        ``[...]``, float64, in the units of ``x`` times ``y``, squared.

    Raises:
        InputError: If the shapes do not fit, there are too few samples or a value is not finite.

    Source:
        Song, Smola, Gretton, Bedo, Borgwardt, JMLR 13, 1393 (2012), eq. 5; Gretton et al., ALT 2005.
    """
    if x.dim() < 2 or x.dim() != y.dim() or x.shape[:-1] != y.shape[:-1] or x.shape[-2] < _LEAST:
        raise InputError(
            f"expected two representations [..., N, d] of the same N >= {_LEAST} samples, got {list(x.shape)} and "
            f"{list(y.shape)}"
        )
    x, y = x.detach().double(), y.detach().double()
    if not (x.isfinite().all() and y.isfinite().all()):
        raise InputError("representations must be finite")
    n = x.shape[-2]
    # The criterion does not change with the mean: without it the sums lose no digits.
    x, y = x - x.mean(-2, keepdim=True), y - y.mean(-2, keepdim=True)
    shared = (x.mT @ y).square().sum((-1, -2))
    if not debiased:
        return shared / (n - 1) ** 2
    own_x, own_y = x.square().sum(-1), y.square().sum(-1)  # [..., N]: the diagonals
    trace = shared - (own_x * own_y).sum(-1)
    # Of centred columns the rows of K sum to 0: without the diagonal they sum to minus the diagonal.
    rows = (own_x * own_y).sum(-1)
    totals = own_x.sum(-1) * own_y.sum(-1)
    return (trace + totals / ((n - 1) * (n - 2)) - 2 / (n - 2) * rows) / (n * (n - 3))


@edge
def linear_cka(x: Tensor, y: Tensor, *, debiased: bool = True) -> Tensor:
    r"""Linear centred kernel alignment of two representations.

    .. math:: \mathrm{HSIC}(X, Y) / \sqrt{\mathrm{HSIC}(X, X) \, \mathrm{HSIC}(Y, Y)}

    1 for representations that are equal but for a rotation, a scale and a shift. The debiased one is 0 on average for
    independent representations even with more dimensions than samples, where the biased one tends to 1.

    Args:
        x: ``[..., N, d]``, N >= 4.
        y: ``[..., N, d']``.
        debiased: As in :func:`hsic`.

    Returns:
        ``[...]``, float64, at most 1 for the biased one; NaN where a representation does not vary.

    Raises:
        InputError: As :func:`hsic`.

    Source:
        Kornblith, Norouzi, Lee, Hinton, ICML 2019, arXiv 1905.00414; debiased as Nguyen, Raghu, Kornblith, 2020.
    """
    return _ratio(hsic(x, y, debiased=debiased), hsic(x, x, debiased=debiased), hsic(y, y, debiased=debiased))


@edge
def minibatch_cka(batches: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Linear CKA from batches of samples: unbiased HSIC of every batch, averaged before the ratio is taken.

    Args:
        batches: Pairs ``[..., n, d]`` and ``[..., n, d']``, n >= 4, batch sizes that may differ.

    Returns:
        ``[...]``, float64.

    Raises:
        InputError: As :func:`hsic`, and if there is no batch.

    Source:
        Nguyen, Raghu, Kornblith, ICLR 2021, arXiv 2010.15327, eq. 3.
    """
    sums: list[Tensor] = []
    for x, y in batches:
        found = [hsic(x, y), hsic(x, x), hsic(y, y)]
        sums = found if not sums else [total + one for total, one in zip(sums, found, strict=True)]
    if not sums:
        raise InputError("expected at least one batch of representations, got none")
    return _ratio(*sums)


def _ratio(shared: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return torch.where((first > 0) & (second > 0), shared / (first * second).clamp_min(0).sqrt(), torch.nan)
