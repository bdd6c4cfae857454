"""A module's forward and backward pass recorded once, and replayed as a flat list of kernel calls on fixed memory.

Replaying gives the bits of the module and of autograd: the same kernels run on the same numbers. What is left out is
everything around them: Python modules, the autograd graph, views, and an allocation a result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._ops import OpOverload
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from grokfast.tasks.replayed import (
    ZEROS_AROUND,
    Call,
    call_of,
    filled,
    is_dense,
    is_view,
    memory_like,
    memory_of,
    view_of,
)

_aten = torch.ops.aten


class NotRecordableError(Exception):
    """What a module does may depend on more than its parameters and inputs, or cannot be followed."""


class Recording:
    """Outputs and gradients of a module for inputs of one shape, for any parameters of the shapes recorded.

    Args:
        module: The network.
        names: Its parameters, in the order in which their values and gradients are given.
        inputs: Inputs ``[N, ...]`` as the module takes them.

    Raises:
        NotRecordableError: If the module cannot be traced, draws random numbers, has hooks, or changes when called.
    """

    def __init__(self, module: nn.Module, names: Sequence[str], inputs: Tensor) -> None:
        self._traced = _trace(module, names, inputs)
        self._nodes = list(self._traced.graph.nodes)
        self._places = [node for node in self._nodes if node.op == "placeholder"]
        outputs, *gradients = self._nodes[-1].args[0]
        self._outputs: fx.Node = outputs
        self._gradients: list[fx.Node] = gradients
        self.inputs = torch.empty_like(inputs)
        self.cotangent = memory_like(outputs.meta["val"], inputs.device)
        self._buffers = memory_of(self._nodes, inputs.device)

    def bind(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> Replay:
        """The calls for one member.

        Args:
            parameters: Its parameters, on memory that stays.
            gradients: Where their gradients are written.
        """
        known: dict[fx.Node, Any] = dict(zip(self._places, [*parameters, self.inputs, self.cotangent], strict=True))
        direct = self._written_in_place(gradients)
        after = {self._places[-1]}
        forward: list[Call] = []
        backward: list[Call] = []
        for node in self._nodes:
            if node.op == "get_attr":
                known[node] = getattr(self._traced, str(node.target))
            if node.op != "call_function":
                continue
            if after.intersection(node.all_input_nodes):
                after.add(node)
            if is_view(node.target) and all(source in known for source in node.all_input_nodes):
                known[node] = view_of(node)(*filled(node.args, known), **filled(node.kwargs, known))
                continue
            call = call_of(node, known, direct.get(node, self._buffers.get(node)))
            (backward if node in after else forward).append(call)
        for node, slot in zip(self._gradients, gradients, strict=True):
            if node not in known or known[node].data_ptr() != slot.data_ptr():
                backward.append(Call(_aten.copy_.default, (slot, known.get(node, node)), {}, node not in known, None))
        return Replay(self, known.get(self._outputs, self._outputs), forward, backward)

    def _written_in_place(self, gradients: Sequence[Tensor]) -> dict[fx.Node, Tensor]:
        """For each kernel whose result, seen in some way, is a gradient as it lies in memory: that memory."""
        found: dict[fx.Node, Tensor] = {}
        for node, slot in zip(self._gradients, gradients, strict=True):
            source = node
            while is_view(source.target):
                source = source.all_input_nodes[0]
            value, last = source.meta["val"], node.meta["val"]
            if source.target in ZEROS_AROUND or source not in self._buffers or source in found:
                continue
            whole = is_dense(slot) and is_dense(value) and value.numel() == last.numel()
            if whole and last.stride() == slot.stride():
                found[source] = slot.as_strided(value.shape, value.stride())
        return found


class Replay:
    """One member's forward and backward pass; made by :meth:`Recording.bind`."""

    def __init__(self, recording: Recording, outputs: Any, forward: list[Call], backward: list[Call]) -> None:
        self._recording, self._outputs, self._calls = recording, outputs, (forward, backward)
        self._values: dict[fx.Node, Any] = {}

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs ``[N, ...]`` for inputs of the recorded shape; valid until the next call."""
        self._values.clear()
        self._recording.inputs.copy_(inputs)
        self._run(self._calls[0])
        found: Tensor = filled(self._outputs, self._values)
        return found

    def backward(self, cotangent: Tensor) -> None:
        """Write the gradients of ``(outputs * cotangent).sum()`` to their memory; follows :meth:`forward`."""
        self._recording.cotangent.copy_(cotangent)
        self._run(self._calls[1])

    def _run(self, calls: list[Call]) -> None:
        values = self._values
        for function, args, kwargs, waits, gives in calls:
            if waits:
                args, kwargs = filled(args, values), filled(kwargs, values)
            if gives is None:
                function(*args, **kwargs)
            else:
                values[gives] = function(*args, **kwargs)


def _trace(module: nn.Module, names: Sequence[str], inputs: Tensor) -> fx.GraphModule:
    """The graph of ``(parameters, inputs, cotangent)`` to ``(outputs, *gradients)``, without operations in place."""
    if any(part._forward_hooks or part._forward_pre_hooks for part in module.modules()):
        raise NotRecordableError("a module has hooks")
    own = dict(module.named_parameters())
    before = _state(module)

    def both(parameters: list[Tensor], inputs: Tensor, cotangent: Tensor) -> tuple[Tensor, ...]:
        leaves = [parameter.detach().requires_grad_() for parameter in parameters]
        outputs = functional_call(module, dict(zip(names, leaves, strict=True)), (inputs,))
        return outputs, *torch.autograd.grad(outputs, leaves, cotangent)

    try:
        with torch.enable_grad():
            values = [own[name].detach() for name in names]
            with torch.no_grad():
                outputs = module(inputs)
            shaped = torch.empty_like(outputs)
            joint = _follow(both, values, inputs, shaped)
            traced = _follow(torch.func.functionalize(joint), values, inputs, shaped, in_terms_of=_AS_THE_CPU_DOES)
    except Exception as error:  # a module may do anything, and what cannot be traced is trained as it is
        raise NotRecordableError(f"{type(error).__name__}: {error}") from error
    if _state(module) != before:
        raise NotRecordableError("the module changes when it is called")
    traced.graph.eliminate_dead_code()
    if any(_draws(node) for node in traced.graph.nodes):
        raise NotRecordableError("the module draws random numbers")
    return traced


def _draws(node: fx.Node) -> bool:
    """Whether an operation draws random numbers; attention does so with a dropout alone."""
    if torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
        return False
    arguments = node.target._schema.arguments  # type: ignore[union-attr]
    given = {**{a.name: a.default_value for a in arguments}, **node.kwargs}
    given.update(zip((a.name for a in arguments), node.args, strict=False))
    return given.get("dropout_p") != 0


def _follow(
    function: Callable[..., Any], *args: Any, in_terms_of: Mapping[OpOverload, Callable[..., Any]] | None = None
) -> fx.GraphModule:
    trace = make_fx(function, dict(in_terms_of or {}), tracing_mode="fake", _allow_non_fake_inputs=True)
    return trace(*args)


def _embedding(weight: Tensor, indices: Tensor, *_: Any) -> Tensor:
    return weight.index_select(0, indices.reshape(-1)).view(*indices.shape, -1)


_AS_THE_CPU_DOES: dict[OpOverload, Callable[..., Any]] = {
    _aten.relu.default: lambda x: x.clamp_min(0),
    _aten.embedding.default: _embedding,
}
"""Operations without a kernel that writes to given memory, by those that torch makes them of."""


def _state(module: nn.Module) -> list[Any]:
    """What a module keeps besides its parameters, as far as it can be compared."""
    plain = (bool, int, float, complex, str, bytes, tuple, type(None))
    kept: list[Any] = [(id(buffer), buffer._version) for buffer in module.buffers()]
    for part in module.modules():
        kept.append({key: value for key, value in vars(part).items() if isinstance(value, plain)})
    return kept
