"""How large a network's logits are: the scale that softmax sees."""

from __future__ import annotations

import torch
from torch import Tensor

from grokfast._edge import check_labels, edge
from grokfast.errors import InputError


@edge
def logit_scale(logits: Tensor) -> Tensor:
    r"""Root mean square of the logits about each sample's mean, :math:`\sqrt{\langle (f_c - \bar f)^2 \rangle}`.

    Args:
        logits: ``[..., N, C]``, C >= 2.

    Returns:
        ``[...]``, float64, in nats.

    Raises:
        InputError: If the shape is another.

    Source:
        Prieto et al., Grokking at the edge of numerical stability, arXiv 2501.04697: logits that grow without bound
        end in softmax collapse.
    """
    values = _checked(logits)
    return (values - values.mean(-1, keepdim=True)).square().mean((-1, -2)).sqrt()


@edge
def logit_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean distance of the label's logit from the largest other one.

    Args:
        logits: ``[..., N, C]``, C >= 2.
        labels: int64 ``[..., N]``.

    Returns:
        ``[...]``, float64, in nats; negative where most samples are wrong.

    Raises:
        InputError: If the shapes do not fit, or a label is none of the classes.
    """
    values = _checked(logits)
    if labels.shape != values.shape[:-1]:
        raise InputError(f"expected labels {list(values.shape[:-1])}, got {list(labels.shape)}")
    check_labels("labels", labels, values.shape[-1])
    own = values.gather(-1, labels[..., None])[..., 0]
    others = values.scatter(-1, labels[..., None], -torch.inf).amax(-1)
    return (own - others).mean(-1)


def _checked(logits: Tensor) -> Tensor:
    if logits.dim() < 2 or logits.shape[-1] < 2 or logits.shape[-2] == 0:
        raise InputError(f"expected logits [..., N, C] of C >= 2 classes, got {list(logits.shape)}")
    return logits.detach().double()
