"""The kernels' cache: shared by processes, damaged, read-only or absent, it never stops a run."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numba
import numba.core.caching as caching
import pytest

import grokfast
from grokfast.ising.jit import kernel

ROOT = str(Path(grokfast.__file__).parents[1])


@pytest.fixture
def fresh(tmp_path):
    """A function of a module in a folder of its own, compiled by a new dispatcher at each call."""
    source = tmp_path / "module.py"
    source.write_text("def triple(x):\n    return 3 * x\n")
    os.utime(source, (1e9, 1e9))

    def make():
        spec = importlib.util.spec_from_file_location("module", source)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return kernel(module.triple)

    return make


def hits(dispatcher):
    return sum(dispatcher.stats.cache_hits.values())


def use(fresh):
    """Whether the code came from the cache; the answer must be right."""
    dispatcher = fresh()
    assert dispatcher(14) == 42
    return hits(dispatcher) == 1


@pytest.fixture
def folder(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(cache))
    return cache


def test_code_is_cached(fresh, folder):
    assert not use(fresh)
    assert use(fresh)
    assert list(folder.rglob("*.nbi"))
    assert list(folder.rglob("*.nbc"))


@pytest.mark.parametrize("pattern", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("content", [b"", b"\x80\x05garbage", None])
def test_damaged_files_are_replaced(fresh, folder, pattern, content):
    use(fresh)
    (file,) = folder.rglob(pattern)
    file.write_bytes(file.read_bytes()[:40] if content is None else content)
    assert not use(fresh)
    assert use(fresh)


def test_other_sources_or_processors_do_not_share_files(fresh, folder, monkeypatch):
    use(fresh)
    monkeypatch.setattr("grokfast.ising.jit._fingerprint", lambda: "another")
    assert not use(fresh)
    assert len(list(folder.rglob("*.nbi"))) == 2


def test_full_disk_is_no_error(fresh, folder, monkeypatch):
    def refuse(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "save", refuse)
    assert not use(fresh)
    assert not use(fresh)


def test_read_only_install_falls_back_to_the_user_folder(fresh, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("read-only file system")

    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(caching.InTreeCacheLocator, "ensure_cache_path", refuse)
    monkeypatch.setattr(caching.AppDirs, "user_cache_dir", str(tmp_path / "user"), raising=False)
    assert not use(fresh)
    assert use(fresh)
    assert list((tmp_path / "user").rglob("*.nbi"))
    assert not list(tmp_path.glob("__pycache__/*.nbi"))


def test_without_any_writable_folder_it_compiles_anyway(fresh, folder, monkeypatch):
    def refuse(*_):
        raise OSError("read-only file system")

    for locator in (
        caching.UserProvidedCacheLocator,
        caching.InTreeCacheLocator,
        caching.UserWideCacheLocator,
    ):
        monkeypatch.setattr(locator, "ensure_cache_path", refuse)
    assert not use(fresh)
    assert not use(fresh)
    assert not folder.exists()


PROGRAM = """
from grokfast.ising._rng import next_word, splitmix64
print(int(next_word(splitmix64(1, 4).copy())), sum(next_word.stats.cache_hits.values()))
"""


def start(cache):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        cwd=cache.parent,  # away from the checkout, whose folder would be imported
        env={**os.environ, "PYTHONPATH": ROOT, "NUMBA_CACHE_DIR": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.split()


def test_processes_can_meet_in_an_empty_cache(tmp_path):
    results = [finish(process) for process in [start(tmp_path) for _ in range(3)]]
    assert len({result[0] for result in results}) == 1
    assert finish(start(tmp_path)) == [results[0][0], "1"]
    assert not list(tmp_path.rglob("*.tmp.*"))


def test_import_is_light(tmp_path):
    program = "import sys, grokfast.ising; print([m for m in ('numba', 'matplotlib') if m in sys.modules])"
    process = subprocess.run(
        [sys.executable, "-c", program],
        cwd="/",
        env={**os.environ, "PYTHONPATH": ROOT, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.stdout.strip() == "[]", process.stderr
    assert not list(tmp_path.iterdir())
