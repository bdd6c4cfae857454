from __future__ import annotations

import pytest
import torch
from torch import nn

from grokfast.errors import InputError
from grokfast.ops import mlp_adam_epoch_, mlp_adam_epoch_reference

# P, H, C, N, batch: the paper's widths; odd ones; more samples than are summed at once, and several tiles of classes;
# a batch larger than the data; one of each.
SIZES = [
    (113, 512, 113, 200, 64),
    (5, 37, 5, 130, 7),
    (7, 70, 150, 400, 300),
    (6, 16, 31, 65, 1000),
    (3, 5, 9, 10, 1),
    (2, 1, 1, 1, 1),
]
STEPS = (0.9, 0.99, 1e-7)


def _problem(size, dtype=torch.float64, members=3):
    P, H, C, N, _ = size
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return (torch.randn(*shape, generator=generator, dtype=torch.float64) * 0.3).to(dtype)

    params = [draw(members, 2 * P, H).transpose(1, 2), draw(members, H), draw(members, C, H), draw(members, C)]
    moments = [[torch.zeros_like(p) for p in params] for _ in range(2)]
    pairs = torch.randint(0, P, (members, N, 2), generator=generator)
    labels = torch.randint(0, C, (members, N), generator=generator)
    rates = [torch.tensor(row[:members], dtype=torch.float64) for row in ([1e-2, 3e-3, 0.03] * 2, [0.0, 0.1, 1e-3] * 2)]
    return params, *moments, pairs, labels, size[-1], *rates, torch.ones(members, dtype=torch.uint8)


def _copy(problem):
    return [
        [t.clone() for t in x] if isinstance(x, list) else x.clone() if isinstance(x, torch.Tensor) else x
        for x in problem
    ]


def _run(op, problem, epochs=2, decoupled=False):
    steps = -(-problem[4].shape[1] // problem[5])
    return [op(*problem, epoch * steps, *STEPS, decoupled) for epoch in range(epochs)]


def _plain_torch(problem, e, epochs=2, decoupled=False):
    """Parameters, and loss and correct predictions by epoch, of member e by nn.Sequential and torch.optim."""
    params, _, _, pairs, labels, batch, lr, decay, _ = problem
    P, width, classes = params[0].shape[2] // 2, params[0].shape[1], params[2].shape[1]
    model = nn.Sequential(nn.Linear(2 * P, width), nn.ReLU(), nn.Linear(width, classes)).double()
    with torch.no_grad():
        for tensor, value in zip(model.parameters(), params, strict=True):
            tensor.copy_(value[e])
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    optimizer = kind(model.parameters(), lr=lr[e].item(), betas=STEPS[:2], eps=STEPS[2], weight_decay=decay[e].item())
    x, y = nn.functional.one_hot(pairs[e], P).flatten(-2).double(), labels[e]
    seen = []
    for _ in range(epochs):
        total = correct = 0
        for k in range(0, len(y), batch):
            logits = model(x[k : k + batch])
            loss = nn.functional.cross_entropy(logits, y[k : k + batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(logits)
            correct += (logits.argmax(1) == y[k : k + batch]).sum().item()
        seen.append((total / len(y), correct))
    return list(model.parameters()), seen


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("op", [mlp_adam_epoch_, mlp_adam_epoch_reference])
def test_equals_plain_torch(op, size, decoupled):
    problem = _problem(size)
    wanted = [_plain_torch(problem, e, decoupled=decoupled) for e in range(3)]
    found = _run(op, problem, decoupled=decoupled)
    for e, (params, seen) in enumerate(wanted):
        for (loss, correct), (wanted_loss, wanted_correct) in zip(found, seen, strict=True):
            assert loss[e].item() == pytest.approx(wanted_loss, rel=1e-10, abs=1e-12)
            assert correct[e] == wanted_correct
        for mine, theirs in zip(problem[0], params, strict=True):
            assert (mine[e] - theirs).norm() <= 1e-9 * theirs.norm()


@pytest.mark.parametrize("size", SIZES)
def test_single_precision_is_as_near_to_double_as_step_by_step(size):
    exact, fused, stepwise = _problem(size), _problem(size, torch.float32), _problem(size, torch.float32)
    wanted, *_ = _run(mlp_adam_epoch_reference, exact, epochs=1)
    found, *_ = _run(mlp_adam_epoch_, fused, epochs=1)
    _run(mlp_adam_epoch_reference, stepwise, epochs=1)
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-5, atol=1e-6)
    for a, b, c in zip(exact[0] + exact[2], fused[0] + fused[2], stepwise[0] + stepwise[2], strict=True):
        error, allowed = ((x.double() - a).norm() / a.norm() for x in (b, c))
        assert error <= 3 * allowed + 2e-6


@pytest.mark.parametrize("size", SIZES)
def test_every_instruction_set(isa, size):
    problem = _problem(size)
    params, seen = _plain_torch(problem, 1)
    found = _run(mlp_adam_epoch_, problem)
    assert found[1][0][1].item() == pytest.approx(seen[1][0], rel=1e-10, abs=1e-12)
    for mine, theirs in zip(problem[0], params, strict=True):
        assert (mine[1] - theirs).norm() <= 1e-9 * theirs.norm()


@pytest.mark.usefixtures("core")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_bits_for_any_stack_and_threads(dtype):
    problem = _problem((113, 512, 113, 200, 64), dtype, members=5)
    threaded, alone = _copy(problem), _copy(problem)
    alone = [[t[3:4] for t in x] if isinstance(x, list) else x if isinstance(x, int) else x[3:4] for x in alone]
    found = _run(mlp_adam_epoch_, problem)
    torch.set_num_threads(4)
    with_threads = _run(mlp_adam_epoch_, threaded)
    torch.set_num_threads(1)
    single = _run(mlp_adam_epoch_, alone)
    for a, b, c in zip(found, with_threads, single, strict=True):
        assert all(torch.equal(x, y) and torch.equal(x[3:4], z) for x, y, z in zip(a, b, c, strict=True))
    for k in range(3):
        assert all(torch.equal(x, y) for x, y in zip(problem[k], threaded[k], strict=True))
        assert all(torch.equal(x[3:4], y) for x, y in zip(problem[k], alone[k], strict=True))


def test_frozen_members_stay():
    problem = _problem((5, 37, 5, 130, 7))
    problem[-1][1] = 0
    before = _copy(problem)
    (loss, correct), *_ = _run(mlp_adam_epoch_, problem, epochs=1)
    for k in range(3):
        assert all(torch.equal(new[1], old[1]) for new, old in zip(problem[k], before[k], strict=True))
        assert not any(torch.equal(new[0], old[0]) for new, old in zip(problem[k], before[k], strict=True))
    assert loss[1].isnan()
    assert correct[1] == 0
    assert loss[[0, 2]].isfinite().all()


def test_a_member_that_diverges_stays_as_it_was_before_that_batch():
    problem = _problem((5, 37, 5, 130, 7))
    problem[6][1] = 1e200  # the learning rate: parameters overflow after a few steps
    stepwise, alone = _copy(problem), _copy(problem)
    alone[-1][1] = 0
    (loss, correct), *_ = _run(mlp_adam_epoch_, problem, epochs=1)
    (wanted, hits), *_ = _run(mlp_adam_epoch_reference, stepwise, epochs=1)
    _run(mlp_adam_epoch_, alone, epochs=1)
    assert problem[-1].tolist() == stepwise[-1].tolist() == [1, 0, 1]
    torch.testing.assert_close(loss, wanted, equal_nan=True)
    assert torch.equal(correct, hits)
    for k in range(3):
        for mine, theirs, other in zip(problem[k], stepwise[k], alone[k], strict=True):
            assert torch.equal(mine[1], theirs[1])
            assert torch.equal(mine[[0, 2]], other[[0, 2]])


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_what_is_not_finite_freezes_its_member_as_step_by_step(which, value):
    problem = _problem((5, 80, 5, 70, 20))
    problem[0][0][1, 3] = -5.0  # a unit that is never active: an infinite weight behind it counts all the same
    target = problem[0][which][1]
    target[(0, 3) if which == 2 else (0,) * target.dim()] = value
    stepwise = _copy(problem)
    (loss, _), *_ = _run(mlp_adam_epoch_, problem, epochs=1)
    (wanted, _), *_ = _run(mlp_adam_epoch_reference, stepwise, epochs=1)
    assert problem[-1].tolist() == stepwise[-1].tolist()
    torch.testing.assert_close(loss, wanted, equal_nan=True)
    assert all(
        torch.equal(a[1].nan_to_num(7), b[1].nan_to_num(7)) for a, b in zip(problem[0], stepwise[0], strict=True)
    )


@pytest.mark.parametrize("eps", [0.0, 1e-320])
def test_without_eps_it_goes_step_by_step(eps):
    problem = _problem((5, 37, 5, 130, 7))
    stepwise = _copy(problem)
    mlp_adam_epoch_(*problem, 0, 0.9, 0.99, eps, False)
    mlp_adam_epoch_reference(*stepwise, 0, 0.9, 0.99, eps, False)
    assert all(torch.equal(a.nan_to_num(7), b.nan_to_num(7)) for a, b in zip(problem[0], stepwise[0], strict=True))


def test_other_memory_layouts_answer_the_same():
    problem = _problem((5, 37, 5, 130, 7))
    rows = _copy(problem)
    for k in range(3):
        rows[k] = [t.contiguous() for t in rows[k]]
    _run(mlp_adam_epoch_, problem)
    _run(mlp_adam_epoch_, rows)
    for a, b in zip(problem[0], rows[0], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_rejects_what_does_not_fit():
    problem = _problem((5, 8, 6, 4, 2))

    def run(**changed):
        names = ("params", "means", "squares", "pairs", "labels", "batch_size", "lr", "decay", "active")
        arguments = dict(zip(names, problem, strict=True)) | changed
        mlp_adam_epoch_(*arguments.values(), 0, *STEPS, False)

    with pytest.raises(InputError, match="batch_size must be at least 1"):
        run(batch_size=0)
    with pytest.raises(InputError, match="four parameters"):
        run(params=problem[0][:3])
    with pytest.raises(InputError, match="shape and strides"):
        run(means=[problem[1][0].contiguous(), *problem[1][1:]])
    with pytest.raises(InputError, match=r"labels must lie in 0 \.\. 5"):
        run(labels=problem[4] + 6)
    with pytest.raises(InputError, match=r"pairs must lie in 0 \.\. 4"):
        run(pairs=problem[3] - 5)
    with pytest.raises(InputError, match="learning_rate must be float64"):
        run(lr=problem[6].float())
    with pytest.raises(InputError, match="active must be uint8"):
        run(active=problem[8].bool())


def test_opcheck():
    problem = _problem((5, 8, 6, 4, 2))
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(mlp_adam_epoch_, (*problem, 0, *STEPS, False), test_utils=tests)
