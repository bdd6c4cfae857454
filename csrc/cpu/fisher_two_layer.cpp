// Fisher diagonal of y = W2 relu(W1 x + b1) + b2 without a backward pass.
//
// Averaged over the model's own labels, the squared gradient at hidden unit h is the variance of its output weights,
// Var_{c~p}(W2[c,h]), and at output o it is p_o (1 - p_o). For a given label it is (sum_c p_c (W2[c,h] - W2[label,h]))^2.
// Both are formed around one class per sample (the label; the most probable class; the mean weight where every class is
// improbable), D = W2 - centre, which keeps the relative accuracy of saturated samples; samples with the same centre
// share a tile. Then
//   F_W1 = V^T x^2,  F_b1 = sum V,  F_W2 = A^T h^2,  F_b2 = sum A   with V [N,H], A [N,C].
// After the forward pass every strip of hidden units is finished by itself: its V goes into F_W1 a few samples at a time.
// Rows of x with few non-zeros (two-hot pairs) skip the two products with x.
#include <algorithm>
#include <cmath>

#include "fisher_two_layer_parts.hpp"
#include "grokfast/fisher.hpp"
#include "grokfast/parallel.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {

template <typename T>
struct Work {
  static constexpr int64_t width = kStrip<T>;
  Network<T> net;
  Sparse<T> sparse;
  int64_t S, mode;
  int threads;
  const int64_t* labels = nullptr;
  Buffer<T> hidden;    // [strip][N][width]
  Buffer<T> p;         // [N][C]
  Buffer<T> a;         // A, packed: [panel of classes][N][kRows]
  Buffer<T> squares;   // x^2, packed: [panel of inputs][N][kRows]; if x is not sparse
  Array<T> w2;         // [strip][C + 1][width], the last row is the mean weight
  Array<int64_t> centre, order;  // [S][N]; samples by centre

  Work(const Network<T>& network, int64_t sets, int64_t label_mode, int thread_count)
      : net(network), sparse(net.x, net.N, net.I), S(sets), mode(label_mode), threads(thread_count),
        hidden(net.strips * net.N * width), w2(net.strips * (net.C + 1) * width, T(0)) {
    if (!sparse.usable) {
      squares.fit(panels(net.I, kRows) * kRows * net.N);
      pack(squares.data(), net.N, net.I, kRows, [&](int64_t n, int64_t i) {
        const T value = net.x[n * net.I + i];
        return value * value;
      });
    }
    if (mode == kGaussian) return;
    p.fit(net.N * net.C);
    a.fit(panels(net.C, kRows) * kRows * net.N);
    centre.resize(S * net.N);
    order.resize(S * net.N);
  }

  // Fills hidden, p, a and centre; returns 0 or the status of what is not finite.
  int64_t forward() {
    const int64_t chunks = panels(net.N, kChunk);
    Array<int64_t> status(chunks, 0);
    Array<uint8_t> large(chunks, 0);
    const auto may_repeat = [&](int64_t chunk) { return sizeof(T) < sizeof(double) ? &large[chunk] : nullptr; };
    const Forward<T, T> single(net, sparse, mode != kGaussian);
    if (chunks > 0) status[0] = forward_chunk(single, 0, may_repeat(0));
    // Where the first samples need double precision, so do most others.
    if (chunks > 0 && large[0]) std::fill(large.begin(), large.end(), uint8_t(1));
    parallel_for(chunks, threads, [&](int64_t chunk) {
      if (chunk > 0 && !large[chunk]) status[chunk] = forward_chunk(single, chunk, may_repeat(chunk));
    });
    if (std::any_of(large.begin(), large.end(), [](uint8_t x) { return x != 0; })) {
      const Forward<double, T> twice(net, sparse, true);
      parallel_for(chunks, threads, [&](int64_t chunk) {
        if (large[chunk]) status[chunk] = forward_chunk(twice, chunk, nullptr);
      });
    }
    for (const int64_t s : status)
      if (s != 0) return s;
    return 0;
  }

  // With `large`, says there whether the logits need double precision, and then does no more.
  template <typename P>
  int64_t forward_chunk(const Forward<P, T>& weights, int64_t chunk, uint8_t* large) {
    const int64_t n0 = chunk * kChunk, rows = std::min(kChunk, net.N - n0), C = net.C;
    if (mode == kGaussian) return weights.run(n0, rows, hidden.data(), nullptr);
    Array<double> f(rows * weights.classes), sums(C);
    const int64_t status = weights.run(n0, rows, hidden.data(), f.data());
    if (large != nullptr) {
      double top = 0.0;
#pragma omp simd reduction(max : top)
      for (int64_t k = 0; k < rows * weights.classes; ++k) top = std::max(top, std::abs(f[k]));
      *large = status == 2 || top > (sparse.usable ? kSinglePrecisionSparse : kSinglePrecision);
      if (*large) return 0;
    }
    if (status != 0) return status;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t n = n0 + r;
      double* q = f.data() + r * weights.classes;
      const int64_t top = softmax(q, C);
      T* probabilities = p.data() + n * C;
      for (int64_t c = 0; c < C; ++c) probabilities[c] = static_cast<T>(q[c]);
      if (mode == kSoftmax) {
        centre[n] = q[top] < kCentre ? C : top;
        for (int64_t c = 0; c < C; ++c) sums[c] = q[c] * (1.0 - q[c]);
        sums[top] = q[top] * others(q, C, top);
      } else {
        for (int64_t c = 0; c < C; ++c) sums[c] = static_cast<double>(S) * q[c] * q[c];
        for (int64_t s = 0; s < S; ++s) {
          const int64_t label = labels[s * net.N + n];
          centre[s * net.N + n] = label;
          const double rest = others(q, C, label);
          sums[label] += rest * rest - q[label] * q[label];
        }
      }
      for (int64_t c = 0; c < C; c += kRows)
        for (int64_t k = 0; k < kRows; ++k)
          a[c * net.N + n * kRows + k] = c + k < C ? static_cast<T>(sums[c + k]) : T(0);
    }
    return 0;
  }

  void sort_by_centre() {
    Array<int64_t> start(net.C + 2);
    for (int64_t s = 0; s < S; ++s) {
      const int64_t* mine = centre.data() + s * net.N;
      std::fill(start.begin(), start.end(), int64_t(0));
      for (int64_t n = 0; n < net.N; ++n) ++start[mine[n] + 1];
      for (int64_t c = 0; c <= net.C; ++c) start[c + 1] += start[c];
      for (int64_t n = 0; n < net.N; ++n) order[s * net.N + start[mine[n]]++] = n;
    }
  }

  void pack_second_layer() {
    for (int64_t h = 0; h < net.H; ++h) {
      T* to = w2.data() + h / width * (net.C + 1) * width + h % width;
      double sum = 0.0;
      for (int64_t c = 0; c < net.C; ++c) {
        to[c * width] = net.w2[c * net.H + h];
        sum += static_cast<double>(to[c * width]);
      }
      to[net.C * width] = static_cast<T>(sum / static_cast<double>(net.C));
    }
  }

  // take(n, v) with V of the strip's units for every sample and set of labels.
  template <typename Take>
  void variances(int64_t strip, Take take) const {
    const T* h = hidden.data() + strip * net.N * width;
    const T* weights = w2.data() + strip * (net.C + 1) * width;
    alignas(64) T v[kGroup * width];
    if (mode == kGaussian) {
      alignas(64) T all[width] = {};
      for (int64_t c = 0; c < net.C; ++c)
        for (int64_t k = 0; k < width; ++k) all[k] += weights[c * width + k] * weights[c * width + k];
      for (int64_t n = 0; n < net.N; ++n) {
        for (int64_t k = 0; k < width; ++k) v[k] = h[n * width + k] > T(0) ? all[k] : T(0);
        take(n, v);
      }
      return;
    }
    for (int64_t s = 0; s < S; ++s)
      for (int64_t k = 0; k < net.N;) {
        const int64_t* mine = order.data() + s * net.N;
        const int64_t c = centre[s * net.N + mine[k]];
        const T *rows_p[kGroup], *rows_h[kGroup];
        int rows = 0;
        while (rows < kGroup && k + rows < net.N && centre[s * net.N + mine[k + rows]] == c) ++rows;
        for (int r = 0; r < rows; ++r) {
          const int64_t n = mine[k + r];
          rows_p[r] = p.data() + n * net.C;
          rows_h[r] = h + n * width;
        }
        if (mode == kSoftmax)
          spread<T, true>(rows, rows_p, weights, c, net.C, rows_h, v);
        else
          spread<T, false>(rows, rows_p, weights, c, net.C, rows_h, v);
        for (int r = 0; r < rows; ++r) take(mine[k + r], v + r * width);
        k += rows;
      }
  }

  // F_W1 and F_b1 of one strip. Sums over samples are kept short: kDepth of them, then their sums.
  void first_layer(int64_t strip, T* out_w, T* out_b) const {
    using Vectors = Simd<T>;
    const int64_t units = std::min(width, net.H - strip * width);
    const int64_t inputs = sparse.usable ? sparse.count : panels(net.I, kRows) * kRows;
    Array<T> sums(inputs * width, T(0)), all(sparse.usable ? 0 : net.N * width, T(0));
    alignas(64) T part[width] = {}, total[width] = {};
    int64_t taken = 0;
    variances(strip, [&](int64_t n, const T* v) {
      for (int k = 0; k < width; k += Vectors::lanes) {
        const auto mine = Vectors::load(v + k);
        const auto add = [&](T* to, typename Vectors::Vector x) { Vectors::store(to + k, Vectors::load(to + k) + x); };
        add(part, mine);
        if (!sparse.usable)
          add(all.data() + n * width, mine);
        else
          sparse.each(n, [&](int64_t at, T value) { add(sums.data() + at * width, value * value * mine); });
      }
      if (++taken % kDepth != 0) return;
      for (int64_t k = 0; k < width; ++k) total[k] += part[k];
      std::fill_n(part, width, T(0));
    });
    for (int64_t n0 = 0; n0 < net.N && !sparse.usable; n0 += kDepth)
      for (int64_t i = 0; i < net.I; i += kRows) {
        Tile<T> tile;
        tile.clear();
        tile.add(squares.data() + i * net.N + n0 * kRows, all.data() + n0 * width, std::min(kDepth, net.N - n0));
        tile.flush(sums.data() + i * width, width, kRows, width);
      }
    const int64_t found = sparse.usable ? sparse.count : net.I;
    for (int64_t h = 0; h < units; ++h)
      for (int64_t i = 0; i < found; ++i)
        out_w[(strip * width + h) * net.I + (sparse.usable ? sparse.used[i] : i)] = sums[i * width + h];
    for (int64_t h = 0; out_b != nullptr && h < units; ++h) out_b[strip * width + h] = total[h] + part[h];
  }

  // F_W2 of one strip.
  void second_layer(int64_t strip, T* out_w) const {
    const int64_t units = std::min(width, net.H - strip * width);
    const T* h = hidden.data() + strip * net.N * width;
    T* to = out_w + strip * width;
    Array<T> square(std::min(kDepth, net.N) * width);
    alignas(64) T all[width] = {};
    for (int64_t n0 = 0; n0 < net.N; n0 += kDepth) {
      const int64_t depth = std::min(kDepth, net.N - n0);
      for (int64_t k = 0; k < depth * width; ++k) square[k] = h[n0 * width + k] * h[n0 * width + k];
      if (mode == kGaussian) {
        alignas(64) T part[width] = {};
        for (int64_t n = 0; n < depth; ++n)
          for (int64_t k = 0; k < width; ++k) part[k] += square[n * width + k];
        for (int64_t k = 0; k < width; ++k) all[k] += part[k];
        continue;
      }
      for (int64_t c = 0; c < net.C; c += kRows) {
        Tile<T> tile;
        tile.clear();
        tile.add(a.data() + c * net.N + n0 * kRows, square.data(), depth);
        tile.flush(to + c * net.H, net.H, net.C - c, units);
      }
    }
    for (int64_t c = 0; mode == kGaussian && c < net.C; ++c) std::copy_n(all, units, to + c * net.H);
  }

  void second_bias(T* out) const {
    for (int64_t c = 0; c < net.C; ++c) {
      double sum = 0.0;
      for (int64_t n = 0; n < net.N && mode != kGaussian; ++n)
        sum += static_cast<double>(a.data()[c / kRows * kRows * net.N + n * kRows + c % kRows]);
      out[c] = static_cast<T>(mode == kGaussian ? static_cast<double>(net.N) : sum);
    }
  }

  int64_t member(T* out_w1, T* out_b1, T* out_w2, T* out_b2) {
    const int64_t status = forward();
    if (status != 0) return status;
    if (mode != kGaussian) sort_by_centre();
    pack_second_layer();
    parallel_for(net.strips, threads, [&](int64_t strip) {
      first_layer(strip, out_w1, net.b1 == nullptr ? nullptr : out_b1);
      second_layer(strip, out_w2);
    });
    if (net.b2 != nullptr) second_bias(out_b2);
    return 0;
  }
};

template <typename T>
void fisher_two_layer(const T* x, const T* w1, const T* b1, const T* w2, const T* b2, const int64_t* labels, T* out_w1,
                      T* out_b1, T* out_w2, T* out_b2, int64_t* status, int64_t E, int64_t N, int64_t I, int64_t H,
                      int64_t C, int64_t S, int64_t mode, int threads) {
  std::fill_n(out_w1, E * H * I, T(0));
  std::fill_n(out_w2, E * C * H, T(0));
  Work<T> work({x, w1, b1, w2, b2, N, I, H, C, panels(H, kStrip<T>)}, mode == kGiven ? S : 1, mode, threads);
  for (int64_t e = 0; e < E; ++e) {
    work.net.w1 = w1 + e * H * I;
    work.net.w2 = w2 + e * C * H;
    work.net.b1 = b1 == nullptr ? nullptr : b1 + e * H;
    work.net.b2 = b2 == nullptr ? nullptr : b2 + e * C;
    work.labels = labels == nullptr ? nullptr : labels + e * S * N;
    status[e] = work.member(out_w1 + e * H * I, out_b1 + e * H, out_w2 + e * C * H, out_b2 + e * C);
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
