"""docs/own-claim.md, typed as written, by someone who has the installed package and a folder of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from grokfast.report.claims.expected import expected_of, reference

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "own-claim.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.S)


def test_a_claim_of_one_s_own_is_measured_on_any_runs(tmp_path):
    definition, use = _blocks("python")
    (tmp_path / "my_claims.py").write_text(definition)
    train = "import grokfast.cli; grokfast.cli.main('train modular-addition --P 7 --hidden 8 --epochs 3'.split()"
    train += " + '--w0 0.5 8 --seeds 2 --runs runs'.split())"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)}
    for code in (train, use):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(" Estimate")[0] for line in lines] == [
        "norm at the end, learning",
        "norm at the end, grokking",
    ]
    assert all("count=2" in line for line in lines)


def test_the_values_shown_are_those_of_the_package():
    import tomllib

    (block,) = _blocks("toml")
    shown = tomllib.loads(block)["I1"]
    peak = expected_of("ising")["I1"]["peak of S, grokking"]
    assert reference("", shown["peak of S, grokking"]["figure"]) == peak.figure
    assert shown["S at the end, grokking"]["at"] == expected_of("ising")["I1"]["S at the end, grokking"].curve
