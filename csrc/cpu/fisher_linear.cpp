// out[e,o,i] = sum_n (sum_t g[e,n,t,o] a[e,n,t,i])^2, no array of size N x O x I anywhere.
//
// One position: one product of squares, (g^2)^T (a^2). Several: the samples go in blocks that fit in the second-level
// cache; each tile of the weight matrix takes the sum over positions in registers, squares it and adds it up. A task
// owns a range of output rows, and no entry's order of summation depends on how they are cut.
#include <algorithm>

#include "grokfast/fisher.hpp"
#include "grokfast/fisher_gemm.hpp"
#include "grokfast/parallel.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {

constexpr int64_t kShort = 24;  // up to this many positions the running totals stay in registers

// Totals of half a tile in registers, for few positions.
template <typename T>
inline void few_positions(const T* a, const T* b, T* total, int64_t stride, int64_t samples, int64_t positions) {
  using S = Simd<T>;
  constexpr int half = kRows / 2;
  for (int part = 0; part < 2; ++part) {
    typename S::Vector sums[half][kVectors] = {};
    const T *pa = a + part * half, *pb = b;
    for (int64_t n = 0; n < samples; ++n) {
      typename S::Vector v[half][kVectors];
      {
        const auto b0 = S::load(pb), b1 = S::load(pb + S::lanes);
#pragma GCC unroll 6
        for (int r = 0; r < half; ++r) {
          v[r][0] = pa[r] * b0;
          v[r][1] = pa[r] * b1;
        }
        pa += kRows;
        pb += kWidth<T>;
      }
      for (int64_t t = 1; t < positions; ++t, pa += kRows, pb += kWidth<T>) {
        const auto b0 = S::load(pb), b1 = S::load(pb + S::lanes);
#pragma GCC unroll 6
        for (int r = 0; r < half; ++r) {
          v[r][0] += pa[r] * b0;
          v[r][1] += pa[r] * b1;
        }
      }
#pragma GCC unroll 6
      for (int r = 0; r < half; ++r) {
        sums[r][0] += v[r][0] * v[r][0];
        sums[r][1] += v[r][1] * v[r][1];
      }
    }
    for (int r = 0; r < half; ++r)
      for (int k = 0; k < kVectors; ++k) {
        T* to = total + (part * half + r) * stride + k * S::lanes;
        S::store(to, S::load(to) + sums[r][k]);
      }
  }
}

template <typename T>
inline void many_positions(const T* a, const T* b, T* total, int64_t stride, int64_t samples, int64_t positions) {
  for (int64_t n = 0; n < samples; ++n) {
    Tile<T> tile;
    tile.clear();
    tile.add(a + n * positions * kRows, b + n * positions * kWidth<T>, positions);
    for (auto& row : tile.v)
      for (auto& v : row) v *= v;
    tile.flush(total, stride, kRows, kWidth<T>);
  }
}

template <typename T>
void rows_of(const T* g, const T* a, T* out, int64_t N, int64_t positions, int64_t O, int64_t I, int64_t first,
             int64_t last) {
  const int64_t stride = panels(I, kWidth<T>) * kWidth<T>;
  const int64_t rows = panels(last - first, kRows) * kRows;
  const int64_t block = std::clamp<int64_t>(kDepth / std::max<int64_t>(1, positions), 1, std::max<int64_t>(1, N));
  Array<T> b(block * positions * stride), ga(block * positions * kRows);
  Array<T> total(rows * stride, T(0));
  for (int64_t n0 = 0; n0 < N; n0 += block) {
    const int64_t samples = std::min(block, N - n0), steps = samples * positions;
    const T *gn = g + n0 * positions * O, *an = a + n0 * positions * I;
    pack(b.data(), steps, I, kWidth<T>, [=](int64_t k, int64_t i) { return an[k * I + i]; });
    for (int64_t o = first; o < last; o += kRows) {
      pack(ga.data(), steps, std::min<int64_t>(kRows, last - o), kRows,
           [=](int64_t k, int64_t r) { return gn[k * O + o + r]; });
      for (int64_t i = 0; i < I; i += kWidth<T>) {
        T* to = total.data() + (o - first) * stride + i;
        if (positions <= kShort)
          few_positions(ga.data(), b.data() + i * steps, to, stride, samples, positions);
        else
          many_positions(ga.data(), b.data() + i * steps, to, stride, samples, positions);
      }
    }
  }
  for (int64_t o = first; o < last; ++o) std::copy_n(total.data() + (o - first) * stride, I, out + o * I);
}

template <typename T>
void fisher_linear(const T* g, const T* a, T* out, int64_t E, int64_t N, int64_t positions, int64_t O, int64_t I,
                   int threads) {
  std::fill_n(out, E * O * I, T(0));
  if (N == 0 || positions == 0 || I == 0) return;
  const int64_t parts = std::clamp<int64_t>(threads, 1, std::max<int64_t>(1, panels(O, kRows)));
  parallel_for(E * parts, threads, [&](int64_t task) {
    const int64_t e = task / parts, part = task % parts;
    const int64_t first = part_start(O, parts, part), last = part_start(O, parts, part + 1);
    const T *ge = g + e * N * positions * O, *ae = a + e * N * positions * I;
    T* oe = out + e * O * I;
    if (first >= last) return;
    if (positions == 1) {
      gemm_add(
          first, last, I, N, [=](int64_t n, int64_t o) { return ge[n * O + o] * ge[n * O + o]; },
          [=](int64_t n, int64_t i) { return ae[n * I + i] * ae[n * I + i]; }, oe, I);
    } else {
      rows_of(ge, ae, oe, N, positions, O, I, first, last);
    }
  });
}

}  // namespace

void fisher_linear_f32(const float* g, const float* a, float* out, int64_t E, int64_t N, int64_t positions, int64_t O,
                       int64_t I, int threads) {
  fisher_linear(g, a, out, E, N, positions, O, I, threads);
}
void fisher_linear_f64(const double* g, const double* a, double* out, int64_t E, int64_t N, int64_t positions,
                       int64_t O, int64_t I, int threads) {
  fisher_linear(g, a, out, E, N, positions, O, I, threads);
}

}  // namespace grokfast::GROKFAST_ISA
