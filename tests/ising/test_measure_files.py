"""Measurements in files and in other libraries' tables."""

import json
import math

import duckdb
import numpy as np
import pytest

from grokfast.errors import InputError
from grokfast.ising import IsingSampler, Measurements
from grokfast.ising.estimates import QUANTITIES

pytestmark = pytest.mark.filterwarnings("ignore::grokfast.ising.UnreliableErrorWarning")


@pytest.fixture(params=["replicas", "chains", "floats"])
def measured(request):
    if request.param == "floats":
        rng = np.random.default_rng(1)
        e, m = rng.normal(size=(2, 2, 3, 40))
        return Measurements.from_series(np.array([1.0, 2.0]), e, m, sites=10, every=3)
    options = {"J": -1.0, "field": 0.2, "init": "checkerboard", "seed": 1, "dynamics": "glauber"}
    sampler = IsingSampler((4, 6), [2.0, 2.5, math.inf], 40 if request.param == "replicas" else 2, **options)
    return sampler.measure(70, 2, progress=False)


def same(a, b):
    assert a.every == b.every
    for name in ("unit", "sites", "J", "field"):
        assert getattr(a.series, name) == getattr(b.series, name)
    for name in ("temperatures", "interactions", "moments"):
        first, second = getattr(a.series, name), getattr(b.series, name)
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second)
    for name in QUANTITIES:
        for first, second in zip((*getattr(a, name), *a.trust[name]), (*getattr(b, name), *b.trust[name]), strict=True):
            np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_what_is_saved_comes_back(measured, ending, tmp_path):
    file = tmp_path / f"it's [1] 50 %.{ending}"
    measured.save(file)
    measured.save(file)
    same(Measurements.load(file), measured)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    whole = file.read_bytes()
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        damaged = bytearray(whole)
        damaged[int(share * len(whole))] ^= 1
        file.write_bytes(damaged)
        try:
            same(Measurements.load(file), measured)  # a bit that nobody reads
        except InputError as error:
            assert "holds no measurements" in str(error)  # noqa: PT017
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="holds no measurements"):
        Measurements.load(file)


def test_others_can_read_the_parquet_file(measured, tmp_path):
    file = tmp_path / "series.parquet"
    measured.save(file)
    table = duckdb.sql(f"SELECT * FROM '{file}' ORDER BY temperature_index, replica, measurement").fetchnumpy()
    T, R, n = measured.energies.shape
    np.testing.assert_array_equal(table["energy"].reshape(T, R, n), measured.energies)
    np.testing.assert_array_equal(table["magnetization"].reshape(T, R, n), measured.magnetizations)
    np.testing.assert_array_equal(table["temperature"].reshape(T, R, n)[:, 0, 0], measured.temperatures)
    assert set(table) >= {"interaction", "moment", "replica", "measurement"}


def test_files_of_something_else_are_refused(measured, tmp_path):
    with pytest.raises(InputError, match=r"\.npz or \.parquet, got"):
        measured.save(tmp_path / "series.csv")
    with pytest.raises(InputError, match=r"\.npz or \.parquet, got"):
        Measurements.load(tmp_path / "series.h5")
    for ending in ("npz", "parquet"):
        with pytest.raises(FileNotFoundError):
            Measurements.load(tmp_path / f"none.{ending}")
        with pytest.raises(FileNotFoundError):
            measured.save(tmp_path / "no folder" / f"none.{ending}")
        (tmp_path / f"text.{ending}").write_text("not this")
        with pytest.raises(InputError, match="holds no measurements"):
            Measurements.load(tmp_path / f"text.{ending}")
    duckdb.sql(f"COPY (SELECT 1 AS temperature) TO '{tmp_path / 'other.parquet'}'")
    np.savez(tmp_path / "other.npz", temperatures=np.ones(2))
    about = json.dumps({"version": 99, "sha256": ""}).encode()
    arrays = {name: np.ones((1, 1, 1)) for name in ("temperatures", "interactions", "moments")}
    np.savez(tmp_path / "newer.npz", **arrays, about=np.frombuffer(about, np.uint8))
    for name in ("other.parquet", "other.npz", "newer.npz"):
        with pytest.raises(InputError, match="holds no measurements"):
            Measurements.load(tmp_path / name)


def test_tables_of_other_libraries(measured, monkeypatch):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("pandas")
    data = measured.to_xarray()
    assert isinstance(data, xarray.Dataset)
    np.testing.assert_array_equal(data["binder"].values, measured.binder.mean)
    np.testing.assert_array_equal(data["energy_error"].values, measured.energy.error)
    np.testing.assert_array_equal(data["energies"].values, measured.energies)
    np.testing.assert_array_equal(data["energies"].mean(("replica", "measurement")), measured.energies.mean((1, 2)))
    assert data["temperature"].values.tolist() == measured.temperatures.tolist()
    assert data.attrs["every"] == measured.every
    frame = measured.df()
    np.testing.assert_array_equal(frame["energy"], measured.energy.mean)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for make, library in ((measured.to_xarray, "xarray"), (measured.df, "pandas")):
        with pytest.raises(InputError, match=f"pip install {library}"):
            make()
