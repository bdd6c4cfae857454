from __future__ import annotations

import math

import pytest
import torch

from grokfast.errors import InputError
from grokfast.measures import hsic, linear_cka, minibatch_cka


def _cloud(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _song(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The estimator as Song et al. write it, with N x N matrices."""
    n = len(x)
    k, l = (z @ z.T for z in (x, y))  # noqa: E741
    k, l = k - k.diag().diag(), l - l.diag().diag()  # noqa: E741
    inner = (k @ l).trace() + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k @ l).sum()
    return inner / (n * (n - 3))


def test_unbiased_hsic_is_the_one_of_the_literature():
    x, y = _cloud(3, 12, 5) + 2, _cloud(3, 12, 7, seed=1) - 4
    torch.testing.assert_close(hsic(x, y), torch.stack([_song(a, b) for a, b in zip(x, y, strict=True)]))
    centred = [z - z.mean(-2, keepdim=True) for z in (x, y)]
    kernel = [z @ z.mT for z in centred]
    biased = (kernel[0] * kernel[1]).sum((-1, -2)) / 11**2
    torch.testing.assert_close(hsic(x, y, debiased=False), biased)


@pytest.mark.parametrize("debiased", [True, False])
def test_rotation_scale_and_shift_change_nothing(debiased):
    x = _cloud(50, 8)
    rotation = torch.linalg.qr(_cloud(8, 8, seed=3))[0]
    assert linear_cka(x, -3 * x @ rotation + 7, debiased=debiased).item() == pytest.approx(1, abs=1e-12)
    other = _cloud(50, 4, seed=5)
    torch.testing.assert_close(
        linear_cka(x, other, debiased=debiased), linear_cka(x @ rotation, 2 * other, debiased=debiased)
    )


def test_independent_clouds_are_unlike_even_with_more_dimensions_than_samples():
    x, y = _cloud(400, 20, 60), _cloud(400, 20, 60, seed=9)
    found, naive = linear_cka(x, y), linear_cka(x, y, debiased=False)
    error = found.std().item() / math.sqrt(len(found))
    assert abs(found.mean().item()) < 4 * error < 0.05
    assert naive.mean().item() > 0.7  # what the correction is for


def test_a_shared_part_of_known_share():
    # y shares half of its variance with x, isotropic: CKA tends to the mean squared correlation, 1/2.
    x, noise = _cloud(20_000, 3), _cloud(20_000, 3, seed=2)
    y = (x + noise) / math.sqrt(2)
    assert linear_cka(x, y).item() == pytest.approx(0.5, abs=0.02)


def test_minibatches_agree_on_average():
    x = _cloud(4000, 6)
    y = x @ _cloud(6, 5, seed=4) + _cloud(4000, 5, seed=7)
    batches = [(x[k : k + 20], y[k : k + 20]) for k in range(0, 4000, 20)]
    assert minibatch_cka(batches).item() == pytest.approx(linear_cka(x, y).item(), abs=0.02)


def test_what_has_none():
    assert linear_cka(torch.ones(10, 3), _cloud(10, 3)).isnan()
    for x, y in ((_cloud(3, 2), _cloud(3, 2)), (_cloud(9, 2), _cloud(8, 2)), (_cloud(9), _cloud(9))):
        with pytest.raises(InputError, match="same N >= 4 samples"):
            linear_cka(x, y)
    with pytest.raises(InputError, match="finite"):
        hsic(torch.full((9, 2), torch.inf), _cloud(9, 2))
    with pytest.raises(InputError, match="at least one batch"):
        minibatch_cka([])
