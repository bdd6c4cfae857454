"""Likelihoods as columns: the vectors whose squared pull-backs add up to the Fisher diagonal.

For every kind and likelihood the diagonal is

    F_i = sum_n sum_k ( d(f_n . v_nk) / d theta_i )^2

with columns v_nk in the space of outputs. Their outer products add up to the Fisher matrix of the outputs:
diag(p) - p p^T for the softmax. Every form here keeps its relative accuracy when the model is saturated: 1 - p is
the sum of the other probabilities, and the most probable class is the one that is eliminated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.fisher.likelihoods import IGNORE, check_mask, check_targets, draw_labels
from grokfast.fisher.variants import Kind, Likelihood


@dataclass(frozen=True)
class _Factor:
    r"""The C - 1 columns of a triangular factor of ``diag(p) - p p^T``, any one of them at a time.

    .. math:: L_{jj} = \sqrt{p_j r_j / r_{j-1}}, \quad L_{ij} = -p_i \sqrt{p_j / (r_j r_{j-1})} \;\; (i > j),
              \quad r_j = \sum_{i > j} p_i

    with the most probable class ordered last, so that every ``r_j`` is at least ``1 / C`` and no difference
    is ever taken.

    Attributes:
        order: Which class is where, ``[..., C]``.
        p: Probabilities in that order.
        tail: Sums of the probabilities from each place on.

    Source:
        Cholesky factor of a multinomial covariance (Tanabe and Sagae, J. R. Stat. Soc. B 54, 211, 1992).
    """

    order: Tensor
    p: Tensor
    tail: Tensor

    @classmethod
    def of(cls, outputs: Tensor) -> _Factor:
        """The factor for logits ``[..., C]``; minus infinity has probability 0."""
        classes = outputs.shape[-1]
        mode = outputs.argmax(-1, keepdim=True)
        order = torch.arange(classes, device=outputs.device).expand(outputs.shape).clone()
        order.scatter_(-1, mode, classes - 1)
        order[..., -1:] = mode  # a swap, its own inverse
        p = torch.softmax(outputs, -1).gather(-1, order)
        return cls(order, p, p.flip(-1).cumsum(-1).flip(-1))

    def at(self, t: int) -> _Factor:
        """That of one position of ``[n, T, C]``."""
        return _Factor(self.order[:, t], self.p[:, t], self.tail[:, t])

    def column(self, j: int) -> Tensor:
        """Column j, ``[..., C]``."""
        p, before, after = self.p, self.tail[..., j : j + 1], self.tail[..., j + 1 : j + 2]
        column = torch.zeros_like(p)
        column[..., j : j + 1] = (p[..., j : j + 1] * after / before).sqrt()
        column[..., j + 1 :] = -p[..., j + 1 :] * (p[..., j : j + 1] / (after * before)).sqrt()
        return column.gather(-1, self.order)


def softmax_factor(outputs: Tensor) -> Iterator[Tensor]:
    """The columns of the triangular factor of ``diag(p) - p p^T``, one at a time.

    Args:
        outputs: Logits ``[..., C]``.

    Yields:
        ``[..., C]``, C - 1 times.
    """
    factor = _Factor.of(outputs)
    for j in range(outputs.shape[-1] - 1):
        yield factor.column(j)


def softmax_residual(outputs: Tensor, labels: Tensor) -> Tensor:
    """``softmax(f) - onehot(label)``, with ``p - 1`` at the label formed as minus the sum of the others.

    Args:
        outputs: Logits ``[..., C]``.
        labels: ``[...]``, integers in [0, C).
    """
    others = torch.softmax(outputs, -1).scatter(-1, labels.unsqueeze(-1), 0)
    return others.scatter(-1, labels.unsqueeze(-1), -others.sum(-1, keepdim=True))


class Columns:
    """The columns of one block of samples; any of them can be had, again and again, without the others.

    Args:
        outputs: ``[n, ...]``; for the categorical likelihood the classes are on the last axis. Whatever lies
            between (tokens, pixels) are positions with a label of their own; a sample's log-likelihood is
            their sum.
        kind: Which labels.
        likelihood: Which distribution.
        targets: True labels, for the empirical kind.
        samples: Labels drawn per sample, for the Monte Carlo kind; the columns are divided by its square
            root.
        generator: Where they are drawn from.
        mask: True for the positions that count, ``[n, ...]`` without the axis of classes; others are left out.
        ignore_index: The label that leaves a position out.
    """

    def __init__(
        self, outputs: Tensor, kind: Kind, likelihood: Likelihood, targets: Tensor | None = None, samples: int = 1,
        generator: torch.Generator | None = None, mask: Tensor | None = None, ignore_index: int = IGNORE,
    ) -> None:  # fmt: skip
        self._dtype = outputs.dtype
        if outputs.dtype not in (torch.float32, torch.float64):
            outputs = outputs.float()
        self._outputs, self._kind, self._likelihood = outputs, kind, likelihood
        self._shape = outputs.shape
        self._keep = None if mask is None else check_mask(mask, outputs, likelihood)
        self._labels: Tensor | None = None
        self._samples = samples
        self._places: list[int] = []
        if kind is Kind.EXACT:
            self._prepare_exact()
        elif kind is Kind.EMPIRICAL:
            self._labels = self._given(check_targets(targets, outputs, likelihood, ignore_index), ignore_index)[None]
        else:
            self._labels = draw_labels(outputs, likelihood, samples, generator)

    def _prepare_exact(self) -> None:
        categorical = self._likelihood is Likelihood.CATEGORICAL
        width = self._shape[-1] if categorical else 1
        self._flat = self._outputs.reshape(self._shape[0], self._shape[1:].numel() // max(1, width), width)
        self._places = list(range(self._flat.shape[1]))
        if self._keep is not None:
            kept = self._keep.reshape(self._flat.shape[:2]).any(0)
            self._places = [t for t in self._places if bool(kept[t])]
        self._factor = _Factor.of(self._flat) if categorical and self._places else None

    def _given(self, labels: Tensor, ignore_index: int) -> Tensor:
        if self._likelihood is not Likelihood.CATEGORICAL:
            return labels
        ignored = labels == ignore_index
        if bool(ignored.any()):
            self._keep = ~ignored if self._keep is None else self._keep & ~ignored
            labels = labels.masked_fill(ignored, 0)
        chosen = self._outputs.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
        chosen = chosen if self._keep is None else chosen[self._keep]
        if bool(torch.isneginf(chosen).any()):
            raise InputError("targets must have a probability above 0, got one whose logit is minus infinity")
        return labels

    def __len__(self) -> int:
        """C - 1 per position (categorical, exact), one per output (exact otherwise), ``samples`` (mc) or one."""
        if self._labels is not None:
            return len(self._labels)
        per = self._shape[-1] - 1 if self._likelihood is Likelihood.CATEGORICAL else 1
        return len(self._places) * per

    def __iter__(self) -> Iterator[Tensor]:
        """Tensors of the shape of the outputs."""
        for k in range(len(self)):
            yield self.column(k)

    def column(self, k: int) -> Tensor:
        """Column k, of the shape of the outputs."""
        if self._labels is not None:
            column = self._residual(self._labels[k])
            if self._kind is Kind.MC:
                column = column / self._samples**0.5
            keep = self._keep
        else:
            column, keep = self._exact(k), self._keep
        if keep is not None:
            column = column * (keep.unsqueeze(-1) if self._likelihood is Likelihood.CATEGORICAL else keep)
        return column.to(self._dtype)

    def _exact(self, k: int) -> Tensor:
        column = torch.zeros_like(self._flat)
        if self._factor is not None:
            place, j = divmod(k, self._shape[-1] - 1)
            t = self._places[place]
            column[:, t] = self._factor.at(t).column(j)
            return column.view(self._shape)
        t = self._places[k]
        f = self._flat[:, t]
        bernoulli = self._likelihood is Likelihood.BERNOULLI
        column[:, t] = (torch.sigmoid(f) * torch.sigmoid(-f)).sqrt() if bernoulli else 1
        return column.view(self._shape)

    def _residual(self, labels: Tensor) -> Tensor:
        outputs = self._outputs
        if self._likelihood is Likelihood.CATEGORICAL:
            return softmax_residual(outputs, labels)
        if self._likelihood is Likelihood.BERNOULLI:
            return (1 - labels) * torch.sigmoid(outputs) - labels * torch.sigmoid(-outputs)
        return outputs - labels
