// Convolution with a zero border, ReLU and 2x2 max-pooling, and its gradients, a value at a time.
#pragma once

#include "grokfast/kernels.hpp"
#include "launch.cuh"

namespace grokfast::cuda {

constexpr int kDead = 4;  // the winner of a window without a positive value

// C maps of H x W, and O maps of half of that from k x k weights.
struct ConvShape {
  int64_t C, H, W, O, k;
  __host__ __device__ int64_t windows() const { return (H / 2) * (W / 2); }
  __host__ __device__ int64_t pixels() const { return C * H * W; }
  __host__ __device__ int64_t taps() const { return C * k * k; }
};

// The largest positive output of window `window` and its place there, for `w` [C, k, k] of one map; each input of the
// window's patch is read once. NaN comes out if one of the four is NaN.
template <typename T, typename X>
__device__ T pooled_value(const X* picture, const T* w, T bias, const ConvShape& s, int64_t window, uint8_t& place) {
  const int64_t i = window / (s.W / 2), j = window % (s.W / 2), r = s.k / 2;
  T sums[2][2];
#pragma unroll
  for (int a = 0; a < 4; ++a) sums[a / 2][a % 2] = bias;
  for (int64_t c = 0; c < s.C; ++c, w += s.k * s.k)
    for (int64_t p = 0; p <= s.k; ++p) {
      const int64_t y = 2 * i + p - r;
      for (int64_t q = 0; q <= s.k; ++q) {
        const int64_t column = 2 * j + q - r;
        // The border is zeros that are multiplied as others are: a weight that is not finite makes NaN of them.
        const bool inside = y >= 0 && y < s.H && column >= 0 && column < s.W;
        const T value = inside ? static_cast<T>(picture[(c * s.H + y) * s.W + column]) : T(0);
      // Row p of the patch meets weight row p for the upper outputs and p - 1 for the lower ones.
#pragma unroll
        for (int a = 0; a < 2; ++a)
#pragma unroll
          for (int d = 0; d < 2; ++d)
            if (p >= a && p - a < s.k && q >= d && q - d < s.k) sums[a][d] += w[(p - a) * s.k + q - d] * value;
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
  place = static_cast<uint8_t>(winner);
  return spoilt ? sums[0][0] + sums[0][1] + sums[1][0] + sums[1][1] : best;
}

// The gradient at input `pixel` of one sample, from `grad` and `winners` [O, H / 2, W / 2] of that sample.
template <typename T>
__device__ T input_gradient(const T* grad, const uint8_t* winners, const T* weight, const ConvShape& s, int64_t pixel) {
  const int64_t c = pixel / (s.H * s.W), y = pixel / s.W % s.H, column = pixel % s.W, r = s.k / 2;
  T sum = T(0);
  for (int64_t o = 0; o < s.O; ++o) {
    const T* w = weight + (o * s.C + c) * s.k * s.k;
    for (int64_t u = 0; u < s.k; ++u) {
      // Output row that tap row u carried this input to.
      const int64_t row = y - u + r;
      if (row < 0 || row / 2 >= s.H / 2) continue;
      for (int64_t v = 0; v < s.k; ++v) {
        const int64_t z = column - v + r;
        if (z < 0 || z / 2 >= s.W / 2) continue;
        const int64_t window = o * s.windows() + row / 2 * (s.W / 2) + z / 2;
        if (winners[window] == row % 2 * 2 + z % 2) sum += w[u * s.k + v] * grad[window];
      }
    }
  }
  return sum;
}

// One thread's part of the gradient of tap `tap` of map o, or with tap = taps() of its bias: windows first,
// first + stride, ... of N samples. grad and winners are [N, O, H / 2, W / 2], x is [N, C, H, W].
template <typename T, typename X>
__device__ T weight_gradient(const T* grad, const uint8_t* winners, const X* x, const ConvShape& s, int64_t N,
                             int64_t o, int64_t tap, int64_t first, int64_t stride) {
  const int64_t windows = s.windows(), c = tap / (s.k * s.k);
  const int64_t u = tap / s.k % s.k - s.k / 2, v = tap % s.k - s.k / 2;
  T sum = T(0);
  for (int64_t k = first; k < N * windows; k += stride) {
    const int64_t n = k / windows, window = k % windows, at = (n * s.O + o) * windows + window;
    const int winner = winners[at];
    if (winner == kDead) continue;
    if (tap == s.taps()) {
      sum += grad[at];
      continue;
    }
    const int64_t y = window / (s.W / 2) * 2 + winner / 2 + u, column = window % (s.W / 2) * 2 + winner % 2 + v;
    if (y < 0 || y >= s.H || column < 0 || column >= s.W) continue;
    sum += grad[at] * static_cast<T>(x[((n * s.C + c) * s.H + y) * s.W + column]);
  }
  return sum;
}

}  // namespace grokfast::cuda
