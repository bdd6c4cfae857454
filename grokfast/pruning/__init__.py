"""Pruning: scores to ranks to masks to curves to compressibility."""

from grokfast.pruning.curve import (
    compressibility,
    compressibility_bounds,
    compressibility_error,
    pruning_fractions,
    size_at_accuracy,
    size_at_drop,
)
from grokfast.pruning.curves import pruning_curves
from grokfast.pruning.modules import PruningCurve, apply_masks, measure_pruning, prune_module, pruning_masks
from grokfast.pruning.order import PruningOrder, masked, pruned_count, pruning_order, ranks_of
from grokfast.pruning.schemes import Scheme, layer_of, layers_of, weight_names
from grokfast.pruning.selection import Selection, pruning_selection

__all__ = [
    "PruningCurve",
    "PruningOrder",
    "Scheme",
    "Selection",
    "apply_masks",
    "compressibility",
    "compressibility_bounds",
    "compressibility_error",
    "layer_of",
    "layers_of",
    "masked",
    "measure_pruning",
    "prune_module",
    "pruned_count",
    "pruning_curves",
    "pruning_fractions",
    "pruning_masks",
    "pruning_order",
    "pruning_selection",
    "ranks_of",
    "size_at_accuracy",
    "size_at_drop",
    "weight_names",
]
