"""Claims on constructed stores whose answers were put in by hand."""

from __future__ import annotations

import numpy as np
import pytest
from made_runs import EPOCHS, ISING, RunConfig, ising, modular
from scipy import stats

from grokfast import load
from grokfast.errors import InputError
from grokfast.report import REPORTS
from grokfast.report.claims import CLAIMS, Verdict, evaluate, evaluate_all
from grokfast.store import Store
from grokfast.tasks import Ising, ModularAddition

WIDE = ModularAddition(P=11, hidden=(6,))  # 84 samples to train on: a batch of 64 is no whole split
SCALES = (0.1, 0.4, 1.0, 2.0, 4.0)
SEEDS = (0, 1, 2)


def _main_text(folder, slope=2484.0, onset=2.0, **more):
    """Groks from ``onset`` on; below it c = 4 + slope (loss - 0.0169), above it c = 4 at any w0."""
    runs = {}
    for w0 in SCALES:
        for seed in SEEDS:
            run = modular(RunConfig(task=WIDE, w0=w0, seed=seed, batch_size=64, epochs=EPOCHS))
            loss = 0.0172 - 0.0002 * np.log10(w0) + 1e-5 * seed
            noise = 0.01 * (seed - 1)
            run.summary |= {
                "groks": w0 >= onset,
                "t_train": 6,
                "t_grok": int(10 * w0),
                "end_train_loss": loss,
                "compressibility": (4 + slope * (loss - 0.0169) if w0 < onset else 4) + noise,
            } | more
            run.publish(Store(folder))
            runs[w0, seed] = run
    return runs


def _findings(result):
    return {finding.quantity: finding for finding in result.findings}


def test_g1_and_c1_by_hand(tmp_path):
    runs = _main_text(tmp_path / "runs")
    table = load(tmp_path / "runs")
    onset = _findings(evaluate(CLAIMS["G1"], table))["onset of grokking, w0"]
    assert (onset.estimate.mean, onset.estimate.low, onset.estimate.high, onset.estimate.count) == (2, 2, 2, 3)
    assert onset.against_figure is Verdict.AGREES
    assert onset.against_prose is Verdict.DIFFERS
    assert onset.note == "by seed 2, 2, 2"

    c1 = evaluate(CLAIMS["C1"], table)
    found = _findings(c1)
    below = [run.summary for (w0, _), run in runs.items() if w0 < 2]
    x, y = ([values[name] for values in below] for name in ("end_train_loss", "compressibility"))
    fit = stats.linregress(x, y)
    slope = found["slope of c, below the onset"]
    assert slope.estimate.mean == pytest.approx(fit.slope)
    assert slope.estimate.high - slope.estimate.mean == pytest.approx(stats.t.ppf(0.975, len(x) - 2) * fit.stderr)
    assert slope.estimate.count == 9
    assert (slope.against_prose, slope.against_figure) == ("agrees", "agrees")
    assert found["R² of the line, below the onset"].estimate.mean == pytest.approx(fit.rvalue**2)
    assert found["c per decade of w0, above the onset"].estimate.mean == pytest.approx(0, abs=1e-12)
    assert len(c1.keys) == 15


def test_another_slope_differs(tmp_path):
    _main_text(tmp_path / "runs", slope=1000.0)
    found = _findings(evaluate(CLAIMS["C1"], load(tmp_path / "runs")))
    assert found["slope of c, below the onset"].against_figure is Verdict.DIFFERS
    assert found["slope of c, below the onset"].against_prose is Verdict.AGREES


def test_what_is_missing_is_said_with_its_command(tmp_path):
    for w0 in (1, 4, 10):
        ising(RunConfig(task=ISING, w0=w0, seed=0, epochs=EPOCHS)).publish(Store(tmp_path / "runs"))
    table = load(tmp_path / "runs")
    c1 = evaluate(CLAIMS["C1"], table)
    assert c1.parts == ()
    assert c1.missing == ("main-text, modular-addition: no finished runs; grokfast sweep main-text --size laptop",)
    assert c1.against_figures is Verdict.NONE
    g1 = evaluate(CLAIMS["G1"], table)
    assert [part.case.task for part in g1.parts] == ["ising"]
    assert g1.against_figures is Verdict.OPEN  # one seed has no interval
    with pytest.raises(InputError, match="C99"):
        evaluate_all(table, ["C99"])


def test_a_task_of_one_s_own_is_measured_without_the_paper_s_values(tmp_path):
    for w0 in SCALES:
        for seed in SEEDS:
            run = modular(RunConfig(task=WIDE, w0=w0, seed=seed, batch_size=32, epochs=EPOCHS))
            run.summary |= {"groks": w0 >= 1, "t_train": 5, "t_grok": int(10 * w0)}
            run.publish(Store(tmp_path / "runs"))
    (result,) = evaluate_all(load(tmp_path / "runs"), ["G1"])
    (part,) = result.parts
    assert part.case.study is None
    assert _findings(result)["onset of grokking, w0"].estimate.mean == 1
    assert {finding.against_figure for finding in result.findings} == {Verdict.NONE}


def test_a_variant_of_the_paper_s_task_stands_beside_it(tmp_path):
    """A plain split is no stand-in for the paper's own setting where that is there: it has a part of its own."""
    own = Ising(snapshots=200)
    for task in (own, Ising(snapshots=200, stratified=False), Ising()):
        for w0 in (1.0, 3.0, 10.0):
            run = ising(RunConfig(task=task, w0=w0, seed=0, epochs=EPOCHS))
            run.summary |= {"groks": w0 > 1, "t_train": 5, "t_grok": int(w0)}
            run.publish(Store(tmp_path / "runs"))
    table = load(tmp_path / "runs")
    parts = evaluate(CLAIMS["G1"], table).parts
    assert [part.case.study for part in parts] == ["ising", None, None]
    assert parts[0].case.runs[0].config.task == Ising()
    assert {part.case.runs[0].config.task for part in parts[1:]} == {own, Ising(snapshots=200, stratified=False)}
    smaller = evaluate(CLAIMS["G1"], table.where("snapshots = 200 AND stratified")).parts
    assert [(part.case.study, part.case.runs[0].config.task) for part in smaller] == [("ising", own)]
    page = REPORTS["ising"].write(table)
    assert "a setting of its own, without the paper's values; snapshots = 200, stratified = False" in page


def test_claims_name_studies_and_figures_that_exist():
    from grokfast.figures import FIGURES
    from grokfast.studies import STUDIES

    for found in CLAIMS.values():
        assert set(found.studies) <= set(STUDIES), found.name
        assert all(any(name.startswith(figure) for name in FIGURES) for figure in found.figures), found.name
        assert found.measure.__doc__
