"""Generators are read and set by many threads at once, and torch's own way to do it may wait for ever."""

import subprocess
import sys
import threading

import pytest
import torch
from torch import nn

from grokfast._generators import generator_kept, seed_generator

ASKING = """
import faulthandler, gc, sys, threading
import torch
from grokfast._generators import generator_state, set_generator_state
from grokfast.fisher.randomness import States
from grokfast.tasks import SparseParity, fresh_module

faulthandler.dump_traceback_later(90, exit=True)  # instead of waiting for ever
gc.set_threshold(20)

class Slow:
    def __del__(self):
        for _ in range(50):  # enough for another thread to take over
            pass

def work():
    for _ in range(2000):
        left = Slow()
        left.me = left
        left.graph = (torch.randn(3, requires_grad=True) * 2).sum()
        ask()

TASK, OWN = SparseParity(), torch.Generator()
ask = {
    "the global one": States,
    "a caller's": lambda: set_generator_state(generator_state(OWN), OWN),
    "a new module": lambda: fresh_module(TASK),
}[sys.argv[1]]
threads = [threading.Thread(target=work) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert gc.isenabled()
"""


@pytest.mark.parametrize("what", ["the global one", "a caller's", "a new module"])
def test_threads_that_ask_for_the_generator_while_python_collects(what):
    """torch's own ``get_rng_state`` deadlocks here: a finalizer lets another thread run while the mutex is held."""
    found = subprocess.run([sys.executable, "-P", "-c", ASKING, what], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_threads_that_draw_do_not_meet():
    """What is drawn under a seed is what one thread alone draws, and the global generator ends where it was."""

    def draw(seed):
        with generator_kept():
            seed_generator(seed)
            return nn.Sequential(*(nn.Linear(3, 3) for _ in range(20)))[-1].weight.detach().clone()

    torch.manual_seed(5)
    before = torch.get_rng_state()
    right, wrong = [draw(seed) for seed in range(8)], []

    def check(seed):
        for _ in range(20):
            if not torch.equal(draw(seed), right[seed]):
                wrong.append(seed)

    threads = [threading.Thread(target=check, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert torch.equal(torch.get_rng_state(), before)
