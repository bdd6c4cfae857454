"""Ising phases: from a snapshot of ±1 spins to ordered or disordered."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from grokfast._checks import check_at_least, check_fraction
from grokfast.errors import ConfigError
from grokfast.ising import Dynamics, IsingDataset, Order, Phase, train_test_split
from grokfast.ising.dataset import phases
from grokfast.ising.exact import critical_temperature
from grokfast.ising.quantities import QUANTITIES
from grokfast.measures import Column, Kind
from grokfast.models import CnnShape, Params, cnn, cnn_on_pictures, cnn_preactivations, initial_cnn
from grokfast.ops import AdamState, cnn_adam_epochs_, cnn_cross_entropy_direct, takes_many_epochs
from grokfast.tasks.base import Features, Split, gradients_by_autograd, losses_of_logits
from grokfast.tasks.fields import take_types
from grokfast.tasks.ising_data import data_of_file, fingerprint, sampled_data
from grokfast.tasks.neurons import layer_columns, layer_features
from grokfast.tasks.outputs import Loss
from grokfast.tasks.registry import register_task
from grokfast.tasks.streams import stream

_SAMPLING = ("dynamics", "order", "sweeps", "temperatures", "snapshots", "data_seed")


@register_task
@dataclass(frozen=True)
class Ising:
    """Snapshots of the Ising model below and above the critical temperature; a small CNN.

    Args:
        L: Side of the lattice, divisible by 2 for each convolution: by 4 in the paper's network.
        channels: Output channels of the convolutions.
        kernel: Side of their kernels, odd.
        hidden: Widths of the hidden fully connected layers.
        dynamics: ``"metropolis"`` or ``"glauber"``.
        order: ``"checkerboard"``, or ``"random"`` for sites drawn at random; Glauber dynamics so is the paper's.
        sweeps: Sweeps from a random start to each snapshot: few, so that some cold ones keep domain walls.
        temperatures: Number of temperatures in [Tc - 1, Tc + 1].
        snapshots: For each temperature.
        data_seed: Seed of the sampler; the split of the snapshots is drawn by the run's seed.
        train_size: Training snapshots, half of each phase if stratified.
        test_size: Test snapshots, half of each phase if stratified, none of which is trained on.
        label_noise: Share of the training labels replaced by the wrong phase, in [0, 1].
        data_file: Take the snapshots from this file instead: what ``grokfast.ising.save_dataset`` wrote, or the
            pickle that the paper's authors published. Where it lies is not part of a run's identity.
        data_hash: Hash of the file's snapshots, which is; taken from the file when left empty.
        stratified: Half of each phase in both parts, as the paper's text has it; False shuffles all snapshots and takes
            the first, as its published code does.
        loss: What is lowered: cross entropy, in one operation, or another :class:`Loss`.

    Raises:
        ConfigError: If a value is out of range or there are fewer snapshots of a phase than the sizes ask for.

    Source:
        arXiv 2502.01739, table of models; the defaults of ``dynamics`` and ``sweeps`` are this package's.
    """

    name: ClassVar[str] = "ising"
    title: ClassVar[str] = "Ising phases"
    input_major: ClassVar[tuple[str, ...]] = ()
    unkeyed: ClassVar[tuple[str, ...]] = ("data_file",)
    member_by_member: ClassVar[bool] = False
    has_accuracy: ClassVar[bool] = True
    pruned: ClassVar[None] = None

    L: int = 16
    channels: tuple[int, ...] = (2, 4)
    kernel: int = 3
    hidden: tuple[int, ...] = (100,)
    dynamics: Dynamics = Dynamics.METROPOLIS
    order: Order = Order.CHECKERBOARD
    sweeps: int = 40
    temperatures: int = 50
    snapshots: int = 1000
    data_seed: int = 0
    train_size: int = 300
    test_size: int = 1000
    label_noise: float = 0.0
    data_file: str = ""
    data_hash: str = ""
    stratified: bool = True
    loss: Loss = Loss.CROSS_ENTROPY

    def __post_init__(self) -> None:
        take_types(self)  # one spelling of each value, so that equal tasks have equal keys
        for name, least in (("kernel", 1), ("sweeps", 0), ("temperatures", 1), ("snapshots", 1), ("data_seed", 0)):
            check_at_least(name, getattr(self, name), least, error=ConfigError)
        if self.kernel % 2 == 0:
            raise ConfigError(f"kernel must be odd, so that padding keeps the size of the map, got {self.kernel}")
        for name in ("channels", "hidden"):
            if not getattr(self, name):
                raise ConfigError(f"{name} must name at least one layer, got none")
            for width in getattr(self, name):
                check_at_least(f"each of {name}", width, 1, error=ConfigError)
        check_at_least("L", self.L, 2, error=ConfigError)
        if self.L % 2 ** len(self.channels):
            raise ConfigError(
                f"L must be divisible by {2 ** len(self.channels)}: each of the {len(self.channels)} convolutions is "
                f"followed by pooling that halves the side, got {self.L}"
            )
        for name in ("train_size", "test_size"):
            check_at_least(name, getattr(self, name), 2, error=ConfigError)
            if self.stratified and getattr(self, name) % 2:
                raise ConfigError(
                    f"{name} must be even to hold half of each phase (or stratified false), got {getattr(self, name)}"
                )
        check_fraction("label_noise", self.label_noise, closed=True, error=ConfigError)
        if not self.dynamics.is_local:
            raise ConfigError(f"dynamics must be 'metropolis' or 'glauber', got '{self.dynamics}'")
        self._check_data()

    def _check_data(self) -> None:
        if not self.data_file and self.data_hash:
            raise ConfigError("data_hash names the snapshots of a file: give data_file as well")
        if not self.data_file:
            labels = phases(np.linspace(critical_temperature() - 1, critical_temperature() + 1, self.temperatures))
            self._check_enough(np.bincount(labels, minlength=2) * self.snapshots, "temperatures and snapshots give")
            return
        object.__setattr__(self, "data_file", os.path.abspath(self.data_file))
        changed = [name for name in _SAMPLING if getattr(self, name) != type(self).__dataclass_fields__[name].default]
        if changed:
            raise ConfigError(f"the snapshots come from data_file, so {', '.join(changed)} cannot be chosen as well")
        if not self.data_hash:
            object.__setattr__(self, "data_hash", fingerprint(data_of_file(self.data_file)))
            self._data()

    def _check_enough(self, counts: Any, source: str) -> None:
        if not self.stratified:
            if sum(counts) < self.train_size + self.test_size:
                raise ConfigError(
                    f"train_size {self.train_size} and test_size {self.test_size} need as many snapshots together, "
                    f"{source} {sum(counts)}"
                )
            return
        needed = (self.train_size + self.test_size) // 2
        for phase in Phase:
            if counts[phase] < needed:
                raise ConfigError(
                    f"train_size {self.train_size} and test_size {self.test_size} need {needed} {phase.name.lower()} "
                    f"snapshots, {source} {counts[phase]}"
                )

    def _data(self) -> IsingDataset:
        if not self.data_file:
            return sampled_data(
                self.L,
                self.temperatures,
                self.snapshots,
                self.sweeps,
                self.dynamics.value,
                self.order.value,
                self.data_seed,
            )
        data = data_of_file(self.data_file)
        if fingerprint(data) != self.data_hash:
            raise ConfigError(
                f"data_file {self.data_file} holds snapshots with the hash {fingerprint(data)}, expected "
                f"{self.data_hash}: the file has changed since"
            )
        if data.spins.shape[1:] != (self.L, self.L):
            rows, columns = data.spins.shape[1:]
            raise ConfigError(f"L is {self.L}, but the snapshots of {self.data_file} are {rows}x{columns}")
        self._check_enough(np.bincount(data.labels.numpy(), minlength=2), f"{self.data_file} has")
        return data

    @property
    def data_bytes(self) -> int:
        """Snapshots of one byte a site, where they are sampled, and the chosen ones as they are trained on."""
        sampled = 0 if self.data_file else self.temperatures * self.snapshots
        return (sampled + 8 * (self.train_size + self.test_size)) * self.L**2

    @property
    def defaults(self) -> Mapping[str, Any]:
        """The paper's training: full batch, learning rate 1e-4, weight decay 0.1, 100,000 epochs."""
        return {
            "epochs": 100_000,
            "batch_size": self.train_size,
            "learning_rate": 1e-4,
            "weight_decay": 0.1,
        }

    @property
    def train_samples(self) -> int:
        """``train_size``."""
        return self.train_size

    @property
    def loss_function(self) -> Loss:
        """``loss``."""
        return self.loss

    @property
    def shape(self) -> CnnShape:
        """The sizes of the network."""
        return CnnShape(self.L, self.channels, self.kernel, self.hidden, len(Phase))

    def split(self, seed: int) -> Split:
        """Snapshots int8 ``[n, 1, L, L]`` of ±1 and labels int64 ``[n]``, 0 for ordered and 1 for disordered."""
        sizes = (self.train_size, self.test_size)
        train, test = train_test_split(self._data(), *sizes, seed=seed, stratified=self.stratified)
        return Split(train.spins[:, None], self._noisy(train.labels, seed), test.spins[:, None], test.labels)

    def _noisy(self, labels: Tensor, seed: int) -> Tensor:
        wrong = round(self.label_noise * len(labels))
        chosen = torch.randperm(len(labels), generator=stream(seed, "labels"))[:wrong]
        noisy = labels.clone()
        noisy[chosen] = 1 - noisy[chosen]
        return noisy

    def module(self) -> nn.Sequential:
        """Conv - ReLU - MaxPool blocks, then fully connected layers."""
        return cnn(self.shape)

    def initial(self, seed: int, w0: float, dtype: torch.dtype) -> Params:
        """PyTorch's default initialisation of weights and biases, times ``w0``."""
        return initial_cnn(self.shape, w0, stream(seed, "initial"), dtype)

    def encode(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:
        """Snapshots in the network's floating-point type."""
        return inputs.to(dtype)

    def logits(self, params: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Logits ``[E, N, 2]`` of snapshots ``[E, N, 1, L, L]``."""
        return cnn_on_pictures(params, inputs)

    def losses(self, params: Mapping[str, Tensor], inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss ``[E]`` and correct predictions ``[E]``; of cross entropy, in nats, in one operation."""
        if self.loss is not Loss.CROSS_ENTROPY:
            return losses_of_logits(self, params, inputs, labels)
        loss, correct = cnn_cross_entropy_direct(list(params.values()), inputs, labels, [])
        return loss, correct

    def gradients(
        self, params: Mapping[str, Tensor], inputs: Tensor, labels: Tensor, out: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The losses, and their gradients into ``out``; of cross entropy in one operation."""
        if self.loss is not Loss.CROSS_ENTROPY:
            return gradients_by_autograd(self, params, inputs, labels, out)
        loss, correct = cnn_cross_entropy_direct(list(params.values()), inputs, labels, list(out.values()))
        return loss, correct

    def adam_epochs(
        self,
        params: Mapping[str, Tensor],
        adam: AdamState,
        train: tuple[Tensor, Tensor],
        test: tuple[Tensor, Tensor],
        tested: list[bool],
        batch_size: int,
    ) -> tuple[Tensor, Tensor] | None:
        """Many epochs in one operation (:func:`grokfast.ops.cnn_adam_epochs_`), on CUDA.

        None, and nothing done, elsewhere and where the loss is another or a subclass has gradients or losses of
        its own.
        """
        tensors = list(params.values())
        own = type(self).gradients is not Ising.gradients or type(self).losses is not Ising.losses
        if own or self.loss is not Loss.CROSS_ENTROPY or not takes_many_epochs(tensors):
            return None
        losses, correct = cnn_adam_epochs_(
            tensors, adam.means, adam.squares, *train, *test, tested, batch_size, *adam[2:]
        )
        return losses, correct

    def preactivations(self, params: Mapping[str, Tensor], inputs: Tensor) -> dict[str, Tensor]:
        """What the neurons of ``conv1``, ``conv2``, ``hidden`` and ``output`` receive, on ``[E, N, 1, L, L]``."""
        with torch.no_grad():
            return cnn_preactivations(params, inputs, self.shape)

    @property
    def columns(self) -> Sequence[Column]:
        """Correlations of every layer with energy and magnetisation; the energies; the strongest neuron."""
        layers = self.shape.layers
        last = list(layers)[-2]
        symbols = {"energy": "E", "magnetization": "M", "abs_magnetization": "|M|"}
        headlines = {
            f"{last}_weighted_{name}": rf"$\tilde{{r}}$ of {symbols[name]}, {_spoken(last)} layer"
            for name in QUANTITIES
        }
        return [
            *layer_columns(list(layers), list(QUANTITIES), headlines),
            Column("energy", "energy per site of each test snapshot", "J", kind=Kind.ARRAY),
            Column("strongest", f"pre-activations of the neuron of {last} that carries most", kind=Kind.ARRAY),
        ]

    def features(self, params: Mapping[str, Tensor], inputs: Tensor) -> Features:
        """Correlations of every layer with energy, magnetisation and its absolute value on test snapshots.

        Names are those of :func:`grokfast.tasks.neurons.layer_features`. Arrays hold besides ``energy`` ``[E, N]``
        of the test snapshots and ``strongest`` ``[E, N]``, the pre-activations of the neuron of the last hidden layer
        that carries most.
        """
        layers = self.preactivations(params, inputs)
        quantities = {name: function(inputs)[..., 0] for name, function in QUANTITIES.items()}
        found = layer_features(layers, quantities)
        last = list(layers)[-2]
        strongest = found.arrays[f"weights_{last}"].nan_to_num().argmax(-1)
        chosen = layers[last].gather(2, strongest[:, None, None].expand(-1, layers[last].shape[1], 1))[..., 0]
        return Features(found.scalars, {**found.arrays, "energy": quantities["energy"].float(), "strongest": chosen})


def _spoken(layer: str) -> str:
    return "hidden" if layer == "hidden" else f"last {layer.rstrip('0123456789')}"
