// The first layer on two-hot pairs. The backward pass gives each thread one column of one member's table and lets it
// walk the samples in order: no atomics, so the sums are the same in every run.
#include "grokfast/training.hpp"
#include "launch.cuh"

namespace grokfast::cuda {
namespace {

template <typename T>
__global__ void forward_kernel(const T* rows, const T* bias, const int64_t* pairs, T* h, int64_t E, int64_t N,
                               int64_t P, int64_t H) {
  const int64_t total = E * N * H;
  for (int64_t k = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; k < total; k += int64_t(gridDim.x) * blockDim.x) {
    const int64_t j = k % H, sample = k / H, e = sample / N;
    const T* table = rows + e * 2 * P * H + j;
    const T z = table[pairs[2 * sample] * H] + table[(P + pairs[2 * sample + 1]) * H] + bias[e * H + j];
    h[k] = z < T(0) ? T(0) : z;
  }
}

template <typename T>
__global__ void backward_kernel(const T* grad_h, const T* h, const int64_t* pairs, T* grad_rows, T* grad_bias,
                                int64_t E, int64_t N, int64_t P, int64_t H) {
  const int64_t columns = E * H;
  for (int64_t k = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; k < columns; k += int64_t(gridDim.x) * blockDim.x) {
    const int64_t e = k / H, j = k % H;
    T* table = grad_rows + e * 2 * P * H + j;
    for (int64_t r = 0; r < 2 * P; ++r) table[r * H] = T(0);
    T sum = T(0);
    for (int64_t n = 0; n < N; ++n) {
      const int64_t sample = e * N + n, at = sample * H + j;
      const T dz = h[at] <= T(0) ? T(0) : grad_h[at];
      table[pairs[2 * sample] * H] += dz;
      table[(P + pairs[2 * sample + 1]) * H] += dz;
      sum += dz;
    }
    grad_bias[k] = sum;
  }
}

template <typename T>
int forward(const T* rows, const T* bias, const int64_t* pairs, T* h, int64_t E, int64_t N, int64_t P, int64_t H,
            void* stream) {
  return launch(forward_kernel<T>, {blocks_for(E * N * H)}, kThreads, 0, stream, rows, bias, pairs, h, E, N, P, H);
}

template <typename T>
int backward(const T* grad_h, const T* h, const int64_t* pairs, T* grad_rows, T* grad_bias, int64_t E, int64_t N,
             int64_t P, int64_t H, void* stream) {
  return launch(backward_kernel<T>, {blocks_for(E * H)}, kThreads, 0, stream, grad_h, h, pairs, grad_rows, grad_bias, E,
                N, P, H);
}

}  // namespace

int two_hot_relu_f32(const float* rows, const float* bias, const int64_t* pairs, float* h, int64_t E, int64_t N,
                     int64_t P, int64_t H, void* stream) {
  return forward(rows, bias, pairs, h, E, N, P, H, stream);
}
int two_hot_relu_f64(const double* rows, const double* bias, const int64_t* pairs, double* h, int64_t E, int64_t N,
                     int64_t P, int64_t H, void* stream) {
  return forward(rows, bias, pairs, h, E, N, P, H, stream);
}
int two_hot_relu_backward_f32(const float* grad_h, const float* h, const int64_t* pairs, float* grad_rows,
                              float* grad_bias, int64_t E, int64_t N, int64_t P, int64_t H, void* stream) {
  return backward(grad_h, h, pairs, grad_rows, grad_bias, E, N, P, H, stream);
}
int two_hot_relu_backward_f64(const double* grad_h, const double* h, const int64_t* pairs, double* grad_rows,
                              double* grad_bias, int64_t E, int64_t N, int64_t P, int64_t H, void* stream) {
  return backward(grad_h, h, pairs, grad_rows, grad_bias, E, N, P, H, stream);
}

}  // namespace grokfast::cuda
