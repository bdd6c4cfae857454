"""The Ising sampler and what else pip offers in the same rounds: every feature that mcising or peapods has too.

Run with ``pytest benchmarks/bench_ising_rivals.py --benchmark-only -s`` after ``pip install '.[bench]'``; one thread.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from bench_ising import ROUNDS, SECONDS_A_ROUND, T, check_energy, in_turn, name_of, report, sampler_for, sweeps_for

from grokfast.ising import IsingSampler
from grokfast.ising.exact import critical_temperature, kaufman_energy

__all__ = ["report"]  # a fixture

TC = critical_temperature()


@pytest.mark.parametrize("case", [(16, 1024), (1024, 1)], ids=name_of)
def test_against_mcising(case, benchmark, report):
    mcising = pytest.importorskip("mcising")
    L, R = case
    benchmark.group = f"ising {name_of(case)} and mcising"
    fast = sampler_for(L, R)
    fast.sweep(150)
    rival = mcising.IsingSimulation(L, 1.0, 0.0, 0.0, 0.0, 1, "metropolis")
    n, rival_n = sweeps_for(R * L * L, 12.0), sweeps_for(L * L, 0.15)
    rate, rival_rate, ratio, best_ratio = in_turn(
        lambda: fast.sweep(n), lambda: rival.sweep(rival_n, temperature=T), n * R * L * L, rival_n * L * L
    )
    benchmark.pedantic(fast.sweep, args=(n,), rounds=ROUNDS)
    check_energy(fast.energy()[0], L)
    rival.sweep(200, temperature=T)
    check_energy(np.array([rival.energy()]), L)
    report(
        attempts_per_ns=rate / 1e9,
        mcising_per_ns=rival_rate / 1e9,
        times_mcising=ratio,
        best_times=best_ratio,
    )


@pytest.mark.parametrize("case", [(16, 1024), (1024, 1)], ids=name_of)
def test_against_peapods(case, benchmark, report):
    peapods = pytest.importorskip("peapods")
    L, R = case
    benchmark.group = f"ising {name_of(case)} and peapods"
    fast = sampler_for(L, R)
    fast.sweep(150)
    rival_R = min(R, 32)
    rival = peapods.Ising((L, L), temperatures=np.array([T]), n_replicas=rival_R)
    n, rival_n = sweeps_for(R * L * L, 12.0), sweeps_for(rival_R * L * L, 0.05)
    rate, rival_rate, ratio, best_ratio = in_turn(
        lambda: fast.sweep(n),
        lambda: rival.sample(rival_n, sequential=True),
        n * R * L * L,
        rival_n * rival_R * L * L,
    )
    benchmark.pedantic(fast.sweep, args=(n,), rounds=ROUNDS)
    check_energy(fast.energy()[0], L)
    report(
        attempts_per_ns=rate / 1e9,
        peapods_per_ns=rival_rate / 1e9,
        times_peapods=ratio,
        best_times=best_ratio,
    )


def rounds_of(work_per_call, per_ns):
    """Calls that take about as long as a round should."""
    return max(1, round(SECONDS_A_ROUND * 1e9 * per_ns / work_per_call))


@pytest.mark.parametrize("feature", ["field", "antiferromagnet"])
@pytest.mark.parametrize("case", [(16, 1024), (1024, 1)], ids=name_of)
def test_couplings_against_mcising(case, feature, benchmark, report):
    mcising = pytest.importorskip("mcising")
    L, R = case
    J, h = (-1.0, 0.0) if feature == "antiferromagnet" else (1.0, 0.1)
    benchmark.group = f"ising {feature} {name_of(case)} and mcising"
    fast = sampler_for(L, R, J=J, field=h)
    fast.sweep(150)
    rival = mcising.IsingSimulation(L, J, 0.0, 0.0, h, 1, "metropolis")
    n, rival_n = sweeps_for(R * L * L, 6.0), sweeps_for(L * L, 0.15)
    rate, rival_rate, ratio, best = in_turn(
        lambda: fast.sweep(n), lambda: rival.sweep(rival_n, temperature=T), n * R * L * L, rival_n * L * L
    )
    benchmark.pedantic(fast.sweep, args=(n,), rounds=ROUNDS)
    rival.sweep(300, temperature=T)
    assert abs(rival.energy() - fast.energy().mean()) < 5 * 2.0 / L
    report(attempts_per_ns=rate / 1e9, mcising_per_ns=rival_rate / 1e9, times_mcising=ratio, best_times=best)


@pytest.mark.parametrize("dynamics", ["wolff", "swendsen-wang"])
@pytest.mark.parametrize("L", [16, 128])
def test_clusters_against_mcising(L, dynamics, benchmark, report):
    """At Tc: time for a Wolff cluster, or for a division of the lattice into clusters."""
    mcising = pytest.importorskip("mcising")
    benchmark.group = f"ising {dynamics} {L} and mcising"
    ours = IsingSampler(L, TC, dynamics=dynamics, init="up", seed=1, threads=1)
    rival = mcising.IsingSimulation(L, 1.0, 0.0, 0.0, 0.0, 1, dynamics.replace("-", "_"))
    n = rounds_of(L * L, 0.05)
    # It starts at random, where clusters are small: 2,000 of them before they are as large as ours.
    rival.sweep(2000 if dynamics == "wolff" else 200, temperature=TC)
    ours.sweep(200)
    _, _, ratio, best = in_turn(lambda: ours.sweep(n), lambda: rival.sweep(n, temperature=TC), float(n), float(n))
    benchmark.pedantic(ours.sweep, args=(n,), rounds=ROUNDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = ours.measure(2000, progress=False).energy
    assert abs(found.mean[0] - float(kaufman_energy(TC, L))) < 6 * found.error[0]
    report(times_mcising=ratio, best_times=best)


def test_measuring_against_mcising(benchmark, report):
    """Energy and magnetisation of 16 x 16 after each sweep, for each lattice and measurement."""
    mcising = pytest.importorskip("mcising")
    benchmark.group = "ising measure and mcising"
    ours = sampler_for(16, 1024)
    ours.sweep(150)
    rival = mcising.IsingSimulation(16, 1.0, 0.0, 0.0, 0.0, 1, "metropolis")
    rival.sweep(200, temperature=T)
    n, rival_n = 40, rounds_of(256, 0.1)

    def measure():
        return ours.measure(n, progress=False)

    def measure_rival():
        return rival.production_sweeps(rival_n, 1, temperature=T, store_configs=False)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, _, ratio, best = in_turn(measure, measure_rival, n * 1024.0, float(rival_n))
        found = benchmark.pedantic(measure, rounds=ROUNDS).energy
    exact = float(kaufman_energy(T, 16))
    assert abs(found.mean[0] - exact) < 5 * found.error[0]
    report(times_mcising=ratio, best_times=best)


@pytest.mark.parametrize("case", [(16, 1024), (1024, 1)], ids=name_of)
def test_glauber_against_peapods(case, benchmark, report):
    peapods = pytest.importorskip("peapods")
    L, R = case
    benchmark.group = f"ising glauber {name_of(case)} and peapods"
    fast = sampler_for(L, R, dynamics="glauber")
    fast.sweep(150)
    rival_R = min(R, 32)
    rival = peapods.Ising((L, L), temperatures=np.array([T]), n_replicas=rival_R)
    n, rival_n = sweeps_for(R * L * L, 12.0), sweeps_for(rival_R * L * L, 0.05)
    _, _, ratio, best = in_turn(
        lambda: fast.sweep(n),
        lambda: rival.sample(rival_n, sweep_mode="gibbs", sequential=True),
        n * R * L * L,
        rival_n * rival_R * L * L,
    )
    benchmark.pedantic(fast.sweep, args=(n,), rounds=ROUNDS)
    check_energy(fast.energy()[0], L)
    report(times_peapods=ratio, best_times=best)


def test_tempering_against_peapods(benchmark, report):
    """Replica exchange over 16 temperatures of 16 x 16 after each sweep, for each lattice and round."""
    peapods = pytest.importorskip("peapods")
    benchmark.group = "ising tempering and peapods"
    temperatures = np.linspace(1.8, 3.3, 16)
    ours = IsingSampler(16, temperatures, 64, dynamics="glauber", init="up", seed=1, threads=1)
    rival = peapods.Ising((16, 16), temperatures=temperatures, n_replicas=4)
    ours.temper(100)
    n, rival_n = (5, 5) if ROUNDS < 10 else (40, 40)
    _, _, ratio, best = in_turn(
        lambda: ours.temper(n),
        lambda: rival.sample(rival_n, sweep_mode="gibbs", pt_interval=1, sequential=True),
        n * 64.0 * 16,
        rival_n * 4.0 * 16,
    )
    rates = benchmark.pedantic(ours.temper, args=(n,), rounds=ROUNDS)
    assert (rates > 0.1).all()
    energy = ours.energy()
    z = (energy.mean(axis=1) - kaufman_energy(temperatures, 16)) / (energy.std(axis=1) / math.sqrt(64))
    assert np.abs(z).max() < 5
    report(times_peapods=ratio, best_times=best)


def test_clusters_against_peapods(benchmark, report):
    """A sweep and a division of 64 x 64 into clusters, which peapods takes together, at Tc."""
    peapods = pytest.importorskip("peapods")
    benchmark.group = "ising swendsen-wang 64 and peapods"
    clusters = IsingSampler(64, TC, 4, dynamics="swendsen-wang", init="up", seed=1, threads=1)
    rival = peapods.Ising((64, 64), temperatures=np.array([TC]), n_replicas=4)
    n = rounds_of(4 * 64 * 64, 0.04)
    clusters.sweep(50)
    _, _, ratio, best = in_turn(
        lambda: clusters.sweep(n),
        lambda: rival.sample(n, cluster_update_interval=1, cluster_mode="sw", sequential=True),
        float(n),
        float(n),
    )
    benchmark.pedantic(clusters.sweep, args=(n,), rounds=ROUNDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = clusters.measure(300, progress=False).energy
    assert abs(found.mean[0] - float(kaufman_energy(TC, 64))) < 6 * found.error[0]
    report(times_peapods=ratio, best_times=best)
