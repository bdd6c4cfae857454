// The block of convolution, ReLU and 2x2 max-pooling alone, forward and backward: a task takes one member's samples, or a
// range of them, a vector of samples at a time. Sums over samples are kept by range and added in order.
#include <algorithm>

#include "conv_lanes.hpp"
#include "grokfast/buffer.hpp"
#include "grokfast/parallel.hpp"
#include "grokfast/training.hpp"
#include "products.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {

constexpr int64_t kRanges = 4;

template <typename T>
struct Scratch {
  Buffer<T> input, packed, pooled, masked, full, even, mirrored, total;
  Buffer<typename ConvLanes<T>::Code> codes;
};

template <typename T>
Scratch<T>& scratch_for(const ConvBlock& b) {
  using A = ConvLanes<T>;
  static thread_local Scratch<T> s;
  s.input.fit(A::input_size(b));
  s.packed.fit(b.weights());
  s.mirrored.fit(b.weights());
  s.pooled.fit(A::pooled_size(b));
  s.masked.fit(A::pooled_size(b));
  s.codes.fit(A::pooled_size(b));
  s.full.fit(A::full_size(b));
  s.even.fit(A::even_size(b));
  s.total.fit((b.weights() + b.outputs) * A::L);
  std::fill_n(s.input.data(), A::input_size(b), T(0));
  std::fill_n(s.full.data(), A::full_size(b), T(0));
  std::fill_n(s.total.data(), (b.weights() + b.outputs) * A::L, T(0));
  return s;
}

template <typename T>
LaneMap<const T> constant(LaneMap<T> map) {
  return {map.start, map.channel, map.row, map.pixel};
}

// Where a range of the samples starts; in whole vectors.
template <typename T>
int64_t range_start(int64_t N, int64_t range, int64_t ranges) {
  constexpr int64_t L = Simd<T>::lanes;
  return std::min(N, (N + L - 1) / L * range / ranges * L);
}

template <typename T>
void forward(const T* x, int64_t x_step, const T* weight, const T* bias, T* out, uint8_t* winners, int64_t E, int64_t N,
             const ConvBlock& b, int threads) {
  using A = ConvLanes<T>;
  const int64_t pixels = b.channels * b.height * b.width, windows = b.outputs * b.pooled();
  parallel_for(E * kRanges, threads, [&](int64_t task) {
    const int64_t e = task / kRanges, range = task % kRanges;
    const int64_t last = range_start<T>(N, range + 1, kRanges);
    Scratch<T>& s = scratch_for<T>(b);
    A::pack_weights(weight + e * b.weights(), b, false, s.packed.data());
    const LaneMap<T> pooled = A::pooled_map(b, s.pooled.data());
    for (int64_t n = range_start<T>(N, range, kRanges); n < last; n += A::L) {
      const int64_t samples = std::min(A::L, last - n), at = (e * N + n) * windows;
      pack_lanes(x + e * x_step + n * pixels, samples, b.channels, b.height, b.width, A::inside(b, s.input.data()));
      A::template forward<true>(s.input.data(), b, s.packed.data(), bias + e * b.outputs, pooled, s.codes.data());
      unpack_lanes(constant(pooled), samples, b.outputs, b.pooled_height(), b.pooled_width(), out + at);
      for (int64_t j = 0; j < samples; ++j)
        for (int64_t k = 0; k < windows; ++k)
          winners[at + j * windows + k] = static_cast<uint8_t>(s.codes[k * A::L + j]);
    }
  });
}

// One range's sums of the gradients of weight and bias, lane by lane in s.total, and its samples' input gradients.
template <typename T>
void back(const T* grad, const uint8_t* winners, const T* x, T* g_x, const ConvBlock& b, int64_t count, Scratch<T>& s) {
  using A = ConvLanes<T>;
  const int64_t pixels = b.channels * b.height * b.width, windows = b.outputs * b.pooled();
  const LaneMap<T> pooled = A::pooled_map(b, s.pooled.data()), even = A::even_map(b, s.even.data());
  for (int64_t n = 0; n < count; n += A::L) {
    const int64_t samples = std::min(A::L, count - n);
    pack_lanes(x + n * pixels, samples, b.channels, b.height, b.width, A::inside(b, s.input.data()));
    pack_lanes(grad + n * windows, samples, b.outputs, b.pooled_height(), b.pooled_width(), pooled);
    for (int64_t k = 0; k < windows; ++k)
      for (int64_t j = 0; j < A::L; ++j) s.codes[k * A::L + j] = j < samples ? winners[(n + j) * windows + k] : kDead;
    A::mask_gradient(constant(pooled), b, s.codes.data(), s.masked.data(), s.total.data() + b.weights() * A::L);
    A::weight_gradient(s.input.data(), s.masked.data(), s.codes.data(), b, s.total.data());
    if (!g_x) continue;
    A::spread(s.masked.data(), s.codes.data(), b, s.full.data());
    A::input_gradient(s.full.data(), b, s.mirrored.data(), even);
    unpack_lanes(constant(even), samples, b.channels, b.height, b.width, g_x + n * pixels);
  }
}

template <typename T>
void backward(const T* grad, const uint8_t* winners, const T* x, int64_t x_step, const T* weight, T* g_x, T* g_weight,
              T* g_bias, int64_t E, int64_t N, const ConvBlock& b, int threads) {
  using A = ConvLanes<T>;
  const int64_t pixels = b.channels * b.height * b.width, windows = b.outputs * b.pooled();
  const int64_t size = b.weights() + b.outputs;
  Buffer<T> sums(E * kRanges * size);
  parallel_for(E * kRanges, threads, [&](int64_t task) {
    const int64_t e = task / kRanges, range = task % kRanges, n = range_start<T>(N, range, kRanges);
    Scratch<T>& s = scratch_for<T>(b);
    if (g_x) A::pack_weights(weight + e * b.weights(), b, true, s.mirrored.data());
    back(grad + (e * N + n) * windows, winners + (e * N + n) * windows, x + e * x_step + n * pixels,
         g_x ? g_x + (e * N + n) * pixels : nullptr, b, range_start<T>(N, range + 1, kRanges) - n, s);
    for (int64_t k = 0; k < size; ++k)
      sums[task * size + k] = sum_lanes<T>(Simd<T>::load(s.total.data() + k * A::L));
  });
  for (int64_t e = 0; e < E; ++e)
    for (int64_t k = 0; k < size; ++k) {
      T sum = 0;
      for (int64_t range = 0; range < kRanges; ++range) sum += sums[(e * kRanges + range) * size + k];
      (k < b.weights() ? g_weight[e * b.weights() + k] : g_bias[e * b.outputs + k - b.weights()]) = sum;
    }
}

}  // namespace

void conv_relu_pool_f32(const float* x, int64_t x_step, const float* weight, const float* bias, float* out,
                        uint8_t* winners, int64_t E, int64_t N, int64_t C, int64_t H, int64_t W, int64_t O, int64_t k,
                        int threads) {
  forward(x, x_step, weight, bias, out, winners, E, N, {C, H, W, O, k}, threads);
}
void conv_relu_pool_f64(const double* x, int64_t x_step, const double* weight, const double* bias, double* out,
                        uint8_t* winners, int64_t E, int64_t N, int64_t C, int64_t H, int64_t W, int64_t O, int64_t k,
                        int threads) {
  forward(x, x_step, weight, bias, out, winners, E, N, {C, H, W, O, k}, threads);
}
void conv_relu_pool_backward_f32(const float* grad, const uint8_t* winners, const float* x, int64_t x_step,
                                 const float* weight, float* g_x, float* g_weight, float* g_bias, int64_t E, int64_t N,
                                 int64_t C, int64_t H, int64_t W, int64_t O, int64_t k, int threads) {
  backward(grad, winners, x, x_step, weight, g_x, g_weight, g_bias, E, N, {C, H, W, O, k}, threads);
}
void conv_relu_pool_backward_f64(const double* grad, const uint8_t* winners, const double* x, int64_t x_step,
                                 const double* weight, double* g_x, double* g_weight, double* g_bias, int64_t E,
                                 int64_t N, int64_t C, int64_t H, int64_t W, int64_t O, int64_t k, int threads) {
  backward(grad, winners, x, x_step, weight, g_x, g_weight, g_bias, E, N, {C, H, W, O, k}, threads);
}

}  // namespace grokfast::GROKFAST_ISA
