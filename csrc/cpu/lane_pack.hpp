// Between row-major samples and lanes: a block of `lanes` samples becomes one vector a pixel, and back, for kernel
// sources. Square tiles of `lanes` samples times `lanes` pixels are transposed in registers.
#pragma once

#include <cstdint>
#include <utility>

#include "grokfast/simd.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {  // nothing here may be shared between objects: cmake/check_symbols.cmake

using std::int64_t;

// A map of lane vectors: where it starts and how far apart its channels, rows and pixels are, in elements.
template <typename T>
struct LaneMap {
  T* start;
  int64_t channel, row, pixel;
  T* at(int64_t c, int64_t y, int64_t x) const { return start + c * channel + y * row + x * pixel; }
};

template <typename T, int Step, int... J>
inline void exchange(typename Simd<T>::Vector& a, typename Simd<T>::Vector& b, std::integer_sequence<int, J...>) {
  constexpr int L = Simd<T>::lanes;
  const typename Simd<T>::Vector x = a, y = b;
  a = __builtin_shufflevector(x, y, ((J & Step) ? L + J - Step : J)...);
  b = __builtin_shufflevector(x, y, ((J & Step) ? L + J : J + Step)...);
}

// v[i][j] becomes v[j][i].
template <typename T, int Step = Simd<T>::lanes / 2>
inline void transpose(typename Simd<T>::Vector* v) {
  if constexpr (Step > 0) {
#pragma GCC unroll 16
    for (int i = 0; i < Simd<T>::lanes; ++i)
      if (!(i & Step)) exchange<T, Step>(v[i], v[i + Step], std::make_integer_sequence<int, Simd<T>::lanes>());
    transpose<T, Step / 2>(v);
  }
}

// Lane j of the result is the sum of the lanes of v[j], each added in the same order; v is spoilt.
template <typename T, int Step = Simd<T>::lanes / 2>
inline typename Simd<T>::Vector sum_each(typename Simd<T>::Vector* v) {
  if constexpr (Step > 0) {
#pragma GCC unroll 16
    for (int i = 0; i < Step; ++i) {
      exchange<T, Step>(v[i], v[i + Step], std::make_integer_sequence<int, Simd<T>::lanes>());
      v[i] += v[i + Step];
    }
    return sum_each<T, Step / 2>(v);
  }
  return v[0];
}

// Samples [samples][channels][height][width] to lanes. Lanes without a sample repeat the last one: what they hold is
// then no larger than what the others hold.
template <typename T>
inline void pack_lanes(const T* from, int64_t samples, int64_t channels, int64_t height, int64_t width,
                       LaneMap<T> to) {
  using S = Simd<T>;
  constexpr int L = S::lanes;
  const int64_t size = channels * height * width;
  const T* rows[L];
  for (int j = 0; j < L; ++j) rows[j] = from + (j < samples ? j : samples - 1) * size;
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t y = 0; y < height; ++y) {
      const int64_t start = (c * height + y) * width;
      int64_t x = 0;
      for (; x + L <= width; x += L) {
        typename S::Vector v[L];
#pragma GCC unroll 16
        for (int j = 0; j < L; ++j) v[j] = S::load(rows[j] + start + x);
        transpose<T>(v);
#pragma GCC unroll 16
        for (int j = 0; j < L; ++j) S::store(to.at(c, y, x + j), v[j]);
      }
      for (; x < width; ++x)
        for (int j = 0; j < L; ++j) to.at(c, y, x)[j] = rows[j][start + x];
    }
}

// Lanes to samples [samples][channels][height][width].
template <typename T>
inline void unpack_lanes(LaneMap<const T> from, int64_t samples, int64_t channels, int64_t height, int64_t width,
                         T* to) {
  using S = Simd<T>;
  constexpr int L = S::lanes;
  const int64_t size = channels * height * width;
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t y = 0; y < height; ++y) {
      const int64_t start = (c * height + y) * width;
      int64_t x = 0;
      for (; x + L <= width; x += L) {
        typename S::Vector v[L];
#pragma GCC unroll 16
        for (int j = 0; j < L; ++j) v[j] = S::load(from.at(c, y, x + j));
        transpose<T>(v);
        for (int j = 0; j < samples; ++j) S::store(to + j * size + start + x, v[j]);
      }
      for (; x < width; ++x)
        for (int j = 0; j < samples; ++j) to[j * size + start + x] = from.at(c, y, x)[j];
    }
}

}  // namespace
}  // namespace grokfast::GROKFAST_ISA
