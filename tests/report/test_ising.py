from __future__ import annotations

import numpy as np
import pytest

from grokfast import load
from grokfast.errors import InputError, MissingRunsError
from grokfast.report.ising import _inside, _paired, ising_report
from grokfast.report.ising_dynamics import dynamics_rows
from grokfast.report.ledger import markdown_table


def test_the_page_has_every_claim_with_its_interval(dynamics_folder):
    page = ising_report(load(dynamics_folder))
    for claim in ("G1", "G2", "F1", "C5", "D1"):
        assert f"| {claim} |" in page
    assert "9 runs: w0 in {1, 2, 4}, 3 seeds, 60 epochs" in page
    assert " nan" not in page
    lines = [line for line in page.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in lines[:12]}) == 1


def test_one_seed_gives_a_page_without_intervals(dynamics_folder):
    page = ising_report(load(dynamics_folder).where("seed = 0"))
    assert "(one value)" in page
    assert " nan" not in page


def test_one_scale_names_the_command(dynamics_folder):
    with pytest.raises(MissingRunsError, match="grokfast sweep ising --size laptop"):
        ising_report(load(dynamics_folder).where("w0 = 1"))


class _Fake:
    def __init__(self, w0, seed, columns, **summary):
        self.record = {"config": {"w0": w0, "seed": seed, "task": {"hidden": [9]}}}
        self.key, self.columns, self.summary = f"{w0}-{seed}", columns, summary

    def seen(self, name):
        if name not in self.columns:
            raise InputError(f"no column {name}")
        return self.columns[name]


def _grokker(seed, slope, norm_ratio):
    """r = 0.2 + slope log10 e in the plateau 10 .. 1000, and the norm falls from 8 to 8 / norm_ratio in it."""
    epochs = np.arange(1, 2001)
    train = np.where(epochs >= 10, 1.0, 0.5)
    test = np.where(epochs > 1000, 1.0, 0.8)
    inside = np.array([10, 100, 1000, 2000])
    c = np.array([2.0, 2.0, 6.0, 4.0])
    columns = {
        "train_accuracy": (epochs, train),
        "test_accuracy": (epochs, test),
        "hidden_weighted_energy": (inside, 0.2 + slope * np.log10(inside)),
        "hidden_weighted_abs_magnetization": (inside, np.full(4, 0.3)),
        "weight_norm": (inside, np.array([8.0, 5.0, 8.0 / norm_ratio, 1.0])),
        "compressibility": (np.array([10, 100, 1200, 2000]), c),
    }
    return _Fake(10.0, seed, columns, groks=True, t_train=10, t_test=1001)


def test_dynamics_by_hand():
    groups = {1.0: [_grokker(0, 0.0, 2.0)], 10.0: [_grokker(1, 0.1, 4.0)]}
    rows = {row.quantity: row for row in dynamics_rows(groups)}
    flat = rows["weighted mean |r(E)| of the last hidden layer in the plateau"]
    assert flat.measured.startswith("slope 0.050 [")
    assert flat.verdict == "no"
    assert rows["weighted mean |r(|M|)| of the last hidden layer in the plateau"].verdict == "yes"
    assert "shrinks 3.00" in rows["norm of all parameters in the plateau"].measured
    over = rows["c right after t_test (to twice it) against the end, grokking"]
    assert over.measured.startswith("+50.0%")
    assert over.verdict == "yes"


def test_runs_without_norms_along_the_way_are_left_out():
    run = _grokker(0, 0.1, 2.0)
    del run.columns["weight_norm"]
    assert not any("norm" in row.quantity for row in dynamics_rows({1.0: [run], 10.0: [run]}))


def test_difference_by_seed():
    one = [_Fake(1, seed, {}, x=value) for seed, value in ((0, 0.1), (1, 0.3), (5, 9.0))]
    other = [_Fake(2, seed, {}, x=value) for seed, value in ((0, 0.2), (1, 0.4))]
    found = _paired(one, other, "x")
    assert (round(found.mean, 12), found.count) == (0.1, 2)
    assert _inside(found, 0.05, 0.15)
    assert not _inside(found, 0.101, 0.15)


def test_bars_in_cells_are_escaped():
    assert markdown_table(("a",), [("|r|",)]) == ["| a |", "| --- |", "| \\|r\\| |"]
