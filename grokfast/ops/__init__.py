"""Custom torch operations, each with a slow readable reference and compiled kernels."""

from grokfast.ops.fisher_chain import fisher_chain, fisher_chain_reference
from grokfast.ops.fisher_linear import fisher_linear, fisher_linear_reference
from grokfast.ops.fisher_patches import fisher_patches, fisher_patches_reference
from grokfast.ops.fisher_two_layer import LabelMode, fisher_two_layer, fisher_two_layer_reference

__all__ = [
    "LabelMode",
    "fisher_chain",
    "fisher_chain_reference",
    "fisher_linear",
    "fisher_linear_reference",
    "fisher_patches",
    "fisher_patches_reference",
    "fisher_two_layer",
    "fisher_two_layer_reference",
]
