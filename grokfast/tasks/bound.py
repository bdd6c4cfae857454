"""What a thread keeps of the stacks it has in hand: modules on their memory, gradients' slots, recorded steps."""

from __future__ import annotations

import operator
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch
from torch import Tensor, nn

from grokfast.tasks.modules import bind

if TYPE_CHECKING:
    from grokfast.tasks.replay import Recording, Replay

_T = TypeVar("_T")
_Member = tuple[nn.Module, list[nn.Parameter]]
_Shape = tuple[tuple[int, ...], torch.dtype, torch.dtype]

RECORD_AFTER = 500
"""Steps of one shape before one is recorded: recording takes about as long as a thousand recorded steps save."""

_STACKS_AT_ONCE = 256  # a stack in training is handed over member by member
_TRACING = threading.Lock()  # tracing replaces methods of nn.Module for its time


class _Drawn(Protocol):
    def draw(self, seed: int) -> nn.Module: ...


class Bound:
    """The modules that one thread needs for the stacks it has in hand."""

    def __init__(self) -> None:
        self._skeleton: nn.Module | None = None
        self._members: dict[int, tuple[list[Tensor], list[_Member]]] = {}
        self._slots: dict[int, tuple[list[Tensor], list[list[Tensor]]]] = {}
        self._steps: dict[_Shape, int] = {}
        self._recordings: dict[_Shape, Recording | None] = {}
        self._replays: dict[int, tuple[list[Tensor], Replay]] = {}

    def skeleton(self, task: _Drawn, params: Mapping[str, Tensor]) -> nn.Module:
        """The network, on the device and of the type of the parameters."""
        like = next(iter(params.values()))
        own = None if self._skeleton is None else next(self._skeleton.parameters())
        if self._skeleton is None or own is None or own.dtype != like.dtype or own.device != like.device:
            self._skeleton = task.draw(0).to(like.device, like.dtype)
        return self._skeleton

    def members(self, task: _Drawn, params: Mapping[str, Tensor]) -> list[_Member]:
        """One module a member, on the memory of the parameters, and its parameters in the order of theirs."""
        tensors = list(params.values())
        known = _known(self._members, id(tensors[0]), tensors)
        if known is not None:
            return known
        modules = [(module, dict(module.named_parameters())) for module in bind(self.skeleton(task, params), params)]
        found = [(module, [own[name] for name in params]) for module, own in modules]
        _keep(self._members, id(tensors[0]), tensors, found)
        return found

    def slots(self, params: Mapping[str, Tensor], out: Mapping[str, Tensor]) -> list[list[Tensor]]:
        """For each member its part of the gradients' buffers, in the order of the parameters."""
        tensors = [out[name] for name in params]
        known = _known(self._slots, id(tensors[0]), tensors)
        if known is None:
            known = [[tensor[e] for tensor in tensors] for e in range(len(tensors[0]))]
            _keep(self._slots, id(tensors[0]), tensors, known)
        return known

    def recorded(
        self, e: int, task: _Drawn, params: Mapping[str, Tensor], out: Mapping[str, Tensor], inputs: Tensor
    ) -> Replay | None:
        """The recorded step of one member, once steps of this shape have been so many that recording one pays.

        None before that, for modules that cannot be recorded, and away from the CPU.

        Args:
            e: Which member.
            task: Whose network it is.
            params: Stacked parameters.
            out: Buffers of their gradients.
            inputs: Of the member, as the network takes them.
        """
        like = next(iter(params.values()))
        shape = (tuple(inputs.shape), inputs.dtype, like.dtype)
        taken = self._steps[shape] = self._steps.get(shape, 0) + 1
        if taken <= RECORD_AFTER or like.device.type != "cpu":
            return None
        if shape not in self._recordings:
            self._recordings[shape] = _record(self.members(task, params)[e][0], list(params), inputs)
        recording = self._recordings[shape]
        if recording is None:
            return None
        key, tensors = hash((id(like), e, shape)), [*params.values(), *(out[name] for name in params)]
        known = _known(self._replays, key, tensors)
        if known is None:
            known = recording.bind([tensor[e].detach() for tensor in params.values()], self.slots(params, out)[e])
            _keep(self._replays, key, tensors, known)
        return known


def _record(module: nn.Module, names: Sequence[str], inputs: Tensor) -> Recording | None:
    from grokfast.tasks.replay import NotRecordableError, Recording  # its tracing takes long to import

    try:
        with _TRACING:
            return Recording(module, names, inputs)
    except NotRecordableError:
        return None


def _known(kept: Mapping[int, tuple[list[Tensor], _T]], key: int, tensors: list[Tensor]) -> _T | None:
    """What belongs to these very tensors."""
    found = kept.get(key)
    same = found is not None and len(found[0]) == len(tensors) and all(map(operator.is_, found[0], tensors))
    return found[1] if found is not None and same else None


def _keep(kept: dict[int, tuple[list[Tensor], _T]], key: int, tensors: list[Tensor], value: _T) -> None:
    while len(kept) >= _STACKS_AT_ONCE:
        del kept[next(iter(kept))]
    kept[key] = tensors, value
