"""The networks that tasks on a few tokens offer: a typed choice, checked once for all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from grokfast._checks import check_at_least
from grokfast.errors import ConfigError
from grokfast.models import Activation, EmbeddingMlp, Mlp, Transformer
from grokfast.tasks.network import NetworkTask
from grokfast.tasks.outputs import Loss


class Network(StrEnum):
    """Which network is trained."""

    MLP = "mlp"
    """Fully connected, on the tokens' one-hot vectors side by side."""
    EMBEDDING_MLP = "embedding-mlp"
    """Fully connected, on the tokens' embeddings side by side."""
    TRANSFORMER = "transformer"
    """Decoder-only, without layer norm, read out at a last token of its own."""


_SAY_NOTHING = {
    Network.MLP: ("width", "heads", "layers"),
    Network.EMBEDDING_MLP: ("heads", "layers"),
    Network.TRANSFORMER: ("activation", "bias"),
}


@dataclass(frozen=True, kw_only=True)
class TokenTask(NetworkTask):
    """Base of tasks whose inputs are a few tokens: int64 ``[N, T]``.

    Args:
        network: Which network is trained.
        hidden: Widths of the hidden layers; of a transformer the one width of its MLPs.
        width: Of the embedding, or of the transformer's residual stream.
        layers: Blocks of the transformer.
        heads: Attention heads of each.
        activation: Of the hidden neurons of an MLP.
        bias: Whether the layers of an MLP have biases.
        loss: What is lowered: cross entropy, the squared difference from one-hot labels, or StableMax's cross entropy.
    """

    accepts: ClassVar[tuple[Network, ...]] = tuple(Network)

    network: Network = Network.MLP
    hidden: tuple[int, ...] = (512,)
    width: int = 128
    layers: int = 1
    heads: int = 4
    activation: Activation = Activation.RELU
    bias: bool = True
    loss: Loss = Loss.CROSS_ENTROPY  # type: ignore[misc]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.network not in self.accepts:
            fit = [network.value for network in self.accepts]
            raise ConfigError(f"network of task {self.name} must be one of {fit}, got {self.network.value!r}")
        for field in dataclasses.fields(TokenTask):
            if field.name in _SAY_NOTHING[self.network] and getattr(self, field.name) != field.default:
                raise ConfigError(
                    f"{field.name} says nothing about a network of kind {self.network.value!r}: leave it out"
                )
        self._check_widths()

    def _check_widths(self) -> None:
        if not self.hidden:
            raise ConfigError("hidden must name at least one hidden width, got none")
        for width in self.hidden:
            check_at_least("each of hidden", width, 1, error=ConfigError)
        for name in ("width", "layers", "heads"):
            check_at_least(name, getattr(self, name), 1, error=ConfigError)
            object.__setattr__(self, name, int(getattr(self, name)))
        if not isinstance(self.bias, bool):
            raise ConfigError(f"bias must be true or false, got {self.bias!r}")
        object.__setattr__(self, "hidden", tuple(int(width) for width in self.hidden))
        if self.network is not Network.TRANSFORMER:
            return
        if len(self.hidden) != 1:
            raise ConfigError(f"hidden of a transformer must be the one width of its MLPs, got {list(self.hidden)}")
        if self.width % self.heads:
            raise ConfigError(f"width must be divisible by heads, got {self.width} and {self.heads}")

    @property
    def vocabulary(self) -> int:
        """Number of different tokens of an input."""
        raise NotImplementedError(f"task {self.name} must give its vocabulary")

    @property
    def length(self) -> int:
        """Tokens of an input."""
        raise NotImplementedError(f"task {self.name} must give its length")

    @property
    def classes(self) -> int:
        """Number of labels."""
        raise NotImplementedError(f"task {self.name} must give its classes")

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Learning rate 1e-3, batches of at most 512, no weight decay, 1,000 epochs."""
        return {**super().defaults, "batch_size": min(512, self.train_samples)}

    def module(self) -> nn.Module:
        """The network of the choice."""
        if self.network is Network.TRANSFORMER:
            return Transformer(
                self.vocabulary + 1,
                self.classes,
                length=self.length + 1,
                width=self.width,
                heads=self.heads,
                hidden=self.hidden[0],
                layers=self.layers,
            )
        widths = (*self.hidden, self.classes)
        if self.network is Network.EMBEDDING_MLP:
            return EmbeddingMlp(self.vocabulary, self.length, self.width, widths, self.activation, self.bias)
        return Mlp((self.vector, *widths), self.activation, self.bias)

    @property
    def vector(self) -> int:
        """Entries of the vector that an MLP takes."""
        return self.length * self.vocabulary

    def encode(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:
        """Vectors ``[..., T V]`` for an MLP; tokens for an embedding; tokens and a last one for a transformer."""
        if self.network is Network.MLP:
            return self.as_vectors(inputs, dtype)
        if self.network is Network.TRANSFORMER:
            last = inputs.new_full((*inputs.shape[:-1], 1), self.vocabulary)
            return torch.cat([inputs, last], -1)
        return inputs

    def as_vectors(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:
        """What an MLP takes: the tokens' one-hot vectors side by side, ``[..., T V]``."""
        return nn.functional.one_hot(inputs, self.vocabulary).flatten(-2).to(dtype)


def first_matrix(params: Mapping[str, Tensor], network: Network) -> Tensor:
    """The first matrix ``[E, H, inputs]`` of the MLP of a network on vectors or embeddings."""
    return params["0.weight" if network is Network.MLP else "mlp.0.weight"]


def class_weights(params: Mapping[str, Tensor], network: Network, hidden: Sequence[int]) -> Tensor:
    """What each hidden neuron of the last layer adds to each class, ``[E, C, H]``.

    Of an MLP its last matrix; of a transformer W_U W_out of the last block (Nanda et al. 2023 call it W_L).
    """
    if network is Network.TRANSFORMER:
        last = max(int(name.split(".")[1]) for name in params if name.startswith("blocks."))
        return params["W_U"] @ params[f"blocks.{last}.W_out"]
    prefix = "" if network is Network.MLP else "mlp."
    return params[f"{prefix}{2 * len(hidden)}.weight"]
