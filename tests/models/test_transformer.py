from __future__ import annotations

import pytest
import torch
from torch import nn

from grokfast.models import Transformer


def written_out(model, tokens):
    """Every position, every head, one after the other, by the definition."""
    p = dict(model.named_parameters())
    x = p["W_E"][tokens] + p["W_pos"][: tokens.shape[1]]
    samples, length, width = x.shape
    for k, block in enumerate(model.blocks):
        w = {name: p[f"blocks.{k}.{name}"] for name, _ in block.named_parameters()}
        size = width // block.heads
        gathered = torch.zeros_like(x)
        for h in range(block.heads):
            own = slice(h * size, (h + 1) * size)
            for n in range(samples):
                for t in range(length):
                    query = w["W_Q"][own] @ x[n, t]
                    scores = torch.stack([query @ (w["W_K"][own] @ x[n, s]) for s in range(t + 1)]) / size**0.5
                    values = torch.stack([w["W_V"][own] @ x[n, s] for s in range(t + 1)])
                    gathered[n, t, own] = scores.softmax(0) @ values
        x = x + gathered @ w["W_O"].T
        x = x + torch.relu(x @ w["W_in"].T + w["b_in"]) @ w["W_out"].T + w["b_out"]
    return x[:, -1] @ p["W_U"].T


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_logits_and_gradients_equal_the_definition(layers):
    torch.manual_seed(layers)
    model = Transformer(7, 5, length=4, width=12, heads=3, hidden=10, layers=layers).double()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)  # biases too
    tokens, labels = torch.randint(7, (6, 4)), torch.randint(5, (6,))
    found, wanted = model(tokens), written_out(model, tokens)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    ours, theirs = (
        torch.autograd.grad(nn.functional.cross_entropy(logits, labels), list(model.parameters()))
        for logits in (found, wanted)
    )
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_attention_equals_torchs_own():
    torch.manual_seed(0)
    model = Transformer(7, 5, length=4, width=12, heads=3, hidden=10, layers=2).double()
    block, x = model.blocks[0], torch.randn(5, 4, 12, dtype=torch.float64)
    own = nn.MultiheadAttention(12, 3, bias=False, batch_first=True).double()
    own.in_proj_weight.data = torch.cat([block.W_Q, block.W_K, block.W_V]).detach()
    own.out_proj.weight.data = block.W_O.detach()
    mask = torch.ones(4, 4, dtype=torch.bool).triu(1)
    wanted, _ = own(x, x, x, attn_mask=mask)
    for first in (0, 2, 3):
        torch.testing.assert_close(block.attention(x, first) @ block.W_O.T, wanted[:, first:])


def test_the_papers_size():
    model = Transformer(114, 113)
    embeddings, block = (114 + 3 + 113) * 128, 4 * 128**2 + 2 * 128 * 512 + 512 + 128
    assert sum(parameter.numel() for parameter in model.parameters()) == embeddings + block
    assert {name: list(p.shape) for name, p in model.named_parameters()}["blocks.0.W_in"] == [512, 128]
