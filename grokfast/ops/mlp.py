"""Loss and gradients of one-hidden-layer networks on two-hot pairs, in one kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.ops._arguments import check_alike, check_device, check_floats, check_memory, check_range, is_plain
from grokfast.ops._native import call, kernel
from grokfast.ops.cross_entropy import cross_entropy
from grokfast.ops.two_hot import check_pairs, two_hot_relu, two_hot_relu_backward


def mlp_cross_entropy_reference(
    params: list[Tensor], pairs: Tensor, labels: Tensor, grads: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """The readable twin of :func:`mlp_cross_entropy_`, from torch and smaller operations."""
    weight1, bias1, weight2, bias2 = params
    hidden = two_hot_relu(weight1, bias1, pairs)
    logits = torch.baddbmm(bias2[:, None], hidden, weight2.transpose(1, 2))
    loss, correct, d = cross_entropy(logits, labels, bool(grads))
    if grads:
        found = two_hot_relu_backward(d @ weight2, hidden, pairs, weight1.shape[2] // 2)
        for out, grad in zip(grads, (*found, d.transpose(1, 2) @ hidden, d.sum(1)), strict=True):
            out.copy_(grad)
    return loss, correct


def _check(params: list[Tensor], pairs: Tensor, labels: Tensor, grads: list[Tensor]) -> None:
    if len(params) != 4 or len(grads) not in (0, 4):
        raise InputError(f"expected four parameters and four gradients or none, got {len(params)} and {len(grads)}")
    weight1, bias1, weight2, bias2 = params
    check_pairs(weight1, bias1, pairs)
    members, width, _ = weight1.shape
    if (
        weight2.dim() != 3
        or (weight2.shape[0], weight2.shape[2]) != (members, width)
        or bias2.shape != weight2.shape[:2]
    ):
        raise InputError(
            f"expected weight [{members}, C, {width}] and bias [{members}, C] of the second layer, "
            f"got {list(weight2.shape)} and {list(bias2.shape)}"
        )
    if labels.shape != pairs.shape[:2] or labels.dtype != torch.int64 or labels.shape[1] == 0:
        raise InputError(
            f"labels must be int64 {list(pairs.shape[:2])} with at least one sample, got {labels.dtype} "
            f"{list(labels.shape)}"
        )
    check_floats(weight1, weight2=weight2, bias2=bias2)
    check_device(weight1, labels=labels)
    check_alike(weight1, "gradient", grads)
    for k, (grad, tensor) in enumerate(zip(grads, params, strict=False)):
        if grad.shape != tensor.shape or grad.stride() != tensor.stride():
            raise InputError(f"gradient {k} must have the shape and strides of its parameter")


def is_laid_out(params: list[Tensor]) -> bool:
    """Whether the memory is as the kernel reads it: the first matrix input-major, the others row-major."""
    return params[0].transpose(1, 2).is_contiguous() and all(tensor.is_contiguous() for tensor in params[1:])


@torch.library.custom_op("grokfast::mlp_cross_entropy_", mutates_args=("grads",))
def mlp_cross_entropy_(
    params: list[Tensor], pairs: Tensor, labels: Tensor, grads: list[Tensor]
) -> tuple[Tensor, Tensor]:
    r"""Mean cross entropy of each member of a stack, its correct predictions, and its gradients in place.

    .. math:: \ell_e = -\frac1N \sum_n \log\mathrm{softmax}\bigl(W^{(2)}_e \,
              \mathrm{relu}(W^{(1)}_e x_{en} + c^{(1)}_e) + c^{(2)}_e\bigr)_{y_{en}}

    with x the two-hot vector of ``pairs``. On the CPU all of it stays in the cache, member by member; on CUDA it is
    one launch, with a block a member; for tensors laid out otherwise, torch operations do the same.

    Args:
        params: Weight ``[E, H, 2P]`` (fastest stored with its last two axes swapped), bias ``[E, H]``, weight
            ``[E, C, H]``, bias ``[E, C]``; float32 or float64.
        pairs: int64 ``[E, N, 2]`` in ``0 .. P - 1``.
        labels: int64 ``[E, N]`` in ``0 .. C - 1``.
        grads: Four tensors of the shapes and strides of ``params``, overwritten with the gradient of each member's
            loss; or none, if only the loss is wanted.

    Returns:
        Loss ``[E]`` in nats (NaN if a logit is not finite) and correct predictions, int64 ``[E]``.

    Raises:
        InputError: If shapes, strides or dtypes do not match, or an index or label is out of range.
    """
    _check(params, pairs, labels, grads)
    return mlp_cross_entropy_reference(params, pairs, labels, grads)


@mlp_cross_entropy_.register_kernel(["cpu", "cuda"])
def _compiled(params: list[Tensor], pairs: Tensor, labels: Tensor, grads: list[Tensor]) -> tuple[Tensor, Tensor]:
    _check(params, pairs, labels, grads)
    check_memory((*params, pairs, labels, *grads))
    run = kernel("mlp_cross_entropy", params[0])
    if run is None or not is_laid_out(params):
        return mlp_cross_entropy_reference(params, pairs, labels, grads)
    members, width, inputs = params[0].shape
    classes = params[2].shape[1]
    check_range("pairs", pairs, inputs // 2)
    check_range("labels", labels, classes)
    pairs, labels = pairs.contiguous(), labels.contiguous()
    loss, correct = params[0].new_empty(members), labels.new_empty(members)
    outs: list[Tensor] | list[int] = grads or [0, 0, 0, 0]
    call(run, loss, *params, pairs, labels, *outs, loss, correct, members, pairs.shape[1], inputs // 2, width, classes)
    return loss, correct


def mlp_cross_entropy_direct(
    params: list[Tensor], pairs: Tensor, labels: Tensor, grads: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """:func:`mlp_cross_entropy_` without torch's dispatcher around it, which can cost as much as a small step.

    For training loops: the compiled body on the CPU, elsewhere the operation itself.

    Args:
        params: As for :func:`mlp_cross_entropy_`.
        pairs: As for :func:`mlp_cross_entropy_`.
        labels: As for :func:`mlp_cross_entropy_`.
        grads: As for :func:`mlp_cross_entropy_`.

    Returns:
        Loss ``[E]`` and correct predictions, int64 ``[E]``.

    Raises:
        InputError: As :func:`mlp_cross_entropy_` does.
    """
    run = _compiled if is_plain((*params, pairs, labels, *grads)) else mlp_cross_entropy_
    found: tuple[Tensor, Tensor] = run(params, pairs, labels, grads)
    return found


@mlp_cross_entropy_.register_fake
def _fake(params: list[Tensor], pairs: Tensor, labels: Tensor, grads: list[Tensor]) -> tuple[Tensor, Tensor]:
    _check(params, pairs, labels, grads)
    return params[0].new_empty(params[0].shape[0]), labels.new_empty(labels.shape[0])


def mlp_losses_reference(params: list[Tensor], pairs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The readable twin of :func:`mlp_losses`."""
    return mlp_cross_entropy_reference(params, pairs, labels, [])


def check_losses(params: list[Tensor], pairs: Tensor, labels: Tensor) -> None:
    """Raise unless four parameters, pairs and labels fit together, as :func:`mlp_losses` says."""
    _check(params, pairs, labels, [])


@torch.library.custom_op("grokfast::mlp_losses", mutates_args=())
def mlp_losses(params: list[Tensor], pairs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    r"""Mean cross entropy of each member of a stack and its correct predictions, without gradients.

    As :func:`mlp_cross_entropy_`, up to rounding. On the CPU only hidden units that are active on a pair and reach an
    output are summed, which a trained network has few of and a pruned one fewer. A unit that reaches no output does not
    count there even if it is infinite.

    Args:
        params: Weight ``[E, H, 2P]`` (fastest stored with its last two axes swapped), bias ``[E, H]``, weight
            ``[E, C, H]``, bias ``[E, C]``; float32 or float64.
        pairs: int64 ``[E, N, 2]`` in ``0 .. P - 1``.
        labels: int64 ``[E, N]`` in ``0 .. C - 1``.

    Returns:
        Loss ``[E]`` in nats (NaN if a logit is not finite) and correct predictions, int64 ``[E]``.

    Raises:
        InputError: If shapes or dtypes do not match, or an index or label is out of range.
    """
    _check(params, pairs, labels, [])
    return mlp_losses_reference(params, pairs, labels)


@mlp_losses.register_kernel(["cpu", "cuda"])
def _compiled_losses(params: list[Tensor], pairs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    _check(params, pairs, labels, [])
    check_memory((*params, pairs, labels))
    run = kernel("mlp_losses", params[0])
    if run is None or not is_laid_out(params):
        return mlp_losses_reference(params, pairs, labels)
    members, width, inputs = params[0].shape
    classes = params[2].shape[1]
    check_range("pairs", pairs, inputs // 2)
    check_range("labels", labels, classes)
    pairs, labels = pairs.contiguous(), labels.contiguous()
    loss, correct = params[0].new_empty(members), labels.new_empty(members)
    call(run, loss, *params, pairs, labels, loss, correct, members, pairs.shape[1], inputs // 2, width, classes)
    return loss, correct


@mlp_losses.register_fake
def _fake_losses(params: list[Tensor], pairs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    _check(params, pairs, labels, [])
    return params[0].new_empty(params[0].shape[0]), labels.new_empty(labels.shape[0])
