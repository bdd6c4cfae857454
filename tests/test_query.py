"""Queries see the rows and nothing else, and what fails says why."""

from __future__ import annotations

import pytest

from grokfast.errors import InputError, StoreError
from grokfast.query import export, mixed_columns, select
from grokfast.rows import join_names, row_of

ROWS = [
    {"key": "a", "w0": 0.5, "dead": 3, "groks": True, "size": "small"},
    {"key": "b", "w0": None, "dead": None, "groks": None, "size": 7},
    {"key": "c", "w0": 2.0, "dead": 5, "groks": False, "size": "large"},
]
COLUMNS = list(ROWS[0])


def test_types_and_missing_values():
    found = select(ROWS, COLUMNS, "SELECT * FROM runs ORDER BY key").fetchall()
    assert found == [("a", 0.5, 3, True, "small"), ("b", None, None, None, "7"), ("c", 2.0, 5, False, "large")]
    assert select(ROWS, COLUMNS, "SELECT sum(dead), count(dead), avg(w0) FROM runs").fetchall() == [(8, 2, 1.25)]
    assert select(ROWS, COLUMNS, "SELECT key FROM runs WHERE groks -- a comment").fetchall() == [("a",)]
    assert select(ROWS, COLUMNS, "SELECT key FROM runs ORDER BY w0 DESC NULLS LAST;").fetchall() == [
        ("c",),
        ("a",),
        ("b",),
    ]


def test_truth_values_among_numbers_are_numbers():
    rows = [{"key": "a", "x": True}, {"key": "b", "x": 3}]
    assert select(rows, ["x"], "SELECT sum(x) FROM runs").fetchall() == [(4,)]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT 1; SELECT 2", "one SELECT statement, got SELECT, SELECT"),
        ("DROP TABLE runs", "one SELECT statement, got DROP"),
        ("COPY runs TO '{folder}/x.csv'", "one SELECT statement, got COPY"),
        ("ATTACH '{folder}/x.db'", "one SELECT statement, got ATTACH"),
        ("SET enable_external_access = true", "one SELECT statement, got SET"),
        ("SELECT * FROM read_csv('{folder}/secret.csv')", "invalid query"),
        ("SELECT * FROM '{folder}/secret.csv'", "invalid query"),
        ("SELECT * FROM read_text('{folder}/secret.csv')", "invalid query"),
        ("SELECT * FROM glob('{folder}/*')", "invalid query"),
        ("SELECT * FROM local_variable", "local_variable does not exist"),
        ("SELECT nothing FROM runs", "nothing"),
        ("SELECT * FROM runs WHERE w0 = 'abc'", "Could not convert string 'abc'"),
        ("SELECT CAST(key AS INTEGER) FROM runs", "Could not convert string 'a'"),
        ("SELECT * FROM runs WHERE size > 3", "column size is text here"),
        ("", "got nothing"),
        ("SELECT 1) AS t; DROP TABLE runs; (", "syntax error"),
        ("SELECT * FROM query('DROP TABLE runs')", "single SELECT"),
        ("SELECT * FROM 'https://example.com/x.csv'", "disabled"),
        ("SELECT * FROM sniff_csv('{folder}/secret.csv')", "disabled"),
        ("SELECT * FROM sqlite_scan('{folder}/x.db', 't')", "disabled"),
        ("CALL pragma_version()", "one SELECT statement, got CALL"),
        ("SELECT getenv('HOME')", "getenv"),
    ],
)
def test_what_is_refused(query, words, tmp_path):
    (tmp_path / "secret.csv").write_text("a\n1\n")
    local_variable = {"a": [1]}
    assert local_variable
    with pytest.raises(InputError) as refused:
        select(ROWS, COLUMNS, query.format(folder=tmp_path))
    assert words in str(refused.value)
    assert [file.name for file in tmp_path.iterdir()] == ["secret.csv"]


def test_mixed_columns_are_named():
    assert mixed_columns(ROWS, COLUMNS) == ["size"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_export(suffix, tmp_path):
    import duckdb

    file = tmp_path / f"it's.{suffix}"
    file.write_text("older")
    export(ROWS, COLUMNS, file)
    escaped = str(file).replace("'", "''")
    assert duckdb.sql(f"SELECT key, w0, dead FROM '{escaped}' ORDER BY key").fetchall() == [
        ("a", 0.5, 3),
        ("b", None, None),
        ("c", 2.0, 5),
    ]
    assert [found.name for found in tmp_path.iterdir()] == [file.name]


def test_export_refusals(tmp_path):
    with pytest.raises(InputError, match=r"\.csv or a \.parquet"):
        export(ROWS, COLUMNS, tmp_path / "x.xlsx")
    with pytest.raises(InputError, match="no runs"):
        export([], COLUMNS, tmp_path / "x.csv")
    with pytest.raises(StoreError, match="cannot be written"):
        export(ROWS, COLUMNS, tmp_path / "none" / "x.csv")


RECORD = {
    "schema": 2,
    "key": "k",
    "config": {"task": {"name": "own", "width": [3, 4], "W0": 2}, "w0": 1.0, "seed": 0, "epochs": 5},
    "looks": {},
    "status": "finished",
    "diverged_epoch": None,
    "seconds": 1.0,
    "summary": {"end_test_loss": 0.5, "Seed": 4.0, "width": 9.0},
}


def test_columns_that_sql_could_not_tell_apart_get_names_of_their_own():
    row = row_of(RECORD)
    assert (row["w0"], row["task_W0"]) == (1.0, 2)
    assert (row["seed"], row["measured_Seed"]) == (0, 4.0)
    assert (row["width"], row["measured_width"]) == ("3x4", 9.0)
    assert len({name.lower() for name in row}) == len(row)


def test_settled_runs_leave_out_those_that_still_rose():
    rows = [{"t_grok": 10, "settled": True}, {"t_grok": 500, "settled": False}, {"t_grok": 20, "settled": None}]
    names = ["t_grok", "settled"]
    assert select(rows, names, "SELECT avg(t_grok) FROM settled_runs").fetchall() == [(15.0,)]
    assert select(rows, names, "SELECT count(*) FROM runs").fetchall() == [(3,)]
    assert select(rows, names, "SELECT avg(t_grok), count(*), count(t_grok) FROM runs").fetchall() == [(15.0, 3, 2)]
    assert select(rows, ["t_grok"], "SELECT count(*) FROM runs WHERE t_grok > 100").fetchall() == [(0,)]
    assert select(rows, names, "SELECT max(t_grok) FROM bounds").fetchall() == [(500,)]
    without = [{"t_grok": 10}]
    assert select(without, ["t_grok"], "SELECT t_grok FROM settled_runs").fetchall() == [(10,)]


def test_columns_of_several_tasks_are_one_thing_under_one_name():
    rows = [
        {"key": "a", "task": "one", "depth": 3, "rank": 1.5},
        {"key": "b", "task": "other", "Depth": 4, "Rank": 2.5, "width": 7},
        {"key": "c", "task": "third", "depth": 0.25, "W": 9.0, "WIDTH": 8},
    ]
    fields = {"a": ["name", "depth"], "b": ["name", "Depth", "width"], "c": ["name"]}
    join_names(rows, fields.__getitem__)
    assert rows == [
        {"key": "a", "task": "one", "depth": 3, "rank": 1.5},
        {"key": "b", "task": "other", "depth": 4, "rank": 2.5, "width": 7},
        {"key": "c", "task": "third", "measured_depth": 0.25, "W": 9.0, "measured_WIDTH": 8},
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    assert select(rows, names, "SELECT DEPTH FROM runs ORDER BY key").fetchall() == [(3,), (4,), (None,)]


def test_columns_of_one_task_stay():
    rows = [{"key": "a", "task": "one", "depth": 3}, {"key": "b", "task": "one", "depth": 4, "Rank": 1.0}]
    join_names(rows, lambda key: pytest.fail("no record is read"))
    assert list(rows[1]) == ["key", "task", "depth", "Rank"]
