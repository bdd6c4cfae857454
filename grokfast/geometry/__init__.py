"""Geometry of a training trajectory in the Fisher metric, while it grows or afterwards."""

from grokfast.geometry.meter import GeometryMeter
from grokfast.geometry.stream import GeometryStream
from grokfast.geometry.trajectory import Trajectory, trajectory_measures
from grokfast.geometry.variants import MetricFisher, Variant, parse_variants

__all__ = [
    "GeometryMeter",
    "GeometryStream",
    "MetricFisher",
    "Trajectory",
    "Variant",
    "parse_variants",
    "trajectory_measures",
]
