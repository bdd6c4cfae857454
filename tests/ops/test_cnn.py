from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from grokfast.errors import InputError
from grokfast.ops import cnn_cross_entropy_, cnn_cross_entropy_direct, cnn_cross_entropy_reference

# Channels, kernel, side, hidden widths, classes, samples: the paper's network, one block with a map of odd size, three
# blocks and no hidden layer, wide channels, one of each.
SIZES = [
    ((1, 2, 4), 3, 16, (100,), 2, 40),
    ((2, 3), 5, 7, (9, 5), 4, 17),
    ((1, 3, 5, 2), 1, 17, (), 3, 33),
    ((3, 9, 7), 3, 10, (21,), 5, 16),
    ((1, 1), 3, 2, (1,), 1, 1),
]


def _problem(size, dtype=torch.float64, members=3, kind=torch.int8):
    channels, k, side, hidden, classes, samples = size
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return (torch.randn(*shape, generator=generator, dtype=torch.float64) * 0.5).to(dtype)

    params = []
    maps = side
    for a, b in pairwise(channels):
        params += [draw(members, b, a, k, k), draw(members, b)]
        maps //= 2
    for a, b in pairwise((channels[-1] * maps * maps, *hidden, classes)):
        params += [draw(members, b, a), draw(members, b)]
    shape = (members, samples, channels[0], side, side)
    x = (torch.randint(0, 2, shape, generator=generator) * 2 - 1).to(kind if kind is torch.int8 else dtype)
    return params, x, torch.randint(0, classes, (members, samples), generator=generator)


def _module(params, e):
    """The network as anyone would write it, with the parameters of member e."""
    layers: list[nn.Module] = []
    convs = [w for w in params if w.dim() == 5]
    linears = [w for w in params if w.dim() == 3]
    for w in convs:
        layers += [nn.Conv2d(w.shape[2], w.shape[1], w.shape[3], padding="same"), nn.ReLU(), nn.MaxPool2d(2)]
    layers.append(nn.Flatten())
    for w in linears:
        layers += [nn.Linear(w.shape[2], w.shape[1]), nn.ReLU()]
    model = nn.Sequential(*layers[:-1]).double()
    with torch.no_grad():
        for tensor, value in zip(model.parameters(), params, strict=True):
            tensor.copy_(value[e])
    return model


def _plain_torch(params, inputs, labels, e):
    model = _module(params, e)
    logits = model(inputs[e].double())
    loss = nn.functional.cross_entropy(logits, labels[e])
    return loss.detach(), (logits.argmax(1) == labels[e]).sum(), torch.autograd.grad(loss, list(model.parameters()))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 3e-6), (torch.float64, 1e-13)])
@pytest.mark.parametrize("kind", [torch.int8, None])
@pytest.mark.parametrize("op", [cnn_cross_entropy_, cnn_cross_entropy_direct, cnn_cross_entropy_reference])
def test_equals_plain_torch(op, size, dtype, tolerance, kind):
    params, inputs, labels = _problem(size, dtype, kind=kind)
    grads = [torch.full_like(p, torch.nan) for p in params]
    loss, correct = op(params, inputs, labels, grads)
    for e in range(3):
        wanted_loss, wanted_correct, wanted = _plain_torch(params, inputs, labels, e)
        assert loss[e].item() == pytest.approx(wanted_loss.item(), rel=10 * tolerance, abs=tolerance)
        assert correct[e] == wanted_correct
        for found, grad in zip(grads, wanted, strict=True):
            assert (found[e].double() - grad).norm() <= tolerance * grad.norm() + 1e-300


@pytest.mark.parametrize("size", SIZES)
def test_every_instruction_set(isa, size):
    params, inputs, labels = _problem(size)
    grads = [torch.empty_like(p) for p in params]
    loss, _ = cnn_cross_entropy_(params, inputs, labels, grads)
    wanted_loss, _, wanted = _plain_torch(params, inputs, labels, 1)
    assert loss[1].item() == pytest.approx(wanted_loss.item(), rel=1e-12, abs=1e-14)
    for found, grad in zip(grads, wanted, strict=True):
        assert (found[1] - grad).norm() <= 1e-13 * grad.norm() + 1e-300


@pytest.mark.parametrize("size", SIZES)
def test_without_gradients_the_loss_is_the_same_to_the_bit(size):
    params, inputs, labels = _problem(size, torch.float32)
    with_grads = cnn_cross_entropy_(params, inputs, labels, [torch.empty_like(p) for p in params])
    without = cnn_cross_entropy_(params, inputs, labels, [])
    assert all(torch.equal(a, b) for a, b in zip(with_grads, without, strict=True))


def test_int8_float_and_expanded_inputs_give_the_same_bits():
    params, inputs, labels = _problem(SIZES[0], torch.float32)
    inputs = inputs[:1].expand_as(inputs)
    answers = []
    for x in (
        inputs,
        inputs.contiguous(),
        inputs.float(),
        inputs.float().contiguous(),
        inputs[:1].float().expand_as(inputs),
    ):
        grads = [torch.empty_like(p) for p in params]
        answers.append([*cnn_cross_entropy_(params, x, labels, grads), *grads])
    for other in answers[1:]:
        assert all(torch.equal(a, b) for a, b in zip(answers[0], other, strict=True))


def test_other_memory_layouts_answer_the_same():
    params, inputs, labels = _problem(SIZES[0])
    other = [p.transpose(1, 2).contiguous().transpose(1, 2) if p.dim() > 2 else p for p in params]
    grads, again = [torch.empty_like(p) for p in params], [torch.empty_like(p) for p in other]
    cnn_cross_entropy_(params, inputs, labels, grads)
    cnn_cross_entropy_(other, inputs.transpose(3, 4).contiguous().transpose(3, 4), labels, again)
    for a, b in zip(grads, again, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("layer", range(4))
def test_a_network_that_is_not_finite_spoils_itself_only(layer):
    params, inputs, labels = _problem(SIZES[0])
    params[2 * layer][1] = torch.nan
    loss, _ = cnn_cross_entropy_(params, inputs, labels, [])
    assert not loss[1].isfinite()
    assert loss[[0, 2]].isfinite().all()


def test_same_bits_for_any_stack_and_threads(core):
    params, inputs, labels = _problem(SIZES[0], torch.float32, members=5)
    whole = [torch.empty_like(p) for p in params]
    losses = cnn_cross_entropy_(params, inputs, labels, whole)
    torch.set_num_threads(4)
    threaded = [torch.empty_like(p) for p in params]
    again = cnn_cross_entropy_(params, inputs, labels, threaded)
    assert all(torch.equal(a, b) for a, b in zip([*whole, *losses], [*threaded, *again], strict=True))
    alone = [p[3:4] for p in params]
    grads = [torch.empty_like(p) for p in alone]
    losses_alone = cnn_cross_entropy_(alone, inputs[3:4], labels[3:4], grads)
    assert all(torch.equal(a[3], b[0]) for a, b in zip([*whole, *losses], [*grads, *losses_alone], strict=True))


def test_rejects_what_does_not_fit():
    params, inputs, labels = _problem(SIZES[0])
    grads = [torch.empty_like(p) for p in params]
    with pytest.raises(InputError, match="one convolution or more"):
        cnn_cross_entropy_(params[4:], inputs, labels, [])
    with pytest.raises(InputError, match="as many gradients"):
        cnn_cross_entropy_(params, inputs, labels, grads[:3])
    with pytest.raises(InputError, match="then linear layers"):
        cnn_cross_entropy_([*params[4:6], *params[:4]], inputs, labels, [])
    with pytest.raises(InputError, match=r"weight \[3, O, 100\] and bias \[3, O\] of layer 3"):
        cnn_cross_entropy_([*params[:6], params[6][..., :9], params[7]], inputs, labels, [])
    with pytest.raises(InputError, match="weight of layer 0"):
        cnn_cross_entropy_(params, inputs.expand(-1, -1, 2, -1, -1), labels, [])
    with pytest.raises(InputError, match="inputs of layer 1"):
        cnn_cross_entropy_(params, inputs[..., :2, :2], labels, [])
    bad = [*grads[:4], grads[4].transpose(1, 2).contiguous().transpose(1, 2), *grads[5:]]
    with pytest.raises(InputError, match="gradient 4 must have the shape and strides"):
        cnn_cross_entropy_(params, inputs, labels, bad)
    with pytest.raises(InputError, match=r"labels must lie in 0 \.\. 1"):
        cnn_cross_entropy_(params, inputs, labels + 1, [])
    with pytest.raises(InputError, match="at least one sample"):
        cnn_cross_entropy_(params, inputs[:, :0], labels[:, :0], [])
    with pytest.raises(InputError, match="or int8"):
        cnn_cross_entropy_(params, inputs.int(), labels, [])


def test_opcheck():
    params, inputs, labels = _problem(SIZES[1])
    grads = [torch.empty_like(p) for p in params]
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(cnn_cross_entropy_, (params, inputs, labels, grads), test_utils=tests)


@pytest.mark.gpu
def test_cuda_equals_cpu():
    params, inputs, labels = _problem(SIZES[0])
    grads = [torch.empty_like(p) for p in params]
    loss, correct = cnn_cross_entropy_(params, inputs, labels, grads)
    on_gpu = [p.cuda() for p in params]
    gpu_grads = [torch.empty_like(p) for p in on_gpu]
    gpu_loss, gpu_correct = cnn_cross_entropy_(on_gpu, inputs.cuda(), labels.cuda(), gpu_grads)
    torch.testing.assert_close(gpu_loss.cpu(), loss, rtol=1e-12, atol=0)
    assert torch.equal(gpu_correct.cpu(), correct)
    for a, b in zip(grads, gpu_grads, strict=True):
        torch.testing.assert_close(b.cpu(), a, rtol=1e-11, atol=1e-14)
