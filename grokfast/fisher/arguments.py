"""The arguments of torch's operations that take many, by name and with torch's defaults."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from torch import Tensor

_A = TypeVar("_A")


def taking(kind: Callable[..., _A]) -> Callable[[Callable[[Any, Any, _A], Any]], Callable[..., Any]]:
    """Decorator of what stands in for an operation: it is called as that is, and gets its arguments as a record.

    Args:
        kind: The record.
    """

    def decorate(run: Callable[[Any, Any, _A], Any]) -> Callable[..., Any]:
        @functools.wraps(run)
        def called(watch: Any, func: Any, *args: Any, **kwargs: Any) -> Any:
            return run(watch, func, kind(*args, **kwargs))

        return called

    return decorate


class Conv(NamedTuple):
    """Of ``torch.conv1d`` and its like."""

    input: Tensor
    weight: Tensor
    bias: Tensor | None = None
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1


class ConvTranspose(NamedTuple):
    """Of ``torch.conv_transpose1d`` and its like."""

    input: Tensor
    weight: Tensor
    bias: Tensor | None = None
    stride: Any = 1
    padding: Any = 0
    output_padding: Any = 0
    groups: int = 1
    dilation: Any = 1


class Embedding(NamedTuple):
    """Of ``torch.nn.functional.embedding``."""

    input: Tensor
    weight: Tensor
    padding_idx: int | None = None
    max_norm: float | None = None
    norm_type: float = 2.0
    scale_grad_by_freq: bool = False
    sparse: bool = False


class EmbeddingBag(NamedTuple):
    """Of ``torch.nn.functional.embedding_bag``."""

    input: Tensor
    weight: Tensor
    offsets: Tensor | None = None
    max_norm: float | None = None
    norm_type: float = 2.0
    scale_grad_by_freq: bool = False
    mode: str = "mean"
    sparse: bool = False
    per_sample_weights: Tensor | None = None
    include_last_offset: bool = False
    padding_idx: int | None = None


class BatchNorm(NamedTuple):
    """Of ``torch.nn.functional.batch_norm``."""

    input: Tensor
    running_mean: Tensor | None
    running_var: Tensor | None
    weight: Tensor | None = None
    bias: Tensor | None = None
    training: bool = False
    momentum: float = 0.1
    eps: float = 1e-5


class Attention(NamedTuple):
    """Of ``torch.nn.functional.scaled_dot_product_attention``."""

    query: Tensor
    key: Tensor
    value: Tensor
    attn_mask: Tensor | None = None
    dropout_p: float = 0.0
    is_causal: bool = False
    scale: float | None = None
    enable_gqa: bool = False
