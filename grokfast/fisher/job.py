"""What is asked for, and the parameters it is asked of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grokfast._checks import nearest, parse_choice
from grokfast.errors import InputError
from grokfast.fisher.guards import check_modes, trainable
from grokfast.fisher.variants import Kind, Likelihood


@dataclass(frozen=True)
class Job:
    """A model and the kind of Fisher diagonal wanted of it.

    Attributes:
        model: The network.
        kind: Which labels.
        likelihood: Which distribution of labels.
        names: Its trainable parameters, in order.
        dtype: Of all parameters.
        device: Of all parameters.
    """

    model: nn.Module
    kind: Kind
    likelihood: Likelihood
    names: tuple[str, ...]
    dtype: torch.dtype
    device: torch.device

    @property
    def leaves(self) -> dict[str, Tensor]:
        """The model's own trainable parameters, if they are still those that were planned for."""
        found: dict[str, Tensor] = dict(trainable(self.model))
        first = next(iter(found.values()))
        if tuple(found) != self.names or (first.dtype, first.device) != (self.dtype, self.device):
            changed = sorted(set(found) ^ set(self.names)) or [f"{first.dtype} on {first.device}"]
            raise InputError(f"the model is no longer the one that was planned for ({changed}); plan again")
        return found


def make_job(model: nn.Module, kind: str | Kind, likelihood: str | Likelihood) -> tuple[Job, dict[str, Tensor]]:
    """The checked request, and the trainable parameters."""
    leaves = trainable(model)
    first = next(iter(leaves.values()))
    check_modes(model)
    kind, likelihood = parse_choice("kind", kind, Kind), parse_choice("likelihood", likelihood, Likelihood)
    return Job(model, kind, likelihood, tuple(leaves), first.dtype, first.device), dict(leaves)


def check_stack(model: nn.Module, params: Mapping[str, Tensor]) -> int:
    """How many members a stack has, after checking that it fits the model.

    Raises:
        InputError: If a name is unknown, a trainable parameter is missing, or a shape, dtype or device
            differs.
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
    members = sizes.pop()
    if members == 0:
        raise InputError("params must hold at least one member, got a leading axis of length 0")
    return members


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
