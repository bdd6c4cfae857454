"""Hooks of a step: what is done to a member's gradient before it, and to its parameters after it.

A hook is named in ``RunConfig.hooks`` by its kind and its numbers: ``"ema:0.98:2"``. It is part of what is trained, so
of a run's key. What it remembers is stacked like the parameters, and saved with the state of the stack.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from grokfast._checks import check_fraction, check_positive, nearest
from grokfast.errors import ConfigError
from grokfast.models import Params, zeros_together
from grokfast.store.identity import canonical

Tensors = Sequence[Tensor]


class Hook(Protocol):
    """One hook, on one member at a time: what a member learns cannot depend on who is stacked with it."""

    kind: ClassVar[str]

    def memory(self, params: Params) -> list[Tensor]:
        """What it remembers of a stack ``[E, ...]`` before the first step: tensors with members as leading axis."""
        ...

    def before(self, step: int, params: Tensors, gradients: Tensors, memory: Tensors) -> None:
        """Change a member's gradients in place before its step, from 1."""
        ...

    def after(self, params: Tensors, memory: Tensors) -> None:
        """Change a member's parameters in place after its step."""
        ...


class _Plain:
    """A hook that remembers nothing and does nothing."""

    def memory(self, params: Params) -> list[Tensor]:
        """Nothing."""
        return []

    def before(self, step: int, params: Tensors, gradients: Tensors, memory: Tensors) -> None:
        """Nothing."""

    def after(self, params: Tensors, memory: Tensors) -> None:
        """Nothing."""


@dataclass(frozen=True)
class EmaFilter(_Plain):
    r"""``ema:α:λ``: the slow part of the gradient is amplified.

    .. math:: h \leftarrow \alpha h + (1 - \alpha) g, \qquad g \leftarrow g + \lambda h

    with :math:`h = g` at the first step.

    Args:
        alpha: α, in (0, 1).
        amplification: λ, > 0.

    Source:
        Lee et al. 2024, "Grokfast", arXiv 2405.20233, algorithm of the EMA filter; 0.98 and 2 there.
    """

    kind: ClassVar[str] = "ema"
    alpha: float = 0.98
    amplification: float = 2.0

    def __post_init__(self) -> None:
        check_fraction("alpha of the hook ema", self.alpha, error=ConfigError)
        check_positive("lambda of the hook ema", self.amplification, error=ConfigError)

    def memory(self, params: Params) -> list[Tensor]:
        """The running means of the gradients."""
        return list(zeros_together(params).values())

    def before(self, step: int, params: Tensors, gradients: Tensors, memory: Tensors) -> None:
        """Update the means and add them."""
        for gradient, mean in zip(gradients, memory, strict=True):
            if step == 1:
                mean.copy_(gradient)
            else:
                mean.mul_(self.alpha).add_(gradient * (1 - self.alpha))
            gradient.add_(mean * self.amplification)


@dataclass(frozen=True)
class Orthogonal(_Plain):
    r"""``orthogonal``: the gradient of each parameter tensor loses its part along the parameter, and keeps its length.

    .. math:: g_\perp = g - \frac{\theta \cdot g}{|\theta|^2} \theta, \qquad g \leftarrow g_\perp |g| / |g_\perp|

    A step that only scales a tensor, which lowers the loss of a network that fits its data already, is not taken. Where
    less than a share :math:`\sqrt\epsilon` of the gradient is left (the bias of two outputs soon lies along its
    gradient), that is rounding and not a direction: the gradient is zero then, and not noise of its length.

    Source:
        Prieto et al. 2025, arXiv 2501.04697, ⊥Grad.
    """

    kind: ClassVar[str] = "orthogonal"

    def before(self, step: int, params: Tensors, gradients: Tensors, memory: Tensors) -> None:
        """Project and rescale."""
        for parameter, gradient in zip(params, gradients, strict=True):
            length = gradient.square().sum().sqrt()
            along = (parameter * gradient).sum() / (parameter.square().sum() + 1e-30)
            gradient.sub_(parameter * along)
            left = gradient.square().sum().sqrt()
            is_rounding = left <= length * torch.finfo(gradient.dtype).eps ** 0.5
            gradient.mul_(torch.where(is_rounding, 0.0, length / (left + 1e-30)))


@dataclass(frozen=True)
class Sphere(_Plain):
    r"""``sphere``: the whole parameter vector keeps the length that it was initialised with, which w0 scales.

    .. math:: \theta \leftarrow \theta \, |\theta_0| / |\theta|

    Source:
        Liu et al. 2023, "Omnigrok", arXiv 2210.01117: training at constrained weight norm.
    """

    kind: ClassVar[str] = "sphere"

    def memory(self, params: Params) -> list[Tensor]:
        """The length ``[E]`` of each member, float64."""
        members = len(next(iter(params.values())))
        return [torch.stack([_length([tensor[e] for tensor in params.values()]) for e in range(members)])]

    def after(self, params: Tensors, memory: Tensors) -> None:
        """Rescale."""
        ratio = memory[0] / _length(params)
        for parameter in params:
            parameter.mul_(ratio)


def _length(tensors: Tensors) -> Tensor:
    return torch.stack([tensor.double().square().sum() for tensor in tensors]).sum().sqrt()


HOOKS: dict[str, Callable[..., Hook]] = {hook.kind: hook for hook in (EmaFilter, Orthogonal, Sphere)}
"""Hooks by kind."""


@functools.lru_cache(maxsize=64)
def hooks_of(names: tuple[str, ...]) -> tuple[Hook, ...]:
    """The hooks that a configuration names, in its order.

    Raises:
        ConfigError: If there is no such hook, its numbers do not fit, or one is named twice.
    """
    found = tuple(map(_hook, names))
    kinds = [hook.kind for hook in found]
    twice = next((kind for kind in kinds if kinds.count(kind) > 1), None)
    if twice is not None:
        raise ConfigError(f"hooks must name each kind once, got {twice!r} twice")
    return found


def spelled(hook: Hook) -> str:
    """A hook's one spelling, with all its numbers."""
    return ":".join([hook.kind, *(str(canonical(number)) for number in astuple(hook))])  # type: ignore[call-overload]


def _hook(name: str) -> Hook:
    kind, *words = name.split(":")
    if kind not in HOOKS:
        raise ConfigError(f"hooks must be of {', '.join(map(_form, HOOKS))}, got {name!r}{nearest(kind, HOOKS)}")
    numbers = [_number(word) for word in words]
    if len(numbers) > len(inspect.signature(HOOKS[kind]).parameters) or None in numbers:
        raise ConfigError(f"a hook {kind} must be written {_form(kind)}, got {name!r}")
    return HOOKS[kind](*numbers)


def _form(kind: str) -> str:
    return repr(":".join([kind, *(name.upper() for name in inspect.signature(HOOKS[kind]).parameters)]))


def _number(word: str) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def before_step(
    hooks: Sequence[Hook], step: int, params: Params, gradients: Params, memory: Sequence[Tensors], active: Tensor
) -> None:
    """Let hooks change the gradients of the active members, in place.

    Args:
        hooks: In order.
        step: Of the optimiser, from 1.
        params: Stacked parameters.
        gradients: Of the same names and shapes.
        memory: What each hook remembers.
        active: uint8 ``[E]``.
    """
    for e in active.nonzero().flatten().tolist():
        own, slopes = [tensor[e] for tensor in params.values()], [gradients[name][e] for name in params]
        for hook, tensors in zip(hooks, memory, strict=True):
            hook.before(step, own, slopes, [tensor[e] for tensor in tensors])


def after_step(hooks: Sequence[Hook], params: Params, memory: Sequence[Tensors], active: Tensor) -> None:
    """Let hooks change the parameters of the active members, in place; arguments as for :func:`before_step`."""
    for e in active.nonzero().flatten().tolist():
        own = [tensor[e] for tensor in params.values()]
        for hook, tensors in zip(hooks, memory, strict=True):
            hook.after(own, [tensor[e] for tensor in tensors])
