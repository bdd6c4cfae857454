"""Geometry of a training trajectory in the Fisher metric, while it grows or afterwards."""

from grokfast.geometry.variants import MetricFisher, Variant, parse_variants

__all__ = ["MetricFisher", "Variant", "parse_variants"]
