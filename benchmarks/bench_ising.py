"""Speed of the Ising sampler, in flip attempts per nanosecond and as ratios to what else there is.

Run with ``pytest benchmarks/bench_ising.py --benchmark-only -s``; ``GROKFAST_BENCH_QUICK=1`` makes it short.
Each benchmark checks the energy of what it has just sampled against the exact value. Rivals are timed in turn
with the sampler, round by round, so that a busy machine slows both. One thread unless it says otherwise.
"""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import grokfast
from grokfast.ising import IsingSampler, ising_dataset
from grokfast.ising._threads import usable_threads
from grokfast.ising.exact import kaufman_energy, onsager_specific_heat

QUICK = os.environ.get("GROKFAST_BENCH_QUICK") == "1"
ROUNDS = 5 if QUICK else 30
T = 2.8
SECONDS_A_ROUND = 0.002 if QUICK else 0.02

CASES = [(16, R) for R in (64, 128, 256, 512, 1024)] + [(64, 64), (128, 1), (256, 1), (1024, 1), (4096, 1)]
if QUICK:
    CASES = [(16, 64), (16, 1024), (1024, 1)]


def name_of(case):
    L, R = case
    return f"{R}x{L}x{L}"


def sweeps_for(sites, per_ns):
    """Sweeps that take about as long as a round should."""
    return max(1, round(SECONDS_A_ROUND * 1e9 * per_ns / sites))


def sampler_for(L, R, **options):
    return IsingSampler(L, T, R, seed=1, **{"threads": 1, **options})


def check_energy(energy, L):
    """Energies ``[R]`` per site of independent equilibrium snapshots agree with Kaufman's within 5 sigma."""
    sigma = math.sqrt(float(onsager_specific_heat(T))) * T / (L * math.sqrt(energy.size))
    assert abs(energy.mean() - float(kaufman_energy(T, min(L, 256)))) < 5 * sigma


def seconds(action):
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def in_turn(ours, rival, our_work, rival_work):
    """Median rates of both in work per second, the median ratio of neighbouring rounds, and of the best."""
    ours(), rival()
    pairs = [(our_work / seconds(ours), rival_work / seconds(rival)) for _ in range(ROUNDS)]
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(a / b for a, b in pairs),
        max(a for a, _ in pairs) / max(b for _, b in pairs),
    )


@pytest.fixture
def report(benchmark, capsys, request):
    """Keep numbers with the benchmark and print them."""

    def keep(**numbers):
        benchmark.extra_info.update(numbers)
        shown = ", ".join(f"{key} {value:.3g}" for key, value in numbers.items())
        with capsys.disabled():
            print(f"\n  {request.node.name}: {shown}")

    return keep


@pytest.mark.parametrize("dynamics", ["metropolis", "glauber"])
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_attempts_per_nanosecond(case, dynamics, benchmark, report):
    L, R = case
    benchmark.group = f"ising {name_of(case)}"
    fast = sampler_for(L, R, dynamics=dynamics)
    # The plain path is linear in the number of lattices: no more of them than a round has time for.
    plain_R = max(1, min(R, round(SECONDS_A_ROUND * 1e9 * 0.2 / (L * L))))
    plain = sampler_for(L, plain_R, dynamics=dynamics, layout="scalar")
    fast.sweep(150)
    n = sweeps_for(R * L * L, 12.0)
    plain_n = sweeps_for(plain_R * L * L, 0.2)
    rate, plain_rate, ratio, best_ratio = in_turn(
        lambda: fast.sweep(n), lambda: plain.sweep(plain_n), n * R * L * L, plain_n * plain_R * L * L
    )
    benchmark.pedantic(fast.sweep, args=(n,), rounds=ROUNDS, warmup_rounds=1)
    best = n * R * L * L / benchmark.stats.stats.min / 1e9
    check_energy(fast.energy()[0], L)
    report(
        attempts_per_ns=rate / 1e9,
        best_attempts_per_ns=best,
        plain_per_ns=plain_rate / 1e9,
        times_plain=ratio,
        best_times_plain=best_ratio,
    )


FEATURES = {
    "even_side": ((1000, 1), (1024, 1), {}),
    "open_16": ((16, 1024), (16, 1024), {"boundary": "open"}),
    "open_1024": ((1024, 1), (1024, 1), {"boundary": "open"}),
    "antiferromagnet": ((16, 1024), (16, 1024), {"J": -1.0}),
    "field_16": ((16, 1024), (16, 1024), {"field": 0.1}),
    "field_1024": ((1024, 1), (1024, 1), {"field": 0.1}),
    "open_field_16": ((16, 1024), (16, 1024), {"boundary": "open", "field": 0.1}),
}


@pytest.mark.parametrize("feature", FEATURES)
def test_features_against_the_plain_fast_path(feature, benchmark, report):
    """Time for each attempt with a feature, in those of periodic edges, even powers of two, J > 0, no field."""
    (L, R), (plain_L, plain_R), options = FEATURES[feature]
    benchmark.group = "ising features"
    fancy, plain = sampler_for(L, R, **options), sampler_for(plain_L, plain_R)
    n, plain_n = sweeps_for(R * L * L, 6.0), sweeps_for(plain_R * plain_L**2, 12.0)
    work, plain_work = n * R * L * L, plain_n * plain_R * plain_L**2
    rate, plain_rate, ratio, best_ratio = in_turn(
        lambda: fancy.sweep(n), lambda: plain.sweep(plain_n), work, plain_work
    )
    benchmark.pedantic(fancy.sweep, args=(n,), rounds=ROUNDS)
    slow = sampler_for(L, 1 if L > 100 else 64, layout="scalar", **options)
    for sampler in (fancy, slow):
        sampler.sweep(150)
    error = math.hypot(*(s.energy().std() / math.sqrt(s.energy().size) for s in (fancy, slow))) or 3.0 / L
    assert abs(fancy.energy().mean() - slow.energy().mean()) < 5 * error
    report(attempts_per_ns=rate / 1e9, plain_per_ns=plain_rate / 1e9, times_slower=1 / ratio, best=1 / best_ratio)


@pytest.mark.parametrize("every", [1, 5])
def test_measuring_in_sweeps(every, benchmark, report):
    """``measure`` of 50 temperatures x 1,000 replicas of 16 x 16, in the time of its sweeps alone."""
    R, n = (100, 20) if QUICK else (1000, 40)
    benchmark.group = "ising measure"
    temperatures = np.linspace(2.6, 3.6, 50)
    measured, swept = (IsingSampler(16, temperatures, R, seed=1, threads=1) for _ in range(2))
    measured.sweep(150)

    def measure():
        return measured.measure(n, every, progress=False)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, _, ratio, best_ratio = in_turn(measure, lambda: swept.sweep(n * every), 1.0, 1.0)
        found = benchmark.pedantic(measure, rounds=3)
    z = (found.energy.mean - kaufman_energy(temperatures, 16)) / found.energy.error
    assert np.abs(z).max() < 5
    report(times_its_sweeps=1 / ratio, best=1 / best_ratio)


def test_data_set_of_the_paper(benchmark, report):
    """50 temperatures x 1,000 snapshots of 16 x 16 after 100 sweeps, from the seed to the torch tensors."""
    snapshots = 100 if QUICK else 1000

    def make():
        return ising_dataset(16, 50, snapshots, 100, seed=1, threads=1)

    data = benchmark.pedantic(make, rounds=3 if QUICK else 10, warmup_rounds=1)
    hot = data.temperatures.unique()[40]  # in equilibrium after 100 sweeps
    energy = data.energies[data.temperatures == hot].numpy()
    error = energy.std() / math.sqrt(energy.size)
    assert abs(energy.mean() - float(kaufman_energy(float(hot), 16))) < 5 * error
    report(snapshots=len(data), seconds=benchmark.stats.stats.median, best=benchmark.stats.stats.min)


@pytest.mark.parametrize("case", [(16, 1024), (1024, 1), (4096, 1)], ids=name_of)
def test_two_threads(case, benchmark, report):
    if usable_threads() < 2:
        pytest.skip("one processor only")
    L, R = case
    benchmark.group = f"ising {name_of(case)} on two threads"
    one, two = sampler_for(L, R, threads=1), sampler_for(L, R, threads=2)
    n = 5 * sweeps_for(R * L * L, 12.0)
    work = n * R * L * L
    rate, one_rate, ratio, best_ratio = in_turn(lambda: two.sweep(n), lambda: one.sweep(n), work, work)
    benchmark.pedantic(two.sweep, args=(n,), rounds=ROUNDS)
    one.sweep(two.sweeps - one.sweeps)
    assert np.array_equal(one.packed.words, two.packed.words)  # the same bits, in all these sweeps
    report(
        attempts_per_ns=rate / 1e9,
        one_thread_per_ns=one_rate / 1e9,
        times_one_thread=ratio,
        best_times=best_ratio,
    )


def test_first_call(benchmark, report, tmp_path):
    """Seconds to the first swept, measured sampler: compiling, and with the cache that it leaves."""
    program = (
        "import time, torch, grokfast.ising; start = time.perf_counter(); "
        "s = grokfast.ising.IsingSampler(16, 2.0, 64, seed=0); s.sweep(1); s.spins; s.energy(); "
        "print(time.perf_counter() - start, s.energy().mean())"
    )
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": str(Path(grokfast.__file__).parents[1]),
    }

    def run():
        out = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout
        return [float(word) for word in out.split()]

    compiled = run()
    cached = benchmark.pedantic(run, rounds=2)
    assert cached[1] == compiled[1]
    report(seconds_compiling=compiled[0], seconds_cached=cached[0])
