from __future__ import annotations

from pathlib import Path

import pytest

from grokfast import ModularAddition, RunConfig
from grokfast.errors import ConfigError
from grokfast.studies import Sweep, read_sweep, sizes_of
from grokfast.studies.file import one_of_each


def _read(tmp_path: Path, text: str, size: str | None = None) -> Sweep:
    file = tmp_path / "sweep.toml"
    file.write_text(text)
    return read_sweep(file, size)


def test_a_grid_is_every_combination(tmp_path: Path) -> None:
    sweep = _read(
        tmp_path,
        """
        title = "t"
        [run]
        epochs = 7
        task = { name = "modular-addition", hidden = [16] }
        [grid]
        w0 = [0.1, 1]
        seed = { first = 3, count = 2 }
        task.P = [7, 11]
        """,
    )
    expected = {
        RunConfig(task=ModularAddition(P=P, hidden=(16,)), epochs=7, w0=w0, seed=seed)
        for w0 in (0.1, 1.0)
        for seed in (3, 4)
        for P in (7, 11)
    }
    assert set(sweep.configs) == expected
    assert sweep.title == "t"


def test_each_list_entry_is_combined_with_the_grid(tmp_path: Path) -> None:
    sweep = _read(
        tmp_path,
        """
        [grid]
        seed = [0, 1]
        [[list]]
        w0 = 1
        [[list]]
        w0 = 10
        weight_decay = 3e-4
        """,
    )
    found = [(config.w0, config.weight_decay, config.seed) for config in sweep.configs]
    assert found == [(1.0, 3e-5, 0), (1.0, 3e-5, 1), (10.0, 3e-4, 0), (10.0, 3e-4, 1)]


def test_an_entry_of_the_list_may_have_a_grid_of_its_own(tmp_path: Path) -> None:
    sweep = _read(
        tmp_path,
        """
        [grid]
        seed = [0, 1]
        [[list]]
        weight_decay = 3e-4
        [list.grid]
        w0 = [0.1, 1]
        task.P = [7, 11]
        [[list]]
        w0 = 10
        grid = { batch_size = [8] }
        """,
    )
    found = [(c.w0, c.weight_decay, c.batch_size, c.task.P, c.seed) for c in sweep.configs]
    first = [(w0, 3e-4, 64, P, seed) for w0 in (0.1, 1.0) for P in (7, 11) for seed in (0, 1)]
    assert found == [*first, (10.0, 3e-5, 8, 113, 0), (10.0, 3e-5, 8, 113, 1)]
    every = one_of_each(tmp_path / "sweep.toml", None, ("seed", "w0"))
    assert [(c.w0, c.task.P) for c in every] == [(0.1, 7), (0.1, 11), (10.0, 113)]


SIZES = """
[run]
epochs = 1000
[grid]
w0 = [0.1, 1, 10]
seed = { count = 5 }
[sizes.quick.run]
epochs = 100
seed = 0
[sizes.quick.grid]
w0 = [1]
[sizes.paper]
"""


def test_a_size_overrides_field_by_field(tmp_path: Path) -> None:
    quick = _read(tmp_path, SIZES, "quick")
    assert quick.configs == (RunConfig(epochs=100, w0=1.0, seed=0),)
    assert len(_read(tmp_path, SIZES, "paper").configs) == 15


PAIRS = """
[run]
epochs = 10
[[paired]]
batch_size = [64, 256, "full"]
learning_rate = [1e-3, 2e-3, 4e-3]
[grid]
seed = { count = 2 }
[sizes.all]
[sizes.few]
[[sizes.few.paired]]
batch_size = [64]
learning_rate = [1e-2]
[[sizes.few.paired]]
w0 = [1, 2]
weight_decay = [0, 1]
"""


def test_values_that_change_together(tmp_path: Path) -> None:
    found = {(c.batch_size, c.learning_rate, c.seed) for c in _read(tmp_path, PAIRS, "all").configs}
    full = RunConfig().task.train_samples
    assert found == {(b, r, s) for b, r in ((64, 1e-3), (256, 2e-3), (full, 4e-3)) for s in (0, 1)}
    few = [(c.batch_size, c.learning_rate, c.w0, c.weight_decay) for c in _read(tmp_path, PAIRS, "few").configs]
    assert sorted(set(few)) == [(64, 0.01, 1, 0), (64, 0.01, 2, 1)]
    assert len(few) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[grid]\nbatchsize = [1]", "grid has a field 'batchsize' that no run has; did you mean 'batch_size"),
        ("[run]\nepoch = 3", "did you mean 'epochs'"),
        ("[run.task]\nQ = 3", "'Q'"),
        ("[[list]]\nsead = 3", "did you mean 'seed'"),
        ("[gird]\nw0 = [1]", "no table 'gird'; did you mean 'grid'"),
        ("[grid]\nw0 = []", "grid.w0 is empty"),
        ("[grid]\nw0 = 1", "must be a list of values, got 1"),
        ("[grid]\nseed = { count = 0 }", "with a count in 1"),
        ("[grid]\nseed = { cuont = 3 }", "did you mean 'count'"),
        ("[grid]\nw0 = [1, 1.0]", "names the run w0 = 1, seed = 0 twice"),
        ("[run]\nw0 = 1\n[grid]\nw0 = [1]", "'w0' stands under both run and grid"),
        ("[grid]\nw0 = [1]\n[[list]]\nw0 = 2", "under both grid and list"),
        ("[grid]\nw0 = [-1]", "w0 must be a finite number > 0, got -1"),
        ("[run]\ntask = 'modular-adition'", "did you mean 'modular-addition'"),
        ("list = []", "list has no entry"),
        ("[[list]]\nw0 = 1\ngrid = { w0 = [2] }", "'w0' stands under both list and list.grid"),
        ("[grid]\nw0 = [1]\n[[list]]\ngrid = { w0 = [2] }", "'w0' stands under both grid and list.grid"),
        ("[[list]]\ngrid = { w0 = 1 }", "list.grid.w0 must be a list of values, got 1"),
        ("[[list]]\ngrid = 3", "list.grid must be a table"),
        ("[[list]]\ngrid = { w1 = [2] }", "list.grid has a field 'w1' that no run has"),
        ("paired = []", "paired has no entry"),
        ("[[paired]]\nw0 = [1, 2]\nseed = [1]", "change together: expected as many of each field, got 2 of w0 and 1"),
        ("[[paired]]\nw0 = 1", "paired.w0 must be a list of values, got 1"),
        ("[grid]\nw0 = [1]\n[[paired]]\nw0 = [2]", "'w0' stands under both grid and paired"),
        ("[[paired]]\nw0 = [1]\n[[paired]]\nw0 = [2]", "'w0' stands under two tables [[paired]]"),
        ("grid = 3", "grid must be a table"),
        ("[grid", "not valid TOML"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        _read(tmp_path, text)
    assert message in str(error.value)
    assert "sweep.toml" in str(error.value)


def test_sizes_are_asked_for_and_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"size must be one of \['quick', 'paper'\], got none"):
        _read(tmp_path, SIZES)
    with pytest.raises(ConfigError, match="did you mean 'quick'"):
        _read(tmp_path, SIZES, "quik")
    with pytest.raises(ConfigError, match="the file has no sizes"):
        _read(tmp_path, "[grid]\nw0 = [1]", "quick")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_sweep(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        sizes_of(tmp_path / "none.toml")


def test_a_sweep_from_python_is_checked_as_well() -> None:
    with pytest.raises(ConfigError, match="no run"):
        Sweep("t", ())
    with pytest.raises(ConfigError, match="twice"):
        Sweep("t", (RunConfig(), RunConfig()))
