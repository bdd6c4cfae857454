from __future__ import annotations

from pathlib import Path

import pytest

from grokfast import ModularAddition, RunConfig
from grokfast.errors import ConfigError
from grokfast.studies import STUDIES, find_study, listing, setting_of, varying
from grokfast.sweep import read_sweep

BEYOND = {name for name in STUDIES if name.startswith("beyond-")}


def test_studies_of_different_contents() -> None:
    contents = {tuple(study.sweep(size).configs for size in study.sizes) for study in STUDIES.values()}
    assert len(contents) == len(STUDIES)
    assert len({study.title for study in STUDIES.values()}) == len(STUDIES)


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_every_study_holds_three_rising_sizes(name: str) -> None:
    study = STUDIES[name]
    assert study.sizes == ("quick", "laptop", "paper")
    assert study.command == f"grokfast sweep {name} --size laptop"
    sweeps = {size: study.sweep(size) for size in study.sizes}
    work = [sum(config.epochs for config in sweep.configs) for sweep in sweeps.values()]
    assert work[0] < work[1] <= work[2]
    # The paper's own sizes: main text, table of models.
    for config in () if name in BEYOND else sweeps["paper"].configs:
        stops_early = config.geometry and config.task.name == "modular-addition"
        assert config.epochs == (500 if stops_early else config.task.defaults["epochs"])
    for config in sweeps["quick"].configs:  # settings that a file does not give are the task's
        if config.task.name == "ising":
            assert config.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("figure", "study"), [("fig05a", "weight-decays"), ("fig10", "main-text"), ("fig30", "ising-ends")]
)
def test_a_figure_names_its_study(figure: str, study: str) -> None:
    assert find_study(figure) is STUDIES[study]


def test_no_figure_has_two_studies() -> None:
    figures = [figure for study in STUDIES.values() for figure in study.figures]
    assert len(figures) == len(set(figures))


def test_studies_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'fig05a'"):
        find_study("fig5a")
    with pytest.raises(ConfigError, match="did you mean 'main-text'"):
        find_study("maintext")
    with pytest.raises(ConfigError, match="there is no sweep file"):
        find_study(str(tmp_path / "none.toml"))


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[run]\nepochs = 7\n[grid]\nw0 = [1, 2]\n")
    study = find_study(str(file))
    assert (study.title, study.sizes, study.figures) == ("mine", (), ())
    assert study.command == f"grokfast sweep {file}"
    assert study.sweep() == read_sweep(file)
    assert {setting.fields.get("epochs") for setting in study.settings} == {None}
    file.write_text('figures = "fig02b"')
    with pytest.raises(ConfigError, match="figures must be a list of names, got 'fig02b'"):
        find_study(str(file))


def _setting(**fields: object):
    return setting_of(RunConfig(**fields).training())


def test_a_setting_is_all_but_scale_seed_and_looks() -> None:
    plain = _setting()
    assert plain == _setting(w0=7, seed=3, feature_schedule="last", test_schedule="every:9", geometry="softmax-all")
    assert plain == _setting(momentum=0.5)  # Adam has none
    assert plain == _setting(task=ModularAddition(P=113))
    for other in ({"batch_size": 65}, {"epochs": 3}, {"beta1": 0.8}, {"task": ModularAddition(P=31)}):
        assert plain != _setting(**other)
    assert _setting(optimizer="sgd") != _setting(optimizer="sgd", momentum=0.5)
    assert _setting(optimizer="sgd") == _setting(optimizer="sgd", beta2=0.5)


def test_in_what_settings_differ() -> None:
    one, other = _setting(), _setting(batch_size=7, task=ModularAddition(P=31))
    assert sorted(varying([one, other, one])) == ["batch_size", "task.P"]
    assert one.of_any_length == _setting(epochs=3).of_any_length


def test_a_study_knows_its_settings() -> None:
    main, decays = STUDIES["main-text"].settings, STUDIES["weight-decays"].settings
    assert len(main) == 1
    assert len(decays) == 2
    assert main < decays
    assert _setting(epochs=12).of_any_length in main
    assert STUDIES["ising-ends"].settings == STUDIES["ising"].settings
    assert len(STUDIES["geometry"].settings) == 2


def test_the_listing_names_every_study_with_its_figures_and_sizes() -> None:
    lines = listing().splitlines()
    assert len(lines) == 2 * len(STUDIES)
    assert lines[lines.index(f"main-text: {STUDIES['main-text'].title}") + 1] == (
        "    quick 10 runs, laptop 40 runs, paper 160 runs; figures fig02b, fig05c, fig10, fig15, fig21, fig22"
    )
