"""A stack's data and network, tried once before training: what does not fit is said before an hour is spent on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from grokfast.errors import ConfigError
from grokfast.tasks.base import Split, Task
from grokfast.tasks.modules import differing, named
from grokfast.tasks.network import NetworkTask
from grokfast.tasks.outputs import Loss, are_labels

_SAMPLES = 4


def check_splits(task: Task, splits: Sequence[Split]) -> None:
    """Raise unless these data, each member's, can be trained on as one stack.

    Raises:
        ConfigError: If samples and labels are no tensors or differ in number, members in shape, or labels have no
            meaning.
    """
    for split in splits:
        _check_split(task, split, splits[0])


def _check_split(task: Task, split: Any, first: Split) -> None:
    def refuse(words: str) -> None:
        raise ConfigError(f"the data of task {task.name} cannot be trained on: {words}")

    if not isinstance(split, Split):
        refuse(f"split(seed) must give a grokfast.tasks.Split, got {type(split).__name__}")
    for side in ("train", "test"):
        inputs, labels = getattr(split, f"{side}_inputs"), getattr(split, f"{side}_labels")
        if not isinstance(inputs, Tensor) or not isinstance(labels, Tensor):
            refuse(f"{side} inputs and labels must be tensors, got {type(inputs).__name__}, {type(labels).__name__}")
        if inputs.dim() == 0 or labels.dim() == 0 or len(inputs) != len(labels) or not len(labels):
            refuse(f"expected as many {side} inputs as labels, got {list(inputs.shape)} and {list(labels.shape)}")
        if labels.dtype != torch.int64 and not labels.is_floating_point():
            refuse(f"{side} labels must be classes, int64 [N], or float targets [N, K], got {labels.dtype}")
        if not labels.isfinite().all():
            refuse(f"{side} targets must be finite")
        shapes = [list(getattr(one, f"{side}_inputs").shape) for one in (split, first)]
        if shapes[0] != shapes[1]:
            refuse(f"members of a stack need {side} inputs of one shape, got {shapes[1]} and {shapes[0]}")
    if (
        split.train_labels.dtype != split.test_labels.dtype
        or split.train_labels.shape[1:] != split.test_labels.shape[1:]
    ):
        refuse("train and test labels must be of one kind")


def check_network(task: Task, split: Split, params: Mapping[str, Tensor]) -> None:
    """Raise unless the network of a :class:`NetworkTask` can be trained on these data.

    Args:
        task: The task; of another kind than that there is nothing to try.
        split: A member's data.
        params: Initial parameters ``[E, ...]``.

    Raises:
        ConfigError: If the network is no function of one sample and its parameters, or its outputs do not fit the
            labels and the loss.
    """
    if isinstance(task, NetworkTask):
        with torch.enable_grad():
            _check_network(task, split, next(iter(params.values())))


def _check_network(task: NetworkTask, split: Split, like: Tensor) -> None:
    def refuse(words: str) -> None:
        raise ConfigError(f"the network of task {task.name} cannot train here: {words}")

    module = task.draw(0)
    _check_draws(task, module, refuse)
    module = module.to(like.device, like.dtype)
    inputs = task.encode(split.train_inputs[:_SAMPLES], like.dtype)
    if not isinstance(inputs, Tensor) or len(inputs) != len(split.train_inputs[:_SAMPLES]):
        refuse("encode(inputs, dtype) must give a tensor with one row a sample")
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    outputs = _outputs(task, module, inputs)
    again = _outputs(task, module, inputs)
    changed = differing(before, dict(module.named_buffers()))
    if changed:
        refuse(f"a forward pass changes {', '.join(changed)}; only constant buffers can be shared by the members")
    if not torch.equal(outputs, again) and not outputs.isnan().any():
        refuse("its outputs change from call to call: it draws random numbers")
    _check_alone(outputs, _outputs(task, module, inputs[:1]), _outputs(task, module.eval(), inputs), refuse)
    module.train()
    _check_fit(task, split, outputs)
    gradient = task.judge(outputs.detach(), split.train_labels[: len(outputs)], with_gradient=True).gradient
    found = torch.autograd.grad(outputs, list(module.parameters()), gradient, allow_unused=True)
    unused = [name for (name, _), value in zip(module.named_parameters(), found, strict=True) if value is None]
    if unused:
        refuse(f"the loss does not depend on {', '.join(unused)}: leave such parameters out")


def _outputs(task: NetworkTask, module: nn.Module, inputs: Tensor) -> Tensor:
    try:
        outputs: Any = module(inputs)
    except Exception as error:
        raise ConfigError(
            f"the network of task {task.name} does not take its inputs, {inputs.dtype} {list(inputs.shape)} after "
            f"encode: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(outputs, Tensor) or outputs.dim() == 0 or len(outputs) != len(inputs):
        got = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ConfigError(
            f"the network of task {task.name} must give one tensor with a row a sample, [{len(inputs)}, C], got {got}"
        )
    return outputs


def _check_draws(task: NetworkTask, module: nn.Module, refuse: Any) -> None:
    drawn = named(module)
    unsteady = differing(drawn, named(task.draw(0)))
    if unsteady:
        refuse(
            f"{', '.join(unsteady)} started differently under one seed: draw initial values from torch's own "
            "generator, or in reset(generator) from the one it is given"
        )
    other = differing(dict(module.named_buffers()), dict(task.draw(1).named_buffers()))
    if other:
        refuse(
            f"the buffers {', '.join(other)} differ between seeds; only constant buffers can be shared by the members"
        )


def _check_alone(outputs: Tensor, alone: Tensor, evaluated: Tensor, refuse: Any) -> None:
    size = outputs.detach().abs().max()
    if not size.isfinite():
        return  # a scale at which nothing can be compared; the run is marked as diverged
    if (outputs[0] - alone[0]).detach().abs().max() > 1e-3 * size:
        refuse("what it gives for a sample depends on the other samples of the batch")
    if (outputs - evaluated).detach().abs().max() > 1e-3 * size:
        refuse("it gives something else in evaluation mode than in training mode")


def _check_fit(task: NetworkTask, split: Split, outputs: Tensor) -> None:
    labels = torch.cat([split.train_labels, split.test_labels])
    count = len(outputs)
    if not isinstance(task.loss_function, Loss):
        _check_own_loss(task, outputs, split.train_labels[:count])
    elif are_labels(labels):
        if outputs.dim() != 2 or not 0 <= labels.min() <= labels.max() < outputs.shape[1]:
            raise ConfigError(
                f"the network of task {task.name} must give [N, C] with C > {labels.max()}, one output a class: labels "
                f"go from {labels.min()} to {labels.max()}, outputs are {list(outputs.shape)}"
            )
    elif task.loss_function is Loss.CROSS_ENTROPY or not labels.is_floating_point():
        raise ConfigError(
            f"{task.loss_function.value} needs classes, int64 [N], but task {task.name} has {labels.dtype} "
            f"{list(labels.shape)}: mean-squared-error takes float targets [N, K], a loss of your own whatever you like"
        )
    elif outputs.dim() != 2 or outputs.shape[1:] != labels.shape[1:]:
        raise ConfigError(
            f"outputs and targets of task {task.name} must both be [N, K], got {list(outputs.shape)} and "
            f"{[count, *labels.shape[1:]]}"
        )


def _check_own_loss(task: NetworkTask, outputs: Tensor, labels: Tensor) -> None:
    try:
        rows = [slice(k, k + 1) for k in range(len(labels))]
        whole = task.judge(outputs.detach(), labels, with_gradient=True).loss
        parts = torch.stack([task.judge(outputs[row].detach(), labels[row]).loss for row in rows])
    except Exception as error:
        raise ConfigError(
            f"the loss of task {task.name} does not take outputs {list(outputs.shape)} and labels {labels.dtype} "
            f"{list(labels.shape)}: {type(error).__name__}: {error}"
        ) from error
    if whole.isfinite() and (whole - parts.mean()).abs() > 1e-4 * parts.abs().max():
        raise ConfigError(
            f"the loss of task {task.name} must be a mean over the samples: of {len(labels)} it is {whole.item():g}, "
            f"the mean of its values for each is {parts.mean().item():g}"
        )
