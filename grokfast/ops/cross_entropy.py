"""Cross entropy, accuracy and gradient of a stack of classifiers in one pass over the logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from grokfast.errors import InputError
from grokfast.ops._arguments import check_device, check_floats, check_memory, check_range
from grokfast.ops._native import call, kernel


def cross_entropy_reference(logits: Tensor, labels: Tensor, with_grad: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The readable twin of :func:`cross_entropy`, from torch operations."""
    logp = torch.log_softmax(logits, -1)
    loss = -logp.gather(-1, labels[..., None])[..., 0].mean(1)
    correct = (logits.argmax(-1) == labels).sum(1)
    if not with_grad:
        return loss, correct, logits.new_empty(0)
    grad = logp.exp()
    grad.scatter_add_(-1, labels[..., None], grad.new_full((), -1.0).expand(*labels.shape, 1))
    return loss, correct, grad / logits.shape[1]


def _check(logits: Tensor, labels: Tensor) -> None:
    if logits.dim() != 3 or labels.shape != logits.shape[:2] or labels.dtype != torch.int64:
        raise InputError(
            "expected logits [E, N, C] and int64 labels [E, N], "
            f"got {list(logits.shape)} and {labels.dtype} {list(labels.shape)}"
        )
    if logits.shape[1] == 0 or logits.shape[2] == 0:
        raise InputError(f"expected at least one sample and one class, got logits {list(logits.shape)}")
    check_floats(logits)
    check_device(logits, labels=labels)


@torch.library.custom_op("grokfast::cross_entropy", mutates_args=())
def cross_entropy(logits: Tensor, labels: Tensor, with_grad: bool) -> tuple[Tensor, Tensor, Tensor]:
    r"""Mean cross entropy of each member, its correct predictions, and its gradient.

    .. math:: \ell_e = -\frac{1}{N}\sum_n \log p_{en,y_{en}}, \qquad
              \partial\ell_e/\partial f_{enc} = (p_{enc} - \delta_{c,y_{en}}) / N, \qquad p = \mathrm{softmax}(f)

    The compiled kernels use the forms that stay accurate when p saturates: log1p of the other classes' weight for
    the loss, and minus their sum for the gradient at the label. The loss is differentiable once in the logits.

    Args:
        logits: ``[E, N, C]``, float32 or float64.
        labels: int64 ``[E, N]`` in ``0 .. C - 1``.
        with_grad: Whether the gradient is wanted.

    Returns:
        Loss ``[E]`` in nats; correct predictions, int64 ``[E]`` (of equal largest logits the first counts);
        gradient ``[E, N, C]``, or an empty tensor without ``with_grad``. A sample with a logit that is not finite
        makes its member's loss NaN.

    Raises:
        InputError: If shapes or dtypes do not match, or a label is out of range.
    """
    _check(logits, labels)
    check_range("labels", labels, logits.shape[2])
    return cross_entropy_reference(logits, labels, with_grad)


@cross_entropy.register_kernel(["cpu", "cuda"])
def cross_entropy_direct(logits: Tensor, labels: Tensor, with_grad: bool) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`cross_entropy` without torch's dispatcher: for logits without a history, in steps of microseconds."""
    _check(logits, labels)
    check_memory((logits, labels))
    check_range("labels", labels, logits.shape[2])
    run = kernel("cross_entropy", logits)
    if run is None:
        return cross_entropy_reference(logits, labels, with_grad)
    logits, labels = logits.contiguous(), labels.contiguous()
    loss, correct = logits.new_empty(logits.shape[0]), labels.new_empty(logits.shape[0])
    grad = torch.empty_like(logits) if with_grad else logits.new_empty(0)
    call(run, logits, logits, labels, loss, correct, grad, *logits.shape)
    return loss, correct, grad


@cross_entropy.register_fake
def _fake(logits: Tensor, labels: Tensor, with_grad: bool) -> tuple[Tensor, Tensor, Tensor]:
    _check(logits, labels)
    members = logits.shape[0]
    grad = torch.empty_like(logits, memory_format=torch.contiguous_format) if with_grad else logits.new_empty(0)
    return logits.new_empty(members), labels.new_empty(members), grad


def _setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: tuple[Tensor, Tensor, Tensor]) -> None:
    _, correct, grad = output
    ctx.with_grad = inputs[2]
    ctx.mark_non_differentiable(correct, grad)
    ctx.save_for_backward(grad)


@once_differentiable
def _backward(ctx: Any, grad_loss: Tensor, *_: Tensor) -> tuple[Tensor, None, None]:
    if not ctx.with_grad:
        raise InputError("cross_entropy was called with with_grad=False, so it cannot be differentiated")
    (grad,) = ctx.saved_tensors
    return grad * grad_loss[:, None, None], None, None


cross_entropy.register_autograd(_backward, setup_context=_setup_context)
