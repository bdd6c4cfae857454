#!/usr/bin/env bash
# run.sh [pytest arguments]: the CUDA kernels compiled for the CPU (emulated/), under AddressSanitizer and
# UndefinedBehaviorSanitizer, and the tests of the operations with every call of a kernel sent there; then whole runs on a
# pretended device (conftest.py), whose kernels they are.
#
# The installed package is used as it is. EMULATED_BUILD names a folder to keep the build in.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python}
build=${EMULATED_BUILD:-$(mktemp -d)}
[ -n "${EMULATED_BUILD:-}" ] || trap 'rm -rf "$build"' EXIT
"$python" tests/cuda/build.py "$build"

# The runtime must come first; with libstdc++, or it does not see exceptions.
preload=
for library in libasan.so libubsan.so libstdc++.so.6; do preload+="$("${CXX:-c++}" -print-file-name=$library) "; done
export GROKFAST_EMULATED_CUDA=$build GROKFAST_NATIVE=require OMP_NUM_THREADS=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
export ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0:allocator_may_return_null=1:abort_on_error=1
export UBSAN_OPTIONS=print_stacktrace=1
if [ $# -eq 0 ]; then
  border=test_a_weight_that_is_not_finite_meets_the_zeros_of_the_border
  set -- tests/cuda tests/ops/test_cuda_kernels.py tests/ops/test_cnn_epochs.py \
    tests/ops/test_conv_pool.py::$border tests/ops/test_fisher_networks.py::$border
fi
LD_PRELOAD=$preload "$python" -P -m pytest -q -p no:cacheprovider "$@"
