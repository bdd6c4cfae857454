#!/usr/bin/env bash
# run.sh address|thread|planted [pytest arguments]: the CPU kernels built with sanitizers, and the tests that call them.
#
# `address` is AddressSanitizer and UndefinedBehaviorSanitizer with every instruction set, and the tests of the ops, the
# Fisher diagonals, pruning and training by default; `thread` is ThreadSanitizer, with every kernel and the pool on 2 and
# 5 threads. `planted` puts one fault after another into a copy of the sources and ends with 1 unless each is caught.
# The package is built into a folder of its own; the installed one stays as it is. SANITIZE_BUILD names a folder to keep
# the builds in, so that the next run compiles what changed; SANITIZE_BASELINE=ON leaves newer instruction sets out of
# `address`, as `planted` does. Needs cmake, ninja and pybind11.
set -euo pipefail
kind=${1:?address, thread or planted}
shift
cd "$(dirname "$0")/../.."
here=tests/sanitize
python=${PYTHON:-python}
if [ -z "${SANITIZE_BUILD:-}" ]; then
  SANITIZE_BUILD=$(mktemp -d)
  trap 'rm -rf "$SANITIZE_BUILD"' EXIT
fi
export SANITIZE_BUILD

if [ "$kind" = planted ]; then
  export SANITIZE_BASELINE=ON  # the faults are in the sources of all sets
  exec "$python" "$here/planted.py"
fi
case $kind in
  address) flags=address,undefined libraries="libasan.so libubsan.so" baseline=${SANITIZE_BASELINE:-OFF} ;;
  thread) flags=thread libraries=libtsan.so baseline=ON ;;  # what is shared between threads is so in every set
  *) echo "expected address, thread or planted, got $kind"; exit 2 ;;
esac
build=$SANITIZE_BUILD/$kind
mkdir -p "$build/package"
if [ -z "${SANITIZE_AS_IS:-}" ]; then  # files that changed, alone: the rest is not compiled again
  find CMakeLists.txt cmake csrc -type f | while read -r file; do
    mkdir -p "$build/source/$(dirname "$file")"
    cmp -s "$file" "$build/source/$file" || cp "$file" "$build/source/$file"
  done
fi
cmake -S "$build/source" -B "$build/cmake" -G Ninja -DCMAKE_BUILD_TYPE=Release -DGROKFAST_CUDA=OFF \
  "-DGROKFAST_SANITIZE=$flags" "-DGROKFAST_BASELINE_ONLY=$baseline" \
  "-DPython_EXECUTABLE=$(command -v "$python")" "-Dpybind11_DIR=$("$python" -m pybind11 --cmakedir)" >"$build/configure.txt"
cmake --build "$build/cmake" >"$build/compile.txt" || { tail -30 "$build/compile.txt"; exit 3; }
rm -rf "$build/package/grokfast"
cp -r grokfast "$build/package/grokfast"
cp "$build"/cmake/_core.*.so "$build/package/grokfast/"

# The runtime must come first; with libstdc++, or it does not see exceptions.
preload=
for library in $libraries libstdc++.so.6; do preload+="$("${CXX:-c++}" -print-file-name=$library) "; done
export PYTHONPATH=$build/package GROKFAST_NATIVE=require OMP_NUM_THREADS=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:abort_on_error=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:ignore_noninstrumented_modules=1:report_signal_unsafe=0
if [ $# -eq 0 ]; then
  if [ "$kind" = thread ]; then
    set -- tests/ops/test_threads.py
  else
    # What passes addresses to kernels: every op with hostile, random and bordering arguments, and those above them.
    set -- tests/ops tests/fisher/test_chains.py tests/fisher/test_memory.py tests/pruning tests/training/test_loop.py
  fi
  # Limits on memory mean nothing to sanitizers, which reserve terabytes.
  set -- -k "not under_a_limit and not thread_can_be_had and not fork" "$@"
fi
LD_PRELOAD=$preload "$python" -P -m pytest -q -p no:cacheprovider --capture=sys "$@"  # or reports are lost with the process
