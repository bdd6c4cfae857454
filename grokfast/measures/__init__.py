"""Measures of networks and runs: pure functions of tensors."""

from grokfast.measures.bump import Crossing, discrete_gradient, largest_bump, zero_crossings
from grokfast.measures.columns import Column, Kind
from grokfast.measures.correlations import (
    activation_weights,
    constant_neurons,
    leading_quantity,
    led_shares,
    mean_correlation,
    neuron_correlations,
    weighted_correlation,
)
from grokfast.measures.geometry import (
    StepMeasures,
    cosine,
    fisher_spectrum,
    inner_product,
    lengths_and_angles,
    origin_similarity,
    restrict,
    step_between,
    step_length,
    stiff_parameters,
    stiffest_parameters,
)
from grokfast.measures.gini import gini, gini_of
from grokfast.measures.grokking import GrokkingTimes, grokking_times, plateau, plateau_from
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
    "Column",
    "Crossing",
    "Estimate",
    "FourierBasis",
    "GrokkingTimes",
    "InputBlocks",
    "Kind",
    "LinearFit",
    "SignLosses",
    "StepMeasures",
    "activation_weights",
    "constant_neurons",
    "cosine",
    "discrete_gradient",
    "even_odd_parts",
    "fisher_spectrum",
    "fourier_power",
    "gini",
    "gini_of",
    "grokking_onset",
    "grokking_times",
    "inner_product",
    "input_ipr",
    "inverse_participation_ratio",
    "largest_bump",
    "layer_ipr",
    "layer_norms",
    "leading_quantity",
    "led_shares",
    "lengths_and_angles",
    "linear_fit",
    "loss_by_sign",
    "mean_correlation",
    "mean_interval",
    "neuron_correlations",
    "origin_similarity",
    "output_ipr",
    "plateau",
    "plateau_from",
    "restrict",
    "sign_losses",
    "step_between",
    "step_length",
    "stiff_parameters",
    "stiffest_parameters",
    "weight_norm",
    "weighted_correlation",
    "zero_crossings",
]
