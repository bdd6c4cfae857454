# ruff: noqa: E501  (a table of texts)
"""Plant small mistakes in the kernels, one at a time, and list those that no test notices.

``python -P tests/mutants/cpp.py [--record] [word ...]`` takes the mutants whose file or kernel has one of the words, all
without, and with ``--record`` writes the counts of their kernels into docs/mutants.md. Each
is one change of text in ``csrc``; only the kernels that it names are compiled, for the widest instruction set of this
machine, into another extension for the installed package, and the border, NaN and thread tests of that kernel run. A
change that does not compile or is not found is an error, not a catch. Ends with 1 if one survived that is not listed as
harmless.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from pathlib import Path
from types import ModuleType

import pybind11
import torch

import grokfast

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

from covering import in_fork  # noqa: E402
from table import write_rows  # noqa: E402

FLAGS = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mfma", "-mprefer-vector-width=512"],
}
_cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
ISAS = ["baseline", *(["avx2"] if " avx2" in _cpu else []), *(["avx512"] if " avx512bw" in _cpu else [])]
VERBOSE = bool(os.environ.get("MUTANTS_VERBOSE"))
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
COMPILER = [*(["ccache"] if shutil.which("ccache") else []), "c++"]
MLP, CNN, POOL = "mlp_cross_entropy", "cnn_cross_entropy", "conv_relu_pool"

# file of csrc/cpu or csrc/include/grokfast; kernels to test; what stands there; what stands there instead
MUTANTS = [
    ("adam.cpp", "adam", "(n + kChunk - 1) / kChunk;\n  parallel_for(E * chunks, threads, [&](int64_t task) {\n    const int64_t e = task / chunks, first = task % chunks * kChunk;\n    if (!active[e]) return;\n    const int64_t count = std::min(kChunk, n - first), at = e * n + first;\n    T* __restrict__ P = p + at;\n    T* __restrict__ M", "std::max<int64_t>(1, n / kChunk);\n  parallel_for(E * chunks, threads, [&](int64_t task) {\n    const int64_t e = task / chunks, first = task % chunks * kChunk;\n    if (!active[e]) return;\n    const int64_t count = std::min(kChunk, n - first), at = e * n + first;\n    T* __restrict__ P = p + at;\n    T* __restrict__ M"),
    ("adam.cpp", "adam", "take2 * gradient * gradient", "take2 * gradient"),
    ("adam.cpp", "adam", "1 / std::sqrt(c.bias_correction2)", "1 / c.bias_correction2"),
    ("adam.cpp", "adam", "lr[e] / c.bias_correction1", "lr[0] / c.bias_correction1"),
    ("adam.cpp", "sgd", "l2 = static_cast<T>(decay[e]);\n    for", "l2 = static_cast<T>(decay[0]);\n    for"),
    ("adam.cpp", "sgd", "P[k] -= rate * u;", "P[k] -= rate * G[k];"),
    ("two_hot.cpp", "two_hot_relu", "const int64_t chunks = (N + kChunk - 1) / kChunk;", "const int64_t chunks = N < kChunk ? 1 : N / kChunk;"),
    ("two_hot.cpp", "two_hot_relu", "z < T(0) ? T(0) : z;", "z > T(0) ? z : T(0);"),
    ("two_hot.cpp", "two_hot_relu", "(P + pair[1]) * H;\n      T* __restrict__ to", "(P + pair[0]) * H;\n      T* __restrict__ to"),
    ("two_hot.cpp", "two_hot_relu_backward", "y[k] <= T(0) ? T(0) : dh[k]", "y[k] < T(0) ? T(0) : dh[k]"),
    ("two_hot.cpp", "two_hot_relu_backward", "std::fill_n(dc, H, T(0));", ""),
    ("cross_entropy.cpp", "cross_entropy", "static_cast<T>(1.0 / N)", "T(1)"),
    ("cross_entropy.cpp", "cross_entropy", "hits += hit;", "hits = hit;"),
    ("cross_entropy_row.hpp", "cross_entropy", "*hit && c < label; ++c) *hit = z[c] != top;", "false; ++c) *hit = z[c] != top;"),
    ("cross_entropy_row.hpp", "cross_entropy", "grad[label] = -others * weight;", "grad[label] = (own - (own + others)) * weight * T(0.5);"),
    ("cross_entropy_row.hpp", "cross_entropy", "if (grad) std::fill_n(grad, C, nan);", ""),
    ("cross_entropy_row.hpp", "cross_entropy", "if (!(spoilt == T(0))) {", "if (spoilt != spoilt && C > 20) {"),
    ("cross_entropy_row.hpp", "cross_entropy", "- k * -2.12194440e-4f", ""),
    ("geometry.cpp", "metric_gram", "(n + kBlock - 1) / kBlock, width", "std::max<int64_t>(1, n / kBlock), width"),
    ("geometry.cpp", "metric_gram", "std::min(kBlock, n - first);", "std::min(kBlock, n - first - (first > 0));"),
    ("geometry.cpp", "metric_gram", "tsp += mine ? d : 0.0;", "tsp += mine ? e : 0.0;"),
    ("geometry.cpp", "metric_gram", "b < blocks; ++b)", "b < (blocks > 1 ? blocks - 1 : blocks); ++b)"),
    ("mlp.cpp", MLP, "H, first > 0);", "H, first > kBlock);"),
    ("mlp.cpp", MLP, "static_cast<T>(1.0 / N)", "static_cast<T>(1.0 / samples)"),
    ("mlp.cpp", MLP, "hits += hit;", "hits += first == 0 && hit;"),
    ("mlp.cpp", MLP, "std::fill_n(g_bias2, C, T(0));", ""),
    ("products.hpp", MLP, "int64_t rest = k; rest < width; ++rest", "int64_t rest = k; rest + 1 < width; ++rest"),
    ("products.hpp", MLP, "for (; m < rows; ++m) dot_strip", "for (; m + 1 < rows; ++m) dot_strip"),
    ("products.hpp", MLP, "for (; c < columns; ++c) dot_tile", "for (; c + 1 < columns; ++c) dot_tile"),
    ("products.hpp", MLP, "out[m * width + k] = accumulate ? out[m * width + k] + sum : sum;", "out[m * width + k] = sum;"),
    ("products.hpp", MLP, "accumulate ? S::load(to) + sums[m][v] : sums[m][v]", "sums[m][v]"),
    ("mlp_losses.cpp", "mlp_losses", "s.live[u / kWord];", "s.live[0];"),
    ("mlp_losses.cpp", "mlp_losses", "std::min(kChunk, H - u);", "std::min(kChunk - 1, H - u);"),
    ("mlp_losses.cpp", "mlp_losses", "finite ? 0 : ~std::uint64_t(0)", "0"),
    ("mlp_losses.cpp", "mlp_losses", "std::min(kBlock, N - first);", "std::min(kBlock, N - first) - (first > 0);"),
    ("mlp_losses.cpp", "mlp_losses", "sum < T(0) ? T(0) : sum;", "sum > T(0) ? sum : T(0);"),
    ("columns.hpp", "mlp_losses", "for (; c + 2 * lanes <= width;", "for (; c + 3 * lanes <= width;"),
    ("columns.hpp", "mlp_losses", "for (; c < width; c += lanes) add", "for (; c + lanes < width; c += lanes) add"),
    ("mlp_nested.cpp", "mlp_nested", "b < blocks; ++b) {", "b < std::max<int64_t>(1, blocks - 1); ++b) {"),
    ("mlp_nested.cpp", "mlp_nested", "gap <= kDoubt *", "gap < 0 * kDoubt *"),
    ("mlp_nested.cpp", "mlp_nested", "2 * P * K + k};", "2 * P * K};"),
    ("mlp_nested.cpp", "mlp_nested", "c < stride; c += kSquare", "c < std::min(stride, kSquare); c += kSquare"),
    ("cnn.cpp", CNN, "for (int64_t range = 1; range < ranges; ++range) {", "for (int64_t range = 1; range + 1 < ranges; ++range) {"),
    ("cnn.cpp", CNN, "correct[e] += hits[e * ranges + range];", "correct[e] = hits[e * ranges + range];"),
    ("cnn.cpp", CNN, "blocks * range / ranges * L", "(blocks * range / ranges + (range == 3)) * L"),
    ("cnn_pass.hpp", CNN, "vectors * L, gradients[at], inputs, !first);", "vectors * L, gradients[at], inputs, false);"),
    ("cnn_pass.hpp", CNN, "n < samples ? d[c] : T(0);", "d[c];"),
    ("cnn_pass.hpp", CNN, "if (k > 0) mask_by", "if (k > 1) mask_by"),
    ("lane_linear.hpp", CNN, "for (; v < vectors; ++v) {", "for (; v + 1 < vectors; ++v) {"),
    ("lane_linear.hpp", CNN, "relu ? (sum < zero ? zero : sum) : sum", "sum"),
    ("conv_lanes.hpp", POOL, "const Mask take = v > best;", "const Mask take = v >= best;"),
    ("conv_lanes.hpp", POOL, "best = spoilt ? v0 + v1 + v2 + v3 : best;", ""),
    ("conv_lanes.hpp", POOL, "for (; j < b.pooled_width(); ++j) forward_tile", "for (; j + 1 < b.pooled_width(); ++j) forward_tile"),
    ("conv_lanes.hpp", POOL + "_backward", "right ? seen[v + 1] : seen[v]", "seen[v]"),
    ("conv_lanes.hpp", POOL + "_backward", "for (; x < b.even_width(); x += 2) back", "for (; x + 2 < b.even_width(); x += 2) back"),
    ("conv_pool.cpp", POOL, "n < last; n += A::L", "n + 1 < last; n += A::L"),
    ("conv_pool.cpp", POOL + "_backward", "range < kRanges; ++range) sum +=", "range < kRanges - 1; ++range) sum +="),
    ("conv_pool.cpp", POOL + "_backward", "j < samples ? winners[(n + j) * windows + k] : kDead", "winners[(n + (j < samples ? j : 0)) * windows + k]"),
    ("lane_pack.hpp", POOL, "for (; x + L <= width; x += L) {\n        typename S::Vector v[L];\n#pragma GCC unroll 16\n        for (int j = 0; j < L; ++j) v[j] = S::load(rows", "for (; x + L < width; x += L + 1) {\n        typename S::Vector v[L];\n#pragma GCC unroll 16\n        for (int j = 0; j < L; ++j) v[j] = S::load(rows"),
    ("fisher_linear.cpp", "fisher_linear", "for (int64_t t = 1; t < positions;", "for (int64_t t = 1; t + (positions > 20 && positions % 2) < positions;"),
    ("fisher_linear.cpp", "fisher_linear", "for (auto& v : row) v *= v;", "for (auto& v : row) v *= T(1);"),
    ("fisher_linear.cpp", "fisher_linear", "n0 < N; n0 += block", "n0 + block < N + block / 2; n0 += block"),
    ("fisher_gemm.hpp", "fisher_linear", "for (int64_t r = width; r < size; ++r) to[r] = T(0);", "for (int64_t r = width; r + 1 < size; ++r) to[r] = T(0);"),
    ("fisher_gemm.hpp", "fisher_linear", "k0 < steps; k0 += kDepth) {\n    const int64_t depth", "k0 + 1 < steps + (k0 == 0); k0 += kDepth) {\n    const int64_t depth"),
    ("fisher_patches.cpp", "fisher_patches", "range < ranges; ++range)\n            sum", "range < std::min<int64_t>(ranges, 7); ++range)\n            sum"),
    ("fisher_patches.cpp", "fisher_patches", "for (; k < K; ++k) patch_tile", "for (; k + 1 < K; ++k) patch_tile"),
    ("fisher_patches.cpp", "fisher_patches", "const bool wide = O - o > lanes;", "const bool wide = O - o > lanes + 1;"),
    ("fisher_two_layer.cpp", "fisher_two_layer", "sums[top] = q[top] * others(q, C, top);", "sums[top] = q[top];"),
    ("fisher_two_layer.cpp", "fisher_two_layer", "if (++taken % kDepth != 0) return;", "if (++taken % kDepth != 1) return;"),
    ("fisher_two_layer.cpp", "fisher_two_layer", "n0 < net.N; n0 += kDepth) {\n      const int64_t depth", "n0 < kDepth; n0 += kDepth) {\n      const int64_t depth"),
    ("fisher_two_layer_parts.hpp", "fisher_two_layer", "if (entries > kNonZeros) return;", "if (entries > kNonZeros + 1) return;"),
    ("fisher_two_layer_parts.hpp", "fisher_two_layer", "lost == 0.0 ? 0 : 2", "0"),
    ("fisher_chain.cpp", "fisher_chain", "range < ranges; ++range)\n            for", "range < std::min<int64_t>(ranges, 3); ++range)\n            for"),
    ("fisher_chain_pass.hpp", "fisher_chain", "to[j] += gs[b * outputs * L + j];", "to[j] = gs[b * outputs * L + j];"),
    ("fisher_chain_pass.hpp", "fisher_chain", "if (++blocks == batch) flush();", "if (++blocks == batch) blocks = 0;"),
    ("fisher_lanes.hpp", "fisher_chain", "if (i < inputs)\n", "if (i < inputs && inputs < 2)\n"),
]  # fmt: skip

HARMLESS = {
    "for (; c + 3 * lanes <= width;": "two vectors go one by one",
    "for (int64_t r = width; r + 1 < size; ++r) to[r] = T(0);": "a padded row of a tile is never written back",
    "const bool wide = O - o > lanes + 1;": "one channel too many for a strip goes in another",
    "if (++taken % kDepth != 1) return;": "sums are added up at another place in the order",
}


def compile_all(source: Path, build: Path, names: list[str], isas: list[str]) -> None:
    """Object files of kernel sources, the pool and the bindings."""
    include = ["-I", str(source / "csrc/include"), "-I", pybind11.get_include(), "-I", sysconfig.get_path("include")]
    common = [*COMPILER, "-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden", "-w", *include]
    jobs = []
    for name in names:
        for one in isas:
            target = build / f"{one}-{name}.o"
            flags = [
                "-ffp-contract=fast",
                "-fno-math-errno",
                "-fopenmp-simd",
                f"-DGROKFAST_ISA={one}",
                f"-DGROKFAST_ISA_{one}",
            ]
            jobs.append([*common, *flags, *FLAGS[one], "-c", str(source / "csrc/cpu" / name), "-o", str(target)])
    if len(names) > 5:
        rest = [source / "csrc/cpu" / name for name in PLAIN] + sorted((source / "csrc/bindings").glob("*.cpp"))
        jobs += [[*common, "-c", str(path), "-o", str(build / f"plain-{path.name}.o")] for path in rest]
    waiting = list(jobs)
    running: list[subprocess.Popen[bytes]] = []
    while waiting or running:
        while waiting and len(running) < CORES:
            running.append(
                subprocess.Popen(waiting.pop(0), cwd=source, env={**os.environ, "CCACHE_BASEDIR": str(source)})
            )
        if running.pop(0).wait() != 0:
            raise RuntimeError("a mutant does not compile")


# Where a kernel is, if not in a file of its name.
SOURCES = {
    "mlp_cross_entropy": "mlp.cpp", "sgd": "adam.cpp", "metric_gram": "geometry.cpp", "two_hot_relu": "two_hot.cpp",
    "two_hot_relu_backward": "two_hot.cpp", "conv_relu_pool": "conv_pool.cpp", "conv_relu_pool_backward": "conv_pool.cpp",
    "cnn_cross_entropy": "cnn.cpp",
}  # fmt: skip
PLAIN = ("isa.cpp", "memory.cpp", "parallel.cpp")
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


def load(path: Path) -> ModuleType:
    """A test file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


CASES, THREADS, BORDERS, SPOILT, NESTED = (
    load(ROOT / "tests/ops" / f"{name}.py")
    for name in ("conftest", "test_threads", "test_borders", "test_spoilt", "test_mlp_nested")
)


def run_tests(kernel: str) -> None:
    """Those of one kernel, cheapest first; raises where one fails."""
    for dtype in (torch.float32, torch.float64):
        torch.set_num_threads(1)
        THREADS.test_threads_give_the_same_bits(CASES.CASES, kernel, dtype)
        torch.set_num_threads(1)
        BORDERS.test_borders(CASES.CASES, kernel, dtype, None)
    for dtype in (torch.float32, torch.float64):
        if "cross_entropy" in kernel or kernel in ("mlp_losses", "mlp_nested"):
            for how in ("ties", "large", "last"):
                SPOILT.test_ties_and_large_logits(CASES.CASES, kernel, dtype, how, None)
        if kernel.startswith("conv"):
            SPOILT.test_of_equal_maxima_the_first_wins(CASES.CASES, kernel, dtype, None)
        SPOILT.test_what_is_not_finite_comes_out_where_it_went_in(CASES.CASES, kernel, dtype)


def run_special_tests(kernel: str) -> None:
    """What only one kernel has."""
    if kernel == "mlp_losses":
        for units in ((0, 64), (64, 128)):
            for value in (0.0, torch.inf):
                SPOILT.test_units_that_reach_no_output_and_one_that_is_never_active(CASES.CASES, units, value, None)
    if kernel == "cross_entropy":
        SPOILT.test_few_logits_of_which_one_is_not_finite(CASES.CASES, 5, None)
    if kernel == "mlp_nested":
        for dtype in (torch.float32, torch.float64):
            NESTED.test_ties_go_to_the_first_class_after_what_has_come_and_gone(None, dtype)


def caught(package: Path, kernel: str) -> bool:
    """Whether a test fails with the extension in ``package``: in a fork, which has torch but no extension yet."""

    def job() -> bool:
        grokfast.__path__.insert(0, str(package))
        try:
            run_special_tests(kernel)
            run_tests(kernel)
        except BaseException as error:
            if VERBOSE:
                print(f"{type(error).__name__}: {str(error)[:200]}", flush=True)
            return True
        return False

    return in_fork(job, limit=300.0, quiet=not VERBOSE) is not False  # a crash and a loop without end are noticed too


def main(words: list[str]) -> int:
    """Run the mutants and print what became of each."""
    record, words = "--record" in words, [word for word in words if word != "--record"]
    chosen = [m for m in MUTANTS if not words or any(word in m[0] or word in m[1] for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        clean, package = work / "clean", work / "package"
        clean.mkdir()
        package.mkdir()
        names = sorted({path.name for path in (ROOT / "csrc/cpu").glob("*.cpp")} - set(PLAIN))
        compile_all(ROOT, clean, names, ISAS)

        def link(changed: Path | None) -> None:
            files = {path.name: path for path in clean.iterdir()}
            files |= {path.name: path for path in changed.iterdir()} if changed else {}
            target = package / f"_core{SUFFIX}"
            subprocess.run(["c++", "-shared", "-pthread", "-o", target, *files.values()], check=True)

        link(None)
        for kernels in sorted({mutant[1] for mutant in chosen}):
            if caught(package, kernels):
                raise RuntimeError(f"the tests of {kernels} fail without a mutant")
        survived = []
        counts: dict[str, Counter[str]] = {}
        for number, (file, kernels, old, new) in enumerate(chosen, start=1):
            source, changed = work / "source", work / "changed"
            for path in (source, changed):
                shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(ROOT / "csrc", source / "csrc")
            changed.mkdir()
            (path,) = [p for p in (source / "csrc/cpu" / file, source / "csrc/include/grokfast" / file) if p.exists()]
            text = path.read_text()
            if old not in text:
                raise RuntimeError(f"{file} has no {old!r}")
            path.write_text(text.replace(old, new, 1))
            compile_all(source, changed, [SOURCES.get(kernels, f"{kernels}.cpp")], ISAS[-1:])
            link(changed)
            killed = caught(package, kernels)
            survived += [] if killed else [(file, old, new)]
            counts.setdefault(kernels, Counter()).update(
                ["killed" if killed else "harmless" if new in HARMLESS else "survived"]
            )
            print(
                f"{number}/{len(chosen)} {'caught  ' if killed else 'SURVIVED'} {file}: {old[:60]!r} -> {new[:60]!r}",
                flush=True,
            )
            if record:
                rows = {
                    name: [name, str(of.total()), *(str(of[what]) for what in ("killed", "harmless", "survived"))]
                    for name, of in counts.items()
                }
                write_rows(ROOT / "docs/mutants.md", "kernels", rows)
        print(f"{len(chosen)} mutants, {len(chosen) - len(survived)} caught, {len(survived)} survived")
        return int(any(new not in HARMLESS for _, _, new in survived))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
