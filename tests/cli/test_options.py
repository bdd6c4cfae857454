"""Every option reaches the field it is made from, and an option that is not given leaves the class's default."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from grokfast import Ising, ModularAddition, RunConfig
from grokfast.cli import train as train_command
from grokfast.cli.options import helps
from grokfast.tasks import Mnist, Modular, Permutations, SparseParity, Task

TASKS: list[type[Task]] = [ModularAddition, Ising, Modular, Permutations, SparseParity, Mnist]

GIVEN: dict[str, tuple[str, Any]] = {
    "P": ("11", 11), "hidden": ("12 7", (12, 7)), "train_fraction": ("0.6", 0.6), "label_noise": ("0.1", 0.1),
    "L": ("8", 8), "channels": ("3 2", (3, 2)), "kernel": ("5", 5), "dynamics": ("glauber", "glauber"),
    "order": ("random", "random"),
    "sweeps": ("7", 7), "temperatures": ("60", 60), "snapshots": ("90", 90), "data_seed": ("4", 4),
    "train_size": ("40", 40), "test_size": ("60", 60), "stratified": ("False", False),
    "operation": ("a-b", "a-b"), "network": ("embedding-mlp", "embedding-mlp"), "width": ("64", 64), "layers": ("2", 2),
    "heads": ("2", 2), "activation": ("gelu", "gelu"), "bias": ("False", False), "loss": ("stablemax", "stablemax"),
    "n": ("4", 4), "k": ("2", 2), "samples": ("12", 12), "sample_seed": ("3", 3),
    "epochs": ("9", 9), "batch_size": ("20", 20), "optimizer": ("sgd", "sgd"), "learning_rate": ("0.03", 0.03),
    "weight_decay": ("0.02", 0.02), "beta1": ("0.8", 0.8), "beta2": ("0.98", 0.98), "eps": ("1e-6", 1e-6),
    "momentum": ("0.5", 0.5), "warmup_steps": ("3", 3), "rate_decay": ("cosine", "cosine"), "rate_end": ("0.1", 0.1),
    "hooks": ("sphere ema:0.9:2", ("sphere", "ema:0.9:2")),
    "reshuffle": ("True", True), "train_metrics": ("full", "full"),
    "precision": ("float64", "float64"), "checkpoint_schedule": ("at:2", "at:2"),
    "feature_schedule": ("every:4", "every:4"),
    "compressibility_schedule": ("at:3", "at:3"), "test_schedule": ("every:2", "every:2"),
    "geometry": ("logit-16", "logit-16"), "geometry_schedule": ("every:3", "every:3"), "geometry_step": ("2", 2),
    "geometry_stiff": ("0.2", 0.2), "observe": ("norms@every:2 gini@last", ("norms@every:2", "gini@last")),
}  # fmt: skip
"""For each field an option's text and the value it must become: another than the default."""

BESIDE: dict[Any, dict[str, Any]] = {
    (SparseParity, "n"): {"samples": 12},
    "width": {"network": "embedding-mlp"},
    "layers": {"network": "transformer"},
    "heads": {"network": "transformer"},
    "rate_end": {"rate_decay": "linear"},
}
"""What an option says something about only beside others."""

APART = {"data_file", "data_hash", "file", "content"}  # they need a file: tests/tasks
"""Options that are not tried here."""

_OF_NO_USE = {Mnist: {"train_fraction"}}  # its split is by number


class _CapturedError(Exception):
    pass


def _configs(monkeypatch, task: type[Task], arguments: list[str]) -> tuple[list[RunConfig], dict[str, Any]]:
    taken: dict[str, Any] = {}

    def capture(configs, folder, console, **options):
        taken.update(configs=list(configs), folder=folder, **options)
        raise _CapturedError

    monkeypatch.setattr(train_command, "train_into", capture)
    with pytest.raises(_CapturedError):
        train_command.main([task.name, *arguments])
    return taken.pop("configs"), taken


def _options(name: str) -> list[str]:
    return [f"--{name.replace('_', '-')}", *GIVEN[name][0].split()]


@pytest.mark.parametrize("task", TASKS)
def test_every_option_of_a_task_and_of_a_run_reaches_its_field(task, monkeypatch):
    names = [field.name for field in dataclasses.fields(task) if field.name not in APART | _OF_NO_USE.get(task, set())]
    names += [field.name for field in dataclasses.fields(RunConfig) if field.name not in ("task", "w0", "seed")]
    plain = RunConfig(task=task())
    for name in names:
        beside = BESIDE.get((task, name), BESIDE.get(name, {}))
        more = [text for other, value in beside.items() for text in (f"--{other.replace('_', '-')}", str(value))]
        ((config,), _) = _configs(monkeypatch, task, ["--w0", "1", *more, *_options(name)])
        owner = config.task if hasattr(task, name) else config
        default = plain.task if hasattr(task, name) else plain
        assert getattr(owner, name) == GIVEN[name][1], name
        assert getattr(default, name) != GIVEN[name][1], name
        value = GIVEN[name][1]
        if hasattr(task, name):
            expected = RunConfig(task=task(**beside, **{name: value}))
        else:
            expected = RunConfig(task=task(), **beside, **{name: value})
        assert config == expected, name


@pytest.mark.parametrize("task", TASKS)
def test_without_options_all_is_as_the_classes_say(task, monkeypatch):
    configs, taken = _configs(monkeypatch, task, [])
    assert [config.w0 for config in configs] == [0.1, 1.0, 10.0]
    for config in configs:
        assert config == RunConfig(task=task(), w0=config.w0)
    assert taken == {"folder": Path("runs"), "force": False, "threads": 0, "device": "cpu", "keep_state": False}


def test_the_grid(monkeypatch):
    given = "--w0 0.5 2 --seeds 2 --first-seed 3 --runs there --threads 5 --device cuda --force --keep-state"
    configs, taken = _configs(monkeypatch, ModularAddition, given.split())
    assert [(config.seed, config.w0) for config in configs] == [(3, 0.5), (3, 2.0), (4, 0.5), (4, 2.0)]
    assert taken == {"folder": Path("there"), "force": True, "threads": 5, "device": "cuda", "keep_state": True}


@pytest.mark.parametrize("task", TASKS)
def test_each_option_has_one_help_text_and_names_its_default(task, capsys):
    with pytest.raises(SystemExit) as stop:
        train_command.main([task.name, "--help"])
    assert stop.value.code == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for cls in (task, RunConfig):
        for name, text in helps(cls).items():
            if name in ("task", "w0", "seed"):
                continue
            assert f"--{name.replace('_', '-')} " in shown, name
            assert text
            assert text[:30] in shown, name
    assert "(default: None)" not in shown
    defaults = task().defaults
    for name, value in defaults.items():
        assert getattr(RunConfig(task=task()), name) == value
        assert f"(default: {value:g})" in shown, name
