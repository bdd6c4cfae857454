"""The slow, readable twin: every sample and every label, one backward pass each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from grokfast._checks import parse_choice
from grokfast.fisher.likelihoods import check_outputs, check_targets
from grokfast.fisher.variants import Kind, Likelihood, Reduction


def fisher_diag_reference(
    model: nn.Module,
    inputs: Tensor | tuple[Tensor, ...],
    targets: Tensor | None = None,
    *,
    kind: str | Kind = Kind.EXACT,
    likelihood: str | Likelihood = Likelihood.CATEGORICAL,
    reduction: str | Reduction = Reduction.MEAN,
) -> dict[str, Tensor]:
    """Fisher diagonal straight from its definition, with autograd on one sample and one label at a time.

    The categorical expectation is the plain sum over all classes of ``p_c (d ln p_c / d theta)^2``: no
    factor of the covariance, no rule, no stack. Run it in float64; it takes N x C backward passes.

    Args:
        model: Any module in a mode without randomness.
        inputs: A tensor or the model's arguments, samples leading.
        targets: For the empirical kind.
        kind: ``"exact"`` or ``"empirical"``.
        likelihood: Which distribution.
        reduction: Mean or sum over samples.

    Returns:
        By parameter name, shaped like the parameters.

    Raises:
        InputError: If outputs or targets do not fit the likelihood.

    Source:
        arXiv 2502.01739, eq. 14.
    """
    likelihood, kind = parse_choice("likelihood", likelihood, Likelihood), parse_choice("kind", kind, Kind)
    args = inputs if isinstance(inputs, tuple) else (inputs,)
    params = {name: p for name, p in model.named_parameters() if p.requires_grad}
    total = {name: torch.zeros_like(p) for name, p in params.items()}
    for n in range(args[0].shape[0]):
        outputs = check_outputs(model(*(a[n : n + 1] for a in args)), 1, likelihood)
        if kind is Kind.EMPIRICAL:
            mine = None if targets is None else targets[n : n + 1]
            terms = [(1.0, _log_likelihood(outputs, check_targets(mine, outputs, likelihood), likelihood))]
        else:
            terms = _expectation(outputs, likelihood)
        for weight, value in terms:
            grads = torch.autograd.grad(value, list(params.values()), retain_graph=True, allow_unused=True)
            for name, grad in zip(params, grads, strict=True):
                if grad is not None:
                    total[name] += weight * grad.square()
    scale = 1 / max(1, args[0].shape[0]) if Reduction(reduction) is Reduction.MEAN else 1
    return {name: value * scale for name, value in total.items()}


def _log_likelihood(outputs: Tensor, labels: Tensor, likelihood: Likelihood) -> Tensor:
    if likelihood is Likelihood.CATEGORICAL:
        return outputs.log_softmax(-1).gather(-1, labels.unsqueeze(-1)).sum()
    if likelihood is Likelihood.BERNOULLI:
        sigmoid = nn.functional.logsigmoid
        return (labels * sigmoid(outputs) + (1 - labels) * sigmoid(-outputs)).sum()
    return -0.5 * (outputs - labels).square().sum()


def _expectation(outputs: Tensor, likelihood: Likelihood) -> list[tuple[float, Tensor]]:
    """Weights and functions whose weighted squared gradients add up to the expectation over labels."""
    if likelihood is Likelihood.CATEGORICAL:
        logs = outputs.log_softmax(-1).flatten()
        return [(float(log.detach().exp()), log) for log in logs]
    weights = torch.sigmoid(outputs) * torch.sigmoid(-outputs)
    weights = weights if likelihood is Likelihood.BERNOULLI else torch.ones_like(weights)
    return [(float(w), f) for w, f in zip(weights.detach().flatten(), outputs.flatten(), strict=True)]
