"""The paper's own curves over ours: which, where, how much of them, and only on runs of the paper's setting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_runs import main_store
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from grokfast import Ising, ModularAddition, load
from grokfast.figures import FIGURES, draw, new_figure
from grokfast.figures.overlay import PAPER, PAPER_COLOR, Digitised, every_axes, lay_over, panels_of
from grokfast.paper import panels, paper_curve


def _grey(figure: Figure) -> dict[str, list[np.ndarray]]:
    found: dict[str, list[np.ndarray]] = {}
    for axes in every_axes(figure):
        lines = [line for line in axes.get_lines() if to_rgba(line.get_color()) == to_rgba(PAPER_COLOR)]
        if lines:
            found[str(axes.get_label())] = [np.asarray(line.get_xydata()) for line in lines]
    return found


def test_every_panel_that_was_read_is_shown_somewhere():
    shown = {panel for spec in FIGURES.values() for panel in panels_of(spec.paper)}
    assert set(panels()) - shown == {"fig14_derived_c"}  # numbers made of the curves of 14a and 14b
    for spec in FIGURES.values():
        for group in spec.paper.values():
            for digitised in group:
                assert list(digitised.curves())


def test_epochs_end_with_ours_and_logarithmic_axes_lose_what_is_not_positive():
    figure = new_figure(1, 2)
    first, second = figure.axes
    first.set_label("c")
    second.set_label("steps")
    first.plot([1, 10, 30], [1, 2, 3])
    second.plot([1, 10, 1000], [1, 2, 3])
    second.set(xscale="log", yscale="log")
    overlays = {"c": (Digitised("fig06c"),), "steps": (Digitised("fig32b", ("learning",), factor=2.0),), "none": ()}
    assert lay_over(figure, overlays) == ["fig06c", "fig32b"]
    x, y = paper_curve("fig06c", "grokking")
    found = _grey(figure)
    np.testing.assert_array_equal(found["c"][0], np.stack([x, y], 1)[(x >= 1) & (x <= 30)])
    x, y = paper_curve("fig32b", "learning")
    shown = (x >= 1) & (x <= 1000)
    np.testing.assert_array_equal(found["steps"][0], np.stack([x[shown], 2 * y[shown]], 1))
    assert [text.get_text() for legend in figure.legends for text in legend.get_texts()] == [PAPER]


def test_ranks_count_from_the_other_end_and_a_zoom_stays():
    figure = new_figure(1, 1)
    (axes,) = figure.axes
    axes.set_label("g")
    axes.plot([1, 2, 3], [1, 2, 3])
    axes.set_xlim(1, 2)
    lay_over(figure, {"g": (Digitised("fig20a", ("learning",), ranks=6797),)})
    x, _ = paper_curve("fig20a", "learning")
    np.testing.assert_allclose(_grey(figure)["g"][0][:, 0], 6798 - x)
    assert axes.get_xlim() == (1, 2)


def test_nothing_is_drawn_where_no_axes_match():
    figure = new_figure(1, 1)
    assert lay_over(figure, {"elsewhere": (Digitised("fig06c"),)}) == []
    assert not figure.legends


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Made-up runs of the paper's settings."""
    folder = tmp_path_factory.mktemp("papers")
    settings = {"main": {}, "fig16": {"batch_size": 200}, "fig18": {"weight_decay": 3e-4}}
    for name, fields in settings.items():
        main_store(folder / name, ModularAddition(), Ising(), **fields)
    return {name: folder / name for name in settings}


@pytest.mark.parametrize("name", sorted(name for name, spec in FIGURES.items() if spec.paper))
def test_runs_of_the_papers_setting_have_it_and_others_do_not(name, made, papers):
    found = _grey(draw(name, load(papers.get(name, papers["main"]))))
    assert found, "no axes of the figure have a label that the paper's curves name"
    # All axes that these runs draw; other batch sizes and weight decays are those of another store.
    assert set(found) == set(FIGURES[name].paper) - {"inset", "batch 200"}
    task = "ising" if FIGURES[name].studies[0].startswith("ising") else "modular-addition"
    assert not _grey(draw(name, load(made[0]), None if FIGURES[name].apart == "task" else f"task = '{task}'"))
