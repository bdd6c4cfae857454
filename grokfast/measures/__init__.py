"""Measures of networks and runs: pure functions of tensors."""

from grokfast.measures.bump import Crossing, discrete_gradient, largest_bump, zero_crossings
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
from grokfast.measures.statistics import Estimate, LinearFit, grokking_onset, linear_fit, mean_interval

__all__ = [
    "Crossing",
    "Estimate",
    "FourierBasis",
    "GrokkingTimes",
    "InputBlocks",
    "LinearFit",
    "StepMeasures",
    "cosine",
    "discrete_gradient",
    "fisher_spectrum",
    "fourier_power",
    "grokking_onset",
    "grokking_times",
    "inner_product",
    "input_ipr",
    "inverse_participation_ratio",
    "largest_bump",
    "layer_ipr",
    "lengths_and_angles",
    "linear_fit",
    "mean_interval",
    "origin_similarity",
    "output_ipr",
    "restrict",
    "step_between",
    "step_length",
    "stiff_parameters",
    "stiffest_parameters",
    "zero_crossings",
]
