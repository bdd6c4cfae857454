"""What the last hidden layer of any network gives, read off as it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from grokfast.errors import InputError
from grokfast.tasks import Task


class Hidden(NamedTuple):
    """One network on some inputs.

    Attributes:
        hidden: ``[N, d]``: what its last linear layer takes; further axes are flattened.
        outputs: ``[N, C]``.
    """

    hidden: Tensor
    outputs: Tensor


def last_hidden(model: nn.Module, task: Task, inputs: Tensor) -> Hidden:
    """Activations that the network's last matrix of parameters takes, and the outputs.

    The matrix may belong to a ``torch.nn.Linear`` or stand in the network's own products (``x @ self.W_U.T``).

    Args:
        model: A network of the task.
        task: The task, which encodes the inputs.
        inputs: Raw inputs ``[N, ...]``.

    Raises:
        InputError: If no matrix of parameters is multiplied with anything ``[N, ...]``.
    """
    watch = _Products(model)
    with torch.no_grad(), watch:
        outputs = model(task.encode(inputs, next(model.parameters()).dtype))
    if watch.taken is None or len(watch.taken) != len(outputs):
        raise InputError(f"the network of task {task.name} runs no linear layer on [N, ...] whose input could be read")
    return Hidden(watch.taken.flatten(1), outputs)


class _Products(TorchFunctionMode):
    """Keeps what the last product with a parameter of the network took."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.taken: Tensor | None = None
        self._own = {p.untyped_storage().data_ptr() for p in model.parameters() if p.dim() == 2}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in _PRODUCTS:
            factors = [arg for arg in (*args, *(kwargs or {}).values()) if isinstance(arg, Tensor) and arg.dim() > 1]
            rest = [factor for factor in factors if factor.untyped_storage().data_ptr() not in self._own]
            if len(rest) < len(factors) and rest:
                self.taken = rest[-1].detach()
        return func(*args, **(kwargs or {}))


_PRODUCTS = frozenset(
    {
        nn.functional.linear,
        torch.matmul,
        torch.mm,
        torch.addmm,
        torch.einsum,
        Tensor.matmul,
        Tensor.mm,
        Tensor.addmm,
        Tensor.__matmul__,
        Tensor.__rmatmul__,
    }
)
