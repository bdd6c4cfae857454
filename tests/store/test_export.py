from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from grokfast import ModularAddition, RunConfig, Store, load, train_runs
from grokfast.cli import main
from grokfast.errors import InputError, StoreError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    task = ModularAddition(P=7, hidden=(16,))
    train_runs([RunConfig(task=task, epochs=3, w0=w0) for w0 in (0.5, 1.0, 4.0)], Store(folder))
    return folder


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_export_holds_every_column_of_the_chosen_runs(folder: Path, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"runs.{suffix}"
    main(["runs", "--runs", str(folder), "--where", "w0 < 2", "--sort", "w0 DESC", "--export", str(file)])
    found = duckdb.sql(f"SELECT * FROM '{file}'")
    table = load(folder)
    assert found.columns == table.columns
    rows = {row["key"]: row for row in table.rows}
    loss = duckdb.sql(f"SELECT key, w0, end_test_loss FROM '{file}'").fetchall()
    assert [w0 for _, w0, _ in loss] == [1.0, 0.5]
    for key, _, value in loss:
        assert value == pytest.approx(rows[key]["end_test_loss"], rel=1e-15)


def test_sorting(folder: Path) -> None:
    assert [row["w0"] for row in load(folder).sort("w0 DESC").rows] == [4.0, 1.0, 0.5]
    with pytest.raises(InputError, match="invalid query"):
        load(folder).sort("no_such_column")


def test_conditions_on_columns_of_any_case(folder: Path) -> None:
    assert len(load(folder).where("W0 < 2 AND STATUS = 'finished' AND \"P\" = 7")) == 2
    with pytest.raises(InputError, match="no_such_column"):
        load(folder).where("no_such_column > 1")


def test_bad_exports(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.csv or a \.parquet"):
        load(folder).export(tmp_path / "runs.txt")
    with pytest.raises(StoreError, match="cannot be written"):
        load(folder).export(tmp_path / "none" / "runs.csv")
