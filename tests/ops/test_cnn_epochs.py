"""Many epochs of a CNN in one operation, against torch's modules and optimisers; on the emulated GPU, the kernel."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from grokfast.errors import InputError
from grokfast.ops import MOST_EPOCHS, cnn_adam_epochs_

STEPS = (0.9, 0.99, 1e-8)
TYPICAL = {"E": 3, "N": 13, "M": 9, "batch": 5, "C": 1, "side": 8, "O": 3, "k": 3, "H": 6}
SIZES = [
    TYPICAL,
    TYPICAL | {"batch": 13, "H": 33, "O": 1},
    TYPICAL | {"C": 2, "side": 5, "k": 5, "N": 6, "batch": 64, "M": 1},
    TYPICAL | {"E": 1, "N": 33, "batch": 32, "side": 4, "k": 1},
]


def _problem(sizes=TYPICAL, dtype=torch.float64, seed=0, spins=False):
    """Arguments of the operation up to ``active``, of which the first three are changed."""
    E, N, M, C, side, out, k, H = (sizes[name] for name in ("E", "N", "M", "C", "side", "O", "k", "H"))
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    width = 2 * (side // 2 // 2) ** 2
    shapes = [(E, out, C, k, k), (E, out), (E, 2, out, 3, 3), (E, 2), (E, H, width), (E, H), (E, 3, H), (E, 3)]
    params = [draw(*shape) / max(1, torch.Size(shape[2:]).numel()) ** 0.5 for shape in shapes]
    means = [0.01 * draw(*p.shape) for p in params]
    squares = [0.01 * draw(*p.shape).square() + 1e-3 for p in params]
    data = []
    for count in (N, M):
        x = draw(E, count, C, side, side)
        data += [x.sign().to(torch.int8) if spins else x, torch.randint(0, 3, (E, count), generator=generator)]
    rates = torch.linspace(1e-3, 1e-2, E, dtype=torch.float64)
    active = torch.ones(E, dtype=torch.uint8)
    return [params, means, squares, *data, [True, False, True], sizes["batch"], rates, rates.flip(0) / 3, active]


def _copy(problem):
    return [[t.clone() for t in x] if isinstance(x, list) and torch.is_tensor(x[0]) else
            x.clone() if torch.is_tensor(x) else x for x in problem]  # fmt: skip


def _run(problem, decoupled=False, step=4):
    """Training losses and hits, test losses and hits, ``[epochs, E]`` each."""
    losses, correct = cnn_adam_epochs_(*problem, step, *STEPS, decoupled)
    return losses[0], correct[0], losses[1], correct[1]


def _network(params, e, dtype):
    outputs, C, k = params[0].shape[1:4]
    H = params[4].shape[1]
    net = nn.Sequential(
        nn.Conv2d(C, outputs, k, padding=k // 2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(outputs, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(params[4].shape[2], H), nn.ReLU(), nn.Linear(H, 3),
    ).to(dtype)  # fmt: skip
    with torch.no_grad():
        for mine, given in zip(net.parameters(), params, strict=True):
            mine.copy_(given[e])
    return net


def _by_torch(problem, decoupled, step=4):
    """Losses and hits by member, and the networks, from torch's own modules and optimisers in float64."""
    params, means, squares, x, y, test_x, test_y, tested, batch, rates, decays, _ = problem
    rows, nets = [], []
    for e in range(len(rates)):
        net = _network(params, e, torch.float64)
        kind = torch.optim.AdamW if decoupled else torch.optim.Adam
        optimizer = kind(
            net.parameters(), lr=rates[e].item(), betas=STEPS[:2], eps=STEPS[2], weight_decay=decays[e].item()
        )
        for p, m, v in zip(net.parameters(), means, squares, strict=True):
            optimizer.state[p] = {
                "step": torch.tensor(float(step)), "exp_avg": m[e].double(), "exp_avg_sq": v[e].double()
            }  # fmt: skip
        for test in tested:
            total, hits = 0.0, 0
            for first in range(0, y.shape[1], batch):
                inputs, labels = x[e, first : first + batch].double(), y[e, first : first + batch]
                outputs = net(inputs)
                loss = nn.functional.cross_entropy(outputs, labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(labels)
                hits += int((outputs.argmax(-1) == labels).sum())
            outputs = net(test_x[e].double()).detach()
            seen = nn.functional.cross_entropy(outputs, test_y[e]).item() if test else torch.nan
            found = int((outputs.argmax(-1) == test_y[e]).sum()) if test else 0
            rows.append((total / y.shape[1], hits, seen, found))
        nets.append(net)
    return torch.tensor(rows, dtype=torch.float64).view(len(rates), len(tested), 4).permute(2, 1, 0), nets


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("spins", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_as_torch_trains_them(sizes, spins, decoupled):
    problem = _problem(sizes, spins=spins)
    wanted, nets = _by_torch(_copy(problem), decoupled)
    found = _run(problem, decoupled)
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-8, atol=1e-10, equal_nan=True)
    for e, net in enumerate(nets):
        for mine, theirs in zip(problem[0], net.parameters(), strict=True):
            torch.testing.assert_close(mine[e], theirs.detach(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("sizes", SIZES)
def test_float32_is_near_float64(sizes):
    problem = _problem(sizes, torch.float32)
    wanted, nets = _by_torch(_copy(problem), False)
    found = _run(problem)
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[2], wanted[2], rtol=1e-4, atol=1e-5, equal_nan=True)
    for e, net in enumerate(nets):
        for mine, theirs in zip(problem[0], net.parameters(), strict=True):
            torch.testing.assert_close(mine[e].double(), theirs.detach(), rtol=1e-3, atol=1e-4)


def test_epochs_together_and_one_by_one_have_the_same_bits():
    together, apart = _problem(), _problem()
    found = _run(together)
    rows = []
    for epoch, test in enumerate(apart[7]):
        apart[7] = [test]
        rows.append(_run(apart, step=4 + 3 * epoch))  # of 13 samples in batches of 5
        apart[7] = together[7]
    for k, mine in enumerate(found):
        assert torch.equal(mine.nan_to_num(7), torch.cat([row[k] for row in rows]).nan_to_num(7))
    assert all(torch.equal(a, b) for k in range(3) for a, b in zip(together[k], apart[k], strict=True))


def test_a_member_does_not_depend_on_the_stack():
    problem = _problem()
    alone = [[t[1:2] for t in x] if isinstance(x, list) and torch.is_tensor(x[0]) else
             x[1:2] if torch.is_tensor(x) else x for x in _copy(problem)]  # fmt: skip
    for all_of_them, one in zip(_run(problem), _run(alone), strict=True):
        assert torch.equal(all_of_them[:, 1:2].nan_to_num(7), one.nan_to_num(7))
    assert all(torch.equal(a[1:2], b) for k in range(3) for a, b in zip(problem[k], alone[k], strict=True))


def test_samples_that_all_members_share():
    problem = _problem()
    for k in range(3, 7):
        problem[k] = problem[k][:1].expand_as(problem[k])
    dense = [x.contiguous() if torch.is_tensor(x) else x for x in _copy(problem)]
    for mine, theirs in zip(_run(problem), _run(dense), strict=True):
        assert torch.equal(mine.nan_to_num(7), theirs.nan_to_num(7))


def test_frozen_members_stay():
    problem = _problem()
    problem[-1][1] = 0
    before = _copy(problem)
    found = _run(problem)
    for k in range(3):
        assert all(torch.equal(new[1], old[1]) for new, old in zip(problem[k], before[k], strict=True))
        assert not any(torch.equal(new[0], old[0]) for new, old in zip(problem[k], before[k], strict=True))
    assert found[0][:, 1].isnan().all()
    assert found[2][:, 1].isnan().all()
    assert not found[1][:, 1].any()
    assert found[0][:, [0, 2]].isfinite().all()


def test_a_member_that_diverges_stays_as_it_was_before_that_batch():
    problem = _problem()
    problem[9][1] = 1e200  # the learning rate: the second batch has no finite loss
    once = _copy(problem)
    once[3], once[4], once[7] = once[3][:, :5], once[4][:, :5], [False]
    found = _run(problem)
    _run(once)
    assert problem[-1].tolist() == [1, 0, 1]
    assert found[0][:, 1].isnan().all()
    assert found[0][:, [0, 2]].isfinite().all()
    assert all(torch.equal(a[1], b[1]) for k in range(3) for a, b in zip(problem[k], once[k], strict=True))


def test_a_test_loss_that_is_not_finite_freezes_after_its_epoch():
    problem = _problem()
    problem[5][2, 4] = torch.inf
    once = _copy(problem)
    once[7] = [False]
    found = _run(problem)
    _run(once)
    assert problem[-1].tolist() == [1, 1, 0]
    assert found[0][:, 2].isnan().all()
    assert all(torch.equal(a[2], b[2]) for k in range(3) for a, b in zip(problem[k], once[k], strict=True))


def test_rejects_what_does_not_fit():
    problem = _problem()

    def run(**changed):
        names = ("params", "means", "squares", "x", "y", "test_x", "test_y", "tested", "batch", "lr", "decay", "active")
        cnn_adam_epochs_(*(dict(zip(names, problem, strict=True)) | changed).values(), 0, *STEPS, False)

    with pytest.raises(InputError, match="batch_size at least 1"):
        run(batch=0)
    with pytest.raises(InputError, match="at most 64 epochs"):
        run(tested=[False] * (MOST_EPOCHS + 1))
    with pytest.raises(InputError, match="shape and strides"):
        run(means=[problem[1][0][..., :1], *problem[1][1:]])
    with pytest.raises(InputError, match=r"labels must lie in 0 \.\. 2"):
        run(y=problem[4] + 3)
    with pytest.raises(InputError, match=r"test_labels must lie in 0 \.\. 2"):
        run(test_y=problem[6] - 1)
    with pytest.raises(InputError, match="test_inputs must be"):
        run(test_x=problem[5].sign().to(torch.int8))
    with pytest.raises(InputError, match="learning_rate must be float64"):
        run(lr=problem[9].float())


def test_opcheck():
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(cnn_adam_epochs_, (*_problem(), 0, *STEPS, False), test_utils=tests)


@pytest.fixture
def gpu(emulated_gpu):
    if emulated_gpu is None:
        pytest.skip("NO EMULATED GPU: the CUDA kernels were not run; run tests/cuda/run.sh")
    emulated_gpu.count_launches()
    yield emulated_gpu
    emulated_gpu.limit_grid(2**31 - 1, 65535)
    emulated_gpu.limit_shared(227 * 1024)


def _answered(**more):
    problem = _problem(dtype=torch.float32, **more)
    found = _run(problem)
    return [*found, *(tensor for group in problem[:3] for tensor in group)]


def test_one_launch_for_all_epochs_and_the_same_bits_in_any_order(gpu):
    wanted = _answered()
    assert gpu.count_launches() == 1
    for seed in range(2, 5):
        gpu.seed(seed)
        assert all(torch.equal(a.nan_to_num(7), b.nan_to_num(7)) for a, b in zip(_answered(), wanted, strict=True))


def test_where_shared_memory_is_too_small_and_blocks_are_fewer_than_members(gpu):
    wanted = _answered()
    gpu.limit_shared(0)
    gpu.limit_grid(2, 1)
    assert all(torch.equal(a.nan_to_num(7), b.nan_to_num(7)) for a, b in zip(_answered(), wanted, strict=True))
