"""What a notebook shows of runs, tables, Fisher diagonals, plans, pruning curves, measurements and samplers."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread
from torch import nn

from grokfast import LLC, IsingSampler, RunTable, fisher_diag, load, measure_pruning
from grokfast._html import heading, lines
from grokfast._html import table as html_table
from grokfast.errors import InputError, MissingRunsError
from grokfast.learning_coefficient import Status

VOID = {"img", "br", "polyline"}


class _Parser(HTMLParser):
    """Refuses tags that do not nest, and collects the text of every cell."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.cells, self.inside = [], [], False

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


def cells(html: str) -> list[str]:
    parser = _Parser()
    parser.feed(html)
    assert parser.open == []
    assert "<script" not in html
    assert "http" not in html
    return parser.cells


def pictures(html: str) -> list[np.ndarray]:
    found = re.findall(r"data:image/png;base64,([^\"]+)", html)
    return [imread(io.BytesIO(base64.b64decode(text)), format="png") for text in found]


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(40, 4)


def test_table_has_the_numbers_of_its_rows(table):
    found = cells(table._repr_html_())
    heads = found[: found.index("c") + 1]
    assert heads == ["w0", "seed", "t_train", "t_test", "t_grok", "regime", "test acc", "c"]
    width = next(k for k, cell in enumerate(found) if cell == "0.5")
    first = found[width : width + width]
    assert first[:2] == ["0.5", "0"]
    assert first[6] == f"{table.rows[0]['end_test_accuracy']:.2%}"
    assert f"RunTable({len(table)} runs" in repr(table)


def test_long_table_is_cut_and_says_so(table):
    rows = [{**table.rows[0], "seed": seed} for seed in range(57)]
    html = RunTable(table.store, rows, [])._repr_html_()
    assert html.count("<tr>") == 1 + 20
    assert "and 37 more" in html


def test_empty_table(table):
    empty = RunTable(table.store, [], [])
    assert "0 runs" in empty._repr_html_()
    with pytest.raises(MissingRunsError, match="no runs in this table"):
        empty.plot()


def test_run_shows_its_numbers_and_curves(table):
    run = next(iter(table))
    html = run._repr_html_()
    assert run.key in html
    assert html.count("<polyline") == 2
    assert f"{run.summary['end_test_accuracy']:.2%}" in cells(html)


def test_curves_are_thinned_and_gaps_left_out():
    html = lines([[0.5] * 100_000, [float("nan"), 1.0]], 0.0, 1.0, "a < b")
    assert len(html) < 10_000
    assert "nan" not in html
    assert "a &lt; b" in html


def test_names_are_text_never_markup():
    found = heading("<b>x</b>", "a & b") + html_table(["<i>"], [["<script>"]], "1 < 2")
    assert cells(found) == ["<i>", "<script>"]


def test_fisher_and_its_plan(net):
    model, x = net
    fisher = fisher_diag(model, x)
    found = cells(fisher._repr_html_())
    assert found[7:9] == ["0.weight", "8 × 4"]
    shares = [float(cell.rstrip("%")) for cell in found[7:][2::7]]
    assert sum(shares) == pytest.approx(100, abs=0.3)
    assert "closed-form" in found[13]
    assert [*fisher] == cells(fisher.plan._repr_html_())[3::3]


def test_pruning_curve(net):
    model, x = net
    wanted = model(x).argmax(1)
    curve = measure_pruning(model, lambda m: float((m(x).argmax(1) == wanted).float().mean()), "global")
    found = cells(curve._repr_html_())
    assert found[5:7] == ["0", "1"]
    assert found[7] == f"{float(curve.compressibility):.3g}"


def test_sampler_shows_its_spins():
    sampler = IsingSampler(16, [1.0, 9.0], replicas=3, init="up", seed=0)
    sampler.sweep(20)
    html = sampler._repr_html_()
    cold, hot = pictures(html)
    assert cold.shape[:2] == (64, 3 * 68)
    scale = 64 // 16
    light = (hot[::scale, :64:scale, 0] > 0.5).astype(int)
    np.testing.assert_array_equal(2 * light - 1, sampler.spins[1, 0])
    assert "T = 9" in cells(html)[2]


def test_large_sampler_shows_no_picture():
    sampler = IsingSampler(4, [2.0], replicas=1 << 23, seed=0)
    assert "<img" not in sampler._repr_html_()


@pytest.mark.filterwarnings("ignore::grokfast.ising.UnreliableErrorWarning")
def test_measurements_as_html_and_as_a_frame():
    pandas = pytest.importorskip("pandas")
    sampler = IsingSampler(8, np.linspace(1.5, 3.5, 30), replicas=4, seed=0)
    measured = sampler.measure(10, every=2)
    html = measured._repr_html_()
    found = cells(html)
    assert len(found) == 7 * (1 + 20)
    assert found[8].startswith(f"{measured.energy.mean[0]:.5g} ± {measured.energy.error[0]:.2g}")
    assert "10 more temperatures" in html
    assert "* short" in html
    frame = measured.df()
    assert isinstance(frame, pandas.DataFrame)
    np.testing.assert_array_equal(frame["binder_error"], measured.binder.error)
    np.testing.assert_array_equal(frame["T"], measured.temperatures)


def test_plots_are_the_figures(table, net):
    model, x = net
    assert isinstance(table.plot(), Figure)
    run = next(iter(table))
    (accuracy, _) = run.plot().axes
    solid = next(line for line in accuracy.lines if line.get_linestyle() == "-")
    np.testing.assert_array_equal(solid.get_ydata(), run.history["test_accuracy"])
    fisher = fisher_diag(model, x)
    (axes,) = fisher.plot().axes
    drawn = axes.lines[-1].get_ydata()
    positive = np.sort(fisher.flat().double().numpy())[::-1]
    np.testing.assert_array_equal(drawn, positive[positive > 0])
    curve = measure_pruning(model, lambda m: 0.5)
    drawn = curve.plot()
    np.testing.assert_array_equal(drawn.axes[0].lines[0].get_ydata(), curve.accuracy)
    (picture,) = pictures(drawn._repr_html_())
    assert picture.shape[1] > 500


def test_the_trace_of_a_coefficient():
    trace = np.array([1.0, -1.0, 3.0, 2.0, 1.0, 0.0, 2.0, 3.0]) + np.arange(3.0)[:, None]
    numbers = {"rho": 0.1, "nbeta": 10.0, "r_hat": 1.2, "effective_samples": 7.0, "acceptance": 0.7, "drift": 0.0}
    found = LLC(
        value=trace.mean(),
        standard_error=0.25,
        status=Status.UNMIXED,
        displacement={},
        weights=(),
        below=1 / 24,
        polish_change=0.0,
        polish_gradients=0,
        trace=trace,
        **numbers,
    )
    (axes,) = found.plot().axes
    for line, chain in zip(axes.lines, trace, strict=False):
        np.testing.assert_array_equal(line.get_ydata(), chain)
        np.testing.assert_array_equal(line.get_xdata(), range(1, 9))
    middle, zero = axes.lines[3:]
    assert set(middle.get_ydata()) == {trace.mean()}
    assert set(zero.get_ydata()) == {0}
    (band,) = axes.patches
    low, high = axes.transData.inverted().transform(band.get_extents())[:, 1]  # a polygon before Matplotlib 3.9
    np.testing.assert_allclose([low, high], [trace.mean() - 0.5, trace.mean() + 0.5])
    assert axes.get_title() == r"unmixed, $\rho$ = 0.1, R-hat 1.200, 7 effective samples"


def test_a_plot_that_is_not_possible_says_why(table):
    with pytest.raises(InputError, match="got 'trainin'; did you mean 'training'"):
        table.plot("trainin")
    with pytest.raises(MissingRunsError, match=r"gini_fisher|needs"):
        load(table.store.root).plot("fig15")
