"""Adam on tensors that stay where they are, without a check at every step."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.ops._arguments import is_plain
from grokfast.ops._native import kernel, native
from grokfast.ops.optimizer import adam_step_
from grokfast.ops.optimizer_checks import check_adam, check_adam_memory, check_constants


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
        self._where = [*map(Tensor.data_ptr, self._tensors)]
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
        if [*map(Tensor.data_ptr, self._tensors)] != self._where:  # the quickest of the ways tried, 70 ns each
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
