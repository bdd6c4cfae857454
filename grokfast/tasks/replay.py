"""A module's forward and backward pass recorded once, and replayed as a flat list of kernel calls on fixed memory.

Replaying gives the bits of the module and of autograd: the same kernels run on the same numbers. What is left out is
everything around them: Python modules, the autograd graph, views, and an allocation a result.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch._ops import OpOverload
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

_aten = torch.ops.aten


class NotRecordableError(Exception):
    """What a module does may depend on more than its parameters and inputs, or cannot be followed."""


class _Call(NamedTuple):
    """One kernel call.

    Attributes:
        function: The kernel.
        args: Tensors and numbers; a node stands for a value that is known only when the calls run.
        kwargs: Likewise.
        waits: Whether a node is among them.
        gives: The node whose value the call returns; None if it writes to fixed memory.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    waits: bool
    gives: fx.Node | None


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
        self.cotangent = _like(outputs.meta["val"], inputs.device)
        self._buffers = _memory(self._nodes, inputs.device)

    def bind(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> Replay:
        """The calls for one member.

        Args:
            parameters: Its parameters, on memory that stays.
            gradients: Where their gradients are written.
        """
        known: dict[fx.Node, Any] = dict(zip(self._places, [*parameters, self.inputs, self.cotangent], strict=True))
        direct = self._written_in_place(gradients)
        after = {self._places[-1]}
        forward: list[_Call] = []
        backward: list[_Call] = []
        for node in self._nodes:
            if node.op == "get_attr":
                known[node] = getattr(self._traced, str(node.target))
            if node.op != "call_function":
                continue
            if after.intersection(node.all_input_nodes):
                after.add(node)
            if _is_view(node.target) and all(source in known for source in node.all_input_nodes):
                known[node] = _view(node)(*_filled(node.args, known), **_filled(node.kwargs, known))
                continue
            call = _call(node, known, direct.get(node, self._buffers.get(node)))
            (backward if node in after else forward).append(call)
        for node, slot in zip(self._gradients, gradients, strict=True):
            if node not in known or known[node].data_ptr() != slot.data_ptr():
                backward.append(_Call(_aten.copy_.default, (slot, known.get(node, node)), {}, node not in known, None))
        return Replay(self, known.get(self._outputs, self._outputs), forward, backward)

    def _written_in_place(self, gradients: Sequence[Tensor]) -> dict[fx.Node, Tensor]:
        """For each kernel whose result, seen in some way, is a gradient as it lies in memory: that memory."""
        found: dict[fx.Node, Tensor] = {}
        for node, slot in zip(self._gradients, gradients, strict=True):
            source = node
            while _is_view(source.target):
                source = source.all_input_nodes[0]
            value, last = source.meta["val"], node.meta["val"]
            if source.target in _ZEROS_AROUND or source not in self._buffers or source in found:
                continue
            whole = _dense(slot) and _dense(value) and value.numel() == last.numel()
            if whole and last.stride() == slot.stride():
                found[source] = slot.as_strided(value.shape, value.stride())
        return found


class Replay:
    """One member's forward and backward pass; made by :meth:`Recording.bind`."""

    def __init__(self, recording: Recording, outputs: Any, forward: list[_Call], backward: list[_Call]) -> None:
        self._recording, self._outputs, self._calls = recording, outputs, (forward, backward)
        self._values: dict[fx.Node, Any] = {}

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs ``[N, ...]`` for inputs of the recorded shape; valid until the next call."""
        self._values.clear()
        self._recording.inputs.copy_(inputs)
        self._run(self._calls[0])
        found: Tensor = _filled(self._outputs, self._values)
        return found

    def backward(self, cotangent: Tensor) -> None:
        """Write the gradients of ``(outputs * cotangent).sum()`` to their memory; follows :meth:`forward`."""
        self._recording.cotangent.copy_(cotangent)
        self._run(self._calls[1])

    def _run(self, calls: list[_Call]) -> None:
        values = self._values
        for function, args, kwargs, waits, gives in calls:
            if waits:
                args, kwargs = _filled(args, values), _filled(kwargs, values)
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


_ZEROS_AROUND: dict[Any, Callable[..., Tensor]] = {
    _aten.select_backward.default: _aten.select.int,
    _aten.slice_backward.default: _aten.slice.Tensor,
}
"""Gradients of a part, which are zero elsewhere; and how the part is seen."""


def _state(module: nn.Module) -> list[Any]:
    """What a module keeps besides its parameters, as far as it can be compared."""
    plain = (bool, int, float, complex, str, bytes, tuple, type(None))
    kept: list[Any] = [(id(buffer), buffer._version) for buffer in module.buffers()]
    for part in module.modules():
        kept.append({key: value for key, value in vars(part).items() if isinstance(value, plain)})
    return kept


def _call(node: fx.Node, known: Mapping[fx.Node, Any], buffer: Tensor | None) -> _Call:
    """The call that gives a node's value, into its buffer where it has one, which is then ``known``."""
    kernel = _kernel(node)
    waits = any(source not in known for source in node.all_input_nodes)
    args, kwargs = _filled(node.args, known), _filled(node.kwargs, known)
    if kernel is None or buffer is None:
        return _Call(node.target, args, kwargs, waits, node)  # type: ignore[arg-type]
    known[node] = buffer  # type: ignore[index]
    function, out = kernel
    if function is _aten.copy_.default:
        return _Call(function, (_part(node, buffer), args[0]), {}, waits, None)
    return _Call(function, args, {**kwargs, out: buffer}, waits, None)


def _filled(value: Any, known: Mapping[fx.Node, Any]) -> Any:
    """Arguments with the values of the nodes that are known in their places."""
    return fx.map_arg(value, lambda node: known.get(node, node))


def _is_view(function: Any) -> bool:
    """Whether a call gives another view of its argument's memory."""
    if function is _aten._unsafe_view.default:
        return True
    if not isinstance(function, OpOverload):
        return False
    returns = function._schema.returns
    return bool(returns) and all(r.alias_info is not None and not r.alias_info.is_write for r in returns)


def _view(node: fx.Node) -> Callable[..., Any]:
    return _aten.view.default if node.target is _aten._unsafe_view.default else node.target  # type: ignore


def _kernel(node: fx.Node) -> tuple[Callable[..., Any], str] | None:
    """The kernel that writes a node's value to memory it is given, and the name of that argument ("" for a copy)."""
    value = node.meta.get("val")
    if node.op != "call_function" or not isinstance(value, Tensor) or _is_view(node.target):
        return None
    if node.target is _aten.clone.default or node.target in _ZEROS_AROUND:
        return _aten.copy_.default, ""
    return _writing(node.target) if isinstance(node.target, OpOverload) else None


def _part(node: fx.Node, buffer: Tensor) -> Tensor:
    """Where a copy goes: of a buffer that is zero around it, the part that is seen."""
    seen = _ZEROS_AROUND.get(node.target)
    return buffer if seen is None else seen(buffer, *node.args[2:])


@functools.cache
def _writing(operation: OpOverload) -> tuple[OpOverload, str] | None:
    """The overload of an operation that writes its one result, if it is a kernel and not a copy in disguise."""
    wanted = [(argument.name, str(argument.type)) for argument in operation._schema.arguments]
    packet = operation.overloadpacket
    for name in packet.overloads():
        candidate = getattr(packet, name)
        outs = [a.name for a in candidate._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
        rest = [(a.name, str(a.type)) for a in candidate._schema.arguments if a.name not in outs]
        fits = len(outs) == 1 and candidate._schema.arguments[-1].name == outs[0] and rest == wanted
        if fits and torch._C._dispatch_has_kernel_for_dispatch_key(candidate.name(), "CPU"):
            return candidate, outs[0]
    return None


def _memory(nodes: Sequence[fx.Node], device: torch.device) -> dict[fx.Node, Tensor]:
    """For each kernel memory for its result, which later results take over when nobody reads it any more."""
    origin: dict[fx.Node, fx.Node] = {}
    last: dict[fx.Node, int] = {}
    for step, node in enumerate(nodes):
        for source in node.all_input_nodes:
            last[origin[source]] = step
        origin[node] = origin[node.all_input_nodes[0]] if _is_view(node.target) else node
    over: dict[int, list[fx.Node]] = defaultdict(list)
    for node, step in last.items():
        over[step].append(node)
    free: dict[tuple[int, torch.dtype], list[Tensor]] = defaultdict(list)
    buffers: dict[fx.Node, Tensor] = {}
    for step, node in enumerate(nodes):
        if _kernel(node):
            value = node.meta["val"]
            spare = free[value.numel(), value.dtype]
            reused = bool(spare) and _dense(value) and node.target not in _ZEROS_AROUND
            buffers[node] = spare.pop().as_strided(value.shape, value.stride()) if reused else _like(value, device)
        for done in over[step]:
            if done in buffers and done.target not in _ZEROS_AROUND and _dense(buffers[done]):
                free[buffers[done].numel(), buffers[done].dtype].append(buffers[done])
    return buffers


def _like(value: Tensor, device: torch.device) -> Tensor:
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=device).zero_()


def _dense(tensor: Tensor) -> bool:
    """Whether its entries fill one piece of memory."""
    filled = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1 and stride != filled:
            return False
        filled *= size
    return True
