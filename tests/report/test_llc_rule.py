"""The rule of question 3 on estimates put in by hand, and on a store with statuses."""

from __future__ import annotations

import numpy as np
import pytest
from made_runs import EPOCHS, Made

from grokfast import load
from grokfast.errors import MissingRunsError
from grokfast.measures import Estimate
from grokfast.report.beyond.llc import answer, coefficient
from grokfast.store import Store
from grokfast.training import RunConfig


def _one(c, bits=(0.1, -0.3, 0.4), rank=(0.1, -0.3, 0.4)):
    named = {"compressibility": c, "quantisation_bits": bits, "svd_rank": rank}
    return {name: Estimate(*values, 40) for name, values in named.items() if values}


NULL = (0.1, -0.3, 0.4)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({}, "undecided: fewer than eight"),
        ({0.03: _one(NULL), 0.1: _one(NULL)}, "a confirmed null"),
        ({0.03: _one(NULL, (0.7, 0.5, 0.9)), 0.1: _one(NULL, NULL, (-0.6, -0.8, -0.4))}, "differ"),
        ({0.03: _one(NULL, (0.7, 0.5, 0.9)), 0.1: _one(NULL)}, "undecided"),
        (
            {0.03: _one((0.5, 0.2, 0.8)), 0.1: _one((0.3, 0.1, 0.5)), 0.3: _one(NULL)},
            "rises with it at rho = 0.03, 0.1",
        ),
        ({0.03: _one((-0.5, -0.8, -0.2)), 0.1: _one((-0.5, -0.8, -0.2))}, "falls with it"),
        ({0.03: _one((-0.5, -0.8, -0.2)), 0.1: _one((0.5, 0.2, 0.8))}, "undecided"),
        ({0.03: _one((-0.5, -0.8, -0.2), None), 0.1: _one((-0.5, -0.8, -0.2), None)}, "falls with it"),
        ({0.03: _one(NULL, None), 0.1: _one(NULL, None)}, "undecided"),
        ({0.03: _one(NULL, None, (0.7, 0.5, 0.9)), 0.1: _one(NULL, None, (0.7, 0.5, 0.9))}, "differ"),
    ],
)
def test_the_rule(found, words):
    assert words in answer(found)


def test_on_a_store(tmp_path):
    rng = np.random.default_rng(0)
    c, x = rng.normal(size=(2, 24))
    for k in range(24):
        run = Made(RunConfig(w0=(0.1, 1.0, 10.0)[k % 3], seed=k // 3, epochs=EPOCHS), {}, {}, {})
        run.summary |= {"compressibility": c[k], "end_train_loss": float(x[k])}
        run.scalars |= {"llc": c[k], "llc_rho_0_03": c[k], "llc_rho_0_3": c[k], "llc_status_rho_0_3": 2.0}
        run.scalars |= {"llc_status": float(k >= 20), "llc_status_rho_0_03": 0.0}
        run.scalars |= {"quantisation_bits": x[k], "svd_rank": x[k] + c[k]}
        run.publish(Store(tmp_path / "runs"))
    outcome = coefficient({"main-text": list(load(tmp_path / "runs"))})
    assert "rises with it at rho = 0.03, 0.1" in outcome.answer
    of = {quantity.name: quantity for quantity in outcome.quantities}
    assert of["r_s of LLC and c, rho = 0.1"].note == "20 ok, 4 rejected"
    assert of["r_s of LLC and c, rho = 0.1"].estimate.count == 20
    assert of["r_s of LLC and c, rho = 0.3"].estimate is None


def test_nothing_is_measured_by_a_report(tmp_path):
    run = Made(RunConfig(w0=0.1, epochs=EPOCHS), {}, {}, {})
    run.publish(Store(tmp_path / "runs"))
    with pytest.raises(MissingRunsError, match="measure --llc"):
        coefficient({"main-text": list(load(tmp_path / "runs"))})
