"""Fully connected networks of any widths: on vectors, and on embedded tokens."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise

import torch
from torch import Tensor, nn


class Activation(StrEnum):
    """What a hidden neuron does with what it receives."""

    RELU = "relu"
    QUADRATIC = "quadratic"
    """x ↦ x², with which modular addition has solutions in closed form (Gromov 2023, arXiv 2301.02679)."""
    GELU = "gelu"


class Quadratic(nn.Module):
    """x ↦ x²."""

    def forward(self, x: Tensor) -> Tensor:
        """The squares, of any shape."""
        return x.square()


_MODULES: dict[Activation, type[nn.Module]] = {
    Activation.RELU: nn.ReLU,
    Activation.QUADRATIC: Quadratic,
    Activation.GELU: nn.GELU,
}


class Mlp(nn.Sequential):
    """``Linear - activation - ... - Linear``.

    Args:
        widths: From inputs to outputs.
        activation: Of the hidden neurons.
        bias: Whether the layers have biases.
    """

    def __init__(self, widths: Sequence[int], activation: Activation = Activation.RELU, bias: bool = True) -> None:
        layers: list[nn.Module] = []
        for k, (inputs, outputs) in enumerate(pairwise(widths)):
            if k:
                layers.append(_MODULES[activation]())
            layers.append(nn.Linear(inputs, outputs, bias=bias))
        super().__init__(*layers)

    def reset(self, generator: torch.Generator) -> None:
        r"""Draw ``W_oi ~ N(0, 2 / (n_in + n_out))``, in float64; biases are zero.

        Source:
            Glorot & Bengio 2010.
        """
        with torch.no_grad():
            for layer in self:
                if isinstance(layer, nn.Linear):
                    deviation = (2 / sum(layer.weight.shape)) ** 0.5
                    drawn = torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64)
                    layer.weight.copy_(drawn * deviation)
                    if layer.bias is not None:
                        layer.bias.zero_()


class EmbeddingMlp(nn.Module):
    """Each token embedded, the embeddings side by side, and an :class:`Mlp` on them.

    Args:
        tokens: Size of the vocabulary.
        length: Tokens of an input.
        width: Of the embedding.
        widths: Of the MLP's hidden layers and its outputs.
        activation: Of its hidden neurons.
        bias: Whether its layers have biases.
    """

    def __init__(
        self,
        tokens: int,
        length: int,
        width: int,
        widths: Sequence[int],
        activation: Activation = Activation.RELU,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.W_E = nn.Parameter(torch.zeros(tokens, width))
        self.mlp = Mlp((length * width, *widths), activation, bias)

    def reset(self, generator: torch.Generator) -> None:
        """Draw the embedding from N(0, 1 / width), and the MLP as it draws itself."""
        with torch.no_grad():
            drawn = torch.randn(self.W_E.shape, generator=generator, dtype=torch.float64)
            self.W_E.copy_(drawn / self.W_E.shape[1] ** 0.5)
        self.mlp.reset(generator)

    def forward(self, tokens: Tensor) -> Tensor:
        """Outputs ``[N, C]`` of tokens int64 ``[N, T]``."""
        outputs: Tensor = self.mlp(nn.functional.embedding(tokens, self.W_E).flatten(1))
        return outputs
