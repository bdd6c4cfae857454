"""One check of arguments at the public edge: what a function's annotations say of its arguments is made sure of.

Only what annotations can say is checked here: that a tensor is one, of real numbers that are there, that a number is a
number. Shapes and ranges are each function's own affair. An error names the argument, what was expected and what came.
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from grokfast.errors import InputError

_P = ParamSpec("_P")
_R = TypeVar("_R")

Check = Callable[[str, Any], None]

_UNIONS = (typing.Union, types.UnionType)
_ARRAY_LIKE = set(typing.get_args(ArrayLike))


LARGEST = 1e150
"""Of numbers in arrays that NumPy computes with, which warns where torch gives infinity."""


def edge(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Decorator of a public function: raise InputError unless its arguments are of the kinds that it is annotated with.

    Looked at are tensors, mappings of names to tensors, numbers, truths, texts, lists of texts, arrays and lists of
    numbers, modules and generators, also where None is allowed; everything else passes.

    Args:
        function: Any function with annotations.

    Returns:
        The function, with the same signature.
    """
    signature = inspect.signature(function)
    checks: dict[str, Check] | None = None

    @functools.wraps(function)
    def checked(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        nonlocal checks
        if checks is None:
            hints = typing.get_type_hints(function)
            checks = {name: _check_of(hints[name]) for name in signature.parameters if name in hints}
        for name, value in zip(signature.parameters, args, strict=False):
            checks[name](name, value)
        for name, value in kwargs.items():
            if name in checks:
                checks[name](name, value)
        return function(*args, **kwargs)

    return checked


def check_tensor(name: str, value: object) -> None:
    """Raise unless ``value`` is a dense tensor of real numbers that has values."""
    if not isinstance(value, Tensor):
        raise InputError(f"{name} must be a tensor, got {said(value)}")
    if value.is_complex() or value.is_quantized:
        raise InputError(f"{name} must be a tensor of real numbers, got {value.dtype}")
    if value.layout is not torch.strided or value.is_meta:
        raise InputError(f"{name} must be a dense tensor with values, got {value.layout} on {value.device}")


def check_tensors(name: str, value: object) -> None:
    """Raise unless ``value`` maps names to tensors as :func:`check_tensor` wants them."""
    if not isinstance(value, Mapping):
        raise InputError(f"{name} must map names to tensors, got {said(value)}")
    for key, tensor in value.items():
        check_tensor(f"{name}[{key!r}]", tensor)


def check_members(name: str, value: Mapping[str, Tensor]) -> None:
    """Raise unless tensors are a stack: at least one, each with a leading axis, of as many members."""
    if not value:
        raise InputError(f"{name} must hold at least one tensor, got none")
    shapes = {key: list(tensor.shape) for key, tensor in value.items()}
    if not all(shapes.values()) or len({shape[0] for shape in shapes.values()}) > 1:
        raise InputError(f"{name} must be stacked, [E, ...] with one number E of members, got {shapes}")


def check_labels(name: str, labels: Tensor, classes: int) -> None:
    """Raise unless labels are integers in 0 .. classes - 1."""
    if labels.dtype != torch.int64:
        raise InputError(f"{name} must be int64, got {labels.dtype}")
    if labels.numel() and not bool(((labels >= 0) & (labels < classes)).all()):
        raise InputError(f"{name} must lie in 0 .. {classes - 1}, got {int(labels.min())} .. {int(labels.max())}")


def computable(values: Tensor) -> Tensor:
    """Values in a type that every operation knows: float32 and float64 as they are, all others in float64."""
    return values if values.dtype in (torch.float32, torch.float64) else values.double()


def rows(stack: Tensor) -> Tensor:
    """``[E, ...]`` as ``[E, n]``, also with one number a member or without members."""
    return stack.flatten(1) if stack.dim() > 1 else stack.unsqueeze(1)


def said(value: object) -> str:
    """A value and its type, as an error names them."""
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:60] + '...'} of type {type(value).__name__}"


def _check_of(hint: Any) -> Check:
    options = set(typing.get_args(hint)) if typing.get_origin(hint) in _UNIONS else {hint}
    check = _check_among(options - {type(None)})
    return (lambda name, value: None if value is None else check(name, value)) if type(None) in options else check


def _check_among(options: set[Any]) -> Check:
    if options == _ARRAY_LIKE:
        return _array
    if len(options) > 1:
        other = _check_among(options - {Tensor}) if Tensor in options else _free
        return lambda name, value: (check_tensor if isinstance(value, Tensor) else other)(name, value)
    (hint,) = options
    if hint is Tensor:
        return check_tensor
    if typing.get_origin(hint) is Mapping:
        return check_tensors if typing.get_args(hint) == (str, Tensor) else _free
    if hint == Sequence[str]:
        return _texts
    if hint in (Sequence[float], Sequence[Sequence[float]]):
        return _array
    return _CHECKS.get(hint, _free) if isinstance(hint, type) else _free


def _free(name: str, value: object) -> None:
    """Nothing is asked."""


def _number(name: str, value: object) -> None:
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real) or math.isnan(value):
        raise InputError(f"{name} must be a number, got {said(value)}")


def _integer(name: str, value: object) -> None:
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral) or abs(int(value)) >> 63:
        raise InputError(f"{name} must be an integer of at most 63 bits, got {said(value)}")


def _truth(name: str, value: object) -> None:
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name} must be True or False, got {said(value)}")


def _text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise InputError(f"{name} must be a text, got {said(value)}")


def _texts(name: str, value: object) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(one, str) for one in value):
        raise InputError(f"{name} must be a list of texts, got {said(value)}")


def _module(name: str, value: object) -> None:
    if not isinstance(value, nn.Module):
        raise InputError(f"{name} must be a torch module, got {said(value)}")


def _generator(name: str, value: object) -> None:
    if not isinstance(value, torch.Generator):
        raise InputError(f"{name} must be a torch.Generator, got {said(value)}")


def _array(name: str, value: object) -> None:
    """Real numbers in any shape that NumPy makes an array of."""
    try:
        found = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} must be an array of numbers, got {said(value)}: {error}") from error
    if found.dtype.kind not in "fiub" or (found.dtype.kind == "u" and found.size and found.max() >> 63):
        raise InputError(f"{name} must be an array of real numbers, got {said(value)}")
    sizes = np.abs(found[np.isfinite(found)].astype(np.float64))
    if sizes.size and sizes.max() > LARGEST:
        raise InputError(f"{name} must be at most {LARGEST:g} in size, whose squares are finite, got {sizes.max():g}")


_CHECKS: dict[type, Check] = {
    float: _number,
    int: _integer,
    bool: _truth,
    str: _text,
    nn.Module: _module,
    torch.Generator: _generator,
}
