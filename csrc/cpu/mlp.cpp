// Loss and gradients of one-hidden-layer ReLU networks on two-hot pairs, member by member, block of samples by block,
// so that activations, logits and their gradients stay in the second-level cache.
//
//   h = relu(rows[a] + rows[P + b] + bias1)          gather
//   z = h W^T + bias2                                `dots` of products.hpp: along the hidden width
//   d = (softmax(z) - onehot) / N                    cross_entropy_row.hpp
//   dW = d^T h,  dh = d W                            `outer`: vectors along the hidden width
//   drows[a] += dh, drows[P + b] += dh where h > 0   scatter
//
// W is stored as nn.Linear stores it, [C, H]: both products with vectors along H then read contiguous memory, and no
// transposed copy is needed.
#include <algorithm>

#include "cross_entropy_row.hpp"
#include "grokfast/buffer.hpp"
#include "grokfast/parallel.hpp"
#include "grokfast/training.hpp"
#include "products.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {

constexpr int64_t kBlock = 64;  // samples

// Buffers of one thread; they only ever grow.
template <typename T>
struct Scratch {
  Buffer<T> h, dh, z, d, p;
  void fit(int64_t H, int64_t C) {
    h.fit(kBlock * H);
    dh.fit(kBlock * H);
    z.fit(kBlock * C);
    d.fit(kBlock * C);
    p.fit(C);
  }
};

template <typename T>
inline void gather(const T* rows, const T* bias, const int64_t* pairs, T* h, int64_t samples, int64_t P, int64_t H) {
  for (int64_t n = 0; n < samples; ++n) {
    const T* __restrict__ a = rows + pairs[2 * n] * H;
    const T* __restrict__ b = rows + (P + pairs[2 * n + 1]) * H;
    const T* __restrict__ c = bias;
    T* __restrict__ to = h + n * H;
    for (int64_t k = 0; k < H; ++k) {
      const T sum = a[k] + b[k] + c[k];
      to[k] = sum < T(0) ? T(0) : sum;
    }
  }
}

template <typename T>
inline void scatter(const T* dh, const T* h, const int64_t* pairs, T* g_rows, T* g_bias, int64_t samples, int64_t P,
                    int64_t H) {
  for (int64_t n = 0; n < samples; ++n) {
    T* __restrict__ da = g_rows + pairs[2 * n] * H;
    T* __restrict__ db = g_rows + (P + pairs[2 * n + 1]) * H;
    T* __restrict__ dc = g_bias;
    const T* __restrict__ from = dh + n * H;
    const T* __restrict__ y = h + n * H;
    for (int64_t k = 0; k < H; ++k) {
      const T dz = y[k] <= T(0) ? T(0) : from[k];
      da[k] += dz;
      db[k] += dz;
      dc[k] += dz;
    }
  }
}

// One member. Gradients are written if g_bias2 is not null; the others are null too where there is no hidden unit.
template <typename T>
void member(const T* rows, const T* bias1, const T* weight, const T* bias2, const int64_t* pairs,
            const int64_t* labels, T* g_rows, T* g_bias1, T* g_weight, T* g_bias2, T* loss, int64_t* correct,
            int64_t N, int64_t P, int64_t H, int64_t C) {
  static thread_local Scratch<T> s;
  s.fit(H, C);
  const bool wanted = g_bias2 != nullptr;
  if (wanted) {
    std::fill_n(g_rows, 2 * P * H, T(0));
    std::fill_n(g_bias1, H, T(0));
    std::fill_n(g_bias2, C, T(0));
  }
  double loss_sum = 0;
  int64_t hits = 0;
  for (int64_t first = 0; first < N; first += kBlock) {
    const int64_t samples = std::min(kBlock, N - first);
    const int64_t* block = pairs + 2 * first;
    gather(rows, bias1, block, s.h.data(), samples, P, H);
    dots(s.h.data(), weight, bias2, s.z.data(), samples, C, H);
    for (int64_t n = 0; n < samples; ++n) {
      bool hit = false;
      loss_sum += row_loss(s.z.data() + n * C, labels[first + n], C, wanted ? s.d.data() + n * C : nullptr,
                           static_cast<T>(1.0 / N), s.p.data(), &hit);
      hits += hit;
    }
    if (!wanted) continue;
    for (int64_t n = 0; n < samples; ++n)
      for (int64_t c = 0; c < C; ++c) g_bias2[c] += s.d[n * C + c];
    outer(s.d.data(), 1, C, s.h.data(), C, samples, g_weight, H, first > 0);
    outer(s.d.data(), C, 1, weight, samples, C, s.dh.data(), H, false);
    scatter(s.dh.data(), s.h.data(), block, g_rows, g_bias1, samples, P, H);
  }
  *loss = static_cast<T>(loss_sum / N);
  *correct = hits;
}

template <typename T>
void mlp_cross_entropy(const T* rows, const T* bias1, const T* weight, const T* bias2, const int64_t* pairs,
                       const int64_t* labels, T* g_rows, T* g_bias1, T* g_weight, T* g_bias2, T* loss,
                       int64_t* correct, int64_t E, int64_t N, int64_t P, int64_t H, int64_t C, int threads) {
  const auto at = [](T* start, int64_t offset) { return start ? start + offset : nullptr; };
  parallel_for(E, threads, [&](int64_t e) {
    member(rows + e * 2 * P * H, bias1 + e * H, weight + e * C * H, bias2 + e * C, pairs + e * N * 2, labels + e * N,
           at(g_rows, e * 2 * P * H), at(g_bias1, e * H), at(g_weight, e * C * H), at(g_bias2, e * C), loss + e,
           correct + e, N, P, H, C);
  });
}

}  // namespace

void mlp_cross_entropy_f32(const float* rows, const float* bias1, const float* weight, const float* bias2,
                           const int64_t* pairs, const int64_t* labels, float* g_rows, float* g_bias1,
                           float* g_weight, float* g_bias2, float* loss, int64_t* correct, int64_t E, int64_t N,
                           int64_t P, int64_t H, int64_t C, int threads) {
  mlp_cross_entropy(rows, bias1, weight, bias2, pairs, labels, g_rows, g_bias1, g_weight, g_bias2, loss, correct, E, N,
                    P, H, C, threads);
}
void mlp_cross_entropy_f64(const double* rows, const double* bias1, const double* weight, const double* bias2,
                           const int64_t* pairs, const int64_t* labels, double* g_rows, double* g_bias1,
                           double* g_weight, double* g_bias2, double* loss, int64_t* correct, int64_t E, int64_t N,
                           int64_t P, int64_t H, int64_t C, int threads) {
  mlp_cross_entropy(rows, bias1, weight, bias2, pairs, labels, g_rows, g_bias1, g_weight, g_bias2, loss, correct, E, N,
                    P, H, C, threads);
}

}  // namespace grokfast::GROKFAST_ISA
