// Kernels of the Fisher diagonal.
#pragma once

#include "grokfast/kernels.hpp"

namespace grokfast {

// clang-format off
#define GROKFAST_FISHER_KERNELS(DECLARE, T, SUFFIX, LAST) \
  /* out[e,o,i] = sum_n (sum_t g[e,n,t,o] a[e,n,t,i])^2 */ \
  DECLARE(fisher_linear_##SUFFIX, (const T* g, const T* a, T* out, int64_t E, int64_t N, int64_t positions, \
                                   int64_t O, int64_t I, LAST)) \
  /* out[e,h,o,k] = sum_n (sum_l g[e,n,h,o,l] x[e,n,h, base[l] + offset[k]])^2; x has `pixels` values a group */ \
  DECLARE(fisher_patches_##SUFFIX, (const T* g, const T* x, const int64_t* base, const int64_t* offset, T* out, \
                                    int64_t E, int64_t N, int64_t groups, int64_t O, int64_t L, int64_t K, \
                                    int64_t pixels, LAST))
// clang-format on

GROKFAST_DECLARE_KERNELS(GROKFAST_FISHER_KERNELS)

}  // namespace grokfast
