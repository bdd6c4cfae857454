"""Networks and the convention of stacked parameters."""

from grokfast.models.cnn import CnnShape, cnn, cnn_on_pictures, cnn_preactivations, initial_cnn
from grokfast.models.layers import Activation, EmbeddingMlp, Mlp, Quadratic
from grokfast.models.mlp import initial_mlp, mlp, mlp_on_pairs
from grokfast.models.stack import Params, member, member_count, stack_members, zeros_together
from grokfast.models.transformer import Block, Transformer

__all__ = [
    "Activation",
    "Block",
    "CnnShape",
    "EmbeddingMlp",
    "Mlp",
    "Params",
    "Quadratic",
    "Transformer",
    "cnn",
    "cnn_on_pictures",
    "cnn_preactivations",
    "initial_cnn",
    "initial_mlp",
    "member",
    "member_count",
    "mlp",
    "mlp_on_pairs",
    "stack_members",
    "zeros_together",
]
