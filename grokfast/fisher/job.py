"""What is asked for, and the parameters it is asked of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from grokfast._checks import nearest
from grokfast.errors import InputError
from grokfast.fisher.guards import trainable
from grokfast.fisher.variants import Kind, Likelihood


@dataclass(frozen=True)
class Job:
    """A model and the kind of Fisher diagonal wanted of it."""

    model: nn.Module
    kind: Kind
    likelihood: Likelihood
    names: tuple[str, ...] = field(default=())

    @property
    def leaves(self) -> dict[str, Tensor]:
        """The model's own trainable parameters."""
        found: dict[str, Tensor] = dict(trainable(self.model))
        if self.names and tuple(found) != self.names:
            changed = sorted(set(found) ^ set(self.names))
            raise InputError(
                f"the model's trainable parameters are no longer those that were planned for ({changed}); plan again"
            )
        return found

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters."""
        return next(self.model.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.model.parameters()).device


def check_stack(model: nn.Module, params: Mapping[str, Tensor]) -> int:
    """How many members a stack has, after checking that it fits the model.

    Raises:
        InputError: If a name is unknown, a trainable parameter is missing, or a shape, dtype or device differs.
    """
    if not isinstance(params, Mapping):
        raise InputError(f"params must map parameter names to stacked tensors, got {type(params).__name__}")
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    wanted = {name for name, p in model.named_parameters() if p.requires_grad}
    for name, tensor in params.items():
        if name not in own:
            raise InputError(f"params has '{name}', which the model does not have{nearest(name, own)}")
        mine = own[name]
        if not isinstance(tensor, Tensor) or tensor.dim() == 0 or tensor.shape[1:] != mine.shape:
            got = list(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise InputError(f"params['{name}'] must have shape [E, {', '.join(map(str, mine.shape))}], got {got}")
        if tensor.dtype != mine.dtype or tensor.device != mine.device:
            raise InputError(
                f"params['{name}'] must be {mine.dtype} on {mine.device}, got {tensor.dtype} on {tensor.device}"
            )
    missing = sorted(wanted - set(params))
    if missing:
        raise InputError(f"params must hold every trainable parameter; missing: {missing}")
    sizes = {tensor.shape[0] for tensor in params.values()}
    if len(sizes) > 1:
        raise InputError(f"params must share the leading axis of members, got lengths {sorted(sizes)}")
    return sizes.pop()


def member(params: Mapping[str, Tensor], index: int, names: tuple[str, ...]) -> dict[str, Tensor]:
    """One member of a stack, as leaves that can be differentiated."""
    return {
        name: tensor[index].detach().requires_grad_(name in names and tensor.is_floating_point())
        for name, tensor in params.items()
    }


def in_float64(model: nn.Module, state: Mapping[str, Tensor] | None, names: tuple[str, ...]) -> dict[str, Tensor]:
    """Parameters and buffers (of the model, or of ``state`` where it has them) in float64."""
    values = {**dict(model.named_parameters()), **dict(model.named_buffers()), **dict(state or {})}
    return {
        name: (value.detach().double() if value.is_floating_point() else value.detach()).requires_grad_(name in names)
        for name, value in values.items()
    }
