"""All claims on one store of constructed runs: made of the paper's own curves, they agree with its figures."""

from __future__ import annotations

import numpy as np
import pytest
from made_runs import EPOCHS, ISING, QUANTITIES, Made, RunConfig, ising, modular

from grokfast import load
from grokfast.paper import paper_curve
from grokfast.report import REPORTS
from grokfast.report.claims import CLAIMS, Verdict, evaluate_all, expected_of
from grokfast.report.ledger import ledger_lines
from grokfast.store import Store
from grokfast.tasks import ModularAddition

WIDE = ModularAddition(P=11, hidden=(6,))  # 84 samples to train on: a batch of 64 is no whole split
LOOKS = {"geometry": "logit-16+softmax-all", "geometry_stiff": 0.1, "geometry_schedule": "every:2"}
LONG = 500
HEADLINES = ("ipr_output", "ipr_input", *(f"hidden_weighted_{q}" for q in QUANTITIES))
COLUMNS = [{"name": name, "meaning": name, "measure": "features", "headline": True} for name in HEADLINES]
TIMES = {"t_train_90": 5, "t_grok_90": 7}


def _wiggle(seed):
    return 1 + 1e-3 * (seed - 1)


def _resampled(panel, series, epochs, seed):
    return np.interp(epochs, *paper_curve(panel, series)) * _wiggle(seed)


def _geometry(folder):
    """Modular addition whose cosines, lengths and spectra are those of figures 8, 20, 32 and 34."""
    epochs = np.arange(1, LONG + 1)
    for w0, side in ((0.1, "learning"), (10.0, "grokking")):
        for seed in (0, 1, 2):
            config = RunConfig(task=WIDE, w0=w0, seed=seed, batch_size=64, epochs=LONG, **LOOKS)
            made = modular(RunConfig(task=WIDE, w0=w0, seed=seed, batch_size=64, epochs=EPOCHS, **LOOKS))
            run = Made(config, made.summary | {"t_train": 12, "t_test": 56, "groks": w0 > 1}, {}, made.arrays)
            for metric in ("logit_16", "euclidean"):
                fainter = 0.5 if metric == "euclidean" else 1.0
                run.history[f"geometry_{metric}_cosine"] = fainter * _resampled("fig08b", side, epochs, seed)
                run.history[f"geometry_{metric}_origin"] = fainter * _resampled("fig08d", side, epochs, seed)
                run.history[f"geometry_{metric}_length"] = _resampled("fig32b", side, epochs, seed)
            for part in ("stiff", "sloppy"):
                cosine = _resampled("fig34b", f"{side} {part}", epochs, seed)
                run.history[f"geometry_logit_16_{part}_cosine"] = cosine
                run.history[f"geometry_logit_16_{part}_length"] = _resampled("fig32d", f"{side} {part}", epochs, seed)
            ranks, g = paper_curve("fig20b", side)
            run.arrays["spectrum_ranks"] = np.round(ranks[-1] - ranks)[::-1].astype(np.int64)
            run.arrays["spectrum_logit_16"] = (g * _wiggle(seed))[::-1]
            run.publish(Store(folder), columns=COLUMNS)


def _dynamics(folder):
    """Modular addition whose compressibility and ratios are those of figure 6."""
    looks = np.unique(np.geomspace(1, LONG, 150).astype(int))
    for w0, panel, c, side in ((0.1, "fig06b", "fig06d", "learning"), (10.0, "fig06a", "fig06c", "grokking")):
        for seed in (0, 1, 2):
            config = RunConfig(
                task=WIDE,
                w0=w0,
                seed=seed,
                batch_size=64,
                epochs=LONG,
                feature_schedule="log:150",
                compressibility_schedule="log:80",
            )
            made = modular(RunConfig(task=WIDE, w0=w0, seed=seed, batch_size=64, epochs=EPOCHS))
            run = Made(config, made.summary | {"t_train": 12, "t_test": 56, "groks": w0 > 1}, {}, made.arrays)
            at = np.arange(1, LONG + 1)
            run.history["test_accuracy"] = np.where(at <= 39, 0.1, 1.0)

            def curve(values):
                column = np.full(LONG, np.nan)
                column[looks - 1] = values
                return column

            for name, series in (("ipr_output", "output weights (dashed)"), ("ipr_input", "input weights (solid)")):
                run.history[name] = curve(_resampled(panel, series, looks, seed))
            run.history["compressibility"] = curve(_resampled(c, side, looks, seed))
            run.history["weight_norm"] = curve(10 / looks)
            run.publish(Store(folder), columns=COLUMNS)


def test_made_of_the_paper_s_curves_they_agree_with_its_figures(tmp_path):
    _geometry(tmp_path / "geometry")
    _dynamics(tmp_path / "dynamics")
    found = {}
    for folder, names in (("geometry", ["I1", "I2", "I3", "I4", "I5", "M6", "M7"]), ("dynamics", ["D1", "D2"])):
        results = evaluate_all(load(tmp_path / folder), names)
        assert [result.claim.name for result in results] == names
        for result in results:
            for finding in result.findings:
                found[result.claim.name, finding.quantity] = finding
    compared = {key: finding for key, finding in found.items() if finding.expected.figure is not None}
    assert len(compared) >= 25
    for key, finding in compared.items():
        assert finding.against_figure is Verdict.AGREES, (key, finding.estimate, finding.expected.figure)
    assert found["I1", "S at the end, grokking"].against_prose is Verdict.DIFFERS
    assert found["I2", "at the end, learning"].against_prose is Verdict.AGREES
    assert found["I3", "share in the decade around 0.1 less the smaller beside it, learning"].against_prose == "differs"
    assert found["M7", "log of the Euclidean over the Fisher swing of S, grokking"].estimate.mean == pytest.approx(
        np.log(0.5), rel=1e-6
    )
    # Of the same runs in another metric nothing is said.
    assert (
        found["I1", "peak of S, grokking, softmax-all"].expected.figure is None
        if (
            "I1",
            "peak of S, grokking, softmax-all",
        )
        in found
        else True
    )


def _everything(folder):
    store = Store(folder)
    for w0 in (0.1, 0.4, 1.0, 2.0, 10.0):
        for seed in (0, 1):
            for more in ({"batch_size": 64}, {"batch_size": 200}, {"batch_size": 64, "weight_decay": 3e-4}):
                task = ModularAddition(P=31, hidden=(6,))
                run = modular(RunConfig(task=task, w0=w0, seed=seed, epochs=EPOCHS, **more, **LOOKS))
                run.summary |= TIMES | {"groks": w0 > 1}
                run.history["weight_norm"] = np.linspace(2, 1, EPOCHS)
                run.publish(store, columns=COLUMNS)
    for w0 in (1.0, 2.0, 3.0, 4.0, 10.0):
        for seed in (0, 1):
            run = ising(RunConfig(task=ISING, w0=w0, seed=seed, epochs=EPOCHS, **LOOKS))
            run.summary |= TIMES | {"groks": w0 > 3}
            run.history["weight_norm"] = np.linspace(2, 1, EPOCHS)
            run.publish(store, columns=COLUMNS)
    return load(folder)


def test_every_claim_is_measured_where_there_are_runs(tmp_path):
    results = {result.claim.name: result for result in evaluate_all(_everything(tmp_path / "runs"))}
    assert list(results) == list(CLAIMS)
    assert len(results) == 26
    for name, result in results.items():
        assert result.parts, (name, result.missing)
        assert all(finding.quantity != "not measured" for finding in result.findings), name
        assert any(finding.estimate is not None for finding in result.findings), name
    tasks = {name: {part.case.task for part in result.parts} for name, result in results.items()}
    assert tasks["I1"] == tasks["G1"] == tasks["C7"] == {"modular-addition", "ising"}
    assert tasks["F1"] == {"ising"}
    # What the paper has of a task is compared with something: no entry is misspelt.
    seen = {(finding.task, finding.claim, finding.quantity) for r in results.values() for finding in r.findings}
    for task in ("modular-addition", "ising"):
        for claim, quantities in expected_of(task).items():
            names = [quantity for _, _, quantity in (row for row in seen if row[:2] == (task, claim))]
            for quantity in quantities:
                if any(word in quantity for word in ("w0 = 0.2", "w0 = 0.3", "w0 = 5", "local learning")):
                    continue  # not among these runs
                assert any(name == quantity or name.startswith(f"{quantity}, ") for name in names), (claim, quantity)


def test_runs_of_other_questions_change_no_row_of_the_papers_claims(tmp_path):
    """Runs past the paper (P = 59) and of a setting of one's own, in the folder that has the paper's."""

    def publish(task, **fields):
        for w0 in (0.1, 1.0, 10.0):
            for seed in (0, 1):
                run = modular(RunConfig(task=task, w0=w0, seed=seed, epochs=EPOCHS, **fields, **LOOKS))
                run.summary |= TIMES | {"groks": w0 > 1}
                run.checkpoint = {}
                run.publish(Store(tmp_path), columns=COLUMNS)

    def rows():
        results = evaluate_all(load(tmp_path), ["G1", "G2", "F2", "C1", "C3", "M3"])
        lines = [line for line in ledger_lines(results, {}) if line.startswith("|")]
        return results, lines, REPORTS["modular-addition"].write(load(tmp_path))

    publish(ModularAddition(), batch_size=64, weight_decay=3e-5)
    _, before, _ = rows()
    publish(ModularAddition(P=59, hidden=(256,)), batch_size=64, weight_decay=3e-5)  # of beyond-phases
    publish(ModularAddition(P=59, hidden=(256,)), batch_size=64, weight_decay=3e-4)
    results, after, page = rows()
    assert after == before
    assert all(part.case.study == "main-text" for result in results for part in result.parts)
    assert not any("needs" in reason for result in results for reason in result.missing)
    publish(ModularAddition(P=41, hidden=(6,)), batch_size=64, weight_decay=1e-2)
    results, after, page = rows()
    assert after == before
    assert {part.case.study for part in results[0].parts} == {"main-text", None}
    assert "a setting of its own, without the paper's values; P = 41" in page
