// Loss and correct predictions of one-hidden-layer ReLU networks on two-hot pairs, without gradients.
//
//   h = relu(rows[a] + rows[P + b] + bias1)          gather
//   z = bias2 + sum over u with h[u] != 0 of h[u] W[:, u]
//
// A trained network has about a third of its hidden units active on a pair, a pruned one fewer: the sum runs over
// those alone, from a transposed copy of W, and units that reach no output are never looked at. Units go in chunks whose
// part of W stays in the first-level cache while a block of samples passes.
#include <algorithm>

#include "active.hpp"
#include "columns.hpp"
#include "cross_entropy_row.hpp"
#include "grokfast/buffer.hpp"
#include "grokfast/parallel.hpp"
#include "grokfast/training.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {

constexpr int64_t kBlock = 64;   // samples
constexpr int64_t kChunk = 128;  // hidden units

// Buffers of one thread; they only ever grow.
template <typename T>
struct Scratch {
  Buffer<T> columns, z, p;
  Buffer<std::uint64_t> live;  // bits
  void fit(int64_t H, int64_t C, int64_t stride) {
    columns.fit(H * stride);
    z.fit(kBlock * stride);
    p.fit(C);
    live.fit((H + kChunk - 1) / kChunk * (kChunk / kWord));
  }
};

// The transposed copy [H, stride] of W, and a bit for every unit that reaches an output. Where a weight is infinite or NaN
// every unit counts, and so does every activation, zero or not: the answer is NaN then. Returns whether all are finite.
template <typename T>
bool transpose(const T* weight, int64_t H, int64_t C, int64_t stride, T* columns, std::uint64_t* live) {
  constexpr int64_t kSquare = 16;
  for (int64_t first = 0; first < H; first += kSquare) {
    const int64_t last = std::min(first + kSquare, H);
    for (int64_t c = 0; c < C; ++c)
      for (int64_t u = first; u < last; ++u) columns[u * stride + c] = weight[c * H + u];
  }
  std::fill_n(live, (H + kChunk - 1) / kChunk * (kChunk / kWord), 0);
  T spoilt = 0;
  for (int64_t u = 0; u < H; ++u) {
    T* column = columns + u * stride;
    std::fill(column + C, column + stride, T(0));
    T size = 0;
#pragma omp simd reduction(+ : size, spoilt)
    for (int64_t c = 0; c < stride; ++c) {
      size += column[c] != T(0) ? T(1) : T(0);
      spoilt += column[c] - column[c];
    }
    if (size != T(0)) live[u / kWord] |= std::uint64_t(1) << (u % kWord);
  }
  if (spoilt == T(0)) return true;
  for (int64_t u = 0; u < H; ++u) live[u / kWord] |= std::uint64_t(1) << (u % kWord);
  return false;
}

// h[0 .. kChunk): activations of `units` units from `first` on, then zeros.
template <typename T>
inline void gather(const T* a, const T* b, const T* bias, int64_t units, T* __restrict__ h) {
  for (int64_t k = 0; k < units; ++k) {
    const T sum = a[k] + b[k] + bias[k];
    h[k] = sum < T(0) ? T(0) : sum;
  }
  for (int64_t k = units; k < kChunk; ++k) h[k] = T(0);
}

// Positions of the activations that are not zero among the units of `live`; with `force`, of all of them, zero or not.
template <typename T>
inline int active(const T* h, const std::uint64_t* live, std::uint64_t force, int32_t* list) {
  int found = 0;
  for (int u = 0; u < kChunk; u += kWord) found = append((force | nonzero_word(h + u)) & live[u / kWord], u, list, found);
  return found;
}

template <typename T>
void member(const T* rows, const T* bias1, const T* weight, const T* bias2, const int64_t* pairs,
            const int64_t* labels, T* loss, int64_t* correct, int64_t N, int64_t P, int64_t H, int64_t C) {
  static thread_local Scratch<T> s;
  const int64_t stride = (C + Simd<T>::lanes - 1) / Simd<T>::lanes * Simd<T>::lanes;
  s.fit(H, C, stride);
  T* columns = s.columns.data();
  T* z = s.z.data();
  const bool finite = transpose(weight, H, C, stride, columns, s.live.data());
  double loss_sum = 0;
  int64_t hits = 0;
  T h[kChunk];
  int32_t list[kChunk + kListSlack];
  for (int64_t first = 0; first < N; first += kBlock) {
    const int64_t samples = std::min(kBlock, N - first);
    for (int64_t n = 0; n < samples; ++n) {
      std::copy(bias2, bias2 + C, z + n * stride);
      std::fill(z + n * stride + C, z + (n + 1) * stride, T(0));
    }
    for (int64_t u = 0; u < H; u += kChunk) {
      const int64_t units = std::min(kChunk, H - u);
      const std::uint64_t* live = s.live.data() + u / kWord;
      if (!live[0] && !live[1]) continue;
      for (int64_t n = 0; n < samples; ++n) {
        const int64_t* pair = pairs + 2 * (first + n);
        gather(rows + pair[0] * H + u, rows + (P + pair[1]) * H + u, bias1 + u, units, h);
        const int count = active(h, live, finite ? 0 : ~std::uint64_t(0), list);
        add_columns([&](int k) { return h[list[k]]; }, list, count, columns + u * stride, stride, stride,
                    z + n * stride);
      }
    }
    for (int64_t n = 0; n < samples; ++n) {
      bool hit = false;
      loss_sum += row_loss(z + n * stride, labels[first + n], C, static_cast<T*>(nullptr), T(0), s.p.data(), &hit);
      hits += hit;
    }
  }
  *loss = static_cast<T>(loss_sum / N);
  *correct = hits;
}

template <typename T>
void mlp_losses(const T* rows, const T* bias1, const T* weight, const T* bias2, const int64_t* pairs,
                const int64_t* labels, T* loss, int64_t* correct, int64_t E, int64_t N, int64_t P, int64_t H,
                int64_t C, int threads) {
  parallel_for(E, threads, [&](int64_t e) {
    member(rows + e * 2 * P * H, bias1 + e * H, weight + e * C * H, bias2 + e * C, pairs + e * N * 2, labels + e * N,
           loss + e, correct + e, N, P, H, C);
  });
}

}  // namespace

void mlp_losses_f32(const float* rows, const float* bias1, const float* weight, const float* bias2,
                    const int64_t* pairs, const int64_t* labels, float* loss, int64_t* correct, int64_t E, int64_t N,
                    int64_t P, int64_t H, int64_t C, int threads) {
  mlp_losses(rows, bias1, weight, bias2, pairs, labels, loss, correct, E, N, P, H, C, threads);
}
void mlp_losses_f64(const double* rows, const double* bias1, const double* weight, const double* bias2,
                    const int64_t* pairs, const int64_t* labels, double* loss, int64_t* correct, int64_t E, int64_t N,
                    int64_t P, int64_t H, int64_t C, int threads) {
  mlp_losses(rows, bias1, weight, bias2, pairs, labels, loss, correct, E, N, P, H, C, threads);
}

}  // namespace grokfast::GROKFAST_ISA
