// Kernels of a trajectory's geometry.
#pragma once

#include "grokfast/kernels.hpp"

namespace grokfast {

// clang-format off
#define GROKFAST_GEOMETRY_KERNELS(DECLARE, T, SUFFIX, LAST) \
  /* Adds to sums[E, S, 5] the inner products ss, pp, oo, sp, so of the steps s = after - here, p = here - before and of */ \
  /* o = -here over n parameters, weighted with metric (may be null: 1). With stiff [E, n], S = 2 and parameters go */ \
  /* to sums[e, stiff]; without (null), S = 1. */ \
  DECLARE(metric_gram_##SUFFIX, (const T* before, const T* here, const T* after, const T* metric, \
                                 const uint8_t* stiff, double* sums, int64_t E, int64_t n, LAST))
// clang-format on

GROKFAST_DECLARE_KERNELS(GROKFAST_GEOMETRY_KERNELS)

}  // namespace grokfast
