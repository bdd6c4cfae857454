"""Publication killed, and the disk filled, at chosen ones of all its moments: the end is the same to the bit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from grokfast import RunConfig, Store, load
from grokfast.sweep import Outcome, Shard

# Everything is imported once; each line on stdin is one life of the shard, in a process of its own that may be killed.
SERVER = """
import json, os, signal, sys
from pathlib import Path
import duckdb, torch
import grokfast.store.store as store
from grokfast.sweep import Job, Shard, run_shard

torch.set_num_threads(1)
shard = Shard.from_dicts(json.loads(sys.argv[1]))
publishing, moments, at, how, root = False, 0, 0, "", None

def moment():
    global moments
    if not publishing:
        return
    moments += 1
    if moments == at and how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if moments == at and how == "fill":
        with open(root.parent / "filler", "wb") as file:
            free = os.statvfs(root)
            os.posix_fallocate(file.fileno(), 0, max(1, free.f_bavail * free.f_frsize))

def watched(event, arguments):
    if event in ("open", "os.rename", "os.mkdir", "os.remove"):
        moment()

def life():
    global publishing
    write, fsync = store.write_version, os.fsync
    def writing(*arguments):
        global publishing
        publishing = True
        try:
            return write(*arguments)
        finally:
            publishing = False
    def syncing(handle):
        moment()
        fsync(handle)
        moment()
    store.write_version, os.fsync = writing, syncing
    sys.addaudithook(watched)
    receipt = run_shard(shard, Job(root, save_every=1e-9))
    print(json.dumps({**receipt.to_dict(), "moments": moments}), flush=True)

print("ready", flush=True)
for line in sys.stdin:
    how, number, place = line.split()
    at, root = int(number), Path(place)
    child = os.fork()
    if child == 0:
        life()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status):
        print(json.dumps({"killed": os.waitstatus_to_exitcode(status)}), flush=True)
"""

Live = Callable[..., dict[str, object]]


@pytest.fixture
def configs(small: Callable[..., list[RunConfig]]) -> list[RunConfig]:
    return small(3)


@pytest.fixture
def live(tmp_path: Path, configs: list[RunConfig]) -> Iterator[Live]:
    """One life of the shard: what it told, or that it was killed."""
    command = [sys.executable, "-P", "-c", textwrap.dedent(SERVER), json.dumps(Shard(tuple(configs)).to_dicts())]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=alone
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"

        def once(how: str, number: int, root: Path) -> dict[str, object]:
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(f"{how} {number} {root}\n")
            server.stdin.flush()
            return dict(json.loads(server.stdout.readline()))

        yield once
        server.stdin.close()


def _whole(root: Path) -> int:
    """Number of runs that are published, each of which must be sound."""
    if not root.is_dir():
        return 0
    table = load(root)
    assert not table.damaged, table.damaged
    for run in table:
        Store(root).check(run.key)
    return len(table)


@pytest.mark.parametrize("count", [3, pytest.param(25, marks=pytest.mark.slow)])
def test_killed_in_publication(
    count: int,
    tmp_path: Path,
    live: Live,
    configs: list[RunConfig],
    undisturbed: Callable[..., Store],
    assert_same_runs: Callable[..., None],
) -> None:
    told = live("kill", 0, tmp_path / "first")
    last = told["moments"]
    assert isinstance(last, int)
    assert last > 3 * 10
    expected = undisturbed(configs)
    chosen = sorted({1 + round(k * (last - 1) / (count - 1)) for k in range(count)})
    for at in chosen:
        root = tmp_path / f"runs-{at}"
        assert live("kill", at, root) == {"killed": -9}, at
        before = _whole(root)
        assert before <= 3
        again = live("kill", 0, root)
        assert again["outcome"] == Outcome.DONE
        assert _whole(root) == 3
        assert_same_runs(Store(root), expected)
        shutil.rmtree(root)
    print(f"{len(chosen)} kills in publication of {last} moments")


@pytest.mark.parametrize("count", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_a_disk_that_is_full_from_a_moment_of_publication_on(
    count: int,
    small_disk: Path,
    live: Live,
    configs: list[RunConfig],
    undisturbed: Callable[..., Store],
    assert_same_runs: Callable[..., None],
) -> None:
    root = small_disk / "runs"
    last = live("fill", 0, root)["moments"]
    assert isinstance(last, int)
    shutil.rmtree(root)
    expected = undisturbed(configs)
    stopped = 0
    for k in range(count):
        at = 1 + round(k * (last - 1) / max(1, count - 1))
        told = live("fill", at, root)
        stopped += told["outcome"] == Outcome.STORAGE
        assert told["outcome"] in (Outcome.STORAGE, Outcome.DONE), told
        left = [file for file in root.rglob(".*") if file.name.startswith((".tmp-", ".probe-"))]
        assert not left, left
        _whole(root)
        (small_disk / "filler").unlink()
        again = live("fill", 0, root)
        assert again["outcome"] == Outcome.DONE, again
        assert_same_runs(Store(root), expected)
        shutil.rmtree(root)
    assert stopped >= count // 2
    print(f"{count} full disks in publication, {stopped} of which stopped it")
