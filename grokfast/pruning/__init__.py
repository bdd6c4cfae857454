"""Pruning: scores to masks to curves to compressibility."""

from grokfast.pruning.curve import compressibility, pruning_fractions, size_at_drop
from grokfast.pruning.magnitude import magnitude_ranks, prune_layerwise, pruned_count, pruning_curve

__all__ = [
    "compressibility",
    "magnitude_ranks",
    "prune_layerwise",
    "pruned_count",
    "pruning_curve",
    "pruning_fractions",
    "size_at_drop",
]
