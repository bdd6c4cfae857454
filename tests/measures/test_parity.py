from __future__ import annotations

import math

import pytest
import torch

from grokfast.errors import InputError
from grokfast.measures import even_odd_parts, layer_norms, loss_by_sign, sign_losses, weight_norm

LABELS = torch.tensor([0, 1, 1])


def test_parts_of_a_polynomial():
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    even, odd = even_odd_parts(1 + 2 * x + 3 * x**2, 1 - 2 * x + 3 * x**2)
    torch.testing.assert_close(even, 1 + 3 * x**2)
    torch.testing.assert_close(odd, 2 * x)


def test_an_even_network_pays_the_same_on_both_signs():
    logits = torch.randn(2, 3, 2, dtype=torch.float64)
    found = sign_losses(logits, logits, LABELS.expand(2, -1))
    wanted = torch.stack([torch.nn.functional.cross_entropy(z, LABELS) for z in logits])
    for loss in (found.plus, found.minus, found.even):
        torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(found.odd, torch.full((2,), math.log(2), dtype=torch.float64))
    assert found.odd_share.tolist() == [0, 0]


def test_an_odd_network():
    logits = torch.randn(3, 2)
    found = sign_losses(logits, -logits, LABELS)
    assert found.odd.item() == pytest.approx(found.plus.item())
    assert found.even.item() == pytest.approx(math.log(2))
    assert found.odd_share.item() == 1


def test_loss_by_sign():
    found = loss_by_sign(torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.0, 8.0]]), torch.tensor([5, 0, -3]))
    assert found["positive"].tolist() == [1, 0]
    assert found["negative"].tolist() == [4, 8]
    assert loss_by_sign(torch.ones(2), torch.ones(2))["negative"].isnan()


def test_norms():
    params = {"0.weight": torch.tensor([[[3.0, 4.0]], [[0.0, 0.0]]]), "0.bias": torch.tensor([[12.0], [2.0]])}
    assert layer_norms(params)["0.weight"].tolist() == [5, 0]
    assert weight_norm(params).tolist() == [13, 2]


def test_rejects():
    with pytest.raises(InputError, match="one shape"):
        even_odd_parts(torch.ones(2, 2), torch.ones(3, 2))
    with pytest.raises(InputError, match="labels must be"):
        sign_losses(torch.ones(3, 2), torch.ones(3, 2), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(InputError, match=r"signs \[N\]"):
        loss_by_sign(torch.ones(3), torch.ones(2))
