"""Plant faults in a copy of the sources, one at a time, and end with 1 unless the sanitizers catch each.

``run.sh planted`` calls this, with the builds of ``run.sh address`` and ``run.sh thread`` where they are kept. Each
fault is of a kind that a test of numbers alone may miss: a read beyond memory, scratch memory that is too small, an
undefined operation whose result happens to be right, memory that two threads share. None waits for luck: the pool's
threads meet under ThreadSanitizer before they work (``csrc/cpu/parallel.cpp``), and it looks for what is not ordered,
not for what collides.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = Path(os.environ["SANITIZE_BUILD"])
THREADS = "tests/ops/test_threads.py"
BORDERS = "tests/ops/test_borders.py"

# sanitizer, file of csrc, what stands there, what stands there instead, tests, what they are to say
FAULTS = [
    (
        "address", "cpu/two_hot.cpp",
        "last = std::min(first + kChunk, N);", "last = std::min(first + kChunk, N + (e + 1 == E));",
        [BORDERS, "-k", "two_hot_relu and not backward"], "heap-buffer-overflow",
    ),
    (
        "address", "cpu/mlp_epoch.cpp", "p_.fit(net.classes);", "p_.fit(net.classes - 1);",
        [BORDERS, "-k", "mlp_epoch"], "heap-buffer-overflow",
    ),
    (
        "address", "cpu/mlp_losses.cpp",
        "live[u / kWord] |= std::uint64_t(1) << (u % kWord);\n", "live[u / kWord] |= std::uint64_t(1) << u;\n",
        [BORDERS, "-k", "mlp_losses"], "shift exponent",
    ),
    (
        "thread", "cpu/parallel.cpp", "std::atomic<std::int64_t> next_{0};",
        "struct {\n    std::int64_t at = 0;\n    std::int64_t fetch_add(int) { return at++; }\n"
        "    void store(std::int64_t to) { at = to; }\n  } next_;",
        [THREADS, "-k", "same_bits and adam"], "data race",
    ),
    (
        "thread", "cpu/parallel.cpp",
        "      drain(*body);\n      std::lock_guard<std::mutex> lock(mutex_);\n", "      drain(*body);\n",
        [THREADS, "-k", "same_bits and adam"], "data race",
    ),
    (
        "thread", "cpu/mlp_losses.cpp", "static thread_local Scratch<T> s;", "static Scratch<T> s;",
        [THREADS, "-k", "same_bits and mlp_losses"], "data race",
    ),
]  # fmt: skip


def _run(kind: str, tests: list[str], *, planted: bool) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SANITIZE_AS_IS": "1"} if planted else dict(os.environ)
    return subprocess.run(
        ["bash", str(HERE / "run.sh"), kind, *tests], capture_output=True, text=True, env=environment, check=False
    )


def main() -> int:
    """Each fault in turn."""
    missed = 0
    for kind in ("address", "thread"):
        if (clean := _run(kind, [THREADS, "-k", "two_hot"], planted=False)).returncode:
            print(clean.stdout, clean.stderr)
            return 1
    for kind, name, old, new, tests, words in FAULTS:
        file = BUILD / kind / "source" / "csrc" / name
        sound = file.read_text()
        if old not in sound:
            print(f"{name} has no {old!r} any more: plant another fault")
            return 1
        file.write_text(sound.replace(old, new, 1))
        found = _run(kind, tests, planted=True)
        file.write_text(sound)
        said = found.stdout + found.stderr
        caught = found.returncode not in (0, 3, 5) and words in said
        missed += not caught
        print(f"{'caught' if caught else 'MISSED'}: {kind}, {name}: {new.strip().splitlines()[0]}", flush=True)
        if not caught:
            print(said[-3000:])
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
