// Convolution, ReLU and 2x2 max-pooling, forward and backward. Forward: one thread a window, which reads each input of
// its patch once. Backward: one thread an input, and one block a weight or bias, whose sums are added in a fixed order.
#include "grokfast/training.hpp"
#include "launch.cuh"

namespace grokfast::cuda {
namespace {

constexpr int kWarps = kThreads / 32;
constexpr int kDead = 4;  // the winner of a window without a positive value

struct Block {
  int64_t E, N, C, H, W, O, k;
  __host__ __device__ int64_t windows() const { return (H / 2) * (W / 2); }
};

template <typename T>
__global__ void forward_kernel(const T* x, int64_t x_step, const T* weight, const T* bias, T* out, uint8_t* winners,
                               Block b) {
  const int64_t pooled_width = b.W / 2, total = b.E * b.N * b.O * b.windows(), r = b.k / 2;
  for (int64_t at = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; at < total; at += int64_t(gridDim.x) * blockDim.x) {
    const int64_t window = at % b.windows(), o = at / b.windows() % b.O, sample = at / b.windows() / b.O;
    const int64_t e = sample / b.N, i = window / pooled_width, j = window % pooled_width;
    const T* picture = x + e * x_step + sample % b.N * b.C * b.H * b.W;
    const T* w = weight + (e * b.O + o) * b.C * b.k * b.k;
    T sums[2][2];
#pragma unroll
    for (int a = 0; a < 4; ++a) sums[a / 2][a % 2] = bias[e * b.O + o];
    for (int64_t c = 0; c < b.C; ++c, w += b.k * b.k)
      for (int64_t p = 0; p <= b.k; ++p) {
        const int64_t y = 2 * i + p - r;
        if (y < 0 || y >= b.H) continue;
        for (int64_t q = 0; q <= b.k; ++q) {
          const int64_t column = 2 * j + q - r;
          if (column < 0 || column >= b.W) continue;
          const T value = picture[(c * b.H + y) * b.W + column];
        // Row p of the patch meets weight row p for the upper outputs and p - 1 for the lower ones.
#pragma unroll
          for (int a = 0; a < 2; ++a)
#pragma unroll
            for (int d = 0; d < 2; ++d)
              if (p >= a && p - a < b.k && q >= d && q - d < b.k) sums[a][d] += w[(p - a) * b.k + q - d] * value;
        }
      }
    T best = T(0);
    int winner = kDead;
    bool spoilt = false;
#pragma unroll
    for (int a = 0; a < 4; ++a) {
      const T value = sums[a / 2][a % 2];
      spoilt = spoilt || value != value;
      if (value > best) {
        best = value;
        winner = a;
      }
    }
    out[at] = spoilt ? sums[0][0] + sums[0][1] + sums[1][0] + sums[1][1] : best;
    winners[at] = static_cast<uint8_t>(winner);
  }
}

template <typename T>
__global__ void input_kernel(const T* grad, const uint8_t* winners, const T* weight, T* g_x, Block b) {
  const int64_t pixels = b.C * b.H * b.W, total = b.E * b.N * pixels, r = b.k / 2;
  const int64_t pooled_height = b.H / 2, pooled_width = b.W / 2;
  for (int64_t at = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; at < total; at += int64_t(gridDim.x) * blockDim.x) {
    const int64_t sample = at / pixels, e = sample / b.N, c = at % pixels / (b.H * b.W);
    const int64_t y = at / b.W % b.H, column = at % b.W;
    T sum = T(0);
    for (int64_t o = 0; o < b.O; ++o) {
      const T* w = weight + ((e * b.O + o) * b.C + c) * b.k * b.k;
      const int64_t map = (sample * b.O + o) * b.windows();
      for (int64_t u = 0; u < b.k; ++u) {
        // Output row that tap row u carried this input to.
        const int64_t row = y - u + r;
        if (row < 0 || row / 2 >= pooled_height) continue;
        for (int64_t v = 0; v < b.k; ++v) {
          const int64_t z = column - v + r;
          if (z < 0 || z / 2 >= pooled_width) continue;
          const int64_t window = map + row / 2 * pooled_width + z / 2;
          if (winners[window] == row % 2 * 2 + z % 2) sum += w[u * b.k + v] * grad[window];
        }
      }
    }
    g_x[at] = sum;
  }
}

// Each block adds up one weight's gradient, or after all weights of a member and output the bias's.
template <typename T>
__global__ void weight_kernel(const T* grad, const uint8_t* winners, const T* x, int64_t x_step, T* g_weight, T* g_bias,
                              Block b) {
  __shared__ T sums[kWarps];
  const int64_t weights = b.C * b.k * b.k, windows = b.windows(), pooled_width = b.W / 2;
  for (int64_t place = blockIdx.x; place < b.E * b.O * (weights + 1); place += gridDim.x) {
    const int64_t row_of_output = place / (weights + 1);
    const int64_t item = place % (weights + 1), e = row_of_output / b.O, o = row_of_output % b.O;
    const int64_t c = item / (b.k * b.k), u = item / b.k % b.k - b.k / 2, v = item % b.k - b.k / 2;
    T sum = T(0);
    for (int64_t k = threadIdx.x; k < b.N * windows; k += blockDim.x) {
      const int64_t n = k / windows, window = k % windows, at = ((e * b.N + n) * b.O + o) * windows + window;
      const int winner = winners[at];
      if (winner == kDead) continue;
      if (item == weights) {
        sum += grad[at];
        continue;
      }
      const int64_t y = window / pooled_width * 2 + winner / 2 + u, column = window % pooled_width * 2 + winner % 2 + v;
      if (y < 0 || y >= b.H || column < 0 || column >= b.W) continue;
      sum += grad[at] * x[e * x_step + ((n * b.C + c) * b.H + y) * b.W + column];
    }
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
      T all = T(0);
      for (int warp = 0; warp < kWarps; ++warp) all += sums[warp];
      (item == weights ? g_bias[row_of_output] : g_weight[row_of_output * weights + item]) = all;
    }
    __syncthreads();
  }
}

template <typename T>
int forward(const T* x, int64_t x_step, const T* weight, const T* bias, T* out, uint8_t* winners, Block b,
            void* stream) {
  const int64_t total = b.E * b.N * b.O * b.windows();
  return launch(forward_kernel<T>, {blocks_for(total)}, kThreads, 0, stream, x, x_step, weight, bias, out, winners, b);
}

template <typename T>
int backward(const T* grad, const uint8_t* winners, const T* x, int64_t x_step, const T* weight, T* g_x, T* g_weight,
             T* g_bias, Block b, void* stream) {
  const int64_t blocks = b.E * b.O * (b.C * b.k * b.k + 1), inputs = b.E * b.N * b.C * b.H * b.W;
  const int status =
      launch(weight_kernel<T>, {blocks}, kThreads, 0, stream, grad, winners, x, x_step, g_weight, g_bias, b);
  if (status != 0 || g_x == nullptr) return status;
  return launch(input_kernel<T>, {blocks_for(inputs)}, kThreads, 0, stream, grad, winners, weight, g_x, b);
}

}  // namespace

int conv_relu_pool_f32(const float* x, int64_t x_step, const float* weight, const float* bias, float* out,
                       uint8_t* winners, int64_t E, int64_t N, int64_t C, int64_t H, int64_t W, int64_t O, int64_t k,
                       void* stream) {
  return forward(x, x_step, weight, bias, out, winners, {E, N, C, H, W, O, k}, stream);
}
int conv_relu_pool_f64(const double* x, int64_t x_step, const double* weight, const double* bias, double* out,
                       uint8_t* winners, int64_t E, int64_t N, int64_t C, int64_t H, int64_t W, int64_t O, int64_t k,
                       void* stream) {
  return forward(x, x_step, weight, bias, out, winners, {E, N, C, H, W, O, k}, stream);
}
int conv_relu_pool_backward_f32(const float* grad, const uint8_t* winners, const float* x, int64_t x_step,
                                const float* weight, float* g_x, float* g_weight, float* g_bias, int64_t E, int64_t N,
                                int64_t C, int64_t H, int64_t W, int64_t O, int64_t k, void* stream) {
  return backward(grad, winners, x, x_step, weight, g_x, g_weight, g_bias, {E, N, C, H, W, O, k}, stream);
}
int conv_relu_pool_backward_f64(const double* grad, const uint8_t* winners, const double* x, int64_t x_step,
                                const double* weight, double* g_x, double* g_weight, double* g_bias, int64_t E,
                                int64_t N, int64_t C, int64_t H, int64_t W, int64_t O, int64_t k, void* stream) {
  return backward(grad, winners, x, x_step, weight, g_x, g_weight, g_bias, {E, N, C, H, W, O, k}, stream);
}

}  // namespace grokfast::cuda
