from __future__ import annotations

import math

import pytest
import torch

from grokfast.errors import InputError
from grokfast.measures import cosine_logits, key_frequencies, key_waves, progress_losses

P = 11
A, B, C = torch.meshgrid(*[torch.arange(P, dtype=torch.float64)] * 3, indexing="ij")


def _solution(weights: dict[int, float]) -> torch.Tensor:
    return sum(w * torch.cos(2 * math.pi * k * (A + B - C) / P) for k, w in weights.items())


def _keys(*frequencies: int) -> torch.Tensor:
    return torch.tensor([k in frequencies for k in range(1, P // 2 + 1)])


def _noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).double()


def _cross_entropy(logits: torch.Tensor) -> float:
    return torch.nn.functional.cross_entropy(logits.reshape(-1, P), ((A + B) % P)[..., 0].reshape(-1).long()).item()


def test_key_frequencies_by_power():
    logits = _solution({1: 0.1, 3: 2.0, 4: 1.0}) + 9
    assert torch.equal(key_frequencies(logits), _keys(3, 4))
    assert torch.equal(key_frequencies(logits, 0.75), _keys(3))
    assert torch.equal(key_frequencies(logits, 0.9999), _keys(1, 3, 4))
    assert not key_frequencies(torch.ones(P, P, P)).any()


def test_projections_are_those_of_the_waves_written_out():
    logits = _noise(2, P, P, P)
    keys = torch.stack([_keys(1, 4), _keys(2)])
    waves, cosines = key_waves(logits, keys), cosine_logits(logits, keys)
    for e, frequencies in enumerate(((1, 4), (2,))):
        expected, solution = torch.zeros(P, P, P).double(), torch.zeros(P, P, P).double()
        for k in frequencies:
            angle = 2 * math.pi * k * (A + B) / P
            for wave in (angle.cos(), angle.sin()):
                unit = wave[..., 0] / wave[..., 0].norm()
                expected += unit[..., None] * (unit[..., None] * logits[e]).sum((0, 1))
            wave = torch.cos(2 * math.pi * k * (A + B - C) / P)
            solution += wave * (wave * logits[e]).sum() / wave.square().sum()
        torch.testing.assert_close(waves[e], expected)
        torch.testing.assert_close(cosines[e], solution)


def test_losses_of_a_pure_solution_with_memorised_rest():
    solution = _solution({2: 5.0, 5: 3.0})
    train = _noise(P, P) > 0
    found = progress_losses(solution, train, _keys(2, 5))
    assert found.restricted.item() == pytest.approx(_cross_entropy(solution))
    assert found.trigonometric.item() == pytest.approx(_cross_entropy(solution))
    assert found.excluded.item() == pytest.approx(math.log(P))  # nothing is left
    # A memorised table: the right class of the training pairs is raised besides.
    table = 20 * torch.nn.functional.one_hot(((A + B) % P)[..., 0].long(), P).double() * train[..., None]
    both = progress_losses(solution + table, train, _keys(2, 5))
    assert both.excluded.item() < 0.01
    assert both.restricted.item() > 0.001


def test_members_are_taken_one_by_one():
    logits, train = _noise(3, P, P, P), _noise(3, P, P) > 0
    keys = torch.stack([_keys(1), _keys(2, 3), _keys()])
    together = progress_losses(logits, train, keys)
    for e in range(3):
        alone = progress_losses(logits[e], train[e], keys[e])
        for name in ("restricted", "excluded", "trigonometric"):
            torch.testing.assert_close(getattr(together, name)[e], getattr(alone, name))
    assert together.trigonometric[2].item() == pytest.approx(math.log(P))
    assert progress_losses(logits[0], torch.zeros(P, P, dtype=torch.bool), keys[0]).excluded.isnan()


def test_bad_input():
    with pytest.raises(InputError, match="by a, b and class"):
        key_frequencies(torch.zeros(P, P, P + 1))
    with pytest.raises(InputError, match="keys must be booleans"):
        key_waves(_noise(P, P, P), torch.ones(4, dtype=torch.bool))
    with pytest.raises(InputError, match="train must be booleans"):
        progress_losses(_noise(P, P, P), torch.ones(P, dtype=torch.bool), _keys(1))
