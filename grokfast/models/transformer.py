"""Small decoder-only transformers as the grokking literature uses them: no layer norm, no tied weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Transformer(nn.Module):
    r"""From a few tokens to the logits at the last one.

    .. math:: x = W_E[t] + W_\text{pos}; \qquad x \leftarrow x + \mathrm{attention}(x); \qquad
              x \leftarrow x + \mathrm{MLP}(x); \qquad f = W_U\, x_\text{last}

    Attention is causal, with ``heads`` heads of width / heads each; the MLP is ``Linear - ReLU - Linear``. In the last
    block only the last position is computed, since no other one is read: the same function with a third of the work.

    Args:
        tokens: Size of the vocabulary.
        outputs: Number of logits.
        length: Longest input.
        width: Of the residual stream (d_model), divisible by ``heads``.
        heads: Attention heads.
        hidden: Neurons of each MLP.
        layers: Number of blocks.

    Source:
        Nanda et al. 2023, arXiv 2301.05217: one layer, width 128, 4 heads, 512 neurons, no layer norm; every matrix
        drawn from a normal distribution with variance 1 / d_model, the unembedding 1 / outputs; biases zero.
    """

    def __init__(
        self,
        tokens: int,
        outputs: int,
        *,
        length: int = 3,
        width: int = 128,
        heads: int = 4,
        hidden: int = 512,
        layers: int = 1,
    ) -> None:
        super().__init__()
        self.W_E = nn.Parameter(torch.randn(tokens, width) / width**0.5)
        self.W_pos = nn.Parameter(torch.randn(length, width) / width**0.5)
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(layers))
        self.W_U = nn.Parameter(torch.randn(outputs, width) / outputs**0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits ``[N, outputs]`` of tokens int64 ``[N, T]``."""
        x = nn.functional.embedding(tokens, self.W_E) + self.W_pos[: tokens.shape[1]]
        for k, block in enumerate(self.blocks):
            x = block(x, first=tokens.shape[1] - 1 if k + 1 == len(self.blocks) else 0)
        return x[:, -1] @ self.W_U.T


class Block(nn.Module):
    """Attention, then an MLP, each added to what came in.

    Args:
        width: Of the residual stream.
        heads: Attention heads.
        hidden: Neurons of the MLP.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.W_Q, self.W_K, self.W_V, self.W_O = (
            nn.Parameter(torch.randn(width, width) / width**0.5) for _ in range(4)
        )
        self.W_in = nn.Parameter(torch.randn(hidden, width) / width**0.5)
        self.b_in = nn.Parameter(torch.zeros(hidden))
        self.W_out = nn.Parameter(torch.randn(width, hidden) / width**0.5)
        self.b_out = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """The stream ``[N, T - first, width]`` of the positions from ``first`` on, of ``[N, T, width]``."""
        stream = x[:, first:]
        x = stream + self.attention(x, first) @ self.W_O.T
        hidden = torch.relu(x @ self.W_in.T + self.b_in)
        return x + hidden @ self.W_out.T + self.b_out

    def attention(self, x: Tensor, first: int) -> Tensor:
        """What the heads have gathered for the positions from ``first`` on, ``[N, T - first, width]``."""
        q, k, v = (self._split(part) for part in (x[:, first:] @ self.W_Q.T, x @ self.W_K.T, x @ self.W_V.T))
        if first == x.shape[1] - 1:
            # One query a sample: sums over products take less time than thousands of tiny matrix products.
            weight = ((q * k).sum(-1, keepdim=True) / q.shape[-1] ** 0.5).softmax(1)
            gathered: Tensor = (weight * v).sum(1, keepdim=True).flatten(2)
            return gathered
        scores = torch.einsum("nqhd,nkhd->nhqk", q, k) / q.shape[-1] ** 0.5
        positions = torch.arange(x.shape[1], device=x.device)
        later = positions > positions[first:, None]
        pattern = scores.masked_fill(later, -torch.inf).softmax(-1)
        return torch.einsum("nhqk,nkhd->nqhd", pattern, v).flatten(2)

    def _split(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:-1], self.heads, x.shape[-1] // self.heads)
        heads: Tensor = x.reshape(shape)
        return heads
