"""Custom torch operations, each with a slow readable reference and compiled kernels."""

from grokfast.ops._native import advise_huge_pages, instruction_set, kernel, native, native_mode
from grokfast.ops.bound_adam import BoundAdam
from grokfast.ops.cnn import cnn_cross_entropy_, cnn_cross_entropy_direct, cnn_cross_entropy_reference
from grokfast.ops.cnn_epochs import MOST_EPOCHS, cnn_adam_epochs_, cnn_adam_epochs_reference, takes_many_epochs
from grokfast.ops.conv_pool import conv_relu_pool
from grokfast.ops.cross_entropy import cross_entropy, cross_entropy_direct, cross_entropy_reference
from grokfast.ops.fisher_chain import fisher_chain, fisher_chain_reference
from grokfast.ops.fisher_linear import fisher_linear, fisher_linear_reference
from grokfast.ops.fisher_patches import fisher_patches, fisher_patches_reference
from grokfast.ops.fisher_two_layer import LabelMode, fisher_two_layer, fisher_two_layer_reference
from grokfast.ops.geometry import GRAM, metric_gram, metric_gram_reference
from grokfast.ops.mlp import (
    mlp_cross_entropy_,
    mlp_cross_entropy_direct,
    mlp_cross_entropy_reference,
    mlp_losses,
    mlp_losses_reference,
)
from grokfast.ops.mlp_epoch import mlp_adam_epoch_, mlp_adam_epoch_direct, mlp_adam_epoch_reference
from grokfast.ops.mlp_nested import mlp_nested_losses, mlp_nested_losses_reference
from grokfast.ops.optimizer import AdamState, adam_step_, adam_step_reference, sgd_step_, sgd_step_reference
from grokfast.ops.two_hot import two_hot_relu, two_hot_relu_reference

__all__ = [
    "GRAM",
    "MOST_EPOCHS",
    "AdamState",
    "BoundAdam",
    "LabelMode",
    "adam_step_",
    "adam_step_reference",
    "advise_huge_pages",
    "cnn_adam_epochs_",
    "cnn_adam_epochs_reference",
    "cnn_cross_entropy_",
    "cnn_cross_entropy_direct",
    "cnn_cross_entropy_reference",
    "conv_relu_pool",
    "cross_entropy",
    "cross_entropy_direct",
    "cross_entropy_reference",
    "fisher_chain",
    "fisher_chain_reference",
    "fisher_linear",
    "fisher_linear_reference",
    "fisher_patches",
    "fisher_patches_reference",
    "fisher_two_layer",
    "fisher_two_layer_reference",
    "instruction_set",
    "kernel",
    "metric_gram",
    "metric_gram_reference",
    "mlp_adam_epoch_",
    "mlp_adam_epoch_direct",
    "mlp_adam_epoch_reference",
    "mlp_cross_entropy_",
    "mlp_cross_entropy_direct",
    "mlp_cross_entropy_reference",
    "mlp_losses",
    "mlp_losses_reference",
    "mlp_nested_losses",
    "mlp_nested_losses_reference",
    "native",
    "native_mode",
    "sgd_step_",
    "sgd_step_reference",
    "takes_many_epochs",
    "two_hot_relu",
    "two_hot_relu_reference",
]
