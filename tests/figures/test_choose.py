from __future__ import annotations

import shlex

import numpy as np
import pytest
from made_runs import EPOCHS, ISING, MODULAR, ising, modular

from grokfast import ModularAddition, RunConfig, load
from grokfast.errors import InputError, MissingRunsError
from grokfast.figures import FIGURES, FigureSpec, choose, draw, suggested, suggested_command
from grokfast.figures.choose import conditions, groups_of
from grokfast.store import Store


def _published(folder, *configs, make=modular, **record):
    for config in configs:
        make(config).publish(Store(folder), **record)
    return load(folder)


def _config(**fields):
    return RunConfig(**{"task": MODULAR, "epochs": EPOCHS, **fields})


PAPER = ModularAddition()


def test_the_one_setting_there_is_is_drawn_whatever_it_is(tmp_path):
    """As README's example: another P, width and weight decay than the paper's."""
    task = ModularAddition(P=31, hidden=(12,))
    configs = [_config(task=task, w0=w0, seed=k, weight_decay=1e-3) for w0 in (8.0, 0.5) for k in (1, 0)]
    table = _published(tmp_path / "runs", *configs)
    for name in ("fig05c", "fig02b", "fig10", "training", "losses"):
        chosen = choose(FIGURES[name], table).runs
        assert [(r.config.w0, r.config.seed) for r in chosen] == [(0.5, 0), (0.5, 1), (8.0, 0), (8.0, 1)]
    assert draw("fig05c", table).axes


def test_the_study_comes_before_other_settings(tmp_path):
    ours = [_config(task=PAPER, seed=k, epochs=12) for k in (0, 1)]
    others = [_config(seed=k, batch_size=b) for k in (0, 1, 2) for b in (3, 64)]
    table = _published(tmp_path / "runs", *others)
    for config in ours:
        made = modular(_config(seed=config.seed))
        made.config, made.key = config, config.key
        made.history = {name: values[:12] for name, values in made.history.items()}
        made.publish(Store(tmp_path / "runs"))
    chosen = choose(FIGURES["fig02b"], load(tmp_path / "runs"))
    assert {run.key for run in chosen.runs} == {config.key for config in ours}
    with pytest.raises(InputError, match="shows one setting"):
        choose(FIGURES["fig02b"], table)
    # The general figure has no study: it asks.
    with pytest.raises(InputError, match="holds 3 that it could show"):
        choose(FIGURES["training"], load(tmp_path / "runs"))


def test_every_condition_of_the_list_chooses_its_setting(tmp_path):
    settings = [{}, {"batch_size": 3}, {"task": ModularAddition(P=11, hidden=(6,))}, {"precision": "float64"}]
    settings += [{"reshuffle": True}, {"task": ModularAddition(P=7, hidden=(6, 6), train_fraction=0.8)}]
    table = _published(tmp_path / "runs", *[_config(seed=k, **s) for s in settings for k in (0, 1)])
    table = _published(tmp_path / "runs", RunConfig(task=ISING, epochs=EPOCHS), make=ising)
    groups = groups_of(table)
    lines = conditions(groups, table)
    assert len(lines) == len(groups) == 7
    for line, group in zip(lines, groups, strict=True):
        where = shlex.split(line)[1]
        assert {run.key for run in table.where(where)} == {run.key for run in group.runs}, line
        assert {run.key for run in choose(FIGURES["training"], table, where).runs} == {run.key for run in group.runs}
    with pytest.raises(InputError) as error:
        draw("training", table)
    assert all(line in str(error.value) for line in lines)
    # A figure of modular addition does not ask about Ising runs.
    assert len(choose(FIGURES["fig02a"], table).runs) == 1


def test_epochs_make_a_setting_of_their_own(tmp_path):
    table = _published(tmp_path / "runs", _config())
    longer = _config(epochs=EPOCHS + 1)
    made = modular(_config())
    made.config, made.key = longer, longer.key
    made.history = {name: np.append(values, 1.0) for name, values in made.history.items()}
    made.publish(Store(tmp_path / "runs"))
    table = load(tmp_path / "runs")
    with pytest.raises(InputError, match=f'--where "epochs = {EPOCHS}"'):
        draw("training", table)
    assert draw("training", table, f"epochs = {EPOCHS}").axes


def test_settings_shown_apart_differ_in_nothing_else(tmp_path):
    table = _published(tmp_path / "runs", *[_config(batch_size=b) for b in (3, 30)])
    assert [axes.get_title() for axes in draw("fig14", table).axes] == ["batch 3", "batch 30"]
    table = _published(tmp_path / "runs", _config(batch_size=30, weight_decay=0.5))
    with pytest.raises(InputError, match="shows one setting"):
        draw("fig14", table)
    assert len(draw("fig14", table, "weight_decay < 0.1").axes) == 2
    with pytest.raises(InputError, match="shows one setting"):
        draw("fig21", table)


def test_what_is_not_shown_is_said(tmp_path):
    table = _published(tmp_path / "runs", _config(), _config(seed=1))
    for seed, status in ((2, "diverged"), (3, "failed")):
        table = _published(tmp_path / "runs", _config(seed=seed), status=status)
    never = modular(_config(seed=4))
    never.summary["t_train"] = None
    never.publish(Store(tmp_path / "runs"))
    table = load(tmp_path / "runs")
    choice = choose(FIGURES["fig10"], table)
    assert [run.config.seed for run in choice.runs] == [0, 1]
    assert sorted(choice.left_out.values()) == ["diverged", "failed", "without t_train"]
    assert draw("fig10", table).get_suptitle().splitlines()[-1].startswith("3 runs left out: ")
    assert draw("fig02b", table).get_suptitle().splitlines()[-1].startswith("2 runs left out: ")


def test_missing_runs_name_the_study_and_its_size(tmp_path):
    table = _published(tmp_path / "runs", _config())
    with pytest.raises(MissingRunsError, match=r"finished runs with w0 > 100.*\n  grokfast sweep main-text --size lap"):
        draw("fig02b", table, "w0 > 100")
    with pytest.raises(MissingRunsError, match=r"2 or more values of w0.* at most 1 of one setting"):
        draw("fig05c", table)
    with pytest.raises(
        MissingRunsError, match=r"hidden\*_weighted_energy at two epochs .*\n  grokfast sweep ising-ends"
    ):
        draw("fig07", table)
    for figure in FIGURES.values():
        if figure.needs_runs:
            with pytest.raises(MissingRunsError, match=r"grokfast (sweep|train)"):
                draw(figure.name, table, "w0 > 100")


def test_measures_that_were_not_kept_name_the_command_and_are_not_taken(tmp_path):
    made = modular(_config())
    made.scalars, made.curves = {}, {}
    made.publish(Store(tmp_path / "runs"))
    table = load(tmp_path / "runs")
    before = sorted(tmp_path.rglob("*"))
    for name in ("fig15", "fig22", "fig25", "fig27", "fig21"):
        with pytest.raises(MissingRunsError, match=f"\n  grokfast measure --runs {tmp_path / 'runs'}"):
            draw(name, table)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_column_may_be_anywhere(tmp_path):
    table = _published(tmp_path / "runs", _config())
    for name in ("ipr_output", "end_train_loss", "gini_fisher", "spectrum_*", "train_loss", "pruning_fractions"):
        assert choose(FigureSpec("x", "x", lambda runs: None, columns=(name,)), table).runs
    for name in ("nothing", "ipr", "spectrum_?"):
        with pytest.raises(MissingRunsError, match="x needs "):
            choose(FigureSpec("x", "x", lambda runs: None, columns=(name,)), table)


def test_the_suggested_command_draws_these_runs_whatever_else_is_there(tmp_path):
    table = _published(tmp_path / "runs", _config(w0=1), _config(w0=3))
    mine = table.where("w0 <= 3")
    assert suggested(mine) == "pruning"
    assert suggested_command(mine) == ["grokfast", "figure", "pruning", "--runs", str(tmp_path / "runs")]
    everything = _published(tmp_path / "runs", _config(w0=1, batch_size=3), _config(w0=3, batch_size=3))
    *command, flag, where = suggested_command(mine)
    assert (command[2], flag) == ("pruning", "--where")
    keys = {run.key for run in mine}
    assert {run.key for run in choose(FIGURES["pruning"], everything, where).runs} == keys
    assert suggested(mine.where("w0 = 1")) == "training"


def test_a_task_without_accuracy_is_drawn_as_far_as_it_goes(tmp_path):
    made = modular(_config())
    for split in ("train", "test"):
        made.history[f"{split}_accuracy"] = made.history[f"{split}_accuracy"] * float("nan")
        made.summary[f"end_{split}_accuracy"] = None
    made.summary |= {"compressibility": None, "t_train": None, "t_test": None, "t_grok": None, "groks": None}
    made.history["compressibility"] *= float("nan")
    made.arrays["pruning_accuracy"] *= float("nan")
    made.publish(Store(tmp_path / "runs"))
    table = load(tmp_path / "runs")
    figure = draw("training", table)
    assert "no accuracy" in figure.axes[0].texts[0].get_text()
    assert len(figure.axes[1].get_lines()) == 2
    figure = draw("dynamics", table)
    assert [axes.texts[0].get_text() for axes in figure.axes[1:3]] == [
        "no compressibility",
        "no train_accuracy and test_accuracy",
    ]
    for name, lacks in (("pruning", "pruning_accuracy"), ("losses", "compressibility"), ("fig10", "t_train")):
        with pytest.raises(MissingRunsError, match=f"{name} needs {lacks}.* which the runs in"):
            draw(name, table)
