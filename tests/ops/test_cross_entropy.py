from __future__ import annotations

import pytest
import torch

from grokfast.errors import InputError
from grokfast.ops import cross_entropy, cross_entropy_reference


def _inputs(dtype=torch.float64, scale=1.0, classes=113):
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(3, 20, classes, generator=generator, dtype=torch.float64) * scale
    labels = torch.randint(0, classes, (3, 20), generator=generator)
    return logits.to(dtype), labels


@pytest.mark.parametrize("classes", [1, 2, 7, 113, 130])
@pytest.mark.parametrize("op", [cross_entropy, cross_entropy_reference])
def test_equals_torch(op, classes):
    logits, labels = _inputs(classes=classes)
    loss, correct, grad = op(logits, labels, True)
    for e in range(3):
        z = logits[e].clone().requires_grad_()
        wanted = torch.nn.functional.cross_entropy(z, labels[e])
        torch.testing.assert_close(loss[e], wanted.detach(), rtol=1e-13, atol=1e-14)
        torch.testing.assert_close(grad[e], torch.autograd.grad(wanted, z)[0], rtol=1e-12, atol=1e-15)
    assert torch.equal(correct, (logits.argmax(-1) == labels).sum(1))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0, 50.0, 1000.0])
def test_float32_keeps_its_precision_when_saturated(scale, core):
    logits, labels = _inputs(torch.float32, scale)
    labels[:, :15] = logits[:, :15].argmax(-1)  # mostly right, and for large scales almost certain
    found = cross_entropy(logits, labels, True)
    exact = cross_entropy(logits.double(), labels, True)
    torch.testing.assert_close(found[0].double(), exact[0], rtol=1e-6, atol=0)
    # A difference of logits up to 87 is rounded to float32 before exp: 87 * 2^-24 is 5.2e-6 of relative error.
    torch.testing.assert_close(found[2].double(), exact[2], rtol=8e-6, atol=1e-37)


def test_saturated_gradient_against_high_precision():
    mpmath = pytest.importorskip("mpmath")
    logits = torch.tensor([[[40.0, 0.0, 3.0]]], dtype=torch.float64)
    _, _, grad = cross_entropy(logits, torch.tensor([[0]]), True)
    with mpmath.workdps(40):
        others = mpmath.e ** (0 - 40) + mpmath.e ** (3 - 40)
        wanted = float(-others / (1 + others))
    # The reference forms p - 1, which keeps few digits here; the kernel sums the other probabilities.
    assert grad[0, 0, 0].item() == pytest.approx(wanted, rel=1e-12 if _native() else 0.5)


def _native() -> bool:
    from grokfast.ops._native import native

    return native() is not None


def test_first_of_equal_maxima_is_the_prediction():
    logits = torch.zeros(1, 2, 4)
    _, correct, _ = cross_entropy(logits, torch.tensor([[0, 1]]), False)
    assert correct.item() == 1


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_logit_that_is_not_finite_spoils_its_member_only(value):
    logits, labels = _inputs()
    clean = cross_entropy(logits, labels, True)[0]
    logits[1, 4, 5] = value
    loss, _, _ = cross_entropy(logits, labels, True)
    assert torch.equal(loss[[0, 2]], clean[[0, 2]])
    if value != -torch.inf or _native():
        assert not loss[1].isfinite()


def test_differentiable_once():
    logits, labels = _inputs()
    logits.requires_grad_()
    weights = torch.tensor([1.0, 2.0, -3.0], dtype=torch.float64)
    (found,) = torch.autograd.grad((cross_entropy(logits, labels, True)[0] * weights).sum(), logits)
    (wanted,) = torch.autograd.grad((cross_entropy_reference(logits, labels, False)[0] * weights).sum(), logits)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-15)
    with pytest.raises(InputError, match="with_grad=False"):
        cross_entropy(logits, labels, False)[0].sum().backward()


def test_rejects_what_does_not_fit():
    logits, labels = _inputs(classes=4)
    with pytest.raises(InputError, match=r"labels must lie in 0 \.\. 3"):
        cross_entropy(logits, labels + 4, False)
    with pytest.raises(InputError, match="int64 labels"):
        cross_entropy(logits, labels.int(), False)
    with pytest.raises(InputError, match="at least one sample"):
        cross_entropy(logits[:, :0], labels[:, :0], False)


def test_every_instruction_set(core):
    best = core.isa()
    logits, labels = _inputs(torch.float32)
    results = {}
    for isa in ("baseline", "avx2", "avx512"):
        try:
            core.set_isa(isa)
        except ValueError:
            continue
        results[isa] = cross_entropy(logits, labels, True)
    core.set_isa(best)
    assert "baseline" in results
    for found in results.values():
        torch.testing.assert_close(found[0], results["baseline"][0], rtol=1e-6, atol=0)
        torch.testing.assert_close(found[2], results["baseline"][2], rtol=1e-5, atol=1e-9)


def test_opcheck():
    logits, labels = _inputs(classes=5)
    torch.library.opcheck(cross_entropy, (logits.requires_grad_(), labels, True))


@pytest.mark.gpu
@pytest.mark.parametrize("classes", [1, 2, 113])
def test_cuda_equals_cpu(classes):
    logits, labels = _inputs(classes=classes)
    for cpu, gpu in zip(
        cross_entropy(logits, labels, True), cross_entropy(logits.cuda(), labels.cuda(), True), strict=True
    ):
        torch.testing.assert_close(gpu.cpu(), cpu, rtol=1e-12, atol=1e-15)
