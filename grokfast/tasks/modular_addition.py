"""Modular addition: from the pair (a, b) to (a + b) mod P."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from grokfast._checks import check_at_least, check_fraction
from grokfast.errors import ConfigError
from grokfast.measures import Column, FourierBasis, InputBlocks, input_ipr, layer_ipr, output_ipr
from grokfast.models import Params, initial_mlp, mlp, mlp_on_pairs
from grokfast.ops import AdamState, mlp_adam_epoch_direct, mlp_cross_entropy_direct, mlp_losses, mlp_nested_losses
from grokfast.tasks.base import Features, Split, gradients_by_autograd, losses_of_logits
from grokfast.tasks.fields import take_types
from grokfast.tasks.outputs import Loss
from grokfast.tasks.registry import register_task
from grokfast.tasks.streams import stream


@register_task
@dataclass(frozen=True)
class ModularAddition:
    """All P² pairs, split at random; an MLP on two-hot inputs.

    Args:
        P: The modulus, at least 2.
        hidden: Widths of the hidden layers.
        train_fraction: Share of the pairs used for training, in (0, 1).
        label_noise: Share of the training labels replaced by a wrong class drawn at random, in [0, 1].
        loss: What is lowered: cross entropy, which one hidden layer has kernels for, or another :class:`Loss`.

    Source:
        arXiv 2502.01739, table of models.
    """

    name: ClassVar[str] = "modular-addition"
    title: ClassVar[str] = "modular addition"
    input_major: ClassVar[tuple[str, ...]] = ("0.weight",)
    unkeyed: ClassVar[tuple[str, ...]] = ()
    member_by_member: ClassVar[bool] = False
    has_accuracy: ClassVar[bool] = True
    pruned: ClassVar[None] = None

    P: int = 113
    hidden: tuple[int, ...] = (512,)
    train_fraction: float = 0.7
    label_noise: float = 0.0
    loss: Loss = Loss.CROSS_ENTROPY

    def __post_init__(self) -> None:
        take_types(self)  # one spelling of each value, so that equal tasks have equal keys
        check_at_least("P", self.P, 2, error=ConfigError)
        if not self.hidden:
            raise ConfigError("hidden must name at least one hidden width, got none")
        for width in self.hidden:
            check_at_least("hidden width", width, 1, error=ConfigError)
        check_fraction("train_fraction", self.train_fraction, error=ConfigError)
        check_fraction("label_noise", self.label_noise, closed=True, error=ConfigError)
        if not 0 < self.train_samples < self.P**2:
            raise ConfigError(
                f"train_fraction must leave at least one of the {self.P**2} pairs on each side, "
                f"got {self.train_fraction}"
            )

    @property
    def loss_function(self) -> Loss:
        """``loss``."""
        return self.loss

    @property
    def _is_fused(self) -> bool:
        """Whether there are kernels for it."""
        return len(self.hidden) == 1 and self.loss is Loss.CROSS_ENTROPY

    @property
    def defaults(self) -> Mapping[str, Any]:
        """The paper's main text: batch 64, learning rate 5e-3, weight decay 3e-5, 1,000 epochs."""
        return {"epochs": 1000, "batch_size": 64, "learning_rate": 5e-3, "weight_decay": 3e-5}

    @property
    def train_samples(self) -> int:
        """⌊train_fraction · P²⌋."""
        return int(self.train_fraction * self.P**2 + 1e-9)

    @property
    def data_bytes(self) -> int:
        """Pairs and labels of int64, their order, and a copy of the training samples: about 64 bytes a pair."""
        return 64 * self.P**2

    def _widths(self) -> tuple[int, ...]:
        return (2 * self.P, *self.hidden, self.P)

    def split(self, seed: int) -> Split:
        """Pairs int64 ``[n, 2]`` and labels int64 ``[n]``: ⌊train_fraction · P²⌋ for training, the rest for test."""
        order = torch.randperm(self.P**2, generator=stream(seed, "split"))
        pairs = torch.stack([order // self.P, order % self.P], dim=1)
        labels = pairs.sum(1) % self.P
        n = self.train_samples
        return Split(pairs[:n], self._noisy(labels[:n], seed), pairs[n:], labels[n:])

    def _noisy(self, labels: Tensor, seed: int) -> Tensor:
        wrong = round(self.label_noise * len(labels))
        generator = stream(seed, "labels")
        chosen = torch.randperm(len(labels), generator=generator)[:wrong]
        shift = torch.randint(1, self.P, (wrong,), generator=generator)
        noisy = labels.clone()
        noisy[chosen] = (noisy[chosen] + shift) % self.P
        return noisy

    def module(self) -> nn.Sequential:
        """Linear(2P, hidden) - ReLU - ... - Linear(hidden, P)."""
        return mlp(self._widths())

    def initial(self, seed: int, w0: float, dtype: torch.dtype) -> Params:
        """Xavier-normal weights times ``w0``, zero biases (the authors' code)."""
        return initial_mlp(self._widths(), w0, stream(seed, "initial"), dtype)

    def encode(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:
        """Two-hot vectors ``[..., 2P]`` of pairs ``[..., 2]``."""
        return torch.nn.functional.one_hot(inputs, self.P).flatten(-2).to(dtype)

    def logits(self, params: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Logits ``[E, N, P]`` of pairs ``[E, N, 2]``."""
        return mlp_on_pairs(params, inputs)

    def losses(self, params: Mapping[str, Tensor], inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss ``[E]`` and correct predictions ``[E]``; fused for one hidden layer and cross entropy."""
        if not self._is_fused:
            return losses_of_logits(self, params, inputs, labels)
        loss, correct = mlp_losses(list(params.values()), inputs, labels)
        return loss, correct

    def nested_losses(
        self, params: Mapping[str, Tensor], arrivals: Mapping[str, Tensor], count: int, inputs: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        """The losses of nested networks (:func:`grokfast.ops.mlp_nested_losses`), for one hidden layer."""
        if not self._is_fused:
            return None
        when = [arrivals[name] for name in params]
        loss, correct = mlp_nested_losses(list(params.values()), when, count, inputs, labels)
        return loss, correct

    def gradients(
        self, params: Mapping[str, Tensor], inputs: Tensor, labels: Tensor, out: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The losses, and their gradients into ``out``; fused for one hidden layer and cross entropy."""
        if not self._is_fused:
            return gradients_by_autograd(self, params, inputs, labels, out)
        loss, correct = mlp_cross_entropy_direct(list(params.values()), inputs, labels, list(out.values()))
        return loss, correct

    def adam_epoch(
        self, params: Mapping[str, Tensor], adam: AdamState, inputs: Tensor, labels: Tensor, batch_size: int
    ) -> tuple[Tensor, Tensor] | None:
        """An epoch in one operation (:func:`grokfast.ops.mlp_adam_epoch_`), for one hidden layer.

        None, and nothing done, elsewhere and where a subclass has gradients of its own.
        """
        own = type(self).gradients is not ModularAddition.gradients
        if own or not self._is_fused:
            return None
        loss, correct = mlp_adam_epoch_direct(
            list(params.values()), adam.means, adam.squares, inputs, labels, batch_size, *adam[2:]
        )
        return loss, correct

    @property
    def columns(self) -> Sequence[Column]:
        """Every reading of the inverse participation ratio, and the dead neurons; ratios by neuron are arrays too."""
        found = []
        for name, reading in _readings().items():
            default = name in ("input", "output")
            meaning = f"inverse participation ratio of {reading.meaning}, mean over live neurons"
            label = f"{name} IPR" if default else ""
            found.append(Column(f"ipr_{name}", meaning, label=label, headline=default))
            if default:
                found.append(Column(f"dead_{name}", f"neurons whose {name} weights are all zero", "neurons"))
        return found

    def features(self, params: Mapping[str, Tensor], inputs: Tensor) -> Features:
        """Inverse participation ratios of the first and last matrix, in every reading of eq. 4; no input is needed.

        Scalars are layer means over live neurons, in the default reading ``ipr_output`` and ``ipr_input`` and, with
        a suffix, in the others; ``dead_output`` and ``dead_input`` count dead neurons. Arrays are the ratios per
        neuron in the default reading.
        """
        last = params[f"{2 * len(self.hidden)}.weight"].double()
        first = params["0.weight"].double()
        scalars, arrays = {}, {}
        for name, reading in _readings().items():
            values = reading.of(first, last)
            scalars[f"ipr_{name}"], dead = layer_ipr(values)
            if name in ("output", "input"):
                scalars[f"dead_{name}"] = dead
                arrays[f"ipr_{name}"] = values
        return Features(scalars, arrays)


class _Reading(NamedTuple):
    """One reading of eq. 4: of the output matrix where ``blocks`` is None."""

    basis: FourierBasis
    constant: bool
    blocks: InputBlocks | None

    def of(self, first: Tensor, last: Tensor) -> Tensor:
        if self.blocks is None:
            return output_ipr(last, basis=self.basis, constant=self.constant)
        return input_ipr(first, basis=self.basis, blocks=self.blocks, constant=self.constant)

    @property
    def meaning(self) -> str:
        which = {None: "output weights", InputBlocks.JOINT: "input weights, both blocks as one"}
        constant = "" if self.constant else ", without the constant mode"
        return f"{which.get(self.blocks, 'input weights, mean of the blocks')}, {self.basis.value} basis{constant}"


def _readings() -> dict[str, _Reading]:
    found = {}
    for basis in FourierBasis:
        for constant in (True, False):
            suffix = ("" if basis is FourierBasis.REAL else "_complex") + ("" if constant else "_no_constant")
            for blocks in (None, *InputBlocks):
                name = {None: "output", InputBlocks.JOINT: "input"}.get(blocks, "input_separate")
                found[f"{name}{suffix}"] = _Reading(basis, constant, blocks)
    return found
