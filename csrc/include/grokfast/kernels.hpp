// How kernels are declared. A kernel list is a macro LIST(DECLARE, T, SUFFIX, LAST): for every kernel a line
// DECLARE(name_##SUFFIX, (arguments, LAST)). The lists in fisher.hpp and training.hpp give the prototypes here and the
// Python functions in csrc/bindings; a new kernel is one line there, one .cpp and one .cu.
//
// All arrays are dense and row-major; the leading axis E counts members. CPU kernels exist once per instruction set and
// end in `int threads`; those in namespace cuda take device addresses, end in `void* stream` and return a cudaError_t
// as int.
#pragma once

#include <cstdint>

#include "grokfast/isa.hpp"

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "the kernels find NaN and infinities by arithmetic, which -ffast-math and -ffinite-math-only break"
#endif

namespace grokfast {
using std::int32_t;
using std::int64_t;
using std::uint8_t;

namespace cuda {
const char* error_text(int status);  // CUDA's own words for a status
int toolkit_version();               // of the build: 13000 is CUDA 13.0
}  // namespace cuda
}  // namespace grokfast

#define GROKFAST_DECLARE_CUDA_KERNEL(name, args) \
  namespace cuda {                               \
  int name args;                                 \
  }

#define GROKFAST_DECLARE_CPU_KERNELS(LIST)               \
  LIST(GROKFAST_DECLARE_KERNEL, float, f32, int threads) \
  LIST(GROKFAST_DECLARE_KERNEL, double, f64, int threads)

#define GROKFAST_DECLARE_CUDA_KERNELS(LIST)                    \
  LIST(GROKFAST_DECLARE_CUDA_KERNEL, float, f32, void* stream) \
  LIST(GROKFAST_DECLARE_CUDA_KERNEL, double, f64, void* stream)

#define GROKFAST_DECLARE_KERNELS(LIST) \
  GROKFAST_DECLARE_CPU_KERNELS(LIST)   \
  GROKFAST_DECLARE_CUDA_KERNELS(LIST)
