// Convolution, ReLU and 2x2 max-pooling, forward and backward. Forward: one thread a window. Backward: one thread an
// input, and one block a weight or bias, whose sums are added in a fixed order.
#include "conv_window.cuh"
#include "grokfast/training.hpp"

namespace grokfast::cuda {
namespace {

template <typename T>
__global__ void forward_kernel(const T* x, int64_t x_step, const T* weight, const T* bias, T* out, uint8_t* winners,
                               int64_t E, int64_t N, ConvShape s) {
  const int64_t total = E * N * s.O * s.windows();
  for (int64_t at = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; at < total; at += int64_t(gridDim.x) * blockDim.x) {
    const int64_t o = at / s.windows() % s.O, sample = at / s.windows() / s.O, e = sample / N;
    const T* picture = x + e * x_step + sample % N * s.pixels();
    out[at] = pooled_value(picture, weight + (e * s.O + o) * s.taps(), bias[e * s.O + o], s, at % s.windows(),
                           winners[at]);
  }
}

template <typename T>
__global__ void input_kernel(const T* grad, const uint8_t* winners, const T* weight, T* g_x, int64_t E, int64_t N,
                             ConvShape s) {
  const int64_t total = E * N * s.pixels(), maps = s.O * s.windows();
  for (int64_t at = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; at < total; at += int64_t(gridDim.x) * blockDim.x) {
    const int64_t sample = at / s.pixels();
    g_x[at] = input_gradient(grad + sample * maps, winners + sample * maps, weight + sample / N * s.O * s.taps(), s,
                             at % s.pixels());
  }
}

// Each block adds up one weight's gradient, or after all weights of a member and output the bias's.
template <typename T>
__global__ void weight_kernel(const T* grad, const uint8_t* winners, const T* x, int64_t x_step, T* g_weight, T* g_bias,
                              int64_t E, int64_t N, ConvShape s) {
  __shared__ T sums[kWarps];
  const int64_t taps = s.taps(), maps = N * s.O * s.windows();
  for (int64_t place = blockIdx.x; place < E * s.O * (taps + 1); place += gridDim.x) {
    const int64_t row = place / (taps + 1), tap = place % (taps + 1), e = row / s.O;
    const T mine = warp_sum(weight_gradient(grad + e * maps, winners + e * maps, x + e * x_step, s, N, row % s.O, tap,
                                            threadIdx.x, blockDim.x));
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = mine;
    __syncthreads();
    if (threadIdx.x == 0) {
      T all = T(0);
      for (int warp = 0; warp < kWarps; ++warp) all += sums[warp];
      (tap == taps ? g_bias[row] : g_weight[row * taps + tap]) = all;
    }
    __syncthreads();
  }
}

template <typename T>
int forward(const T* x, int64_t x_step, const T* weight, const T* bias, T* out, uint8_t* winners, int64_t E, int64_t N,
            ConvShape s, void* stream) {
  const int64_t blocks = blocks_for(E * N * s.O * s.windows());
  return launch(forward_kernel<T>, {blocks}, kThreads, 0, stream, x, x_step, weight, bias, out, winners, E, N, s);
}

template <typename T>
int backward(const T* grad, const uint8_t* winners, const T* x, int64_t x_step, const T* weight, T* g_x, T* g_weight,
             T* g_bias, int64_t E, int64_t N, ConvShape s, void* stream) {
  const int status = launch(weight_kernel<T>, {E * s.O * (s.taps() + 1)}, kThreads, 0, stream, grad, winners, x, x_step,
                            g_weight, g_bias, E, N, s);
  if (status != 0 || g_x == nullptr) return status;
  const int64_t blocks = blocks_for(E * N * s.pixels());
  return launch(input_kernel<T>, {blocks}, kThreads, 0, stream, grad, winners, weight, g_x, E, N, s);
}

}  // namespace

int conv_relu_pool_f32(const float* x, int64_t x_step, const float* weight, const float* bias, float* out,
                       uint8_t* winners, int64_t E, int64_t N, int64_t C, int64_t H, int64_t W, int64_t O, int64_t k,
                       void* stream) {
  return forward(x, x_step, weight, bias, out, winners, E, N, {C, H, W, O, k}, stream);
}
int conv_relu_pool_f64(const double* x, int64_t x_step, const double* weight, const double* bias, double* out,
                       uint8_t* winners, int64_t E, int64_t N, int64_t C, int64_t H, int64_t W, int64_t O, int64_t k,
                       void* stream) {
  return forward(x, x_step, weight, bias, out, winners, E, N, {C, H, W, O, k}, stream);
}
int conv_relu_pool_backward_f32(const float* grad, const uint8_t* winners, const float* x, int64_t x_step,
                                const float* weight, float* g_x, float* g_weight, float* g_bias, int64_t E, int64_t N,
                                int64_t C, int64_t H, int64_t W, int64_t O, int64_t k, void* stream) {
  return backward(grad, winners, x, x_step, weight, g_x, g_weight, g_bias, E, N, {C, H, W, O, k}, stream);
}
int conv_relu_pool_backward_f64(const double* grad, const uint8_t* winners, const double* x, int64_t x_step,
                                const double* weight, double* g_x, double* g_weight, double* g_bias, int64_t E,
                                int64_t N, int64_t C, int64_t H, int64_t W, int64_t O, int64_t k, void* stream) {
  return backward(grad, winners, x, x_step, weight, g_x, g_weight, g_bias, E, N, {C, H, W, O, k}, stream);
}

}  // namespace grokfast::cuda
