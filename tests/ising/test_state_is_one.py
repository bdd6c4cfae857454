"""Copies, pickles, states and interrupts, in any order, leave the bits of a run that had none of them."""

import copy
import json
import pickle
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from grokfast.ising import IsingSampler
from grokfast.ising._signals import HeldSignals

CASES = {
    "replica": {"L": 16, "temperatures": [1.5, 2.3, np.inf], "replicas": 70},
    "site": {"L": 128, "temperatures": [1.5, 2.3], "layout": "site"},
    "uneven site": {"L": (140, 6), "temperatures": [1.5, 2.3], "layout": "site"},
    "scalar": {"L": 10, "temperatures": [2.0, np.inf], "replicas": 3, "layout": "scalar"},
    "random order": {"L": 10, "temperatures": [2.0, 3.0], "order": "random"},
    "field": {"L": 16, "temperatures": [1.5, 2.3], "replicas": 40, "field": 0.2, "layout": "replica"},
    "open antiferromagnet": {"L": (9, 6), "temperatures": 2.0, "replicas": 70, "J": -1.0, "boundary": "open"},
    "wolff": {"L": 12, "temperatures": [2.0, 3.0], "dynamics": "wolff", "field": 0.01},
    "swendsen-wang": {"L": 12, "temperatures": [2.0, 3.0], "dynamics": "swendsen-wang"},
}

WAYS = {
    "copy": copy.copy,
    "deep copy": copy.deepcopy,
    "pickle": lambda s: pickle.loads(pickle.dumps(s)),
    "state": lambda s: IsingSampler.from_state(s.state()),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def swept(sampler, n):
    sampler.sweep(n)
    return sampler


@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("first", WAYS)
def test_copies_of_copies_go_on_with_the_same_bits(case, first, second):
    whole = swept(IsingSampler(**case, seed=3), 9)
    original = swept(IsingSampler(**case, seed=3), 2)
    once = swept(WAYS[first](original), 3)
    twice = swept(WAYS[second](once), 4)
    np.testing.assert_array_equal(twice.spins, whole.spins)
    assert twice.sweeps == whole.sweeps
    for name, array in whole.state().items():
        np.testing.assert_array_equal(twice.state()[name], array)
    np.testing.assert_array_equal(swept(once, 4).spins, whole.spins)  # which the copy has not touched
    np.testing.assert_array_equal(swept(original, 7).spins, whole.spins)


def test_samplers_work_in_other_processes():
    sampler = swept(IsingSampler(16, [2.0, 2.5], 20, seed=3), 2)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        back = IsingSampler.from_state(pool.submit(IsingSampler.state, sampler).result(timeout=120))
    np.testing.assert_array_equal(swept(back, 4).spins, swept(IsingSampler(16, [2.0, 2.5], 20, seed=3), 6).spins)


def test_states_of_the_first_version_go_on_with_its_random_numbers():
    sampler = swept(IsingSampler(16, [2.0, np.inf], 20, seed=3, seeding="seed"), 2)
    state = sampler.state()
    config = json.loads(state["config"].tobytes())
    for name in ("order", "seeding", "parameters", "rounds"):
        del config[name]
    state["config"] = np.frombuffer(json.dumps({**config, "version": 1}).encode(), np.uint8)
    np.testing.assert_array_equal(swept(IsingSampler.from_state(state), 3).spins, swept(sampler, 3).spins)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("fail_at", [1, 2, 3, 4])
def test_an_interrupt_between_blocks_leaves_no_lattice_behind(case, threads, fail_at, monkeypatch):
    sampler = swept(IsingSampler(**case, seed=3, threads=threads), 1)
    engine = sampler._engine
    name = "_sweep_block" if hasattr(engine, "_sweep_block") else "_sweep_range"
    work, calls = getattr(engine, name), []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == fail_at:
            raise KeyboardInterrupt
        work(*arguments)

    monkeypatch.setattr(engine, name, interrupted)
    try:
        sampler.sweep(2)
    except KeyboardInterrupt:
        assert len(calls) >= fail_at
    monkeypatch.undo()
    fresh = swept(IsingSampler(**case, seed=3), sampler.sweeps)
    np.testing.assert_array_equal(sampler.spins, fresh.spins)
    np.testing.assert_array_equal(swept(sampler, 2).spins, swept(fresh, 2).spins)


@pytest.mark.parametrize(
    "options",
    [
        {"L": 16, "temperatures": [2.0, 2.5, np.inf], "replicas": 1500, "threads": 2},
        {"L": 512, "temperatures": 2.3, "threads": 2, "layout": "site"},
        {"L": 32, "temperatures": [2.0, 2.5], "replicas": 100, "dynamics": "wolff"},
    ],
)
@pytest.mark.parametrize("measuring", [False, True])
@pytest.mark.filterwarnings("ignore::grokfast.ising.UnreliableErrorWarning")
def test_alarms_at_many_moments(options, measuring):
    """A timer raises KeyboardInterrupt at any moment of a sweep, as Ctrl-C does."""

    def stop(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    IsingSampler(**options, seed=4).measure(2)  # compiles
    sampler = IsingSampler(**options, seed=3)
    hits = 0
    try:
        for i in range(12):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.002 + 0.0017 * i)
                while True:
                    sampler.measure(1000, progress=False) if measuring else sampler.sweep(20)
            except KeyboardInterrupt:
                hits += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert hits == 12
    fresh = IsingSampler(**options, seed=3)
    fresh.sweep(sampler.sweeps)
    np.testing.assert_array_equal(sampler.spins, fresh.spins)


def test_HeldSignals_come_through_at_the_end_and_handlers_are_given_back():
    seen = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        with HeldSignals():
            with HeldSignals():
                signal.raise_signal(signal.SIGINT)
                assert seen == []
            assert seen == []
        assert seen == [signal.SIGINT]
        signal.raise_signal(signal.SIGINT)
        assert seen == [signal.SIGINT] * 2
    finally:
        signal.signal(signal.SIGINT, before)


def test_samplers_sweep_in_threads_that_get_no_signals():
    sampler = IsingSampler(16, 2.0, 64, seed=3)
    thread = threading.Thread(target=sampler.sweep, args=(5,))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(sampler.spins, swept(IsingSampler(16, 2.0, 64, seed=3), 5).spins)


def test_the_bar_is_taken_away_by_an_interrupt(capsys, monkeypatch):
    from grokfast.ising import lattices
    from grokfast.ising.word_engine import WordEngine

    sampler = IsingSampler(16, 2.0, 64, seed=3)
    record, calls = WordEngine.record, []

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        record(self, *arguments)

    monkeypatch.setattr(lattices, "_ATTEMPTS_BETWEEN_SIGNALS", dict.fromkeys(lattices.Layout, 8 * 16 * 16 * 64 * 5))
    monkeypatch.setattr(WordEngine, "record", interrupted)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with pytest.raises(KeyboardInterrupt):
        sampler.measure(50, progress=True)
    monkeypatch.undo()
    shown = capsys.readouterr().err
    assert shown.count("\x1b[?25h") == shown.count("\x1b[?25l")  # the cursor is shown again as often as it was hidden
    np.testing.assert_array_equal(sampler.spins, swept(IsingSampler(16, 2.0, 64, seed=3), sampler.sweeps).spins)
