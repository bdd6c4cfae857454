"""What a model raises on its inputs, told as an error that names them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from grokfast.errors import GrokfastError, InputError

_P = ParamSpec("_P")
_R = TypeVar("_R")

_MARK = "grokfast_inputs"


def mark(error: Exception, inputs: Iterable[Tensor]) -> None:
    """Note on what a model raised what it was called with."""
    kinds = (f"{tensor.dtype} {list(tensor.shape)}".removeprefix("torch.") for tensor in inputs)
    error.__dict__.setdefault(_MARK, ", ".join(kinds))


def told(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Decorator of a public function that runs models: what a model raised becomes an InputError that names its inputs.

    Want of memory, warnings that are errors and our own errors stay what they are.
    """

    @functools.wraps(function)
    def asked(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except (GrokfastError, MemoryError, torch.OutOfMemoryError, Warning):
            raise
        except Exception as error:  # whatever a model may raise
            inputs = error.__dict__.get(_MARK)
            if inputs is None:
                raise
            said = f": {text[0]}" if (text := str(error).splitlines()) else ""
            raise InputError(f"the model raises {type(error).__name__} on inputs {inputs}{said}") from error

    return asked
