// Loss and gradients of one-hidden-layer ReLU networks on two-hot pairs, member by member, block of samples by block,
// so that activations, logits and their gradients stay in the second-level cache.
//
//   h = relu(rows[a] + rows[P + b] + bias1)          gather
//   z = h W^T + bias2                                `dots`: products along the hidden width
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
#include "grokfast/simd.hpp"
#include "grokfast/training.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {

constexpr int64_t kBlock = 64;  // samples

// Tiles that fill the vector registers: accumulators plus what is loaded for them.
#if defined(GROKFAST_ISA_avx512)
constexpr int kDotRows = 6, kDotColumns = 4, kOuterRows = 6, kOuterVectors = 4;  // 32 registers
#else
constexpr int kDotRows = 3, kDotColumns = 3, kOuterRows = 6, kOuterVectors = 2;  // 16 registers
#endif

// Sum of the lanes, halving the vector until two are left: the order never depends on the caller.
template <typename T, int Bytes>
inline T sum_lanes(const T* lanes) {
  if constexpr (Bytes <= 16) {
    T sum = lanes[0];
    for (int k = 1; k < Bytes / static_cast<int>(sizeof(T)); ++k) sum += lanes[k];
    return sum;
  } else {
    typedef T Half __attribute__((vector_size(Bytes / 2)));
    Half low, high;
    std::memcpy(&low, lanes, sizeof(low));
    std::memcpy(&high, lanes + Bytes / 2 / sizeof(T), sizeof(high));
    low += high;
    T rest[Bytes / 2 / sizeof(T)];
    std::memcpy(rest, &low, sizeof(low));
    return sum_lanes<T, Bytes / 2>(rest);
  }
}

template <typename T>
inline T sum_lanes(typename Simd<T>::Vector v) {
  T lanes[Simd<T>::lanes];
  Simd<T>::store(lanes, v);
  return sum_lanes<T, GROKFAST_VECTOR_BYTES>(lanes);
}

// z[m, r] = sum_k a[m, k] b[r, k] + bias[r]
template <typename T, int Rows, int Columns>
inline void dot_tile(const T* a, const T* b, const T* bias, T* z, int64_t width, int64_t z_stride) {
  using S = Simd<T>;
  typename S::Vector sums[Rows][Columns] = {};
  int64_t k = 0;
  for (; k + S::lanes <= width; k += S::lanes) {
    typename S::Vector y[Columns];
#pragma GCC unroll 8
    for (int r = 0; r < Columns; ++r) y[r] = S::load(b + r * width + k);
#pragma GCC unroll 8
    for (int m = 0; m < Rows; ++m) {
      const typename S::Vector x = S::load(a + m * width + k);
#pragma GCC unroll 8
      for (int r = 0; r < Columns; ++r) sums[m][r] += x * y[r];
    }
  }
  for (int m = 0; m < Rows; ++m)
    for (int r = 0; r < Columns; ++r) {
      T sum = sum_lanes<T>(sums[m][r]);
      for (int64_t rest = k; rest < width; ++rest) sum += a[m * width + rest] * b[r * width + rest];
      z[m * z_stride + r] = sum + bias[r];
    }
}

template <typename T, int Rows>
inline void dot_strip(const T* a, const T* b, const T* bias, T* z, int64_t columns, int64_t width) {
  int64_t c = 0;
  for (; c + kDotColumns <= columns; c += kDotColumns)
    dot_tile<T, Rows, kDotColumns>(a, b + c * width, bias + c, z + c, width, columns);
  for (; c < columns; ++c) dot_tile<T, Rows, 1>(a, b + c * width, bias + c, z + c, width, columns);
}

template <typename T>
void dots(const T* a, const T* b, const T* bias, T* z, int64_t rows, int64_t columns, int64_t width) {
  int64_t m = 0;
  for (; m + kDotRows <= rows; m += kDotRows)
    dot_strip<T, kDotRows>(a + m * width, b, bias, z + m * columns, columns, width);
  for (; m < rows; ++m) dot_strip<T, 1>(a + m * width, b, bias, z + m * columns, columns, width);
}

// out[m, :] (+)= sum_j a[m * row_step + j * sum_step] b[j, :] on `Vectors` vectors of columns.
template <typename T, int Rows, int Vectors>
inline void outer_tile(const T* a, int64_t row_step, int64_t sum_step, const T* b, int64_t terms, T* out,
                       int64_t width, bool accumulate) {
  using S = Simd<T>;
  typename S::Vector sums[Rows][Vectors] = {};
  for (int64_t j = 0; j < terms; ++j) {
    typename S::Vector y[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) y[v] = S::load(b + j * width + v * S::lanes);
#pragma GCC unroll 8
    for (int m = 0; m < Rows; ++m) {
      const T x = a[m * row_step + j * sum_step];
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) sums[m][v] += x * y[v];
    }
  }
  for (int m = 0; m < Rows; ++m)
    for (int v = 0; v < Vectors; ++v) {
      T* to = out + m * width + v * S::lanes;
      S::store(to, accumulate ? S::load(to) + sums[m][v] : sums[m][v]);
    }
}

template <typename T, int Vectors>
inline void outer_strip(const T* a, int64_t row_step, int64_t sum_step, const T* b, int64_t rows, int64_t terms,
                        T* out, int64_t width, bool accumulate) {
  int64_t m = 0;
  for (; m + kOuterRows <= rows; m += kOuterRows)
    outer_tile<T, kOuterRows, Vectors>(a + m * row_step, row_step, sum_step, b, terms, out + m * width, width,
                                       accumulate);
  for (; m < rows; ++m)
    outer_tile<T, 1, Vectors>(a + m * row_step, row_step, sum_step, b, terms, out + m * width, width, accumulate);
}

template <typename T>
void outer(const T* a, int64_t row_step, int64_t sum_step, const T* b, int64_t rows, int64_t terms, T* out,
           int64_t width, bool accumulate) {
  constexpr int64_t lanes = Simd<T>::lanes;
  int64_t k = 0;
  for (; k + kOuterVectors * lanes <= width; k += kOuterVectors * lanes)
    outer_strip<T, kOuterVectors>(a, row_step, sum_step, b + k, rows, terms, out + k, width, accumulate);
  for (; k + lanes <= width; k += lanes)
    outer_strip<T, 1>(a, row_step, sum_step, b + k, rows, terms, out + k, width, accumulate);
  for (; k < width; ++k)
    for (int64_t m = 0; m < rows; ++m) {
      T sum = 0;
      for (int64_t j = 0; j < terms; ++j) sum += a[m * row_step + j * sum_step] * b[j * width + k];
      out[m * width + k] = accumulate ? out[m * width + k] + sum : sum;
    }
}

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

// One member. Gradients are written if g_rows is not null.
template <typename T>
void member(const T* rows, const T* bias1, const T* weight, const T* bias2, const int64_t* pairs,
            const int64_t* labels, T* g_rows, T* g_bias1, T* g_weight, T* g_bias2, T* loss, int64_t* correct,
            int64_t N, int64_t P, int64_t H, int64_t C) {
  static thread_local Scratch<T> s;
  s.fit(H, C);
  if (g_rows) {
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
      loss_sum += row_loss(s.z.data() + n * C, labels[first + n], C, g_rows ? s.d.data() + n * C : nullptr,
                           static_cast<T>(1.0 / N), s.p.data(), &hit);
      hits += hit;
    }
    if (!g_rows) continue;
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
