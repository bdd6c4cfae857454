// Fisher diagonal of y = W2 relu(W1 x + b1) + b2 without a backward pass.
//
// Averaged over the model's own labels, the squared gradient at hidden unit h is the variance of its output weights,
// Var_{c~p}(W2[c,h]), and at output o it is p_o (1 - p_o). For a given label it is (sum_c p_c (W2[c,h] - W2[label,h]))^2.
// Both are formed around one class per sample (the label; the most probable class; the mean weight where no class has
// half of the probability), D = W2 - centre, which keeps the relative accuracy of saturated samples; samples with
// the same centre share a tile. Then
//   F_W1 = V^T x^2,  F_b1 = sum V,  F_W2 = A^T h^2,  F_b2 = sum A   with V [N,H], A [N,C].
// Rows of x with few non-zeros (two-hot pairs) skip the two products with x.
#include <algorithm>
#include <cmath>
#include <limits>

#include "fisher_two_layer_parts.hpp"
#include "grokfast/fisher.hpp"
#include "grokfast/parallel.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {

template <typename T>
struct Work {
  Network<T> net;
  Sparse<T> sparse;
  int64_t S, mode;
  const int64_t* labels;
  int threads;
  Array<T> hidden, p, a, v, w2;
  Array<int64_t> centre;  // [S][N]

  bool softmax_needed() const { return mode != kGaussian; }

  int64_t forward() {
    const int64_t chunks = panels(net.N, kChunk);
    const Forward<T, T> single(net, sparse, softmax_needed());
    Array<int64_t> status(chunks, 0);
    Array<uint8_t> large(chunks, 0);
    parallel_for(chunks, threads, [&](int64_t chunk) {
      status[chunk] = forward_chunk(single, chunk, sizeof(T) < sizeof(double), &large[chunk]);
    });
    bool any = false;
    for (const uint8_t x : large) any = any || x != 0;
    if (any) {
      const Forward<double, T> twice(net, sparse, true);
      parallel_for(chunks, threads, [&](int64_t chunk) {
        if (large[chunk]) status[chunk] = forward_chunk(twice, chunk, false, &large[chunk]);
      });
    }
    for (const int64_t s : status)
      if (s != 0) return s;
    return 0;
  }

  template <typename P>
  int64_t forward_chunk(const Forward<P, T>& weights, int64_t chunk, bool watch, uint8_t* large) {
    const int64_t n0 = chunk * kChunk, rows = std::min(kChunk, net.N - n0), C = net.C;
    Array<P> z(rows * net.wide), f(softmax_needed() ? rows * C : 0);
    const int64_t status = weights.run(net, sparse, n0, rows, z.data(), softmax_needed() ? f.data() : nullptr);
    if (watch) {
      P top = P(0);
      for (const P value : f) top = std::max(top, std::abs(value));
      if (status == 2 || top > P(kSinglePrecision)) {
        *large = 1;
        return 0;
      }
    }
    if (status != 0) return status;
    for (int64_t k = 0; k < rows * net.wide; ++k) hidden[n0 * net.wide + k] = static_cast<T>(z[k]);
    if (!softmax_needed()) return 0;
    Array<double> q(C);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t n = n0 + r;
      std::copy_n(f.data() + r * C, C, q.data());
      const int64_t top = softmax(q.data(), C);
      T *to = a.data() + n * C, *probabilities = p.data() + n * C;
      for (int64_t c = 0; c < C; ++c) probabilities[c] = static_cast<T>(q[c]);
      if (mode == kSoftmax) {
        centre[n] = q[top] < 0.5 ? C : top;
        for (int64_t c = 0; c < C; ++c) to[c] = static_cast<T>(q[c] * (1.0 - q[c]));
        to[top] = static_cast<T>(q[top] * others(q.data(), C, top));
        continue;
      }
      std::fill_n(to, C, T(0));
      for (int64_t s = 0; s < S; ++s) {
        const int64_t label = labels[s * net.N + n];
        centre[s * net.N + n] = label;
        for (int64_t c = 0; c < C; ++c) to[c] += static_cast<T>(c == label ? 0.0 : q[c] * q[c]);
        const double rest = others(q.data(), C, label);
        to[label] += static_cast<T>(rest * rest);
      }
    }
    return 0;
  }

  // V, hidden units strip by strip.
  void variances() {
    for (int64_t c = 0; c < net.C; ++c) std::copy_n(net.w2 + c * net.H, net.H, w2.data() + c * net.wide);
    for (int64_t h = 0; h < net.H; ++h) {
      double sum = 0.0;
      for (int64_t c = 0; c < net.C; ++c) sum += static_cast<double>(net.w2[c * net.H + h]);
      w2[net.C * net.wide + h] = static_cast<T>(sum / static_cast<double>(net.C));
    }
    const int64_t sets = mode == kGiven ? S : 1;
    Array<int64_t> order(sets * net.N);
    for (int64_t s = 0; s < sets && mode != kGaussian; ++s) {
      Array<int64_t> start(net.C + 2, 0);
      const int64_t* mine = centre.data() + s * net.N;
      for (int64_t n = 0; n < net.N; ++n) ++start[mine[n] + 1];
      for (int64_t c = 0; c <= net.C; ++c) start[c + 1] += start[c];
      for (int64_t n = 0; n < net.N; ++n) order[s * net.N + start[mine[n]]++] = n;
    }
    if (mode == kGiven) std::fill(v.begin(), v.end(), T(0));
    parallel_for(net.wide / kWidth<T>, threads, [&](int64_t strip) {
      const int64_t column = strip * kWidth<T>;
      if (mode == kGaussian) {
        for (int64_t h = column; h < column + kWidth<T>; ++h) {
          T sum = T(0);
          for (int64_t c = 0; c < net.C; ++c) sum += w2[c * net.wide + h] * w2[c * net.wide + h];
          for (int64_t n = 0; n < net.N; ++n)
            v[n * net.wide + h] = hidden[n * net.wide + h] > T(0) ? sum : T(0);
        }
        return;
      }
      for (int64_t s = 0; s < sets; ++s)
        for (int64_t k = 0; k < net.N;) {
          const int64_t* mine = order.data() + s * net.N;
          const int64_t c = centre[s * net.N + mine[k]];
          const T *rows_p[kGroup], *rows_h[kGroup];
          T* rows_v[kGroup];
          int rows = 0;
          while (rows < kGroup && k + rows < net.N && centre[s * net.N + mine[k + rows]] == c) ++rows;
          for (int r = 0; r < kGroup; ++r) {
            const int64_t n = mine[k + std::min(r, rows - 1)];
            rows_p[r] = p.data() + n * net.C;
            rows_h[r] = hidden.data() + n * net.wide + column;
            rows_v[r] = v.data() + n * net.wide + column;
          }
          if (mode == kSoftmax)
            spread<T, true>(rows_p, rows, w2.data() + column, c, net.C, net.wide, rows_v, rows_h);
          else
            spread<T, false>(rows_p, rows, w2.data() + column, c, net.C, net.wide, rows_v, rows_h);
          k += rows;
        }
    });
  }

  void first_layer(T* out_w, T* out_b) {
    const int64_t parts = std::clamp<int64_t>(threads, 1, panels(net.H, kRows));
    parallel_for(parts, threads, [&](int64_t part) {
      const int64_t first = part_start(net.H, parts, part), last = part_start(net.H, parts, part + 1);
      if (first >= last) return;
      if (out_b != nullptr) column_sums(v.data(), net.wide, first, last, out_b);
      if (!sparse.usable) {
        const T *vs = v.data(), *x = net.x;
        const int64_t wide = net.wide, I = net.I;
        gemm_add(
            first, last, I, net.N, [=](int64_t n, int64_t h) { return vs[n * wide + h]; },
            [=](int64_t n, int64_t i) { return x[n * I + i] * x[n * I + i]; }, out_w, I);
        return;
      }
      const int64_t span = last - first;
      Array<T> sums(sparse.count * span, T(0));
      for (int64_t n = 0; n < net.N; ++n)
        for (int64_t k = n * kNonZeros; k < (n + 1) * kNonZeros && sparse.index[k] >= 0; ++k) {
          const T weight = sparse.value[k] * sparse.value[k];
          const T* from = v.data() + n * net.wide + first;
          T* to = sums.data() + sparse.index[k] * span;
          for (int64_t h = 0; h < span; ++h) to[h] += weight * from[h];
        }
      for (int64_t h = 0; h < span; ++h)
        for (int64_t k = 0; k < sparse.count; ++k)
          out_w[(first + h) * net.I + sparse.used[k]] = sums[k * span + h];
    });
  }

  void second_layer(T* out_w, T* out_b) {
    if (mode == kGaussian) {
      Array<T> squares(net.H, T(0));
      Array<T> part(net.H);
      for (int64_t n0 = 0; n0 < net.N; n0 += kDepth) {
        std::fill(part.begin(), part.end(), T(0));
        for (int64_t n = n0; n < std::min(net.N, n0 + kDepth); ++n)
          for (int64_t h = 0; h < net.H; ++h) part[h] += hidden[n * net.wide + h] * hidden[n * net.wide + h];
        for (int64_t h = 0; h < net.H; ++h) squares[h] += part[h];
      }
      for (int64_t c = 0; c < net.C; ++c) std::copy_n(squares.data(), net.H, out_w + c * net.H);
      if (out_b != nullptr) std::fill_n(out_b, net.C, static_cast<T>(net.N));
      return;
    }
    if (out_b != nullptr) column_sums(a.data(), net.C, 0, net.C, out_b);
    const int64_t parts = std::clamp<int64_t>(threads, 1, panels(net.C, kRows));
    parallel_for(parts, threads, [&](int64_t part) {
      const T *as = a.data(), *hs = hidden.data();
      const int64_t C = net.C, wide = net.wide;
      gemm_add(
          part_start(C, parts, part), part_start(C, parts, part + 1), net.H, net.N,
          [=](int64_t n, int64_t c) { return as[n * C + c]; },
          [=](int64_t n, int64_t h) { return hs[n * wide + h] * hs[n * wide + h]; }, out_w, net.H);
    });
  }

  void column_sums(const T* from, int64_t stride, int64_t first, int64_t last, T* out) const {
    Array<T> part(last - first);
    std::fill(out + first, out + last, T(0));
    for (int64_t n0 = 0; n0 < net.N; n0 += kDepth) {
      std::fill(part.begin(), part.end(), T(0));
      for (int64_t n = n0; n < std::min(net.N, n0 + kDepth); ++n)
        for (int64_t c = first; c < last; ++c) part[c - first] += from[n * stride + c];
      for (int64_t c = first; c < last; ++c) out[c] += part[c - first];
    }
  }
};

template <typename T>
void fisher_two_layer(const T* x, const T* w1, const T* b1, const T* w2, const T* b2, const int64_t* labels, T* out_w1,
                      T* out_b1, T* out_w2, T* out_b2, int64_t* status, int64_t E, int64_t N, int64_t I, int64_t H,
                      int64_t C, int64_t S, int64_t mode, int threads) {
  std::fill_n(out_w1, E * H * I, T(0));
  std::fill_n(out_w2, E * C * H, T(0));
  const int64_t wide = panels(H, kWidth<T>) * kWidth<T>;
  const int64_t classes = mode == kGaussian ? 0 : C;
  Work<T> work{{x, w1, b1, w2, b2, N, I, H, C, wide}, Sparse<T>(x, N, I), S, mode, nullptr, threads,
               Array<T>(N * wide), Array<T>(N * classes), Array<T>(N * classes),
               Array<T>(N * wide), Array<T>((C + 1) * wide, T(0)),
               Array<int64_t>(N * std::max<int64_t>(1, S))};
  for (int64_t e = 0; e < E; ++e) {
    work.net.w1 = w1 + e * H * I;
    work.net.w2 = w2 + e * C * H;
    work.net.b1 = b1 == nullptr ? nullptr : b1 + e * H;
    work.net.b2 = b2 == nullptr ? nullptr : b2 + e * C;
    work.labels = labels == nullptr ? nullptr : labels + e * S * N;
    status[e] = work.forward();
    if (status[e] != 0) continue;
    work.variances();
    work.first_layer(out_w1 + e * H * I, b1 == nullptr ? nullptr : out_b1 + e * H);
    work.second_layer(out_w2 + e * C * H, b2 == nullptr ? nullptr : out_b2 + e * C);
  }
}

}  // namespace

#define GROKFAST_DEFINE(T, SUFFIX)                                                                                    \
  void fisher_two_layer_##SUFFIX(const T* x, const T* w1, const T* b1, const T* w2, const T* b2,                      \
                                 const int64_t* labels, T* out_w1, T* out_b1, T* out_w2, T* out_b2, int64_t* status,  \
                                 int64_t E, int64_t N, int64_t I, int64_t H, int64_t C, int64_t S, int64_t mode,      \
                                 int threads) {                                                                       \
    fisher_two_layer(x, w1, b1, w2, b2, labels, out_w1, out_b1, out_w2, out_b2, status, E, N, I, H, C, S, mode,       \
                     threads);                                                                                        \
  }
GROKFAST_DEFINE(float, f32)
GROKFAST_DEFINE(double, f64)

}  // namespace grokfast::GROKFAST_ISA
