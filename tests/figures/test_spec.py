from __future__ import annotations

import pytest

from grokfast import load
from grokfast.errors import ConfigError, InputError
from grokfast.figures import FIGURES, FigureSpec, draw, draw_all, find_figure, listing, register_figure, save
from grokfast.figures.spec import WHOLE
from grokfast.studies import STUDIES


def _draw(runs):
    raise AssertionError


def _draw_other(runs):
    raise AssertionError


def test_every_figure_of_a_study_names_it_and_the_other_way_round():
    # Those of figure 21 and 25 show both tasks, those of the geometry both studies of it: the first is the one.
    named = {name: spec.studies[0] for name, spec in FIGURES.items() if spec.studies}
    assert named == {figure: study.name for study in STUDIES.values() for figure in study.figures}
    assert all(study in STUDIES for spec in FIGURES.values() for study in spec.studies)


def test_there_is_every_figure_of_the_paper():
    paper = {f"fig{k:02d}" for k in range(1, 35)} - {"fig02", "fig05"}
    assert paper | {"fig02a", "fig02b", "fig05a", "fig05b", "fig05c", "fig05d"} <= set(FIGURES)
    assert {"training", "pruning", "losses", "dynamics", "measures", "demo", "demo-ising"} < set(FIGURES)


@pytest.mark.parametrize("name", ["", "a b", "../x", "all", "All", "x/y", 3])
def test_bad_names_are_refused(name):
    with pytest.raises(ConfigError, match="a figure's name must be"):
        FigureSpec(name, "t", _draw)


def test_bad_specs_are_refused():
    with pytest.raises(ConfigError, match="columns of figure x must be a tuple of names"):
        FigureSpec("x", "t", _draw, columns="end_loss")
    with pytest.raises(ConfigError, match="scales must be an integer >= 1"):
        FigureSpec("x", "t", _draw, scales=0)
    with pytest.raises(ConfigError, match="is no figure"):
        register_figure(_draw)


def test_a_name_is_taken_once_also_by_case_but_a_file_may_be_imported_twice():
    with pytest.raises(ConfigError, match="there is a figure 'fig05c' already"):
        register_figure(FigureSpec("FIG05C", "t", _draw))
    first = register_figure(FigureSpec("of-a-test", "t", _draw))
    try:
        assert find_figure("of-a-test") is first
        again = register_figure(FigureSpec("of-a-test", "new", _draw))
        assert find_figure("of-a-test") is again
        with pytest.raises(ConfigError, match="there is a figure 'of-a-test' already"):
            register_figure(FigureSpec("of-a-test", "t", _draw_other))
    finally:
        del FIGURES._found["of-a-test"]


def test_a_wrong_name_lists_all():
    with pytest.raises(InputError, match=r"one of training, .*fig34.*got 'fig5c'; did you mean 'fig05c'"):
        find_figure("fig5c")


def test_all_that_can_be_drawn_is_drawn_and_saved_the_rest_has_its_reason(made, tmp_path):
    table = load(made[0])
    found = dict(draw_all(table))
    assert list(found) == list(FIGURES)
    # Two settings, one of each task: only the figures of any task must be told which, and those that show settings
    # apart that are alike but for one field.
    reasons = {name: text for name, text in found.items() if isinstance(text, str)}
    # Those that show a study whole have its runs or none.
    whole = {name for name in reasons if FIGURES[name].apart == WHOLE}
    assert whole == {name for name in FIGURES if name.startswith("beyond_")}
    assert all("grokfast sweep beyond-" in reasons.pop(name) for name in whole)
    assert set(reasons) == {"training", "pruning", "losses", "dynamics", "measures", "fig05a", "fig14"}
    assert all("--where" in text for text in reasons.values())
    one = {name: draw(name, table, "task = 'modular-addition'") for name in reasons}
    drawn = {name: figure for name, figure in {**found, **one}.items() if not isinstance(figure, str)}
    assert set(drawn) == set(FIGURES) - whole
    for name in ("fig05a", "fig21", "fig04", "measures"):
        files = save(drawn[name], tmp_path, name)
        assert files[0].read_text().startswith("<?xml")
        assert files[1].read_bytes().startswith(b"\x89PNG")


def test_the_listing_says_what_each_needs_and_what_is_there(made, tmp_path):
    found = listing(load(made[0]))
    columns = {heading.text: [row[k].plain for row in found.rows] for k, heading in enumerate(found.headings)}
    assert columns["name"] == list(FIGURES)
    there = dict(zip(columns["name"], columns["these runs"], strict=True))
    assert (there["fig01"], there["fig05c"], there["fig21"]) == ("needs none", "yes, 6", "yes, 12")
    assert there["training"] == "choose with --where"
    studies = dict(zip(columns["name"], columns["study"], strict=True))
    assert (studies["fig05c"], studies["fig21"], studies["training"]) == ("main-text", "main-text, ising", "any")
    nothing = listing(load(made[0]).where("w0 > 100"))
    assert {row[3].plain for row in nothing.rows} == {"no", "needs none"}


def test_snapshots_need_no_runs():
    figure = draw("fig11", load_none())
    assert len(figure.axes) == 3
    spins = figure.axes[0].images[0].get_array()
    assert spins.shape == (16, 16)
    assert set(spins.ravel().tolist()) == {-1, 1}


def load_none():
    from grokfast.runs import RunTable
    from grokfast.store import Store

    return RunTable(Store("nowhere"), [], [])


def test_a_file_that_cannot_be_written_is_one_error(tmp_path):
    from grokfast.errors import StoreError

    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="figures cannot be written to"):
        save(draw("fig11", load_none()), tmp_path / "file" / "x", "fig11")
