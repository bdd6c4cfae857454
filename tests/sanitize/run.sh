#!/usr/bin/env bash
# run.sh address|thread [pytest arguments]: the CPU kernels built with sanitizers, and the tests that call them.
#
# `address` is AddressSanitizer and UndefinedBehaviorSanitizer, with the op tests by default; `thread` is
# ThreadSanitizer, with every kernel on 2 and 5 threads. The package is built into a folder of its own; the installed
# one stays as it is. SANITIZE_BUILD names a folder to keep the build in, so that the next run compiles what changed.
set -euo pipefail
kind=${1:?address or thread}
shift
cd "$(dirname "$0")/../.."
python=${PYTHON:-python}
build=${SANITIZE_BUILD:-$(mktemp -d)}/$kind
[ -n "${SANITIZE_BUILD:-}" ] || trap 'rm -rf "$(dirname "$build")"' EXIT
mkdir -p "$build"

case $kind in
  address) flags=address,undefined libraries="libasan.so libubsan.so" ;;
  thread) flags=thread libraries=libtsan.so ;;
  *) echo "expected address or thread, got $kind"; exit 2 ;;
esac
"$python" -m pip install -q --no-deps --upgrade --target "$build/package" ${SANITIZE_PIP:-} \
  -C "build-dir=$build/cmake" -C install.strip=false \
  -C "cmake.define.GROKFAST_SANITIZE=$flags" -C cmake.define.GROKFAST_CUDA=OFF .

# The runtime must come first; with libstdc++, or it does not see exceptions.
preload=
for library in $libraries libstdc++.so.6; do preload+="$("${CXX:-c++}" -print-file-name=$library) "; done
export PYTHONPATH=$build/package GROKFAST_NATIVE=require OMP_NUM_THREADS=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:abort_on_error=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:ignore_noninstrumented_modules=1:report_signal_unsafe=0
if [ $# -eq 0 ]; then
  # Limits on memory mean nothing to AddressSanitizer, which reserves terabytes.
  set -- -k "not under_a_limit and not thread_can_be_had and not fork"
  [ "$kind" = address ] && set -- "$@" tests/ops || set -- "$@" tests/ops/test_threads.py
fi
LD_PRELOAD=$preload "$python" -P -m pytest -q -p no:cacheprovider "$@"
