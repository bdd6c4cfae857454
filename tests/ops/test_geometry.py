from __future__ import annotations

import pytest
import torch

from grokfast.errors import InputError
from grokfast.ops import metric_gram, metric_gram_reference


def _problem(dtype, members=3, shapes=((5, 7), (9000,), ())):
    generator = torch.Generator().manual_seed(0)

    def draw():
        return [torch.randn(members, *shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]

    metric = [value.square() for value in draw()]
    stiff = [(value > 0.3).to(torch.uint8) for value in draw()]
    return draw(), draw(), draw(), metric, stiff


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("split", [True, False])
def test_kernel_equals_reference_and_plain_sums(isa, dtype, weighted, split):
    before, here, after, metric, stiff = _problem(dtype)
    metric, stiff = metric if weighted else [], stiff if split else []
    found = metric_gram(before, here, after, metric, stiff)
    torch.testing.assert_close(found, metric_gram_reference(before, here, after, metric, stiff), rtol=1e-12, atol=1e-12)
    flat = [torch.cat([v.double().reshape(3, -1) for v in values], 1) for values in (before, here, after)]
    g = torch.cat([v.double().reshape(3, -1) for v in metric], 1) if weighted else torch.ones_like(flat[0])
    s, p, o = flat[2] - flat[1], flat[1] - flat[0], -flat[1]
    for k, (u, v) in enumerate(((s, s), (p, p), (o, o), (s, p), (s, o))):
        torch.testing.assert_close(found.sum(1)[:, k], (g * u * v).sum(1), rtol=1e-12, atol=1e-10)


def test_threads_do_not_change_a_bit(core):
    problem = _problem(torch.float32, shapes=((100_000,),))
    alone = metric_gram(*problem)
    torch.set_num_threads(3)
    assert torch.equal(metric_gram(*problem), alone)


def test_opcheck():
    torch.library.opcheck(metric_gram, _problem(torch.float64))


def test_bad_input():
    before, here, after, metric, stiff = _problem(torch.float32)
    with pytest.raises(InputError, match="after must have the shapes of here"):
        metric_gram(before, here, after[:1], metric, stiff)
    with pytest.raises(InputError, match=r"metric\[0\] must be torch\.float32"):
        metric_gram(before, here, after, [m.double() for m in metric], stiff)
    with pytest.raises(InputError, match="stiff must be uint8"):
        metric_gram(before, here, after, metric, [s.bool() for s in stiff])
    with pytest.raises(InputError, match="of the same members"):
        metric_gram([], [], [], [], [])
