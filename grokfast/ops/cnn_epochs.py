"""Many epochs of small convolutional networks with Adam, test passes included, in one launch on CUDA."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.ops._arguments import check_range
from grokfast.ops._native import call, kernel, native
from grokfast.ops.cnn import MOST_LAYERS_ON_CUDA, check_cnn, cnn_cross_entropy_, layer_sizes
from grokfast.ops.conv_pool import shared_samples
from grokfast.ops.optimizer import AdamState, adam_epoch_by_batches
from grokfast.ops.optimizer_checks import check_adam, check_adam_memory, check_constants

MOST_EPOCHS = 64
"""Of one launch."""


def cnn_adam_epochs_reference(
    params: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    inputs: Tensor,
    labels: Tensor,
    test_inputs: Tensor,
    test_labels: Tensor,
    tested: list[bool],
    batch_size: int,
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    step: int,
    beta1: float,
    beta2: float,
    eps: float,
    decoupled: bool,
) -> tuple[Tensor, Tensor]:
    """The readable twin of :func:`cnn_adam_epochs_`: epoch by epoch, batch by batch."""
    losses, correct = _answers(learning_rate, labels, len(tested))
    steps = -(-labels.shape[1] // batch_size)

    def gradient(block: slice, grads: list[Tensor]) -> tuple[Tensor, Tensor]:
        loss, hits = cnn_cross_entropy_(params, inputs[:, block], labels[:, block], grads)
        return loss, hits

    for epoch, test in enumerate(tested):
        adam = AdamState(
            means, squares, learning_rate, weight_decay, active, step + epoch * steps, beta1, beta2, eps, decoupled
        )
        losses[0, epoch], correct[0, epoch] = adam_epoch_by_batches(params, adam, gradient, labels.shape[1], batch_size)
        if test:
            mean, correct[1, epoch] = cnn_cross_entropy_(params, test_inputs, test_labels, [])
            losses[1, epoch] = mean.double()
            active &= mean.isfinite()
        losses[:, epoch].masked_fill_(active == 0, torch.nan)
        correct[:, epoch].masked_fill_(active == 0, 0)
    return losses, correct


def _answers(like: Tensor, labels: Tensor, epochs: int) -> tuple[Tensor, Tensor]:
    return like.new_full((2, epochs, len(like)), torch.nan), labels.new_zeros(2, epochs, len(like))


@torch.library.custom_op("grokfast::cnn_adam_epochs_", mutates_args=("params", "means", "squares", "active"))
def cnn_adam_epochs_(
    params: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    inputs: Tensor,
    labels: Tensor,
    test_inputs: Tensor,
    test_labels: Tensor,
    tested: list[bool],
    batch_size: int,
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    step: int,
    beta1: float,
    beta2: float,
    eps: float,
    decoupled: bool,
) -> tuple[Tensor, Tensor]:
    """Epochs of a stack in place: for each batch a gradient (:func:`cnn_cross_entropy_`) and a step of Adam.

    On CUDA one launch takes all of them, with a block a member, whose parameters and moments lie in shared memory
    meanwhile where they fit; nobody waits for it. Elsewhere, and for more than 16 layers, it goes step by step.

    Args:
        params: As for :func:`cnn_cross_entropy_`. Changed in place.
        means: Adam's first moments, of the shapes and strides of ``params``. Changed in place.
        squares: Adam's second moments. Changed in place.
        inputs: ``[E, N, C, H, W]`` in the order of training, as for :func:`cnn_cross_entropy_`.
        labels: int64 ``[E, N]``.
        test_inputs: ``[E, M, C, H, W]`` of the dtype of ``inputs``.
        test_labels: int64 ``[E, M]``.
        tested: For each epoch whether a test pass follows it; at most 64.
        batch_size: Samples a step, at least 1; the last step of an epoch takes what is left.
        learning_rate: float64 ``[E]``.
        weight_decay: float64 ``[E]``.
        active: uint8 ``[E]``; members with 0 are left untouched. Set to 0 where a loss is not finite: that member stays
            as it was before the batch, or after the epoch whose test loss it was.
        step: Steps taken before, from 0.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        eps: As for :func:`adam_step_`.
        decoupled: AdamW's decay instead of L2 decay in the gradient.

    Returns:
        Mean losses, float64 in nats, and correct predictions, int64, both ``[2, epochs, E]``: of the epoch's samples,
        each before the step of its batch, and of the test pass. NaN and 0 where there was no test pass, and from the
        epoch on in which a member is not active any more.

    Raises:
        InputError: If shapes, strides, dtypes or devices do not match, or a label or constant is out of range.

    Source:
        Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2.
    """
    rows = (learning_rate, weight_decay, active)
    _check([params, means, squares], (inputs, labels), (test_inputs, test_labels), tested, batch_size, rows, step)
    check_constants(step + 1, beta1, beta2, eps)
    return cnn_adam_epochs_reference(
        params, means, squares, inputs, labels, test_inputs, test_labels, tested, batch_size, learning_rate,
        weight_decay, active, step, beta1, beta2, eps, decoupled,
    )  # fmt: skip


@cnn_adam_epochs_.register_kernel(["cpu", "cuda"])
def _compiled(
    params: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    inputs: Tensor,
    labels: Tensor,
    test_inputs: Tensor,
    test_labels: Tensor,
    tested: list[bool],
    batch_size: int,
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    step: int,
    beta1: float,
    beta2: float,
    eps: float,
    decoupled: bool,
) -> tuple[Tensor, Tensor]:
    rows = (learning_rate, weight_decay, active)
    _check([params, means, squares], (inputs, labels), (test_inputs, test_labels), tested, batch_size, rows, step)
    check_constants(step + 1, beta1, beta2, eps)
    check_adam_memory([params, means, squares], *rows, inputs, labels, test_inputs, test_labels)
    for name, given in (("labels", labels), ("test_labels", test_labels)):
        check_range(name, given, params[-1].shape[1])
    run, core = _launch(params), native()
    if run is None or core is None or not tested:
        return cnn_adam_epochs_reference(
            params, means, squares, inputs, labels, test_inputs, test_labels, tested, batch_size, learning_rate,
            weight_decay, active, step, beta1, beta2, eps, decoupled,
        )  # fmt: skip
    (x, x_step), (test_x, test_step) = shared_samples(inputs), shared_samples(test_inputs)
    labels, test_labels = labels.contiguous(), test_labels.contiguous()
    rates, on = (learning_rate.contiguous(), weight_decay.contiguous()), active.contiguous()
    convs, spec = layer_sizes(params[::2])
    # One small array holds all the numbers that the kernel reads.
    numbers = array("q", [*(tensor.data_ptr() for tensor in (*params, *means, *squares)), *spec])
    start = numbers.buffer_info()[0]
    losses, correct = _answers(learning_rate, labels, len(tested))
    bits = sum(1 << epoch for epoch, test in enumerate(tested) if test)
    constants = core.AdamConstants(beta1, beta2, eps, 0.0, 0.0, decoupled)
    call(
        run, params[0], x, x.dtype is torch.int8, x_step, test_x, test_step, start, start + 8 * len(params),
        start + 24 * len(params), labels, test_labels, *rates, on, losses[0], correct[0], losses[1], correct[1],
        constants, step + 1, len(tested), bits, batch_size, len(active), labels.shape[1], test_labels.shape[1],
        convs, len(params) // 2 - convs, *inputs.shape[2:],
    )  # fmt: skip
    if on is not active:
        active.copy_(on)
    return losses, correct


def _launch(params: Sequence[Tensor]) -> Callable[..., None] | None:
    """The kernel, where it takes these networks."""
    fits = len(params) // 2 <= MOST_LAYERS_ON_CUDA and all(tensor.is_contiguous() for tensor in params)
    return kernel("cnn_epochs", params[0]) if fits else None


def takes_many_epochs(params: Sequence[Tensor]) -> bool:
    """Whether one launch takes many epochs of these networks: on CUDA, in a build that has it."""
    return params[0].is_cuda and _launch(params) is not None


@cnn_adam_epochs_.register_fake
def _fake(
    params: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    inputs: Tensor,
    labels: Tensor,
    test_inputs: Tensor,
    test_labels: Tensor,
    tested: list[bool],
    batch_size: int,
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    step: int,
    beta1: float,
    beta2: float,
    eps: float,
    decoupled: bool,
) -> tuple[Tensor, Tensor]:
    rows = (learning_rate, weight_decay, active)
    _check([params, means, squares], (inputs, labels), (test_inputs, test_labels), tested, batch_size, rows, step)
    return _answers(learning_rate, labels, len(tested))


def _check(
    tensors: Sequence[list[Tensor]],
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    tested: Sequence[bool],
    batch_size: int,
    rows: tuple[Tensor, Tensor, Tensor],
    step: int,
) -> None:
    check_cnn(tensors[0], *train, [])
    check_cnn(tensors[0], *test, [])
    check_adam(tensors, *rows)
    if test[0].dtype is not train[0].dtype or test[0].shape[2:] != train[0].shape[2:]:
        raise InputError(
            f"test_inputs must be {train[0].dtype} [E, M, {', '.join(map(str, train[0].shape[2:]))}], got "
            f"{test[0].dtype} {list(test[0].shape)}"
        )
    if batch_size < 1 or step < 0 or len(tested) > MOST_EPOCHS:
        raise InputError(
            f"expected batch_size at least 1, step at least 0 and at most {MOST_EPOCHS} epochs, got {batch_size}, "
            f"{step} and {len(tested)}"
        )
