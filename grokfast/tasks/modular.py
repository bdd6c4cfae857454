"""Modular arithmetic: from the pair (a, b) to a ∘ b mod P."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from grokfast._checks import check_at_least
from grokfast.errors import ConfigError
from grokfast.measures import Column, inverse_participation_ratio, layer_ipr
from grokfast.measures.ipr import fourier_power
from grokfast.models import Activation
from grokfast.tasks.base import Features
from grokfast.tasks.choice import Network, TokenTask, class_weights, first_matrix
from grokfast.tasks.modular_addition import ModularAddition
from grokfast.tasks.outputs import Loss
from grokfast.tasks.registry import register_task


class Operation(StrEnum):
    """The operation of a and b, mod P."""

    SUM = "a+b"
    DIFFERENCE = "a-b"
    PRODUCT = "a*b"
    QUOTIENT = "a/b"
    """a · b⁻¹ for b ≠ 0; P must be prime."""
    SQUARES = "a^2+b^2"
    QUADRATIC_FORM = "a^2+ab+b^2"
    QUADRATIC_FORM_PLUS_A = "a^2+ab+b^2+a"
    CUBIC = "a^3+ab"
    CUBIC_FORM = "a^3+ab^2+b"


_ON: dict[Operation, Callable[[Tensor, Tensor], Tensor]] = {
    Operation.SUM: lambda a, b: a + b,
    Operation.DIFFERENCE: lambda a, b: a - b,
    Operation.PRODUCT: lambda a, b: a * b,
    Operation.SQUARES: lambda a, b: a**2 + b**2,
    Operation.QUADRATIC_FORM: lambda a, b: a**2 + a * b + b**2,
    Operation.QUADRATIC_FORM_PLUS_A: lambda a, b: a**2 + a * b + b**2 + a,
    Operation.CUBIC: lambda a, b: a**3 + a * b,
    Operation.CUBIC_FORM: lambda a, b: a**3 + a * b**2 + b,
}
_OF_THE_GROUP_OF_UNITS = (Operation.PRODUCT, Operation.QUOTIENT)


@register_task
@dataclass(frozen=True, kw_only=True)
class Modular(TokenTask):
    """All pairs (a, b), split at random, with the label a ∘ b mod P.

    Fourier spectra are taken over a and b themselves; for products and quotients over their discrete logarithms, where
    multiplication is addition (zero has none and is left out), which needs a prime P.

    Args:
        P: The modulus, at least 2.
        operation: What is done with a and b: one of ``a+b``, ``a-b``, ``a*b``, ``a/b``, or a polynomial.

    Source:
        The operations of Power et al. 2022, arXiv 2201.02177; the spectra of Nanda et al. 2023, arXiv 2301.05217.
    """

    name: ClassVar[str] = "modular"
    title: ClassVar[str] = "modular arithmetic"

    P: int = 97
    operation: Operation = Operation.PRODUCT
    train_fraction: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("P", self.P, 2, error=ConfigError)
        if self.operation is Operation.QUOTIENT and not is_prime(self.P):
            raise ConfigError(f"P must be prime to divide by every b that is not 0, got {self.P}")

    @property
    def vocabulary(self) -> int:
        """P."""
        return self.P

    @property
    def length(self) -> int:
        """2."""
        return 2

    @property
    def classes(self) -> int:
        """P."""
        return self.P

    def data(self) -> tuple[Tensor, Tensor]:
        """Pairs int64 ``[n, 2]`` and labels int64 ``[n]``: n = P², or P (P - 1) for quotients."""
        numbers = torch.arange(self.P)
        if self.operation is Operation.QUOTIENT:
            pairs = torch.cartesian_prod(numbers, numbers[1:])
            inverse = torch.tensor([pow(b, -1, self.P) if b else 0 for b in range(self.P)])
            return pairs, pairs[:, 0] * inverse[pairs[:, 1]] % self.P
        pairs = torch.cartesian_prod(numbers, numbers)
        return pairs, _ON[self.operation](pairs[:, 0], pairs[:, 1]) % self.P

    # The network of the paper trains in the kernels that were written for it, whatever the labels.

    @cached_property
    def _kernels(self) -> ModularAddition | None:
        ours = self.network is Network.MLP and self.activation is Activation.RELU and self.bias
        fused = ours and len(self.hidden) == 1 and self.loss is Loss.CROSS_ENTROPY
        return ModularAddition(P=self.P, hidden=self.hidden) if fused else None

    @property
    def member_by_member(self) -> bool:  # type: ignore[override]
        """Not where the stack steps together in one kernel."""
        return self._kernels is None

    @property
    def input_major(self) -> tuple[str, ...]:  # type: ignore[override]
        """The first matrix, of which the kernels gather columns."""
        return () if self._kernels is None else self._kernels.input_major

    @property
    def defaults(self) -> Mapping[str, Any]:
        """For an MLP the paper's: batch 64, learning rate 5e-3, weight decay 3e-5; else as for all tokens."""
        if self.network is Network.MLP:
            return {**ModularAddition().defaults, "batch_size": min(64, self.train_samples)}
        return super().defaults

    def logits(self, params: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Logits ``[E, N, P]`` of pairs ``[E, N, 2]``."""
        return super().logits(params, inputs) if self._kernels is None else self._kernels.logits(params, inputs)

    def losses(self, params: Mapping[str, Tensor], inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss ``[E]`` and right predictions ``[E]``."""
        if self._kernels is None:
            return super().losses(params, inputs, labels)
        return self._kernels.losses(params, inputs, labels)

    def gradients(
        self, params: Mapping[str, Tensor], inputs: Tensor, labels: Tensor, out: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The losses, and their gradients into ``out``."""
        if self._kernels is None:
            return super().gradients(params, inputs, labels, out)
        return self._kernels.gradients(params, inputs, labels, out)

    def adam_epoch(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor] | None:
        """As :meth:`ModularAddition.adam_epoch`; None for other networks."""
        return None if self._kernels is None else self._kernels.adam_epoch(*args, **kwargs)

    def nested_losses(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor] | None:
        """As :meth:`ModularAddition.nested_losses`; None for other networks."""
        return None if self._kernels is None else self._kernels.nested_losses(*args, **kwargs)

    # Features: spectra over the group.

    @cached_property
    def _order(self) -> Tensor | None:
        """The numbers in the order in which the operation adds their places; None if there is no such order."""
        if self.operation not in _OF_THE_GROUP_OF_UNITS:
            return torch.arange(self.P)
        return powers_of_a_primitive_root(self.P) if is_prime(self.P) and self.P > 2 else None

    @property
    def columns(self) -> Sequence[Column]:
        """Inverse participation ratios of the input and the output weights, where the numbers have an order."""
        if self._order is None:
            return ()
        over = "the discrete logarithm" if self.operation in _OF_THE_GROUP_OF_UNITS else "the numbers"
        what = {
            Network.MLP: ("input weights, both blocks as one", "input IPR"),
            Network.EMBEDDING_MLP: ("directions of the embedding W_E", "embedding IPR"),
            Network.TRANSFORMER: ("directions of the embedding W_E", "embedding IPR"),
        }[self.network]
        last = "W_U W_out" if self.network is Network.TRANSFORMER else "output weights"
        ratio = f"inverse participation ratio over the Fourier modes of {over}, of"
        return [
            Column("ipr_input", f"{ratio} {what[0]}, mean over live ones", label=what[1], headline=True),
            Column("ipr_output", f"{ratio} {last}, mean over live neurons", label="output IPR", headline=True),
            Column("dead_input", f"{what[0].split(',')[0]}: how many are all zero", "neurons"),
            Column("dead_output", "neurons whose output weights are all zero", "neurons"),
        ]

    def features(self, params: Mapping[str, Tensor], inputs: Tensor) -> Features:
        """Inverse participation ratios of what the network reads and writes, arrays by neuron; no input is needed."""
        order = self._order
        if order is None:
            return Features({}, {})
        last = class_weights(params, self.network, self.hidden).double()[:, order].transpose(-1, -2)
        if self.network is Network.MLP:
            first = first_matrix(params, self.network).double()
            first = first.reshape(*first.shape[:-1], 2, self.P)[..., order]
            read = inverse_participation_ratio(fourier_power(first).flatten(-2))
        else:
            embedded = params["W_E"].double()[:, order].transpose(-1, -2)
            read = inverse_participation_ratio(fourier_power(embedded))
        written = inverse_participation_ratio(fourier_power(last))
        scalars = {}
        scalars["ipr_input"], scalars["dead_input"] = layer_ipr(read)
        scalars["ipr_output"], scalars["dead_output"] = layer_ipr(written)
        return Features(scalars, {"ipr_input": read, "ipr_output": written})


def added_modulus(task: object) -> int | None:
    """P of a task whose inputs are pairs of residues and whose label is (a + b) mod P, under either name; else None."""
    if isinstance(task, Modular) and task.operation is Operation.SUM:
        return task.P
    return task.P if isinstance(task, ModularAddition) else None


def is_prime(number: int) -> bool:
    """Whether a positive integer is prime."""
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def powers_of_a_primitive_root(P: int) -> Tensor:
    """g⁰, g¹, ..., g^(P-2) mod P for the smallest primitive root g of a prime P: all but 0, int64 ``[P - 1]``."""
    for root in range(1, P):
        powers = [1]
        while (power := powers[-1] * root % P) != 1:
            powers.append(power)
        if len(powers) == P - 1:
            return torch.tensor(powers)
    raise ConfigError(f"P must be prime to have a primitive root, got {P}")
