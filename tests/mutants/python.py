"""Plant small mistakes in the package's Python, one at a time, and list those that no test notices.

``python -P tests/mutants/python.py PART ...`` for modules or folders of the package, such as ``measures`` or
``store/atomic.py``; ``--changed [COMMIT]`` for the lines that differ from a commit, by default HEAD. All that can be
planted is, or ``--sample N`` of it drawn with ``--seed``. Each mistake goes into a copy of the installed package (the
same as the checkout's, or it is refused), and the tests that run its line are run, the quickest first, until one fails.
``harmless.toml`` names those that change nothing that matters, with the reason. ``--record`` writes the counts of the
parts into docs/mutants.md. Ends with 1 if one survived that is not listed there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pickle
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
SURVIVED = ("survived", "not run")
HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

import duckdb  # noqa: E402, F401  (before the forks, once)
import hypothesis  # noqa: E402, F401
import matplotlib.pyplot  # noqa: E402, F401
import numba  # noqa: E402, F401
import scipy.stats  # noqa: E402, F401
import torch  # noqa: E402
from covering import Collected, Covered, collect, outcome_anew  # noqa: E402
from plant import Mutant, mutants_of  # noqa: E402
from table import write_table  # noqa: E402

TESTS = {
    "measures/geometry": "measures/test_geometry.py geometry training/test_geometry.py",
    "measures": "measures",
    "pruning": "pruning tasks/test_pruning.py ops/test_mlp_nested.py",
    "geometry": "geometry measures/test_geometry.py training/test_geometry.py",
    **dict.fromkeys(
        ("ising/exact", "ising/enumeration", "ising/infinite", "ising/torus", "ising/torus_decimal"),
        "ising/test_exact.py ising/test_exact_digits.py ising/test_limits.py ising/test_fields_and_edges.py",
    ),
    **dict.fromkeys(
        ("ising/analysis", "ising/autocorrelation", "ising/measure", "ising/series", "ising/quantities"),
        "ising/test_analysis.py ising/test_measure.py ising/test_limits.py",
    ),
    "fisher": " ".join(
        f"fisher/test_{name}.py"
        for name in ("api", "blocks", "chains", "features", "layers", "memory", "products", "properties", "untouched")
    ),
    "report/claims": "report/claims",
    "report/page": "report/page/test_numbers.py report/page/test_page.py",
    "report": "report/test_pages.py report/test_beyond.py",
    "learning_coefficient": "learning_coefficient",
    "observe": "observe training/test_looks.py",
    "ops": "ops",
}
"""The tests that may notice a mistake in a part; otherwise those of the folder or file of its name."""


def tests_for(file: str) -> list[str]:
    """The files of tests for a file of the package."""
    parts = [file.removesuffix(".py")]
    while "/" in parts[-1]:
        parts.append(parts[-1].rpartition("/")[0])
    for name in (*(TESTS.get(part, "") for part in parts), *(n for p in parts for n in (p, _file_of_tests(p)))):
        found = [f"tests/{one}" for one in name.split()]
        if found and all((ROOT / one).exists() for one in found):
            return found
    raise SystemExit(f"no tests are known for {file}: name them in TESTS")


def _file_of_tests(part: str) -> str:
    return re.sub(r"([^/]+)$", r"test_\1.py", part)


def changed_lines(commit: str) -> dict[str, set[int]]:
    """The lines of the package that differ from a commit."""
    command = ["git", "diff", "-U0", "--no-ext-diff", commit, "--", "grokfast"]
    found: dict[str, set[int]] = {}
    file = ""
    for line in subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines():
        if line.startswith("+++ "):
            file = line.removeprefix("+++ b/grokfast/")
        elif match := re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line):
            first, count = int(match[1]), int(match[2] or 1)
            found.setdefault(file, set()).update(range(first, first + count))
    return {file: lines for file, lines in found.items() if file.endswith(".py")}


def chosen_mutants(parts: list[str], commit: str | None, package: Path) -> list[Mutant]:
    """All that can be planted in the parts, or in the lines that changed."""
    changed = None if commit is None else changed_lines(commit)
    files = list(changed or ())
    for part in parts:
        path = ROOT / "grokfast" / part
        inside = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        files += [str(one.relative_to(ROOT / "grokfast")) for one in inside]
    found = []
    for file in files:
        source = (ROOT / "grokfast" / file).read_text(encoding="utf-8")
        if not (package / file).exists() or (package / file).read_text(encoding="utf-8") != source:
            raise SystemExit(f"the installed {file} is another than the checkout's: install first")
        found += [m for m in mutants_of(file, source) if changed is None or changed[file] & {m.line, *m.lines}]
    return found


def harmless() -> dict[tuple[str, ...], str]:
    """Mistakes that change nothing that matters, and why."""
    entries = tomllib.loads((HERE / "harmless.toml").read_text(encoding="utf-8"))["mutant"]
    return {tuple(e[key] for key in ("file", "where", "at", "old", "new")): e["reason"] for e in entries}


class Kept:
    """What became of mistakes, a line each in a file, so that a run that was stopped goes on."""

    def __init__(self, file: Path, most: float) -> None:
        self.file, self.most = file, most
        self.read()

    def lines(self) -> list[str]:
        """What stands in the file."""
        return self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else []

    def names(self, since: int) -> set[tuple[str, ...]]:
        """The mistakes in the lines after so many."""
        return {tuple(json.loads(line)["mutant"]) for line in self.lines()[since:]}

    def read(self) -> None:
        """All outcomes, the last of each."""
        entries = [json.loads(line) for line in self.lines()]
        self.outcomes = {tuple(entry["mutant"]): str(entry["was"]) for entry in entries}

    def add(self, mutant: Mutant, was: str, number: int, by: str = "") -> None:
        """Note one, and which test failed."""
        change = f"{mutant.file}:{mutant.line} {mutant.where}: {mutant.old[:90]} -> {mutant.new[:90]}"
        print(f"{number} {was:8} {change}{f'  ({by})' if by else ''}", flush=True)
        self.outcomes[mutant.name] = was
        with self.file.open("a", encoding="utf-8") as to:
            to.write(json.dumps({"mutant": mutant.name, "was": was}) + "\n")

    def clean_run(self, collected: Collected, tests: list[str]) -> Covered:
        """Which tests run which lines, from beside the file if neither the package nor the tests changed since."""
        files = sorted([*collected.package.rglob("*.py"), *(ROOT / "tests").rglob("*.py")])
        seen = hashlib.sha256(f"{self.most} {' '.join(tests)}".encode())
        for file in files:
            if HERE not in file.parents:
                seen.update(file.read_bytes())
        there = self.file.with_suffix(f".{seen.hexdigest()[:12]}.clean")
        if not there.exists():
            there.write_bytes(pickle.dumps(collected.clean(self.most)))
        found = pickle.loads(there.read_bytes())
        assert isinstance(found, Covered)
        return found


@contextmanager
def planted(mutant: Mutant, copy: Path) -> Iterator[str]:
    """The copy of the package with the mistake, for what imports it anew; the text of its file."""
    target = copy / "grokfast" / mutant.file
    source = target.read_text(encoding="utf-8")
    for path in (target.parent / "__pycache__").glob(f"{target.stem}.*.pyc"):
        path.unlink()
    changed = mutant.apply(source)
    target.write_text(changed, encoding="utf-8")
    try:
        yield changed
    finally:
        target.write_text(source, encoding="utf-8")


def run_all(mutants: list[Mutant], files: set[str], package: Path, kept: Kept, until: float) -> None:
    """Plant each, as long as there is time: first into functions as they are, then what must be imported."""
    tests = sorted({one for file in files for one in tests_for(file)})
    tests = [one for one in tests if not any(one.startswith(f"{other}/") for other in tests)]
    clean_file, since = kept.file.with_suffix(".covered"), len(kept.lines())

    def work(collected: Collected) -> None:
        clean = kept.clean_run(collected, tests)
        clean_file.write_bytes(pickle.dumps(clean))
        for number, mutant in enumerate(mutants, start=1):
            if not mutant.in_function or time.monotonic() > until:
                continue
            chosen = clean.tests_of(mutant)
            if not chosen:
                kept.add(mutant, "not run", number)
                continue
            with planted(mutant, collected.package.parent) as changed, suppress(ValueError):
                was, by = collected.outcome(mutant, changed, chosen, clean.limit(chosen))
                kept.add(mutant, was, number, by)

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder).resolve()
        shutil.copytree(package, copy / "grokfast")
        os.environ["NUMBA_CACHE_DIR"] = str(copy / "numba")
        collect(copy, ROOT, tests, work)
        clean = pickle.loads(clean_file.read_bytes())
        kept.read()
        done = kept.names(since)
        for number, mutant in enumerate(mutants, start=1):
            if time.monotonic() > until or mutant.name in done:
                continue
            chosen = clean.tests_of(mutant)
            with planted(mutant, copy):
                was = outcome_anew(copy, ROOT, chosen, clean.limit(chosen)) if chosen else "not run"
            kept.add(mutant, was, number)


def main(words: list[str]) -> int:
    """Run the mutants and print what became of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*")
    parser.add_argument("--changed", nargs="?", const="HEAD", metavar="COMMIT")
    parser.add_argument("--sample", type=int, metavar="N", help="as many drawn from all")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--into", type=Path, metavar="FILE", help="keep what became of each here, and go on from it")
    parser.add_argument("--again", action="store_true", help="those again that survived, after tests were added")
    parser.add_argument("--slow", type=float, default=1e6, metavar="S", help="leave out tests of more seconds")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--record", action="store_true", help="write the counts into docs/mutants.md")
    given = parser.parse_args(words)
    if not given.parts and given.changed is None:
        parser.error("name parts of the package, or --changed")
    until = time.monotonic() + 60 * given.minutes
    spec = find_spec("grokfast")
    assert spec is not None
    package = Path(spec.submodule_search_locations[0])  # type: ignore[index]
    torch.set_num_threads(1)
    mutants = chosen_mutants(given.parts, given.changed, package)
    total = len(mutants)
    if given.sample is not None and given.sample < total:
        drawn = random.Random(given.seed).sample(range(total), given.sample)
        mutants = [mutants[k] for k in sorted(drawn)]
    known = harmless()
    with tempfile.TemporaryDirectory() as folder:
        kept = Kept(given.into or Path(folder) / "kept.jsonl", given.slow)
        left = [m for m in mutants if m.name not in kept.outcomes]
        if given.again:
            left += [m for m in mutants if kept.outcomes.get(m.name) in SURVIVED and m.name not in known]
        print(f"{len(mutants)} of {total} mistakes, {len(left)} to run")
        if left and time.monotonic() < until:
            run_all(left, {m.file for m in mutants}, package, kept, until)
            kept.read()
            if any(m.name not in kept.outcomes for m in left):
                print("time is up; the same command goes on")
    done = [m for m in mutants if m.name in kept.outcomes]
    results = [kept.outcomes[m.name] for m in done]
    results = ["harmless" if m.name in known and was in SURVIVED else was for m, was in zip(done, results, strict=True)]
    survivors = [m for m, was in zip(done, results, strict=True) if was in SURVIVED]
    for m in survivors:
        texts = (f"{key} = {json.dumps(getattr(m, key))}" for key in ("file", "where", "at", "old", "new"))
        print("\n".join(["[[mutant]]", *texts, 'reason = ""\n']))
    counts = Counter(results)
    print(f"{len(results)} mistakes: " + ", ".join(f"{count} {was}" for was, count in sorted(counts.items())))
    if given.record:
        write_table(ROOT / "docs/mutants.md", given.parts, counts, total, given.seed)
    return int(bool(survivors))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
