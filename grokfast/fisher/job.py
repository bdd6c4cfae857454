"""What is asked for, of which parameters, and private copies of the model to ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grokfast._checks import nearest, parse_choice
from grokfast.errors import InputError
from grokfast.fisher.batches import Inputs
from grokfast.fisher.guards import check_modes, trainable
from grokfast.fisher.likelihoods import IGNORE
from grokfast.fisher.outputs import Outputs, Pick
from grokfast.fisher.variants import Kind, Likelihood
from grokfast.models.copies import private_copy

State = Mapping[str, Tensor] | None


@dataclass(frozen=True)
class World:
    """A private copy of the model to run.

    Attributes:
        model: The copy.
        leaves: Its trainable parameters by name.
        double: Whether what was float32 is float64 here.
    """

    model: nn.Module
    leaves: dict[str, Tensor]
    double: bool

    @property
    def dtype(self) -> torch.dtype:
        """Of the trainable parameters."""
        return next(iter(self.leaves.values())).dtype

    def takes(self, inputs: Inputs) -> Inputs:
        """Inputs in the precision of the copy."""
        return inputs.double() if self.double else inputs


@dataclass(frozen=True)
class Job:
    """A model and the kind of Fisher diagonal wanted of it.

    Attributes:
        model: The network; it is looked at and copied, never run or changed.
        kind: Which labels.
        outputs: What of the model's result are the logits, and whose distribution.
        ignore_index: The label that leaves a position out.
        names: Its trainable parameters, in order.
        dtype: Of the trainable parameters.
        device: Of all parameters.
    """

    model: nn.Module
    kind: Kind
    outputs: Outputs
    ignore_index: int
    names: tuple[str, ...]
    dtype: torch.dtype
    device: torch.device

    @property
    def likelihood(self) -> Likelihood:
        """Which distribution of labels."""
        return self.outputs.likelihood

    @property
    def leaves(self) -> dict[str, Tensor]:
        """The model's own trainable parameters, if they are still those that were planned for."""
        found: dict[str, Tensor] = dict(trainable(self.model))
        first = next(iter(found.values()))
        if tuple(found) != self.names or (first.dtype, first.device) != (self.dtype, self.device):
            changed = sorted(set(found) ^ set(self.names)) or [f"{first.dtype} on {first.device}"]
            raise InputError(f"the model is no longer the one that was planned for ({changed}); plan again")
        return found

    def world(self, state: State = None, double: bool = False) -> World:
        """A new private copy of the model as it is now, with the parameters in ``state`` where it has them."""
        model = private_copy(self.model, state, double=double)
        own = dict(model.named_parameters())
        return World(model, {name: own[name] for name in self.names}, double and self.dtype == torch.float32)

    def run(self, model: nn.Module, inputs: Inputs) -> Tensor:
        """The logits ``[n, ..., C]`` of a private copy."""
        return self.outputs.of(inputs.call(model), inputs.n)

    def foreign(self) -> set[int]:
        """The ``id`` of the caller's parameters, which a private copy must not lead to."""
        return {id(p) for p in self.model.parameters() if p.requires_grad}


def make_job(
    model: nn.Module, kind: str | Kind, likelihood: str | Likelihood, logits: Pick = None,
    class_axis: int | None = None, ignore_index: int = IGNORE,
) -> tuple[Job, dict[str, Tensor]]:  # fmt: skip
    """The checked request, and the trainable parameters."""
    leaves = trainable(model)
    first = next(iter(leaves.values()))
    check_modes(model)
    kind, likelihood = parse_choice("kind", kind, Kind), parse_choice("likelihood", likelihood, Likelihood)
    outputs = Outputs(likelihood, logits, class_axis)
    return Job(model, kind, outputs, ignore_index, tuple(leaves), first.dtype, first.device), dict(leaves)


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


def member(params: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    """One member of a stack."""
    return {name: tensor[index].detach() for name, tensor in params.items()}
