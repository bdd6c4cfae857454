// The parts of fisher_two_layer.cpp that work on a few samples at a time: their non-zeros, their forward pass, and the
// variance of the output weights under their probabilities.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "grokfast/fisher_gemm.hpp"
#include "grokfast/fisher_softmax.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {  // nothing here may be shared between objects: cmake/check_symbols.cmake

#if defined(GROKFAST_ISA_avx512)
constexpr int kGroup = 6;
#else
constexpr int kGroup = 2;
#endif
constexpr int64_t kChunk = 96;        // samples of one forward task
constexpr int64_t kNonZeros = 4;      // rows with at most so many entries are handled as sparse
constexpr double kSinglePrecision = 8.0;  // logits beyond this are recomputed in double

template <typename T>
struct Sparse {
  bool usable = false;
  Array<int64_t> index;  // [N][kNonZeros], rows of `used`, -1 where there is none
  Array<T> value;
  Array<int64_t> used;  // inputs that are not zero in every sample
  int64_t count = 0;    // how many

  Sparse(const T* x, int64_t N, int64_t I) {
    index.assign(N * kNonZeros, -1);
    value.assign(N * kNonZeros, T(0));
    for (int64_t n = 0; n < N; ++n) {
      const T* row = x + n * I;
      int64_t entries = 0;
#pragma omp simd reduction(+ : entries)
      for (int64_t i = 0; i < I; ++i) entries += row[i] != T(0);
      if (entries > kNonZeros) return;
      for (int64_t i = 0, k = 0; k < entries; ++i)
        if (row[i] != T(0)) {
          index[n * kNonZeros + k] = i;
          value[n * kNonZeros + k++] = row[i];
        }
    }
    usable = I > 4 * kNonZeros;
    Array<int64_t> place(I, -1);
    used.assign(I, 0);
    for (int64_t k = 0; k < N * kNonZeros; ++k) {
      if (index[k] < 0) continue;
      int64_t& at = place[index[k]];
      if (at < 0) {
        at = count;
        used[count++] = index[k];
      }
      index[k] = at;
    }
  }
};

template <typename T>
struct Network {
  const T *x, *w1, *b1, *w2, *b2;
  int64_t N, I, H, C, wide;  // wide: H rounded up to whole tiles
};

// Weights laid out for the forward pass in precision P.
template <typename P, typename T>
struct Forward {
  Array<P> first, second;  // packed W1^T, or its used rows one by one if sparse; packed W2^T

  Forward(const Network<T>& net, const Sparse<T>& sparse, bool logits) {
    if (sparse.usable) {
      first.assign(sparse.count * net.wide, P(0));
      for (int64_t h = 0; h < net.H; ++h)
        for (int64_t k = 0; k < sparse.count; ++k)
          first[k * net.wide + h] = static_cast<P>(net.w1[h * net.I + sparse.used[k]]);
    } else {
      first.resize(panels(net.H, kWidth<P>) * kWidth<P> * net.I);
      pack(first.data(), net.I, net.H, kWidth<P>,
           [&](int64_t i, int64_t h) { return static_cast<P>(net.w1[h * net.I + i]); });
    }
    if (!logits) return;
    second.resize(panels(net.C, kWidth<P>) * kWidth<P> * net.H);
    pack(second.data(), net.H, net.C, kWidth<P>,
         [&](int64_t h, int64_t c) { return static_cast<P>(net.w2[c * net.H + h]); });
  }

  // Hidden activations [rows][wide] and logits [rows][C] of samples n0...; returns 0 or the status of what is not
  // finite.
  int64_t run(const Network<T>& net, const Sparse<T>& sparse, int64_t n0, int64_t rows, P* hidden, P* logits) const {
    for (int64_t r = 0; r < rows; ++r) {
      P* z = hidden + r * net.wide;
      for (int64_t h = 0; h < net.H; ++h) z[h] = net.b1 ? static_cast<P>(net.b1[h]) : P(0);
      std::fill(z + net.H, z + net.wide, P(0));
      if (!sparse.usable) continue;
      for (int64_t k = (n0 + r) * kNonZeros; k < (n0 + r + 1) * kNonZeros && sparse.index[k] >= 0; ++k) {
        const P value = static_cast<P>(sparse.value[k]);
        const P* w = first.data() + sparse.index[k] * net.wide;
        for (int64_t h = 0; h < net.H; ++h) z[h] += value * w[h];
      }
    }
    if (!sparse.usable)
      gemm_packed(
          rows, net.H, net.I, [&](int64_t i, int64_t r) { return static_cast<P>(net.x[(n0 + r) * net.I + i]); },
          first.data(), hidden, net.wide);
    bool finite = true;
    for (int64_t k = 0; k < rows * net.wide; ++k) {
      finite &= std::abs(hidden[k]) <= std::numeric_limits<P>::max();
      hidden[k] = hidden[k] > P(0) ? hidden[k] : P(0);
    }
    if (!finite) return 1;
    if (logits == nullptr) return 0;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < net.C; ++c) logits[r * net.C + c] = net.b2 ? static_cast<P>(net.b2[c]) : P(0);
    gemm_packed(
        rows, net.C, net.H, [&](int64_t h, int64_t r) { return hidden[r * net.wide + h]; }, second.data(), logits,
        net.C);
    for (int64_t k = 0; k < rows * net.C; ++k) finite &= std::abs(logits[k]) <= std::numeric_limits<P>::max();
    return finite ? 0 : 2;
  }
};

// V of up to Group samples around one centre, for kWidth hidden units from `column` on.
template <typename T, bool Variance, int Group>
inline void spread_group(const T* const* p, int rows, const T* w2, int64_t centre, int64_t C, int64_t wide, T* const* v,
                   const T* const* h) {
  using S = Simd<T>;
  typename S::Vector mean[Group][kVectors] = {}, square[Group][kVectors] = {};
  const auto c0 = S::load(w2 + centre * wide), c1 = S::load(w2 + centre * wide + S::lanes);
  for (int64_t c = 0; c < C; ++c) {
    const auto d0 = S::load(w2 + c * wide) - c0, d1 = S::load(w2 + c * wide + S::lanes) - c1;
    const auto q0 = d0 * d0, q1 = d1 * d1;
#pragma GCC unroll 6
    for (int r = 0; r < Group; ++r) {
      const T weight = p[r][c];
      mean[r][0] += weight * d0;
      mean[r][1] += weight * d1;
      if (Variance) {
        square[r][0] += weight * q0;
        square[r][1] += weight * q1;
      }
    }
  }
  for (int r = 0; r < rows; ++r)
    for (int k = 0; k < kVectors; ++k) {
      const auto m = mean[r][k] * mean[r][k];
      const auto value = Variance ? square[r][k] - m : m;
      const auto active = S::load(h[r] + k * S::lanes) > S::fill(T(0));
      const auto zero = S::fill(T(0));
      const auto kept = (active & (value > zero)) ? value : zero;
      T* to = v[r] + k * S::lanes;
      S::store(to, Variance ? kept : S::load(to) + kept);
    }
}

// The same for any number of rows up to kGroup, without the work of many rows that are not there.
template <typename T, bool Variance>
inline void spread(const T* const* p, int rows, const T* w2, int64_t centre, int64_t C, int64_t wide, T* const* v,
                   const T* const* h) {
  if (rows == 1)
    spread_group<T, Variance, 1>(p, rows, w2, centre, C, wide, v, h);
  else if (rows <= kGroup / 2)
    spread_group<T, Variance, (kGroup + 1) / 2>(p, rows, w2, centre, C, wide, v, h);
  else
    spread_group<T, Variance, kGroup>(p, rows, w2, centre, C, wide, v, h);
}

}  // namespace
}  // namespace grokfast::GROKFAST_ISA
