// The first layer of a network on two-hot pairs: a sum of two weight rows instead of a product with a sparse vector.
#include <algorithm>

#include "grokfast/training.hpp"
#include "grokfast/parallel.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {

constexpr int64_t kChunk = 64;  // samples a task in the forward pass

template <typename T>
void forward(const T* rows, const T* bias, const int64_t* pairs, T* h, int64_t E, int64_t N, int64_t P, int64_t H,
             int threads) {
  const int64_t chunks = (N + kChunk - 1) / kChunk;
  parallel_for(E * chunks, threads, [&](int64_t task) {
    const int64_t e = task / chunks, first = task % chunks * kChunk, last = std::min(first + kChunk, N);
    const T* table = rows + e * 2 * P * H;
    const T* __restrict__ c = bias + e * H;
    for (int64_t n = first; n < last; ++n) {
      const int64_t* pair = pairs + (e * N + n) * 2;
      const T* __restrict__ a = table + pair[0] * H;
      const T* __restrict__ b = table + (P + pair[1]) * H;
      T* __restrict__ to = h + (e * N + n) * H;
      for (int64_t k = 0; k < H; ++k) {
        const T z = a[k] + b[k] + c[k];
        to[k] = z < T(0) ? T(0) : z;  // keeps NaN, as torch's relu does
      }
    }
  });
}

// One task a member: the samples add into shared rows, in their order, so the sum never depends on the threads.
template <typename T>
void backward(const T* grad_h, const T* h, const int64_t* pairs, T* grad_rows, T* grad_bias, int64_t E, int64_t N,
              int64_t P, int64_t H, int threads) {
  parallel_for(E, threads, [&](int64_t e) {
    T* table = grad_rows + e * 2 * P * H;
    T* __restrict__ dc = grad_bias + e * H;
    std::fill_n(table, 2 * P * H, T(0));
    std::fill_n(dc, H, T(0));
    for (int64_t n = 0; n < N; ++n) {
      const int64_t* pair = pairs + (e * N + n) * 2;
      T* __restrict__ da = table + pair[0] * H;
      T* __restrict__ db = table + (P + pair[1]) * H;
      const T* __restrict__ dh = grad_h + (e * N + n) * H;
      const T* __restrict__ y = h + (e * N + n) * H;
      for (int64_t k = 0; k < H; ++k) {
        const T dz = y[k] <= T(0) ? T(0) : dh[k];
        da[k] += dz;
        db[k] += dz;
        dc[k] += dz;
      }
    }
  });
}

}  // namespace

void two_hot_relu_f32(const float* rows, const float* bias, const int64_t* pairs, float* h, int64_t E, int64_t N,
                      int64_t P, int64_t H, int threads) {
  forward(rows, bias, pairs, h, E, N, P, H, threads);
}
void two_hot_relu_f64(const double* rows, const double* bias, const int64_t* pairs, double* h, int64_t E, int64_t N,
                      int64_t P, int64_t H, int threads) {
  forward(rows, bias, pairs, h, E, N, P, H, threads);
}
void two_hot_relu_backward_f32(const float* grad_h, const float* h, const int64_t* pairs, float* grad_rows,
                               float* grad_bias, int64_t E, int64_t N, int64_t P, int64_t H, int threads) {
  backward(grad_h, h, pairs, grad_rows, grad_bias, E, N, P, H, threads);
}
void two_hot_relu_backward_f64(const double* grad_h, const double* h, const int64_t* pairs, double* grad_rows,
                               double* grad_bias, int64_t E, int64_t N, int64_t P, int64_t H, int threads) {
  backward(grad_h, h, pairs, grad_rows, grad_bias, E, N, P, H, threads);
}

}  // namespace grokfast::GROKFAST_ISA
