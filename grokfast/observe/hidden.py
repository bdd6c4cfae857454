"""What the last hidden layer of any network gives, read off as it runs."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

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
    """Activations before the last linear layer, and the outputs.

    Args:
        model: A network of the task.
        task: The task, which encodes the inputs.
        inputs: Raw inputs ``[N, ...]``.

    Raises:
        InputError: If the network runs no linear layer on its way.
    """
    seen: list[Tensor] = []

    def keep(_module: nn.Module, arguments: tuple[Any, ...]) -> None:
        seen.append(arguments[0].detach())

    hooks = [part.register_forward_pre_hook(keep) for part in model.modules() if isinstance(part, nn.Linear)]
    try:
        with torch.no_grad():
            outputs = model(task.encode(inputs, next(model.parameters()).dtype))
    finally:
        for hook in hooks:
            hook.remove()
    if not seen or len(seen[-1]) != len(outputs):
        raise InputError(f"the network of task {task.name} runs no linear layer on [N, ...] whose input could be read")
    return Hidden(seen[-1].flatten(1), outputs)
