"""What a step is made of: its learning rate, its hooks and its loss, against plain loops, alone and in a stack."""

import sys
from itertools import pairwise
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch

from grokfast.errors import ConfigError
from grokfast.tasks import Ising, ModularAddition, SparseParity
from grokfast.training import Interrupted, RunConfig, StateKeeper, train_stack
from grokfast.training.hooks import HOOKS
from grokfast.training.rates import RateDecay, rate_factor

sys.path.insert(0, str(Path(__file__).parent))
from plain_loop import CASES, LOSSES, configs, of, plain_loop

STEPS = {
    "warm-up and a line": {"warmup_steps": 7, "rate_decay": "linear"},
    "warm-up and a wave to a tenth": {"warmup_steps": 10, "rate_decay": "cosine", "rate_end": 0.1},
    "slow gradients": {"hooks": ("ema:0.9:2",)},
    "across the weights": {"hooks": ("orthogonal",)},
    "on a sphere": {"hooks": ("sphere",)},
    "all of it": {
        "warmup_steps": 3, "rate_decay": "cosine", "hooks": ("ema:0.8:1.5", "orthogonal", "sphere"),
        "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.8, "weight_decay": 1e-3,
    },
}  # fmt: skip
OLDER = {
    "modular addition": ModularAddition(P=7, hidden=(9,)),
    "deep modular addition": ModularAddition(P=7, hidden=(9, 6)),
    "ising": Ising(L=8, temperatures=6, snapshots=40, sweeps=5, train_size=24, test_size=20, hidden=(9,)),
}
ALL = {**CASES, **OLDER}


@pytest.mark.parametrize("steps", list(STEPS))
@pytest.mark.parametrize("case", list(ALL))
def test_schedules_and_hooks_are_those_of_a_plain_loop(case, steps):
    config = configs(ALL[case], 1, precision="float64", **STEPS[steps])[0]
    assert config.steps >= 50
    ours, plain = of(train_stack([config])[0]), plain_loop(config, 25)
    for name, parameter in plain.items():
        np.testing.assert_allclose(ours[name], parameter, rtol=0, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("steps", list(STEPS))
@pytest.mark.parametrize("case", list(ALL))
def test_schedules_and_hooks_do_not_know_the_stack(case, steps, request):
    if case == "ising":
        request.getfixturevalue("core")  # without it torch convolves, whose sums depend on the stack
    alone, together = (train_stack(configs(ALL[case], members, epochs=6, **STEPS[steps])) for members in (1, 7))
    for name, values in of(alone[0]).items():
        np.testing.assert_array_equal(of(together[0])[name], values)


@pytest.mark.parametrize("loss", list(LOSSES))
@pytest.mark.parametrize("case", list(OLDER))
def test_the_papers_tasks_take_every_loss(case, loss):
    task = OLDER[case].__class__(**{**vars(OLDER[case]), "loss": loss})
    config = configs(task, 1, precision="float64")[0]
    ours, plain = of(train_stack([config])[0]), plain_loop(config, 25)
    for name, parameter in plain.items():
        np.testing.assert_allclose(ours[name], parameter, rtol=0, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("loss", list(LOSSES))
@pytest.mark.parametrize("case", list(OLDER))
def test_no_loss_of_the_papers_tasks_knows_the_stack(case, loss, request):
    if case == "ising":
        request.getfixturevalue("core")
    task = OLDER[case].__class__(**{**vars(OLDER[case]), "loss": loss})
    alone, together = (train_stack(configs(task, members, epochs=3)) for members in (1, 7))
    for name, values in of(alone[0]).items():
        np.testing.assert_array_equal(of(together[0])[name], values)


@pytest.mark.parametrize("steps", list(STEPS))
def test_a_run_that_is_cut_and_resumed_has_the_same_bits(tmp_path, steps):
    config = configs(CASES["modular, transformer"], 3, epochs=8, **STEPS[steps])
    whole, stop = train_stack(config), Event()

    def at_three(state):
        if state.epoch == 3:
            stop.set()

    with pytest.raises(Interrupted):
        train_stack(config, on_epoch=at_three, stop=stop, keeper=StateKeeper(tmp_path))
    for ours, theirs in zip(whole, train_stack(config, keeper=StateKeeper(tmp_path)), strict=True):
        for name, values in of(ours).items():
            np.testing.assert_array_equal(of(theirs)[name], values)


def test_the_schedule_begins_and_ends_where_it_says():
    linear, cosine = RateDecay.LINEAR, RateDecay.COSINE
    assert [rate_factor(t, 0, 4, RateDecay.NONE, 0.0) for t in (1, 2, 4, 5, 1000)] == [0.25, 0.5, 1, 1, 1]
    for decay in (linear, cosine):
        rates = [rate_factor(t, 30, 10, decay, 0.2) for t in range(1, 32)]
        assert rates[9] == rates[10] == 1
        assert rates[30] == pytest.approx(0.2)
        assert all(a >= b for a, b in pairwise(rates[10:]))
    assert rate_factor(21, 30, 10, linear, 0.2) == rate_factor(21, 30, 10, cosine, 0.2) == pytest.approx(0.6)


def test_the_length_of_the_weights_stays():
    """Omnigrok's constraint: w0 sets the length, and it is the same after training."""
    for w0 in (0.5, 3.0):
        config = RunConfig(task=ModularAddition(P=7, hidden=(9,)), w0=w0, epochs=4, hooks=("sphere",))
        before = config.task.initial(0, w0, torch.float64).values()
        after = of(train_stack([config])[0]).values()
        lengths = [sum(float((np.asarray(tensor) ** 2).sum()) for tensor in some) ** 0.5 for some in (before, after)]
        assert lengths[1] == pytest.approx(lengths[0], rel=1e-5)


def test_a_frozen_member_is_left_alone_by_hooks():
    given = {"epochs": 4, "optimizer": "sgd", "hooks": ("ema:0.9:2", "orthogonal")}
    runs = train_stack([RunConfig(task=OLDER["modular addition"], learning_rate=rate, **given) for rate in (0.1, 1e30)])
    assert [run.record["status"] for run in runs] == ["finished", "diverged"]


# Keys.


def test_what_earlier_runs_lack_is_left_out_of_a_key():
    assert RunConfig().key == "a73a06e70a9148cd"  # as before there were schedules, hooks and losses
    changes = ({"warmup_steps": 1}, {"rate_decay": "linear"}, {"hooks": ("sphere",)}, {"hooks": ("ema",)})
    assert len({RunConfig(**fields).key for fields in ({}, *changes)}) == 5
    assert RunConfig(hooks=("ema",)).key == RunConfig(hooks=("ema:0.98:2",)).key == RunConfig(hooks=["ema:.98"]).key
    assert RunConfig(task=ModularAddition(loss="cross-entropy")).key == RunConfig().key
    assert RunConfig(task=ModularAddition(loss="hinge")).key != RunConfig().key


def test_the_full_batch_is_a_number_of_samples():
    task = SparseParity(n=5, k=2, samples=30)
    full = RunConfig(task=task, batch_size="full")
    assert full.batch_size == 15
    assert full.key == RunConfig(task=task, batch_size=15).key == RunConfig(task=task, batch_size=400).key
    assert RunConfig.from_dict(full.to_dict()) == full


def test_a_run_that_decays_is_not_the_beginning_of_a_longer_one():
    short, long = (RunConfig(epochs=epochs, rate_decay="cosine") for epochs in (10, 20))
    assert short.family != long.family
    assert RunConfig(epochs=10, warmup_steps=5).family == RunConfig(epochs=20, warmup_steps=5).family


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"batch_size": "all"}, "batch_size must be a number or 'full', got 'all'"),
        ({"warmup_steps": -1}, "warmup_steps must be an integer >= 0, got -1"),
        ({"warmup_steps": 1.5}, "warmup_steps must be of type int"),
        ({"rate_decay": "step"}, "rate_decay must be one of"),
        ({"rate_end": 0.1}, "rate_end is where rate_decay ends, and there is none"),
        ({"rate_decay": "linear", "rate_end": 1.5}, r"rate_end must lie in \[0, 1\], got 1.5"),
        ({"rate_decay": "linear", "warmup_steps": 10**6}, "warmup_steps must be fewer than the run's 140000 steps"),
        ({"hooks": "sphere"}, "hooks must be a list of texts"),
        ({"hooks": ("spere",)}, "hooks must be of 'ema:ALPHA:AMPLIFICATION', .* got 'spere'; did you mean 'sphere'"),
        ({"hooks": ("ema:0.9:2:1",)}, "a hook ema must be written 'ema:ALPHA:AMPLIFICATION'"),
        ({"hooks": ("ema:x",)}, "a hook ema must be written"),
        ({"hooks": ("sphere:1",)}, "a hook sphere must be written 'sphere', got 'sphere:1'"),
        ({"hooks": ("ema:1:2",)}, r"alpha of the hook ema must lie in \(0, 1\), got 1"),
        ({"hooks": ("ema:0.9:0",)}, "lambda of the hook ema must be a finite number > 0"),
        ({"hooks": ("sphere", "sphere")}, "each kind once, got 'sphere' twice"),
    ],
    ids=str,
)
def test_bad_schedules_and_hooks_are_refused(fields, says):
    with pytest.raises(ConfigError, match=says):
        RunConfig(**fields)


def test_every_hook_is_tried():
    tried = {name.split(":")[0] for steps in STEPS.values() for name in steps.get("hooks", ())}
    assert tried == set(HOOKS)
