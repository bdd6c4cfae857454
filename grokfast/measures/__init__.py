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
from grokfast.measures.gini import gini, gini_of
from grokfast.measures.grokking import GrokkingTimes, grokking_times
from grokfast.measures.ipr import (
    FourierBasis,
    InputBlocks,
    fourier_power,
    input_ipr,
    inverse_participation_ratio,
    layer_ipr,
    output_ipr,
)
from grokfast.measures.norms import layer_norms, weight_norm
from grokfast.measures.parity import SignLosses, even_odd_parts, loss_by_sign, sign_losses
from grokfast.measures.statistics import Estimate, LinearFit, grokking_onset, linear_fit, mean_interval

__all__ = [
    "Estimate",
    "FourierBasis",
    "GrokkingTimes",
    "InputBlocks",
    "LinearFit",
    "SignLosses",
    "activation_weights",
    "constant_neurons",
    "even_odd_parts",
    "fourier_power",
    "gini",
    "gini_of",
    "grokking_onset",
    "grokking_times",
    "input_ipr",
    "inverse_participation_ratio",
    "layer_ipr",
    "layer_norms",
    "leading_quantity",
    "led_shares",
    "linear_fit",
    "loss_by_sign",
    "mean_correlation",
    "mean_interval",
    "neuron_correlations",
    "output_ipr",
    "sign_losses",
    "weight_norm",
    "weighted_correlation",
]
