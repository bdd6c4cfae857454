from __future__ import annotations

import numpy as np
import pytest

from grokfast import load
from grokfast.errors import MissingRunsError
from grokfast.report.dynamics import dynamics_report, feature_rows, overshoot_rows


def test_the_page_has_both_claims_and_what_is_missing(dynamics_folder):
    page = dynamics_report(load(dynamics_folder))
    assert "- batch 64: 4 runs, w0 in {0.5, 8}, 2 seeds, 40 epochs" in page
    assert "| D1 |" in page
    assert "| D2 |" in page
    assert page.rstrip().endswith("- batch 200")
    assert " nan" not in page


def test_without_looks_along_the_way_the_command_is_named(runs_folder):
    with pytest.raises(MissingRunsError, match="grokfast sweep main-text-dynamics"):
        dynamics_report(load(runs_folder))


class _Grokker:
    """Plateau 10 .. 100; every IPR is 0.1 + slope log10 e; c is 2 until 50, 6 at 150 and 4 at the end."""

    def __init__(self, slope):
        epochs = np.arange(1, 301)
        looks = np.array([10, 30, 100, 300])
        ipr = (looks, 0.1 + slope * np.log10(looks))
        self.key = str(slope)
        self.summary = {"groks": True, "t_train": 10, "t_test": 101}
        self.columns = {
            "train_accuracy": (epochs, np.where(epochs >= 10, 1.0, 0.5)),
            "test_accuracy": (epochs, np.where(epochs > 100, 1.0, 0.0)),
            "compressibility": (np.array([1, 50, 150, 300]), np.array([2.0, 2.0, 6.0, 4.0])),
            **dict.fromkeys(("ipr_output", "ipr_input", "ipr_input_separate"), ipr),
        }

    def seen(self, name):
        return self.columns[name]


@pytest.mark.parametrize(("slope", "agrees"), [(0.05, "yes"), (-0.05, "no")])
def test_features_in_the_plateau_by_hand(slope, agrees):
    runs = [_Grokker(slope), _Grokker(1.2 * slope)]
    rows = feature_rows({0.1: runs, 10.0: runs})
    assert all(row.verdict == "-" or row.measured for row in rows)
    assert rows[0].measured.startswith(f"{1.1 * slope:.3f} [")
    assert rows[0].verdict == agrees
    assert len(rows) == 5


def test_overshoot_by_hand():
    rows = overshoot_rows({0.1: [_Grokker(0)], 10.0: [_Grokker(0)]}, {"learning": "-", "grokking": "above"}, "here: ")
    assert rows[1].quantity == "here: c right after t_test (to twice it) against the end, grokking"
    assert rows[1].measured.startswith("+50.0%")
    assert "+50.0% (one value) (never below 0), at epoch 150" in rows[1].measured
    assert [row.verdict for row in rows] == ["-", "yes"]
