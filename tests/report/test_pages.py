"""The reports as pages: their tables, what they leave out, and that packed runs give the same."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from made_runs import EPOCHS, ISING, QUANTITIES, RunConfig, ising, modular

from grokfast import load
from grokfast.cli import main
from grokfast.endmodel import kept_pruning
from grokfast.errors import GrokfastError, MissingRunsError, StoreError
from grokfast.figures import draw
from grokfast.measures import Estimate
from grokfast.report import REPORTS, listing
from grokfast.report.claims import CLAIMS
from grokfast.report.markdown import markdown_table
from grokfast.report.wording import digits, interval
from grokfast.store import Store
from grokfast.studies import stored_runs
from grokfast.tasks import ModularAddition, register_task

LOOKS = {"geometry": "logit-16+softmax-all", "geometry_stiff": 0.1, "geometry_schedule": "every:2"}
TASK = ModularAddition(P=31, hidden=(6,))
HEADLINES = ("ipr_output", "ipr_input", *(f"hidden_weighted_{q}" for q in QUANTITIES))
COLUMNS = [{"name": name, "meaning": name, "measure": "features", "headline": True} for name in HEADLINES]


@register_task
@dataclass(frozen=True)
class Mine(ModularAddition):
    """A task that is like modular addition and is not it."""

    name: ClassVar[str] = "my-addition"
    title: ClassVar[str] = "my addition"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("pages") / "runs"
    for w0 in (0.1, 0.4, 1.0, 2.0, 10.0):
        for seed in (0, 1):
            run = modular(RunConfig(task=TASK, w0=w0, seed=seed, batch_size=64, epochs=EPOCHS, **LOOKS))
            run.summary |= {"groks": w0 > 1, "t_train": 5 + seed, "t_test": 5 + seed + int(10 * w0)}
            run.summary |= {"t_grok": int(10 * w0), "end_train_accuracy": 1.0, "end_test_accuracy": 1.0}
            run.publish(Store(root), columns=COLUMNS)
    for w0 in (1.0, 4.0, 10.0):
        for seed in (0, 1):
            ising(RunConfig(task=ISING, w0=w0, seed=seed, epochs=EPOCHS)).publish(Store(root), columns=COLUMNS)
    return root


def _tables(page):
    """Rows of every table, cells without bars."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@pytest.mark.parametrize("name", [name for name in REPORTS if name not in ("dynamics", "beyond")])
def test_a_page_has_its_claims_in_tables_of_at_most_six_columns(folder, name):
    page = REPORTS[name].write(load(folder))
    assert page.startswith(f"# {REPORTS[name].title}\n\nWritten by `grokfast report {name}`.")
    assert page.endswith("\n")
    assert not page.endswith("\n\n")
    assert "nan" not in page.replace("finance", "")
    assert {len(row) for row in _tables(page)} <= {3, 4, 5, 6}
    assert max(map(len, page.splitlines())) < 1_400
    for claim in REPORTS[name].claims:
        if claim not in ("C3", "C4", "M8", "D1", "D2"):  # runs of those are not here
            assert f"## {claim}: {CLAIMS[claim].title}" in page


def test_tables_by_scale(folder):
    page = REPORTS["modular-addition"].write(load(folder))
    rows = _tables(page)
    assert ["w0", "t_train", "t_test", "t_grok", "grok", "did not generalise"] in rows
    assert ["10", "6 [5, 6]", "106 [105, 106]", "100", "2 of 2", "0 of 2"] in rows
    assert ["0.1", "6 [5, 6]", "6 [6, 7]", "1", "0 of 2", "0 of 2"] in rows
    assert any(row[0] == "w0" and row[1] == "ipr_output" for row in rows)
    assert any(row[0] == "w0" and row[1] == "c by epoch 6" for row in rows)


def test_geometry_shows_the_paper_s_metric_and_every_other_in_an_appendix(folder):
    page = REPORTS["geometry"].write(load(folder))
    body, appendix = page.split("## Appendix")
    assert "| peak of S, learning |" in body
    assert "softmax-all" not in body
    assert "### Modular addition: softmax-all" in appendix
    assert "| I1 | peak of S, learning |" in appendix


def test_the_ledger_says_what_is_missing_with_its_command(folder):
    page = REPORTS["claims"].write(load(folder))
    assert "Of 26 claims" in page
    assert "- C3, M2: batch-200, modular-addition: no finished runs; grokfast sweep batch-200 --size laptop" in page
    row = next(row for row in _tables(page) if row[0] == "G1")
    assert row[1] == CLAIMS["G1"].title
    assert row[5] == "[modular-addition](modular-addition-table.md), [ising](ising-learning-table.md)"


def test_packed_runs_give_the_same_pages(folder, tmp_path, capsys):
    table = load(folder)
    main(["runs", "--runs", str(folder), "--pack", str(tmp_path / "packed" / "all.parquet")])
    assert "16 runs" in capsys.readouterr().out
    for source in (tmp_path / "packed", tmp_path / "packed" / "all.parquet"):
        packed = load(source)
        assert [row["key"] for row in packed.rows] == [row["key"] for row in table.rows]
        for name in ("claims", "ising"):
            assert REPORTS[name].write(packed) == REPORTS[name].write(table), name
    root = packed.store.root
    assert root.is_dir()
    del packed
    assert not root.exists()
    with pytest.raises(StoreError, match="cannot be read as a packed file"):
        load(__file__)


def test_messages_name_the_packed_folder_and_not_where_it_lies_unpacked(folder, tmp_path):
    main(["runs", "--runs", str(folder), "--pack", str(tmp_path / "packed" / "all.parquet")])
    packed = load(tmp_path / "packed")
    few = packed.where("w0 = 1")
    said = [repr(packed)]
    for fails in (
        lambda: REPORTS["geometry"].write(few),
        lambda: draw("fig05c", packed.where("w0 < 0")),
        lambda: stored_runs(packed, "main-text"),
        lambda: packed.where("w0 < 0").sql("SELECT * FROM runs"),
        lambda: end_pruning_kept(packed),
    ):
        with pytest.raises(GrokfastError) as error:
            fails()
        said.append(str(error.value))
    assert all(str(tmp_path / "packed") in message for message in said), said
    assert not any(str(packed.store.root) in message for message in said)


def end_pruning_kept(table):
    return kept_pruning(next(iter(table)), "global", "nothing")


def test_all_pages_by_one_command(folder, tmp_path, capsys):
    where = "task = 'ising'"
    main(["report", "all", "--runs", str(folder), "--out", str(tmp_path / "docs"), "--where", where])
    out = capsys.readouterr().out
    written = {file.name for file in (tmp_path / "docs").iterdir()}
    assert written == {"claims.md", "ising-learning-table.md", "pruning-table.md", "geometry-table.md"}
    assert "left out: report dynamics can measure none of its claims" in out
    assert (tmp_path / "docs" / "claims.md").read_text() == REPORTS["claims"].write(load(folder).where(where))


def test_a_task_of_one_s_own_has_its_page(tmp_path):
    for w0 in (0.1, 1.0, 4.0):
        for seed in (0, 1):
            run = modular(RunConfig(task=Mine(P=11, hidden=(6,)), w0=w0, seed=seed, batch_size=32, epochs=EPOCHS))
            run.publish(Store(tmp_path / "runs"))
    table = load(tmp_path / "runs")
    page = REPORTS["claims"].write(table)
    assert "| no value | no value |" in page
    assert "Mine: not applicable, it is about another batch size than the main text's" in page
    assert "Mine: not applicable, its runs lack" in page
    page = REPORTS["modular-addition"].write(table)
    assert "**My addition** (a setting of its own, without the paper's values; P = 11, hidden = [6]" in page
    with pytest.raises(MissingRunsError, match="grokfast sweep geometry-diagonal --size laptop --runs"):
        REPORTS["geometry"].write(table.where("w0 = 1"))


def test_digits_follow_the_interval():
    assert interval(Estimate(2423.4, 2167.2, 2678.1, 25)) == "2,420 [2,170, 2,680]"
    assert interval(Estimate(0.97251, 0.97121, 0.97391, 5)) == "0.9725 [0.9712, 0.9739]"
    assert interval(Estimate(2.0, 2.0, np.inf, 5)) == "2 [2, never]"
    assert interval(Estimate(4.2, np.nan, np.nan, 1)) == "4.2 (one value)"
    assert digits(12.3456, 0) == "12.35"


def test_bars_in_cells_are_escaped():
    assert markdown_table(("a",), [("|r|",)]) == ["| a |", "| --- |", "| \\|r\\| |"]


def test_the_list_says_what_each_shows():
    lines = listing().splitlines()
    assert [line.split()[0] for line in lines] == list(REPORTS)
    assert any("(I1,I2,I3,I4,I5,M6,M7)" in line for line in lines)
