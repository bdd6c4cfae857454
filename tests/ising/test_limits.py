"""J = 0 and T = 0 in every dynamics, parity and boundary; seeds; bad temperatures; memory."""

import itertools
import math
import resource
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import torch

from grokfast.errors import InputError
from grokfast.ising import Dynamics, IsingSampler, _memory, exact, ising_dataset
from grokfast.ising.engine import Problem
from grokfast.ising.kinds import Boundary, Layout
from grokfast.ising.layouts import peak_bytes

LAYOUTS = ["replica", "site", "scalar"]
WAYS = [
    *itertools.product(["metropolis", "glauber"], ["checkerboard"], [*LAYOUTS]),
    *itertools.product(["metropolis", "glauber"], ["random"], ["scalar"]),
    ("wolff", "checkerboard", "scalar"),
    ("swendsen-wang", "checkerboard", "scalar"),
]


def shapes(layout, boundary):
    odd = [(5, 4)] if boundary == "open" and layout != "site" else []
    return [(4, 6), *odd, *([(3, 5)] if layout == "scalar" else [])]


@pytest.mark.parametrize(("dynamics", "order", "layout"), WAYS)
@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_no_coupling_means_free_spins(dynamics, order, layout, boundary, stats):
    if dynamics == "wolff":
        sweeps = 60  # each flips one site
    else:
        sweeps = 25
    for shape, T in itertools.product(shapes(layout, boundary), (0.0, 1.3)):
        sampler = IsingSampler(
            shape, T, 2000, J=0.0, dynamics=dynamics, order=order, layout=layout, boundary=boundary, init="up", seed=2
        )
        sampler.sweep(sweeps if dynamics != "wolff" else 6 * shape[0] * shape[1])
        first = sampler.spins[0].astype(float)
        assert (sampler.energy() == 0).all()
        z = first.mean(axis=0) * math.sqrt(2000)
        assert stats.chi_square_tail(float((z**2).sum()), z.size) > 1e-4
        pairs = np.einsum("rij,rkl->ijkl", first, first).reshape(z.size, z.size)[np.triu_indices(z.size, 1)]
        assert np.abs(pairs).max() / math.sqrt(2000) < 5
        if dynamics != "wolff":
            sampler.sweep(3)
            assert 0.2 < (sampler.spins[0] != first).mean() < 0.8  # neither frozen nor flipping as a whole


@pytest.mark.parametrize(("dynamics", "order", "layout"), WAYS)
@pytest.mark.parametrize("boundary", ["periodic", "open"])
@pytest.mark.parametrize(("J", "field"), [(1.0, 0.0), (-1.0, 0.0), (1.0, 0.5), (0.0, 0.5), (-1.0, 2.0)])
def test_no_temperature_means_no_energy_is_gained(dynamics, order, layout, boundary, J, field):
    if not Dynamics(dynamics).is_local and J < 0:
        return
    for shape in shapes(layout, boundary):
        sampler = IsingSampler(
            shape, [0.0, 0.0], 50, J=J, field=field, dynamics=dynamics, order=order, layout=layout, boundary=boundary,
            seed=2,
        )  # fmt: skip
        energy = sampler.energy()
        for _ in range(30):
            sampler.sweep()
            now = sampler.energy()
            assert (now <= energy + 1e-12).all()
            energy = now
        if J == 0.0:
            assert (sampler.spins == 1).all() or dynamics == "wolff"


def test_glauber_at_zero_temperature_flips_half_of_the_indifferent_spins():
    spins = np.ones((4, 8), np.int8)
    spins[:, 4:] = -1
    spins[1, 3] = -1  # a step: corners have ΔE = 0
    for layout in LAYOUTS:
        sampler = IsingSampler((4, 8), 0.0, 4000, dynamics="glauber", init=spins, layout=layout, seed=1)
        sampler.sweep()
        flipped = (sampler.spins[0] != spins).mean(axis=0)
        assert flipped[0, 0] == flipped[2, 1] == 0.0
        assert abs(flipped[1, 3] - 1.0) < 0.6
        assert 0.0 < flipped.max() <= 1.0


def test_samplers_that_differ_share_no_random_numbers():
    base = {"L": 16, "temperatures": 2.0, "replicas": 64, "dynamics": "metropolis"}
    others = [
        {"L": (16, 18)},
        {"temperatures": 2.1},
        {"temperatures": [2.0, 2.1]},
        {"replicas": 65},
        {"dynamics": "glauber"},
        {"J": 1.1},
        {"J": -1.0},
        {"field": 0.1},
        {"boundary": "open"},
        {"order": "random"},
    ]
    states = [IsingSampler(**{**base, **other}, seed=5).state()["states"].ravel()[:4] for other in [{}, *others]]
    words = np.concatenate(states)
    assert np.unique(words).size == words.size
    # As users would do it: a loop over temperatures or sizes with one seed, hot enough for nothing but noise to matter.
    M = [IsingSampler(16, T, 400, dynamics="glauber", seed=5) for T in (50.0, 50.5, 51.0)]
    for sampler in M:
        sampler.sweep(5)
    series = [sampler.magnetization()[0] for sampler in M]
    for a, b in itertools.combinations(series, 2):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / math.sqrt(400)
    same = IsingSampler(**base, seed=5, threads=2).state()["states"]
    np.testing.assert_array_equal(same, IsingSampler(**base, seed=5).state()["states"])


def test_the_tasks_default_data_is_what_it_was():
    from grokfast.tasks.ising_data import fingerprint

    assert fingerprint(ising_dataset(seed=0)) == "6d53a39ecb401a2b"
    assert fingerprint(ising_dataset(16, 6, 40, 20, "glauber", seed=3)) == "bd5910817da6afcc"
    assert fingerprint(ising_dataset(9, 6, 5, 20, seed=3)) == "4770069f3f0c8546"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2.0 + 0.0j, "real numbers"),
        (np.array([1.0 + 2.0j]), "real numbers"),
        (np.ma.masked_array([1.0, 2.0], [False, True]), "masked"),
        (torch.tensor([2.0], requires_grad=True), "grad"),
        ([torch.tensor(2.0, requires_grad=True)], "temperature"),
        ("2.0", "real numbers"),
        ([True], "real numbers"),
        ([[1.0], [1.0, 2.0]], "real numbers"),
    ],
)
def test_temperatures_that_are_refused(value, message):
    sampler = IsingSampler(4, 2.0, seed=0)
    for call in (
        lambda: IsingSampler(4, value, seed=0),
        lambda: sampler.set(temperatures=value),
        lambda: exact.onsager_energy(value),
        lambda: exact.spontaneous_magnetization(value),
        lambda: exact.kaufman_specific_heat(value, 4),
        lambda: exact.kaufman_log_partition(value, 4),
    ):
        with pytest.raises(InputError, match=message):
            call()
    assert IsingSampler(4, torch.tensor([2.0, 3.0]), seed=0).temperatures.tolist() == [2.0, 3.0]


def test_binder_of_a_vanishing_magnetization_is_zero():
    sampler = IsingSampler(4, 0.0, 3, J=-1.0, init="checkerboard", seed=0, dynamics="glauber")
    measured = sampler.measure(60)
    assert measured.binder.mean[0] == 0.0
    assert measured.binder.error[0] == 0.0
    assert measured.trust["energy"].status[0] == "frozen"


GROUPS = {
    "memory.max": "1000000\n",
    "memory.current": "400000\n",
    "memory.stat": "anon 1\ninactive_file 50000\n",
}


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def test_limits_of_containers_and_jobs_count(tmp_path, monkeypatch):
    monkeypatch.setattr(_memory, "CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(_memory, "PROC", tmp_path / "proc")
    write(tmp_path / "proc" / "self", {"cgroup": "0::/job/step\n"})
    write(tmp_path / "proc", {"meminfo": "MemTotal: 9000 kB\nMemAvailable:    8000 kB\n"})
    assert _memory.available_bytes() == 8000 * 1024
    write(tmp_path / "groups" / "job" / "step", {"memory.max": "max\n", "memory.current": "5\n"})
    assert _memory.available_bytes() == 8000 * 1024
    write(tmp_path / "groups" / "job", GROUPS)  # the limit of a group above
    assert _memory.available_bytes() == 650000
    write(tmp_path / "groups", {"memory.max": "300000", "memory.current": "400000"})
    assert _memory.available_bytes() == 0
    write(tmp_path / "proc" / "self", {"cgroup": "4:cpu,memory:/old\n0::/\n"})
    (tmp_path / "groups" / "memory.max").unlink()
    old = {"memory.limit_in_bytes": "70000", "memory.usage_in_bytes": "10000", "memory.stat": "total_inactive_file 7"}
    write(tmp_path / "groups" / "memory" / "old", old)
    assert _memory.available_bytes() == 60007


def test_the_address_space_limit_counts():
    program = (
        "import resource; from grokfast.ising import _memory; "
        "resource.setrlimit(resource.RLIMIT_AS, (40 * 2**30, resource.RLIM_INFINITY)); "
        "a = _memory._address_space(); assert 0 < a < 40 * 2**30, a; "
        "x = bytearray(2**28); assert 0.9 * 2**28 < a - _memory._address_space() < 1.1 * 2**28"
    )
    subprocess.run([sys.executable, "-P", "-c", program], check=True, timeout=120)
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != 0


@pytest.mark.parametrize("init", ["random", "up", np.float64, np.int8])
@pytest.mark.parametrize(
    ("L", "T", "R", "options"),
    [
        (64, 2, 500, {}),
        (64, 1, 128, {"J": -1.0}),
        (64, 1, 300, {"field": 0.1}),
        (2048, 1, 1, {}),
        (63, 2, 400, {}),
        (64, 2, 300, {"dynamics": "wolff"}),
    ],
)
def test_the_guard_counts_what_is_used(L, T, R, options, init):
    if not isinstance(init, str):
        init = np.ones((T, R, L, L), init)
    IsingSampler(4, 2.0, 64, seed=0, **options).spins  # so that compiling is not counted
    given = None if isinstance(init, str) else init
    tracemalloc.start()
    try:
        sampler = IsingSampler(L, np.linspace(2, 3, T), R, init=init, seed=0, **options)
        sampler.spins
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    counted = peak_bytes(sampler._problem, sampler.layout, given)
    assert peak <= 1.05 * counted + 2e5
    assert peak >= 0.25 * counted


def test_peak_of_a_problem_needs_no_sampler():
    problem = Problem(4, 4, np.array([2.0]), Dynamics.GLAUBER, Boundary.OPEN, -1.0, 0.1, 1)
    assert peak_bytes(problem, Layout.REPLICA) > peak_bytes(problem, Layout.SCALAR) > 0
