// out[e,h,o,k] = sum_n (sum_l g[e,n,h,o,l] x[e,n,h, base[l] + offset[k]])^2: the convolution's rule. Patches are never
// laid out: a tile broadcasts image values straight from their place, against vectors over output channels.
//
// The samples go in a fixed number of ranges with totals of their own, added up in order, so the answer does not
// depend on the number of threads.
#include <algorithm>

#include "grokfast/fisher.hpp"
#include "grokfast/fisher_gemm.hpp"
#include "grokfast/parallel.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {

constexpr int64_t kRanges = 8;

// total[k][o] += (sum_l x[base[l] + offset[k]] * g[l][o])^2 for `count` patch entries and V vectors of channels.
template <typename T, int Count, int V>
inline void patch_tile(const T* x, const int64_t* base, const int64_t* offset, const T* g, int64_t L, T* total,
                       int64_t stride) {
  using S = Simd<T>;
  typename S::Vector v[Count][V] = {};
  const T* from[Count];
  for (int r = 0; r < Count; ++r) from[r] = x + offset[r];
  for (int64_t l = 0; l < L; ++l) {
    typename S::Vector row[V];
    for (int j = 0; j < V; ++j) row[j] = S::load(g + l * V * S::lanes + j * S::lanes);
    const int64_t at = base[l];
#pragma GCC unroll 12
    for (int r = 0; r < Count; ++r)
      for (int j = 0; j < V; ++j) v[r][j] += from[r][at] * row[j];
  }
#pragma GCC unroll 12
  for (int r = 0; r < Count; ++r)
    for (int j = 0; j < V; ++j) {
      T* to = total + r * stride + j * S::lanes;
      S::store(to, S::load(to) + v[r][j] * v[r][j]);
    }
}

template <typename T, int V>
void strip(const T* x, const int64_t* base, const int64_t* offset, const T* g, int64_t L, int64_t K, T* total,
           int64_t stride) {
  int64_t k = 0;
  for (; k + kRows <= K; k += kRows)
    patch_tile<T, kRows, V>(x, base, offset + k, g, L, total + k * stride, stride);
  for (; k + 3 <= K; k += 3) patch_tile<T, 3, V>(x, base, offset + k, g, L, total + k * stride, stride);
  for (; k < K; ++k) patch_tile<T, 1, V>(x, base, offset + k, g, L, total + k * stride, stride);
}

template <typename T>
void fisher_patches(const T* g, const T* x, const int64_t* base, const int64_t* offset, T* out, int64_t E, int64_t N,
                    int64_t groups, int64_t O, int64_t L, int64_t K, int64_t pixels, int threads) {
  constexpr int64_t lanes = Simd<T>::lanes;
  const int64_t ranges = std::max<int64_t>(1, std::min(kRanges, N));
  const int64_t stride = panels(O, lanes) * lanes;
  const int64_t size = groups * K * stride;
  Array<T> totals(E * ranges * size, T(0));
  parallel_for(E * ranges, threads, [&](int64_t task) {
    const int64_t e = task / ranges, range = task % ranges;
    Array<T> packed(L * kWidth<T>);
    for (int64_t n = N * range / ranges; n < N * (range + 1) / ranges; ++n)
      for (int64_t h = 0; h < groups; ++h) {
        const int64_t image = ((e * N + n) * groups + h);
        T* total = totals.data() + task * size + h * K * stride;
        for (int64_t o = 0; o < O;) {
          const bool wide = O - o > lanes;
          const int64_t width = wide ? kWidth<T> : lanes, valid = std::min(width, O - o);
          if (valid < width) std::fill(packed.begin(), packed.begin() + L * width, T(0));
          const T* from = g + (image * O + o) * L;
          for (int64_t l = 0; l < L; ++l)
            for (int64_t c = 0; c < valid; ++c) packed[l * width + c] = from[c * L + l];
          if (wide)
            strip<T, kVectors>(x + image * pixels, base, offset, packed.data(), L, K, total + o, stride);
          else
            strip<T, 1>(x + image * pixels, base, offset, packed.data(), L, K, total + o, stride);
          o += width;
        }
      }
  });
  for (int64_t e = 0; e < E; ++e)
    for (int64_t h = 0; h < groups; ++h)
      for (int64_t o = 0; o < O; ++o)
        for (int64_t k = 0; k < K; ++k) {
          T sum = T(0);
          for (int64_t range = 0; range < ranges; ++range)
            sum += totals[(e * ranges + range) * size + (h * K + k) * stride + o];
          out[((e * groups + h) * O + o) * K + k] = sum;
        }
}

}  // namespace

void fisher_patches_f32(const float* g, const float* x, const int64_t* base, const int64_t* offset, float* out,
                        int64_t E, int64_t N, int64_t groups, int64_t O, int64_t L, int64_t K, int64_t pixels,
                        int threads) {
  fisher_patches(g, x, base, offset, out, E, N, groups, O, L, K, pixels, threads);
}
void fisher_patches_f64(const double* g, const double* x, const int64_t* base, const int64_t* offset, double* out,
                        int64_t E, int64_t N, int64_t groups, int64_t O, int64_t L, int64_t K, int64_t pixels,
                        int threads) {
  fisher_patches(g, x, base, offset, out, E, N, groups, O, L, K, pixels, threads);
}

}  // namespace grokfast::GROKFAST_ISA
