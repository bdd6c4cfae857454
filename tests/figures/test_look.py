"""The look of every figure, as it is printed: sizes of text, what lies on what, bands, colours, sizes, styles."""

from __future__ import annotations

import itertools

import matplotlib as mpl
import numpy as np
import pytest
from figure_faults import faults
from made_runs import EPOCHS, MODULAR, RunConfig, modular
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from grokfast import load
from grokfast.errors import InputError
from grokfast.figures import FIGURES, draw, new_figure, save, scale_colors
from grokfast.figures.style import (
    FEATURE_COLORS,
    GROKKING,
    LEARNING,
    LEAST_TEXT,
    NEUTRAL,
    SIZES,
    band,
    over_seeds,
    style,
)
from grokfast.store import Store

OF_THE_PAPER = sorted(name for name, spec in FIGURES.items() if not name.startswith("beyond_"))
PANELS_APART = {"fig14", "fig05a"}  # of several settings, which this store has not


def _where(name: str) -> str | None:
    spec = FIGURES[name]
    if not spec.needs_runs or spec.apart == "task":
        return None
    known = {"demo-ising": "ising", "fig17": "ising"}
    ising = any("ising" in study for study in spec.studies) or name in known
    return f"task = '{'ising' if ising else 'modular-addition'}'"


@pytest.mark.parametrize("name", OF_THE_PAPER)
def test_figures_are_legible_across_a_page(made, name):
    figure = draw(name, load(made[0]), _where(name))
    assert faults(figure, SIZES["page"].width) == []


@pytest.mark.parametrize("size", ["column", "slide"])
@pytest.mark.parametrize("name", ["training", "pruning", "fig05c"])
def test_figures_are_legible_at_other_sizes(made, name, size):
    figure = draw(name, load(made[0]), _where(name), size=size)
    scale = SIZES[size].scale
    assert faults(figure, SIZES[size].width, LEAST_TEXT * scale) == []
    assert figure.get_figheight() * 25.4 <= SIZES[size].height + 0.01


def test_many_panels_are_a_page_wide_in_a_column_too():
    with style("column"):
        assert new_figure(1, 1).get_figwidth() * 25.4 == pytest.approx(85)
        assert new_figure(1, 4, width=15).get_figwidth() * 25.4 == pytest.approx(180)
    assert new_figure(1, 1, width=15).get_figwidth() * 25.4 == pytest.approx(180)


def test_a_file_is_as_wide_as_it_says(made, tmp_path):
    figure = draw("training", load(made[0]), _where("training"), size="column")
    (file,) = save(figure, tmp_path, "training", ("pdf",))
    box = file.read_bytes().partition(b"/MediaBox [")[2].partition(b"]")[0].split()
    assert float(box[2]) / 72 * 25.4 == pytest.approx(85, abs=0.01)


def test_one_seed_is_said_to_be_one(tmp_path):
    modular(RunConfig(task=MODULAR, epochs=EPOCHS)).publish(Store(tmp_path / "runs"))
    for name in ("training", "pruning"):
        figure = draw(name, load(tmp_path / "runs"))
        text = f"{figure.get_suptitle()} {figure.axes[0].get_title()}"
        assert "1 seed" in text
        assert "range" not in text
    assert over_seeds(1, "geometric mean") == "1 seed"


def _luminance(color) -> float:
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


SCALES = (0.1, 0.2, 0.4, 0.7, 1.0, 2.0, 4.0, 10.0)


@pytest.mark.parametrize("color", [LEARNING, GROKKING, NEUTRAL, *FEATURE_COLORS, *scale_colors(SCALES).values()])
def test_colours_stand_out_on_white(color):
    assert 1.05 / (_luminance(color) + 0.05) >= 3  # WCAG 2.2, 1.4.11, of graphics


def test_colours_differ_in_grey():
    def lightness(color):
        return 116 * _luminance(color) ** (1 / 3) - 16

    ramp = [lightness(color) for color in scale_colors(SCALES).values()]
    assert (np.diff(ramp) > 0).all()
    assert ramp[-1] - ramp[0] > 20
    for one, other in itertools.combinations(FEATURE_COLORS, 2):
        assert abs(lightness(one) - lightness(other)) > 7


def test_the_ends_of_the_scales_are_the_regimes():
    colors = scale_colors(SCALES)
    assert np.allclose(colors[0.1][:3], to_rgb(LEARNING), atol=0.01)
    assert np.allclose(colors[10.0][:3], to_rgb(GROKKING), atol=0.01)


def test_bands_stay_where_values_can_be():
    x = np.arange(3.0)
    accuracies = np.array([[0.0, 0.5, 1.0], [0.1, 1.0, 1.0], [0.0, 0.9, 0.2]])
    losses = np.array([[1e-9, 1.0, 5.0], [3.0, 1e-6, 5.0]])
    for values, geometric in ((accuracies, False), (losses, True), (accuracies, True)):
        (axes,) = new_figure(1, 1).axes
        band(axes, x, values, geometric=geometric)
        edges = axes.collections[0].get_paths()[0].vertices[:, 1]
        assert edges.min() == values.min()
        assert edges.max() == values.max()
        line = axes.lines[0].get_ydata()
        assert ((line >= values.min(0) * (1 - 1e-12)) & (line <= values.max(0) * (1 + 1e-12))).all()


@pytest.mark.parametrize("count", [1, 4, 8, 20])
def test_many_bands_on_each_other_let_lines_be_seen(count):
    (axes,) = new_figure(1, 1).axes
    for _ in range(count):
        band(axes, np.arange(3.0), np.array([[0.0, 0.5, 1.0], [0.1, 1.0, 1.0]]))
    through = np.prod([1.0 - shape.get_alpha() for shape in axes.collections])
    assert through > 0.39
    assert axes.get_legend_handles_labels()[1] == []


def test_a_style_of_ones_own_is_asked_for(made, tmp_path):
    (tmp_path / "mine.mplstyle").write_text("lines.linewidth: 7\nfont.family: serif\n")
    table = load(made[0]).where("task = 'modular-addition'")
    figure = draw("training", table, sheet=str(tmp_path / "mine.mplstyle"))
    assert figure.axes[0].lines[0].get_linewidth() == 7
    assert draw("training", table).axes[0].lines[0].get_linewidth() < 2
    with pytest.raises(InputError, match="there is no style 'nicer'"):
        draw("training", table, sheet="nicer")
    with pytest.raises(InputError, match=r"size must be one of \['page', 'column', 'slide'\], got 'poster'"):
        draw("training", table, size="poster")


def test_ones_own_matplotlibrc_is_asked_for(made, tmp_path, monkeypatch):
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 6\nbackend: pdf\n")
    monkeypatch.setattr(mpl, "matplotlib_fname", lambda: str(tmp_path / "matplotlibrc"))
    table = load(made[0]).where("task = 'modular-addition'")
    assert draw("training", table, sheet="matplotlibrc").axes[0].lines[0].get_linewidth() == 6
    assert draw("training", table).axes[0].lines[0].get_linewidth() < 2


def test_settings_of_a_figure_stay_with_it(made, tmp_path):
    """Written later, elsewhere, under settings of the user's own, it is the same picture."""
    figure = draw("training", load(made[0]), _where("training"))
    figure.savefig(tmp_path / "one.svg", metadata={"Date": None})
    with mpl.rc_context({"svg.fonttype": "path", "savefig.facecolor": "red"}):
        figure.savefig(tmp_path / "two.svg", metadata={"Date": None})
    assert (tmp_path / "one.svg").read_text() == (tmp_path / "two.svg").read_text()


def test_faults_are_found():
    """The test of the tests."""
    figure = Figure(figsize=(9, 2))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], label="a long name of a line that is drawn")
    axes.plot([0, 1], [1, 0], label="another")
    axes.fill_between([0, 1], [-0.2, 0], [0.5, 1.2])
    axes.set(ylabel="accuracy")
    axes.legend(loc="center")
    figure.suptitle("x", fontsize=4)
    found = " ".join(faults(figure, 180))
    for words in ("228.6 mm wide", "4.0 pt", "lies on", "points of data", "band of accuracies"):
        assert words in found
