from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grokfast.errors import InputError
from grokfast.ops import fisher_linear, fisher_linear_reference

SHAPES = [
    (1, 1, 1, 1, 1),
    (2, 300, 1, 7, 33),
    (3, 5, 11, 4, 16),
    (1, 0, 3, 2, 2),
    (2, 9, 0, 3, 5),
    (1, 257, 2, 65, 40),
]


def _inputs(shape, dtype, device="cpu"):
    members, samples, positions, rows, columns = shape
    generator = torch.Generator().manual_seed(sum(shape))
    g = torch.randn(members, samples, positions, rows, dtype=torch.float64, generator=generator)
    a = torch.randn(members, samples, positions, columns, dtype=torch.float64, generator=generator)
    return g.to(device, dtype), a.to(device, dtype)


def _brute_force(g, a):
    out = torch.zeros(g.shape[0], g.shape[3], a.shape[3], dtype=torch.float64)
    for e in range(g.shape[0]):
        for n in range(g.shape[1]):
            out[e] += (g[e, n].double().T @ a[e, n].double()) ** 2
    return out


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-14)])
def test_equals_brute_force(shape, dtype, tolerance):
    g, a = _inputs(shape, dtype)
    expected = _brute_force(g, a)
    for op in (fisher_linear, fisher_linear_reference):
        error = (op(g, a).double() - expected).norm() / expected.norm().clamp_min(1e-30)
        assert error <= tolerance


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(0, 6), st.integers(0, 40), st.integers(0, 5), st.integers(0, 9), st.integers(0, 40)]))
def test_any_shape(shape):
    g, a = _inputs(shape, torch.float64)
    torch.testing.assert_close(fisher_linear(g, a), _brute_force(g, a), rtol=1e-12, atol=1e-12)


def test_every_instruction_set(isa):
    g, a = _inputs((2, 300, 3, 13, 45), torch.float64)
    torch.testing.assert_close(fisher_linear(g, a), _brute_force(g, a), rtol=1e-13, atol=1e-13)


def test_same_bits_for_any_number_of_threads():
    g, a = _inputs((3, 70, 2, 130, 50), torch.float32)
    one = fisher_linear(g, a)
    torch.set_num_threads(4)
    assert torch.equal(fisher_linear(g, a), one)


def test_a_member_does_not_depend_on_its_neighbours():
    g, a = _inputs((4, 50, 2, 20, 30), torch.float32)
    whole = fisher_linear(g, a)
    for e in range(4):
        assert torch.equal(fisher_linear(g[e : e + 1], a[e : e + 1])[0], whole[e])


def test_strided_and_expanded_inputs():
    g, a = _inputs((2, 6, 3, 4, 5), torch.float64)
    strided = torch.empty(2, 6, 3, 8, dtype=torch.float64)[..., ::2].copy_(g)
    expanded = a[:1].expand(2, -1, -1, -1)
    torch.testing.assert_close(fisher_linear(strided, expanded), _brute_force(g, expanded))


def test_opcheck():
    torch.library.opcheck(fisher_linear, _inputs((2, 3, 2, 4, 5), torch.float64))


@pytest.mark.parametrize("in_dims", [(0, 0), (1, None), (None, 2)])
def test_vmap(in_dims):
    g, a = _inputs((2, 3, 2, 4, 5), torch.float64)
    inputs = [
        tensor if dim is None else torch.stack([tensor, 2 * tensor, -tensor], dim)
        for tensor, dim in zip((g, a), in_dims, strict=True)
    ]
    mapped = torch.vmap(fisher_linear, in_dims)(*inputs)
    for k in range(3):
        slices = [x if d is None else x.select(d, k) for x, d in zip(inputs, in_dims, strict=True)]
        torch.testing.assert_close(mapped[k], _brute_force(*slices))


def test_rejects_what_does_not_fit():
    g, a = _inputs((2, 3, 2, 4, 5), torch.float64)
    with pytest.raises(InputError, match="equal E, N and T"):
        fisher_linear(g, a[:, :2])
    with pytest.raises(InputError, match=r"a must be torch\.float64"):
        fisher_linear(g, a.float())


@pytest.mark.gpu
@pytest.mark.parametrize("shape", SHAPES)
def test_cuda_equals_cpu(shape):
    g, a = _inputs(shape, torch.float64)
    torch.testing.assert_close(fisher_linear(g.cuda(), a.cuda()).cpu(), fisher_linear(g, a), rtol=1e-12, atol=1e-12)
