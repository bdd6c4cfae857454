// One member of a stack as mlp_epoch.cpp trains it: by strips of hidden units as wide as a vector, each value beside its
// two moments.
//
//   first layer    [strip][input][3][lanes of units]    2P inputs; the bias is input 2P
//   second layer   [unit][3][classes, padded]           one row more: the bias is unit `units`
//
// 0 is the parameter, 1 and 2 are its moments. What pads units and classes is zero and stays it.
#pragma once

#include <algorithm>

#include "grokfast/buffer.hpp"
#include "grokfast/simd.hpp"
#include "lane_pack.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {  // nothing here may be shared between objects: cmake/check_symbols.cmake

// Where a member's parameters, or their moments, are in the caller's memory.
template <typename T>
struct MlpTensors {
  T* rows;    // [2P, H]
  T* bias1;   // [H]
  T* weight;  // [C, H]
  T* bias2;   // [C]
};

template <typename T>
class StripNet {
 public:
  static constexpr int64_t L = Simd<T>::lanes;

  void fit(int64_t P, int64_t H, int64_t C) {
    inputs = 2 * P;
    width = H;
    classes = C;
    strips = (H + L - 1) / L;
    stride = (C + L - 1) / L * L;
    first_.fit(strips * (inputs + 1) * 3 * L);
    second_.fit((strips * L + 1) * 3 * stride);
  }
  T* row(int64_t strip, int64_t input) { return first_.data() + (strip * (inputs + 1) + input) * 3 * L; }
  T* column(int64_t unit) { return second_.data() + unit * 3 * stride; }
  T* bias2() { return column(strips * L); }

  // part: 0 for the parameters, 1 and 2 for the moments
  void load(const MlpTensors<T>& from, int64_t part) {
    for (int64_t s = 0; s < strips; ++s) {
      const int64_t units = std::min(L, width - s * L);
      for (int64_t i = 0; i <= inputs; ++i) {
        const T* values = (i < inputs ? from.rows + i * width : from.bias1) + s * L;
        T* to = row(s, i) + part * L;
        std::copy(values, values + units, to);
        std::fill(to + units, to + L, T(0));
      }
      columns(s, part, [&](int64_t c, int64_t k) { return k < units && c < classes ? from.weight + c * width + s * L + k : nullptr; },
              [](T* column, const T* weight) { *column = weight ? *weight : T(0); });
    }
    T* bias = bias2() + part * stride;
    std::copy(from.bias2, from.bias2 + classes, bias);
    std::fill(bias + classes, bias + stride, T(0));
  }
  void store(const MlpTensors<T>& to, int64_t part) {
    for (int64_t s = 0; s < strips; ++s) {
      const int64_t units = std::min(L, width - s * L);
      for (int64_t i = 0; i <= inputs; ++i)
        std::copy_n(row(s, i) + part * L, units, (i < inputs ? to.rows + i * width : to.bias1) + s * L);
      columns(s, part, [&](int64_t c, int64_t k) { return k < units && c < classes ? to.weight + c * width + s * L + k : nullptr; },
              [](const T* column, T* weight) { if (weight) *weight = *column; });
    }
    std::copy_n(bias2() + part * stride, classes, to.bias2);
  }
  // Whether no parameter is infinite or NaN.
  bool is_finite() {
    T spoilt = 0;
    for (int64_t k = 0; k < strips * (inputs + 1); ++k) spoilt += spoil(first_.data() + k * 3 * L, L);
    for (int64_t u = 0; u <= strips * L; ++u) spoilt += spoil(column(u), stride);
    return spoilt == T(0);
  }

  int64_t inputs = 0, width = 0, classes = 0, strips = 0, stride = 0;

 private:
  template <typename Find, typename Move>
  void columns(int64_t s, int64_t part, Find find, Move move) {
    for (int64_t c = 0; c < stride; ++c)
      for (int64_t k = 0; k < L; ++k) move(column(s * L + k) + part * stride + c, find(c, k));
  }
  static T spoil(const T* values, int64_t count) {
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t k = 0; k < count; ++k) sum += values[k] - values[k];
    return sum;
  }

  Buffer<T> first_, second_;
};

}  // namespace
}  // namespace grokfast::GROKFAST_ISA
