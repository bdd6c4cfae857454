"""Ordinary modules as members of a stack: what can be one, and modules that live on a stack's own memory."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from grokfast._generators import generator_kept
from grokfast.errors import ConfigError
from grokfast.models import Params


def fresh_module(task: Any) -> nn.Module:
    """The task's network, for its structure; torch's global generator is left as it was."""
    with generator_kept():
        module: nn.Module = task.module()
    return module


def check_module(module: Any, task: str) -> nn.Module:
    """The module, if its training is that of its parameters alone.

    Args:
        module: What a task's ``module()`` gave.
        task: Its name, for the message.

    Returns:
        The same.

    Raises:
        ConfigError: If it is no module, or a part of it keeps running statistics, drops out at random, is lazy,
            frozen, or not made of real numbers; the part is named.
    """
    if not isinstance(module, nn.Module):
        raise ConfigError(f"module() of task {task} must give a torch.nn.Module, got {type(module).__name__}")
    for name, part in module.named_modules():
        problem = _problem(part)
        if problem:
            raise ConfigError(f"the network of task {task} cannot train here: {name or 'it'}, {problem}")
    parameters = dict(module.named_parameters())
    if not parameters:
        raise ConfigError(f"the network of task {task} has no parameters to train")
    for name, parameter in parameters.items():
        if is_lazy(parameter):
            raise ConfigError(f"parameter {name} of task {task} is lazy and has no shape yet: give its layer its sizes")
        if not parameter.requires_grad:
            raise ConfigError(
                f"parameter {name} of task {task} is frozen (requires_grad=False): register constants as buffers"
            )
        if not parameter.is_floating_point():
            raise ConfigError(f"parameter {name} of task {task} must be real floating-point, got {parameter.dtype}")
    return module


def _problem(part: nn.Module) -> str:
    kind = type(part).__name__
    if getattr(part, "running_mean", None) is not None:
        return f"a {kind}, keeps running statistics: use LayerNorm or GroupNorm, or track_running_stats=False"
    if isinstance(part, nn.modules.batchnorm._BatchNorm):
        return f"a {kind}, makes a sample's output depend on the batch it is in: use LayerNorm or GroupNorm"
    if isinstance(part, nn.modules.dropout._DropoutNd):
        return f"a {kind} with p={part.p:g}, drops out at random: leave it out, or set p=0" if part.p else ""
    dropout = getattr(part, "dropout", 0.0)
    if isinstance(dropout, float) and dropout > 0:
        return f"a {kind} with dropout={dropout:g}, drops out at random: set dropout=0"
    return ""


def bind(module: nn.Module, params: Mapping[str, Tensor]) -> list[nn.Module]:
    """One module a member, whose parameters are the member's part of the stack's own memory.

    What changes the stack changes them; buffers are shared by all.

    Args:
        module: The network.
        params: Stacked parameters ``[E, ...]`` under the module's names.

    Returns:
        E modules.
    """
    shared = {id(buffer): buffer for buffer in module.buffers()}
    found = []
    for e in range(len(next(iter(params.values())))):
        views = {id(own): nn.Parameter(params[name][e].detach()) for name, own in module.named_parameters()}
        found.append(copy.deepcopy(module, {**shared, **views}))
    return found


def load_parameters(module: nn.Module, params: Mapping[str, Tensor]) -> nn.Module:
    """Copy one member's parameters into a module; parameters that are tied stay tied, buffers stay.

    Args:
        module: The network.
        params: By name, as ``module.named_parameters()`` has them.

    Returns:
        The same module.

    Raises:
        ConfigError: If names or shapes differ.
    """
    own = dict(module.named_parameters())
    shapes = {name: list(parameter.shape) for name, parameter in own.items()}
    given = {name: list(tensor.shape) for name, tensor in params.items()}
    if shapes != given:
        differing = sorted(name for name in {*shapes, *given} if shapes.get(name) != given.get(name))
        first = differing[0]
        raise ConfigError(
            f"the network and the parameters do not match in {', '.join(differing)}: expected {first} of shape "
            f"{shapes.get(first, 'none')}, got {given.get(first, 'none')}"
        )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(params[name])
    return module


def named(module: nn.Module) -> Params:
    """Copies of a module's parameters by name; of tied ones, the first name alone."""
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


def differing(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Sequence[str]:
    """Names whose tensors differ in shape or in a bit."""
    return [name for name in one if name not in other or not torch.equal(one[name], other[name])]
