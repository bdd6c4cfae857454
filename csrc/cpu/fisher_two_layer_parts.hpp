// The parts of fisher_two_layer.cpp that work on a few samples at a time: their non-zeros, their forward pass, and the
// variance of the output weights under their probabilities.
#pragma once

#include <algorithm>
#include <cmath>

#include "columns.hpp"
#include "grokfast/buffer.hpp"
#include "grokfast/fisher_gemm.hpp"
#include "grokfast/fisher_softmax.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {  // nothing here may be shared between objects: cmake/check_symbols.cmake

#if defined(GROKFAST_ISA_avx512)
constexpr int kGroup = 6;
#else
constexpr int kGroup = 2;
#endif
constexpr int64_t kChunk = 96;  // samples of one forward task, whole tiles of them
constexpr int kTile = 8;        // vectors of classes kept in registers
constexpr int64_t kNonZeros = 4;  // rows with at most so many entries are handled as sparse
// Logits beyond this are recomputed in double. Few inputs add little to the rounding of the hidden layer.
constexpr double kSinglePrecision = 12.0, kSinglePrecisionSparse = 24.0;
// Least probability of the class that the weights are centred on. With p at the centre the variance loses a factor of
// at most 1 + 1 / p to cancellation; around the mean weight it loses most where a few classes share the probability.
constexpr double kCentre = 0.05;

// Hidden units are handled in strips, as wide as a tile: what belongs to one strip lies together.
template <typename T>
constexpr int64_t kStrip = kWidth<T>;

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

  // visit(row of `used`, value) for the non-zeros of sample n.
  template <typename Visit>
  inline void each(int64_t n, Visit visit) const {
    for (int64_t k = n * kNonZeros; k < (n + 1) * kNonZeros && index[k] >= 0; ++k) visit(index[k], value[k]);
  }
};

template <typename T>
struct Network {
  const T *x, *w1, *b1, *w2, *b2;
  int64_t N, I, H, C, strips;
};

// The forward pass in precision P. Each strip's part of a logit is summed in P and the parts in double, so that single
// precision keeps an error of about 1e-7 |f|.
template <typename P, typename T>
struct Forward {
  static constexpr int64_t width = kStrip<T>;
  static_assert(kStrip<T> % kWidth<P> == 0 && kChunk % kRows == 0);
  const Network<T>& net;
  const Sparse<T>& sparse;
  const int64_t classes;  // C in whole vectors
  Array<P> first;   // W1^T by strip: its used rows if sparse, else packed
  Array<P> bias;    // b1
  Array<P> second;  // W2^T [H][classes]

  Forward(const Network<T>& network, const Sparse<T>& zeros, bool logits)
      : net(network), sparse(zeros), classes(panels(net.C, Simd<P>::lanes) * Simd<P>::lanes), bias(net.strips * width, P(0)) {
    const int64_t inputs = sparse.usable ? sparse.count : net.I;
    first.resize(net.strips * width * inputs);
    pack(first.data(), inputs, net.H, sparse.usable ? width : kWidth<P>, [&](int64_t i, int64_t h) {
      return static_cast<P>(net.w1[h * net.I + (sparse.usable ? sparse.used[i] : i)]);
    });
    for (int64_t h = 0; net.b1 != nullptr && h < net.H; ++h) bias[h] = static_cast<P>(net.b1[h]);
    if (!logits) return;
    second.resize(classes * net.H);
    for (int64_t c = 0; c < net.C; ++c)
      for (int64_t h = 0; h < net.H; ++h) second[h * classes + c] = static_cast<P>(net.w2[c * net.H + h]);
  }

  // Hidden activations [strip][N][width] of samples n0..., and their logits [rows][classes] unless they are not wanted;
  // returns 0 or the status of what is not finite.
  int64_t run(int64_t n0, int64_t rows, T* hidden, double* logits) const {
    Array<P> z(kChunk * width, P(0)), x;
    if (!sparse.usable) {
      x.resize(panels(rows, kRows) * kRows * net.I);
      pack(x.data(), net.I, rows, kRows, [&](int64_t i, int64_t r) { return static_cast<P>(net.x[(n0 + r) * net.I + i]); });
    }
    for (int64_t r = 0; logits != nullptr && r < rows; ++r)
      for (int64_t c = 0; c < classes; ++c)
        logits[r * classes + c] = net.b2 != nullptr && c < net.C ? static_cast<double>(net.b2[c]) : 0.0;
    using S = Simd<P>;
    typename S::Vector spoilt = {};
    for (int64_t strip = 0; strip < net.strips; ++strip) {
      if (sparse.usable)
        add_few(strip, n0, rows, z.data());
      else
        add_many(strip, x.data(), rows, z.data());
      for (int64_t k = 0; k < rows * width; k += S::lanes) {
        const auto value = S::load(z.data() + k), zero = S::fill(P(0));
        spoilt += value - value;  // NaN if anything is infinite or NaN
        S::store(z.data() + k, value > zero ? value : zero);
      }
      T* to = hidden + (strip * net.N + n0) * width;
      for (int64_t k = 0; k < rows * width; ++k) to[k] = static_cast<T>(z[k]);
      if (logits != nullptr) add_logits(strip, z.data(), rows, logits);
    }
    for (int k = 0; k < S::lanes; ++k)
      if (!(spoilt[k] == P(0))) return 1;
    double lost = 0.0;
    for (int64_t k = 0; logits != nullptr && k < rows * classes; ++k) lost += logits[k] - logits[k];
    return lost == 0.0 ? 0 : 2;
  }

  void add_few(int64_t strip, int64_t n0, int64_t rows, P* z) const {
    using S = Simd<P>;
    constexpr int vectors = width / S::lanes;
    const P* weights = first.data() + strip * sparse.count * width;
    for (int64_t r = 0; r < rows; ++r) {
      typename S::Vector sum[vectors];
      for (int v = 0; v < vectors; ++v) sum[v] = S::load(bias.data() + strip * width + v * S::lanes);
      sparse.each(n0 + r, [&](int64_t at, T value) {
        for (int v = 0; v < vectors; ++v)
          sum[v] += static_cast<P>(value) * S::load(weights + at * width + v * S::lanes);
      });
      for (int v = 0; v < vectors; ++v) S::store(z + r * width + v * S::lanes, sum[v]);
    }
  }

  void add_many(int64_t strip, const P* x, int64_t rows, P* z) const {
    for (int64_t r = 0; r < rows; ++r) std::copy_n(bias.data() + strip * width, width, z + r * width);
    for (int64_t column = 0; column < width; column += kWidth<P>) {
      const P* weights = first.data() + (strip * width + column) * net.I;
      for (int64_t m = 0; m < rows; m += kRows)
        for (int64_t k = 0; k < net.I; k += kDepth) {
          Tile<P> tile;
          tile.clear();
          tile.add(x + m * net.I + k * kRows, weights + k * kWidth<P>, std::min(kDepth, net.I - k));
          tile.flush(z + m * width + column, width, kRows, kWidth<P>);
        }
    }
  }

  // Only active units have a part in a logit: a trained network has a third of them active.
  void add_logits(int64_t strip, const P* z, int64_t rows, double* logits) const {
    int32_t active[width];
    const P* weights = second.data() + strip * width * classes;
    for (int64_t r = 0; r < rows; ++r) {
      int count = 0;
      for (int32_t k = 0; k < width; ++k) {
        active[count] = k;
        count += z[r * width + k] > P(0);
      }
      int64_t c = 0;
      for (; c + kTile * Simd<P>::lanes <= classes; c += kTile * Simd<P>::lanes)
        add_active<kTile>(z + r * width, active, count, weights + c, logits + r * classes + c);
      for (; c < classes; c += Simd<P>::lanes)
        add_active<1>(z + r * width, active, count, weights + c, logits + r * classes + c);
    }
  }

  template <int Vectors>
  inline void add_active(const P* z, const int32_t* active, int count, const P* weights, double* logits) const {
    using S = Simd<P>;
    typename S::Vector sums[Vectors] = {};
    sum_columns<P, Vectors>([&](int k) { return z[active[k]]; }, active, count, weights, classes, sums);
    alignas(64) P flat[Vectors * S::lanes];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) S::store(flat + v * S::lanes, sums[v]);
#pragma omp simd
    for (int k = 0; k < Vectors * S::lanes; ++k) logits[k] += static_cast<double>(flat[k]);
  }
};

// The squared gradient v [Rows][strip] at the hidden units of one strip, for samples around one centre: the variance of
// the output weights w2 [C + 1][strip], or their squared mean, where the unit is active.
template <typename T, bool Variance, int Rows>
inline void spread_rows(const T* const* p, const T* w2, int64_t centre, int64_t C, const T* const* h, T* v) {
  using S = Simd<T>;
  constexpr int64_t width = kStrip<T>;
  typename S::Vector mean[Rows][kVectors] = {}, square[Rows][kVectors] = {};
  const auto c0 = S::load(w2 + centre * width), c1 = S::load(w2 + centre * width + S::lanes);
  for (int64_t c = 0; c < C; ++c) {
    const auto d0 = S::load(w2 + c * width) - c0, d1 = S::load(w2 + c * width + S::lanes) - c1;
    const auto q0 = d0 * d0, q1 = d1 * d1;
#pragma GCC unroll 6
    for (int r = 0; r < Rows; ++r) {
      const T weight = p[r][c];
      mean[r][0] += weight * d0;
      mean[r][1] += weight * d1;
      if (Variance) {
        square[r][0] += weight * q0;
        square[r][1] += weight * q1;
      }
    }
  }
  for (int r = 0; r < Rows; ++r)
    for (int k = 0; k < kVectors; ++k) {
      const auto m = mean[r][k] * mean[r][k];
      const auto value = Variance ? square[r][k] - m : m;
      const auto zero = S::fill(T(0));
      const auto active = S::load(h[r] + k * S::lanes) > zero;
      S::store(v + r * width + k * S::lanes, (active & (value > zero)) ? value : zero);
    }
}

// The same for any number of rows from 1 to kGroup.
template <typename T, bool Variance, int Rows = kGroup>
inline void spread(int rows, const T* const* p, const T* w2, int64_t centre, int64_t C, const T* const* h, T* v) {
  if constexpr (Rows > 1)
    if (rows < Rows) return spread<T, Variance, Rows - 1>(rows, p, w2, centre, C, h, v);
  spread_rows<T, Variance, Rows>(p, w2, centre, C, h, v);
}

}  // namespace
}  // namespace grokfast::GROKFAST_ISA
