"""The two-dimensional Ising model: sampler, exact results and data sets."""

from grokfast.ising.kinds import Boundary, Dynamics, Layout, Phase, Start
from grokfast.ising.measure import Estimate, Measurements
from grokfast.ising.sampler import IsingSampler, PackedSpins

__all__ = [
    "Boundary",
    "Dynamics",
    "Estimate",
    "IsingSampler",
    "Layout",
    "Measurements",
    "PackedSpins",
    "Phase",
    "Start",
]
