# ruff: noqa: E501  (a table of texts)
"""Plant the mistakes that once went through, one at a time, and list those that no test notices now.

``python -P tests/mutants/examples.py [word ...]`` takes those whose file or kind has one of the words, all without. Each
is a change of text in a copy of the installed package, with the tests that are to notice; a change that is not found is
an error. The same kinds in the kernels are in ``cpp.py``. Ends with 1 if one survived.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

import duckdb  # noqa: E402, F401  (before the forks, once)
import hypothesis  # noqa: E402, F401
import matplotlib.pyplot  # noqa: E402, F401
import numba  # noqa: E402, F401
import scipy.stats  # noqa: E402, F401
import torch  # noqa: E402
from covering import outcome_anew  # noqa: E402

SECONDS = 300.0  # of the processor
DURABLE = "tests/store/test_durability.py"
RESUMED = "tests/training/test_state.py"
DRAWN = "tests/figures/test_curves_drawn.py"
SHARD = "tests/sweep/test_shard.py"
CHUNKS = "tests/fisher/test_chunks.py"
FIXED = "tests/measures/test_fixed_values.py tests/measures/test_statistics.py"

# kind; file of the package; what stands there; what stands there instead; tests, of which one must fail
EXAMPLES = [
    (
        "chunks: the last partial one dropped", "fisher/rules.py",
        "        total = g.new_zeros(shape)\n        for start in range(0, g.shape[0], step):",
        "        total = g.new_zeros(shape)\n        for start in range(0, max(1, g.shape[0] // step * step), step):",
        CHUNKS,
    ),
    (
        "chunks: the last partial one dropped", "fisher/rule_sums.py",
        "range(0, self.n, step)", "range(0, max(1, self.n // step * step), step)",
        CHUNKS,
    ),
    (
        "chunks: the last partial one dropped", "fisher/fallback.py",
        "range(0, of.inputs.n, step)", "range(0, max(1, of.inputs.n // step * step), step)",
        CHUNKS,
    ),
    (
        "statistics: a degree of freedom", "measures/statistics.py",
        "(1 + confidence) / 2, xs.size - 2)", "(1 + confidence) / 2, xs.size - 1)", FIXED,
    ),
    (
        "statistics: a degree of freedom", "measures/statistics.py",
        "sum() / (xs.size - 2)", "sum() / (xs.size - 1)", FIXED,
    ),
    ("statistics: |r| for its square", "measures/statistics.py", "found.rvalue**2", "abs(found.rvalue)", FIXED),
    ("statistics: a one-sided p", "measures/statistics.py", "float(found.pvalue)", "float(found.pvalue) / 2", FIXED),
    (
        "statistics: an autocovariance's divisor", "ising/autocorrelation.py",
        "(np.arange(n, 0, -1) * R)", "(n * R)", FIXED,
    ),
    (
        "edges: a threshold reached exactly", "measures/grokking.py",
        "_first(train >= threshold * train.max()) + 1\n    t_test",
        "_first(train > threshold * train.max()) + 1\n    t_test",
        "tests/measures/test_grokking.py tests/measures/test_edges.py",
    ),
    (
        "edges: an absolute drop", "pruning/curve.py",
        "(1 - drop) * accuracies[..., :1]", "accuracies[..., :1] - drop",
        "tests/pruning/test_curve.py tests/pruning/test_edges.py",
    ),
    (
        "edges: the times at 0.9 taken at 0.95", "observe/names.py", '"_90": 0.9}', '"_90": 0.95}',
        "tests/training/test_loop.py",
    ),
    ("edges: energies with J = 1", "ising/dataset.py", "return -J * bonds", "return -bonds", "tests/ising/test_dataset.py"),
    (
        "edges: energies per bond", "ising/lattices.py",
        "np.asarray(total / problem.sites)", "np.asarray(total / (2 * problem.sites))",
        "tests/ising/test_sampler.py tests/ising/test_measure.py",
    ),
    ("figures: the test loss for the train loss", "figures/training_curves.py", '(("train", "--"), ("test", "-"))',
     '(("test", "--"), ("test", "-"))', DRAWN),
    ("figures: two series swapped", "figures/training_curves.py", '(("train", "--"), ("test", "-"))',
     '(("test", "--"), ("train", "-"))', DRAWN),
    ("figures: a linear axis", "figures/training_curves.py", ', xscale="log", yscale="log")', ', xscale="log")', DRAWN),
    (
        "figures: a standard error for the band", "figures/style.py",
        "curves.min(0), curves.max(0), color",
        "*(curves.mean(0) + s * curves.std(0) / len(curves) ** 0.5 for s in (-1, 1)), color", DRAWN,
    ),
    (
        "options: momentum goes nowhere", "training/optimizers.py", "*rows, config.momentum)", "*rows, 0.9)",
        "tests/training/test_loop.py",
    ),
    (
        "options: reshuffle goes nowhere", "training/loop.py",
        "if config.reshuffle and state.epoch:", "if False and state.epoch:",
        "tests/training/test_loop.py",
    ),
    (
        "options: --first-seed goes nowhere", "cli/train.py",
        "range(options.first_seed, options.first_seed + options.seeds)", "range(options.seeds)",
        "tests/cli/test_options.py",
    ),
    (
        "options: sweep --force goes nowhere", "cli/sweep.py", "self.again.force)", "False)",
        "tests/cli/test_options_reach.py",
    ),
    (
        "options: --save-every goes nowhere", "sweep/engine.py", "            save_every=carried.save_every,\n", "",
        "tests/sweep/test_plan.py",
    ),
    ("durability: no fsync", "store/atomic.py", "        os.fsync(handle)", "        pass", DURABLE),
    ("durability: written in place", "store/atomic.py", "        write(draft)\n", "        write(file)\n        write(draft)\n",
     DURABLE),
    (
        "durability: the pointer before the folder", "store/version.py",
        "        draft.rename(home / version)\n        sync(home)\n"
        '        write_atomically(home / "current", lambda pointer: pointer.write_text(f"{version}\\n{digest}\\n"))\n',
        '        write_atomically(home / "current", lambda pointer: pointer.write_text(f"{version}\\n{digest}\\n"))\n'
        "        draft.rename(home / version)\n        sync(home)\n",
        DURABLE,
    ),
    ("durability: a live draft deleted", "store/version.py", "> _DRAFTS_LIVE:", "> 0.0:", f"{DURABLE} tests/store/test_store.py"),
    ("durability: a dead draft kept", "store/version.py", "> _DRAFTS_LIVE:", "> 1e12:", f"{DURABLE} tests/store/test_store.py"),
    (
        "durability: deaths of a shard counted for ever", "sweep/shard.py",
        'if found["state"] == state else 0', "if found else 0", f"{SHARD}::test_deaths_count_since_the_last_saved_state",
    ),
    (
        "durability: an end without a death counted as one", "sweep/shard.py",
        '        (folder / "attempts.json").unlink(missing_ok=True)', "        pass", f"{SHARD}::test_a_disk_that_is_full_again_and_again_is_no_death",
    ),
    (
        "resume: without active", "training/state.py",
        '    state.optimizer.active.copy_(tensors["optimizer/active"])\n', "", RESUMED,
    ),
    (
        "resume: without diverged_epoch", "training/state.py",
        '    state.diverged = [int(epoch) for epoch in record["diverged"]]\n', "", RESUMED,
    ),
    ("resume: from the first epoch", "training/state.py", '    state.epoch = int(record["epoch"])\n', "", RESUMED),
]  # fmt: skip


def main(words: list[str]) -> int:
    """Run them and print what became of each."""
    spec = find_spec("grokfast")
    assert spec is not None
    installed = Path(spec.submodule_search_locations[0])  # type: ignore[index]
    torch.set_num_threads(1)
    chosen = [e for e in EXAMPLES if not words or any(word in e[0] or word in e[1] for word in words)]
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder).resolve()
        shutil.copytree(installed, copy / "grokfast", ignore=shutil.ignore_patterns("__pycache__"))
        os.environ.update(NUMBA_CACHE_DIR=str(copy / "numba"), PYTHONDONTWRITEBYTECODE="1")
        sys.dont_write_bytecode = True
        tests = sorted({test for example in chosen for test in example[4].split()})
        if outcome_anew(copy, ROOT, tests, SECONDS * len(tests)) != "survived":
            print("the tests fail without a mistake")
            return 1
        for number, (kind, file, old, new, where) in enumerate(chosen, start=1):
            target = copy / "grokfast" / file
            source = target.read_text(encoding="utf-8")
            if source.count(old) != 1:
                raise RuntimeError(f"{file} has {source.count(old)} times {old!r}")
            target.write_text(source.replace(old, new), encoding="utf-8")
            was = outcome_anew(copy, ROOT, where.split(), SECONDS)
            target.write_text(source, encoding="utf-8")
            survived += was == "survived"
            print(f"{number}/{len(chosen)} {was:8} {kind} ({file})", flush=True)
    print(f"{len(chosen)} mistakes, {survived} survived")
    return int(survived > 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
