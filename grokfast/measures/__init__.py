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

__all__ = [
    "FourierBasis",
    "GrokkingTimes",
    "InputBlocks",
    "fourier_power",
    "grokking_times",
    "input_ipr",
    "inverse_participation_ratio",
    "layer_ipr",
    "output_ipr",
]
