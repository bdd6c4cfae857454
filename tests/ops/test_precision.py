from __future__ import annotations

import pytest
import torch
from torch import nn

from grokfast import fisher_diag
from grokfast.fisher import guards
from grokfast.ops.precision import full_float32
from grokfast.training.stack import quiet_numerics

PLACES = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)


def _set():
    return [place.fp32_precision for place in PLACES]


@pytest.fixture
def tf32():
    before = _set()
    for place in PLACES:
        place.fp32_precision = "tf32"
    yield
    for place, value in zip(PLACES, before, strict=True):
        place.fp32_precision = value


@pytest.mark.usefixtures("tf32")
@pytest.mark.parametrize("block", [full_float32, quiet_numerics])
def test_no_tf32_within_and_what_was_set_after(block):
    with block():
        assert _set() == ["ieee"] * 3
        with full_float32():
            assert _set() == ["ieee"] * 3
        assert _set() == ["ieee"] * 3
    assert _set() == ["tf32"] * 3


@pytest.mark.usefixtures("tf32")
def test_put_back_after_an_error():
    with pytest.raises(ZeroDivisionError), full_float32():
        raise ZeroDivisionError
    assert _set() == ["tf32"] * 3


@pytest.mark.usefixtures("tf32")
def test_the_fisher_diagonal_has_none(monkeypatch):
    """Seen from within the model: a convolution at which no fused form applies."""
    seen = []

    class Watching(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(1, 2, 3)

        def forward(self, x):
            seen.append(_set())
            return torch.tanh(self.conv(x)).sum(-1)

    monkeypatch.setattr(guards, "_needs_full_float32", lambda device: True)
    fisher_diag(Watching(), torch.randn(4, 1, 9))
    assert seen
    assert all(values == ["ieee"] * 3 for values in seen[-1:])
    assert _set() == ["tf32"] * 3
