"""Models of Hugging Face transformers, small and with random weights, against per-sample float64 autograd."""

from __future__ import annotations

import functools
import warnings

import pytest
import torch
from torch import nn

from grokfast.errors import InputError
from grokfast.fisher import fisher_diag, fisher_inner

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers = pytest.importorskip("transformers", reason="needs transformers (pip install '.[zoo]')")

pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12, "vocab_size": 20}
N = 9


def _make(config, model, how):
    return getattr(transformers, model)(getattr(transformers, config)(**how))


def _classifier(name, **how):
    """A sequence classifier by the name of its family."""
    every = {**SMALL, "num_labels": 3, "max_position_embeddings": 16, "pad_token_id": 0, **how}
    return functools.partial(_make, f"{name}Config", f"{name}ForSequenceClassification", every)


GPT = {"n_embd": 8, "n_layer": 2, "n_head": 2, "vocab_size": 20, "n_positions": 16, "num_labels": 3, "pad_token_id": 0}
TEXT = {
    "BERT": _classifier("Bert"),
    "RoBERTa": _classifier("Roberta", max_position_embeddings=20, pad_token_id=1),
    "DistilBERT": functools.partial(_make, "DistilBertConfig", "DistilBertForSequenceClassification", {
        "dim": 8, "n_layers": 2, "n_heads": 2, "hidden_dim": 12, "vocab_size": 20, "num_labels": 3,
        "max_position_embeddings": 16}),
    "ALBERT, shared layers": _classifier("Albert", embedding_size=6),
    "ELECTRA": _classifier("Electra", embedding_size=6),
    "GPT-2": functools.partial(_make, "GPT2Config", "GPT2ForSequenceClassification", GPT),
    "Llama": _classifier("Llama", num_key_value_heads=1),
    "Mistral": _classifier("Mistral", num_key_value_heads=1),
    "OPT": functools.partial(_make, "OPTConfig", "OPTForSequenceClassification", {
        "hidden_size": 8, "word_embed_proj_dim": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 12,
        "vocab_size": 20, "num_labels": 3, "max_position_embeddings": 16, "pad_token_id": 1}),
    "T5": functools.partial(_make, "T5Config", "T5ForSequenceClassification", {
        "d_model": 8, "d_kv": 4, "d_ff": 12, "num_layers": 1, "num_heads": 2, "vocab_size": 20, "num_labels": 3,
        "pad_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 0}),
}  # fmt: skip
IMAGES = {
    "ViT": functools.partial(_make, "ViTConfig", "ViTForImageClassification", {
        **{key: value for key, value in SMALL.items() if key != "vocab_size"}, "image_size": 8, "patch_size": 4,
        "num_channels": 2, "num_labels": 3}),
    "ConvNeXt": functools.partial(_make, "ConvNextConfig", "ConvNextForImageClassification", {
        "num_channels": 2, "patch_size": 2, "num_stages": 2, "hidden_sizes": [4, 6], "depths": [1, 1], "num_labels": 3,
        "image_size": 8}),
    "ResNet": functools.partial(_make, "ResNetConfig", "ResNetForImageClassification", {
        "num_channels": 2, "embedding_size": 4, "hidden_sizes": [4, 6], "depths": [1, 1], "layer_type": "basic",
        "num_labels": 3}),
}  # fmt: skip
# Their norms compute in float32 whatever comes in, so that autograd's own answer has as many digits.
SINGLE = {"Llama", "Mistral", "T5"}
BIG = {"ELECTRA", "Mistral", "OPT", "T5", "RoBERTa", "DistilBERT", "ConvNeXt"}


def _setup(make):
    torch.manual_seed(0)
    model = make().eval().double()
    if make in IMAGES.values():
        return model, {"pixel_values": torch.randn(N, 2, 8, 8, dtype=torch.float64)}
    lengths = torch.tensor([6, 6, 6, 2, 5, 3, 6, 1, 4])
    mask = torch.arange(6) < lengths.unsqueeze(1)
    tokens = torch.randint(3, 20, (N, 6)).masked_fill(~mask, model.config.pad_token_id or 0)
    if "T5" in type(model).__name__:
        tokens[torch.arange(N), lengths - 1] = model.config.eos_token_id
    return model, {"input_ids": tokens, "attention_mask": mask.long()}


def _truth(model, batch):
    """``[N, C]`` log-probabilities and their gradients ``[N, C, P]``, from a pass over the batch."""
    leaves = [p for p in model.parameters() if p.requires_grad]
    logs = model(**batch).logits.log_softmax(-1)
    rows = []
    for n in range(len(logs)):
        for c in range(logs.shape[-1]):
            grads = torch.autograd.grad(logs[n, c], leaves, retain_graph=True, allow_unused=True)
            rows.append(torch.cat([
                torch.zeros_like(p).flatten() if g is None else g.flatten() for g, p in zip(grads, leaves, strict=True)
            ]))  # fmt: skip
    return logs.detach(), torch.stack(rows).view(*logs.shape, -1)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in BIG else n for n in (*TEXT, *IMAGES)]
)  # fmt: skip
def test_diagonal(name):
    model, batch = _setup({**TEXT, **IMAGES}[name])
    logs, grads = _truth(model, batch)
    exact = (logs.exp().unsqueeze(-1) * grads.square()).sum(1)
    labels = torch.arange(N) % 3
    rtol, atol = (1e-4, 1e-6) if name in SINGLE else (1e-8, 1e-12)
    near = functools.partial(torch.testing.assert_close, rtol=rtol, atol=atol * float(exact.max()))
    near(fisher_diag(model, batch).flat(), exact.mean(0))
    empirical = grads[torch.arange(N), labels].square()
    given = {**batch, "labels": labels}
    near(fisher_diag(model, given, targets="labels", kind="empirical").flat(), empirical.mean(0))
    parts = [{key: value[rows] for key, value in batch.items()} for rows in (slice(0, 4), slice(4, 8), slice(8, 9))]
    near(fisher_diag(model, parts, reduction="sum").flat(), exact.sum(0))
    drawn = fisher_diag(model, batch, kind="mc", samples=100, generator=torch.Generator().manual_seed(0)).flat()
    assert float((drawn - exact.mean(0)).norm() / exact.mean(0).norm()) < 0.5
    u = torch.randn(exact.shape[1], dtype=torch.float64)
    slopes = grads @ u
    near(fisher_inner(model, batch, u, u), (logs.exp() * slopes.square()).sum(1).mean(), rtol=10 * rtol, atol=0)


def test_a_language_model_on_labels_with_holes():
    """Next tokens, -100 where there is none: a sample's log-likelihood is the sum over its tokens."""
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**{**GPT, "num_labels": 2})).eval().double()
    tokens = torch.randint(0, 20, (4, 5))
    labels = torch.cat([tokens[:, 1:], torch.full((4, 1), -100)], 1)
    labels[2, 1:] = -100
    found = fisher_diag(model, {"input_ids": tokens, "labels": labels}, targets="labels", kind="empirical")
    logs = model(input_ids=tokens).logits.log_softmax(-1)
    expected = 0.0
    for n in range(4):
        kept = labels[n] != -100
        value = logs[n, kept].gather(-1, labels[n, kept].unsqueeze(-1)).sum()
        grads = torch.autograd.grad(value, list(model.parameters()), retain_graph=True)
        expected = expected + torch.cat([g.flatten() for g in grads]).square() / 4
    torch.testing.assert_close(found.flat(), expected, rtol=1e-8, atol=1e-12 * float(expected.max()))


def test_training_mode_is_refused():
    model, batch = _setup(TEXT["BERT"])
    with pytest.raises(InputError, match=r"dropout|Dropout"):
        fisher_diag(model.train(), batch)
    assert isinstance(model, nn.Module)
