"""Small convolutional networks on one-channel pictures, as a module and as a stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grokfast.models.stack import Params
from grokfast.ops import conv_relu_pool


@dataclass(frozen=True)
class CnnShape:
    """The sizes of a network: convolutions with ReLU and 2×2 max-pooling, then fully connected layers with ReLU.

    Args:
        side: Side of the picture, divisible by 2 to the number of convolutions.
        channels: Output channels of each convolution, at least one.
        kernel: Side of the kernels, odd; maps are padded by ``kernel // 2``.
        hidden: Widths of the hidden fully connected layers.
        classes: Outputs.
    """

    side: int
    channels: tuple[int, ...]
    kernel: int
    hidden: tuple[int, ...]
    classes: int

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the fully connected part, from the flattened map to the classes."""
        side = self.side >> len(self.channels)
        return (self.channels[-1] * side * side, *self.hidden, self.classes)

    @property
    def layers(self) -> dict[str, str]:
        """Prefix of each layer's parameters by its name: ``conv1``, ..., ``hidden1``, ..., ``output``.

        A single hidden layer is called ``hidden``.
        """
        named = {f"conv{k + 1}": str(3 * k) for k in range(len(self.channels))}
        first = 3 * len(self.channels) + 1
        for k in range(len(self.hidden)):
            named["hidden" if len(self.hidden) == 1 else f"hidden{k + 1}"] = str(first + 2 * k)
        return {**named, "output": str(first + 2 * len(self.hidden))}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each layer's weight by its prefix, in module order."""
        sizes: list[tuple[int, ...]] = []
        inputs = 1
        for outputs in self.channels:
            sizes.append((outputs, inputs, self.kernel, self.kernel))
            inputs = outputs
        widths = self.widths
        sizes += [(widths[k + 1], widths[k]) for k in range(len(widths) - 1)]
        return dict(zip(self.layers.values(), sizes, strict=True))


def cnn(shape: CnnShape) -> nn.Sequential:
    """``Conv2d - ReLU - MaxPool2d(2)`` blocks, ``Flatten``, then ``Linear - ReLU - ... - Linear``.

    Source:
        arXiv 2502.01739, table of models: channels 2 and 4, kernel 3 and widths (64, 100, 2) on 16×16 pictures.
    """
    modules: list[nn.Module] = []
    inputs = 1
    for outputs in shape.channels:
        modules += [nn.Conv2d(inputs, outputs, shape.kernel, padding=shape.kernel // 2), nn.ReLU(), nn.MaxPool2d(2)]
        inputs = outputs
    modules.append(nn.Flatten())
    widths = shape.widths
    for k in range(len(widths) - 1):
        if k:
            modules.append(nn.ReLU())
        modules.append(nn.Linear(widths[k], widths[k + 1]))
    return nn.Sequential(*modules)


def initial_cnn(shape: CnnShape, w0: float, generator: torch.Generator, dtype: torch.dtype) -> Params:
    r"""PyTorch's default initialisation of weights and biases, times ``w0``, named as :func:`cnn` names them.

    .. math:: W, b \sim w_0 \, \mathcal{U}\bigl(-1 / \sqrt{n_\text{in}},\, 1 / \sqrt{n_\text{in}}\bigr)

    which is the Kaiming-uniform draw with :math:`a = \sqrt 5`. Drawn in float64 and rounded, so that a float32 run
    starts where the float64 run does.

    Source:
        He et al. 2015; ``reset_parameters`` of ``nn.Conv2d`` and ``nn.Linear``; the scale w0 is that of
        arXiv 2502.01739.
    """
    params = {}
    for prefix, size in shape.shapes().items():
        bound = w0 / torch.Size(size[1:]).numel() ** 0.5
        for name, drawn in (("weight", size), ("bias", size[:1])):
            uniform = torch.rand(drawn, generator=generator, dtype=torch.float64)
            params[f"{prefix}.{name}"] = ((2 * uniform - 1) * bound).to(dtype)
    return params


def cnn_on_pictures(params: Mapping[str, Tensor], pictures: Tensor) -> Tensor:
    """Logits of a stack of :func:`cnn`, each block of convolution, ReLU and pooling in one operation.

    Args:
        params: Stacked parameters in module order; kernels are ``[E, O, C, k, k]``.
        pictures: ``[E, N, 1, L, L]``, any dtype.

    Returns:
        ``[E, N, classes]``.
    """
    tensors = list(params.values())
    h = pictures.to(tensors[0].dtype)
    flat = False
    for weight, bias in zip(tensors[::2], tensors[1::2], strict=True):
        if weight.dim() == 5:
            h = conv_relu_pool(h, weight, bias)
        else:
            h = torch.relu(h) if flat else h.flatten(2)
            h = torch.baddbmm(bias[:, None], h, weight.transpose(1, 2))
            flat = True
    return h


def cnn_preactivations(params: Mapping[str, Tensor], pictures: Tensor, shape: CnnShape) -> dict[str, Tensor]:
    """What every neuron of every layer receives, before its ReLU (the output layer has none).

    Args:
        params: Stacked parameters in module order.
        pictures: ``[E, N, 1, L, L]``, any dtype.
        shape: The network's sizes.

    Returns:
        By name of the layer (:attr:`CnnShape.layers`): ``[E, N, O, H, W]`` of the convolutions, ``[E, N, width]`` of
        the fully connected layers.
    """
    found: dict[str, Tensor] = {}
    h = pictures.to(next(iter(params.values())).dtype)
    flat = False
    for name, prefix in shape.layers.items():
        weight, bias = params[f"{prefix}.weight"], params[f"{prefix}.bias"]
        if name.startswith("conv"):
            maps = [
                nn.functional.conv2d(x, w, b, padding=w.shape[-1] // 2) for x, w, b in zip(h, weight, bias, strict=True)
            ]
            found[name] = torch.stack(maps)
            pooled = nn.functional.max_pool2d(torch.relu(found[name]).flatten(0, 1), 2)
            h = pooled.view(*found[name].shape[:2], *pooled.shape[1:])
        else:
            h = torch.relu(h) if flat else h.flatten(2)
            h = found[name] = torch.baddbmm(bias[:, None], h, weight.transpose(1, 2))
            flat = True
    return found
