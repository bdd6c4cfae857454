"""Measures of networks and runs: pure functions of tensors."""

from grokfast.measures.correlations import (
    activation_weights,
    constant_neurons,
    leading_quantity,
    led_shares,
    mean_correlation,
    neuron_correlations,
    weighted_correlation,
)
from grokfast.measures.grokking import GrokkingTimes, grokking_times, plateau
from grokfast.measures.ipr import (
    FourierBasis,
    InputBlocks,
    fourier_power,
    input_ipr,
    inverse_participation_ratio,
    layer_ipr,
    output_ipr,
)
from grokfast.measures.statistics import Estimate, LinearFit, grokking_onset, linear_fit, mean_interval

__all__ = [
    "Estimate",
    "FourierBasis",
    "GrokkingTimes",
    "InputBlocks",
    "LinearFit",
    "activation_weights",
    "constant_neurons",
    "fourier_power",
    "grokking_onset",
    "grokking_times",
    "input_ipr",
    "inverse_participation_ratio",
    "layer_ipr",
    "leading_quantity",
    "led_shares",
    "linear_fit",
    "mean_correlation",
    "mean_interval",
    "neuron_correlations",
    "output_ipr",
    "plateau",
    "weighted_correlation",
]
