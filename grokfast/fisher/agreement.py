"""Whether two passes gave the same outputs, within rounding."""

from __future__ import annotations

import torch
from torch import Tensor


def agree(found: Tensor, expected: Tensor) -> bool:
    """Whether outputs ``[n, ..., C]`` agree within rounding, judged by the spread of each sample's own."""
    if found.shape != expected.shape:
        return False
    same = (found == expected) | (torch.isnan(found) & torch.isnan(expected))
    if bool(same.all()):
        return True
    f = expected.flatten(1) if expected.dim() > 1 else expected.unsqueeze(1)
    error = torch.where(same, 0.0, (found - expected).abs()).reshape(f.shape)
    bound = 1e-3 if expected.dtype != torch.float64 else 1e-7
    eps = 64 * torch.finfo(expected.dtype).eps
    allowed = bound * spread(f).unsqueeze(1) + eps * f.abs().nan_to_num(0, 0, 0)
    return bool((error <= allowed).all())


def spread(f: Tensor) -> Tensor:
    """How far the outputs of a sample lie apart, without those that lie far from all others; ``[n]``.

    The largest distance from the median that is not more than a thousand times the median distance, so
    that a mask of minus a billion does not count; a single output counts by its magnitude.
    """
    f = torch.where(torch.isfinite(f), f, torch.nan)
    if f.shape[1] == 1:
        return f[:, 0].abs().nan_to_num(0)
    top = f.nan_to_num(-torch.inf).amax(1, keepdim=True)
    away = (top - f).nan_to_num(0)  # from the largest: a masked class is far from it, however many there are
    positive = torch.where(away > 0, away, torch.nan)
    near = positive.nan_to_num(torch.inf).amin(1, keepdim=True)
    live = away <= torch.maximum(1e3 * near, away.new_full((), 100.0))
    return torch.where(live, away, 0.0).amax(1)
