"""Times of runs that still rise at their end: marked where they are shown, and no part of any mean."""

from __future__ import annotations

import io

import numpy as np
import pytest
from made_runs import EPOCHS, MODULAR, RunConfig, modular
from matplotlib.collections import PathCollection
from rich.console import Console

from grokfast import load
from grokfast.cli.tables import summary_table
from grokfast.errors import InputError
from grokfast.figures import find_figure
from grokfast.figures.kept import still_rising
from grokfast.figures.regimes import cells_of
from grokfast.figures.variants import plateau_of
from grokfast.report.claims import CLAIMS, Case
from grokfast.report.claims.claim import paired
from grokfast.report.page.charts import chart_of
from grokfast.report.page.content import _run_rows
from grokfast.report.scales import scale_lines
from grokfast.store import Store

RISING = {1, 2}  # of the four seeds
T_GROK = {0: 100, 1: 7, 2: 8, 3: 140}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("unsettled")
    for seed in range(4):
        made = modular(RunConfig(task=MODULAR, w0=2.0, seed=seed, epochs=EPOCHS))
        made.summary |= {"t_train": 10, "t_test": 10 + T_GROK[seed], "t_grok": T_GROK[seed], "groks": T_GROK[seed] > 10}
        made.summary |= {"settled": seed not in RISING, "plateau_end": 9 + T_GROK[seed]}
        made.history["weight_norm"] = np.linspace(20, 10, EPOCHS)
        made.publish(Store(root))
    return root


def test_rows_say_so(folder):
    table = load(folder)
    assert [row["settled"] for row in table.rows] == [True, False, False, True]
    assert [still_rising(run) for run in table] == [False, True, True, False]
    found = table.sql("SELECT avg(t_grok), count(*) FROM settled_runs").fetchall()
    assert found == [(120.0, 2)]
    assert table.sql("SELECT count(t_grok), count(plateau_end) FROM runs").fetchall() == [(2, 2)]
    assert table.sql("SELECT count(t_grok), count(plateau_end) FROM bounds").fetchall() == [(4, 4)]


def test_the_table_marks_them(folder):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(summary_table(load(folder)))
    text = " ".join(console.export_text().split())
    assert "+: at least, since accuracy still rose in the last tenth; its regime is so far" in text
    assert "17+" in text
    assert "7+" in text
    assert "140+" not in text


def test_the_figure_draws_them_hollow_and_their_mean_without(folder):
    figure = find_figure("fig10").draw(list(load(folder)))
    times = figure.axes[0]
    assert "hollow" in times.get_title()
    (mean,) = [line.get_ydata() for line in times.get_lines() if line.get_label() == "$t_{grok}$"]
    assert list(mean) == [120]
    hollow = [c for c in times.collections if isinstance(c, PathCollection) and not len(c.get_facecolor())]
    assert sorted(y for c in hollow for _, y in c.get_offsets()) == sorted([10, 10, 17, 18, 7, 8])


def test_the_tables_of_a_report_leave_them_out_and_say_so(folder):
    lines = "\n".join(scale_lines(list(load(folder))))
    assert "Left out of the times, since their accuracy still rose in the last tenth: 2 of 4 at w0 = 2; " in lines
    assert "the last two columns count them by how they ended" in lines
    assert "120 [100, 140]" in lines


def test_claims_have_no_times_of_them(folder):
    runs = list(load(folder))
    case = Case("G1", "modular-addition", "modular addition", None, runs)
    values = case.values("t_grok")
    np.testing.assert_array_equal(values, [100, np.nan, np.nan, 140])
    np.testing.assert_array_equal(case.values("ipr_output") > 0, [True] * 4)
    np.testing.assert_array_equal(paired(runs, runs, "t_grok"), [0, np.nan, np.nan, 0])


def test_a_cell_of_the_map_of_regimes_has_the_median_of_the_others(folder):
    for run in (runs := list(load(folder))):
        run.record["summary"]["end_test_accuracy"] = 1.0  # all generalise
    (cell,) = cells_of(runs).values()
    assert cell.t_grok == 120


def test_the_page_marks_them(folder):
    times = {row[3]: row[4] for row in _run_rows(load(folder))}
    assert times["1"].startswith("10+ / 17+, ")
    assert times["3"].startswith("10 / 150, ")


def test_the_pages_chart_says_whose_times_it_shows(folder):
    runs = list(load(folder))
    assert _choices(runs) >= {"t train, settled runs only", "t grok, settled runs only", "end test accuracy"}
    assert _choices([run for run in runs if not still_rising(run)]) >= {"t train", "t grok", "end test accuracy"}


def _choices(runs):
    (select,) = [p for p in chart_of(find_figure("fig10"), runs)["params"] if p["name"] == "shown"]
    return set(select["bind"]["labels"])


def test_windows_are_not_taken_from_them(folder):
    assert [plateau_of(run) for run in load(folder)] == [(10, 110), None, None, (10, 150)]


def test_what_is_measured_between_learning_times_leaves_them_out(folder):
    runs = list(load(folder))
    case = Case("D1", "modular-addition", "modular addition", None, runs)
    (shrinking,) = CLAIMS["D1"].measure(case)
    assert shrinking.estimate.count == 2
    case = Case("D1", "modular-addition", "modular addition", None, [run for run in runs if still_rising(run)])
    with pytest.raises(InputError, match="no run groks and has settled"):
        list(CLAIMS["D1"].measure(case))
