// Loss and correct predictions of nested one-hidden-layer ReLU networks on two-hot pairs. Network k has the parameters
// that have arrived by k, the others are zero; so each network is the one before it and some more.
//
// From one network to the next only what is new is worked out, sample by sample:
//
//   x[u] += weights that arrived at the pair's two inputs, and the bias      each weight once a sample
//   z += (relu(x[u]) - h[u]) column[u]                                       where the activation changed
//   h[u] = relu(x[u])
//   z[c] += w h[u] for each w at (c, u) that arrived in the second layer     vectors along samples
//
// A sample has two inputs, so the activation of a unit changes three times at most, however many networks there are, and
// a second-layer weight arrives once: K networks cost a few forward passes and K softmaxes. A logit has been through at
// most 4 (H + 1) + K additions in the end and is rounded as a sum of that many terms is. What has come and gone leaves
// its rounding behind, which would decide between logits that are equal, such as those that no active unit reaches; so
// where the label's logit is that close to another, the sample's logits are summed afresh.
#include <algorithm>
#include <limits>

#include "columns.hpp"
#include "cross_entropy_row.hpp"
#include "grokfast/buffer.hpp"
#include "grokfast/parallel.hpp"
#include "grokfast/training.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {

constexpr int kVectors = 4;   // of samples, in a block
constexpr int kDoubt = 64;    // units of rounding of the largest logit so far

template <typename T>
constexpr int64_t kBlock = kVectors * Simd<T>::lanes;

template <typename T>
struct Weight {
  int32_t unit;
  T value;
};

// Weights by slot, in memory one slot after another: those of slot s are weights[starts[s]] up to weights[starts[s + 1]].
template <typename T>
struct Table {
  Buffer<int64_t> starts;
  Buffer<Weight<T>> weights;

  // each(visit) calls visit(slot, unit, value) for all weights, always in the same order.
  template <typename Each>
  void fill(int64_t slots, int64_t most, Each each) {
    starts.fit(slots + 2);
    weights.fit(most);
    int64_t* next = starts.data() + 1;
    std::fill_n(starts.data(), slots + 2, 0);
    each([&](int64_t slot, int64_t, T) { ++next[slot + 1]; });
    for (int64_t s = 0; s < slots; ++s) next[s + 1] += next[s];
    each([&](int64_t slot, int64_t unit, T value) {
      weights[next[slot]++] = {static_cast<int32_t>(unit), value};
    });
  }
};

struct Sizes {
  int64_t P, H, C, K;
};

// One member's weights: in the first layer by (input, arrival), where input 2 P is the bias, and in the second by
// (arrival, class), where unit H is the bias. What never arrives is left out.
template <typename T>
struct Member {
  Table<T> first, second;

  void fill(const T* rows, const T* bias1, const T* weight, const T* bias2, const int32_t* a_rows,
            const int32_t* a_bias1, const int32_t* a_weight, const int32_t* a_bias2, const Sizes& size) {
    const int64_t P = size.P, H = size.H, C = size.C, K = size.K;
    first.fill((2 * P + 1) * K, (2 * P + 1) * H, [&](auto visit) {
      for (int64_t i = 0; i <= 2 * P; ++i)
        for (int64_t u = 0; u < H; ++u) {
          const int32_t arrival = i < 2 * P ? a_rows[i * H + u] : a_bias1[u];
          if (arrival < K) visit(i * K + arrival, u, i < 2 * P ? rows[i * H + u] : bias1[u]);
        }
    });
    second.fill(K * C, C * (H + 1), [&](auto visit) {
      for (int64_t c = 0; c < C; ++c)
        for (int64_t u = 0; u <= H; ++u) {
          const int32_t arrival = u < H ? a_weight[c * H + u] : a_bias2[c];
          if (arrival < K) visit(arrival * C + c, u, u < H ? weight[c * H + u] : bias2[c]);
        }
    });
  }
};

// Buffers of one thread; they only ever grow.
template <typename T>
struct Scratch {
  Buffer<T> x;        // [sample, H]: what a unit receives
  Buffer<T> h;        // [H + 1, sample]: its activation; that of unit H is 1
  Buffer<T> columns;  // [H + 1, stride]: the second layer so far
  Buffer<T> z;        // [sample, stride]: logits
  Buffer<T> added;    // [stride, sample]: what the second layer's new weights add to them
  Buffer<T> largest;  // [sample]: magnitude of its logits so far
  Buffer<T> p, change;
  Buffer<int32_t> touched, changed;

  void start(int64_t H, int64_t C, int64_t stride) {
    constexpr int64_t L = kBlock<T>;
    x.fit(L * H);
    h.fit((H + 1) * L);
    columns.fit((H + 1) * stride);
    z.fit(L * stride);
    added.fit(stride * L);
    largest.fit(L);
    p.fit(C);
    change.fit(3 * H + 2);
    touched.fit(3 * H);
    changed.fit(3 * H + 2);
    std::fill_n(x.data(), L * H, T(0));
    std::fill_n(h.data(), H * L, T(0));
    std::fill_n(h.data() + H * L, L, T(1));
    std::fill_n(columns.data(), (H + 1) * stride, T(0));
    std::fill_n(z.data(), L * stride, T(0));
    std::fill_n(added.data(), stride * L, T(0));
    std::fill_n(largest.data(), L, T(0));
  }
};

// The first layer's weights that arrive at the inputs of sample n change its activations, and these its logits.
template <typename T>
void change_activations(Table<T>& first, const int64_t (&slots)[3], int64_t n, int64_t H, int64_t stride,
                        Scratch<T>& s) {
  constexpr int64_t L = kBlock<T>;
  T* x = s.x.data() + n * H;
  T* h = s.h.data() + n;
  int found = 0;
  for (const int64_t slot : slots)
    for (int64_t j = first.starts[slot]; j < first.starts[slot + 1]; ++j) {
      const Weight<T> weight = first.weights[j];
      x[weight.unit] += weight.value;
      s.touched[found++] = weight.unit;
    }
  int count = 0;
  for (int j = 0; j < found; ++j) {  // a unit touched twice has changed when it comes again
    const int32_t u = s.touched[j];
    const T now = x[u] < T(0) ? T(0) : x[u];
    const T change = now - h[u * L];
    h[u * L] = now;
    s.changed[count] = u;
    s.change[count] = change;
    count += change != T(0);  // of NaN too
  }
  const T* change = s.change.data();
  add_columns([change](int k) { return change[k]; }, s.changed.data(), count, s.columns.data(), stride,
              stride, s.z.data() + n * stride);
}

// The second layer's weights that arrive at class c: into the columns, and added[c, sample] = sum of w h[u, sample].
template <typename T>
void add_weights(Table<T>& second, int64_t slot, int64_t c, int64_t stride, Scratch<T>& s) {
  using S = Simd<T>;
  constexpr int64_t L = kBlock<T>;
  typename S::Vector sums[kVectors] = {};
  for (int64_t j = second.starts[slot]; j < second.starts[slot + 1]; ++j) {
    const Weight<T> weight = second.weights[j];
    const T* h = s.h.data() + weight.unit * L;
    s.columns[weight.unit * stride + c] = weight.value;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[v] += weight.value * S::load(h + v * S::lanes);
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) S::store(s.added.data() + c * L + v * S::lanes, sums[v]);
}

// z[sample, c] += added[c, sample]
template <typename T>
void add_transposed(int64_t samples, int64_t stride, const T* __restrict__ added, T* __restrict__ z) {
  constexpr int64_t L = kBlock<T>, kSquare = 16;
  for (int64_t c = 0; c < stride; c += kSquare)
    for (int64_t n = 0; n < samples; ++n)
      for (int64_t k = c; k < std::min(c + kSquare, stride); ++k) z[n * stride + k] += added[k * L + n];
}

// Whether rounding may decide between the label's logit and another.
template <typename T>
bool in_doubt(T* __restrict__ z, int64_t label, int64_t C, T* largest) {
  const T own = z[label];
  T top = -std::numeric_limits<T>::infinity(), size = *largest;
  z[label] = top;
#pragma omp simd reduction(max : top)
  for (int64_t c = 0; c < C; ++c) top = z[c] > top ? z[c] : top;
  z[label] = own;
#pragma omp simd reduction(max : size)
  for (int64_t c = 0; c < C; ++c) {
    const T magnitude = z[c] < T(0) ? -z[c] : z[c];
    size = magnitude > size ? magnitude : size;
  }
  *largest = size;
  const T gap = top > own ? top - own : own - top;
  return gap <= kDoubt * std::numeric_limits<T>::epsilon() * size;
}

// The logits of sample n from its activations and the columns so far.
template <typename T>
void sum_afresh(int64_t n, int64_t H, int64_t stride, Scratch<T>& s) {
  const T* x = s.x.data() + n * H;
  T* z = s.z.data() + n * stride;
  int count = 1;
  s.changed[0] = static_cast<int32_t>(H);
  s.change[0] = T(1);
  for (int64_t u = 0; u < H; ++u) {
    s.changed[count] = static_cast<int32_t>(u);
    s.change[count] = x[u];
    count += x[u] > T(0);
  }
  std::fill_n(z, stride, T(0));
  const T* factors = s.change.data();
  add_columns([factors](int k) { return factors[k]; }, s.changed.data(), count, s.columns.data(), stride, stride, z);
}

// Sums over one block of samples, loss[k] and hits[k], of every network.
template <typename T>
void block(Member<T>& member, const int64_t* pairs, const int64_t* labels, int64_t samples, const Sizes& size,
           double* loss, int64_t* hits) {
  static thread_local Scratch<T> s;
  const int64_t P = size.P, H = size.H, C = size.C, K = size.K;
  const int64_t stride = (C + Simd<T>::lanes - 1) / Simd<T>::lanes * Simd<T>::lanes;
  s.start(H, C, stride);
  for (int64_t k = 0; k < K; ++k) {
    for (int64_t n = 0; n < samples; ++n) {
      const int64_t slots[3] = {pairs[2 * n] * K + k, (P + pairs[2 * n + 1]) * K + k, 2 * P * K + k};
      change_activations(member.first, slots, n, H, stride, s);
    }
    for (int64_t c = 0; c < C; ++c) add_weights(member.second, k * C + c, c, stride, s);
    add_transposed(samples, stride, s.added.data(), s.z.data());
    loss[k] = 0;
    hits[k] = 0;
    for (int64_t n = 0; n < samples; ++n) {
      T* z = s.z.data() + n * stride;
      if (in_doubt(z, labels[n], C, s.largest.data() + n)) sum_afresh(n, H, stride, s);
      bool hit = false;
      loss[k] += row_loss(z, labels[n], C, static_cast<T*>(nullptr), T(0), s.p.data(), &hit);
      hits[k] += hit;
    }
  }
}

template <typename T>
void mlp_nested(const T* rows, const T* bias1, const T* weight, const T* bias2, const int32_t* a_rows,
                const int32_t* a_bias1, const int32_t* a_weight, const int32_t* a_bias2, const int64_t* pairs,
                const int64_t* labels, T* loss, int64_t* correct, int64_t E, int64_t K, int64_t N, int64_t P, int64_t H,
                int64_t C, int threads) {
  const Sizes size{P, H, C, K};
  const int64_t blocks = (N + kBlock<T> - 1) / kBlock<T>;
  Member<T> member;
  Buffer<double> losses(blocks * K);
  Buffer<int64_t> hits(blocks * K);
  for (int64_t e = 0; e < E; ++e) {
    member.fill(rows + e * 2 * P * H, bias1 + e * H, weight + e * C * H, bias2 + e * C, a_rows + e * 2 * P * H,
                a_bias1 + e * H, a_weight + e * C * H, a_bias2 + e * C, size);
    parallel_for(blocks, threads, [&](int64_t b) {
      const int64_t start = b * kBlock<T>, samples = std::min(kBlock<T>, N - start);
      block(member, pairs + 2 * (e * N + start), labels + e * N + start, samples, size, losses.data() + b * K,
            hits.data() + b * K);
    });
    for (int64_t k = 0; k < K; ++k) {
      double sum = 0;
      int64_t found = 0;
      for (int64_t b = 0; b < blocks; ++b) {  // in this order, whichever thread had them
        sum += losses[b * K + k];
        found += hits[b * K + k];
      }
      loss[e * K + k] = static_cast<T>(sum / N);
      correct[e * K + k] = found;
    }
  }
}

}  // namespace

#define GROKFAST_DEFINE(T, SUFFIX)                                                                                    \
  void mlp_nested_##SUFFIX(const T* rows, const T* bias1, const T* weight, const T* bias2, const int32_t* a_rows,     \
                           const int32_t* a_bias1, const int32_t* a_weight, const int32_t* a_bias2,                   \
                           const int64_t* pairs, const int64_t* labels, T* loss, int64_t* correct, int64_t E,         \
                           int64_t K, int64_t N, int64_t P, int64_t H, int64_t C, int threads) {                      \
    mlp_nested(rows, bias1, weight, bias2, a_rows, a_bias1, a_weight, a_bias2, pairs, labels, loss, correct, E, K, N, \
               P, H, C, threads);                                                                                     \
  }
GROKFAST_DEFINE(float, f32)
GROKFAST_DEFINE(double, f64)

}  // namespace grokfast::GROKFAST_ISA
