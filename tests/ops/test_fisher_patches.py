from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grokfast.errors import InputError
from grokfast.ops import fisher_patches, fisher_patches_reference

SHAPES = [
    (1, 1, 1, 1, 1, 1),
    (2, 30, 2, 7, 13, 9),
    (1, 5, 3, 40, 6, 25),
    (1, 0, 1, 2, 3, 4),
    (2, 19, 1, 17, 1, 3),
]


def _inputs(shape, dtype=torch.float64, device="cpu"):
    members, samples, groups, rows, positions, patch = shape
    generator = torch.Generator().manual_seed(sum(shape))
    pixels = 3 * (positions + patch)
    g = torch.randn(members, samples, groups, rows, positions, dtype=torch.float64, generator=generator)
    x = torch.randn(members, samples, groups, pixels, dtype=torch.float64, generator=generator)
    base = torch.randperm(pixels - patch, generator=generator)[:positions]
    offset = torch.randperm(patch, generator=generator)
    return g.to(device, dtype), x.to(device, dtype), base.to(device), offset.to(device)


def _brute_force(g, x, base, offset):
    out = torch.zeros(g.shape[0], g.shape[2], g.shape[3], len(offset), dtype=torch.float64)
    for e in range(g.shape[0]):
        for n in range(g.shape[1]):
            for h in range(g.shape[2]):
                patches = torch.stack([x[e, n, h, b + offset] for b in base.tolist()]).double()
                out[e, h] += (g[e, n, h].double() @ patches) ** 2
    return out


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-14)])
def test_equals_brute_force(shape, dtype, tolerance):
    inputs = _inputs(shape, dtype)
    expected = _brute_force(*inputs)
    for op in (fisher_patches, fisher_patches_reference):
        assert (op(*inputs).double() - expected).norm() <= tolerance * expected.norm()


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(low, high) for low, high in ((0, 2), (0, 12), (1, 3), (1, 40), (1, 9), (1, 30))]))
def test_any_shape(shape):
    inputs = _inputs(shape)
    torch.testing.assert_close(fisher_patches(*inputs), _brute_force(*inputs), rtol=1e-12, atol=1e-12)


def test_every_instruction_set(isa):
    for shape in SHAPES:
        inputs = _inputs(shape)
        torch.testing.assert_close(fisher_patches(*inputs), _brute_force(*inputs), rtol=1e-12, atol=1e-12)


def test_same_bits_for_any_number_of_threads():
    inputs = _inputs((2, 33, 2, 20, 7, 11), torch.float32)
    one = fisher_patches(*inputs)
    torch.set_num_threads(4)
    assert torch.equal(fisher_patches(*inputs), one)


def test_opcheck():
    torch.library.opcheck(fisher_patches, _inputs((2, 3, 2, 4, 5, 6)))


def test_vmap():
    g, x, base, offset = _inputs((2, 3, 2, 4, 5, 6))
    mapped = torch.vmap(fisher_patches, (0, None, None, None))(torch.stack([g, 2 * g]), x, base, offset)
    torch.testing.assert_close(mapped[1], 4 * _brute_force(g, x, base, offset))


def test_rejects_what_does_not_fit():
    g, x, base, offset = _inputs((2, 3, 2, 4, 5, 6))
    with pytest.raises(InputError, match="equal E, N and H"):
        fisher_patches(g, x[:, :2], base, offset)
    with pytest.raises(InputError, match="must lie in"):
        fisher_patches(g, x, base, offset + 1000)
    with pytest.raises(InputError, match="must be int64"):
        fisher_patches(g, x, base.int(), offset)


@pytest.mark.gpu
@pytest.mark.parametrize("shape", SHAPES)
def test_cuda_equals_cpu(shape):
    inputs = _inputs(shape)
    found = fisher_patches(*(t.cuda() for t in inputs)).cpu()
    torch.testing.assert_close(found, fisher_patches(*inputs), rtol=1e-12, atol=1e-12)
