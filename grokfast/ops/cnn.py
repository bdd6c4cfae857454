"""Loss and gradients of small convolutional networks, fused."""

from __future__ import annotations

from array import array

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.ops._arguments import check_alike, check_device, check_floats, check_memory, check_range, is_plain
from grokfast.ops._native import call, kernel
from grokfast.ops.conv_pool import check_conv, conv_relu_pool_backward, conv_relu_pool_winners, shared_samples
from grokfast.ops.cross_entropy import cross_entropy

MOST_LAYERS_ON_CUDA = 16
"""``kMostLayers`` of csrc/cuda/cnn_layers.cuh."""


def cnn_cross_entropy_reference(
    params: list[Tensor], inputs: Tensor, labels: Tensor, grads: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """The readable twin of :func:`cnn_cross_entropy_`, from torch and smaller operations."""
    layers = list(zip(params[::2], params[1::2], strict=True))
    convs = sum(weight.dim() == 5 for weight, _ in layers)
    x, seen, winners = inputs.to(params[0].dtype), [], []
    for weight, bias in layers[:convs]:
        seen.append(x)
        x, won = conv_relu_pool_winners(x, weight, bias)
        winners.append(won)
    x = x.flatten(2)
    for k, (weight, bias) in enumerate(layers[convs:]):
        x = torch.relu(x) if k else x
        seen.append(x)
        x = torch.baddbmm(bias[:, None], x, weight.transpose(1, 2))
    loss, correct, d = cross_entropy(x, labels, bool(grads))
    for k in reversed(range(len(layers)) if grads else ()):
        weight, _ = layers[k]
        if k < convs:
            d, *found = conv_relu_pool_backward(d.view_as(winners[k]), winners[k], seen[k], weight, k > 0)
        else:
            found = [d.transpose(1, 2) @ seen[k], d.sum(1)]
            d = d @ weight
            d = torch.where(seen[k] <= 0, 0, d) if k > convs else d
        for out, grad in zip(grads[2 * k : 2 * k + 2], found, strict=True):
            out.copy_(grad)
    return loss, correct


def check_cnn(params: list[Tensor], inputs: Tensor, labels: Tensor, grads: list[Tensor]) -> None:
    """Raise unless a stack's parameters, samples, labels and gradients are as :func:`cnn_cross_entropy_` takes them."""
    weights, biases = params[::2], params[1::2]
    convs = sum(weight.dim() == 5 for weight in weights)
    kinds = [weight.dim() for weight in weights]
    if len(params) % 2 or len(grads) not in (0, len(params)) or 0 in (convs, len(kinds) - convs):
        raise InputError(
            "expected weight and bias of one convolution or more and of one linear layer or more, and as many "
            f"gradients or none, got parameters of shapes {[list(p.shape) for p in params]} and {len(grads)} gradients"
        )
    if kinds != [5] * convs + [3] * (len(kinds) - convs):
        raise InputError(
            "expected convolutions [E, O, C, k, k], then linear layers [E, O, I], "
            f"got {[list(w.shape) for w in weights]}"
        )
    shape = tuple(inputs.shape)
    for k in range(convs):
        check_conv(shape, weights[k], biases[k], f" of layer {k}")
        shape = (*shape[:2], weights[k].shape[1], shape[3] // 2, shape[4] // 2)
    width = shape[2] * shape[3] * shape[4]
    for k in range(convs, len(weights)):
        if (weights[k].shape[0], weights[k].shape[2]) != (shape[0], width) or biases[k].shape != weights[k].shape[:2]:
            raise InputError(
                f"expected weight [{shape[0]}, O, {width}] and bias [{shape[0]}, O] of layer {k}, got "
                f"{list(weights[k].shape)} and {list(biases[k].shape)}"
            )
        width = weights[k].shape[1]
    if labels.shape != inputs.shape[:2] or labels.dtype != torch.int64 or labels.shape[1] == 0:
        raise InputError(
            f"labels must be int64 {list(inputs.shape[:2])} with at least one sample, got {labels.dtype} "
            f"{list(labels.shape)}"
        )
    if inputs.dtype not in (torch.int8, params[0].dtype):
        raise InputError(f"inputs must be {params[0].dtype} or int8, got {inputs.dtype}")
    check_floats(params[0])
    check_alike(params[0], "parameter", params)
    check_device(params[0], inputs=inputs, labels=labels)
    check_alike(params[0], "gradient", grads)
    for k, (grad, tensor) in enumerate(zip(grads, params, strict=False)):
        if grad.shape != tensor.shape or grad.stride() != tensor.stride():
            raise InputError(f"gradient {k} must have the shape and strides of its parameter")


def layer_sizes(weights: list[Tensor]) -> tuple[int, list[int]]:
    """How many of the layers are convolutions, and the numbers that kernels take: outputs and kernel, or outputs."""
    convs = sum(weight.dim() == 5 for weight in weights)
    spec = [n for weight in weights[:convs] for n in (weight.shape[1], weight.shape[3])]
    return convs, spec + [weight.shape[1] for weight in weights[convs:]]


@torch.library.custom_op("grokfast::cnn_cross_entropy_", mutates_args=("grads",))
def cnn_cross_entropy_(
    params: list[Tensor], inputs: Tensor, labels: Tensor, grads: list[Tensor]
) -> tuple[Tensor, Tensor]:
    r"""Mean cross entropy of each member of a stack of CNNs, its correct predictions, and its gradients in place.

    .. math:: \ell_e = -\frac1N \sum_n \log\mathrm{softmax}\bigl(f_e(x_{en})\bigr)_{y_{en}}

    with f one block of convolution, ReLU and 2×2 max-pooling or more (:func:`conv_relu_pool` has their formula), then
    one fully connected layer or more with ReLU between them. On the CPU all of it stays in the cache, member by
    member, a block of samples at a time; on CUDA it is one launch, with a block a member, for at most 16 layers;
    smaller operations do the same for what is deeper or laid out otherwise.

    Args:
        params: Weight and bias of each layer in order: ``[E, O, C, k, k]`` (k odd) and ``[E, O]`` of the convolutions,
            ``[E, O, I]`` and ``[E, O]`` of the linear layers; float32 or float64. The first linear layer takes the
            last map flattened in the order channel, row, column.
        inputs: ``[E, N, C, H, W]`` of the dtype of ``params``, or int8; may be expanded over E.
        labels: int64 ``[E, N]``, one of the classes ``0 .. O - 1`` of the last layer.
        grads: One tensor per parameter, of its shape and strides, overwritten with the gradient of each member's
            loss; or none, if only the loss is wanted.

    Returns:
        Loss ``[E]`` in nats (NaN if a logit is not finite) and correct predictions, int64 ``[E]``.

    Raises:
        InputError: If shapes, strides or dtypes do not match, or a label is out of range.

    Source:
        arXiv 2502.01739, table of models (the Ising CNN).
    """
    check_cnn(params, inputs, labels, grads)
    check_range("labels", labels, params[-1].shape[1])
    return cnn_cross_entropy_reference(params, inputs, labels, grads)


@cnn_cross_entropy_.register_kernel(["cpu", "cuda"])
def _compiled(params: list[Tensor], inputs: Tensor, labels: Tensor, grads: list[Tensor]) -> tuple[Tensor, Tensor]:
    check_cnn(params, inputs, labels, grads)
    check_memory((*params, inputs, labels, *grads))
    check_range("labels", labels, params[-1].shape[1])
    run = kernel("cnn_cross_entropy", params[0])
    too_deep = params[0].is_cuda and len(params) // 2 > MOST_LAYERS_ON_CUDA
    if run is None or too_deep or not all(tensor.is_contiguous() for tensor in params):
        return cnn_cross_entropy_reference(params, inputs, labels, grads)
    x, step = shared_samples(inputs)
    labels = labels.contiguous()
    weights = params[::2]
    convs, spec = layer_sizes(weights)
    # One small array holds all the numbers that the kernel reads.
    numbers = array("q", [tensor.data_ptr() for tensor in (*params, *grads)] + spec)
    start = numbers.buffer_info()[0]
    grads_at, spec_at = start + 8 * len(params), start + 8 * (len(params) + len(grads))
    members = params[0].shape[0]
    loss, correct = params[0].new_empty(members), labels.new_empty(members)
    call(
        run, loss, x, x.dtype is torch.int8, step, start, grads_at if grads else 0, spec_at, labels, loss,
        correct, members, labels.shape[1], convs, len(weights) - convs, *inputs.shape[2:],
    )  # fmt: skip
    return loss, correct


def cnn_cross_entropy_direct(
    params: list[Tensor], inputs: Tensor, labels: Tensor, grads: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """:func:`cnn_cross_entropy_` without torch's dispatcher around it, which can cost as much as a small step.

    For training loops: the compiled body on the CPU, elsewhere the operation itself.

    Args:
        params: As for :func:`cnn_cross_entropy_`.
        inputs: As for :func:`cnn_cross_entropy_`.
        labels: As for :func:`cnn_cross_entropy_`.
        grads: As for :func:`cnn_cross_entropy_`.

    Returns:
        Loss ``[E]`` and correct predictions, int64 ``[E]``.

    Raises:
        InputError: As :func:`cnn_cross_entropy_` does.
    """
    run = _compiled if is_plain((*params, inputs, labels, *grads)) else cnn_cross_entropy_
    found: tuple[Tensor, Tensor] = run(params, inputs, labels, grads)
    return found


@cnn_cross_entropy_.register_fake
def _fake(params: list[Tensor], inputs: Tensor, labels: Tensor, grads: list[Tensor]) -> tuple[Tensor, Tensor]:
    check_cnn(params, inputs, labels, grads)
    return params[0].new_empty(params[0].shape[0]), labels.new_empty(labels.shape[0])
