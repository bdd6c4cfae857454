"""Measures of networks and runs: pure functions of tensors."""

from grokfast.measures.bump import Crossing, discrete_gradient, largest_bump, zero_crossings
from grokfast.measures.cka import hsic, linear_cka, minibatch_cka
from grokfast.measures.coarse import Truncated, quantised, size_that_keeps
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
from grokfast.measures.curvature import Eigenvalue, hutchinson_trace, largest_eigenvalue
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
from grokfast.measures.grokking import GrokkingTimes, grokking_times, plateau, plateau_from, settled
from grokfast.measures.ipr import (
    FourierBasis,
    InputBlocks,
    fourier_power,
    input_ipr,
    inverse_participation_ratio,
    layer_ipr,
    output_ipr,
)
from grokfast.measures.logits import logit_margin, logit_scale
from grokfast.measures.mutual_information import (
    linear_information,
    mutual_information,
    mutual_information_with_classes,
)
from grokfast.measures.norms import layer_norms, weight_norm
from grokfast.measures.parity import SignLosses, even_odd_parts, loss_by_sign, sign_losses
from grokfast.measures.progress import ProgressLosses, cosine_logits, key_frequencies, key_waves, progress_losses
from grokfast.measures.rank_correlation import rank_correlation
from grokfast.measures.ranks import activation_rank, effective_rank, entropy_count
from grokfast.measures.resampling import bootstrap, proportion, regression_slope
from grokfast.measures.statistics import Estimate, LinearFit, grokking_onset, linear_fit, mean_interval, share_interval
from grokfast.measures.superposition import (
    feature_dimensionality,
    fourier_directions,
    frequencies_per_neuron,
    interference,
    live_neurons,
)

__all__ = [
    "Column",
    "Crossing",
    "Eigenvalue",
    "Estimate",
    "FourierBasis",
    "GrokkingTimes",
    "InputBlocks",
    "Kind",
    "LinearFit",
    "ProgressLosses",
    "SignLosses",
    "StepMeasures",
    "Truncated",
    "activation_rank",
    "activation_weights",
    "bootstrap",
    "constant_neurons",
    "cosine",
    "cosine_logits",
    "discrete_gradient",
    "effective_rank",
    "entropy_count",
    "even_odd_parts",
    "feature_dimensionality",
    "fisher_spectrum",
    "fourier_directions",
    "fourier_power",
    "frequencies_per_neuron",
    "gini",
    "gini_of",
    "grokking_onset",
    "grokking_times",
    "hsic",
    "hutchinson_trace",
    "inner_product",
    "input_ipr",
    "interference",
    "inverse_participation_ratio",
    "key_frequencies",
    "key_waves",
    "largest_bump",
    "largest_eigenvalue",
    "layer_ipr",
    "layer_norms",
    "leading_quantity",
    "led_shares",
    "lengths_and_angles",
    "linear_cka",
    "linear_fit",
    "linear_information",
    "live_neurons",
    "logit_margin",
    "logit_scale",
    "loss_by_sign",
    "mean_correlation",
    "mean_interval",
    "minibatch_cka",
    "mutual_information",
    "mutual_information_with_classes",
    "neuron_correlations",
    "origin_similarity",
    "output_ipr",
    "plateau",
    "plateau_from",
    "progress_losses",
    "proportion",
    "quantised",
    "rank_correlation",
    "regression_slope",
    "restrict",
    "settled",
    "share_interval",
    "sign_losses",
    "size_that_keeps",
    "step_between",
    "step_length",
    "stiff_parameters",
    "stiffest_parameters",
    "weight_norm",
    "weighted_correlation",
    "zero_crossings",
]
