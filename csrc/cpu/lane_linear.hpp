// Fully connected layers with one sample per vector lane, for kernel sources: activations are [feature][sample] with
// kSamples samples in memory, of which a call uses whole vectors.
#pragma once

#include <cstdint>

#include "grokfast/simd.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {  // nothing here may be shared between objects: cmake/check_symbols.cmake

constexpr std::int64_t kSamples = 64;

#if defined(GROKFAST_ISA_avx512)
constexpr int kLinearOutputs = 4, kLinearVectors = 4, kLinearFew = 8;  // few vectors take more outputs instead
#else
constexpr int kLinearOutputs = 4, kLinearVectors = 2, kLinearFew = 8;
#endif

// A matrix read as [output][input], whichever way it is stored.
template <typename T>
struct Matrix {
  const T* start;
  std::int64_t output_step, input_step;
};

template <typename T, int Outputs, int Vectors>
inline void linear_tile(Matrix<T> w, const T* bias, const T* in, std::int64_t inputs, T* out, bool relu) {
  using S = Simd<T>;
  typename S::Vector sums[Outputs][Vectors];
  for (int r = 0; r < Outputs; ++r)
    for (int v = 0; v < Vectors; ++v) sums[r][v] = S::fill(bias ? bias[r] : T(0));
  for (std::int64_t i = 0; i < inputs; ++i) {
    typename S::Vector x[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) x[v] = S::load(in + i * kSamples + v * S::lanes);
#pragma GCC unroll 8
    for (int r = 0; r < Outputs; ++r) {
      const typename S::Vector weight = S::fill(w.start[r * w.output_step + i * w.input_step]);
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) sums[r][v] += weight * x[v];
    }
  }
  const typename S::Vector zero = {};
  for (int r = 0; r < Outputs; ++r)
    for (int v = 0; v < Vectors; ++v) {
      const typename S::Vector sum = sums[r][v];
      S::store(out + r * kSamples + v * S::lanes, relu ? (sum < zero ? zero : sum) : sum);
    }
}

template <typename T, int Outputs, int Vectors>
inline std::int64_t linear_strip(Matrix<T> w, const T* bias, const T* in, std::int64_t inputs, T* out,
                                 std::int64_t first, std::int64_t outputs, bool relu) {
  for (; first + Outputs <= outputs; first += Outputs)
    linear_tile<T, Outputs, Vectors>({w.start + first * w.output_step, w.output_step, w.input_step},
                                     bias ? bias + first : nullptr, in, inputs, out + first * kSamples, relu);
  return first;
}

// out[o] = bias[o] + sum_i w[o][i] in[i], with ReLU if asked for, on `vectors` vectors of samples; bias may be null.
template <typename T>
void linear(Matrix<T> w, const T* bias, const T* in, std::int64_t inputs, T* out, std::int64_t outputs,
            std::int64_t vectors, bool relu) {
  constexpr int L = Simd<T>::lanes;
  std::int64_t v = 0;
  for (; v + kLinearVectors <= vectors; v += kLinearVectors) {
    std::int64_t o = 0;
    o = linear_strip<T, kLinearOutputs, kLinearVectors>(w, bias, in + v * L, inputs, out + v * L, o, outputs, relu);
    o = linear_strip<T, 2, kLinearVectors>(w, bias, in + v * L, inputs, out + v * L, o, outputs, relu);
    o = linear_strip<T, 1, kLinearVectors>(w, bias, in + v * L, inputs, out + v * L, o, outputs, relu);
  }
  for (; v < vectors; ++v) {
    std::int64_t o = 0;
    o = linear_strip<T, kLinearFew, 1>(w, bias, in + v * L, inputs, out + v * L, o, outputs, relu);
    o = linear_strip<T, 4, 1>(w, bias, in + v * L, inputs, out + v * L, o, outputs, relu);
    o = linear_strip<T, 1, 1>(w, bias, in + v * L, inputs, out + v * L, o, outputs, relu);
  }
}

// g = 0 where the ReLU's output y is not positive.
template <typename T>
inline void mask_by(const T* y, T* g, std::int64_t features) {
  for (std::int64_t k = 0; k < features * kSamples; ++k) g[k] = y[k] <= T(0) ? T(0) : g[k];
}

}  // namespace
}  // namespace grokfast::GROKFAST_ISA
