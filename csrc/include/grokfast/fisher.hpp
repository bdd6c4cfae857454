// Kernels of the Fisher diagonal.
#pragma once

#include "grokfast/kernels.hpp"

namespace grokfast {

// Whose labels fisher_two_layer and fisher_chain average over.
enum LabelMode : int64_t { kSoftmax = 0, kGiven = 1, kGaussian = 2 };

// clang-format off
#define GROKFAST_FISHER_KERNELS(DECLARE, T, SUFFIX, LAST) \
  /* out[e,o,i] = sum_n (sum_t g[e,n,t,o] a[e,n,t,i])^2 */ \
  DECLARE(fisher_linear_##SUFFIX, (const T* g, const T* a, T* out, int64_t E, int64_t N, int64_t positions, \
                                   int64_t O, int64_t I, LAST)) \
  /* out[e,h,o,k] = sum_n (sum_l g[e,n,h,o,l] x[e,n,h, base[l] + offset[k]])^2; x has `pixels` values a group */ \
  DECLARE(fisher_patches_##SUFFIX, (const T* g, const T* x, const int64_t* base, const int64_t* offset, T* out, \
                                    int64_t E, int64_t N, int64_t groups, int64_t O, int64_t L, int64_t K, \
                                    int64_t pixels, LAST)) \
  /* A network with one hidden ReLU layer, y = w2 relu(w1 x + b1) + b2: sums of squares for the labels of `mode` \
     (LabelMode). x [N, I] is shared by the members; b1, b2 and labels [E, S, N] may be null. status[e] is 0, \
     1 (hidden layer not finite) or 2 (outputs not finite). */ \
  DECLARE(fisher_two_layer_##SUFFIX, (const T* x, const T* w1, const T* b1, const T* w2, const T* b2, \
                                      const int64_t* labels, T* out_w1, T* out_b1, T* out_w2, T* out_b2, \
                                      int64_t* status, int64_t E, int64_t N, int64_t I, int64_t H, int64_t C, \
                                      int64_t S, int64_t mode, LAST)) \
  /* A chain of `depth` layers, 17 numbers each in spec (fisher_lanes.hpp). addresses, sizes (per member) and results \
     by parameter; x [N, ...] is shared by the members. status[e]: 0, 1 (not finite) or 3 (float32 is not enough). */ \
  DECLARE(fisher_chain_##SUFFIX, (const T* x, const int64_t* addresses, const int64_t* sizes, \
                                  const int64_t* results, const int64_t* spec, const int64_t* labels, \
                                  int64_t* status, int64_t E, int64_t N, int64_t depth, int64_t parameters, \
                                  int64_t S, int64_t mode, LAST))
// clang-format on

GROKFAST_DECLARE_KERNELS(GROKFAST_FISHER_KERNELS)

}  // namespace grokfast
