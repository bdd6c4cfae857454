"""Lengths and angles against arithmetic written out, closed forms of weight decay, and dense Fisher matrices."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from grokfast.errors import InputError
from grokfast.measures import (
    cosine,
    discrete_gradient,
    fisher_spectrum,
    inner_product,
    largest_bump,
    lengths_and_angles,
    origin_similarity,
    restrict,
    step_between,
    step_length,
    stiff_parameters,
    stiffest_parameters,
    zero_crossings,
)
from grokfast.ops import adam_step_, metric_gram, sgd_step_


def _draw(seed, members=2):
    generator = torch.Generator().manual_seed(seed)
    return {
        "a": torch.randn(members, 3, 4, generator=generator, dtype=torch.float64),
        "b": torch.randn(members, generator=generator, dtype=torch.float64),
    }


def _flat(stack):
    return torch.cat([value.reshape(len(value), -1) for value in stack.values()], 1)


def test_against_arithmetic_on_vectors():
    u, v, theta = _draw(0), _draw(1), _draw(2)
    g = {name: value.square() for name, value in _draw(3).items()}
    fu, fv, ft, fg = map(_flat, (u, v, theta, g))
    torch.testing.assert_close(inner_product(u, v, g), (fu * fg * fv).sum(1))
    torch.testing.assert_close(step_length(u, g), (fu * fg * fu).sum(1).sqrt())
    torch.testing.assert_close(step_length(u), fu.norm(dim=1))
    expected = (fu * fg * fv).sum(1) / ((fu * fg * fu).sum(1) * (fv * fg * fv).sum(1)).sqrt()
    torch.testing.assert_close(cosine(u, v, g), expected)
    torch.testing.assert_close(origin_similarity(u, theta), -torch.cosine_similarity(fu, ft))


def test_the_fused_sums_give_the_same_measures():
    before, here, after = (_draw(k) for k in range(3))
    g = {name: value.square() for name, value in _draw(3).items()}
    lists = [list(stack.values()) for stack in (before, here, after, g)]
    found = lengths_and_angles(metric_gram(*lists, [])[:, 0])
    step, last = step_between(here, after), step_between(before, here)
    torch.testing.assert_close(found.length, step_length(step, g))
    torch.testing.assert_close(found.cosine, cosine(last, step, g))
    torch.testing.assert_close(found.origin, origin_similarity(step, here, g))


def test_a_straight_line_has_cosine_one_and_a_way_back_minus_one():
    start, way, metric = _draw(0), _draw(1), _draw(2)
    metric = {name: value.abs() for name, value in metric.items()}
    points = [{name: start[name] + k * way[name] for name in start} for k in (0.0, 1.0, 2.5)]
    steps = [step_between(points[0], points[1]), step_between(points[1], points[2])]
    for g in (None, metric):
        torch.testing.assert_close(cosine(*steps, g), torch.ones(2, dtype=torch.float64))
        back = step_between(points[1], points[0])
        torch.testing.assert_close(cosine(steps[1], back, g), -torch.ones(2, dtype=torch.float64))


def _decay(kind, theta, rate, decay):
    """One step of pure weight decay: the gradient is zero."""
    p, zero = theta.clone(), torch.zeros_like(theta)
    lr, wd = (torch.full((len(theta),), value, dtype=torch.float64) for value in (rate, decay))
    active = torch.ones(len(theta), dtype=torch.uint8)
    if kind == "sgd":
        sgd_step_([p], [zero], [zero.clone()], lr, wd, active, 0.9)
    else:
        adam_step_([p], [zero], [zero.clone()], [zero.clone()], lr, wd, active, 1, 0.9, 0.999, 1e-12, kind == "adamw")
    return p


@pytest.mark.parametrize("kind", ["sgd", "adamw", "adam"])
def test_origin_similarity_of_pure_weight_decay(kind):
    theta = torch.randn(2, 20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    after = _decay(kind, theta, 1e-3, 0.1)
    found = origin_similarity(step_between({"w": theta}, {"w": after}), {"w": theta})
    if kind == "adam":
        expected = theta.abs().mean(1) / theta.square().mean(1).sqrt()
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
        assert bool(((found - math.sqrt(2 / math.pi)).abs() < 0.01).all())  # normal weights
    else:
        torch.testing.assert_close(found, torch.ones(2, dtype=torch.float64), rtol=1e-12, atol=0)


def test_a_zero_step_has_no_direction():
    still = {"w": torch.zeros(2, 3)}
    other = {"w": torch.tensor([[1.0, 0, 0], [0, 0, 0]])}
    assert step_length(still).tolist() == [0, 0]
    assert torch.isnan(cosine(still, other)).all()
    assert torch.isnan(origin_similarity(other, still)).all()


def test_stiff_and_sloppy_parts_add_up():
    u, v = _draw(0), _draw(1)
    g = {name: value.square() for name, value in _draw(2).items()}
    stiff = stiff_parameters(g, 0.4)
    sloppy = {name: ~mark for name, mark in stiff.items()}
    parts = [inner_product(restrict(u, mask), restrict(v, mask), g) for mask in (stiff, sloppy)]
    torch.testing.assert_close(parts[0] + parts[1], inner_product(u, v, g))
    counts = torch.stack([mark.reshape(2, -1).sum(1) for mark in stiff.values()]).sum(0)
    again = stiffest_parameters(g, counts)
    assert all(torch.equal(again[name], stiff[name]) for name in stiff)
    spectrum = fisher_spectrum(g)
    assert [int((row >= 0.4).sum()) for row in spectrum] == counts.tolist()
    assert bool((spectrum.diff(dim=1) <= 0).all())


def test_ties_of_the_quantile_go_by_position():
    marks = stiffest_parameters({"w": torch.tensor([[1.0, 2.0, 1.0, 1.0]])}, torch.tensor([2]))
    assert marks["w"].tolist() == [[True, True, False, False]]


def test_gradient_and_crossings_of_a_known_bump():
    x = np.array([0.0, 1, 2, 4, 5, 6, 8, 9, 11, 12])
    y = (x - 2) ** 2 * (12 - x)  # falls to 2, rises to 26/3, falls
    slope = discrete_gradient(x, y)
    assert slope[1:-1] == pytest.approx(2 * (x - 2)[1:-1] * (12 - x)[1:-1] - (x - 2)[1:-1] ** 2, abs=4)
    assert discrete_gradient(x, 3 * x**2)[1:-1] == pytest.approx(6 * x[1:-1])  # exact for parabolas
    start, end = largest_bump(x, y)
    assert start.rising
    assert not end.rising
    assert start.epoch == pytest.approx(2, abs=0.6)
    assert end.epoch == pytest.approx(26 / 3, abs=0.6)
    assert largest_bump(x, x) is None
    assert largest_bump(x, -x) is None


def test_wiggles_do_not_cut_a_bump():
    x = np.arange(0.0, 200, 2)
    smooth = np.exp(-((x - 120) ** 2) / 800) + np.exp(-x / 20)
    start, end = largest_bump(x, smooth + 0.01 * np.where(np.arange(100) % 5 == 0, 1, 0))
    assert start.epoch == pytest.approx(x[smooth[:50].argmin()], abs=8)
    assert end.epoch == pytest.approx(120, abs=6)


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=30))
def test_crossings_alternate_and_bracket(values):
    found = zero_crossings(np.arange(len(values)), values)
    assert all(a.rising != b.rising for a, b in pairwise(found))
    signs = [v > 0 for v in values if v]
    assert len(found) == sum(a != b for a, b in pairwise(signs))
    for crossing in found:
        assert crossing.before <= crossing.epoch <= crossing.after
        assert values[int(crossing.before)] * values[int(crossing.after)] < 0


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_cosine_of_stationary_fluctuations(rho):
    """S = -(1 - rho) / 2 where training scatters around a point: -1/2 without correlation, 0 for diffusion alone."""
    generator = torch.Generator().manual_seed(0)
    size = 200_000
    noise = torch.randn(3, size, generator=generator, dtype=torch.float64)
    here = [noise[0]]
    for fresh in noise[1:]:
        here.append(rho * here[-1] + math.sqrt(1 - rho**2) * fresh)
    points = [{"w": point[None]} for point in here]
    metric = {"w": torch.rand(1, size, generator=generator, dtype=torch.float64)}
    before, after = step_between(points[0], points[1]), step_between(points[1], points[2])
    for weights in (None, metric):
        assert cosine(before, after, weights).item() == pytest.approx(-(1 - rho) / 2, abs=0.01)
    walk = {"w": noise[1][None]}, {"w": noise[2][None]}
    assert cosine(*walk, metric).item() == pytest.approx(0, abs=0.01)


def test_bad_input():
    u = _draw(0)
    with pytest.raises(InputError, match="v must have the names and shapes"):
        inner_product(u, {"a": u["a"]})
    with pytest.raises(InputError, match="'b' must be finite, got 1 values"):
        step_length({**u, "b": torch.tensor([torch.nan, 1.0])})
    with pytest.raises(InputError, match="at least one parameter"):
        step_length({})
    with pytest.raises(InputError, match="threshold must be"):
        stiff_parameters(u, -1)
    with pytest.raises(InputError, match=r"counts must be \[2\] numbers in 0 .. 13"):
        stiffest_parameters(u, torch.tensor([14, 0]))
    with pytest.raises(InputError, match="at least 3 epochs"):
        discrete_gradient([1, 2], [1, 2])
    with pytest.raises(InputError, match="must rise"):
        discrete_gradient([1, 3, 2], [1, 2, 3])
    with pytest.raises(InputError, match="must be finite"):
        zero_crossings([1, 2], [1, np.nan])
