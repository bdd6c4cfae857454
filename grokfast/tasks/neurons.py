"""Features read off neurons: correlations of every layer with quantities of the input, summarised by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from grokfast.measures import (
    Column,
    Kind,
    activation_weights,
    constant_neurons,
    led_shares,
    mean_correlation,
    neuron_correlations,
    weighted_correlation,
)
from grokfast.tasks.base import Features

Quantities = Mapping[str, Callable[[Tensor], Tensor]]
"""Functions of inputs ``[E, N, ...]`` that give one number a sample, ``[E, N]``, by name."""


@runtime_checkable
class HasPreactivations(Protocol):
    """A task whose networks show what their neurons receive."""

    def preactivations(self, params: Mapping[str, Tensor], inputs: Tensor) -> dict[str, Tensor]:
        """By layer: maps ``[E, N, O, H, W]`` or vectors ``[E, N, K]``."""
        ...


def readings(layers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each layer as neurons ``[E, N, K]``; of maps both readings.

    Args:
        layers: Maps ``[E, N, O, H, W]`` or vectors ``[E, N, K]`` by name.

    Returns:
        ``conv1`` has every unit of the map as a neuron, ``channels1`` the spatial mean of each channel.
    """
    found = {}
    for name, values in layers.items():
        if values.dim() == 5:
            found[name] = values.flatten(2)
            found[name.replace("conv", "channels")] = values.mean((-1, -2))
        else:
            found[name] = values
    return found


def layer_features(layers: Mapping[str, Tensor], quantities: Mapping[str, Tensor]) -> Features:
    """Correlations of all layers with all quantities.

    Scalars are, for each layer ``L`` (in both readings of :func:`readings`) and quantity ``q``:

    * ``L_weighted_q``: mean ``|r|`` weighted by pre-activation; eq. 6 divides it by the layer's size besides;
    * ``L_mean_q``: plain mean ``|r|``;
    * ``L_led_q``, ``L_share_q``: share of the neurons whose largest ``|r|`` is with q, and of the total
      pre-activation that they carry;
    * ``L_constant``: neurons without any correlation, which the others leave out;
    * ``L_post_mean_q``: plain mean ``|r|`` of the activations after ReLU (not of the output layer).

    Arrays are ``r_L`` and ``r_post_L`` ``[E, K, Q]``, NaN for constant neurons, and ``weights_L`` ``[E, K]``.

    Args:
        layers: Pre-activations by layer, as :func:`readings` takes them.
        quantities: ``[E, N]`` by name.

    Returns:
        The features.

    Source:
        arXiv 2502.01739, eq. 6 and figs. 7, 12, 13, 28 to 30.
    """
    table = torch.stack([values.double() for values in quantities.values()], dim=-1)
    scalars: dict[str, Tensor] = {}
    arrays: dict[str, Tensor] = {}
    for name, z in readings(layers).items():
        r, weights = neuron_correlations(z, table), activation_weights(z)
        summaries = {
            "weighted": weighted_correlation(r, weights),
            "mean": mean_correlation(r),
            "led": led_shares(r),
            "share": led_shares(r, weights),
        }
        scalars[f"{name}_constant"] = constant_neurons(r).double()
        arrays |= {f"r_{name}": r.float(), f"weights_{name}": weights.float()}
        scalars |= _by_quantity(name, summaries, quantities)
    hidden = {name: torch.relu(values) for name, values in layers.items() if name != "output"}
    for name, a in readings(hidden).items():
        r = neuron_correlations(a, table)
        arrays[f"r_post_{name}"] = r.float()
        scalars |= _by_quantity(name, {"post_mean": mean_correlation(r)}, quantities)
    return Features(scalars, arrays)


def layer_columns(
    layers: Sequence[str], quantities: Sequence[str], headlines: Mapping[str, str] | None = None
) -> list[Column]:
    """What :func:`layer_features` gives of these layers and quantities.

    Args:
        layers: Names of layers; those that begin with ``conv`` are maps, read in two ways.
        quantities: Names of quantities.
        headlines: Labels of the columns that tables and general figures show, by name.

    Returns:
        Columns of all scalars and arrays, with the arrays at the end.
    """
    labels = headlines or {}
    scalars: dict[str, str] = {}
    arrays: dict[str, str] = {}
    for layer in layers:
        for name, neurons in _read_as(layer).items():
            for quantity in quantities:
                for summary, meaning in _SUMMARIES.items():
                    if summary != "post_mean" or layer != "output":
                        scalars[f"{name}_{summary}_{quantity}"] = meaning.format(quantity=quantity, neurons=neurons)
            scalars[f"{name}_constant"] = f"{neurons} that give every test input the same, without correlation"
            arrays[f"r_{name}"] = f"correlations of {neurons} with each quantity, before ReLU"
            arrays[f"weights_{name}"] = f"mean pre-activation of {neurons}, the weights of their mean"
            if layer != "output":
                arrays[f"r_post_{name}"] = f"correlations of {neurons} with each quantity, after ReLU"
    return [
        *(Column(name, text, label=labels.get(name, ""), headline=name in labels) for name, text in scalars.items()),
        *(Column(name, text, kind=Kind.ARRAY) for name, text in arrays.items()),
    ]


_SUMMARIES = {
    "weighted": "mean |r| with {quantity}, weighted by pre-activation, of {neurons}",
    "mean": "mean |r| with {quantity} of {neurons}",
    "led": "share of {neurons} that correlate most with {quantity}",
    "share": "share of the pre-activation carried by those of {neurons} that correlate most with {quantity}",
    "post_mean": "mean |r| with {quantity} of {neurons}, after ReLU",
}


def _read_as(layer: str) -> dict[str, str]:
    if layer.startswith("conv"):
        return {layer: f"the units of {layer}", layer.replace("conv", "channels"): f"the channel means of {layer}"}
    return {layer: f"the neurons of {layer}"}


def _by_quantity(layer: str, summaries: Mapping[str, Tensor], names: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        f"{layer}_{summary}_{quantity}": values[..., k]
        for summary, values in summaries.items()
        for k, quantity in enumerate(names)
    }
