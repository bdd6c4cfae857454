"""Outputs, labels and masks that fit a likelihood, and labels drawn from it."""

from __future__ import annotations

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.fisher.variants import Likelihood


class SampleAxisError(InputError):
    """The outputs of a model do not have the samples on their leading axis."""


IGNORE = -100
"""The label that leaves a position out, as in ``torch.nn.functional.cross_entropy``."""


def check_outputs(outputs: object, samples: int, likelihood: Likelihood) -> Tensor:
    """The outputs of a model, if their leading axis can be the samples."""
    if not isinstance(outputs, Tensor):
        raise InputError(
            f"the model must return one tensor [samples, ...], got {type(outputs).__name__}; "
            "pass logits= (a key, an index or a function) to say where in it the logits are"
        )
    if outputs.dim() == 0 or outputs.shape[0] != samples:
        raise SampleAxisError(
            f"sample axis not found: the model must return one row per sample, {samples} in all, on the "
            f"leading axis, got outputs of shape {list(outputs.shape)}"
        )
    if likelihood is Likelihood.CATEGORICAL and (outputs.dim() < 2 or outputs.shape[-1] < 2):
        raise InputError(
            "likelihood='categorical' expects logits [samples, ..., C] with C >= 2 classes on the "
            "last axis (or on class_axis=), got "
            f"{list(outputs.shape)}; a single logit is likelihood='bernoulli'"
        )
    return outputs


def finite_outputs(outputs: Tensor, likelihood: Likelihood) -> bool:
    """Whether the outputs have a distribution: finite, or for classes that cannot occur minus infinity."""
    if likelihood is not Likelihood.CATEGORICAL:
        return bool(torch.isfinite(outputs).all())
    top = outputs.amax(-1) if outputs.numel() else outputs
    return bool(torch.isfinite(top).all()) and not bool(torch.isnan(outputs).any())


def check_targets(
    targets: Tensor | None, outputs: Tensor, likelihood: Likelihood, ignore_index: int = IGNORE
) -> Tensor:
    """The targets of the empirical Fisher, if they fit the outputs; ignored ones stay what they are."""
    if targets is None:
        raise InputError("kind='empirical' needs targets: pass targets=, or batches of (inputs, targets)")
    if not isinstance(targets, Tensor):
        raise InputError(f"targets must be a tensor, got {type(targets).__name__}")
    targets = targets.detach().to(outputs.device)
    expected = outputs.shape[:-1] if likelihood is Likelihood.CATEGORICAL else outputs.shape
    if targets.shape != expected:
        other = outputs.dim() > 2 and targets.shape == (outputs.shape[0], *outputs.shape[2:])
        hint = "; pass class_axis=1 if the classes are on axis 1" if other else ""
        raise InputError(
            f"targets must have shape {list(expected)} for outputs {list(outputs.shape)} and "
            f"likelihood='{likelihood}', got {list(targets.shape)}{hint}"
        )
    if likelihood is Likelihood.CATEGORICAL:
        return _check_classes(targets, outputs, ignore_index)
    targets = targets.to(outputs.dtype)
    if not bool(torch.isfinite(targets).all()):
        raise InputError("targets must be finite")
    if likelihood is Likelihood.BERNOULLI and targets.numel() and not 0 <= targets.min() <= targets.max() <= 1:
        raise InputError("targets must lie in [0, 1] for likelihood='bernoulli'")
    return targets


def _check_classes(targets: Tensor, outputs: Tensor, ignore_index: int) -> Tensor:
    if targets.dtype.is_floating_point or targets.dtype.is_complex or targets.dtype == torch.bool:
        raise InputError(f"targets must be integer class labels, got {targets.dtype}")
    counted = targets[targets != ignore_index]
    if counted.numel() and not 0 <= int(counted.min()) <= int(counted.max()) < outputs.shape[-1]:
        raise InputError(
            f"targets must lie in [0, {outputs.shape[-1]}), or be ignore_index={ignore_index}, got values from "
            f"{int(counted.min())} to {int(counted.max())}"
        )
    return targets.long()


def check_mask(mask: Tensor, outputs: Tensor, likelihood: Likelihood) -> Tensor:
    """Which positions count, if the mask fits the outputs."""
    expected = outputs.shape[:-1] if likelihood is Likelihood.CATEGORICAL else outputs.shape
    if mask.shape != expected:
        raise InputError(
            f"mask must have shape {list(expected)} for outputs {list(outputs.shape)} and likelihood='{likelihood}', "
            f"got {list(mask.shape)}"
        )
    if mask.dtype != torch.bool and not bool(((mask == 0) | (mask == 1)).all()):
        raise InputError("mask must hold true and false (or 1 and 0) only")
    return mask.to(outputs.device).bool()


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
