// The backward pass of one hidden unit on a few vectors of classes, for mlp_epoch.cpp.
#pragma once

#include <algorithm>

#include "adam_vector.hpp"
#include "lane_pack.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {  // nothing here may be shared between objects: cmake/check_symbols.cmake

constexpr int kPartial = 128;  // samples whose gradients are summed before they are added to others

// Keeps in its register what the compiler would load again where it is used twice.
template <typename Vector>
inline void hold([[maybe_unused]] Vector& x) {
#if defined(GROKFAST_ISA_avx512)
  __asm__("" : "+v"(x));
#endif
}

// One step of a vector of parameters and its moments in memory, `step` elements apart.
template <typename T>
inline void update_at(T* p, int64_t stride, typename Simd<T>::Vector g, const AdamRule<T>& rule, AdamStep<T> step) {
  using S = Simd<T>;
  typename S::Vector weight = S::load(p), m = S::load(p + stride), v = S::load(p + 2 * stride);
  rule.update(weight, m, v, g, step);
  S::store(p, weight);
  S::store(p + stride, m);
  S::store(p + 2 * stride, v);
}

// For the samples n_k = list[k], k < count: dots[k] += d[n_k] . w, and w takes its step with g = sum of h[n_k] d[n_k].
// d is [sample][stride]; w is at `column`, its moments `stride` and 2 `stride` after it. dots has room for whole vectors.
template <typename T, int Vectors>
inline void column_tile(const T* h, const int32_t* list, int count, const T* d, int64_t stride, T* column, T* dots,
                        const AdamRule<T>& rule, AdamStep<T> step) {
  using S = Simd<T>;
  using Vector = typename S::Vector;
  constexpr int L = S::lanes;
  Vector w[Vectors], g[Vectors] = {};
  alignas(64) T sum[Vectors * L];  // of earlier samples
  bool split = false;
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) w[v] = S::load(column + v * L);
  for (int k0 = 0; k0 < count; k0 += L) {
    const int here = std::min<int>(L, count - k0);
    Vector products[L];
    for (int j = here; j < L; ++j) products[j] = Vector{};
    for (int j = 0; j < here; ++j) {
      const int64_t n = list[k0 + j];
      const T* from = d + n * stride;
      const T x = h[n];
      Vector product[2] = {};
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) {
        Vector y = S::load(from + v * L);
        hold(y);
        g[v] += x * y;
        product[v % 2] += w[v] * y;
      }
      products[j] = product[0] + product[1];
    }
    S::store(dots + k0, S::load(dots + k0) + sum_each<T>(products));
    if ((k0 + L) % kPartial == 0) {
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) {
        S::store(sum + v * L, split ? S::load(sum + v * L) + g[v] : g[v]);
        g[v] = Vector{};
      }
      split = true;
    }
  }
  if (split) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) g[v] += S::load(sum + v * L);
  }
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) update_at(column + v * L, stride, g[v], rule, step);
}

}  // namespace
}  // namespace grokfast::GROKFAST_ISA
