"""The kernels' cache: shared by processes, damaged, read-only or absent, it never stops a run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import grokfast

PROGRAM = """
import sys
from grokfast.ising import _rng
from grokfast.ising._rng import next_word, splitmix64
state = splitmix64(1, 4).copy()
print(int(next_word(state)), sum(next_word.stats.cache_hits.values()), next_word._cache.cache_path)
"""
ROOT = str(Path(grokfast.__file__).parents[1])


def start(cache, **more):
    environment = {**os.environ, "PYTHONPATH": ROOT, "NUMBA_CACHE_DIR": str(cache), **more}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.split()


def test_second_process_takes_the_first_ones_code(tmp_path):
    first, second = finish(start(tmp_path)), finish(start(tmp_path))
    assert first[0] == second[0]
    assert (first[1], second[1]) == ("0", "1")


def test_processes_can_meet_in_an_empty_cache(tmp_path):
    results = [finish(process) for process in [start(tmp_path) for _ in range(4)]]
    assert len({result[0] for result in results}) == 1
    assert finish(start(tmp_path))[1] == "1"
    assert not list(tmp_path.rglob("*.tmp.*"))


@pytest.mark.parametrize(("pattern", "content"), [("*.nbi", b"\x80\x05garbage"), ("*.nbc", b"")])
def test_damaged_files_are_replaced(tmp_path, pattern, content):
    expected = finish(start(tmp_path))[0]
    damaged = list(tmp_path.rglob(pattern))
    assert damaged
    for file in damaged:
        file.write_bytes(content)
    assert finish(start(tmp_path))[:2] == [expected, "0"]
    assert finish(start(tmp_path))[:2] == [expected, "1"]


def test_without_any_writable_folder_it_compiles_anyway(tmp_path):
    # A file where a folder is wanted can be neither written nor made, also not by the superuser.
    blocker = tmp_path / "blocker"
    blocker.write_text("")
    program = """
import numba.core.caching as caching
def refuse(*_):
    raise OSError("read-only file system")
for locator in (caching.UserProvidedCacheLocator, caching.InTreeCacheLocator, caching.UserWideCacheLocator):
    locator.ensure_cache_path = refuse
from grokfast.ising._rng import next_word, splitmix64
from grokfast.ising import IsingSampler
print(int(next_word(splitmix64(1, 4).copy())), type(next_word._cache).__name__)
"""
    environment = {**os.environ, "PYTHONPATH": ROOT, "NUMBA_CACHE_DIR": str(blocker / "in it")}
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    value, cache = process.stdout.split()
    assert value == finish(start(tmp_path / "cache"))[0]
    assert cache == "NullCache"


def test_folder_that_becomes_read_only_is_no_error(tmp_path):
    """The check at import passes, writing fails later: the code is still there."""
    program = """
import numba.core.caching as caching
from grokfast.ising._rng import next_word, splitmix64
def refuse(*_):
    raise OSError("disk full")
caching.IndexDataCacheFile.save = refuse
print(int(next_word(splitmix64(1, 4).copy())))
"""
    environment = {**os.environ, "PYTHONPATH": ROOT, "NUMBA_CACHE_DIR": str(tmp_path)}
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr


def test_importing_compiles_and_imports_no_numba(tmp_path):
    program = """
import sys
import grokfast.ising
assert "numba" not in sys.modules
assert "matplotlib" not in sys.modules
"""
    environment = {**os.environ, "PYTHONPATH": ROOT, "NUMBA_CACHE_DIR": str(tmp_path)}
    process = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 0, process.stderr
    assert not list(tmp_path.rglob("*.nb?"))
