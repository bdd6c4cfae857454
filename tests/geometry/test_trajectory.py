"""Trajectories in the Fisher metric against dense matrices, actual divergences and straight lines."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev

from grokfast import Trajectory, trajectory_measures
from grokfast.errors import ConfigError, InputError
from grokfast.geometry import GeometryMeter, GeometryStream, parse_variants

METRICS = "softmax-all+softmax-all-full+logit-2+logit-2-full"


def _net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4)).double()


def _walk(model, steps, scale=0.05, seed=1):
    """Checkpoints of a random walk that turns slowly."""
    generator = torch.Generator().manual_seed(seed)
    here = {name: p.detach().clone() for name, p in model.named_parameters()}
    way = {name: torch.zeros_like(p) for name, p in here.items()}
    found = {}
    for k in range(steps):
        found[k] = here
        way = {n: 0.7 * w + scale * torch.randn(w.shape, generator=generator, dtype=w.dtype) for n, w in way.items()}
        here = {n: p + way[n] for n, p in here.items()}
    return found


def _matrix(model, params, x, kind):
    total = 0.0
    for n in range(len(x)):
        rows = jacrev(lambda leaves, n=n: functional_call(model, leaves, (x[n : n + 1],))[0])(params)
        j = torch.cat([row.flatten(1) for row in rows.values()], 1)
        p = functional_call(model, params, (x[n : n + 1],))[0].softmax(-1)
        total = total + j.T @ (torch.diag(p) - torch.outer(p, p) if kind == "softmax" else torch.eye(4).double()) @ j
    return total / len(x)


def _flat(params):
    return torch.cat([value.flatten() for value in params.values()])


def _dense(model, walk, x, variant, epoch, mask=None):
    """Length, cosine and origin similarity from the Fisher matrix written out."""
    g = _matrix(model, walk[epoch], x[: variant.samples or len(x)], variant.fisher)
    g = g if variant.full else torch.diag(g.diag())
    here = _flat(walk[epoch])
    s, p, o = _flat(walk[epoch + 1]) - here, here - _flat(walk[epoch - 1]), -here
    if mask is not None:
        s, p, o = s * mask, p * mask, o * mask

    def angle(u, v):
        return u @ g @ v / (u @ g @ u * (v @ g @ v)).sqrt()

    return (s @ g @ s).sqrt(), angle(s, p), angle(s, o)


@pytest.mark.parametrize("variant", parse_variants(METRICS), ids=str)
def test_against_the_fisher_matrix_written_out(variant):
    model, x = _net(), torch.randn(6, 3, generator=torch.Generator().manual_seed(2)).double()
    walk = _walk(model, 5)
    found = trajectory_measures(model, walk, x, str(variant))
    assert found["epoch"].tolist() == [0, 1, 2, 3]
    label = f"geometry_{str(variant).replace('-', '_')}"
    for epoch in (1, 2, 3):
        expected = _dense(model, walk, x, variant, epoch)
        for name, value in zip(("length", "cosine", "origin"), expected, strict=True):
            torch.testing.assert_close(found[f"{label}_{name}"][epoch], value, rtol=1e-9, atol=1e-12)
    assert torch.isnan(found[f"{label}_cosine"][0])
    assert found[f"{label}_undefined"].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("variant", parse_variants(METRICS), ids=str)
def test_stiff_and_sloppy_against_the_matrix(variant):
    model, x = _net(), torch.randn(6, 3, generator=torch.Generator().manual_seed(2)).double()
    walk = _walk(model, 4)
    samples = x[: variant.samples or len(x)]
    logit = _matrix(model, walk[3], samples, "logit").diag()
    mask = logit >= 0.1
    assert 5 < int(mask.sum()) < 40
    if variant.fisher == "softmax":
        g = _matrix(model, walk[3], samples, "softmax").diag()
        mask = g >= g.sort(descending=True).values[int(mask.sum()) - 1]
    found = trajectory_measures(model, walk, x, str(variant), stiff=0.1)
    label = f"geometry_{str(variant).replace('-', '_')}"
    for part, side in (("", torch.ones_like(mask)), ("_stiff", mask), ("_sloppy", ~mask)):
        expected = _dense(model, walk, x, variant, 2, side.double())
        for name, value in zip(("length", "cosine", "origin"), expected, strict=True):
            torch.testing.assert_close(found[f"{label}{part}_{name}"][2], value, rtol=1e-9, atol=1e-12)


def test_square_of_the_length_is_twice_the_divergence_to_third_order():
    model, x = _net(), torch.randn(40, 3, generator=torch.Generator().manual_seed(2)).double()
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    way = {n: torch.randn(p.shape, generator=torch.Generator().manual_seed(3)).double() for n, p in start.items()}
    errors = []
    for size in (4e-4, 2e-4, 1e-4):
        end = {n: start[n] + size * way[n] for n in start}
        signs = [functional_call(model[0], {n[2:]: t for n, t in at.items() if n.startswith("0.")}, (x,)) > 0
                 for at in (start, end)]  # fmt: skip
        assert torch.equal(*signs)
        found = trajectory_measures(model, {0: start, 1: end}, x, "softmax-all-full")
        before, after = (functional_call(model, at, (x,)).log_softmax(-1) for at in (start, end))
        divergence = (before.exp() * (before - after)).sum(-1).mean()
        errors.append(float((found["geometry_softmax_all_full_length"][0] ** 2 - 2 * divergence).abs() / size**3))
    assert max(errors) < 1.5 * min(errors)  # the difference is of third order


def test_a_straight_line_has_cosine_one_in_every_metric():
    model, x = _net(), torch.randn(6, 3, generator=torch.Generator().manual_seed(2)).double()
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    way = {n: torch.randn(p.shape, generator=torch.Generator().manual_seed(3)).double() for n, p in start.items()}
    line = {10 * k: {n: start[n] + 0.1 * k * way[n] for n in start} for k in range(4)}
    found = trajectory_measures(model, line, x, METRICS)
    for name, values in found.items():
        if name.endswith("_cosine"):
            torch.testing.assert_close(values[1:], torch.ones(2, dtype=torch.float64), rtol=1e-9, atol=0)


def test_recorder_equals_stored_checkpoints_and_leaves_the_training_alone():
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(2)).double()
    y = torch.arange(20) % 4

    def train(model, record):
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(7):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            record()

    alone, model = _net(), _net()
    train(alone, lambda: None)
    trajectory = Trajectory(model, x, METRICS, every=2, keep=True)
    train(model, trajectory.record)
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), model.parameters(), strict=True))
    found = trajectory.measures()
    assert found["epoch"].tolist() == [0, 2, 4]
    expected = trajectory_measures(model, trajectory.checkpoints, x, METRICS, step=2)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, equal_nan=True)
    split = trajectory.measures(stiff=0.05)
    torch.testing.assert_close(
        split["geometry_logit_2_stiff_length"] ** 2 + split["geometry_logit_2_sloppy_length"] ** 2,
        found["geometry_logit_2_length"] ** 2,
    )


def test_stacks_equal_their_members():
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(2)).double()
    model = _net()
    walks = [_walk(_net(seed), 4, seed=seed) for seed in (0, 5)]
    stack = {k: {n: torch.stack([walk[k][n] for walk in walks]) for n in walks[0][k]} for k in walks[0]}
    found = trajectory_measures(model, stack, [x, x + 1], METRICS, stiff=0.1)
    for e, walk in enumerate(walks):
        alone = trajectory_measures(model, walk, x + e, METRICS, stiff=0.1)
        for name in alone:
            if name != "epoch":
                torch.testing.assert_close(found[name][:, e], alone[name], rtol=1e-12, atol=0, equal_nan=True)


def test_zero_steps_are_nan_and_counted():
    model, x = _net(), torch.randn(4, 3).double()
    walk = _walk(model, 2)
    found = trajectory_measures(model, {0: walk[0], 1: walk[0], 2: walk[0], 3: walk[1]}, x)
    assert found["geometry_softmax_all_length"][:2].tolist() == [0, 0]
    assert torch.isnan(found["geometry_softmax_all_cosine"]).all()
    assert found["geometry_softmax_all_undefined"].tolist() == [1, 2, 3]
    assert found["geometry_euclidean_undefined"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
@pytest.mark.parametrize("bad", [0, 1])
def test_a_member_whose_step_is_not_finite_has_no_geometry_and_the_others_have_theirs(bad, value):
    model, x = _net(), torch.randn(4, 3).double()
    alone = [{name: v[None] for name, v in params.items()} for params in _walk(model, 3).values()]
    assert len(alone) == 3
    two = [{name: torch.cat([v, v]) for name, v in params.items()} for params in alone]
    two[2]["0.bias"][bad, 0] = value
    meter = GeometryMeter(model, [x], parse_variants("softmax-all+logit-2-full"))
    expected, found = meter.look(*alone), meter.look(*two)
    assert found.keys() == expected.keys()
    for name, values in found.items():
        torch.testing.assert_close(values[1 - bad], expected[name][0], equal_nan=True)
        if "euclidean" not in name:
            assert values[bad] == 1 if name.endswith("_undefined") else torch.isnan(values[bad]), name


def test_a_stream_remembers_two_checkpoints_or_what_is_needed():
    model, x = _net(), torch.randn(4, 3).double()
    walk = {k: {n: v[None] for n, v in params.items()} for k, params in _walk(model, 30).items()}
    meter = GeometryMeter(model, [x], parse_variants("softmax-all"))
    dense = GeometryStream(meter, range(100), step=1)
    seen = []
    for k, params in walk.items():
        found = dense.take(k, params)
        seen += [] if found is None else [found[0]]
        assert len(dense.kept) <= 2
    assert seen == list(range(29))
    sparse = GeometryStream(meter, range(0, 100, 10), step=2, last=29)
    seen = []
    for k, params in walk.items():
        found = sparse.take(k, params)
        seen += [] if found is None else [found[0]]
        assert len(sparse.kept) <= 2
    assert seen == [0, 10, 20]
    assert not sparse.kept


def test_a_stream_keeps_rows_in_order_however_they_came():
    """What a saved state can hold."""
    model, x = _net(), torch.randn(4, 3).double()
    stream = GeometryStream(GeometryMeter(model, [x], parse_variants("softmax-all")), range(10), step=1)
    params = {name: p.detach()[None] for name, p in model.named_parameters()}
    stream.take(0, {name: v.mT.contiguous().mT if v.dim() > 2 else v for name, v in params.items()})
    assert all(value.is_contiguous() for value in stream.kept[0].values())


def test_a_stream_goes_on_from_its_saved_memory():
    model, x = _net(), torch.randn(6, 3).double()
    walk = {k: {n: v[None] for n, v in params.items()} for k, params in _walk(model, 8).items()}

    def stream():
        return GeometryStream(GeometryMeter(model, [x], parse_variants(METRICS)), range(1, 100), step=2)

    whole = stream()
    whole.meter.split_by(walk[7], 0.1)
    expected = [whole.take(k, params) for k, params in walk.items()]
    now = stream()
    now.meter.split_by(walk[7], 0.1)
    for k, params in walk.items():
        memory = {name: value.clone() for name, value in now.state_dict().items()}
        now = stream()
        now.load_state_dict(memory)
        found = now.take(k, params)
        assert (found is None) == (expected[k] is None)
        if found is not None and expected[k] is not None:
            for name, values in expected[k][1].items():
                assert torch.equal(found[1][name].nan_to_num(7), values.nan_to_num(7)), name


def test_bad_input():
    model, x = _net(), torch.randn(6, 3).double()
    walk = _walk(model, 3)
    with pytest.raises(InputError, match="at least two checkpoints, got 0"):
        trajectory_measures(model, {}, x)
    with pytest.raises(InputError, match="at least two checkpoints, got 1"):
        trajectory_measures(model, {0: walk[0]}, x)
    with pytest.raises(InputError, match="lie 5 epochs apart"):
        trajectory_measures(model, walk, x, step=5)
    with pytest.raises(InputError, match=r"'0.bias' of epoch 1 must be finite"):
        trajectory_measures(model, {**walk, 1: {**walk[1], "0.bias": walk[1]["0.bias"] * torch.nan}}, x)
    with pytest.raises(InputError, match=r"epoch 0 lacks \['0.bias'\]"):
        trajectory_measures(model, {**walk, 0: {n: v for n, v in walk[0].items() if n != "0.bias"}}, x)
    with pytest.raises(InputError, match="needs at least that many samples, got 6"):
        trajectory_measures(model, walk, x, "logit-16")
    with pytest.raises(ConfigError, match="a metric must be"):
        trajectory_measures(model, walk, x, "fisher")
    trajectory = Trajectory(model, x)
    with pytest.raises(InputError, match="at least two recorded checkpoints"):
        trajectory.measures()
    with pytest.raises(InputError, match="keep=True"):
        trajectory.measures(stiff=0.1)
    with torch.no_grad():
        model[0].weight[0, 0] = torch.inf
    with pytest.raises(InputError, match=r"'0.weight' must be finite, got 1 values"):
        trajectory.record()
