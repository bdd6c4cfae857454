"""Measures of networks and runs: pure functions of tensors."""

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
    "Estimate",
    "FourierBasis",
    "GrokkingTimes",
    "InputBlocks",
    "LinearFit",
    "fourier_power",
    "grokking_onset",
    "grokking_times",
    "input_ipr",
    "inverse_participation_ratio",
    "layer_ipr",
    "linear_fit",
    "mean_interval",
    "output_ipr",
]
