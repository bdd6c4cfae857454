"""Optimiser steps for a stack of members, in place, each member with its own learning rate and weight decay."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.ops._arguments import check_device, check_floats, check_memory, check_same, is_plain
from grokfast.ops._native import call, kernel, native


def check_adam(
    tensors: Sequence[Sequence[Tensor]], learning_rate: Tensor, weight_decay: Tensor, active: Tensor
) -> None:
    """Raise unless parameters, what belongs to them, and the members' rows fit together, as :func:`adam_step_` says."""
    params = tensors[0]
    if not params or any(len(group) != len(params) for group in tensors):
        raise InputError(
            f"expected a parameter or more, with one gradient and state each, got {[len(group) for group in tensors]}"
        )
    check_floats(params[0], **{f"parameter {k}": p for k, p in enumerate(params)})
    check_device(params[0], learning_rate=learning_rate, weight_decay=weight_decay, active=active)
    members = params[0].shape[0] if params[0].dim() else 0
    for k, group in enumerate(zip(*tensors, strict=True)):
        p = group[0]
        check_same(p, {f"gradient or state {j} of parameter {k}": other for j, other in enumerate(group[1:])})
        for other in group[1:]:
            if other.shape != p.shape or other.stride() != p.stride():
                raise InputError(
                    f"parameter {k}: expected the shape and strides {list(p.shape)}, {p.stride()}, "
                    f"got {list(other.shape)}, {other.stride()}"
                )
        if p.dim() == 0 or p.shape[0] != members:
            raise InputError(f"parameter {k} must be [{members}, ...], as the first is, got {list(p.shape)}")
        if p.numel() and (p.stride(0) * members != p.numel() or not (p.is_contiguous() or _is_dense(p))):
            raise InputError(f"parameter {k} must be dense with members outermost, got strides {p.stride()}")
    for name, row in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
        if row.shape != (members,) or row.dtype != torch.float64:
            raise InputError(f"{name} must be float64 [{members}], got {row.dtype} {list(row.shape)}")
    if active.shape != (members,) or active.dtype != torch.uint8:
        raise InputError(f"active must be uint8 [{members}], got {active.dtype} {list(active.shape)}")


def check_adam_memory(tensors: Sequence[Sequence[Tensor]], *rows: Tensor) -> None:
    """Raise unless the memory that these tensors describe is there and shared by no two of a parameter's."""
    check_memory([*(tensor for group in tensors for tensor in group), *rows])
    for k, group in enumerate(zip(*tensors, strict=True)):
        if group[0].numel() and len({tensor.data_ptr() for tensor in group}) < len(group):
            raise InputError(f"parameter {k}, its gradient and its states must not share memory")


def check_constants(step: int, beta1: float, beta2: float, eps: float) -> None:
    """Raise unless the constants of a step of Adam are ones: step counts from 1."""
    if step < 1 or not (0 <= beta1 < 1 and 0 <= beta2 < 1 and eps >= 0):
        raise InputError(
            f"expected step >= 1, beta1 and beta2 in [0, 1) and eps >= 0, got {step}, {beta1}, {beta2} and {eps}"
        )


def _is_dense(tensor: Tensor) -> bool:
    """Whether a tensor covers one block of memory without holes or overlap."""
    covered = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride != covered:
            return False
        covered *= size
    return True


def _per_member(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype).reshape(-1, *[1] * (like.dim() - 1))


def adam_step_reference(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    means: Sequence[Tensor],
    squares: Sequence[Tensor],
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    step: int,
    beta1: float,
    beta2: float,
    eps: float,
    decoupled: bool,
) -> None:
    """The readable twin of :func:`adam_step_`, from torch operations."""
    correction1, correction2 = 1 - beta1**step, 1 - beta2**step
    for p, g, m, v in zip(params, grads, means, squares, strict=True):
        lr, decay = _per_member(learning_rate, p), _per_member(weight_decay, p)
        on = _per_member(active, p).bool()
        weight = p * (1 - lr * decay) if decoupled else p
        gradient = g if decoupled else g + decay * weight
        mean = beta1 * m + (1 - beta1) * gradient
        square = beta2 * v + (1 - beta2) * gradient * gradient
        new = weight - lr / correction1 * mean / (square.sqrt() / correction2**0.5 + eps)
        m.copy_(torch.where(on, mean, m))
        v.copy_(torch.where(on, square, v))
        p.copy_(torch.where(on, new, p))


@torch.library.custom_op("grokfast::adam_step_", mutates_args=("params", "means", "squares"))
def adam_step_(
    params: list[Tensor],
    grads: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    step: int,
    beta1: float,
    beta2: float,
    eps: float,
    decoupled: bool,
) -> None:
    r"""One Adam or AdamW step of every active member, in place; numerically ``torch.optim.Adam`` and ``AdamW``.

    With :math:`g \leftarrow g + \lambda\theta` (Adam) or :math:`\theta \leftarrow (1-\eta\lambda)\theta` (AdamW):

    .. math::
        m \leftarrow \beta_1 m + (1-\beta_1) g, \quad v \leftarrow \beta_2 v + (1-\beta_2) g^2, \quad
        \theta \leftarrow \theta - \eta \frac{m/(1-\beta_1^t)}{\sqrt{v/(1-\beta_2^t)} + \epsilon}

    Args:
        params: Tensors with members outermost, dense; float32 or float64. Changed in place.
        grads: One gradient per parameter, of the same strides.
        means: First moments :math:`m`. Changed in place.
        squares: Second moments :math:`v`. Changed in place.
        learning_rate: :math:`\eta`, float64 ``[E]``.
        weight_decay: :math:`\lambda`, float64 ``[E]``.
        active: uint8 ``[E]``; members with 0 are left untouched.
        step: :math:`t`, from 1.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        eps: :math:`\epsilon`.
        decoupled: AdamW's decay instead of L2 decay in the gradient.

    Raises:
        InputError: If shapes, strides, dtypes or devices do not match, memory is shared or missing, or a constant is
            out of range.

    Source:
        Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2.
    """
    check_adam([params, grads, means, squares], learning_rate, weight_decay, active)
    check_constants(step, beta1, beta2, eps)
    adam_step_reference(
        params, grads, means, squares, learning_rate, weight_decay, active, step, beta1, beta2, eps, decoupled
    )


@adam_step_.register_kernel(["cpu", "cuda"])
def _adam_compiled(
    params: list[Tensor],
    grads: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    step: int,
    beta1: float,
    beta2: float,
    eps: float,
    decoupled: bool,
) -> None:
    check_adam([params, grads, means, squares], learning_rate, weight_decay, active)
    check_adam_memory([params, grads, means, squares], learning_rate, weight_decay, active)
    check_constants(step, beta1, beta2, eps)
    run, core = kernel("adam", params[0]), native()
    if run is None or core is None:
        adam_step_reference(
            params,
            grads,
            means,
            squares,
            learning_rate,
            weight_decay,
            active,
            step,
            beta1,
            beta2,
            eps,
            decoupled,
        )
        return
    constants = core.AdamConstants(beta1, beta2, eps, 1 - beta1**step, 1 - beta2**step, decoupled)
    rows = learning_rate.contiguous(), weight_decay.contiguous(), active.contiguous()
    for p, g, m, v in zip(params, grads, means, squares, strict=True):
        members, size = p.shape[0], p.numel() // max(1, p.shape[0])
        call(run, p, p, g, m, v, members, size, *rows, constants)


@adam_step_.register_fake
def _adam_fake(
    params: list[Tensor],
    grads: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    step: int,
    beta1: float,
    beta2: float,
    eps: float,
    decoupled: bool,
) -> None:
    check_adam([params, grads, means, squares], learning_rate, weight_decay, active)


class BoundAdam:
    """:func:`adam_step_` on tensors that stay where they are, checked once: for networks whose steps take microseconds.

    Args:
        params: As for :func:`adam_step_`.
        grads: As for :func:`adam_step_`.
        means: As for :func:`adam_step_`.
        squares: As for :func:`adam_step_`.
        learning_rate: As for :func:`adam_step_`.
        weight_decay: As for :func:`adam_step_`.
        active: As for :func:`adam_step_`.

    Raises:
        InputError: If shapes, strides, dtypes or devices do not match.
    """

    def __init__(
        self,
        params: Sequence[Tensor],
        grads: Sequence[Tensor],
        means: Sequence[Tensor],
        squares: Sequence[Tensor],
        learning_rate: Tensor,
        weight_decay: Tensor,
        active: Tensor,
    ) -> None:
        self._groups = [list(group) for group in (params, grads, means, squares)]
        self._rows = (learning_rate, weight_decay, active)
        self._tensors = [*(tensor for group in self._groups for tensor in group), *self._rows]
        self._bind()

    def _bind(self) -> None:
        check_adam(self._groups, *self._rows)
        check_adam_memory(self._groups, *self._rows)
        if not all(row.is_contiguous() for row in self._rows):
            raise InputError("learning_rate, weight_decay and active must be contiguous")
        first = self._groups[0][0]
        self._run = kernel("adam", first) if is_plain(self._tensors) else None
        members = first.shape[0]
        self._address_of = [tensor.data_ptr for tensor in self._tensors]
        self._where = [address() for address in self._address_of]
        # Held, so that no other memory can come to lie at an address that is taken for this one.
        self._memory = [tensor.untyped_storage() for tensor in self._tensors]
        self._addresses = [
            (*(tensor.data_ptr() for tensor in group), members, group[0].numel() // max(1, members))
            for group in zip(*self._groups, strict=True)
        ]
        self._row_addresses = [row.data_ptr() for row in self._rows]

    def is_bound_to(self, *groups: Sequence[Tensor]) -> bool:
        """Whether it was made for these tensors: parameters, gradients, means, squares, and the three rows."""
        return all(
            len(mine) == len(group) and all(map(operator.is_, mine, group))
            for mine, group in zip((*self._groups, self._rows), groups, strict=True)
        )

    def __call__(self, step: int, beta1: float, beta2: float, eps: float, decoupled: bool) -> None:
        """One step in place; the arguments are those of :func:`adam_step_`.

        Raises:
            InputError: If a tensor that has got other memory meanwhile (``p.data = ...``) does not fit any more, or a
                constant is out of range.
        """
        if [address() for address in self._address_of] != self._where:
            self._bind()
        core = native()
        if self._run is None or core is None:
            adam_step_(*self._groups, *self._rows, step, beta1, beta2, eps, decoupled)
            return
        check_constants(step, beta1, beta2, eps)
        constants = core.AdamConstants(beta1, beta2, eps, 1 - beta1**step, 1 - beta2**step, decoupled)
        threads = torch.get_num_threads()
        for addresses in self._addresses:
            self._run(*addresses, *self._row_addresses, constants, threads)


def sgd_step_reference(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    velocities: Sequence[Tensor],
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    momentum: float,
) -> None:
    """The readable twin of :func:`sgd_step_`, from torch operations."""
    for p, g, u in zip(params, grads, velocities, strict=True):
        lr, decay = _per_member(learning_rate, p), _per_member(weight_decay, p)
        on = _per_member(active, p).bool()
        velocity = momentum * u + g + decay * p
        u.copy_(torch.where(on, velocity, u))
        p.copy_(torch.where(on, p - lr * velocity, p))


@torch.library.custom_op("grokfast::sgd_step_", mutates_args=("params", "velocities"))
def sgd_step_(
    params: list[Tensor],
    grads: list[Tensor],
    velocities: list[Tensor],
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    momentum: float,
) -> None:
    r"""One step of SGD with momentum and L2 decay of every active member, in place, as ``torch.optim.SGD``.

    .. math:: u \leftarrow \mu u + g + \lambda\theta, \qquad \theta \leftarrow \theta - \eta u

    Args:
        params: Tensors with members outermost, dense; float32 or float64. Changed in place.
        grads: One gradient per parameter, of the same strides.
        velocities: :math:`u`, zero before the first step. Changed in place.
        learning_rate: :math:`\eta`, float64 ``[E]``.
        weight_decay: :math:`\lambda`, float64 ``[E]``.
        active: uint8 ``[E]``; members with 0 are left untouched.
        momentum: :math:`\mu`.

    Raises:
        InputError: If shapes, strides, dtypes or devices do not match.

    Source:
        Sutskever et al. 2013, in torch's form.
    """
    check_adam([params, grads, velocities], learning_rate, weight_decay, active)
    sgd_step_reference(params, grads, velocities, learning_rate, weight_decay, active, momentum)


@sgd_step_.register_kernel(["cpu", "cuda"])
def _sgd_compiled(
    params: list[Tensor],
    grads: list[Tensor],
    velocities: list[Tensor],
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    momentum: float,
) -> None:
    check_adam([params, grads, velocities], learning_rate, weight_decay, active)
    check_adam_memory([params, grads, velocities], learning_rate, weight_decay, active)
    run = kernel("sgd", params[0])
    if run is None:
        sgd_step_reference(params, grads, velocities, learning_rate, weight_decay, active, momentum)
        return
    rows = learning_rate.contiguous(), weight_decay.contiguous(), active.contiguous()
    for p, g, u in zip(params, grads, velocities, strict=True):
        members, size = p.shape[0], p.numel() // max(1, p.shape[0])
        call(run, p, p, g, u, members, size, *rows, momentum)


@sgd_step_.register_fake
def _sgd_fake(
    params: list[Tensor],
    grads: list[Tensor],
    velocities: list[Tensor],
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    momentum: float,
) -> None:
    check_adam([params, grads, velocities], learning_rate, weight_decay, active)
