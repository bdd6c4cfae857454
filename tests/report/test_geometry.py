from __future__ import annotations

import re

import pytest

from grokfast import load
from grokfast.errors import MissingRunsError
from grokfast.report import REPORTS


def test_every_claim_is_measured_in_every_metric(runs_folder):
    page = REPORTS["geometry"](load(runs_folder))
    assert "## Modular addition" in page
    rows = [[cell.strip() for cell in line.split(" | ")] for line in page.splitlines() if line.startswith("| ")]
    head = [row for row in rows if row[0] == "| claim"]
    assert head == [["| claim", "quantity", "paper", "logit Fisher, 8 samples", "softmax Fisher, all samples |"]]
    for claim in ("I1", "I2", "I3", "I4", "I5"):
        mine = [row for row in rows if row[0] == f"| {claim}"]
        assert mine, claim
        assert all(len(row) == 5 and row[3] != "-" and row[4] != "- |" for row in mine)
    assert not re.search(r"nan", page)


def test_shares_of_stiff_parameters_are_the_spectrum_s(runs_folder):
    table = load(runs_folder)
    page = REPORTS["geometry"](table)
    learning = [run for run in table if run.config.w0 == 0.5]
    mean = sum(float((run.arrays["spectrum_logit_8"] >= 0.1).mean()) for run in learning) / len(learning)
    assert f"; {mean:.3f} [" in page


def test_without_geometry_the_command_is_named(runs_folder):
    with pytest.raises(MissingRunsError, match="grokfast sweep geometry"):
        REPORTS["geometry"](load(runs_folder).where("w0 < 1"))
