"""Likelihoods as columns: the vectors whose squared pull-backs add up to the Fisher diagonal.

For every kind and likelihood the diagonal is

    F_i = sum_n sum_k ( d(f_n . v_nk) / d theta_i )^2

with columns v_nk in the space of outputs. Their outer products add up to the Fisher matrix of the outputs:
diag(p) - p p^T for the softmax. Every form here keeps its relative accuracy when the model is saturated: 1 - p is
the sum of the other probabilities, and the most probable class is the one that is eliminated.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.fisher.variants import Kind, Likelihood


def softmax_factor(outputs: Tensor) -> Iterator[Tensor]:
    r"""The C - 1 columns of a triangular factor of ``diag(p) - p p^T``, one at a time.

    .. math:: L_{jj} = \sqrt{p_j r_j / r_{j-1}}, \quad L_{ij} = -p_i \sqrt{p_j / (r_j r_{j-1})} \;\; (i > j),
              \quad r_j = \sum_{i > j} p_i

    with the most probable class ordered last, so that every ``r_j`` is at least ``1 / C`` and no difference
    is ever taken.

    Args:
        outputs: Logits ``[..., C]``.

    Yields:
        ``[..., C]``, C - 1 times.

    Source:
        Cholesky factor of a multinomial covariance (Tanabe and Sagae, J. R. Stat. Soc. B 54, 211, 1992).
    """
    classes = outputs.shape[-1]
    order = torch.arange(classes, device=outputs.device).expand(outputs.shape).clone()
    mode = outputs.argmax(-1, keepdim=True)
    order.scatter_(-1, mode, classes - 1)
    order[..., -1:] = mode  # a swap, its own inverse
    p = torch.softmax(outputs, -1).gather(-1, order)
    tail = p.flip(-1).cumsum(-1).flip(-1)
    for j in range(classes - 1):
        before, after = tail[..., j : j + 1], tail[..., j + 1 : j + 2]
        column = torch.zeros_like(p)
        column[..., j : j + 1] = (p[..., j : j + 1] * after / before).sqrt()
        column[..., j + 1 :] = -p[..., j + 1 :] * (p[..., j : j + 1] / (after * before)).sqrt()
        yield column.gather(-1, order)


def softmax_residual(outputs: Tensor, labels: Tensor) -> Tensor:
    """``softmax(f) - onehot(label)``, with ``p - 1`` at the label formed as minus the sum of the others.

    Args:
        outputs: Logits ``[..., C]``.
        labels: ``[...]``, integers in [0, C).
    """
    others = torch.softmax(outputs, -1).scatter(-1, labels.unsqueeze(-1), 0)
    return others.scatter(-1, labels.unsqueeze(-1), -others.sum(-1, keepdim=True))


def check_outputs(outputs: object, samples: int, likelihood: Likelihood) -> Tensor:
    """The outputs of a model, if their leading axis can be the samples."""
    if not isinstance(outputs, Tensor):
        raise InputError(
            f"the model must return one tensor [samples, ...], got {type(outputs).__name__}; "
            "wrap it in a module that returns the logits"
        )
    if outputs.dim() == 0 or outputs.shape[0] != samples:
        raise InputError(
            f"sample axis not found: the model must return one row per sample, {samples} in all, on the "
            f"leading axis, got outputs of shape {list(outputs.shape)}"
        )
    if likelihood is Likelihood.CATEGORICAL and (outputs.dim() < 2 or outputs.shape[-1] < 2):
        raise InputError(
            "likelihood='categorical' expects logits [samples, ..., C] with C >= 2 classes on the "
            "last axis, got "
            f"{list(outputs.shape)}; a single logit is likelihood='bernoulli'"
        )
    return outputs


def check_targets(targets: Tensor | None, outputs: Tensor, likelihood: Likelihood) -> Tensor:
    """The targets of the empirical Fisher, if they fit the outputs."""
    if targets is None:
        raise InputError("kind='empirical' needs targets: pass targets=, or batches of (inputs, targets)")
    if not isinstance(targets, Tensor):
        raise InputError(f"targets must be a tensor, got {type(targets).__name__}")
    targets = targets.detach().to(outputs.device)
    expected = outputs.shape[:-1] if likelihood is Likelihood.CATEGORICAL else outputs.shape
    if targets.shape != expected:
        raise InputError(
            f"targets must have shape {list(expected)} for outputs {list(outputs.shape)} and "
            f"likelihood='{likelihood}', got {list(targets.shape)}"
        )
    if likelihood is Likelihood.CATEGORICAL:
        if targets.dtype.is_floating_point or targets.dtype.is_complex or targets.dtype == torch.bool:
            raise InputError(f"targets must be integer class labels, got {targets.dtype}")
        if targets.numel() and not 0 <= int(targets.min()) <= int(targets.max()) < outputs.shape[-1]:
            raise InputError(
                f"targets must lie in [0, {outputs.shape[-1]}), got values from {int(targets.min())} to "
                f"{int(targets.max())}; ignored labels are not supported, leave those samples out"
            )
        return targets.long()
    targets = targets.to(outputs.dtype)
    if not bool(torch.isfinite(targets).all()):
        raise InputError("targets must be finite")
    if likelihood is Likelihood.BERNOULLI and targets.numel() and not 0 <= targets.min() <= targets.max() <= 1:
        raise InputError("targets must lie in [0, 1] for likelihood='bernoulli'")
    return targets


def columns(
    outputs: Tensor,
    kind: Kind,
    likelihood: Likelihood,
    targets: Tensor | None = None,
    samples: int = 1,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """The columns of one block of samples.

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

    Yields:
        Tensors of the shape of ``outputs``: C - 1 per position (categorical, exact), one per output (exact
        otherwise), ``samples`` (mc) or one (empirical).
    """
    if kind is Kind.EXACT:
        yield from _exact(outputs, likelihood)
    elif kind is Kind.EMPIRICAL:
        yield _residual(outputs, check_targets(targets, outputs, likelihood), likelihood)
    else:
        labels = draw_labels(outputs, likelihood, samples, generator)
        for k in range(samples):
            yield _residual(outputs, labels[k], likelihood) / samples**0.5


def draw_labels(outputs: Tensor, likelihood: Likelihood, samples: int, generator: torch.Generator | None) -> Tensor:
    """Labels ``[samples, ...]`` drawn from the model's own distribution, in float64."""
    where = outputs.device if generator is None else generator.device
    f = outputs.detach().to(where, torch.float64)
    if likelihood is Likelihood.CATEGORICAL:
        if f.shape[:-1].numel() == 0:
            return torch.zeros(samples, *f.shape[:-1], dtype=torch.long, device=outputs.device)
        p = torch.softmax(f, -1).reshape(-1, f.shape[-1])
        drawn = torch.multinomial(p, samples, replacement=True, generator=generator)
        return drawn.T.reshape(samples, *f.shape[:-1]).to(outputs.device)
    noise = torch.empty(samples, *f.shape, dtype=torch.float64, device=where)
    if likelihood is Likelihood.BERNOULLI:
        return (noise.uniform_(generator=generator) < torch.sigmoid(f)).to(outputs.device, outputs.dtype)
    return (f - noise.normal_(generator=generator)).to(outputs.device, outputs.dtype)


def _exact(outputs: Tensor, likelihood: Likelihood) -> Iterator[Tensor]:
    if likelihood is Likelihood.CATEGORICAL:
        rows = outputs.reshape(outputs.shape[0], outputs.shape[1:-1].numel(), outputs.shape[-1])
        for t in range(rows.shape[1]):
            for part in softmax_factor(rows[:, t]):
                column = torch.zeros_like(rows)
                column[:, t] = part
                yield column.view(outputs.shape)
        return
    flat = outputs.reshape(outputs.shape[0], outputs.shape[1:].numel())
    for k in range(flat.shape[1]):
        column = torch.zeros_like(flat)
        if likelihood is Likelihood.BERNOULLI:
            column[:, k] = (torch.sigmoid(flat[:, k]) * torch.sigmoid(-flat[:, k])).sqrt()
        else:
            column[:, k] = 1
        yield column.view(outputs.shape)


def _residual(outputs: Tensor, labels: Tensor, likelihood: Likelihood) -> Tensor:
    if likelihood is Likelihood.CATEGORICAL:
        return softmax_residual(outputs, labels)
    if likelihood is Likelihood.BERNOULLI:
        return (1 - labels) * torch.sigmoid(outputs) - labels * torch.sigmoid(-outputs)
    return outputs - labels
